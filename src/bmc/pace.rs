//! How often one BMC is spoken to: a burst after a rest, a rate in the long run, a pause after each
//! answer that follows how long the BMC takes, and what was learned where a BMC did not bear that.
//!
//! Driven by `queue`, command by command, and by `upkeep` for log-ins, which have a pace of their
//! own.

use crate::model::counted;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// For whom a command is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Turn {
    /// The command changes the machine's power: it never waits, and those after it wait for it.
    Acting,
    /// A task looks at the machine: it waits, but no longer than [`LONGEST_LOOK`].
    Looking,
    /// Anything else.
    Aside,
}

/// What a BMC bears, where that is less than the configuration allows. Remembered over a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lowered {
    /// The share of the configured pace, in percent.
    pub percent: u8,
    /// How often the BMC fell silent, restarted or lost its session after a burst.
    pub times: u32,
}

/// Commands that may leave now, in fractions; below zero after one that did not wait.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    burst: u32,
    lowered: Option<Lowered>,
    /// When what was lowered is raised by a step.
    raise_at: Instant,
    tokens: f64,
    counted_at: Instant,
    /// When the commands of the last second left.
    lately: VecDeque<Instant>,
    /// When there were so many in one second that they are called a burst.
    burst_at: Option<Instant>,
    /// When the last command left or was answered.
    spoken_at: Option<Instant>,
    /// When the last answer came.
    heard_at: Option<Instant>,
    /// Until when the BMC is left alone after its last answer.
    rest_until: Instant,
    /// Until when the looks of a task leave the BMC alone; an order may wait for such a look.
    looks_from: Instant,
    /// How long that rest is.
    rest: Duration,
    /// How long answers take, copies of the question included.
    round_trip: Option<Duration>,
    /// What was asked before does not tell how long they take: the daemon stood still until then.
    measures_from: Option<Instant>,
    /// How often in a row it said that it is busy.
    busy: u32,
    log_ins: LogIns,
}

