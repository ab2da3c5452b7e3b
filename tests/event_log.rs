//! The system event log, as BMCs were met: long ones, ones that go in circles, ones that give their
//! entries in pieces, and ones that say "cleared" and are not.

mod world;

use rackbmcd::bmc::vocabulary::{Order, Reading};
use rackbmcd::rack::call::{Answer, Call, Refused};
use rackbmcd::sim::{CommandRefusal, LogMood};
use world::{World, secs, who};

/// A node with so many entries in its log, whose ids are so far apart.
fn world(entries: usize, id_step: u16) -> World {
    let mut world = World::new(1, 1);
    world.run_for(secs(3));
    let now = world.now;
    let log = &mut world.bmc("n01").host_mut().event_log;
    log.id_step = id_step;
    while log.len() < entries {
        let mut record = [0xFF; 16];
        record[2] = 0x02;
        log.add(record, now);
    }
    world
}

fn order(world: &mut World, order: Order) -> Result<Reading, Refused> {
    let call = world.ask(Call::Order {
        node: "n01".into(),
        order,
        who: who(),
    });
    let mut answer = None;
    let end = world.now + secs(30);
    world.run_until(end, |world| {
        answer = world.take_answer(call);
        answer.is_some()
    });
    match answer.expect("within 30 s") {
        Ok(Answer::Reading(reading)) => Ok(reading),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => Err(refused),
    }
}

/// The ids of the newest entries, and what is said of those that are missing.
fn list(world: &mut World, limit: u16) -> (Vec<u16>, Option<String>) {
    match order(world, Order::ReadEventLog(limit)) {
        Ok(Reading::EventLog {
            entries, left_out, ..
        }) => (entries.iter().map(|entry| entry.id).collect(), left_out),
        other => panic!("{other:?}"),
    }
}

fn requests(world: &mut World) -> u64 {
    world.bmc("n01").counters().requests
}

#[test]
fn the_newest_of_a_long_log_are_the_newest_and_cost_what_they_are() {
    for id_step in [1, 18] {
        let mut world = world(1206, id_step);
        let before = requests(&mut world);
        let (ids, left_out) = list(&mut world, 3);
        let last = 1206 * id_step;
        assert_eq!(ids, [last - 2 * id_step, last - id_step, last]);
        assert_eq!(left_out, None);
        let cost = requests(&mut world) - before;
        assert!(cost <= 16, "{cost} commands for ids {id_step} apart");
    }
}

#[test]
fn a_list_that_is_not_as_long_as_asked_for_says_so() {
    let mut world = world(1206, 1);
    let (ids, left_out) = list(&mut world, 1000);
    assert_eq!(ids.last(), Some(&1206), "the newest are there");
    assert!((100..200).contains(&ids.len()), "{}", ids.len());
    let left_out = left_out.expect("said");
    let said = format!("only {} of 1206 entries could be read", ids.len());
    assert!(left_out.starts_with(&said), "{left_out}");
}

#[test]
fn a_short_log_is_read_whole_and_an_empty_one_is_no_error() {
    assert_eq!(list(&mut world(5, 1), 20), (vec![1, 2, 3, 4, 5], None));
    assert_eq!(list(&mut world(0, 1), 20), (vec![], None));
}

#[test]
fn a_log_with_gaps_is_read_over_them() {
    let mut world = world(30, 1);
    let now = world.now;
    for id in [28, 27, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10] {
        world.bmc("n01").host_mut().event_log.delete(id, now);
    }
    let (ids, left_out) = list(&mut world, 10);
    assert_eq!(ids, [8, 9, 21, 22, 23, 24, 25, 26, 29, 30]);
    assert_eq!(left_out, None);
}

#[test]
fn a_log_that_goes_in_a_circle_is_walked_over_once() {
    let mut world = world(3, 1);
    world.mood("n01").log.ring = true;
    let before = requests(&mut world);
    assert_eq!(list(&mut world, 5), (vec![1, 2, 3], None));
    assert!(requests(&mut world) - before <= 6);
}

