//! A machine behind a BMC, reduced to what a sequence can see of it, and the loop that `rack` would
//! run.

use crate::bmc::vocabulary::{
    self, EventLogEntry, Order, OrderId, Reading, RefusalKind, Report, Sign, Silence,
};
use crate::model::{Control, Delivery, Operation, Power, RestartCause, TaskState, Trouble};
use crate::power::{Outcome, Refusal, Saved, Sequence, SequenceRecord, Settings};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What an order meets instead of a normal answer.
#[derive(Clone, Debug)]
pub(super) enum Mishap {
    /// The BMC says no.
    Refuse(u8, RefusalKind),
    /// It never left.
    NotSent,
    /// It left and was lost.
    Lost,
    /// It was carried out, the answer was lost.
    AnswerLost,
    /// A boot device is taken, and cannot be read back.
    NotReadBack,
}

/// The machine and its BMC.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub power: Power,
    /// The operating system goes down so long after the request; `None` hangs.
    pub obeys: Option<Duration>,
    /// A machine that went down comes back by itself after so long, once.
    pub comes_back: Option<Duration>,
    /// Readings are so old.
    pub stale: Duration,
    /// The BMC does not answer between these moments, and carries nothing out.
    pub deaf: Vec<(Instant, Instant)>,
    /// Readings of the power state are refused between these moments.
    pub refuses: Option<(Instant, Instant, u8, RefusalKind)>,
    pub cause: Option<RestartCause>,
    pub log: Vec<EventLogEntry>,
    /// What the next orders that change power meet, in their turn.
    pub mishaps: VecDeque<Mishap>,
    /// What the next settings of the boot device meet, in their turn.
    pub boot_mishaps: VecDeque<Mishap>,
    /// Levels are accepted and forgotten so many times.
    pub ignores: u32,
    /// A cycle switches it off and on again so long after the order; `None`: it is accepted, and
    /// nothing happens.
    pub cycles: Option<(Duration, Duration)>,
    /// An NMI makes it crash: entry in the log, restart cause.
    pub crashes: bool,
    /// What is under way goes on, whatever level is ordered meanwhile.
    pub heedless: bool,
    /// What was carried out, and when.
    pub carried_out: Vec<(Instant, Order)>,
    changes: Vec<(Instant, Power)>,
    history: Vec<(Instant, Power)>,
}

impl Machine {
    fn new(power: Power) -> Self {
        Self {
            power,
            obeys: Some(secs(20)),
            comes_back: None,
            stale: Duration::ZERO,
            deaf: Vec::new(),
            refuses: None,
            cause: Some(RestartCause::PowerButton),
            log: Vec::new(),
            mishaps: VecDeque::new(),
            boot_mishaps: VecDeque::new(),
            ignores: 0,
            cycles: Some((secs(2), secs(7))),
            crashes: false,
            heedless: false,
            carried_out: Vec::new(),
            changes: Vec::new(),
            history: vec![(Instant::START, power)],
        }
    }

    fn pass(&mut self, now: Instant) {
        self.changes.sort_by_key(|(at, _)| *at);
        while let Some((at, power)) = self.changes.first().copied().filter(|(at, _)| *at <= now) {
            self.changes.remove(0);
            self.set(power, at);
            if power == Power::Off
                && let Some(after) = self.comes_back.take()
            {
                self.changes.push((at + after, Power::On));
                self.changes.sort_by_key(|(at, _)| *at);
            }
        }
    }

    fn next_change(&self) -> Option<Instant> {
        self.changes.iter().map(|(at, _)| *at).min()
    }

    fn set(&mut self, power: Power, at: Instant) {
        self.power = power;
        self.history.push((at, power));
    }

    /// Somebody presses a button.
    pub(super) fn press(&mut self, power: Power, now: Instant) {
        self.changes.clear();
        self.set(power, now);
    }

    fn visible(&self, now: Instant) -> Power {
        let seen_at = Instant::after_start(now.since_start().saturating_sub(self.stale));
        self.history
            .iter()
            .rev()
            .find(|(at, _)| *at <= seen_at)
            .map_or(self.history[0].1, |(_, power)| *power)
    }

    fn is_deaf(&self, now: Instant) -> bool {
        self.deaf.iter().any(|(from, to)| *from <= now && now < *to)
    }

    fn carry_out(&mut self, order: &Order, now: Instant) {
        self.carried_out.push((now, order.clone()));
        match order {
            Order::PowerOn | Order::PowerOff if self.ignores > 0 => self.ignores -= 1,
            Order::PowerOn => self.change_level(Power::On, now + secs(2)),
            Order::PowerOff => self.change_level(Power::Off, now + secs(1)),
            Order::SoftOff => {
                if let Some(after) = self.obeys
                    && self.power == Power::On
                {
                    self.changes.push((now + after, Power::Off));
                }
            }
            Order::Cycle => {
                if let Some((off, on)) = self.cycles {
                    self.changes = vec![(now + off, Power::Off), (now + on, Power::On)];
                    self.cause = self.cause.map(|_| RestartCause::ChassisControl);
                }
            }
            Order::Reset => self.cause = self.cause.map(|_| RestartCause::ChassisControl),
            Order::Nmi if self.crashes => {
                let id = u16::try_from(self.log.len()).expect("a short log") + 1;
                self.add_entry(id, "OS stop: run-time critical stop", Sign::Crash);
            }
            _ => {}
        }
    }

