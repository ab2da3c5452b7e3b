//! Text that people wrote, and others will read on a terminal or in a log: it is data, and moves no cursor.

use std::fmt::Write;

/// The most letters of a reason.
pub const REASON_LIMIT: usize = 500;

/// The most bytes of the name of a user who logs in, or of a token.
pub const LOGIN_NAME_LIMIT: usize = 255;

/// Whether a character does something else than to be seen: control characters (C0, C1, DEL), line and paragraph
/// separators, the marks that turn the direction of writing, and what no one sees that a text may be smuggled in. The
/// joiners (200Ch, 200Dh) are letters to some scripts.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{061c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

/// So many of something: `1 node`, `2 nodes`.
pub fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
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

/// JSON that says the same with such characters as `\\u001b`: it can be shown on a terminal or in a page as it is. JSON
/// has control characters below 20h as escapes anyway; those between its values are line breaks of ours.
pub fn visible_json(json: String) -> String {
    // Nearly all is plain ASCII.
    if json.is_ascii() && !json.contains('\u{7f}') {
        return json;
    }
    let mut visible = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if letter >= '\u{7f}' && is_hidden(letter) {
            // None of them is beyond FFFFh.
            write!(visible, "\\u{:04x}", u32::from(letter)).expect("text grows");
        } else {
            visible.push(letter);
        }
    }
    visible
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

    #[test]
    fn json_says_the_same_and_shows_all_of_it() {
        let said =
            serde_json::json!({"a\u{202e}": ["x\u{9b}2J", "\u{7f}\u{200b}", "Lüfter 風", "\n"]});
        for json in [
            serde_json::to_string(&said).expect("JSON"),
            serde_json::to_string_pretty(&said).expect("JSON"),
        ] {
            let visible = visible_json(json);
            let hidden = |letter: char| letter != '\n' && is_hidden(letter);
            assert!(!visible.contains(hidden), "{visible}");
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&visible).expect("JSON"),
                said
            );
        }
    }
}
