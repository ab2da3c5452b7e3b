//! `check`: a plug-in for Nagios and Icinga: one line, performance data, and an exit code of its
//! own.

use super::App;
use super::args::{Check, OnOff};
use super::exit::Exit;
use super::ha::stale_in_words;
use super::output;
use super::select::{self, Unnamed};
use super::status::{held, ours};
use crate::model::{Health, Node, PowerState, Trouble, Word};
use std::time::Duration;

/// The four answers of a Nagios plug-in; they are not the exit codes of the other verbs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Nagios {
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
pub(super) async fn check(app: &App, args: &Check) -> (Nagios, String) {
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
    let stale = app.client.stale();
    let stale = stale.map(|stale| (Nagios::Warning, stale_in_words(&stale)));
    let of_rack = of_rack(&health).into_iter().chain(stale).collect();
    judge(&nodes, args, of_rack)
}

/// What is to be said of a rack as a whole.
pub(super) fn of_rack(health: &Health) -> Vec<(Nagios, String)> {
    let store = health.store_trouble.as_ref().map(|trouble| {
        let text = format!("the journal cannot be written: {trouble}");
        (Nagios::Critical, text)
    });
    let paused = health.pause.as_ref().map(|hold| {
        let reason = hold.reason.as_deref().unwrap_or("no reason given");
        let text = format!("the rack is paused by {}: {reason}", hold.by);
        (Nagios::Warning, text)
    });
    let refused = health.configuration_refused.as_ref().map(|_| {
        let text = "the configuration on the disk is wrong, and an older one in force (rackbmcd --check-config says why)";
        (Nagios::Warning, text.to_owned())
    });
    let unreadable = health.unreadable.len();
    let unreadable = (unreadable > 0).then(|| {
        let text = format!("entries of the journal that cannot be read: {unreadable}");
        (Nagios::Warning, text)
    });
    let all = [store, paused, refused, unreadable];
    all.into_iter().flatten().collect()
}

/// The verdict on nodes, and on what is said of their racks.
pub(super) fn judge(
    nodes: &[Node],
    args: &Check,
    of_racks: Vec<(Nagios, String)>,
) -> (Nagios, String) {
    let mut verdict = Nagios::Ok;
    let mut words: Vec<String> = Vec::new();
    let mut find = |how: Nagios, text: String| {
        verdict = verdict.max(how);
        words.push(text);
    };
    for (how, text) in of_racks {
        find(how, text);
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
        let reading_age = ours(node).reading.as_ref().map(|reading| reading.age);
        oldest = oldest.zip(reading_age).map(|(oldest, age)| oldest.max(age));
        let old = reading_age.is_none_or(|age| age > args.max_age);
        let found = judge_node(node, expected, old);
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
            "{}, {} on",
            output::nodes(nodes.len()),
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

/// What is wrong with one node. `old` says that its reading is missing or older than allowed.
fn judge_node(node: &Node, expected: Option<PowerState>, old: bool) -> Option<(Nagios, String)> {
    let ours = ours(node);
    let trouble = ours.bmc.trouble.as_ref();
    let fault = match trouble {
        // What it leads to says less.
        Some(Word::Known(Trouble::Locked)) => trouble.map(Word::<Trouble>::words),
        _ => {
            let own = ours.fault.as_ref().map(Word::to_string);
            own.or(trouble.map(Word::<Trouble>::words))
        }
    };
    if held(node).is_some() {
        Some((Nagios::Warning, "in maintenance".to_owned()))
    } else if let Some(fault) = fault {
        Some((Nagios::Critical, fault))
    } else if node.power_state == PowerState::Error {
        let read = ours.reading.as_ref();
        let read = read.map(|reading| format!(", read as {}", reading.power_state));
        let text = format!("error{}", read.unwrap_or_default());
        Some((Nagios::Critical, text))
    } else if old {
        Some((Nagios::Warning, "reading too old".to_owned()))
    } else if expected.is_some_and(|expected| expected != node.power_state) {
        Some((Nagios::Critical, node.power_state.to_string()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Nodes;
    use crate::cli::fixtures::node;
    use crate::model::{ConfigurationRefused, Hold, UnreadableEntry};

    use PowerState::{Error, Off, On, Unknown};

    fn wish() -> Check {
        Check {
            nodes: Nodes::default(),
            expect: Some(OnOff::On),
            max_age: Duration::from_secs(300),
            timeout: Duration::from_secs(8),
        }
    }

    #[test]
    fn a_check_says_ok_in_one_line_with_figures() {
        let nodes = [node("r1n01", On, 3.0), node("r1n02", On, 12.0)];
        let (verdict, line) = judge(&nodes, &wish(), Vec::new());
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
            vec![(
                Nagios::Warning,
                "the rack is paused by ops: power work".into(),
            )],
        );
        assert_eq!(verdict as i32, 2);
        insta::assert_snapshot!(line, @"RACKBMC CRITICAL - the rack is paused by ops: power work; r1n03 error, read as power on; r1n[01-02] power off; r1n05 in maintenance; r1n04 reading too old | nodes=5 on=1 off=3 error=1 unknown=0 tasks=0 oldest=900s");
    }

    #[test]
    fn a_trouble_is_told_in_words_also_one_of_a_newer_daemon() {
        let words = Trouble::ALL.map(Word::from).into_iter();
        for trouble in words.chain([Word::of("some_new_trouble")]) {
            let mut node = node("n", Unknown, 3.0);
            node.rackbmcd.bmc.trouble = Some(trouble);
            let (verdict, line) = judge(&[node], &wish(), Vec::new());
            assert_eq!(verdict, Nagios::Critical);
            assert!(!line.contains('_'), "{line}");
        }
    }

    #[test]
    fn a_node_that_is_not_read_any_more_is_no_ok() {
        let (verdict, _) = judge(&[node("n", On, 301.0)], &wish(), Vec::new());
        assert_eq!(verdict, Nagios::Warning);
        let mut never = node("n", Unknown, 0.0);
        never.rackbmcd.reading = None;
        let (verdict, line) = judge(&[never, node("m", On, 1.0)], &wish(), Vec::new());
        assert_eq!(verdict, Nagios::Warning);
        assert!(line.ends_with("oldest=U"), "{line}");
        let (verdict, line) = judge(
            &[node("n", On, 1.0)],
            &wish(),
            of_rack(&Health {
                store_trouble: Some("disk | full".into()),
                ..Health::default()
            }),
        );
        assert_eq!(verdict, Nagios::Critical);
        assert_eq!(line.matches('|').count(), 1, "{line}");
    }

    #[test]
    fn a_configuration_that_is_refused_and_entries_that_cannot_be_read_are_no_ok() {
        let refused = Health {
            configuration_refused: Some(ConfigurationRefused::default()),
            ..Health::default()
        };
        let unreadable = Health {
            unreadable: vec![UnreadableEntry::default()],
            ..Health::default()
        };
        for (health, what) in [
            (refused, "the configuration on the disk"),
            (unreadable, "read: 1"),
        ] {
            let (verdict, line) = judge(&[node("n", On, 1.0)], &wish(), of_rack(&health));
            assert_eq!(verdict, Nagios::Warning, "{line}");
            assert!(line.contains(what), "{line}");
        }
    }
}
