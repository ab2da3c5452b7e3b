//! Whether the BMC is the one that it was: the GUID of RAKP 2, which the password vouches for
//! (design, rule 12).
//!
//! Driven by the rest of `bmc`. A BMC that is another one than before gets no order that changes
//! the machine until a person has said that it shall be: addresses swap, and the machine behind
//! this one is not the one that was meant.

use super::Bmc;
use super::address::Resolution;
use super::doubt::Doubt;
use super::queue::Job;
use super::report::not_sent;
use crate::ipmi::guid;
use crate::model::{BmcChange, Identity, Trouble};
use crate::time::Instant;
use std::net::SocketAddr;
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
    /// What else is known of the first one.
    pub traits: Traits,
    /// And of the other one.
    pub other_traits: Traits,
}

/// What tells people apart which BMC it is, beside its GUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// The maker's enterprise number.
    pub maker: Option<u32>,
    /// Where it was found last.
    pub address: Option<SocketAddr>,
}

impl Known {
    /// A BMC with this GUID was logged in to, there.
    fn found(&mut self, guid: Uuid, at: Option<SocketAddr>) {
        match self.guid {
            _ if self.unstable => {}
            None => self.guid = Some(guid),
            Some(known) if known == guid => self.changed = false,
            Some(_) => {
                // A GUID that was there, went and is back at the same address is no other BMC's.
                let back = !self.changed && self.other == Some(guid);
                let stayed = [self.traits, self.other_traits].map(|it| it.address) == [at, at];
                self.unstable = back && stayed;
                self.changed = !self.unstable;
                // Maker and address were those of a third BMC.
                if self.other.replace(guid) != Some(guid) {
                    self.other_traits = Traits::default();
                }
            }
        }
    }

    /// A BMC without a GUID was found there, made by this maker. Whether it is another one than
    /// before.
    pub(super) fn found_maker(&mut self, maker: u32, at: Option<SocketAddr>) -> bool {
        let is_other = self.traits.maker.is_some_and(|known| known != maker);
        if is_other {
            self.changed = true;
            self.other = Some(Uuid::nil());
            self.other_traits = Traits {
                maker: Some(maker),
                address: at,
            };
        }
        is_other
    }

    /// What else is known of the BMC that is there.
    fn present_traits(&mut self) -> &mut Traits {
        match self.changed {
            true => &mut self.other_traits,
            false => &mut self.traits,
        }
    }

    /// The GUID of the BMC that was there last, where it says who that is.
    fn present(&self) -> Option<Uuid> {
        let there = match (self.unstable, self.changed) {
            (true, _) => None,
            (false, true) => self.other,
            (false, false) => self.guid,
        };
        // Two BMCs may have the same GUID of sixteen equal bytes, and be two all the same.
        there.filter(|guid| !counts_by(0, guid.as_bytes()))
    }

    // What a person accepts is what was there before from now on; nothing of the old one counts.
    fn accept(&mut self, guid: Uuid) {
        *self = Self {
            // The nil GUID stands for a BMC that has none.
            guid: Some(guid).filter(|guid| !guid.is_nil()),
            traits: self.other_traits,
            ..Self::default()
        };
    }
}

/// A GUID whose change tells of another BMC: not the ones of BMCs that have none (OpenBMC counts
/// from 01h to 10h; others have zeros or ones only).
fn telling(bytes: [u8; 16]) -> Option<Uuid> {
    let empty = [[0; 16], [0xFF; 16]].contains(&bytes);
    (!empty && !counts_by(1, &bytes)).then(|| Uuid::from_bytes(bytes))
}

/// What is remembered of a GUID are its bytes as RAKP 2 had them, in whichever order that BMC sends
/// them; people are shown what the machine itself says it is called (as `rackbmc bmc info` shows it).
pub fn as_written(guid: Uuid) -> Uuid {
    Uuid::from_bytes(guid::as_written(guid.into_bytes()))
}

/// Whether each byte is the one before and so much more.
fn counts_by(step: u8, bytes: &[u8; 16]) -> bool {
    bytes.is_sorted_by(|a, b| a.checked_add(step) == Some(*b))
}

