//! What one BMC's room is told about its BMC. Made by `rack` from a node's settings.

use crate::model::Identity;
use crate::session;
use std::sync::Arc;
use std::time::Duration;

/// How one BMC is reached and how it is spared.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name, IPv4 or IPv6 address.
    pub host: Arc<str>,
    /// UDP port.
    pub port: u16,
    /// How to log in: the same for many BMCs, and kept once for them.
    pub login: Arc<session::Settings>,
    /// How it is spared, likewise.
    pub care: Arc<Care>,
}

/// How a BMC is spared. Those with the same share it: there may be thousands.
#[derive(Clone, PartialEq, Debug)]
pub struct Care {
    /// Commands per second in the long run, above zero. An order can take several.
    pub orders_per_second: f64,
    /// Commands that may leave at once after a rest; at least 1.
    pub burst: u32,
    /// Unused time, while an operation runs, after which the session is kept alive by a harmless
    /// reading. While none runs and the session is kept for longer, twice that.
    pub keepalive: Duration,
    /// Unused time after which the session is closed when no operation runs.
    pub idle_close: Duration,
    /// Failed log-ins after which none is tried any more; at least 1.
    pub auth_failures: u32,
    /// How long none is tried then, unless the credentials change or an operator says so.
    pub auth_hold: Duration,
    /// What is done where the BMC is another one than before.
    pub identity: Identity,
    /// How often a BMC that was found dead is tried again.
    pub breaker_retry: Duration,
}

impl Default for Care {
    fn default() -> Self {
        Self {
            // One a second made an off and an on take 5 s; without a limit BMCs were seen to crash.
            orders_per_second: 5.0,
            burst: 10,
            // OpenBMC drops what is unused for 60 s, ipmi_sim for 30 s.
            keepalive: Duration::from_secs(25),
            idle_close: Duration::from_secs(10),
            // Many BMCs lock an account after five, and other programs try, too.
            auth_failures: 2,
            auth_hold: Duration::from_secs(600),
            identity: Identity::default(),
            breaker_retry: Duration::from_secs(30),
        }
    }
}

/// How long a BMC that has no free session is left alone at most: then a session time-out (60 s,
/// §6.12.15) has passed.
pub(super) const SESSIONS_FULL_REST: Duration = Duration::from_secs(60);
/// How often it is asked whether another daemon still has the BMC.
pub(super) const LOCKED_REST: Duration = Duration::from_secs(10);
/// How long silence is expected after a change of power (network cards and some BMCs restart with
/// the host).
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// Orders that may wait for one BMC.
pub(super) const QUEUE_LIMIT: usize = 64;
