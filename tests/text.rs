//! Text is data, from the first request to the last terminal: the real daemon is given control
//! characters, terminal escapes, marks of writing direction, what is no UTF-8, and far too much, in
//! every place that a request has for a text. It refuses them or shows them as escapes: in answers,
//! the trail, the log, the journal and what `rackbmc` prints.
//!
//! The places come from the daemon's own OpenAPI document, so that a new endpoint is in the walk.

mod daemon;

use daemon::{Bed, Keys, free_tcp, plan};
use rackbmcd::daemon::store::Store;
use rackbmcd::model::is_hidden;
use rackbmcd::rack::record::Table;
use rackbmcd::sim::Mood;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What a text may hold that must not reach a terminal as it is.
const NASTY: [&str; 9] = [
    "x\n<0>rackbmcd: audit: root PUT -> 202",
    "x\r\nx-forged: 1",
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "x\u{9b}31mred",
    "x\u{202e}ffo rewop",
    "x\u{2066}y\u{2069}\u{200f}",
    "x\u{2028}y\u{2029}z",
    "x\u{0}y",
    "x\u{7f}\u{feff}\u{200b}",
];

/// The node, as Ironic's oldest version takes it.
const NODE: &str = "410b8fd9-96cb-506e-b007-a73a7fe4fb6d";

/// Only line breaks of ours.
#[track_caller]
fn shown(what: &str, text: &str) {
    let hidden = text.find(|letter| is_hidden(letter) && letter != '\n');
    if let Some(at) = hidden {
        let from = (0..=at.saturating_sub(200)).rev();
        let from = from.into_iter().find(|at| text.is_char_boundary(*at));
        panic!("{what}: {:?}", &text[from.unwrap_or(0)..]);
    }
}

/// Every byte but letters and digits as `%XX`.
fn encoded(text: &[u8]) -> String {
    let byte = |byte: &u8| match byte.is_ascii_alphanumeric() {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.iter().map(byte).collect()
}

/// One request, byte by byte, to whatever listens, and its answer.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> String {
    // A daemon that has heard enough may close while there is more.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("answers are text")
}

struct Walk {
    bed: Bed,
    tcp: SocketAddr,
    tried: usize,
}

impl Walk {
    fn new() -> Self {
        let tcp = free_tcp();
        let token = format!(
            "tcp = \"{tcp}\"\nauth = \"token\"\n[[api.token]]\nname = \"t\"\nsha256 = \"{:064}\"\nrole = \"reader\"",
            1
        );
        let keys = Keys {
            api: &token,
            ..Keys::default()
        };
        let node = |name: &str, at: SocketAddr| {
            let (ip, port) = (at.ip(), at.port());
            format!(
                "[[node]]\nname = \"{name}\"\nuuid = \"{NODE}\"\naddress = \"{ip}\"\nport = {port}\n"
            )
        };
        let mut bed = Bed::with_nodes([plan("n01", Mood::default())], &keys, node);
        bed.start();
        Self { bed, tcp, tried: 0 }
    }

    /// Sends it over the Unix socket: the status, 0 where there was no answer.
    fn send(&mut self, method: &str, path: &[u8], headers: &[u8], body: &[u8]) -> u16 {
        let stream = UnixStream::connect(self.bed.socket()).expect("it listens");
        let timeout = Some(Duration::from_secs(30));
        stream.set_read_timeout(timeout).expect("a timeout");
        self.judge(stream, method, path, headers, body)
    }

    fn judge(
        &mut self,
        stream: impl Read + Write,
        method: &str,
        path: &[u8],
        headers: &[u8],
        body: &[u8],
    ) -> u16 {
        let mut request = format!("{method} ").into_bytes();
        request.extend(path);
        request.extend(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        request.extend(headers);
        request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend(body);
        let answer = exchange(stream, &request);
        let (head, said) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let asked = String::from_utf8_lossy(&request).into_owned();
        shown(&asked, said);
        for line in head.split("\r\n") {
            shown(&asked, line);
            assert!(!line.starts_with("x-forged"), "{asked:?}");
        }
        let status = head.split(' ').nth(1).map_or(0, |word| {
            word.parse().unwrap_or_else(|_| panic!("{asked:?}: {head}"))
        });
        assert!(status < 500, "{asked:?}: {answer}");
        self.tried += 1;
        status
    }

    /// A body with that in one place.
    fn body(&mut self, method: &str, path: &str, body: &Value) -> u16 {
        let json = b"Content-Type: application/json\r\n";
        self.send(method, path.as_bytes(), json, body.to_string().as_bytes())
    }
}

/// The endpoints of the document: method, path and what belongs to it.
fn endpoints(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, endpoint) in methods.as_object().expect("methods") {
            if endpoint["responses"].is_object() {
                found.push((method.to_uppercase(), path.clone(), endpoint.clone()));
            }
        }
    }
    assert!(found.len() > 50, "{} endpoints", found.len());
    found
}

