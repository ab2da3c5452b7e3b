//! Opening a session: what is sent again, what is believed, which suite and which level come of it.

use super::world::{World, accept, prove_nothing};
use super::*;
use crate::ipmi::open_session::{self, Refused};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::{CompletionCode, Status, SuiteId, rmcp};

#[test]
fn rakp_1_goes_again_within_the_log_in_and_only_then_all_begins_anew_from_a_fresh_port() {
    let mut world = World::new();
    world.rakp2 = |_, _| vec![];
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    let (old_id, fresh) = (world.console_id, world.fresh);
    let mut copies = 0;
    while world.opens.len() == 1 {
        world.step();
        world.serve();
        copies += 1;
        assert!(copies < 20);
    }
    // Six copies: four waits of 400 ms, then 800 ms and 1.6 s.
    assert_eq!((world.now, copies), (at(4.0), 6));
    assert_ne!(world.opens[1].console_id, old_id);
    assert_eq!(world.fresh, fresh + 1);
    // The copies carry one random number, and what begins anew another.
    let (copies, anew) = world.rakp1s.split_at(6);
    assert!(copies.iter().all(|random| *random == copies[0]));
    assert_ne!(anew[0], copies[0]);
    world.rakp2 = prove_nothing;
    world.step();
    world.serve();
    assert!(matches!(world.events()[..], [Event::Opened(_)]));
}

#[test]
fn rakp_3_goes_twice_where_an_answer_under_the_keys_proves_nothing() {
    let mut world = World::new();
    world.loses_rakp4 = true;
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    while world.opens.len() == 1 {
        assert!(world.step());
        world.serve();
    }
    let anew = world.opened_at[1];
    let before = world.rakp3s.iter().filter(|at| **at < anew);
    assert_eq!(before.count(), 2);
    // The word that the first session is given up, and no question in it.
    assert!(world.seen.iter().all(|(_, it)| it.command == 0x3C));
}

#[test]
fn a_lost_open_session_response_costs_one_copy_with_the_same_id() {
    let mut world = World::new();
    world.refusal = Some((PayloadType::OpenSessionResponse, vec![]));
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    world.refusal = None;
    world.step();
    world.serve();
    assert_eq!(world.opens.len(), 2);
    assert_eq!(world.opens[0].console_id, world.opens[1].console_id);
    assert_eq!(world.now, at(0.4));
    assert!(matches!(world.events()[..], [Event::Opened(_)]));
}

/// A log-in whose first suite was not answered and was left for the next one; the answer to it
/// comes now, with its tag changed by `tag`.
fn answered_late(tag: impl FnOnce(u8) -> u8) -> World {
    let mut world = World::new();
    let mut settings = world.session.settings().clone();
    settings.suites = vec![SuiteId(0), SuiteId(17)];
    world
        .session
        .replace_settings(settings, world.now, &mut world.entropy);
    world.refusal = Some((PayloadType::OpenSessionResponse, vec![]));
    world.session.open(world.now, &mut world.entropy);
    while world
        .opens
        .last()
        .is_none_or(|open| open.algorithms.authentication == 0)
    {
        world.serve();
        assert!(world.step());
    }
    world.take();
    world.refusal = None;
    let first = world.opens[0];
    world.console_id = first.console_id;
    let mut answer = accept(&first);
    answer[0] = tag(answer[0]);
    let body = crate::ipmi::session20::Header::outside(PayloadType::OpenSessionResponse);
    let datagram = rmcp::encode(rmcp::Class::Ipmi, &body.encode(&answer));
    let now = world.now;
    world
        .session
        .handle_late_datagram(&datagram, now, &mut world.entropy);
    world
}

#[test]
fn a_late_answer_to_an_open_session_that_was_left_for_another_suite_s_is_taken() {
    for tag in [|tag| tag, |_| 0] {
        let mut world = answered_late(tag);
        world.serve();
        let events = world.events();
        assert!(
            matches!(&events[..], [.., Event::Opened(opened)] if opened.suite() == Some(SuiteId(0))),
            "{events:?}"
        );
    }
}

