//! What a failed attempt to reach a BMC means for the next ones: a dead BMC answers at once for a
//! while, and failed log-ins are counted before the BMC counts them (design, rule 10).

use super::settings::{Care, LOCKED_REST, SESSIONS_FULL_REST};
use crate::model::{Trouble, counted};
use crate::time::Instant;
use std::time::Duration;

/// Log-ins that were refused in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogIns {
    pub count: u32,
    /// What the last one was refused for.
    pub trouble: Trouble,
    /// The last refusal in words.
    pub text: String,
}

/// The breaker of one BMC.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    failed_logins: u32,
    /// What the last of them was refused for.
    refused: Option<LogIns>,
    /// How often in a row its sessions were found full.
    found_full: u32,
    /// How often in a row it was found silent while an operation ran.
    found_silent: u32,
    limits: Limits,
}

/// What of the care for a BMC its breaker goes by: a breaker with others begins anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    log_ins: u32,
    hold: Duration,
    retry: Duration,
}

impl Limits {
    pub(super) fn of(care: &Care) -> Self {
        Self {
            // With none allowed nobody could ever log in.
            log_ins: care.auth_failures.max(1),
            hold: care.auth_hold,
            retry: care.breaker_retry,
        }
    }
}

#[derive(Debug)]
enum State {
    /// Attempts are made.
    Closed,
    /// None is made until then; the attempt after that decides (half-open).
    Open {
        until: Instant,
        trouble: Trouble,
        text: String,
    },
}

