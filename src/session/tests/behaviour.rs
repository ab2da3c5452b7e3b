//! What a session does about loss, lateness, refusals and impatience, with a BMC of cipher suite 0:
//! there its packets can be read and written without keys.

use super::world::{BMC_ID, World};
use super::*;
use crate::ipmi::CompletionCode;
use crate::ipmi::command::get_device_id;
use crate::ipmi::message::{self, Checksums};

#[test]
fn a_reading_is_sent_again_with_the_same_request_number_and_the_next_session_number() {
    let mut world = World::opened();
    let id = world.ask(Resend::Allowed, 60.0);
    let first = world.take();
    world.step();
    let second = world.take();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first, second);
    assert_eq!(world.seen[1].0, world.seen[0].0 + 1);
    world.answer(&first[0], CompletionCode::OK, &[1, 0, 0]);
    // No measurement: nobody knows which copy was answered (Karn).
    assert!(matches!(
        world.events()[..],
        [Event::Answered { id: answered, round_trip: None, .. }] if answered == id
    ));
}

#[test]
fn where_the_session_is_found_to_live_the_next_copy_leaves_sooner_four_times() {
    let mut world = World::opened();
    world.answers_probes = true;
    world.ask(Resend::Allowed, 60.0);
    world.take();
    let (mut found_alive, mut sooner) = (vec![], 0);
    while world.session.pending() > 0 {
        let probes = world.probes;
        world.step();
        let copies = world.take().len();
        if world.probes > probes {
            found_alive.push(world.now);
        } else if found_alive.last() == Some(&world.now) {
            sooner += copies;
        }
    }
    assert!(found_alive.len() > 4, "{found_alive:?}");
    assert_eq!(sooner, 4);
}

#[test]
fn a_pulse_is_exactly_one_datagram_and_its_silence_is_said_at_the_end_of_its_patience() {
    let mut world = World::opened();
    world.answers_probes = true;
    let asked_at = world.now;
    let id = world.ask(Resend::Never, 30.0);
    let mut sent = world.take().len();
    while world.session.pending() > 0 {
        world.step();
        sent += world.take().len();
    }
    assert_eq!(sent, 1);
    let after = world.now - asked_at;
    assert_eq!(after, Duration::from_secs(30));
    let unanswered = Event::Unanswered {
        id,
        datagrams: 1,
        reason: UnansweredReason::Silent,
    };
    assert_eq!(world.events(), [unanswered]);
    assert!(matches!(world.session.state(), State::Open { .. }));
}

#[test]
fn a_withdrawn_request_never_leaves_and_says_whether_it_had() {
    let mut world = World::opened();
    let first = world.ask(Resend::Allowed, 10.0);
    let queued = world.ask(Resend::Allowed, 10.0);
    assert_eq!(world.session.withdraw(queued), Withdrawn::NotSent);
    // Sealed, but not handed out yet.
    assert_eq!(world.session.withdraw(first), Withdrawn::NotSent);
    assert_eq!(world.session.poll_transmit(), None);

    let sent = world.ask(Resend::Allowed, 10.0);
    let request = world.take().remove(0);
    world.step();
    // A second copy is sealed and taken back: one was sent.
    assert_eq!(
        world.session.withdraw(sent),
        Withdrawn::Sent { datagrams: 1 }
    );
    assert_eq!(world.session.poll_transmit(), None);
    world.answer(&request, CompletionCode::OK, &[1, 0, 0]);
    assert_eq!(world.events(), []);
    assert_eq!(world.session.withdraw(sent), Withdrawn::Unknown);
}

