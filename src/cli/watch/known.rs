//! What the daemon said last, and when: readings age and tasks go on between two answers.

use crate::cli::output;
use crate::model::{Asker, Event, Health, Hold, Node, PowerState, Role, Task, TaskNews, TaskState};
use crate::time::WallTime;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Events that are kept: more than fit on any screen.
const EVENTS_KEPT: usize = 200;

#[derive(Debug)]
pub(super) enum News {
    /// Every node that is watched, in the order of the rack.
    Nodes(Vec<Node>),
    /// Every task that has not ended.
    Tasks(Vec<Task>),
    /// Events, the oldest first, and whether some were missed before them.
    Events(Vec<Event>, bool),
    /// The daemon itself, and how long it has been running.
    Health(Box<Health>, Duration),
    /// What we may do.
    Asker(Asker),
    /// The daemon does not answer, and why.
    Away(String),
    /// It refuses to say something, and why; what is known stays.
    Refused(String),
    /// It answers again.
    Back,
}

/// Something worth a line below the nodes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// When; `None` for a word of our own.
    pub at: Option<WallTime>,
    pub text: String,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Known {
    /// In the order of the rack.
    pub nodes: Vec<Node>,
    nodes_at: Instant,
    /// Those that run first, those that wait for their turn last.
    pub tasks: Vec<Task>,
    tasks_at: Instant,
    /// The newest last.
    pub events: VecDeque<Said>,
    /// The daemon itself, and its age when it said so.
    pub health: Option<(Box<Health>, Duration, Instant)>,
    /// What we may do; `None` where an older daemon does not say.
    pub asker: Option<Asker>,
    /// Since when the daemon does not answer, and why.
    pub away: Option<(Instant, String)>,
    /// Why it does not say what was asked last.
    pub refused: Option<String>,
}

impl Known {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            nodes: Vec::new(),
            nodes_at: now,
            tasks: Vec::new(),
            tasks_at: now,
            events: VecDeque::new(),
            health: None,
            asker: None,
            away: None,
            refused: None,
        }
    }

    /// Takes something new.
    pub(super) fn take(&mut self, news: News, now: Instant) {
        match news {
            News::Nodes(nodes) => {
                self.nodes = nodes;
                self.nodes_at = now;
                self.refused = None;
            }
            News::Tasks(tasks) => {
                self.tasks = tasks;
                self.tasks_at = now;
                self.sort_tasks();
            }
            News::Events(events, missed) => {
                if missed {
                    self.say("events were missed here".to_owned());
                }
                for event in events {
                    self.event(event);
                }
            }
            News::Health(health, age) => self.health = Some((health, age, now)),
            News::Asker(asker) => self.asker = Some(asker),
            News::Away(why) => {
                let since = self.away.take().map_or(now, |(since, _)| since);
                self.away = Some((since, why));
            }
            News::Refused(why) => self.refused = Some(why),
            News::Back => {
                if let Some((since, _)) = self.away.take() {
                    let gone = output::words(output::rounded(now.duration_since(since)));
                    self.say(format!("rackbmcd is back after {gone}"));
                }
            }
        }
    }

    /// A line of our own among the events.
    pub(super) fn say(&mut self, text: String) {
        self.push(Said { at: None, text });
    }

    fn push(&mut self, said: Said) {
        self.events.push_back(said);
        if self.events.len() > EVENTS_KEPT {
            self.events.pop_front();
        }
    }

    fn event(&mut self, event: Event) {
        let foreign = |name: &String| self.nodes.iter().all(|node| *node.name != **name);
        if event.node.as_ref().is_some_and(foreign) {
            return;
        }
        let text = match &event.node {
            Some(node) => format!("{node}: {}", event.text),
            None => event.text,
        };
        self.push(Said {
            at: Some(event.at),
            text,
        });
        if let Some(news) = event.task {
            self.task_news(*news);
        }
    }

    /// What a task has come to; one that is not known yet comes with the next list.
    fn task_news(&mut self, news: TaskNews) {
        let Some(place) = self.tasks.iter().position(|task| task.id == news.id) else {
            return;
        };
        if news.ended {
            self.tasks.remove(place);
            return;
        }
        let task = &mut self.tasks[place];
        if news.version > task.version {
            task.version = news.version;
            task.state = news.state;
            task.phase = news.phase;
            task.step = news.step;
            task.steps = news.steps;
            self.sort_tasks();
        }
    }

    fn sort_tasks(&mut self) {
        let rank = |task: &Task| match task.state.known() {
            Some(TaskState::Suspended) => 1,
            Some(TaskState::Queued) => 2,
            _ => 0,
        };
        self.tasks.sort_by_key(|task| (rank(task), task.id));
    }

    /// The task that has a node.
    pub(super) fn task_of(&self, node: &Node) -> Option<&Task> {
        self.tasks.iter().find(|task| task.node_uuid == node.uuid)
    }

    /// How old the reading of a node is by now.
    pub(super) fn age(&self, node: &Node, now: Instant) -> Option<Duration> {
        let reading = node.rackbmcd.reading.as_ref()?;
        Some(reading.age + now.saturating_duration_since(self.nodes_at))
    }

    /// How long a task has been there and how much of its patience is left, by now.
    pub(super) fn times(&self, task: &Task, now: Instant) -> (Duration, Option<Duration>) {
        let since = now.saturating_duration_since(self.tasks_at);
        let stands = task.state == TaskState::Suspended || task.state == TaskState::Queued;
        let passed = if stands { Duration::ZERO } else { since };
        let left = task.time_left.map(|left| left.saturating_sub(passed));
        (task.elapsed + since, left)
    }

    /// How long the daemon has been running.
    pub(super) fn daemon_age(&self, now: Instant) -> Option<Duration> {
        let (_, age, at) = self.health.as_ref()?;
        Some(*age + now.saturating_duration_since(*at))
    }

    /// The pause that is on.
    pub(super) fn pause(&self) -> Option<&Hold> {
        self.health.as_ref()?.0.pause.as_ref()
    }

    /// How many nodes are shown as so.
    pub(super) fn count(&self, state: PowerState) -> usize {
        let same = self.nodes.iter().filter(|node| node.power_state == state);
        same.count()
    }

    /// How many of the BMCs are in trouble.
    pub(super) fn troubled(&self) -> usize {
        let in_trouble = |node: &&Node| node.rackbmcd.bmc.trouble.is_some();
        self.nodes.iter().filter(in_trouble).count()
    }

    /// Whether we may act on a node. A daemon that does not say decides itself.
    pub(super) fn may_act_on(&self, node: &str) -> bool {
        let asker = self.asker.as_ref();
        asker.is_none_or(|asker| asker.has(Role::Operator, node))
    }

    /// Whether we may act on some node at least.
    pub(super) fn may_act(&self) -> bool {
        let asker = self.asker.as_ref();
        asker.is_none_or(|asker| asker.has_somewhere(Role::Operator))
    }
}
