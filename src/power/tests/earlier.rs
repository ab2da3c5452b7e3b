//! "Already in that state" is not said as long as an order of an earlier task may still end that
//! state.

use super::world::{Mishap, World, secs};
use crate::bmc::vocabulary::{Order, RefusalKind};
use crate::model::{Control, Operation, Power, RestartCause, TaskState};
use crate::power::{Earlier, Sequence, Settings};
use std::time::Duration;

fn earlier(what: &str, to: &[Power], left: u64) -> Earlier {
    Earlier {
        what: format!("{what} of 12:03 UTC"),
        to: to.to_vec(),
        soft: what == "soft power off",
        until: secs(left),
    }
}

/// A task that begins on a node in this state, with that order before it.
fn after(before: Earlier, operation: Operation, power: Power) -> World {
    let mut settings = Settings::default();
    if operation == Operation::PowerOn && before.soft {
        settings.change_timeout = secs(130);
    }
    let mut world = World::new(operation, power, settings.clone());
    world.sequence = Sequence::new(operation, settings).with_earlier(vec![before]);
    world.machine.heedless = true;
    world.sequence.begin(world.now);
    world
}

fn late_on() -> Earlier {
    earlier("power on", &[Power::On], 60)
}

fn late_soft() -> Earlier {
    earlier("soft power off", &[Power::Off], 600)
}

#[test]
fn an_off_is_sent_and_watched_while_an_earlier_on_may_still_act() {
    let mut world = after(late_on(), Operation::PowerOff, Power::Off);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert_eq!(world.changing(), [Order::PowerOff]);
    assert!(outcome.took >= secs(10), "{:?}", outcome.took);
    let words =
        "power off: off now; the power on of 12:03 UTC may still switch it on: power off was sent";
    assert!(outcome.text.starts_with(words), "{}", outcome.text);
}

#[test]
fn an_on_is_sent_and_watched_for_a_minute_while_an_operating_system_may_still_go_down() {
    let mut world = after(late_soft(), Operation::PowerOn, Power::On);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded);
    assert_eq!(world.changing(), [Order::PowerOn]);
    assert!(outcome.took >= secs(60), "{:?}", outcome.took);
    let words = "power on: on now; the soft power off of 12:03 UTC may still switch it off";
    assert!(outcome.text.starts_with(words), "{}", outcome.text);
}

#[test]
fn a_watch_that_another_request_ends_is_a_success_only_where_the_state_was_read_a_moment_ago() {
    for (deaf, state, words) in [
        (false, TaskState::Succeeded, "on now; the power off of"),
        (
            true,
            TaskState::Aborted,
            "and nothing was read since: unknown whether it stayed so",
        ),
    ] {
        let before = earlier("power off", &[Power::Off], 60);
        let mut world = after(before, Operation::PowerOn, Power::On);
        world.run_for(secs(2));
        if deaf {
            // The machine goes off and nobody can see it.
            world.machine.deaf = vec![(world.now, world.now + secs(60))];
            world.machine.press(Power::Off, world.now);
        }
        world.run_for(secs(6));
        assert!(world.sequence.only_watches());
        let why = "alice asked for power cycle";
        world.sequence.supersede(why, world.now);
        let outcome = world.outcome();
        assert_eq!(outcome.state, state, "{}", outcome.text);
        assert!(outcome.text.contains(words), "{}", outcome.text);
        assert!(outcome.text.contains(why), "{}", outcome.text);
    }
}

#[test]
fn several_orders_of_the_same_minute_are_said_once() {
    let mut world = after(late_soft(), Operation::PowerOn, Power::On);
    let settings = Settings {
        change_timeout: secs(130),
        ..Settings::default()
    };
    let thrice = vec![late_soft(), late_soft(), late_soft()];
    world.sequence = Sequence::new(Operation::PowerOn, settings).with_earlier(thrice);
    world.sequence.begin(world.now);
    let text = world.run_to_end().text;
    assert_eq!(text.matches("may still switch it off").count(), 1, "{text}");
}

#[test]
fn a_machine_that_moves_is_told_once_more() {
    for (before, operation, from, order) in [
        (late_on(), Operation::PowerOff, Power::Off, Order::PowerOff),
        (late_soft(), Operation::PowerOn, Power::On, Order::PowerOn),
        (
            earlier("power cycle", &[Power::On], 60),
            Operation::PowerOff,
            Power::Off,
            Order::PowerOff,
        ),
        (
            earlier("power off", &[Power::Off], 60),
            Operation::PowerOn,
            Power::On,
            Order::PowerOn,
        ),
    ] {
        let to = before.to[0];
        let mut world = after(before.clone(), operation, from);
        let at = world.now + secs(6);
        world.machine.changes_at(to, at);
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
        assert_eq!(world.changing(), [order.clone(), order]);
        assert_eq!(world.machine.power, from);
        let words = format!("it was {}, most likely by the {}", to.name(), before.what);
        assert!(outcome.text.contains(&words), "{}", outcome.text);
        assert!(!outcome.text.contains("may still"), "{}", outcome.text);
    }
}

#[test]
fn a_machine_that_an_earlier_soft_off_switched_off_rests_before_it_is_on_again() {
    let mut world = after(late_soft(), Operation::PowerOn, Power::On);
    let down = world.now + secs(20);
    world.machine.changes_at(Power::Off, down);
    world.run_to_end();
    assert!(world.machine.carried_out[1].0 - down >= secs(10));
}

