//! How a handshake that fails ends: with the reason that the BMC gave, and when.

use super::*;
use crate::ipmi::payload::PayloadType;
use crate::ipmi::{CompletionCode, Status};

use super::world::{OUR_TAG, World};

/// Opens a session with a BMC that answers one step so: the error, and the seconds that it took.
fn fails(kind: PayloadType, answer: &[u8]) -> (OpenError, f64, World) {
    let mut world = World::new();
    world.refusal = Some((kind, answer.to_vec()));
    world.session.open(world.now, &mut world.entropy);
    loop {
        world.serve();
        if let Some(event) = world.session.poll_event() {
            let error = match event {
                Event::OpenFailed(error) => error,
                Event::StillOpening(_) => continue,
                _ => panic!("{event:?}"),
            };
            assert_eq!(world.session.state(), State::Closed);
            let took = (world.now - at(0.0)).as_secs_f64();
            return (error, took, world);
        }
        assert!(world.step(), "it neither ends nor waits");
    }
}

/// OpenBMC's way to refuse: tag 0, status, reserved, console session id 0, by hand.
fn openbmc(status: u8) -> [u8; 8] {
    [0, status, 0, 0, 0, 0, 0, 0]
}

/// A refusal that carries the tag of what it refuses.
fn tagged(status: u8) -> [u8; 8] {
    [OUR_TAG, status, 0, 0, 0, 0, 0, 0]
}

const STATUSES: std::ops::RangeInclusive<u8> = 0x01..=0x12;

#[test]
fn each_status_of_rakp_2_and_4_ends_the_handshake_with_its_meaning() {
    for (kind, step, found_in) in [
        (PayloadType::Rakp2, "RAKP 1", "RAKP 2"),
        (PayloadType::Rakp4, "RAKP 3", "RAKP 4"),
    ] {
        for code in STATUSES {
            let (error, took, world) = fails(kind, &tagged(code));
            let status = Status(code);
            let expected = match code {
                0x01 | 0x0B => OpenError::SessionsFull(status.to_string()),
                0x09 => OpenError::NoPrivilege {
                    asked: PrivilegeLevel::Operator,
                    reason: format!("{status}, or the user is disabled at the BMC"),
                },
                0x0A => OpenError::NoPrivilege {
                    asked: PrivilegeLevel::Operator,
                    reason: status.to_string(),
                },
                0x0C | 0x0D => OpenError::UnknownUser {
                    found_in,
                    asked: PrivilegeLevel::Operator,
                },
                0x0F => OpenError::WrongPassword { found_in },
                _ => OpenError::Refused { step, status },
            };
            assert_eq!(error, expected, "{found_in}, {status}");
            if matches!(code, 0x02 | 0x08) {
                // The BMC has forgotten the exchange: tried again, the second time at once, and
                // with an end.
                assert!((1.0..=20.0).contains(&took), "{status}: {took} s");
                assert!((3..=8).contains(&world.opens.len()), "{status}");
            } else {
                // Anybody may have sent it: the BMC has its time for another answer.
                assert!((0.0..=2.5).contains(&took), "{status}: {took} s");
                assert_eq!(world.opens.len(), 1, "{found_in}, {status}");
            }
        }
    }
}

#[test]
fn what_carries_no_number_of_ours_is_believed_when_nothing_better_comes_and_is_hearsay() {
    for (kind, code) in [
        (PayloadType::Rakp2, 0x0D),
        (PayloadType::Rakp2, 0x0F),
        (PayloadType::Rakp2, 0x0A),
        (PayloadType::Rakp4, 0x0D),
    ] {
        let (error, took, world) = fails(kind, &openbmc(code));
        assert!(matches!(error, OpenError::Unsigned(_)), "{error:?}");
        assert!((0.4..=2.5).contains(&took), "{code:02X}h: {took} s");
        assert_eq!(world.opens.len(), 1);
    }
}

/// A tag is one of 256: whoever forges them sends them all.
#[test]
fn refusals_with_every_tag_that_there_is_keep_no_session_from_opening() {
    for code in STATUSES {
        let mut world = World::new();
        world.forged = Some(code);
        world.session.open(world.now, &mut world.entropy);
        while !matches!(world.session.state(), State::Open { .. }) {
            world.serve();
            let events = world.events();
            let failed = |event: &&Event| matches!(event, Event::OpenFailed(_));
            assert_eq!(events.iter().find(failed), None, "{code:02X}h");
            if matches!(world.session.state(), State::Open { .. }) {
                break;
            }
            assert!(world.step(), "it neither opens nor waits");
        }
        assert_eq!((world.now, world.opens.len()), (at(0.0), 1), "{code:02X}h");
    }
}

