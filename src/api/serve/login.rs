//! Passwords of http_basic and bearer tokens: passwords are compared off the loop, few at a time;
//! after a wrong one the next check of that name from that peer waits, a right one too; successes
//! are remembered for a while, so that a script's hundredth request does not cost its hundredth
//! bcrypt.

use super::lines::Lines;
use crate::api::access::cost;
use crate::api::fault::Fault;
use crate::model::{ErrorKind, LOGIN_NAME_LIMIT, beginning};
use http::StatusCode;
use sha2::{Digest, Sha256};
use smol::lock::Semaphore;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How many comparisons run at once: each keeps a core busy.
const AT_ONCE: usize = 2;
/// How many failures of one peer, whatever names it tries, pass without delay.
const BURST: u32 = 10;
/// The longest wait after a failure.
const LONGEST: Duration = Duration::from_secs(30);
/// After so long without another one, failures are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// How long a password that was right stays right without another comparison.
const REMEMBERED: Duration = Duration::from_secs(300);
/// How long a peer that logged in with a name does not wait for failures with other names.
const TRUSTED: Duration = Duration::from_secs(24 * 3600);
/// How many entries of each kind are remembered.
const KEPT: usize = 256;

/// What is remembered of log-ins.
pub(super) struct Login {
    comparing: Semaphore,
    /// Of each peer one comparison at a time: however many it asks for, others wait for one of them
    /// at most.
    lines: Lines<IpAddr>,
    memory: RefCell<Memory>,
}

/// A name tried by a peer; no name is that of tokens.
type Key = (IpAddr, String);

#[derive(Default)]
struct Memory {
    failures: BTreeMap<Key, Failures>,
    /// Of one peer with whatever names: no list of names empties it.
    of_peers: BTreeMap<IpAddr, Failures>,
    /// Checks that wait, or are under way, after a failure.
    waiting: BTreeSet<Key>,
    trusted: BTreeMap<Key, Instant>,
    successes: BTreeMap<[u8; 32], Instant>,
    /// What makes the sums of passwords worthless outside this process.
    pepper: [u8; 32],
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// A check that is to be made.
pub(super) struct Attempt<'a> {
    /// Where it comes from.
    pub peer: IpAddr,
    /// The name that is claimed.
    pub user: &'a str,
    /// What it says.
    pub password: String,
    /// What it must match.
    pub hash: String,
    /// A wrong password takes as long as one of this bcrypt cost.
    pub costliest: u32,
    /// What a refusal asks with.
    pub challenge: &'a str,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            comparing: Semaphore::new(AT_ONCE),
            lines: Lines::default(),
            memory: RefCell::default(),
        }
    }
}

impl Login {
    /// Whether the password is right. The first wait after a failure is `first_wait`; it doubles.
    ///
    /// # Errors
    /// 401 where it is not, 429 while another check of that name from that peer waits.
    pub(super) async fn check(
        &self,
        attempt: Attempt<'_>,
        first_wait: Duration,
        entropy: impl Fn(&mut [u8]),
    ) -> Result<(), Fault> {
        let Attempt {
            peer,
            user,
            password,
            hash,
            costliest,
            challenge,
        } = attempt;
        let sum = self.sum(user, &password, &hash, entropy);
        if self.remembered(&sum, Instant::now()) {
            return Ok(());
        }
        // No user has a longer name: those who claim one share what is remembered.
        let key = (network(peer), beginning(user, LOGIN_NAME_LIMIT));
        let (_alone, _first) = loop {
            let alone = self.wait_alone(&key, first_wait).await?;
            let first = self.lines.stand_in(key.0).await;
            if self.remembered(&sum, Instant::now()) {
                return Ok(());
            }
            // Guesses that come together wait for the failure of the first one of them as if they
            // had come after it.
            if alone.key.is_some() || self.must_wait(&key, first_wait, Instant::now()).is_zero() {
                break (alone, first);
            }
        };
        let _turn = self.comparing.acquire().await;
        let right = smol::unblock(move || matches(&password, &hash, costliest)).await;
        if right {
            self.succeeded(key, sum, Instant::now());
            return Ok(());
        }
        // Not the name: people type passwords there.
        log::warn!("api: a log-in from {peer} failed");
        self.failed(key, Instant::now());
        Err(Fault::not_authenticated(
            "Incorrect username or password",
            challenge,
        ))
    }

