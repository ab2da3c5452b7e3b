//! Whether the BMC is the one that it was: the GUID of RAKP 2, which the password vouches for (design, rule 12).
//!
//! Driven by the rest of `bmc`. A BMC that is another one than before gets no order that changes power until a person has
//! said that it shall be: addresses swap, and the machine behind this one is not the one that was meant.

use super::Bmc;
use super::address::Resolution;
use super::queue::Job;
use super::report::not_sent;
use super::vocabulary::Trouble;
use crate::model::Identity;
use crate::time::Instant;
use uuid::Uuid;

/// What is remembered of a BMC's identity.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The GUID that was there first, or was accepted.
    pub guid: Option<Uuid>,
    /// The other one that was found last.
    pub other: Option<Uuid>,
    /// Whether the other one is there now.
    pub changed: bool,
    /// Whether it went back and forth at one address: then it says nothing of who is there.
    pub unstable: bool,
}

impl Known {
    /// A BMC with this GUID was logged in to.
    fn found(&mut self, guid: Uuid) {
        match self.guid {
            _ if self.unstable => {}
            None => self.guid = Some(guid),
            Some(known) if known == guid => self.changed = false,
            Some(_) => {
                // It was there before, went, and is back.
                self.unstable = !self.changed && self.other == Some(guid);
                self.changed = !self.unstable;
                self.other = Some(guid);
            }
        }
    }

    fn accept(&mut self, guid: Uuid) {
        *self = Known {
            guid: Some(guid),
            ..Known::default()
        };
    }
}

/// A GUID that tells BMCs apart: not the ones of BMCs that have none (OpenBMC: 01h to 10h; others all zero, all ones).
fn telling(bytes: [u8; 16]) -> Option<Uuid> {
    let counted: [u8; 16] = std::array::from_fn(|at| at as u8 + 1);
    let same = bytes.iter().all(|byte| *byte == bytes[0]);
    (!same && bytes != counted).then(|| Uuid::from_bytes(bytes))
}

impl Bmc {
    /// A session was opened with a BMC of this GUID.
    pub(super) fn note_guid(&mut self, guid: Option<[u8; 16]>, now: Instant) {
        let Some(guid) = guid.and_then(telling) else {
            return;
        };
        let before = self.knowledge.identity.clone();
        self.knowledge.identity.found(guid);
        let known = &self.knowledge.identity;
        if known.unstable && !before.unstable {
            self.note(
                now,
                format!("its GUID goes back and forth ({guid}): it is ignored from now on"),
            );
        } else if known.changed && !before.changed {
            let text = self.change_in_words().unwrap_or_default();
            self.note(now, text);
            self.alarmed = true;
            // Its name may lead elsewhere by now.
            if let Resolution::Known(_, Some(_)) = self.address {
                self.address_stale = true;
            }
        }
    }

    fn change_in_words(&self) -> Option<String> {
        let (old, new) = self.guids()?;
        Some(format!(
            "its BMC is another one than before: GUID {new}, it was {old} (rackbmc bmc accept: so it shall be)"
        ))
    }

    /// Why no order that changes power leaves, where the BMC is another one than before.
    pub fn other_bmc(&self) -> Option<String> {
        let strict = self.settings.identity == Identity::Strict;
        self.change_in_words().filter(|_| strict)
    }

    /// What is to be told where the BMC was just found to be another one. Asking resets it.
    pub fn take_alarm(&mut self) -> Option<String> {
        let alarmed = std::mem::take(&mut self.alarmed) && self.settings.identity != Identity::Off;
        self.change_in_words().filter(|_| alarmed)
    }

    /// The GUIDs that it had and has, where these differ.
    pub fn guids(&self) -> Option<(Uuid, Uuid)> {
        let known = &self.knowledge.identity;
        known.guid.zip(known.other).filter(|_| known.changed)
    }

    /// A person says that the BMC with this GUID shall be the node's. Whether it is the one that is there.
    pub fn accept_guid(&mut self, guid: Uuid) -> bool {
        let there = self.guids().is_some_and(|(_, new)| new == guid);
        if there {
            self.knowledge.identity.accept(guid);
        }
        there
    }

    /// Whether the next order must not leave because the BMC is another one; the orders that change power are told so.
    pub(super) fn refuse_for_identity(&mut self, now: Instant) {
        let acts = self.queue.next(now).is_some_and(Job::acts);
        let Some(text) = self.other_bmc().filter(|_| acts) else {
            return;
        };
        for job in self.queue.take_acting() {
            self.report(job.id, not_sent(Trouble::Protocol, &text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_that_goes_back_and_forth_says_nothing_any_more() {
        let [a, b] = [1u128, 2].map(Uuid::from_u128);
        let mut known = Known::default();
        known.found(a);
        known.found(a);
        assert!(!known.changed);
        known.found(b);
        assert!(known.changed && !known.unstable);
        known.found(b);
        assert!(known.changed && !known.unstable, "it stays changed");
        known.found(a);
        assert!(!known.changed);
        known.found(b);
        assert!(known.unstable && !known.changed);
        known.accept(b);
        assert_eq!((known.guid, known.changed), (Some(b), false));
    }

    #[test]
    fn a_guid_of_a_bmc_that_has_none_says_nothing() {
        assert_eq!(telling([0; 16]), None);
        assert_eq!(telling([0xFF; 16]), None);
        assert_eq!(telling(std::array::from_fn(|at| at as u8 + 1)), None);
        assert!(telling(*b"simulated-bmc-00").is_some());
    }
}
