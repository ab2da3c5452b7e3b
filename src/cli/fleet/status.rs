//! The verbs that look at many racks: `racks`, `status`, `check`.

use super::select::{Facts, select, select_within};
use super::summaries::{Heard, Said};
use super::{Fleet, PATIENCE, Rack, no_rack, tell};
use crate::cli::args::{Check, Format, Racks, Status};
use crate::cli::check::{self, Nagios};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{about, say, words};
use crate::cli::select::Unnamed;
use crate::cli::status;
use crate::model::{Health, Node, PowerState, counted};
use crate::nodeset;
use comfy_table::{Cell, Table};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long racks may take to read all of their BMCs anew.
const FRESH_PATIENCE: Duration = Duration::from_secs(90);

/// A rack as it is shown.
#[derive(Serialize)]
struct Line {
    rack: String,
    at: String,
    answers: bool,
    /// Why it does not answer, or says nothing of its nodes.
    why: Option<String>,
    nodes: Option<u32>,
    on: Option<usize>,
    off: Option<usize>,
    error: Option<usize>,
    unknown: Option<usize>,
    tasks: Option<u32>,
    troubled: Option<u32>,
    /// Reason and name of whoever paused it.
    paused: Option<String>,
    trouble: Option<String>,
    version: Option<String>,
    /// The host that has it, where it has several or says so in etcd.
    owner: Option<String>,
    /// How old all this is, in seconds: it comes from what the rack has published in etcd. Nothing
    /// where it answered itself.
    age: Option<u64>,
    /// Whether that is so old that it may well be wrong.
    stale: bool,
}

/// Shows the racks.
pub(super) async fn racks(fleet: &Fleet, args: &Racks) -> Result<Exit, Failure> {
    let racks = chosen(fleet, &args.racks)?;
    let question = async |rack: &Rack| {
        let health = rack.client.health().await?;
        // Who may not look at the nodes may still know that the rack is there.
        let nodes = rack.client.nodes_to_count().await;
        let ha = rack.client.ha().await.unwrap_or_default();
        let owner = ha.owner.map(|owner| owner.host);
        Ok(Now {
            health,
            nodes,
            owner,
        })
    };
    let mut exits = Vec::new();
    let mut lines = Vec::new();
    for heard in fleet.heard(&racks, PATIENCE, question).await {
        let refused = match &heard.answer {
            Some(Ok(now)) => now.nodes.as_ref().err(),
            Some(Err(why)) => Some(why),
            None => None,
        };
        exits.extend(refused.map(Failure::exit));
        lines.push(line(heard));
    }
    let out = &fleet.out;
    match out.format {
        Format::Text if out.person => {
            let text = out.drawn(table(fleet, &lines));
            out.data(&format!("{text}\n{}", summary(&lines)));
        }
        _ => out.items(
            &lines,
            |line| (line.rack.clone(), in_words(line)),
            |lines| table(fleet, lines),
        ),
    }
    Ok(Exit::worst(exits))
}

/// The racks that are named, all where none is.
fn chosen<'f>(fleet: &'f Fleet, words: &[String]) -> Result<Vec<&'f Rack>, Failure> {
    if words.is_empty() {
        return Ok(fleet.racks.iter().collect());
    }
    let all = |_: &str| Some(fleet.racks.iter().map(|rack| rack.name.clone()).collect());
    let names = nodeset::expand_all(words, &[] as &[&str], &all);
    let names = names.map_err(|why| Failure::Usage(why.to_string()))?;
    let find = |name: &String| {
        let found = fleet.racks.iter().find(|rack| rack.name == *name);
        found.ok_or_else(|| no_rack(name, &fleet.racks))
    };
    names.iter().map(find).collect()
}

/// What a rack answered, or has said in etcd.
struct Now {
    health: Health,
    nodes: Result<Vec<Node>, Failure>,
    owner: Option<String>,
}

