//! What is wrong with a file is said, all of it, with its places.

use super::*;

#[test]
fn every_mistake_is_said_at_once_and_with_its_place() {
    let found = complaints(
        r#"[rack]
name = "r 1"
sync_intervall = "60s"
sync_interval = 60
max_transitions = 0
[defaults]
username = "a-user-name-of-25-bytes!!"
password_file = "gone.pw"
cipher_suites = [17, 4, 3, 3, 99]
quirks = ["sun21"]
on_soft_timeout = "hard"
[[node]]
name = "n[1-3]"
address = "10.0.0.[1-2]"
[[node]]
name = "n2"
address = "10.0.0.1"
port = 0
[daemons]
"#,
    );
    let expected = [
        "2:8: 'r 1' is no name for a rack: ' ' is not allowed, only letters, digits, '-', '_' and '.'",
        "3:1: [rack] has no key 'sync_intervall': did you mean 'sync_interval'?",
        "4:17: sync_interval needs a unit: write \"60s\" or the like",
        "5:19: max_transitions cannot be 0: write a number from 1 to 4096",
        "7:12: the user name has 25 bytes: IPMI carries at most 16",
        "8:17: /etc/rackbmcd/gone.pw cannot be read: No such file or directory (os error 2)",
        "9:22: cipher suite 4 uses xRC4, which is broken and not supported: write some of 17, 16, 15, 12, 11, 8, 7, 6, 3, 2, 1, 0",
        "9:28: cipher suite 3 stands there twice",
        "9:31: cipher suite 99 is not a standard one (0 to 19): write some of 17, 16, 15, 12, 11, 8, 7, 6, 3, 2, 1, 0",
        "10:11: \"sun21\" is no quirk and no preset: did you mean 'sun20'?",
        "11:19: on_soft_timeout cannot be \"hard\": write one of fail, hard power off",
        "14:11: 2 addresses for 3 names: ranges expand in step, so both must have as many",
        "16:8: the name n2 is taken by the node of line 13",
        "17:11: the address 10.0.0.1 port 623 is taken by the node of line 14",
        "18:8: port cannot be 0: write a number from 1 to 65535",
        "19:2: the file has no key 'daemons': did you mean 'daemon'?",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_file_that_is_no_toml_is_said_with_its_places() {
    let found = complaints("[rack]\nname = r1\nsync_interval = 60s\n[[node]\n");
    assert!(
        found.iter().any(|text| text.starts_with("2:")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|text| text.starts_with("3:")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|text| text.starts_with("4:")),
        "{found:#?}"
    );
    assert!(
        !found.iter().any(|text| text.contains("there are no nodes")),
        "{found:#?}"
    );
    let found = complaints("[rack]\nname = \"a\"\nname = \"b\"\n");
    assert!(
        found[0].starts_with("3:1: ") && found[0].contains("duplicate key"),
        "{found:#?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_said() {
    let mut world = World::new("");
    world.files.remove(Path::new(CONFIG));
    assert!(
        world.load().unwrap_err()[0]
            .ends_with("cannot be read: No such file or directory (os error 2)")
    );
    world
        .files
        .insert(CONFIG.into(), (b"a = 1\n\xc3\xa4 \xff".to_vec(), 0o640));
    assert_eq!(
        world.load().unwrap_err(),
        ["/etc/rackbmcd/rackbmcd.toml:2:3: this is no UTF-8 text: save the file as UTF-8"]
    );
}

#[test]
fn a_file_without_nodes_or_log_in_is_refused() {
    assert_eq!(
        complaints(""),
        ["1:1: there are no nodes: write a [[node]] with name and address"]
    );
    assert_eq!(
        complaints("[api]\n"),
        ["1:1: there are no nodes: write a [[node]] with name and address"]
    );
    assert_eq!(
        complaints("[[node]]\n"),
        [
            "1:1: the node has no address: write address = \"...\"",
            "1:1: the node has no name: write name = \"...\"",
        ]
    );
    assert_eq!(
        complaints("[[node]]\nname=\"n\"\naddress=\"a\"\n"),
        [
            "1:1: no password: write password_file = \"...\" here or in [defaults]",
            "1:1: no username: write username = \"...\" here or in [defaults] (\"\" is the anonymous user)",
        ]
    );
}

#[test]
fn one_table_where_several_belong_is_said() {
    assert!(complaints("[node]\nname = \"a\"\n")[0].contains("write [[node]]"));
    assert!(
        complaints(&format!("[[rack]]\nname = \"a\"\n{}", with_password("")))[0]
            .contains("write [rack]")
    );
    let found = complaints(&format!("rack = 5\n{}", with_password("")));
    assert_eq!(found, ["1:8: rack is a number: write a table"]);
}

#[test]
fn a_rack_without_measure_is_refused() {
    let text = "[[node]]\nname = \"n[1-5000]\"\naddress = \"b[1-5000]\"\nusername = \"u\"\npassword_file = \"bmc.pw\"\n";
    assert_eq!(
        complaints(text),
        ["1:1: there are more than 4096 nodes: one daemon serves one rack"]
    );
}
