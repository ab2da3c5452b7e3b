//! Every (operation, phase, input) pair is decided: a walk through all phases that can be reached,
//! trying every input in each of them.

use super::world::{refused, secs, silent};
use crate::bmc::vocabulary::{EventLogEntry, Order, OrderId, Reading, RefusalKind, Report, Sign};
use crate::model::{
    Control, Delivery, OnSoftTimeout, Operation, Power, RestartCause, TaskState, Trouble,
};
use crate::power::sequence::phase::{Next, Phase};
use crate::power::{Sequence, SequenceRecord, Settings};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A place in the walk: the sequence, the moment, and the order that is outstanding there.
#[derive(Clone)]
struct Place {
    sequence: Sequence,
    now: Instant,
    outstanding: Option<(OrderId, Order)>,
    next_id: u64,
    path: Vec<String>,
}

#[derive(Clone, Debug)]
enum Input {
    Begin,
    Report(Report),
    Sent,
    /// At the moment that it asked for.
    Timeout,
    /// A long time later.
    MuchLater,
    Observe(Power),
    Control(Control),
    Hold(bool),
    Restart,
}

fn inputs(order: Option<&Order>) -> Vec<Input> {
    let mut inputs = vec![
        Input::Begin,
        Input::Sent,
        Input::Timeout,
        Input::MuchLater,
        Input::Observe(Power::On),
        Input::Observe(Power::Off),
        Input::Hold(true),
        Input::Hold(false),
        Input::Restart,
    ];
    inputs.extend(Control::ALL.map(Input::Control));
    let Some(order) = order else { return inputs };
    let entry = |id, next, sign| EventLogEntry {
        id,
        next,
        timestamp: 1,
        text: "entry".to_owned(),
        sign,
        by_other: false,
    };
    let accepted = match order {
        Order::ReadPower => vec![
            Reading::Power(Power::On),
            Reading::Power(Power::Off),
            Reading::Done,
        ],
        Order::ReadRestartCause => vec![
            Reading::RestartCause(RestartCause::PowerButton),
            Reading::RestartCause(RestartCause::ChassisControl),
        ],
        Order::ReadEventLogInfo => vec![
            Reading::EventLogInfo {
                entries: 0,
                last_added: 0,
            },
            Reading::EventLogInfo {
                entries: 1,
                last_added: 1,
            },
            Reading::EventLogInfo {
                entries: 2,
                last_added: 2,
            },
        ],
        Order::ReadEventLogEntry(_) => vec![
            Reading::EventLogEntry(entry(1, 2, Sign::Interrupt)),
            Reading::EventLogEntry(entry(2, 0xFFFF, Sign::None)),
            Reading::EventLogEntry(entry(3, 0xFFFF, Sign::Crash)),
            Reading::EventLogEntry(entry(4, 4, Sign::Restart)),
        ],
        _ => vec![Reading::Done],
    };
    inputs.extend(
        accepted
            .into_iter()
            .map(|reading| Input::Report(Report::Accepted(reading))),
    );
    for (code, kind) in [
        (0xC0, RefusalKind::Busy),
        (0xC3, RefusalKind::Busy),
        (0xD1, RefusalKind::Updating),
        (0xC1, RefusalKind::NotSupported),
        (0xC1, RefusalKind::Doubted),
        (0xD5, RefusalKind::NotInPresentState),
        (0xD4, RefusalKind::NotPermitted),
        (0xFF, RefusalKind::Failed),
        (0x55, RefusalKind::Failed),
    ] {
        inputs.push(Input::Report(refused(code, kind)));
    }
    for (delivery, trouble) in [
        (Delivery::NotSent, Trouble::BreakerOpen),
        (Delivery::NotSent, Trouble::WrongPassword),
        (Delivery::Unknown, Trouble::Silent),
        (Delivery::Unknown, Trouble::Withdrawn),
    ] {
        inputs.push(Input::Report(silent(delivery, trouble)));
    }
    inputs
}

