//! The words between a session and the BMC's room that drives it: requests, events, reasons.

use super::quirk::Quirks;
use crate::ipmi::command::Command;
use crate::ipmi::session15::AuthType;
use crate::ipmi::{CompletionCode, PrivilegeLevel, Status, SuiteId};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What one request is known by, unique in the life of one `Session`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// A command for the BMC, or for a controller behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Network function, 0 to 62, even.
    pub net_fn: u8,
    /// Logical unit, 0 to 3.
    pub lun: u8,
    /// Command number.
    pub command: u8,
    /// Request data.
    pub data: Vec<u8>,
    /// The way to whom it is for.
    pub bridge: Bridge,
    /// Whether further copies may be sent when no answer comes.
    pub resend: Resend,
    /// How long an answer is waited for, from the call of `Session::request` on.
    pub patience: Duration,
}

/// The way to whom a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bridge {
    /// The BMC itself.
    #[default]
    None,
    /// A controller behind the BMC.
    Single {
        /// The channel behind the BMC; 0 is the primary IPMB.
        channel: u8,
        /// The controller's slave address.
        address: u8,
    },
    /// A controller behind a controller behind the BMC.
    Dual {
        /// The channel to the one in between.
        transit_channel: u8,
        /// The slave address of the one in between.
        transit_address: u8,
        /// The channel behind that.
        channel: u8,
        /// The controller's slave address.
        address: u8,
    },
}

/// Whether further copies of a request may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resend {
    /// Yes: a reading or a level.
    Allowed,
    /// Never: exactly one datagram, ever.
    Never,
}

impl Request {
    /// The request of a typed command to the BMC itself.
    pub fn of<C: Command>(command: &C, resend: Resend, patience: Duration) -> Self {
        Self {
            net_fn: C::NET_FN,
            lun: 0,
            command: C::NUMBER,
            data: command.encode(),
            bridge: Bridge::None,
            resend,
            patience,
        }
    }
}

/// What became of a withdrawn request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withdrawn {
    /// No datagram with it was handed to the network, and none will be.
    NotSent,
    /// So many were; no further one will be.
    Sent { datagrams: u32 },
    /// There is no such request any more: its answer is among the events, or was.
    Unknown,
}

/// A datagram for the BMC's RMCP port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    pub datagram: Vec<u8>,
    /// Whether it shall leave from another port than the ones before, as what follows it.
    pub fresh_port: bool,
    /// The request that it carries, `None` for session upkeep.
    pub request: Option<RequestId>,
}

impl Transmit {
    /// A datagram of nobody's, from the port in use.
    pub(super) fn upkeep(datagram: Vec<u8>) -> Self {
        Self {
            datagram,
            fresh_port: false,
            request: None,
        }
    }
}

/// What a session has to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The session is open; queued requests go out now.
    Opened(Opened),
    /// The session is not open yet, for this reason, and goes on being opened: those who wait
    /// should hear of it.
    StillOpening(OpenError),
    /// The session could not be opened. Queued requests stay queued, until their patience ends.
    OpenFailed(OpenError),
    /// The answer to a request.
    Answered {
        id: RequestId,
        /// How it went.
        completion: CompletionCode,
        /// The response's data.
        data: Vec<u8>,
        /// How long it took, where only one datagram was sent.
        round_trip: Option<Duration>,
    },
    /// The answer to a request that was sent once, and was `Unanswered` before.
    AnsweredLate {
        id: RequestId,
        /// How it went.
        completion: CompletionCode,
        /// The response's data.
        data: Vec<u8>,
    },
    /// A request brought no answer.
    Unanswered {
        id: RequestId,
        /// How many datagrams with it were handed to the network; 0: the BMC cannot have received
        /// it.
        datagrams: u32,
        /// Why no further answer is waited for.
        reason: UnansweredReason,
    },
    /// The session is gone. The request that was under way got its `Unanswered` before this.
    Lost(LostReason),
    /// The session was closed as asked.
    Closed,
}

