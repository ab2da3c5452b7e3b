//! The configurations that the package installs, and the keys that earlier versions knew.

use super::*;

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

#[test]
fn the_example_that_is_installed_shows_the_defaults() {
    let defaulted = "sync_interval power_on_stagger max_transitions fault_after longest_timeout history_keep history_entries \
        maintenance_policy packets_per_ms start_paused privilege cipher_suites protocol quirks port soft_power_off_timeout power_change_timeout \
        min_off_time on_soft_timeout settle rollback_settle nmi nmi_min_interval nmi_watch orders_per_second burst \
        keepalive idle_close auth_failures auth_hold bmc_identity breaker_after breaker_retry state_dir log_level audit_megabytes socket \
        socket_mode auth htpasswd connections streams header_bytes body_bytes header_timeout body_timeout \
        write_timeout";
    let shown = installed(|line| {
        let mut keys = defaulted.split_whitespace();
        line == "[api.limits]" || keys.any(|key| line.starts_with(&format!("{key} =")))
    });
    assert!(shown.contains("\nburst = 10\n"), "{shown}");
    let says = |text: &str| Configuration {
        digest: String::new(),
        ..load(text)
    };
    assert_eq!(says(&shown), says(&installed(|_| false)));
}
