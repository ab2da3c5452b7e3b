//! The log-in of IPMI v1.5 (§6.11.9, §22.16, §22.17): Get Session Challenge, Activate Session.
//!
//! A repeated challenge leaves from a fresh port (Intel Tiger 4). A BMC says nothing to a wrong
//! password here, so that Activate Session is tried twice only: there are lock-outs.

use super::handshake::{Context, Handshake, Progress, Step, is_answer, outside_response};
use super::link::Link;
use super::quirk::Quirk;
use super::seal::{Seal, Seal15};
use super::secret::PASSWORD_LIMIT_V15;
use super::settings::{AuthChoice, Protocol};
use super::vocabulary::{Dropped, OpenError, Spoken};
use crate::ipmi::command::{Command, activate_session, get_session_challenge};
use crate::ipmi::session15::{self, AuthType};
use crate::ipmi::{CompletionCode, Wire, message};

/// How often a log-in whose password may be wrong is tried.
// Many BMCs lock an account after five; two log-ins before a hold make it four.
const ACTIVATIONS: u32 = 2;

/// What is awaited.
pub(super) enum Login {
    /// Get Session Challenge was sent.
    Challenge { auth_type: AuthType, sequence: u8 },
    /// Activate Session was sent.
    Activate {
        seal: Box<Seal15>,
        sequence: u8,
        /// What the BMC's packets start with.
        outbound: u32,
    },
}

impl Login {
    /// What was sent, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Challenge { .. } => get_session_challenge::Request::NAME,
            Self::Activate { .. } => {
                "Activate Session (to which IPMI 1.5 BMCs with another password say nothing)"
            }
        }
    }
}

impl Handshake {
    /// Begins a log-in.
    pub(super) fn login(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let auth_type = match self.choose_auth_type(ctx) {
            Ok(auth_type) => auth_type,
            Err(error) => return self.fail(error, ctx),
        };
        // Other tools cut it, which leaves people with a log-in that fails for no visible reason.
        if ctx.settings.password.expose().len() > PASSWORD_LIMIT_V15 {
            let error = OpenError::Settings(format!(
                "IPMI 1.5 carries passwords of at most {PASSWORD_LIMIT_V15} bytes"
            ));
            return self.fail(error, ctx);
        }
        let sequence = ctx.entropy.below(64) as u8;
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(ctx.settings.username.bytes()) {
            *to = from;
        }
        let request = get_session_challenge::Request { auth_type, name };
        self.step = Step::Login(Login::Challenge {
            auth_type,
            sequence,
        });
        let message = to_bmc(&request, sequence);
        self.send(&session15::Packet::outside(&message).encode(), ctx);
        Progress::Going(self)
    }

    fn choose_auth_type(&self, ctx: &Context<'_>) -> Result<AuthType, OpenError> {
        if self.quirks.has(Quirk::OemAuth) {
            return Ok(AuthType::Oem);
        }
        let offers = ctx
            .memory
            .capabilities
            .filter(|_| !self.quirks.has(Quirk::IgnoreCapabilities));
        if offers.is_some_and(|offers| !offers.v15()) {
            return Err(OpenError::NoProtocol(
                "the BMC says that it has no IPMI 1.5".into(),
            ));
        }
        // Without an answer nothing is known of the types, so that all of them may be tried.
        let offered = |auth_type| offers.is_none_or(|offers| offers.allows(auth_type));
        match ctx.settings.protocol {
            Protocol::V15(AuthChoice::Only(auth_type)) if offered(auth_type) => Ok(auth_type),
            Protocol::V15(AuthChoice::Only(auth_type)) => Err(OpenError::NoProtocol(format!(
                "the BMC offers no IPMI 1.5 authentication type {auth_type}"
            ))),
            // The straight password and none protect nothing, so that they are used by name only.
            _ => [AuthType::Md5, AuthType::Md2]
                .into_iter()
                .find(|auth_type| offered(*auth_type))
                .ok_or_else(|| {
                    OpenError::NoProtocol("the BMC offers neither MD5 nor MD2 for IPMI 1.5".into())
                }),
        }
    }

    /// An answer on the way.
    pub(super) fn handle_login(
        mut self: Box<Self>,
        body: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        let response = match &self.step {
            Step::Login(Login::Challenge { .. }) => {
                outside_response(body, self.checksums()).ok_or(Dropped::OtherSession)
            }
            Step::Login(Login::Activate { seal, .. }) => self.activation(seal, body),
            _ => Err(Dropped::Stale),
        };
        let response = match response {
            Ok(response) => response,
            Err(reason) => return self.dropped(reason, ctx),
        };
        match &self.step {
            Step::Login(Login::Challenge {
                auth_type,
                sequence,
            }) if response.sequence == *sequence
                && is_answer::<get_session_challenge::Request>(&response) =>
            {
                let auth_type = *auth_type;
                self.heard(Some(self.sent_at), ctx);
                self.handle_challenge(auth_type, response, ctx)
            }
            Step::Login(Login::Activate { sequence, .. })
                if response.sequence == *sequence
                    && is_answer::<activate_session::Request>(&response) =>
            {
                self.heard(Some(self.sent_at), ctx);
                self.handle_activation(response, ctx)
            }
            _ => self.dropped(Dropped::Stale, ctx),
        }
    }

