//! What is said to etcd, and what it says: requests and answers of its JSON gateway (`/v3/...`) as
//! values.
//!
//! Pure: no socket and no time. `tenure` makes requests and is given answers, the shell carries
//! both. Only what a rack needs is here: transactions, reads, watches, log-ins and what a member
//! says of itself; no leases, no locks, no elections.
//!
//! Versions 3.4 to 3.6 say the same in the same words. `tests/vectors/etcd` has answers of a real
//! one.

mod json;
#[cfg(test)]
mod tests;

pub use json::watched;

use std::fmt;
use zeroize::Zeroizing;

/// The number that etcd gives to each change of its whole contents, and to the last change of a
/// key.
pub type Revision = u64;

/// What is asked of etcd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Changes and reads, all or none of them, where what is compared is so.
    Txn(Txn),
    /// A read that sees everything that was answered before it was asked.
    Range(Span),
    /// Changes of these keys from now on: answered line by line, see [`watched`].
    Watch(Vec<Span>),
    /// A token for a user.
    Authenticate(User),
    /// What a member says of itself and its cluster.
    Status,
    /// What a key was in a revision: of old ones etcd has forgotten that, where it is compacted.
    Past(String, Revision),
    /// The version that a member has.
    Version,
    /// How large a member is, and may become.
    Space,
}

/// A user of etcd and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// The password, wiped when dropped.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({:?}, ***)", self.name)
    }
}

/// One key, or all that begin with something.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Span {
    Key(String),
    /// Every key that begins so.
    Prefix(String),
}

impl Span {
    /// Whether the key is one of them.
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Self::Key(one) => one == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Txn {
    /// What must all be so.
    pub compare: Vec<Compare>,
    /// What is done where it is.
    pub success: Vec<Op>,
    /// What is done where it is not.
    pub failure: Vec<Op>,
}

/// What must be so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compare {
    /// The key was changed last in this revision; 0 where it is not there.
    Revision(String, Revision),
    /// The key is there and has this value.
    Value(String, Vec<u8>),
}

/// One step of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A value for a key.
    Put(String, Vec<u8>),
    /// A key is not there any more.
    Delete(String),
    /// What is there.
    Range(Span),
}

/// What etcd answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To a transaction.
    Txn {
        header: Header,
        /// Whether all was as compared.
        succeeded: bool,
        /// What each read of the steps that were done found, in their order.
        found: Vec<Vec<Entry>>,
    },
    /// To a read.
    Range {
        header: Header,
        /// The keys that are there, sorted.
        found: Vec<Entry>,
    },
    /// To a log-in.
    Authenticated {
        header: Header,
        /// The token, for the header `Authorization`.
        token: Zeroizing<String>,
    },
    /// To [`Request::Status`].
    Status {
        header: Header,
        /// What is known of the member.
        status: Status,
    },
    /// To [`Request::Version`]: as in "3.5.21".
    Version(String),
    /// To [`Request::Space`].
    Space(Space),
}

impl Answer {
    /// Who answers, where that is said.
    pub fn header(&self) -> Option<&Header> {
        match self {
            Self::Txn { header, .. }
            | Self::Range { header, .. }
            | Self::Authenticated { header, .. }
            | Self::Status { header, .. } => Some(header),
            Self::Version(_) | Self::Space(_) => None,
        }
    }
}

/// Who answers, and when in etcd's own time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The cluster, the same for all its life.
    pub cluster: u64,
    /// The member of it.
    pub member: u64,
    /// The last revision that the member knew.
    pub revision: Revision,
}

/// One key that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: String,
    /// What it holds.
    pub value: Vec<u8>,
    /// The revision in which it was changed last.
    pub revision: Revision,
}

/// What a member says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// As in "3.5.21".
    pub version: String,
    /// The leader that it follows; 0 where there is none.
    pub leader: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Bytes of it that are in use.
    pub in_use: u64,
    /// What is wrong with it, in its own words.
    pub errors: Vec<String>,
}

/// How large a member's file is, and may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    pub bytes: u64,
    pub quota: u64,
}

impl Space {
    /// How much of it is used: 1 is all.
    pub fn ratio(&self) -> f64 {
        self.bytes as f64 / self.quota as f64
    }
}

/// A line of a watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched {
    /// It has begun: changes after this one's revision are told.
    Begun(Header),
    /// Keys changed, in this order.
    Changes(Header, Vec<Change>),
    /// No more comes. Everything has to be read anew.
    Ended {
        /// The revision before which etcd has forgotten what was, where that is the reason.
        compacted: Option<Revision>,
        /// Why, where etcd says so.
        why: String,
    },
}

impl Watched {
    /// Who says it, where that is said.
    pub fn header(&self) -> Option<&Header> {
        match self {
            Self::Begun(header) | Self::Changes(header, _) => Some(header),
            Self::Ended { .. } => None,
        }
    }
}

/// A key changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It has a value.
    Put(Entry),
    /// It is gone.
    Deleted(String, Revision),
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nothing came in time, or the connection broke. The request may be carried out yet.
    Silent(String),
    /// The member is not able to answer (no leader, shutting down, overloaded). The request may be
    /// carried out yet.
    Unavailable(String),
    /// Nobody is logged in, or the token is not valid any more (code 16).
    LoggedOut(String),
    /// The user may not do that (code 7).
    Forbidden(String),
    /// Its space is used up (code 8).
    Full(String),
    /// The request itself is wrong (code 3).
    Invalid(String),
    /// Anything else that etcd says to it, with its code.
    Other(u64, String),
    /// Who answers is no etcd with a JSON gateway.
    NoGateway(String),
    /// It answers in words that etcd does not have.
    Nonsense(String),
}

impl Trouble {
    /// Whether etcd itself refused, so that this request is certainly not carried out, now or
    /// later.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::LoggedOut(_) | Self::Forbidden(_) | Self::Full(_) | Self::Invalid(_) => true,
            Self::Silent(_)
            | Self::Unavailable(_)
            | Self::Other(..)
            | Self::NoGateway(_)
            | Self::Nonsense(_) => false,
        }
    }

    /// Whether another member may do better.
    pub fn is_the_members(&self) -> bool {
        match self {
            Self::Silent(_)
            | Self::Unavailable(_)
            | Self::NoGateway(_)
            | Self::Nonsense(_)
            | Self::Other(..) => true,
            Self::LoggedOut(_) | Self::Forbidden(_) | Self::Full(_) | Self::Invalid(_) => false,
        }
    }

    /// One word for it, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::Unavailable(_) => "unavailable",
            Self::LoggedOut(_) => "logged_out",
            Self::Forbidden(_) => "forbidden",
            Self::Full(_) => "full",
            Self::Invalid(_) => "invalid",
            Self::Other(..) => "other",
            Self::NoGateway(_) => "no_gateway",
            Self::Nonsense(_) => "nonsense",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) => write!(f, "etcd does not answer: {why}"),
            Self::Unavailable(why) => write!(f, "etcd cannot answer: {why}"),
            Self::LoggedOut(why) => write!(f, "etcd does not know who asks: {why}"),
            Self::Forbidden(why) => write!(f, "etcd does not permit it: {why}"),
            Self::Full(why) => write!(f, "etcd has no space left: {why}"),
            Self::Invalid(why) => write!(f, "etcd refuses the request: {why}"),
            Self::Other(code, why) => write!(f, "etcd says {why} (code {code})"),
            Self::NoGateway(why) => {
                write!(f, "no etcd with its JSON gateway switched on: {why}")
            }
            Self::Nonsense(why) => write!(f, "an answer that etcd does not give: {why}"),
        }
    }
}
