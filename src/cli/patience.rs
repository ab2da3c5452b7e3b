//! Asking a daemon that may be restarting: again until it is back, with one remark, and not for
//! ever.
//!
//! Used by whatever only looks and goes on for long; `follow` has its own way, which draws.

use super::exit::Failure;
use super::output::say;
use std::time::{Duration, Instant};

/// How long a daemon may be away (restart, upgrade) before it is given up.
pub(super) const RESTART_BUDGET: Duration = Duration::from_secs(60);
/// Time between two attempts to reach it.
pub(super) const RESTART_RETRY: Duration = Duration::from_millis(500);

/// Whether somebody who asks again and again was answered the last time.
#[derive(Debug, Default)]
pub(super) struct Patience {
    answered: bool,
    away: bool,
}

impl Patience {
    /// Of somebody who was there a moment ago.
    pub(super) fn of_known() -> Self {
        Self {
            answered: true,
            away: false,
        }
    }

    /// Asks until there is an answer. The first question of all is asked once only: then nobody was
    /// there before.
    ///
    /// # Errors
    /// What does not pass, and what did not pass in a minute.
    pub(super) async fn ask<T>(
        &mut self,
        question: impl AsyncFn() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let since = Instant::now();
        self.away = false;
        loop {
            match question().await {
                Ok(answer) => {
                    self.answered = true;
                    return Ok(answer);
                }
                Err(failure) if !self.answered || !failure.may_pass() => return Err(failure),
                Err(failure) if since.elapsed() > RESTART_BUDGET => return Err(failure),
                Err(failure) => {
                    if !std::mem::replace(&mut self.away, true) {
                        say!("{failure}; waiting up to a minute for it to come back");
                    }
                    smol::Timer::after(RESTART_RETRY).await;
                }
            }
        }
    }

    /// Whether the daemon was away before the last answer.
    pub(super) fn was_away(&self) -> bool {
        self.away
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn nobody() -> Failure {
        Failure::NobodyListens { at: "here".into() }
    }

    #[test]
    fn a_daemon_that_was_there_is_waited_for_and_one_that_was_not_is_not() {
        let mut patience = Patience::default();
        let first = smol::block_on(patience.ask(async || Err::<(), _>(nobody())));
        assert!(first.is_err());
        let asked = Cell::new(0);
        let question = async || {
            asked.set(asked.get() + 1);
            match asked.get() {
                2 => Err(nobody()),
                count => Ok(count),
            }
        };
        assert_eq!(smol::block_on(patience.ask(&question)).ok(), Some(1));
        assert!(!patience.was_away());
        assert_eq!(smol::block_on(patience.ask(&question)).ok(), Some(3));
        assert!(patience.was_away());
    }
}
