//! The verbs that press buttons: on, off, soft, reboot, reset, cycle, nmi; for one node a task, for several a batch.
//!
//! "Done" is said when the daemon says that the state was read back, never earlier.

use super::App;
use super::args::Press;
use super::exit::{Exit, Failure};
use super::follow::{Ending, exit_of, follow};
use super::output::say;
use super::output::{batch_node_cell, rounded, task_cell, words};
use super::select::{self, Unnamed};
use crate::model::{
    Batch, BatchNode, BatchNodeState, BatchStart, OnBusy, Operation, PowerOptions, Prospect, Task,
    TaskStart, TaskState, after_state,
};
use comfy_table::{Cell, Table};
use std::time::Duration;

/// How long a verb waits for the tasks that it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Not at all.
    No,
    /// Until they end.
    ToTheEnd,
    /// No longer than this.
    AtMost(Duration),
}

impl Waiting {
    /// What `--wait[=DURATION]` and `--no-wait` say; waiting is the default.
    pub fn of(wait: Option<Option<Duration>>, no_wait: bool) -> Self {
        match (no_wait, wait) {
            (true, _) => Waiting::No,
            (false, Some(Some(patience))) => Waiting::AtMost(patience),
            (false, _) => Waiting::ToTheEnd,
        }
    }

    fn patience(self) -> Option<Duration> {
        match self {
            Waiting::AtMost(patience) => Some(patience),
            Waiting::No | Waiting::ToTheEnd => None,
        }
    }
}

/// Carries out `operation` on the nodes that are meant.
pub async fn press(app: &App, operation: Operation, press: Press) -> Result<Exit, Failure> {
    if !operation.is_soft() && (press.press_again_after.is_some() || press.hard_after.is_some()) {
        return Err(Failure::Usage(format!(
            "--press-again-after and --hard-after belong to soft operations, not to '{operation}'"
        )));
    }
    let nodes = select::nodes(&app.client, &press.nodes, Unnamed::Mistake).await?;
    let names: Vec<&str> = nodes.iter().map(select::name).collect();
    if press.dry_run {
        let plan = app
            .client
            .start_batch(&batch_start(operation, &names, &press))
            .await?;
        return Ok(show_plan(app, &plan));
    }
    select::confirm(operation.name(), &names, press.yes)?;
    let waiting = Waiting::of(press.wait, press.no_wait);
    let skips = press.on_busy == Some(OnBusy::Skip);
    if let ([name], false) = (&names[..], skips) {
        let task = app
            .client
            .start(&task_start(operation, name, &press))
            .await?;
        announce(app, &format!("task {}: {operation} {name}", task.id));
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
            batch.id,
            crate::nodeset::fold(&names)
        ),
    );
    conclude_batch(app, batch, waiting).await
}

/// Says which task it is before anything is waited for, so that a lost terminal loses nothing.
fn announce(app: &App, text: &str) {
    app.out.remark(text);
}

fn options(press: &Press) -> PowerOptions {
    PowerOptions {
        timeout: press.timeout,
        on_soft_timeout: None,
        repeat_soft_after: press.press_again_after,
        hard_after: press.hard_after,
        boot_device: press.boot.map(|(device, _)| device),
        uefi: press.boot.is_some_and(|(_, uefi)| uefi),
        on_if_off: press.on_if_off,
        on_busy: press.on_busy,
        take_over: press.take_over,
    }
}

fn task_start(operation: Operation, node: &str, press: &Press) -> TaskStart {
    TaskStart {
        node: node.to_owned(),
        operation,
        options: options(press),
    }
}

