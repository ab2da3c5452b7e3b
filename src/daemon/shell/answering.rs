//! Orders before answers: where many begin something at once, who asked first is not told while
//! what others asked for still waits for the disk, for a moment at most. Telling them takes time
//! from the orders of all. Who looks at something, or stops it, is told at once.

use super::{Shell, Waiting};
use crate::rack::call::{Answer, CallId, Refused};
use crate::time::Instant;
use std::time::Duration;

/// Since when answers are held.
#[derive(Default)]
pub(super) struct Held {
    until: Option<Instant>,
}

impl Held {
    /// Whether `ready` answers are held, while `waiting` others wait for the disk.
    fn holds(&mut self, ready: usize, waiting: usize, now: Instant) -> bool {
        if ready == 0 || waiting < MANY {
            self.until = None;
            return false;
        }
        let until = *self.until.get_or_insert(now + HELD_FOR);
        if now >= until {
            self.until = None;
        }
        now < until
    }

    /// When they are given in any case.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Shell {
    /// Gives the answers that the rack has: those about what begins last.
    pub(super) fn give_answers(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let begins = |waiting: &&Waiting| waiting.begins;
        let beginning = self.replies.values().filter(begins).count();
        let (ready, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.answers)
            .into_iter()
            .partition(|(call, _)| self.replies.get(call).as_ref().is_some_and(begins));
        self.answer_all(others);
        // Calls that were not taken in yet begin something, most of them, where there are many.
        let waiting = beginning.saturating_sub(ready.len()) + self.context.asks.len();
        if self.stop_by.is_none() && self.held.holds(ready.len(), waiting, self.awake_at) {
            self.answers = ready;
            return;
        }
        self.answer_all(ready);
    }

    pub(super) fn answer_all(&mut self, answers: Vec<(CallId, Result<Answer, Refused>)>) {
        for (call, answer) in answers {
            self.answer(call, answer);
        }
    }
}

/// So many that wait are many.
const MANY: usize = 8;
/// As long as an answer is held.
const HELD_FOR: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Control, Operation, PowerOptions, Who};
    use crate::rack::call::{Call, PowerChange};

    #[test]
    fn answers_wait_for_the_orders_of_many_and_not_for_long() {
        let mut held = Held::default();
        let begun = Instant::START + Duration::from_secs(7);
        let after = |millis| begun + Duration::from_millis(millis);
        assert!(!held.holds(3, MANY - 1, begun), "few wait");
        assert_eq!(held.until(), None);
        assert!(held.holds(3, MANY, begun));
        assert!(held.holds(9, 200, after(19)));
        assert_eq!(held.until(), Some(after(20)));
        assert!(!held.holds(9, 200, after(20)), "long enough");
        // Those that come then are held for as long, each time.
        assert!(held.holds(1, 200, after(21)));
        assert!(!held.holds(40, 0, after(22)), "nobody waits any more");
        assert!(!held.holds(0, 200, after(23)));
        assert_eq!(held.until(), None);
    }

    #[test]
    fn who_stops_something_is_not_kept_waiting() {
        let set = |change| Call::SetPower {
            node: "n1".into(),
            change,
            options: PowerOptions::default(),
            who: Who::default(),
        };
        assert!(set(PowerChange::Start(Operation::PowerOff)).begins_tasks());
        assert!(!set(PowerChange::Abort(Operation::SoftPowerOff)).begins_tasks());
        for control in Control::ALL {
            let call = Call::ControlBatch {
                batch: uuid::Uuid::nil(),
                control,
                nodes: Vec::new(),
                who: Who::default(),
            };
            assert!(!call.begins_tasks());
        }
    }
}