/// The path with something sensible in each place.
fn plain(path: &str) -> String {
    let path = path.replace("{ident}", NODE).replace("{what}", "guid");
    let path = path.replace("{control}", "suspend");
    let path = path.replace("{driver}", "ipmi");
    path.replace("{id}", NODE)
}

/// The members that the body of an endpoint may have, each with what it must be.
fn members<'d>(document: &'d Value, endpoint: &Value) -> Vec<(&'d String, &'d Value)> {
    let schema = &endpoint["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let Some(name) = schema.as_str().and_then(|name| name.rsplit('/').next()) else {
        return Vec::new();
    };
    let members = &document["components"]["schemas"][name]["properties"];
    members.as_object().into_iter().flatten().collect()
}

/// What makes a body whole where only one member is to be wrong.
fn others(path: &str) -> Value {
    match path {
        "/v1/tasks" => json!({"node": "n01", "operation": "inject nmi"}),
        "/v1/batches" => json!({"nodes": ["n01"], "operation": "inject nmi", "dry_run": true}),
        _ => json!({}),
    }
}

fn walk_paths_and_queries(walk: &mut Walk, document: &Value) {
    for (method, path, endpoint) in endpoints(document) {
        for nasty in NASTY {
            let nasty = encoded(nasty.as_bytes());
            for place in path.split('/').filter(|part| part.starts_with('{')) {
                let path = plain(&path.replace(place, &nasty));
                walk.send(&method, path.as_bytes(), b"", b"");
            }
            for parameter in endpoint["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] != "query" {
                    continue;
                }
                let name = parameter["name"].as_str().expect("a name");
                // Bodies are missing here: what changes something is refused for that as well.
                let path = format!("{}?{name}={nasty}", plain(&path));
                walk.send(&method, path.as_bytes(), b"", b"");
            }
        }
        let strange = format!("{}?{}=1", plain(&path), encoded(NASTY[4].as_bytes()));
        assert!(walk.send(&method, strange.as_bytes(), b"", b"") >= 400);
    }
}

fn walk_bodies(walk: &mut Walk, document: &Value) {
    let mut texts = 0;
    for (method, path, endpoint) in endpoints(document) {
        for (member, schema) in members(document, &endpoint) {
            let mut long = "x".repeat(60_000);
            long.push('\u{202e}');
            for nasty in NASTY.into_iter().chain([long.as_str()]) {
                let listed = schema["type"] == "array";
                let value = match listed {
                    true => json!([nasty]),
                    false => json!(nasty),
                };
                let mut body = others(&path);
                body[member] = value;
                let status = walk.body(&method, &plain(&path), &body);
                assert!(
                    (400..500).contains(&status),
                    "{method} {path} {member}: {nasty:?}: {status}"
                );
                texts += 1;
            }
            let mut body = others(&path);
            body["x\u{202e}\n"] = json!(1);
            assert!(walk.body(&method, &plain(&path), &body) >= 400);
        }
    }
    assert!(texts > 300, "{texts}");
}

