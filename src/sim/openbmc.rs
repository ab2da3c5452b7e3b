//! What is peculiar to OpenBMC: netipmid, which keeps the sessions, in front of ipmid, which
//! carries commands out. Facts from its sources of 2026 (docs/bmcs.md); all off by default.

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
    /// It has no UUID of its own: the GUID counts from 1 to 16, at each such BMC.
    pub counts_for_guid: bool,
    /// A power cycle asks the operating system to go down, and switches off hard when it has not
    /// after so long.
    pub graceful_cycle: Option<Duration>,
    /// The table of sessions is that of before June 2021: 15, log-ins under way and others' among
    /// them, and what is too old is forgotten only when the next one is opened.
    pub old_table: bool,
}

/// How ipmid is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ipmid {
    #[default]
    Here,
    /// It is not there: FFh at once.
    Gone,
    /// It hangs, for ever or until then. What is asked is answered when it goes on, and with FFh
    /// where that takes more than 25 s; what it goes on with is carried out all the same.
    Hung(Option<Instant>),
}

impl Bmc {
    /// When a log-in that does not go on is forgotten.
    pub(super) fn half_open_life(&self) -> Duration {
        match self.mood.openbmc {
            OpenBmc {
                old_table: true, ..
            } => HALF_OPEN_BEFORE,
            OpenBmc {
                forgets_half_open: true,
                ..
            } => HALF_OPEN,
            _ => self.settings.half_open_timeout,
        }
    }

    /// When a silent session is closed: 60 s divided by the cube of how many there are too many,
    /// and one.
    pub(super) fn idle_life(&self) -> Duration {
        let others = self.mood.openbmc.others;
        let open = u32::try_from(self.sessions.open.len()).unwrap_or(u32::MAX);
        let too_many = others.saturating_add(open).saturating_sub(CROWD);
        match others {
            _ if self.mood.openbmc.old_table => self.settings.idle_timeout,
            0 => self.settings.idle_timeout,
            _ => self.settings.idle_timeout / (too_many.min(100) + 1).pow(3),
        }
    }

    /// Whether sessions that are too old are forgotten when their time has come, and not only when
    /// there is a new one.
    pub(super) fn forgets_in_time(&self) -> bool {
        !self.mood.openbmc.old_table
    }

    /// How many sessions and log-ins there may be.
    pub(super) fn session_limit(&self) -> usize {
        match self.mood.openbmc {
            OpenBmc {
                old_table: true,
                others,
                ..
            } => CROWD.saturating_sub(others) as usize,
            _ => self.settings.session_limit,
        }
    }

    /// The GUID as it is sent.
    pub(super) fn guid(&self) -> [u8; 16] {
        match self.mood.openbmc.counts_for_guid {
            true => std::array::from_fn(|place| place as u8 + 1),
            false => self.settings.guid,
        }
    }

    /// What netipmid makes of a request that ipmid does not get to see, or only in vain: the code
    /// that answers it.
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
            Ipmid::Hung(Some(until)) if until <= now => None,
            Ipmid::Hung(Some(until)) if until <= now + GIVES_UP_IPMID => {
                self.late_until = Some(until);
                None
            }
            Ipmid::Hung(_) => {
                self.late_until = Some(now + GIVES_UP_IPMID);
                Some(UNSPECIFIED)
            }
        }
    }
}

const HALF_OPEN: Duration = Duration::from_secs(3);
/// The same before June 2021.
const HALF_OPEN_BEFORE: Duration = Duration::from_secs(5);
/// Sessions above which idle ones go sooner.
const CROWD: u32 = 15;
/// After so long netipmid does not wait for ipmid any more.
const GIVES_UP_IPMID: Duration = Duration::from_secs(25);
const UNSPECIFIED: u8 = 0xFF;
/// What netipmid answers itself: capabilities, cipher suites, level, close.
const NETIPMID: [(u8, u8); 4] = [(6, 0x38), (6, 0x54), (6, 0x3B), (6, 0x3C)];