#[test]
fn a_late_reply_is_never_taken_for_the_answer_to_a_later_request() {
    let mut world = World::opened();
    let late = world.ask(Resend::Never, 1.0);
    let old = world.take().remove(0);
    world.step();
    let unanswered = |event: &Event| matches!(event, Event::Unanswered { id, .. } if *id == late);
    assert!(world.events().iter().any(unanswered));
    let next = world.ask(Resend::Allowed, 100.0);
    let new = world.take().remove(0);
    world.answer(&old, CompletionCode::OK, &[0, 0, 0]);
    assert!(matches!(
        &world.events()[..],
        [Event::AnsweredLate { id, data, .. }] if *id == late && data[..] == [0, 0, 0]
    ));
    world.answer(&old, CompletionCode::OK, &[0, 0, 0]);
    assert_eq!(world.events(), [], "once");
    world.answer(&new, CompletionCode::OK, &[1, 0, 0]);
    assert!(matches!(
        &world.events()[..],
        [Event::Answered { id, data, .. }] if *id == next && data[..] == [1, 0, 0]
    ));
    // Its number stays out of use for this command when the numbers have gone round.
    for _ in 0..70 {
        world.ask(Resend::Allowed, 1.0);
        let request = world.take().remove(0);
        assert_ne!(request.sequence, old.sequence);
        world.answer(&request, CompletionCode::OK, &[1, 0, 0]);
    }
}

#[test]
fn the_number_of_a_request_that_was_sent_again_rests_before_it_is_used_again() {
    let mut world = World::opened();
    world.ask(Resend::Allowed, 60.0);
    let first = world.take().remove(0);
    world.step();
    assert_eq!(world.take().len(), 1);
    world.answer(&first, CompletionCode::OK, &[1, 0, 0]);
    for _ in 0..70 {
        world.ask(Resend::Allowed, 1.0);
        let request = world.take().remove(0);
        assert_ne!(request.sequence, first.sequence);
        world.answer(&request, CompletionCode::OK, &[1, 0, 0]);
    }
}

#[test]
fn a_duplicate_refused_waits_for_the_answer_to_the_first_copy() {
    let mut world = World::opened();
    let id = world.ask(Resend::Allowed, 20.0);
    let request = world.take().remove(0);
    world.step();
    assert_eq!(world.take().len(), 1);
    world.answer(&request, CompletionCode::DUPLICATE, &[]);
    assert_eq!(world.events(), []);
    // No third copy until the end of its patience; whether the session is there may be asked.
    world.answers_probes = true;
    while world.session.pending() > 0 {
        world.step();
        assert_eq!(world.take(), []);
    }
    let unanswered = Event::Unanswered {
        id,
        datagrams: 2,
        reason: UnansweredReason::Duplicate,
    };
    assert_eq!(world.events(), [unanswered]);
}

#[test]
fn a_session_is_lost_when_different_requests_brought_nothing_and_is_closed_and_what_was_not_sent_is_kept()
 {
    let mut world = World::opened();
    let sent = world.ask(Resend::Allowed, 600.0);
    let kept = world.ask(Resend::Never, 600.0);
    let asked_at = world.now;
    world.answers_outside = false;
    while matches!(world.session.state(), State::Open { .. }) {
        world.take();
        world.step();
    }
    let after = world.now - asked_at;
    assert!(after >= Duration::from_secs(11), "{after:?}");
    let events = world.events();
    assert!(
        matches!(events[..], [
            Event::Unanswered { id, reason: UnansweredReason::SessionLost, .. },
            Event::Lost(LostReason::Silent { .. }),
        ] if id == sent),
        "{events:?}"
    );
    let commands: std::collections::BTreeSet<_> =
        world.seen.iter().map(|(_, it)| it.command).collect();
    assert!(commands.contains(&0x01) && world.probes > 1, "{commands:?}");
    assert_eq!(world.take()[0].command, 0x3C, "Close Session");
    assert_eq!(world.session.pending(), 1);
    world.answers_outside = true;
    world.session.open(world.now, &mut world.entropy);
    world.outbound = 0;
    let mut requests = vec![];
    for _ in 0..6 {
        requests.extend(world.take());
    }
    assert_eq!(requests.len(), 1);
    assert!(matches!(world.events()[..], [Event::Opened(_)]));
    world.answer(&requests[0], CompletionCode::OK, &[0, 0, 0]);
    assert!(matches!(world.events()[..], [Event::Answered { id, .. }] if id == kept));
}

#[test]
fn a_bmc_that_answers_outside_of_a_session_and_not_in_it_has_lost_it() {
    let mut world = World::opened();
    world.ask(Resend::Never, 600.0);
    let asked_at = world.now;
    while matches!(world.session.state(), State::Open { .. }) {
        world.take();
        world.step();
    }
    let after = world.now - asked_at;
    assert!(after < Duration::from_secs(4), "{after:?}");
    // The pulse itself was one datagram.
    let pulses = world.seen.iter().filter(|(_, it)| it.net_fn == 0);
    assert_eq!(pulses.count(), 1);
}

