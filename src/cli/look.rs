//! The verbs that only look: status, watch, events, explain, history, check.
//!
//! A reading is shown with its age, and what is not known is said to be unknown (design, rule 8).

use super::App;
use super::args::{Check, Events, Format, History, Nodes, OnOff, Status, Watch};
use super::exit::{Exit, Failure};
use super::output::say;
use super::output::{date_and_time, power_cell, time_of_day, words};
use super::patience::Patience;
use super::select::{self, Unnamed};
use crate::model::{Node, NodeDetail, PowerState, Word};
use comfy_table::{Cell, Table};
use std::time::{Duration, Instant};

/// A reading as young as this is one of just now.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Shows power states.
pub async fn status(app: &App, args: Status) -> Result<Exit, Failure> {
    let mut nodes = select::nodes(&app.client, &args.nodes, Unnamed::All).await?;
    let mut exits = Vec::new();
    if args.fresh {
        exits = fresh(app, &mut nodes).await?;
    }
    show(app, &nodes);
    if nodes
        .iter()
        .any(|node| node.power_state == PowerState::Unknown)
    {
        exits.push(Exit::Failed);
    }
    Ok(Exit::worst(exits))
}

/// Reads all the nodes anew, at the same time: the daemon paces what reaches each BMC. A node that cannot be read
/// stays as it was known, and a line on stderr says why.
async fn fresh(app: &App, nodes: &mut [Node]) -> Result<Vec<Exit>, Failure> {
    let began = Instant::now();
    let executor = smol::LocalExecutor::new();
    let readings: Vec<_> = nodes
        .iter()
        .map(|node| {
            let name = select::name(node).to_owned();
            executor.spawn(async move {
                let read = app.client.fresh(&name).await;
                (read, began.elapsed())
            })
        })
        .collect();
    executor
        .run(async {
            let mut exits = Vec::new();
            for (node, reading) in nodes.iter_mut().zip(readings) {
                let (read, took) = reading.await;
                match read {
                    Ok(read) => {
                        if let Some(why) = not_fresh(&read, took) {
                            say!("{}: {why}", select::name(node));
                            exits.push(Exit::Failed);
                        }
                        *node = read;
                    }
                    Err(Failure::Refused(refusal)) => {
                        say!("{}: {}", select::name(node), refusal.message);
                        exits.push(Failure::Refused(refusal).exit());
                    }
                    Err(other) => return Err(other),
                }
            }
            Ok(exits)
        })
        .await
}

/// Why a node that was to be read within the last `took` was not, if so: its reading is older than the question.
fn not_fresh(node: &Node, took: Duration) -> Option<String> {
    let ours = ours(node);
    let age = ours.reading.as_ref().map(|reading| reading.age);
    if age.is_some_and(|age| age <= took) {
        return None;
    }
    Some(ours.bmc.trouble_text.clone().unwrap_or_else(|| {
        let took = super::output::words(took);
        format!("no answer with a power state from its BMC within {took} (rackbmc explain says why); the last one is shown")
    }))
}

fn show(app: &App, nodes: &[Node]) {
    app.out.items(
        nodes,
        |node| {
            (
                select::name(node).to_owned(),
                state_line(node, app.out.fold),
            )
        },
        |nodes| status_table(app, nodes),
    );
}

fn ours(node: &Node) -> &NodeDetail {
    &node.rackbmcd
}

/// Why a node is held back, if it is.
fn held(node: &Node) -> Option<&str> {
    let hold = node.rackbmcd.maintenance.as_ref()?;
    Some(hold.reason.as_deref().unwrap_or("no reason given"))
}

/// A node in one line; without what differs from node to node where equal answers are to be folded.
fn state_line(node: &Node, folded: bool) -> String {
    let mut text = node.power_state.to_string();
    if let Some(target) = &node.target_power_state {
        text.push_str(&format!(" -> {target}"));
    }
    if folded {
        return text;
    }
    let ours = ours(node);
    text.push_str(&match &ours.reading {
        // What was read is known, whatever the last operation left open.
        Some(reading) if node.power_state == PowerState::Error => {
            let power = &reading.power_state;
            format!(
                ", {}",
                age(reading.age).replacen("read", &format!("read as {power}"), 1)
            )
        }
        Some(reading) => format!(" ({})", age(reading.age)),
        None => " (never read)".to_owned(),
    });
    if let Some(reason) = held(node) {
        text.push_str(&format!(", maintenance: {reason}"));
    }
    if let Some(trouble) = &ours.bmc.trouble_text {
        text.push_str(&format!(", BMC: {trouble}"));
    }
    if let Some(error) = &node.last_error {
        text.push_str(&format!(", last error: {error}"));
    }
    text
}

