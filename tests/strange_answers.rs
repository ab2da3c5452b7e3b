//! BMCs whose answers are not those of their commands, in virtual time: too short, of another
//! command, in another order, or a refusal where nobody expects one. What was asked for is done all
//! the same, once, and nothing is told that is not known.

mod world;

use rackbmcd::model::{Operation, PowerOptions, Task, TaskState};
use rackbmcd::sim::{ChassisOrder, CommandRefusal, Conditions, OtherAnswer};
use std::time::Duration;
use world::{World, millis, secs};

const STATUS: (u8, u8) = (0x00, 0x01);
const DEVICE_ID: (u8, u8) = (0x06, 0x01);
const PRIVILEGE: (u8, u8) = (0x06, 0x3B);
const CLOSE: (u8, u8) = (0x06, 0x3C);

/// A rack with one BMC of which nothing is known yet.
fn unknown(seed: u64) -> World {
    let mut world = World::new(seed, 1);
    world.crash();
    world.bmc("n01").forget_sessions();
    world
}

fn begin(world: &mut World, operation: Operation, seconds: u64) -> Task {
    let options = PowerOptions {
        timeout: Some(secs(seconds)),
        ..PowerOptions::default()
    };
    let task = world.start_task("n01", operation, options);
    world.task(task)
}

#[track_caller]
fn done(world: &mut World, task: &Task) -> Task {
    let view = world.run_task(task.id, Duration::from_secs(200));
    assert_eq!(view.state, TaskState::Succeeded, "{view:#?}");
    view
}

fn refuses(world: &mut World, (net_fn, command): (u8, u8), code: u8) {
    world.mood("n01").command_refusals = vec![CommandRefusal {
        net_fn,
        command,
        code,
        after: 0,
        times: u32::MAX,
    }];
}

fn answers(world: &mut World, (net_fn, command): (u8, u8), data: &[u8]) {
    world.mood("n01").other_answer = Some(OtherAnswer {
        net_fn,
        command,
        data: data.to_vec(),
    });
}

#[test]
fn messages_of_the_log_in_that_overtake_each_other_and_their_copies_are_no_wrong_password() {
    for seed in 0..24 {
        let mut world = unknown(seed);
        if seed % 2 == 1 {
            let quirks = &mut world.mood("n01").quirks;
            quirks.answers_copies_of_rakp = true;
            world.mood("n01").executes_copies = true;
        }
        let conditions = Conditions {
            duplicate: 0.3,
            reorder: 0.3,
            held_back: millis(300),
            delay: millis(3),
            jitter: millis(20),
            ..Conditions::default()
        };
        world.link("n01", conditions);
        world.start();
        world.run_for(secs(60));
        let bmc = world.node("n01").rackbmcd.bmc;
        let text = bmc.trouble_text.unwrap_or_default();
        assert!(
            !text.contains("password") && !text.contains("refused"),
            "{seed}: {text}"
        );
        let task = begin(&mut world, Operation::PowerOff, 120);
        done(&mut world, &task);
        assert!(!world.is_on("n01"));
        // Each copy that the network makes of an Open Session Request is a session more.
        let counters = world.bmc("n01").counters();
        assert!(counters.most_sessions <= 5, "{seed}: {counters:?}");
    }
}

#[test]
fn a_close_session_that_is_refused_is_not_sent_again_and_leaves_no_more_than_two_sessions() {
    // Parameter out of range, invalid session id, not supported, no reason.
    for code in [0xC9, 0x87, 0xC1, 0xFF] {
        let mut world = unknown(30);
        refuses(&mut world, CLOSE, code);
        world.start();
        world.run_for(secs(900));
        assert_eq!(world.node("n01").rackbmcd.bmc.trouble, None, "{code:02X}h");
        let counters = world.bmc("n01").counters();
        assert!(counters.most_sessions <= 2, "{code:02X}h: {counters:?}");
        let task = begin(&mut world, Operation::PowerOff, 60);
        done(&mut world, &task);
    }
}

#[test]
fn one_slot_with_a_stranger_in_it_is_waited_for_also_by_a_life_that_left_its_own_session_there() {
    let mut world = unknown(31);
    world.bmc("n01").settings_mut().session_limit = 1;
    world.start();
    world.run_for(secs(20));
    let task = begin(&mut world, Operation::SoftPowerOff, 300);
    world.mood("n01").os = rackbmcd::sim::OsMood::ObeysAfter(secs(100));
    world.run_for(secs(3));
    // Its session stays in the BMC's only slot for a minute.
    world.crash();
    world.start();
    world.run_for(secs(10));
    let text = world.node("n01").rackbmcd.bmc.trouble_text;
    let text = text.unwrap_or_default();
    assert!(text.contains("sessions of the BMC are taken"), "{text}");
    done(&mut world, &task);
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
    assert_eq!(world.bmc("n01").counters().most_sessions, 1);
}

