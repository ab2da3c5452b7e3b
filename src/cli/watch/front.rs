//! What stands in front of the picture: the help, the details of a node or a task, a confirmation.

use super::confirm::{ACTS, Confirmation};
use crate::model::{Short, TaskId};

/// See the head of this file.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Front {
    Help(Scroll),
    /// All that is known of one thing.
    Details(Subject, Scroll),
    Confirm(Confirmation),
}

/// What details are about.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Subject {
    /// A node, by its name.
    Node(String),
    Task(TaskId),
    /// What the daemon answered, where that is more than a line.
    Answer(String),
}

impl Subject {
    /// What stands above the details.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Node(name) => format!("node {name}"),
            Self::Task(id) => format!("task {}", Short::task(*id)),
            Self::Answer(what) => what.clone(),
        }
    }
}

/// Lines of which a part is seen.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Scroll {
    /// All of them.
    pub lines: Vec<String>,
    /// The first that is seen.
    pub top: usize,
}

impl Scroll {
    /// These, from the first one on.
    pub(super) fn of(text: &str) -> Self {
        Self {
            lines: text.lines().map(str::to_owned).collect(),
            top: 0,
        }
    }
}

pub(super) fn help() -> Scroll {
    let mut lines: Vec<String> = [
        "arrows, j, k, PgUp, PgDn, Home, End   move",
        "Tab        to the tasks, and back to the nodes",
        "Enter      all that is known of the node or task",
        "/          filter by name, or by @group; Enter keeps it, Esc takes it away",
        "space      mark a node, or unmark it; * all that are shown",
        "Esc        take away the filter, then the marks",
        "g          group the nodes, or back to the order of the rack",
        "q, Ctrl-C  end; what was asked for goes on",
        "",
        "These act, on the marked nodes, or on the one under the cursor where none",
        "is marked; among the tasks on the task under the cursor. Each says first",
        "what will happen to which nodes and wants a word. Marks that the filter",
        "hides are left alone.",
        "",
    ]
    .map(str::to_owned)
    .into();
    for (key, act, _) in ACTS {
        lines.push(format!("{key}          {}", act.short()));
    }
    Scroll { lines, top: 0 }
}
