//! Refused log-ins as the journal has them, for a look at the BMCs while no daemon runs
//! (`--check-bmcs`): without it each look would cost a BMC one more (design, rule 10).

use super::store::{Store, StoreError};
use crate::bmc::{LogIns, RefusedLogIns};
use crate::model::Trouble;
use crate::rack::record::{Table, Write};
use crate::rack::settings::{NodeSettings, Refusals};
use crate::rack::stored;
use crate::rack::stored::migrate::FORMAT;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// See the head of this file.
pub(super) struct Journal<'a> {
    state_dir: &'a Path,
    /// What it said when it was first asked. A look changes nothing in it.
    known: Option<BTreeMap<Uuid, RefusedLogIns>>,
}

impl<'a> Journal<'a> {
    pub(super) fn in_directory(state_dir: &'a Path) -> Self {
        Journal {
            state_dir,
            known: None,
        }
    }

    fn known(&mut self) -> Result<&mut BTreeMap<Uuid, RefusedLogIns>, String> {
        let known = match self.known.take() {
            Some(known) => known,
            None => self.read()?,
        };
        Ok(self.known.insert(known))
    }

    fn read(&self) -> Result<BTreeMap<Uuid, RefusedLogIns>, String> {
        if !self.is_there()? {
            return Ok(BTreeMap::new());
        }
        let mut store = Store::open_to_look(self.state_dir).map_err(|error| self.words(error))?;
        let entries = store.load().map_err(|error| self.words(error))?;
        let nodes = entries
            .into_iter()
            .filter(|(table, ..)| *table == Table::Nodes);
        Ok(nodes
            .filter_map(|(_, key, value)| {
                // An entry that cannot be read says nothing of log-ins.
                let refused = stored::refused_log_ins(&value).ok().flatten()?;
                Some((key.parse().ok()?, refused))
            })
            .collect())
    }

    fn is_there(&self) -> Result<bool, String> {
        match std::fs::metadata(self.state_dir) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(format!(
                "{}: {error}: the journal there knows which log-ins were refused; run this as root, or as the daemon's user",
                self.state_dir.display()
            )),
            _ => Ok(Store::exists(self.state_dir)),
        }
    }

    fn words(&self, error: StoreError) -> String {
        match error {
            StoreError::Locked(directory) => format!(
                "{} is in use by a rackbmcd that runs, and its socket does not answer: no BMC was logged in to",
                directory.display()
            ),
            other => other.to_string(),
        }
    }

    /// Writes how many log-ins were refused into the node's entry, where there is one, of the
    /// newest format: a look brings no journal up.
    fn write(&self, node: Uuid, refused: Option<RefusedLogIns>) -> Result<(), StoreError> {
        if !Store::exists(self.state_dir) {
            return Ok(());
        }
        if Store::open_to_look(self.state_dir)?.format()? != FORMAT {
            return Ok(());
        }
        let mut store = Store::open(self.state_dir)?;
        let key = node.to_string();
        let Some(value) = store.entry(Table::Nodes, &key)? else {
            return Ok(());
        };
        let Ok(value) = stored::with_refused_log_ins(&value, refused) else {
            return Ok(());
        };
        let (table, value) = (Table::Nodes, value);
        store.commit(&[Write::Put { table, key, value }])
    }
}

impl Refusals for Journal<'_> {
    fn of(&mut self, node: &NodeSettings) -> Result<Option<(u32, String)>, String> {
        let mark = node.login.mark();
        let known = self.known()?.get(&node.uuid);
        let same = known.filter(|known| known.credentials == mark);
        Ok(same.map(|known| (known.refused.count, known.refused.text.clone())))
    }

    fn note(
        &mut self,
        node: &NodeSettings,
        refused: Option<(Trouble, &str)>,
    ) -> Result<(), String> {
        let before = self.of(node)?.map_or(0, |(count, _)| count);
        let credentials = node.login.mark();
        let now = refused.map(|(trouble, text)| RefusedLogIns {
            refused: LogIns {
                count: before + 1,
                trouble,
                text: text.to_owned(),
            },
            credentials,
        });
        let known = self.known()?;
        let was_there = known.remove(&node.uuid).is_some();
        if let Some(now) = &now {
            known.insert(node.uuid, now.clone());
        }
        match was_there || now.is_some() {
            true => self
                .write(node.uuid, now)
                .map_err(|error| self.words(error)),
            false => Ok(()),
        }
    }
}