fn age(age: Duration) -> String {
    if age < A_MOMENT {
        "read just now".to_owned()
    } else {
        format!("read {} ago", words(age))
    }
}

/// Nodes as a table.
pub fn status_table(app: &App, nodes: &[Node]) -> Table {
    let mut table = app
        .out
        .table(&["NODE", "POWER", "TARGET", "READ", "BMC", "ADDRESS", "NOTE"]);
    for node in nodes {
        let ours = ours(node);
        let note = match (&node.last_error, &ours.bmc.trouble_text, held(node)) {
            (Some(error), ..) => error.clone(),
            (None, Some(trouble), _) => trouble.clone(),
            (None, None, Some(reason)) => format!("maintenance: {reason}"),
            (None, None, None) => String::new(),
        };
        let read = match &ours.reading {
            Some(reading) if reading.age < A_MOMENT => "just now".to_owned(),
            Some(reading) => format!("{} ago", words(reading.age)),
            None => "never".to_owned(),
        };
        let read = match &ours.reading {
            Some(reading) if node.power_state == PowerState::Error => {
                format!("{}, {read}", reading.power_state)
            }
            Some(_) | None => read,
        };
        let address = if ours.bmc.port == 623 {
            ours.bmc.address.to_string()
        } else {
            format!("{}:{}", ours.bmc.address, ours.bmc.port)
        };
        table.add_row([
            Cell::new(select::name(node)),
            power_cell(node.power_state),
            Cell::new(node.target_power_state.as_ref().map_or("-", Word::as_str)),
            Cell::new(read),
            Cell::new(ours.bmc.health.as_str()),
            Cell::new(address),
            Cell::new(note),
        ]);
    }
    table
}

/// Follows power states: the table again and again on a terminal, a line for every change elsewhere.
pub async fn watch(app: &App, args: Watch) -> Result<Exit, Failure> {
    let live = app.out.live && app.out.colour && app.out.format == Format::Text;
    let mut last: Vec<Node> = Vec::new();
    let mut patience = Patience::default();
    loop {
        let nodes = patience
            .ask(async || select::nodes(&app.client, &args.nodes, Unnamed::All).await)
            .await?;
        if live {
            let tasks = patience
                .ask(async || app.client.tasks(None, None, true, 50).await)
                .await?;
            let mut picture = status_table(app, &nodes).trim_fmt();
            for task in tasks {
                if nodes.iter().any(|node| *node.name == *task.node) {
                    picture.push_str(&format!(
                        "\n{}: {} {}, {}, {}",
                        task.node,
                        task.operation,
                        task.state,
                        task.phase,
                        words(task.elapsed)
                    ));
                }
            }
            // Home, the picture with each line cleared to its end, then everything below cleared.
            let picture = picture.replace('\n', "\x1b[K\n");
            app.out.data(&format!("\x1b[H{picture}\x1b[K\n\x1b[J"));
        } else {
            let changed: Vec<Node> = nodes
                .iter()
                .filter(|node| {
                    !last.iter().any(|old| {
                        old.uuid == node.uuid
                            && old.power_state == node.power_state
                            && old.target_power_state == node.target_power_state
                            && old.last_error == node.last_error
                    })
                })
                .cloned()
                .collect();
            if !changed.is_empty() {
                show(app, &changed);
            }
        }
        last = nodes;
        smol::Timer::after(args.interval).await;
    }
}

/// Prints what happens.
pub async fn events(app: &App, args: Events) -> Result<Exit, Failure> {
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
    loop {
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
            match app.out.format {
                // One object a line, so that a reader need not wait for an end that never comes.
                Format::Json => {
                    let line = serde_json::to_string(event).expect("events are JSON");
                    app.out.data(&line);
                }
                Format::Yaml => app.out.structured(&[event]),
                Format::Name => app.out.data(&event.id.to_string()),
                Format::Text | Format::Wide => {
                    let node = event.node.as_deref().unwrap_or("-");
                    let id = match app.out.format {
                        Format::Wide => format!("{} ", event.id),
                        _ => String::new(),
                    };
                    app.out.data(&format!(
                        "{id}{} {node}: {}",
                        time_of_day(event.at),
                        event.text
                    ));
                }
            }
        }
        since = Some(news.next.to_string());
        if args.idle.is_some_and(|idle| quiet_since.elapsed() >= idle) {
            return Ok(Exit::Done);
        }
    }
}

