//! What is peculiar to OpenBMC: netipmid, which keeps the sessions, in front of ipmid, which carries commands out. Facts
//! from its sources of 2026 (docs/bmcs.md); all off by default.

use super::bmc::Bmc;
use super::command::{self, Asker};
use crate::time::Instant;
use std::time::Duration;

/// How netipmid and ipmid are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenBmc {
    /// Only this cipher suite is taken, whatever is set up.
    pub only_suite: Option<u8>,
    /// Log-ins that do not go on are forgotten after 3 s.
    pub forgets_half_open: bool,
    /// So many sessions of others are open: with more than 15 in all, idle ones go sooner.
    pub others: u32,
    /// How ipmid is.
    pub ipmid: Ipmid,
    /// The account may log in and may not use IPMI.
    pub no_ipmi_account: bool,
}

/// How ipmid is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ipmid {
    /// It answers.
    #[default]
    Here,
    /// It is not there: FFh at once.
    Gone,
    /// It hangs: FFh after 25 s.
    Hung,
}

impl Bmc {
    /// When a log-in that does not go on is forgotten.
    pub(super) fn half_open_life(&self) -> Duration {
        match self.mood.openbmc.forgets_half_open {
            true => HALF_OPEN,
            false => self.settings.half_open_timeout,
        }
    }

    /// When a silent session is closed: 60 s divided by the cube of how many there are too many, and one.
    pub(super) fn idle_life(&self) -> Duration {
        let others = self.mood.openbmc.others;
        let open = u32::try_from(self.sessions.open.len()).unwrap_or(u32::MAX);
        let too_many = others.saturating_add(open).saturating_sub(CROWD);
        match others {
            0 => self.settings.idle_timeout,
            _ => self.settings.idle_timeout / (too_many.min(100) + 1).pow(3),
        }
    }

    /// What netipmid makes of a request that ipmid does not get to see, or only in vain: the code that answers it.
    pub(super) fn kept_from_ipmid(
        &mut self,
        asker: &Asker,
        key: (u8, u8),
        now: Instant,
    ) -> Option<u8> {
        if self.mood.openbmc.no_ipmi_account && asker.session.is_some() {
            return Some(command::INSUFFICIENT_PRIVILEGE);
        }
        if NETIPMID.contains(&key) {
            return None;
        }
        match self.mood.openbmc.ipmid {
            Ipmid::Here => None,
            Ipmid::Gone => Some(UNSPECIFIED),
            Ipmid::Hung => {
                self.late_until = Some(now + GIVES_UP_IPMID);
                Some(UNSPECIFIED)
            }
        }
    }
}

const HALF_OPEN: Duration = Duration::from_secs(3);
/// Sessions above which idle ones go sooner.
const CROWD: u32 = 15;
/// After so long netipmid does not wait for ipmid any more.
const GIVES_UP_IPMID: Duration = Duration::from_secs(25);
const UNSPECIFIED: u8 = 0xFF;
/// What netipmid answers itself: capabilities, cipher suites, level, close.
const NETIPMID: [(u8, u8); 4] = [(6, 0x38), (6, 0x54), (6, 0x3B), (6, 0x3C)];
