//! Moods in words, as `--os`, `--mood` and `--node NAME=MOOD` take them: `hangs`,
//! `obeys:5s+stale:3s`, `deaf`.
//!
//! Pure: text to [`Mood`] and link conditions.

use super::arguments::SimError;
use crate::model::Seconds;
use crate::sim::{
    Babble, Conditions, EarlyOn, Ipmid, Mood, NmiEffect, OsMood, Pointless, Quirks, Repeated,
};
use std::time::Duration;

/// Applies `words`, joined by `+` or `,`, to a mood and the conditions of its link.
///
/// # Errors
/// A word that is none, or whose value does not read, is named.
pub fn parse_mood(
    words: &str,
    mood: &mut Mood,
    conditions: &mut Conditions,
) -> Result<(), SimError> {
    for word in words.split(['+', ',']).map(str::trim) {
        apply(word, mood, conditions).ok_or_else(|| SimError::Mood(word.to_owned()))?;
    }
    Ok(())
}

/// One word: `name` or `name:value`.
struct Word<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl Word<'_> {
    fn time(&self) -> Option<Duration> {
        self.value.and_then(duration)
    }

    fn time_or(&self, seconds: u64) -> Option<Duration> {
        match self.value {
            Some(value) => duration(value),
            None => Some(Duration::from_secs(seconds)),
        }
    }

    fn chance(&self) -> Option<f64> {
        let chance = self.value?.parse().ok();
        chance.filter(|chance: &f64| (0.0..=1.0).contains(chance))
    }

    fn count(&self) -> Option<u32> {
        self.value?.parse().ok()
    }

    fn byte(&self) -> Option<u8> {
        u8::from_str_radix(self.value?.trim_start_matches("0x"), 16).ok()
    }
}

fn apply(word: &str, mood: &mut Mood, conditions: &mut Conditions) -> Option<()> {
    let (name, value) = match word.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let word = Word { name, value };
    of_the_machine(&word, mood)
        .or_else(|| of_the_bmc(&word, mood))
        .or_else(|| of_openbmc(&word, mood))
        .or_else(|| of_its_rmcp_plus(&word, mood))
        .or_else(|| of_its_messages(&word, &mut mood.quirks))
        .or_else(|| of_the_network(&word, conditions))
}

/// What the machine and its operating system do.
fn of_the_machine(word: &Word<'_>, mood: &mut Mood) -> Option<()> {
    match word.name {
        "good" if word.value.is_none() => *mood = Mood::default(),
        "obeys" => mood.os = OsMood::ObeysAfter(word.time_or(5)?),
        "hangs" => mood.os = OsMood::Hangs,
        "ignores-first" => {
            mood.os = OsMood::IgnoresFirst {
                ignored: word.value.map_or(Some(1), |value| value.parse().ok())?,
                after: Duration::from_secs(5),
            };
        }
        "comes-back" => {
            mood.os = OsMood::ComesBack {
                down_after: Duration::from_secs(5),
                back_after: word.time_or(5)?,
            };
        }
        "boot" => mood.boot_time = word.time()?,
        "on-delay" => mood.on_delay = word.time()?,
        "off-delay" => mood.off_delay = word.time()?,
        "min-off" => {
            mood.min_off_time = word.time()?;
            mood.early_on = EarlyOn::Lost;
        }
        "stale" => mood.stale_for = word.time_or(3)?,
        "nmi-ignored" => mood.nmi = NmiEffect::Ignored,
        "nmi-refused" => {
            mood.nmi = NmiEffect::Refused(word.value.map_or(Some(0xCC), |_| word.byte())?)
        }
        "nmi-off" => mood.nmi = NmiEffect::PowersOff,
        "nmi-crash" => {
            mood.nmi = NmiEffect::Crash {
                reboots_after: word
                    .value
                    .map(|_| word.time())
                    .map_or(Some(None), |t| t.map(Some))?,
                logged: true,
                restart_cause: 0x0A,
            };
        }
        "strict" => mood.pointless = Pointless::Refused,
        "copies" => mood.executes_copies = true,
        _ => return None,
    }
    Some(())
}

