//! Sets of node names, as an operator may mistype them.

use rackbmcd::nodeset::{LIMIT, expand, expand_pattern, fold};
use std::collections::BTreeSet;

/// Expands `data` as an expression and as a pattern, and folds what came of it.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Long expressions are only more of the same, slowly.
    if text.len() > 256 {
        return;
    }
    let groups = |name: &str| match name {
        "*" | "all" => Some(vec!["n1".to_owned(), "n2".to_owned(), "n10".to_owned()]),
        "odd" => Some(vec!["n1".to_owned(), "n[3-5]".to_owned()]),
        "none" => Some(Vec::new()),
        _ => None,
    };
    match expand(text, &groups) {
        Err(error) => {
            assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            assert!(!error.to_string().is_empty());
        }
        Ok(names) => {
            assert!(!names.is_empty() && names.len() <= LIMIT);
            let set: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(set.len(), names.len(), "a name twice");
            let odd = |name: &&str| {
                name.is_empty()
                    || name.contains(|c: char| "[],!&@".contains(c) || c.is_whitespace())
            };
            if names.len() <= 2000 && !set.iter().any(odd) {
                let folded = fold(&names);
                let again = expand(&folded, &groups).unwrap_or_else(|e| panic!("{folded}: {e}"));
                assert_eq!(
                    again.iter().map(String::as_str).collect::<BTreeSet<_>>(),
                    set
                );
            }
        }
    }
    match expand_pattern(text) {
        Err(error) => assert!(error.column >= 1),
        Ok(strings) => assert!(!strings.is_empty() && strings.len() <= LIMIT),
    }
}
