//! A calendar time as the API writes it: RFC 3339 text with microseconds. For `#[serde(with)]`.

use crate::time::WallTime;
use serde::{Deserialize, Deserializer, Serializer, de};
use std::fmt;

pub(super) fn serialize<S: Serializer>(time: &WallTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<WallTime, D::Error> {
    struct Reader;
    impl de::Visitor<'_> for Reader {
        type Value = WallTime;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time as RFC 3339 writes it")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<WallTime, E> {
            text.parse().map_err(E::custom)
        }
    }
    from.deserialize_str(Reader)
}

/// The same where there may be none.
pub(super) mod maybe {
    use super::*;

    pub(in crate::model) fn serialize<S: Serializer>(
        time: &Option<WallTime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.collect_str(time),
            None => to.serialize_none(),
        }
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<WallTime>, D::Error> {
        #[derive(Deserialize)]
        struct Stamp(#[serde(with = "super")] WallTime);
        Ok(Option::<Stamp>::deserialize(from)?.map(|Stamp(time)| time))
    }
}