#[test]
fn a_slow_command_costs_no_session_and_its_answer_is_taken_and_remembered() {
    for (resend, seconds) in [(Resend::Allowed, 10.0), (Resend::Never, 10.0)] {
        let mut world = World::opened();
        world.answers_probes = true;
        let id = world.ask(resend, 5.0);
        let asked_at = world.now;
        let mut asked = world.take();
        loop {
            let due = world.session.poll_timeout().expect("it waits");
            if due >= asked_at + Duration::from_secs_f64(seconds) {
                break;
            }
            world.step();
            asked.extend(world.take());
        }
        world.now = asked_at + Duration::from_secs_f64(seconds);
        assert_eq!(resend == Resend::Never, asked.len() == 1);
        world.answer(&asked[0], CompletionCode::OK, &[1, 0, 0]);
        let events = world.events();
        assert!(
            matches!(events[..], [Event::Answered { id: answered, .. }] if answered == id),
            "{events:?}"
        );
        let round_trip = world.session.statistics().round_trip.expect("known");
        assert!(round_trip > Duration::from_secs(1), "{round_trip:?}");
    }
}

#[test]
fn a_reading_is_waited_for_half_a_minute_and_a_pulse_twelve_seconds_while_the_session_lives() {
    for (resend, seconds) in [(Resend::Allowed, 30), (Resend::Never, 12)] {
        let mut world = World::opened();
        world.answers_probes = true;
        let asked_at = world.now;
        let id = world.ask(resend, 5.0);
        world.take();
        while world.session.pending() > 0 {
            world.step();
            world.take();
        }
        assert_eq!(world.now - asked_at, Duration::from_secs(seconds));
        assert!(matches!(
            world.events()[..],
            [Event::Unanswered { id: ended, reason: UnansweredReason::Silent, .. }] if ended == id
        ));
        assert!(matches!(world.session.state(), State::Open { .. }));
    }
}

#[test]
fn a_queued_request_ends_with_its_patience_though_nothing_is_open() {
    let mut session = Session::new(settings());
    let request = Request::of(
        &get_device_id::Request,
        Resend::Allowed,
        Duration::from_secs(3),
    );
    let id = session.request(request, at(1.0));
    assert_eq!(session.poll_timeout(), Some(at(4.0)));
    session.handle_timeout(at(4.0), &mut Seeded::new(1));
    let unanswered = Event::Unanswered {
        id,
        datagrams: 0,
        reason: UnansweredReason::NoSession,
    };
    assert_eq!(session.poll_event(), Some(unanswered));
    assert_eq!(session.poll_transmit(), None);
}

#[test]
fn a_session_is_closed_with_one_packet_and_a_silent_bmc_does_not_hold_it() {
    let mut world = World::opened();
    world.session.close(world.now, &mut world.entropy);
    let requests = world.take();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (
            requests[0].net_fn,
            requests[0].command,
            &requests[0].data[..]
        ),
        (6, 0x3C, &BMC_ID.to_le_bytes()[..])
    );
    let before = world.now;
    world.step();
    assert!(world.now - before <= Duration::from_secs(1));
    assert_eq!(world.events(), [Event::Closed]);
    assert_eq!(world.session.poll_transmit(), None);
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn new_settings_close_the_session_and_open_nothing() {
    let mut world = World::opened();
    let other = Settings::new("other", Password::new(*b"other").unwrap());
    world
        .session
        .replace_settings(other, world.now, &mut world.entropy);
    assert_eq!(world.session.state(), State::Closing);
    world.step();
    assert_eq!(world.take()[0].command, 0x3C);
    world.step();
    assert_eq!(world.session.state(), State::Closed);
    assert_eq!(world.session.statistics().round_trip, None);
    assert_eq!(world.events(), [Event::Closed]);
}

