//! Names: of hosts (BMCs may be configured by name), of users and groups behind a Unix socket.

use crate::model::{beginning, escaped};
use smol::channel::{Receiver, Sender, TryRecvError};
use smol::future::FutureExt;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Looks a host name up, or a link-local address with its scope: its addresses, each once, in the
/// resolver's order. Blocks, so it is called off the executor. The ports mean nothing.
pub(super) fn resolve(host: &str) -> Result<Vec<SocketAddr>, String> {
    let found = (host, 0)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Login names of user ids, for people to read: rights go by the number. They are looked up on a
/// thread of their own, since a directory service may take its time, and nobody waits for it for
/// long.
pub(super) struct UserNames {
    wanted: SyncSender<(u32, Sender<Option<String>>)>,
    known: RefCell<BTreeMap<u32, (Option<String>, Instant)>>,
    /// Look-ups under way.
    pending: RefCell<BTreeMap<u32, Receiver<Option<String>>>>,
}

impl UserNames {
    /// # Errors
    /// The system has no thread left.
    pub(super) fn new() -> std::io::Result<Self> {
        Self::with(user)
    }

    fn with(look_up: fn(u32) -> Option<String>) -> std::io::Result<Self> {
        let (wanted, asked) = sync_channel::<(u32, Sender<Option<String>>)>(WANTED);
        let looking_up = move || {
            for (uid, reply) in asked {
                // Nobody waits any more where this fails.
                let _ = reply.try_send(look_up(uid));
            }
        };
        std::thread::Builder::new()
            .name("names".into())
            .spawn(looking_up)?;
        Ok(Self {
            wanted,
            known: RefCell::default(),
            pending: RefCell::default(),
        })
    }

    /// The login name of a user id, where the host knows one and says so soon.
    pub(super) async fn name(&self, uid: u32) -> Option<String> {
        let found = self.known.borrow().get(&uid).cloned();
        if let Some((name, at)) = &found
            && at.elapsed() < KNOWN_FOR
        {
            return name.clone();
        }
        let answer = async { self.under_way(uid)?.recv().await.ok() };
        let late = async {
            smol::Timer::after(PATIENCE).await;
            None
        };
        match answer.or(late).await {
            Some(name) => {
                self.pending.borrow_mut().remove(&uid);
                self.learn(uid, name.clone());
                name
            }
            // Another one of that user may have got it. It may be another name by now, but it is
            // more than a number.
            None => {
                let known = self.known.borrow().get(&uid).cloned();
                known.or(found).and_then(|(name, _)| name)
            }
        }
    }

    fn learn(&self, uid: u32, name: Option<String>) {
        let mut known = self.known.borrow_mut();
        if known.len() >= KNOWN_AT_MOST {
            known.clear();
        }
        known.insert(uid, (name, Instant::now()));
    }

    /// Takes in what came too late for those who had asked, whether they ask again or not.
    fn take_in_what_came(&self) {
        self.pending
            .borrow_mut()
            .retain(|uid, answer| match answer.try_recv() {
                Ok(name) => {
                    self.learn(*uid, name);
                    false
                }
                Err(TryRecvError::Empty) => true,
                Err(TryRecvError::Closed) => false,
            });
    }

    /// Where the answer comes; `None` where too much is looked up already.
    fn under_way(&self, uid: u32) -> Option<Receiver<Option<String>>> {
        let mut pending = self.pending.borrow_mut();
        if pending.len() > WANTED {
            drop(pending);
            self.take_in_what_came();
            pending = self.pending.borrow_mut();
        }
        if let Some(answer) = pending.get(&uid) {
            return Some(answer.clone());
        }
        let (reply, answer) = smol::channel::bounded(1);
        self.wanted.try_send((uid, reply)).ok()?;
        pending.insert(uid, answer.clone());
        Some(answer)
    }
}

/// The login name of a user id, where the host knows one. It comes from a directory, perhaps over a
/// network, and is shown and remembered in many places.
fn user(uid: u32) -> Option<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
    Some(beginning(&escaped(&user.name), LONGEST))
}

/// The most bytes of a name that are shown.
const LONGEST: usize = 64;

/// Look-ups that may wait for the thread.
const WANTED: usize = 16;
/// The longest that a new connection waits for its user's name.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a name is believed.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Names that are kept.
const KNOWN_AT_MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// Whether the directory service answers.
    static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn hanging(uid: u32) -> Option<String> {
        let mut open = OPEN.0.lock().expect("no test panics here");
        while !*open {
            open = OPEN.1.wait(open).expect("no test panics here");
        }
        Some(format!("user{uid}"))
    }

    #[test]
    fn a_directory_service_that_hangs_is_not_waited_for() {
        let names = UserNames::with(hanging).expect("a thread");
        let began = Instant::now();
        smol::block_on(async {
            // More than may wait: none of them takes longer than the patience of one.
            let all = (0..3 * WANTED as u32).map(|uid| names.name(uid));
            for name in futures_of(all).await {
                assert_eq!(name, None);
            }
        });
        assert!(began.elapsed() < Duration::from_secs(5));
        *OPEN.0.lock().expect("no test panics here") = true;
        OPEN.1.notify_all();
        // What came meanwhile is used.
        smol::block_on(async {
            while names.name(1).await.is_none() {}
            assert_eq!(names.name(1).await.as_deref(), Some("user1"));
        });
    }

    fn late(uid: u32) -> Option<String> {
        std::thread::sleep(Duration::from_millis(15));
        Some(format!("user{uid}"))
    }

    #[test]
    fn names_that_come_too_late_for_users_who_never_return_are_no_more_than_may_be_known() {
        let names = UserNames::with(late).expect("a thread");
        smol::block_on(async {
            for round in 0..3 {
                let uids = round * 100..round * 100 + WANTED as u32;
                futures_of(uids.map(|uid| names.name(uid))).await;
                // Each of them comes, though nobody asks again.
                while names.pending.borrow().values().any(Receiver::is_empty) {
                    smol::future::yield_now().await;
                }
            }
            names.name(1000).await;
        });
        assert!(names.pending.borrow().len() <= WANTED + 1);
        assert!(names.known.borrow().len() >= 2 * WANTED);
    }

    /// All of them, waited for together.
    async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
        let executor = smol::LocalExecutor::new();
        let tasks: Vec<_> = all.map(|future| executor.spawn(future)).collect();
        executor
            .run(async {
                let mut found = Vec::new();
                for task in tasks {
                    found.push(task.await);
                }
                found
            })
            .await
    }
}
