//! Who may do what, and what a client may cost: as the configuration says it and as the API holds
//! everybody to it.

use super::Role;
use super::words::words;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Who may do what.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The roles given. Where there is none, whoever may open the Unix socket, and whoever has a
    /// password, is operator.
    pub grants: Vec<Grant>,
    /// The daemon's own user: admin on the Unix socket, as is uid 0.
    pub daemon_uid: Option<u32>,
    /// How TCP clients say who they are.
    pub tcp_auth: TcpAuth,
    /// bcrypt hashes by user of http_basic.
    pub passwords: BTreeMap<String, String>,
    /// Bearer tokens, which TCP clients may use beside http_basic.
    pub tokens: Vec<Token>,
    /// Names that a TCP request's `Host` may have, beside `localhost` and the address itself.
    pub hosts: BTreeSet<String>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("grants", &self.grants)
            .field("tcp_auth", &self.tcp_auth)
            .field("users", &self.passwords.len())
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

/// A role given to somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    pub to: Subject,
    pub role: Role,
    /// On these nodes alone (names, expanded); on the whole rack where `None`.
    pub nodes: Option<BTreeSet<String>>,
}

/// To whom a grant speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A user id on the Unix socket.
    Uid(u32),
    /// A group on the Unix socket, main or supplementary.
    Gid(u32),
    /// A user of http_basic on the TCP port. A login name on this host is another thing.
    Http(String),
    /// An account that this host does not have: nobody. The grant counts all the same, for where no
    /// grant is left everybody would be operator.
    Unknown(String),
}

words! {
    /// How TCP clients say who they are.
    #[derive(Default)]
    pub enum TcpAuth ("way to log in") {
        /// A user and password, checked against bcrypt hashes; or a bearer token.
        #[default]
        HttpBasic = "http_basic",
        /// A bearer token alone.
        Token = "token",
        /// Not at all: every user of this host may switch the rack. On loopback only.
        None = "none",
    }
}

/// A bearer token as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The name that the audit trail shows.
    pub name: String,
    /// The SHA-256 of the token.
    pub sha256: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// On these nodes alone (names, expanded); on the whole rack where `None`.
    pub nodes: Option<BTreeSet<String>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, {}, ***)", self.name, self.role)
    }
}

/// What a client may cost. All but the last three are the keys of `[api.limits]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections of one listener. More are told 503 at once.
    pub connections: u32,
    /// Streams of events of one daemon. More are told 503.
    pub streams: u32,
    /// Bytes of a request's head, at least 8192: more are told 431.
    pub header_bytes: u32,
    /// Bytes of a request's body: more are told 413.
    pub body_bytes: u32,
    /// A request's head, and an idle connection's next request, come within this.
    pub header_timeout: Duration,
    /// A request's body comes within this.
    pub body_timeout: Duration,
    /// A client that reads nothing for so long is let go.
    pub write_timeout: Duration,
    /// The wait after a first failed log-in; it doubles.
    pub login_wait: Duration,
    /// The rack answers within this, beyond what a call waits for by itself.
    pub answer: Duration,
    /// A client on TCP that has closed its writing side, and may have gone for all that can be
    /// seen, is told after this what there is to tell: it does not wait for news any longer.
    pub half_closed: Duration,
    /// When the daemon goes down, requests under way have so long.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            streams: 256,
            header_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            login_wait: Duration::from_secs(1),
            answer: Duration::from_secs(30),
            half_closed: Duration::from_secs(10),
            grace: Duration::from_secs(5),
        }
    }
}
