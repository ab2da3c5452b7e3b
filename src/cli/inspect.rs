//! The verbs that only look at what happened and what is known: events, explain, history.

use super::App;
use super::args::{Events, Format, History, Nodes};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::ha::of_each_host;
use super::output::{self, Out, say};
use super::patience::Patience;
use super::select::{self, Unnamed};
use super::status::state_line;
use crate::model::{Event, Explanation, Fact, HistoryEntry, Node};
use crate::nodeset;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// Prints what happens.
pub(super) async fn events(app: &App, args: Events) -> Result<Exit, Failure> {
    let wanted = &args.nodes;
    let names: Vec<String> = if wanted.nodes.is_empty() && wanted.exclude.is_empty() {
        Vec::new()
    } else {
        select::nodes(&app.client, wanted, Unnamed::All)
            .await?
            .iter()
            .map(|node| select::name(node).to_owned())
            .collect()
    };
    let mut since = args.since;
    let mut quiet_since = Instant::now();
    let wait = args
        .idle
        .unwrap_or(Duration::from_secs(20))
        .min(Duration::from_secs(20));
    let mut patience = Patience::default();
    while !output::is_lost() {
        let news = patience
            .ask(async || app.client.events(since.as_deref(), &names, wait).await)
            .await?;
        // That the daemon was away has been said.
        if news.reset && !patience.was_away() {
            say!("events were missed here (the daemon restarted, or we were too slow)");
        }
        if !news.events.is_empty() {
            quiet_since = Instant::now();
        }
        for event in &news.events {
            show_event(&app.out, event, event);
        }
        since = Some(news.next.to_string());
        if args.idle.is_some_and(|idle| quiet_since.elapsed() >= idle) {
            return Ok(Exit::Done);
        }
    }
    Ok(Exit::Done)
}

/// Prints an event; `data` is what programs get of it.
pub(super) fn show_event(out: &Out, event: &Event, data: &impl Serialize) {
    match out.format {
        // One object a line, so that a reader need not wait for an end that never comes.
        Format::Json => out.json_line(data),
        Format::Yaml => out.structured(&[data]),
        Format::Name => out.data(&event.id.to_string()),
        Format::Text | Format::Wide => {
            let node = event.node.as_deref().unwrap_or("-");
            let id = match out.format {
                Format::Wide => format!("{} ", event.id),
                _ => String::new(),
            };
            let at = out.time_of_day(event.at);
            out.data(&format!("{id}{at} {node}: {}", event.text));
        }
    }
}

/// Says all that is known of nodes' BMCs.
pub(super) async fn explain(app: &App, wanted: &Nodes) -> Result<Exit, Failure> {
    let mut explanations = Vec::new();
    let nodes = select::nodes(&app.client, wanted, Unnamed::Mistake).await?;
    let asked = select::each_of(&nodes, async |node: &Node| {
        app.client.explain(select::name(node)).await
    });
    for explanation in asked.await {
        explanations.push(explanation?);
    }
    if matches!(app.out.format, Format::Json | Format::Yaml) {
        let data: Vec<Value> = explanations.iter().map(data).collect();
        app.out.structured(&data);
        return Ok(Exit::Done);
    }
    let shared = match app.out.folds() {
        true => shared(&explanations),
        false => Vec::new(),
    };
    let mut parts = Vec::new();
    if !shared.is_empty() {
        let names = nodeset::fold(explanations.iter().map(|it| select::name(&it.node)));
        let facts = shared.iter().map(fact_line);
        let lines: Vec<String> = std::iter::once(format!("{names}: all of them"))
            .chain(facts)
            .collect();
        parts.push(lines.join("\n"));
        for explanation in &mut explanations {
            explanation.facts.retain(|fact| !shared.contains(fact));
        }
    }
    parts.extend(explanations.iter().map(|it| explained(&app.out, it)));
    app.out.prose(&parts.join("\n\n"));
    Ok(Exit::Done)
}

/// What is known of several nodes alike.
fn shared(explanations: &[Explanation]) -> Vec<Fact> {
    let [first, others @ ..] = explanations else {
        return Vec::new();
    };
    if others.is_empty() {
        return Vec::new();
    }
    let everywhere = |fact: &&Fact| others.iter().all(|other| other.facts.contains(fact));
    first.facts.iter().filter(everywhere).cloned().collect()
}

fn fact_line(fact: &Fact) -> String {
    format!("  {:<20} {}", fact.head, fact.text)
}

/// An explanation in lines.
pub(super) fn explained(out: &Out, explanation: &Explanation) -> String {
    let mut lines = vec![format!(
        "{}: {}",
        select::name(&explanation.node),
        state_line(&explanation.node)
    )];
    for fact in &explanation.facts {
        lines.push(fact_line(fact));
    }
    if let Some(device) = &explanation.boot_device {
        lines.push(format!("  {:<20} {device}", "boot device"));
    }
    for failure in &explanation.failures {
        lines.push(format!(
            "  failure {} {}",
            out.date_and_time(failure.at),
            failure.text
        ));
    }
    lines.join("\n")
}

