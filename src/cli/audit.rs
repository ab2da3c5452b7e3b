//! `audit`: who changed what, and whether the record of it is whole.

use super::App;
use super::args::{Audit, AuditVerb, Format};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::ha::of_each_host;
use super::output::about;
use crate::api::audit::{Breach, Chain, extent};
use crate::model::{AuditHead, Short};
use crate::time::WallTime;
use serde_json::{Value, json};

/// Records read together.
const PAGE: u64 = 500;
/// How often the check begins again.
const AGAIN: usize = 3;

/// Shows the newest records, or checks all.
pub(super) async fn audit(app: &App, args: Audit) -> Result<Exit, Failure> {
    match args.verb {
        None => list(app, args.limit).await,
        Some(AuditVerb::Verify { known }) => verify(app, known).await,
    }
}

/// The newest records of a host, oldest first.
async fn newest(host: &Client, limit: u64) -> Result<Vec<Value>, Failure> {
    let newest = host.audit(u64::MAX, 1).await?.head.number;
    let mut texts = Vec::new();
    let mut after = newest.saturating_sub(limit);
    while (texts.len() as u64) < limit {
        let page = (limit - texts.len() as u64).min(PAGE);
        let page = host.audit(after, page).await?;
        let reached = page.records.iter().filter_map(|text| number_of(text)).max();
        texts.extend(page.records);
        match reached {
            Some(reached) if (after + 1..newest).contains(&reached) => after = reached,
            _ => break,
        }
    }
    let read = |text: &String| {
        serde_json::from_str(text).unwrap_or_else(|_| json!({ "unreadable": text }))
    };
    Ok(texts.iter().map(read).collect())
}

/// The same of all hosts of the rack: each keeps a trail of its own, and is named where there are
/// several.
async fn newest_of_all(app: &App, limit: u64) -> Result<Vec<Value>, Failure> {
    let several = app.client.each().len() > 1;
    let asked = of_each_host(&app.client, async |host| newest(host, limit).await).await?;
    let mut records = Vec::new();
    for (host, found) in asked {
        for mut record in found {
            if let Some(members) = record.as_object_mut().filter(|_| several) {
                members.insert("host".into(), host.endpoint().name().into());
            }
            records.push(record);
        }
    }
    records.sort_by_key(|record| record["at"].as_u64());
    let surplus = records
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    records.drain(..surplus);
    Ok(records)
}

