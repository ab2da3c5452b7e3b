//! The power state of nodes, and how old the reading is.
//!
//! A reading is shown with its age, and what is not known is said to be unknown (design, rule 8).

use super::App;
use super::args::{Format, Status};
use super::exit::{Exit, Failure};
use super::output::{self, Out, power_cell, say, words};
use super::select::{self, Unnamed};
use crate::model::{
    BmcHealth, FreshReading, Node, NodeDetail, PowerReading, PowerState, Target, TaskId, Word,
};
use comfy_table::{Cell, Table};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A reading as young as this is one of just now.
const A_MOMENT: Duration = Duration::from_secs(1);

/// A reading that is younger needs no word about its age where a program reads.
const YOUNG: Duration = Duration::from_secs(120);

/// Shows power states.
pub(super) async fn status(app: &App, args: Status) -> Result<Exit, Failure> {
    let (nodes, mut exits) = match args.fresh {
        true => {
            let names = select::names(&app.client, &args.nodes).await?;
            fresh(app, &names, args.full).await?
        }
        false => {
            let nodes = select::nodes(&app.client, &args.nodes, Unnamed::All);
            (nodes.await?, Vec::new())
        }
    };
    let shown: Vec<&Node> = nodes.iter().collect();
    show(&app.out, &shown, args.full);
    if nodes
        .iter()
        .any(|node| node.power_state == PowerState::Unknown)
    {
        exits.push(Exit::Failed);
    }
    Ok(Exit::worst(exits))
}

/// Reads the nodes anew with one request: the daemon paces what reaches their BMCs. A node that
/// cannot be read is shown as it is known, and a line on stderr says why.
async fn fresh(app: &App, names: &[String], full: bool) -> Result<(Vec<Node>, Vec<Exit>), Failure> {
    let began = Instant::now();
    let readings = app.client.fresh_all(names, full).await?;
    let took = began.elapsed();
    let (mut nodes, mut exits) = (Vec::new(), Vec::new());
    for (name, read) in names.iter().zip(readings) {
        if let Some(why) = not_fresh(read.as_ref(), took) {
            say!("{}", output::about(name, &why));
            exits.push(Exit::Failed);
        }
        nodes.extend(read.map(|read| read.node));
    }
    Ok((nodes, exits))
}

/// Why a node that was to be read within the last `took` was not, where it was not.
pub(super) fn not_fresh(read: Option<&FreshReading>, took: Duration) -> Option<String> {
    let Some(read) = read else {
        return Some("it was not read: the configuration names it no more".to_owned());
    };
    let said = || ours(&read.node).bmc.trouble_text.clone();
    (!read.fresh).then(|| {
        said().unwrap_or_else(|| {
            let took = words(took);
            format!("no answer with a power state from its BMC within {took} (rackbmc explain says why); the last one is shown")
        })
    })
}

/// Shows nodes: folded for a person, a line each for a program, the facts as data.
pub(super) fn show(out: &Out, nodes: &[&Node], full: bool) {
    match out.format {
        Format::Text if out.person => out.data(&for_people(out, nodes)),
        Format::Json | Format::Yaml if !full => {
            out.structured_list(nodes.iter().map(|node| Facts::of(node)));
        }
        Format::Text | Format::Wide | Format::Json | Format::Yaml | Format::Name => out.items(
            nodes,
            |node| (select::name(node).to_owned(), short_line(node)),
            |nodes| status_table(out, nodes),
        ),
    }
}

/// What people want to know of a node.
#[derive(Serialize)]
struct Facts<'a> {
    node: &'a str,
    /// Where there are many.
    #[serde(skip_serializing_if = "Option::is_none")]
    rack: Option<&'a str>,
    power_state: PowerState,
    target_power_state: Option<&'a Word<Target>>,
    reading: Option<&'a PowerReading>,
    bmc: &'a Word<BmcHealth>,
    address: String,
    trouble: Option<&'a str>,
    maintenance: Option<&'a str>,
    groups: &'a [String],
    task: Option<TaskId>,
}

impl<'a> Facts<'a> {
    fn of(node: &'a Node) -> Self {
        let ours = ours(node);
        Facts {
            node: select::name(node),
            // No name has a slash in it: what stands before one is the rack.
            rack: select::name(node).split_once('/').map(|(rack, _)| rack),
            power_state: node.power_state,
            target_power_state: node.target_power_state.as_ref(),
            reading: ours.reading.as_ref(),
            bmc: &ours.bmc.health,
            address: address(node),
            trouble: trouble(node),
            maintenance: held(node),
            groups: &ours.groups,
            task: ours.task,
        }
    }
}

/// Where a node's BMC is, the port where it is not the usual one.
pub(super) fn address(node: &Node) -> String {
    let bmc = &ours(node).bmc;
    match (bmc.port, bmc.address.contains(':')) {
        (623, _) => bmc.address.to_string(),
        (port, false) => format!("{}:{port}", bmc.address),
        (port, true) => format!("[{}]:{port}", bmc.address),
    }
}

