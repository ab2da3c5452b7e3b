//! The whole story of soft power off and soft reboot.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::{Order, RefusalKind};
use crate::model::{OnSoftTimeout, Operation, Power, TaskState};
use crate::power::Settings;
use crate::time::Instant;
use std::time::Duration;

/// A world whose soft power off has just begun.
fn soft(settings: Settings) -> World {
    let mut world = World::new(Operation::SoftPowerOff, Power::On, settings);
    world.sequence.begin(world.now);
    world
}

fn presses(world: &World) -> Vec<Instant> {
    world
        .polled
        .iter()
        .filter(|(_, order)| *order == Order::SoftOff)
        .map(|(at, _)| *at)
        .collect()
}

#[test]
fn a_soft_power_off_is_sent_once_and_read_back_twice() {
    let mut world = soft(Settings::default());
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert_eq!(world.changing(), [Order::SoftOff]);
    assert!(
        outcome.took >= secs(21) && outcome.took <= secs(27),
        "{:?}",
        outcome.took
    );
}

#[test]
fn the_request_timeout_is_the_whole_wait() {
    let mut world = soft(Settings {
        patience: secs(60),
        ..Settings::default()
    });
    world.machine.obeys = None;
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.took), (TaskState::Failed, secs(60)));
    assert!(
        outcome.text.contains("did not go off within 60.0 s"),
        "{}",
        outcome.text
    );
}

#[test]
fn what_could_not_be_read_at_the_end_is_not_called_on() {
    let mut world = soft(Settings {
        patience: secs(60),
        ..Settings::default()
    });
    world.machine.obeys = None;
    world.run_for(secs(30));
    let now = world.now;
    world.machine.deaf = vec![(now, now + secs(100))];
    let outcome = world.run_to_end();
    assert!(
        outcome.text.contains(
            "it is not known whether the node went off within 60.0 s: it could not be read since"
        ),
        "{}",
        outcome.text
    );
}

#[test]
fn a_soft_request_never_turns_hard_by_itself() {
    let mut world = soft(Settings::default());
    world.machine.obeys = None;
    world.run_to_end();
    assert_eq!(world.changing(), [Order::SoftOff]);
}

#[test]
fn it_turns_hard_at_the_end_of_the_patience_where_that_was_asked_for() {
    let settings = Settings {
        patience: secs(60),
        on_soft_timeout: OnSoftTimeout::HardPowerOff,
        ..Settings::default()
    };
    let mut world = soft(settings);
    world.machine.obeys = None;
    let outcome = world.run_to_end();
    assert_eq!(
        (outcome.state, outcome.error),
        (TaskState::Succeeded, false)
    );
    assert_eq!(world.changing(), [Order::SoftOff, Order::PowerOff]);
    assert!(
        outcome.text.contains("switched off hard"),
        "{}",
        outcome.text
    );
    assert!(outcome.took <= secs(65));
}

#[test]
fn a_soft_reboot_that_turns_hard_is_switched_on_again_after_the_rest() {
    let settings = Settings {
        patience: secs(60),
        on_soft_timeout: OnSoftTimeout::HardPowerOff,
        ..Settings::default()
    };
    let mut world = World::new(Operation::SoftReboot, Power::On, settings);
    world.sequence.begin(world.now);
    world.machine.obeys = None;
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(
        world.changing(),
        [Order::SoftOff, Order::PowerOff, Order::PowerOn]
    );
    assert_eq!(world.machine.power, Power::On);
}

#[test]
fn soft_again_after_t1_and_hard_after_t2_where_that_was_asked_for() {
    let settings = Settings {
        repeat_soft_after: Some(secs(30)),
        hard_after: Some(secs(90)),
        ..Settings::default()
    };
    let mut world = soft(settings);
    world.machine.obeys = None;
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(
        world.changing(),
        [Order::SoftOff, Order::SoftOff, Order::PowerOff]
    );
    let sent: Vec<u64> = world
        .machine
        .carried_out
        .iter()
        .map(|(at, _)| (*at - world.machine.carried_out[0].0).as_secs())
        .collect();
    assert!((30..=35).contains(&sent[1]), "{sent:?}");
    assert!((90..=91).contains(&sent[2]), "{sent:?}");
}

