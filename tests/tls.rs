//! The real daemon's TCP port over TLS (feature `tls`), with certificates that `openssl` makes and
//! `curl` as a client that shares no code with ours.

mod daemon;

use daemon::{DAEMON, free_tcp, spawn};
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority and what it signs, in a folder.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().expect("a folder"));
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.crt");
        fs::write(
            authority.path("san"),
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
        )
        .expect("a file");
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, words: &str) {
        let done = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(&self.0)
            .output()
            .expect("openssl is installed");
        assert!(
            done.status.success(),
            "{words}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// `NAME.crt` and `NAME.key` for this host, with a serial number.
    fn sign(&self, name: &str, serial: u32) {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -set_serial {serial} -days 2 -extfile san -out {name}.crt"
        ));
        self.private(&format!("{name}.key"));
    }

    fn private(&self, name: &str) {
        fs::set_permissions(self.path(name), Permissions::from_mode(0o600)).expect("ours");
    }

    /// A configuration with these lines in `[api]`.
    fn configure(&self, address: SocketAddr, lines: &str) -> PathBuf {
        let path = |name: &str| self.path(name);
        fs::write(path("bmc.pw"), "secret\n").expect("a file");
        self.private("bmc.pw");
        let text = format!(
            "[daemon]\nstate_dir = {:?}\n[api]\nsocket = {:?}\ntcp = \"{address}\"\nauth = \"none\"\n{lines}\n\
             [rack]\nname = \"r1\"\n[[node]]\nname = \"r1n01\"\naddress = \"127.0.0.1\"\nport = {}\n\
             username = \"admin\"\npassword_file = \"bmc.pw\"\n",
            path("state"),
            path("s"),
            // A BMC that no other daemon has.
            address.port(),
        );
        fs::write(path("rackbmcd.toml"), text).expect("a file");
        path("rackbmcd.toml")
    }
}

const KEYS: &str = "tls_certificate = \"api.crt\"\ntls_key = \"api.key\"\n";

/// A daemon with a certificate of serial number 17.
struct Bed {
    authority: Authority,
    daemon: Child,
    tcp: SocketAddr,
}

impl Bed {
    fn new(limits: &str) -> Self {
        let authority = Authority::new();
        authority.sign("api", 17);
        let tcp = free_tcp();
        authority.configure(tcp, &format!("{KEYS}[api.limits]\n{limits}"));
        fs::create_dir(authority.path("state")).expect("a folder");
        let daemon = spawn(Command::new(DAEMON), authority.0.path());
        let bed = Self {
            authority,
            daemon,
            tcp,
        };
        bed.eventually("it is never ready", || TcpStream::connect(bed.tcp).is_ok());
        bed
    }

    fn log(&self) -> String {
        fs::read_to_string(self.authority.path("log")).unwrap_or_default()
    }

    #[track_caller]
    fn eventually(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.tcp)
    }

    fn curl(&self, words: &[&str], path: &str) -> Output {
        Command::new("curl")
            .args(["-sS", "--max-time", "15"])
            .args(words)
            .arg(self.url(path))
            .output()
            .expect("curl is installed")
    }

    /// What an honest client reads.
    fn fetch(&self, path: &str) -> Result<String, String> {
        let ca = self.authority.path("ca.crt");
        let done = self.curl(&["--fail", "--cacert", ca.to_str().expect("text")], path);
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }

    /// The serial number of the certificate that is shown.
    fn serial(&self) -> Option<String> {
        let shown = Command::new("openssl")
            .args(["s_client", "-connect", &self.tcp.to_string()])
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        let file = self.authority.path("shown");
        fs::write(&file, shown.stdout).expect("a file");
        let serial = Command::new("openssl")
            .args(["x509", "-noout", "-serial", "-in"])
            .arg(&file)
            .output()
            .expect("openssl is installed");
        let text = String::from_utf8_lossy(&serial.stdout).trim().to_owned();
        text.strip_prefix("serial=").map(str::to_owned)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.daemon.id().to_string()])
            .status();
        assert!(sent.expect("kill is installed").success());
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn rackbmc(url: &str, authorities: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rackbmc"))
        .args(["node-show", "r1n01", "--url", url, "--cacert"])
        .arg(authorities)
        .output()
        .expect("rackbmc runs")
}