/// What is wrong with a node, if anything is.
pub(super) fn trouble(node: &Node) -> Option<&str> {
    node.last_error
        .as_deref()
        .or(ours(node).bmc.trouble_text.as_deref())
}

/// Those first that somebody should look at, equal ones in one line, counted at the end.
pub(super) fn for_people(out: &Out, nodes: &[&Node]) -> String {
    type Key<'a> = (bool, String, String);
    let mut groups: BTreeMap<Key, Vec<&Node>> = BTreeMap::new();
    for node in nodes {
        let well = node.power_state != PowerState::Error
            && node.power_state != PowerState::Unknown
            && trouble(node).is_none();
        groups
            .entry((well, state_word(node), note(node)))
            .or_default()
            .push(node);
    }
    let mut table = out.table(&["NODE", "POWER", "READ", "NOTE"]);
    for ((_, state, note), members) in &groups {
        let names = crate::nodeset::fold(members.iter().map(|node| select::name(node)));
        table.add_row([
            Cell::new(out.node_set(&names)),
            toned_power(members[0], state),
            Cell::new(ages(members)),
            Cell::new(note),
        ]);
    }
    let mut text = out.drawn(table);
    if nodes.len() > 1 {
        text.push('\n');
        text.push_str(&summary(nodes));
    }
    text
}

fn toned_power(node: &Node, text: &str) -> Cell {
    output::toned(text, output::power_tone(node.power_state))
}

/// `12 s ago`, `3 s to 41 s ago`.
fn ages(nodes: &[&Node]) -> String {
    let ages = || {
        nodes
            .iter()
            .filter_map(|node| ours(node).reading.as_ref())
            .map(|reading| reading.age)
    };
    let (Some(least), Some(most)) = (ages().min(), ages().max()) else {
        return "never".to_owned();
    };
    match (
        most < A_MOMENT,
        words(least) == words(most) || least < A_MOMENT,
    ) {
        (true, _) => "just now".to_owned(),
        (false, true) => format!("{} ago", words(most)),
        (false, false) => format!("{} to {} ago", words(least), words(most)),
    }
}

/// `38 nodes: 36 on, 1 off, 1 unknown: r7n07`.
fn summary(nodes: &[&Node]) -> String {
    let of = |state: PowerState| nodes.iter().filter(move |node| node.power_state == state);
    let mut said = Vec::new();
    for (state, word) in [(PowerState::On, "on"), (PowerState::Off, "off")] {
        let count = of(state).count();
        if count > 0 {
            said.push(format!("{count} {word}"));
        }
    }
    for (state, word) in [
        (PowerState::Error, "error"),
        (PowerState::Unknown, "unknown"),
    ] {
        let names: Vec<&str> = of(state).map(|node| select::name(node)).collect();
        if !names.is_empty() {
            said.push(format!(
                "{} {word}: {}",
                names.len(),
                crate::nodeset::fold(&names)
            ));
        }
    }
    format!("{}: {}", output::nodes(nodes.len()), said.join(", "))
}

/// The power state, where a task leads, and what was read where that is another thing.
fn state_word(node: &Node) -> String {
    let mut text = node.power_state.to_string();
    if let Some(target) = &node.target_power_state {
        text.push_str(&format!(" -> {target}"));
    }
    if let Some(reading) = ours(node)
        .reading
        .as_ref()
        .filter(|_| node.power_state == PowerState::Error)
    {
        text.push_str(&format!(", read as {}", reading.power_state));
    }
    text
}

