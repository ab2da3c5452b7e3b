//! What a key asks for, and the question that stands between the key and the rack.
//!
//! A confirmation says what will happen to which nodes and wants a word that is typed. It holds the
//! nodes and tasks of the moment at which it was opened, and hears no key from before it was drawn.

use crate::cli::output;
use crate::model::{Control, Operation, Task, TaskId};
use crate::nodeset;
use crossterm::event::KeyCode;
use std::time::Instant;

/// What a key may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Start an operation on nodes.
    Start(Operation),
    /// Use a control on tasks.
    Use(Control),
}

/// What acts, in the order in which the keys are shown: the key, what it does, its word.
pub(super) const ACTS: [(char, Act, &str); 7] = [
    ('s', Act::Start(Operation::SoftPowerOff), "soft"),
    ('n', Act::Start(Operation::PowerOn), "on"),
    ('a', Act::Use(Control::Abort), "abort"),
    ('u', Act::Use(Control::Suspend), "suspend"),
    ('r', Act::Use(Control::Resume), "resume"),
    ('b', Act::Use(Control::Rollback), "rollback"),
    ('i', Act::Start(Operation::InjectNmi), "nmi"),
];

impl Act {
    /// The word that has to be typed, and that the keys are shown with.
    pub(super) fn word(self) -> &'static str {
        let found = ACTS.iter().find(|(_, act, _)| *act == self);
        found.map_or("", |(_, _, word)| *word)
    }

    /// What it does, for the help.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Start(Operation::SoftPowerOff) => {
                "soft power off: ask the operating system to shut down"
            }
            Self::Start(Operation::InjectNmi) => "inject an NMI, once",
            Self::Start(_) => "power on",
            Self::Use(Control::Abort) => "abort: stop now, leave the machine as it is",
            Self::Use(Control::Suspend) => "suspend: hold still; no patience runs out",
            Self::Use(Control::Resume) => "resume, after a look at the machine",
            Self::Use(Control::Rollback) => "roll back: stop, and bring the power state back",
            Self::Use(Control::Cancel) => "cancel: withdraw what has not been sent yet",
        }
    }

    /// What will happen, said of so many nodes.
    fn in_words(self, count: usize) -> &'static str {
        let one = count == 1;
        match self {
            Self::Start(Operation::SoftPowerOff) if one => {
                "Soft power off: the operating system is asked to shut down. If it does not in time, the machine is left \
                 on, unless its configuration says otherwise."
            }
            Self::Start(Operation::SoftPowerOff) => {
                "Soft power off: the operating systems are asked to shut down. What does not in time is left on, unless \
                 its configuration says otherwise."
            }
            Self::Start(Operation::InjectNmi) => {
                "NMI: a diagnostic interrupt, sent once. Most operating systems crash of it and write a dump. It cannot be \
                 taken back."
            }
            Self::Start(_) => "Power on.",
            Self::Use(Control::Abort) if one => {
                "Abort: nothing more is sent for this task, the machine is left as it is."
            }
            Self::Use(Control::Abort) => {
                "Abort: nothing more is sent for these tasks, the machines are left as they are."
            }
            Self::Use(Control::Suspend) => {
                "Suspend: nothing is sent and no patience runs out until it is resumed."
            }
            Self::Use(Control::Resume) => "Resume: go on, after a look at the machine.",
            Self::Use(Control::Rollback) => {
                "Roll back: stop, and bring the power back to what it was when the task began. What was switched off is \
                 switched on again, and the other way round."
            }
            Self::Use(Control::Cancel) => "Cancel: withdraw what has not been sent yet.",
        }
    }
}

/// What will be done when the word was typed.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Action {
    /// An operation on these nodes.
    Start(Operation, Vec<String>),
    /// A control on these tasks, each with its node.
    Use(Control, Vec<(TaskId, String)>),
}

impl Action {
    /// What it does.
    pub(super) fn act(&self) -> Act {
        match self {
            Self::Start(operation, _) => Act::Start(*operation),
            Self::Use(control, _) => Act::Use(*control),
        }
    }