impl Bmc {
    /// A session was opened with a BMC of this GUID.
    pub(super) fn note_guid(&mut self, guid: Option<[u8; 16]>, now: Instant) {
        // IPMI 1.5 has no GUID in its log-in, and suite 0 none that was proved.
        let Some(bytes) = guid else {
            return;
        };
        let Some(guid) = telling(bytes) else {
            // A BMC that had a GUID before may be the same one, or another one that has none.
            return self.doubt();
        };
        self.doubt = Doubt::None;
        let before = self.knowledge.identity.clone();
        let at = self.address();
        let known = &mut self.learn().identity;
        known.found(guid, at);
        known.present_traits().address = at;
        let known = &self.knowledge.identity;
        if known.unstable && !before.unstable {
            self.note(
                now,
                format!(
                    "its GUID goes back and forth ({}): it is ignored from now on",
                    as_written(guid)
                ),
            );
        } else if known.changed && !before.changed {
            self.tell_change(now);
        }
    }

    /// The BMC was just found to be another one.
    pub(super) fn tell_change(&mut self, now: Instant) {
        let text = self.change_in_words().unwrap_or_default();
        self.note(now, text);
        self.alarmed = true;
        // The BMC's name may lead elsewhere by now.
        if let Resolution::Known(_, Some(_)) = self.address {
            self.address_stale = true;
        }
    }

    fn change_in_words(&self) -> Option<String> {
        let (old, new) = self.guids()?;
        let new = match new.is_nil() {
            true => "no GUID, and another maker".to_owned(),
            false => format!("GUID {new}"),
        };
        Some(format!(
            "its BMC is another one than before: {new}, it was {old} (rackbmc bmc accept: so it shall be)"
        ))
    }

    /// Why no order that changes the machine leaves, where the BMC is another one than before.
    pub fn other_bmc(&self) -> Option<String> {
        let strict = self.settings.care.identity == Identity::Strict;
        // With `warn` and `off` the person who configured them has said that any BMC is meant.
        self.change_in_words().filter(|_| strict)
    }

    /// Why no order that changes the machine leaves, where it is not sure that the BMC is this
    /// node's.
    pub fn wrong_bmc(&self) -> Option<String> {
        self.shared.clone().or_else(|| self.other_bmc())
    }

    /// The GUID of the BMC that was logged in to last, byte by byte as it came, where it tells BMCs
    /// apart.
    pub fn present_guid(&self) -> Option<Uuid> {
        self.knowledge.identity.present()
    }

    /// Whether it was seen who is there, or that nobody can be reached now.
    pub fn was_tried(&self, now: Instant) -> bool {
        let known = self.knowledge.identity.guid.is_some();
        known || self.session.statistics().opened > 0 || self.breaker.trouble(now).is_some()
    }

    /// Whether the BMC is another node's, too, in words: then no order that changes the machine
    /// leaves.
    pub fn set_shared(&mut self, shared: Option<String>) {
        self.shared = shared;
    }

    /// What [`Bmc::set_shared`] said last.
    pub fn shared(&self) -> Option<&str> {
        self.shared.as_deref()
    }

    /// What is to be told where the BMC was just found to be another one. Asking resets it.
    pub fn take_alarm(&mut self) -> Option<String> {
        let alarmed =
            std::mem::take(&mut self.alarmed) && self.settings.care.identity != Identity::Off;
        self.change_in_words().filter(|_| alarmed)
    }

    /// The GUIDs that it had and has, as people write them, where these differ.
    pub fn guids(&self) -> Option<(Uuid, Uuid)> {
        let known = &self.knowledge.identity;
        let both = known.guid.zip(known.other).filter(|_| known.changed);
        both.map(|(was, is)| (as_written(was), as_written(is)))
    }

    /// The GUID, maker and address of the BMC that was there and of the one that is, where these
    /// differ.
    pub fn change(&self) -> Option<BmcChange> {
        let (was, is) = self.guids()?;
        let known = &self.knowledge.identity;
        let address = |traits: &Traits| traits.address.map(|address| address.to_string());
        Some(BmcChange {
            was,
            is,
            maker_was: known.traits.maker,
            maker_is: known.other_traits.maker,
            address_was: address(&known.traits),
            address_is: address(&known.other_traits),
        })
    }