/// What is to be said beside the state.
fn note(node: &Node) -> String {
    let held = held(node).map(|reason| format!("maintenance: {reason}"));
    let trouble = trouble(node).map(str::to_owned);
    [trouble, held]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

/// A node in one line for a program: the state, its age where that is more than a moment of a
/// healthy rack, the note.
fn short_line(node: &Node) -> String {
    let mut text = state_word(node);
    match &ours(node).reading {
        Some(reading) if reading.age >= YOUNG => text.push_str(&format!(" ({})", age(reading.age))),
        Some(_) | None => {}
    }
    match note(node).as_str() {
        "" => text,
        note => format!("{text}: {note}"),
    }
}

pub(super) fn ours(node: &Node) -> &NodeDetail {
    &node.rackbmcd
}

/// Why a node is held back, if it is.
pub(super) fn held(node: &Node) -> Option<&str> {
    let hold = node.rackbmcd.maintenance.as_ref()?;
    Some(hold.reason.as_deref().unwrap_or("no reason given"))
}

/// A node in one line, all that is said of it.
pub(super) fn state_line(node: &Node) -> String {
    let read = match &ours(node).reading {
        Some(reading) => age(reading.age),
        None => "never read".to_owned(),
    };
    match note(node).as_str() {
        "" => format!("{} ({read})", state_word(node)),
        note => format!("{} ({read}): {note}", state_word(node)),
    }
}

fn age(age: Duration) -> String {
    if age < A_MOMENT {
        "read just now".to_owned()
    } else {
        format!("read {} ago", words(age))
    }
}

/// Nodes as a table.
pub(super) fn status_table(out: &Out, nodes: &[&Node]) -> Table {
    let mut table = out.table(&["NODE", "POWER", "TARGET", "READ", "BMC", "ADDRESS", "NOTE"]);
    for node in nodes {
        let ours = ours(node);
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
        table.add_row([
            Cell::new(select::name(node)),
            power_cell(node.power_state),
            Cell::new(node.target_power_state.as_ref().map_or("-", Word::as_str)),
            Cell::new(read),
            Cell::new(ours.bmc.health.as_str()),
            Cell::new(address(node)),
            Cell::new(note(node)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::node;
    use crate::model::BmcSummary;

    use PowerState::{Error, Off, On, Unknown};

    fn silent() -> Node {
        let mut silent = node("r1n07", Unknown, 0.0);
        silent.rackbmcd = NodeDetail {
            bmc: BmcSummary {
                trouble_text: Some("no answer, 4 attempts in 5 s".into()),
                ..BmcSummary::default()
            },
            ..NodeDetail::default()
        };
        silent
    }

    #[test]
    fn a_reading_is_shown_with_its_age_and_silence_as_unknown() {
        assert_eq!(state_line(&node("n", On, 12.3)), "power on (read 12 s ago)");
        assert_eq!(
            state_line(&silent()),
            "unknown (never read): no answer, 4 attempts in 5 s"
        );
        assert_eq!(
            state_line(&node("n", Error, 0.1)),
            "error, read as power on (read just now)"
        );
    }

    #[test]
    fn a_program_reads_the_state_behind_the_name_and_an_age_where_it_matters() {
        assert_eq!(short_line(&node("n", On, 12.3)), "power on");
        assert_eq!(
            short_line(&node("n", On, 725.0)),
            "power on (read 12 min 5 s ago)"
        );
        assert_eq!(
            short_line(&silent()),
            "unknown: no answer, 4 attempts in 5 s"
        );
        assert_eq!(
            short_line(&node("n", Error, 0.1)),
            "error, read as power on"
        );
    }

    #[test]
    fn a_person_sees_the_trouble_first_and_the_count_last() {
        let mut nodes: Vec<Node> = (1..=12)
            .map(|n| {
                node(
                    &format!("r1n{n:02}"),
                    if n == 3 { Off } else { On },
                    f64::from(n),
                )
            })
            .collect();
        nodes[6] = silent();
        insta::assert_snapshot!(for_people(&Out::of_a_person(), &nodes.iter().collect::<Vec<_>>()), @r"
        NODE                    POWER      READ             NOTE
        r1n07                   unknown    never            no answer, 4 attempts in 5 s
        r1n03                   power off  3 s ago
        r1n[01-02,04-06,08-12]  power on   1 s to 12 s ago
        12 nodes: 10 on, 1 off, 1 unknown: r1n07
        ");
    }

    #[test]
    fn it_is_said_why_a_node_was_not_read() {
        let took = Duration::from_millis(5010);
        let read = |fresh, node| not_fresh(Some(&FreshReading { fresh, node }), took);
        let why = read(false, silent());
        assert_eq!(why.as_deref(), Some("no answer, 4 attempts in 5 s"));
        let why = read(false, node("n", On, 5.2));
        assert_eq!(
            why.as_deref(),
            Some(
                "no answer with a power state from its BMC within 5 s (rackbmc explain says why); the last one is shown"
            )
        );
        assert_eq!(read(true, node("n", On, 0.2)), None);
        let gone = not_fresh(None, took).expect("a reason");
        assert!(gone.contains("names it no more"), "{gone}");
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_before_a_port_and_nowhere_else() {
        for (host, port, shown) in [
            ("10.0.1.1", 623, "10.0.1.1"),
            ("10.0.1.1", 624, "10.0.1.1:624"),
            ("bmc.example", 624, "bmc.example:624"),
            ("2001:db8::7", 623, "2001:db8::7"),
            ("2001:db8::7", 624, "[2001:db8::7]:624"),
            ("fe80::7%eth0", 624, "[fe80::7%eth0]:624"),
        ] {
            let mut node = node("r1n01", On, 3.4);
            let bmc = &mut node.rackbmcd.bmc;
            (bmc.address, bmc.port) = (host.into(), port);
            assert_eq!(address(&node), shown);
        }
    }

    #[test]
    fn the_facts_are_few_and_one_for_each_thing() {
        let facts = serde_json::to_value(Facts::of(&silent())).expect("JSON");
        assert_eq!(facts.as_object().map(serde_json::Map::len), Some(10));
        assert_eq!(facts["trouble"], "no answer, 4 attempts in 5 s");
    }
    #[test]
    fn the_table_says_state_target_age_and_what_went_wrong() {
        let out = Out {
            format: Format::Wide,
            person: false,
            ..Out::of_a_person()
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
        let table = status_table(&out, &[&going, &failed]).trim_fmt();
        insta::assert_snapshot!(table, @r"
        NODE   POWER     TARGET          READ                     BMC    ADDRESS   NOTE
        r1n01  power on  soft power off  3 s ago                  ready  10.0.1.1
        r1n02  error     -               power on, 1 min 1 s ago  ready  10.0.1.1  aborted by ops
        ");
    }
}
