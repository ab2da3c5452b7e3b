//! The fuzz targets without libFuzzer: each input of the corpus, and some thousand seeded changes
//! of them. Finds little that is new, but sees that the targets build and that nothing found before
//! comes back (`fuzz/README.md`).
//!
//! `FUZZ_CHANGES` says how many changes each target gets; `FUZZ_SEED` makes them others.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use rackbmcd::api::route::ROUTES;
use rackbmcd::entropy::{Entropy, Seeded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The longest input that changes make.
const LONGEST: usize = 4096;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// The inputs of a target, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&directory).expect("the target has a corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let inputs: Vec<_> = files.iter().map(|f| std::fs::read(f).unwrap()).collect();
    assert!(!inputs.is_empty(), "{}", directory.display());
    inputs
}

/// One input changed in one to four places, in the ways that find most: bits, bytes, lengths, parts
/// of others.
fn change(input: &[u8], other: &[u8], entropy: &mut Seeded) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=entropy.below(4) {
        let at = entropy.below(bytes.len() as u64 + 1) as usize;
        let to = (at + 1 + entropy.below(8) as usize).min(bytes.len());
        match entropy.below(7) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << entropy.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    let odd = [0x00, 0x01, 0x7F, 0x80, 0xFF, b'"', b'[', b'-', b'9'];
                    *byte = odd[entropy.below(odd.len() as u64) as usize];
                }
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at.min(to)..to)),
            5 => {
                let new = entropy.next_u64().to_le_bytes();
                bytes.splice(at..at, new[..1 + entropy.below(8) as usize].iter().copied());
            }
            _ => {
                let from = entropy.below(other.len() as u64 + 1) as usize;
                let count = entropy.below(64) as usize;
                let part = &other[from..(from + count).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Replays the corpus and `changes` changes of it; a failure shows the input as it would have to be
/// kept.
fn replay(target: &str, run: fn(&[u8]), changes: u64) {
    let inputs = corpus(target);
    let try_one = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{target}: found with {hex}");
            std::panic::resume_unwind(panic);
        }
    };
    for input in &inputs {
        try_one(input);
    }
    let mut entropy = Seeded::new(from_environment("FUZZ_SEED", 1));
    let pick = |entropy: &mut Seeded| &inputs[entropy.below(inputs.len() as u64) as usize];
    for _ in 0..from_environment("FUZZ_CHANGES", changes) {
        let (input, other) = (pick(&mut entropy), pick(&mut entropy));
        try_one(&change(input, other, &mut entropy));
    }
}

#[test]
fn packets_of_any_bytes_decode_or_are_refused() {
    replay("packet", targets::packet::run, 20_000);
}

#[test]
fn command_data_of_any_bytes_decodes_or_is_refused() {
    replay("commands", targets::commands::run, 20_000);
}

#[test]
fn a_session_survives_any_script() {
    replay("session", targets::session::run, 2_000);
}

#[test]
fn a_session_with_a_bmc_survives_any_network() {
    replay("session_sim", targets::session_sim::run, 2_000);
}

#[test]
fn any_request_gets_an_answer() {
    replay("http", targets::http::run, 2_000);
}

/// The first inputs are requests for what there is: others are answered 404 and try nothing.
#[test]
fn the_first_requests_name_endpoints_that_are_there() {
    let text = include_str!("../fuzz/seeds.py");
    let verbs = ["GET", "PUT", "POST", "PATCH", "DELETE"];
    let mut asked = 0;
    for quoted in text.split('"').skip(1).step_by(2) {
        let (verb, path) = quoted.split_once(' ').unwrap_or(("GET", quoted));
        if !verbs.contains(&verb) || !path.starts_with("/v1/") {
            continue;
        }
        let path = path.split(['?', '\\']).next().unwrap_or_default();
        let leads = |known: &str| {
            let (parts, known) = (path.split('/'), known.split('/'));
            let same = |(part, known): (&str, &str)| part == known || known.starts_with('{');
            parts.clone().count() == known.clone().count() && parts.zip(known).all(same)
        };
        let routes = ROUTES.iter().filter(|route| leads(route.path));
        let mut endpoints = routes.flat_map(|route| route.endpoints);
        let is_there = endpoints.any(|endpoint| endpoint.method.name() == verb);
        assert!(is_there, "{verb} {path}");
        asked += 1;
    }
    assert!(asked > 40, "{asked} requests");
}

#[test]
fn nobody_gets_more_than_the_own_role() {
    replay("roles", targets::roles::run, 2_000);
}

/// Every endpoint that there is, asked by everybody: it comes from the table, so that a new one is
/// in it.
#[test]
fn every_endpoint_gives_nobody_more_than_the_own_role() {
    const BATCH: &str = "01a0c450-6c00-7000-bcf4-d73c4c04022a";
    const TASK: &str = "01a0c450-6c00-7001-be67-70eb3a95da21";
    let bodies = [
        "",
        "{}",
        r#"{"reason": "fan"}"#,
        r#"{"target": "power off"}"#,
        r#"{"target": "abort soft power off"}"#,
        r#"{"node": "r1n01", "operation": "power off"}"#,
        r#"{"nodes": ["r1n02", "r1n01"], "operation": "power off"}"#,
        r#"{"nodes": ["r1n02", "r1n01"]}"#,
        r#"{"kind": "cold"}"#,
        r#"{"net_fn": 6, "command": 1, "data": []}"#,
        r#"{"boot_device": "pxe"}"#,
        r#"{"policy": "always off"}"#,
    ];
    let people = "none,reader,operator,operator r1n02,reader r1n02,admin r1n02,admin";
    for route in ROUTES {
        let id = match route.path.contains("batches") {
            true => BATCH,
            false => TASK,
        };
        let path = route.path.replace("{ident}", "r1n01").replace("{id}", id);
        let path = path
            .replace("{control}", "abort")
            .replace("{driver}", "ipmi");
        let path = path.replace("{what}", "sensors");
        for endpoint in route.endpoints {
            let method = endpoint.method.name();
            let reads = method == "GET";
            for (who, body) in people
                .split(',')
                .flat_map(|who| bodies.map(|body| (who, body)))
                .filter(|(_, body)| !reads || body.is_empty())
            {
                let input = format!(
                    "{who}\n{method} {path}\nhost: localhost\nX-OpenStack-Ironic-API-Version: 1.31\n\
                     content-type: application/json\n\n{body}"
                );
                let asked = catch_unwind(|| targets::roles::run(input.as_bytes()));
                assert!(asked.is_ok(), "{input}");
            }
        }
    }
}

#[test]
fn any_configuration_loads_or_is_complained_about() {
    replay("config", targets::config::run, 2_000);
}

#[test]
fn any_set_of_nodes_expands_or_is_refused() {
    replay("nodeset", targets::nodeset::run, 5_000);
}
