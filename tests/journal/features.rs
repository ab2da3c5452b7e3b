//! What a stored value shows: its fields, which of them are empty, and the words that stand in
//! them.

use serde_json::Value;
use std::collections::BTreeSet;

/// Every field of a value by its path, with what stands in it: words as they are, numbers and free
/// text by their kind. The members of a list count as one.
pub(crate) fn features(table: &str, value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(table, value, &mut |path, value| {
        let shown = match value {
            Value::Null => "null",
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Number(_) => "number",
            Value::String(text) if is_word(text) && !is_free(path) => text,
            Value::String(_) => "text",
            Value::Array(members) if members.is_empty() => "empty",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        found.insert(format!("{path}={shown}"));
    });
    if let Some(phase) = value.pointer("/sequence/phase") {
        let name = phase.as_object().and_then(|phase| phase.keys().next());
        let name = name.map_or(phase.to_string(), String::clone);
        let operation = &value["sequence"]["knowledge"]["operation"];
        found.insert(format!("{operation} in {name}"));
    }
    found
}

/// The names of all fields and variants of a value, each with the name of the one that it stands
/// in.
pub(crate) fn names(table: &str, value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(table, value, &mut |path, _| {
        let path = path.replace("[]", "");
        let mut last = path.rsplit('.');
        let name = last.next().unwrap_or_default();
        found.insert(format!("{} in {}", name, last.next().unwrap_or("nothing")));
    });
    found
}

fn walk(path: &str, value: &Value, see: &mut impl FnMut(&str, &Value)) {
    see(path, value);
    match value {
        Value::Array(members) => {
            for member in members {
                walk(&format!("{path}[]"), member, see);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                walk(&format!("{path}.{name}"), field, see);
            }
        }
        _ => {}
    }
}

/// A word as an enumeration writes it.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == ' ';
    !text.is_empty() && text.len() < 24 && text.chars().all(plain)
}

/// Fields in which anything may stand.
fn is_free(path: &str) -> bool {
    [
        "text", "by", "name", "why", "how", "reason", "refused", "trouble",
    ]
    .iter()
    .any(|end| path.ends_with(&format!(".{end}")) && !path.ends_with("unanswered.trouble"))
        || ["remarks", "signs.", "evidence"]
            .iter()
            .any(|part| path.contains(part))
}
