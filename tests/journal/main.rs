//! What the journal keeps, for ever: `README.md` beside this file says what the directories here
//! are and how a new one is made.

#[path = "../daemon/mod.rs"]
mod daemon;
mod driven;
mod features;
mod fields;
mod frozen;
#[path = "../golden/mod.rs"]
mod golden;
#[allow(dead_code, reason = "the storm uses the rest of it")]
#[path = "../storm/mischief.rs"]
mod mischief;
mod pick;
mod real;
mod restored;
mod stories;
#[path = "../world/mod.rs"]
mod world;

use frozen::Line;
use rackbmcd::rack::stored::migrate::FORMAT;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What to do where a record is not as it was frozen.
const WHAT_TO_DO: &str = "Records of this format lie on disks: do not edit the frozen files. Take the change back, or \
    raise the format: write the migration from the one before, and freeze a new directory (tests/journal/README.md).";

/// `restored/vN.txt` says what is to come of the records of format N: state, time left, what was
/// sent. It may change as the words do that people see; the facts in it may not.
#[test]
fn every_frozen_record_is_restored_to_what_it_was() {
    for format in frozen::formats() {
        let told = restored::told(format, &frozen::lines(format));
        let file = format!("tests/journal/restored/v{format}.txt");
        golden::compare(
            &file,
            &told,
            "for facts: words may change, and nothing else",
        );
    }
}

#[test]
fn the_daemon_writes_no_field_that_the_newest_frozen_records_do_not_show() {
    // A format that no release has is frozen when its work is done.
    if frozen::formats().last() != Some(FORMAT) {
        return;
    }
    let shown: BTreeSet<String> = frozen::lines(FORMAT)
        .iter()
        .flat_map(|line| features::names(&line.table, &line.json()))
        .collect();
    let mut written = driven::all();
    (0..2).for_each(|seed| written.append(&mut stories::told(seed, 6)));
    for Line { table, key, value } in written {
        let json = serde_json::from_slice(&value).expect("values are JSON");
        let new = features::names(&table, &json);
        let new: Vec<&String> = new.difference(&shown).collect();
        assert!(new.is_empty(), "{table}/{key} has {new:?}.\n{WHAT_TO_DO}");
    }
}

/// Fields that came within a format before a release had it: a record without them reads, and is
/// written, as before. No more come here: a new field wants a new format.
const WITHIN_A_FORMAT: [(&str, &str); 7] = [
    ("Batch", "left_out"),
    ("Identity", "other_traits"),
    ("Knowledge", "left_out"),
    ("Settings", "never_off"),
    ("StoredIdentity", "controls_left_out"),
    ("StoredIdentity", "taken_over_by"),
    ("StoredIdentity", "took_over"),
];

/// Stories fill what they happen to fill; a field that they leave empty is new all the same.
#[test]
fn every_field_that_the_source_stores_is_in_the_newest_frozen_records() {
    if frozen::formats().last() != Some(FORMAT) {
        return;
    }
    let lines = frozen::lines(FORMAT);
    let is_shown = |name: &str| {
        let name = format!("\"{name}\":");
        lines
            .iter()
            .any(|line| String::from_utf8_lossy(&line.value).contains(&name))
    };
    let fields = fields::stored();
    assert!(fields.len() > 200, "{fields:?}");
    let new: Vec<_> = fields
        .iter()
        .filter(|(of, name)| {
            !WITHIN_A_FORMAT.contains(&(of.as_str(), name.as_str())) && !is_shown(name)
        })
        .collect();
    assert!(new.is_empty(), "{new:?}.\n{WHAT_TO_DO}");
}

/// Makes a directory of frozen records where `FREEZE` names one: see README.md.
#[test]
fn a_directory_of_frozen_records_is_made_where_one_is_asked_for() {
    let Some(out) = std::env::var_os("FREEZE").map(PathBuf::from) else {
        return;
    };
    let seeds = std::env::var("FREEZE_SEEDS").map_or(600, |seeds| seeds.parse().expect("a number"));
    std::fs::create_dir_all(&out).expect("a directory");
    let mut pool = pick::Pool::default();
    driven::all().into_iter().for_each(|line| pool.offer(line));
    for seed in 0..seeds {
        stories::told(seed, 12)
            .into_iter()
            .for_each(|line| pool.offer(line));
    }
    pool.write(&out);
    real::make(&out);
}