    /// A wrong token: its refusal waits. A right one never does: it is no word that can be guessed.
    ///
    /// # Errors
    /// 429 while the refusal of another one from that peer waits, else what `refusal` is.
    pub(super) async fn wrong_token<T>(
        &self,
        peer: IpAddr,
        first_wait: Duration,
        refusal: Fault,
    ) -> Result<T, Fault> {
        let key = (network(peer), String::new());
        let _alone = self.wait_alone(&key, first_wait).await?;
        log::warn!("api: a wrong bearer token from {peer}");
        self.failed(key, Instant::now());
        Err(refusal)
    }

    /// Waits for what failures before demand, alone.
    async fn wait_alone(&self, key: &Key, first_wait: Duration) -> Result<Alone<'_>, Fault> {
        let wait = self.must_wait(key, first_wait, Instant::now());
        if wait.is_zero() {
            let (login, key) = (self, None);
            return Ok(Alone { login, key });
        }
        if !self.memory.borrow_mut().waiting.insert(key.clone()) {
            let seconds = wait.as_secs() + 1;
            return Err(Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorKind::TooManyRequests,
                format!("log-ins failed, and another one waits: try again in {seconds} s"),
            )
            .with("retry-after", seconds.to_string()));
        }
        let alone = Alone {
            login: self,
            key: Some(key.clone()),
        };
        smol::Timer::after(wait).await;
        Ok(alone)
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
        let memory = self.memory.borrow();
        let since = memory.successes.get(sum);
        since.is_some_and(|since| now.duration_since(*since) < REMEMBERED)
    }

    fn must_wait(&self, key: &Key, first_wait: Duration, now: Instant) -> Duration {
        let memory = self.memory.borrow();
        let own = memory.failures.get(key);
        let own = own.map_or(Duration::ZERO, |own| own.wait(0, first_wait, now));
        let trusted = memory.trusted.get(key);
        if trusted.is_some_and(|since| now.duration_since(*since) < TRUSTED) {
            return own;
        }
        let of_peer = [key.0, SHARED].map(|peer| memory.of_peers.get(&peer));
        let of_peer = of_peer.into_iter().flatten();
        let of_peer = of_peer.map(|peer| peer.wait(BURST, first_wait, now)).max();
        own.max(of_peer.unwrap_or(Duration::ZERO))
    }

    fn succeeded(&self, key: Key, sum: [u8; 32], now: Instant) {
        let mut memory = self.memory.borrow_mut();
        memory
            .successes
            .retain(|_, since| now.duration_since(*since) < REMEMBERED);
        if memory.successes.len() >= KEPT {
            memory.successes.clear();
        }
        memory.successes.insert(sum, now);
        memory.failures.remove(&key);
        if memory.trusted.len() >= KEPT {
            memory
                .trusted
                .retain(|_, since| now.duration_since(*since) < TRUSTED);
        }
        if memory.trusted.len() < KEPT {
            memory.trusted.insert(key, now);
        }
    }

    fn failed(&self, key: Key, now: Instant) {
        let mut memory = self.memory.borrow_mut();
        let Memory {
            failures, of_peers, ..
        } = &mut *memory;
        let fresh = |failures: &mut Failures| now.duration_since(failures.last) < FORGOTTEN;
        failures.retain(|_, failures| fresh(failures));
        of_peers.retain(|_, failures| fresh(failures));
        // Beyond the room that there is, peers share an entry, and names are counted with their
        // peer alone.
        let shared = of_peers.len() >= KEPT && !of_peers.contains_key(&key.0);
        let peer = if shared { SHARED } else { key.0 };
        Failures::count(of_peers.entry(peer), now);
        if failures.len() < KEPT || failures.contains_key(&key) {
            Failures::count(failures.entry(key), now);
        }
    }
}

