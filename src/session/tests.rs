//! The session as a whole, driven by scripts of datagrams and time.

use super::secret::Password;
use super::*;
use crate::entropy::Seeded;
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
    while let Some(due) = session.poll_timeout() {
        while let Some(transmit) = session.poll_transmit() {
            // RMCP, then an RMCP+ header with payload type 10h.
            opens += u32::from(transmit.datagram[4..6] == [6, 0x10]);
        }
        session.handle_timeout(due, &mut entropy);
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
}
