//! What a person sees of the rack and where they are in it. A plain value: no terminal, no daemon,
//! no clock.

use super::confirm::{Act, Action, Confirmation, takes};
use super::front::{Front, Subject};
use super::known::{Known, News};
use crate::cli::output;
use crate::model::{Control, Node, Task, TaskId, counted};
use crate::nodeset;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::time::Instant;
use uuid::Uuid;

/// How the nodes are put in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// As the rack has them.
    Rack,
    /// Beneath the first group of each.
    Groups,
}

/// Where the keys go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pane {
    /// To the nodes.
    Nodes,
    /// To the tasks.
    Tasks,
}

/// A line of the list of nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Row {
    /// A group, and how many nodes are beneath it.
    Group(String, usize),
    /// A node, by its place in what is known.
    Node(usize),
}

/// What is to be done for a person.
#[derive(PartialEq, Debug)]
pub(super) enum Wish {
    /// It is enough.
    Quit,
    /// Say all that is known of this.
    Details(Subject),
    Do(Action),
    /// Draw everything anew.
    Redraw,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct View {
    /// What the daemon said.
    pub known: Known,
    /// In which order the nodes are shown.
    pub order: Order,
    /// Only nodes with this in their name, or in this `@group`, are shown.
    pub filter: String,
    /// Whether the filter is being typed.
    pub typing: bool,
    /// What is shown of the nodes.
    pub rows: Vec<Row>,
    /// The node under the cursor, as long as it is there.
    at: Option<Uuid>,
    /// The row of the cursor.
    pub cursor: usize,
    /// The first row that is seen.
    pub top: usize,
    /// Nodes that are marked.
    pub marks: BTreeSet<Uuid>,
    /// Where the keys go.
    pub pane: Pane,
    /// The task under the cursor, as long as it is there.
    task_at: Option<TaskId>,
    /// The first task that is seen.
    pub task_top: usize,
    /// What was said last to the person.
    pub remark: Option<String>,
    /// What stands in front.
    pub front: Option<Front>,
    /// How far a page goes.
    pub page: usize,
    /// Whether there are colours.
    pub colour: bool,
    /// The zone of the clock on the wall.
    pub zone: TimeZone,
}

impl View {
    /// Of a rack of which nothing is known yet.
    pub(super) fn new(colour: bool, zone: TimeZone, now: Instant) -> Self {
        Self {
            known: Known::new(now),
            order: Order::Rack,
            filter: String::new(),
            typing: false,
            rows: Vec::new(),
            at: None,
            cursor: 0,
            top: 0,
            marks: BTreeSet::new(),
            pane: Pane::Nodes,
            task_at: None,
            task_top: 0,
            remark: None,
            front: None,
            page: 10,
            colour,
            zone,
        }
    }

    /// Takes what the daemon said.
    pub(super) fn news(&mut self, news: News, now: Instant) {
        self.known.take(news, now);
        let there: BTreeSet<Uuid> = self.known.nodes.iter().map(|node| node.uuid).collect();
        self.marks.retain(|marked| there.contains(marked));
        self.arrange();
    }

    /// Takes details that were wished for, unless nobody looks at them any more.
    pub(super) fn details(&mut self, of: &Subject, text: &str) {
        if let Some(Front::Details(shown, scroll)) = &mut self.front
            && shown == of
        {
            scroll.lines = text.lines().map(str::to_owned).collect();
        }
    }

    /// Takes what became of a action: a line, or several, which stand in front.
    pub(super) fn answer(&mut self, act: Act, text: &str) {
        let free = self.front.is_none();
        if text.lines().count() > 1 && free {
            let title = format!("{}: the answer", act.word());
            let scroll = super::front::Scroll::of(text);
            self.front = Some(Front::Details(Subject::Answer(title), scroll));
        } else {
            self.remark = Some(text.lines().collect::<Vec<_>>().join("; "));
        }
    }

    /// The picture was drawn.
    pub(super) fn drawn(&mut self, now: Instant) {
        if let Some(Front::Confirm(confirmation)) = &mut self.front {
            confirmation.drawn(now);
        }
    }

    /// What the details in front are about.
    pub(super) fn looks_at(&self) -> Option<&Subject> {
        match &self.front {
            Some(Front::Details(subject, _)) => Some(subject),
            _ => None,
        }
    }