#[test]
fn entries_that_come_in_pieces_only_are_put_together() {
    let whole = list(&mut world(5, 1), 5);
    for most in [16, 8, 5] {
        let mut world = world(5, 1);
        world.mood("n01").log.most_bytes = Some(most);
        assert_eq!(list(&mut world, 5), whole, "{most} bytes at once");
    }
    // Another console reserves the log in between: from the beginning of the entry.
    let mut world = world(5, 1);
    world.mood("n01").log.most_bytes = Some(8);
    world.mood("n01").command_refusals = vec![CommandRefusal {
        net_fn: 0x0A,
        command: 0x43,
        code: 0xC5,
        after: 7,
        times: 1,
    }];
    assert_eq!(list(&mut world, 5), whole);
}

#[test]
fn a_log_that_was_cleared_is_empty_and_one_that_was_not_is_an_error() {
    let mut cleared = world(5, 1);
    let answer = order(&mut cleared, Order::ClearEventLog);
    assert!(
        matches!(answer, Ok(Reading::EventLogCleared { left: Some(0) })),
        "{answer:?}"
    );
    let mut slow = world(5, 1);
    slow.mood("n01").log.erasing_takes = secs(3);
    let began = slow.now;
    assert!(order(&mut slow, Order::ClearEventLog).is_ok());
    assert!(slow.now - began >= secs(3));
    assert_eq!(slow.bmc("n01").host().event_log.len(), 0);
    for mood in [
        LogMood {
            erasing_takes: secs(600),
            ..LogMood::default()
        },
        LogMood {
            keeps_entries: true,
            ..LogMood::default()
        },
    ] {
        let mut world = world(5, 1);
        world.mood("n01").log = mood;
        let refused = order(&mut world, Order::ClearEventLog).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("still being erased after 10 s")
                || text.contains("5 entries are still there"),
            "{text}"
        );
    }
}

#[test]
fn a_reservation_that_was_taken_away_and_an_erasure_under_way_are_waited_for() {
    for (command, code) in [(0x47, 0xC5), (0x42, 0x81), (0x47, 0x81)] {
        let mut world = world(5, 1);
        world.mood("n01").command_refusals = vec![CommandRefusal {
            net_fn: 0x0A,
            command,
            code,
            after: 0,
            times: 1,
        }];
        let answer = order(&mut world, Order::ClearEventLog);
        assert!(answer.is_ok(), "{command:02X}h {code:02X}h: {answer:?}");
        assert_eq!(world.bmc("n01").host().event_log.len(), 0);
    }
}

#[test]
fn a_bmc_that_is_busy_for_a_moment_is_asked_again() {
    let identify = Order::Identify(Some(secs(5)));
    let pxe = Order::SetBootDevice {
        device: Some(rackbmcd::model::BootDevice::Pxe),
        persistent: false,
        uefi: false,
    };
    for code in [0xC0, 0xC3, 0xCE, 0xFF] {
        for (order_of, net_fn, command) in [
            (Order::ReadBootDevice, 0x00, 0x09),
            (pxe.clone(), 0x00, 0x08),
            (Order::ReadPowerUse, 0x2C, 0x02),
            (identify.clone(), 0x00, 0x04),
            (Order::ReadEventLog(3), 0x0A, 0x43),
            (Order::ClearEventLog, 0x0A, 0x47),
            (Order::ReadIdentity, 0x06, 0x01),
        ] {
            let mut world = world(5, 1);
            world.mood("n01").command_refusals = vec![CommandRefusal {
                net_fn,
                command,
                code,
                after: 0,
                times: 1,
            }];
            let answer = order(&mut world, order_of.clone());
            assert!(answer.is_ok(), "{order_of:?} {code:02X}h: {answer:?}");
        }
        // A raw command is the expert's own: once.
        let mut world = world(5, 1);
        world.mood("n01").command_refusals = vec![CommandRefusal {
            net_fn: 0x06,
            command: 0x01,
            code,
            after: 0,
            times: 1,
        }];
        let raw = Order::Raw {
            net_fn: 0x06,
            lun: 0,
            command: 0x01,
            data: Vec::new(),
            route: Default::default(),
        };
        assert!(order(&mut world, raw).is_err());
    }
}

#[test]
fn bytes_that_follow_an_entry_or_a_piece_of_one_are_none_of_it() {
    let whole = list(&mut world(5, 1), 5);
    for most in [None, Some(16), Some(8), Some(5)] {
        for trailing_bytes in [1, 2, 9] {
            let mut world = world(5, 1);
            world.mood("n01").log = LogMood {
                most_bytes: most,
                trailing_bytes,
                ..LogMood::default()
            };
            let read = list(&mut world, 5);
            assert_eq!(read, whole, "{most:?}, {trailing_bytes} more");
        }
    }
}

