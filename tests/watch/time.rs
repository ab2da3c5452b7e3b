//! How long a task may take, and for what it may wait.

use super::{SIGN_OF_LIFE, Seen, Watch};
use crate::world::{millis, secs};
use rackbmcd::model::{Operation, TaskId, TaskState};
use rackbmcd::time::Instant;
use std::time::Duration;

impl Watch {
    /// Whether a task that has just ended did so within its time.
    pub(super) fn in_time(&self, id: TaskId, text: &str, now: Instant) -> Result<(), String> {
        let seen = &self.tasks[&id];
        let mut unknown = SIGN_OF_LIFE * seen.crashes;
        if seen.crashes > 0 {
            // Nor does it know of what the disk did not take.
            let refuses = self
                .disk_refuses
                .map_or(Duration::ZERO, |since| now - since);
            let refused = self.disk_refused + refuses;
            // It began up to one sign of life after the last one that the disk took, and may have
            // been over for almost one when the daemon was killed.
            let signs = if refused.is_zero() { 0 } else { seen.crashes };
            unknown += refused + SIGN_OF_LIFE * signs;
        }
        // After each of them the machine is read first, however long that takes: its session may be
        // gone, a second one may be needed for the level or because another BMC answers, and one
        // whose last answer came 12 s late is given up after three times that.
        let look = match (self.held_back, self.logs_in_anew) {
            (true, _) => secs(40),
            (false, true) => secs(8),
            (false, false) => secs(4),
        };
        unknown += look * seen.standstills;
        let longest = seen.settings.longest(seen.operation) + secs(1) + unknown;
        if seen.ran > longest {
            return Err(format!(
                "{id} ran {:?}, longer than {longest:?}: {text}",
                seen.ran
            ));
        }
        let patience = seen.settings.patience;
        let timed_out = text.contains(&format!("within {:.1} s", patience.as_secs_f64()));
        if seen.unread_from.is_some() && timed_out && seen.ran + seen.queued + secs(1) < patience {
            return Err(format!(
                "{id} had {:?} of its time and stood still for the rest: {text}",
                seen.ran
            ));
        }
        let longest = seen.settings.longest_rollback() + secs(1) + unknown;
        if seen.returned > longest {
            return Err(format!("{id} rolled back for {:?}: {text}", seen.returned));
        }
        // What a request names runs from the request, wherever the task waits; what holds it back
        // is not its time.
        let waited = seen.ran + seen.queued;
        let longest = seen.settings.longest(seen.operation) + secs(1) + unknown;
        if seen.named && seen.batch.is_none() && waited > longest {
            return Err(format!(
                "{id} ended {waited:?} after the request, which named a timeout: longer than {longest:?}: {text}"
            ));
        }
        Ok(())
    }

    /// Only what switches on waits for a place: nothing else is kept back but by a pause, a
    /// maintenance or its own batch, and no task waits to begin.
    pub(super) fn nothing_queues(&self, now: Instant) -> Result<(), String> {
        for id in &self.active {
            let seen = &self.tasks[id];
            let waits = seen.state == TaskState::Queued || seen.gated;
            let shut = self.paused.is_some() || self.stopping.is_some();
            let held = shut || seen.batch.is_some() || seen.crashes > 0;
            let needs_none = match seen.operation {
                Operation::PowerOff => seen.state != TaskState::RollingBack,
                _ => seen.state == TaskState::Queued,
            };
            let long = seen.durable.is_some() && now - seen.since > millis(500);
            if waits && needs_none && !held && long {
                return Err(format!(
                    "{id} ({}) needs no place, and waits",
                    seen.operation
                ));
            }
        }
        Ok(())
    }
}

impl Seen {
    /// Counts the time since the last look.
    pub(super) fn pass(&mut self, now: Instant, paused: bool) {
        let passed = now - self.since;
        match self.state {
            // A machine that is off by our doing waits for its place, however long that takes.
            TaskState::Running | TaskState::Aborting if self.gated && self.off_left => {}
            TaskState::RollingBack if self.gated => {}
            TaskState::Running | TaskState::Aborting if self.gated => self.queued += passed,
            TaskState::Running | TaskState::Aborting => self.ran += passed,
            TaskState::RollingBack if !paused => self.returned += passed,
            TaskState::Queued if !paused => self.queued += passed,
            _ => {}
        }
        self.since = now;
    }
}