impl Place {
    /// The place after the input; `None` where it does not apply.
    fn after(&self, input: &Input) -> Option<Self> {
        let mut place = self.clone();
        place.path.push(format!("{input:?}"));
        let sequence = &mut place.sequence;
        match input {
            Input::Begin => sequence.begin(place.now),
            Input::Report(report) => {
                let (id, _) = place.outstanding.take()?;
                place.now += Duration::from_millis(50);
                sequence.handle_report(id, report.clone(), place.now);
            }
            Input::Sent => {
                let (id, _) = place.outstanding.as_ref()?;
                sequence.handle_sent(*id, place.now);
            }
            Input::Timeout => {
                place.now = sequence.poll_timeout()?;
                sequence.handle_timeout(place.now);
            }
            Input::MuchLater => {
                place.now += secs(5000);
                sequence.handle_timeout(place.now);
            }
            Input::Observe(power) => sequence.observe_power(*power, place.now),
            Input::Control(control) => {
                let may = sequence.may(*control);
                let before = sequence.save(place.now);
                assert_eq!(
                    sequence.control(*control, "alice", place.now),
                    may,
                    "{:?}",
                    place.path
                );
                if let Err(refusal) = may {
                    assert!(!refusal.reason.is_empty());
                    assert!(!refusal.possible.contains(control));
                    assert_eq!(sequence.save(place.now), before, "{:?}", place.path);
                }
            }
            Input::Hold(held) => {
                sequence.hold(*held, place.now);
                let returns = sequence.state() == TaskState::RollingBack;
                assert_eq!(sequence.is_held(), *held && returns, "{:?}", place.path);
            }
            Input::Restart => {
                let json = serde_json::to_vec(&sequence.record(place.now)).expect("serialises");
                let record: SequenceRecord = serde_json::from_slice(&json).expect("deserialises");
                place.now += secs(1);
                *sequence = Sequence::restore(record.into(), place.now);
                place.outstanding = None;
            }
        }
        Some(place)
    }

    /// Issues what is due, as `rack` would, and checks what holds everywhere.
    fn drain(&mut self, before: TaskState, was_withdrawing: bool) {
        let sequence = &mut self.sequence;
        while let Some(id) = sequence.withdrawn() {
            // The report of a withdrawn order stays away here: the guard has to do.
            if self
                .outstanding
                .as_ref()
                .is_some_and(|(outstanding, _)| *outstanding == id)
                && sequence.state() != TaskState::Aborting
                && !matches!(sequence.phase, Phase::Withdrawing(_))
            {
                self.outstanding = None;
            }
        }
        let wants = sequence.wants();
        let held = sequence.is_held();
        let order = sequence.poll_order(OrderId(self.next_id));
        if let Some(order) = order {
            assert!(!held, "nothing leaves while it is held: {:?}", self.path);
            assert!(self.outstanding.is_none(), "one at a time: {:?}", self.path);
            assert!(
                wants.is_none() || wants.as_ref() == Some(&order),
                "{:?}",
                self.path
            );
            let state = sequence.state();
            assert!(
                !state.is_end() && state != TaskState::Aborting && state != TaskState::Queued,
                "{:?}",
                self.path
            );
            if state == TaskState::Suspended {
                assert_eq!(order, Order::ReadPower, "{:?}", self.path);
            }
            self.outstanding = Some((OrderId(self.next_id), order));
            self.next_id += 1;
        }
        assert_eq!(
            sequence.poll_order(OrderId(u64::MAX)),
            None,
            "{:?}",
            self.path
        );

        let state = sequence.state();
        if before.is_end() {
            assert_eq!(state, before, "{:?}", self.path);
        }
        assert_eq!(state.is_end(), sequence.outcome().is_some());
        if state.is_end() {
            assert_eq!(sequence.target(), None);
            assert_eq!(sequence.poll_timeout(), None);
            assert_eq!(sequence.may(Control::Abort).expect_err("over").possible, []);
        } else {
            assert!(
                !was_withdrawing || state != TaskState::Running,
                "{:?}",
                self.path
            );
            let at = sequence.poll_timeout();
            let stands = held || matches!(state, TaskState::Queued | TaskState::Suspended);
            assert!(!held || at.is_none() && state == TaskState::RollingBack);
            // Whatever stays away, the clock alone leads on.
            assert!(
                stands || at.is_some_and(|at| at > self.now),
                "{:?} {at:?}",
                self.path
            );
            assert!(
                stands || sequence.progress(self.now).time_left.is_some(),
                "{:?}",
                self.path
            );
            assert!(!sequence.progress(self.now).phase.is_empty());
        }
        let progress = sequence.progress(self.now);
        assert!(progress.step <= progress.steps, "{progress:?}");
    }

