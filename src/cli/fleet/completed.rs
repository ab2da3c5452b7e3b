//! What completion asks of many racks.

use super::id::FleetId;
use super::{Fleet, Rack, members};
use crate::cli::args::Common;
use crate::cli::exit::Failure;
use crate::nodeset;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Nobody waits for a Tab: a rack that takes longer is left out.
const PATIENCE: Duration = Duration::from_millis(400);
/// Fleet batches that are offered.
const OFFERED: usize = 30;

/// The racks that the options mean.
///
/// # Errors
/// The file is wrong, or there is nothing.
pub(crate) fn racks(common: &Common) -> Result<Vec<Rack>, Failure> {
    members::racks(common)
}

/// The names of the racks that the options mean, or of this host's where they do not speak of a
/// fleet.
pub(crate) fn names(common: &Common) -> Vec<String> {
    let racks = match common.fleet {
        true => members::racks(common),
        false => members::sockets(),
    };
    let racks = racks.unwrap_or_default();
    racks.into_iter().map(|rack| rack.name).collect()
}

/// What racks answer soon.
async fn asked<T>(
    racks: &[Rack],
    question: impl AsyncFn(&Rack) -> Result<T, Failure>,
) -> Vec<(&Rack, T)> {
    let all: Vec<&Rack> = racks.iter().collect();
    let answers = Fleet::asked(&all, PATIENCE, question).await;
    let heard = answers.into_iter();
    heard
        .filter_map(|(rack, answer)| Some((rack, answer.ok()?)))
        .collect()
}

/// The groups that there are in some rack.
pub(crate) async fn groups(racks: &[Rack]) -> Vec<String> {
    let answers = asked(racks, async |rack: &Rack| rack.client.groups().await).await;
    let all: BTreeSet<String> = answers.into_iter().flat_map(|(_, groups)| groups).collect();
    all.into_iter().collect()
}

/// The groups of one rack.
pub(crate) async fn groups_of(rack: &Rack) -> Vec<String> {
    rack.client.groups().await.unwrap_or_default()
}

/// The nodes of one rack.
pub(crate) async fn names_of(rack: &Rack) -> Vec<String> {
    rack.client.names().await.unwrap_or_default()
}

/// Fleet batches, the newest first, with what they are.
pub(crate) async fn ids(racks: &[Rack]) -> Vec<(String, String)> {
    let answers = asked(racks, async |rack: &Rack| rack.client.batches().await).await;
    let mut known: BTreeMap<FleetId, (String, Vec<&str>)> = BTreeMap::new();
    for (rack, batches) in answers {
        for batch in batches {
            if let Some(id) = FleetId::of(&batch) {
                let (_, names) = known
                    .entry(id)
                    .or_insert_with(|| (batch.operation.to_string(), Vec::new()));
                names.push(&rack.name);
            }
        }
    }
    let told = |(id, (operation, racks)): (FleetId, (String, Vec<&str>))| {
        (
            id.to_string(),
            format!("{operation} in {}", nodeset::fold(racks)),
        )
    };
    known.into_iter().rev().take(OFFERED).map(told).collect()
}