    /// The nodes that it is about.
    pub(super) fn nodes(&self) -> Vec<&str> {
        match self {
            Self::Start(_, nodes) => nodes.iter().map(String::as_str).collect(),
            Self::Use(_, tasks) => tasks.iter().map(|(_, node)| node.as_str()).collect(),
        }
    }
}

/// Whether a task takes a control now.
pub(super) fn takes(task: &Task, control: Control) -> bool {
    match control {
        Control::Abort => task.may_abort,
        Control::Cancel => task.may_cancel,
        Control::Rollback => task.may_rollback,
        Control::Suspend => task.may_suspend,
        Control::Resume => task.may_resume,
    }
}

/// See the head of this file.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Confirmation {
    /// What it is about.
    pub action: Action,
    /// What is left out, and why.
    left_out: Vec<String>,
    /// What was typed so far.
    pub typed: String,
    /// Since when it is on the screen. Keys from before do not count.
    drawn: Option<Instant>,
    /// Whether its last line was on the screen.
    seen: bool,
    /// The first line that is shown.
    pub top: usize,
}

/// What came of a key.
#[derive(PartialEq, Debug)]
pub(super) enum Heard {
    Waiting,
    /// It is to be done.
    Do(Action),
    /// It is not.
    Leave,
}

impl Confirmation {
    /// A question that nobody has seen yet.
    pub(super) fn new(action: Action, left_out: Vec<String>) -> Self {
        Self {
            action,
            left_out,
            typed: String::new(),
            drawn: None,
            seen: false,
            top: 0,
        }
    }

    /// The question in lines of at most `width` letters; what has to be typed is not among them.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let nodes = self.action.nodes();
        let mut lines = wrapped(self.action.act().in_words(nodes.len()), width);
        lines.push(String::new());
        let set = nodeset::fold(&nodes);
        let count = output::nodes(nodes.len());
        if count.len() + 2 + set.len() <= width {
            lines.push(format!("{count}: {set}"));
        } else {
            lines.push(format!("{count}:"));
            let inner = width.saturating_sub(2);
            let broken = output::broken_at_commas(&set, inner);
            lines.extend(broken.lines().map(|line| format!("  {line}")));
        }
        for left_out in &self.left_out {
            lines.extend(wrapped(left_out, width));
        }
        lines
    }

    /// It is on the screen from now on.
    pub(super) fn drawn(&mut self, now: Instant) {
        self.drawn.get_or_insert(now);
    }

    /// Whether it was on the screen.
    pub(super) fn is_drawn(&self) -> bool {
        self.drawn.is_some()
    }

    /// Its last line is on the screen.
    pub(super) fn seen_to_the_end(&mut self) {
        self.seen = true;
    }

    /// Whether the word would be taken.
    pub(super) fn is_seen(&self) -> bool {
        self.seen
    }

    /// Takes a key that was pressed at a moment.
    pub(super) fn key(&mut self, code: KeyCode, at: Instant) -> Heard {
        if self.drawn.is_none_or(|drawn| at < drawn) {
            return Heard::Waiting;
        }
        match code {
            KeyCode::Esc => return Heard::Leave,
            KeyCode::Up => self.top = self.top.saturating_sub(1),
            KeyCode::Down => self.top += 1,
            KeyCode::Char(letter) if self.typed.len() < LONGEST => self.typed.push(letter),
            KeyCode::Backspace => {
                self.typed.pop();
            }
            KeyCode::Enter if self.seen && self.typed == self.action.act().word() => {
                return Heard::Do(self.action.clone());
            }
            // Behind nothing, a wrong word, or nodes that nobody has seen it is a no: what was
            // typed is gone.
            KeyCode::Enter => self.typed.clear(),
            _ => {}
        }
        Heard::Waiting
    }
}

/// No word is longer.
const LONGEST: usize = 20;

/// A text in lines of at most `width` letters, broken at blanks.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("one at least");
        let longer = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if longer <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
