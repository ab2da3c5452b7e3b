//! `[ha]`: the rack has a second host.

use super::complaint::Findings;
use super::keys::seconds;
use super::section::Section;
use super::{ApiSettings, EtcdSettings};
use std::time::Duration;

/// This host is one of several for its rack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HaSettings {
    /// Its name; the machine's, where none is written.
    pub host: Option<String>,
    /// After so long a silence of the owner another host takes over.
    pub tenure: Duration,
    /// Where this host's API is, for those who asked the other one.
    pub url: Option<String>,
}

pub(super) fn read(
    section: Option<Section<'_>>,
    etcd: Option<&EtcdSettings>,
    api: &ApiSettings,
    findings: &mut Findings<'_>,
) -> Option<HaSettings> {
    let mut section = section?;
    let span = section.span.clone();
    let host = section.nonempty("host", findings);
    let tenure = section.duration("tenure", seconds(6)..=seconds(60), findings);
    let url = section.nonempty("url", findings);
    section.finish(&[("name", "write host")], findings);
    if etcd.is_none() {
        let text = "[ha] without [etcd]: the hosts of a rack agree in etcd; write both";
        findings.missing(&span, text);
    }
    if let Some(url) = &url {
        let known = ["https://", "http://"];
        if !known.iter().any(|scheme| url.value.starts_with(scheme)) {
            let text = format!("'{}' is not of the form https://mgmt1:6385", url.value);
            findings.complain(&url.span, text);
        }
        if url.value.len() > URL_LIMIT {
            let text = format!("url is longer than {URL_LIMIT} bytes");
            findings.complain(&url.span, text);
        }
        if api.tcp.is_none() {
            let text = "url is told to clients, and there is no tcp in [api] for them";
            findings.warn(&url.span, text);
        }
    }
    Some(HaSettings {
        host: host.map(|at| at.value),
        tenure: tenure.map_or(seconds(9), |at| at.value),
        url: url.map(|at| at.value),
    })
}

/// Bytes of a host's URL: it stands in etcd, and is told to clients.
const URL_LIMIT: usize = 1024;