#[test]
fn t1_is_never_shorter_than_ten_seconds() {
    let settings = Settings {
        repeat_soft_after: Some(secs(1)),
        ..Settings::default()
    };
    let mut world = soft(settings);
    world.machine.obeys = Some(secs(40));
    world.run_to_end();
    let presses = presses(&world);
    assert_eq!(presses.len(), 2);
    assert!(presses[1] - presses[0] >= secs(10));
}

#[test]
fn an_unanswered_request_is_repeated_only_after_a_look_that_shows_on_and_ten_seconds() {
    let mut world = soft(Settings::default());
    world.machine.mishaps = [Mishap::Lost].into();
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    let presses = presses(&world);
    assert_eq!(presses.len(), 2);
    assert!(presses[1] - presses[0] >= secs(10));
    let looked = world
        .told
        .iter()
        .any(|(at, power)| *power == Power::On && *at > presses[0] + secs(10) && *at <= presses[1]);
    assert!(looked);
}

#[test]
fn an_unanswered_request_that_worked_is_not_repeated() {
    let mut world = soft(Settings::default());
    world.machine.obeys = Some(secs(8));
    world.machine.mishaps = [Mishap::AnswerLost].into();
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(world.times(&Order::SoftOff), 1);
}

#[test]
fn a_request_that_never_left_is_sent_without_the_ten_seconds() {
    let mut world = soft(Settings::default());
    world.machine.mishaps = [Mishap::NotSent, Mishap::NotSent].into();
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    let presses = presses(&world);
    assert!(presses[2] - presses[0] <= secs(4));
    assert_eq!(world.times(&Order::SoftOff), 1);
}

#[test]
fn busy_is_asked_again_and_said() {
    let mut world = soft(Settings::default());
    world.machine.mishaps = vec![Mishap::Refuse(0xC0, RefusalKind::Busy); 2].into();
    world.run_for(Duration::from_millis(500));
    let progress = world.sequence.progress(world.now);
    assert!(progress.phase.contains("Busy (C0h)"), "{}", progress.phase);
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(world.times(&Order::SoftOff), 1);
}

#[test]
fn a_busy_that_may_have_been_carried_out_waits_for_the_look() {
    let mut world = soft(Settings::default());
    world.machine.mishaps = [Mishap::Refuse(0xC3, RefusalKind::Busy)].into();
    world.run_to_end();
    let presses = presses(&world);
    assert!(presses[1] - presses[0] >= secs(10));
}

#[test]
fn refused_when_off_already_is_done() {
    let mut world = soft(Settings::default());
    world.queueing = secs(1);
    world.machine.mishaps = [Mishap::Refuse(0xD5, RefusalKind::NotInPresentState)].into();
    world.run_for(Duration::from_millis(1500));
    world.machine.press(Power::Off, world.now);
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(world.times(&Order::SoftOff), 0);
}

#[test]
fn an_operating_system_that_comes_back_is_not_off() {
    let mut world = soft(Settings {
        patience: secs(120),
        ..Settings::default()
    });
    world.machine.obeys = Some(Duration::from_millis(16_100));
    world.machine.comes_back = Some(Duration::from_millis(700));
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.error), (TaskState::Failed, true));
    assert!(outcome.text.contains("it was on again"), "{}", outcome.text);
}

#[test]
fn somebody_elses_hand_on_the_button_counts_as_off() {
    let mut world = soft(Settings::default());
    world.machine.obeys = None;
    world.run_for(secs(100));
    world.machine.press(Power::Off, world.now);
    world.sequence.observe_power(Power::Off, world.now);
    let before = world.now;
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert!(
        world.now - before <= secs(3),
        "the other reading made it look at once"
    );
}

