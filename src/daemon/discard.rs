//! `rackbmcd --discard TABLE KEY`: a person discards an entry of the journal that cannot be read,
//! while no daemon runs. A copy of it goes into the audit trail, with who did it, in the same
//! transaction.

use super::audit::AuditLog;
use super::clock::Clock;
use super::store::{Store, StoreError};
use crate::api::serve::Audit;
use crate::model::Who;
use crate::rack::record::{Table, Write};
use crate::rack::stored;
use nix::unistd::{Gid, Uid, User, getpid};
use std::path::Path;

/// Discards the entry; what was done, or why it was not.
pub(super) fn discard(state_dir: &Path, table: &str, key: &str) -> Result<String, String> {
    let place = format!("{table} {key}");
    let table = Table::from_name(table).ok_or_else(|| {
        let names = Table::ALL.map(Table::name).join(", ");
        format!("there is no table '{table}': there are {names}")
    })?;
    if !Store::exists(state_dir) {
        return Err(format!("{}: there is no journal", state_dir.display()));
    }
    let mut store = Store::open(state_dir).map_err(|error| match error {
        StoreError::Locked(directory) => format!(
            "{} is in use by a rackbmcd that runs: stop it, discard the entry, and start it again",
            directory.display()
        ),
        other => other.to_string(),
    })?;
    let value = store.entry(table, key).map_err(|error| error.to_string())?;
    let value = value.ok_or_else(|| format!("there is no entry {place}"))?;
    let why = stored::unreadable(table, key, &value)
        .ok_or_else(|| format!("the entry {place} can be read: it is in use, and not discarded"))?;
    let copy = String::from_utf8_lossy(&value).into_owned();
    let mut trail = AuditLog::open(&mut store).map_err(|error| error.to_string())?;
    let audit = Audit {
        who: who(),
        method: "DISCARD".to_owned(),
        path: format!("journal/{}/{key}", table.name()),
        nodes: None,
        what: Some(format!(
            "discarded an entry that cannot be read ({why}): {copy}"
        )),
        status: 200,
        task: None,
        batch: None,
        error: None,
    };
    let mut writes = trail.append(audit, Clock.wall());
    writes.push(Write::Delete {
        table,
        key: key.to_owned(),
    });
    store.commit(&writes).map_err(|error| error.to_string())?;
    Ok(format!(
        "discarded {place} ({why}); a copy is in the audit trail:\n{copy}"
    ))
}

/// The person at the keyboard.
fn who() -> Who {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten();
    Who {
        name: user.map_or(format!("uid {uid}"), |user| user.name),
        uid: Some(uid.as_raw()),
        gid: Some(Gid::current().as_raw()),
        pid: Some(getpid().as_raw()),
        request: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::audit;

    const ID: &str = "01a0ca46-4e71-7000-9ac9-bed1d55d84a4";

    fn put(table: Table, key: &str, value: &str) -> Write {
        Write::Put {
            table,
            key: key.to_owned(),
            value: value.as_bytes().into(),
        }
    }

    #[test]
    fn an_unreadable_entry_is_discarded_with_a_copy_in_the_trail() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        let writes = [
            put(Table::Tasks, ID, "{\"half\":"),
            put(Table::Rack, "alive", "{\"wall\":1790100005369000}"),
        ];
        store.commit(&writes).unwrap();
        let running = discard(home.path(), "tasks", ID).unwrap_err();
        assert!(
            running.contains("by a rackbmcd that runs: stop it"),
            "{running}"
        );
        drop(store);
        for (table, key, why) in [
            (
                "task",
                ID,
                "there is no table 'task': there are tasks, batches",
            ),
            ("tasks", "x", "there is no entry tasks x"),
            ("rack", "alive", "can be read: it is in use"),
        ] {
            let refused = discard(home.path(), table, key).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let done = discard(home.path(), "tasks", ID).unwrap();
        assert!(done.contains(&format!("discarded tasks {ID} (")), "{done}");
        assert!(done.ends_with("{\"half\":"), "{done}");
        let mut store = Store::open(home.path()).unwrap();
        assert_eq!(store.entry(Table::Tasks, ID).unwrap(), None);
        assert_eq!(audit::verify(&mut store).unwrap().2, []);
        let trail = audit::read(&mut store, 0, 10).unwrap().records;
        assert_eq!(trail.len(), 1);
        assert!(trail[0].contains("{\\\"half\\\":"), "{}", trail[0]);
    }
}
