//! Files as people write them, right and wrong, without a disk.

mod api;
mod mistakes;
mod node;
mod shipped;

use super::*;
use crate::ipmi::{PrivilegeLevel, SuiteId};
use crate::model::{Grant, OnSoftTimeout, Role, Subject, TcpAuth};
use crate::rack::settings::Address;
use crate::session::quirk::Quirk;
use crate::session::settings::Protocol;
use proptest::prelude::*;
use std::io;
use zeroize::Zeroizing;

const CONFIG: &str = "/etc/rackbmcd/rackbmcd.toml";

/// Files in memory.
struct World {
    files: BTreeMap<PathBuf, (Vec<u8>, u32)>,
    credentials: Option<PathBuf>,
    state_directory: Option<PathBuf>,
    checks_only: bool,
}

impl Files for World {
    fn read(&self, path: &Path) -> io::Result<Content> {
        let (bytes, mode) = self
            .files
            .get(path)
            .ok_or_else(|| io::Error::from_raw_os_error(2))?;
        let bytes = Zeroizing::new(bytes.clone());
        Ok(Content { bytes, mode: *mode })
    }
    fn credentials(&self) -> Option<PathBuf> {
        self.credentials.clone()
    }
    fn state_directory(&self) -> Option<PathBuf> {
        self.state_directory.clone()
    }
    fn user_id(&self, name: &str) -> Option<u32> {
        (name == "ops").then_some(1001)
    }
    fn group_id(&self, name: &str) -> Option<u32> {
        match name {
            "wheel" => Some(10),
            "rackbmc" => Some(11),
            _ => None,
        }
    }
    fn checks_only(&self) -> bool {
        self.checks_only
    }
}

impl World {
    /// A configuration, and the secrets that the tests name.
    fn new(config: &str) -> Self {
        let world = Self {
            files: BTreeMap::new(),
            credentials: Some("/run/credentials".into()),
            state_directory: None,
            checks_only: false,
        };
        let hash = format!("ops:$2y$05${}\n", "a".repeat(53));
        world
            .with(CONFIG, config, 0o640)
            .with("/etc/rackbmcd/bmc.pw", "secret\n", 0o640)
            .with("/etc/rackbmcd/open.pw", "secret\n", 0o644)
            .with("/etc/rackbmcd/17.pw", "12345678901234567", 0o600)
            .with("/etc/rackbmcd/21.pw", "123456789012345678901", 0o600)
            .with("/etc/rackbmcd/zero.pw", "a\0b", 0o600)
            .with("/etc/rackbmcd/two.pw", "a\nb\n", 0o600)
            .with("/etc/rackbmcd/mark.pw", "\u{feff}secret\n", 0o600)
            .with("/etc/rackbmcd/empty.pw", "\n", 0o600)
            .with("/run/credentials/bmc", "credential\n", 0o400)
            .with("/etc/rackbmcd/htpasswd", &hash, 0o640)
    }

    fn with(mut self, path: &str, content: &str, mode: u32) -> Self {
        self.files
            .insert(path.into(), (content.as_bytes().to_vec(), mode));
        self
    }

    fn load(&self) -> Result<Configuration, Vec<String>> {
        let loaded = Configuration::load(Path::new(CONFIG), self);
        loaded.map_err(|complaints| complaints.iter().map(Complaint::to_string).collect())
    }
}

fn load(config: &str) -> Configuration {
    World::new(config)
        .load()
        .unwrap_or_else(|complaints| panic!("{}", complaints.join("\n")))
}

/// The complaints about a file, without its name.
fn complaints(config: &str) -> Vec<String> {
    let complaints = World::new(config).load().expect_err(config);
    assert!(!complaints.is_empty());
    let bare = |text: String| text.replace("/etc/rackbmcd/rackbmcd.toml:", "");
    complaints.into_iter().map(bare).collect()
}

/// A file with a text in every key that takes one.
const TEXTS: &str = r#"
[daemon]
state_dir = "/var/lib/rackbmcd"
log_level = "info"
[api]
socket = "/run/s"
socket_group = "rackbmc"
socket_mode = "0660"
tcp = "127.0.0.1:6385"
auth = "http_basic"
htpasswd = "htpasswd"
hosts = ["rack1.example"]
[[api.role]]
role = "operator"
unix_groups = ["wheel"]
unix_users = ["ops", "nobody-of-this-host"]
http_users = ["ops"]
nodes = "n1"
[[api.token]]
name = "fencing"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
role = "reader"
nodes = "@all"
[api.limits]
header_timeout = "30s"
[rack]
name = "r1"
sync_interval = "60s"
power_order = ["storage", "compute"]
maintenance_policy = "allow"
[groups]
compute = "n1"
[defaults]
username = "admin"
password_file = "bmc.pw"
privilege = "operator"
protocol = "2.0"
ipmi15_auth = "strongest"
quirks = ["no-lan-pings"]
kg = "key"
on_soft_timeout = "fail"
bmc_identity = "guid"
[[node]]
name = "n1"
address = "10.0.0.1"
uuid = "410b8fd9-96cb-506e-b007-a73a7fe4fb6d"
groups = ["storage"]
password_credential = "bmc"
"#;

