//! Get Channel Cipher Suites, asked only after the configured suites were refused, to say what the
//! BMC has. On a short leash: some BMCs never answer it. The list is advice for people; suites that
//! are not configured are never used.

use super::handshake::{Context, Handshake, Progress, Step, is_answer};
use super::vocabulary::{Dropped, OpenError};
use crate::ipmi::command::Command;
use crate::ipmi::command::get_channel_cipher_suites::{self as suites, CHUNK};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::{SuiteId, Wire, message, session15, session20};
use crate::time::Instant;

/// The question under way.
pub(super) struct Advice {
    sequence: u8,
    index: u8,
    list: Vec<u8>,
    /// What is reported in the end, with the list in it.
    failure: OpenError,
    until: Instant,
    form: Form,
}

/// Which header the question has: OpenBMC answers the first only, ipmi_sim the second only.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    V20,
    V15,
}

impl Handshake {
    /// Asks for the list before `failure` is reported.
    pub(super) fn ask_advice(
        mut self: Box<Self>,
        failure: OpenError,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let advice = Advice {
            sequence: ctx.entropy.below(64) as u8,
            index: 0,
            list: Vec::new(),
            failure,
            // Some BMCs never answer this: ipmitool loses ten seconds and more (its issue 199).
            until: ctx.now + ctx.settings.timing.advice_limit,
            form: Form::V20,
        };
        self.freshen();
        self.step = Step::Advice(advice);
        self.ask_chunk(ctx)
    }

    fn ask_chunk(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let Step::Advice(advice) = &mut self.step else {
            return Progress::Going(self);
        };
        advice.sequence = (advice.sequence + 1) & 0x3F;
        let (form, until) = (advice.form, advice.until);
        let message = message::Request::to_bmc(
            suites::Request::NET_FN,
            0,
            suites::Request::NUMBER,
            advice.sequence,
            suites::Request::chunk(advice.index).encode(),
        )
        .encode();
        let body = match form {
            Form::V20 => session20::Header::outside(PayloadType::Ipmi).encode(&message),
            Form::V15 => session15::Packet::outside(&message).encode(),
        };
        self.send(&body, ctx);
        // Half of the time for each form of the header.
        let half = ctx.now + ctx.settings.timing.advice_limit / 2;
        self.set_deadline(half.min(until));
        Progress::Going(self)
    }

    /// A piece of the list.
    pub(super) fn handle_advice(
        mut self: Box<Self>,
        response: message::Response,
        ctx: &mut Context<'_>,
    ) -> Progress {
        let Step::Advice(advice) = &mut self.step else {
            return self.dropped(Dropped::Stale, ctx);
        };
        if response.sequence != advice.sequence || !is_answer::<suites::Request>(&response) {
            return self.dropped(Dropped::Stale, ctx);
        }
        let Ok(piece) = suites::Response::decode(&response.data) else {
            return self.advice_given(ctx);
        };
        advice.list.extend_from_slice(&piece.records);
        advice.index += 1;
        // §22.15: a piece of less than 16 bytes is the last one, and the index has six bits.
        let more = piece.records.len() >= CHUNK && advice.index < 64;
        if response.completion.is_ok() && more && ctx.now < advice.until {
            return self.ask_chunk(ctx);
        }
        self.advice_given(ctx)
    }

    /// No answer: once more with the other header, then without.
    pub(super) fn advice_over(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        if let Step::Advice(advice) = &mut self.step
            && advice.form == Form::V20
            && advice.index == 0
            && ctx.now < advice.until
        {
            advice.form = Form::V15;
            return self.ask_chunk(ctx);
        }
        self.advice_given(ctx)
    }

    fn advice_given(mut self: Box<Self>, ctx: &mut Context<'_>) -> Progress {
        let Step::Advice(advice) = std::mem::replace(&mut self.step, Step::NONE) else {
            return Progress::Going(self);
        };
        let found: Vec<SuiteId> = suites::records(&advice.list)
            .iter()
            .map(|record| record.id)
            .collect();
        let failure = match advice.failure {
            OpenError::NoCommonSuite { tried, .. } => OpenError::NoCommonSuite {
                tried,
                offered: found,
            },
            other => other,
        };
        self.fail(failure, ctx)
    }
}