/// Peers that there is no room for.
const SHARED: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl Failures {
    fn count<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, Self>, now: Instant) {
        let failures = entry.or_insert(Self {
            count: 0,
            last: now,
        });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// How long the next check waits, where so many failures pass.
    fn wait(&self, pass: u32, first: Duration, now: Instant) -> Duration {
        let since = now.duration_since(self.last);
        match self.count.saturating_sub(pass) {
            0 => Duration::ZERO,
            _ if since >= FORGOTTEN => Duration::ZERO,
            over => {
                let doubled = first.saturating_mul(1 << (over - 1).min(16));
                doubled.min(LONGEST).saturating_sub(since)
            }
        }
    }
}

/// A check that waits, alone with its name and peer.
struct Alone<'a> {
    login: &'a Login,
    key: Option<Key>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.login.memory.borrow_mut().waiting.remove(key);
        }
    }
}

/// Whether the password is the hash's. A wrong one takes as long as with the costliest hash that
/// there is, so that the time does not tell which users there are: each cost is twice the work of
/// the one below.
fn matches(password: &str, hash: &str, costliest: u32) -> bool {
    if bcrypt::verify(password, hash).unwrap_or(false) {
        return true;
    }
    for cost in padding(hash, costliest) {
        // Only its time counts.
        let _ = bcrypt::hash_with_salt(password, cost, [0; 16]);
    }
    false
}

/// The costs whose work, added to that of a hash, is that of the costliest one.
fn padding(hash: &str, costliest: u32) -> Range<u32> {
    cost(hash).unwrap_or(costliest)..costliest
}