#[test]
fn no_text_of_the_configuration_holds_what_is_not_seen() {
    let places: Vec<usize> = TEXTS.match_indices('"').map(|(at, _)| at).collect();
    let closing = places.chunks(2).map(|pair| pair[1]);
    let mut tried = 0;
    for at in closing {
        for letter in [0x00, 0x0a, 0x1b, 0x7f, 0x9b, 0x202e, 0x2028, 0x2066, 0x200b] {
            let (before, after) = TEXTS.split_at(at);
            let spoilt = format!("{before}\\u{letter:04x}{after}");
            let complaints = World::new(&spoilt).load().expect_err(&spoilt);
            let shown = complaints.join("");
            assert!(!shown.contains(crate::model::is_hidden), "{shown:?}");
            let line = before.lines().count();
            let place = format!("{CONFIG}:{line}:");
            assert!(
                complaints.iter().any(|said| said.starts_with(&place)),
                "line {line}: {complaints:#?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn names_of_users_and_tokens_are_short_and_seen() {
    let config =
        node("password_file = \"bmc.pw\"\n[api]\ntcp = \"127.0.0.1:1\"\nhtpasswd = \"htpasswd\"");
    for name in ["a\u{202e}b".to_owned(), "x".repeat(256)] {
        let users = format!("{name}:$2y$05${}\n", "a".repeat(53));
        let world = World::new(&config).with("/etc/rackbmcd/htpasswd", &users, 0o640);
        let found = world.load().expect_err("a name that cannot be").join("");
        assert!(found.contains("the name of a user"), "{found}");
        assert!(!found.contains(crate::model::is_hidden), "{found:?}");
    }
    let token = format!(
        "{config}\n[[api.token]]\nname = \"{}\"\nsha256 = \"{}\"\nrole = \"reader\"",
        "x".repeat(256),
        "0".repeat(64)
    );
    assert!(complaints(&token)[0].contains("the name of a token is longer than 255 bytes"));
}

/// A good file with one node that has some more lines; they begin at line 5.
fn node(lines: &str) -> String {
    format!("[[node]]\nname = \"n1\"\naddress = \"10.0.0.1\"\nusername = \"u\"\n{lines}\n")
}

fn with_password(lines: &str) -> String {
    node(&format!("password_file = \"bmc.pw\"\n{lines}"))
}

/// The only complaint about a node with a password and a wrong line, which is line 6.
#[track_caller]
fn complains(line: &str, expected: &str) {
    let found = complaints(&with_password(line));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("6:"), "{found:#?}");
    assert!(found[0].contains(expected), "{found:#?}");
}

const EXAMPLE: &str = r#"
[daemon]
state_dir = "/var/lib/rackbmcd"

[api]
socket = "/run/rackbmcd/rackbmcd.sock"
tcp = "127.0.0.1:6385"           # off unless set
auth = "http_basic"              # for tcp: http_basic | none (none only on loopback, and warned about)
htpasswd = "/etc/rackbmcd/htpasswd"

[rack]
name = "r1"
sync_interval = "60s"            # reading of idle nodes
power_on_stagger = "500ms"
max_transitions = 16             # power changes under way at once, rack-wide

[defaults]                       # every key here may also stand in a [[node]]
username = "admin"
password_file = "/etc/rackbmcd/bmc.pw"     # or password_credential = "bmc"; never the password itself on a command line
privilege = "operator"
cipher_suites = [17, 3]
port = 623
soft_power_off_timeout = "600s"
power_change_timeout = "60s"
min_off_time = "10s"
on_soft_timeout = "fail"         # or "hard power off"
nmi = true                       # false: refused for this node

[[node]]
name = "r1n[01-16]"
address = "10.0.1.[1-16]"        # host, IPv4 or IPv6; ranges expand in step with the names

[[node]]
name = "r1-storage"
address = "bmc-storage.example"
uuid = "5b9a1a3e-5d0a-4c0e-9c55-0f6f0f4f1b11"
"#;

#[test]
fn the_example_of_the_design_means_what_it_says() {
    let config = load(EXAMPLE);
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.nodes.len(), 17);
    assert_eq!(config.daemon, DaemonSettings::default());
    assert_eq!(config.api.tcp, Some("127.0.0.1:6385".parse().unwrap()));
    assert_eq!(config.api.policy.tcp_auth, TcpAuth::HttpBasic);
    assert!(config.api.policy.passwords.contains_key("ops"));
    assert_eq!(&*config.rack.name, "r1");
    let node = &config.nodes[15];
    assert_eq!(&*node.name, "r1n16");
    let expected = Address {
        host: "10.0.1.16".into(),
        port: 623,
    };
    assert_eq!(node.address, expected);
    assert_eq!(&*node.login.username, "admin");
    assert_eq!(node.login.password.expose(), b"secret");
    assert_eq!(node.login.privilege, PrivilegeLevel::Operator);
    assert_eq!(node.login.suites, [SuiteId(17), SuiteId(3)]);
    assert_eq!(*node.power, crate::power::Settings::default());
    assert!(node.nmi);
    let storage = &config.nodes[16];
    assert_eq!(
        storage.uuid.to_string(),
        "5b9a1a3e-5d0a-4c0e-9c55-0f6f0f4f1b11"
    );
}

#[test]
fn a_check_says_that_it_cannot_see_the_credentials_of_the_service() {
    let mut world = World::new(&node("password_credential = \"bmc\""));
    world.credentials = None;
    assert!(world.load().unwrap_err()[0].contains("$CREDENTIALS_DIRECTORY is not set"));
    world.checks_only = true;
    let warnings = world.load().unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("it was not looked at"), "{warnings:?}");
    world.credentials = Some("/run/credentials".into());
    assert!(world.load().unwrap().warnings.is_empty());
}

