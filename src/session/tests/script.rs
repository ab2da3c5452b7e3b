//! A session fed any script of calls, datagrams and clock jumps: it never panics, every request
//! ends at most once, and a pulse is at most one datagram.

use super::known_answers::{Recorded, Tape, orders, sessions};
use super::*;
use crate::ipmi::command::{chassis_control, get_chassis_status};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Act {
    Open,
    Close,
    Abandon,
    Replace,
    Unreachable,
    Status,
    Pulse,
    Withdraw(usize),
    /// The recorded packet with this number, with one byte changed where given.
    Packet(usize, Option<(usize, u8)>),
    Noise(Vec<u8>),
    Wait(u32),
    Send(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Open),
        1 => Just(Act::Close),
        1 => Just(Act::Abandon),
        1 => Just(Act::Replace),
        1 => Just(Act::Unreachable),
        3 => Just(Act::Status),
        3 => Just(Act::Pulse),
        2 => (0usize..8).prop_map(Act::Withdraw),
        12 => (0usize..16).prop_map(|at| Act::Packet(at, None)),
        4 => (0usize..16, 0usize..90, any::<u8>()).prop_map(|(at, byte, x)| Act::Packet(at, Some((byte, x)))),
        2 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Act::Noise),
        6 => (0u32..9000).prop_map(Act::Wait),
        8 => (1usize..4).prop_map(Act::Send),
    ]
}

/// The acts that lead through a recorded session, so that scripts go on from deep within.
fn prelude(recorded: &Recorded, until: usize) -> Vec<Act> {
    let mut acts = vec![Act::Status, Act::Pulse, Act::Open];
    for (number, (ours, _)) in recorded.packets.iter().enumerate().take(until) {
        acts.push(if *ours {
            Act::Send(1)
        } else {
            Act::Packet(number, None)
        });
    }
    acts
}

proptest! {
    #[test]
    fn any_script_ends_every_request_at_most_once(
        which in 0usize..14,
        until in 0usize..14,
        script in proptest::collection::vec(act(), 0..60),
    ) {
        let recorded = &sessions()[which];
        let mut entropy = Tape::new();
        let mut session = Session::new(recorded.settings.clone());
        let mut now = at(0.0);
        let mut asked: Vec<(RequestId, Resend)> = vec![];
        let mut sent: BTreeMap<RequestId, u32> = BTreeMap::new();
        let mut ended: BTreeMap<RequestId, u32> = BTreeMap::new();
        let mut withdrawn: BTreeMap<RequestId, u32> = BTreeMap::new();
        for act in prelude(recorded, until).into_iter().chain(script) {
            match act {
                Act::Open => session.open(now, &mut entropy),
                Act::Close => session.close(now, &mut entropy),
                Act::Abandon => session.give_up(now, &mut entropy),
                Act::Replace => session.replace_settings(recorded.settings.clone(), now, &mut entropy),
                Act::Unreachable => session.handle_unreachable(Undeliverable::Port, now, &mut entropy),
                Act::Status => {
                    let command = get_chassis_status::Request;
                    let request = Request::of(&command, Resend::Allowed, Duration::from_secs(9));
                    asked.push((session.request(request, now), Resend::Allowed));
                }
                Act::Pulse => {
                    let command = chassis_control::Request::SoftShutdown;
                    let request = Request::of(&command, Resend::Never, Duration::from_secs(9));
                    asked.push((session.request(request, now), Resend::Never));
                }
                Act::Withdraw(at) => {
                    if let Some((id, _)) = asked.get(at) {
                        let datagrams = sent.get(id).copied().unwrap_or(0);
                        match session.withdraw(*id) {
                            Withdrawn::NotSent => prop_assert_eq!(datagrams, 0),
                            Withdrawn::Sent { datagrams: said } => prop_assert_eq!(said, datagrams),
                            Withdrawn::Unknown => continue,
                        }
                        withdrawn.insert(*id, datagrams);
                    }
                }
                Act::Packet(at, change) => {
                    let mut bytes = recorded.packets[at].1.clone();
                    if let Some((at, x)) = change
                        && let Some(byte) = bytes.get_mut(at)
                    {
                        *byte ^= x;
                    }
                    session.handle_datagram(&bytes, now, &mut entropy);
                }
                Act::Noise(bytes) => session.handle_datagram(&bytes, now, &mut entropy),
                Act::Wait(millis) => {
                    now += Duration::from_millis(u64::from(millis));
                    session.handle_timeout(now, &mut entropy);
                }
                Act::Send(count) => {
                    session.handle_timeout(now, &mut entropy);
                    for transmit in (0..count).map_while(|_| session.poll_transmit()) {
                        if let Some(id) = transmit.request {
                            *sent.entry(id).or_default() += 1;
                        }
                    }
                }
            }
            while let Some(event) = session.poll_event() {
                match event {
                    Event::Answered { id, .. } => *ended.entry(id).or_default() += 1,
                    Event::Unanswered { id, datagrams, .. } => {
                        *ended.entry(id).or_default() += 1;
                        prop_assert_eq!(datagrams, sent.get(&id).copied().unwrap_or(0));
                    }
                    _ => {}
                }
            }
            for (id, resend) in &asked {
                let datagrams = sent.get(id).copied().unwrap_or(0);
                prop_assert!(*resend == Resend::Allowed || datagrams <= 1);
                if let Some(before) = withdrawn.get(id) {
                    prop_assert_eq!(datagrams, *before);
                    prop_assert!(!ended.contains_key(id));
                }
            }
            prop_assert!(ended.values().all(|times| *times == 1));
        }
    }
}

#[test]
fn an_answer_to_what_has_not_left_is_no_answer() {
    // Found by fuzzing. Suite 2, recorded: the session is open after packet 9, 10 asks for the
    // status, 11 is the answer.
    let recorded = &sessions()[2];
    let mut entropy = Tape::new();
    let mut session = Session::new(recorded.settings.clone());
    let [status, _] = orders(&mut session);
    session.open(at(0.0), &mut entropy);
    for (ours, bytes) in &recorded.packets[..10] {
        if *ours {
            session.poll_transmit().expect("a packet");
        } else {
            session.handle_datagram(bytes, at(0.0), &mut entropy);
        }
    }
    while session.poll_event().is_some() {}
    session.handle_datagram(&recorded.packets[11].1, at(0.1), &mut entropy);
    assert_eq!(session.poll_event(), None);
    assert_eq!(session.statistics().dropped[&Dropped::Stale], 1);
    let request = session.poll_transmit().expect("the request");
    assert_eq!(request.request, Some(status));
    assert_eq!(request.datagram, recorded.packets[10].1);
}
