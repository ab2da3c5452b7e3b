//! The session with a simulated BMC at the other end of a network that the bytes make unkind: they
//! lose, repeat, reorder and change datagrams, move the clock, and put the BMC into moods. What a
//! BMC says that knows the password is mixed with what nobody said.

use super::Script;
use super::session::{Tape, Watched, settings};
use rackbmcd::entropy::Seeded;
use rackbmcd::ipmi::PrivilegeLevel;
use rackbmcd::session::{Protocol, Quirk, Settings};
use rackbmcd::sim::{Bmc, BmcSettings, By, Mood, Privilege, Refusal, Repeated, User};
use rackbmcd::time::Instant;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Acts beyond this are only more of the same, slowly.
const ACTS: usize = 300;

/// Plays the script in `data` to a session and a BMC.
pub(crate) fn run(data: &[u8]) {
    let mut script = Script(data);
    let Some(settings) = settings(&mut script) else {
        return;
    };
    let Some(mood) = mood(&mut script) else {
        return;
    };
    // Without codes anybody may speak for the BMC; with these quirks they are not looked at.
    let sealed = settings.protocol == Protocol::V20
        && settings.suites.iter().all(|suite| suite.has_integrity())
        && !settings.quirks.has(Quirk::IntegrityKeyPassword);
    let mut world = World {
        bmc: bmc(&settings, mood),
        watched: Watched::new(settings),
        to_bmc: Vec::new(),
        to_us: Vec::new(),
        old: Vec::new(),
        doubled: false,
    };
    let mut entropy = Seeded::new(u64::from(script.byte().unwrap_or(0)));
    for _ in 0..ACTS {
        let Some(act) = script.byte() else { break };
        if world.act(act, &mut script, &mut entropy).is_none() {
            break;
        }
        world.watched.look();
    }
    world.watched.end(&mut Tape(0));
    if sealed {
        let done = world.watched.done.len();
        let executed = world.executed();
        assert!(
            done <= executed,
            "{done} said to be done, and {executed} were: {:?}",
            world.bmc.host().executed()
        );
    }
}

struct World {
    bmc: Bmc,
    watched: Watched,
    to_bmc: Vec<Vec<u8>>,
    to_us: Vec<Vec<u8>>,
    /// What came from the BMC before.
    old: Vec<Vec<u8>>,
    /// Whether the network ever gave the BMC a copy.
    doubled: bool,
}

impl World {
    fn act(&mut self, act: u8, script: &mut Script<'_>, entropy: &mut Seeded) -> Option<()> {
        match act {
            0..=15 => self.watched.call(act, script, entropy),
            // Noise.
            16..=19 => self.watched.datagram(script.block()?, entropy),
            // An old reply again, as it was or with a byte changed.
            20..=27 => {
                let [which, at, change] = [script.byte()?, script.byte()?, script.byte()?];
                let mut bytes = self
                    .old
                    .get(usize::from(which))
                    .cloned()
                    .unwrap_or_default();
                if let Some(byte) = bytes.get_mut(usize::from(at)) {
                    *byte ^= change;
                }
                self.watched.datagram(&bytes, entropy);
            }
            // Time, in one jump.
            28..=47 => {
                let millis = script.word()?;
                self.watched
                    .wait(Duration::from_millis(u64::from(millis)), entropy);
                self.bmc.handle_timeout(self.watched.now);
            }
            // Time, to the next timer.
            48..=63 => {
                if let Some(due) = self.watched.session.poll_timeout() {
                    let time = due - self.watched.now;
                    self.watched.wait(time, entropy);
                }
            }
            // What is under way is lost, doubled, held back, or garbled.
            64..=71 => drop(self.to_us.pop()),
            72..=75 => drop(self.to_bmc.pop()),
            76..=83 => self.to_us.extend(self.to_us.last().cloned()),
            84..=85 => {
                self.doubled |= !self.to_bmc.is_empty();
                self.to_bmc.extend(self.to_bmc.last().cloned());
            }
            86..=89 => self.to_us.reverse(),
            90..=97 => {
                let [at, change] = [script.byte()?, script.byte()?];
                if let Some(byte) = self
                    .to_us
                    .last_mut()
                    .and_then(|b| b.get_mut(usize::from(at)))
                {
                    *byte ^= change;
                }
            }
            98..=99 => {
                let length = usize::from(script.byte()?);
                if let Some(bytes) = self.to_us.last_mut() {
                    bytes.truncate(length);
                }
            }
            100 => self.bmc.forget_sessions(),
            101 => self.bmc.reboot_bmc(self.watched.now),
            // One datagram one step on.
            102..=149 => drop(self.leave()),
            150..=189 => self.reach_bmc(),
            190..=219 => self.reach_us(entropy),
            // All that can move moves.
            _ => {
                while self.leave().is_some() {}
                while !self.to_bmc.is_empty() {
                    self.reach_bmc();
                }
                while !self.to_us.is_empty() {
                    self.reach_us(entropy);
                }
            }
        }
        let asked = self.watched.pulses.len();
        assert!(
            self.doubled || self.executed() <= asked,
            "more pulses than were asked for"
        );
        Some(())
    }

