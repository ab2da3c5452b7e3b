//! What follows RAKP 3 (§13.22, §13.23): RAKP 4, or a proof in its place.
//!
//! The keys are known since RAKP 2. After silence Set Session Privilege Level is sent under them,
//! twice, and never an order: its answer verifies under K1 only where the BMC has the same keys,
//! which is what RAKP 4 would have said. Only then RAKP 3 is sent once more, because a copy of it
//! ruins the keys at OpenBMC; and once more after that.

use super::handshake::{Context, Handshake, Progress, Step};
use super::key_exchange::{Rakp2Verified, Transcript};
use super::link::{Link, Reply};
use super::quirk::Quirk;
use super::resend::Copies;
use super::seal::{Seal, Seal20};
use super::settings::Settings;
use super::vocabulary::{Dropped, OpenError, Spoken};
use crate::ipmi::message::Checksums;
use crate::ipmi::payload::PayloadType;
use crate::ipmi::rakp::{Rakp2, Rakp3, Rakp4};
use crate::ipmi::suite::Integrity;
use crate::ipmi::{Status, Wire};
use crate::time::Instant;
use std::time::Duration;

/// A log-in whose RAKP 3 has left, or is about to.
pub(super) struct Proof {
    /// Whether RAKP 3 waits for other answers to RAKP 1.
    held: bool,
    pub(super) verified: Rakp2Verified,
    /// The session's traffic under the keys that RAKP 2 gave; `None` once the BMC said that there
    /// is no such session.
    pub(super) link: Option<Link>,
    /// A RAKP 2 that came after RAKP 3 had left: the network or the BMC doubles packets, and the
    /// BMC may have forgotten the number that RAKP 3 was made with.
    newer: Option<Rakp2Verified>,
    rakp1: Copies,
    /// How often silence was met with something.
    turn: u32,
}

impl Proof {
    pub(super) fn new(
        verified: Rakp2Verified,
        rakp1: Copies,
        settings: &Settings,
        checksums: Checksums,
    ) -> Self {
        // The keys come before the proof, so that the session can be closed without it.
        let link = Some(link(&verified, settings, checksums));
        Self {
            held: false,
            verified,
            link,
            newer: None,
            rakp1,
            turn: 0,
        }
    }

    /// The answer to what was sent under the keys, if it is one.
    pub(super) fn receive(
        &mut self,
        datagram: &[u8],
        now: Instant,
    ) -> Result<Option<Reply>, Dropped> {
        match self.link.as_mut().filter(|link| link.exchange().is_some()) {
            Some(link) => link.receive(datagram, now),
            None => Ok(None),
        }
    }

    /// Whether an answer under the keys proves that the BMC has them.
    fn is_provable(&self, settings: &Settings) -> bool {
        let keyed = matches!(
            // §13.28.4: MD5-128 is keyed with the password alone, and no integrity with nothing.
            self.verified.transcript().suite.integrity,
            Integrity::HmacSha1_96 | Integrity::HmacMd5_128 | Integrity::HmacSha256_128
        );
        let quirks = self.verified.transcript().quirks;
        // ipmi_sim's key is the password, which proves nothing of K_G.
        let password = quirks.has(Quirk::IntegrityKeyPassword);
        keyed && !(password && settings.bmc_key.is_some()) && !quirks.has(Quirk::NoSetPrivilege)
    }

    /// Whether a refusal of RAKP 3's code may be about another RAKP 1 than the one that it answers.
    fn is_doubled(&self) -> bool {
        self.newer.is_some() || self.rakp1.len() > 1
    }
}

/// The traffic of the session that this RAKP 2 leads to.
fn link(verified: &Rakp2Verified, settings: &Settings, checksums: Checksums) -> Link {
    let Transcript {
        suite,
        console_id,
        bmc_id,
        quirks,
        ..
    } = *verified.transcript();
    let seal = Seal::V20(Box::new(Seal20 {
        suite,
        keys: verified.session_keys(&settings.password, settings.bmc_key.as_ref()),
        console_id,
        bmc_id,
        quirks,
        last: Default::default(),
    }));
    // In RMCP+ both sides number their packets from 1.
    Link::new(seal, bmc_id, 0, 0, checksums)
}

impl Handshake {
    /// Packets are doubled, and a BMC that draws a new number for each copy of RAKP 1 takes a RAKP
    /// 3 that is made with the newest one only: its other answers are waited for, which are on the
    /// way.
    pub(super) fn hold_rakp3(&mut self, ctx: &mut Context<'_>) {
        self.deadline = (ctx.now + COPIES_WITHIN).min(self.limit(ctx));
        if let Step::Rakp4(proof) = &mut self.step {
            proof.held = true;
        }
    }