#[test]
fn what_is_remembered_is_where_systemd_made_a_place_unless_the_file_says() {
    let place = |text: &str| {
        let mut world = World::new(text);
        world.state_directory = Some("/var/lib/rackbmcd/r2".into());
        world.load().unwrap().daemon.state_dir
    };
    let file = with_password("");
    assert_eq!(place(&file), Path::new("/var/lib/rackbmcd/r2"));
    let told = format!("[daemon]\nstate_dir = \"/srv/r2\"\n{file}");
    assert_eq!(place(&told), Path::new("/srv/r2"));
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = load(&with_password(""));
    assert_eq!(config.rack, RackSettings::default());
    assert_eq!(config.api.socket, Path::new("/run/rackbmcd/rackbmcd.sock"));
    assert_eq!((config.api.tcp, config.api.socket_mode), (None, 0o660));
    let node = &config.nodes[0];
    assert_eq!(node.care.auth_hold, Duration::from_secs(600));
    assert_eq!(
        (node.care.auth_failures, node.care.burst, node.address.port),
        (2, 10, 623)
    );
    assert_eq!(node.login.protocol, Protocol::V20);
}

#[test]
fn the_uuid_of_a_name_is_the_same_for_ever() {
    // Worked out with Python's uuid5 and written down once: a change of these would give every node
    // of every rack another identity.
    assert_eq!(
        uuid_of("r1n01").to_string(),
        "ef2721c8-602e-565d-883d-4c4fc7b2dc2c"
    );
    assert_eq!(
        uuid_of("r1-storage").to_string(),
        "019dd81a-8f40-5bdf-8a75-7ea829f9f64f"
    );
    assert_eq!(load(&with_password("")).nodes[0].uuid, uuid_of("n1"));
}

#[test]
fn a_node_wins_over_the_defaults_key_by_key() {
    let config = load(
        r#"
        [defaults]
        username = "admin"
        password_file = "bmc.pw"
        privilege = "administrator"
        nmi = false
        soft_power_off_timeout = "30m"
        groups = ["all-of-us"]
        kg_hex = "0x00ff00"
        [[node]]
        name = "a"
        address = "[fd00::1]"
        [[node]]
        name = "b"
        address = "B.example"
        port = 6230
        username = ""
        password_credential = "bmc"
        privilege = "user"
        nmi = true
        soft_power_off_timeout = "1h30m"
        hard_after = "1h"
        on_soft_timeout = "hard power off"
        groups = ["storage"]
        cipher_suites = [3]
        quirks = ["sun20", "k_const=digest"]
        orders_per_second = 0.5
        burst = 1
        breaker_after = "3s"
        "#,
    );
    let [a, b] = &config.nodes[..] else {
        panic!("two nodes")
    };
    assert_eq!(&*a.address.host, "fd00::1");
    assert_eq!(a.login.privilege, PrivilegeLevel::Administrator);
    assert_eq!(a.login.bmc_key.as_ref().unwrap().expose(), b"\0\xff\0");
    assert_eq!(
        (a.nmi, a.power.patience),
        (false, Duration::from_secs(1800))
    );
    assert_eq!(*a.groups, ["all-of-us"]);
    assert_eq!(b.login.password.expose(), b"credential");
    assert_eq!(
        (&*b.login.username, b.address.port, b.nmi),
        ("", 6230, true)
    );
    assert_eq!(b.power.patience, Duration::from_secs(5400));
    assert_eq!(b.power.hard_after, Some(Duration::from_secs(3600)));
    assert_eq!(b.power.on_soft_timeout, OnSoftTimeout::HardPowerOff);
    assert_eq!(*b.groups, ["storage"]);
    assert_eq!(b.login.suites, [SuiteId(3)]);
    assert!(
        b.login.quirks.has(Quirk::Rakp2Trim1) && b.login.quirks.has(Quirk::ConstantsOfDigestLength)
    );
    assert_eq!((b.care.orders_per_second, b.care.burst), (0.5, 1));
    assert_eq!(b.login.timing.handshake_limit, Duration::from_secs(3));
}

