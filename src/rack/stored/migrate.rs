//! Bringing entries of an older format to the newest, one step a format.
//!
//! Driven by the store when it opens a journal of an older program, before anything is read. A step
//! is a function over JSON values and knows no running type: it stays true however those change.

use crate::rack::record::Table;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// From one format to the next: changes the value of an entry of this table, or says why that
/// cannot be done.
type Step = fn(Table, &mut Value) -> Result<(), String>;

/// The steps, the first one from format 1 to 2. One is added for each release that changes what is
/// stored.
const STEPS: &[Step] = &[refusals_are_repeated, third, fourth];

/// The format of what this program writes.
pub const FORMAT: u64 = 1 + STEPS.len() as u64;

/// Format 2: one refusal takes no order from a node any more, and what a BMC carried out is
/// remembered instead.
fn refusals_are_repeated(table: Table, entry: &mut Value) -> Result<(), String> {
    if table != Table::Nodes {
        return Ok(());
    }
    let knowledge = entry.get_mut("knowledge").and_then(Value::as_object_mut);
    let knowledge = knowledge.ok_or("nothing is known of the BMC")?;
    knowledge.remove("unsupported");
    knowledge.insert("carried_out".to_owned(), json!([]));
    Ok(())
}

/// Format 3: fields that may be missing, and what is named here; see [`Upgrade`] for the keys of
/// history.
fn third(table: Table, entry: &mut Value) -> Result<(), String> {
    match table {
        Table::Nodes => each_order_acts_late(entry),
        Table::Tasks => tasks_know_of_earlier_ones(entry),
        // Since format 3 a sign of life has more in it than the calendar's time.
        Table::Rack if entry.is_u64() => {
            *entry = json!({ "wall": entry.take() });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Format 4: fields that may be missing.
fn fourth(_: Table, _: &mut Value) -> Result<(), String> {
    Ok(())
}

/// What may still act is kept order by order, with its time. Of an older one only the task and its
/// end are known: it explains a change, and stands against nothing.
fn each_order_acts_late(entry: &mut Value) -> Result<(), String> {
    let late = entry
        .get_mut("late")
        .ok_or("it says nothing of late effects")?;
    let fields = late.take();
    *late = json!([]);
    if fields.is_null() {
        return Ok(());
    }
    let to = fields.get("to").and_then(Value::as_array).cloned();
    let to = to.ok_or("its late effect leads nowhere")?;
    // An effect that has come stands against nothing any more.
    if to.is_empty() {
        return Ok(());
    }
    let soft = fields.get("operation").and_then(Value::as_str);
    let soft = soft.is_some_and(|operation| operation.starts_with("soft"));
    let leads_to = |power: &str| to.iter().any(|to| to == power);
    let order = match (leads_to("off"), leads_to("on")) {
        (true, true) => "cycle",
        (false, _) => "power_on",
        (true, false) if soft => "soft_off",
        (true, false) => "power_off",
    };
    let (task, ended) = (fields["task"].clone(), fields["at"].clone());
    *late = json!([{
        "task": task, "operation": fields["operation"], "state": fields["state"],
        "ended": ended, "order": order, "at": ended, "until": ended, "to": to,
    }]);
    Ok(())
}

fn tasks_know_of_earlier_ones(entry: &mut Value) -> Result<(), String> {
    let knowledge = entry.pointer_mut("/sequence/knowledge");
    let knowledge = knowledge.and_then(Value::as_object_mut);
    let knowledge = knowledge.ok_or("its sequence knows nothing")?;
    knowledge.insert("earlier".to_owned(), json!([]));
    Ok(())
}

/// A journal of an older format on its way to the newest, entry by entry, sorted by key.
#[derive(Debug)]
pub struct Upgrade {
    from: u64,
    /// How many entries each node's history has by now.
    histories: BTreeMap<Uuid, u64>,
}

impl Upgrade {
    /// Of a journal of format `from`.
    pub fn from(from: u64) -> Self {
        let histories = BTreeMap::new();
        Self { from, histories }
    }

    /// The key and the value of an entry in the newest format. A value that cannot be brought there
    /// stands behind the words that say so, and is found unreadable, with them, wherever it is
    /// read.
    pub fn entry(&mut self, table: Table, key: &str, value: Vec<u8>) -> (String, Vec<u8>) {
        let moved = (table == Table::History && self.from < 3).then(|| self.move_history(&value));
        let key = moved.flatten().unwrap_or_else(|| key.to_owned());
        (key, bring(STEPS, self.from, table, value))
    }

    /// Format 3: entries of a node's history stand together, numbered without a gap.
    fn move_history(&mut self, value: &[u8]) -> Option<String> {
        let json: Value = serde_json::from_slice(value).ok()?;
        let node: Uuid = json.get("node")?.as_str()?.parse().ok()?;
        let number = self.histories.entry(node).or_default();
        let key = format!("{node}/{number:020}");
        *number += 1;
        Some(key)
    }
}

fn bring(steps: &[Step], from: u64, table: Table, value: Vec<u8>) -> Vec<u8> {
    let Some(steps) = usize::try_from(from - 1)
        .ok()
        .and_then(|done| steps.get(done..))
    else {
        return value;
    };
    let brought = serde_json::from_slice(&value)
        .map_err(|error| error.to_string())
        .and_then(|mut json: Value| {
            steps.iter().try_for_each(|step| step(table, &mut json))?;
            Ok(json)
        });
    let json = brought.unwrap_or_else(|why| {
        // The value is kept behind the reason: a person, or a later program, can still read it.
        let was = String::from_utf8_lossy(&value);
        json!({ NOT_BROUGHT: format!("from format {from}: {why}"), "was": was })
    });
    serde_json::to_vec(&json).expect("JSON has a text")
}

/// Why the value was not brought to the newest format, where that is what it says.
pub(super) fn not_brought(value: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(value).ok()?;
    let why = json.get(NOT_BROUGHT)?.as_str()?;
    Some(format!("it could not be migrated {why}"))
}

const NOT_BROUGHT: &str = "not migrated";

#[cfg(test)]
mod tests {
    use super::*;

    fn rename(table: Table, entry: &mut Value) -> Result<(), String> {
        if table != Table::Tasks {
            return Ok(());
        }
        let fields = entry.as_object_mut().ok_or("it is no record")?;
        let patience = fields.remove("patience").ok_or("it has no patience")?;
        fields.insert("deadline".to_owned(), patience);
        Ok(())
    }

    fn double(_: Table, entry: &mut Value) -> Result<(), String> {
        if let Some(deadline) = entry.get_mut("deadline") {
            *deadline = json!(deadline.as_u64().ok_or("its deadline is no number")? * 2);
        }
        Ok(())
    }

    fn brought(from: u64, table: Table, value: &str) -> String {
        let bytes = bring(&[rename, double], from, table, value.into());
        String::from_utf8(bytes).expect("JSON is text")
    }

    #[test]
    fn an_entry_takes_every_step_after_its_own_format() {
        let tasks = Table::Tasks;
        assert_eq!(brought(1, tasks, r#"{"patience":4}"#), r#"{"deadline":8}"#);
        assert_eq!(brought(2, tasks, r#"{"deadline":4}"#), r#"{"deadline":8}"#);
        assert_eq!(brought(3, tasks, r#"{"deadline":4}"#), r#"{"deadline":4}"#);
        assert_eq!(brought(1, Table::Rack, "1790"), "1790");
    }

    #[test]
    fn an_entry_that_cannot_be_brought_to_the_newest_format_says_so_and_is_kept() {
        for (value, why) in [
            (r#"{"p":1}"#, "from format 1: it has no patience"),
            ("[]", "from format 1: it is no record"),
            (
                r#"{"patience":"x"}"#,
                "from format 1: its deadline is no number",
            ),
            (
                "no json",
                "from format 1: expected ident at line 1 column 2",
            ),
        ] {
            let kept = brought(1, Table::Tasks, value);
            let said = not_brought(kept.as_bytes()).expect("it says so");
            assert_eq!(said, format!("it could not be migrated {why}"));
            let json: Value = serde_json::from_str(&kept).expect("JSON");
            assert_eq!(json["was"], value);
        }
    }
}