fn batch_start(operation: Operation, nodes: &[&str], press: &Press) -> BatchStart {
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
pub async fn conclude(app: &App, tasks: Vec<Task>, waiting: Waiting) -> Result<Exit, Failure> {
    if waiting == Waiting::No {
        show_tasks(app, &tasks);
        return Ok(Exit::worst(tasks.iter().map(|task| match exit_of(task) {
            // Nobody wanted to wait for it: that it runs is what was asked for.
            Exit::StillRunning => Exit::Done,
            ended => ended,
        })));
    }
    let ending = follow(&app.client, &app.out, tasks, waiting.patience()).await?;
    show_tasks(app, ending.tasks());
    if let Ending::OutOfTime(tasks) = &ending {
        let open = tasks.iter().filter(|task| !task.ended);
        let open = crate::nodeset::fold(open.map(|task| task.node.as_str()));
        app.out.remark(&format!(
            "{open}: the wait ran out, the task still runs (rackbmc watch {open}; rackbmc abort {open})"
        ));
    }
    Ok(Exit::worst(ending.tasks().iter().map(exit_of)))
}

/// The same for a batch, whose nodes may not all have got a task.
pub async fn conclude_batch(app: &App, batch: Batch, waiting: Waiting) -> Result<Exit, Failure> {
    let without: Vec<(String, String)> = batch
        .nodes
        .iter()
        .filter(|node| node.task.is_none())
        .map(|node| {
            let why = node.note.clone().unwrap_or_else(|| node.state.to_string());
            let why = match node.state == BatchNodeState::Found(Prospect::Busy) {
                true => format!("busy, left as it is: {why}"),
                false => why,
            };
            (node.node.clone(), why)
        })
        .collect();
    let mut tasks = Vec::new();
    for id in batch.nodes.iter().filter_map(|node| node.task) {
        tasks.push(app.client.task(id).await?);
    }
    for (node, why) in &without {
        say!("{node}: {why}");
    }
    let left_out = |node: &BatchNode| node.state == BatchNodeState::Found(Prospect::Busy);
    let refused = if batch
        .nodes
        .iter()
        .all(|node| node.task.is_some() || left_out(node))
    {
        Exit::Done
    } else {
        Exit::Failed
    };
    let exit = conclude(app, tasks, waiting).await?;
    Ok(Exit::worst([refused, exit]))
}

/// Shows tasks: a line for each node says how it stands and why.
pub fn show_tasks(app: &App, tasks: &[Task]) {
    app.out.items(
        tasks,
        |task| (task.node.clone(), verdict(app, task)),
        |t| task_table(app, t),
    );
}

/// How a task stands, in words. Where equal answers are to be folded a success is short: its times differ everywhere.
fn verdict(app: &App, task: &Task) -> String {
    let text = format!("{} {}", task.operation, task.state);
    if !task.ended {
        return if task.phase == task.state.as_str() {
            text
        } else {
            format!("{text}: {}", task.phase)
        };
    }
    if app.out.fold && task.state == TaskState::Succeeded {
        return text;
    }
    let outcome = task.outcome.as_deref().unwrap_or_default();
    let (operation, state) = (task.operation.as_str(), task.state.as_str());
    let rest = after_state(operation, state, outcome);
    format!("{text} after {}{rest}", words(rounded(task.elapsed)))
}

/// Tasks as a table.
pub fn task_table(app: &App, tasks: &[Task]) -> Table {
    let mut table = app.out.table(&[
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
            Cell::new(task.id),
        ]);
    }
    table
}

/// Shows what would be done; fails where a node could not be looked at.
fn show_plan(app: &App, plan: &Batch) -> Exit {
    app.out.items(
        &plan.nodes,
        |node| {
            let mut text = node.state.to_string();
            if let Some(note) = &node.note {
                text = format!("{text}: {note}");
            }
            if !node.plan.is_empty() {
                text = format!("{text}; would send: {}", node.plan.join(", "));
            }
            if let Some(begins) = node.begins_after.filter(|begins| !begins.is_zero()) {
                text = format!("{text}, beginning after {}", words(begins));
            }
            if let Some(takes) = node.takes_at_most.filter(|takes| !takes.is_zero()) {
                text = format!("{text}, at most {}", words(takes));
            }
            (node.node.clone(), text)
        },
        |nodes| {
            let mut table = app.out.table(&[
                "NODE",
                "FOUND",
                "WOULD SEND",
                "BEGINS AFTER",
                "AT MOST",
                "NOTE",
            ]);
            for node in nodes {
                table.add_row([
                    Cell::new(&node.node),
                    batch_node_cell(&node.state),
                    Cell::new(node.plan.join(", ")),
                    Cell::new(node.begins_after.map(words).unwrap_or_default()),
                    Cell::new(node.takes_at_most.map(words).unwrap_or_default()),
                    Cell::new(node.note.as_deref().unwrap_or_default()),
                ]);
            }
            table
        },
    );
    app.out.remark("dry run: nothing was changed");
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
