//! `wait`: until nodes are on, or off, without doing anything about it.
//!
//! Asks for fresh readings of all of them with one request, and not more often than every two
//! seconds; the daemon paces what reaches each BMC, and may be restarted meanwhile.

use super::App;
use super::args::Until;
use super::exit::{Exit, Failure};
use super::output::words;
use super::patience::Patience;
use super::select::{self, Unnamed};
use crate::model::{FreshReading, Node, Power};
use std::time::{Duration, Instant};

/// Waits until every node was read as wanted, each of them once. Exit 5 where the time ran out
/// before.
pub(super) async fn until(app: &App, args: Until) -> Result<Exit, Failure> {
    let goal = Goal::of(&args);
    let mut patience = Patience::default();
    let nodes = patience
        .ask(async || select::nodes(&app.client, &args.nodes, Unnamed::Mistake).await)
        .await?;
    let names = nodes.iter().map(|node| select::name(node).to_owned());
    let names: Vec<String> = names.collect();
    let plain = |name: &str| name.to_owned();
    rounds(app, names, &goal, patience, plain).await
}

/// What is waited for, since when and until when.
pub(super) struct Goal {
    wanted: Power,
    began: Instant,
    until: Option<Instant>,
}

impl Goal {
    /// As it was asked for, from now on.
    pub(super) fn of(args: &Until) -> Self {
        let began = Instant::now();
        Self {
            wanted: if args.on { Power::On } else { Power::Off },
            began,
            until: args.timeout.map(|timeout| began + timeout),
        }
    }
}

/// Reads nodes of one daemon again and again until each was as wanted; they are told by the names
/// that `shown` has for them.
///
/// # Errors
/// The daemon stays away.
pub(super) async fn rounds(
    app: &App,
    mut left: Vec<String>,
    goal: &Goal,
    mut patience: Patience,
    shown: impl Fn(&str) -> String,
) -> Result<Exit, Failure> {
    let Goal {
        wanted,
        began,
        until,
    } = *goal;
    loop {
        let round = Instant::now();
        let mut still = Vec::new();
        let mut last = Vec::new();
        let read = patience.ask(async || app.client.fresh_all(&left, false).await);
        for (name, read) in left.iter().zip(read.await?) {
            let read = read.ok_or_else(|| gone(name))?;
            if is(&read, wanted) {
                let text = format!("power {wanted} after {}", words(began.elapsed()));
                app.out.data(&format!("{}: {text}", shown(name)));
            } else {
                still.push(name.clone());
                last.push(read.node);
            }
        }
        left = still;
        if left.is_empty() {
            return Ok(Exit::Done);
        }
        let now = Instant::now();
        if until.is_some_and(|until| now >= until) {
            for (name, node) in left.iter().zip(&last) {
                app.out
                    .data(&format!("{}: {}", shown(name), found(node, wanted)));
            }
            return Ok(Exit::StillRunning);
        }
        let next = round + EVERY;
        smol::Timer::at(until.map_or(next, |until| until.min(next))).await;
    }
}

/// The configuration names a node no more: it will never be as wanted.
fn gone(name: &str) -> Failure {
    Failure::Usage(format!("the rack has no node {name} any more"))
}

/// Whether the reading says so. What is shown may be `error` beside it.
fn is(read: &FreshReading, wanted: Power) -> bool {
    let reading = read.node.rackbmcd.reading.as_ref();
    read.fresh && reading.is_some_and(|reading| reading.power_state == wanted)
}

/// How a node stands that is not as wanted.
fn found(node: &Node, wanted: Power) -> String {
    let known = &node.rackbmcd;
    let seen = match (&known.bmc.trouble_text, &known.reading) {
        (Some(trouble), _) => trouble.clone(),
        (None, Some(reading)) => {
            format!("{}, read {} ago", reading.power_state, words(reading.age))
        }
        (None, None) => "not read yet".to_owned(),
    };
    format!("not power {wanted} in time: {seen}")
}

/// A node is not read more often than that.
const EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeDetail, PowerReading, PowerState};
    use crate::time::WallTime;

    fn node(power: Power, age: u64) -> Node {
        Node {
            power_state: PowerState::Error,
            rackbmcd: NodeDetail {
                reading: Some(PowerReading {
                    power_state: power.into(),
                    at: WallTime::from_unix_micros(0),
                    age: Duration::from_secs(age),
                }),
                ..NodeDetail::default()
            },
            ..Node::default()
        }
    }

    #[test]
    fn what_was_read_counts_whatever_is_shown_and_an_old_reading_does_not() {
        let read = |power, fresh| FreshReading {
            fresh,
            node: node(power, 0),
        };
        assert!(is(&read(Power::Off, true), Power::Off));
        assert!(!is(&read(Power::On, true), Power::Off));
        assert!(!is(&read(Power::Off, false), Power::Off));
        assert_eq!(
            found(&node(Power::On, 1), Power::Off),
            "not power off in time: power on, read 1 s ago"
        );
    }
}
