//! The configuration as it may be given to somebody else: without secrets, without names of users,
//! and without comments, in which anything may stand.
//!
//! What is shown is named here. So a key that is new, or that nobody ever heard of, is left out
//! until somebody has decided that it may be shown; a test holds that everything in
//! `etc/rackbmcd.toml` was decided.

use super::files::Files;
use std::path::Path;
use toml::{Table, Value};

/// What stands for a value that is left out.
const LEFT_OUT: &str = "(left out)";

/// Keys whose values may be shown.
const SHOWN: &[&str] = &[
    "address",
    "audit_megabytes",
    "auth",
    "auth_failures",
    "auth_hold",
    "bmc_identity",
    "body_bytes",
    "body_timeout",
    "breaker_after",
    "breaker_retry",
    "burst",
    "ca_file",
    "cert_file",
    "cipher_suites",
    "connections",
    "fault_after",
    "groups",
    "hard_after",
    "header_bytes",
    "header_timeout",
    "history_entries",
    "history_keep",
    "host",
    "hosts",
    "htpasswd",
    "idle_close",
    "ipmi15_auth",
    "keepalive",
    "key_file",
    "kg_file",
    "log_level",
    "longest_timeout",
    "maintenance_policy",
    "max_transitions",
    "min_off_time",
    "name",
    "nmi",
    "nmi_min_interval",
    "nmi_watch",
    "nodes",
    "on_soft_timeout",
    "orders_per_second",
    "packets_per_ms",
    "password_credential",
    "password_file",
    "port",
    "power_change_timeout",
    "power_off",
    "power_on_stagger",
    "power_order",
    "prefix",
    "privilege",
    "protocol",
    "publish",
    "quirks",
    "repeat_soft_after",
    "request_timeout",
    "role",
    "rollback_settle",
    "settle",
    "socket",
    "socket_group",
    "socket_mode",
    "soft_power_off_timeout",
    "start_paused",
    "state_dir",
    "streams",
    "sync_interval",
    "tcp",
    "tenure",
    "tls_certificate",
    "tls_key",
    "unix_groups",
    "uuid",
    "write_timeout",
];

/// The file at `path` without what is nobody's business.
///
/// # Errors
/// It cannot be read, or is no TOML: without a word of what stands there.
pub fn shareable(path: &Path, files: &dyn Files) -> Result<String, String> {
    let content = files
        .read(path)
        .map_err(|reason| format!("{} cannot be read: {reason}", path.display()))?;
    let text = std::str::from_utf8(&content.bytes)
        .map_err(|_| format!("{} is no UTF-8 text", path.display()))?;
    without_secrets(text).map_err(|why| format!("{}: {why}", path.display()))
}

fn without_secrets(text: &str) -> Result<String, String> {
    let mut table: Table = toml::from_str(text).map_err(|error| {
        // What the error says itself may quote the file.
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        format!("this is no TOML in line {line}")
    })?;
    for (key, value) in &mut table {
        match (key.as_str(), value) {
            // Its keys are names of groups, its values node sets.
            ("groups", Value::Table(_)) => {}
            ("api", Value::Table(api)) => {
                for (key, value) in api {
                    // A token's name says who uses it.
                    let hidden: &[&str] = if key == "token" { &["name"] } else { &[] };
                    clean(key, value, hidden);
                }
            }
            (key, value) => clean(key, value, &[]),
        }
    }
    toml::to_string_pretty(&table).map_err(|_| "it cannot be written down again".to_owned())
}

/// Leaves out what must not be shown of the value of `key`.
fn clean(key: &str, value: &mut Value, hidden: &[&str]) {
    let is_table = |value: &Value| value.is_table();
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                clean(key, value, hidden);
            }
        }
        Value::Array(values) if values.iter().any(is_table) => {
            for value in values {
                clean(key, value, hidden);
            }
        }
        _ if SHOWN.contains(&key) && !hidden.contains(&key) => {}
        value => *value = Value::String(LEFT_OUT.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys whose values are never shown.
    const SECRET: &[&str] = &[
        // A password may stand in an address, though it is refused there.
        "endpoints",
        "http_users",
        "kg",
        "kg_hex",
        "sha256",
        "unix_users",
        "url",
        "username",
    ];

    #[test]
    fn secrets_names_comments_and_what_nobody_knows_are_left_out() {
        let text = r#"
            # the old password was hunter2
            [api]
            tcp = "127.0.0.1:6385"
            [[api.token]]
            name = "fencing"
            sha256 = "00ff"
            role = "operator"
            [[api.role]]
            role = "admin"
            http_users = ["anna"]
            [defaults]
            username = "root"
            password = "calvin"
            kg = "key"
            strange = { deep = [{ password = "calvin" }, "calvin"] }
            cipher_suites = [17, 3]
            [groups]
            kg = "r1n01"
            [[node]]
            name = "r1n01"
            kg_hex = "0badcafe"
            address = "10.0.1.1"
        "#;
        let shown = without_secrets(text).expect("TOML");
        for secret in [
            "hunter2", "fencing", "00ff", "anna", "root", "calvin", "\"key\"", "0badcafe",
        ] {
            assert!(!shown.contains(secret), "{secret} in\n{shown}");
        }
        for wanted in [
            "tcp = \"127.0.0.1:6385\"",
            "role = \"operator\"",
            "17",
            "kg = \"r1n01\"",
            "address = \"10.0.1.1\"",
            "username = \"(left out)\"",
        ] {
            assert!(shown.contains(wanted), "{wanted} in\n{shown}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_quoted() {
        let why = without_secrets("[defaults]\npassword = calvin\n").expect_err("no TOML");
        assert_eq!(why, "this is no TOML in line 2");
    }

    #[test]
    fn it_was_decided_of_every_key_whether_it_may_be_shown() {
        let text = include_str!("../../etc/rackbmcd.toml");
        let lines = text.lines().map(|line| line.trim_start_matches('#'));
        let keys = lines.filter_map(|line| {
            let (key, _) = line.split_once(" = ")?;
            let is_key =
                |letter: char| letter.is_ascii_lowercase() || "_0123456789".contains(letter);
            key.chars().all(is_key).then_some(key)
        });
        let keys: Vec<&str> = keys.filter(|key| *key != "compute").collect();
        assert!(keys.len() > 60, "{keys:?}");
        for key in keys {
            let decided = SHOWN.contains(&key) != SECRET.contains(&key);
            assert!(decided, "may {key} be shown?");
        }
    }
}
