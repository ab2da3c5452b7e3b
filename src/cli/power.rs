//! The verbs that press buttons: on, off, soft, reboot, reset, cycle, nmi; for one node a task, for
//! several a batch.
//!
//! "Done" is said when the daemon says that the state was read back, never earlier.

use super::App;
use super::args::PowerArgs;
use super::exit::{Exit, Failure};
use super::follow::{self, exit_of, follow};
use super::output::{Out, batch_node_cell, task_cell, words};
use super::results::{self, Ending, Rank};
use super::select::{self, Unnamed};
use super::tasks::tasks_of;
use crate::model::{
    Batch, BatchNodeState, BatchStart, OnBusy, Operation, PowerOptions, Prospect, Short, Task,
    TaskStart,
};
use comfy_table::{Cell, Table};
use std::time::Duration;

/// How long a verb waits for the tasks that it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Not at all.
    No,
    /// Until they end.
    ToTheEnd,
    /// No longer than this.
    AtMost(Duration),
}

impl Waiting {
    /// What `--wait[=DURATION]` and `--no-wait` say; waiting is the default.
    pub(super) fn of(wait: Option<Option<Duration>>, no_wait: bool) -> Self {
        match (no_wait, wait) {
            (true, _) => Self::No,
            (false, Some(Some(patience))) => Self::AtMost(patience),
            (false, _) => Self::ToTheEnd,
        }
    }

    /// For how long at most, where it is bounded.
    pub(super) fn patience(self) -> Option<Duration> {
        match self {
            Self::AtMost(patience) => Some(patience),
            Self::No | Self::ToTheEnd => None,
        }
    }
}

/// Carries out `operation` on the nodes that are meant.
pub(super) async fn send(
    app: &App,
    operation: Operation,
    press: PowerArgs,
) -> Result<Exit, Failure> {
    if press.racks_at_once.is_some() {
        return Err(Failure::Usage(
            "--racks-at-once is for many racks: it wants --fleet".into(),
        ));
    }
    let nodes = select::nodes(&app.client, &press.nodes, Unnamed::Mistake).await?;
    let names: Vec<&str> = nodes.iter().map(select::name).collect();
    if press.dry_run {
        let plan = app
            .client
            .start_batch(&batch_start(operation, &names, &press))
            .await?;
        return Ok(show_plan(&app.out, &plan));
    }
    select::confirm(operation.name(), &names, press.yes)?;
    let waiting = Waiting::of(press.wait, press.no_wait);
    let skips = press.on_busy == Some(OnBusy::Skip);
    if let ([name], false) = (&names[..], skips) {
        let task = app
            .client
            .start(&task_start(operation, name, &press))
            .await?;
        announce(
            app,
            &format!("task {}: {operation} {name}", Short::task(task.id)),
        );
        return conclude(app, vec![task], waiting).await;
    }
    let batch = app
        .client
        .start_batch(&batch_start(operation, &names, &press))
        .await?;
    announce(
        app,
        &format!(
            "batch {}: {operation} {}",
            Short::batch(batch.id),
            crate::nodeset::fold(&names)
        ),
    );
    conclude_batch(app, batch, waiting).await
}

/// Says which task it is before anything is waited for, so that a lost terminal loses nothing.
fn announce(app: &App, text: &str) {
    app.out.remark(text);
}

fn options(press: &PowerArgs) -> PowerOptions {
    PowerOptions {
        timeout: press.timeout,
        on_soft_timeout: None,
        repeat_soft_after: press.more.press_again_after,
        hard_after: press.more.hard_after,
        boot_device: press.boot.map(|(device, _)| device),
        uefi: press.boot.is_some_and(|(_, uefi)| uefi),
        on_if_off: press.on_if_off,
        on_busy: press.on_busy,
        take_over: press.take_over,
    }
}

fn task_start(operation: Operation, node: &str, press: &PowerArgs) -> TaskStart {
    TaskStart {
        node: node.to_owned(),
        operation,
        options: options(press),
    }
}

/// What is asked of a rack for these of its nodes.
pub(super) fn batch_start(operation: Operation, nodes: &[&str], press: &PowerArgs) -> BatchStart {
    BatchStart {
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        exclude: Vec::new(),
        operation,
        options: options(press),
        max_parallel: press.max_parallel.unwrap_or(0),
        stagger: press.stagger.unwrap_or_default(),
        on_failure: press.on_failure.unwrap_or_default(),
        order: press.order.clone(),
        dry_run: press.dry_run,
    }
}

/// Waits as wished and shows how the tasks stand.
pub(super) async fn conclude(
    app: &App,
    tasks: Vec<Task>,
    waiting: Waiting,
) -> Result<Exit, Failure> {
    conclude_with(app, tasks, Vec::new(), waiting).await
}

