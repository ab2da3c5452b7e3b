//! `[[node]]` and `[defaults]`: names, addresses, secrets and wrong values.

use super::*;

#[test]
fn names_are_names() {
    for (name, expected) in [
        ("", "the name is empty"),
        (" ", "the name is empty"),
        ("a/b", "'/' is not allowed"),
        ("ä", "'ä' is not allowed"),
        ("n1,n2", "',' is not allowed"),
        ("..", "it needs a letter"),
        (
            "n[3-1]",
            "column 3: the range 3-1 runs backwards: write 1-3",
        ),
        (
            "5b9a1a3e-5d0a-4c0e-9c55-0f6f0f4f1b11",
            "it looks like a uuid",
        ),
    ] {
        let text = format!(
            "[[node]]\nname = \"{name}\"\naddress = \"a\"\nusername = \"u\"\npassword_file = \"bmc.pw\"\n"
        );
        let found = complaints(&text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with("2:8: ") && found[0].contains(expected),
            "{found:#?}"
        );
    }
}

#[test]
fn a_complaint_is_one_line_whatever_was_typed() {
    let found = complaints(&with_password("\"a\\nb\\u001b[2J\" = 1"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(!found[0].contains(|c: char| c.is_control()), "{found:#?}");
    assert!(found[0].contains("a\\u{a}b\\u{1b}[2J"), "{found:#?}");
}

#[test]
fn addresses_are_addresses() {
    let load_address = |address: &str| {
        let text = format!(
            "[[node]]\nname = \"n\"\naddress = \"{address}\"\nusername = \"u\"\npassword_file = \"bmc.pw\"\n"
        );
        World::new(&text).load()
    };
    for good in [
        "bmc1",
        "bmc_1.rack-2.example.",
        "10.0.0.1",
        "fe80::1%eth0",
        "::1",
        "[::1]",
        "1.bmc",
        "0xc.bmc",
        "bmc.7",
    ] {
        assert!(load_address(good).is_ok(), "{good}");
    }
    for (bad, expected) in [
        ("", "the address is empty"),
        (
            "10.0.0.300",
            "write a host name, an IPv4 or an IPv6 address",
        ),
        ("127.1", "write a host name, an IPv4 or an IPv6 address"),
        ("0x7f.1", "write a host name, an IPv4 or an IPv6 address"),
        (
            "fe80::1",
            "write the interface behind it, as in fe80::1%eth0",
        ),
        ("10.0.0.1:623", "write the port apart"),
        ("[::1]:623", "write the port apart"),
        ("-bmc", "write a host name"),
        ("a..b", "write a host name"),
        ("bmc 1", "write a host name"),
        ("http://bmc", "write the port apart"),
        ("10.0.0.[1-", "never closed"),
        ("0.0.0.0", "write that of the BMC"),
        ("::", "write that of the BMC"),
        ("[::]", "write that of the BMC"),
        ("::ffff:0.0.0.0", "write that of the BMC"),
        ("255.255.255.255", "many machines listen there"),
        ("224.0.0.1", "many machines listen there"),
        ("::ffff:239.1.2.3", "many machines listen there"),
        ("ff02::1%eth0", "many machines listen there"),
    ] {
        let found = load_address(bad).expect_err(bad);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].contains(":3:11: ") && found[0].contains(expected),
            "{found:#?}"
        );
    }
}

#[test]
fn uuids_and_addresses_are_nobody_elses() {
    let both = |a: &str, b: &str| {
        format!(
            "[defaults]\nusername = \"u\"\npassword_file = \"bmc.pw\"\n[[node]]\nname = \"a\"\n{a}\n[[node]]\nname = \"b\"\n{b}\n"
        )
    };
    let same_uuid = format!("uuid = \"{}\"", uuid_of("b"));
    let found = complaints(&both(
        &format!("address = \"x\"\n{same_uuid}"),
        "address = \"y\"",
    ));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("is taken by the node of line 7"),
        "{found:#?}"
    );
    let found = complaints(&both("address = \"X\"", "address = \"x\""));
    assert_eq!(
        found,
        ["9:11: the address x port 623 is taken by the node of line 6"]
    );
    for (one, other) in [
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("::ffff:7f00:1", "127.0.0.1"),
        ("fd00::1", "FD00:0:0::1"),
        ("[fd00::1]", "fd00:0000::0.0.0.1"),
        ("FE80::1%eth0", "fe80:0::1%eth0"),
        ("bmc.example", "BMC.example."),
    ] {
        let [one, other] = [one, other].map(|host| format!("address = \"{host}\""));
        let found = complaints(&both(&one, &other));
        assert!(
            found.len() == 1 && found[0].contains("is taken by the node of line 6"),
            "{one} {other}: {found:#?}"
        );
    }
    load(&both("address = \"fe80::1%a\"", "address = \"fe80::1%b\""));
    load(&both("address = \"x\"", "address = \"x\"\nport = 624"));
    complains("uuid = \"no\"", "'no' is no uuid");
    let several = with_password("uuid = \"5b9a1a3e-5d0a-4c0e-9c55-0f6f0f4f1b11\"")
        .replace("n1", "n[1-2]")
        .replace("0.1", "0.[1-2]");
    assert!(complaints(&several)[0].contains("several nodes cannot have one uuid"));
}

