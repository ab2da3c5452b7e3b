//! `rackbmc support` with the real daemon: what is in the file that it packs, and that no secret
//! is.

mod daemon;

use daemon::{Bed, Keys, plan, rackbmc};
use flate2::read::GzDecoder;
use rackbmcd::cli::sim::NodePlan;
use rackbmcd::sim::{Mood, Privilege, User};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const NAME: &str = "zq7xk2wj9";
const PASSWORD: &str = "Qx9vZ7kJw3Hq8p";
const KEY: &str = "Jq4zVx8kWq2hZp6tYw1k";
/// K_g of the second node, as the configuration has it in hexadecimal.
const SECOND_KEY: &[u8] = b"\x9fW5q\x01Kx3vJh7pQ";
/// What the second node's BMC has for a password, so that the log-in is refused.
const OTHER: &str = "Wz5qKx3vJh7pQk9t";
const TOKEN: &str = "gT4bRk8sLm2nXv6c";
const WHO_USES_THE_TOKEN: &str = "fence-agent-of-bob";
const COMMENT: &str = "calvin-was-here";

fn with_user(name: &str, password: &str, key: &[u8]) -> NodePlan {
    let mut plan = plan(name, Mood::default());
    plan.settings.users = vec![User {
        password: password.as_bytes().to_vec(),
        ..User::new(NAME, "", Privilege::Operator)
    }];
    plan.settings.bmc_key = Some(key.to_vec());
    plan
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of [`TOKEN`], by coreutils' sha256sum.
const TOKEN_SHA256: &str = "f1ae0dc1580b26d96759a164196cd81efc7fdc73d14eee0ce63f7ea16aa9f5b0";

/// A rack of a node that is well and one whose BMC takes another password.
fn bed() -> Bed {
    let plans = [
        with_user("n01", PASSWORD, KEY.as_bytes()),
        with_user("n02", OTHER, SECOND_KEY),
    ];
    let tcp = daemon::free_tcp();
    let api = format!(
        "tcp = \"{tcp}\"\nauth = \"token\"\n[[api.token]]\nname = \"{WHO_USES_THE_TOKEN}\"\nsha256 = \"{}\"\n\
         role = \"reader\"\n",
        TOKEN_SHA256
    );
    let keys = Keys {
        api: &api,
        ..Keys::default()
    };
    let mut bed = Bed::with_nodes(plans, &keys, |name, address: SocketAddr| {
        let key = match name {
            "n01" => format!("kg = \"{KEY}\""),
            _ => format!("kg_hex = \"{}\"", hex(SECOND_KEY)),
        };
        format!(
            "[[node]]\n# {COMMENT}\nname = \"{name}\"\naddress = \"{}\"\nport = {}\nusername = \"{NAME}\"\n\
             password_file = \"own.pw\"\n{key}\n",
            address.ip(),
            address.port()
        )
    });
    let own = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(bed.path("own.pw"));
    own.and_then(|mut file| writeln!(file, "{PASSWORD}"))
        .expect("a password file");
    let only_ours = fs::Permissions::from_mode(0o600);
    fs::set_permissions(bed.path("rackbmcd.toml"), only_ours).expect("it is ours");
    bed.start();
    bed.wait_for("both were tried", |bed| {
        let said = |node| bed.rackbmc(&["status", node, "-o", "json"]).out;
        said("n01").contains("\"power on\"") && said("n02").contains("password")
    });
    bed
}

/// What stands in the file, by name without the folder.
fn unpacked(path: &Path) -> BTreeMap<String, String> {
    let file = File::open(path).expect("it is there");
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let entries = archive.entries().expect("an archive");
    let read = entries.map(|entry| {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a name").display().to_string();
        let (_, name) = path.split_once('/').expect("all is in a folder");
        let name = name.to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        (name, text)
    });
    read.collect()
}

/// How a secret may be written: as it is, in hexadecimal of every kind, in base64, as numbers,
/// backwards, escaped.
fn writings(secret: &[u8]) -> Vec<String> {
    let spelled = |separator: &str, write: fn(&u8) -> String| {
        let bytes: Vec<String> = secret.iter().map(write).collect();
        bytes.join(separator)
    };
    let backwards: Vec<u8> = secret.iter().rev().copied().collect();
    let mut writings = vec![
        String::from_utf8_lossy(secret).into_owned(),
        String::from_utf8_lossy(&backwards).into_owned(),
        hex(secret),
        hex(&backwards),
        hex(secret).to_uppercase(),
        spelled(" ", |byte| format!("{byte:02x}")),
        spelled(":", |byte| format!("{byte:02x}")),
        spelled(", ", |byte| format!("{byte:#04x}")),
        spelled(" ", |byte| format!("{byte:#04x}")),
        spelled(", ", |byte| byte.to_string()),
        spelled(",", |byte| byte.to_string()),
        secret.escape_ascii().to_string(),
    ];
    // Base64 of a text in which it begins at any place; the letters at the ends depend on what is
    // around it.
    for before in 0..3 {
        let text = base64(&[&vec![0; before], secret].concat());
        let whole = text.trim_end_matches('=');
        writings.push(whole[4.min(whole.len())..whole.len() - 2].to_owned());
    }
    writings
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).map(|group| {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let number = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter = |at: usize| match at <= group.len() {
            true => char::from(LETTERS[(number >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        (0..4).map(letter).collect::<String>()
    });
    groups.collect()
}

#[track_caller]
fn assert_no_secret(pack: &BTreeMap<String, String>) {
    let digest = TOKEN_SHA256.as_bytes();
    let secrets = [
        NAME.as_bytes(),
        PASSWORD.as_bytes(),
        KEY.as_bytes(),
        SECOND_KEY,
        OTHER.as_bytes(),
        TOKEN.as_bytes(),
        digest,
        WHO_USES_THE_TOKEN.as_bytes(),
        COMMENT.as_bytes(),
    ];
    for (name, text) in pack {
        for secret in secrets {
            for writing in writings(secret) {
                assert!(!text.contains(&writing), "{writing} in {name}:\n{text}");
            }
        }
    }
}

#[test]
fn base64_is_as_the_rfc_has_it() {
    let made = ["f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
    assert_eq!(made, ["Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
}

#[test]
fn a_report_has_all_that_helps_and_none_of_the_secrets_in_any_writing() {
    let bed = bed();
    let set_password = ["raw", "n01", "0x06", "0x47", "2", "2"];
    let bytes: Vec<String> = OTHER.bytes().map(|byte| byte.to_string()).collect();
    let words = set_password
        .into_iter()
        .chain(bytes.iter().map(String::as_str));
    bed.rackbmc(&words.collect::<Vec<_>>());
    let path = bed.path("report.tar.gz");
    let place = path.display().to_string();
    assert_eq!(
        bed.expect(0, &["support", "--to", &place]),
        format!("{place}\n")
    );
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let pack = unpacked(&path);
    assert_no_secret(&pack);
    let has = |name: &str, text: &str| {
        let found = pack.get(name).unwrap_or_else(|| panic!("{name}: {pack:?}"));
        assert!(found.contains(text), "{text} in {name}:\n{found}");
    };
    has(
        "versions.txt",
        concat!("rackbmcd: ", env!("CARGO_PKG_VERSION")),
    );
    has("versions.txt", "kernel: ");
    has("configuration.toml", "kg_hex = \"(left out)\"");
    has("configuration.toml", "name = \"n02\"");
    has("log.txt", "rack r1: 2 nodes");
    has("health.json", "\"nodes\": 2");
    has("metrics.txt", "rackbmc_troubled_bmcs");
    has("nodes/n01/explain.json", "\"cipher suites\"");
    has("nodes/n02/explain.json", "(left out), privilege operator");
    // The BMC in trouble alone, as no node was named.
    has("nodes/n02/trace.txt", "RAKP 2");
    assert!(!pack.contains_key("nodes/n01/trace.txt"));
    has("contents.txt", "log.txt: ");
    assert!(!pack["contents.txt"].contains("Missing"));
    let trail = bed.expect(0, &["audit", "-o", "json"]);
    assert!(
        trail.contains("read log and configuration for a report"),
        "{trail}"
    );
    // It takes the place of nothing.
    let before = fs::read(&path).expect("it is there");
    let again = bed.rackbmc(&["support", "--to", &place]);
    assert_eq!(again.code, 1, "{}", again.err);
    assert!(again.err.contains("File exists"), "{}", again.err);
    assert_eq!(fs::read(&path).expect("it is there"), before);
    // The traces of the nodes that are named, whatever their trouble.
    let named = bed.path("named.tar.gz").display().to_string();
    bed.expect(0, &["support", "n01", "--to", &named, "-o", "json"]);
    let pack = unpacked(named.as_ref());
    assert_no_secret(&pack);
    assert!(pack["nodes/n01/trace.txt"].contains("Set User Password 06h/47h request"));
    assert!(!pack.contains_key("nodes/n02/explain.json"));
    let unknown = bed.rackbmc(&["support", "n77", "--to", "never.tar.gz"]);
    assert_eq!(
        (unknown.code, Path::new("never.tar.gz").exists()),
        (2, false)
    );
}

#[test]
fn where_no_daemon_answers_there_is_still_something_and_what_is_missing_is_said() {
    let mut bed = bed();
    bed.terminate();
    let path = bed.path("report.tar.gz").display().to_string();
    let config = bed.path("rackbmcd.toml").display().to_string();
    let said = bed.rackbmc(&["support", "--to", &path, "--config", &config]);
    assert_eq!((said.code, said.out), (3, format!("{path}\n")));
    let missing = "missing: health, metrics, log, explain and traces: ";
    assert!(said.err.starts_with(missing), "{}", said.err);
    let pack = unpacked(path.as_ref());
    assert_no_secret(&pack);
    assert!(pack["contents.txt"].contains("Missing:\nhealth, metrics, log"));
    assert!(pack["configuration.toml"].contains("name = \"n01\""));
    assert!(pack["versions.txt"].contains("kernel: "));
    let elsewhere = tempfile::tempdir().expect("a folder");
    let mut command = rackbmc(
        &elsewhere.path().join("s"),
        &["support", "--config", "/nowhere"],
    );
    let output = command
        .current_dir(elsewhere.path())
        .output()
        .expect("it runs");
    let said = daemon::Said::of(output);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(
        said.err
            .contains("missing: configuration: /nowhere cannot be read")
    );
    let name = said.out.trim_end();
    assert!(
        name.starts_with("rackbmc-support-2") && name.ends_with("Z.tar.gz"),
        "{name}"
    );
    assert!(elsewhere.path().join(name).exists());
}
