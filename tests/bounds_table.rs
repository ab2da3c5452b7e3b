//! The table of bounds in `docs/design.md`, section 8, against the source: a number that is changed
//! in one place is changed in both, and a new bound gets its row.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The bounds that the document names: file and name, and how much.
fn rows() -> BTreeMap<(String, String), String> {
    let text = fs::read_to_string(root().join("docs/design.md")).expect("the design");
    let section = text
        .split("\n## 8. Bounds")
        .nth(1)
        .expect("a section on bounds");
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.contains("`src/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, most, beyond, constant] = cells[..] else {
            panic!("a row has four cells: {line}");
        };
        assert!(!beyond.is_empty(), "what happens beyond it: {line}");
        let named: Vec<&str> = constant
            .split('`')
            .filter(|part| !part.trim().is_empty())
            .collect();
        let [file, name] = named[..] else {
            panic!("a file and a name: {line}");
        };
        let place = (file.to_owned(), name.to_owned());
        let before = rows.insert(place, most.trim_matches('`').to_owned());
        assert_eq!(before, None, "twice: {line}");
    }
    rows
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The value of a constant, or of a field of a default.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let constant = format!("const {name}: ");
    if let Some((_, rest)) = text.split_once(&constant) {
        let (_, value) = rest.split_once(" = ")?;
        return Some(value.split(';').next()?.trim());
    }
    let field = format!(" {name}: ");
    let (_, default) = text.split_once("Default for ")?;
    let (_, rest) = default.split_once(&field)?;
    Some(rest.split(",\n").next()?.trim())
}

#[test]
fn every_bound_of_the_design_is_the_one_of_the_source() {
    let rows = rows();
    assert!(rows.len() > 50, "{} rows", rows.len());
    let wrong = rows.iter().filter_map(|((file, name), said)| {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        let found = value(&text, name);
        (found != Some(said))
            .then(|| format!("{file} {name}: {said} in the table, {found:?} in the source"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_constant_that_is_named_as_a_bound_has_a_row() {
    let rows = rows();
    let mut missing = Vec::new();
    for room in ["api", "daemon", "rack", "model"] {
        for path in files(&root().join("src").join(room)) {
            let file = path
                .strip_prefix(root())
                .expect("below the root")
                .display()
                .to_string();
            let text = fs::read_to_string(&path).expect("source");
            for line in text.lines() {
                let Some((_, rest)) = line.split_once("const ") else {
                    continue;
                };
                let name = rest.split(':').next().unwrap_or_default();
                let bound = ["LIMIT", "KEPT", "AT_MOST"]
                    .iter()
                    .any(|end| name.ends_with(end));
                if bound && !rows.contains_key(&(file.clone(), name.to_owned())) {
                    missing.push(format!("{file} {name}"));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no row in docs/design.md, section 8: {missing:?}"
    );
}

/// The sources below a directory, without tests.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("listed").path());
    let mut found = Vec::new();
    for path in paths.filter(|path| !path.ends_with("tests") && !path.ends_with("tests.rs")) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
