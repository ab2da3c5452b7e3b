//! What BMCs, networks and people do to a rack in a storm.

use crate::world::{World, millis, name, secs};
use rackbmcd::entropy::{Entropy, Seeded};
use rackbmcd::sim::{
    Babble, ChassisOrder, Conditions, EarlyOn, NmiEffect, OsMood, Pointless, Refusal, Repeated,
};
use std::time::Duration;

/// Chance, from a seed.
pub(crate) struct Dice(Seeded);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Seeded::new(seed ^ 0x0057_4f52_4d00))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound.max(1))
    }

    /// A bound that is small as a rule and sometimes large.
    pub(crate) fn peek(&mut self, most: u64) -> u64 {
        match self.below(4) {
            0 => most * 4,
            1 => 60,
            _ => most,
        }
    }

    pub(crate) fn chance(&mut self, chance: f64) -> bool {
        self.0.chance(chance)
    }

    pub(crate) fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize].clone()
    }
}

/// Something that befalls one node.
#[derive(Debug)]
pub(crate) enum Mischief {
    Deaf(Duration),
    BmcReboots(Duration),
    SessionsForgotten,
    SessionsFull(bool),
    Refuses(Refusal),
    Order(ChassisOrder),
    Button,
    Mains(Duration),
    Stale(Duration),
    Slow(Duration),
    LosesFirstReplies(bool),
    Babbles(bool),
    Os(OsMood),
}

impl Mischief {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        match dice.below(16) {
            0 | 1 => Self::Deaf(secs(1 + dice.below(40))),
            2 | 3 => Self::BmcReboots(secs(3 + dice.below(60))),
            4 | 5 => Self::SessionsForgotten,
            6 => Self::SessionsFull(dice.chance(0.4)),
            7 | 8 => Self::Refuses(Refusal {
                order: dice.pick(&[
                    ChassisOrder::Off,
                    ChassisOrder::On,
                    ChassisOrder::Cycle,
                    ChassisOrder::Reset,
                    ChassisOrder::Nmi,
                    ChassisOrder::Soft,
                ]),
                code: dice.pick(&[0xC0, 0xC3, 0xD5, 0xFF, 0xCC, 0xD1]),
                times: Some(1 + dice.below(3) as u32),
            }),
            9 => {
                Self::Order(dice.pick(&[ChassisOrder::Off, ChassisOrder::On, ChassisOrder::Cycle]))
            }
            10 => Self::Button,
            11 => Self::Mains(secs(1 + dice.below(20))),
            12 => Self::Stale(millis(dice.below(900))),
            13 => Self::Slow(millis(dice.below(1_500))),
            14 => Self::LosesFirstReplies(dice.chance(0.5)),
            _ if dice.chance(0.2) => Self::Babbles(dice.chance(0.3)),
            _ => Self::Os(os(dice)),
        }
    }

    /// Whether somebody else switches the machine: then what a task says need not be so any more.
    pub(crate) fn is_anothers_hand(&self) -> bool {
        matches!(self, Self::Order(_) | Self::Button | Self::Mains(_))
    }

    pub(crate) fn befall(self, world: &mut World, place: usize) {
        let now = world.now;
        let bmc = world.bmc(&name(place));
        match self {
            Self::Deaf(time) => bmc.mood_mut().deaf_until = Some(now + time),
            Self::BmcReboots(takes) => {
                bmc.mood_mut().reset_takes = takes;
                bmc.reboot_bmc(now);
            }
            Self::SessionsForgotten => bmc.forget_sessions(),
            Self::SessionsFull(full) => bmc.mood_mut().session_table_full = full.then_some(0x01),
            Self::Refuses(refusal) => bmc.mood_mut().refusals = vec![refusal],
            Self::Order(order) => bmc.order_by_somebody(order, now),
            Self::Button => bmc.press_power_button(now),
            Self::Mains(takes) => {
                bmc.mood_mut().reset_takes = takes;
                bmc.pull_plug(now);
                bmc.plug_in(now);
            }
            Self::Stale(time) => bmc.mood_mut().stale_for = time,
            Self::Slow(time) => bmc.mood_mut().reply_delay = time,
            Self::LosesFirstReplies(loses) => bmc.mood_mut().loses_first_reply = loses,
            Self::Babbles(babbles) => {
                let every = millis(300);
                bmc.mood_mut().babble = babbles.then_some(Babble { every });
            }
            Self::Os(mood) => bmc.mood_mut().os = mood,
        }
    }
}

/// What a node is like from the beginning.
pub(crate) fn settle_in(world: &mut World, place: usize, dice: &mut Dice) {
    let node = name(place);
    let conditions = Conditions {
        loss: dice.pick(&[0.0, 0.02, 0.1, 0.3]),
        duplicate: dice.pick(&[0.0, 0.05, 0.1]),
        reorder: dice.pick(&[0.0, 0.1]),
        corrupt: dice.pick(&[0.0, 0.0, 0.02]),
        delay: millis(1),
        jitter: millis(dice.below(30)),
        held_back: millis(300),
    };
    let mood = world.mood(&node);
    mood.os = os(dice);
    mood.boot_time = secs(dice.below(20));
    mood.on_delay = millis(dice.below(3_000));
    mood.off_delay = millis(dice.below(3_000));
    mood.cycle_off_time = millis(500 + dice.below(5_000));
    mood.min_off_time = secs(dice.below(8));
    mood.early_on = dice.pick(&[EarlyOn::Lost, EarlyOn::Delayed]);
    mood.nmi = dice.pick(&[
        mood.nmi,
        NmiEffect::Ignored,
        NmiEffect::Refused(0xC1),
        NmiEffect::PowersOff,
        NmiEffect::Crash {
            reboots_after: None,
            logged: true,
            restart_cause: 0x0A,
        },
    ]);
    mood.pointless = dice.pick(&[
        Pointless::AsRecommended,
        Pointless::Refused,
        Pointless::Accepted,
    ]);
    mood.repeated = dice.pick(&[
        Repeated::Executed,
        Repeated::AnsweredAgain,
        Repeated::RefusedAsDuplicate,
    ]);
    mood.executes_copies = dice.chance(0.3);
    let executes_copies = mood.executes_copies;
    world.link(&node, conditions);
    if executes_copies {
        // The network makes a second copy of a datagram after it has left us. No client can prevent
        // that, nor tell the BMC: the session sequence number is what replay protection is made of,
        // and this BMC does not look at it. So copies towards such a BMC are the network's doing,
        // and what is judged is what we send.
        let address = crate::world::address(place);
        let link = world.sim.link_mut(address).expect("one of ours");
        link.towards_bmc.duplicate = 0.0;
    }
    if dice.chance(0.2) {
        let now = world.now;
        world.bmc(&node).order_by_somebody(ChassisOrder::Off, now);
    }
}

fn os(dice: &mut Dice) -> OsMood {
    match dice.below(8) {
        0 | 1 => OsMood::Hangs,
        2 => OsMood::IgnoresFirst {
            ignored: 1,
            after: secs(1 + dice.below(20)),
        },
        3 => OsMood::ComesBack {
            down_after: secs(1 + dice.below(20)),
            back_after: secs(2 + dice.below(20)),
        },
        _ => OsMood::ObeysAfter(secs(1 + dice.below(40))),
    }
}
