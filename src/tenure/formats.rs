//! The formats of what is in the journal. An owner of a newer version brings older entries to its
//! own format before it writes anything else.
//!
//! One key says which entries are of which format. While they are brought it changes with each
//! commit, so that whoever has the rack next goes on where this one came to. A host of an older
//! version leaves all of it alone: the owner says which format it writes.

use super::keys::Keys;
use crate::etcd::Entry;
use crate::rack::record::{Table, Write};
use crate::rack::stored::migrate::Upgrade;
use serde::{Deserialize, Serialize};

/// What hosts wrote before they said so.
const UNSAID: u64 = 4;

/// Entries of one format, in the order of their keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Reach {
    /// The last of them; all that are left, where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upto: Option<String>,
    format: u64,
}

/// Which entries are of which format: the value of the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Formats(Vec<Reach>);

impl Default for Formats {
    fn default() -> Self {
        Self::all(UNSAID)
    }
}

impl Formats {
    /// All entries are of this one.
    pub(super) fn all(format: u64) -> Self {
        Self(vec![Reach { upto: None, format }])
    }

    /// That of an entry.
    fn of(&self, key: &str) -> u64 {
        let within = |reach: &&Reach| reach.upto.as_deref().is_none_or(|upto| key <= upto);
        self.0
            .iter()
            .find(within)
            .map_or(UNSAID, |reach| reach.format)
    }

    /// The same once all entries up to this one are of that format.
    pub(super) fn brought(&self, upto: &str, format: u64) -> Self {
        let beyond = |reach: &&Reach| reach.upto.as_deref().is_none_or(|end| end > upto);
        let upto = Some(upto.to_owned());
        let rest = self.0.iter().filter(beyond).cloned();
        Self(
            std::iter::once(Reach { upto, format })
                .chain(rest)
                .collect(),
        )
    }
}

/// A journal as it is to be read, and what of it has to be written anew.
pub(super) struct Brought {
    pub(super) entries: Vec<(Table, String, Vec<u8>)>,
    /// With their keys, in whose order they are.
    pub(super) changed: Vec<(String, Write)>,
}

/// The entries of a journal in the format `to`.
pub(super) fn bring(keys: &Keys, found: &[Entry], formats: &Formats, to: u64) -> Brought {
    let (mut entries, mut changed) = (Vec::new(), Vec::new());
    for entry in found {
        let Some((table, key)) = keys.table_and_key(&entry.key) else {
            continue;
        };
        let from = formats.of(&entry.key);
        let value = match from < to {
            true => {
                Upgrade::from(from)
                    .entry(table, &key, entry.value.clone())
                    .1
            }
            false => entry.value.clone(),
        };
        if value != entry.value {
            let (key, value) = (key.clone(), value.clone().into());
            let write = Write::Put { table, key, value };
            changed.push((entry.key.clone(), write));
        }
        entries.push((table, key, value));
    }
    Brought { entries, changed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_entries_were_brought_is_known_over_several_tries() {
        let mut formats = Formats::all(4);
        assert_eq!((formats.of("a"), formats.of("z")), (4, 4));
        formats = formats.brought("m", 5);
        assert_eq!((formats.of("m"), formats.of("n")), (5, 4));
        // A still newer host had the rack before all of it was brought.
        formats = formats.brought("c", 6);
        let of = ["c", "d", "m", "n"].map(|key| formats.of(key));
        assert_eq!(of, [6, 5, 5, 4]);
        formats = formats.brought("p", 6);
        assert_eq!(
            (formats.of("d"), formats.of("p"), formats.of("q")),
            (6, 6, 4)
        );
        let text = serde_json::to_string(&formats).expect("JSON");
        assert_eq!(text, r#"[{"upto":"p","format":6},{"format":4}]"#);
    }
}
