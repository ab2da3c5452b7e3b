//! The list of nodes.

use super::{bold, heading, plain, tone};
use crate::cli::output::{self, cut, words};
use crate::cli::status;
use crate::cli::watch::view::{Pane, Row, View};
use crate::model::{Node, PowerState};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::{Duration, Instant};

/// Widths of the columns; the note has what is left.
struct Columns {
    name: usize,
    bmc: usize,
    address: usize,
}

const POWER: usize = 10;
const READ: usize = 12;
/// From this width on there are columns for the BMC.
const WIDE: u16 = 140;

/// Draws what is seen of it.
pub(super) fn draw(view: &mut View, frame: &mut Frame, area: Rect, now: Instant) {
    let room = usize::from(area.height.saturating_sub(1));
    view.top = first_row(view.top, view.cursor, view.rows.len(), room);
    // The heading of the cursor's group is seen where it is the first row of all.
    if view.cursor == 1 && room > 1 && matches!(view.rows.first(), Some(Row::Group(..))) {
        view.top = 0;
    }
    let width = usize::from(area.width);
    let columns = columns(view, area.width);
    let mut lines = vec![head(view, &columns, room, width)];
    for (place, row) in view.rows.iter().enumerate().skip(view.top).take(room) {
        lines.push(match row {
            Row::Group(name, count) => {
                let text = format!("{} ({})", plain(name), output::nodes(*count));
                Line::styled(cut(&text, width), bold())
            }
            Row::Node(index) => {
                let node = &view.known.nodes[*index];
                let line = node_line(view, node, &columns, width, now);
                match place == view.cursor && view.pane == Pane::Nodes {
                    true => line.patch_style(Style::new().add_modifier(Modifier::REVERSED)),
                    false => line,
                }
            }
        });
    }
    if view.rows.is_empty() && !view.known.nodes.is_empty() {
        lines.push(Line::from(
            "no node is called so: Esc takes the filter away",
        ));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// The first row that is seen, so that the cursor is: as it was, where that does.
pub(super) fn first_row(top: usize, cursor: usize, rows: usize, room: usize) -> usize {
    let top = top.min(rows.saturating_sub(room));
    if cursor < top {
        cursor
    } else if cursor >= top + room {
        (cursor + 1).saturating_sub(room)
    } else {
        top
    }
}

fn columns(view: &View, width: u16) -> Columns {
    let names = view.shown().map(|node| node.name.chars().count());
    let longest = names.max().unwrap_or(0).max("NODE".len());
    let wide = width >= WIDE;
    let addresses = view
        .shown()
        .map(|node| status::address(node).chars().count());
    let address = addresses.max().unwrap_or(0).max("ADDRESS".len());
    Columns {
        name: longest.min(usize::from(width) / 3),
        bmc: if wide { 14 } else { 0 },
        address: if wide { address.min(40) } else { 0 },
    }
}

fn head(view: &View, columns: &Columns, room: usize, width: usize) -> Line<'static> {
    let mut text = format!(
        "  {:<name$} {:<POWER$} {:<READ$} ",
        "NODE",
        "POWER",
        "READ",
        name = columns.name
    );
    if columns.bmc > 0 {
        text.push_str(&format!(
            "{:<bmc$} {:<address$} ",
            "BMC",
            "ADDRESS",
            bmc = columns.bmc,
            address = columns.address
        ));
    }
    text.push_str("NOTE");
    let seen = view.rows.len().min(view.top + room);
    let place = match view.rows.len() > room {
        true => format!("{} to {seen} of {} rows", view.top + 1, view.rows.len()),
        false => String::new(),
    };
    Line::styled(super::both_ends(&text, &place, width), heading())
}

fn node_line(
    view: &View,
    node: &Node,
    columns: &Columns,
    width: usize,
    now: Instant,
) -> Line<'static> {
    let mark = if view.marks.contains(&node.uuid) {
        '*'
    } else {
        ' '
    };
    let read = match view.known.age(node, now) {
        Some(age) if age < Duration::from_secs(1) => "just now".to_owned(),
        Some(age) => format!("{} ago", words(Duration::from_secs(age.as_secs()))),
        None => "never".to_owned(),
    };
    let mut rest = format!(" {:<READ$} ", cut(&read, READ));
    if columns.bmc > 0 {
        let health = plain(node.rackbmcd.bmc.health.as_str());
        rest.push_str(&format!(
            "{:<bmc$} {:<address$} ",
            cut(&health, columns.bmc),
            cut(&plain(&status::address(node)), columns.address),
            bmc = columns.bmc,
            address = columns.address
        ));
    }
    rest.push_str(&note(view, node));
    let name = format!(
        "{:<name$}",
        cut(&plain(&node.name), columns.name),
        name = columns.name
    );
    let before = 2 + columns.name + 1 + POWER;
    let colour = match node.power_state {
        PowerState::On => Color::Green,
        PowerState::Off => Color::Blue,
        PowerState::Error => Color::Red,
        PowerState::Unknown => Color::Yellow,
    };
    Line::from(vec![
        Span::styled(format!("{mark} "), bold()),
        Span::raw(name),
        Span::raw(" "),
        Span::styled(
            format!("{:<POWER$}", node.power_state.name()),
            tone(view, colour),
        ),
        Span::raw(cut(&rest, width.saturating_sub(before))),
    ])
}

/// Where a task leads, what is wrong, what holds the node.
fn note(view: &View, node: &Node) -> String {
    let mut parts = Vec::new();
    let reading = node.rackbmcd.reading.as_ref();
    if let Some(reading) = reading.filter(|_| node.power_state == PowerState::Error) {
        parts.push(format!("read as {}", reading.power_state));
    }
    match view.known.task_of(node) {
        Some(task) => parts.push(format!("{} {}", task.operation, task.state)),
        None => parts.extend(
            node.target_power_state
                .as_ref()
                .map(|to| format!("-> {to}")),
        ),
    }
    parts.extend(status::held(node).map(|why| format!("maintenance: {}", plain(why))));
    parts.extend(status::trouble(node).map(plain));
    parts.join("; ")
}
