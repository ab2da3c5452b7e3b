//! Files of the repository that hold what the program makes: its sentences, its API document, a
//! trace. `tests/renew` writes them anew, with `UPDATE_GOLDENS=1`, and somebody reads the
//! difference.

use std::path::Path;

/// Compares `found` with a file of the repository, or writes the file where that is asked for.
/// `read_as` says how the difference is to be read before it is taken.
pub(crate) fn compare(file: &str, found: &str, read_as: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        return std::fs::write(&path, found).expect("a file of the repository can be written");
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, held, found)) = first_difference(&held, found) {
        panic!(
            "{file} is old from line {line} on.\n held: {held}\nfound: {found}\n\
             Is that meant? Then tests/renew (UPDATE_GOLDENS=1 for one test), and read the difference {read_as}."
        );
    }
}

/// The first line that differs, counted from 1, as it is in both.
pub(crate) fn first_difference<'a>(
    held: &'a str,
    found: &'a str,
) -> Option<(usize, &'a str, &'a str)> {
    let mut lines = (held.split('\n'), found.split('\n'));
    let end = "(the end)";
    for line in 1.. {
        match (lines.0.next(), lines.1.next()) {
            (None, None) => return None,
            (held, found) if held == found => {}
            (held, found) => return Some((line, held.unwrap_or(end), found.unwrap_or(end))),
        }
    }
    None
}
