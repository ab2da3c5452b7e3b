//! Passwords of http_basic: compared off the executor, few at a time, with failures slowed down and successes remembered
//! for a while, so that a script's hundredth request does not cost its hundredth bcrypt.

use crate::api::fault::Fault;
use crate::model::ErrorKind;
use http::StatusCode;
use sha2::{Digest, Sha256};
use smol::lock::Semaphore;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many comparisons run at once: each keeps a core busy.
const AT_ONCE: usize = 2;
/// How many failures of one user pass without delay.
const BURST: u32 = 5;
/// After so long one failure is forgiven.
const FORGIVE: Duration = Duration::from_secs(5);
/// How long a password that was right stays right without another comparison.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How many users are remembered, in either way.
const USERS: usize = 256;

/// What is remembered of log-ins.
pub struct Login {
    comparing: Semaphore,
    memory: RefCell<Memory>,
}

#[derive(Default)]
struct Memory {
    failures: BTreeMap<String, (u32, Instant)>,
    successes: BTreeMap<[u8; 32], Instant>,
    /// What makes the sums of passwords worthless outside this process.
    pepper: [u8; 32],
}

impl Default for Login {
    fn default() -> Self {
        Login {
            comparing: Semaphore::new(AT_ONCE),
            memory: RefCell::default(),
        }
    }
}

impl Login {
    /// Whether `password` is the one that `hash` was made of.
    ///
    /// # Errors
    /// 401 where it is not, 429 after too many of those.
    pub async fn check(
        &self,
        user: &str,
        password: String,
        hash: String,
        challenge: &str,
        entropy: impl Fn(&mut [u8]),
    ) -> Result<(), Fault> {
        let sum = self.sum(user, &password, &hash, entropy);
        if self.remembered(&sum, Instant::now()) {
            return Ok(());
        }
        let _turn = self.comparing.acquire().await;
        if let Some(wait) = self.must_wait(user, Instant::now()) {
            let seconds = wait.as_secs() + 1;
            return Err(Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorKind::TooManyRequests,
                format!("too many failed log-ins of {user}: try again in {seconds} s"),
            )
            .with("retry-after", seconds.to_string()));
        }
        let right = smol::unblock(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
        self.remember(user, sum, right, Instant::now());
        if right {
            Ok(())
        } else {
            log::warn!("api: a log-in of {user:?} failed");
            Err(Fault::not_authenticated(
                "Incorrect username or password",
                challenge,
            ))
        }
    }

    fn sum(&self, user: &str, password: &str, hash: &str, entropy: impl Fn(&mut [u8])) -> [u8; 32] {
        let mut memory = self.memory.borrow_mut();
        if memory.pepper == [0; 32] {
            entropy(&mut memory.pepper);
        }
        let mut sum = Sha256::new();
        sum.update(memory.pepper);
        for part in [user, password, hash] {
            sum.update(part.len().to_le_bytes());
            sum.update(part);
        }
        sum.finalize().into()
    }

    fn remembered(&self, sum: &[u8; 32], now: Instant) -> bool {
        self.memory
            .borrow()
            .successes
            .get(sum)
            .is_some_and(|since| now.duration_since(*since) < REMEMBERED)
    }

    fn must_wait(&self, user: &str, now: Instant) -> Option<Duration> {
        let memory = self.memory.borrow();
        let (failures, last) = memory.failures.get(user)?;
        let over = failures.saturating_sub(BURST);
        let open = *last + FORGIVE * over;
        (over > 0 && open > now).then(|| open - now)
    }

    fn remember(&self, user: &str, sum: [u8; 32], right: bool, now: Instant) {
        let mut memory = self.memory.borrow_mut();
        if right {
            memory
                .successes
                .retain(|_, since| now.duration_since(*since) < REMEMBERED);
            if memory.successes.len() >= USERS {
                memory.successes.clear();
            }
            memory.successes.insert(sum, now);
            memory.failures.remove(user);
            return;
        }
        if memory.failures.len() >= USERS {
            memory
                .failures
                .retain(|_, (count, last)| now.duration_since(*last) < FORGIVE * *count);
        }
        // Names that nobody has would fill the memory: beyond its size they share one entry.
        let shared = memory.failures.len() >= USERS && !memory.failures.contains_key(user);
        let key = if shared {
            String::new()
        } else {
            user.to_owned()
        };
        let (count, last) = memory.failures.entry(key).or_insert((0, now));
        let forgiven = now.duration_since(*last).as_secs() / FORGIVE.as_secs();
        *count = count
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
            .saturating_add(1);
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_slowed_down_and_forgiven_with_time() {
        let login = Login::default();
        let start = Instant::now();
        for _ in 0..BURST {
            login.remember("eve", [0; 32], false, start);
        }
        assert_eq!(login.must_wait("eve", start), None);
        login.remember("eve", [0; 32], false, start);
        assert_eq!(login.must_wait("eve", start), Some(FORGIVE));
        assert_eq!(login.must_wait("alice", start), None);
        assert_eq!(login.must_wait("eve", start + FORGIVE), None);
    }

    #[test]
    fn a_right_password_is_remembered_for_a_while() {
        let login = Login::default();
        let start = Instant::now();
        let sum = login.sum("alice", "secret", "hash", |bytes| bytes.fill(7));
        assert!(!login.remembered(&sum, start));
        login.remember("alice", sum, true, start);
        assert!(login.remembered(&sum, start + Duration::from_secs(1)));
        assert!(!login.remembered(&sum, start + REMEMBERED));
        let other = login.sum("alice", "secret", "another hash", |bytes| bytes.fill(7));
        assert!(!login.remembered(&other, start));
    }
}
