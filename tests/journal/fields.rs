//! The names of what is stored, read off the source: a field that no story fills is seen here all
//! the same.

use std::fs;
use std::path::Path;

/// The rooms' stored types.
const PLACES: [&str; 4] = [
    "src/power/stored.rs",
    "src/power/stored",
    "src/rack/stored.rs",
    "src/rack/stored",
];

/// Every field of a stored type, with its type, under the name that is written.
pub(crate) fn stored() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for place in PLACES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        let files = match path.is_dir() {
            true => fs::read_dir(path)
                .expect("it can be listed")
                .map(|entry| entry.expect("an entry").path())
                .collect(),
            false => vec![path],
        };
        for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(file).expect("a file of the source");
            fields(&text, &mut found);
        }
    }
    found
}

/// The fields of the types of a file that are written: `(type, field)`.
pub(crate) fn fields(text: &str, found: &mut Vec<(String, String)>) {
    let (mut is_written, mut of, mut renamed) = (false, None, None);
    let lines = text.lines().map(str::trim_end);
    for line in lines.filter(|line| !line.trim_start().starts_with("//")) {
        if line.starts_with("#[derive(") {
            is_written = line.contains("Serialize");
        }
        let mut words = line.split([' ', '(', ')', '{', '}', ',']).peekable();
        if !line.starts_with(' ') {
            let head = words.find(|word| ["struct", "enum", "}"].contains(word));
            of = head.and(words.next()).filter(|_| is_written);
            continue;
        }
        let Some(of) = of else { continue };
        while let Some(word) = words.next() {
            if word == "rename" {
                renamed = words.nth(1).map(|name| name.trim_matches(['"', ']']));
            } else if word.starts_with(char::is_uppercase) {
                // A variant: its name in the journal is not that of its first field.
                renamed = None;
            } else if let Some(field) = word.strip_suffix(':')
                && !field.is_empty()
                && !field.contains(':')
            {
                let name = renamed.take().unwrap_or(field);
                found.push((of.to_owned(), name.to_owned()));
            }
        }
    }
}

#[test]
fn fields_are_found_under_the_names_that_are_written() {
    let text = r#"
#[derive(Serialize)]
struct One {
    /// No field: a comment.
    pub(super) plain: Option<crate::Power>,
    #[serde(default, rename = "written")]
    named: u32,
}

#[derive(Clone)]
struct NotWritten {
    left: u32,
}

#[derive(Clone, Deserialize, Serialize)]
pub(crate) enum Two {
    #[serde(rename = "first")]
    First { within: u32, other: Next },
}
"#;
    let mut found = Vec::new();
    fields(text, &mut found);
    let found: Vec<String> = found
        .iter()
        .map(|(of, name)| format!("{of}.{name}"))
        .collect();
    assert_eq!(
        found,
        ["One.plain", "One.written", "Two.within", "Two.other"]
    );
}
