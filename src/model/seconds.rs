//! A duration in a body: written as a number of seconds, read from a number or from words like
//! `90s`, `10m`, `1h30m`. As a type of its own, and for `#[serde(with)]` on a plain `Duration`.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A duration as bodies carry it. Never negative, never infinite.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Seconds(pub Duration);

/// The most seconds that a body may name: as much as Ironic takes.
pub(crate) const SECONDS_LIMIT: u64 = 1_000_000_000_000;
/// The longest words that a body may use for a duration.
pub(crate) const WORDS_LIMIT: usize = 24;
/// What a mistaken duration is told.
const EXPECTED: &str = "a number of seconds or words like '90s', '10m', '1h30m'";

impl Seconds {
    /// The duration that `seconds` names; `None` where it is negative, no number or beyond all
    /// measure.
    pub fn from_f64(seconds: f64) -> Option<Self> {
        Duration::try_from_secs_f64(seconds).ok().map(Seconds)
    }

    /// The duration that `text` names: a bare number of seconds, or numbers with units (`ms`, `s`,
    /// `m`, `h`, `d`), largest or smallest first as one likes.
    pub fn from_words(text: &str) -> Option<Self> {
        let text = text.trim();
        if is_number(text) {
            return Self::from_f64(text.parse().ok()?);
        }
        let mut total = Duration::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let number = rest
                .find(|mark: char| !(mark.is_ascii_digit() || mark == '.'))
                .filter(|end| *end > 0)?;
            let unit_end = rest[number..]
                .find(|mark: char| mark.is_ascii_digit())
                .map_or(rest.len(), |end| number + end);
            let unit = rest[number..unit_end].trim();
            let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
            total = total.checked_add(times(&rest[..number], *millis)?)?;
            rest = &rest[unit_end..];
        }
        (!text.is_empty()).then_some(Self(total))
    }

    /// The same for a text that has to say its unit: in a file, 10 may be meant as minutes.
    pub fn from_words_with_unit(text: &str) -> Option<Self> {
        Self::from_words(text).filter(|_| !is_number(text.trim()))
    }

    /// The duration in whole units, the largest that is exact; less than a millisecond counts for
    /// nothing.
    pub fn in_words(self) -> String {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let mut units = UNITS.iter().filter(|_| millis != 0);
        let (unit, scale) = units
            .find(|(_, scale)| millis % scale == 0)
            .unwrap_or(&("s", 1000));
        format!("{}{unit}", millis / scale)
    }
}

/// The units of durations in milliseconds, the largest first; behind them, other words for them.
const UNITS: [(&str, u64); 7] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
    ("sec", 1000),
    ("min", 60 * 1000),
];

fn is_number(text: &str) -> bool {
    let mut bytes = text.bytes();
    !text.is_empty() && bytes.all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// So many times so many milliseconds. A fraction of them need not be exact, whole ones are.
fn times(number: &str, millis: u64) -> Option<Duration> {
    if number.contains('.') {
        let seconds = number.parse::<f64>().ok()? * (millis as f64 / 1000.0);
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let millis = number.parse::<u64>().ok()?.checked_mul(millis)?;
    Some(Duration::from_millis(millis))
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// For `#[serde(with = "seconds")]`.
pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    Seconds(*duration).serialize(to)
}

/// For `#[serde(with = "seconds")]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Seconds::deserialize(from).map(|Seconds(duration)| duration)
}

/// The same where there may be none.
pub(super) mod maybe {
    use super::*;

    pub(in crate::model) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(Seconds).serialize(to)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let read = Option::<Seconds>::deserialize(from)?;
        Ok(read.map(|Seconds(duration)| duration))
    }
}

/// The same where none is zero.
pub(super) mod or_zero {
    use super::*;

    pub(in crate::model) fn serialize<S: Serializer>(
        duration: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Seconds(*duration).serialize(to)
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        maybe::deserialize(from).map(Option::unwrap_or_default)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Microseconds are all that anybody may care for.
        let micros = self.0.saturating_add(Duration::from_nanos(500)).as_micros();
        match u64::try_from(micros / 1_000_000) {
            Ok(whole) if micros.is_multiple_of(1_000_000) => serializer.serialize_u64(whole),
            _ => serializer.serialize_f64(micros as f64 / 1e6),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                if seconds > SECONDS_LIMIT {
                    return Err(E::custom(format!(
                        "{seconds} is too much: wanted {EXPECTED}, at most {SECONDS_LIMIT}"
                    )));
                }
                Ok(Seconds(Duration::from_secs(seconds)))
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
                let whole = u64::try_from(seconds)
                    .map_err(|_| E::custom(format!("{seconds} is negative: wanted {EXPECTED}")))?;
                self.visit_u64(whole)
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
                let limited = Some(seconds).filter(|seconds| *seconds <= SECONDS_LIMIT as f64);
                limited.and_then(Seconds::from_f64).ok_or_else(|| {
                    E::custom(format!("{seconds} is no duration: wanted {EXPECTED}"))
                })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
                Some(text)
                    .filter(|text| text.len() <= WORDS_LIMIT)
                    .and_then(Seconds::from_words)
                    .ok_or_else(|| E::custom(format!("'{text}' is no duration: wanted {EXPECTED}")))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Duration, String> {
        serde_json::from_str::<Seconds>(json)
            .map(|seconds| seconds.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_above_the_documents_maximum_is_refused_in_every_spelling() {
        for json in ["1000000000000", "1e12", "999999999999.5"] {
            assert!(read(json).is_ok(), "{json}");
        }
        for json in ["1000000000001", "1000000000001.0", "1e13"] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn words_longer_than_the_document_allows_are_refused() {
        assert!(read(&format!("\"{}s\"", "0".repeat(WORDS_LIMIT - 1))).is_ok());
        assert!(read(&format!("\"{}s\"", "0".repeat(WORDS_LIMIT))).is_err());
    }

    #[test]
    fn a_duration_is_a_number_or_words() {
        for (json, millis) in [
            ("90", 90_000),
            ("0.5", 500),
            ("\"10\"", 10_000),
            ("\"90s\"", 90_000),
            ("\"10m\"", 600_000),
            ("\"1h30m\"", 5_400_000),
            ("\"1h 30m\"", 5_400_000),
            ("\"250ms\"", 250),
            ("\"1.5s\"", 1500),
            ("\"1.5m\"", 90_000),
            ("\"2min 3sec\"", 123_000),
            ("0", 0),
        ] {
            assert_eq!(read(json), Ok(Duration::from_millis(millis)), "{json}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_was_wanted() {
        for json in [
            "-1",
            "-0.5",
            "\"\"",
            "\" \"",
            "\"soon\"",
            "\"10x\"",
            "\"s\"",
            "\"-5s\"",
            "\"1e9\"",
            "\"1.2.3s\"",
            "1e300",
            "true",
            "null",
            "[]",
            "\"5 5\"",
            "\"\u{664}s\"",
        ] {
            let complaint = read(json).expect_err(json);
            assert!(complaint.contains("90s"), "{json}: {complaint}");
        }
    }

    #[test]
    fn whole_seconds_are_written_without_a_point() {
        let write = |millis| {
            serde_json::to_string(&Seconds(Duration::from_millis(millis))).expect("a number")
        };
        assert_eq!(write(90_000), "90");
        assert_eq!(write(1500), "1.5");
    }
}
