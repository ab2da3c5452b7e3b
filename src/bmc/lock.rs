//! The lock beside the BMC's address, by which two daemons of one host keep off one BMC.
//!
//! Driven by `rack`, which hears from the shell what became of the lock when the first datagram was
//! to leave. Takes no lock itself: here it is remembered and said. A BMC that another daemon has
//! gets nothing, and is tried again.

use super::Bmc;
use crate::entropy::Entropy;
use crate::model::Trouble;
use crate::time::Instant;

/// What is known of the lock beside a BMC's address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Lock {
    /// The lock is ours, or was not asked for yet.
    #[default]
    Ours,
    /// Another daemon has it, which is told here: nothing leaves.
    Others(String),
    /// Nothing keeps another daemon away from the BMC, and why.
    Open(String),
}

impl Bmc {
    /// The lock of the BMC's address was asked for. Where another daemon has it, nothing of what we
    /// had for the BMC has left, and those who wait hear of it. What is new of that, for people.
    pub fn handle_lock(
        &mut self,
        lock: Lock,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<String> {
        if let Lock::Others(by) = &lock {
            let text = held_in_words(by);
            self.note_withheld(now);
            self.lose_session(now, entropy);
            // While another daemon has the BMC nothing may leave, not even a Close Session.
            self.partings.clear();
            self.forget_presence();
            self.fail_open(Trouble::Locked, &text, now);
        }
        if self.lock == lock {
            return None;
        }
        let before = std::mem::replace(&mut self.lock, lock);
        match (&self.lock, before) {
            (Lock::Others(_) | Lock::Open(_), _) => Some(self.lock_in_words()),
            (Lock::Ours, Lock::Others(_)) => {
                Some("the lock of its BMC is free, and ours from now on".to_owned())
            }
            (Lock::Ours, Lock::Open(_) | Lock::Ours) => {
                Some("another daemon of this host is kept away from its BMC again".to_owned())
            }
        }
    }

    /// What is known of the lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// What is known of the lock, in words.
    pub fn lock_in_words(&self) -> String {
        match &self.lock {
            Lock::Ours => "no other daemon of this host has its BMC".to_owned(),
            Lock::Others(by) => held_in_words(by),
            Lock::Open(why) => {
                format!("nothing keeps another daemon of this host away from its BMC: {why}")
            }
        }
    }

    /// Why nothing leaves for the BMC, where another daemon has it.
    pub fn locked(&self) -> Option<String> {
        match &self.lock {
            Lock::Others(by) => Some(held_in_words(by)),
            Lock::Ours | Lock::Open(_) => None,
        }
    }
}

fn held_in_words(by: &str) -> String {
    format!(
        "another daemon of this host has its BMC ({by}) and nothing is sent to it: stop that daemon, or take the node out \
         of one of the two configurations"
    )
}
