//! The orders of one BMC that have no report yet, in the order in which they get their turn.
//!
//! Driven by the rest of `bmc`. An order that reads with many commands goes back into the queue
//! after each of them, so that what acts, and what a task wants to know, never waits for more than
//! one command of it.

use super::Bmc;
use super::pace::Turn;
use super::report::silence;
use super::script::Script;
use super::vocabulary::{Order, OrderId, Report};
use crate::ipmi::CompletionCode;
use crate::model::{Delivery, Trouble};
use crate::session::{Fifo, RequestId, Withdrawn};
use crate::time::Instant;
use std::time::Duration;

/// What an order is for. It decides, with the order itself, who goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    /// A task is about to change the machine's power, and this has to be known before.
    Change,
    /// A task watches the machine.
    Task,
    /// The power state is wanted: by the regular reading, or by somebody who does not want an old
    /// one.
    PowerState,
    /// Anything else that somebody asked for.
    Aside,
}

impl Purpose {
    /// How long the whole order may take, its time in the queue included. A task has deadlines of
    /// its own.
    pub(super) fn patience(self) -> Option<Duration> {
        match self {
            Self::Change | Self::Task | Self::PowerState => None,
            Self::Aside => Some(WHOLE_PATIENCE),
        }
    }
}

/// An order without a report yet, and how far it has come.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: OrderId,
    pub(super) order: Order,
    pub(super) purpose: Purpose,
    pub(super) script: Script,
    /// Whether it had its turn already.
    pub(super) begun: bool,
    /// Whether a datagram of any of its commands was handed to the network.
    pub(super) sent: bool,
    /// How many datagrams of its present command were handed to the network and have no answer.
    pub(super) unanswered: u32,
    /// How often its present command was begun anew in another session.
    pub(super) renewals: u32,
    /// Whether the session's level was asked for again for its sake.
    pub(super) leveled: bool,
    /// How often in a row the BMC was too busy for its present command.
    pub(super) setbacks: u32,
    /// When its next command may leave at the soonest.
    pub(super) not_before: Instant,
    /// When it was asked for.
    pub(super) asked_at: Instant,
    /// When the whole of it has to be over.
    pub(super) until: Option<Instant>,
}

impl Job {
    pub(super) fn new(id: OrderId, order: Order, purpose: Purpose, now: Instant) -> Self {
        Self {
            id,
            script: Script::begin(&order),
            order,
            purpose,
            begun: false,
            sent: false,
            unanswered: 0,
            renewals: 0,
            leveled: false,
            setbacks: 0,
            not_before: now,
            asked_at: now,
            until: purpose.patience().map(|patience| now + patience),
        }
    }

    /// The least goes first. What changes something is carried through once it was begun.
    fn rank(&self) -> (bool, bool, Purpose) {
        let carried_through = self.begun && !self.gives_way();
        // A setting that stops half-way, a boot device without its reading back, would help nobody.
        (!carried_through, !self.acts(), self.purpose)
    }

    /// How long after an answer that the BMC is too busy its command is sent again, if it is. A
    /// task decides that by itself, after a look, but for the one more try that FFh deserves: no
    /// reason was given.
    pub(super) fn next_try(&self, completion: CompletionCode) -> Option<Duration> {
        let (tries, pause) = match self.purpose {
            Purpose::Change | Purpose::Task if completion == CompletionCode::UNSPECIFIED => {
                (1, Duration::ZERO)
            }
            Purpose::Change | Purpose::Task => (0, Duration::ZERO),
            Purpose::PowerState | Purpose::Aside
                if completion.is_erasing(self.script.request().net_fn) =>
            {
                // An erasing that another console began takes longer than two seconds.
                (ERASING, BUSY_PAUSE)
            }
            // Tasks have patience of their own; these have two more tries.
            Purpose::PowerState | Purpose::Aside => (2, BUSY_PAUSE),
        };
        (self.setbacks < tries).then_some(pause)
    }

    /// What is known of it where it is given up before its next command leaves: it was answered
    /// D4h, which says that nothing was carried out, FFh, which says nothing, or not at all.
    pub(super) fn delivery(&self) -> Delivery {
        match self.unanswered > 0 || self.setbacks > 0 {
            true => Delivery::Unknown,
            false => Delivery::NotSent,
        }
    }

    /// Whether it changes the machine's power.
    pub(super) fn acts(&self) -> bool {
        self.order.changes_power()
    }

    /// Whether it may change anything, so that another machine than the node's is not to get it.
    pub(super) fn touches(&self) -> bool {
        self.order.acts()
    }

    /// How urgent it is by itself.
    pub(super) fn turn(&self) -> Turn {
        match (self.acts(), self.purpose) {
            (true, _) => Turn::Acting,
            (false, Purpose::Change | Purpose::Task) => Turn::Looking,
            (false, Purpose::PowerState | Purpose::Aside) => Turn::Aside,
        }
    }