#[test]
fn a_late_answer_with_a_tag_that_was_never_sent_is_dropped() {
    let world = answered_late(|tag| tag ^ 0x80);
    let statistics = world.session.statistics();
    assert_eq!(statistics.dropped[&Dropped::OtherSession], 1);
    assert!(matches!(world.session.state(), State::Opening { .. }));
}

#[test]
fn a_late_error_at_the_port_of_an_earlier_log_in_is_dropped() {
    let mut world = answered_late(|tag| tag ^ 0x80);
    let first = world.opens[0];
    let refused = Refused::new(first.tag, Status::INVALID_ROLE, first.console_id).encode();
    let header = crate::ipmi::session20::Header::outside(PayloadType::OpenSessionResponse);
    let body = header.encode(&refused);
    let datagram = rmcp::encode(rmcp::Class::Ipmi, &body);
    let now = world.now;
    world
        .session
        .handle_late_datagram(&datagram, now, &mut world.entropy);
    let statistics = world.session.statistics();
    assert_eq!(statistics.dropped[&Dropped::OtherSession], 2);
    assert!(matches!(world.session.state(), State::Opening { .. }));
}

#[test]
fn an_error_reply_with_tag_0_and_id_0_ends_the_handshake_with_the_true_reason() {
    // OpenBMC returns before it has copied tag and id.
    let refuse = |status| -> OpenError {
        let mut world = World::new();
        world.rakp2 = match status {
            Status::UNAUTHORISED_NAME => {
                |_, _| Refused::new(0, Status::UNAUTHORISED_NAME, 0).encode()
            }
            Status::UNAUTHORISED_ROLE => {
                |_, _| Refused::new(0, Status::UNAUTHORISED_ROLE, 0).encode()
            }
            Status::INSUFFICIENT_RESOURCES => {
                |_, _| Refused::new(0, Status::INSUFFICIENT_RESOURCES, 0).encode()
            }
            _ => |tag, _| vec![tag, 0x0F],
        };
        world.session.open(world.now, &mut world.entropy);
        world.serve();
        // Anybody could have sent it, so that something better is waited for.
        while !matches!(world.session.state(), State::Closed) {
            world.step();
            world.serve();
        }
        match &world.events()[..] {
            [Event::OpenFailed(OpenError::Unsigned(error))] => (**error).clone(),
            [Event::OpenFailed(error)] => error.clone(),
            events => panic!("{events:?}"),
        }
    };
    assert!(matches!(
        refuse(Status::UNAUTHORISED_NAME),
        OpenError::UnknownUser { .. }
    ));
    assert!(matches!(
        refuse(Status::UNAUTHORISED_ROLE),
        OpenError::NoPrivilege { .. }
    ));
    assert!(matches!(
        refuse(Status::INSUFFICIENT_RESOURCES),
        OpenError::SessionsFull(_)
    ));
    assert!(matches!(
        refuse(Status::INVALID_INTEGRITY_CHECK),
        OpenError::WrongPassword { .. }
    ));
}

#[test]
fn a_success_with_tag_0_is_taken_where_the_id_is_ours_and_remembered() {
    let mut world = World::new();
    world.rakp2 = |_, console_id| prove_nothing(0, console_id);
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    let [Event::Opened(opened)] = &world.events()[..] else {
        panic!("opened");
    };
    assert!(opened.quirks.has(Quirk::Tag0));
    assert!(opened.evidence[0].contains("tag0_ok"), "{opened:?}");
}