/// What was answered, where the rack was asked; else, and where that failed, what it has said.
fn line(heard: Heard<'_, Now>) -> Line {
    let rack = heard.rack;
    let mut line = Line {
        rack: rack.name.clone(),
        at: rack.client.endpoint().name(),
        answers: !matches!(heard.answer, Some(Err(_))),
        why: None,
        nodes: None,
        on: None,
        off: None,
        error: None,
        unknown: None,
        tasks: None,
        troubled: None,
        paused: None,
        trouble: None,
        version: None,
        owner: None,
        age: None,
        stale: false,
    };
    let answer = heard.answer.and_then(|answer| match answer {
        Ok(now) => Some(now),
        Err(why) => {
            line.why = Some(why.to_string());
            None
        }
    });
    let said = |said: Said| {
        line.age = Some(said.age.as_secs());
        line.stale = said.is_stale();
        Now {
            health: said.summary.health,
            nodes: Ok(said.nodes),
            owner: Some(said.summary.host).filter(|host| !host.is_empty()),
        }
    };
    let Some(now) = answer.or_else(|| heard.said.map(said)) else {
        return line;
    };
    let Now {
        health,
        nodes,
        owner,
    } = now;
    line.owner = owner;
    match nodes {
        Ok(nodes) => {
            let of = |state| {
                Some(
                    nodes
                        .iter()
                        .filter(|node| node.power_state == state)
                        .count(),
                )
            };
            line.on = of(PowerState::On);
            line.off = of(PowerState::Off);
            line.error = of(PowerState::Error);
            line.unknown = of(PowerState::Unknown);
        }
        Err(why) => line.why = Some(why.to_string()),
    }
    line.nodes = Some(health.nodes);
    line.tasks = Some(health.active_tasks);
    line.troubled = Some(health.troubled);
    line.paused = health.pause.as_ref().map(|hold| {
        let reason = hold.reason.as_deref().unwrap_or("no reason given");
        format!("paused by {}: {reason}", hold.by)
    });
    let store = health.store_trouble.as_ref();
    let store = store.map(|why| format!("the journal cannot be written: {why}"));
    let refused = health.configuration_refused.as_ref();
    let refused = refused.map(|refused| format!("its new configuration is wrong: {}", refused.why));
    line.trouble = rack.mistaken(&health.rack).or(store).or(refused);
    line.version = Some(health.version);
    line
}

/// All that is out of order with a rack.
fn notes(line: &Line) -> String {
    let age = line.age.filter(|_| line.stale);
    let age = age.map(|age| format!("last heard of {} ago", words(Duration::from_secs(age))));
    let notes = [&line.why, &age, &line.trouble, &line.paused];
    let notes: Vec<&str> = notes.into_iter().flatten().map(String::as_str).collect();
    notes.join("; ")
}

/// `64 nodes: 60 on, 4 off; 3 tasks; paused by ops: smoke; rackbmcd 0.2.0`.
fn in_words(line: &Line) -> String {
    let Some(nodes) = line.nodes else {
        return notes(line);
    };
    let states = [
        (line.on, "on"),
        (line.off, "off"),
        (line.error, "error"),
        (line.unknown, "unknown"),
    ];
    let states = states.into_iter().filter_map(|(count, word)| {
        let count = count.filter(|count| *count > 0)?;
        Some(format!("{count} {word}"))
    });
    let states: Vec<String> = states.collect();
    let mut parts = vec![counted(nodes as usize, "node")];
    if !states.is_empty() {
        parts[0] = format!("{}: {}", parts[0], states.join(", "));
    }
    if let Some(tasks) = line.tasks.filter(|tasks| *tasks > 0) {
        parts.push(counted(tasks as usize, "task"));
    }
    if let Some(troubled) = line.troubled.filter(|troubled| *troubled > 0) {
        parts.push(format!("{} in trouble", counted(troubled as usize, "BMC")));
    }
    parts.extend(Some(notes(line)).filter(|notes| !notes.is_empty()));
    parts.extend(
        line.version
            .iter()
            .map(|version| format!("rackbmcd {version}")),
    );
    parts.join("; ")
}

fn table(fleet: &Fleet, lines: &[Line]) -> Table {
    let mut table = fleet.out.table(&[
        "RACK", "NODES", "ON", "OFF", "ERROR", "UNKNOWN", "TASKS", "TROUBLE", "VERSION", "OWNER",
        "AGE", "NOTE",
    ]);
    fn cell<T: ToString>(count: Option<T>) -> Cell {
        Cell::new(count.map_or("-".to_owned(), |count| count.to_string()))
    }
    for line in lines {
        table.add_row([
            Cell::new(&line.rack),
            cell(line.nodes),
            cell(line.on),
            cell(line.off),
            cell(line.error),
            cell(line.unknown),
            cell(line.tasks),
            cell(line.troubled),
            cell(line.version.as_ref()),
            cell(line.owner.as_ref()),
            cell(line.age.map(|age| words(Duration::from_secs(age)))),
            Cell::new(notes(line)),
        ]);
    }
    table
}

/// `20 racks, 1280 nodes: 1 does not answer: r7`.
fn summary(lines: &[Line]) -> String {
    let nodes: u32 = lines.iter().filter_map(|line| line.nodes).sum();
    let counts = format!(
        "{}, {}",
        counted(lines.len(), "rack"),
        counted(nodes as usize, "node")
    );
    let silent = lines.iter().filter(|line| !line.answers);
    let silent: Vec<&str> = silent.map(|line| line.rack.as_str()).collect();
    match silent.len() {
        0 => counts,
        1 => format!("{counts}: 1 does not answer: {}", silent[0]),
        many => format!("{counts}: {many} do not answer: {}", nodeset::fold(silent)),
    }
}