/// The network says of each datagram from now on that it did not arrive. How long that was said
/// until an event came.
fn undeliverable(session: &mut Session, why: Undeliverable, entropy: &mut Seeded) -> (f64, Event) {
    let from = 100.0;
    for step in 0..200 {
        let now = at(from + f64::from(step) * 0.05);
        session.handle_timeout(now, entropy);
        while session.poll_transmit().is_some() {}
        // However often it is said of one datagram.
        for _ in 0..9 {
            session.handle_unreachable(why, now, entropy);
        }
        if let Some(event) = session.poll_event() {
            return (f64::from(step) * 0.05, event);
        }
    }
    panic!("{:?}", session.state());
}

#[test]
fn what_the_network_says_is_believed_after_the_time_of_an_answer_and_later_each_time() {
    let mut entropy = Seeded::new(1);
    let mut session = Session::new(settings());
    for least in [1.0, 2.0, 4.0, 4.0] {
        session.open(at(100.0), &mut entropy);
        let (took, event) = undeliverable(&mut session, Undeliverable::Port, &mut entropy);
        let why = OpenError::Unreachable(Undeliverable::Port);
        assert_eq!(event, Event::OpenFailed(why));
        // The next copy makes it known.
        assert!((least..least + 0.5).contains(&took), "{took}");
    }
}

#[test]
fn one_undeliverable_datagram_ends_nothing_and_all_for_a_second_end_a_session() {
    let mut world = World::opened();
    world.answers_outside = false;
    let id = world.ask(Resend::Allowed, 10.0);
    world.take();
    let began = world.now;
    let why = Undeliverable::Host;
    let mut events = Vec::new();
    while events.is_empty() {
        let now = world.now;
        world
            .session
            .handle_unreachable(why, now, &mut world.entropy);
        events = world.events();
        if events.is_empty() {
            assert!(matches!(world.session.state(), State::Open { .. }));
            world.step();
            world.take();
        }
    }
    let lasted = world.now - began;
    assert!(lasted >= Duration::from_secs(1) && lasted < Duration::from_secs(2));
    assert!(matches!(
        events[..],
        [
            Event::Unanswered {
                id: ended,
                reason: UnansweredReason::SessionLost,
                ..
            },
            Event::Lost(LostReason::Unreachable(Undeliverable::Host))
        ] if ended == id
    ));
}

#[test]
fn a_close_that_is_called_undeliverable_is_over_and_what_is_to_open_again_does() {
    let mut world = World::opened();
    world.session.close(world.now, &mut world.entropy);
    world.session.open(world.now, &mut world.entropy);
    world.take();
    let (why, now) = (Undeliverable::Port, world.now);
    world
        .session
        .handle_unreachable(why, now, &mut world.entropy);
    assert_eq!(world.events(), [Event::Closed]);
    assert!(matches!(world.session.state(), State::Opening { .. }));
}

#[test]
fn a_session_that_is_given_up_is_closed_with_one_datagram_and_says_nothing_more() {
    let mut world = World::opened();
    world.ask(Resend::Allowed, 10.0);
    world.session.give_up(world.now, &mut world.entropy);
    // One datagram tells the BMC.
    assert_eq!(world.take()[0].command, 0x3C);
    assert_eq!(world.session.poll_transmit(), None);
    assert_eq!(world.session.poll_timeout(), None);
    assert_eq!(world.events(), []);
    assert_eq!(world.session.state(), State::Closed);
}

