//! `batch` over many racks: the fleet batches that are remembered, or one with all its nodes,
//! waited for where that is wanted.

use super::id::{FleetId, Written, find, remembered};
use super::run::{Part, Run};
use super::{Fleet, Rack, tell};
use crate::cli::args::{BatchShow, Format};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::say;
use crate::cli::power::Waiting;
use crate::model::{Batch, counted};
use crate::nodeset;
use comfy_table::Cell;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A fleet batch as it is listed.
#[derive(Serialize)]
struct Line {
    id: String,
    request: String,
    operation: String,
    /// Of all racks together.
    state: String,
    by: String,
    asked: String,
    racks: usize,
    nodes: String,
    counts: BTreeMap<String, u32>,
}

/// Lists fleet batches or shows one.
pub(super) async fn batch(fleet: &Fleet, args: BatchShow) -> Result<Exit, Failure> {
    let Some(word) = args.batch else {
        return Ok(list(fleet).await);
    };
    let wanted = Written::read(&word).ok_or_else(|| {
        Failure::Usage(format!(
            "'{word}' is no id of a fleet batch: they look like f:7k3f9 (rackbmc --fleet batch lists them)"
        ))
    })?;
    let found = find(fleet, wanted).await?;
    let mut exits: Vec<Exit> = Vec::new();
    for (rack, why) in &found.silent {
        exits.push(tell(rack, why));
        say!(
            "{}: whether it has a part of {word} is not known",
            rack.name
        );
    }
    let Some((_, first)) = found.batches.first() else {
        say!("{word}: no rack that answered remembers it");
        exits.push(Exit::Failed);
        return Ok(Exit::worst(exits));
    };
    let id = FleetId::of(first).expect("found by its id");
    let waiting = match args.wait {
        None => Waiting::No,
        Some(patience) => Waiting::of(Some(patience), false),
    };
    let parts = found.batches.into_iter();
    let parts = parts.map(|(rack, batch)| Part::begun(rack, batch));
    let run = Run::new(fleet, id, parts.collect(), false);
    let ended = run.carry_out(None, waiting).await?;
    // What it shows is all that was asked for, where nothing was waited for.
    exits.extend(args.wait.is_some().then_some(ended));
    Ok(Exit::worst(exits))
}

async fn list(fleet: &Fleet) -> Exit {
    let mut exits = Vec::new();
    let mut by_id: BTreeMap<FleetId, Vec<(&Rack, Batch)>> = BTreeMap::new();
    for (rack, answer) in remembered(fleet).await {
        match answer {
            Ok(batches) => {
                for batch in batches {
                    if let Some(id) = FleetId::of(&batch) {
                        by_id.entry(id).or_default().push((rack, batch));
                    }
                }
            }
            Err(why) => exits.push(tell(rack, &why)),
        }
    }
    let lines = by_id.iter().rev();
    let lines: Vec<Line> = lines.map(|(id, parts)| line(fleet, *id, parts)).collect();
    if lines.is_empty() {
        fleet.out.remark("no fleet batches");
    }
    let json = matches!(fleet.out.format, Format::Json | Format::Yaml);
    if !lines.is_empty() || json {
        show(fleet, &lines);
    }
    Exit::worst(exits)
}

fn show(fleet: &Fleet, lines: &[Line]) {
    fleet.out.items(
        lines,
        |line| {
            let text = format!(
                "{} {} of {} in {} by {}: {} ({})",
                line.asked,
                line.operation,
                line.nodes,
                counted(line.racks, "rack"),
                line.by,
                line.state,
                counts(line)
            );
            (line.id.clone(), text)
        },
        |lines| {
            let head = [
                "ASKED",
                "OPERATION",
                "STATE",
                "RACKS",
                "NODES",
                "COUNTS",
                "BY",
                "BATCH",
            ];
            let mut table = fleet.out.table(&head);
            for line in lines {
                table.add_row([
                    Cell::new(&line.asked),
                    Cell::new(&line.operation),
                    Cell::new(&line.state),
                    Cell::new(line.racks),
                    Cell::new(fleet.out.node_set(&line.nodes)),
                    Cell::new(counts(line)),
                    Cell::new(&line.by),
                    Cell::new(&line.id),
                ]);
            }
            table
        },
    );
}

fn counts(line: &Line) -> String {
    let counts = line.counts.iter();
    let counts: Vec<String> = counts
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    counts.join(", ")
}

/// One fleet batch, put together from the batches of its racks.
fn line(fleet: &Fleet, id: FleetId, parts: &[(&Rack, Batch)]) -> Line {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let (mut names, mut states, mut by) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (rack, batch) in parts {
        names.extend(batch.nodes.iter().map(|node| rack.full(&node.node)));
        states.insert(batch.state.as_str());
        by.insert(batch.requested_by.name.as_str());
        for (state, count) in &batch.counts {
            *counts.entry(state.clone()).or_default() += count;
        }
    }
    let first = parts.iter().map(|(_, batch)| batch.requested_at).min();
    let operation = parts.first().map(|(_, batch)| batch.operation.to_string());
    let joined = |words: BTreeSet<&str>| words.into_iter().collect::<Vec<_>>().join(", ");
    Line {
        id: id.to_string(),
        request: id.request(),
        operation: operation.unwrap_or_default(),
        state: joined(states),
        by: joined(by),
        asked: first
            .map(|at| fleet.out.date_and_time(at))
            .unwrap_or_default(),
        racks: parts.len(),
        nodes: nodeset::fold(names),
        counts,
    }
}