/// Shows power states of nodes of many racks.
pub(super) async fn status(fleet: &Fleet, args: &Status) -> Result<Exit, Failure> {
    let facts = match (args.fresh, args.full) {
        (false, true) => Facts::Whole,
        (false, false) => Facts::Published,
        (true, _) => Facts::Names,
    };
    let found = select(fleet, &args.nodes, Unnamed::All, facts).await?;
    // Rack by rack as they came: of a thousand racks they are many, and stay where they are.
    let mut nodes: Vec<Vec<Node>> = Vec::new();
    let mut exits = Vec::new();
    let mut silent: Vec<(&Rack, Failure)> = Vec::new();
    if args.fresh {
        let began = Instant::now();
        let chosen: Vec<&Rack> = found.chosen.iter().map(|chosen| chosen.rack).collect();
        let question = async |rack: &Rack| {
            let of_it = found
                .chosen
                .iter()
                .find(|chosen| chosen.rack.name == rack.name);
            let names = of_it.map(|chosen| chosen.names()).unwrap_or_default();
            Ok((rack.client.fresh_all(&names, args.full).await?, names))
        };
        for (rack, answer) in Fleet::asked(&chosen, FRESH_PATIENCE, question).await {
            match answer {
                Ok((readings, names)) => {
                    let mut of_it = Vec::new();
                    for (name, read) in names.iter().zip(readings) {
                        if let Some(why) = status::not_fresh(read.as_ref(), began.elapsed()) {
                            say!("{}", about(&rack.full(name), &why));
                            exits.push(Exit::Failed);
                        }
                        of_it.extend(read.map(|read| rack.with_rack(read.node)));
                    }
                    nodes.push(of_it);
                }
                Err(why) => silent.push((rack, why)),
            }
        }
    } else {
        for mut chosen in found.chosen {
            for node in &mut chosen.nodes {
                node.name = chosen.rack.full(&node.name).into();
            }
            nodes.push(chosen.nodes);
        }
    }
    let nodes: Vec<&Node> = nodes.iter().flatten().collect();
    for (rack, why) in &found.stale {
        let text = format!("{why}; shown is what it has published last");
        say!("{}", about(&rack.name, &text));
        exits.push(why.exit());
    }
    if !nodes.is_empty() {
        status::show(&fleet.out, &nodes, args.full);
    }
    silent.extend(
        found
            .silent
            .into_iter()
            .map(|silent| (silent.rack, silent.why)),
    );
    exits.extend(silent.iter().map(|(rack, why)| tell(rack, why)));
    let unknown = |node: &&Node| node.power_state == PowerState::Unknown;
    if nodes.iter().any(unknown) {
        exits.push(Exit::Failed);
    }
    Ok(Exit::worst(exits))
}

/// Nagios: one line about all racks.
pub(super) async fn check(fleet: &Fleet, args: &Check) -> (Nagios, String) {
    // A rack has less time than the whole check, so that it is named.
    let patience = args.timeout.mul_f64(0.4).min(PATIENCE);
    let found = select_within(fleet, &args.nodes, Unnamed::All, Facts::Shown, patience).await;
    let found = match found {
        Ok(found) => found,
        Err(failure) => return (Nagios::Unknown, format!("RACKBMC UNKNOWN - {failure}")),
    };
    let racks: Vec<&Rack> = found.chosen.iter().map(|chosen| chosen.rack).collect();
    let health = async |rack: &Rack| rack.client.health().await;
    let asked = racks.len() + found.silent.len();
    let mut unheard: Vec<(&Rack, Failure)> = Vec::new();
    let mut said = Vec::new();
    for (rack, answer) in Fleet::asked(&racks, patience, health).await {
        match answer {
            Ok(health) => {
                let named = |(how, text): (Nagios, String)| (how, about(&rack.name, &text));
                said.extend(check::of_rack(&health).into_iter().map(named));
                let mistaken = rack.mistaken(&health.rack);
                said.extend(mistaken.map(|why| (Nagios::Critical, about(&rack.name, &why))));
            }
            Err(why) => unheard.push((rack, why)),
        }
    }
    unheard.extend(
        found
            .silent
            .into_iter()
            .map(|silent| (silent.rack, silent.why)),
    );
    let failed =
        |(rack, why): &(&Rack, Failure)| (Nagios::Critical, about(&rack.name, &why.to_string()));
    said.extend(unheard.iter().map(failed));
    let nodes: Vec<Node> = found
        .chosen
        .into_iter()
        .flat_map(|chosen| {
            let rack = chosen.rack;
            chosen.nodes.into_iter().map(|node| rack.with_rack(node))
        })
        .collect();
    let (verdict, line) = check::judge(&nodes, args, said);
    let silent = unheard.len();
    (verdict, format!("{line} racks={asked} silent={silent}"))
}
