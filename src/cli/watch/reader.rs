//! What the daemon is asked: by threads of their own, so that a key never waits for an answer.
//!
//! A rack of thousands is read at a pace that costs the daemon a tenth of its time at most; events
//! come in between.

use super::confirm::Action;
use super::front::Subject;
use super::known::News;
use crate::cli::App;
use crate::cli::args::{Nodes, Watch};
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::inspect;
use crate::cli::output::{self, Out};
use crate::cli::patience::RESTART_RETRY;
use crate::cli::select::{self, Unnamed};
use crate::cli::tasks;
use crate::model::{Batch, BatchStart, EventId, PowerOptions, Short, TaskStart};
use crate::nodeset;
use crate::time::WallTime;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The most that the API lists.
const TASKS: u32 = 1000;
/// Events from before we came.
const EARLIER: u64 = 40;
/// How long one question for events waits.
const LONG_POLL: Duration = Duration::from_secs(20);
/// What we may do is asked for again after so long: roles change with the configuration.
const RIGHTS_EVERY: Duration = Duration::from_secs(60);

/// A way to the daemon for a thread.
#[derive(Clone)]
pub(super) struct Reader {
    client: Client,
    out: Out,
    wanted: Nodes,
    interval: Duration,
    /// When we asked last for what we may do.
    asked_rights: Option<Instant>,
}

impl Reader {
    /// For these nodes.
    pub(super) fn new(app: &App, args: &Watch) -> Self {
        Self {
            client: app.client.clone(),
            out: app.out,
            wanted: args.nodes.clone(),
            interval: args.interval,
            asked_rights: None,
        }
    }

    /// One look at everything.
    ///
    /// # Errors
    /// The first question that is not answered.
    pub(super) async fn look(&mut self, mut tell: impl FnMut(News)) -> Result<(), Failure> {
        let health = self.client.health().await?;
        let age = wall_clock().since(health.started_at);
        tell(News::Health(Box::new(health), age));
        if self
            .asked_rights
            .is_none_or(|at| at.elapsed() > RIGHTS_EVERY)
        {
            match self.client.whoami().await {
                Ok(asker) => tell(News::Asker(asker)),
                // An older daemon does not say: it refuses what we may not do.
                Err(Failure::Refused(refusal)) if refusal.status == 404 => {}
                Err(failure) => return Err(failure),
            }
            self.asked_rights = Some(Instant::now());
        }
        let tasks = self.client.tasks(None, None, true, TASKS).await?;
        let nodes = select::nodes(&self.client, &self.wanted, Unnamed::All).await?;
        let here = |task: &crate::model::Task| nodes.iter().any(|n| n.uuid == task.node_uuid);
        tell(News::Tasks(tasks.into_iter().filter(here).collect()));
        tell(News::Nodes(nodes));
        Ok(())
    }

    /// Looks again and again until nobody listens.
    pub(super) async fn follow(mut self, tell: impl Fn(News) -> bool) {
        let mut listened = true;
        let mut away = false;
        while listened {
            let began = Instant::now();
            let looked = self.look(|news| listened &= tell(news)).await;
            let pause = match looked {
                Ok(()) => {
                    if std::mem::take(&mut away) {
                        listened &= tell(News::Back);
                    }
                    self.interval.max(began.elapsed() * 10)
                }
                Err(failure) if failure.may_pass() => {
                    away = true;
                    // Another daemon may come, with other roles.
                    self.asked_rights = None;
                    listened &= tell(News::Away(failure.to_string()));
                    RESTART_RETRY
                }
                Err(failure) => {
                    listened &= tell(News::Refused(failure.to_string()));
                    self.interval.max(Duration::from_secs(1))
                }
            };
            smol::Timer::after(pause).await;
        }
    }

    /// Tells events until nobody listens.
    pub(super) async fn events(self, tell: impl Fn(News) -> bool) {
        let mut since: Option<EventId> = None;
        let mut first = true;
        loop {
            let position = since.map(|id| id.to_string());
            let asked = self.client.events(position.as_deref(), &[], LONG_POLL);
            let Ok(news) = asked.await else {
                // That the daemon is away is told by whoever looks.
                smol::Timer::after(RESTART_RETRY).await;
                continue;
            };
            let mut next = news.next;
            if since.is_none() {
                next.sequence = next.sequence.saturating_sub(EARLIER);
            }
            // Of what was there before us nothing is missed.
            let missed = news.reset && !first;
            first = since.is_none();
            since = Some(next);
            if (missed || !news.events.is_empty()) && !tell(News::Events(news.events, missed)) {
                return;
            }
        }
    }

    /// All that is known of something, in lines.
    pub(super) async fn details(&self, subject: &Subject) -> String {
        let text = match subject {
            Subject::Node(name) => match self.client.explain(name).await {
                Ok(explanation) => Ok(inspect::explained(&self.out, &explanation)),
                Err(failure) => Err(failure),
            },
            Subject::Task(id) => match self.client.task(id).await {
                Ok(task) => Ok(tasks::full(&task, &self.out)),
                Err(failure) => Err(failure),
            },
            Subject::Answer(_) => return String::new(),
        };
        text.unwrap_or_else(|failure| failure.to_string())
    }

    /// Asks the daemon for what was agreed to; what became of it, in a line or several.
    pub(super) async fn carry_out(&self, action: &Action) -> String {
        match action {
            Action::Start(operation, nodes) => match &nodes[..] {
                [node] => {
                    let start = TaskStart {
                        node: node.clone(),
                        operation: *operation,
                        options: PowerOptions::default(),
                    };
                    match self.client.start(&start).await {
                        Ok(task) => format!("{node}: {operation}: task {}", Short::task(task.id)),
                        Err(failure) => format!("{node}: {operation}: {failure}"),
                    }
                }
                nodes => {
                    let start = BatchStart::new(nodes.to_vec(), *operation);
                    match self.client.start_batch(&start).await {
                        Ok(batch) => of_batch(&batch),
                        Err(failure) => format!("{}: {operation}: {failure}", nodeset::fold(nodes)),
                    }
                }
            },
            Action::Use(control, tasks) => {
                let answers = select::each_of(tasks, async |(id, _)| {
                    self.client.control(id, *control).await
                });
                let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
                for ((_, node), answer) in tasks.iter().zip(answers.await) {
                    let text = match answer {
                        Ok(task) => format!("{control}: {}", task.state),
                        Err(failure) => format!("{control}: {failure}"),
                    };
                    said.entry(text).or_default().push(node);
                }
                let lines = said
                    .iter()
                    .map(|(text, nodes)| format!("{}: {text}", nodeset::fold(nodes)));
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// What came of a batch that was asked for: its id, and the nodes that got no task.
fn of_batch(batch: &Batch) -> String {
    let begun = batch.nodes.iter().filter(|node| node.task.is_some());
    let mut lines = vec![format!(
        "{}: batch {} of {}",
        batch.operation,
        Short::batch(batch.id),
        output::nodes(begun.count())
    )];
    for node in batch.nodes.iter().filter(|node| node.task.is_none()) {
        let why = node.note.clone().unwrap_or_else(|| node.state.to_string());
        lines.push(format!("{}: {why}", node.node));
    }
    lines.join("\n")
}

fn wall_clock() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    WallTime::from_unix_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