/// Log-ins that may begin now, in fractions.
#[derive(Debug)]
struct LogIns {
    tokens: f64,
    counted_at: Instant,
    last: Option<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: f64, burst: u32, lowered: Option<Lowered>, now: Instant) -> Self {
        let mut pace = Self {
            // A rate of zero would let nothing leave: the configuration refuses it, and here it is
            // one a day.
            per_second: per_second.max(1.0 / 86_400.0),
            burst: burst.max(1),
            raise_at: now + lowered.map_or(Duration::ZERO, Lowered::patience),
            lowered,
            tokens: 0.0,
            counted_at: now,
            lately: VecDeque::new(),
            burst_at: None,
            spoken_at: None,
            heard_at: None,
            rest_until: now,
            looks_from: now,
            rest: Duration::ZERO,
            round_trip: None,
            measures_from: None,
            busy: 0,
            log_ins: LogIns {
                tokens: LOG_INS,
                counted_at: now,
                last: None,
            },
        };
        // A BMC that bears little may have been asked a moment ago, by an earlier life.
        pace.tokens = lowered.map_or(pace.depth(), |_| 1.0);
        pace
    }

    /// When the last command left or was answered.
    pub(super) fn spoken_at(&self) -> Option<Instant> {
        self.spoken_at
    }

    /// What was learned.
    pub(super) fn lowered(&self) -> Option<Lowered> {
        self.lowered
    }

    /// The configuration has another pace now. What was learned of the BMC stays.
    pub(super) fn configure(&mut self, per_second: f64, burst: u32, now: Instant) {
        if (per_second, burst) != (self.per_second, self.burst) {
            *self = Self::new(per_second, burst, self.lowered, now);
        }
    }

    /// Forgets what was learned.
    pub(super) fn forget(&mut self) {
        self.lowered = None;
        self.burst_at = None;
    }

    /// Takes one command's worth if it may leave now.
    pub(super) fn take(&mut self, turn: Turn, now: Instant) -> bool {
        self.count(now);
        let granted = now >= self.ready_at(turn);
        if granted {
            // What acts goes into debt, for which others wait; the limit keeps that short.
            self.tokens = (self.tokens - 1.0).max(-self.depth());
            self.note_command(now);
        }
        granted
    }

    /// Takes one command's worth if that leaves one for somebody else.
    pub(super) fn take_spare(&mut self, now: Instant) -> bool {
        self.count(now);
        let granted = now >= self.spare_at();
        if granted {
            self.tokens -= 1.0;
            self.note_command(now);
        }
        granted
    }

    /// When [`Pace::take`] will say yes.
    pub(super) fn ready_at(&self, turn: Turn) -> Instant {
        let ready = self.holds_at(1.0);
        match turn {
            Turn::Acting => self.counted_at,
            Turn::Looking => {
                let ready = ready.max(self.looks_from);
                self.spoken_at
                    .map_or(ready, |at| ready.min(at + LONGEST_LOOK))
            }
            Turn::Aside => ready.max(self.rest_until),
        }
    }

    /// When [`Pace::take_spare`] will say yes: two commands' worth, or all that there ever is.
    pub(super) fn spare_at(&self) -> Instant {
        // With a burst of one there are never two, and the question would never be asked.
        self.holds_at(self.depth().min(2.0)).max(self.rest_until)
    }

    /// An answer came, so long after the question. The BMC rests for a share of how long it takes
    /// for one.
    pub(super) fn answered(&mut self, took: Duration, busy: bool, now: Instant) {
        // The answer may have waited in the socket while the daemon stood still.
        if self.measures_from.is_none_or(|from| took <= now - from) {
            let mixed = |usual: Duration| usual * 3 / 4 + took / 4;
            self.round_trip = Some(self.round_trip.map_or(took, mixed));
        }
        let round_trip = self.round_trip.unwrap_or_default();
        let long_rest = BUSY_REST * 2u32.pow(self.busy.min(2));
        self.rest = match busy {
            true => long_rest.max(round_trip / SHARE),
            false => round_trip / SHARE,
        };
        self.busy = if busy { self.busy + 1 } else { 0 };
        self.rest_until = now + self.rest;
        self.looks_from = match busy {
            true => self.rest_until,
            false => now + round_trip / LOOKING_SHARE,
        };
        self.spoken_at = Some(now);
        self.heard_at = Some(now);
    }

    /// The daemon stood still until now.
    pub(super) fn handle_absence(&mut self, now: Instant) {
        self.measures_from = Some(now);
    }

    /// The BMC fell silent, restarted or lost its session. Where that follows a burst, it is asked
    /// at half the rate from now on; whether that is so. After a change of power silence has
    /// another explanation as well, so that then it is not lowered any further than to
    /// [`LEAST_EXPLAINED`].
    pub(super) fn fell_over(&mut self, explained: bool, now: Instant) -> bool {
        // Silence is noticed late: it began after the last answer.
        let began = self.heard_at.unwrap_or(now);
        let Some(_) = self.burst_at.take_if(|at| began <= *at + AFTER_BURST) else {
            return false;
        };
        let before = self.lowered.unwrap_or(Lowered {
            percent: 100,
            times: 0,
        });
        // A machine that is switched often would take its BMC's pace down for nothing.
        if explained && before.percent <= LEAST_EXPLAINED {
            return false;
        }
        let lowered = Lowered {
            percent: (before.percent / 2).max(LEAST_PERCENT),
            times: before.times.saturating_add(1),
        };
        self.lowered = Some(lowered);
        self.raise_at = now + lowered.patience();
        self.tokens = self.tokens.min(self.depth());
        true
    }

    /// What happens to the session now has nothing to do with the pace: somebody restarts the BMC.
    pub(super) fn forget_burst(&mut self) {
        self.burst_at = None;
    }

    /// Takes one log-in's worth if it may begin now.
    pub(super) fn take_log_in(&mut self, turn: Turn, now: Instant) -> bool {
        let earned = (now - self.log_ins.counted_at).as_secs_f64() / LOG_IN_EVERY.as_secs_f64();
        self.log_ins.tokens = (self.log_ins.tokens + earned).min(LOG_INS);
        self.log_ins.counted_at = self.log_ins.counted_at.max(now);
        let granted = now >= self.log_in_at(turn);
        if granted {
            self.log_ins.tokens = (self.log_ins.tokens - 1.0).max(-LOG_INS);
            self.log_ins.last = Some(now);
        }
        granted
    }

    /// When [`Pace::take_log_in`] will say yes. Tasks wait no longer than they do for a look.
    pub(super) fn log_in_at(&self, turn: Turn) -> Instant {
        let missing = (1.0 - EPSILON - self.log_ins.tokens).max(0.0);
        let ready = self.log_ins.counted_at + LOG_IN_EVERY.mul_f64(missing);
        match (turn, self.log_ins.last) {
            // The deadline of a task runs on while it waits for a session.
            (Turn::Acting | Turn::Looking, Some(last)) => ready.min(last + LONGEST_LOOK),
            _ => ready,
        }
    }

    /// The pace and why it is so, for explanations.
    pub(super) fn in_words(&self) -> String {
        let mut words = format!(
            "at most {} after a rest, and {} a second over ten seconds",
            counted(self.depth().floor() as usize, "command"),
            plain(self.within_ten_seconds() / 10.0),
        );
        if !self.rest.is_zero() {
            let why = match self.busy {
                0 => "a share of its round trip",
                _ => "it says that it is busy",
            };
            let millis = self.rest.as_secs_f64() * 1000.0;
            words.push_str(&format!("; {millis:.1} ms of rest after an answer, {why}"));
        }
        if let Some(Lowered { percent, times }) = self.lowered {
            let often = counted(times as usize, "time");
            words.push_str(&format!(
                "; {percent} % of what is configured, because the BMC fell silent, restarted or lost its session within \
                 10 s of a burst ({often}); raised slowly, and at once by rackbmc retry"
            ));
        }
        words
    }

    fn note_command(&mut self, now: Instant) {
        while self.lately.front().is_some_and(|at| *at + SECOND <= now) {
            self.lately.pop_front();
        }
        self.lately.push_back(now);
        self.spoken_at = Some(now);
        if self.lately.len() >= CALLED_A_BURST {
            self.burst_at = Some(now);
        }
    }

    fn share(&self) -> f64 {
        self.lowered
            .map_or(1.0, |lowered| f64::from(lowered.percent) / 100.0)
    }

    /// Commands that may leave at once after a rest: at most half of what may leave in ten seconds,
    /// so that the rest of these earns something. A BMC that did not bear a burst gets none: no
    /// more at once than it gets in a second.
    fn depth(&self) -> f64 {
        let all = f64::from(self.burst).min((self.per_second * 5.0).max(1.0));
        match self.lowered {
            None => all,
            Some(_) => (all * self.share())
                .min(self.per_second * self.share())
                .floor()
                .max(1.0),
        }
    }

    fn within_ten_seconds(&self) -> f64 {
        self.per_second * 10.0 * self.share()
    }

    /// What is earned in a second: over ten seconds it is, with the burst, what is configured.
    fn earned_a_second(&self) -> f64 {
        let depth = self.depth();
        // Without a burst all is earned: taken off here, a slow pace once divided by nothing.
        let burst = if depth > 1.0 { depth } else { 0.0 };
        (self.within_ten_seconds() - burst) / 10.0
    }

    fn holds_at(&self, tokens: f64) -> Instant {
        let missing = (tokens - EPSILON - self.tokens).max(0.0) / self.earned_a_second();
        self.counted_at + Duration::from_secs_f64(missing)
    }

    fn count(&mut self, now: Instant) {
        self.raise(now);
        let earned = (now - self.counted_at).as_secs_f64() * self.earned_a_second();
        self.tokens = (self.tokens + earned).min(self.depth());
        self.counted_at = self.counted_at.max(now);
    }

    /// A step up, where nothing happened for long enough.
    fn raise(&mut self, now: Instant) {
        let Some(lowered) = &mut self.lowered else {
            return;
        };
        if now < self.raise_at {
            return;
        }
        lowered.percent = lowered.percent.saturating_add(STEP_PERCENT);
        self.raise_at = now + lowered.patience();
        if lowered.percent >= 100 {
            self.lowered = None;
        }
    }
}