    fn leave(&mut self) -> Option<()> {
        let transmit = self.watched.send()?;
        self.to_bmc.push(transmit.datagram);
        Some(())
    }

    fn reach_bmc(&mut self) {
        if self.to_bmc.is_empty() {
            return;
        }
        let bytes = self.to_bmc.remove(0);
        let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 10_000));
        self.bmc.handle_datagram(from, &bytes, self.watched.now);
        while let Some((_, bytes)) = self.bmc.poll_transmit() {
            self.to_us.push(bytes);
        }
    }

    fn reach_us(&mut self, entropy: &mut Seeded) {
        if self.to_us.is_empty() {
            return;
        }
        let bytes = self.to_us.remove(0);
        self.watched.datagram(&bytes, entropy);
        if self.old.len() < 256 {
            self.old.push(bytes);
        }
    }

    /// How many orders of ours reached the machine.
    fn executed(&self) -> usize {
        let executed = self.bmc.host().executed().iter();
        executed
            .filter(|done| matches!(done.by, By::Console(_)))
            .count()
    }
}

fn bmc(settings: &Settings, mood: Mood) -> Bmc {
    let settings = BmcSettings {
        users: vec![User::new("admin", "secret", Privilege::Administrator)],
        bmc_key: settings.bmc_key.as_ref().map(|key| key.expose().to_vec()),
        suites: settings.suites.iter().map(|suite| suite.0).collect(),
        offers_v15: true,
        channel_limit: if settings.privilege == PrivilegeLevel::Administrator {
            Privilege::Operator
        } else {
            Privilege::Administrator
        },
        ..BmcSettings::default()
    };
    let mut bmc = Bmc::new(settings, mood, 11);
    bmc.handle_timeout(Instant::START);
    bmc
}

/// A mood from three bytes.
fn mood(script: &mut Script<'_>) -> Option<Mood> {
    let [a, b, c] = [script.byte()?, script.byte()?, script.byte()?];
    let mut mood = Mood::default();
    let bit = |byte: u8, at: u8| byte >> at & 1 == 1;
    mood.executes_copies = bit(a, 0);
    mood.loses_first_reply = bit(a, 1);
    mood.ignores_capabilities = bit(a, 2);
    mood.ignores_cipher_suites = bit(a, 3);
    mood.ignores_close = bit(a, 4);
    mood.repeated = match a >> 5 {
        0..=3 => Repeated::Executed,
        4..=5 => Repeated::AnsweredAgain,
        _ => Repeated::RefusedAsDuplicate,
    };
    if bit(b, 0) {
        mood.session_life = Some(Duration::from_secs(3));
    }
    if bit(b, 1) {
        mood.session_table_full = Some(if bit(b, 2) { 0x01 } else { 0x0B });
    }
    if bit(b, 3) {
        mood.refusals.push(Refusal {
            order: rackbmcd::sim::ChassisOrder::Reset,
            // Never 0, which would be no refusal.
            code: c | 0x80,
            times: None,
        });
    }
    let quirks = &mut mood.quirks;
    quirks.error_replies_zeroed = bit(b, 4);
    quirks.tag_always_zero = bit(b, 5);
    quirks.pad_1_5 = bit(b, 6);
    quirks.extra_status_byte = bit(b, 7);
    match c & 0x1F {
        1 => quirks.key_constants_as_long_as_digest = true,
        2 => quirks.rakp2_extra_byte = true,
        3 => quirks.rakp4_by_integrity = true,
        4 => quirks.rakp3_level_only = true,
        5 => quirks.padded_user_names = true,
        6 => quirks.level_of_open_session = true,
        7 => quirks.exact_level_lookup = true,
        8 => quirks.integrity_key_is_session_key = true,
        9 => quirks.icts_pad = true,
        10 => quirks.aes_pad_16_for_0 = true,
        11 => quirks.wrong_checksums = true,
        12 => quirks.session_id_zero_1_5 = true,
        13 => quirks.wrong_codes_1_5 = true,
        14 => quirks.swapped_sequence_1_5 = true,
        15 => quirks.short_cipher_records = true,
        16 => quirks.skips_sequence_numbers = true,
        17 => quirks.refuses_extended_capabilities = true,
        18 => quirks.short_error_replies = Some(1),
        19 => quirks.short_error_replies = Some(2),
        20 => quirks.short_error_replies = Some(7),
        _ => {}
    }
    Some(mood)
}
