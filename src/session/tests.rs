//! The session as a whole, driven by scripts of datagrams and time.

use super::secret::Password;
use super::*;
use crate::entropy::Seeded;
use crate::ipmi::PrivilegeLevel;
use std::time::Duration;

mod behaviour;
mod endings;
mod known_answers;
mod log_in;
mod script;
mod world;

fn settings() -> Settings {
    Settings::new("admin", Password::new(*b"secret").unwrap())
}

fn at(seconds: f64) -> Instant {
    Instant::after_start(Duration::from_secs_f64(seconds))
}

#[test]
fn a_dead_bmc_is_called_silent_within_five_seconds_and_costs_two_open_sessions_at_most() {
    let mut entropy = Seeded::new(1);
    let mut session = Session::new(settings());
    assert_eq!(session.poll_transmit(), None);
    session.open(at(0.0), &mut entropy);
    let (mut opens, mut told_at) = (0, None);
    let (mut now, mut asked) = (at(0.0), Vec::new());
    while let Some(due) = session.poll_timeout() {
        while let Some(transmit) = session.poll_transmit() {
            // RMCP, then an RMCP+ header with payload type 10h.
            let opening = transmit.datagram[4..6] == [6, 0x10];
            opens += u32::from(opening);
            if !opening {
                // The request's number, behind the headers of RMCP and of IPMI 1.5.
                asked.push((now, opens, transmit.datagram[18] >> 2));
            }
        }
        session.handle_timeout(due, &mut entropy);
        now = due;
        if let Some(Event::StillOpening(OpenError::Silent { over })) = session.events.front() {
            told_at.get_or_insert((due, *over));
        }
    }
    // Those who wait hear of it; a late answer is waited for on.
    assert_eq!(told_at, Some((at(4.5), Duration::from_millis(4500))));
    session.poll_event();
    assert_eq!(
        session.poll_event(),
        Some(Event::OpenFailed(OpenError::Silent {
            over: Duration::from_secs(22),
        }))
    );
    assert_eq!(opens, 2);
    assert_eq!(session.state(), State::Closed);
    // Four questions come before the first of these, each with a number of its own; then it is
    // asked on.
    let first = asked.iter().filter(|(_, opens, _)| *opens == 0);
    let numbers: Vec<u8> = first.map(|(_, _, number)| *number).collect();
    let different: std::collections::BTreeSet<u8> = numbers.iter().copied().collect();
    assert_eq!((numbers.len(), different.len()), (4, 4), "{numbers:?}");
    for pair in asked.windows(2) {
        assert!(pair[1].0 - pair[0].0 <= Duration::from_secs(2), "{asked:?}");
    }
}
