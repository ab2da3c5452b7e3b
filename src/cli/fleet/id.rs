//! The id of a fleet batch: the request id under which each of its racks was asked.
//!
//! Every daemon keeps the request id beside who asked, with the batch in its journal and in its
//! audit trail. So the batches of a fleet batch are found in any rack that is asked, whatever
//! became of the client, and nothing new had to be stored.

use super::{Answer, Fleet, PATIENCE, Rack};
use crate::cli::exit::Failure;
use crate::model::{Batch, Short};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// See the head of this file. Its version tells it from the ids that daemons give to requests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FleetId(Uuid);

/// A uuid of one's own making (RFC 9562, section 5.8).
const VERSION: usize = 8;
/// What a short id begins with.
const FLEET: &str = "f:";

impl FleetId {
    /// A new one: the time, then what nobody else has.
    pub(super) fn make() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.map_or(0, |since| since.as_millis() as u64);
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the kernel has randomness");
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// As the daemons have it.
    pub(super) fn request(self) -> String {
        format!("req-{}", self.0)
    }

    /// That of the request that began a batch, if it was one to several racks.
    pub(super) fn of(batch: &Batch) -> Option<Self> {
        let uuid = batch.requested_by.request.strip_prefix("req-")?;
        let uuid = Uuid::try_parse(uuid).ok()?;
        (uuid.get_version_num() == VERSION).then_some(Self(uuid))
    }
}

/// `f:7k3f9`, as people write it.
impl std::fmt::Display for FleetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{FLEET}{}", Short::of(self.0))
    }
}

/// A fleet id as somebody wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Written {
    /// `f:7k3f9`.
    Short(Short),
    /// `req-0197a5c3-...`.
    Whole(Uuid),
}

impl Written {
    /// What a word says, where it has the form of one.
    pub(super) fn read(word: &str) -> Option<Self> {
        let short = word.strip_prefix(FLEET).and_then(Short::parse);
        let whole = || Uuid::try_parse(word.strip_prefix("req-")?).ok();
        short
            .map(Written::Short)
            .or_else(|| whole().map(Written::Whole))
    }

    fn means(self, id: FleetId) -> bool {
        match self {
            Self::Short(short) => Short::of(id.0) == short,
            Self::Whole(uuid) => id.0 == uuid,
        }
    }
}

/// The batches of one fleet batch, and the racks that did not answer.
pub(super) struct Found<'f> {
    pub batches: Vec<(&'f Rack, Batch)>,
    pub silent: Vec<(&'f Rack, Failure)>,
}

/// The batches that every rack of the fleet remembers.
pub(super) async fn remembered(fleet: &Fleet) -> Vec<Answer<'_, Vec<Batch>>> {
    let racks: Vec<&Rack> = fleet.racks.iter().collect();
    let question = async |rack: &Rack| rack.client.batches().await;
    Fleet::asked(&racks, PATIENCE, question).await
}

/// The batches that were begun under that id.
///
/// # Errors
/// Two fleet batches have the same short id.
pub(super) async fn find(fleet: &Fleet, wanted: Written) -> Result<Found<'_>, Failure> {
    let mut found = Found {
        batches: Vec::new(),
        silent: Vec::new(),
    };
    let mut ids = BTreeSet::new();
    for (rack, answer) in remembered(fleet).await {
        match answer {
            Ok(batches) => {
                for batch in batches {
                    if let Some(id) = FleetId::of(&batch).filter(|id| wanted.means(*id)) {
                        ids.insert(id);
                        found.batches.push((rack, batch));
                    }
                }
            }
            Err(why) => found.silent.push((rack, why)),
        }
    }
    if ids.len() > 1 {
        let ids: Vec<String> = ids.into_iter().map(FleetId::request).collect();
        return Err(Failure::Usage(format!(
            "several fleet batches are called so; nothing was done: name one of {}",
            ids.join(", ")
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Who;

    fn batch(request: &str) -> Batch {
        Batch {
            requested_by: Who {
                request: request.to_owned(),
                ..Who::default()
            },
            ..Batch::default()
        }
    }

    #[test]
    fn an_id_is_found_in_the_batch_that_was_begun_under_it_and_in_no_other() {
        let id = FleetId::make();
        assert_eq!(FleetId::of(&batch(&id.request())), Some(id));
        let short = Written::read(&id.to_string()).expect("an id");
        assert!(short.means(id));
        let whole = Written::read(&id.request()).expect("an id");
        assert!(whole.means(id));
        assert!(!whole.means(FleetId::make()));
        // As daemons give them to requests of one rack.
        let random = "req-5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a";
        assert_eq!(FleetId::of(&batch(random)), None);
        assert_eq!(FleetId::of(&batch("")), None);
        for word in ["t:7k3f9", "b:7k3f9", "f:7k3", "r1/n01"] {
            assert_eq!(Written::read(word), None);
        }
    }
}
