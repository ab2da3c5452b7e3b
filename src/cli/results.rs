//! How tasks stand or ended. For a person: failures first, equal answers folded, each reason once,
//! a count as the last line. For a program: a line for each node.

use super::args::Format;
use super::output::{self, Out, rounded, words};
use crate::model::{Operation, Short, Task, TaskState, after_state};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is shown first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// It did not come about.
    Failed,
    /// Somebody took it back.
    Withdrawn,
    /// It goes on.
    Open,
    /// It was done, or nothing was to be done.
    Done,
}

/// What became of one node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    /// The node's name.
    pub node: String,
    /// Where it stands among the others.
    pub rank: Rank,
    /// What it counts as: `already on`, `failed`.
    pub word: String,
    /// The same in a line about this node: `power on failed`.
    pub text: String,
    /// How long it took, where something was done.
    pub took: Option<Duration>,
    /// How much of that it waited for its turn.
    pub waited: Duration,
    /// What is to be said beside it.
    pub why: String,
}

impl Ending {
    /// Of a node that got no task.
    pub(super) fn without_task(node: &str, rank: Rank, word: &str, why: &str) -> Self {
        Self {
            node: node.to_owned(),
            rank,
            word: word.to_owned(),
            text: word.to_owned(),
            took: None,
            waited: Duration::ZERO,
            why: why.to_owned(),
        }
    }

    /// Of a task.
    pub(super) fn of(task: &Task) -> Self {
        let known = task.state.known();
        let (operation, state) = (task.operation.as_str(), task.state.as_str());
        let outcome = task.outcome.as_deref().unwrap_or_default();
        let rest = after_state(operation, state, outcome);
        let rest = rest.trim_start_matches([':', ' ']).to_owned();
        let rank = match known {
            Some(TaskState::Succeeded) => Rank::Done,
            Some(TaskState::Aborted | TaskState::Cancelled | TaskState::RolledBack) => {
                Rank::Withdrawn
            }
            _ if task.ended => Rank::Failed,
            _ => Rank::Open,
        };
        let (word, text, why) = match rank {
            Rank::Done => {
                let done = done(task);
                (done.clone(), done, worth_saying(task, &rest))
            }
            Rank::Open => {
                let phase = after_state(operation, state, &task.phase);
                let phase = phase.trim_start_matches([':', ' ']).to_owned();
                (state.to_owned(), format!("{operation} {state}"), phase)
            }
            Rank::Failed | Rank::Withdrawn => {
                (state.to_owned(), format!("{operation} {state}"), rest)
            }
        };
        Self {
            node: task.node.clone(),
            rank,
            word,
            text,
            took: (task.ended && changed(task)).then(|| rounded(task.elapsed)),
            waited: rounded(task.waited),
            why,
        }
    }

    fn line(&self) -> String {
        joined(&self.text, &times(&[self]), &self.why)
    }
}

fn joined(text: &str, after: &str, why: &str) -> String {
    match why {
        "" => format!("{text}{after}"),
        why if why.starts_with("by ") => format!("{text}{after} {why}"),
        why => format!("{text}{after}: {why}"),
    }
}

/// Whether an order that changes power left for the BMC, or may have.
fn changed(task: &Task) -> bool {
    task.orders
        .iter()
        .any(|order| order.changes_power && order.left)
}

/// What was done, in the words in which people count it.
fn done(task: &Task) -> String {
    let hard = task
        .orders
        .iter()
        .any(|order| order.left && order.order == Operation::PowerOff.name());
    let changed = changed(task);
    let word = match (task.operation.known(), changed) {
        (Some(Operation::PowerOn), true) => "switched on",
        (Some(Operation::PowerOn), false) => "already on",
        (Some(Operation::PowerOff), true) => "switched off",
        (Some(Operation::SoftPowerOff), true) if hard => "switched off hard",
        (Some(Operation::SoftPowerOff), true) => "shut down",
        (Some(Operation::PowerOff | Operation::SoftPowerOff), false) => "already off",
        (Some(Operation::SoftReboot), true) if hard => "rebooted, switched off hard",
        (Some(Operation::Reboot | Operation::SoftReboot), _) => "rebooted",
        (Some(Operation::Reset), _) => "reset",
        (Some(Operation::Cycle), _) => "power cycled",
        (Some(Operation::InjectNmi), _) => "NMI sent, watch ended",
        (None, _) => return format!("{} {}", task.operation, task.state),
    };
    word.to_owned()
}

