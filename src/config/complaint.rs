//! Mistakes with their places, collected instead of stopping at the first, and the warnings beside
//! them.

use crate::model::escaped;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// One mistake: what is wrong, where, and what to write instead.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Complaint {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub text: String,
}

/// `file:line:column: text`, as compilers write it and editors read it.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            text,
        } = self;
        write!(f, "{file}:{line}:{column}: {text}")
    }
}

/// A value with the place where it was typed.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub span: Range<usize>,
}

impl<T> At<T> {
    pub(super) fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }

    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> At<U> {
        At::new(map(self.value), self.span)
    }
}

/// What was found in one file so far. A mistake that is met twice (once per node that shares it) is
/// one.
pub(super) struct Findings<'t> {
    file: String,
    text: &'t str,
    complaints: BTreeSet<Complaint>,
    warnings: BTreeSet<Complaint>,
    /// Parts of the file could not be read: what seems to be missing may be there.
    partial: bool,
}

impl<'t> Findings<'t> {
    pub(super) fn new(path: &Path, text: &'t str) -> Self {
        Findings {
            file: escaped(&path.display().to_string()),
            text,
            complaints: BTreeSet::new(),
            warnings: BTreeSet::new(),
            partial: false,
        }
    }

    /// Something typed at `span` is wrong.
    pub(super) fn complain(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let complaint = self.at(span, text.into());
        self.complaints.insert(complaint);
    }

    /// Something is missing at `span`; not said where parts of the file could not be read.
    pub(super) fn missing(&mut self, span: &Range<usize>, text: impl Into<String>) {
        if !self.partial {
            self.complain(span, text);
        }
    }

    /// The file is no TOML at `span`.
    pub(super) fn unreadable(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.complain(span, text);
        self.partial = true;
    }

    /// Something in another file is wrong.
    pub(super) fn complain_in(&mut self, file: &Path, line: usize, text: impl Into<String>) {
        self.complaints.insert(Complaint {
            file: escaped(&file.display().to_string()),
            line,
            column: 1,
            text: escaped(&text.into()),
        });
    }

    /// Something typed at `span` is allowed, but better not so.
    pub(super) fn warn(&mut self, span: &Range<usize>, text: impl Into<String>) {
        let warning = self.at(span, text.into());
        self.warnings.insert(warning);
    }

    /// A place as it is written in front of what is said of it: `fleet.toml:3:1`.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        let Complaint {
            file, line, column, ..
        } = self.at(span, String::new());
        format!("{file}:{line}:{column}")
    }

    /// The line of a place.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        self.at(span, String::new()).line
    }

    /// The warnings, or the complaints where there are any; both in the order of the file.
    pub(super) fn verdict(self) -> Result<Vec<String>, Vec<Complaint>> {
        if self.complaints.is_empty() {
            Ok(self.warnings.iter().map(Complaint::to_string).collect())
        } else {
            Err(self.complaints.into_iter().collect())
        }
    }

    fn at(&self, span: &Range<usize>, text: String) -> Complaint {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Complaint {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            text: escaped(&text),
        }
    }
}

/// What to write instead of a word: the choice that looks most like it, or all of them where none
/// does.
pub(super) fn nearest<'c>(typed: &str, choices: impl IntoIterator<Item = &'c str>) -> String {
    let mut choices: Vec<&str> = choices.into_iter().collect();
    // A key that may be written in two ways comes twice.
    let mut seen = BTreeSet::new();
    choices.retain(|choice| seen.insert(*choice));
    match closest(typed, choices.iter().copied()) {
        Some(choice) => format!("did you mean '{choice}'?"),
        None => format!("write one of {}", choices.join(", ")),
    }
}

/// The choice that looks most like what was typed, if any looks like it.
pub(super) fn closest<'c>(
    typed: &str,
    choices: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let allowed = (typed.chars().count() / 3).max(1);
    // Without regard to case.
    let typed = typed.to_lowercase();
    let distance = |choice: &str| strsim::levenshtein(&typed, &choice.to_lowercase());
    let best = choices
        .into_iter()
        .map(|choice| (distance(choice), choice))
        .min()?;
    (best.0 <= allowed).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let mut findings = Findings::new(Path::new("x.toml"), "a\nää b\n");
        findings.complain(&(7..8), "here");
        let complaint = &findings.verdict().unwrap_err()[0];
        assert_eq!(complaint.to_string(), "x.toml:2:4: here");
    }

    #[test]
    fn the_word_that_was_meant_is_found() {
        let keys = ["sync_interval", "name", "max_transitions"];
        assert_eq!(
            nearest("sync_intervall", keys),
            "did you mean 'sync_interval'?"
        );
        assert_eq!(nearest("Name", keys), "did you mean 'name'?");
        assert_eq!(
            nearest("colour", keys),
            "write one of sync_interval, name, max_transitions"
        );
        assert_eq!(
            nearest("colour", ["name", "name", "port"]),
            "write one of name, port"
        );
    }
}