/// Says all that is known of nodes' BMCs.
pub async fn explain(app: &App, wanted: &Nodes) -> Result<Exit, Failure> {
    let mut explanations = Vec::new();
    for node in select::nodes(&app.client, wanted, Unnamed::Mistake).await? {
        explanations.push(app.client.explain(select::name(&node)).await?);
    }
    if matches!(app.out.format, Format::Json | Format::Yaml) {
        app.out.structured(&explanations);
        return Ok(Exit::Done);
    }
    let mut parts = Vec::new();
    for explanation in &explanations {
        let mut lines = vec![format!(
            "{}: {}",
            select::name(&explanation.node),
            state_line(&explanation.node, false)
        )];
        for fact in &explanation.facts {
            lines.push(format!("  {:<20} {}", fact.head, fact.text));
        }
        if let Some(device) = &explanation.boot_device {
            lines.push(format!("  {:<20} {device}", "boot device"));
        }
        for failure in &explanation.failures {
            lines.push(format!(
                "  failure {} {}",
                date_and_time(failure.at),
                failure.text
            ));
        }
        parts.push(lines.join("\n"));
    }
    app.out.data(&parts.join("\n\n"));
    Ok(Exit::Done)
}

/// What happened to nodes.
pub async fn history(app: &App, args: History) -> Result<Exit, Failure> {
    let mut entries = Vec::new();
    for node in select::nodes(&app.client, &args.nodes, Unnamed::Mistake).await? {
        let name = select::name(&node).to_owned();
        for entry in app.client.history(&name, args.limit).await? {
            entries.push((name.clone(), entry));
        }
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
    for (node, entry) in &entries {
        let by = entry
            .by
            .as_deref()
            .map(|user| format!(" (by {user})"))
            .unwrap_or_default();
        app.out.data(&format!(
            "{} {node}: {}: {}{by}",
            date_and_time(entry.at),
            entry.kind,
            entry.text
        ));
    }
    Ok(Exit::Done)
}

/// The four answers of a Nagios plug-in; they are not the exit codes of the other verbs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Nagios {
    /// All is well.
    Ok = 0,
    /// Somebody should look.
    Warning = 1,
    /// Something is broken.
    Critical = 2,
    /// The check itself could not be made.
    Unknown = 3,
}

/// The check: its verdict, and the line to print.
pub async fn check(app: &App, args: &Check) -> (Nagios, String) {
    let late = async {
        smol::Timer::after(args.timeout).await;
        let text = format!("no answer within {} s", args.timeout.as_secs());
        (Nagios::Critical, format!("RACKBMC CRITICAL - {text}"))
    };
    smol::future::or(look(app, args), late).await
}

async fn look(app: &App, args: &Check) -> (Nagios, String) {
    let nodes = match select::nodes(&app.client, &args.nodes, Unnamed::All).await {
        Ok(nodes) => nodes,
        Err(failure) if failure.exit() == Exit::Unreachable => {
            return (Nagios::Critical, format!("RACKBMC CRITICAL - {failure}"));
        }
        Err(failure) => return (Nagios::Unknown, format!("RACKBMC UNKNOWN - {failure}")),
    };
    let health = app.client.health().await.unwrap_or_default();
    let paused = health.pause.as_ref().map(|hold| {
        format!(
            "the rack is paused by {}: {}",
            hold.by,
            hold.reason.as_deref().unwrap_or("no reason given")
        )
    });
    judge(&nodes, args, paused, health.store_trouble)
}