    /// What makes it another place than one that was visited.
    fn key(&self) -> String {
        let sequence = &self.sequence;
        let name = |phase: &Phase| {
            let text = format!("{phase:?}");
            let name = text.split([' ', '(']).next().unwrap_or_default().to_owned();
            let has = |word: &str| text.contains(word);
            format!(
                "{name} {} {} {} {} {} {}",
                has("due: true"),
                has("seen: Some"),
                has("Return"),
                has("OffThenOn"),
                has("Escalated"),
                has("on_since: Some"),
            )
        };
        let inner = match &sequence.phase {
            Phase::Suspended(phase) => name(&phase.inner),
            _ => String::new(),
        };
        let next = match sequence.phase.next() {
            Some(Next::At(_)) => "at",
            Some(Next::Out(_)) => "out",
            None => "none",
        };
        let handed = sequence
            .sent()
            .iter()
            .any(|sent| sent.order.changes_power() && sent.handed);
        format!(
            "{} {inner} {next} {} {:?} {handed} {:?} {:?} {:?} {:?}",
            name(&sequence.phase),
            sequence.is_held(),
            sequence.state(),
            sequence.target(),
            sequence.power_at_start(),
            sequence.knowledge.power,
            self.outstanding.as_ref().map(|(_, order)| match order {
                Order::ReadEventLogEntry(_) => "entry",
                order => order.name(),
            }),
        )
    }
}

/// What a walk has come upon.
#[derive(Default)]
pub(super) struct Walked {
    /// The names of the phases.
    names: BTreeSet<String>,
    /// Pairs of phase and input.
    tried: usize,
    /// What was said on the way: see `words`.
    pub(super) said: BTreeSet<String>,
}

/// Walks everything that one operation can reach.
pub(super) fn walk(operation: Operation, settings: &Settings) -> Walked {
    let start = Place {
        sequence: Sequence::new(operation, settings.clone()),
        now: Instant::after_start(secs(10)),
        outstanding: None,
        next_id: 1,
        path: Vec::new(),
    };
    let mut seen: BTreeSet<String> = [start.key()].into();
    let mut walked = Walked::default();
    let mut open = vec![start];
    while let Some(place) = open.pop() {
        let phase = format!("{:?}", place.sequence.phase);
        walked.names.insert(
            phase
                .split([' ', '('])
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
        for input in inputs(place.outstanding.as_ref().map(|(_, order)| order)) {
            let state = place.sequence.state();
            let Some(mut after) = place.after(&input) else {
                continue;
            };
            walked.tried += 1;
            after.drain(state, state == TaskState::Aborting);
            super::words::listen(&after.sequence, after.now, &mut walked.said);
            if seen.insert(after.key()) {
                open.push(after);
            }
        }
    }
    walked
}

#[test]
fn every_input_is_decided_in_every_phase_of_every_operation() {
    let settings = Settings {
        repeat_soft_after: Some(secs(30)),
        hard_after: Some(secs(90)),
        on_soft_timeout: OnSoftTimeout::HardPowerOff,
        ..Settings::default()
    };
    let always = ["Queued", "Recording", "Suspended", "Withdrawing", "Ended"];
    let levels = ["Switching", "Watching"];
    let pulse = ["RecordingEvidence", "LastLook", "Pulsing", "Explaining"];
    let soft = ["SoftPressing", "SoftWaiting", "AwaitingShutdown"];
    let own: BTreeMap<Operation, Vec<&str>> = [
        (Operation::PowerOn, levels.to_vec()),
        (Operation::PowerOff, levels.to_vec()),
        (Operation::Reboot, [&levels[..], &["MinOffTime"]].concat()),
        (Operation::SoftPowerOff, [&levels[..], &soft].concat()),
        (
            Operation::SoftReboot,
            [&levels[..], &soft, &["MinOffTime"]].concat(),
        ),
        (
            Operation::InjectNmi,
            [&pulse[..], &["NmiWatching"]].concat(),
        ),
        (Operation::Reset, [&pulse[..], &["Observing"]].concat()),
        (Operation::Cycle, [&pulse[..], &["Observing"]].concat()),
    ]
    .into();
    for (operation, own) in own {
        let expected: BTreeSet<String> = always
            .iter()
            .chain(&own)
            .map(|&name| name.to_owned())
            .collect();
        let walked = walk(operation, &settings);
        assert_eq!(walked.names, expected, "{operation}");
        assert!(walked.tried > 200, "{operation}: {} pairs", walked.tried);
    }
}

#[test]
fn every_phase_ends_by_the_clock_alone() {
    for operation in Operation::ALL {
        let settings = Settings::default();
        let mut sequence = Sequence::new(operation, settings.clone());
        let begun = Instant::after_start(secs(1));
        sequence.begin(begun);
        let mut now = begun;
        for id in 1.. {
            // Every order is issued and nothing ever answers.
            sequence.poll_order(OrderId(id));
            let Some(at) = sequence.poll_timeout() else {
                break;
            };
            now = at;
            sequence.handle_timeout(now);
        }
        assert_eq!(sequence.state(), TaskState::Failed, "{operation}");
        assert!(now - begun <= settings.longest(operation), "{operation}");
    }
}
