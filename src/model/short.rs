//! Short ids of tasks and batches, for people: `t:7k3f9`, `b:4m2xz`.
//!
//! Five letters of the random part of the id, so that two made at the same moment look different.
//! No node and no group can be called so: their names have no colon. The rack makes no id whose
//! short one is taken among those it remembers.

use std::fmt;
use uuid::Uuid;

/// The letters of a short id: 25 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Short(u32);

impl Short {
    /// Of that id.
    pub fn of(id: Uuid) -> Self {
        let bytes = id.into_bytes();
        let last = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        Self(last % (1 << (BITS * COUNT)))
    }

    /// From its five letters, in capitals, too.
    pub fn parse(word: &str) -> Option<Self> {
        if word.chars().count() != COUNT as usize {
            return None;
        }
        let mut value = 0;
        for letter in word.chars() {
            let digit = LETTERS.find(letter.to_ascii_lowercase())?;
            value = (value << BITS) | u32::try_from(digit).ok()?;
        }
        Some(Self(value))
    }

    /// A task's, as people write it.
    pub fn task(id: Uuid) -> String {
        format!("{TASK}{}", Self::of(id))
    }

    pub fn batch(id: Uuid) -> String {
        format!("{BATCH}{}", Self::of(id))
    }

    /// Of a task or of a batch, as people write it.
    pub fn written(word: &str) -> Option<(bool, Self)> {
        let task = word.strip_prefix(TASK).and_then(Self::parse);
        let batch = || word.strip_prefix(BATCH).and_then(Self::parse);
        let is_task = task.is_some();
        task.or_else(batch).map(|short| (is_task, short))
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..COUNT).rev() {
            let digit = (self.0 >> (BITS * place)) & ((1 << BITS) - 1);
            f.write_str(&LETTERS[digit as usize..=digit as usize])?;
        }
        Ok(())
    }
}

const TASK: &str = "t:";
const BATCH: &str = "b:";
const COUNT: u32 = 5;
const BITS: u32 = 5;
/// Crockford's: none of them is taken for another one.
const LETTERS: &str = "0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_is_read_as_it_is_written() {
        let id = "0197a5c3-7d11-7b6e-8f3a-0123456789ab"
            .parse()
            .expect("an id");
        // The last 25 bits are 0x16789ab.
        assert_eq!(Short::task(id), "t:pf2db");
        assert_eq!(Short::written("t:PF2DB"), Some((true, Short::of(id))));
        assert_eq!(Short::written("b:pf2db"), Some((false, Short::of(id))));
        for bad in ["t:", "t:pf2d", "t:pf2dbb", "t:pf2du", "x:pf2db", "pf2db"] {
            assert_eq!(Short::written(bad), None, "{bad}");
        }
    }
}