impl Breaker {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: State::Closed,
            failed_logins: 0,
            refused: None,
            found_full: 0,
            found_silent: 0,
            limits,
        }
    }

    /// The breaker of a BMC that refused log-ins in an earlier life: where no more are allowed, the
    /// hold begins anew.
    pub(super) fn recalled(mut self, known: Option<LogIns>, now: Instant) -> Self {
        let Some(known) = known else { return self };
        self.failed_logins = known.count;
        // Our clock begins with this life, so that the hold begins anew.
        if known.count >= self.limits.log_ins {
            self.state = State::Open {
                until: now + self.limits.hold,
                trouble: known.trouble,
                text: known.text.clone(),
            };
        }
        self.refused = Some(known);
        self
    }

    /// The log-ins that were refused in a row.
    pub(super) fn log_ins(&self) -> Option<LogIns> {
        self.refused.clone().filter(|_| self.failed_logins > 0)
    }

    /// Somebody says so who may not be the BMC: it is no log-in that was refused, and holds
    /// nothing.
    pub(super) fn heard_of(&mut self, trouble: Trouble, text: &str, wanted: bool, now: Instant) {
        // As trouble that may pass: one about credentials would count as a refused log-in.
        self.failed(Trouble::Protocol, text, wanted, now);
        if let State::Open { trouble: shown, .. } = &mut self.state {
            *shown = trouble;
        }
    }

    /// Why no attempt is made now, if so: words that stay true, because they may be kept.
    pub(super) fn verdict(&self, now: Instant) -> Option<(Trouble, String)> {
        let (trouble, text, _) = self.shut(now)?;
        let words = match trouble {
            Trouble::Held => "no log-in is tried for a while",
            _ => "it is not asked again yet",
        };
        Some((trouble, format!("{text}; {words} (rackbmc retry: at once)")))
    }

    /// What the attempts failed of, what that says, and for how many seconds none is made.
    fn shut(&self, now: Instant) -> Option<(Trouble, &str, f64)> {
        let State::Open {
            until,
            trouble,
            text,
        } = &self.state
        else {
            return None;
        };
        // Where no more are allowed, the hold is what people have to know.
        let held = trouble.is_log_in() && self.failed_logins >= self.limits.log_ins;
        let trouble = if held { Trouble::Held } else { *trouble };
        let left = (*until - now).as_secs_f64().ceil();
        (now < *until).then_some((trouble, text, left))
    }

    /// When the next attempt is allowed, where one failed.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        match &self.state {
            State::Open { until, .. } => Some(*until),
            State::Closed => None,
        }
    }

    /// What stands in the way, without a word of the next attempt.
    pub(super) fn in_the_way(&self) -> Option<(Trouble, String)> {
        match &self.state {
            State::Closed => None,
            State::Open { trouble, text, .. } => Some((*trouble, text.clone())),
        }
    }

    /// What stands in the way at this moment, also while the next attempt is due already.
    pub(super) fn trouble(&self, now: Instant) -> Option<(Trouble, String)> {
        let Some((trouble, text, left)) = self.shut(now) else {
            return self.in_the_way();
        };
        let next = match trouble {
            Trouble::Held => "no log-in is tried for",
            _ => "next attempt in",
        };
        let text = format!("{text}; {next} {left} s (rackbmc retry: at once)");
        Some((trouble, text))
    }

    /// An attempt failed. While an operation wants the BMC, a silent one is tried again sooner at
    /// first: its patience is short, and over a bad network silence is often not death.
    pub(super) fn failed(&mut self, trouble: Trouble, text: &str, wanted: bool, now: Instant) {
        let (rest, text) = match trouble {
            Trouble::WrongPassword | Trouble::UnknownUser | Trouble::NoPrivilege => {
                self.failed_logins += 1;
                let (rest, text) = if self.failed_logins < self.limits.log_ins {
                    // One more log-in is allowed, and it may come at once.
                    (Duration::ZERO, text.to_owned())
                } else {
                    let refused = counted(self.failed_logins as usize, "log-in");
                    (self.limits.hold, format!("{text} ({refused} refused)"))
                };
                self.refused = Some(LogIns {
                    count: self.failed_logins,
                    trouble,
                    text: text.clone(),
                });
                (rest, text)
            }
            Trouble::SessionsFull => {
                // Our own half-open sessions are forgotten soon; those of others take longer.
                let rest = FIRST_FULL_REST * 2u32.pow(self.found_full.min(8));
                self.found_full += 1;
                (rest.min(SESSIONS_FULL_REST), text.to_owned())
            }
            // These may pass: a BMC that restarts is unreachable or answers nonsense for seconds.
            Trouble::Silent | Trouble::Unreachable | Trouble::Protocol | Trouble::NoAddress
                if wanted =>
            {
                let rest = FIRST_SILENT_REST * 2u32.pow(self.found_silent.min(8));
                self.found_silent += 1;
                (rest.min(self.limits.retry), text.to_owned())
            }
            Trouble::Locked => (LOCKED_REST, text.to_owned()),
            Trouble::Silent
            | Trouble::Unreachable
            | Trouble::Protocol
            | Trouble::NoAddress
            | Trouble::NoCommonSuite
            | Trouble::NoProtocol
            | Trouble::Busy
            | Trouble::Held
            | Trouble::BreakerOpen
            | Trouble::WrongBmc
            // Named one by one, so that the rest after a new trouble has to be decided here.
            | Trouble::Withdrawn => (self.limits.retry, text.to_owned()),
        };
        self.state = State::Open {
            until: now + rest,
            trouble,
            text,
        };
    }

    /// Other words for a verdict that stands.
    pub(super) fn reword(&mut self, with: &str) {
        if let State::Open { text, .. } = &mut self.state {
            with.clone_into(text);
        }
    }

    /// Adds to the words of a verdict of silence.
    pub(super) fn remark(&mut self, remark: &str) {
        if let State::Open {
            trouble: Trouble::Silent,
            text,
            ..
        } = &mut self.state
        {
            text.push_str("; ");
            text.push_str(remark);
        }
    }

    /// What may have been a wrong password or a bad network: counted as a failed log-in, and taken
    /// for one where no more of these are allowed.
    pub(super) fn doubtful(&mut self) -> Trouble {
        if self.failed_logins + 1 < self.limits.log_ins {
            self.failed_logins += 1;
            self.refused = Some(LogIns {
                count: self.failed_logins,
                trouble: Trouble::WrongPassword,
                text: "no answer to a log-in, as to a wrong password".to_owned(),
            });
            // A lost packet looks the same: only the last one allowed is called wrong.
            return Trouble::Silent;
        }
        Trouble::WrongPassword
    }

    /// The BMC answered inside a session.
    pub(super) fn succeeded(&mut self) {
        self.reset();
    }

    /// Everything is forgotten.
    pub(super) fn reset(&mut self) {
        self.state = State::Closed;
        self.refused = None;
        self.failed_logins = 0;
        self.found_full = 0;
        self.found_silent = 0;
    }
}

