//! The picture: a header, the nodes, the tasks that have not ended, the latest events, a line to
//! the person, the keys. What stands in front is drawn over it.
//!
//! Everything that somebody else wrote goes through [`plain`] before it reaches the terminal.

mod cover;
mod nodes;
mod tasks;

use super::confirm::ACTS;
use super::known::Said;
use super::view::{Pane, View};
use crate::cli::output::{self, words};
use crate::cli::when;
use crate::model::{PowerState, counted};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Instant;

/// Draws all of it, and remembers in the view what only the size of the screen tells: where lists
/// begin, how far a page goes, whether a question is seen to its end.
pub(super) fn draw(view: &mut View, frame: &mut Frame, now: Instant) {
    let screen = frame.area();
    let sizes = sizes(view, screen.height);
    let [head, list, tasks, events, said, keys] = Layout::vertical(sizes).areas(screen);
    view.page = usize::from(list.height.saturating_sub(2)).max(1);
    header(view, frame, head, now);
    nodes::draw(view, frame, list, now);
    tasks::draw(view, frame, tasks, now);
    latest(view, frame, events);
    frame.render_widget(Paragraph::new(to_the_person(view)), said);
    frame.render_widget(Paragraph::new(key_line(view, keys.width)), keys);
    cover::draw(view, frame, screen);
}

/// How many lines each part has: the nodes what the others leave. A low screen goes without events,
/// then without tasks.
fn sizes(view: &View, height: u16) -> [Constraint; 6] {
    let many = u16::try_from(view.known.tasks.len()).unwrap_or(u16::MAX);
    let heard = u16::try_from(view.known.events.len()).unwrap_or(u16::MAX);
    let tasks = match height {
        0..10 => 0,
        _ => 1 + many.min((height / 5).max(3)),
    };
    let events = match height {
        0..16 => 0,
        _ => 1 + heard.clamp(1, (height / 6).max(3)),
    };
    [
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(tasks),
        Constraint::Length(events),
        Constraint::Length(1),
        Constraint::Length(1),
    ]
}

