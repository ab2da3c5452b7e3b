//! Where one BMC is: its name, and when it is looked up.
//!
//! Driven by the rest of `bmc`, and by `rack`, which passes names out and addresses in. Asks no resolver itself.

use super::Bmc;
use super::settings::Settings;
use super::vocabulary::Trouble;
use crate::entropy::Entropy;
use crate::time::Instant;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where the BMC is.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    /// Known, and since when; `None` for an address that was given as one.
    Known(SocketAddr, Option<Instant>),
    /// To be asked for.
    Wanted,
    /// Asked for.
    Asked,
    /// Not asked for at the moment.
    Unknown,
}

impl Resolution {
    pub(super) fn of(settings: &Settings) -> Self {
        match settings.host.parse::<IpAddr>() {
            Ok(ip) => Resolution::Known(SocketAddr::new(ip, settings.port), None),
            Err(_) => Resolution::Unknown,
        }
    }
}

impl Bmc {
    /// The BMC's name was looked up.
    pub fn handle_resolved(
        &mut self,
        answer: Result<SocketAddr, String>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        match answer {
            Ok(mut address) => {
                address.set_port(self.settings.port);
                if let Resolution::Known(old, _) = self.address
                    && old != address
                {
                    self.lose_session();
                }
                self.address = Resolution::Known(address, Some(now));
            }
            Err(why) => {
                self.address = Resolution::Unknown;
                let text = format!("the name {} does not resolve: {why}", self.settings.host);
                self.give_up(Trouble::NoAddress, &text, now);
            }
        }
        self.advance(now, entropy);
    }

    /// The host name that wants to be looked up. Asking is promising to look it up.
    pub fn poll_resolve(&mut self) -> Option<String> {
        if let Resolution::Wanted = self.address {
            self.address = Resolution::Asked;
            return Some(self.settings.host.clone());
        }
        None
    }

    /// The BMC's address, where it is known.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.address {
            Resolution::Known(address, _) => Some(address),
            _ => None,
        }
    }

    /// Opens the session, after looking the name up where that was long ago.
    pub(super) fn open(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        match self.address {
            Resolution::Known(_, Some(since))
                if now - since > RESOLVE_AGAIN && self.is_closed() =>
            {
                self.address = Resolution::Wanted;
            }
            Resolution::Known(..) => self.session.open(now, entropy),
            Resolution::Unknown => self.address = Resolution::Wanted,
            Resolution::Wanted | Resolution::Asked => {}
        }
    }
}

/// A name is looked up again for a handshake when the last look-up is so old.
const RESOLVE_AGAIN: Duration = Duration::from_secs(300);