impl Lowered {
    /// How long nothing has to happen before the pace is raised by a step: the longer, the more
    /// often it was too fast.
    fn patience(self) -> Duration {
        RAISE_EVERY * 2u32.pow(self.times.saturating_sub(1).min(5))
    }
}

/// `5`, `2.5`, `0.25`.
fn plain(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// So many commands in one second may be too many for a weak BMC, beside what opened the session.
// A BMC that dies of its fourth command in a second was never asked less while this was higher.
const CALLED_A_BURST: usize = 3;
const SECOND: Duration = Duration::from_secs(1);
/// A look of a task does not wait longer than that after what was said last.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// The rest after an answer is the round trip divided by that.
const SHARE: u32 = 2;
/// Before the looks of a task the rest is the round trip divided by that.
const LOOKING_SHARE: u32 = 8;
/// The rest after an answer "busy", twice and four times as long after the next ones.
const BUSY_REST: Duration = Duration::from_millis(250);
/// What happens to a BMC so soon after a burst is taken for its consequence.
const AFTER_BURST: Duration = Duration::from_secs(10);
/// The pace is not lowered below that share of what is configured.
const LEAST_PERCENT: u8 = 5;
/// Nor below that where the silence may have had another reason.
const LEAST_EXPLAINED: u8 = 25;
/// A pace that was lowered is raised by so much,
const STEP_PERCENT: u8 = 10;
/// each time that nothing happened for so long.
const RAISE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Log-ins that may begin one after another,
const LOG_INS: f64 = 5.0;
/// and the time in which one more may.
const LOG_IN_EVERY: Duration = Duration::from_secs(5);
/// Nanoseconds are rounded on the way through floating point.
const EPSILON: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::after_start(Duration::from_millis(millis))
    }

    fn pace(per_second: f64, burst: u32) -> Pace {
        Pace::new(per_second, burst, None, at(0))
    }

    /// How many commands leave between two moments to somebody who asks again and again.
    fn taken(pace: &mut Pace, turn: Turn, from: u64, until: u64) -> usize {
        (from..until)
            .filter(|millis| pace.take(turn, at(*millis)))
            .count()
    }

    #[test]
    fn ten_leave_at_once_and_fifty_in_any_ten_seconds() {
        let mut pace = pace(5.0, 10);
        let mut all: Vec<u64> = Vec::new();
        for _ in 0..10 {
            assert!(pace.take(Turn::Aside, at(0)));
            all.push(0);
        }
        assert!(!pace.take(Turn::Aside, at(0)));
        all.extend((0..40_000).filter(|millis| pace.take(Turn::Aside, at(*millis))));
        for start in &all {
            let within = all
                .iter()
                .filter(|at| (*start..start + 10_000).contains(at));
            assert!(within.count() <= 50, "from {start}");
        }
        assert!(all.len() > 155, "{}", all.len());
    }

    #[test]
    fn whatever_may_be_configured_goes_on() {
        let lowered = Some(Lowered {
            percent: LEAST_PERCENT,
            times: 3,
        });
        for per_second in [0.01, 0.1, 0.2, 0.3, 1.0, 5.0, 100.0] {
            for (burst, lowered) in [1, 2, 10, 100]
                .map(|burst| [(burst, None), (burst, lowered)])
                .concat()
            {
                let mut pace = Pace::new(per_second, burst, lowered, at(0));
                for _ in 0..200 {
                    let ready = pace.ready_at(Turn::Aside).max(pace.spare_at());
                    let wait = ready.since_start();
                    assert!(
                        wait < Duration::from_secs(30 * 24 * 3600),
                        "{per_second} {burst}"
                    );
                    assert!(pace.take(Turn::Aside, ready), "{per_second} {burst}");
                }
            }
        }
    }

    #[test]
    fn a_narrow_pace_is_what_it_says() {
        let mut pace = pace(0.5, 1);
        assert!(pace.take(Turn::Aside, at(0)));
        assert!(!pace.take(Turn::Aside, at(1_999)));
        assert!(pace.take(Turn::Aside, at(2_000)));
    }

    #[test]
    fn what_acts_does_not_wait_but_those_after_it_do() {
        let mut pace = pace(1.0, 1);
        assert!(pace.take(Turn::Acting, at(0)));
        assert!(pace.take(Turn::Acting, at(0)));
        assert!(!pace.take(Turn::Aside, at(1000)));
        assert!(pace.take(Turn::Aside, at(2000)));
    }

    #[test]
    fn a_look_of_a_task_waits_a_second_at_most() {
        let mut pace = pace(0.1, 1);
        assert!(pace.take(Turn::Looking, at(0)));
        pace.answered(Duration::from_secs(4), false, at(4_000));
        assert!(!pace.take(Turn::Aside, at(5_500)), "half of 4 s");
        assert!(
            !pace.take(Turn::Looking, at(4_499)),
            "an eighth of 4 s, if there were a command left"
        );
        assert!(!pace.take(Turn::Looking, at(4_999)));
        assert!(pace.take(Turn::Looking, at(5_000)));
    }

    #[test]
    fn the_pause_after_an_answer_is_half_a_round_trip_and_longer_for_one_that_is_busy() {
        let mut pace = pace(5.0, 10);
        assert!(pace.take(Turn::Aside, at(0)));
        pace.answered(Duration::from_millis(500), false, at(500));
        assert_eq!(pace.ready_at(Turn::Aside), at(750));
        assert_eq!(
            pace.ready_at(Turn::Looking),
            at(500) + Duration::from_micros(62_500)
        );
        assert!(pace.take(Turn::Acting, at(500)));
        for (from, rest) in [(1000, 250), (2000, 500), (4000, 1000), (6000, 1000)] {
            pace.answered(Duration::from_millis(2), true, at(from));
            assert_eq!(pace.ready_at(Turn::Aside), at(from + rest));
            assert_eq!(pace.ready_at(Turn::Looking), at(from + rest));
        }
        pace.answered(Duration::from_millis(2), false, at(9000));
        let rest = pace.ready_at(Turn::Aside) - at(9000);
        assert!(rest < Duration::from_millis(100), "{rest:?}");
    }

    #[test]
    fn what_is_spare_leaves_one_command_for_an_order() {
        let mut wide = pace(1.0, 3);
        assert!(wide.take_spare(at(0)) && wide.take_spare(at(0)) && !wide.take_spare(at(0)));
        assert!(wide.take(Turn::Aside, at(0)));
        let mut narrow = pace(1.0, 1);
        assert!(narrow.take_spare(at(0)) && !narrow.take_spare(at(999)));
    }

    #[test]
    fn silence_after_a_burst_halves_the_pace_and_silence_alone_does_not() {
        let mut pace = pace(5.0, 10);
        taken(&mut pace, Turn::Aside, 0, 2);
        assert!(!pace.fell_over(false, at(5)), "two are no burst");
        taken(&mut pace, Turn::Aside, 100, 110);
        pace.answered(Duration::from_millis(1), false, at(120));
        assert!(pace.fell_over(false, at(15_000)), "silent since then");
        assert!(!pace.fell_over(false, at(15_001)), "counted once");
        let half = Lowered {
            percent: 50,
            times: 1,
        };
        assert_eq!(pace.lowered(), Some(half));
        let most = (60..100)
            .map(|second| taken(&mut pace, Turn::Aside, second * 1000, second * 1000 + 1000))
            .max();
        assert!(most <= Some(4), "{most:?} in a second");
        pace.answered(Duration::from_millis(1), false, at(150_000));
        taken(&mut pace, Turn::Aside, 200_000, 210_000);
        pace.answered(Duration::from_millis(1), false, at(230_000));
        assert!(!pace.fell_over(false, at(230_000)), "too long after");
    }

    #[test]
    fn silence_that_a_change_of_power_explains_halves_twice_only() {
        let mut pace = pace(5.0, 10);
        for (at_millis, explained, lowers) in [
            (0, true, true),
            (1000, true, true),
            (2000, true, false),
            (3000, false, true),
        ] {
            taken(&mut pace, Turn::Acting, at_millis, at_millis + 10);
            assert_eq!(pace.fell_over(explained, at(at_millis + 20)), lowers);
        }
        assert_eq!(pace.lowered().map(|lowered| lowered.percent), Some(12));
    }

    #[test]
    fn a_lowered_pace_is_raised_by_a_tenth_a_day_and_more_slowly_after_the_second_time() {
        let day = 24 * 3600 * 1000;
        let once = Lowered {
            percent: 50,
            times: 1,
        };
        let mut pace = Pace::new(5.0, 10, Some(once), at(0));
        pace.take(Turn::Aside, at(day - 1));
        assert_eq!(pace.lowered(), Some(once));
        for days in 1..=5 {
            pace.take(Turn::Aside, at(days * day));
        }
        assert_eq!(pace.lowered(), None);
        let twice = Lowered {
            percent: 50,
            times: 2,
        };
        let mut pace = Pace::new(5.0, 10, Some(twice), at(0));
        pace.take(Turn::Aside, at(day));
        assert_eq!(pace.lowered(), Some(twice));
        pace.take(Turn::Aside, at(2 * day));
        assert_eq!(pace.lowered().map(|lowered| lowered.percent), Some(60));
    }

    #[test]
    fn five_log_ins_at_once_and_then_one_every_five_seconds_but_tasks_wait_a_second() {
        let mut pace = pace(5.0, 10);
        assert!((0..5).all(|_| pace.take_log_in(Turn::Aside, at(0))));
        assert!(!pace.take_log_in(Turn::Looking, at(999)));
        assert!(pace.take_log_in(Turn::Acting, at(1000)));
        assert!(!pace.take_log_in(Turn::Aside, at(5000)));
        assert!(pace.take_log_in(Turn::Aside, at(10_001)));
    }

    #[test]
    fn it_says_what_it_is_and_why() {
        let mut pace = pace(5.0, 10);
        let usual = "at most 10 commands after a rest, and 5 a second over ten seconds";
        assert_eq!(pace.in_words(), usual);
        pace.answered(Duration::from_millis(500), false, at(0));
        let slow = format!("{usual}; 250.0 ms of rest after an answer, a share of its round trip");
        assert_eq!(pace.in_words(), slow);
        taken(&mut pace, Turn::Acting, 1000, 1010);
        pace.fell_over(false, at(1020));
        let words = pace.in_words();
        assert!(
            words.starts_with("at most 2 commands after a rest, and 2.5 a second"),
            "{words}"
        );
        assert!(words.contains("50 % of what is configured, because the BMC fell silent"));
    }
}