/// Facts about a session that was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The protocol spoken.
    pub protocol: Spoken,
    /// The privilege level in force.
    pub privilege: PrivilegeLevel,
    /// The GUID in RAKP 2, which the password vouches for; none with IPMI 1.5 and without
    /// authentication.
    pub guid: Option<[u8; 16]>,
    /// The smoothed round-trip time.
    pub round_trip: Option<Duration>,
    /// The quirks in force, configured and found out.
    pub quirks: Quirks,
    /// What was found out about this BMC on the way, in words.
    pub evidence: Vec<String>,
}

impl Opened {
    /// The cipher suite, where the session is RMCP+.
    pub fn suite(&self) -> Option<SuiteId> {
        match self.protocol {
            Spoken::V20(suite) => Some(suite),
            Spoken::V15(_) => None,
        }
    }
}

/// The protocol of an open session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Spoken {
    /// RMCP+ with a cipher suite.
    V20(SuiteId),
    /// IPMI v1.5 with an authentication type.
    V15(AuthType),
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V20(suite) => write!(f, "IPMI 2.0, cipher suite {suite}"),
            Self::V15(auth_type) => write!(f, "IPMI 1.5, authentication {auth_type}"),
        }
    }
}

/// Why no further answer to a request is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum UnansweredReason {
    /// The request's patience ended while it waited for an open session.
    #[error("no session within its time")]
    NoSession,
    /// The request's patience ended after it was sent.
    #[error("no answer within its time")]
    Silent,
    /// The BMC said that it had had a copy before (CFh), but the answer to that one never came.
    #[error("the BMC had received it before, but its answer never came")]
    Duplicate,
    /// The session was lost.
    #[error("the session was lost")]
    SessionLost,
    /// The session was closed.
    #[error("the session was closed")]
    Closed,
    /// The request does not fit a packet.
    #[error("too long for one packet")]
    TooLong,
}

/// What the network, or this host, says of a datagram that did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Undeliverable {
    /// Nothing listens at the BMC's port.
    #[error("port unreachable")]
    Port,
    /// Nobody has the BMC's address.
    #[error("host unreachable")]
    Host,
    /// There is no way to the BMC's network.
    #[error("network unreachable")]
    Network,
    /// A firewall refuses it.
    #[error("sending is not permitted: a firewall, here or on the way")]
    Forbidden,
}

/// Why a session is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum LostReason {
    /// Too many datagrams in a row brought no answer.
    #[error("no answer to {datagrams} datagrams in a row")]
    Silent { datagrams: u32 },
    /// The network says that nobody is there.
    #[error("{0}")]
    Unreachable(Undeliverable),
    /// The BMC answers, in a way that is not taken.
    #[error("its answers come {}: not taken", unusable_words(*.0))]
    Unusable(Dropped),
}

