//! What a BMC remembers of log-ins and sessions: the table, its limits and timers, replay windows,
//! outbound numbers.
//!
//! Plain values; [`super::plus`] and [`super::version15`] fill them.

use super::crypto::Suite;
use super::settings::Privilege;
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Which numbers of a session's inbound packets were seen (§6.12.13).
#[derive(Clone, Debug)]
pub(super) struct Window {
    highest: u32,
    /// Bit n: `highest - n` was seen.
    seen: u32,
    ahead: i32,
    behind: i32,
}

impl Window {
    /// A window in which `first` is the next number; everything before it counts as seen.
    pub(super) fn new(first: u32, ahead: u8, behind: u8) -> Self {
        Self {
            highest: first.wrapping_sub(1),
            seen: u32::MAX,
            ahead: i32::from(ahead),
            behind: i32::from(behind.min(31)),
        }
    }

    /// Whether `number` is fresh; it is not any more afterwards.
    pub(super) fn accept(&mut self, number: u32) -> bool {
        let distance = number.wrapping_sub(self.highest).cast_signed();
        if number == 0 {
            return false;
        }
        if distance > 0 && distance <= self.ahead {
            self.seen = self.seen.checked_shl(distance.cast_unsigned()).unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        if distance <= 0 && -distance <= self.behind {
            let bit = 1 << -distance;
            let fresh = self.seen & bit == 0;
            self.seen |= bit;
            return fresh;
        }
        false
    }
}

/// A log-in of RMCP+ that is not finished.
#[derive(Clone, Debug)]
pub(super) struct HalfOpen {
    /// The console's session id.
    pub console_id: u32,
    /// What was agreed on.
    pub suite: Suite,
    /// The privilege byte of Open Session.
    pub open_level: u8,
    /// When the last step was taken.
    pub since: Instant,
    /// What RAKP 1 said, once it was there.
    pub challenge: Option<Challenge>,
}

/// What RAKP 1 and 2 exchanged.
#[derive(Clone)]
pub(super) struct Challenge {
    /// R_M.
    pub console_random: [u8; 16],
    /// R_C.
    pub bmc_random: [u8; 16],
    /// The role byte as the keys take it.
    pub role: u8,
    /// The user name as sent.
    pub name: Vec<u8>,
    /// The place of the user in the settings.
    pub user: usize,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Challenge(user {}, role {:02x})", self.user, self.role)
    }
}

/// A log-in of IPMI 1.5 that is not finished.
#[derive(Clone, Debug)]
pub(super) struct Challenge15 {
    /// The authentication type asked for.
    pub kind: u8,
    /// The challenge string.
    pub challenge: [u8; 16],
    /// The place of the user in the settings.
    pub user: usize,
    /// When it was asked for.
    pub since: Instant,
}

/// How the packets of a session are sealed.
#[derive(Clone)]
pub(super) enum Sealing {
    /// RMCP+.
    Plus {
        /// The console's session id, which our packets carry.
        console_id: u32,
        /// The agreed suite.
        suite: Suite,
        /// K1, or what a quirk has in its place.
        integrity_key: Vec<u8>,
        /// K2.
        cipher_key: Vec<u8>,
    },
    /// IPMI 1.5.
    Version15 {
        /// The authentication type of the log-in.
        kind: u8,
        /// Whether every packet has its code.
        per_message: bool,
        /// The challenge of the log-in.
        challenge: [u8; 16],
    },
}

/// A request by which copies are recognised: sequence, network function, command.
pub(super) type RequestKey = (u8, u8, u8);

/// An open session.
#[derive(Clone)]
pub(super) struct Session {
    /// How its packets are sealed.
    pub sealing: Sealing,
    /// Its handle for Get Session Info.
    pub handle: u8,
    /// The place of its user in the settings.
    pub user: usize,
    /// The level it may rise to.
    pub limit: Privilege,
    /// The level it has.
    pub privilege: Privilege,
    /// Whether the machine was reset or cycled from it.
    pub reset_ordered: bool,
    /// Where its last packet came from.
    pub peer: SocketAddr,
    /// When it was opened.
    pub opened_at: Instant,
    /// When its last good packet came.
    pub heard_at: Instant,
    /// Numbers of inbound packets with a code.
    pub guarded: Window,
    /// Numbers of inbound packets without.
    pub unguarded: Window,
    /// The next outbound number.
    pub outbound: u32,
    /// The last requests and how they were answered.
    pub answered: VecDeque<(RequestKey, u8, Vec<u8>)>,
    /// To be removed once the reply is out.
    pub closing: bool,
}

impl Session {
    /// The number of the next packet to the console.
    pub(super) fn next_outbound(&mut self, skip: bool) -> u32 {
        let number = self.outbound;
        for _ in 0..if skip { 2 } else { 1 } {
            // 0 is for packets outside a session.
            self.outbound = self.outbound.checked_add(1).unwrap_or(1);
        }
        number
    }

    /// Notes how a request was answered.
    pub(super) fn note(&mut self, key: RequestKey, code: u8, data: &[u8]) {
        if self.answered.len() == ANSWERS_KEPT {
            self.answered.pop_front();
        }
        self.answered.push_back((key, code, data.to_vec()));
    }
}

/// Everything that a reboot of the BMC forgets.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    /// RMCP+ log-ins under way, by the BMC's session id.
    pub half_open: BTreeMap<u32, HalfOpen>,
    /// IPMI 1.5 log-ins under way, by the temporary session id.
    pub challenges: BTreeMap<u32, Challenge15>,
    /// Open sessions, by the BMC's session id.
    pub open: BTreeMap<u32, Session>,
    /// The last handle given.
    pub last_handle: u8,
}

impl Sessions {
    /// How many slots of the table are taken.
    pub(super) fn taken(&self) -> usize {
        self.half_open.len() + self.open.len()
    }

    /// Whether a session id is in use.
    pub(super) fn knows(&self, id: u32) -> bool {
        self.half_open.contains_key(&id)
            || self.challenges.contains_key(&id)
            || self.open.contains_key(&id)
    }

    /// The next handle, 1 to 255.
    pub(super) fn next_handle(&mut self) -> u8 {
        self.last_handle = self.last_handle.checked_add(1).unwrap_or(1);
        self.last_handle
    }
}

const ANSWERS_KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_each_number_once_in_any_order() {
        let mut window = Window::new(1, 15, 16);
        assert!(window.accept(3));
        assert!(window.accept(1));
        assert!(window.accept(2));
        assert!(!window.accept(1) && !window.accept(2) && !window.accept(3));
        assert!(!window.accept(0));
    }

    #[test]
    fn a_window_reaches_15_ahead_and_16_behind() {
        let mut window = Window::new(1, 15, 16);
        assert!(!window.accept(16));
        assert!(window.accept(15));
        assert!(window.accept(30));
        assert!(window.accept(14));
        assert!(!window.accept(13));
        assert!(!window.accept(15));
    }

    #[test]
    fn a_window_goes_on_over_the_wrap_without_zero() {
        let mut window = Window::new(u32::MAX, 15, 16);
        assert!(window.accept(u32::MAX));
        assert!(!window.accept(0));
        assert!(window.accept(1));
        assert!(!window.accept(u32::MAX));
    }

    #[test]
    fn nothing_before_the_first_number_is_fresh() {
        let mut window = Window::new(100, 8, 8);
        assert!(!window.accept(99) && !window.accept(95));
        assert!(window.accept(100));
    }
}