#[test]
fn those_who_know_the_authority_are_served_and_others_do_not_believe_us() {
    let bed = Bed::new("");
    let node = bed.fetch("/v1/nodes").expect("served");
    assert!(
        node.contains(&format!("\"href\":\"{}", bed.url("/v1/nodes/"))),
        "{node}"
    );
    // A whole answer of many records, and each version of the protocol.
    for version in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        let ca = bed.authority.path("ca.crt");
        let words = format!("--fail --cacert {} {version}", ca.display());
        let words: Vec<&str> = words.split(' ').collect();
        let done = bed.curl(&words, "/v1/openapi.json");
        let text = String::from_utf8_lossy(&done.stdout);
        assert!(text.trim_end().ends_with('}'), "{version}: {done:?}");
        assert!(text.contains("\"openapi\""), "{version}");
    }
    // curl's exit code for a certificate that it cannot trust.
    assert_eq!(bed.curl(&[], "/v1/nodes").status.code(), Some(60));
    let old = bed.curl(
        &["-k", "--tls-max", "1.1", "--ciphers", "ALL:@SECLEVEL=0"],
        "/v1",
    );
    assert!(!old.status.success(), "TLS 1.1: {old:?}");

    let said = rackbmc(&bed.url(""), &bed.authority.path("ca.crt"));
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).contains("r1n01"));
    let stranger = Authority::new();
    let said = rackbmc(&bed.url(""), &stranger.path("ca.crt"));
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(text.contains("certificate"), "{text}");
    let said = rackbmc(&bed.url(""), Path::new("/nowhere/ca.crt"));
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("/nowhere/ca.crt"));
}

#[test]
fn what_is_asked_again_under_its_key_is_done_once_over_tls_too() {
    let bed = Bed::new("");
    let ca = bed.authority.path("ca.crt");
    let ask = || {
        let words = [
            "--cacert",
            ca.to_str().expect("text"),
            "-H",
            "Idempotency-Key: off at noon",
            "-H",
            "Content-Type: application/json",
            "-d",
            r#"{"node":"r1n01","operation":"power off"}"#,
        ];
        let done = bed.curl(&words, "/v1/tasks");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let task: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        task["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no task: {text}"))
            .to_owned()
    };
    assert_eq!(ask(), ask());
}

#[test]
fn a_renewed_certificate_holds_after_sighup_and_a_wrong_one_changes_nothing() {
    let bed = Bed::new("");
    assert_eq!(bed.serial().as_deref(), Some("11")); // 17
    bed.authority.sign("new", 18);
    let take = |file: &str, from: &str| {
        fs::copy(bed.authority.path(from), bed.authority.path(file)).expect("a copy");
    };
    take("api.crt", "new.crt");
    bed.signal("-HUP");
    bed.eventually("nothing is said of the key", || {
        bed.log().contains("does not belong to the certificate")
    });
    assert!(bed.log().contains("the old one stays in force"));
    assert_eq!(bed.serial().as_deref(), Some("11"));
    take("api.key", "new.key");
    bed.signal("-HUP");
    bed.eventually("the new one is not shown", || {
        bed.serial().as_deref() == Some("12")
    });
    bed.fetch("/v1/nodes").expect("served");
    // Back to plain text is a matter of a new start: nobody's password crosses the network readable
    // by a reload.
    bed.authority.configure(bed.tcp, "");
    bed.signal("-HUP");
    bed.eventually("nothing is said of the change", || {
        bed.log().contains("whether api.tcp speaks TLS has changed")
    });
    bed.fetch("/v1/nodes").expect("served over TLS still");
}