    /// The answer to RAKP 1 that came last is the one to go on with.
    fn turn_to_newest(&mut self, ctx: &Context<'_>) {
        let checksums = self.checksums();
        if let Step::Rakp4(proof) = &mut self.step
            && let Some(newer) = proof.newer.take()
        {
            proof.link = Some(link(&newer, ctx.settings, checksums));
            proof.verified = newer;
        }
    }

    pub(super) fn send_rakp3(&mut self, ctx: &mut Context<'_>) {
        let tag = self.next_tag();
        let Step::Rakp4(proof) = &self.step else {
            return;
        };
        let rakp3 = Rakp3 {
            tag,
            status: Status::OK,
            bmc_id: proof.verified.transcript().bmc_id,
            code: proof.verified.rakp3_code().to_vec(),
        };
        self.send_setup(PayloadType::Rakp3, tag, &rakp3.encode(), ctx);
        self.await_proof(ctx);
    }

    /// No RAKP 4 yet.
    pub(super) fn tick_proof(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if ctx.now >= self.limit(ctx) {
            return self.silent_to_the_end(ctx);
        }
        // The BMC said that it has no such session, so that it would answer nothing under its keys.
        if self
            .refused
            .is_some_and(|(step, _)| step == self.step.name())
        {
            return self.restart(ctx);
        }
        let Step::Rakp4(proof) = &mut self.step else {
            return Progress::Going(self);
        };
        if std::mem::take(&mut proof.held) {
            self.turn_to_newest(ctx);
            self.send_rakp3(ctx);
            return Progress::Going(self);
        }
        proof.turn += 1;
        let provable = proof.link.is_some() && proof.is_provable(ctx.settings);
        match (provable, proof.turn) {
            // Two questions after each of three RAKP 3, and questions first: a copy of RAKP 3 ruins
            // the keys at OpenBMC.
            (true, 1 | 2 | 4 | 5 | 7 | 8) => self.ask_under_the_keys(ctx),
            (true, 3 | 6) | (false, 1) => {
                if let Some(rumour) = self.last_rumour() {
                    return self.rakp_failed(rumour, "RAKP 4", ctx);
                }
                self.turn_to_newest(ctx);
                self.send_rakp3(ctx);
                Progress::Going(self)
            }
            // Where no question can prove anything, the second RAKP 3 gets its time.
            (false, 2) => {
                self.await_answer(ctx);
                Progress::Going(self)
            }
            _ => match self.last_rumour() {
                Some(rumour) => self.rakp_failed(rumour, "RAKP 4", ctx),
                None => self.restart(ctx),
            },
        }
    }

    /// RAKP 4, or an answer under the keys, is waited for. A BMC without the session drops what
    /// comes under its keys, so that this may go to a BMC that is known to be fast sooner than what
    /// begins a session.
    fn await_proof(&mut self, ctx: &Context<'_>) {
        let floor = ctx.settings.timing.resend_floor;
        let wait = match ctx.memory.round_trip.expected() {
            Some(expected) if self.is_provable(ctx) => expected.max(floor / 2),
            Some(expected) => expected.max(floor),
            None => floor,
        };
        self.deadline = (ctx.now + wait).min(self.limit(ctx));
    }

    fn is_provable(&self, ctx: &Context<'_>) -> bool {
        let Step::Rakp4(proof) = &self.step else {
            return false;
        };
        proof.link.is_some() && proof.is_provable(ctx.settings)
    }

    fn ask_under_the_keys(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        self.await_proof(ctx);
        let until = self.limit(ctx).max(self.deadline);
        let Step::Rakp4(proof) = &mut self.step else {
            return Progress::Going(self);
        };
        if let Some(link) = &mut proof.link {
            let datagram = match link.another_copy(ctx.now, ctx.entropy) {
                Some(copy) => copy,
                None => super::privilege::ask(link, ctx.settings.privilege, until, ctx),
            };
            ctx.memory.statistics.resends += 1;
            self.send_sealed(datagram, ctx);
        }
        Progress::Going(self)
    }

    /// An answer came under the keys: the BMC has them, and its RAKP 4 was lost.
    pub(super) fn proved(mut self: Box<Self>, reply: Reply, ctx: &mut Context<'_>) -> Progress {
        self.heard(None, ctx);
        let Some((link, spoken)) = self.take_link() else {
            return self.dropped(Dropped::Stale, ctx);
        };
        self.privilege_step(link, spoken, ctx);
        self.handle_privilege(reply, ctx)
    }

    /// Another RAKP 2 after RAKP 3 has left.
    pub(super) fn handle_another_rakp2(
        mut self: Box<Self>,
        payload: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        let Ok(Rakp2::Accepted {
            tag,
            console_id,
            bmc_random,
            guid,
            code,
        }) = Rakp2::decode(payload)
        else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let Step::Rakp4(proof) = &mut self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let seen = proof.verified.transcript();
        let ours = console_id == seen.console_id && (tag == 0 || proof.rakp1.has(tag));
        // The same random number shows a copy that the network made.
        if !ours || bmc_random == seen.bmc_random {
            return self.dropped(Dropped::Stale, ctx);
        }
        let transcript = Transcript {
            bmc_random,
            guid,
            ..seen.clone()
        };
        // Unchecked, it would let anybody turn us to a number that is not the BMC's.
        if let Ok(verified) = transcript.verify_rakp2(&code, &ctx.settings.password) {
            proof.newer = Some(verified);
            self.doubled = true;
        }
        self.dropped(Dropped::Stale, ctx)
    }