/// Why a session could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing at all was heard.
    #[error("no answer in {:.1} s", over.as_secs_f64())]
    Silent {
        /// Over how long.
        over: Duration,
    },
    /// The BMC answers, but one step of the handshake did not come.
    #[error("no answer to {step} in {:.1} s, log-in {attempts}", over.as_secs_f64())]
    Stalled {
        /// What was sent last.
        step: &'static str,
        /// Log-ins begun.
        attempts: u32,
        /// Over how long.
        over: Duration,
    },
    /// The network says that nobody is there.
    #[error("{0}")]
    Unreachable(Undeliverable),
    /// The BMC answers in the session, in a way that is not taken.
    #[error("the answers to {step} come {}: not taken", unusable_words(*why))]
    Unusable {
        /// What was sent last.
        step: &'static str,
        /// What is wrong with its answers.
        why: Dropped,
    },
    /// The BMC's proof was made with another password.
    #[error("wrong password ({found_in})")]
    WrongPassword {
        /// Where it showed.
        found_in: &'static str,
    },
    /// The BMC does not know the user, or will not for the level: many have one status for both
    /// (OpenBMC, pyghmi).
    #[error(
        "unknown user ({found_in}), or one that is locked, has no IPMI password or may not have privilege level {asked}"
    )]
    UnknownUser {
        /// Where it showed.
        found_in: &'static str,
        /// The level asked for.
        asked: PrivilegeLevel,
    },
    /// The password is right, the BMC key K_G is not.
    #[error("wrong BMC key: {}", key_words(*configured, *bmc_has_one))]
    WrongKey {
        /// Whether one is configured.
        configured: bool,
        /// What the BMC says about having one, where it said anything.
        bmc_has_one: Option<bool>,
    },
    /// The user may not have the privilege level.
    #[error("privilege level {asked} refused: {reason}")]
    NoPrivilege {
        /// The level asked for.
        asked: PrivilegeLevel,
        /// The BMC's words.
        reason: String,
    },
    /// The BMC took none of our cipher suites.
    #[error("no common cipher suite: {}", tried_words(tried, offered))]
    NoCommonSuite {
        /// What was tried, and what the BMC said.
        tried: Vec<(SuiteId, String)>,
        /// What the BMC says that it has, where it said anything.
        offered: Vec<SuiteId>,
    },
    /// All of the BMC's sessions are taken.
    #[error("all sessions of the BMC are taken ({0})")]
    SessionsFull(String),
    /// The BMC does not speak the protocol asked for.
    #[error("{0}")]
    NoProtocol(String),
    /// The BMC chose other algorithms than those asked for.
    #[error("asked for {asked}, and the BMC chose {got}: refused")]
    Downgrade {
        /// What was asked for.
        asked: String,
        got: String,
    },
    /// The BMC gave the session a number that packets outside of sessions carry (§13.6): nothing in
    /// it would reach it.
    #[error("the BMC opened a session with the number 0, which stands for no session")]
    SessionZero,
    /// The BMC refused a step with a status that means nothing better.
    #[error("{step} refused: {status}")]
    Refused {
        /// What was sent.
        step: &'static str,
        status: Status,
    },
    /// The BMC refused a command of the log-in.
    #[error("{step} refused: {completion}")]
    RefusedCommand {
        step: &'static str,
        completion: CompletionCode,
    },
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    /// A verdict about the credentials that stands on an error without any number of ours: anybody
    /// can have sent it.
    #[error("{0} (in an error that names no session)")]
    Unsigned(Box<Self>),
}

impl OpenError {
    /// The verdict as hearsay, where it is one about the credentials.
    pub(super) fn unsigned(self) -> Self {
        match self {
            Self::WrongPassword { .. }
            | Self::UnknownUser { .. }
            | Self::NoPrivilege { .. }
            // The others are named below, so that each new verdict has to be placed.
            | Self::Refused { .. } => Self::Unsigned(Box::new(self)),
            Self::Silent { .. }
            | Self::Stalled { .. }
            | Self::Unreachable(_)
            | Self::WrongKey { .. }
            | Self::NoCommonSuite { .. }
            | Self::SessionsFull(_)
            | Self::NoProtocol(_)
            | Self::Downgrade { .. }
            | Self::Unusable { .. }
            | Self::SessionZero
            | Self::RefusedCommand { .. }
            | Self::Settings(_)
            | Self::Unsigned(_) => self,
        }
    }
}

fn key_words(configured: bool, bmc_has_one: Option<bool>) -> &'static str {
    match (configured, bmc_has_one) {
        (true, Some(false)) => "one is configured, and the BMC says that it has none",
        (true, _) => "the one configured is not the BMC's",
        (false, Some(true)) => "the BMC says that it has one, and none is configured",
        (false, _) => "none is configured, and the BMC seems to have one",
    }
}