#[test]
fn secrets_are_read_and_judged() {
    for (line, expected) in [
        (
            "password_file = \"open.pw\"",
            "open to every user (mode 0644): chmod 0640",
        ),
        (
            "password_file = \"21.pw\"",
            "the password has 21 bytes: this protocol carries at most 20",
        ),
        (
            "password_file = \"17.pw\"\nprotocol = \"1.5\"",
            "has 17 bytes: this protocol carries at most 16",
        ),
        (
            "password_file = \"17.pw\"\nprotocol = \"2.0 then 1.5\"",
            "at most 16",
        ),
        ("password_file = \"zero.pw\"", "a zero byte at position 1"),
        ("password_file = \"two.pw\"", "several lines"),
        (
            "password_file = \"mark.pw\"",
            "begins with a byte order mark (UTF-8)",
        ),
        ("password_file = \"\"", "password_file is empty"),
        ("password_credential = \"../bmc\"", "no credential's name"),
        (
            "password_credential = \"none\"",
            "/run/credentials/none cannot be read",
        ),
        (
            "password_file = \"bmc.pw\"\npassword_credential = \"bmc\"",
            "write one of them",
        ),
    ] {
        let found = complaints(&node(line));
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{found:#?}"
        );
        assert!(
            found.iter().all(|text| !text.contains("1234567")),
            "no secret is shown: {found:#?}"
        );
    }
    let mut world = World::new(&node("password_credential = \"bmc\""));
    world.credentials = None;
    assert!(world.load().unwrap_err()[0].contains("$CREDENTIALS_DIRECTORY is not set"));
    assert!(
        World::new(&node("password_file = \"17.pw\""))
            .load()
            .is_ok()
    );
    let warnings = load(&node("password_file = \"empty.pw\"")).warnings;
    assert!(
        warnings[0].contains(":5:17: the password is empty"),
        "{warnings:#?}"
    );
    let shown = format!("{:?}", load(&with_password("kg = \"k-g-key\"")));
    assert!(!shown.contains("secret") && !shown.contains("k-g-key"));
}

#[test]
fn the_bmc_key_comes_as_text_digits_or_file() {
    let key = |line: &str| {
        let world =
            World::new(&with_password(line)).with("/etc/rackbmcd/kg", "0123456789\n", 0o600);
        world.load().map(|config| {
            config.nodes[0]
                .login
                .bmc_key
                .clone()
                .unwrap()
                .expose()
                .to_vec()
        })
    };
    assert_eq!(key("kg = \"a key\""), Ok(b"a key".to_vec()));
    assert_eq!(key("kg_hex = \"00FF\""), Ok(vec![0, 0xFF]));
    assert_eq!(key("kg_file = \"kg\""), Ok(b"0123456789".to_vec()));
    complains("kg_hex = \"00F\"", "no even number of hexadecimal digits");
    complains("kg_hex = \"0000\"", "the same as none");
    complains("kg = \"\"", "the same as none");
    complains("kg = \"123456789012345678901\"", "21 bytes are too long");
    assert!(complaints(&with_password("kg = \"a\"\nkg_hex = \"00\""))[0].contains("given twice"));
    let world = World::new("").with(CONFIG, &with_password("kg = \"a\""), 0o644);
    assert!(world.load().unwrap_err()[0].contains("every user may read this file"));
}

#[test]
fn wrong_values_of_a_node_are_said() {
    for (line, expected) in [
        (
            "soft_power_off_timeout = \"0s\"",
            "write a duration from \"1s\" to \"7d\"",
        ),
        ("soft_power_off_timeout = \"-5s\"", "is no duration"),
        ("soft_power_off_timeout = \"1000d\"", "cannot be \"1000d\""),
        ("soft_power_off_timeout = 600", "write \"600s\""),
        (
            "soft_power_off_timeout = true",
            "is true or false: write a text",
        ),
        ("hard_after = \"20m\"", "comes after soft_power_off_timeout"),
        ("repeat_soft_after = \"5s\"", "from \"10s\""),
        ("keepalive = \"1s\"", "from \"5s\""),
        ("auth_failures = 0", "from 1 to 10"),
        ("orders_per_second = inf", "cannot be inf"),
        ("orders_per_second = 0", "cannot be 0"),
        ("burst = 2.5", "write a whole number"),
        ("port = -1", "cannot be -1"),
        ("nmi = \"no\"", "write true or false"),
        ("privilege = \"operater\"", "did you mean 'operator'?"),
        ("protocol = \"3.0\"", "did you mean '2.0'?"),
        (
            "ipmi15_auth = \"md5\"",
            "goes with protocol = \"1.5\" alone",
        ),
        ("cipher_suites = []", "cipher_suites is empty"),
        ("cipher_suites = 17", "write a list"),
        ("cipher_suites = [\"17\"]", "write a whole number"),
        ("cipher_suites = [300]", "from 0 to 255"),
        ("quirks = [\"nonsense\"]", "is no quirk"),
        ("groups = [\"a b\"]", "' ' is not allowed"),
        ("groups = [\"all\"]", "'all' is every node already"),
        ("password = \"x\"", "does not stand in this file"),
        ("host = \"x\"", "write address"),
        ("adress = \"x\"", "did you mean 'address'?"),
    ] {
        complains(line, expected);
    }
}

#[test]
fn what_is_weak_is_allowed_and_warned_about() {
    let warnings = load(&with_password("cipher_suites = [3, 0]")).warnings;
    assert_eq!(
        warnings,
        [
            "/etc/rackbmcd/rackbmcd.toml:6:21: cipher suite 0 protects nothing: whoever is on the path can give orders"
        ]
    );
    let config = load(&with_password(
        "protocol = \"1.5\"\nipmi15_auth = \"password\"",
    ));
    assert!(config.warnings[0].contains("6:12: IPMI 1.5 encrypts nothing"));
    assert!(config.warnings[1].contains("7:15: this authentication protects nothing"));
}