    /// The answer to Activate Session is the first packet with a code; refusals may come without.
    fn activation(&self, seal: &Seal15, body: &[u8]) -> Result<message::Response, Dropped> {
        // §22.17: Activate Session carries a code, even where later packets carry none.
        let message = match seal.unseal(body) {
            Ok(unsealed) => unsealed.message,
            Err(Dropped::NotAuthenticated | Dropped::OtherSession) => {
                let packet = session15::Packet::decode(body).map_err(|_| Dropped::Malformed)?;
                if packet.auth_type != AuthType::None {
                    return Err(Dropped::OtherSession);
                }
                packet.payload.to_vec()
            }
            Err(reason) => return Err(reason),
        };
        message::Response::decode(&message, self.checksums()).map_err(|_| Dropped::WrongMessage)
    }

    fn handle_challenge(
        mut self: Box<Self>,
        auth_type: AuthType,
        response: message::Response,
        ctx: &mut Context<'_>,
    ) -> Progress {
        const STEP: &str = get_session_challenge::Request::NAME;
        if !response.completion.is_ok() {
            let error = match response.completion.0 {
                0x81 | 0x82 => OpenError::UnknownUser {
                    found_in: STEP,
                    asked: ctx.settings.privilege,
                },
                _ => OpenError::RefusedCommand {
                    step: STEP,
                    completion: response.completion,
                },
            };
            return self.fail(error, ctx);
        }
        let Ok(challenge) = get_session_challenge::Response::decode(&response.data) else {
            return self.dropped(Dropped::WrongMessage, ctx);
        };
        let mut seal = Seal15::new(
            auth_type,
            &ctx.settings.password,
            challenge.temporary_id,
            true,
            self.quirks,
        );
        let supermicro = self.quirks.has(Quirk::SupermicroAuth);
        if supermicro {
            seal.answer_supermicro(&challenge.challenge, &ctx.settings.password);
        }
        let mut outbound = (ctx.entropy.next_u64() as u32).clamp(16, 0x7FFF_FFFF);
        if self.quirks.has(Quirk::SequenceSwapped) {
            // A number that reads the same swapped: whether such a BMC swaps this one is not known.
            let [low, high, ..] = outbound.to_le_bytes();
            outbound = u32::from_le_bytes([low & 0x7F | 1, high, high, low & 0x7F | 1]);
        }
        let request = activate_session::Request {
            auth_type,
            privilege: ctx.settings.privilege,
            challenge: if supermicro {
                [0; 16]
            } else {
                challenge.challenge
            },
            outbound_sequence: outbound,
        };
        let sequence = ctx.entropy.below(64) as u8;
        let body = seal.body(0, &to_bmc(&request, sequence));
        self.step = Step::Login(Login::Activate {
            seal: Box::new(seal),
            sequence,
            outbound,
        });
        self.send(&body, ctx);
        Progress::Going(self)
    }

    fn handle_activation(
        mut self: Box<Self>,
        response: message::Response,
        ctx: &mut Context<'_>,
    ) -> Progress {
        const STEP: &str = activate_session::Request::NAME;
        let words = response
            .completion
            .words_for(response.net_fn, response.command);
        let error = match response.completion {
            CompletionCode::OK => None,
            // §22.17: no session is free at all, for this user, or for this level.
            CompletionCode(0x81..=0x83) => Some(OpenError::SessionsFull(words.into())),
            CompletionCode(0x86) | CompletionCode::INSUFFICIENT_PRIVILEGE => {
                Some(OpenError::NoPrivilege {
                    asked: ctx.settings.privilege,
                    reason: words.into(),
                })
            }
            completion => Some(OpenError::RefusedCommand {
                step: STEP,
                completion,
            }),
        };
        if let Some(error) = error {
            return self.fail(error, ctx);
        }
        let Ok(activated) = activate_session::Response::decode(&response.data) else {
            return self.dropped(Dropped::WrongMessage, ctx);
        };
        let Step::Login(Login::Activate { seal, outbound, .. }) = &mut self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let (auth_type, outbound) = (seal.auth_type, *outbound);
        // The reply says how the rest is authenticated, which counts for more than the capabilities
        // (Supermicro).
        let per_message =
            activated.auth_type != Some(AuthType::None) || self.quirks.has(Quirk::PerMessageForced);
        let seal = seal.activated(activated.session_id, per_message);
        let inbound = activated.inbound_sequence;
        // Some boards start one below what they were told.
        let link = Link::new(
            Seal::V15(Box::new(seal)),
            activated.session_id,
            inbound.wrapping_sub(1),
            outbound.wrapping_sub(2),
            self.checksums(),
        );
        self.set_privilege(link, Spoken::V15(auth_type), ctx)
    }

    /// Begins the log-in again after silence, or gives up.
    pub(super) fn restart_login(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let hopeless = matches!(self.step, Step::Login(Login::Activate { .. }))
            && self.attempts >= ACTIVATIONS;
        if hopeless || !self.may_restart(ctx) {
            let error = self.silence(ctx);
            return self.fail(error, ctx);
        }
        self.attempts += 1;
        ctx.memory.statistics.handshakes += 1;
        self.farewell(ctx);
        // Intel Tiger 4 answers a repeated challenge from a new port only.
        self.freshen();
        self.login(ctx)
    }
}

fn to_bmc<C: Command>(request: &C, sequence: u8) -> Vec<u8> {
    message::Request::to_bmc(C::NET_FN, 0, C::NUMBER, sequence, request.encode()).encode()
}