#[test]
fn another_reading_alone_is_no_success() {
    let mut world = soft(Settings {
        patience: secs(100),
        ..Settings::default()
    });
    world.machine.obeys = None;
    for _ in 0..10 {
        world.run_for(secs(5));
        world.sequence.observe_power(Power::Off, world.now);
    }
    assert_eq!(world.run_to_end().state, TaskState::Failed);
}

#[test]
fn a_bmc_that_is_deaf_for_a_minute_in_the_middle_does_not_fail_the_wait() {
    for operation in [Operation::SoftPowerOff, Operation::SoftReboot] {
        let mut world = World::begun(operation, Power::On);
        world.machine.obeys = Some(secs(90));
        world.machine.deaf = vec![(world.now + secs(10), world.now + secs(75))];
        assert_eq!(
            world.run_to_end().state,
            TaskState::Succeeded,
            "{operation}"
        );
        assert_eq!(world.times(&Order::SoftOff), 1);
    }
}

#[test]
fn a_bmc_that_goes_deaf_for_ever_fails_the_wait_at_its_end_and_says_so() {
    let mut world = soft(Settings {
        patience: secs(60),
        ..Settings::default()
    });
    world.machine.deaf = vec![(world.now + secs(5), world.now + secs(5000))];
    let outcome = world.run_to_end();
    assert_eq!((outcome.state, outcome.took), (TaskState::Failed, secs(60)));
    assert!(outcome.text.contains("no answer"), "{}", outcome.text);
}

#[test]
fn a_node_found_on_again_in_its_rest_is_not_switched_twice() {
    let mut world = World::begun(Operation::SoftReboot, Power::On);
    world.run_for(secs(26));
    assert_eq!(world.changing(), [Order::SoftOff]);
    world.machine.press(Power::On, world.now);
    world.sequence.observe_power(Power::On, world.now);
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(world.changing(), [Order::SoftOff]);
}

#[test]
fn off_that_was_read_once_before_the_time_ended_counts_when_it_was_read_again() {
    let mut world = soft(Settings {
        patience: secs(30),
        look_schedule: vec![Duration::from_millis(29_700)],
        on_soft_timeout: OnSoftTimeout::HardPowerOff,
        ..Settings::default()
    });
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert!(
        (secs(30)..secs(31)).contains(&outcome.took),
        "{:?}",
        outcome.took
    );
    assert_eq!(
        world.changing(),
        [Order::SoftOff],
        "no hard order for want of a confirmation"
    );
}

#[test]
fn off_that_was_read_once_at_the_end_and_on_after_that_does_not_count() {
    let mut world = soft(Settings {
        patience: secs(30),
        look_schedule: vec![Duration::from_millis(29_700)],
        ..Settings::default()
    });
    world.machine.obeys = Some(Duration::from_millis(29_600));
    world.machine.comes_back = Some(Duration::from_millis(250));
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Failed, "{}", outcome.text);
    assert!(outcome.took <= secs(31), "{:?}", outcome.took);
}

#[test]
fn an_off_that_nobody_could_confirm_for_long_is_no_success() {
    let settings = Settings {
        patience: secs(60),
        ..Settings::default()
    };
    let mut world = soft(settings);
    world.machine.obeys = Some(secs(5));
    // It comes back while its BMC says nothing.
    world.machine.comes_back = Some(secs(14));
    let end = world.now + secs(40);
    while world.sequence.power() != Some(Power::Off) {
        world.run_for(Duration::from_millis(50));
        assert!(world.now < end, "it is not seen off");
    }
    world.machine.deaf = vec![(world.now, Instant::after_start(secs(9999)))];
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Failed);
    assert!(
        outcome
            .text
            .contains("nothing was read since: unknown whether it stayed so"),
        "{}",
        outcome.text
    );
}

