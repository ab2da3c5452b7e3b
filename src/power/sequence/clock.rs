//! The clock of one task. Its [`Age`] stands still while the task is queued or suspended, so that
//! every deadline of every phase keeps the time that was left without anybody rewriting it; the
//! elapsed time runs on.

use crate::bmc::vocabulary::OrderId;
use crate::power::stored::knowledge as stored;
use crate::time::Instant;
use std::ops::Add;
use std::time::Duration;

/// A moment on the task's own clock: running time since its beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Age(Duration);

impl Age {
    /// The time since `earlier`, zero where that lies ahead.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Age {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl From<Age> for Duration {
    fn from(age: Age) -> Self {
        age.0
    }
}

impl From<Duration> for Age {
    fn from(since_begin: Duration) -> Self {
        Self(since_begin)
    }
}

/// Whether the age runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// The age runs.
    Running,
    /// The age stands still; the elapsed time runs on.
    Standing,
    /// The task waits for its turn. Its age runs where its time was named by the request.
    Waiting { runs: bool },
}

impl Pace {
    pub(super) fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Waiting { runs: true })
    }
}

/// The look that comes before any verdict after the daemon stood still. Until it is answered the
/// age stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum FirstLook {
    /// No look is wanted.
    #[default]
    None,
    /// The look comes when this order, which may be on its way, has its report.
    After(OrderId),
    /// The look comes now.
    Now,
}

/// See the head of this file. All of it but the last moment seen outlives a restart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Clock {
    age: Age,
    elapsed: Duration,
    /// The elapsed time at which the task began, `None` while it is queued.
    begun: Option<Duration>,
    /// A way back stands still: see [`super::Sequence::hold`].
    pub(super) held: bool,
    /// A step waits for its turn: see [`super::Sequence::await_turn`].
    pub(super) waits: bool,
    /// The rack made it stand still, and nobody asked for that: see [`super::Sequence::keep`].
    pub(super) kept: bool,
    /// How long it has waited in the queue, and with steps for their turn.
    waited: Duration,
    /// The daemon stood still, and the machine is to be looked at before anything is judged.
    pub(super) look: FirstLook,
    seen: Option<Instant>,
}

impl Clock {
    /// It is now `now`, and since the last call the age ran at `pace`. A `now` in the past is no
    /// time.
    pub(super) fn advance(&mut self, now: Instant, pace: Pace) {
        let passed = self.seen.map_or(Duration::ZERO, |seen| now - seen);
        // Rule 13: time within a life never goes backwards.
        self.seen = Some(self.seen.map_or(now, |seen| seen.max(now)));
        self.elapsed = self.elapsed.saturating_add(passed);
        if pace.runs() {
            self.age = self.age + passed;
        }
        if let Pace::Waiting { .. } = pace {
            self.waited = self.waited.saturating_add(passed);
        }
    }

    /// The task begins.
    pub(super) fn begin(&mut self) {
        self.begun.get_or_insert(self.elapsed);
    }

    /// Whether the machine is to be looked at before anything is judged. An order that waits for
    /// its turn meanwhile does so in the task's own time.
    pub(super) fn looks_first(&self) -> bool {
        match self.look {
            FirstLook::None => false,
            // An order that waits for its place has not left: no answer to it is on its way.
            FirstLook::After(_) => !self.waits,
            FirstLook::Now => true,
        }
    }

    /// The daemon was away for so long: that time elapsed, but no patience ran out.
    pub(crate) fn pass(&mut self, away: Duration) {
        self.elapsed = self.elapsed.saturating_add(away);
    }

    /// As the journal keeps it: without the last moment seen, because the daemon's clock starts
    /// anew after a restart.
    pub(crate) fn to_stored(&self) -> stored::Clock {
        let Self {
            age,
            elapsed,
            begun,
            held,
            waits: _,
            kept,
            waited,
            look: _,
            seen: _,
        } = *self;
        stored::Clock {
            age: age.into(),
            elapsed,
            begun,
            held,
            kept,
            waited: Some(waited).filter(|waited| !waited.is_zero()),
        }
    }

    /// Forgets the last moment seen, as a restart does.
    #[cfg(test)]
    pub(crate) fn detach(&mut self) {
        self.seen = None;
    }

    pub(crate) fn from_stored(stored: stored::Clock) -> Self {
        let stored::Clock {
            age,
            elapsed,
            begun,
            held,
            kept,
            waited,
        } = stored;
        Self {
            age: age.into(),
            elapsed,
            begun,
            held,
            waits: false,
            kept,
            waited: waited.unwrap_or_default(),
            look: FirstLook::None,
            seen: None,
        }
    }

    pub(crate) fn age(&self) -> Age {
        self.age
    }

    /// Time since this clock was first told the time (by the request), suspensions included.
    pub(in crate::power) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How much of that it waited for its turn.
    pub(in crate::power) fn waited(&self) -> Duration {
        self.waited
    }

    /// Time since the task began, suspensions included; zero while it is queued.
    pub(crate) fn since_begin(&self) -> Duration {
        self.begun
            .map_or(Duration::ZERO, |begun| self.elapsed.saturating_sub(begun))
    }

    /// When the age will be `age`, if it runs.
    pub(super) fn when(&self, age: Age) -> Instant {
        self.seen.unwrap_or(Instant::START) + age.since(self.age)
    }

    /// When the elapsed time will be `elapsed`.
    pub(super) fn when_elapsed(&self, elapsed: Duration) -> Instant {
        self.seen.unwrap_or(Instant::START) + elapsed.saturating_sub(self.elapsed)
    }
}
