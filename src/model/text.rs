//! Text that people wrote, and others will read on a terminal or in a log: it is data, and moves no
//! cursor.

use serde::Serialize;
use std::fmt::Write;
use std::io;

/// The most letters of a reason.
pub const REASON_LIMIT: usize = 500;

/// The most bytes of the name of a user who logs in, or of a token.
pub const LOGIN_NAME_LIMIT: usize = 255;

/// Whether a character does something else than to be seen: control characters (C0, C1, DEL), line
/// and paragraph separators, the marks that turn the direction of writing, and what no one sees
/// that a text may be smuggled in. The joiners (200Ch, 200Dh) are letters to some scripts.
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

/// JSON that says the same with such characters as `\\u001b`: it can be shown on a terminal or in a
/// page as it is. JSON has control characters below 20h as escapes anyway; those between its values
/// are line breaks of ours.
pub fn visible_json(json: String) -> String {
    if is_plain(json.as_bytes()) {
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

/// A value as such JSON, behind what `text` holds already. A list of a whole rack is megabytes, and
/// is written where it stays.
pub fn write_visible_json(text: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    let json = write_json(text, value);
    if is_plain(&json) {
        return json;
    }
    visible_json(String::from_utf8(json).expect("JSON is text")).into_bytes()
}

/// A value as JSON, behind what `text` holds already.
pub fn write_json(text: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    let mut sink = JsonSink(text);
    serde_json::to_writer(&mut sink, value)
        .expect("our JSON types have text keys and finite numbers");
    sink.0
}

/// Whether text has no character but plain ASCII below DEL, as nearly all JSON of ours. Eight bytes
/// at a time: a byte that is 7Fh has its highest bit set when one is added, and the others below
/// 80h have not, and carry nothing.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let beyond =
        |word: u64| (word | word.wrapping_add(0x0101_0101_0101_0101)) & 0x8080_8080_8080_8080;
    words
        .iter()
        .all(|word| beyond(u64::from_le_bytes(*word)) == 0)
        && rest.iter().all(|byte| *byte < 0x7f)
}

/// Where JSON is written: three of four pieces are one byte of its grammar, for which appending a
/// slice costs more than the byte.
struct JsonSink(Vec<u8>);

impl io::Write for JsonSink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece)?;
        Ok(piece.len())
    }

    #[inline]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match piece {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(piece),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    fn plain_is_what_has_nothing_from_del_on_wherever_it_stands() {
        for length in 0..40 {
            assert!(is_plain(&vec![b'~'; length]), "{length}");
            for at in 0..length {
                for byte in [0x7f, 0x80, 0xc2, 0xff] {
                    let mut text = vec![b'~'; length];
                    text[at] = byte;
                    assert!(!is_plain(&text), "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn json_behind_a_text_is_the_same_as_json_made_visible() {
        for value in ["plain \"text\" \\", "x\u{9b}2J\u{7f}", "Lüfter 風\n"] {
            let value = serde_json::json!({"a": [value, 1, null], "b": {}});
            let wanted = visible_json(format!("data: {value}"));
            let written = write_visible_json(b"data: ".to_vec(), &value);
            assert_eq!(String::from_utf8(written).expect("text"), wanted);
        }
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