/// The same, where some nodes got no task.
async fn conclude_with(
    app: &App,
    tasks: Vec<Task>,
    without: Vec<Ending>,
    waiting: Waiting,
) -> Result<Exit, Failure> {
    if waiting == Waiting::No {
        results::show(&app.out, &tasks, without);
        return Ok(Exit::worst(tasks.iter().map(|task| match exit_of(task) {
            // Nobody wanted to wait for it: that it runs is what was asked for.
            Exit::StillRunning => Exit::Done,
            ended => ended,
        })));
    }
    let ending = follow(&app.client, &app.out, tasks, waiting.patience()).await?;
    results::show(&app.out, ending.tasks(), without);
    if let follow::Ending::OutOfTime(tasks) = &ending {
        let open: Vec<&Task> = tasks.iter().filter(|task| !task.ended).collect();
        let names = crate::nodeset::fold(open.iter().map(|task| task.node.as_str()));
        let runs = if open.len() == 1 {
            "task still runs"
        } else {
            "tasks still run"
        };
        app.out.remark(&format!(
            "{names}: the wait ran out, the {runs} (rackbmc watch {names}; rackbmc abort {names})"
        ));
    }
    Ok(Exit::worst(ending.tasks().iter().map(exit_of)))
}

/// The same for a batch, whose nodes may not all have got a task.
pub(super) async fn conclude_batch(
    app: &App,
    batch: Batch,
    waiting: Waiting,
) -> Result<Exit, Failure> {
    let (without, refused) = without_tasks(&batch);
    let tasks = tasks_of(app, &batch).await?;
    let exit = conclude_with(app, tasks, without, waiting).await?;
    Ok(Exit::worst([refused, exit]))
}

/// The nodes of a batch that got no task, and what that means for the exit code.
pub(super) fn without_tasks(batch: &Batch) -> (Vec<Ending>, Exit) {
    let mut refused = Exit::Done;
    let mut without = Vec::new();
    for node in batch.nodes.iter().filter(|node| node.task.is_none()) {
        let why = node.note.clone().unwrap_or_else(|| node.state.to_string());
        without.push(if node.state == BatchNodeState::Found(Prospect::Busy) {
            Ending::without_task(&node.node, Rank::Withdrawn, "busy, left as it is", &why)
        } else {
            refused = Exit::Failed;
            Ending::without_task(&node.node, Rank::Failed, "not begun", &why)
        });
    }
    (without, refused)
}

/// Tasks as a table.
pub(super) fn task_table(out: &Out, tasks: &[Task]) -> Table {
    let mut table = out.table(&[
        "NODE",
        "OPERATION",
        "STATE",
        "STEP",
        "PHASE",
        "ELAPSED",
        "LEFT",
        "BY",
        "TASK",
    ]);
    for task in tasks {
        table.add_row([
            Cell::new(&task.node),
            Cell::new(&task.operation),
            task_cell(&task.state),
            Cell::new(format!("{}/{}", task.step, task.steps)),
            Cell::new(if task.ended {
                task.outcome.as_deref().unwrap_or_default()
            } else {
                &task.phase
            }),
            Cell::new(words(task.elapsed)),
            Cell::new(
                task.time_left
                    .filter(|_| !task.ended)
                    .map(words)
                    .unwrap_or_default(),
            ),
            Cell::new(&task.requested_by.name),
            Cell::new(Short::task(task.id)),
        ]);
    }
    table
}

/// Shows what would be done; fails where a node could not be looked at.
pub(super) fn show_plan(out: &Out, plan: &Batch) -> Exit {
    out.items(
        &plan.nodes,
        |node| {
            let mut text = node.state.to_string();
            if let Some(note) = &node.note {
                text = format!("{text}: {note}");
            }
            // When is said of what would be sent, and of nothing else.
            if !node.plan.is_empty() {
                text = format!("{text}; would send: {}", node.plan.join(", "));
                if let Some(begins) = node.begins_after.filter(|begins| !begins.is_zero()) {
                    text = format!("{text}, beginning after {}", words(begins));
                }
                if let Some(takes) = node.takes_at_most.filter(|takes| !takes.is_zero()) {
                    text = format!("{text}, at most {}", words(takes));
                }
            }
            (node.node.clone(), text)
        },
        |nodes| {
            let mut table = out.table(&[
                "NODE",
                "FOUND",
                "WOULD SEND",
                "BEGINS AFTER",
                "AT MOST",
                "NOTE",
            ]);
            for node in nodes {
                let begins = node.begins_after.filter(|_| !node.plan.is_empty());
                table.add_row([
                    Cell::new(&node.node),
                    batch_node_cell(&node.state),
                    Cell::new(node.plan.join(", ")),
                    Cell::new(begins.map(words).unwrap_or_default()),
                    Cell::new(node.takes_at_most.map(words).unwrap_or_default()),
                    Cell::new(node.note.as_deref().unwrap_or_default()),
                ]);
            }
            table
        },
    );
    out.remark("dry run: nothing was changed");
    let ready = |state: Option<BatchNodeState>| match state {
        Some(BatchNodeState::Found(Prospect::Ready | Prospect::NothingToDo)) => true,
        Some(
            BatchNodeState::Found(Prospect::Refused | Prospect::Unreachable | Prospect::Busy)
            | BatchNodeState::Forgotten
            | BatchNodeState::Task(_),
        )
        | None => false,
    };
    if plan.nodes.iter().all(|node| ready(node.state.known())) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_the_default() {
        assert_eq!(Waiting::of(None, false), Waiting::ToTheEnd);
        assert_eq!(Waiting::of(Some(None), false), Waiting::ToTheEnd);
        assert_eq!(Waiting::of(None, true), Waiting::No);
        let minute = Duration::from_secs(60);
        assert_eq!(
            Waiting::of(Some(Some(minute)), false),
            Waiting::AtMost(minute)
        );
    }
}