    /// Whether there is a question that nobody can have answered, since it was not drawn before.
    pub(super) fn asks_unseen(&self) -> bool {
        matches!(&self.front, Some(Front::Confirm(asked)) if !asked.is_drawn())
    }

    /// Puts the nodes in order, the cursor on the node that it was on.
    pub(super) fn arrange(&mut self) {
        let nodes = &self.known.nodes;
        let shown = (0..nodes.len()).filter(|place| self.shows(&nodes[*place]));
        self.rows = match self.order {
            Order::Rack => shown.map(Row::Node).collect(),
            Order::Groups => grouped(nodes, shown.collect()),
        };
        let of_cursor = self.at.and_then(|uuid| {
            let is_it =
                |row: &Row| matches!(row, Row::Node(place) if self.known.nodes[*place].uuid == uuid);
            self.rows.iter().position(is_it)
        });
        self.cursor = of_cursor.unwrap_or(self.cursor.min(self.rows.len().saturating_sub(1)));
        self.settle_cursor(1);
    }

    fn shows(&self, node: &Node) -> bool {
        if let Some(group) = self.filter.strip_prefix('@') {
            let begins = |name: &String| name.starts_with(group);
            return node.rackbmcd.groups.iter().any(begins);
        }
        let name = node.name.to_lowercase();
        name.contains(&self.filter.to_lowercase())
    }

    /// Moves the cursor by so many rows.
    pub(super) fn step(&mut self, by: isize) {
        if self.pane == Pane::Tasks {
            let last = self.known.tasks.len().saturating_sub(1);
            let place = self.task_place().saturating_add_signed(by).min(last);
            self.task_at = self.known.tasks.get(place).map(|task| task.id);
            return;
        }
        let last = self.rows.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        self.settle_cursor(by.signum());
    }

    /// The cursor stands on nodes only: from a group's line it goes on in a direction, or back
    /// where there is nothing.
    fn settle_cursor(&mut self, direction: isize) {
        let is_node = |row: Option<&Row>| matches!(row, Some(Row::Node(_)));
        if !is_node(self.rows.get(self.cursor)) {
            let next = self.cursor.checked_add_signed(direction);
            let next = next.filter(|next| is_node(self.rows.get(*next)));
            let below = (self.cursor + 1).min(self.rows.len().saturating_sub(1));
            self.cursor = next.unwrap_or(below);
        }
        self.at = self.under_cursor().map(|node| node.uuid);
    }

    /// The node under the cursor.
    pub(super) fn under_cursor(&self) -> Option<&Node> {
        match self.rows.get(self.cursor)? {
            Row::Node(place) => self.known.nodes.get(*place),
            Row::Group(..) => None,
        }
    }

    /// The place of the task under the cursor.
    pub(super) fn task_place(&self) -> usize {
        let is_it = |task: &Task| Some(task.id) == self.task_at;
        self.known.tasks.iter().position(is_it).unwrap_or(0)
    }

    /// The task under the cursor.
    pub(super) fn task_under_cursor(&self) -> Option<&Task> {
        self.known.tasks.get(self.task_place())
    }

    /// The nodes that are shown.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Node> {
        self.rows.iter().filter_map(|row| match row {
            Row::Node(place) => self.known.nodes.get(*place),
            Row::Group(..) => None,
        })
    }

    /// How many marks there are, and how many of them the filter hides.
    pub(super) fn marked(&self) -> (usize, usize) {
        let seen = self.shown().filter(|node| self.marks.contains(&node.uuid));
        (self.marks.len(), self.marks.len() - seen.count())
    }

    /// Opens the question that a key stands for, or says why there is none.
    pub(super) fn ask(&mut self, act: Act) {
        match self.question(act) {
            Ok(confirmation) => self.front = Some(Front::Confirm(confirmation)),
            Err(why) => self.remark = Some(why),
        }
    }

