//! Random lives of a task: silences, refusals, lags, hands on the button, controls and restarts at
//! any moment, and what holds in all of them.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::{Order, RefusalKind};
use crate::model::{Control, OnSoftTimeout, Operation, Power, RestartCause, TaskState};
use crate::power::Settings;
use proptest::prelude::*;
use std::time::Duration;

/// What happens to the task from outside, after a pause.
#[derive(Clone, Copy, Debug)]
enum Event {
    Control(Control),
    Restart,
    Press(Power),
    /// The BMC is deaf from now on for so many seconds.
    Deaf(u64),
    /// Somebody's poll brings what the BMC shows.
    Observe,
    /// The rack is paused, which holds a rollback, or goes on.
    Hold(bool),
}

#[derive(Clone, Debug)]
struct Life {
    operation: Operation,
    power: Power,
    settings: Settings,
    obeys: Option<u64>,
    comes_back: Option<u64>,
    stale: u64,
    queueing: u64,
    cause: Option<RestartCause>,
    crashes: bool,
    ignores: u32,
    mishaps: Vec<Mishap>,
    events: Vec<(u64, Event)>,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        Just(Mishap::Lost),
        Just(Mishap::AnswerLost),
        Just(Mishap::NotSent),
        Just(Mishap::Refuse(0xC0, RefusalKind::Busy)),
        Just(Mishap::Refuse(0xC3, RefusalKind::Busy)),
        Just(Mishap::Refuse(0xFF, RefusalKind::Failed)),
        Just(Mishap::Refuse(0xD5, RefusalKind::NotInPresentState)),
        Just(Mishap::Refuse(0xD1, RefusalKind::Updating)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => proptest::sample::select(Control::ALL.to_vec()).prop_map(Event::Control),
        2 => Just(Event::Control(Control::Suspend)),
        4 => Just(Event::Control(Control::Resume)),
        4 => Just(Event::Restart),
        2 => prop_oneof![Just(Power::On), Just(Power::Off)].prop_map(Event::Press),
        2 => (1u64..90).prop_map(Event::Deaf),
        1 => Just(Event::Observe),
        3 => any::<bool>().prop_map(Event::Hold),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        20u64..400,
        any::<bool>(),
        proptest::option::of(1u64..60),
        proptest::option::of(20u64..200),
    )
        .prop_map(|(patience, hard, repeat, hard_after)| Settings {
            patience: secs(patience),
            on_soft_timeout: if hard {
                OnSoftTimeout::HardPowerOff
            } else {
                OnSoftTimeout::Fail
            },
            repeat_soft_after: repeat.map(secs),
            hard_after: hard_after.map(secs),
            ..Settings::default()
        })
}

prop_compose! {
    fn life()(
        operation in proptest::sample::select(Operation::ALL.to_vec()),
        power in prop_oneof![3 => Just(Power::On), 1 => Just(Power::Off)],
        settings in settings(),
        obeys in proptest::option::of(1u64..120),
        comes_back in proptest::option::weighted(0.1, 1u64..20),
        (stale, queueing) in (prop_oneof![3 => Just(0), 1 => 0u64..3000], prop_oneof![3 => Just(0), 1 => 0u64..4000]),
        cause in prop_oneof![Just(None), Just(Some(RestartCause::PowerButton)), Just(Some(RestartCause::ChassisControl))],
        crashes in any::<bool>(),
        ignores in prop_oneof![4 => Just(0u32), 1 => 0u32..5],
        mishaps in proptest::collection::vec(mishap(), 0..4),
        events in proptest::collection::vec((prop_oneof![3 => 0u64..4_000, 1 => 0u64..60_000], event()), 0..8),
    ) -> Life {
        Life { operation, power, settings, obeys, comes_back, stale, queueing, cause, crashes, ignores, mishaps, events }
    }
}

