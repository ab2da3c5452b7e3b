//! The walls between the rooms of `src/`: the table of imports in `src/lib.rs`, checked on the
//! source itself.
//!
//! Reads every file below `src/`, follows `use` trees and `crate::`, `super::` and `std::` paths in
//! nested modules as well, and complains about each that leads where its room may not look. Knows
//! no types: a name is a name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The map of the house: its table is what is checked, so that it cannot say anything else than
/// what is so.
const MAP: &str = include_str!("../src/lib.rs");
/// What every room may name, where its row does not say "nothing" or "only".
const OPEN: &[&str] = &["time", "entropy", "model"];
/// The programs: a few lines each, no rooms of the library.
const PROGRAMS: &[(&str, &[&str])] = &[
    // `rackbmcd --check-bmcs` asks a running daemon as any client does.
    ("bin::rackbmcd", &["daemon", "config", "cli"]),
    // Under the name `rackbmcd` it is the daemon: what `cli::demo` starts.
    ("bin::rackbmc", &["cli", "daemon"]),
];

/// What tests of every room may name: it is there in tests only (`tests/golden`).
const OF_TESTS: &str = "golden";

/// A room, or one module of a room, and what it may name of the others.
type Wall = (String, Vec<String>);

/// Rooms without a world: no clock, socket, file, randomness or `async`, and the same order on
/// every run.
const CORE: &[&str] = &[
    "time", "entropy", "model", "nodeset", "base64", "etcd", "ipmi", "session", "bmc", "power",
    "rack", "tenure", "keeper", "api", "sim",
];
/// The parts of core rooms that do touch sockets.
const CORE_EXCEPT: &[&str] = &["api::serve"];
/// Paths into the world, by their beginning.
const WORLD: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "smol",
    "async_io",
    "nix",
    "hyper",
    "getrandom",
    "redb",
    "sd_notify",
];
/// Rooms that have no world either, but wait for somebody's answer.
const WAITS: &[&str] = &["api"];
/// Words of waiting.
const WAIT_WORDS: &[&str] = &["async", "await"];
/// Words of the world, wherever they come from.
const WORLD_WORDS: &[&str] = &[
    "HashMap",
    "HashSet",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
];

/// One word of a source file: an identifier, `::`, or a single mark.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

#[test]
fn no_room_looks_through_a_wall() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(
        files.len() > 5,
        "only {} files found below src/",
        files.len()
    );
    let complaints: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let name = file
                .strip_prefix(&src)
                .expect("collected below src")
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(file).expect("source files are text");
            check(&name, &text)
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_room_of_the_house_is_in_the_table() {
    let walls = walls(MAP);
    let known: BTreeSet<&str> = walls
        .iter()
        .filter_map(|(room, _)| room.split("::").next())
        .collect();
    for entry in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("src is there")
    {
        let path = entry.expect("src can be listed").path();
        let room = path
            .file_stem()
            .expect("entries have names")
            .to_string_lossy()
            .into_owned();
        assert!(
            room == "lib" || known.contains(room.as_str()),
            "{room} has no row in the table of src/lib.rs"
        );
    }
}