#[test]
fn a_status_that_is_cut_short_in_the_middle_of_a_task_does_not_end_it_and_is_no_state() {
    for cut in [0, 1, 2] {
        let mut world = unknown(32);
        world.start();
        world.run_for(secs(10));
        world.mood("n01").os = rackbmcd::sim::OsMood::ObeysAfter(secs(5));
        let task = begin(&mut world, Operation::SoftPowerOff, 60);
        world.run_for(secs(2));
        // On, as far as it goes; the machine goes off meanwhile.
        answers(&mut world, STATUS, &[0x01, 0x00, 0x40, 0x00][..cut]);
        world.run_for(secs(25));
        assert_eq!(world.task(task.id).state, TaskState::Running, "{cut}");
        let explained = world.task(task.id).phase.to_string();
        world.mood("n01").other_answer = None;
        let view = done(&mut world, &task);
        assert_eq!(world.executed("n01", ChassisOrder::Soft), 1, "{explained}");
        assert!(view.elapsed >= secs(25), "{cut}: {view:#?}");
    }
}

#[test]
fn a_status_as_long_as_another_command_s_answer_is_read_by_its_first_bytes() {
    let mut world = unknown(33);
    // 15 bytes, as Get Device ID has them, and a bit of the power.
    let mut data = vec![0x01, 0x00, 0x40];
    data.extend([0xFF; 12]);
    answers(&mut world, STATUS, &data);
    world.start();
    world.run_for(secs(10));
    assert_eq!(world.power_state("n01"), rackbmcd::model::PowerState::On);
    // It never shows anything else: nothing is called done.
    let task = begin(&mut world, Operation::PowerOff, 30);
    let view = world.run_task(task.id, secs(31));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
}

#[test]
fn a_level_that_is_granted_in_words_and_lower_in_bytes_lets_no_power_order_leave() {
    let mut world = unknown(34);
    // 00h, and the level user.
    answers(&mut world, PRIVILEGE, &[0x02]);
    world.start();
    world.run_for(secs(10));
    let task = begin(&mut world, Operation::PowerOff, 30);
    let view = world.run_task(task.id, secs(31));
    assert_eq!(view.state, TaskState::Failed, "{view:#?}");
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    let outcome = view.outcome.unwrap_or_default();
    for level in ["user", "operator"] {
        assert!(outcome.contains(level), "{outcome}");
    }
}

#[test]
fn a_slow_bmc_without_device_id_is_not_taken_for_one_that_lost_its_session() {
    let mut world = unknown(35);
    refuses(&mut world, DEVICE_ID, 0xC1);
    world.mood("n01").chassis_delay = secs(6);
    world.start();
    world.run_for(secs(30));
    let before = world.bmc("n01").counters().sessions_opened;
    for operation in [Operation::PowerOff, Operation::PowerOn] {
        let task = begin(&mut world, operation, 120);
        done(&mut world, &task);
    }
    let counters = world.bmc("n01").counters();
    assert!(counters.sessions_opened - before <= 2, "{counters:?}");
    assert_eq!(counters.most_sessions, 1, "{counters:?}");
}

#[test]
fn a_bmc_that_restarts_in_the_middle_of_each_log_in_for_a_while_is_logged_in_to_when_it_stays() {
    let mut world = unknown(36);
    world.mood("n01").reply_delay = millis(100);
    world.start();
    let task = begin(&mut world, Operation::PowerOff, 120);
    for _ in 0..10 {
        let opens = world.bmc("n01").counters().open_requests;
        let end = world.now + secs(10);
        world.run_until(end, |world| {
            world.bmc("n01").counters().open_requests > opens
        });
        world.run_for(millis(150));
        // RAKP 1 meets a BMC that has forgotten the log-in.
        world.bmc("n01").forget_sessions();
    }
    let text = world.node("n01").rackbmcd.bmc.trouble_text;
    let text = text.unwrap_or_default();
    assert!(
        !text.contains("password") && !text.contains("no log-in"),
        "{text}"
    );
    done(&mut world, &task);
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
}

#[test]
fn an_address_at_which_two_bmcs_answer_in_turn_gets_no_power_order() {
    let mut world = unknown(37);
    world.start();
    world.run_for(secs(20));
    let [own, other] = ["n01", "x"].map(rackbmcd::sim::guid_of);
    // Two machines have the same address: each log-in meets the other one.
    world.bmc("n01").settings_mut().guid = other;
    world.bmc("n01").forget_sessions();
    let task = begin(&mut world, Operation::PowerOff, 60);
    world.run_for(secs(5));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    assert_eq!(world.task(task.id).state, TaskState::Suspended);
    world.bmc("n01").settings_mut().guid = own;
    world.bmc("n01").forget_sessions();
    world.run_for(secs(90));
    // It is suspended until somebody resumes it, whoever answers now.
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    assert_eq!(world.task(task.id).state, TaskState::Suspended);
}