/// How the BMC answers.
fn of_the_bmc(word: &Word<'_>, mood: &mut Mood) -> Option<()> {
    match word.name {
        "duplicate-cf" => mood.repeated = Repeated::RefusedAsDuplicate,
        "loses-first-reply" => mood.loses_first_reply = true,
        "reply-delay" => mood.reply_delay = word.time()?,
        "deaf" => match word.value {
            Some(_) => mood.deaf_until = Some(crate::time::Instant::START + word.time()?),
            None => mood.dead = true,
        },
        "dead" => mood.dead = true,
        "full" => mood.session_table_full = Some(word.value.map_or(Some(0x01), |_| word.byte())?),
        "forgets" => mood.session_life = Some(word.time_or(30)?),
        "dies-above" => mood.dies_above = word.value.map_or(Some(5), |_| word.count()).map(Some)?,
        "busy-above" => mood.busy_above = word.value.map_or(Some(5), |_| word.count()).map(Some)?,
        "pings-only" => mood.pings_only = true,
        "ignores-ping" => mood.ignores_ping = true,
        "ignores-capabilities" => mood.ignores_capabilities = true,
        "ignores-cipher-suites" => mood.ignores_cipher_suites = true,
        "ignores-close" => mood.ignores_close = true,
        "babbles" => {
            let every = word
                .value
                .map_or(Some(Duration::from_millis(1)), |_| word.time())?;
            mood.babble = Some(Babble { every });
        }
        "no-ipmi-account" => mood.openbmc.no_ipmi_account = true,
        "chassis-delay" => mood.chassis_delay = word.time()?,
        "silent-sessions" => mood.silent_sessions = true,
        "level-refused" => mood.level_refusals = word.value.map_or(Some(1), |_| word.count())?,
        "intelwv2" => mood.sees_late = true,
        _ => return None,
    }
    Some(())
}

/// What OpenBMC does.
fn of_openbmc(word: &Word<'_>, mood: &mut Mood) -> Option<()> {
    let quirks = &mut mood.quirks;
    match word.name {
        "openbmc" => {
            quirks.error_replies_zeroed = true;
            quirks.exact_level_lookup = true;
            quirks.pad_1_5 = true;
            quirks.aes_pad_16_for_0 = true;
            quirks.answers_copies_of_rakp = true;
            quirks.unchecked_open_level = true;
            quirks.pong_little_endian = true;
            mood.executes_copies = true;
            mood.openbmc.only_suite = Some(17);
            mood.openbmc.forgets_half_open = true;
            mood.openbmc.counts_for_guid = true;
            mood.pointless = Pointless::AcceptedButCycle;
        }
        "openbmc-2020" => {
            of_openbmc(
                &Word {
                    name: "openbmc",
                    value: None,
                },
                mood,
            )?;
            mood.openbmc.old_table = true;
        }
        "graceful-cycle" => mood.openbmc.graceful_cycle = Some(word.time_or(2700)?),
        "crowded" => mood.openbmc.others = word.value.map_or(Some(18), |_| word.count())?,
        "ipmid-gone" => mood.openbmc.ipmid = Ipmid::Gone,
        "ipmid-hung" => {
            let until = word
                .value
                .map(|_| word.time().map(|time| crate::time::Instant::START + time));
            mood.openbmc.ipmid = Ipmid::Hung(match until {
                None => None,
                Some(until) => Some(until?),
            });
        }
        _ => return None,
    }
    Some(())
}

/// Where its RMCP+ departs from the specification.
fn of_its_rmcp_plus(word: &Word<'_>, mood: &mut Mood) -> Option<()> {
    let quirks = &mut mood.quirks;
    match word.name {
        "unsigned-replies" => quirks.unsigned_replies = true,
        "silent-suite" => {
            quirks.silent_suite = word
                .value
                .map_or(Some(17), |_| word.count())?
                .try_into()
                .ok()
        }
        "mismatching-suite" => {
            quirks.mismatching_suite = word
                .value
                .map_or(Some(3), |_| word.count())?
                .try_into()
                .ok();
        }
        "errors-zeroed" => quirks.error_replies_zeroed = true,
        "tag-zero" => quirks.tag_always_zero = true,
        "short-errors" => quirks.short_error_replies = Some(2),
        "extra-status-byte" => quirks.extra_status_byte = true,
        "pad-1.5" => quirks.pad_1_5 = true,
        "key-digest" => quirks.key_constants_as_long_as_digest = true,
        "supermicro20" => quirks.rakp2_extra_byte = true,
        "intel20" => {
            quirks.padded_user_names = true;
            quirks.rakp3_level_only = true;
            quirks.rakp4_by_integrity = true;
            quirks.password16_with_md5 = true;
        }
        "authcap" => quirks.empty_capabilities = true,
        "opensesspriv" => quirks.level_of_open_session = true,
        "integrity-sik" => quirks.integrity_key_is_session_key = true,
        "integritycheckvalue" => quirks.rakp4_value_without_authentication = true,
        "no-name-only" => quirks.no_name_only_lookup = true,
        "i82571spt" => {
            quirks.hashes_level_only = true;
            quirks.rakp3_level_only = true;
            quirks.rakp4_by_integrity = true;
            quirks.user_field_16 = true;
            quirks.no_set_privilege = true;
            mood.ignores_capabilities = true;
        }
        "plain-replies" => quirks.plain_replies = true,
        "silent-close-after-reset" => quirks.silent_close_after_reset = true,
        _ => return None,
    }
    Some(())
}

