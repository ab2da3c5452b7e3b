//! The session as a whole, driven by scripts of datagrams and time.

use super::secret::Password;
use super::*;
use crate::entropy::Seeded;
use std::time::Duration;

mod behaviour;
mod endings;
mod known_answers;
mod script;
mod world;

fn settings() -> Settings {
    Settings::new("admin", Password::new(*b"secret").unwrap())
}

fn at(seconds: f64) -> Instant {
    Instant::after_start(Duration::from_secs_f64(seconds))
}

#[test]
fn a_dead_bmc_is_called_silent_after_three_handshakes_and_within_five_seconds() {
    let mut entropy = Seeded::new(1);
    let mut session = Session::new(settings());
    assert_eq!(session.poll_transmit(), None);
    session.open(at(0.0), &mut entropy);
    let mut fresh = 0;
    while let Some(due) = session.poll_timeout() {
        while let Some(transmit) = session.poll_transmit() {
            fresh += u32::from(transmit.fresh_port);
        }
        session.handle_timeout(due, &mut entropy);
    }
    assert_eq!(
        session.poll_event(),
        Some(Event::OpenFailed(OpenError::Silent {
            attempts: 3,
            over: Duration::from_millis(4500),
        }))
    );
    assert!(fresh >= 3);
    assert_eq!(session.state(), State::Closed);
}
