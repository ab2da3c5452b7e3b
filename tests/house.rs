//! The house explains itself: what the source and the documents point at is there.
//!
//! `docs/design.md` has the rules by number and its sections by number; the source says "rule N"
//! and "design, section N".

use rackbmcd::session::quirk::{Quirk, Quirks};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// `tests/README.md` says of each rule which tests hold it.
#[test]
fn every_rule_has_tests_that_hold_it_and_each_of_them_exists() {
    let tests = tests_of_the_source();
    let (mut held, mut missing) = (BTreeSet::new(), Vec::new());
    for (line, row, cell) in rows_with(&read("tests/README.md"), "held by") {
        let number = row[0].split(' ').next().and_then(|word| word.parse().ok());
        held.insert(number.unwrap_or_else(|| panic!("tests/README.md:{line}: a rule's number")));
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(names.len() >= 3, "tests/README.md:{line}: {names:?}");
        let gone = names.into_iter().filter(|name| !tests.contains(*name));
        missing.extend(gone.map(|name| format!("tests/README.md:{line}: no test {name}")));
    }
    assert_eq!(held, rules_of(&read("docs/design.md")));
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_rule_that_the_source_names_is_in_the_design() {
    let rules = rules_of(&read("docs/design.md"));
    assert_eq!(rules, (1..=13).collect(), "the rules of docs/design.md");
    let mut complaints = Vec::new();
    for (file, text) in sources() {
        for (line, number) in numbers_after(&text, "rule ") {
            if !rules.contains(&number) {
                complaints.push(format!("{file}:{line}: there is no rule {number}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_section_that_the_source_names_is_in_the_design() {
    let sections = sections_of(&read("docs/design.md"));
    let mut complaints = Vec::new();
    for (file, text) in sources() {
        for (line, number) in numbers_after(&text, "design, section ") {
            if !sections.contains(&number) {
                complaints.push(format!("{file}:{line}: the design has no section {number}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_that_a_comment_or_a_document_names_is_there() {
    let mut texts = sources();
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "tests/README.md",
        "fuzz/README.md",
        "Cargo.toml",
    ] {
        texts.push((document.to_owned(), read(document)));
    }
    for entry in fs::read_dir(root().join("docs")).expect("docs can be listed") {
        let path = entry.expect("listed").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = format!(
                "docs/{}",
                path.file_name().expect("named").to_string_lossy()
            );
            texts.push((name.clone(), read(&name)));
        }
    }
    let mut complaints = Vec::new();
    for (file, text) in texts {
        for (line, named) in files_named(&text) {
            if !root().join(&named).exists() {
                complaints.push(format!("{file}:{line}: there is no {named}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The places that `CONTRIBUTING.md` sends people to: what stands in quotes there and begins with a
/// folder of ours.
#[test]
fn every_place_that_the_recipes_name_is_there() {
    let folders = ["src/", "tests/", "fuzz/", "benches/", "docs/", "etc/"];
    let recipes = read("CONTRIBUTING.md");
    let quoted = recipes.split('`').skip(1).step_by(2);
    let places = quoted.filter(|word| folders.iter().any(|folder| word.starts_with(folder)));
    // What follows the path is an argument; NAME and vN stand for names.
    let paths = places.filter_map(|place| place.split(' ').next());
    let paths: Vec<&str> = paths
        .filter(|path| !["NAME", "vN"].iter().any(|open| path.contains(open)))
        .collect();
    assert!(paths.len() > 30, "{paths:?}");
    let gone: Vec<_> = paths
        .into_iter()
        .filter(|path| !root().join(path).exists())
        .collect();
    assert!(gone.is_empty(), "CONTRIBUTING.md: {gone:?}");
}

/// A shape of the API's document that has a type in `src/model` is compared with it, member by
/// member, in `src/api/openapi/tests.rs`.
#[test]
fn every_shape_that_is_a_type_is_compared_with_it() {
    // Ironic's chassis, and not what a BMC says of its own.
    let others = ["Chassis"];
    let shapes = read("src/api/openapi/schemas.rs");
    let compared = read("src/api/openapi/tests.rs");
    let model = sources().into_iter();
    let model = model.filter(|(file, _)| file.starts_with("src/model"));
    let types: String = model.map(|(_, text)| text).collect();
    let quoted = shapes.split('"').skip(1).step_by(2);
    let shapes: BTreeSet<&str> = quoted
        .filter(|word| types.contains(&format!("pub struct {word} {{")))
        .collect();
    assert!(shapes.len() > 40, "{shapes:?}");
    let forgotten: Vec<_> = shapes
        .into_iter()
        .filter(|name| !others.contains(name) && !compared.contains(&format!("\"{name}\"")))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

/// The recipe for a verb: it is run on a real daemon, and its words are read. (`tests/streams.rs` runs
/// those of the help.)
#[test]
fn every_verb_is_run_and_its_words_are_listed() {
    let groups = read("src/cli/args/verbs.rs");
    let (_, groups) = groups.split_once("const GROUPS").expect("the groups");
    let lines: Vec<&str> = groups.lines().map(str::trim).collect();
    let first = |pair: &[&str]| -> Option<String> {
        let verb = pair[1].strip_prefix('"')?.strip_suffix("\",")?;
        let is_verb = pair[0] == "(" && verb.starts_with(|c: char| c.is_ascii_lowercase());
        is_verb.then(|| verb.to_owned())
    };
    let verbs: Vec<String> = lines.windows(2).filter_map(first).collect();
    assert!(verbs.len() > 40, "{verbs:?}");
    for (file, others) in [
        // These have tests of their own: for a terminal, a network, two hosts, without a daemon.
        ("tests/every_verb.rs", "watch ha discover init demo sim"),
        // What these say is data, or has tests of its own in `src/cli`.
        (
            "tests/messages.rs",
            "support power-use demo sim node-show node-show-states",
        ),
    ] {
        let text = read(file);
        let is_there = |verb: &str| {
            text.contains(&format!("\"{verb} ")) || text.contains(&format!("\"{verb}\""))
        };
        for verb in &verbs {
            let known = is_there(verb) || others.split(' ').any(|other| other == verb);
            assert!(known, "{file} has no line with {verb}");
        }
    }
}

/// Lines that a file may have, that a function may have in the rooms where safety is decided, and
/// elsewhere. Comments count: what is too long to be read is too long with them.
const FILE_LINES: usize = 700;
const CORE_LINES: usize = 60;
const FUNCTION_LINES: usize = 100;

#[test]
fn no_file_and_no_function_is_too_long_to_be_read() {
    let mut complaints = Vec::new();
    for (file, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES {
            complaints.push(format!("{file}: {lines} lines, {FILE_LINES} are allowed"));
        }
        let is_test = !file.starts_with("src/") || file.contains("/tests");
        if is_test {
            continue;
        }
        let core = ["src/power/", "src/rack/", "src/bmc/", "src/session/"];
        let allowed = match core.iter().any(|room| file.starts_with(room)) {
            true => CORE_LINES,
            false => FUNCTION_LINES,
        };
        for (line, name, lines) in functions(&text) {
            if lines > allowed {
                complaints.push(format!(
                    "{file}:{line}: {name} has {lines} lines, {allowed} are allowed"
                ));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The functions of a formatted file, without those of its tests: first line, name and number of
/// lines. A function ends with the first brace that stands as far in as its head.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let text = text.split("#[cfg(test)]\nmod tests {").next();
    let lines: Vec<&str> = text.unwrap_or_default().lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let mut words = line
            .split_whitespace()
            .take_while(|word| !word.starts_with("//"));
        let is_head = words.any(|word| word == "fn");
        let name = words.next().and_then(|word| word.split(['(', '<']).next());
        let (true, Some(name)) = (is_head, name) else {
            continue;
        };
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[at..].iter().position(|line| *line == end);
        let is_whole = line.ends_with('}') || line.ends_with(';');
        if let (false, Some(length)) = (is_whole, length) {
            found.push((at + 1, name.to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn functions_are_measured_from_head_to_brace() {
    let text = "fn a() {\n    x\n}\n\nimpl B {\n    pub fn c(\n        self,\n    ) {\n        d();\n    }\n}\n\
                #[cfg(test)]\nmod tests {\n    fn e() {\n    }\n}\n";
    let expected = [(1, "a".to_owned(), 3), (6, "c".to_owned(), 5)];
    assert_eq!(functions(text), expected);
}

/// `mod` has the inputs and outputs, the next four how a turn begins, `turn` how it ends, `reports`
/// what follows, `telling` what is said of it. Every other file of the room is a part of the rack or functions
/// over some parts.
const WHOLE_RACK: [&str; 8] = [
    "src/rack/mod.rs",
    "src/rack/birth.rs",
    "src/rack/calls.rs",
    "src/rack/reloading.rs",
    "src/rack/holding.rs",
    "src/rack/turn.rs",
    "src/rack/reports.rs",
    "src/rack/telling.rs",
];

#[test]
fn the_whole_rack_is_seen_in_eight_files_and_they_call_downwards_only() {
    let mut complaints = Vec::new();
    for (file, text) in sources() {
        if file.starts_with("src/rack/") && !WHOLE_RACK.contains(&file.as_str()) {
            let sees = ["\nimpl Rack {", "super::Rack;", "super::{Rack", "&mut Rack"];
            let seen = sees.iter().find(|sight| text.contains(**sight));
            complaints.extend(seen.map(|sight| format!("{file}: has '{}'", sight.trim())));
        }
    }
    for (place, upper) in WHOLE_RACK.iter().enumerate() {
        let methods = methods(&read(upper));
        assert!(!methods.is_empty(), "{upper} has no method of the rack");
        for lower in &WHOLE_RACK[place + 1..] {
            let text = read(lower);
            let calls = methods.iter();
            let calls = calls.filter(|method| text.contains(&format!("self.{method}(")));
            complaints.extend(calls.map(|method| format!("{lower}: calls '{method}' of {upper}")));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The methods of a file.
fn methods(text: &str) -> Vec<String> {
    let functions = text.split("\n    fn ").skip(1);
    let shared = text.split("\n    pub(super) fn ").skip(1);
    let public = text.split("\n    pub fn ").skip(1);
    let all = functions.chain(shared).chain(public);
    let own = all.filter(|function| {
        let arguments = function.split(')').next().unwrap_or_default();
        arguments.contains("self")
    });
    let name = |function: &str| function.split('(').next().unwrap_or_default().to_owned();
    own.map(name).collect()
}

#[test]
fn no_room_hands_on_the_names_of_another() {
    let mut complaints = Vec::new();
    for (file, text) in sources() {
        for (line, words) in text.lines().enumerate() {
            let handed_on = words.trim_start().starts_with("pub") && words.contains(" use crate::");
            if handed_on {
                complaints.push(format!("{file}:{}: {}", line + 1, words.trim()));
            }
        }
    }
    assert!(
        complaints.is_empty(),
        "a word has one place to import it from:\n{}\n",
        complaints.join("\n")
    );
}

#[test]
fn every_line_of_the_log_stands_in_the_operations() {
    let document = read("docs/operations.md");
    let told = document.split("## What each log line means").nth(1);
    let told = told
        .and_then(|text| text.split("\n## ").next())
        .expect("the section");
    let mut complaints = Vec::new();
    for (file, text) in sources()
        .iter()
        .filter(|(file, _)| file.starts_with("src/"))
    {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let text = text.replace("\\\n", "");
        for level in ["info", "warn", "error"] {
            let call = format!("log::{level}!(");
            let calls = text.split(&call).skip(1);
            let spoken = calls.filter_map(|call| beginning(call.trim_start().strip_prefix('"')?));
            let missing = spoken.filter(|words| !told.contains(words.as_str()));
            complaints.extend(missing.map(|words| format!("{file}: {words}")));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The first words of the longest part of a format that is the same each time; nothing where it has
/// none.
fn beginning(format: &str) -> Option<String> {
    let format = format.split('"').next()?;
    let pieces = format
        .split('{')
        .map(|piece| piece.split_once('}').map_or(piece, |(_, rest)| rest));
    let longest = pieces.max_by_key(|piece| piece.trim().len())?;
    let words: Vec<&str> = longest.split_whitespace().take(5).collect();
    let words = words.join(" ");
    let words = words.trim_matches(|letter: char| " :;,.()".contains(letter));
    (words.len() > 3).then(|| words.to_owned())
}

#[test]
fn pointers_are_seen_where_they_stand() {
    assert_eq!(
        numbers_after("a (design, rule 10).\nrule 7", "rule "),
        [(1, 10), (2, 7)]
    );
    assert_eq!(
        numbers_after("design, section 3)", "design, section "),
        [(1, 3)]
    );
    assert_eq!(
        files_named("see docs/design.md, `tests/run` and (docs/bmcs.md)"),
        [
            (1, "docs/design.md".to_owned()),
            (1, "docs/bmcs.md".to_owned())
        ]
    );
    assert_eq!(
        rules_of("## 2. Rules\n1. **A.** x\n   y\n2. **B.**\n## 3. Z\n3. **C.**"),
        [1, 2].into()
    );
}

#[test]
fn every_line_of_the_protocol_names_a_test_that_is_there() {
    hold_rows("docs/protocol.md", 80);
}

#[test]
fn every_quirk_and_preset_stands_in_the_protocol_s_table_with_tests_that_name_it() {
    let rows = rows_with(&read("docs/protocol.md"), "ours");
    assert!(rows.len() > 20, "{} rows", rows.len());
    let quoted = |cell: &str| -> Vec<String> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    let (mut listed, mut complaints) = (BTreeSet::new(), Vec::new());
    for (line, row, ours) in rows {
        let (presets, switches) = (row[0].clone(), quoted(&ours));
        let presets = presets.split(", ").filter(|name| !name.is_empty());
        let presets: Vec<String> = presets.map(str::to_owned).collect();
        listed.extend(presets.iter().chain(&switches).cloned());
        let texts: Vec<String> = row[4].split(", ").map(text_of_place).collect();
        let named = |word: &&String| texts.iter().any(|text| text.contains(word.as_str()));
        let wanted: Vec<String> = presets.into_iter().chain(switches).collect();
        if !ours.starts_with("nothing") && wanted.iter().find(named).is_none() {
            complaints.push(format!("{line}: no test in '{}' names {wanted:?}", row[4]));
        }
    }
    let switches = Quirk::all().map(Quirk::name);
    let presets = Quirks::presets().map(|preset| preset.name);
    let missing = switches
        .chain(presets)
        .filter(|name| !listed.contains(*name));
    complaints.extend(missing.map(|name| format!("{name} is not in the table")));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The text of what a cell names.
fn text_of_place(part: &str) -> String {
    let places = references(part)
        .into_iter()
        .filter_map(|named| match named {
            Reference::Place(place) => Some(place),
            _ => None,
        });
    let paths = places.flat_map(|place| {
        let folders = ["", "tests/", "src/", "src/session/tests/"];
        folders.map(|folder| root().join(folder).join(&place))
    });
    let texts = paths.filter_map(|path| fs::read_to_string(path).ok());
    texts.collect()
}

#[test]
fn every_promise_of_security_names_a_test_that_is_there() {
    hold_rows("docs/security.md", 14);
}

/// Each row of a document, of more than `least`, names tests that are there.
fn hold_rows(document: &str, least: usize) {
    let tests = tests_of_the_source();
    let mut complaints = Vec::new();
    let rows = rows_with(&read(document), "tested in");
    assert!(rows.len() > least, "{} rows", rows.len());
    for (line, row, named) in rows {
        let found: Vec<_> = named
            .split([',', ';'])
            .flat_map(|part| references(part.trim()))
            .collect();
        let is_missing = row.get(1).is_some_and(|what| what.starts_with("no:"));
        if found.is_empty() && !is_missing {
            complaints.push(format!("{line}: no test is named for '{}'", row[0]));
        }
        let lost = found
            .iter()
            .filter(|reference| !is_there(reference, &tests));
        complaints.extend(lost.map(|reference| format!("{line}: there is no test {reference:?}")));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// What a document says of where something is tested.
#[derive(Debug)]
enum Reference {
    /// A file or folder with tests.
    Place(String),
    /// One test, by its name.
    Test(String),
    /// A stage of `tests/run`.
    Stage(String),
    /// Nothing can be otherwise.
    Construction,
}

/// Words that stand for places.
const PLACES: [(&str, &str); 7] = [
    ("known answers", "src/session/tests/known_answers.rs"),
    ("matrix", "tests/interop/matrix.py"),
    ("quirks", "tests/quirks.rs"),
    ("fuzz", "tests/fuzz_corpus.rs"),
    ("storm", "tests/storm"),
    ("chaos", "tests/interop/chaos.py"),
    ("qemu", "tests/interop/qemu.py"),
];

fn references(part: &str) -> Vec<Reference> {
    if part.starts_with("by construction") {
        return vec![Reference::Construction];
    }
    let word = PLACES.iter().find(|(word, _)| part.starts_with(word));
    let mut found: Vec<_> = word
        .map(|(_, place)| Reference::Place((*place).to_owned()))
        .into_iter()
        .collect();
    for quoted in part.split('`').skip(1).step_by(2) {
        match quoted.strip_prefix("tests/run ") {
            Some(stage) => found.push(Reference::Stage(stage.to_owned())),
            None if quoted.ends_with(".rs") || quoted.contains('/') => {
                found.push(Reference::Place(quoted.to_owned()));
            }
            None if quoted.matches('_').count() > 2 => {
                found.push(Reference::Test(quoted.to_owned()));
            }
            None => {}
        }
    }
    found
}

fn is_there(reference: &Reference, tests: &BTreeSet<String>) -> bool {
    match reference {
        Reference::Place(place) => ["", "tests/", "src/", "src/session/tests/"]
            .iter()
            .map(|folder| root().join(folder).join(place))
            .any(|path| {
                path.is_dir()
                    || fs::read_to_string(path)
                        .is_ok_and(|text| text.contains("#[test]") || text.contains("def "))
            }),
        Reference::Test(name) => tests.contains(name),
        Reference::Stage(name) => read("tests/run").contains(&format!("stage_{name}()")),
        Reference::Construction => true,
    }
}

/// The names of all tests.
fn tests_of_the_source() -> BTreeSet<String> {
    let names = |text: &str| -> Vec<String> {
        let after = text.split("#[test]").skip(1);
        after
            .filter_map(|rest| Some(rest.split_once("fn ")?.1.split('(').next()?.to_owned()))
            .collect()
    };
    sources().iter().flat_map(|(_, text)| names(text)).collect()
}

/// Each row of each table that has a column of this name: its line, its cells and that cell.
fn rows_with(text: &str, column: &str) -> Vec<(usize, Vec<String>, String)> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let (mut rows, mut place) = (Vec::new(), None);
    let mut before = "";
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("| ---") {
            place = cells(before).iter().position(|cell| cell == column);
        } else if !line.starts_with('|') {
            place = None;
        } else if let Some(place) = place {
            let row = cells(line);
            let cell = row.get(place).cloned().unwrap_or_default();
            rows.push((number + 1, row, cell));
        }
        before = line;
    }
    rows
}

/// The numbers of the list in the section "Rules".
fn rules_of(design: &str) -> BTreeSet<u32> {
    let rules = design
        .lines()
        .skip_while(|line| !line.ends_with(". Rules"))
        .skip(1);
    rules
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.split_once(". **")?.0.parse().ok())
        .collect()
}

/// The numbers of its headings.
fn sections_of(design: &str) -> BTreeSet<u32> {
    let headings = design.lines().filter_map(|line| line.strip_prefix("## "));
    headings
        .filter_map(|heading| heading.split_once(". ")?.0.parse().ok())
        .collect()
}

/// Each number that follows `words`, with its line.
fn numbers_after(text: &str, words: &str) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices(words) {
            let digits: String = line[at + words.len()..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            found.extend(digits.parse().ok().map(|number| (index + 1, number)));
        }
    }
    found
}

/// Each document `docs/NAME.md` that a text names, with its line.
fn files_named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("docs/") {
            let name: String = line[at..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "/._-".contains(*c))
                .collect();
            let name = name.trim_end_matches('.').to_owned();
            let elsewhere =
                line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "/.".contains(c));
            if !elsewhere && name.ends_with(".md") {
                found.push((index + 1, name));
            }
        }
    }
    found
}

/// Every file of the source and of the tests, by its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for place in ["src", "tests", "benches", "fuzz/targets"] {
        collect(&root().join(place), &mut files);
    }
    files
        .into_iter()
        .filter(|path| !path.ends_with("tests/house.rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("source files are text");
            let name = path.strip_prefix(root()).expect("collected below the root");
            (name.to_string_lossy().into_owned(), text)
        })
        .collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("source directories can be listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
