//! What a key does.

use super::confirm::{ACTS, Heard};
use super::front::{self, Front, Scroll, Subject};
use super::view::{Order, Pane, View, Wish};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Instant;

/// No name and no group is longer.
const LONGEST_FILTER: usize = 60;

impl View {
    /// Takes a key that was pressed at a moment.
    pub(super) fn key(&mut self, key: KeyEvent, at: Instant) -> Option<Wish> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Some(Wish::Quit),
            KeyCode::Char('l') if control => return Some(Wish::Redraw),
            KeyCode::Char('u') if control && self.typing => {
                self.filter.clear();
                self.arrange();
                return None;
            }
            _ if control || key.modifiers.contains(KeyModifiers::ALT) => return None,
            _ => {}
        }
        match self.front.take() {
            Some(Front::Confirm(mut confirmation)) => match confirmation.key(key.code, at) {
                Heard::Waiting => self.front = Some(Front::Confirm(confirmation)),
                Heard::Leave => self.remark = Some("nothing was asked".to_owned()),
                Heard::Do(action) => return self.agreed(action),
            },
            Some(Front::Help(mut scroll)) => {
                if scrolled(&mut scroll, key.code, self.page) {
                    self.front = Some(Front::Help(scroll));
                }
            }
            Some(Front::Details(subject, mut scroll)) => {
                if scrolled(&mut scroll, key.code, self.page) {
                    self.front = Some(Front::Details(subject, scroll));
                }
            }
            None if self.typing => self.type_filter(key.code),
            None => return self.command(key.code),
        }
        None
    }

    fn agreed(&mut self, action: super::confirm::Action) -> Option<Wish> {
        // The daemon may have gone while the word was typed: nothing is kept to be done when it is
        // back.
        if let Some((_, why)) = &self.known.away {
            self.remark = Some(format!("nothing was asked: {why}"));
            return None;
        }
        self.remark = Some(format!("{}: asking the daemon", action.act().word()));
        Some(Wish::Do(action))
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(letter) if self.filter.chars().count() < LONGEST_FILTER => {
                self.filter.push(letter);
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            _ => {}
        }
        self.arrange();
    }

    fn command(&mut self, code: KeyCode) -> Option<Wish> {
        self.remark = None;
        let page = isize::try_from(self.page).unwrap_or(10);
        match code {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Char('?') => self.front = Some(Front::Help(front::help())),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-page),
            KeyCode::PageDown => self.step(page),
            KeyCode::Home => self.step(isize::MIN / 2),
            KeyCode::End => self.step(isize::MAX / 2),
            KeyCode::Tab => {
                self.pane = match self.pane {
                    Pane::Nodes => Pane::Tasks,
                    Pane::Tasks => Pane::Nodes,
                };
            }
            KeyCode::Char('/') => {
                self.pane = Pane::Nodes;
                self.typing = true;
            }
            KeyCode::Char('g') => {
                self.order = match self.order {
                    Order::Rack => Order::Groups,
                    Order::Groups => Order::Rack,
                };
                self.arrange();
            }
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Esc => self.marks.clear(),
            KeyCode::Char(' ') if self.pane == Pane::Nodes => self.mark(),
            KeyCode::Char('*') if self.pane == Pane::Nodes => self.mark_all(),
            KeyCode::Enter => return self.wish_for_details(),
            KeyCode::Char(letter) => {
                let act = ACTS.iter().find(|(key, ..)| *key == letter);
                if let Some((_, act, _)) = act {
                    self.ask(*act);
                }
            }
            _ => {}
        }
        None
    }

    fn mark(&mut self) {
        let Some(node) = self.under_cursor() else {
            return;
        };
        let uuid = node.uuid;
        if !self.marks.remove(&uuid) {
            self.marks.insert(uuid);
        }
        self.step(1);
    }

    /// Marks all nodes that are shown; where all of them are marked, none.
    fn mark_all(&mut self) {
        let shown: Vec<_> = self.shown().map(|node| node.uuid).collect();
        match shown.iter().all(|uuid| self.marks.contains(uuid)) {
            true => self.marks.retain(|uuid| !shown.contains(uuid)),
            false => self.marks.extend(shown),
        }
    }

    fn wish_for_details(&mut self) -> Option<Wish> {
        let subject = match self.pane {
            Pane::Nodes => Subject::Node(self.under_cursor()?.name.to_string()),
            Pane::Tasks => Subject::Task(self.task_under_cursor()?.id),
        };
        let waiting = Scroll::of("asking the daemon");
        self.front = Some(Front::Details(subject.clone(), waiting));
        Some(Wish::Details(subject))
    }
}

/// Moves what stands in front; `false` where the key takes it away.
fn scrolled(scroll: &mut Scroll, code: KeyCode, page: usize) -> bool {
    let last = scroll.lines.len().saturating_sub(1);
    scroll.top = match code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => return false,
        KeyCode::Up | KeyCode::Char('k') => scroll.top.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => (scroll.top + 1).min(last),
        KeyCode::PageUp => scroll.top.saturating_sub(page),
        KeyCode::PageDown | KeyCode::Char(' ') => (scroll.top + page).min(last),
        KeyCode::Home => 0,
        KeyCode::End => last,
        _ => scroll.top,
    };
    true
}