/// What a success has to say: what an NMI showed, and what may still come of an earlier order.
fn worth_saying(task: &Task, rest: &str) -> String {
    let matters = task.operation == Operation::InjectNmi || rest.contains(" may still ");
    if matters {
        rest.to_owned()
    } else {
        String::new()
    }
}

/// Shows what became of nodes; the tasks are what JSON has of them.
pub(super) fn show(out: &Out, tasks: &[Task], mut endings: Vec<Ending>) {
    endings.extend(tasks.iter().map(Ending::of));
    match out.format {
        Format::Text if endings.is_empty() => {}
        Format::Text if out.person => out.data(&for_people(out, &endings)),
        Format::Text => out.lines(&endings, |ending| {
            let folded = out.fold && ending.rank == Rank::Done;
            (
                ending.node.clone(),
                if folded {
                    joined(&ending.text, "", &ending.why)
                } else {
                    ending.line()
                },
            )
        }),
        Format::Wide | Format::Json | Format::Yaml | Format::Name => {
            for ending in endings.iter().filter(|ending| {
                ending.rank != Rank::Done
                    && ending.took.is_none()
                    && tasks.iter().all(|task| task.node != ending.node)
            }) {
                output::say!("{}: {}", ending.node, ending.line());
            }
            out.items(
                tasks,
                |task| (Short::task(task.id), String::new()),
                |tasks| super::power::task_table(out, tasks),
            );
        }
    }
}

/// Folded, the failed ones first, and counted.
fn for_people(out: &Out, endings: &[Ending]) -> String {
    let mut groups: BTreeMap<(Rank, &str, &str), Vec<&Ending>> = BTreeMap::new();
    for ending in endings {
        let key = (ending.rank, ending.text.as_str(), ending.why.as_str());
        groups.entry(key).or_default().push(ending);
    }
    let mut lines: Vec<String> = Vec::new();
    for ((_, text, why), members) in &groups {
        let names = crate::nodeset::fold(members.iter().map(|ending| ending.node.as_str()));
        let line = joined(text, &times(members), why);
        lines.push(out.node_line(&names, &line));
    }
    if endings.len() > 1 {
        lines.push(summary(endings));
    }
    lines.join("\n")
}

/// ` after 3 s`, ` after 2 s to 5 s`, ` after 1 min 7 s, 1 min 4 s of them waiting for its turn`.
fn times(members: &[&Ending]) -> String {
    let took = || members.iter().filter_map(|ending| ending.took);
    let (Some(least), Some(most)) = (took().min(), took().max()) else {
        return String::new();
    };
    let waited = members.iter().filter(|ending| ending.took.is_some());
    let waited = waited.map(|ending| ending.waited).max();
    let waited = match waited.filter(|waited| waited.as_secs() > 0) {
        Some(waited) if members.len() == 1 => {
            format!(", {} of them waiting for its turn", words(waited))
        }
        Some(waited) => format!(", up to {} of them waiting for their turn", words(waited)),
        None => String::new(),
    };
    match words(least) == words(most) {
        true => format!(" after {}{waited}", words(most)),
        false => format!(" after {} to {}{waited}", words(least), words(most)),
    }
}