/// How long a BMC that was silent is left alone the first time while an operation wants it.
const FIRST_SILENT_REST: Duration = Duration::from_secs(3);
/// How long a BMC without a free session is left alone the first time.
const FIRST_FULL_REST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::after_start(Duration::from_secs(secs))
    }

    fn breaker() -> Breaker {
        Breaker::new(Limits {
            log_ins: 2,
            hold: Duration::from_secs(600),
            retry: Duration::from_secs(30),
        })
    }

    #[test]
    fn a_dead_bmc_is_tried_again_only_after_a_rest() {
        let mut breaker = breaker();
        breaker.failed(Trouble::Silent, "no answer", false, at(10));
        assert_eq!(
            breaker.verdict(at(39)).map(|(trouble, _)| trouble),
            Some(Trouble::Silent)
        );
        assert_eq!(breaker.verdict(at(40)), None, "half-open: one attempt");
        assert!(
            breaker.trouble(at(40)).is_some(),
            "the trouble is shown until an answer comes"
        );
        breaker.succeeded();
        assert_eq!(breaker.trouble(at(40)), None);
    }

    #[test]
    fn a_silent_bmc_is_tried_again_sooner_while_an_operation_wants_it() {
        let mut breaker = breaker();
        for (tried_at, rest) in [(0, 3), (100, 6), (200, 12), (300, 24), (400, 30)] {
            breaker.failed(Trouble::Silent, "no answer", true, at(tried_at));
            assert!(breaker.verdict(at(tried_at + rest - 1)).is_some());
            assert!(breaker.verdict(at(tried_at + rest)).is_none());
        }
    }

    #[test]
    fn every_trouble_that_may_pass_is_tried_again_as_soon_as_silence() {
        for trouble in [Trouble::Unreachable, Trouble::Protocol, Trouble::NoAddress] {
            let mut breaker = breaker();
            breaker.failed(trouble, "it may pass", true, at(0));
            assert!(breaker.verdict(at(2)).is_some());
            assert!(breaker.verdict(at(3)).is_none(), "{trouble:?}");
            breaker.failed(trouble, "it may pass", false, at(100));
            assert!(breaker.verdict(at(129)).is_some(), "nobody waits");
        }
    }

    #[test]
    fn two_refused_log_ins_stop_the_trying() {
        let mut breaker = breaker();
        breaker.failed(Trouble::WrongPassword, "wrong password", false, at(0));
        assert_eq!(
            breaker.verdict(at(0)),
            None,
            "the second attempt is allowed"
        );
        breaker.failed(Trouble::WrongPassword, "wrong password", false, at(1));
        let (trouble, text) = breaker.verdict(at(600)).unwrap();
        assert_eq!(trouble, Trouble::Held);
        assert!(
            text.starts_with("wrong password (2 log-ins refused); no log-in is tried for a while"),
            "kept, and so without a countdown: {text}"
        );
        let (_, text) = breaker.trouble(at(600)).unwrap();
        assert!(
            text.starts_with("wrong password (2 log-ins refused); no log-in is tried for 1 s"),
            "{text}"
        );
        assert_eq!(breaker.verdict(at(601)), None);
    }

    #[test]
    fn a_log_in_that_may_have_been_lost_counts_and_is_called_wrong_only_when_no_more_are_allowed() {
        let mut breaker = breaker();
        assert_eq!(breaker.doubtful(), Trouble::Silent);
        breaker.failed(Trouble::Silent, "no answer", true, at(0));
        assert_eq!(breaker.verdict(at(3)), None);
        assert_eq!(breaker.doubtful(), Trouble::WrongPassword);
        breaker.failed(Trouble::WrongPassword, "no answer", true, at(4));
        assert!(breaker.verdict(at(603)).is_some());
    }

    #[test]
    fn what_anybody_can_have_said_is_shown_and_holds_no_log_in() {
        let mut breaker = breaker();
        for said_at in [0, 100, 200, 300] {
            breaker.heard_of(Trouble::UnknownUser, "unknown user", false, at(said_at));
            let found = breaker.verdict(at(said_at + 29));
            assert_eq!(
                found.map(|(trouble, _)| trouble),
                Some(Trouble::UnknownUser)
            );
            assert_eq!(breaker.verdict(at(said_at + 30)), None);
        }
        assert_eq!(breaker.log_ins(), None);
    }

    #[test]
    fn a_full_bmc_gets_the_time_to_lose_a_session() {
        let mut breaker = breaker();
        for (tried_at, rest) in [
            (0, 5),
            (100, 10),
            (200, 20),
            (300, 40),
            (400, 60),
            (500, 60),
        ] {
            breaker.failed(
                Trouble::SessionsFull,
                "all sessions are taken",
                false,
                at(tried_at),
            );
            assert!(breaker.verdict(at(tried_at + rest - 1)).is_some());
            assert!(breaker.verdict(at(tried_at + rest)).is_none());
        }
    }
}
