//! Texts that many BMCs have in common are kept once: a network that goes away, or BMCs that are all
//! restarted, make the same failures of thousands.
//!
//! Kept by who has them all, who shows each BMC after something happened to it.

use super::Bmc;
use std::collections::VecDeque;
use std::sync::Arc;

/// The texts that came last, the newest at the end.
#[derive(Default)]
pub struct Texts(VecDeque<Arc<str>>);

impl Texts {
    /// What a BMC has noted since the last time is kept with what others have noted.
    pub fn share(&mut self, bmc: &mut Bmc) {
        for text in bmc.own_failures() {
            if let Some(known) = self.0.iter().rev().find(|known| *known == text) {
                *text = known.clone();
                continue;
            }
            if self.0.len() == LAST {
                self.0.pop_front();
            }
            self.0.push_back(text.clone());
        }
    }
}

/// A restart of all BMCs makes three or four.
const LAST: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::vocabulary::{Order, OrderId};
    use super::super::{Purpose, Settings};
    use super::*;
    use crate::entropy::Seeded;
    use crate::session;
    use crate::session::secret::Password;
    use crate::time::Instant;
    use std::time::Duration;

    /// A BMC whose name is known to nobody.
    fn nameless(why: &str) -> Bmc {
        let now = Instant::after_start(Duration::from_secs(1));
        let password = Password::new(*b"secret").unwrap();
        let settings = Settings {
            host: "bmc.example".into(),
            port: 623,
            login: Arc::new(session::Settings::new("admin", password)),
            care: Arc::default(),
        };
        let (mut bmc, mut entropy) = (Bmc::new(settings, Arc::default(), now), Seeded::new(1));
        let (id, order) = (OrderId(1), Order::ReadPower);
        bmc.submit(id, order, Purpose::PowerState, now, &mut entropy);
        assert!(bmc.poll_resolve().is_some());
        bmc.handle_resolved(Err(why.to_owned()), now, &mut entropy);
        bmc
    }

    fn texts(bmc: &Bmc) -> Vec<*const u8> {
        bmc.failures().map(|(_, text)| text.as_ptr()).collect()
    }

    #[test]
    fn what_thousands_note_alike_is_kept_once() {
        let mut texts_of_all = Texts::default();
        let mut bmcs: Vec<Bmc> = (0..20)
            .map(|place| {
                nameless(if place == 7 {
                    "no server"
                } else {
                    "no such name"
                })
            })
            .collect();
        for bmc in &mut bmcs {
            texts_of_all.share(bmc);
        }
        let first = texts(&bmcs[0]);
        assert!(!first.is_empty());
        assert_eq!(texts(&bmcs[19]), first);
        assert_ne!(texts(&bmcs[7]), first);
        let said = bmcs[19].failures().map(|(_, text)| text.to_owned());
        assert!(said.collect::<String>().contains("no such name"));
        // What was shared is not looked through again.
        assert_eq!(bmcs[0].own_failures().count(), 0);
    }

    #[test]
    fn only_the_last_texts_are_kept_for_others() {
        let mut texts_of_all = Texts::default();
        for number in 0..100 {
            texts_of_all.share(&mut nameless(&format!("reason {number}")));
        }
        assert_eq!(texts_of_all.0.len(), LAST);
    }
}