/// `38 nodes: 36 already on, 1 switched on, 1 failed: r7n07`.
pub(super) fn summary(endings: &[Ending]) -> String {
    let mut counts: BTreeMap<(std::cmp::Reverse<Rank>, &str), Vec<&str>> = BTreeMap::new();
    for ending in endings {
        let key = (std::cmp::Reverse(ending.rank), ending.word.as_str());
        counts.entry(key).or_default().push(&ending.node);
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|((rank, _), names)| (*rank, std::cmp::Reverse(names.len())));
    let said = counts.iter().map(|((rank, word), names)| {
        let count = format!("{} {word}", names.len());
        match rank.0 {
            Rank::Failed => format!("{count}: {}", crate::nodeset::fold(names)),
            Rank::Withdrawn | Rank::Open | Rank::Done => count,
        }
    });
    format!(
        "{}: {}",
        output::nodes(endings.len()),
        said.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OrderUse;

    fn task(
        node: &str,
        operation: Operation,
        state: TaskState,
        outcome: &str,
        sent: &[&str],
    ) -> Task {
        Task {
            node: node.into(),
            operation: operation.into(),
            state: state.into(),
            ended: state.is_end(),
            outcome: Some(outcome.into()),
            elapsed: Duration::from_millis(2600),
            orders: sent
                .iter()
                .map(|order| OrderUse {
                    order: (*order).into(),
                    changes_power: true,
                    left: true,
                    ..OrderUse::default()
                })
                .collect(),
            ..Task::default()
        }
    }

    fn shown(tasks: &[Task]) -> String {
        let endings: Vec<Ending> = tasks.iter().map(Ending::of).collect();
        for_people(&Out::of_a_person(), &endings)
    }

    #[test]
    fn many_nodes_are_a_few_lines_with_the_failures_first_and_a_count_at_the_end() {
        let already = "power on: the node was on already: nothing was sent";
        let mut tasks: Vec<Task> = (1..=36)
            .map(|n| {
                task(
                    &format!("r7n{n:02}"),
                    Operation::PowerOn,
                    TaskState::Succeeded,
                    already,
                    &[],
                )
            })
            .collect();
        tasks.push(task(
            "r7n37",
            Operation::PowerOn,
            TaskState::Succeeded,
            "power on done, read back on at 2.6 s",
            &["power on"],
        ));
        tasks[6] = task(
            "r7n07",
            Operation::PowerOn,
            TaskState::Failed,
            "power on failed: the BMC did not answer for 60 s",
            &["power on"],
        );
        insta::assert_snapshot!(shown(&tasks), @r"
        r7n07: power on failed after 3 s: the BMC did not answer for 60 s
        r7n[01-06,08-36]: already on
        r7n37: switched on after 3 s
        37 nodes: 35 already on, 1 switched on, 1 failed: r7n07
        ");
    }

    #[test]
    fn what_was_more_than_asked_for_or_may_still_come_is_said() {
        let hard = task(
            "n1",
            Operation::SoftPowerOff,
            TaskState::Succeeded,
            "soft power off done, read back off at 2.6 s",
            &["soft power off", "power off"],
        );
        assert_eq!(shown(&[hard]), "n1: switched off hard after 3 s");
        let late = task(
            "n1",
            Operation::PowerOn,
            TaskState::Succeeded,
            "power on: on now; the soft power off of 12:03 UTC may still switch it off",
            &["power on"],
        );
        assert_eq!(
            shown(&[late]),
            "n1: switched on after 3 s: on now; the soft power off of 12:03 UTC may still switch it off"
        );
        let taken_back = task(
            "n1",
            Operation::Reboot,
            TaskState::Aborted,
            "aborted by alice: nothing was sent",
            &[],
        );
        assert_eq!(
            shown(&[taken_back]),
            "n1: rebooting aborted by alice: nothing was sent"
        );
    }
    #[test]
    fn how_much_of_the_time_was_waiting_is_said_beside_it() {
        let waited = |node: &str, seconds| Task {
            waited: Duration::from_secs(seconds),
            elapsed: Duration::from_secs(seconds + 3),
            ..task(
                node,
                Operation::PowerOn,
                TaskState::Succeeded,
                "power on done, read back on at 2.6 s",
                &["power on"],
            )
        };
        assert_eq!(
            shown(&[waited("n1", 64)]),
            "n1: switched on after 1 min 7 s, 1 min 4 s of them waiting for its turn"
        );
        insta::assert_snapshot!(shown(&[waited("n1", 0), waited("n2", 64)]), @r"
        n[1-2]: switched on after 3 s to 1 min 7 s, up to 1 min 4 s of them waiting for their turn
        2 nodes: 2 switched on
        ");
    }
}
