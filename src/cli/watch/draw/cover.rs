//! What stands in front of the picture.

use super::{bold, plain, tone};
use crate::cli::output::cut;
use crate::cli::watch::confirm::Confirmation;
use crate::cli::watch::front::{Front, Scroll};
use crate::cli::watch::view::View;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

/// Draws it, if there is any.
pub(super) fn draw(view: &mut View, frame: &mut Frame, screen: Rect) {
    let mut front = view.front.take();
    match &mut front {
        None => {}
        Some(Front::Help(scroll)) => paper(view, frame, screen, "keys", scroll),
        Some(Front::Details(subject, scroll)) => {
            paper(view, frame, screen, &plain(&subject.title()), scroll);
        }
        Some(Front::Confirm(confirmation)) => question(view, frame, screen, confirmation),
    }
    view.front = front;
}

/// Lines that can be moved, in a frame that leaves a margin where there is room for one.
fn paper(view: &mut View, frame: &mut Frame, screen: Rect, title: &str, scroll: &mut Scroll) {
    let margin = u16::from(screen.width > 60 && screen.height > 12);
    let width = screen.width.saturating_sub(4 * margin);
    let inner = usize::from(width.saturating_sub(2));
    let lines: Vec<String> = scroll
        .lines
        .iter()
        .flat_map(|line| folded(&plain(line), inner))
        .collect();
    let wanted = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let height = wanted.min(screen.height);
    let room = usize::from(height.saturating_sub(2));
    view.page = room.max(1);
    scroll.top = scroll.top.min(lines.len().saturating_sub(room));
    let below = lines.len().saturating_sub(scroll.top + room);
    let foot = match below {
        0 => " Esc: back ".to_owned(),
        below => format!(" {below} more below; Esc: back "),
    };
    let area = middle(screen, width, height);
    let block = Block::bordered()
        .title(format!(" {title} "))
        .title_bottom(foot);
    let seen = lines.into_iter().skip(scroll.top).take(room);
    let text: Vec<Line> = seen.map(Line::from).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).block(block), area);
}

/// A question: what will happen to which nodes, and the word that is wanted. The word is taken only
/// when the last of the nodes was on the screen.
fn question(view: &View, frame: &mut Frame, screen: Rect, asked: &mut Confirmation) {
    let width = screen
        .width
        .saturating_sub(4)
        .min(76)
        .max(screen.width.min(40));
    let inner = usize::from(width.saturating_sub(4));
    let lines: Vec<String> = asked.lines(inner).iter().map(|line| plain(line)).collect();
    let word = asked.action.act().word();
    // The frame, a blank line, what to type, what was typed.
    let beside = 5;
    let wanted = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_add(beside);
    let height = wanted.min(screen.height);
    let room = usize::from(height.saturating_sub(beside));
    asked.top = asked.top.min(lines.len().saturating_sub(room));
    let below = lines.len() - (asked.top + room).min(lines.len());
    if below == 0 && room > 0 && inner >= 30 {
        asked.seen_to_the_end();
    }
    let mut text: Vec<Line> = lines
        .into_iter()
        .skip(asked.top)
        .take(room)
        .map(|line| Line::from(format!(" {line}")))
        .collect();
    let how = match (asked.is_seen(), below) {
        (true, _) => format!("Type {word} and Enter to do it. Esc leaves everything as it is."),
        (false, 0) => "This window is too small to ask in: make it larger, or Esc.".to_owned(),
        (false, below) => {
            format!("{below} more lines below (arrow down), then {word} and Enter. Esc: no.")
        }
    };
    text.push(Line::default());
    text.push(Line::from(format!(" {}", cut(&how, inner))));
    text.push(Line::styled(format!(" > {}_", plain(&asked.typed)), bold()));
    let area = middle(screen, width, height);
    let block = Block::bordered()
        .title(format!(" {word}? "))
        .border_style(tone(view, Color::Red));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(text).block(block), area);
}

fn middle(screen: Rect, width: u16, height: u16) -> Rect {
    Rect {
        x: screen.x + (screen.width - width.min(screen.width)) / 2,
        y: screen.y + (screen.height - height.min(screen.height)) / 2,
        width: width.min(screen.width),
        height: height.min(screen.height),
    }
}

/// A line in lines of at most `width` letters, what follows set in as its second column is.
fn folded(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width || width < 20 {
        return vec![cut(line, width.max(1))];
    }
    crate::cli::output::folded(line, width, crate::cli::output::Long::Parted)
}