/// What one person has of addresses: one of IPv4, a /64 of IPv6.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(peer: u8, user: &str) -> Key {
        (IpAddr::from([10, 0, 0, peer]), user.to_owned())
    }

    #[test]
    fn the_wait_after_a_failure_doubles_is_bounded_and_over_some_time() {
        let login = Login::default();
        let start = Instant::now();
        let wait = |now| login.must_wait(&key(1, "eve"), SECOND, now);
        assert_eq!(wait(start), Duration::ZERO);
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            login.failed(key(1, "eve"), start);
            assert_eq!(wait(start), Duration::from_secs(expected));
        }
        assert_eq!(wait(start + Duration::from_secs(29)), SECOND);
        assert_eq!(wait(start + Duration::from_secs(30)), Duration::ZERO);
        assert_eq!(
            login.must_wait(&key(2, "eve"), SECOND, start),
            Duration::ZERO
        );
        assert_eq!(wait(start + FORGOTTEN), Duration::ZERO);
    }

    #[test]
    fn a_list_of_names_does_not_make_room_for_another_guess() {
        let login = Login::default();
        let start = Instant::now();
        for number in 0..1000 {
            login.failed(key(1, &format!("name{number}")), start);
        }
        assert_eq!(login.must_wait(&key(1, "anna"), SECOND, start), LONGEST);
        assert_eq!(
            login.must_wait(&key(2, "anna"), SECOND, start),
            Duration::ZERO
        );
        assert!(login.memory.borrow().failures.len() <= KEPT);
    }

    #[test]
    fn a_peer_that_logged_in_with_a_name_waits_for_its_own_failures_only() {
        let login = Login::default();
        let start = Instant::now();
        login.succeeded(key(1, "anna"), [0; 32], start);
        for _ in 0..100 {
            login.failed(key(1, "eve"), start);
        }
        let wait = |user: &str| login.must_wait(&key(1, user), SECOND, start);
        assert_eq!(wait("anna"), Duration::ZERO);
        assert_eq!(wait("berta"), LONGEST);
        login.failed(key(1, "anna"), start);
        assert_eq!(wait("anna"), SECOND);
    }

    /// How long it takes in fact: `benches/logins.py`.
    #[test]
    fn a_wrong_password_is_as_much_work_whoever_is_named() {
        for own in [4, 5, 10] {
            let hash = bcrypt::hash("right", 4).expect("a hash");
            let hash = hash.replacen("$04$", &format!("${own:02}$"), 1);
            let work: u64 = padding(&hash, 10).map(|cost| 1 << cost).sum();
            assert_eq!(work + (1 << own), 1 << 10, "{own}");
        }
        let hash = bcrypt::hash("right", 4).expect("a hash");
        assert!(matches("right", &hash, 5));
        assert!(!matches("wrong", &hash, 5));
        assert!(!matches("right", "no hash", 5));
    }

    fn guess<'a>(user: &'a str, peer: u8, hash: &str, costliest: u32) -> Attempt<'a> {
        Attempt {
            peer: IpAddr::from([10, 0, 0, peer]),
            user,
            password: "wrong".to_owned(),
            hash: hash.to_owned(),
            costliest,
            challenge: "Basic",
        }
    }

    #[test]
    fn guesses_that_come_together_are_no_way_around_the_wait() {
        let login = Login::default();
        let hash = bcrypt::hash("right", 4).expect("a hash");
        let told = RefCell::new(Vec::new());
        let executor = smol::LocalExecutor::new();
        let guesses = (0..20).map(|_| async {
            let guess = guess("anna", 1, &hash, 4);
            // The wait is far longer than the test.
            let refused = login.check(guess, LONGEST, |bytes| bytes.fill(7)).await;
            let status = refused.expect_err("it is wrong").status;
            told.borrow_mut().push(status.as_u16());
        });
        let guesses: Vec<_> = guesses.map(|guess| executor.spawn(guess)).collect();
        smol::block_on(executor.run(async {
            while told.borrow().len() < 19 {
                smol::future::yield_now().await;
            }
        }));
        drop(guesses);
        drop(executor);
        let mut told = told.into_inner();
        told.sort_unstable();
        // One was compared, one waits for its turn, the others hear that another one does.
        assert_eq!(told, [&[401][..], &[429; 18]].concat());
    }

    #[test]
    fn whoever_tries_many_names_keeps_nobody_else_waiting() {
        let login = Login::default();
        let hash = bcrypt::hash("right", 4).expect("a hash");
        let names: Vec<String> = (0..40).map(|number| format!("name{number}")).collect();
        let done = RefCell::new(Vec::new());
        let executor = smol::LocalExecutor::new();
        let check = async |user, peer| {
            let guess = guess(user, peer, &hash, 9);
            let refused = login
                .check(guess, Duration::ZERO, |bytes| bytes.fill(7))
                .await;
            assert_eq!(
                refused.expect_err("it is wrong").status,
                StatusCode::UNAUTHORIZED
            );
            done.borrow_mut().push(peer);
        };
        let many: Vec<_> = names
            .iter()
            .map(|name| executor.spawn(check(name, 1)))
            .collect();
        let other = executor.spawn(check("anna", 2));
        smol::block_on(executor.run(other));
        let before = done.borrow().len();
        assert!(before < 20, "{before} came before the one of another peer");
        drop(many);
    }

    #[test]
    fn many_peers_share_what_there_is_no_room_for() {
        let login = Login::default();
        let start = Instant::now();
        let far = |number: u32| (IpAddr::from(number.to_be_bytes()), "eve".to_owned());
        for number in 0..1000 {
            login.failed(far(0x0a00_0000 + number), start);
        }
        assert_eq!(login.must_wait(&far(0x0b00_0000), SECOND, start), LONGEST);
        assert!(login.memory.borrow().of_peers.len() <= KEPT + 1);
    }

    #[test]
    fn a_right_password_is_remembered_for_a_while() {
        let login = Login::default();
        let start = Instant::now();
        let sum = login.sum("alice", "secret", "hash", |bytes| bytes.fill(7));
        assert!(!login.remembered(&sum, start));
        login.succeeded(key(1, "alice"), sum, start);
        assert!(login.remembered(&sum, start + SECOND));
        assert!(!login.remembered(&sum, start + REMEMBERED));
        let other = login.sum("alice", "secret", "another hash", |bytes| bytes.fill(7));
        assert!(!login.remembered(&other, start));
    }
}
