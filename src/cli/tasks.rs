//! Tasks and batches looked at and taken in hand: abort, cancel, rollback, suspend, resume, task,
//! tasks, batch.
//!
//! A control may name a task, a batch or nodes; for a node it means the task that has it.

use super::App;
use super::args::{self, BatchShow, TaskShow, Tasks};
use super::exit::{Exit, Failure};
use super::follow::{exit_of, follow};
use super::output::{Out, about, batch_cell, rounded, say, words};
use super::power::{Waiting, conclude, conclude_batch, task_table};
use super::results;
use super::select::{self, Unnamed};
use crate::model::{Batch, Control, OrderUse, Power, Short, Task, TaskState, Word, after_state};
use comfy_table::Cell;

/// Uses a control on what is named.
pub(super) async fn control(
    app: &App,
    control: Control,
    args: args::Control,
) -> Result<Exit, Failure> {
    let (ids, sets): (Vec<String>, Vec<String>) = args
        .targets
        .nodes
        .iter()
        .cloned()
        .partition(|word| is_id(word));
    let mut tasks = Vec::new();
    let mut exits = Vec::new();
    let mut nodes = Vec::new();
    for id in ids {
        match use_on_id(app, control, &id).await? {
            Some((controlled, refused)) => {
                tasks.extend(controlled);
                exits.extend(refused);
            }
            None => match select::named_by_uuid(&app.client, &id).await? {
                Some(node) => nodes.push(node),
                None => {
                    say!("{id}: no task, batch or node that is remembered has this id");
                    exits.push(Exit::Failed);
                }
            },
        }
    }
    if !sets.is_empty() || args.targets.all || args.targets.nodes.is_empty() {
        let mut wanted = args.targets.clone();
        wanted.nodes = sets;
        let chosen = select::nodes(&app.client, &wanted, Unnamed::Mistake).await?;
        nodes.extend(chosen.iter().map(|node| select::name(node).to_owned()));
    }
    for node in nodes {
        let running = app.client.tasks(Some(&node), None, true, 1).await?;
        let Some(task) = running.into_iter().next() else {
            let (word, exit) = nothing_to(control);
            say!("{node}: {word}");
            exits.push(exit);
            continue;
        };
        let answer = app.client.control(task.id, control).await;
        match on_a_node(&node, answer)? {
            Ok(task) => tasks.push(task),
            Err(exit) => exits.push(exit),
        }
    }
    if args.wait.is_some() && !tasks.is_empty() {
        let patience = args.wait.flatten();
        let ending = follow(&app.client, &app.out, tasks, patience).await?;
        tasks = ending.tasks().to_vec();
        exits.extend(tasks.iter().map(|task| controlled_exit(control, task)));
    }
    results::show(&app.out, &tasks, Vec::new());
    Ok(Exit::worst(exits))
}

/// What a task's end means for the control that was to bring it about.
pub(super) fn controlled_exit(control: Control, task: &Task) -> Exit {
    let brought_about = match control {
        Control::Abort => task.state == TaskState::Aborted,
        Control::Cancel => task.state == TaskState::Cancelled,
        Control::Rollback => task.state == TaskState::RolledBack,
        Control::Suspend | Control::Resume => false,
    };
    if brought_about {
        Exit::Done
    } else {
        exit_of(task)
    }
}

/// What came of a control on the task that has a node; a refusal is told.
///
/// # Errors
/// The daemon could not be asked.
pub(super) fn on_a_node(
    name: &str,
    answer: Result<Task, Failure>,
) -> Result<Result<Task, Exit>, Failure> {
    match answer {
        Ok(task) => Ok(Ok(task)),
        Err(Failure::Refused(refusal)) => {
            say!("{}", about(name, &refusal.message));
            Ok(Err(Failure::Refused(refusal).exit()))
        }
        Err(other) => Err(other),
    }
}

/// A control on a node that no task has: there is nothing to abort, and that is a success (design,
/// section 3).
pub(super) fn nothing_to(control: Control) -> (String, Exit) {
    let (word, exit) = match control {
        Control::Abort => ("abort", Exit::Done),
        Control::Cancel => ("cancel", Exit::Failed),
        Control::Rollback => ("roll back", Exit::Failed),
        Control::Suspend => ("suspend", Exit::Failed),
        Control::Resume => ("resume", Exit::Failed),
    };
    (format!("no task is running: nothing to {word}"), exit)
}