    fn question(&self, act: Act) -> Result<Confirmation, String> {
        if let Some((_, why)) = &self.known.away {
            return Err(format!("nothing was asked: {why}"));
        }
        if !self.known.may_act() {
            return Err(format!("nothing was asked: {}", self.missing_role()));
        }
        let mut left_out = Vec::new();
        let action = match (act, self.pane) {
            (Act::Use(control), Pane::Tasks) => {
                let task = self.task_under_cursor().ok_or("there is no task")?;
                used_on(control, vec![task])?
            }
            (Act::Start(_), Pane::Tasks) => {
                return Err("this acts on nodes: Tab leads to them".to_owned());
            }
            (act, Pane::Nodes) => {
                let (nodes, hidden) = self.targets()?;
                if hidden > 0 {
                    let hidden = counted(hidden, "marked node");
                    left_out.push(format!("Left alone, as the filter hides it: {hidden}."));
                }
                self.on_nodes(act, &nodes, &mut left_out)?
            }
        };
        let foreign: Vec<&str> = action
            .nodes()
            .into_iter()
            .filter(|node| !self.known.may_act_on(node))
            .collect();
        match foreign.is_empty() {
            true => Ok(Confirmation::new(action, left_out)),
            false => Err(format!(
                "nothing was asked: the role operator is missing for {}",
                nodeset::fold(&foreign)
            )),
        }
    }

    /// The marked nodes that are shown, the one under the cursor where nothing is marked; and how
    /// many marks are hidden.
    fn targets(&self) -> Result<(Vec<&Node>, usize), String> {
        let (marks, hidden) = self.marked();
        if marks == 0 {
            let node = self.under_cursor().ok_or("there is no node here")?;
            return Ok((vec![node], 0));
        }
        if marks == hidden {
            return Err("nothing was asked: the filter hides every marked node".to_owned());
        }
        let marked = self.shown().filter(|node| self.marks.contains(&node.uuid));
        Ok((marked.collect(), hidden))
    }

    fn on_nodes(
        &self,
        act: Act,
        nodes: &[&Node],
        left_out: &mut Vec<String>,
    ) -> Result<Action, String> {
        let control = match act {
            Act::Start(operation) => {
                let names = nodes.iter().map(|node| node.name.to_string());
                return Ok(Action::Start(operation, names.collect()));
            }
            Act::Use(control) => control,
        };
        let tasks: Vec<&Task> = nodes
            .iter()
            .filter_map(|node| self.known.task_of(node))
            .collect();
        let without = nodes.len() - tasks.len();
        if tasks.is_empty() {
            let names = nodeset::fold(nodes.iter().map(|node| &*node.name));
            return Err(format!("{names}: no task is running"));
        }
        if without > 0 {
            let without = output::nodes(without);
            left_out.push(format!("Left alone, as no task is running: {without}."));
        }
        used_on(control, tasks)
    }

    /// What is said beside keys that do nothing for us.
    pub(super) fn missing_role(&self) -> String {
        let name = self.known.asker.as_ref().map(|asker| asker.name.as_str());
        let name = output::harmless(name.unwrap_or("you"), false);
        let held = self.known.asker.as_ref();
        let held = held.and_then(|asker| asker.role.as_ref());
        match held {
            Some(role) => format!("{name} is {role}, the role operator is missing"),
            None => format!("{name} has no role here, operator is missing"),
        }
    }
}

/// A control on those of the tasks that take it now.
fn used_on(control: Control, tasks: Vec<&Task>) -> Result<Action, String> {
    let (willing, unwilling): (Vec<&Task>, Vec<&Task>) =
        tasks.into_iter().partition(|task| takes(task, control));
    if willing.is_empty() {
        let names = nodeset::fold(unwilling.iter().map(|task| task.node.as_str()));
        let word = match control {
            Control::Rollback => "rolled back",
            Control::Suspend => "suspended",
            Control::Resume => "resumed",
            Control::Abort => "aborted",
            Control::Cancel => "cancelled",
        };
        return Err(format!("{names}: cannot be {word} now"));
    }
    let tasks = willing.iter().map(|task| (task.id, task.node.clone()));
    Ok(Action::Use(control, tasks.collect()))
}

/// The nodes beneath the first group of each, those of no group last.
fn grouped(nodes: &[Node], places: Vec<usize>) -> Vec<Row> {
    let mut groups: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
    for place in places {
        let first = nodes[place].rackbmcd.groups.first().map(String::as_str);
        match groups.iter_mut().find(|(group, _)| *group == first) {
            Some((_, members)) => members.push(place),
            None => groups.push((first, vec![place])),
        }
    }
    groups.sort_by_key(|(group, _)| (group.is_none(), *group));
    let mut rows = Vec::new();
    for (group, members) in groups {
        let title = group.map_or("in no group".to_owned(), |group| format!("@{group}"));
        rows.push(Row::Group(title, members.len()));
        rows.extend(members.into_iter().map(Row::Node));
    }
    rows
}