#[test]
fn what_is_over_and_what_leads_to_the_same_state_is_no_reason_to_send_anything() {
    for (before, operation, power) in [
        (
            earlier("power on", &[Power::On], 0),
            Operation::PowerOff,
            Power::Off,
        ),
        (late_on(), Operation::PowerOn, Power::On),
        (late_soft(), Operation::PowerOff, Power::Off),
        (late_soft(), Operation::SoftPowerOff, Power::Off),
    ] {
        let mut world = after(before, operation, power);
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Succeeded);
        assert_eq!(world.changing(), [], "{operation}");
        assert!(outcome.text.contains("already"), "{}", outcome.text);
        assert!(outcome.took < secs(3));
    }
}

#[test]
fn a_soft_off_of_a_node_that_may_still_come_on_waits_for_it() {
    let mut world = after(late_on(), Operation::SoftPowerOff, Power::Off);
    let outcome = world.run_to_end();
    assert_eq!(world.changing(), []);
    let words = "soft power off: off now; the power on of 12:03 UTC may still switch it on";
    assert!(outcome.text.starts_with(words), "{}", outcome.text);
    let mut world = after(late_on(), Operation::SoftPowerOff, Power::Off);
    let at = world.now + secs(5);
    world.machine.changes_at(Power::On, at);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
    assert_eq!(world.changing(), [Order::SoftOff]);
    assert_eq!(world.machine.power, Power::Off);
}

#[test]
fn a_level_that_was_lost_is_sent_again_although_the_reading_agrees() {
    for (mishap, sent) in [(Mishap::Lost, 2), (Mishap::NotSent, 2)] {
        let mut world = after(late_on(), Operation::PowerOff, Power::Off);
        world.machine.mishaps = [mishap].into();
        assert_eq!(world.run_to_end().state, TaskState::Succeeded);
        assert_eq!(world.changing().len(), sent);
        assert_eq!(world.times(&Order::PowerOff), 1);
    }
    // "Off when off" is refused by some: then it is off, as far as the BMC goes.
    let mut world = after(late_on(), Operation::PowerOff, Power::Off);
    world.machine.mishaps = [Mishap::Refuse(0xD5, RefusalKind::NotInPresentState)].into();
    assert_eq!(world.run_to_end().state, TaskState::Succeeded);
    assert_eq!(world.changing().len(), 1);
}

#[test]
fn an_off_that_never_reached_the_bmc_is_not_done_because_the_node_is_off() {
    let longer = earlier("power on", &[Power::On], 90);
    let mut world = after(longer, Operation::PowerOff, Power::Off);
    world.machine.mishaps = vec![Mishap::Lost; 50].into();
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Failed, "{}", outcome.text);
    assert!(
        outcome
            .text
            .contains("the power on of 12:03 UTC may still switch it on"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_restart_in_the_watch_neither_forgets_the_earlier_order_nor_sends_a_level_too_many() {
    for seconds in [0, 1, 5, 9] {
        let mut world = after(late_on(), Operation::PowerOff, Power::Off);
        world.run_for(secs(seconds) + Duration::from_millis(20));
        world.restart(secs(2));
        let outcome = world.run_to_end();
        assert!(
            outcome.text.contains("may still switch it on"),
            "{}",
            outcome.text
        );
        let times = world.times(&Order::PowerOff);
        assert!(
            times == 1 || seconds == 0 && times == 2,
            "{seconds}: {times}"
        );
    }
}

#[test]
fn an_abort_in_the_watch_sends_nothing_more() {
    let mut world = after(late_on(), Operation::PowerOff, Power::Off);
    let at = world.now + secs(6);
    world.machine.changes_at(Power::On, at);
    world.run_for(secs(4));
    world.control(Control::Abort).expect("it runs");
    world.run_for(secs(100));
    assert_eq!(world.changing(), [Order::PowerOff]);
    assert_eq!(world.state(), TaskState::Aborted);
}

/// A reset gets no answer, and then the machine goes off and comes on again by itself, seen or
/// unseen.
fn unanswered_reset(mishap: Mishap, before: Earlier, unseen: bool) -> World {
    let mut world = after(before, Operation::Reset, Power::On);
    world.machine.heedless = false;
    world.machine.mishaps = [mishap].into();
    world.run_for(secs(6));
    if unseen {
        world.machine.deaf = vec![(world.now, world.now + secs(12))];
    }
    world.run_for(secs(1));
    world.machine.press(Power::Off, world.now);
    world.run_for(secs(8));
    world.machine.cause = Some(RestartCause::Unknown);
    world.machine.press(Power::On, world.now);
    world
}

#[test]
fn an_off_that_an_earlier_order_explains_does_not_show_that_an_unanswered_reset_arrived() {
    for unseen in [false, true] {
        let mut world = unanswered_reset(Mishap::Lost, late_soft(), unseen);
        let outcome = world.run_to_end();
        assert_eq!(outcome.state, TaskState::Failed, "{}", outcome.text);
        let words = "unknown whether it arrived";
        assert!(outcome.text.contains(words), "{}", outcome.text);
        let words = "most likely by the soft power off of 12:03 UTC";
        assert_eq!(outcome.text.contains(words), !unseen, "{}", outcome.text);
    }

    let long_ago = earlier("soft power off", &[Power::Off], 0);
    let mut world = unanswered_reset(Mishap::AnswerLost, long_ago, false);
    let outcome = world.run_to_end();
    assert_eq!(outcome.state, TaskState::Succeeded, "{}", outcome.text);
    let words = "not answered, but it arrived: it was off";
    assert!(outcome.text.contains(words), "{}", outcome.text);
}