/// Whether a word has the form of an id: 8-4-4-4-12 hexadecimal digits, or that of a short one.
pub(super) fn is_id(word: &str) -> bool {
    if Short::written(word).is_some() {
        return true;
    }
    let groups: Vec<&str> = word.split('-').collect();
    groups.len() == 5
        && groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Uses a control on the task or the batch of that id: the tasks, and a failure where a node of the
/// batch refused, which is told. `None` where it is neither (so perhaps a node's uuid).
async fn use_on_id(
    app: &App,
    control: Control,
    id: &str,
) -> Result<Option<(Vec<Task>, Option<Exit>)>, Failure> {
    match app.client.control(id, control).await {
        Ok(task) => return Ok(Some((vec![task], None))),
        Err(failure) if !is_missing(&failure) => return Err(failure),
        Err(_) => {}
    }
    match app.client.control_batch(id, control).await {
        Ok(batch) => {
            let refused = tell_refusals(&batch);
            Ok(Some((tasks_of(app, &batch).await?, refused)))
        }
        Err(failure) if is_missing(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Says which nodes of a batch refused its last control, and why.
pub(super) fn tell_refusals(batch: &Batch) -> Option<Exit> {
    let mut exit = None;
    for node in &batch.nodes {
        if let Some(why) = &node.refused {
            say!("{}", about(&node.node, why));
            exit = Some(Exit::Failed);
        }
    }
    exit
}

fn is_missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(refusal) if refusal.status == 404)
}

/// The tasks of a batch.
///
/// # Errors
/// As every request.
pub(super) async fn tasks_of(app: &App, batch: &Batch) -> Result<Vec<Task>, Failure> {
    let mut tasks = Vec::new();
    for id in batch.nodes.iter().filter_map(|node| node.task) {
        tasks.push(app.client.task(id).await?);
    }
    Ok(tasks)
}

pub(super) async fn list(app: &App, args: Tasks) -> Result<Exit, Failure> {
    let everything = args.nodes.nodes.is_empty() && args.nodes.exclude.is_empty();
    let tasks = if everything {
        app.client
            .tasks(None, None, args.active, args.limit)
            .await?
    } else {
        let mut tasks = Vec::new();
        for node in select::nodes(&app.client, &args.nodes, Unnamed::All).await? {
            let name = Some(select::name(&node));
            tasks.extend(
                app.client
                    .tasks(name, None, args.active, args.limit)
                    .await?,
            );
        }
        tasks.sort_by_key(|task| std::cmp::Reverse(task.requested_at));
        tasks.truncate(args.limit as usize);
        tasks
    };
    show_list(&app.out, &tasks);
    Ok(Exit::Done)
}

/// Shows tasks, a line each.
pub(super) fn show_list(out: &Out, tasks: &[Task]) {
    if tasks.is_empty() {
        out.remark("no tasks");
    }
    out.items(
        tasks,
        |task| {
            let text = match (task.ended, &task.outcome) {
                (false, _) => {
                    let (operation, state) = (task.operation.as_str(), task.state.as_str());
                    let phase = after_state(operation, state, &task.phase);
                    let phase = phase.replacen(": ", ", ", 1);
                    format!("{operation} {state} {}{phase}", words(task.elapsed))
                }
                (true, Some(outcome)) => {
                    let (operation, state) = (task.operation.as_str(), task.state.as_str());
                    let rest = after_state(operation, state, outcome);
                    format!("{operation} {state}{rest}")
                }
                (true, None) => format!("{} {}", task.operation, task.state),
            };
            let at = out.date_and_time(task.requested_at);
            (Short::task(task.id), format!("{} {} {text}", at, task.node))
        },
        |tasks| task_table(out, tasks),
    );
}

/// Shows one task in full.
pub(super) async fn show(app: &App, args: TaskShow) -> Result<Exit, Failure> {
    if args.task.starts_with("b:") {
        let id = args.task;
        return Err(Failure::Usage(format!(
            "{id} is the id of a batch: rackbmc batch {id}"
        )));
    }
    let mut task = if is_id(&args.task) {
        app.client.task(&args.task).await?
    } else {
        let last = app.client.tasks(Some(&args.task), None, false, 1).await?;
        last.into_iter().next().ok_or_else(|| {
            Failure::Here(format!("{}: no task is remembered of this node", args.task))
        })?
    };
    let waited = args.wait.is_some();
    if let Some(patience) = args.wait {
        let ending = follow(&app.client, &app.out, vec![task.clone()], patience).await?;
        task = ending.tasks()[0].clone();
    }
    if matches!(app.out.format, args::Format::Text | args::Format::Wide) {
        app.out.prose(&full(&task, &app.out));
    } else {
        results::show(&app.out, std::slice::from_ref(&task), Vec::new());
    }
    Ok(if waited { exit_of(&task) } else { Exit::Done })
}

/// All that is known of a task, a line for each thing.
pub(super) fn full(task: &Task, out: &Out) -> String {
    let mut lines = Vec::new();
    let mut line = |head: &str, text: String| lines.push(format!("{head:<10} {text}"));
    line("task", format!("{} ({})", Short::task(task.id), task.id));
    line("node", format!("{} (rack {})", task.node, task.rack));
    if let Some(batch) = &task.batch {
        line("batch", format!("{} ({batch})", Short::batch(*batch)));
    }
    line("operation", task.operation.to_string());
    line("state", task.state.to_string());
    line(
        "phase",
        format!("{} (step {} of {})", task.phase, task.step, task.steps),
    );
    line(
        "asked",
        format!(
            "{} by {}",
            out.date_and_time(task.requested_at),
            task.requested_by.name
        ),
    );
    let mut times = format!("{} gone", words(task.elapsed));
    let waited = rounded(task.waited);
    if waited.as_secs() > 0 {
        times.push_str(&format!(", {} of them waiting for its turn", words(waited)));
    }
    if let Some(left) = task.time_left.filter(|_| !task.ended) {
        times.push_str(&format!(", {} left", words(left)));
    }
    line("time", times);
    let power = |power: &Option<Word<Power>>| match power {
        Some(power) => power.to_string(),
        None => "not read".to_owned(),
    };
    line(
        "power",
        format!(
            "{} at the start, {} last",
            power(&task.power_at_start),
            power(&task.power_state)
        ),
    );
    for order in &task.orders {
        line("sent", order_line(order, out));
    }
    if let Some(text) = left_out(task.orders_left_out) {
        line("sent", text);
    }
    for control in &task.controls {
        line(
            "control",
            format!(
                "{} {} by {}",
                out.time_of_day(control.at),
                control.control,
                control.by
            ),
        );
    }
    if let Some(text) = left_out(task.controls_left_out) {
        line("control", text);
    }
    if let Some(outcome) = &task.outcome {
        line("outcome", outcome.clone());
    }
    let may: Vec<&str> = [
        (task.may_abort, Control::Abort.name()),
        (task.may_cancel, Control::Cancel.name()),
        (task.may_rollback, Control::Rollback.name()),
        (task.may_suspend, Control::Suspend.name()),
        (task.may_resume, Control::Resume.name()),
    ]
    .into_iter()
    .filter_map(|(may, control)| may.then_some(control))
    .collect();
    if !may.is_empty() {
        line("may", may.join(", "));
    }
    lines.join("\n")
}

fn order_line(order: &OrderUse, out: &Out) -> String {
    let unanswered = if order.left {
        "no answer yet"
    } else {
        "not sent yet"
    };
    let answer = order.answer.as_deref().unwrap_or(unanswered);
    let times = match order.times {
        0 | 1 => String::new(),
        times => format!(", {times} times"),
    };
    let code = order
        .completion_code
        .map(|code| format!(" (completion code {code:#04x})"))
        .unwrap_or_default();
    let mark = if order.changes_power { "*" } else { " " };
    let (at, name) = (out.time_of_day(order.at), &order.order);
    format!("{at} {mark}{name}: {answer}{code}{times}")
}

/// Lists batches or shows one.
pub(super) async fn batch(app: &App, args: BatchShow) -> Result<Exit, Failure> {
    if let Some(id) = args.batch.as_ref().filter(|id| id.starts_with("t:")) {
        return Err(Failure::Usage(format!(
            "{id} is the id of a task: rackbmc task {id}"
        )));
    }
    let Some(id) = args.batch else {
        let batches = app.client.batches().await?;
        if batches.is_empty() {
            app.out.remark("no batches");
        }
        app.out.items(
            &batches,
            |batch| (Short::batch(batch.id), batch_line(app, batch)),
            |batches| {
                let mut table = app.out.table(&[
                    "ASKED",
                    "OPERATION",
                    "STATE",
                    "NODES",
                    "COUNTS",
                    "BY",
                    "BATCH",
                ]);
                for batch in batches {
                    table.add_row([
                        Cell::new(app.out.date_and_time(batch.requested_at)),
                        Cell::new(&batch.operation),
                        batch_cell(&batch.state),
                        Cell::new(app.out.node_set(&fold_nodes(batch))),
                        Cell::new(counts(batch)),
                        Cell::new(&batch.requested_by.name),
                        Cell::new(Short::batch(batch.id)),
                    ]);
                }
                table
            },
        );
        return Ok(Exit::Done);
    };
    let batch = app.client.batch(&id).await?;
    if let Some(patience) = args.wait {
        let waiting = patience.map_or(Waiting::ToTheEnd, Waiting::AtMost);
        return conclude_batch(app, batch, waiting).await;
    }
    if matches!(app.out.format, args::Format::Json | args::Format::Yaml) {
        app.out.structured(&[&batch]);
        return Ok(Exit::Done);
    }
    app.out.remark(&batch_line(app, &batch));
    let tasks = tasks_of(app, &batch).await?;
    conclude(app, tasks, Waiting::No).await.map(|_| Exit::Done)
}

fn batch_line(app: &App, batch: &Batch) -> String {
    format!(
        "{} {} of {} by {}: {} ({})",
        app.out.date_and_time(batch.requested_at),
        batch.operation,
        fold_nodes(batch),
        batch.requested_by.name,
        batch.state,
        counts(batch)
    )
}

fn fold_nodes(batch: &Batch) -> String {
    crate::nodeset::fold(batch.nodes.iter().map(|node| node.node.as_str()))
}

fn counts(batch: &Batch) -> String {
    let counts: Vec<String> = batch
        .counts
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    counts.join(", ")
}

/// What is said of what lies between the first ones and the last.
fn left_out(count: u32) -> Option<String> {
    (count > 0).then(|| format!("({count} more, between the first ones and the last)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ControlUse, Operation, Who};
    use std::time::Duration;

    #[test]
    fn an_id_is_told_from_a_node_set() {
        assert!(is_id("0197a5c3-7d11-7b6e-8f3a-0123456789ab"));
        assert!(is_id("t:7k3f9") && is_id("b:4m2xz"));
        assert!(!is_id("r1n[01-04]") && !is_id("t:7"));
        assert!(!is_id("a-b-c-d-e"));
    }

    #[test]
    fn a_task_in_full_says_what_was_sent_and_what_may_still_be_done() {
        let task = Task {
            id: "0197a5c3-7d11-7b6e-8f3a-0123456789ab"
                .parse()
                .expect("an id"),
            rack: "r1".into(),
            node: "r1n03".into(),
            operation: Operation::SoftPowerOff.into(),
            state: TaskState::Suspended.into(),
            phase: "waiting for the machine to go down".into(),
            step: 3,
            steps: 4,
            requested_at: "2026-11-22T16:40:31.123456+00:00".parse().expect("a time"),
            requested_by: Who {
                name: "ops".into(),
                ..Who::default()
            },
            elapsed: Duration::from_secs(12),
            time_left: Some(Duration::from_secs(588)),
            power_at_start: Some(Power::On.into()),
            orders: vec![OrderUse {
                order: "soft power off".into(),
                at: "2026-11-22T16:40:32.000000+00:00".parse().expect("a time"),
                answer: Some("refused: busy".into()),
                completion_code: Some(0xc0),
                changes_power: true,
                ..OrderUse::default()
            }],
            controls: vec![ControlUse {
                control: Control::Suspend.into(),
                by: "ops".into(),
                at: "2026-11-22T16:40:43.000000+00:00".parse().expect("a time"),
            }],
            may_abort: true,
            may_resume: true,
            ..Task::default()
        };
        let out = Out {
            person: false,
            ..Out::of_a_person()
        };
        insta::assert_snapshot!(full(&task, &out), @r"
        task       t:pf2db (0197a5c3-7d11-7b6e-8f3a-0123456789ab)
        node       r1n03 (rack r1)
        operation  soft power off
        state      suspended
        phase      waiting for the machine to go down (step 3 of 4)
        asked      2026-11-22T16:40:31Z by ops
        time       12 s gone, 9 min 48 s left
        power      power on at the start, not read last
        sent       2026-11-22T16:40:32Z *soft power off: refused: busy (completion code 0xc0)
        control    2026-11-22T16:40:43Z suspend by ops
        may        abort, resume
        ");
    }
}