#[test]
fn the_map_is_read_as_it_is_meant() {
    let map = "//! | room | what | may name |\n//! | --- | --- | --- |\n//! | [`a`], [`b`] | x | nothing |\n\
               //! | `c` | y | only `a` |\n//! | `d::e` | z | `c` |\n//!\n//! | `f` | other table | `a` |";
    let wall = |room: &str, names: &[&str]| {
        (
            room.to_owned(),
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        walls(map)[PROGRAMS.len()..],
        [
            wall("a", &[]),
            wall("b", &[]),
            wall("c", &["a"]),
            wall("d::e", &["c", "time", "entropy", "model"]),
        ]
    );
}

#[test]
fn a_plain_import_through_a_wall_is_seen() {
    assert_eq!(
        check("power/soft.rs", "use crate::session::Session;\n"),
        ["power/soft.rs:1: power may not name crate::session::Session"]
    );
}

#[test]
fn a_wall_is_seen_in_trees_nested_modules_and_plain_paths() {
    for (name, bad) in [
        ("power/mod.rs", "use crate::{time::Instant, rack::Task};"),
        (
            "power/mod.rs",
            "use crate::bmc::{vocabulary::Order, engine::Bmc};",
        ),
        (
            "power/mod.rs",
            "mod deep { fn f() -> crate::rack::Task { todo() } }",
        ),
        ("power/soft.rs", "use super::super::rack::Task;"),
        (
            "power/soft.rs",
            "mod deep { use super::super::super::rack::Task; }",
        ),
        ("power/soft.rs", "use crate::*;"),
        ("bmc/vocabulary.rs", "use crate::ipmi::CompletionCode;"),
        ("bmc/vocabulary.rs", "use super::upkeep::Session;"),
        ("sim/bmc.rs", "use crate::session::keys;"),
        ("cli/status.rs", "use crate::sim::Rack;"),
        ("cli/mod.rs", "use crate::rack::Task;"),
        ("api/mod.rs", "use crate::daemon::Store;"),
        ("daemon/mod.rs", "use crate::sim::Rack;"),
        ("bin/rackbmc.rs", "fn main() { rackbmcd::rack::run() }"),
        (
            "rack/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::daemon::Store; }",
        ),
    ] {
        assert_eq!(
            check(name, bad).len(),
            1,
            "{name}: {bad}: {:?}",
            check(name, bad)
        );
    }
}

#[test]
fn the_world_is_seen_in_a_core_room() {
    for bad in [
        "use std::time::{Duration, Instant};",
        "let t = std::time::Instant::now();",
        "use std::net::{IpAddr, UdpSocket};",
        "use std::fs;",
        "let map = HashMap::new();",
        "async fn f() {}",
        "fn f() { g().await }",
        "use smol::Timer;",
        "getrandom::fill(&mut bytes);",
    ] {
        assert!(!check("session/mod.rs", bad).is_empty(), "{bad}");
        assert!(
            check("daemon/mod.rs", bad).is_empty(),
            "the shell may: {bad}"
        );
    }
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    for (name, good) in [
        (
            "power/soft.rs",
            "use crate::bmc::vocabulary::{Order, Report};\nuse crate::time::Instant;\nuse super::Sequence;",
        ),
        (
            "power/mod.rs",
            "pub mod soft;\npub(crate) use soft::Soft;\nuse std::time::Duration;",
        ),
        (
            "power/soft.rs",
            "mod tests { use super::*; use super::super::Control; }",
        ),
        (
            "ipmi/mod.rs",
            "// use crate::rack::Task;\n/* HashMap /* async */ crate::api::x */ const A: &str = \"crate::rack\";",
        ),
        (
            "ipmi/mod.rs",
            "const A: &str = r#\"std::fs \" crate::rack\"#; const B: char = '\"'; const C: u8 = b'{';",
        ),
        (
            "ipmi/mod.rs",
            "fn f<'a>(x: &'a str) -> &'a str { x } // \" crate::rack",
        ),
        ("ipmi/mod.rs", "use std::net::SocketAddr;"),
        ("cli/demo.rs", "use crate::sim::Rack;"),
        ("cli/sim/world.rs", "use crate::sim::Rack;"),
        ("api/serve.rs", "use hyper::body; async fn f() {}"),
        ("bin/rackbmcd.rs", "fn main() { rackbmcd::daemon::run() }"),
    ] {
        assert_eq!(check(name, good), Vec::<String>::new(), "{name}: {good}");
    }
}

/// Complaints about one file; `name` is its path below `src/`.
fn check(name: &str, text: &str) -> Vec<String> {
    let module = module_of(name);
    if module.is_empty() {
        return Vec::new(); // lib.rs: the map of the house names every room
    }
    let here = module.join("::");
    let walls = walls(MAP);
    let Some((room, allowed)) = walls
        .iter()
        .filter(|(room, _)| begins(&here, room))
        .max_by_key(|(room, _)| room.len())
    else {
        return vec![format!("{name}: {here} belongs to no room of the table")];
    };
    let core =
        CORE.iter().any(|c| begins(&here, c)) && !CORE_EXCEPT.iter().any(|e| begins(&here, e));
    let tokens = tokens(text);
    let mut complaints = BTreeSet::new();
    for (line, path) in paths(&tokens, &module) {
        let foreign = path
            .strip_prefix("crate::")
            .or_else(|| path.strip_prefix("rackbmcd::"));
        let may = |target| {
            begins(target, room)
                || begins(target, OF_TESTS)
                || allowed.iter().any(|a| begins(target, a))
        };
        if foreign.is_some_and(|target| !may(target)) {
            complaints.insert((line, format!("{room} may not name {path}")));
        } else if core && WORLD.iter().any(|w| begins(&path, w)) {
            complaints.insert((line, format!("{room} has no world, but names {path}")));
        }
    }
    let waits = WAITS.iter().any(|w| begins(&here, w));
    let worldly =
        |word: &str| core && (WORLD_WORDS.contains(&word) || !waits && WAIT_WORDS.contains(&word));
    for token in tokens.iter().filter(|t| worldly(&t.text)) {
        complaints.insert((
            token.line,
            format!("{room} has no world, but says {}", token.text),
        ));
    }
    complaints
        .into_iter()
        .map(|(line, what)| format!("{name}:{line}: {what}"))
        .collect()
}

/// The rows of the table "Rooms, and who may name whom": in the first column the rooms that the row
/// is about, in the last one what they may name, all in backticks.
fn walls(map: &str) -> Vec<Wall> {
    let table = map
        .lines()
        .skip_while(|line| !line.ends_with("may name |"))
        .skip(2);
    let mut walls: Vec<Wall> = PROGRAMS
        .iter()
        .map(|(room, names)| {
            (
                (*room).to_owned(),
                names.iter().map(|n| (*n).to_owned()).collect(),
            )
        })
        .collect();
    for row in table.map_while(|line| line.strip_prefix("//! | ")) {
        let columns: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [rooms, .., last] = columns.as_slice() else {
            panic!("a row of the map has no columns: {row}");
        };
        let mut names = in_backticks(last);
        if *last == "nothing" || last.starts_with("only ") {
            assert_eq!(
                names.is_empty(),
                *last == "nothing",
                "what may {rooms} name?"
            );
        } else {
            assert!(
                !names.is_empty() || *last == "the open rooms",
                "what may {rooms} name?"
            );
            names.extend(OPEN.iter().map(|open| (*open).to_owned()));
        }
        walls.extend(
            in_backticks(rooms)
                .into_iter()
                .map(|room| (room, names.clone())),
        );
    }
    walls
}

/// What stands between backticks, without the marks of a link.
fn in_backticks(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether a path is `prefix` or something below it.
fn begins(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module that a file below `src/` is: `power/soft.rs` is `power::soft`.
fn module_of(name: &str) -> Vec<String> {
    let parts = name.trim_end_matches(".rs").split('/');
    parts
        .filter(|p| *p != "mod" && *p != "lib")
        .map(str::to_owned)
        .collect()
}

/// Every path of a file with its line, `use` trees spread out, `crate`, `self` and `super` resolved
/// from `module`.
fn paths(tokens: &[Token], module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inline: Vec<(String, usize)> = Vec::new();
    let (mut depth, mut at) = (0_usize, 0_usize);
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        match text {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|(_, opened)| *opened <= depth);
            }
            "mod" if tokens.get(at + 2).is_some_and(|t| t.text == "{") => {
                inline.push((tokens[at + 1].text.clone(), depth + 1));
                at += 1;
            }
            _ if is_word(text) => {
                let preceded = at > 0 && tokens[at - 1].text == "::";
                if !preceded
                    && (text == "use" || tokens.get(at + 1).is_some_and(|t| t.text == "::"))
                {
                    let from = if text == "use" { at + 1 } else { at };
                    let mut here = module.to_vec();
                    here.extend(inline.iter().map(|(name, _)| name.clone()));
                    at = tree(tokens, from, &[], &here, &mut found);
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one path or `use` tree that starts at `at`; returns where it ends.
fn tree(
    tokens: &[Token],
    mut at: usize,
    before: &[String],
    here: &[String],
    found: &mut Vec<(usize, String)>,
) -> usize {
    let mut path = before.to_vec();
    let text = |i: usize| tokens.get(i).map_or("", |t: &Token| t.text.as_str());
    if text(at) == "::" {
        at += 1;
    }
    while at < tokens.len() {
        let line = tokens[at].line;
        match text(at) {
            "{" => {
                at += 1;
                while at < tokens.len() && text(at) != "}" {
                    let next = tree(tokens, at, &path, here, found);
                    at = if next == at || text(next) == "," {
                        next + 1
                    } else {
                        next
                    };
                }
                return at + 1;
            }
            "*" => path.push("*".into()),
            word if is_word(word) => path.push(word.into()),
            _ => return at,
        }
        at += 1;
        if text(at) != "::" || text(at + 1) == "<" {
            found.push((line, resolve(&path, here)));
            if text(at) == "as" {
                at += 2;
            }
            return at;
        }
        at += 1;
    }
    at
}

/// A path with `self` and `super` worked out, from the module `here`.
fn resolve(path: &[String], here: &[String]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (index, part) in path.iter().enumerate() {
        match part.as_str() {
            "self" if index == 0 => parts = absolute(here),
            "self" => {}
            "super" => {
                if index == 0 {
                    parts = absolute(here);
                }
                parts.pop();
            }
            _ => parts.push(part.clone()),
        }
    }
    parts.join("::")
}

fn absolute(here: &[String]) -> Vec<String> {
    std::iter::once("crate".to_owned())
        .chain(here.iter().cloned())
        .collect()
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and marks of a source file, without comments, strings and character literals.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let peek = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut out, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let from = at;
        match chars[at] {
            '/' if peek(at + 1) == '/' => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
            }
            '/' if peek(at + 1) == '*' => at = after_block_comment(&chars, at),
            '"' => at = after_string(&chars, at),
            'r' if raw_hashes(&chars, at + 1).is_some() => at = after_raw(&chars, at + 1),
            'b' | 'c' if peek(at + 1) == 'r' && raw_hashes(&chars, at + 2).is_some() => {
                at = after_raw(&chars, at + 2)
            }
            '\'' if peek(at + 1) == '\\' => {
                at += 3;
                while at < chars.len() && chars[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if peek(at + 2) == '\'' => at += 3,
            ':' if peek(at + 1) == ':' => {
                out.push(Token {
                    text: "::".into(),
                    line,
                });
                at += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                    at += 1;
                }
                out.push(Token {
                    text: chars[from..at].iter().collect(),
                    line,
                });
            }
            c => {
                if !c.is_whitespace() {
                    out.push(Token {
                        text: c.to_string(),
                        line,
                    });
                }
                at += 1;
            }
        }
        line += chars[from..at.min(chars.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    out
}

fn after_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_string(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The number of `#` of a raw string whose hashes start at `at`, or nothing where none starts.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars.get(at..)?.iter().take_while(|c| **c == '#').count();
    (chars.get(at + hashes) == Some(&'"')).then_some(hashes)
}

fn after_raw(chars: &[char], at: usize) -> usize {
    let hashes = raw_hashes(chars, at).expect("asked before");
    let mut at = at + hashes + 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}

/// Every `.rs` file below a directory, in order.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .expect("source directories can be listed")
        .map(|e| e.expect("listed").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}