#[test]
fn a_log_that_changes_while_it_is_read_is_read_to_an_end() {
    // What others do to it meanwhile, after each command that is answered.
    type Meddling = fn(&mut World);
    let meddling: [(&str, Meddling); 4] = [
        ("entries are added", |world| {
            let now = world.now;
            let mut record = [0xFF; 16];
            record[2] = 0x02;
            world.bmc("n01").host_mut().event_log.add(record, now);
        }),
        ("the newest is deleted", |world| {
            let now = world.now;
            world.bmc("n01").host_mut().event_log.delete(0xFFFF, now);
        }),
        ("the oldest is deleted", |world| {
            let now = world.now;
            world.bmc("n01").host_mut().event_log.delete(0, now);
        }),
        ("it is cleared", |world| {
            let now = world.now;
            world.bmc("n01").host_mut().event_log.clear(now);
        }),
    ];
    for (what, meddle) in meddling {
        let mut world = world(30, 1);
        let call = world.ask(Call::Order {
            node: "n01".into(),
            order: Order::ReadEventLog(10),
            who: who(),
        });
        let (mut seen, end) = (requests(&mut world), world.now + secs(30));
        let ended = world.run_until(end, |world| {
            let now = requests(world);
            if now > seen {
                seen = now;
                meddle(world);
            }
            world.has_answered(call)
        });
        assert!(ended, "{what}");
        let answer = world.take_answer(call).expect("just seen");
        if let Ok(Answer::Reading(Reading::EventLog { entries, .. })) = &answer {
            let ids: Vec<u16> = entries.iter().map(|entry| entry.id).collect();
            assert!(ids.is_sorted_by(|a, b| a < b), "{what}: {ids:?}");
        }
    }
}

#[test]
fn a_log_that_notes_its_own_clearing_was_cleared() {
    for entries in [1, 5] {
        let mut world = world(entries, 1);
        world.mood("n01").log.notes_clearing = true;
        let answer = order(&mut world, Order::ClearEventLog);
        assert!(
            matches!(answer, Ok(Reading::EventLogCleared { left: Some(1) })),
            "{answer:?}"
        );
    }
}

#[test]
fn an_erasure_that_somebody_else_began_is_waited_for_some_seconds() {
    let erasing = |world: &mut World, command: u8, times: u32| {
        world.mood("n01").command_refusals = vec![CommandRefusal {
            net_fn: 0x0A,
            command,
            code: 0x81,
            after: 0,
            times,
        }];
    };
    for (read_or_clear, command) in [
        (Order::ReadEventLog(3), 0x43),
        (Order::ClearEventLog, 0x42),
        (Order::ClearEventLog, 0x47),
    ] {
        let mut world = world(5, 1);
        erasing(&mut world, command, 6);
        let answer = order(&mut world, read_or_clear.clone());
        assert!(
            answer.is_ok(),
            "{read_or_clear:?} {command:02X}h: {answer:?}"
        );
        // One that never ends is said.
        let began = world.now;
        erasing(&mut world, command, 1000);
        let refused = order(&mut world, read_or_clear).unwrap_err();
        assert!(world.now - began < secs(26));
        assert!(refused.to_string().contains("erased"), "{refused}");
    }
}

#[test]
fn a_bmc_that_stays_busy_is_said_to_be_so_within_seconds() {
    for code in [0xC0, 0xC3, 0xC4, 0xCE, 0xD2, 0xFF] {
        let mut world = world(5, 1);
        world.mood("n01").command_refusals = vec![CommandRefusal {
            net_fn: 0x06,
            command: 0x01,
            code,
            after: 0,
            times: 1000,
        }];
        let began = world.now;
        let refused = order(&mut world, Order::ReadIdentity).unwrap_err();
        // Asked again twice, after a second each.
        let took = world.now - began;
        assert!(took >= secs(2) && took < secs(5), "{code:02X}h: {took:?}");
        let said = format!("completion code 0x{code:02x}");
        assert!(refused.to_string().contains(&said), "{refused}");
    }
}
