//! Whole numbers as JSON has them: `4.0` is one too, for writers that know no other kind.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

fn whole<T: TryFrom<u64>, E: Error>(number: &Number) -> Result<T, E> {
    let float = || {
        let float = number.as_f64()?;
        // Beyond 2^53 a float no longer tells whole numbers apart.
        let fits = float.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&float);
        fits.then_some(float as u64)
    };
    let found = number
        .as_u64()
        .or_else(float)
        .and_then(|number| T::try_from(number).ok());
    found.ok_or_else(|| E::custom(format!("{number} is no whole number in its range")))
}

pub(super) fn one<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    whole(&Number::deserialize(from)?)
}

/// One number or none.
pub(super) fn maybe<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::<Number>::deserialize(from)?
        .as_ref()
        .map(whole)
        .transpose()
}

/// One number, 0 where there is none.
pub(super) fn or_zero<'de, T: TryFrom<u64> + Default, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    maybe(from).map(Option::unwrap_or_default)
}

pub(super) fn many<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    Vec::<Number>::deserialize(from)?
        .iter()
        .map(whole)
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::model::{BatchStart, RawRequest};

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        let parallel = |text: &str| {
            let body =
                format!(r#"{{"nodes": ["n1"], "operation": "power on", "max_parallel": {text}}}"#);
            serde_json::from_str::<BatchStart>(&body)
                .map(|batch| batch.max_parallel)
                .ok()
        };
        assert_eq!(parallel("4"), Some(4));
        assert_eq!(parallel("4.0"), Some(4));
        assert_eq!(parallel("null"), Some(0));
        for bad in ["4.5", "-1", "-1.0", "1e300", "4294967296", "\"4\""] {
            assert_eq!(parallel(bad), None, "{bad}");
        }
        let raw = r#"{"net_fn": 6.0, "command": 1, "data": [1.0, 255]}"#;
        let raw: RawRequest = serde_json::from_str(raw).expect("a command");
        assert_eq!((raw.net_fn, raw.data), (6, vec![1, 255]));
        assert!(serde_json::from_str::<RawRequest>(r#"{"net_fn": 6, "command": 256}"#).is_err());
    }
}