#[test]
fn a_bridged_request_waits_past_the_acknowledgement_for_the_controller_s_own_answer() {
    let mut world = World::opened();
    let bridged = |bridge| Request {
        bridge,
        ..Request::of(
            &get_device_id::Request,
            Resend::Allowed,
            Duration::from_secs(9),
        )
    };
    let single = Bridge::Single {
        channel: 6,
        address: 0x2C,
    };
    let id = world.session.request(bridged(single), world.now);
    world.step();
    let carrier = world.take().remove(0);
    // §22.7: Send Message, tracked, to channel 6, with the inner message from the BMC's address.
    let sequence = carrier.sequence << 2;
    let inner = [0x2C, 0x18, 0xBC, 0x20, sequence, 0x01];
    assert_eq!((carrier.net_fn, carrier.command), (6, 0x34));
    assert_eq!(carrier.data[0], 0x46);
    assert_eq!(carrier.data[1..7], inner);
    world.answer(&carrier, CompletionCode::OK, &[]);
    assert_eq!(world.events(), []);
    let target = message::Request::decode(&carrier.data[1..], Checksums::Verified).unwrap();
    world.answer(&target, CompletionCode::OK, &[9, 9]);
    assert!(matches!(
        &world.events()[..],
        [Event::Answered { id: answered, data, .. }] if *answered == id && data[..] == [9, 9]
    ));

    // Twice wrapped, and answered inside of the acknowledgements.
    let dual = Bridge::Dual {
        transit_channel: 0,
        transit_address: 0x82,
        channel: 7,
        address: 0x72,
    };
    world.session.request(bridged(dual), world.now);
    world.step();
    let carrier = world.take().remove(0);
    let middle = message::Request::decode(&carrier.data[1..], Checksums::Verified).unwrap();
    assert_eq!((middle.responder, middle.command), (0x82, 0x34));
    let target = message::Request::decode(&middle.data[1..], Checksums::Verified).unwrap();
    assert_eq!((target.responder, target.requester), (0x72, 0x82));
    let innermost = target.respond(CompletionCode::OK, vec![8]).encode();
    let inside = middle.respond(CompletionCode::OK, innermost).encode();
    world.answer(&carrier, CompletionCode::OK, &inside);
    assert!(matches!(
        &world.events()[..],
        [Event::Answered { data, .. }] if data[..] == [8]
    ));
}

#[test]
fn a_babbling_bmc_changes_nothing() {
    let mut world = World::opened();
    let id = world.ask(Resend::Allowed, 10.0);
    let request = world.take().remove(0);
    let mut noise = Seeded::new(99);
    for _ in 0..5000 {
        let length = noise.below(80) as usize;
        let mut bytes = vec![0; length];
        noise.fill(&mut bytes);
        if noise.chance(0.5) {
            bytes.splice(..length.min(5), [6, 0, 0xFF, 7, 6]);
        }
        world.give(&bytes);
    }
    assert_eq!(world.events(), []);
    assert_eq!(world.session.poll_transmit(), None);
    world.answer(&request, CompletionCode::OK, &[1, 0, 0]);
    assert!(matches!(world.events()[..], [Event::Answered { id: answered, .. }] if answered == id));
}

#[test]
fn the_numbers_of_our_packets_go_round_without_zero_and_those_of_the_bmc_may() {
    use crate::ipmi::session15::{self, AuthType};
    use crate::session::link::{Link, Pace};
    use crate::session::round_trip::RoundTrip;
    use crate::session::seal::{Seal, Seal15};
    // IPMI 1.5, where the BMC says where our numbers begin, and we where its do.
    let password = Password::new(*b"secret").unwrap();
    let seal = Seal15::new(AuthType::Md5, &password, 7, true, Quirks::NONE);
    let bmc = Seal15::new(AuthType::Md5, &password, 7, true, Quirks::NONE);
    let start = u32::MAX - 2;
    let mut link = Link::new(
        Seal::V15(Box::new(seal)),
        7,
        start,
        start,
        Checksums::Verified,
    );
    let mut entropy = Seeded::new(1);
    let (timing, round_trip) = (Timing::default(), RoundTrip::default());
    let mut seen = vec![];
    for answer in [u32::MAX - 1, u32::MAX, 1, 2] {
        let request = Request::of(
            &get_device_id::Request,
            Resend::Allowed,
            Duration::from_secs(9),
        );
        let pace = Pace {
            timing: &timing,
            round_trip: &round_trip,
        };
        let datagram = link.begin(None, request, at(9.0), pace, at(0.0), &mut entropy);
        let packet = session15::Packet::decode(&datagram[4..]).unwrap();
        seen.push(packet.sequence);
        let request = message::Request::decode(packet.payload, Checksums::Verified).unwrap();
        let reply = request.respond(CompletionCode::OK, vec![]).encode();
        let datagram = |number| [&[6, 0, 0xFF, 7][..], &bmc.body(number, &reply)].concat();
        assert_eq!(
            link.receive(&datagram(0), at(0.0)).err(),
            Some(Dropped::OutOfWindow)
        );
        assert!(matches!(
            link.receive(&datagram(answer), at(0.0)),
            Ok(Some(_))
        ));
    }
    assert_eq!(seen, [u32::MAX - 1, u32::MAX, 1, 2]);
}