    fn change_level(&mut self, power: Power, at: Instant) {
        if !self.heedless {
            self.changes.clear();
        }
        self.changes.push((at, power));
    }

    /// What somebody ordered takes effect then.
    pub(super) fn changes_at(&mut self, power: Power, at: Instant) {
        self.changes.push((at, power));
    }

    pub(super) fn add_entry(&mut self, id: u16, text: &str, sign: Sign) {
        self.add_entry_of(id, text, sign, false);
    }

    /// An entry that may name something else than a chassis control.
    pub(super) fn add_entry_of(&mut self, id: u16, text: &str, sign: Sign, by_other: bool) {
        if let Some(last) = self.log.last_mut() {
            last.next = id;
        }
        self.log.push(EventLogEntry {
            id,
            next: 0xFFFF,
            timestamp: 1000 + u32::from(id),
            text: text.to_owned(),
            sign,
            by_other,
        });
    }

    fn answer(&self, order: &Order, now: Instant) -> Report {
        let reading = match order {
            Order::ReadPower => match self.refuses {
                Some((from, to, code, kind)) if from <= now && now < to => {
                    return refused(code, kind);
                }
                _ => Reading::Power(self.visible(now)),
            },
            Order::ReadRestartCause => match self.cause {
                Some(cause) => Reading::RestartCause(cause),
                None => return refused(0xC1, RefusalKind::NotSupported),
            },
            Order::ReadEventLogInfo => Reading::EventLogInfo {
                entries: u16::try_from(self.log.len()).expect("a short log"),
                last_added: self.log.last().map_or(0, |entry| entry.timestamp),
            },
            Order::ReadEventLogEntry(id) => {
                let entry = match id {
                    0 => self.log.first(),
                    0xFFFF => self.log.last(),
                    id => self.log.iter().find(|entry| entry.id == *id),
                };
                match entry {
                    Some(entry) => Reading::EventLogEntry(entry.clone()),
                    None => return refused(0xCB, RefusalKind::Failed),
                }
            }
            Order::SetBootDevice {
                device,
                persistent,
                uefi,
            } => Reading::BootDevice {
                device: *device,
                persistent: *persistent,
                uefi: *uefi,
            },
            _ => Reading::Done,
        };
        Report::Accepted(reading)
    }
}

pub(super) fn refused(code: u8, kind: RefusalKind) -> Report {
    Report::Refused(vocabulary::Refusal {
        code,
        kind,
        text: format!("{kind:?}"),
        unanswered: 0,
    })
}

pub(super) fn silent(delivery: Delivery, trouble: Trouble) -> Report {
    Report::Unanswered(Silence {
        delivery,
        trouble,
        text: format!("no answer ({trouble:?})"),
    })
}

/// An order on its way.
#[derive(Clone, Debug)]
struct Way {
    id: OrderId,
    order: Order,
    /// When its first packet is handed to the network.
    leaves: Instant,
    handed: bool,
    answers: Instant,
    report: Option<Report>,
}

/// The sequence, the machine and the time.
pub(super) struct World {
    pub now: Instant,
    pub machine: Machine,
    pub sequence: Sequence,
    /// How long an answer takes.
    pub round_trip: Duration,
    /// How long an order waits before it leaves.
    pub queueing: Duration,
    /// Every order that was polled.
    pub polled: Vec<(Instant, Order)>,
    /// Every power reading that the sequence was told, with its order's moment.
    pub told: Vec<(Instant, Power)>,
    way: Option<Way>,
    next_id: u64,
}

impl World {
    pub(super) fn new(operation: Operation, power: Power, settings: Settings) -> Self {
        Self {
            now: Instant::after_start(secs(100)),
            machine: Machine::new(power),
            sequence: Sequence::new(operation, settings),
            round_trip: Duration::from_millis(50),
            queueing: Duration::ZERO,
            polled: Vec::new(),
            told: Vec::new(),
            way: None,
            next_id: 1,
        }
    }