/// Where its messages depart from it, those of IPMI 1.5 above all.
fn of_its_messages(word: &Word<'_>, quirks: &mut Quirks) -> Option<()> {
    match word.name {
        "icts" => quirks.icts_pad = true,
        "nochecksum" => quirks.wrong_checksums = true,
        "idzero" => quirks.session_id_zero_1_5 = true,
        "noauthcode" => quirks.wrong_codes_1_5 = true,
        "unexpectedauth" => quirks.unasked_codes_1_5 = true,
        "forcepermsg" => quirks.needed_codes_1_5 = true,
        "quanta" => quirks.oem_only_1_5 = true,
        "supermicro" => {
            quirks.oem_only_1_5 = true;
            quirks.challenge_codes_1_5 = true;
        }
        "endianseq" => quirks.swapped_sequence_1_5 = true,
        "skips-numbers" => quirks.skips_sequence_numbers = true,
        _ => return None,
    }
    Some(())
}

/// What the network on the way does.
fn of_the_network(word: &Word<'_>, conditions: &mut Conditions) -> Option<()> {
    match word.name {
        "loss" => conditions.loss = word.chance()?,
        "duplicate" => conditions.duplicate = word.chance()?,
        "reorder" => {
            conditions.reorder = word.chance()?;
            conditions.held_back = Duration::from_millis(50);
        }
        "corrupt" => conditions.corrupt = word.chance()?,
        "delay" => conditions.delay = word.time()?,
        "jitter" => conditions.jitter = word.time()?,
        _ => return None,
    }
    Some(())
}

/// A duration as people write it, or a bare number of seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    Seconds::from_words(text).map(|seconds| seconds.0)
}

/// All words, for the help.
pub(super) const WORDS: &str = "\
operating system: obeys[:TIME] hangs ignores-first[:N] comes-back[:TIME] boot:TIME
machine:          on-delay:TIME off-delay:TIME min-off:TIME stale[:TIME] strict
interrupt:        nmi-crash[:REBOOTS-AFTER] nmi-ignored nmi-refused[:CODE] nmi-off
BMC:              good dead deaf:TIME full[:STATUS] forgets[:TIME] copies duplicate-cf
                  loses-first-reply dies-above[:N] busy-above[:N] reply-delay:TIME
                  babbles[:EVERY] pings-only ignores-ping ignores-capabilities
                  ignores-cipher-suites ignores-close level-refused[:N] silent-suite[:N]
                  mismatching-suite[:N] chassis-delay:TIME silent-sessions
OpenBMC:          openbmc openbmc-2020 crowded[:N] ipmid-gone ipmid-hung[:TIME]
                  no-ipmi-account graceful-cycle[:TIME]
firmware:         authcap intel20 supermicro20 opensesspriv icts i82571spt
                  integritycheckvalue errors-zeroed tag-zero short-errors
                  extra-status-byte key-digest integrity-sik nochecksum skips-numbers
                  no-name-only plain-replies silent-close-after-reset unsigned-replies
IPMI 1.5:         pad-1.5 idzero noauthcode endianseq unexpectedauth forcepermsg quanta
                  supermicro intelwv2
network:          loss:CHANCE duplicate:CHANCE reorder:CHANCE corrupt:CHANCE delay:TIME
                  jitter:TIME
Join several with +, as in hangs+stale:3s+loss:0.1. TIME is 5s, 200ms or 2m, CHANCE 0 to 1.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_and_each_does_its_part() {
        let (mut mood, mut conditions) = (Mood::default(), Conditions::default());
        parse_mood("hangs+stale:3s, loss:0.25", &mut mood, &mut conditions).unwrap();
        assert_eq!(mood.os, OsMood::Hangs);
        assert_eq!(mood.stale_for, Duration::from_secs(3));
        assert_eq!(conditions.loss, 0.25);
    }

    #[test]
    fn a_wrong_word_is_named() {
        for wrong in ["sulks", "obeys:soon", "loss:1.5", "stale:-1s", ""] {
            let mut mood = Mood::default();
            let error = parse_mood(wrong, &mut mood, &mut Conditions::default()).unwrap_err();
            assert!(matches!(error, SimError::Mood(named) if named == wrong));
        }
    }

    #[test]
    fn every_word_of_the_help_is_one() {
        for word in WORDS.lines().take_while(|line| !line.starts_with("Join")) {
            let words = word.split_once(": ").map_or(word, |(_, words)| words);
            for word in words.split_whitespace().filter(|word| !word.ends_with(':')) {
                let word = word
                    .replace("[:TIME]", "")
                    .replace("[:N]", ":2")
                    .replace("[:REBOOTS-AFTER]", "")
                    .replace("[:STATUS]", ":0b")
                    .replace("[:CODE]", ":ff")
                    .replace("[:EVERY]", ":10ms")
                    .replace("TIME", "2s")
                    .replace("CHANCE", "0.5");
                let (mut mood, mut conditions) = (Mood::default(), Conditions::default());
                parse_mood(&word, &mut mood, &mut conditions).unwrap();
            }
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("7"), Some(Duration::from_secs(7)));
        assert_eq!(duration("-1s"), None);
        assert_eq!(duration("1e30"), None);
    }
}