#[test]
fn a_refused_suite_leads_to_the_next_and_another_algorithm_than_asked_is_no_answer() {
    let mut world = World::new();
    let mut settings = world.session.settings().clone();
    settings.suites = vec![SuiteId(17), SuiteId(4), SuiteId(3), SuiteId(0)];
    world
        .session
        .replace_settings(settings, world.now, &mut world.entropy);
    world.open = |request| match request.algorithms.authentication {
        // 17: OpenBMC's way to refuse. 3: the BMC chooses suite 0 by itself.
        3 => vec![request.tag, 0x11],
        1 => {
            let none = SuiteId(0).suite().unwrap().algorithms();
            accept(&open_session::Request {
                algorithms: none,
                ..*request
            })
        }
        _ => accept(request),
    };
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    // What refuses 17 has no session's number: the BMC has its time for something better.
    world.step();
    world.serve();
    let [Event::Opened(opened)] = &world.events()[..] else {
        panic!("opened");
    };
    assert_eq!(opened.suite(), Some(SuiteId(0)));
    assert_eq!(opened.evidence.len(), 2);
    assert!(opened.evidence[0].contains("suite 17 refused: status 11h"));
    assert!(opened.evidence[1].contains("suite 3: the BMC chose no authentication"));
    // 4 uses xRC4: not even tried. The winner comes first the next time.
    assert_eq!(world.opens.len(), 3);
    world.session.close(world.now, &mut world.entropy);
    world.take();
    world.step();
    world.session.open(world.now, &mut world.entropy);
    world.outbound = 0;
    world.serve();
    assert_eq!(world.opens.len(), 4);
}

#[test]
fn a_bmc_with_one_of_the_suites_and_no_room_is_full() {
    for (room, expected) in [(0x01, true), (0x0B, true), (0x02, false)] {
        let mut world = World::new();
        let mut settings = world.session.settings().clone();
        settings.suites = vec![SuiteId(17), SuiteId(3)];
        world
            .session
            .replace_settings(settings, world.now, &mut world.entropy);
        world.open = match room {
            0x01 => |request| vec![request.tag, suite_or(request, 0x01)],
            0x0B => |request| vec![request.tag, suite_or(request, 0x0B)],
            _ => |request| vec![request.tag, suite_or(request, 0x02)],
        };
        world.session.open(world.now, &mut world.entropy);
        world.serve();
        while world.session.state() != State::Closed && world.step() {
            world.serve();
        }
        let events = world.events();
        let full = events
            .iter()
            .any(|event| matches!(event, Event::OpenFailed(OpenError::SessionsFull(_))));
        assert_eq!(full, expected, "{room:02X}h: {events:?}");
    }
}

/// The status of a BMC that has suite 17 and no other: there is something else about that one.
fn suite_or(request: &open_session::Request, other: u8) -> u8 {
    match request.algorithms.authentication {
        3 => other,
        _ => 0x04,
    }
}

#[test]
fn a_downgrade_alone_is_an_error_with_its_name() {
    let mut world = World::new();
    let mut settings = world.session.settings().clone();
    settings.suites = vec![SuiteId(17)];
    world
        .session
        .replace_settings(settings, world.now, &mut world.entropy);
    world.open = |request| {
        let algorithms = SuiteId(3).suite().unwrap().algorithms();
        accept(&open_session::Request {
            algorithms,
            ..*request
        })
    };
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    assert!(matches!(
        world.events()[..],
        [Event::OpenFailed(OpenError::Downgrade { .. })]
    ));
    // The BMC has made a session for it, which counts until it is forgotten.
    assert_eq!(world.session.left_behind(world.now), 1);
}

#[test]
fn a_privilege_level_that_is_refused_is_stepped_down_once_and_said() {
    type Answer = (CompletionCode, Vec<u8>);
    fn refuses_administrator(level: u8, code: u8) -> Answer {
        match level {
            4 => (CompletionCode(code), vec![]),
            _ => (CompletionCode::OK, vec![level]),
        }
    }
    let refusals: [fn(u8) -> Answer; 4] = [
        |level| refuses_administrator(level, 0x80),
        |level| refuses_administrator(level, 0x81),
        |level| refuses_administrator(level, 0x86),
        |level| refuses_administrator(level, 0xD4),
    ];
    for privilege in refusals {
        let mut world = an_administrator_s();
        world.privilege = privilege;
        world.session.open(world.now, &mut world.entropy);
        world.serve();
        let [Event::Opened(opened)] = &world.events()[..] else {
            panic!("opened");
        };
        assert_eq!(opened.privilege, PrivilegeLevel::Operator);
        assert!(opened.evidence[0].contains("administrator refused"));
    }

    let mut world = an_administrator_s();
    world.privilege = |_| (CompletionCode(0x80), vec![]);
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    assert!(matches!(
        world.events()[..],
        [Event::OpenFailed(OpenError::NoPrivilege { .. })]
    ));
}

