//! One table of the file, read key by key: each key is asked for with its type and range, and what
//! was never asked for is unknown.

use super::complaint::{At, Findings, nearest};
use crate::model::{Seconds, Words, is_hidden};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table that is being read.
pub(super) struct Section<'t> {
    /// As it is written: `[rack]`, `[[node]]`.
    pub name: &'static str,
    /// Where it begins.
    pub span: Range<usize>,
    table: &'t DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn new(name: &'static str, table: &'t DeTable<'t>, span: Range<usize>) -> Self {
        Section {
            name,
            span,
            table,
            asked: Vec::new(),
        }
    }

    /// The value of a key as it stands there.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.table
            .iter()
            .find_map(|(name, value)| (name.get_ref() == key).then_some(value))
    }

    /// All keys as they stand there, for tables whose keys are names.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (At<&'t str>, &'t Spanned<DeValue<'t>>)> + use<'t> {
        let table = self.table;
        table
            .iter()
            .map(|(name, value)| (At::new(&**name.get_ref(), name.span()), value))
    }

    pub(super) fn text(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<At<String>> {
        let value = self.value(key)?;
        text_of(key, value, findings)
    }

    /// A text that is not empty.
    pub(super) fn nonempty(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<At<String>> {
        let text = self.text(key, findings)?;
        if text.value.trim().is_empty() {
            findings.complain(
                &text.span,
                format!("{key} is empty: write something or leave it out"),
            );
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn flag(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<At<bool>> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(key, value, "true or false", findings);
        }
        Some(At::new(flag?, value.span()))
    }

    /// A whole number within a range.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        findings: &mut Findings<'_>,
    ) -> Option<At<u64>> {
        let value = self.value(key)?;
        integer_of(key, value, range, findings)
    }

    /// As [`integer`](Self::integer), for ranges that fit 32 bits.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        findings: &mut Findings<'_>,
    ) -> Option<At<u32>> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        let number = self.integer(key, range, findings)?;
        Some(number.map(|number| u32::try_from(number).expect("within a range of 32 bits")))
    }

    /// A number within a range.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
        findings: &mut Findings<'_>,
    ) -> Option<At<f64>> {
        let value = self.value(key)?;
        let digits = match value.get_ref() {
            DeValue::Float(float) => float.as_str().to_owned(),
            DeValue::Integer(integer) => integer.as_str().to_owned(),
            _ => {
                wrong_type(key, value, "a number", findings);
                return None;
            }
        };
        // Infinity and "not a number" are in no range.
        let number = digits.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            out_of_range(key, &digits, &range, &value.span(), findings);
        }
        Some(At::new(number?, value.span()))
    }

    /// A duration within a range.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        findings: &mut Findings<'_>,
    ) -> Option<At<Duration>> {
        let value = self.value(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) => {
                let hint = format!("{key} needs a unit: write \"{number}s\" or the like");
                findings.complain(&value.span(), hint);
                return None;
            }
            _ => text_of(key, value, findings)?,
        };
        match parse_duration(&text.value) {
            Ok(duration) if range.contains(&duration) => Some(At::new(duration, text.span)),
            Ok(_) => {
                let (least, most) = (write_duration(*range.start()), write_duration(*range.end()));
                let complaint = format!(
                    "{key} cannot be \"{}\": write a duration from \"{least}\" to \"{most}\"",
                    text.value
                );
                findings.complain(&text.span, complaint);
                None
            }
            Err(why) => {
                findings.complain(&text.span, format!("{key}: {why}"));
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        findings: &mut Findings<'_>,
    ) -> Option<At<T>> {
        let text = self.text(key, findings)?;
        let meant = words.iter().find(|(word, _)| *word == text.value);
        if meant.is_none() {
            let hint = nearest(&text.value, words.iter().map(|(word, _)| *word));
            findings.complain(
                &text.span,
                format!("{key} cannot be \"{}\": {hint}", text.value),
            );
        }
        Some(At::new(meant?.1, text.span))
    }

    /// A word of the vocabulary.
    pub(super) fn known<T: Words>(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<At<T>> {
        let words: Vec<(&str, T)> = T::all()
            .into_iter()
            .map(|known| (known.word(), known))
            .collect();
        self.word(key, &words, findings)
    }

    /// A list, each element read by `read`; elements that are wrong are left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
        read: impl Fn(&'t Spanned<DeValue<'t>>, &mut Findings<'_>) -> Option<At<T>>,
    ) -> Option<At<Vec<At<T>>>> {
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            wrong_type(key, value, "a list in brackets", findings);
            return None;
        };
        let elements = array.iter().filter_map(|element| read(element, findings));
        Some(At::new(elements.collect(), value.span()))
    }

    /// A list of texts.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<At<Vec<At<String>>>> {
        self.list(key, findings, |element, findings| {
            text_of(key, element, findings)
        })
    }

    /// The tables of `[[name]]`.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        name: &'static str,
        findings: &mut Findings<'_>,
    ) -> Vec<Self> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            findings.complain(&value.span(), format!("there may be several: write {name}"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for element in array.iter() {
            match element.get_ref().as_table() {
                Some(table) => sections.push(Section::new(name, table, element.span())),
                None => wrong_type(key, element, "a table", findings),
            }
        }
        sections
    }

    /// The table `[name]`.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        name: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => return Some(Section::new(name, table, value.span())),
            DeValue::Array(_) => {
                findings.complain(&value.span(), format!("there is only one: write {name}"));
            }
            _ => wrong_type(key, value, "a table", findings),
        }
        None
    }

    /// Complains about every key that was not asked for; `hints` knows better about some.
    pub(super) fn finish(self, hints: &[(&str, &str)], findings: &mut Findings<'_>) {
        for name in self.table.keys() {
            let typed: &str = name.get_ref();
            if self.asked.contains(&typed) {
                continue;
            }
            let hint = match hints.iter().find(|(key, _)| *key == typed) {
                Some((_, hint)) => (*hint).to_owned(),
                None => nearest(typed, self.asked.iter().copied()),
            };
            let complaint = format!("{} has no key '{typed}': {hint}", self.name);
            findings.complain(&name.span(), complaint);
        }
    }
}

