//! Every sentence that a person may read, in lists: what a task, an event, a refusal and the answer
//! to an abort can say (`core.txt`), what is said of BMCs, of log-ins and of the wire (`bmc.txt`),
//! what the API answers and the daemon tells (`api.txt`), as it stands in the source. A sentence
//! that is new, or another one than before, is seen here, and read.
//!
//! ```text
//! cargo test --test words                      compares with the lists
//! UPDATE_GOLDENS=1 cargo test --test words     writes them anew: read the difference as an operator would
//! ```
//!
//! How they sound with their numbers and names is in `src/power/tests/said.txt`, which a walk
//! through all tasks makes.

#[path = "../golden/mod.rs"]
mod golden;
mod source;

use std::fs;

/// The lists, with the rooms whose words they hold.
const LISTS: [(&str, &[&str]); 3] = [
    ("tests/words/core.txt", &["src/power", "src/rack"]),
    (
        "tests/words/bmc.txt",
        &["src/bmc", "src/session", "src/ipmi"],
    ),
    ("tests/words/api.txt", &["src/api", "src/daemon"]),
];

/// A manual page, and what a document says of shapes: they have tests of their own.
const NO_SENTENCES: [&str; 2] = ["src/daemon/pages.rs", "src/api/openapi/schemas.rs"];

/// Every file of these rooms with its sentences.
fn sentences(rooms: &[&str]) -> Vec<(String, Vec<String>)> {
    let files = rooms.iter().flat_map(|room| source::files(room));
    let files = files.filter(|file| !NO_SENTENCES.contains(&file.as_str()));
    let read = |file: String| {
        let text = fs::read_to_string(source::root().join(&file)).expect("it was just listed");
        let sentences = source::sentences(&text);
        (file, sentences)
    };
    files.map(read).collect()
}

#[test]
fn every_sentence_is_in_its_list_and_was_read() {
    for (list, rooms) in LISTS {
        let mut found = String::new();
        for (file, sentences) in sentences(rooms) {
            if !sentences.is_empty() {
                found.push_str(&format!("{file}\n"));
                let lines = sentences.iter().map(|sentence| format!("    {sentence}\n"));
                found.extend(lines);
            }
        }
        golden::compare(list, &found, "as an operator would");
    }
}

#[test]
fn no_sentence_counts_one_node_as_several_or_has_a_private_word() {
    for (list, rooms) in LISTS {
        for (file, sentences) in sentences(rooms) {
            for sentence in sentences {
                // Packets of a session have sequence numbers.
                let of_the_wire = list == "tests/words/bmc.txt";
                for word in PRIVATE {
                    if of_the_wire && word == "sequence" {
                        continue;
                    }
                    let mut words = sentence.split(|letter: char| !letter.is_alphanumeric());
                    assert!(!words.any(|found| found == word), "{file}: {sentence}");
                }
            }
        }
    }
}

/// Words of ours that nobody outside of this house knows.
const PRIVATE: [&str; 12] = [
    "leg",
    "pulse",
    "sequence",
    "quarantine",
    "milestone",
    "inrush",
    "ledger",
    "outbox",
    "parked",
    "admitted",
    "snapshot",
    "breaker",
];

#[test]
fn sentences_are_found_where_they_stand() {
    let source = r#"
        /// "no comment of ours"
        fn a() { log::info!("no line of the log"); let _ = b.expect("nor what cannot be");
            say(&format!("{node}: it was \"off\" \
                          at {at}")); let one = "word"; assert!(c, "nor this one"); }
        #[cfg(test)]
        mod tests { const NOR: &str = "what tests say"; }
    "#;
    assert_eq!(
        source::sentences(source),
        [r#"{node}: it was "off" at {at}"#]
    );
}

#[test]
fn the_first_line_that_differs_is_named_and_a_line_less_is_a_difference() {
    assert_eq!(golden::first_difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(
        golden::first_difference("a\nb\n", "a\nc\n"),
        Some((2, "b", "c"))
    );
    assert_eq!(
        golden::first_difference("a\n", "a\nb\n"),
        Some((2, "", "b"))
    );
    assert_eq!(
        golden::first_difference("a", "a\nb"),
        Some((2, "(the end)", "b"))
    );
}
