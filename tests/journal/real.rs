//! A journal file of the real daemon, and all that is in it.

use crate::daemon::{Bed, Keys, plan};
use crate::frozen::Line;
use rackbmcd::daemon::store::Store;
use rackbmcd::rack::record::Table;
use rackbmcd::sim::{Mood, OsMood};
use std::path::Path;
use std::time::Duration;

/// Lets a daemon live for some seconds, stops it in the middle of tasks and keeps its journal in
/// `out`.
pub(crate) fn make(out: &Path) {
    let plans = (1..=4).map(|place| {
        let os = if place == 2 {
            OsMood::ObeysAfter(Duration::from_millis(300))
        } else {
            OsMood::Hangs
        };
        plan(
            &format!("n{place:02}"),
            Mood {
                os,
                ..Mood::default()
            },
        )
    });
    let mut bed = Bed::of(plans, &Keys::default());
    bed.start();
    let ask = |path: &str, body: &str| {
        let (status, answer) = bed.request("POST", path, body).expect("an answer");
        assert!((200..300).contains(&status), "{status} {answer}");
        answer
    };
    ask(
        "/v1/tasks",
        r#"{"node":"n02","operation":"soft power off"}"#,
    );
    let suspended = ask(
        "/v1/tasks",
        r#"{"node":"n03","operation":"soft rebooting"}"#,
    );
    ask(
        "/v1/batches",
        r#"{"operation":"soft power off","nodes":["n01","n04"],"stagger":"1s"}"#,
    );
    std::thread::sleep(Duration::from_secs(4));
    let task: serde_json::Value = serde_json::from_str(&suspended).expect("a task");
    let id = task["id"].as_str().expect("an id");
    ask(&format!("/v1/tasks/{id}/suspend"), "{}");
    bed.request(
        "PUT",
        "/v1/nodes/n02/maintenance",
        r#"{"reason":"fan replaced"}"#,
    )
    .expect("an answer");
    ask("/v1/pause", r#"{"reason":"a leak"}"#);
    bed.terminate();
    let journal = bed.path("state").join("journal.redb");
    std::fs::copy(journal, out.join("journal.redb")).expect("it is there");
    let lines: String = entries(&bed.path("state")).iter().map(Line::text).collect();
    std::fs::write(out.join("journal.redb.jsonl"), lines).expect("it can be written");
}

/// Every entry of a journal, the audit trail too.
fn entries(directory: &Path) -> Vec<Line> {
    let mut store = Store::open(directory).expect("a journal");
    let mut all = store.load().expect("it can be read");
    let trail = store
        .after_with_keys(Table::Audit, "", 1000)
        .expect("it can be read");
    all.extend(
        trail
            .into_iter()
            .map(|(key, value)| (Table::Audit, key, value)),
    );
    let line = |(table, key, value): (Table, String, Vec<u8>)| Line {
        table: table.name().to_owned(),
        key,
        value,
    };
    all.into_iter().map(line).collect()
}
