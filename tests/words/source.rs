//! The texts in the source that are sentences: more than one word, and neither for the log nor for
//! those who change it.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a room, without its tests and without what the journal keeps.
pub(crate) fn files(room: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root().join(room), &mut found);
    let names = found
        .iter()
        .filter_map(|path| path.strip_prefix(root()).ok());
    let mut names: Vec<String> = names.map(|path| path.display().to_string()).collect();
    names.retain(|name| !name.contains("tests") && !name.contains("stored"));
    names.sort();
    names
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of the source") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => collect(&path, files),
            false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
            false => {}
        }
    }
}

/// The sentences of a source text, in their order, each once.
pub(crate) fn sentences(source: &str) -> Vec<String> {
    let own = source
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let own = own
        .split("#[cfg(test)]\n        mod tests")
        .next()
        .unwrap_or_default();
    let mut sentences: Vec<String> = Vec::new();
    for (before, text) in texts(own) {
        if is_sentence(&text) && !is_for_us(before) && !sentences.contains(&text) {
            sentences.push(text);
        }
    }
    sentences
}

/// Whether it has more than one word. `name:kind` is none: so shapes and parameters are written.
fn is_sentence(text: &str) -> bool {
    // The beginning of an event in a stream: names of fields, and JSON.
    if text.contains("data: {{") {
        return false;
    }
    let words = text.split_whitespace();
    let is_shape = |word: &str| !word.contains('{') && word.trim_end_matches(':').contains(':');
    let words = words.filter(|word| word.chars().any(char::is_alphabetic) && !is_shape(word));
    words.count() > 1
}

/// Whether what stands before a text makes it one for the log, or for those who change the source.
fn is_for_us(before: &str) -> bool {
    let statement = before.rsplit([';', '{', '}']).next().unwrap_or_default();
    let ours = [
        "log::",
        ".expect(",
        "assert",
        "panic!",
        "unreachable!",
        "reason =",
    ];
    ours.iter().any(|word| statement.contains(word))
}

/// Every text in quotes, with all that stands before it.
fn texts(source: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = source.char_indices().peekable();
    while let Some((at, letter)) = rest.next() {
        let comment = source[at..].starts_with("//");
        match letter {
            '/' if comment => while rest.next_if(|(_, letter)| *letter != '\n').is_some() {},
            // A letter in quotes, which may be a quote.
            '\'' if source[at..].starts_with("'\"'") => {
                rest.next();
                rest.next();
            }
            '"' => {
                let mut text = String::new();
                while let Some((_, letter)) = rest.next_if(|(_, letter)| *letter != '"') {
                    match letter {
                        '\\' => escaped(&mut rest, &mut text),
                        '\n' => text.push(' '),
                        letter => text.push(letter),
                    }
                }
                rest.next();
                found.push((&source[..at], text));
            }
            _ => {}
        }
    }
    found
}

fn escaped(rest: &mut std::iter::Peekable<std::str::CharIndices<'_>>, text: &mut String) {
    match rest.next() {
        // The text goes on where the next line begins.
        Some((_, '\n')) => while rest.next_if(|(_, letter)| letter.is_whitespace()).is_some() {},
        Some((_, 'n' | 'r')) => text.push(' '),
        Some((_, letter)) => text.push(letter),
        None => {}
    }
}