/// A text, or a complaint. Names, addresses and paths are shown in many places: nothing may be in
/// them that is not seen.
pub(super) fn text_of(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    findings: &mut Findings<'_>,
) -> Option<At<String>> {
    match value.get_ref() {
        DeValue::String(text) if text.chars().any(is_hidden) => {
            // Without the text: it may be a key.
            let complaint =
                format!("{key} holds control characters, line breaks or marks that are not seen");
            findings.complain(&value.span(), complaint);
            None
        }
        DeValue::String(text) => Some(At::new(text.clone().into_owned(), value.span())),
        _ => {
            wrong_type(key, value, "a text in quotes", findings);
            None
        }
    }
}

/// A whole number within a range, or a complaint.
pub(super) fn integer_of(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    range: RangeInclusive<u64>,
    findings: &mut Findings<'_>,
) -> Option<At<u64>> {
    let Some(integer) = value.get_ref().as_integer() else {
        wrong_type(key, value, "a whole number", findings);
        return None;
    };
    let number = u64::from_str_radix(integer.as_str(), integer.radix());
    match number {
        Ok(number) if range.contains(&number) => Some(At::new(number, value.span())),
        _ => {
            out_of_range(key, &integer.to_string(), &range, &value.span(), findings);
            None
        }
    }
}

fn out_of_range<T: Display>(
    key: &str,
    typed: &str,
    range: &RangeInclusive<T>,
    span: &Range<usize>,
    findings: &mut Findings<'_>,
) {
    let (least, most) = (range.start(), range.end());
    findings.complain(
        span,
        format!("{key} cannot be {typed}: write a number from {least} to {most}"),
    );
}

pub(super) fn wrong_type(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    wanted: &str,
    findings: &mut Findings<'_>,
) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    findings.complain(&value.span(), format!("{key} is {found}: write {wanted}"));
}

/// A duration such as `500ms`, `60s` or `1h30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = Seconds::from_words_with_unit(text).map(|seconds| seconds.0);
    duration.ok_or_else(|| {
        let problem = match text.trim() {
            "" => "the duration is empty".to_owned(),
            _ => format!("\"{text}\" is no duration"),
        };
        format!("{problem}: write a number and a unit (ms, s, m, h, d), like \"60s\" or \"1h30m\"")
    })
}

/// A duration as [`parse_duration`] reads it, in the largest unit that is exact.
pub(super) fn write_duration(duration: Duration) -> String {
    Seconds(duration).in_words()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("60s", 60_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            (" 1m 5s ", 65_000),
            ("0s", 0),
            ("1.5s", 1500),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "60",
            "s",
            "-1s",
            "1.5",
            "1 hour",
            "1x",
            "99999999999999999999s",
            "s5",
            "5µs",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in 0_u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse_duration(&write_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-zé ]{0,12}|\\PC{0,8}") {
            let _ = parse_duration(&text);
        }
    }
}