fn judge(
    nodes: &[Node],
    args: &Check,
    paused: Option<String>,
    store: Option<String>,
) -> (Nagios, String) {
    let mut verdict = Nagios::Ok;
    let mut words: Vec<String> = Vec::new();
    let mut find = |how: Nagios, text: String| {
        verdict = verdict.max(how);
        words.push(text);
    };
    if let Some(trouble) = store {
        find(
            Nagios::Critical,
            format!("the journal cannot be written: {trouble}"),
        );
    }
    if let Some(paused) = paused {
        find(Nagios::Warning, paused);
    }
    let expected = args.expect.map(|state| match state {
        OnOff::On => PowerState::On,
        OnOff::Off => PowerState::Off,
    });
    // Grouped by what is wrong with them, so that one line stays readable.
    let mut wrong: std::collections::BTreeMap<(std::cmp::Reverse<Nagios>, String), Vec<&str>> =
        std::collections::BTreeMap::new();
    // Unknown (U, as Nagios has it) as long as one was never read.
    let mut oldest = Some(Duration::ZERO);
    for node in nodes {
        let ours = ours(node);
        let reading_age = ours.reading.as_ref().map(|reading| reading.age);
        oldest = oldest.zip(reading_age).map(|(oldest, age)| oldest.max(age));
        let old = reading_age.is_none_or(|age| age > args.max_age);
        let fault = ours
            .fault
            .as_deref()
            .or(ours.bmc.trouble.as_ref().map(Word::as_str));
        let found = if held(node).is_some() {
            Some((Nagios::Warning, "in maintenance".to_owned()))
        } else if let Some(fault) = fault {
            Some((Nagios::Critical, fault.to_owned()))
        } else if node.power_state == PowerState::Error {
            let read = ours.reading.as_ref();
            let read = read.map(|reading| format!(", read as {}", reading.power_state));
            Some((
                Nagios::Critical,
                format!("error{}", read.unwrap_or_default()),
            ))
        } else if old {
            Some((Nagios::Warning, "reading too old".to_owned()))
        } else if expected.is_some_and(|expected| expected != node.power_state) {
            Some((Nagios::Critical, node.power_state.to_string()))
        } else {
            None
        };
        if let Some((how, what)) = found {
            let group = wrong.entry((std::cmp::Reverse(how), what)).or_default();
            group.push(select::name(node));
        }
    }
    for ((how, what), names) in wrong {
        find(how.0, format!("{} {what}", crate::nodeset::fold(names)));
    }
    let count = |wanted| {
        let as_wanted = nodes.iter().filter(|node| node.power_state == wanted);
        as_wanted.count()
    };
    let busy = nodes
        .iter()
        .filter(|node| ours(node).task.is_some())
        .count();
    if words.is_empty() {
        words.push(format!(
            "{} nodes, {} on",
            nodes.len(),
            count(PowerState::On)
        ));
    }
    let word = match verdict {
        Nagios::Ok => "OK",
        Nagios::Warning => "WARNING",
        Nagios::Critical => "CRITICAL",
        Nagios::Unknown => "UNKNOWN",
    };
    let line = format!(
        "RACKBMC {word} - {} | nodes={} on={} off={} error={} unknown={} tasks={busy} oldest={}",
        words.join("; ").replace(['|', '\n'], " "),
        nodes.len(),
        count(PowerState::On),
        count(PowerState::Off),
        count(PowerState::Error),
        count(PowerState::Unknown),
        oldest.map_or("U".to_owned(), |age| format!("{:.0}s", age.as_secs_f64())),
    );
    (verdict, line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BmcHealth, BmcSummary, Hold, Power, PowerReading, Target};
    use crate::time::WallTime;

    use PowerState::{Error, Off, On, Unknown};

    fn node(name: &str, power_state: PowerState, age: f64) -> Node {
        Node {
            name: name.into(),
            power_state,
            rackbmcd: NodeDetail {
                reading: Some(PowerReading {
                    power_state: Power::On.into(),
                    at: WallTime::default(),
                    age: Duration::from_secs_f64(age),
                }),
                ..NodeDetail::default()
            },
            ..Node::default()
        }
    }

    fn wish() -> Check {
        Check {
            nodes: Nodes::default(),
            expect: Some(OnOff::On),
            max_age: Duration::from_secs(300),
            timeout: Duration::from_secs(8),
        }
    }

    #[test]
    fn a_reading_is_shown_with_its_age_and_silence_as_unknown() {
        assert_eq!(
            state_line(&node("n", On, 12.3), false),
            "power on (read 12 s ago)"
        );
        let mut silent = node("n", Unknown, 0.0);
        silent.rackbmcd = NodeDetail {
            bmc: BmcSummary {
                trouble_text: Some("no answer, 4 attempts in 5 s".into()),
                ..BmcSummary::default()
            },
            ..NodeDetail::default()
        };
        assert_eq!(
            state_line(&silent, false),
            "unknown (never read), BMC: no answer, 4 attempts in 5 s"
        );
        assert_eq!(state_line(&silent, true), "unknown");
        assert_eq!(
            state_line(&node("n", Error, 0.1), false),
            "error, read as power on just now"
        );
        assert_eq!(
            state_line(&node("n", Error, 12.3), false),
            "error, read as power on 12 s ago"
        );
    }

    #[test]
    fn a_reading_older_than_the_question_is_no_fresh_one() {
        let took = Duration::from_millis(5010);
        assert_eq!(not_fresh(&node("n", On, 5.0), took), None);
        let why = not_fresh(&node("n", On, 5.2), took).expect("too old");
        assert_eq!(
            why,
            "no answer with a power state from its BMC within 5 s (rackbmc explain says why); the last one is shown"
        );
    }

    #[test]
    fn a_check_says_ok_in_one_line_with_figures() {
        let nodes = [node("r1n01", On, 3.0), node("r1n02", On, 12.0)];
        let (verdict, line) = judge(&nodes, &wish(), None, None);
        assert_eq!(verdict as i32, 0);
        insta::assert_snapshot!(line, @"RACKBMC OK - 2 nodes, 2 on | nodes=2 on=2 off=0 error=0 unknown=0 tasks=0 oldest=12s");
    }

    #[test]
    fn a_check_names_the_worst_first_and_folds_names() {
        let mut held = node("r1n05", Off, 3.0);
        held.rackbmcd.maintenance = Some(Hold::default());
        let nodes = [
            node("r1n01", Off, 3.0),
            node("r1n02", Off, 3.0),
            node("r1n03", Error, 3.0),
            node("r1n04", On, 900.0),
            held,
        ];
        let (verdict, line) = judge(
            &nodes,
            &wish(),
            Some("the rack is paused by ops: power work".into()),
            None,
        );
        assert_eq!(verdict as i32, 2);
        insta::assert_snapshot!(line, @"RACKBMC CRITICAL - the rack is paused by ops: power work; r1n03 error, read as power on; r1n[01-02] power off; r1n05 in maintenance; r1n04 reading too old | nodes=5 on=1 off=3 error=1 unknown=0 tasks=0 oldest=900s");
    }

    #[test]
    fn a_node_that_is_not_read_any_more_is_no_ok() {
        let (verdict, _) = judge(&[node("n", On, 301.0)], &wish(), None, None);
        assert_eq!(verdict, Nagios::Warning);
        let mut never = node("n", Unknown, 0.0);
        never.rackbmcd.reading = None;
        let (verdict, line) = judge(&[never, node("m", On, 1.0)], &wish(), None, None);
        assert_eq!(verdict, Nagios::Warning);
        assert!(line.ends_with("oldest=U"), "{line}");
        let (verdict, line) = judge(
            &[node("n", On, 1.0)],
            &wish(),
            None,
            Some("disk | full".into()),
        );
        assert_eq!(verdict, Nagios::Critical);
        assert_eq!(line.matches('|').count(), 1, "{line}");
    }

    #[test]
    fn the_table_says_state_target_age_and_what_went_wrong() {
        let app = App {
            client: super::super::client::Client::new(super::super::connect::Endpoint::Unix(
                "/nowhere".into(),
            )),
            out: super::super::output::Out {
                format: Format::Wide,
                fold: false,
                quiet: true,
                colour: false,
                live: false,
            },
        };
        let mut going = node("r1n01", On, 3.4);
        going.target_power_state = Some(Target::SoftPowerOff.into());
        let mut failed = node("r1n02", Error, 61.0);
        failed.last_error = Some("aborted by ops".into());
        for node in [&mut going, &mut failed] {
            let bmc = &mut node.rackbmcd.bmc;
            bmc.address = "10.0.1.1".into();
            bmc.port = 623;
            bmc.health = BmcHealth::Ready.into();
        }
        let table = status_table(&app, &[going, failed]).trim_fmt();
        insta::assert_snapshot!(table, @r"
        NODE   POWER     TARGET          READ                     BMC    ADDRESS   NOTE
        r1n01  power on  soft power off  3 s ago                  ready  10.0.1.1
        r1n02  error     -               power on, 1 min 1 s ago  ready  10.0.1.1  aborted by ops
        ");
    }
}