fn header(view: &View, frame: &mut Frame, area: Rect, now: Instant) {
    let width = usize::from(area.width);
    let known = &view.known;
    let rack = known
        .health
        .as_ref()
        .map(|(health, ..)| health.rack.as_str());
    let mut counts = Vec::new();
    for (state, word) in [
        (PowerState::On, "on"),
        (PowerState::Off, "off"),
        (PowerState::Error, "error"),
        (PowerState::Unknown, "unknown"),
    ] {
        match known.count(state) {
            0 => {}
            count => counts.push(format!("{count} {word}")),
        }
    }
    let mut left = format!(
        "rack {}   {}: {}",
        plain(rack.unwrap_or("?")),
        output::nodes(known.nodes.len()),
        counts.join(", ")
    );
    if known.nodes.is_empty() {
        left = "no nodes are known yet".to_owned();
    }
    let right = known
        .daemon_age(now)
        .map(|age| format!("rackbmcd up {}", words(output::rounded(age))));
    let first = both_ends(&left, right.as_deref().unwrap_or_default(), width);
    let second = troubles(view, now);
    let lines = vec![
        Line::styled(first, bold()),
        Line::from(Span::styled(output::cut(&second.0, width), second.1)),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

/// The second line of the header: what is wrong with the whole, the worst first.
fn troubles(view: &View, now: Instant) -> (String, Style) {
    let known = &view.known;
    let alarm = tone(view, Color::Red).add_modifier(Modifier::REVERSED);
    if let Some((since, why)) = &known.away {
        let gone = words(output::rounded(now.saturating_duration_since(*since)));
        let text = format!(
            "the daemon does not answer for {gone}, this is what was known: {}",
            plain(why)
        );
        return (text, alarm);
    }
    let mut said = Vec::new();
    let mut style = Style::new();
    if let Some(why) = &known.refused {
        said.push(plain(why));
        style = alarm;
    }
    if let Some(pause) = known.pause() {
        let since = when::at(pause.since, &view.zone, "%H:%M");
        let by = match pause.by.as_str() {
            "" => String::new(),
            by => format!(" by {}", plain(by)),
        };
        let why = pause
            .reason
            .as_deref()
            .map(|why| format!(": {}", plain(why)));
        said.push(format!(
            "PAUSED{by} since {since}{}",
            why.unwrap_or_default()
        ));
        style = alarm;
    }
    let health = known.health.as_ref().map(|(health, ..)| health);
    if let Some(why) = health.and_then(|health| health.store_trouble.as_deref()) {
        said.push(format!("the journal cannot be written: {}", plain(why)));
        style = alarm;
    }
    match known.troubled() {
        0 => said.push("no BMC in trouble".to_owned()),
        count => {
            said.push(format!("{} in trouble", counted(count, "BMC")));
            style = style.patch(tone(view, Color::Yellow));
        }
    }
    said.push(match known.tasks.len() {
        0 => "no task is running".to_owned(),
        count => counted(count, "task"),
    });
    if health.is_some_and(|health| health.configuration_refused.is_some()) {
        said.push("the configuration on the disk is refused, an older one is in force".to_owned());
    }
    (said.join("   "), style)
}

/// Two texts at both ends of a line; the right one only where there is room.
fn both_ends(left: &str, right: &str, width: usize) -> String {
    let taken = left.chars().count() + right.chars().count();
    match taken + 2 <= width {
        true => format!("{left}{}{right}", " ".repeat(width - taken)),
        false => output::cut(left, width),
    }
}

/// The latest events, the newest last.
fn latest(view: &View, frame: &mut Frame, area: Rect) {
    if area.height == 0 {
        return;
    }
    let width = usize::from(area.width);
    let room = usize::from(area.height - 1);
    let events = &view.known.events;
    let mut lines = vec![title(
        "EVENTS",
        events.is_empty().then_some("none yet"),
        width,
    )];
    for Said { at, text } in events.iter().skip(events.len().saturating_sub(room)) {
        let at = at.map_or("        ".to_owned(), |at| {
            when::at(at, &view.zone, "%H:%M:%S")
        });
        lines.push(Line::from(output::cut(
            &format!("{at} {}", plain(text)),
            width,
        )));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// The heading of a part.
fn title(word: &str, rest: Option<&str>, width: usize) -> Line<'static> {
    let text = match rest {
        Some(rest) => format!("{word}  {rest}"),
        None => word.to_owned(),
    };
    let text = output::cut(&text, width);
    Line::styled(format!("{text:<width$}"), heading())
}

/// What is said to the person: the filter while it is typed, else the last answer, else filter,
/// marks and missing role.
fn to_the_person(view: &View) -> Line<'static> {
    if view.typing {
        return Line::styled(format!("/{}_", plain(&view.filter)), bold());
    }
    if let Some(remark) = &view.remark {
        return Line::styled(plain(remark), bold());
    }
    let mut said = Vec::new();
    if !view.filter.is_empty() {
        let (shown, all) = (view.shown().count(), view.known.nodes.len());
        said.push(format!("filter {}: {shown} of {all}", plain(&view.filter)));
    }
    match view.marked() {
        (0, _) => {}
        (marks, 0) => said.push(format!("{marks} marked")),
        (marks, hidden) => said.push(format!("{marks} marked, {hidden} of them hidden")),
    }
    if !view.known.may_act() {
        said.push(view.missing_role());
    }
    Line::from(said.join("   "))
}

/// The keys; those that would do nothing for us are grey.
fn key_line(view: &View, width: u16) -> Line<'static> {
    let mut spans = Vec::new();
    let under = view
        .under_cursor()
        .map(|node| view.known.may_act_on(&node.name));
    let may = view.known.may_act()
        && (view.marks.is_empty() || view.pane == Pane::Tasks)
            .then_some(under)
            .flatten()
            .unwrap_or(true);
    let off = match view.colour {
        true => Style::new().fg(Color::DarkGray),
        false => Style::new().add_modifier(Modifier::DIM | Modifier::CROSSED_OUT),
    };
    let push = |spans: &mut Vec<Span<'static>>, key: &str, word: &str, on: bool| {
        let style = |lit: Style| if on { lit } else { off };
        spans.push(Span::styled(key.to_owned(), style(bold())));
        spans.push(Span::styled(format!(" {word} "), style(Style::new())));
    };
    push(&mut spans, "?", "help", true);
    push(&mut spans, "/", "filter", true);
    if width >= 100 {
        push(&mut spans, "space", "mark", true);
        push(&mut spans, "enter", "details", true);
        push(&mut spans, "tab", "tasks", true);
        push(&mut spans, "g", "groups", true);
    }
    for (key, act, _) in ACTS {
        push(&mut spans, &key.to_string(), act.word(), may);
    }
    push(&mut spans, "q", "end", true);
    Line::from(spans)
}

/// A text of somebody else's in one line that does nothing to the terminal.
pub(super) fn plain(text: &str) -> String {
    output::harmless(&text.replace('\n', " "), false)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn heading() -> Style {
    Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
}

/// A colour, where there are colours.
fn tone(view: &View, colour: Color) -> Style {
    match view.colour {
        true => Style::new().fg(colour),
        false => Style::new(),
    }
}
