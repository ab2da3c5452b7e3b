//! The tasks that have not ended: what they do, how far they are, how long they have.

use super::nodes::first_row;
use super::{plain, title};
use crate::cli::follow::clock;
use crate::cli::output::cut;
use crate::cli::watch::view::{Pane, View};
use crate::model::{Short, Task, TaskState, state_and_phase};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use std::time::{Duration, Instant};

/// Letters of a bar, its brackets not counted.
const BAR: usize = 10;

/// Draws what is seen of them.
pub(super) fn draw(view: &mut View, frame: &mut Frame, area: Rect, now: Instant) {
    if area.height == 0 {
        return;
    }
    let room = usize::from(area.height - 1);
    let tasks = &view.known.tasks;
    let place = view.task_place();
    view.task_top = first_row(view.task_top, place, tasks.len(), room);
    let width = usize::from(area.width);
    let said = match (tasks.len(), room) {
        (0, _) => Some("none".to_owned()),
        (many, room) if many > room => Some(format!(
            "{} to {} of {many}",
            view.task_top + 1,
            view.task_top + room
        )),
        _ => None,
    };
    let mut lines = vec![title("TASKS", said.as_deref(), width)];
    let names = tasks.iter().map(|task| task.node.chars().count());
    let longest = names.max().unwrap_or(0).min(width / 4);
    for (index, task) in tasks.iter().enumerate().skip(view.task_top).take(room) {
        let (gone, left) = view.known.times(task, now);
        let line = Line::from(cut(&task_line(task, gone, left, longest, width), width));
        lines.push(match index == place && view.pane == Pane::Tasks {
            true => line.patch_style(Style::new().add_modifier(Modifier::REVERSED)),
            false => line,
        });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn task_line(
    task: &Task,
    gone: Duration,
    left: Option<Duration>,
    names: usize,
    width: usize,
) -> String {
    let name = cut(&plain(&task.node), names);
    let id = match width >= 120 {
        true => format!("{} ", Short::task(task.id)),
        false => String::new(),
    };
    let doing = match task.state.known() {
        Some(TaskState::Running) => plain(&task.phase),
        _ => state_and_phase(task.state.as_str(), &plain(&task.phase)),
    };
    let of = format!("{}/{}", task.step, task.steps);
    let bar = bar(task, gone, left);
    let left = left.map_or(String::new(), |left| format!("{} left", clock(left)));
    format!(
        "{id}{name:<names$} {:<14} {bar} {:>5} {left:<10} {of} {doing}",
        task.operation.as_str(),
        clock(gone)
    )
}

/// `[####------]`: how much of the time is gone, or of the steps where there is no time.
fn bar(task: &Task, gone: Duration, left: Option<Duration>) -> String {
    let part = match left {
        Some(left) => gone.as_secs_f64() / (gone + left).as_secs_f64().max(0.001),
        None if task.steps > 0 => f64::from(task.step.saturating_sub(1)) / f64::from(task.steps),
        None => 0.0,
    };
    let full = ((part * BAR as f64) as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}