#[test]
fn each_status_of_openbmc_s_open_session_response_ends_the_handshake_with_its_meaning() {
    for code in STATUSES {
        let status = Status(code);
        let (error, took, world) = fails(PayloadType::OpenSessionResponse, &tagged(code));
        let expected = match code {
            0x01 | 0x0B => OpenError::SessionsFull(status.to_string()),
            0x09 | 0x0A => OpenError::NoPrivilege {
                asked: PrivilegeLevel::Operator,
                reason: status.to_string(),
            },
            _ => OpenError::NoCommonSuite {
                tried: vec![(SuiteId(0), status.to_string())],
                offered: vec![],
            },
        };
        assert_eq!(error, expected, "{status}");
        // Once for the suite, and once more with the highest level where it may have been that.
        let tries = if matches!(code, 0x09 | 0x0A | 0x12) {
            2
        } else {
            1
        };
        assert_eq!(world.opens.len(), tries, "{status}");
        // Before "no common suite" the BMC is asked for its list, which this one does not give.
        let limit = match error {
            OpenError::NoCommonSuite { .. } => 1.5,
            _ => 1.0,
        };
        assert!(took <= limit, "{status}: {took} s");
    }
}

#[test]
fn short_refusals_count_as_far_as_they_go() {
    for (bytes, status) in [
        (&[OUR_TAG, 0x0D][..], 0x0D),
        (&[OUR_TAG, 0x0D, 0, 0, 0, 0, 0], 0x0D),
    ] {
        let (error, took, _) = fails(PayloadType::Rakp2, bytes);
        assert!(matches!(error, OpenError::UnknownUser { .. }), "{status}");
        assert!(took <= 0.5, "{took} s");
    }
}

#[test]
fn a_bmc_that_stops_answering_in_the_handshake_is_called_stalled_with_the_step() {
    for (kind, expected) in [
        (PayloadType::OpenSessionResponse, "Open Session Request"),
        (PayloadType::Rakp2, "RAKP 1"),
        (PayloadType::Rakp4, "RAKP 3"),
    ] {
        let (error, took, world) = fails(kind, &[]);
        let OpenError::Stalled {
            step,
            attempts,
            over,
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((step, over.as_secs_f64()), (expected, took));
        // It gets its time, and an end: after RAKP 3 the BMC may have a session, and more than two
        // of ours are not made.
        let least = if kind == PayloadType::Rakp4 { 2.0 } else { 4.5 };
        assert!((least..=60.0).contains(&took), "{step}: {took} s");
        assert!((2..=8).contains(&attempts), "{step}: {attempts} log-ins");
        // Each log-in is new: as many console ids; and at most four Open Session Requests in three
        // seconds.
        let ids: std::collections::BTreeSet<_> =
            world.opens.iter().map(|open| open.console_id).collect();
        assert_eq!(ids.len(), attempts as usize);
        for four in world.opened_at.windows(5) {
            assert!(four[4] - four[0] >= Duration::from_secs(3), "{four:?}");
        }
    }
}

#[test]
fn a_session_with_the_number_zero_is_no_session_and_said() {
    let mut world = World::new();
    world.open = |request| {
        let mut reply = world::accept(request);
        // The BMC's number follows ours.
        reply[8..12].fill(0);
        reply
    };
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    assert_eq!(world.opens.len(), 1);
    assert_eq!(world.events(), [Event::OpenFailed(OpenError::SessionZero)]);
}

#[test]
fn a_level_that_was_granted_and_is_another_one_than_asked_for_is_known_as_that() {
    for (granted, known) in [
        (2, PrivilegeLevel::User),
        (4, PrivilegeLevel::Administrator),
        // Not a level: the one that was asked for.
        (0, PrivilegeLevel::Operator),
    ] {
        let mut world = World::new();
        world.privilege = match granted {
            2 => |_| (CompletionCode::OK, vec![2]),
            4 => |_| (CompletionCode::OK, vec![4]),
            _ => |_| (CompletionCode::OK, vec![0]),
        };
        world.session.open(world.now, &mut world.entropy);
        world.serve();
        let State::Open { privilege, .. } = world.session.state() else {
            panic!("open");
        };
        assert_eq!(privilege, known);
    }
}

#[test]
fn a_log_in_that_is_answered_no_more_ends_ten_seconds_after_the_last_answer() {
    let mut world = World::new();
    // Questions are answered each time, and what begins a session never.
    world.open = |_| vec![];
    world.session.open(world.now, &mut world.entropy);
    let mut told_at = None;
    loop {
        world.take();
        let events = world.events();
        let told = |event: &Event| matches!(event, Event::StillOpening(_));
        if events.iter().any(told) {
            told_at = Some(world.now);
        }
        if events
            .iter()
            .any(|event| matches!(event, Event::OpenFailed(_)))
        {
            break;
        }
        assert!(world.step(), "it waits for something");
    }
    assert!(told_at.expect("told") <= at(5.0), "{told_at:?}");
    assert!(world.now <= at(12.0), "{:?}", world.now);
    assert!(world.now >= at(9.0), "{:?}", world.now);
}