/// An explanation as data: a member for each thing that is known, a list where there are several of
/// a kind.
fn data(explanation: &Explanation) -> Value {
    let mut known = Map::new();
    for fact in &explanation.facts {
        let member = fact.head.to_ascii_lowercase().replace([' ', '-'], "_");
        let text = Value::from(fact.text.as_str());
        match known.get_mut(&member) {
            None => {
                known.insert(member, text);
            }
            Some(Value::Array(several)) => several.push(text),
            Some(single) => *single = Value::from(vec![single.take(), text]),
        }
    }
    let mut value = serde_json::to_value(explanation).expect("explanations are JSON");
    if let Some(members) = value.as_object_mut() {
        members.remove("facts");
        let node = select::name(&explanation.node);
        members.insert("node".into(), node.into());
        members.insert(
            "bmc".into(),
            serde_json::to_value(&explanation.node.rackbmcd.bmc).expect("summaries are JSON"),
        );
        members.insert(
            "reading".into(),
            serde_json::to_value(&explanation.node.rackbmcd.reading).expect("readings are JSON"),
        );
        members.insert("known".into(), known.into());
    }
    value
}

/// What happened to nodes.
pub(super) async fn history(app: &App, args: History) -> Result<Exit, Failure> {
    let mut entries = Vec::new();
    let nodes = select::nodes(&app.client, &args.nodes, Unnamed::Mistake).await?;
    let of_host = async |host: &Client| {
        let histories = select::each_of(&nodes, async |node: &Node| {
            host.history(select::name(node), args.limit).await
        });
        histories.await.into_iter().collect::<Result<Vec<_>, _>>()
    };
    let mut histories: Vec<Vec<HistoryEntry>> = vec![Vec::new(); nodes.len()];
    for (_, found) in of_each_host(&app.client, of_host).await? {
        for (all, found) in histories.iter_mut().zip(found) {
            all.extend(found);
        }
    }
    for (node, mut history) in nodes.iter().zip(histories) {
        history.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        history.truncate(args.limit);
        let name = select::name(node).to_owned();
        entries.extend(history.into_iter().map(|entry| (name.clone(), entry)));
    }
    entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.at));
    if entries.is_empty() {
        app.out.remark("nothing is remembered");
    }
    if matches!(app.out.format, Format::Json | Format::Yaml) {
        let entries: Vec<_> = entries
            .iter()
            .map(|(node, entry)| {
                let mut value = serde_json::to_value(entry).expect("entries are JSON");
                value["node"] = node.as_str().into();
                value
            })
            .collect();
        app.out.structured(&entries);
        return Ok(Exit::Done);
    }
    let lines: Vec<String> = happened(&entries, app.out.folds())
        .iter()
        .map(|(nodes, entry)| {
            let by = entry.by.as_deref().map(|user| format!(" (by {user})"));
            format!(
                "{} {}: {}: {}{}",
                app.out.date_and_time(entry.at),
                nodeset::fold(nodes),
                entry.kind,
                entry.text,
                by.unwrap_or_default()
            )
        })
        .collect();
    if !lines.is_empty() {
        app.out.prose(&lines.join("\n"));
    }
    Ok(Exit::Done)
}

/// Entries with their nodes; the same of several nodes at the same second is one.
fn happened(entries: &[(String, HistoryEntry)], fold: bool) -> Vec<(Vec<&str>, &HistoryEntry)> {
    let mut lines: Vec<(Vec<&str>, &HistoryEntry)> = Vec::new();
    for (node, entry) in entries {
        let second = |entry: &HistoryEntry| entry.at.unix_micros() / 1_000_000;
        let same = |(_, other): &&mut (Vec<&str>, &HistoryEntry)| {
            second(other) == second(entry)
                && (&other.kind, &other.text, &other.by) == (&entry.kind, &entry.text, &entry.by)
        };
        // They are in order of time: what is equal is near.
        let found = lines.iter_mut().rev().take(256).find(same);
        match found.filter(|_| fold) {
            Some((nodes, _)) => nodes.push(node),
            None => lines.push((vec![node], entry)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HistoryKind, Severity};
    use serde_json::Map;

    fn entry(node: &str, second: u64, text: &str) -> (String, HistoryEntry) {
        let entry = HistoryEntry {
            at: crate::time::WallTime::from_unix_micros(second * 1_000_000 + 7),
            kind: HistoryKind::Drift.into(),
            text: text.to_owned(),
            task: None,
            by: None,
            severity: Severity::Info.into(),
            more: Map::new(),
        };
        (node.to_owned(), entry)
    }

    #[test]
    fn what_happened_to_several_nodes_at_once_is_one_line() {
        let entries = [
            entry("n1", 9, "power off"),
            entry("n2", 9, "power off"),
            entry("n3", 9, "power on"),
            entry("n1", 8, "power off"),
        ];
        let lines = |fold| {
            let lines = happened(&entries, fold);
            let names = lines.iter().map(|(nodes, _)| nodeset::fold(nodes));
            names.collect::<Vec<_>>()
        };
        assert_eq!(lines(true), ["n[1-2]", "n3", "n1"]);
        assert_eq!(lines(false).len(), 4);
    }

    #[test]
    fn what_is_known_of_all_alike_is_said_once() {
        let fact = |head: &str, text: &str| Fact {
            head: head.to_owned(),
            text: text.to_owned(),
        };
        let of = |address: &str| Explanation {
            facts: vec![fact("address", address), fact("suite", "17")],
            ..Explanation::default()
        };
        let both = [of("10.0.1.1"), of("10.0.1.2")];
        assert_eq!(shared(&both), [fact("suite", "17")]);
        assert_eq!(shared(&both[..1]), []);
    }
}