#[test]
fn a_log_in_that_waits_for_room_goes_on_at_once_for_an_order_that_changes_power() {
    let mut world = World::new();
    for _ in 0..2 {
        world.session.inherit(Duration::from_secs(58), world.now);
    }
    let now = world.now;
    world.session.open(now, &mut world.entropy);
    world.serve();
    world.session.handle_timeout(now, &mut world.entropy);
    world.serve();
    assert!(world.opens.is_empty(), "a reading waits");
    world.session.needed_for(Need::Order, now);
    assert_eq!(world.session.poll_timeout(), Some(now));
    world.session.handle_timeout(now, &mut world.entropy);
    world.serve();
    assert!(matches!(world.events()[..], [Event::Opened(_)]));
}

#[test]
fn that_the_daemon_stood_still_is_no_silence_of_the_bmc() {
    let mut world = World::new();
    world.rakp2 = |_, _| vec![];
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    let gap = Duration::from_secs(600);
    world.now += gap;
    world.session.handle_absence(gap, world.now);
    world.rakp2 = prove_nothing;
    while matches!(world.session.state(), State::Opening { .. }) {
        assert!(world.step());
        world.serve();
    }
    assert!(matches!(world.events()[..], [Event::Opened(_)]));
    assert_eq!(world.opens.len(), 1, "it goes on where it was");
}

fn an_administrator_s() -> World {
    let mut world = World::new();
    let mut settings = world.session.settings().clone();
    settings.privilege = PrivilegeLevel::Administrator;
    world
        .session
        .replace_settings(settings, world.now, &mut world.entropy);
    world
}

#[test]
fn a_bmc_that_knows_no_question_for_the_level_has_given_it_with_the_session() {
    let mut world = an_administrator_s();
    world.privilege = |_| (CompletionCode(0xC1), vec![]);
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    let [Event::Opened(opened)] = &world.events()[..] else {
        panic!("opened");
    };
    assert_eq!(opened.privilege, PrivilegeLevel::Administrator);
    assert!(opened.evidence[0].contains("no Set Session Privilege Level"));
}

#[test]
fn a_bmc_that_refuses_the_real_level_in_open_session_is_asked_once_for_the_highest() {
    let mut world = World::new();
    world.open = |request| match request.privilege {
        0 => accept(request),
        _ => Refused::new(request.tag, Status::INVALID_ROLE, request.console_id).encode(),
    };
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    let [Event::Opened(opened)] = &world.events()[..] else {
        panic!("opened");
    };
    assert!(opened.quirks.has(Quirk::OpenPrivilegeHighest));
    assert!(opened.evidence[0].contains("open_priv=highest"));
    assert_eq!(world.opens.len(), 2);

    // Where that does not help either, it is the role that is refused.
    let mut world = World::new();
    world.open =
        |request| Refused::new(request.tag, Status::INVALID_ROLE, request.console_id).encode();
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    assert_eq!(world.opens.len(), 2);
    assert!(matches!(
        world.events()[..],
        [Event::OpenFailed(OpenError::NoPrivilege { .. })]
    ));
}

#[test]
fn a_bmc_that_is_busy_is_asked_for_the_level_again_each_second() {
    let mut world = World::new();
    world.privilege = |_| (CompletionCode::BUSY, vec![]);
    world.session.open(world.now, &mut world.entropy);
    world.serve();
    for times in 1..=3 {
        let asked = world.seen.iter().filter(|(_, it)| it.command == 0x3B);
        assert_eq!(asked.count(), times);
        let before = world.now;
        assert!(world.step());
        world.serve();
        assert_eq!(world.now - before, Duration::from_secs(1));
    }
    world.privilege = |level| (CompletionCode::OK, vec![level]);
    assert!(world.step());
    world.serve();
    assert!(matches!(world.events()[..], [Event::Opened(_)]));
}