#[test]
fn a_bmc_that_is_busy_for_every_other_reading_costs_no_order_twice() {
    let mut world = unknown(38);
    world.start();
    world.run_for(secs(10));
    world.mood("n01").command_refusals = (0..20)
        .map(|place| CommandRefusal {
            net_fn: 0,
            command: 1,
            code: [0xC0, 0xC3, 0xCE, 0xFF][place % 4],
            after: 1,
            times: 1,
        })
        .collect();
    for operation in [Operation::Reset, Operation::SoftPowerOff] {
        let task = begin(&mut world, operation, 90);
        done(&mut world, &task);
    }
    assert_eq!(world.executed("n01", ChassisOrder::Reset), 1);
    assert_eq!(world.executed("n01", ChassisOrder::Soft), 1);
}

const CAPABILITIES: (u8, u8) = (0x06, 0x38);
const SYSTEM_GUID: (u8, u8) = (0x06, 0x37);
const SESSION_INFO: (u8, u8) = (0x06, 0x3D);
const CIPHER_SUITES: (u8, u8) = (0x06, 0x54);
const RESTART_CAUSE: (u8, u8) = (0x00, 0x07);
const LOG_INFO: (u8, u8) = (0x0A, 0x40);

/// Each order is carried out once and read back, whatever `strange` makes of the BMC.
#[track_caller]
fn is_switched_once(what: &str, strange: impl Fn(&mut World)) {
    for (operation, order) in [
        (Operation::PowerOff, ChassisOrder::Off),
        (Operation::SoftPowerOff, ChassisOrder::Soft),
        (Operation::Reset, ChassisOrder::Reset),
    ] {
        let mut world = unknown(60);
        strange(&mut world);
        world.start();
        world.run_for(secs(5));
        let task = begin(&mut world, operation, 60);
        let view = world.run_task(task.id, secs(61));
        assert_eq!(view.state, TaskState::Succeeded, "{what}: {view:#?}");
        assert_eq!(world.executed("n01", order), 1, "{what}: {operation}");
        let counters = world.bmc("n01").counters();
        assert!(counters.most_sessions <= 2, "{what}: {counters:?}");
    }
}

#[test]
fn strange_answers_to_what_is_asked_beside_an_order_change_nothing_about_it() {
    let cases: [((u8, u8), &[u8]); 13] = [
        (DEVICE_ID, &[]),
        (DEVICE_ID, &[0x20, 0x81, 0xFF]),
        (DEVICE_ID, &[0xFF; 20]),
        (CAPABILITIES, &[0x01]),
        (CAPABILITIES, &[0xFF; 12]),
        (SYSTEM_GUID, &[0x00; 3]),
        (SESSION_INFO, &[0x00, 0xFF]),
        (SESSION_INFO, &[0xFF; 18]),
        // Sixteen bytes each time, for ever.
        (CIPHER_SUITES, &[0xC0; 17]),
        (RESTART_CAUSE, &[]),
        (RESTART_CAUSE, &[0xFF, 0xFF]),
        (LOG_INFO, &[0x51]),
        (LOG_INFO, &[0xFF; 14]),
    ];
    for (command, data) in cases {
        let what = format!("{command:02x?} {data:02x?}");
        is_switched_once(&what, |world| answers(world, command, data));
    }
}

#[test]
fn refusals_of_what_is_asked_beside_an_order_change_nothing_about_it() {
    for command in [
        DEVICE_ID,
        SYSTEM_GUID,
        SESSION_INFO,
        CIPHER_SUITES,
        RESTART_CAUSE,
        LOG_INFO,
        CLOSE,
    ] {
        for code in [0xC0, 0xC1, 0xC3, 0xC7, 0xD4, 0xD5, 0xFF] {
            let what = format!("{command:02x?} {code:02x}");
            is_switched_once(&what, |world| refuses(world, command, code));
        }
    }
}

#[test]
fn the_power_state_is_one_bit_whatever_stands_beside_it() {
    for (seed, byte, on) in [
        (61, 0x01, true),
        (62, 0xFF, true),
        (63, 0xFE, false),
        (64, 0x60, false),
    ] {
        let mut world = unknown(seed);
        answers(&mut world, STATUS, &[byte, 0xFF, 0xFF]);
        world.start();
        world.run_for(secs(5));
        let shown = world.power_state("n01");
        assert_eq!(
            shown == rackbmcd::model::PowerState::On,
            on,
            "{byte:02x}: {shown:?}"
        );
    }
}