#[test]
fn files_that_do_not_do_are_refused_with_their_names_before_anything_listens() {
    let authority = Authority::new();
    authority.sign("api", 1);
    authority.sign("other", 2);
    fs::write(authority.path("text"), "no PEM\n").expect("a file");
    authority.private("text");
    fs::copy(authority.path("api.key"), authority.path("open.key")).expect("a copy");
    fs::set_permissions(authority.path("open.key"), Permissions::from_mode(0o644)).expect("ours");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(authority.path("broken.crt"), broken).expect("a file");
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for (certificate, key, expected) in [
        ("gone.crt", "api.key", "/gone.crt cannot be read"),
        ("api.crt", "gone.key", "/gone.key cannot be read"),
        ("text", "api.key", "/text is no certificate"),
        ("api.key", "api.key", "/api.key is no certificate"),
        ("broken.crt", "api.key", "/broken.crt"),
        ("api.crt", "text", "/text is no private key"),
        ("api.crt", "open.key", "open to every user"),
        (
            "api.crt",
            "other.key",
            "/other.key does not belong to the certificate in",
        ),
    ] {
        let lines = format!("tls_certificate = \"{certificate}\"\ntls_key = \"{key}\"");
        let config = authority.configure(address, &lines);
        for check in [true, false] {
            let done = Command::new(env!("CARGO_BIN_EXE_rackbmcd"))
                .arg("--config")
                .arg(&config)
                .args(check.then_some("--check-config"))
                .output()
                .expect("the daemon starts");
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert_eq!(done.status.code(), Some(78), "{certificate} {key}: {said}");
            assert!(said.contains(expected), "{certificate} {key}: {said}");
            assert!(said.contains("rackbmcd.toml:"), "{said}");
        }
    }
    assert!(!authority.path("s").exists(), "it listened");
}

#[test]
fn who_does_not_shake_hands_is_hung_up_on_and_makes_room() {
    let bed = Bed::new("connections = 4\nheader_timeout = \"2s\"\n");
    // Plain HTTP: not a word of HTTP comes back.
    let mut plain = TcpStream::connect(bed.tcp).expect("let in");
    plain.set_read_timeout(Some(PATIENCE)).expect("a socket");
    plain
        .write_all(b"GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it listens");
    let mut said = Vec::new();
    match plain.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    assert!(!said.windows(4).any(|four| four == b"HTTP"), "{said:?}");
    // As many as there may be say nothing, or half of a hello (RFC 8446 §5.1: a handshake record of
    // 512 bytes).
    let began = Instant::now();
    let mut mute: Vec<TcpStream> = (0..4)
        .map(|number| {
            let mut stream = TcpStream::connect(bed.tcp).expect("let in");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
            if number % 2 == 0 {
                stream
                    .write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252])
                    .expect("it listens");
            }
            stream
        })
        .collect();
    // One more is sent away without costing a handshake.
    bed.fetch("/v1/nodes").expect_err("there is no room");
    for stream in &mut mute {
        let mut rest = Vec::new();
        // Hung up on, in one way or the other.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(1500));
    bed.eventually("there is never room again", || {
        bed.fetch("/v1/nodes").is_ok()
    });
}

/// Nobody closes one side alone over TLS but who says so within it.
#[test]
fn who_has_gone_from_a_long_poll_over_tls_gives_the_place_up() {
    let bed = Bed::new("connections = 8\n");
    let ca = bed.authority.path("ca.crt");
    let polls: Vec<Child> = (0..8)
        .map(|_| {
            Command::new("curl")
                .args(["-sSN", "--max-time", "4", "--cacert"])
                .arg(&ca)
                .arg(bed.url("/v1/events?wait=300s"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("curl is installed")
        })
        .collect();
    for mut poll in polls {
        let ended = poll.wait().expect("it is ours");
        assert!(!ended.success(), "nothing has happened");
    }
    bed.eventually("they keep their places", || bed.fetch("/v1/nodes").is_ok());
}

#[test]
fn a_stream_over_tls_ends_with_the_daemon() {
    let mut bed = Bed::new("");
    let ca = bed.authority.path("ca.crt");
    let mut stream = Command::new("curl")
        .args(["-sSN", "--max-time", "60", "--cacert"])
        .arg(&ca)
        .args(["-H", "Accept: text/event-stream"])
        .arg(bed.url("/v1/events?snapshot=true"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    let mut first = [0; 16];
    let mut out = stream.stdout.take().expect("piped");
    out.read_exact(&mut first).expect("something is streamed");
    bed.signal("-TERM");
    let began = Instant::now();
    let status = bed.daemon.wait().expect("it is ours");
    assert!(status.success(), "{status}: {}", bed.log());
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    // Properly ended: curl complains about a stream that was torn off.
    assert!(stream.wait().expect("it is ours").success());
}