/// A soft operation that may turn hard after so long, on a machine that does not go down.
fn hard_after(operation: Operation, after: u64) -> World {
    let settings = Settings {
        patience: secs(120),
        hard_after: Some(secs(after)),
        ..Settings::default()
    };
    let mut world = World::new(operation, Power::On, settings);
    world.sequence.begin(world.now);
    world.machine.obeys = None;
    world
}

fn hard_at(world: &World) -> Option<Duration> {
    let off = |(_, order): &&(Instant, Order)| *order == Order::PowerOff;
    let at = world.polled.iter().find(off).map(|(at, _)| *at)?;
    Some(at - presses(world)[0])
}

#[test]
fn every_way_in_which_soft_fails_turns_hard_in_its_time_where_that_was_asked_for() {
    for (mishap, times) in [
        (Mishap::Refuse(0xFF, RefusalKind::Failed), 40),
        (Mishap::Refuse(0x80, RefusalKind::Failed), 40),
        (Mishap::Refuse(0xC0, RefusalKind::Busy), 40),
        (Mishap::Refuse(0xC3, RefusalKind::Busy), 40),
        (Mishap::Refuse(0xC1, RefusalKind::Doubted), 40),
        (Mishap::Refuse(0xD5, RefusalKind::NotInPresentState), 40),
        (Mishap::Lost, 40),
        (Mishap::AnswerLost, 1),
    ] {
        for operation in [Operation::SoftPowerOff, Operation::SoftReboot] {
            let mut world = hard_after(operation, 30);
            world.machine.mishaps = vec![mishap.clone(); times].into();
            while hard_at(&world).is_none() {
                assert!(world.sequence.outcome().is_none(), "{mishap:?}");
                world.run_for(Duration::from_millis(500));
            }
            world.machine.mishaps.clear();
            let after = hard_at(&world).expect("just seen");
            assert!(
                after >= secs(30) && after < secs(36),
                "{mishap:?}: {after:?}"
            );
            let outcome = world.run_to_end();
            assert_eq!(
                outcome.state,
                TaskState::Succeeded,
                "{mishap:?}: {}",
                outcome.text
            );
        }
    }
}

#[test]
fn a_bmc_without_soft_power_off_turns_hard_at_once_where_that_was_asked_for_and_says_why() {
    let mut world = hard_after(Operation::SoftPowerOff, 30);
    world.machine.mishaps = [Mishap::Refuse(0xC1, RefusalKind::NotSupported)].into();
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert!(outcome.took < secs(5), "{:?}", outcome.took);
    let words = "soft power off was refused (NotSupported (C1h)), so that it was switched off hard";
    assert!(outcome.text.contains(words), "{}", outcome.text);
    // The node was looked at in between.
    let orders: Vec<&Order> = world.polled.iter().map(|(_, order)| order).collect();
    assert_eq!(
        orders[..4],
        [
            &Order::ReadPower,
            &Order::SoftOff,
            &Order::ReadPower,
            &Order::PowerOff
        ]
    );
    // Nobody asked for it here.
    let mut world = soft(Settings::default());
    world.machine.mishaps = [Mishap::Refuse(0xC1, RefusalKind::NotSupported)].into();
    assert_eq!(world.run_to_end().state, TaskState::Failed);
    assert_eq!(world.changing(), [Order::SoftOff]);
}

#[test]
fn nothing_hard_follows_a_level_that_is_too_low_or_an_update() {
    for (code, kind) in [
        (0xD4, RefusalKind::NotPermitted),
        (0xD1, RefusalKind::Updating),
    ] {
        for first in [None, Some(Mishap::Refuse(0xC0, RefusalKind::Busy))] {
            let mut world = hard_after(Operation::SoftPowerOff, 30);
            let refusal = Mishap::Refuse(code, kind);
            world.machine.mishaps = first.into_iter().chain([refusal]).collect();
            let outcome = world.run_to_end();
            assert_eq!(outcome.state, TaskState::Failed, "{}", outcome.text);
            assert_eq!(world.times(&Order::PowerOff), 0);
        }
    }
}

