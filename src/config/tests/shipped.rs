//! The configurations that the package installs, and the keys that earlier versions knew.

use super::*;
use std::collections::BTreeSet;

#[test]
fn the_first_configuration_of_the_package_has_no_nodes_and_says_so() {
    let first = load(include_str!("../../../packaging/rackbmcd.toml"));
    assert!(first.nodes.is_empty());
    assert_eq!(
        first.warnings,
        [
            "/etc/rackbmcd/rackbmcd.toml:1:1: there are no nodes yet: write a [[node]] with name and address"
        ]
    );
    // What it says in comments about the first nodes is right.
    let text = include_str!("../../../packaging/rackbmcd.toml").replace("\n#", "\n");
    let begun = text.split_once("\n[defaults]").unwrap().1;
    let full = format!("[rack]\nname = \"r1\"\n[defaults]{begun}");
    assert_eq!(load(&full).nodes.len(), 16);
}

/// A configuration outlives the version that it was written for.
#[test]
fn every_key_that_once_was_is_taken_for_ever() {
    let text = include_str!("keys-0.1.0.toml");
    assert_eq!(load(text).nodes.len(), 18);
    // Nor may one be there that today's example has not.
    let shown = include_str!("../../../etc/rackbmcd.toml");
    for line in text.lines().filter(|line| line.contains(" = ")) {
        let key = line.split(' ').next().unwrap();
        assert!(shown.contains(&format!("{key} = ")), "{key}");
    }
}

/// The installed example with the commented keys that `wanted` picks.
fn installed(wanted: impl Fn(&str) -> bool) -> String {
    let is_key = |line: &&str| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase());
    let lines = include_str!("../../../etc/rackbmcd.toml").lines();
    let uncommented = lines.map(|line| {
        let key = line
            .strip_prefix('#')
            .filter(is_key)
            .filter(|line| wanted(line));
        format!("{}\n", key.unwrap_or(line))
    });
    uncommented.collect()
}

#[test]
fn the_example_that_is_installed_is_good() {
    assert_eq!(load(&installed(|_| false)).nodes.len(), 17);
    // Every key that it mentions is one.
    for text in complaints(&installed(|_| true)) {
        assert!(!text.contains("has no key"), "{text}");
    }
}

/// What may stand in a section is shown there: what is not, nobody finds.
#[test]
fn the_example_that_is_installed_shows_every_key() {
    let shown = installed(|_| true);
    // A key that is like no other makes a section name all that it has.
    let unlike = |header: &str| format!("{header}\nqqqqqqqqqqqqqqqqqqqq = 0");
    let lines = shown.lines().map(|line| match line.starts_with('[') {
        true if line != "[groups]" => unlike(line),
        _ => line.to_owned(),
    });
    let asking: Vec<String> = lines.collect();
    let told = complaints(&asking.join("\n"));
    let keys = told.iter().filter_map(|text| {
        let (_, keys) = text.split_once("has no key 'qqqqqqqqqqqqqqqqqqqq': write one of ")?;
        Some(keys.split(", "))
    });
    let keys: BTreeSet<&str> = keys.flatten().collect();
    assert!(keys.len() > 80, "{keys:?}");
    let is_shown =
        |key: &str| shown.contains(&format!("\n{key} = ")) || shown.contains(&format!(".{key}]"));
    let missing: Vec<&&str> = keys.iter().filter(|key| !is_shown(key)).collect();
    assert!(missing.is_empty(), "not in etc/rackbmcd.toml: {missing:?}");
}

#[test]
fn the_example_that_is_installed_shows_the_defaults() {
    // Keys without a default: what is shown of them is an example.
    let without = "socket_group tcp hosts tls_certificate tls_key role unix_groups unix_users http_users nodes name \
        sha256 endpoints prefix username password_file ca_file cert_file key_file request_timeout host tenure url \
        publish power_order compute password_credential kg_file kg kg_hex ipmi15_auth groups repeat_soft_after \
        hard_after uuid";
    let shown = installed(|line| match line.starts_with('[') {
        true => line == "[api.limits]",
        false => {
            let mut keys = without.split_whitespace();
            !keys.any(|key| line.starts_with(&format!("{key} =")))
        }
    });
    assert!(shown.contains("\nburst = 10\n"), "{shown}");
    let says = |text: &str| Configuration {
        digest: String::new(),
        ..load(text)
    };
    assert_eq!(says(&shown), says(&installed(|_| false)));
}
