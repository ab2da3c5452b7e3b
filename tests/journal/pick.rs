//! Few records out of many: all that any of them shows is shown by those that are picked.

use crate::features::features;
use crate::frozen::Line;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Records that show something that no shorter one before them did.
#[derive(Default)]
pub(crate) struct Pool {
    lines: Vec<(Line, BTreeSet<String>)>,
    /// How often each feature was seen, and where a short record is that shows it.
    seen: BTreeMap<String, (usize, usize)>,
}

impl Pool {
    pub(crate) fn offer(&mut self, line: Line) {
        let value = line.json();
        let shown = features(&line.table, &value);
        let (at, mut taken) = (self.lines.len(), false);
        for feature in &shown {
            let (count, best) = self.seen.entry(feature.clone()).or_insert((0, at));
            *count += 1;
            let shorter =
                *best < at && line.value.len() + WORTHWHILE < self.lines[*best].0.value.len();
            if shorter {
                *best = at;
            }
            taken |= *best == at;
        }
        if taken {
            self.lines.push((line, shown));
        }
    }

    /// Writes a file for each table: beginning with what is rare, records until all that was seen
    /// is shown.
    pub(crate) fn write(&self, directory: &Path) {
        let mut features: Vec<_> = self.seen.iter().collect();
        features.sort_by_key(|(_, (count, _))| *count);
        let (mut shown, mut picked) = (BTreeSet::new(), BTreeSet::new());
        for (feature, (_, at)) in features {
            if !shown.contains(feature) {
                shown.extend(&self.lines[*at].1);
                picked.insert(*at);
            }
        }
        let mut files: BTreeMap<&str, String> = BTreeMap::new();
        for (line, _) in picked.into_iter().map(|at| &self.lines[at]) {
            files.entry(&line.table).or_default().push_str(&line.text());
        }
        for (table, text) in files {
            fs::write(directory.join(format!("{table}.jsonl")), text).expect("it can be written");
        }
    }
}

/// So many bytes shorter a record has to be to take the place of another.
const WORTHWHILE: usize = 200;
