//! An unkind link: loss, copies, disorder, delay and damage, in virtual time and from a seed.
//!
//! Pure: a datagram and the time go in, its copies with their times of arrival come out. Queues are
//! kept by [`super::Rack`] or by whoever drives the link.

use crate::entropy::{Entropy, Seeded};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// How one direction of a link treats datagrams. Chances are 0.0 to 1.0.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Conditions {
    /// The chance that a datagram is lost.
    pub loss: f64,
    /// The chance that it arrives twice, with the delays drawn anew.
    pub duplicate: f64,
    /// The chance that it is held back for [`Conditions::held_back`], so that later ones overtake
    /// it.
    pub reorder: f64,
    /// The chance that one of its bits is turned.
    pub corrupt: f64,
    /// The time it is under way at least.
    pub delay: Duration,
    /// Up to so much more.
    pub jitter: Duration,
    /// How long one is held back that is overtaken.
    pub held_back: Duration,
}

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From a console to the BMC.
    TowardsBmc,
    /// From the BMC to a console.
    TowardsConsole,
}

/// What befalls one datagram that was named beforehand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Doubled,
    /// It is under way for so much longer.
    Late(Duration),
}

/// A link with its two directions.
#[derive(Clone, Debug)]
pub struct Link {
    /// From consoles to the BMC.
    pub towards_bmc: Conditions,
    /// From the BMC to consoles.
    pub towards_console: Conditions,
    entropy: Seeded,
    /// Datagrams that were given to it, both ways.
    carried: u64,
    mishaps: BTreeMap<u64, Mishap>,
}

impl Link {
    /// A link without faults or delay; `seed` decides about all that later ones do.
    pub fn new(seed: u64) -> Self {
        Self {
            towards_bmc: Conditions::default(),
            towards_console: Conditions::default(),
            entropy: Seeded::new(seed),
            carried: 0,
            mishaps: BTreeMap::new(),
        }
    }

    /// How many datagrams were given to it, both ways together.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// Something is going to befall the datagram with this number: the first one of all has number
    /// 0, and both ways are counted together.
    pub fn befall(&mut self, number: u64, mishap: Mishap) {
        self.mishaps.insert(number, mishap);
    }

    /// The same conditions both ways.
    pub fn set_both(&mut self, conditions: Conditions) {
        self.towards_bmc = conditions;
        self.towards_console = conditions;
    }

    /// Sends `datagram` at `now`: what arrives, and when.
    pub fn carry(
        &mut self,
        direction: Direction,
        datagram: &[u8],
        now: Instant,
    ) -> Vec<(Instant, Vec<u8>)> {
        let conditions = match direction {
            Direction::TowardsBmc => self.towards_bmc,
            Direction::TowardsConsole => self.towards_console,
        };
        let mishap = self.mishaps.remove(&self.carried);
        self.carried += 1;
        let late = match mishap {
            Some(Mishap::Lost) => return Vec::new(),
            Some(Mishap::Late(time)) => time,
            Some(Mishap::Doubled) | None => Duration::ZERO,
        };
        let entropy = &mut self.entropy;
        let doubled = entropy.chance(conditions.duplicate) || mishap == Some(Mishap::Doubled);
        let copies = if doubled { 2 } else { 1 };
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            if entropy.chance(conditions.loss) {
                continue;
            }
            let jitter = Duration::from_nanos(entropy.below(conditions.jitter.as_nanos() as u64));
            let mut delay = conditions.delay + jitter + late;
            if entropy.chance(conditions.reorder) {
                delay += conditions.held_back;
            }
            let mut bytes = datagram.to_vec();
            if entropy.chance(conditions.corrupt) && !bytes.is_empty() {
                let bit = entropy.below(8 * bytes.len() as u64) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            arrivals.push((now + delay, bytes));
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(conditions: Conditions, count: u64) -> Vec<(Instant, Vec<u8>)> {
        let mut link = Link::new(7);
        link.towards_bmc = conditions;
        (0..count)
            .flat_map(|n| {
                let sent = Instant::after_start(Duration::from_millis(n));
                link.carry(Direction::TowardsBmc, &n.to_le_bytes(), sent)
            })
            .collect()
    }

    #[test]
    fn a_kind_link_delivers_at_once_and_unchanged() {
        let sent = Instant::after_start(Duration::from_secs(3));
        let arrived = Link::new(1).carry(Direction::TowardsConsole, b"abc", sent);
        assert_eq!(arrived, [(sent, b"abc".to_vec())]);
    }

    #[test]
    fn loss_and_copies_come_as_often_as_told() {
        let lossy = Conditions {
            loss: 0.3,
            ..Conditions::default()
        };
        let arrived = arrivals(lossy, 10_000).len();
        assert!((6_800..7_200).contains(&arrived), "{arrived}");
        let doubling = Conditions {
            duplicate: 0.1,
            ..Conditions::default()
        };
        let arrived = arrivals(doubling, 10_000).len();
        assert!((10_800..11_200).contains(&arrived), "{arrived}");
    }

    #[test]
    fn a_datagram_that_is_held_back_is_overtaken() {
        let disorderly = Conditions {
            reorder: 0.2,
            held_back: Duration::from_millis(5),
            ..Conditions::default()
        };
        let arrived = arrivals(disorderly, 100);
        let overtaken = arrived.windows(2).filter(|two| two[0].0 > two[1].0);
        assert!(overtaken.count() > 5);
    }

    #[test]
    fn damage_is_one_bit() {
        let damaging = Conditions {
            corrupt: 1.0,
            ..Conditions::default()
        };
        for (n, (_, bytes)) in arrivals(damaging, 50).into_iter().enumerate() {
            let sent = (n as u64).to_le_bytes();
            let turned: u32 = sent
                .iter()
                .zip(&bytes)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum();
            assert_eq!(turned, 1);
        }
    }

    #[test]
    fn a_mishap_befalls_the_datagram_that_was_named_and_no_other() {
        let sent = Instant::after_start(Duration::from_secs(3));
        let late = Duration::from_secs(1);
        let mut link = Link::new(1);
        link.befall(1, Mishap::Lost);
        link.befall(2, Mishap::Doubled);
        link.befall(3, Mishap::Late(late));
        let mut carry = |direction| {
            let arrived = link.carry(direction, b"abc", sent).into_iter();
            arrived.map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(carry(Direction::TowardsBmc), [sent]);
        assert_eq!(carry(Direction::TowardsConsole), []);
        assert_eq!(carry(Direction::TowardsBmc), [sent, sent]);
        assert_eq!(carry(Direction::TowardsBmc), [sent + late]);
        assert_eq!(carry(Direction::TowardsConsole), [sent]);
        assert_eq!(link.carried(), 5);
    }

    #[test]
    fn a_seed_repeats_the_story() {
        let unkind = Conditions {
            loss: 0.2,
            duplicate: 0.2,
            jitter: Duration::from_millis(9),
            ..Conditions::default()
        };
        assert_eq!(arrivals(unkind, 100), arrivals(unkind, 100));
    }
}