    pub(super) fn handle_rakp4(
        mut self: Box<Self>,
        payload: &[u8],
        ctx: &mut Context<'_>,
    ) -> Progress {
        let (tag, id, check_value) = match Rakp4::decode(payload) {
            Err(_) => return self.dropped(Dropped::Malformed, ctx),
            Ok(Rakp4::Refused(refused)) => return self.rakp_refused(refused, "RAKP 4", ctx),
            Ok(Rakp4::Accepted {
                tag,
                console_id,
                check_value,
            }) => (tag, console_id, check_value),
        };
        if !self.is_ours_for_sure(tag, id) {
            return self.dropped(Dropped::OtherSession, ctx);
        }
        self.heard_copy(tag, ctx);
        let checksums = self.checksums();
        let Step::Rakp4(proof) = &mut self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        let settings = ctx.settings;
        let key = settings.bmc_key.as_ref();
        if !proof.verified.is_rakp4(&check_value, key) {
            match proof
                .newer
                .take_if(|newer| newer.is_rakp4(&check_value, key))
            {
                Some(newer) => {
                    proof.link = Some(link(&newer, settings, checksums));
                    proof.verified = newer;
                }
                // It may answer another copy of RAKP 1, which says nothing of K_G.
                None if proof.is_doubled() => return self.restart(ctx),
                None => {
                    // §13.31: RAKP 2 had the right password, so that only K_G can differ.
                    let error = OpenError::WrongKey {
                        configured: settings.bmc_key.is_some(),
                        bmc_has_one: ctx.memory.capabilities.map(|offers| offers.bmc_key_set()),
                    };
                    return self.fail(error, ctx);
                }
            }
        }
        let Some((mut link, spoken)) = self.take_link() else {
            return self.dropped(Dropped::Stale, ctx);
        };
        link.begins_now();
        self.set_privilege(link, spoken, ctx)
    }

    fn take_link(&mut self) -> Option<(Link, Spoken)> {
        let Step::Rakp4(proof) = &mut self.step else {
            return None;
        };
        let transcript = proof.verified.transcript();
        let suite = transcript.suite;
        // Suite 0 has no codes: its GUID may be anybody's, and rule 12 needs the BMC's.
        self.guid = (!proof.verified.rakp3_code().is_empty()).then_some(transcript.guid);
        Some((proof.link.take()?, Spoken::V20(suite.id)))
    }

    /// What a refused RAKP 3 code means: worth another log-in, or not; `None` where RAKP 2 has
    /// shown nothing of the password.
    pub(super) fn code_refused(&self, ctx: &mut Context<'_>) -> Option<bool> {
        let Step::Rakp4(proof) = &self.step else {
            return None;
        };
        // Suite 0 has no code, so that a refusal says nothing of the password.
        if proof.verified.rakp3_code().is_empty() {
            return None;
        }
        // RAKP 2 proved the password. Either a copy of RAKP 1 made the BMC forget this exchange, or
        // it wants RAKP 3 made in another way.
        if proof.is_doubled() {
            return Some(true);
        }
        ctx.memory.codes_refused += 1;
        Some(ctx.memory.codes_refused < CODES_REFUSED_LIMIT)
    }

    /// Whether "no such session" is the answer to a copy of RAKP 3, ours or the network's: then the
    /// first one was taken, and what is asked under the keys shows it.
    pub(super) fn finished_before(&mut self, ctx: &mut Context<'_>) -> bool {
        let copied = self.copies.len() > 1 || self.doubled;
        let Step::Rakp4(proof) = &mut self.step else {
            return false;
        };
        let before = copied && proof.is_provable(ctx.settings);
        if before && proof.turn < ASKED_AGAIN_FROM {
            proof.turn = ASKED_AGAIN_FROM;
            self.deadline = ctx.now;
        }
        before
    }

    /// The BMC said that there is no such session.
    pub(super) fn forget_session(&mut self) {
        if let Step::Rakp4(proof) = &mut self.step {
            proof.link = None;
        }
    }
}

/// The turn after the second RAKP 3.
const ASKED_AGAIN_FROM: u32 = 3;
/// Copies that a network makes are no further apart.
const COPIES_WITHIN: Duration = Duration::from_millis(50);
/// Refusals of RAKP 3 after which the handshake is given up, and then each later one at the next:
/// BMCs count them towards a lock-out, after five often.
const CODES_REFUSED_LIMIT: u32 = 3;
