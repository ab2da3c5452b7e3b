//! What is written now against what was frozen (`tests/journal`): byte for byte, and every word of
//! it.

use super::super::record::Table;
use super::migrate::{FORMAT, Upgrade};
use super::{Entry, batch, node, read};
use crate::power::stored::{phase, sent, words};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// What to do where a record is not as it was frozen.
const WHAT_TO_DO: &str = "Records of this format lie on disks: do not edit the frozen files. Take the change back, or \
    raise the format: write the migration from the one before, and freeze a new directory (tests/journal/README.md).";

/// The files of a frozen directory.
macro_rules! frozen_in {
    ($directory:literal) => {
        [
            include_str!(concat!(
                "../../../tests/journal/",
                $directory,
                "/tasks.jsonl"
            )),
            include_str!(concat!(
                "../../../tests/journal/",
                $directory,
                "/batches.jsonl"
            )),
            include_str!(concat!(
                "../../../tests/journal/",
                $directory,
                "/nodes.jsonl"
            )),
            include_str!(concat!(
                "../../../tests/journal/",
                $directory,
                "/history.jsonl"
            )),
            include_str!(concat!(
                "../../../tests/journal/",
                $directory,
                "/rack.jsonl"
            )),
            include_str!(concat!(
                "../../../tests/journal/",
                $directory,
                "/journal.redb.jsonl"
            )),
        ]
    };
}

/// The format that this program writes while no release has it and its directory is not frozen:
/// `None` else.
const IN_WORK: Option<u64> = None;

/// The newest format that has a frozen directory.
const FROZEN: u64 = 4;
const FROZEN_FILES: [&str; 6] = frozen_in!("v4");

/// The entries of the newest frozen directory, brought to the newest format.
fn frozen() -> Vec<(Table, String, Vec<u8>)> {
    let unfrozen = (FROZEN < FORMAT).then_some(FORMAT);
    assert_eq!(unfrozen, IN_WORK, "formats are frozen: {WHAT_TO_DO}");
    let mut upgrade = Upgrade::from(FROZEN);
    let lines = FROZEN_FILES.iter().flat_map(|text| text.lines());
    lines
        .map(parts)
        .map(|(table, key, value)| match FROZEN {
            FORMAT => (table, key, value),
            _ => {
                let (key, value) = upgrade.entry(table, &key, value);
                (table, key, value)
            }
        })
        .collect()
}

/// `{"table":"tasks","key":"...","value":...}`, the value byte for byte.
fn parts(line: &str) -> (Table, String, Vec<u8>) {
    let (table, rest) = line
        .strip_prefix("{\"table\":\"")
        .and_then(|rest| rest.split_once('"'))
        .expect("a table");
    let (key, rest) = rest
        .strip_prefix(",\"key\":\"")
        .and_then(|rest| rest.split_once('"'))
        .expect("a key");
    let value = rest
        .strip_prefix(",\"value\":")
        .and_then(|rest| rest.strip_suffix('}'));
    let table = Table::from_name(table).expect("one of ours");
    (
        table,
        key.to_owned(),
        value.expect("a value").as_bytes().to_vec(),
    )
}

/// The entry as it is written now, `None` where another room writes it.
fn written(entry: Entry) -> Option<Arc<[u8]>> {
    Some(match entry {
        Entry::Task(record) => super::task(*record),
        Entry::Batch(_, record) => batch(&record),
        Entry::Node(_, memory) => node(&memory),
        Entry::History(_, node, entry) => super::history(node, &entry),
        Entry::Pause(pause) => super::pause(&pause),
        Entry::Alive(alive) => super::alive(&alive),
        Entry::Intent(order, intent) => super::intent(order, &intent).1,
        Entry::Foreign => return None,
    })
}

#[test]
fn what_is_written_is_what_was_frozen() {
    for (table, key, value) in frozen() {
        let name = table.name();
        let entry = read(table, &key, &value)
            .unwrap_or_else(|why| panic!("{name}/{key} cannot be read: {why}.\n{WHAT_TO_DO}"));
        if let Some(written) = written(entry) {
            // What a step has touched is in the order of its fields no more.
            let as_brought = |value: &[u8]| match IN_WORK {
                None => String::from_utf8_lossy(value).into_owned(),
                Some(_) => serde_json::from_slice::<Value>(value)
                    .expect("JSON")
                    .to_string(),
            };
            let (now, then) = (as_brought(&written), as_brought(&value));
            assert!(
                now == then,
                "{name}/{key} is written as\n{now}\nand was\n{then}\n{WHAT_TO_DO}"
            );
        }
    }
}

