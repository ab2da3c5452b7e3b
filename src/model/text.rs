//! Text that people wrote, and others will read on a terminal or in a log: it is data, and moves no cursor.

use std::fmt::Write;

/// The most letters of a reason.
pub const REASON_LIMIT: usize = 500;

/// Whether a character does something else than to be seen: control characters (C0, C1, DEL), line and paragraph
/// separators, and the marks that turn the direction of writing.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// The text with such characters as escapes, `\\u{1b}`.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            write!(escaped, "\\u{{{:x}}}", u32::from(letter)).expect("text grows");
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// At most so many bytes of a text.
pub fn beginning(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let whole = (0..=most).rev().find(|at| text.is_char_boundary(*at));
    format!("{}...", &text[..whole.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_the_writing_is_shown_as_an_escape() {
        assert_eq!(escaped("new fans: Lüfter 風"), "new fans: Lüfter 風");
        assert_eq!(
            escaped("x\n<0>y\x1b[31m\u{9b}2J\u{202e}z"),
            "x\\u{a}<0>y\\u{1b}[31m\\u{9b}2J\\u{202e}z"
        );
    }
}