fn live(life: &Life) -> Result<(), TestCaseError> {
    let mut world = World::new(life.operation, life.power, life.settings.clone());
    world.queueing = Duration::from_millis(life.queueing);
    world.machine.obeys = life.obeys.map(secs);
    world.machine.comes_back = life.comes_back.map(secs);
    world.machine.stale = Duration::from_millis(life.stale);
    world.machine.cause = life.cause;
    world.machine.crashes = life.crashes;
    world.machine.ignores = life.ignores;
    world.machine.mishaps = life.mishaps.clone().into();
    world.sequence.begin(world.now);

    for (pause, event) in &life.events {
        let (state, polled) = (world.state(), world.polled.len());
        let left = world.sequence.progress(world.now).time_left;
        let held = world.sequence.is_held();
        world.run_for(Duration::from_millis(*pause));
        if held {
            prop_assert_eq!(&world.polled[polled..], &[], "held");
        }
        if state == TaskState::Suspended || state.is_end() {
            prop_assert_eq!(world.state(), state, "nothing happens by itself");
            let only_reads = world.polled[polled..]
                .iter()
                .all(|(_, order)| *order == Order::ReadPower);
            prop_assert!(only_reads, "{:?}", &world.polled[polled..]);
            prop_assert_eq!(world.sequence.progress(world.now).time_left, left);
        }
        let (state, before) = (world.state(), world.sequence.save(world.now));
        match event {
            Event::Control(control) => {
                let may = world.sequence.may(*control);
                let did = world.control(*control);
                prop_assert_eq!(&may, &did);
                if let Err(refusal) = &did {
                    prop_assert!(!refusal.reason.is_empty());
                    prop_assert!(!refusal.possible.contains(control));
                    prop_assert_eq!(
                        world.sequence.save(world.now),
                        before,
                        "refused is untouched"
                    );
                }
                if did.is_ok() && *control == Control::Cancel {
                    prop_assert_eq!(world.state(), TaskState::Cancelled);
                    prop_assert_eq!(&world.machine.carried_out, &Vec::new());
                }
            }
            Event::Restart => {
                world.restart(secs(2));
                let now = world.state();
                if state == TaskState::Suspended || state.is_end() {
                    prop_assert_eq!(now, state);
                }
            }
            Event::Press(power) => {
                let now = world.now;
                world.machine.press(*power, now);
            }
            Event::Deaf(seconds) => {
                let now = world.now;
                world.machine.deaf.push((now, now + secs(*seconds)));
            }
            Event::Hold(held) => {
                world.sequence.hold(*held, world.now);
                world.settle();
                let held = *held && state == TaskState::RollingBack;
                prop_assert_eq!(world.sequence.is_held(), held && !world.state().is_end());
            }
            Event::Observe => {
                let power = world.machine.power;
                world.sequence.observe_power(power, world.now);
                world.settle();
            }
        }
    }
    if world.state() == TaskState::Suspended {
        world.control(Control::Resume).expect("suspended");
    }
    world.sequence.hold(false, world.now);
    world.settle();

    // It ends, and in time.
    let latest = match world.state() {
        TaskState::RollingBack => life.settings.longest_rollback(),
        _ => life.settings.longest(life.operation),
    };
    world.run_for(latest + secs(1));
    let Some(outcome) = world.sequence.outcome().cloned() else {
        let progress = world.sequence.progress(world.now);
        return Err(TestCaseError::fail(format!(
            "it does not end: {progress:?}"
        )));
    };

    // At most one pulse.
    let pulses = world.times(&Order::Nmi) + world.times(&Order::Reset) + world.times(&Order::Cycle);
    prop_assert!(pulses <= 1, "{:?}", world.machine.carried_out);
    // Soft requests that reached the machine are ten seconds apart.
    let soft: Vec<_> = world
        .machine
        .carried_out
        .iter()
        .filter(|(_, order)| *order == Order::SoftOff)
        .collect();
    prop_assert!(
        soft.windows(2)
            .all(|pair| pair[1].0 - pair[0].0 >= secs(10)),
        "{soft:?}"
    );
    // Nothing hard where it was not asked for.
    let may_be_hard = !life.operation.is_soft()
        || life.settings.hard_after.is_some()
        || life.settings.on_soft_timeout == OnSoftTimeout::HardPowerOff
        || outcome.state == TaskState::RolledBack
        || outcome.state == TaskState::Stuck
        || outcome.state == TaskState::Aborted;
    prop_assert!(may_be_hard || world.times(&Order::PowerOff) == 0);

    // What is said was read.
    let last = world.told.last().map(|(_, power)| *power);
    let wanted = match life.operation {
        Operation::PowerOff | Operation::SoftPowerOff => Some(Power::Off),
        Operation::InjectNmi => None,
        _ => Some(Power::On),
    };
    match outcome.state {
        TaskState::Succeeded if wanted.is_some() => {
            prop_assert_eq!(last, wanted, "read back: {}", &outcome.text);
            prop_assert_eq!(outcome.power, wanted);
        }
        TaskState::RolledBack
            if world
                .sequence
                .sent()
                .iter()
                .any(|sent| sent.order.changes_power() && sent.handed)
                && crate::power::pulse(life.operation).is_none() =>
        {
            prop_assert_eq!(last, outcome.power_at_start);
        }
        _ => {}
    }
    prop_assert!(!outcome.text.is_empty());
    // Nothing is left over, and nothing follows.
    prop_assert_eq!(world.sequence.poll_timeout(), None);
    let polled = world.polled.len();
    world.run_for(secs(1000));
    prop_assert_eq!(world.polled.len(), polled);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_of_a_task_keeps_the_rules(life in life()) {
        live(&life)?;
    }
}