    /// A world in which the operation has just begun.
    pub(super) fn begun(operation: Operation, power: Power) -> Self {
        let mut world = Self::new(operation, power, Settings::default());
        world.sequence.begin(world.now);
        world
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Runs until the task has ended.
    pub(super) fn run_to_end(&mut self) -> Outcome {
        let latest = self.now + secs(4000);
        while self.sequence.outcome().is_none() {
            let before = self.now;
            self.run_until(self.now + secs(1));
            assert!(
                before < latest,
                "it must end: {:?} {:?}",
                self.sequence.state(),
                self.sequence.progress(self.now)
            );
        }
        self.outcome()
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.sequence.outcome().expect("ended").clone()
    }

    pub(super) fn control(&mut self, control: Control) -> Result<(), Refusal> {
        let result = self.sequence.control(control, "alice", self.now);
        self.settle();
        result
    }

    pub(super) fn run_until(&mut self, to: Instant) {
        self.settle();
        let mut idle = 0;
        while self.now < to {
            let way = self.way.as_ref().map(|way| {
                if way.report.is_some() {
                    way.answers
                } else {
                    way.leaves.min(way.answers)
                }
            });
            let next = [
                self.sequence.poll_timeout(),
                way,
                self.machine.next_change(),
                Some(to),
            ]
            .into_iter()
            .flatten()
            .min()
            .expect("at least the end")
            .max(self.now);
            idle = if next == self.now { idle + 1 } else { 0 };
            assert!(
                idle < 100,
                "it spins at {next:?}: {:?}",
                self.sequence.state()
            );
            self.now = next;
            self.settle();
        }
    }

    /// Everything that is due now.
    pub(super) fn settle(&mut self) {
        self.machine.pass(self.now);
        self.leave();
        if let Some(way) = self.way.take_if(|way| way.answers <= self.now) {
            let report = way.report.expect("every order that left has its report");
            if let Report::Accepted(Reading::Power(power)) = report {
                self.told.push((self.now, power));
            }
            self.sequence.handle_report(way.id, report, self.now);
        }
        self.sequence.handle_timeout(self.now);
        for _ in 0..20 {
            let mut quiet = true;
            while let Some(id) = self.sequence.withdrawn() {
                quiet = false;
                if let Some(way) = self.way.take_if(|way| way.id == id) {
                    let delivery = if way.handed {
                        Delivery::Unknown
                    } else {
                        Delivery::NotSent
                    };
                    self.sequence
                        .handle_report(id, silent(delivery, Trouble::Withdrawn), self.now);
                }
            }
            let id = OrderId(self.next_id);
            if let Some(order) = self.sequence.poll_order(id) {
                quiet = false;
                assert!(
                    self.way.is_none(),
                    "one order at a time: {order:?} beside {:?}",
                    self.way
                );
                self.next_id += 1;
                self.polled.push((self.now, order.clone()));
                self.way = Some(Way {
                    id,
                    order,
                    leaves: self.now + self.queueing,
                    handed: false,
                    answers: self.now + self.queueing + self.round_trip,
                    report: None,
                });
                self.leave();
            }
            if quiet {
                return;
            }
        }
        panic!("it gives orders without end");
    }

    /// The order on its way leaves, if it is time: the machine does what it does, and its answer is
    /// made.
    fn leave(&mut self) {
        let Some(way) = &mut self.way else { return };
        if way.report.is_some() || way.leaves > self.now {
            return;
        }
        let mishap = match way.order {
            Order::SetBootDevice { .. } => self.machine.boot_mishaps.pop_front(),
            ref order if order.changes_power() => self.machine.mishaps.pop_front(),
            _ => None,
        };
        let lost = silent(Delivery::Unknown, Trouble::Silent);
        if self.machine.is_deaf(self.now) {
            way.report = Some(lost);
            way.answers = self.now + secs(4);
        } else {
            way.report = Some(match mishap {
                Some(Mishap::Refuse(code, kind)) => refused(code, kind),
                Some(Mishap::NotSent) => {
                    way.report = Some(silent(Delivery::NotSent, Trouble::SessionsFull));
                    return;
                }
                Some(Mishap::Lost) => {
                    way.answers = self.now + secs(4);
                    lost
                }
                Some(Mishap::NotReadBack) => Report::Accepted(Reading::Done),
                Some(Mishap::AnswerLost) => {
                    self.machine.carry_out(&way.order, self.now);
                    way.answers = self.now + secs(4);
                    lost
                }
                None => {
                    if way.order.changes_power() {
                        self.machine.carry_out(&way.order, self.now);
                    }
                    self.machine.answer(&way.order, self.now)
                }
            });
        }
        way.handed = true;
        self.sequence.handle_sent(way.id, self.now);
    }

    /// Kills the daemon and starts it again after `away`, on a clock that starts anew.
    pub(super) fn restart(&mut self, away: Duration) {
        let expected = self.sequence.save(self.now);
        let json = serde_json::to_string(&self.sequence.record(self.now)).expect("serialises");
        let record: SequenceRecord = serde_json::from_str(&json).expect("deserialises");
        let saved = Saved::from(record);
        assert_eq!(saved, expected, "nothing is lost in JSON");
        // What had not left by now never will, and an answer finds nobody.
        self.way = None;
        self.now += away;
        self.machine.pass(self.now);
        self.sequence = Sequence::restore(saved.after_absence(away), self.now);
        self.next_id += 1000;
        self.settle();
    }

    /// How often the machine carried it out.
    pub(super) fn times(&self, order: &Order) -> usize {
        self.machine
            .carried_out
            .iter()
            .filter(|(_, carried_out)| carried_out == order)
            .count()
    }

    /// The orders that change power, as they were polled.
    pub(super) fn changing(&self) -> Vec<Order> {
        self.polled
            .iter()
            .map(|(_, order)| order.clone())
            .filter(Order::changes_power)
            .collect()
    }

    pub(super) fn state(&self) -> TaskState {
        self.sequence.state()
    }
}
