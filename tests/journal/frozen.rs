//! The directories of frozen records: one entry a line,
//! `{"table":"tasks","key":"...","value":...}`, the value byte for byte as it was written.

use rackbmcd::rack::stored::migrate::FORMAT;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// One entry of a journal.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The table's name.
    pub table: String,
    pub key: String,
    /// The value as it stands in the journal.
    pub value: Vec<u8>,
}

impl Line {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.value).expect("a frozen value is JSON")
    }

    /// As it stands in a file.
    pub(crate) fn text(&self) -> String {
        let value = std::str::from_utf8(&self.value).expect("JSON is text");
        format!("{}{value}}}\n", head(&self.table, &self.key))
    }
}

/// The directory of a format.
pub(crate) fn directory(format: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/journal/v{format}"))
}

/// The formats that are frozen.
pub(crate) fn formats() -> impl Iterator<Item = u64> {
    (1..=FORMAT).filter(|format| directory(*format).exists())
}

/// All lines of a format's files, file by file.
pub(crate) fn lines(format: u64) -> Vec<Line> {
    #[derive(Deserialize)]
    struct Head {
        table: String,
        key: String,
    }
    let mut files: Vec<PathBuf> = fs::read_dir(directory(format))
        .expect("the format has a directory")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| fs::read_to_string(path).expect("a file of lines");
    let texts: Vec<String> = files.iter().map(read).collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines
        .map(|text| {
            let Head { table, key } = serde_json::from_str(text).expect("a line");
            let head = head(&table, &key);
            let value = text
                .strip_prefix(&head)
                .and_then(|rest| rest.strip_suffix('}'));
            let value = value
                .expect("table, key and value in this order")
                .as_bytes()
                .to_vec();
            Line { table, key, value }
        })
        .collect()
}

fn head(table: &str, key: &str) -> String {
    format!("{{\"table\":\"{table}\",\"key\":\"{key}\",\"value\":")
}
