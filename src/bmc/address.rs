//! Where one BMC is: its name, and when it is looked up.
//!
//! Driven by the rest of `bmc`, and by `rack`, which passes names out and addresses in. Asks no
//! resolver itself.

use super::Bmc;
use super::settings::Settings;
use crate::entropy::Entropy;
use crate::model::Trouble;
use crate::time::Instant;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where the BMC is.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    /// Known, and since when; `None` for an address that was given as one.
    Known(Addresses, Option<Instant>),
    /// To be asked for.
    Wanted,
    Asked,
    /// Not asked for at the moment.
    Unknown,
}

/// The addresses of one name: that in use first, then those to try where nobody answers there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Addresses {
    all: VecDeque<SocketAddr>,
    /// How many were left for another one since the last verdict.
    left: usize,
    /// How many in a row were left because nothing was heard there.
    silent: usize,
}

impl Addresses {
    /// `None` where there are none.
    fn of(all: impl IntoIterator<Item = SocketAddr>) -> Option<Self> {
        let all: VecDeque<_> = all.into_iter().collect();
        (!all.is_empty()).then_some(Self {
            all,
            left: 0,
            silent: 0,
        })
    }

    /// The one in use.
    fn current(&self) -> SocketAddr {
        self.all[0]
    }

    /// Goes on to the next one.
    fn turn(&mut self) {
        self.all.rotate_left(1);
        self.left += 1;
    }
}

impl Resolution {
    pub(super) fn of(settings: &Settings) -> Self {
        match settings.host.parse::<IpAddr>() {
            Ok(ip) => {
                let address = SocketAddr::new(ip, settings.port);
                Addresses::of([address]).map_or(Self::Unknown, |only| Self::Known(only, None))
            }
            Err(_) => Self::Unknown,
        }
    }
}

impl Bmc {
    /// The BMC's name was looked up: its addresses, in the order in which the host would try them,
    /// or why there are none.
    pub fn handle_resolved(
        &mut self,
        answer: Result<Vec<SocketAddr>, String>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let found = answer.and_then(|mut found| {
            for address in &mut found {
                address.set_port(self.settings.port);
            }
            // Where somebody answered is tried first, for as long as the name leads there.
            found.sort_by_key(|address| Some(*address) != self.answered_at);
            Addresses::of(found).ok_or_else(|| "it has no address".to_owned())
        });
        match found {
            Ok(found) if self.leads_to_the_same(&found) => {
                // These are the same addresses: the one in use stays in use.
                if let Resolution::Known(_, since) = &mut self.address {
                    *since = Some(now);
                }
            }
            Ok(found) => {
                // The name leads to another BMC, which has none of our sessions.
                if self.address().is_some_and(|old| old != found.current()) {
                    self.lose_session(now, entropy);
                    self.session.moves();
                }
                self.address = Resolution::Known(found, Some(now));
            }
            // The address that the name led to before is used until a better one is known.
            Err(_) if self.leads_somewhere() => {}
            Err(why) => {
                self.address = Resolution::Unknown;
                let text = format!("the name {} does not resolve: {why}", self.settings.host);
                self.fail_open(Trouble::NoAddress, &text, now);
            }
        }
        self.advance(now, entropy);
    }

    fn leads_somewhere(&self) -> bool {
        match self.address {
            Resolution::Known(..) => true,
            Resolution::Wanted | Resolution::Asked | Resolution::Unknown => false,
        }
    }

    fn leads_to_the_same(&self, found: &Addresses) -> bool {
        let Resolution::Known(known, Some(_)) = &self.address else {
            return false;
        };
        let sorted = |addresses: &Addresses| {
            let mut all: Vec<_> = addresses.all.iter().copied().collect();
            all.sort();
            all
        };
        // Name servers turn the order of addresses from answer to answer.
        sorted(known) == sorted(found)
    }

    /// Nobody answers where we asked: the next try is for the name's next address. Whether that is
    /// worth one at once, because the network said so without a wait and not all of them had their
    /// turn.
    pub(super) fn turn_to_next_address(&mut self, trouble: Trouble) -> bool {
        let Resolution::Known(addresses, _) = &mut self.address else {
            return false;
        };
        // A BMC that refuses a log-in is there: another address of it would refuse it as well.
        if !trouble.is_silence() || addresses.all.len() < 2 {
            return false;
        }
        addresses.turn();
        addresses.silent += usize::from(trouble == Trouble::Silent);
        let at_once = trouble == Trouble::Unreachable && addresses.left < addresses.all.len();
        if !at_once {
            addresses.left = 0;
        }
        at_once
    }

    /// Whether the other addresses of its name are worth more than a longer wait at this one. Once
    /// nothing was heard at any of them, late answers are waited for where somebody answered
    /// before.
    pub(super) fn tries_elsewhere_first(&self) -> bool {
        let Resolution::Known(addresses, _) = &self.address else {
            return false;
        };
        // A BMC that is slow would never be logged in to if each silence led to another address.
        let likely = self.answered_at.is_none_or(|at| at == addresses.current());
        addresses.all.len() > 1 && !(likely && addresses.silent >= addresses.all.len())
    }

    /// Somebody answers at the address in use.
    pub(super) fn note_answered(&mut self) {
        self.answered_at = self.address();
        if let Resolution::Known(addresses, _) = &mut self.address {
            addresses.silent = 0;
        }
    }

    /// What its name led to may not be so any more: it is looked up again.
    pub fn doubt_address(&mut self) {
        self.address_stale = true;
    }

    /// The host name that wants to be looked up. Asking is promising to look it up.
    pub fn poll_resolve(&mut self) -> Option<String> {
        // The known address stays in use while its name is looked up again.
        let again = std::mem::take(&mut self.address_stale)
            && matches!(self.address, Resolution::Known(_, Some(_)));
        if let Resolution::Wanted = self.address {
            self.address = Resolution::Asked;
            return Some(self.settings.host.to_string());
        }
        again.then(|| self.settings.host.to_string())
    }

    /// The BMC's address, where it is known.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.address {
            Resolution::Known(addresses, _) => Some(addresses.current()),
            Resolution::Unknown | Resolution::Wanted | Resolution::Asked => None,
        }
    }

    /// The other addresses of its name, the next one to be tried first.
    pub fn other_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let known = match &self.address {
            Resolution::Known(addresses, _) => Some(addresses),
            Resolution::Unknown | Resolution::Wanted | Resolution::Asked => None,
        };
        known
            .into_iter()
            .flat_map(|known| known.all.iter().skip(1).copied())
    }

    /// Opens the session, after looking the name up where that was long ago.
    pub(super) fn open(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        match self.address {
            Resolution::Known(_, Some(since))
                if now - since > RESOLVE_AGAIN && self.is_closed() =>
            {
                self.address = Resolution::Wanted;
            }
            Resolution::Known(..) => self.log_in(now, entropy),
            Resolution::Unknown => self.address = Resolution::Wanted,
            Resolution::Wanted | Resolution::Asked => {}
        }
    }
}

/// A name is looked up again for a handshake when the last look-up is so old.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);