fn tried_words(tried: &[(SuiteId, String)], offered: &[SuiteId]) -> String {
    let mut words: Vec<String> = tried
        .iter()
        .map(|(suite, words)| format!("suite {suite}: {words}"))
        .collect();
    if words.is_empty() {
        words.push("none tried".into());
    }
    if !offered.is_empty() {
        let ids: Vec<String> = offered.iter().map(SuiteId::to_string).collect();
        words.push(format!("the BMC offers {}", ids.join(", ")));
    }
    words.join("; ")
}

fn unusable_words(why: Dropped) -> &'static str {
    match why {
        Dropped::NotAuthenticated => "without an integrity code, which the cipher suite has",
        Dropped::NotEncrypted => "in clear, though the cipher suite encrypts",
        Dropped::WrongCode => "with a wrong integrity code",
        Dropped::WrongPad => "with a pad that is longer than the packet",
        Dropped::Malformed
        | Dropped::NotExpected
        | Dropped::Rumour
        | Dropped::OtherSession
        | Dropped::OutOfWindow
        | Dropped::WrongMessage
        | Dropped::Stale => "in a form that is not understood",
    }
}

impl Dropped {
    /// Whether a packet that carries the number of our session was dropped for how it is protected.
    pub(super) fn is_about_protection(self) -> bool {
        matches!(
            self,
            Self::NotAuthenticated | Self::NotEncrypted | Self::WrongCode | Self::WrongPad
        )
    }
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dropped {
    /// Not RMCP, or a header that does not decode.
    Malformed,
    /// No session is open or being opened.
    NotExpected,
    /// An error that names no session: it waits for something better.
    Rumour,
    /// Of another session, another step or an earlier attempt.
    OtherSession,
    /// Not authenticated where it must be.
    NotAuthenticated,
    /// Not encrypted where it must be.
    NotEncrypted,
    /// The integrity code is wrong.
    WrongCode,
    /// The sequence number was seen before or is too far away.
    OutOfWindow,
    /// Decryption gave no valid padding.
    WrongPad,
    /// The IPMI message does not decode or its checksum is wrong.
    WrongMessage,
    /// An answer that nobody waits for.
    Stale,
}

/// `of another session, or of an earlier attempt`
impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "no RMCP, or not to be read",
            Self::NotExpected => "not expected by anybody",
            Self::Rumour => "errors that name no session",
            Self::OtherSession => "of another session, or of an earlier attempt",
            Self::NotAuthenticated => "not authenticated",
            Self::NotEncrypted => "not encrypted",
            Self::WrongCode => "with a wrong integrity code",
            Self::OutOfWindow => "seen before, or with a number that is too far away",
            Self::WrongPad => "not to be decrypted",
            Self::WrongMessage => "with a message that is not to be read",
            Self::Stale => "answers that nobody waited for any more",
        })
    }
}

/// What a session has seen so far, since it was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// The smoothed round-trip time.
    pub round_trip: Option<Duration>,
    /// The protocol of the last session that was opened.
    pub spoken: Option<Spoken>,
    /// The privilege level of the last session that was opened.
    pub privilege: Option<PrivilegeLevel>,
    /// The quirks in force, configured and found out.
    pub quirks: Quirks,
    /// Datagrams handed to the network.
    pub sent: u64,
    pub received: u64,
    /// Copies of requests.
    pub resends: u64,
    /// Log-ins begun.
    pub handshakes: u64,
    /// Open Session Requests handed to the network.
    pub opens: u64,
    /// Sessions opened.
    pub opened: u64,
    /// Sessions lost.
    pub lost: u64,
    /// Datagrams dropped, by reason.
    pub dropped: BTreeMap<Dropped, u64>,
}

/// Where a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No session.
    Closed,
    /// The handshake is under way.
    Opening {
        /// What was sent last.
        step: &'static str,
        /// The handshake's number, 1 or more.
        attempt: u32,
    },
    Open {
        /// The protocol spoken.
        spoken: Spoken,
        /// The privilege level in force.
        privilege: PrivilegeLevel,
    },
    /// Close Session was sent, or is about to be.
    Closing,
}