async fn list(app: &App, limit: u64) -> Result<Exit, Failure> {
    let records = newest_of_all(app, limit).await?;
    let several = app.client.each().len() > 1;
    if records.is_empty() && app.out.format == Format::Text {
        app.out.remark("nothing was ever recorded");
        return Ok(Exit::Done);
    }
    app.out.items(
        &records,
        |record| {
            let host = match several {
                true => format!("{} ", word(record, "host")),
                false => String::new(),
            };
            let mut text = format!(
                "{} {host}{} {} {} -> {}",
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
            let mut header = vec![
                "NUMBER", "AT", "USER", "UID", "PID", "METHOD", "PATH", "WHAT", "NODES", "STATUS",
                "BEGAN", "ERROR",
            ];
            header.extend(several.then_some("HOST"));
            let mut table = app.out.table(&header);
            for record in records {
                let mut row = vec![
                    word(record, "number"),
                    at(app, record),
                    word(record, "user"),
                    word(record, "uid"),
                    word(record, "pid"),
                    word(record, "method"),
                    word(record, "path"),
                    cut(app, &word(record, "what")),
                    app.out.node_set(&word(record, "nodes")),
                    word(record, "status"),
                    began(&word(record, "task")),
                    word(record, "error"),
                ];
                row.extend(several.then(|| word(record, "host")));
                table.add_row(row);
            }
            table
        },
    );
    Ok(Exit::Done)
}

/// A member of a record, as it is shown.
fn word(record: &Value, name: &str) -> String {
    match &record[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A task, as people write it.
fn began(task: &str) -> String {
    task.parse().map_or(task.to_owned(), Short::task)
}

/// What was done, for a cell: on a terminal of a hash only the beginning, as it would be broken
/// there. The lines have it whole.
fn cut(app: &App, what: &str) -> String {
    const SHOWN: usize = 6;
    let Some(at) = what.find(HASH).filter(|_| app.out.person) else {
        return what.to_owned();
    };
    let (before, hash) = what.split_at(at + HASH.len());
    let end = hash.find(|letter: char| !letter.is_ascii_hexdigit());
    let (hash, after) = hash.split_at(end.unwrap_or(hash.len()));
    match hash.get(..SHOWN) {
        Some(begin) if hash.len() > SHOWN => format!("{before}{begin}…{after}"),
        _ => what.to_owned(),
    }
}

/// How a hash begins in a record.
const HASH: &str = "sha256:";

/// The number of a record.
fn number_of(text: &str) -> Option<u64> {
    let record = serde_json::from_str::<Value>(text).ok()?;
    record["number"].as_u64()
}

/// Checks the trail of each of the rack's hosts.
async fn verify(app: &App, known: Option<AuditHead>) -> Result<Exit, Failure> {
    let several = app.client.each().len() > 1;
    if several && known.is_some() {
        let why =
            "a hash that was written down is of one host's trail: name that host alone (--url)";
        return Err(Failure::Usage(why.to_owned()));
    }
    let whole = async |host: &Client| {
        let mut checked = check(host, known.clone()).await?;
        for _ in 0..AGAIN {
            // The daemon may have removed the oldest records while we read.
            if checked.oldest == first(host).await? {
                break;
            }
            checked = check(host, known.clone()).await?;
        }
        Ok(checked)
    };
    let mut exits = Vec::new();
    let mut told = Vec::new();
    for (host, checked) in of_each_host(&app.client, whole).await? {
        let Checked {
            head,
            removed,
            breaches,
            ..
        } = checked;
        exits.push(match breaches.is_empty() {
            true => Exit::Done,
            false => Exit::Failed,
        });
        let said: Vec<String> = breaches.iter().map(ToString::to_string).collect();
        let name = host.endpoint().name();
        let say = |text: &str| match several {
            true => app.out.data(&about(&name, text)),
            false => app.out.data(text),
        };
        match app.out.format {
            Format::Json | Format::Yaml => {
                let mut one = json!({ "whole": said.is_empty(), "head": head, "removed": removed, "breaches": said });
                if several {
                    one["host"] = name.into();
                }
                told.push(one);
            }
            _ if breaches.is_empty() => say(&format!(
                "the audit trail is whole: {}, the newest is {}:{}",
                extent(&head, removed),
                head.number,
                head.hash
            )),
            _ => said.iter().for_each(|breach| say(breach)),
        }
    }
    match (&told[..], several) {
        ([], _) => {}
        ([only], false) => app.out.structured(only),
        (all, _) => app.out.structured(all),
    }
    Ok(Exit::worst(exits))
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
async fn first(host: &Client) -> Result<Option<String>, Failure> {
    Ok(host.audit(0, 1).await?.records.pop())
}

/// Looks at the whole trail.
async fn check(host: &Client, known: Option<AuditHead>) -> Result<Checked, Failure> {
    let oldest = first(host).await?;
    // What was the newest when we began: more may come while we read.
    let head = host.audit(u64::MAX, 1).await?.head;
    let mut chain = Chain::new(known);
    let mut after = 0;
    let mut past = false;
    while !past {
        let page = host.audit(after, PAGE).await?;
        past = page.records.is_empty();
        for text in &page.records {
            let number = number_of(text);
            if number.is_some_and(|number| number > head.number) && page.head.number > head.number {
                past = true;
                break;
            }
            chain.follow(text);
        }
        // A page that leads nowhere (copies of a record that was there before) would be read for
        // ever.
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
