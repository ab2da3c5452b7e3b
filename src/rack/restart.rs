//! What becomes of a BMC that was told to restart: many do not answer that order, so that what
//! follows tells whether they took it.
//!
//! Decided for one node from that node alone: it is read every few seconds until it was silent and
//! answers again, and that is told; or until it has answered all along.

use super::clock::Moment;
use super::history::entry;
use super::node::{Effect, Node};
use crate::bmc::vocabulary::{Order, Report};
use crate::model::{Delivery, HistoryKind};
use crate::time::Instant;
use std::time::Duration;

/// A BMC whose restart is watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restart {
    since: Instant,
    /// Sessions lost by then.
    lost: u64,
    /// Whether it was silent since.
    silent: bool,
}

impl Node {
    /// The BMC was told to restart, as far as `report` says.
    pub(super) fn watch_restart(&mut self, order: &Order, report: &Report, at: Moment) {
        let may_have_arrived = match report {
            Report::Accepted(_) => true,
            // A BMC that restarts at once does not answer the order.
            Report::Unanswered(silence) => silence.delivery == Delivery::Unknown,
            Report::Refused(_) => false,
        };
        if order.restarts_bmc() && may_have_arrived {
            self.restart = Some(Restart {
                since: at.now,
                lost: self.bmc.session().statistics().lost,
                silent: false,
            });
            self.next_sync = at.now + LOOK;
        }
    }

    /// One more reading of a BMC that may be restarting.
    pub(super) fn look_at_restart(&mut self, report: &Report, at: Moment) -> Vec<Effect> {
        let Some(mut restart) = self.restart else {
            return Vec::new();
        };
        let lost = self.bmc.session().statistics().lost > restart.lost;
        let answers = report.is_accepted();
        // A quick BMC is back before the next look, but has lost the session.
        restart.silent |= lost || !answers;
        let passed = at.now - restart.since;
        let text = match (answers, restart.silent) {
            (true, true) => format!(
                "its BMC answers again, {} s after it was told to restart",
                passed.as_secs()
            ),
            (true, false) if passed >= ALL_ALONG => format!(
                "its BMC has answered all along for {} s since it was told to restart: it does not seem to have done so",
                passed.as_secs()
            ),
            (true, false) | (false, _) => {
                self.restart = (passed < GIVEN_UP).then_some(restart);
                self.next_sync = self.next_sync.min(at.now + LOOK);
                return Vec::new();
            }
        };
        self.restart = None;
        log::info!("{}: {text}", self.name());
        let told = entry(HistoryKind::Order, text.clone(), !restart.silent, at);
        vec![Effect::History(told), Effect::Event(text)]
    }
}

/// How often such a BMC is read.
const LOOK: Duration = Duration::from_secs(5);
/// After how long a BMC that answers all along is said not to have restarted.
const ALL_ALONG: Duration = Duration::from_secs(60);
/// After how long its restart is watched no more: from then on its silence counts as always.
const GIVEN_UP: Duration = Duration::from_secs(300);