    /// Whether it is not known yet who made the BMC that is there.
    pub(super) fn maker_is_unknown(&self) -> bool {
        let known = &self.knowledge.identity;
        let traits = if known.changed {
            known.other_traits
        } else {
            known.traits
        };
        let in_doubt = !matches!(self.doubt, Doubt::None);
        known.guid.is_some() && (traits.maker.is_none() || in_doubt)
    }

    /// The BMC said who made it.
    pub(super) fn note_maker(&mut self, maker: u32, now: Instant) {
        self.settle_doubt(maker, now);
        let known = &mut self.learn().identity;
        if known.guid.is_some() {
            known.present_traits().maker = Some(maker);
        }
    }

    /// A person says that the BMC with this GUID, as people write it, shall be the node's. Whether
    /// it is the one that is there.
    pub fn accept_guid(&mut self, guid: Uuid) -> bool {
        let there = self.guids().is_some_and(|(_, new)| new == guid);
        let found = self.knowledge.identity.other.filter(|_| there);
        if let Some(found) = found {
            self.learn().identity.accept(found);
        }
        found.is_some()
    }

    /// Whether the next order must not leave because the BMC is another one; all that change the
    /// machine are told so.
    pub(super) fn refuse_for_identity(&mut self, now: Instant) {
        let touches = self.queue.next(now).is_some_and(Job::touches);
        let Some(text) = self.wrong_bmc().filter(|_| touches) else {
            return;
        };
        // Rule 12: the orders behind it would meet the same BMC.
        for job in self.queue.take_touching() {
            self.report(job.id, not_sent(Trouble::WrongBmc, &text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log-in at the address with this last number.
    fn log_in(known: &mut Known, guid: Uuid, at: u8) {
        let at = Some(SocketAddr::from(([10, 0, 0, at], 623)));
        known.found(guid, at);
        known.present_traits().address = at;
    }

    #[test]
    fn a_guid_that_goes_back_and_forth_says_nothing_any_more() {
        let [a, b] = [1u128, 2].map(Uuid::from_u128);
        let mut known = Known::default();
        log_in(&mut known, a, 1);
        log_in(&mut known, a, 1);
        assert!(!known.changed);
        log_in(&mut known, b, 1);
        assert!(known.changed && !known.unstable);
        log_in(&mut known, b, 1);
        assert!(known.changed && !known.unstable, "it stays changed");
        log_in(&mut known, a, 1);
        assert!(!known.changed);
        log_in(&mut known, b, 1);
        assert!(known.unstable && !known.changed);
        known.accept(b);
        assert_eq!((known.guid, known.changed), (Some(b), false));
    }

    #[test]
    fn a_bmc_without_a_guid_is_another_one_where_its_maker_is() {
        let mut known = Known::default();
        log_in(&mut known, Uuid::from_u128(1), 1);
        known.traits.maker = Some(674);
        assert!(!known.found_maker(674, None) && !known.changed);
        assert!(known.found_maker(11, None) && known.changed);
        assert_eq!(known.present().filter(|guid| !guid.is_nil()), None);
        let mut accepted = known.clone();
        accepted.accept(Uuid::nil());
        assert_eq!((accepted.guid, accepted.changed), (None, false));
        // The one that was there is back.
        log_in(&mut known, Uuid::from_u128(1), 1);
        assert!(!known.changed);
    }

    #[test]
    fn a_name_that_leads_back_and_forth_between_two_bmcs_makes_neither_guid_unstable() {
        let [a, b] = [1u128, 2].map(Uuid::from_u128);
        let mut known = Known::default();
        for _ in 0..3 {
            log_in(&mut known, a, 1);
            assert!(!known.changed && !known.unstable);
            log_in(&mut known, b, 2);
            assert!(known.changed && !known.unstable);
        }
        // Nor do two BMCs that swap their addresses.
        log_in(&mut known, a, 2);
        log_in(&mut known, b, 1);
        assert!(known.changed && !known.unstable);
    }

    #[test]
    fn a_guid_of_a_bmc_that_has_none_says_nothing() {
        assert_eq!(telling([0; 16]), None);
        assert_eq!(telling([0xFF; 16]), None);
        for first in [0, 1, 0x40] {
            assert_eq!(telling(std::array::from_fn(|at| at as u8 + first)), None);
        }
        for guid in [*b"simulated-bmc-00", [b'A'; 16]] {
            assert!(telling(guid).is_some(), "{guid:?}");
        }
    }
}
