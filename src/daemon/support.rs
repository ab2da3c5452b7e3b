//! What the daemon adds to a report: itself, its host, its configuration without secrets, and its
//! log.

use super::logging;
use crate::config::{Disk, shareable};
use crate::host;
use crate::model::Support;
use std::path::PathBuf;

/// What there is to say now. Reads files, and so leaves the loop's thread.
pub(super) async fn report(path: PathBuf) -> Support {
    smol::unblock(move || {
        let configuration = shareable(&path, &Disk);
        let (log, log_forgotten) = logging::last_lines();
        Support {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host::facts()
                .into_iter()
                .chain(host::process_facts())
                .collect(),
            configuration_file: path.display().to_string(),
            configuration_trouble: configuration.as_ref().err().cloned(),
            configuration: configuration.ok(),
            log,
            log_forgotten,
        }
    })
    .await
}