/// What is no text at all.
fn walk_broken(walk: &mut Walk, document: &Value) {
    let json = b"Content-Type: application/json\r\n";
    for (method, path, endpoint) in endpoints(document) {
        let path = plain(&path);
        for (member, _) in members(document, &endpoint) {
            for broken in [
                &b"\"\\ud800\""[..],
                b"\"\\udc00x\"",
                b"\"\xff\xfe\"",
                b"\"\xc0\x80\"",
                b"\"\xed\xa0\x80\"",
                b"\"\x1b\"",
            ] {
                let body = [b"{\"", member.as_bytes(), b"\":", broken, b"}"].concat();
                let status = walk.send(&method, path.as_bytes(), json, &body);
                assert!((400..500).contains(&status), "{method} {path}: {status}");
            }
        }
        for broken in [&b"%ff"[..], b"%ed%a0%80", b"%00", b"%1b", b"%"] {
            let path = [path.as_bytes(), b"?x=", broken].concat();
            assert!(walk.send(&method, &path, b"", b"") >= 400);
        }
    }
    for raw in [
        &b"\x1b[2J"[..],
        b"\xe2\x80\xae",
        b"\xc2\x9b",
        b"\xff",
        b"\x7f",
    ] {
        let path = [b"/v1/nodes/x", raw, b"/states/power"].concat();
        let status = walk.send("PUT", &path, b"", b"{\"target\":\"power off\"}");
        assert!(status == 0 || status >= 400, "{status}");
    }
}

fn walk_headers(walk: &mut Walk) {
    for name in [
        "Accept",
        "Content-Type",
        "User-Agent",
        "X-OpenStack-Request-ID",
        "X-OpenStack-Ironic-API-Version",
        "Last-Event-ID",
        "Authorization",
        "Host",
        "Forwarded",
    ] {
        for value in [
            &b"\xc2\x9b31m"[..],
            b"\xe2\x80\xae",
            b"req-\xff",
            b"x\ty",
            b"x\x1b[2J",
            b"Basic eBtbMkoKPDA+Ong=",
        ] {
            let header = [name.as_bytes(), b": ", value, b"\r\n"].concat();
            for path in ["/v1/nodes", "/v1/events", "/v1/pause"] {
                walk.send("GET", path.as_bytes(), &header, b"");
                walk.send("POST", path.as_bytes(), &header, b"{}");
                let stream = TcpStream::connect(walk.tcp).expect("it listens");
                // The wait after a failure is not what this is about.
                let timeout = Some(Duration::from_secs(2));
                stream.set_read_timeout(timeout).expect("a timeout");
                if name != "Authorization" || path == "/v1/nodes" {
                    walk.judge(stream, "GET", path.as_bytes(), &header, b"");
                }
            }
        }
    }
}

fn reasons_are_refused(walk: &mut Walk) {
    let maintenance = format!("/v1/nodes/{NODE}/maintenance");
    let mut kept = Vec::from(NASTY.map(str::to_owned));
    kept.push("x".repeat(501));
    for reason in kept {
        let body = json!({ "reason": reason });
        assert_eq!(walk.body("PUT", &maintenance, &body), 400, "{reason:?}");
        assert_eq!(walk.body("POST", "/v1/pause", &body), 400, "{reason:?}");
    }
    let seen = json!({ "reason": "new fans: Lüfter 風 می\u{200c}خواهم 👩\u{200d}🔧" });
    assert_eq!(walk.body("PUT", &maintenance, &seen), 202);
    assert_eq!(walk.body("DELETE", &maintenance, &json!({})), 202);
}

#[test]
fn every_text_that_comes_in_is_refused_or_shown_as_escapes() {
    let mut walk = Walk::new();
    // The first refusals of a minute are in the trail: those with the worst paths.
    for nasty in NASTY {
        let path = format!("/v1/nodes/{}/states/power", encoded(nasty.as_bytes()));
        let body = json!({ "target": "power off" });
        assert_eq!(walk.body("PUT", &path, &body) / 100, 4);
    }
    reasons_are_refused(&mut walk);
    let (_, document) = walk.bed.request("GET", "/v1/openapi.json", "").expect("it");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    walk_paths_and_queries(&mut walk, &document);
    walk_bodies(&mut walk, &document);
    walk_broken(&mut walk, &document);
    walk_headers(&mut walk);
    assert!(walk.tried > 2000, "{}", walk.tried);
    nothing_of_it_is_left(walk.bed);
}

