//! What a session is opened with: credentials, suites, protocol, quirks, timing.

use super::quirk::Quirks;
use super::secret::{BmcKey, Password};
use crate::ipmi::session15::AuthType;
use crate::ipmi::{PrivilegeLevel, SuiteId};
use std::sync::Arc;
use std::time::Duration;

/// Everything that a session with one BMC needs to know.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// The user's name, at most 16 bytes.
    pub username: Arc<str>,
    /// The user's password.
    pub password: Password,
    /// The BMC key K_G, where the BMC has one.
    pub bmc_key: Option<BmcKey>,
    /// The privilege level to ask for.
    pub privilege: PrivilegeLevel,
    /// The cipher suites to try, in order. Those that we do not speak are passed over.
    pub suites: Vec<SuiteId>,
    /// Which IPMI.
    pub protocol: Protocol,
    /// What to do differently.
    pub quirks: Quirks,
    /// How long to wait.
    pub timing: Timing,
}

/// Which IPMI version to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// v2.0 (RMCP+) only.
    #[default]
    V20,
    /// v1.5 only.
    V15(AuthChoice),
    /// v2.0, and v1.5 (with MD5 or MD2) where the BMC has no v2.0.
    V20ThenV15,
}

/// How v1.5 packets are authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthChoice {
    /// MD5 where the BMC offers it, else MD2. Never the weaker ones.
    #[default]
    Strongest,
    Only(AuthType),
}

/// How long to wait for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Whole log-ins of IPMI 1.5 to try with a BMC that says nothing at all.
    pub handshake_attempts: u32,
    /// After how long without a session those who wait for one hear that there is none yet.
    pub handshake_limit: Duration,
    /// How long a late answer of a BMC that said nothing at all is waited for.
    pub unheard_limit: Duration,
    /// After how long without any answer a handshake with a BMC that has answered before is given
    /// up.
    pub stalled_after: Duration,
    /// Whole handshakes to try with a BMC that answers now and then.
    pub handshake_attempts_heard: u32,
    /// After how long a handshake is given up though answers come.
    pub handshake_limit_heard: Duration,
    /// The longest wait for the answers to Get Channel Authentication Capabilities and Get Channel
    /// Cipher Suites.
    pub advice_limit: Duration,
    /// The wait before a first resend while no round trip was measured.
    pub resend_first: Duration,
    /// The shortest wait before a resend.
    pub resend_floor: Duration,
    /// The longest wait before a resend.
    pub resend_cap: Duration,
    /// After how many datagrams in a row without any answer the session counts as lost.
    pub lost_after: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake_attempts: 3,
            // The verdict is promised within 5 s; half a second is left to tell it in.
            handshake_limit: Duration::from_millis(4500),
            // 20 s are the longest round trip that is waited for; the first copies take the rest.
            unheard_limit: Duration::from_secs(22),
            stalled_after: Duration::from_secs(10),
            handshake_attempts_heard: 4,
            // Enough for one session with a BMC whose every answer comes 10 to 20 s late.
            handshake_limit_heard: Duration::from_secs(90),
            // Both are advice, and some BMCs never give it.
            advice_limit: Duration::from_secs(1),
            // RFC 6298 begins with a second.
            resend_first: Duration::from_secs(1),
            // As ipmipower, which asks soonest of the known clients.
            resend_floor: Duration::from_millis(400),
            // Some BMCs need 5 s and more for an answer (openbmc, issue 2519).
            resend_cap: Duration::from_secs(8),
            lost_after: 4,
        }
    }
}

impl Settings {
    /// Eight bits of the credentials, by which a change of them is noticed; too few to learn
    /// anything from.
    pub fn mark(&self) -> u8 {
        let key = self.bmc_key.as_ref().map_or(&[][..], BmcKey::expose);
        let code = super::crypto::hmac(
            crate::ipmi::suite::Authentication::HmacSha256,
            b"rackbmcd credentials",
            &[
                self.username.as_bytes(),
                // A zero ends each, for names and passwords hold none: `ab`, `c` is not `a`, `bc`.
                &[0],
                self.password.expose(),
                &[0],
                key,
            ],
        );
        code[0]
    }

    /// Settings with the defaults: suites 17 and 3, operator, v2.0, no quirks.
    pub fn new(username: impl AsRef<str>, password: Password) -> Self {
        Self {
            username: username.as_ref().into(),
            password,
            bmc_key: None,
            // Enough for power, sensors and the event log; an administrator may change users.
            privilege: PrivilegeLevel::Operator,
            // OpenBMC has 17 alone, older BMCs 3.
            suites: vec![SuiteId(17), SuiteId(3)],
            protocol: Protocol::V20,
            quirks: Quirks::NONE,
            timing: Timing::default(),
        }
    }
}
