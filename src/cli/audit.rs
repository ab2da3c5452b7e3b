//! `audit`: who changed what, and whether the record of it is whole.

use super::App;
use super::args::{Audit, AuditVerb, Format};
use super::exit::{Exit, Failure};
use crate::api::audit::{Breach, Chain, extent};
use crate::model::AuditHead;
use crate::time::WallTime;
use serde_json::{Value, json};

/// Records read together.
const PAGE: u64 = 500;
/// How often the check begins again.
const AGAIN: usize = 3;

/// Shows the newest records, or checks all.
pub async fn audit(app: &App, args: Audit) -> Result<Exit, Failure> {
    match args.verb {
        None => list(app, args.limit).await,
        Some(AuditVerb::Verify { known }) => verify(app, known).await,
    }
}

async fn list(app: &App, limit: u64) -> Result<Exit, Failure> {
    let newest = app.client.audit(u64::MAX, 1).await?.head.number;
    let mut texts = Vec::new();
    let mut after = newest.saturating_sub(limit);
    while (texts.len() as u64) < limit {
        let page = (limit - texts.len() as u64).min(PAGE);
        let page = app.client.audit(after, page).await?;
        let reached = page.records.iter().filter_map(|text| number_of(text)).max();
        texts.extend(page.records);
        match reached {
            Some(reached) if (after + 1..newest).contains(&reached) => after = reached,
            _ => break,
        }
    }
    let records: Vec<Value> = texts
        .iter()
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| json!({ "unreadable": text })))
        .collect();
    if records.is_empty() && app.out.format == Format::Text {
        app.out.remark("nothing was ever recorded");
        return Ok(Exit::Done);
    }
    let word = |record: &Value, name: &str| match &record[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    app.out.items(
        &records,
        |record| {
            let mut text = format!(
                "{} {} {} {} -> {}",
                at(app, record),
                word(record, "user"),
                word(record, "method"),
                word(record, "path"),
                word(record, "status")
            );
            if let Some(what) = record["what"].as_str() {
                text.push_str(&format!(": {what}"));
            }
            if let Some(nodes) = record["nodes"].as_str() {
                text.push_str(&format!(" {nodes}"));
            }
            if let Some(error) = record["error"].as_str() {
                text.push_str(&format!(" ({error})"));
            }
            (word(record, "number"), text)
        },
        |records| {
            let mut table = app.out.table(&[
                "NUMBER", "AT", "USER", "UID", "PID", "METHOD", "PATH", "WHAT", "NODES", "STATUS",
                "TASK", "ERROR",
            ]);
            for record in records {
                table.add_row([
                    word(record, "number"),
                    at(app, record),
                    word(record, "user"),
                    word(record, "uid"),
                    word(record, "pid"),
                    word(record, "method"),
                    word(record, "path"),
                    word(record, "what"),
                    app.out.node_set(&word(record, "nodes")),
                    word(record, "status"),
                    word(record, "task"),
                    word(record, "error"),
                ]);
            }
            table
        },
    );
    Ok(Exit::Done)
}

/// The number of a record.
fn number_of(text: &str) -> Option<u64> {
    let record = serde_json::from_str::<Value>(text).ok()?;
    record["number"].as_u64()
}

async fn verify(app: &App, known: Option<AuditHead>) -> Result<Exit, Failure> {
    let mut checked = check(app, known.clone()).await?;
    for _ in 0..AGAIN {
        // The daemon may have removed the oldest records while we read.
        if checked.oldest == first(app).await? {
            break;
        }
        checked = check(app, known.clone()).await?;
    }
    let Checked {
        head,
        removed,
        breaches,
        ..
    } = checked;
    match app.out.format {
        Format::Json | Format::Yaml => {
            let said: Vec<String> = breaches.iter().map(ToString::to_string).collect();
            app.out
                .structured(&json!({ "whole": said.is_empty(), "head": head, "removed": removed, "breaches": said }));
        }
        _ if breaches.is_empty() => app.out.data(&format!(
            "the audit trail is whole: {}, the newest is {}:{}",
            extent(&head, removed),
            head.number,
            head.hash
        )),
        _ => breaches
            .iter()
            .for_each(|breach| app.out.data(&breach.to_string())),
    }
    Ok(if breaches.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// What a look at the whole trail found.
struct Checked {
    head: AuditHead,
    /// The last record that the daemon has removed.
    removed: u64,
    breaches: Vec<Breach>,
    /// The first record that there was.
    oldest: Option<String>,
}

/// The first record that there is.
async fn first(app: &App) -> Result<Option<String>, Failure> {
    Ok(app.client.audit(0, 1).await?.records.pop())
}

/// Looks at the whole trail.
async fn check(app: &App, known: Option<AuditHead>) -> Result<Checked, Failure> {
    let oldest = first(app).await?;
    // What was the newest when we began: more may come while we read.
    let head = app.client.audit(u64::MAX, 1).await?.head;
    let mut chain = Chain::new(known);
    let mut after = 0;
    let mut past = false;
    while !past {
        let page = app.client.audit(after, PAGE).await?;
        past = page.records.is_empty();
        for text in &page.records {
            let number = number_of(text);
            if number.is_some_and(|number| number > head.number) && page.head.number > head.number {
                past = true;
                break;
            }
            chain.follow(text);
        }
        // A page that leads nowhere (copies of a record that was there before) would be read for ever.
        let reached = page.records.iter().filter_map(|text| number_of(text)).max();
        let reached = reached.unwrap_or(0);
        past |= reached <= after;
        after = reached;
    }
    let removed = chain.removed();
    let breaches = chain.finish(&head);
    Ok(Checked {
        head,
        removed,
        breaches,
        oldest,
    })
}

/// When a record was made, as it is shown.
fn at(app: &App, record: &Value) -> String {
    let at = record["at"].as_u64().map(WallTime::from_unix_micros);
    at.map_or_else(String::new, |at| app.out.date_and_time(at))
}