#[test]
fn an_order_outside_tasks_is_remembered_for_the_next_host_as_it_was_asked_for() {
    // It stands in etcd only: a rack with one host has none of these on its disk.
    let asked =
        br#"{"node":"00000000-0000-0000-0000-000000000007","what":"identify","by":"alice","at":5}"#;
    let Ok(Entry::Intent(order, intent)) = read(Table::Rack, "intent/41", asked) else {
        panic!("it is not read as one");
    };
    assert_eq!(
        (order, intent.by.as_str()),
        (crate::bmc::vocabulary::OrderId(41), "alice")
    );
    let written = super::intent(order, &intent);
    assert_eq!(written, ("intent/41".to_owned(), asked.to_vec().into()));
    assert!(read(Table::Rack, "intent/x", asked).is_err());
}

/// The words of an enumeration, out of what serde says of one that it has not.
fn words_of<T: DeserializeOwned>() -> Vec<String> {
    let said = serde_json::from_str::<T>("\"?\"")
        .err()
        .expect("no such word")
        .to_string();
    let quoted = said.split('`').skip(1).step_by(2);
    let words: Vec<String> = quoted
        .filter(|word| *word != "?")
        .map(str::to_owned)
        .collect();
    assert!(words.len() > 1, "{said}");
    words
}

/// Whether this word, or a variant of this name, stands in a field of one of these names.
fn shows(value: &Value, fields: &[&str], word: &str, here: bool) -> bool {
    match value {
        Value::String(text) => here && text == word,
        Value::Array(members) => members
            .iter()
            .any(|member| shows(member, fields, word, here)),
        Value::Object(members) => members.iter().any(|(name, member)| {
            here && name == word || shows(member, fields, word, fields.contains(&name.as_str()))
        }),
        _ => false,
    }
}

#[test]
fn every_variant_of_what_is_stored_is_frozen() {
    if IN_WORK.is_some() {
        return;
    }
    let enumerations: [(Vec<String>, &[&str]); 17] = [
        (words_of::<phase::Phase>(), &["phase", "inner"]),
        (words_of::<phase::Next>(), &["next"]),
        (words_of::<phase::SlowLook>(), &["look"]),
        (words_of::<phase::Then>(), &["then"]),
        (words_of::<phase::Aim>(), &["aim"]),
        (words_of::<phase::Question>(), &["asked"]),
        (words_of::<phase::Fate>(), &["fate"]),
        (words_of::<sent::Order>(), &["order"]),
        (words_of::<sent::Report>(), &["answer"]),
        (words_of::<sent::Reading>(), &["accepted"]),
        (words_of::<sent::RestartCause>(), &["cause"]),
        (words_of::<words::Operation>(), &["operation"]),
        (words_of::<words::Trouble>(), &["trouble"]),
        (words_of::<words::RefusalKind>(), &["kind"]),
        (words_of::<words::Control>(), &["control"]),
        (words_of::<node::PowerState>(), &["shown"]),
        (words_of::<batch::OnFailure>(), &["on_failure"]),
    ];
    let ends = [
        "succeeded",
        "failed",
        "aborted",
        "cancelled",
        "rolled_back",
        "stuck",
    ];
    let few: [(Vec<String>, &[&str]); 4] = [
        (words_of::<words::Power>(), &["power"]),
        (words_of::<words::Delivery>(), &["delivery"]),
        (words_of::<words::OnSoftTimeout>(), &["on_soft_timeout"]),
        // Only the end of a task is stored as such.
        (ends.map(str::to_owned).to_vec(), &["state"]),
    ];
    let values = frozen().into_iter().map(|(_, _, value)| value);
    let values: Vec<Value> = values
        .map(|value| serde_json::from_slice(&value).expect("JSON"))
        .collect();
    for (words, fields) in enumerations.into_iter().chain(few) {
        for word in words {
            let shown = values
                .iter()
                .any(|value| shows(value, fields, &word, false));
            assert!(
                shown,
                "no frozen record has '{word}' in {fields:?}.\n{WHAT_TO_DO}"
            );
        }
    }
}
