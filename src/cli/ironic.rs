//! `node-show`, `node-show-states` and `node-set-power-state`: the specification's verbs, with the
//! tables of the old `ironic` client.
//!
//! The layout is pinned to the specification's own example, character by character.

use super::App;
use super::args::{Format, PowerStateWord};
use super::exit::{Exit, Failure};
use serde_json::Value;

/// The rows of `node-show-states`, in the order of the specification's example.
const STATES: &[&str] = &[
    "target_power_state",
    "target_provision_state",
    "last_error",
    "console_enabled",
    "provision_updated_at",
    "power_state",
    "provision_state",
    "supported_power_states",
];
/// Members that the old client left out of `node-show`.
const LEFT_OUT: &[&str] = &["links", "ports", "portgroups", "states", "rackbmcd"];
/// The width of the columns in the specification's example.
const PROPERTY_WIDTH: usize = 22;
const VALUE_WIDTH: usize = 38;

/// Shows a node's record.
pub(super) async fn show(app: &App, node: &str) -> Result<Exit, Failure> {
    let record = app.client.node_record(node).await?;
    if matches!(app.out.format, Format::Json | Format::Yaml) {
        app.out.structured(&[&record]);
        return Ok(Exit::Done);
    }
    let mut rows: Vec<(&str, &Value)> = record
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !LEFT_OUT.contains(key))
        .collect();
    rows.sort_by_key(|(key, _)| *key);
    app.out.data(&table(&rows));
    Ok(Exit::Done)
}

/// Shows a node's states.
pub(super) async fn states(app: &App, node: &str) -> Result<Exit, Failure> {
    let states = app.client.node_states(node).await?;
    if matches!(app.out.format, Format::Json | Format::Yaml) {
        app.out.structured(&[&states]);
        return Ok(Exit::Done);
    }
    app.out.data(&states_table(&states));
    Ok(Exit::Done)
}

/// Asks for a power state and returns at once, without a word, as the old client did.
pub(super) async fn set(app: &App, node: &str, state: PowerStateWord) -> Result<Exit, Failure> {
    app.client.set_power(node, state.target().name()).await?;
    Ok(Exit::Done)
}

fn states_table(states: &Value) -> String {
    let rows: Vec<(&str, &Value)> = STATES
        .iter()
        .map(|key| (*key, states.get(*key).unwrap_or(&Value::Null)))
        .collect();
    table(&rows)
}

fn table(rows: &[(&str, &Value)]) -> String {
    let property_width = rows
        .iter()
        .map(|(key, _)| key.len())
        .max()
        .unwrap_or_default()
        .max(PROPERTY_WIDTH);
    let border = format!(
        "+{}+{}+",
        "-".repeat(property_width + 2),
        "-".repeat(VALUE_WIDTH + 2)
    );
    // A text may use the blank before the right border: the specification's example does.
    let row = |property: &str, value: &str| {
        format!(
            "| {property:<property_width$} | {value:<width$}|",
            width = VALUE_WIDTH + 1
        )
    };
    let mut lines = vec![border.clone(), row("Property", "Value"), border.clone()];
    for (key, value) in rows {
        for (index, line) in cell(value).iter().enumerate() {
            lines.push(row(if index == 0 { key } else { "" }, line));
        }
    }
    lines.push(border);
    lines.join("\n")
}

/// A value as the old client (a Python program) wrote it, in lines that fit the column.
fn cell(value: &Value) -> Vec<String> {
    match value {
        Value::Null => vec!["None".into()],
        Value::Bool(true) => vec!["True".into()],
        Value::Bool(false) => vec!["False".into()],
        Value::String(text) => wrap(&text.split(' ').map(str::to_owned).collect::<Vec<_>>(), ""),
        Value::Array(items) => {
            let last = items.len().saturating_sub(1);
            let pieces: Vec<String> = items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let open = if index == 0 { "[" } else { "" };
                    let close = if index == last { "]" } else { "," };
                    format!("{open}{item}{close}")
                })
                .collect();
            if pieces.is_empty() {
                vec!["[]".into()]
            } else {
                wrap(&pieces, "  ")
            }
        }
        other => wrap(
            &other
                .to_string()
                .split(' ')
                .map(str::to_owned)
                .collect::<Vec<_>>(),
            "",
        ),
    }
}

/// Pieces joined by blanks into lines of at most the column's width, later lines behind `indent`; a
/// piece that is too long by itself is cut.
fn wrap(pieces: &[String], indent: &str) -> Vec<String> {
    let limit = VALUE_WIDTH + 1;
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for piece in pieces {
        let mut rest: Vec<char> = piece.chars().collect();
        let width = line.chars().count();
        let blank = usize::from(!line.trim().is_empty());
        if blank == 1 && width + blank + rest.len() > limit {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        } else if blank == 1 {
            line.push(' ');
        }
        while line.chars().count() + rest.len() > limit {
            let room = limit - line.chars().count();
            line.extend(rest.drain(..room));
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        }
        line.extend(rest);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_states_look_as_in_the_specification() {
        // "example of ironic node-show-states", section REST API impact, byte for byte.
        let states = json!({
            "console_enabled": false,
            "last_error": null,
            "power_state": "power on",
            "provision_state": "active",
            "provision_updated_at": "2015-08-01T00:00:00+00:00",
            "target_power_state": "soft power off",
            "target_provision_state": null,
            "raid_config": {},
            "supported_power_states": [
                "power on", "power off", "rebooting", "soft rebooting", "soft power off", "inject nmi",
                "abort soft rebooting", "abort soft power off", "abort inject nmi"
            ]
        });
        assert_eq!(
            states_table(&states),
            "\
+------------------------+----------------------------------------+
| Property               | Value                                  |
+------------------------+----------------------------------------+
| target_power_state     | soft power off                         |
| target_provision_state | None                                   |
| last_error             | None                                   |
| console_enabled        | False                                  |
| provision_updated_at   | 2015-08-01T00:00:00+00:00              |
| power_state            | power on                               |
| provision_state        | active                                 |
| supported_power_states | [\"power on\", \"power off\", \"rebooting\", |
|                        |   \"soft rebooting\", \"soft power off\",  |
|                        |   \"inject nmi\", \"abort soft rebooting\",|
|                        |   \"abort soft power off\",              |
|                        |   \"abort inject nmi\"]                  |
+------------------------+----------------------------------------+"
        );
    }

    #[test]
    fn a_long_reason_is_wrapped_and_a_long_word_cut_to_the_column() {
        let reason =
            json!("aborted by ops (uid 1000): one soft power off had been sent and accepted");
        let word = json!("x".repeat(90));
        let table = table(&[("last_error", &reason), ("word", &word)]);
        assert!(table.lines().all(|line| line.len() == 67), "{table}");
        assert_eq!(table.matches('x').count(), 90);
    }
}