    /// Whether others may go first after each of its commands: it only reads.
    pub(super) fn gives_way(&self) -> bool {
        self.order.only_reads()
    }
}

/// The order under way.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) job: Job,
    /// The command that waits for its answer.
    pub(super) request: RequestId,
    pub(super) asked_at: Instant,
}

/// An order that was reported unanswered, and may be answered yet.
#[derive(Debug)]
pub(super) struct Overdue {
    pub(super) job: Job,
    pub(super) request: RequestId,
}

/// How many of these are remembered.
pub(super) const OVERDUE: usize = 4;

/// The orders that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: Fifo<Job>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// A new order: behind all that are as urgent.
    pub(super) fn push(&mut self, job: Job) {
        let rank = job.rank();
        // Among equals who asked first goes first.
        let behind = self.jobs.iter().take_while(|other| other.rank() <= rank);
        self.jobs.insert(behind.count(), job);
    }

    /// An order that had its turn already: before all that are as urgent.
    pub(super) fn put_back(&mut self, job: Job) {
        let rank = job.rank();
        // A reading of many commands ends before the next one begins.
        let before = self.jobs.iter().take_while(|other| other.rank() < rank);
        self.jobs.insert(before.count(), job);
    }

    /// The order whose turn it is.
    pub(super) fn next(&self, now: Instant) -> Option<&Job> {
        self.jobs.iter().find(|job| job.not_before <= now)
    }

    /// For whom the next command leaves: what goes first goes as soon as the most urgent of those
    /// behind it may, so that an order that is carried through keeps none that acts waiting for the
    /// pace.
    fn turn(&self) -> Option<Turn> {
        self.jobs.iter().map(Job::turn).min()
    }

    /// Takes the order whose turn it is.
    pub(super) fn take_next(&mut self, now: Instant) -> Option<Job> {
        let at = self.jobs.iter().position(|job| job.not_before <= now)?;
        self.jobs.remove(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    pub(super) fn take(&mut self, id: OrderId) -> Option<Job> {
        let at = self.jobs.iter().position(|job| job.id == id)?;
        self.jobs.remove(at)
    }

    /// Takes the orders that change the machine's power.
    pub(super) fn take_acting(&mut self) -> Vec<Job> {
        self.take_those(Job::acts)
    }

    /// Takes the orders that change the machine or its BMC.
    pub(super) fn take_touching(&mut self) -> Vec<Job> {
        self.take_those(Job::touches)
    }

    fn take_those(&mut self, which: fn(&Job) -> bool) -> Vec<Job> {
        let (taken, left): (Fifo<Job>, _) = self.take_all().into_iter().partition(which);
        self.jobs = left;
        taken.into_iter().collect()
    }

    pub(super) fn take_all(&mut self) -> Fifo<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// Takes the orders whose time is over.
    fn take_late(&mut self, over_at: OverAt, now: Instant) -> Vec<Job> {
        let late = |job: &Job| over_at(job).is_some_and(|until| until <= now);
        let (gone, left): (Fifo<Job>, _) = self.take_all().into_iter().partition(late);
        self.jobs = left;
        gone.into_iter().collect()
    }

    /// Whether an order that acts waits.
    pub(super) fn wants_to_act(&self) -> bool {
        self.jobs.front().is_some_and(Job::acts)
    }
}

impl Bmc {
    /// Hands the next command of the order whose turn it is to the session, if the pace allows it.
    pub(super) fn begin_next(&mut self, now: Instant) {
        // Before the pace is asked: what may not leave takes nobody's turn.
        self.refuse_for_identity(now);
        if self.lacks_level(now) || self.lacks_identity(now) {
            return;
        }
        let Some(turn) = self.queue.turn().filter(|_| self.queue.next(now).is_some()) else {
            return;
        };
        if self.keepalive_holds(turn).is_some_and(|until| now < until) || !self.pace.take(turn, now)
        {
            return;
        }
        // Power does not wait for the answer to a keep-alive, which may never come.
        if let Some((request, _)) = self.keepalive.take_if(|_| turn == Turn::Acting) {
            self.session.withdraw(request);
        }
        let Some(mut job) = self.queue.take_next(now) else {
            return;
        };
        self.cancel_inquiry();
        job.begun = true;
        self.used_at = now;
        self.current = Some(Box::new(Current {
            request: self.session.request(job.script.request(), now),
            asked_at: now,
            job,
        }));
    }

    /// When the next command may leave, or the one under way gives way.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        // The answer that is waited for begins the next turn by itself.
        if !self.is_open() || self.level_request.is_some() || self.is_doubting() {
            return None;
        }
        if self.current.is_some() {
            return self.gives_way_at();
        }
        let turn = self.queue.turn()?;
        let first = self.queue.iter().map(|job| job.not_before).min();
        first
            .into_iter()
            .chain([self.pace.ready_at(turn)])
            .chain(self.keepalive_holds(turn))
            .max()
    }

    /// Until when what acts waits for the answer to a keep-alive. Whatever else is asked waits
    /// behind that in the session.
    fn keepalive_holds(&self, turn: Turn) -> Option<Instant> {
        let (_, asked_at) = self.keepalive?;
        (turn == Turn::Acting).then(|| asked_at + self.one_round_trip())
    }

    /// How long an answer that only tells something is waited for while something waits to act.
    pub(super) fn one_round_trip(&self) -> Duration {
        let usual = self.session.statistics().round_trip;
        usual.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    /// When the reading under way is taken back for what waits to act: an answer that did not come
    /// within one round trip may never come, and power must not wait for that.
    fn gives_way_at(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        (self.queue.wants_to_act() && current.job.gives_way())
            .then(|| current.asked_at + self.one_round_trip())
    }

    pub(super) fn give_way(&mut self, now: Instant) {
        if self.gives_way_at().is_some_and(|at| at <= now)
            && let Some(job) = self.take_current_back(now)
        {
            self.queue.put_back(job);
        }
    }

    /// Takes the command under way back: nothing more of it leaves, and its answer will be
    /// nobody's.
    pub(super) fn take_current_back(&mut self, now: Instant) -> Option<Job> {
        let Current {
            mut job, request, ..
        } = *self.current.take()?;
        let withdrawn = self.session.withdraw(request);
        job.sent |= matches!(withdrawn, Withdrawn::Sent { .. });
        self.used_at = now;
        Some(job)
    }

    /// How long an order may take. While a log-in goes on though those who waited for it were told,
    /// only tasks wait for its end.
    fn over_at(&self) -> OverAt {
        match self.is_trying() {
            true => |job| match job.purpose {
                Purpose::Change | Purpose::Task => None,
                // A BMC may take a minute and a half to log in to; whoever asks is told within 5 s.
                Purpose::PowerState | Purpose::Aside => Some(job.asked_at + TOLD_WITHIN),
            },
            false => |job| job.until,
        }
    }

    /// When the first order is to be over.
    pub(super) fn first_late(&self) -> Option<Instant> {
        let current = self.current.iter().map(|current| &current.job);
        let over_at = self.over_at();
        current.chain(self.queue.iter()).filter_map(over_at).min()
    }

    /// Ends the orders whose time is over: with what they have, where that is of use.
    pub(super) fn end_late(&mut self, now: Instant) {
        let over_at = self.over_at();
        let mut late = self.queue.take_late(over_at, now);
        let current = self.current.as_ref().and_then(|c| over_at(&c.job));
        if current.is_some_and(|until| until <= now) {
            late.extend(self.take_current_back(now));
        }
        for mut job in late {
            let (trouble, text) = self.why_late();
            let delivery = match job.sent {
                true => Delivery::Unknown,
                false => Delivery::NotSent,
            };
            let report = job
                .script
                .so_far(&text)
                .map(Report::Accepted)
                .unwrap_or_else(|| silence(delivery, trouble, &text));
            self.report(job.id, report);
        }
    }

    fn why_late(&self) -> (Trouble, String) {
        let trying = self.breaker.in_the_way().filter(|_| self.is_trying());
        let waited = WHOLE_PATIENCE.as_secs();
        let text = match self.is_open() {
            true => format!(
                "not over within {waited} s: the BMC is slow, or what is more urgent went first"
            ),
            false => format!("no session with the BMC within {waited} s"),
        };
        trying.unwrap_or((Trouble::Busy, text))
    }
}

/// When an order has to be over, if ever.
type OverAt = fn(&Job) -> Option<Instant>;

/// How long a busy BMC is left alone before it is asked again.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// How often a BMC that erases its event log is asked again.
const ERASING: u32 = 10;
/// How long a reading is waited for at most while something waits to act.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long an order outside of tasks may take as a whole: its caller hears what there is before it
/// goes away.
const WHOLE_PATIENCE: Duration = Duration::from_secs(25);
/// Who asks in the middle of a log-in that takes long hears so within that time.
const TOLD_WITHIN: Duration = Duration::from_millis(4500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_goes_first_then_what_tasks_want_to_know_then_the_power_state() {
        let now = Instant::default();
        let mut queue = Queue::default();
        for (id, order, purpose) in [
            (1, Order::ReadEventLog(1), Purpose::Aside),
            (2, Order::ReadPower, Purpose::PowerState),
            (3, Order::ReadPower, Purpose::Task),
            (4, Order::PowerOff, Purpose::Task),
            (5, Order::ReadGuid, Purpose::Aside),
        ] {
            queue.push(Job::new(OrderId(id), order, purpose, now));
        }
        let again = queue.take(OrderId(5)).unwrap();
        queue.put_back(again);
        let turns: Vec<u64> = queue.iter().map(|job| job.id.0).collect();
        assert_eq!(turns, [4, 3, 2, 5, 1]);
    }
}
