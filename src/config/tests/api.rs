//! `[api]`, right and wrong.

use super::*;

fn api(lines: &str) -> String {
    format!("[api]\n{lines}\n{}", with_password(""))
}

#[test]
fn a_rack_is_never_open_to_the_network() {
    let found = complaints(&api("tcp = \"0.0.0.0:6385\"\nauth = \"none\""));
    assert!(
        found[0].starts_with("3:8: auth = \"none\" would open the rack"),
        "{found:#?}"
    );
    for loopback in [
        "127.0.0.1:1",
        "[::1]:1",
        "127.8.8.8:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        let config = load(&api(&format!("tcp = \"{loopback}\"\nauth = \"none\"")));
        assert!(
            config.warnings[0].contains("every user of this host"),
            "{loopback}"
        );
    }
    let warnings = load(&api("tcp = \"10.0.0.1:6385\"")).warnings;
    assert!(
        warnings[0].contains("cross the network readable"),
        "{warnings:#?}"
    );
    // Without tcp there is nothing to open.
    assert_eq!(load(&api("auth = \"none\"")).warnings, [""; 0]);
}

#[test]
fn wrong_values_of_the_api_are_said() {
    for (lines, expected) in [
        ("tcp = \"localhost:6385\"", "write an address and a port"),
        (
            "tcp = \"127.0.0.1:1\"\nauth = \"basic\"",
            "write one of http_basic",
        ),
        (
            "tcp = \"127.0.0.1:1\"\nhtpasswd = \"gone\"",
            "/etc/rackbmcd/gone cannot be read",
        ),
        ("tcp = \"127.0.0.1:1\"\nauth = \"token\"", "without a token"),
        #[cfg(feature = "tls")]
        ("tcp = \"127.0.0.1:1\"\ntls_key = \"bmc.pw\"", "write both"),
        #[cfg(not(feature = "tls"))]
        (
            "tcp = \"127.0.0.1:1\"\ntls_certificate = \"tls.pem\"\ntls_key = \"bmc.pw\"",
            "built without TLS",
        ),
        ("socket_mode = \"999\"", "write octal digits"),
        ("socket = \"\"", "socket is empty"),
        (
            "socket = \"/run/rackbmcd/a-name-that-is-so-long-that-no-socket-of-unix-can-have-it-since-its-address-has-room-for-108-bytes-only\"",
            "a socket takes 107",
        ),
        ("socket_group = \"nosuch\"", "there is no group 'nosuch'"),
        ("sockets = \"x\"", "did you mean 'socket'?"),
        ("[api.limits]\nconnections = 0", "from 4 to 100000"),
        ("[api.limits]\nbody_timeout = \"0s\"", "from \"1s\""),
        (
            "[[api.token]]\nname = \"a\"\nrole = \"admin\"\nsha256 = \"00\"",
            "not 64 hexadecimal digits",
        ),
        (
            "[[api.token]]\nname = \"a\"\nrole = \"admin\"\ntoken = \"x\"",
            "does not stand in this file",
        ),
        ("[[api.role]]\nrole = \"admin\"", "the role is nobody's"),
        (
            "[[api.role]]\nrole = \"root\"\nhttp_users = [\"x\"]",
            "write one of reader",
        ),
        (
            "[[api.role]]\nrole = \"admin\"\nhttp_users = [\"x\"]\nnodes = \"n9\"",
            "there is no node n9: did you mean 'n1'?",
        ),
        (
            "[[api.role]]\nrole = \"admin\"\nhttp_users = [\"x\"]\nnodes = \"\"",
            "no targets",
        ),
        ("[api.role]\nrole = \"admin\"", "write [[api.role]]"),
    ] {
        let found = complaints(&api(lines));
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{lines}: {found:#?}"
        );
    }
}

#[test]
fn tokens_are_read_and_a_port_that_all_can_reach_is_warned_about() {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let config = load(&api(&format!(
        "tcp = \"[::]:6385\"\nauth = \"token\"\nhosts = [\"mgmt\"]\n\
         [[api.token]]\nname = \"ci\"\nrole = \"reader\"\nsha256 = \"{hash}\""
    )));
    let token = &config.api.policy.tokens[0];
    assert_eq!(
        (token.name.as_str(), token.role, &token.nodes),
        ("ci", Role::Reader, &None)
    );
    // The first and the last byte of SHA-256("test").
    assert_eq!((token.sha256[0], token.sha256[31]), (0x9f, 0x08));
    assert!(config.api.policy.hosts.contains("mgmt"));
    assert!(
        matches!(&config.warnings[..], [warning] if warning.contains("cross the network readable")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn mistakes_in_htpasswd_are_said_with_their_lines() {
    let world = World::new(&api("tcp = \"127.0.0.1:1\"")).with(
        "/etc/rackbmcd/htpasswd",
        &format!(
            "# users\nops\nweak:$apr1$x$yz\n\n:x\nslow:$2y$31${}\n",
            "a".repeat(53)
        ),
        0o640,
    );
    let found = world.load().unwrap_err();
    let expected = [
        "/etc/rackbmcd/htpasswd:2:1: this is no user: write name:hash, as htpasswd -B makes it",
        "/etc/rackbmcd/htpasswd:3:1: the password of weak is no bcrypt hash: make it with htpasswd -B",
        "/etc/rackbmcd/htpasswd:5:1: this is no user: write name:hash, as htpasswd -B makes it",
        "/etc/rackbmcd/htpasswd:6:1: the password of slow has a bcrypt cost of 31, too slow to compare at each log-in: make it with htpasswd -B -C 10 (14 at most)",
        "/etc/rackbmcd/rackbmcd.toml:2:7: /etc/rackbmcd/htpasswd has no user: make one with htpasswd -B",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_role_of_an_account_that_is_not_there_is_nobodys_and_is_said() {
    // Where there is no grant at all everybody is operator: one that speaks to nobody must not be
    // lost.
    let config = load(&api(
        "[[api.role]]\nrole = \"admin\"\nunix_users = [\"gone\", \"ops\"]",
    ));
    let granted: Vec<&Subject> = config
        .api
        .policy
        .grants
        .iter()
        .map(|grant| &grant.to)
        .collect();
    assert_eq!(
        granted,
        [&Subject::Unknown("gone".into()), &Subject::Uid(1001)]
    );
    assert_eq!(
        config.warnings,
        [
            "/etc/rackbmcd/rackbmcd.toml:4:15: unix_users: this host has no 'gone': nobody gets this role by it"
        ]
    );
}

#[test]
fn a_socket_that_people_may_read_and_not_write_is_warned_about() {
    for (mode, warns) in [
        ("0660", false),
        ("0600", false),
        ("0640", true),
        ("0444", true),
        ("0664", true),
    ] {
        let config = load(&api(&format!("socket_mode = \"{mode}\"")));
        let warnings = format!("{:?}", config.warnings);
        let text = "who may only read the socket cannot use it";
        assert_eq!(warnings.contains(text), warns, "{mode}: {warnings}");
    }
}