#[test]
fn groups_are_node_sets() {
    let config = load(
        r#"
        [defaults]
        username = "u"
        password_file = "bmc.pw"
        [groups]
        even = "n[2-4/2]"
        odd = "@all!n[2-4/2]"
        [[node]]
        name = "n[1-4]"
        address = "10.0.0.[1-4]"
        groups = ["rack"]
        [[api.role]]
        role = "operator"
        unix_groups = ["wheel", 1000]
        nodes = "@even"
        "#,
    );
    let groups: Vec<String> = config
        .nodes
        .iter()
        .map(|node| node.groups.join("+"))
        .collect();
    assert_eq!(groups, ["odd+rack", "even+rack", "odd+rack", "even+rack"]);
    let nodes = ["n2".to_owned(), "n4".to_owned()];
    let granted = [Subject::Gid(10), Subject::Gid(1000)].map(|to| Grant {
        to,
        role: Role::Operator,
        nodes: Some(nodes.clone().into()),
    });
    assert_eq!(config.api.policy.grants, granted);
}

#[test]
fn the_real_disk_is_read_with_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("rackbmcd.toml");
    let password = home.path().join("bmc.pw");
    std::fs::write(&path, with_password("")).unwrap();
    std::fs::write(&password, "x\n").unwrap();
    let allow =
        |mode| std::fs::set_permissions(&password, std::fs::Permissions::from_mode(mode)).unwrap();
    allow(0o640);
    let config = Configuration::load(&path, &Disk).expect("it is good");
    assert_eq!(config.nodes[0].login.password.expose(), b"x");
    allow(0o644);
    let complaints = Configuration::load(&path, &Disk).expect_err("others may read it");
    assert_eq!((complaints[0].line, complaints[0].column), (5, 17));
}

proptest! {
    #[test]
    fn no_file_makes_it_panic_and_every_place_is_in_the_file(text in "\\PC{0,60}") {
        check(&text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic(at in 0..EXAMPLE.len(), cut in 0_usize..20, put in "[\\[\\]\"=,a-z0-9 \\n\\-]{0,6}") {
        let mut text = EXAMPLE.to_owned();
        text.replace_range(at..(at + cut).min(EXAMPLE.len()), &put);
        check(&text);
    }
}

fn check(text: &str) {
    match Configuration::load(Path::new(CONFIG), &World::new(text)) {
        Ok(config) => assert!(!config.nodes.is_empty() || text.contains("[rack]")),
        Err(complaints) => {
            assert!(!complaints.is_empty());
            for complaint in complaints
                .iter()
                .filter(|complaint| complaint.file == CONFIG)
            {
                let line = text.split('\n').nth(complaint.line - 1).unwrap_or_default();
                assert!(
                    complaint.column >= 1 && complaint.column <= line.chars().count() + 1,
                    "{complaint}"
                );
                assert!(!complaint.text.contains('\n'), "one line each: {complaint}");
            }
        }
    }
}

#[test]
fn the_order_of_a_rack_is_made_of_groups_that_there_are() {
    let nodes = "[defaults]\nusername = \"u\"\npassword_file = \"bmc.pw\"\n[[node]]\nname = \"n1\"\naddress = \"10.0.0.1\"\n\
        groups = [\"storage\"]\n";
    let order = |groups: &str| format!("[rack]\npower_order = [{groups}]\n{nodes}");
    assert_eq!(load(&order("\"storage\"")).rack.power_order, ["storage"]);
    assert_eq!(
        complaints(&order("\"storage\", \"storrage\"")),
        ["2:27: no node is in group 'storrage' of power_order"]
    );
}