#[test]
fn nothing_hard_is_sent_to_a_node_that_was_not_read_on_since_the_request() {
    for policy in [false, true] {
        let settings = Settings {
            patience: secs(60),
            hard_after: (!policy).then_some(secs(30)),
            on_soft_timeout: match policy {
                true => OnSoftTimeout::HardPowerOff,
                false => OnSoftTimeout::Fail,
            },
            ..Settings::default()
        };
        let mut world = soft(settings.clone());
        world.machine.obeys = None;
        world.run_for(Duration::from_millis(200));
        assert_eq!(world.times(&Order::SoftOff), 1);
        let now = world.now;
        world.machine.deaf = vec![(now, now + secs(5000))];
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Failed, "{}", outcome.text);
        assert_eq!(world.changing(), [Order::SoftOff]);
        assert!(outcome.took <= settings.longest(Operation::SoftPowerOff) + secs(1));
        let words = "nothing hard was sent: it was not read on since the request";
        assert!(outcome.text.contains(words), "{}", outcome.text);
        // It answers again in time.
        let mut world = soft(settings);
        world.machine.obeys = None;
        world.run_for(Duration::from_millis(200));
        let now = world.now;
        world.machine.deaf = vec![(now, now + secs(if policy { 70 } else { 40 }))];
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
        assert_eq!(world.changing(), [Order::SoftOff, Order::PowerOff]);
    }
}

/// A soft power off with a time that its request names and that turns hard where it is over, whose
/// turn comes so late, on a machine that does not go down.
fn late_turn(timeout: u64, hard_after: Option<u64>, turn: u64) -> World {
    let settings = Settings {
        patience: secs(timeout),
        from_request: true,
        hard_after: hard_after.map(secs),
        on_soft_timeout: OnSoftTimeout::HardPowerOff,
        ..Settings::default()
    };
    let mut world = World::new(Operation::SoftPowerOff, Power::On, settings);
    world.machine.obeys = None;
    world.run_for(secs(turn));
    world.sequence.begin(world.now);
    world
}

#[test]
fn an_operating_system_has_all_of_its_time_however_late_its_turn_came() {
    for (timeout, after, turn, given) in [
        (68, Some(20), 64, 20),
        (30, None, 10, 30),
        (30, None, 0, 30),
    ] {
        let mut world = late_turn(timeout, after, turn);
        let outcome = world.run_to_end();
        let waited = hard_at(&world).expect("it turns hard");
        assert!(
            waited >= secs(given) && waited < secs(given + 2),
            "{turn}: {waited:?}"
        );
        assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
        assert!(outcome.took < secs(timeout + 60), "{:?}", outcome.took);
        let words = match after {
            Some(after) => format!("it was not off {after}.0 s after the request"),
            None => format!("the operating system did not shut down within {timeout}.0 s"),
        };
        assert!(outcome.text.contains(&words), "{}", outcome.text);
    }
}

#[test]
fn a_turn_that_came_too_late_for_that_ends_in_time_and_with_nothing_hard() {
    let mut world = late_turn(68, Some(60), 64);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Failed);
    assert_eq!(outcome.took, secs(68), "the time that the request named");
    assert_eq!(world.changing(), [Order::SoftOff]);
    let words = "did not go off within 68.0 s, and nothing hard was sent: the operating system was asked only 3.9 s \
                 before, and has 60.0 s";
    assert!(outcome.text.contains(words), "{}", outcome.text);
}

#[test]
fn what_was_never_asked_is_not_switched_off_hard() {
    let mut world = late_turn(30, None, 0);
    world.machine.mishaps = vec![Mishap::NotSent; 40].into();
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Failed);
    assert_eq!(world.times(&Order::SoftOff), 0);
    assert_eq!(world.times(&Order::PowerOff), 0);
    let words = "nothing hard was sent: the operating system was never asked";
    assert!(outcome.text.contains(words), "{}", outcome.text);
}
