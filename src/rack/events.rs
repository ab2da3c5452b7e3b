//! The stream of events: numbered, kept for a while, resumable, and never silently lossy.

use super::node::Node;
use crate::model::{self, EventId, EventKind, PowerState, TaskNews};
use crate::time::WallTime;
use std::collections::VecDeque;

/// The last events of this life of the daemon.
#[derive(Debug)]
pub(super) struct Events {
    epoch: u64,
    next: u64,
    kept: VecDeque<model::Event>,
    /// How much memory those take, about.
    bytes: usize,
}

/// What an event says beside its number and time.
#[derive(Debug)]
pub(super) struct NewEvent {
    pub(super) kind: EventKind,
    pub(super) node: Option<String>,
    pub(super) text: String,
    pub(super) task: Option<Box<TaskNews>>,
    pub(super) power_state: Option<PowerState>,
}

impl NewEvent {
    /// Something happened to the rack as a whole, or to a batch.
    pub(super) fn of_rack(kind: EventKind, text: String) -> Self {
        Self {
            kind,
            node: None,
            text,
            task: None,
            power_state: None,
        }
    }

    pub(super) fn of_node(node: &Node, text: String) -> Self {
        Self {
            kind: EventKind::Node,
            node: Some(node.name().to_owned()),
            text,
            task: None,
            power_state: Some(node.memory.shown),
        }
    }

    pub(super) fn of_task(node: String, task: TaskNews, text: String) -> Self {
        Self {
            kind: EventKind::Task,
            node: Some(node),
            text,
            task: Some(Box::new(task)),
            power_state: None,
        }
    }
}

impl Events {
    /// The events of the life that `epoch` names; unlike that of any life before.
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            next: 1,
            kept: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, at: WallTime, happening: NewEvent) {
        let NewEvent {
            kind,
            node,
            text,
            task,
            power_state,
        } = happening;
        let id = EventId {
            epoch: self.epoch,
            sequence: self.next,
        };
        self.next += 1;
        let event = model::Event {
            id,
            at,
            kind: kind.into(),
            node,
            text,
            task,
            power_state: power_state.unwrap_or_default(),
        };
        self.bytes += bytes_of(&event);
        self.kept.push_back(event);
        // Rule 13: whoever is too far behind is told so, and begins anew.
        while self.kept.len() > KEPT || self.bytes > BYTES_KEPT {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= bytes_of(&oldest);
        }
    }

    /// The position after the last event.
    pub(super) fn position(&self) -> EventId {
        EventId {
            epoch: self.epoch,
            sequence: self.next - 1,
        }
    }

    /// The events after `since` about `nodes` (all where empty), at most `limit`. `None` where
    /// there are none yet.
    pub(super) fn after(
        &self,
        since: EventId,
        nodes: &[String],
        limit: usize,
    ) -> Option<model::Events> {
        let oldest = self.next - self.kept.len() as u64;
        // A client may name any number, 2^64-1 included: the addition must not overflow.
        if since.epoch != self.epoch
            || since.sequence.saturating_add(1) < oldest
            || since.sequence >= self.next
        {
            return Some(model::Events {
                events: Vec::new(),
                next: self.position(),
                reset: true,
            });
        }
        let wanted = |event: &&model::Event| {
            nodes.is_empty() || event.node.as_ref().is_none_or(|node| nodes.contains(node))
        };
        let from = (since.sequence + 1 - oldest) as usize;
        let events: Vec<model::Event> = self
            .kept
            .iter()
            .skip(from)
            .filter(wanted)
            // With a limit of 0 the caller would wait for an event that never counts.
            .take(limit.max(1))
            .cloned()
            .collect();
        let next = events.last()?.id;
        Some(model::Events {
            events,
            next,
            reset: false,
        })
    }
}

/// How much memory an event takes, about.
fn bytes_of(event: &model::Event) -> usize {
    let texts = event.text.len() + event.node.as_ref().map_or(0, String::len);
    let of_task = |task: &TaskNews| {
        size_of::<TaskNews>() + task.phase.len() + task.outcome.as_ref().map_or(0, String::len)
    };
    size_of::<model::Event>() + texts + event.task.as_deref().map_or(0, of_task)
}

/// Events that are kept: some hours of a busy rack.
const KEPT: usize = 4096;
/// How much memory they may take, however long their texts are.
const BYTES_KEPT: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(node: &str) -> NewEvent {
        NewEvent {
            kind: EventKind::Node,
            node: Some(node.into()),
            text: "changed".into(),
            task: None,
            power_state: None,
        }
    }

    fn id(sequence: u64) -> EventId {
        EventId { epoch: 7, sequence }
    }

    #[test]
    fn a_reader_goes_on_where_it_stopped() {
        let mut events = Events::new(7);
        (0..5).for_each(|_| events.push(WallTime::default(), event("a")));
        let first = events.after(id(0), &[], 3).unwrap();
        assert_eq!(first.next, id(3));
        let second = events.after(first.next, &[], 3).unwrap();
        assert_eq!(
            second
                .events
                .iter()
                .map(|event| event.id.sequence)
                .collect::<Vec<_>>(),
            [4, 5]
        );
        assert_eq!(events.after(second.next, &[], 3), None);
    }

    #[test]
    fn a_reader_too_far_behind_or_of_another_life_is_told_so() {
        let mut events = Events::new(7);
        (0..KEPT + 2).for_each(|_| events.push(WallTime::default(), event("a")));
        assert!(events.after(id(1), &[], 3).unwrap().reset);
        assert!(!events.after(id(2), &[], 3).unwrap().reset);
        assert!(
            events
                .after(
                    EventId {
                        epoch: 6,
                        sequence: 5
                    },
                    &[],
                    3
                )
                .unwrap()
                .reset
        );
        assert!(
            events.after(id(KEPT as u64 + 99), &[], 3).unwrap().reset,
            "a position that is not there yet"
        );
        assert!(events.after(id(u64::MAX), &[], 3).unwrap().reset);
    }

    #[test]
    fn long_texts_leave_place_for_fewer_events() {
        let mut events = Events::new(7);
        for _ in 0..KEPT {
            let text = "x".repeat(10_000);
            let happening = NewEvent { text, ..event("a") };
            events.push(WallTime::default(), happening);
        }
        assert!(events.bytes <= BYTES_KEPT && events.bytes > BYTES_KEPT / 2);
        assert!(events.kept.len() < BYTES_KEPT / 10_000);
        assert!(events.after(id(1), &[], 3).unwrap().reset);
        let last = KEPT as u64;
        let seen = events.after(id(last - 1), &[], 3).unwrap();
        assert_eq!((seen.reset, seen.next), (false, id(last)));
    }

    #[test]
    fn events_of_other_nodes_are_left_out() {
        let mut events = Events::new(7);
        events.push(WallTime::default(), event("a"));
        events.push(WallTime::default(), event("b"));
        let seen = events.after(id(0), &["b".into()], 9).unwrap();
        assert_eq!(seen.events.len(), 1);
        assert_eq!(seen.next, id(2));
    }
}