/// Whatever was kept of that is shown, wherever it may be read.
fn nothing_of_it_is_left(mut bed: Bed) {
    for path in [
        "/v1/nodes/detail",
        "/v1/nodes/n01/history",
        "/v1/nodes/n01/explain",
        "/v1/nodes/n01/trace",
        "/v1/tasks",
        "/v1/batches",
        "/v1/events",
        "/v1/audit?limit=1000",
        "/v1/pause",
        "/healthz",
        "/metrics",
    ] {
        let (status, said) = bed.request("GET", path, "").expect("an answer");
        assert_eq!(status, 200, "{path}: {said}");
        shown(path, &said);
    }
    let trail = bed.expect(0, &["audit", "-n", "1000"]);
    assert!(trail.contains("-> 404"), "{trail}");
    for words in [
        &["audit", "-n", "1000"][..],
        &["audit", "-n", "1000", "-o", "wide"],
        &["audit", "-n", "1000", "-o", "json"],
        &["history", "n01"],
        &["status", "-o", "wide"],
        &["explain", "n01"],
        &["explain", "n01", "-o", "yaml"],
        &["tasks"],
        &["off", "x\u{202e}\u{1b}[2J"],
        &["pause", "--reason", "x\u{9b}2J\u{2066}"],
        &["\u{1b}]0;x\u{7}"],
        &["status", "--\u{202e}bogus\u{1b}[8m"],
        &["history", "n01", "-o", "\u{9b}1m"],
    ] {
        let said = bed.rackbmc(words);
        shown(&format!("{words:?}"), &said.out);
        shown(&format!("{words:?}"), &said.err);
    }
    bed.expect(0, &["audit", "verify"]);
    let log = bed.log();
    shown("the log", &log);
    for line in log.lines() {
        let time = line.get(..20).unwrap_or_default();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line:?}");
    }
    bed.terminate();
    let mut store = Store::open(&bed.path("state")).expect("it is free");
    let mut entries = store.load().expect("it can be read").len();
    for bytes in store.after(Table::Audit, "", 5000).expect("it can be read") {
        shown("the trail", &String::from_utf8(bytes).expect("text"));
        entries += 1;
    }
    assert!(entries > 30, "{entries}");
}

/// What a BMC says is numbers to us, put into our own words; its bytes are shown as digits or not
/// at all.
#[test]
fn what_a_bmc_says_is_shown_in_words_of_ours() {
    let mut talker = plan("n01", Mood::default());
    talker.settings.guid = *b"\x1b[2J\n<0>\xc2\x9bx\xe2\x80\xae..";
    talker.settings.manufacturer = 0x1B_0A_0D;
    talker.settings.product = 0x9BC2;
    talker.settings.firmware = (0x1B, 99);
    let mut bed = Bed::of([talker], &Keys::default());
    let now = rackbmcd::time::Instant::START;
    let log = |kind: u8, byte: u8| {
        let mut record = [byte; 16];
        record[2] = kind;
        bed.rack
            .with_bmc("n01", |bmc, _| bmc.host_mut().event_log.add(record, now))
            .expect("it is there");
    };
    for byte in [0x00, 0x0A, 0x1B, 0x7F, 0x9B, 0xFF] {
        for kind in [0x02, 0xC0, 0xDF, 0xE0, 0xFF, 0x00] {
            log(kind, byte);
        }
    }
    bed.start();
    bed.wait_for("it is read", |bed| {
        bed.rackbmc(&["status"]).out.contains("power on")
    });
    for words in [
        &["sel", "list", "n01"][..],
        &["bmc", "info", "n01"],
        &["explain", "n01"],
        &["bmc", "trace", "n01"],
        &["raw", "n01", "0x06", "0x37"],
        &["chassis", "status", "n01"],
        &["status", "--full"],
    ] {
        for format in ["text", "json", "yaml"] {
            let words = [words, &["-o", format]].concat();
            let said = bed.rackbmc(&words);
            assert!(said.code == 0, "{words:?}: {}", said.err);
            shown(&format!("{words:?}"), &said.out);
        }
    }
    for path in [
        "/v1/nodes/detail",
        "/v1/nodes/n01/explain",
        "/v1/nodes/n01/trace",
        "/metrics",
    ] {
        let (_, said) = bed.request("GET", path, "").expect("an answer");
        shown(path, &said);
    }
    shown("the log", &bed.log());
}
