//! Enums whose variants are words: one list of words each, which JSON, the configuration, the
//! OpenAPI document and people all read from here.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// An enum of which every variant is one word (or a few).
pub trait Words: Copy + PartialEq + fmt::Debug + 'static {
    /// What the words are words for, as a complaint says it: "operation".
    const WHAT: &'static str;

    /// The variant's word.
    fn word(self) -> &'static str;

    /// Every variant, in the order of the declaration.
    fn all() -> Vec<Self>;

    /// The variant that `word` names; case and blanks matter.
    fn from_word(word: &str) -> Option<Self> {
        Self::all()
            .into_iter()
            .find(|variant| variant.word() == word)
    }

    /// The same, with the short words that requests may use as well.
    fn from_asked(word: &str) -> Option<Self> {
        Self::from_word(word)
    }

    /// Every word, in the order of the declaration.
    fn words() -> Vec<&'static str> {
        Self::all().into_iter().map(Self::word).collect()
    }

    /// What a word that names nothing is told.
    fn complaint(word: &str) -> String {
        let known = Self::words().join(", ");
        format!("'{word}' is no {}: there are {known}", Self::WHAT)
    }
}

/// Declares an enum with its words, and short words that requests may use as well: `ALL`, `name()`,
/// `Display` and [`Words`] come with it.
macro_rules! word_list {
    (
        $(#[$about:meta])*
        pub enum $name:ident ($what:literal) {
            $( $(#[$doc:meta])* $variant:ident = $word:literal $(| $short:literal)*, )+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $( $(#[$doc])* $variant, )+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$variant),+];

            pub const fn name(self) -> &'static str {
                match self {
                    $( $name::$variant => $word, )+
                }
            }
        }

        impl $crate::model::words::Words for $name {
            const WHAT: &'static str = $what;
            fn word(self) -> &'static str {
                self.name()
            }
            fn all() -> Vec<$name> {
                $name::ALL.to_vec()
            }
            fn from_word(word: &str) -> Option<$name> {
                match word {
                    $( $word => Some($name::$variant), )+
                    _ => None,
                }
            }
            fn from_asked(word: &str) -> Option<$name> {
                match word {
                    $( $word $(| $short)* => Some($name::$variant), )+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use word_list;

/// The same with serde.
macro_rules! words {
    ( $(#[$about:meta])* pub enum $name:ident $($rest:tt)* ) => {
        $crate::model::words::word_list! { $(#[$about])* pub enum $name $($rest)* }
        $crate::model::words::as_words!($name);
    };
}
pub(crate) use words;

/// Writes an enum of [`Words`] as its word and reads it back; a word that names nothing is a
/// mistake, as it has to be in a request. What an answer holds is a [`Word`] instead.
macro_rules! as_words {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str($crate::model::words::Words::word(*self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
                <$name as $crate::model::words::Words>::from_asked(&word).ok_or_else(|| {
                    let complaint = <$name as $crate::model::words::Words>::complaint(&word);
                    serde::de::Error::custom(complaint)
                })
            }
        }
    };
}
pub(crate) use as_words;

/// A word in an answer. A reader that is older than the writer may not know it: it keeps the text,
/// to show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word<T> {
    /// A word that this program knows.
    Known(T),
    /// A word that it does not know.
    Other(Box<str>),
}

impl<T: Words> Word<T> {
    /// The word that `text` is.
    pub fn of(text: &str) -> Self {
        match T::from_word(text) {
            Some(value) => Self::Known(value),
            None => Self::Other(text.into()),
        }
    }

    /// The value, where this program knows the word.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Other(_) => None,
        }
    }

    /// The word itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(value) => value.word(),
            Self::Other(word) => word,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

/// What a missing member reads as: no word at all.
impl<T> Default for Word<T> {
    fn default() -> Self {
        Self::Other("".into())
    }
}

impl<T: Words> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(*other)
    }
}

impl<T: Words> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<T: Words> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Words> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        Ok(match T::from_word(&text) {
            Some(value) => Self::Known(value),
            None => Self::Other(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Operation;

    #[test]
    fn a_word_of_a_newer_daemon_is_kept_and_shown() {
        let read = |json: &str| serde_json::from_str::<Word<Operation>>(json).expect("a word");
        assert_eq!(read("\"power on\""), Operation::PowerOn);
        let newer = read("\"warm dance\"");
        assert_eq!(newer.known(), None);
        assert_eq!(newer.to_string(), "warm dance");
        assert_eq!(
            serde_json::to_string(&newer).expect("JSON"),
            "\"warm dance\""
        );
    }

    #[test]
    fn every_word_leads_back_to_its_variant() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_word(operation.name()), Some(operation));
        }
        assert_eq!(
            Operation::from_word("Power on"),
            None,
            "as in Ironic, case matters"
        );
    }
}
