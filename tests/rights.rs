//! Who may do what, at the real daemon's sockets: other users of this host, tokens and passwords,
//! and what becomes of rights that a reload takes away.

mod daemon;

use daemon::{Bed, Keys, as_root, free_tcp, plan};
use rackbmcd::sim::{ChassisOrder, Mood};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon with a TCP port for tokens: `all` for the whole rack, `one` for `r1n01` only.
fn bed_on(tcp: SocketAddr) -> Bed {
    let sum = |token: &str| {
        let sum = Sha256::digest(token);
        sum.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let api = format!(
        "tcp = \"{tcp}\"\nauth = \"token\"\nsocket_mode = \"0666\"\n\
         [[api.token]]\nname = \"all\"\nsha256 = \"{}\"\nrole = \"operator\"\n\
         [[api.token]]\nname = \"one\"\nsha256 = \"{}\"\nrole = \"operator\"\nnodes = \"r1n01\"\n\
         [[api.role]]\nrole = \"operator\"\nunix_users = [65534]\nnodes = \"r1n01\"\n\
         [[api.role]]\nrole = \"admin\"\nhttp_users = [\"nobody\"]\n",
        sum("token-of-all"),
        sum("token-of-one")
    );
    let plans = ["r1n01", "r1n02"].map(|name| plan(name, Mood::default()));
    let keys = Keys {
        api: &api,
        ..Keys::default()
    };
    Bed::of(plans, &keys)
}

fn ask(tcp: SocketAddr, token: &str, line: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(tcp).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let accept = if line.ends_with("events") {
        "accept: text/event-stream\r\n"
    } else {
        ""
    };
    write!(
        stream,
        "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{accept}\
         x-openstack-ironic-api-version: 1.31\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    stream
}

fn status(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn uuid_of(bed: &Bed, node: &str) -> String {
    let path = format!("/v1/nodes/{node}/explain");
    let (_, body) = bed.request("GET", &path, "").expect("an answer");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    body["node"]["uuid"].as_str().expect("a uuid").to_owned()
}

/// The class: a limit to some nodes was held against the text of a request, and what was not
/// recognised was let through.
#[test]
fn a_token_for_one_node_reaches_no_other_however_it_is_written() {
    let tcp = free_tcp();
    let mut bed = bed_on(tcp);
    bed.start();
    let uuid = uuid_of(&bed, "r1n02");
    let plain = uuid.replace('-', "");
    for ident in [
        "r1n02".to_owned(),
        uuid.clone(),
        uuid.to_uppercase(),
        plain.clone(),
        plain.to_uppercase(),
        format!("urn:uuid:{uuid}"),
        format!("%7B{uuid}%7D"),
        uuid.replace('-', "%2d"),
        "%721n02".to_owned(),
    ] {
        let power = format!("PUT /v1/nodes/{ident}/states/power");
        let asked = ask(tcp, "token-of-one", &power, r#"{"target": "power off"}"#);
        assert_eq!(status(asked), "403", "{power}");
    }
    let braced = format!("{{{uuid}}}");
    for ident in ["r1n02", &uuid.to_uppercase(), &plain, &braced] {
        let task = format!(r#"{{"node": "{ident}", "operation": "power cycle"}}"#);
        let asked = ask(tcp, "token-of-one", "POST /v1/tasks", &task);
        assert_eq!(status(asked), "403", "{task}");
        let batch = format!(r#"{{"nodes": ["r1n01", "{ident}"], "operation": "power off"}}"#);
        let asked = ask(tcp, "token-of-one", "POST /v1/batches", &batch);
        assert_eq!(status(asked), "403", "{batch}");
    }
    for order in [ChassisOrder::Off, ChassisOrder::Cycle] {
        assert_eq!(bed.count("r1n02", order), 0);
    }
    let own = "PUT /v1/nodes/r1n01/states/power";
    let asked = ask(tcp, "token-of-one", own, r#"{"target": "power off"}"#);
    assert_eq!(status(asked), "202");
}

/// Uid 65534 has `r1n01` as an operator, and an HTTP user of the same name has all: two worlds.
#[test]
fn a_user_of_this_host_has_what_its_uid_has_and_nothing_of_an_http_users() {
    let mut bed = bed_on(free_tcp());
    // The folder of the socket must let them in.
    let folder = bed.path("s").parent().expect("a folder").to_owned();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).expect("ours");
    bed.start();
    let put = |path: &str, body: &str| {
        let output = as_root("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "curl"])
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST"])
            .args(["-H", "content-type: application/json", "-d", body])
            .arg("--unix-socket")
            .arg(bed.socket())
            .arg(format!("http://localhost{path}"))
            .output()
            .expect("setpriv and curl are installed");
        String::from_utf8(output.stdout).expect("a status")
    };
    let uuid = uuid_of(&bed, "r1n02").to_uppercase();
    let raw = r#"{"net_fn": 6, "command": 1}"#;
    assert_eq!(put("/v1/nodes/r1n01/raw", raw), "403");
    assert_eq!(put(&format!("/v1/nodes/{uuid}/retry"), "{}"), "403");
    assert_eq!(put("/v1/nodes/r1n01/retry", "{}"), "200");
}

#[test]
fn a_right_that_is_taken_away_ends_streams_and_long_polls() {
    let tcp = free_tcp();
    let mut bed = bed_on(tcp);
    bed.start();
    // Every node has been read: nothing happens any more that the long poll below would answer
    // with.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut answer = String::new();
        ask(tcp, "token-of-all", "GET /v1/nodes", "")
            .read_to_string(&mut answer)
            .expect("an answer");
        if !answer.contains("\"power_state\":null") {
            break;
        }
        assert!(Instant::now() < deadline, "{answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut stream = ask(tcp, "token-of-all", "GET /v1/events", "");
    let mut first = [0; 64];
    let count = stream.read(&mut first).expect("an answer");
    assert!(first[..count].starts_with(b"HTTP/1.1 200"));
    let position = {
        let mut answer = String::new();
        ask(tcp, "token-of-all", "GET /v1/events?limit=1", "")
            .read_to_string(&mut answer)
            .expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        body["next"].as_str().expect("a position").to_owned()
    };
    let wait = format!("GET /v1/events?since={position}&node=r1n02&wait=250");
    let poll = ask(tcp, "token-of-all", &wait, "");
    let text = fs::read_to_string(bed.path("rackbmcd.toml")).expect("a configuration");
    let begin = text
        .find("[[api.token]]\nname = \"all\"")
        .expect("it is there");
    let end = text
        .find("[[api.token]]\nname = \"one\"")
        .expect("it is there");
    let text = format!("{}{}", &text[..begin], &text[end..]);
    fs::write(bed.path("rackbmcd.toml"), text).expect("written");
    let taken_away = Instant::now();
    let pid = i32::try_from(bed.pid()).expect("a process id");
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("it runs");
    assert_eq!(status(poll), "403");
    let mut rest = Vec::new();
    // It ends, whole or not.
    let _ = stream.read_to_end(&mut rest);
    assert!(taken_away.elapsed() < Duration::from_secs(10));
    let asked = ask(tcp, "token-of-all", "GET /v1/nodes", "");
    assert_eq!(status(asked), "401");
}

/// The class: a request was answered before its record was durable, and a kill in between left the
/// deed alone.
#[test]
fn whoever_has_read_202_is_in_the_trail_though_the_daemon_is_killed() {
    let mut bed = bed_on(free_tcp());
    bed.start();
    let mut started = Vec::new();
    // What names no task in its answer is known by its path.
    let mut others: Vec<(&str, String)> = Vec::new();
    for round in 0..12 {
        let node = ["r1n01", "r1n02"][round % 2];
        let (method, path, body) = match round / 2 {
            0 | 1 => (
                "POST",
                "/v1/tasks".to_owned(),
                format!(r#"{{"node": "{node}", "operation": "power on"}}"#),
            ),
            2 => (
                "POST",
                "/v1/batches".to_owned(),
                format!(r#"{{"nodes": ["{node}"], "operation": "power on"}}"#),
            ),
            3 => (
                "PUT",
                format!("/v1/nodes/{node}/states/power"),
                r#"{"target": "power on"}"#.to_owned(),
            ),
            4 => (
                "PUT",
                format!("/v1/nodes/{node}/maintenance"),
                r#"{"reason": "disks"}"#.to_owned(),
            ),
            _ => (
                "POST",
                "/v1/pause".to_owned(),
                r#"{"reason": "smoke"}"#.to_owned(),
            ),
        };
        let (status, said) = bed.request(method, &path, &body).expect("an answer");
        bed.kill();
        bed.start();
        if !(200..300).contains(&status) {
            continue;
        }
        let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        match said["id"].as_str() {
            Some(id) => started.push(id.to_owned()),
            None => others.push((method, path)),
        }
    }
    assert!(!started.is_empty());
    let (_, body) = bed
        .request("GET", "/v1/audit?limit=100", "")
        .expect("an answer");
    let page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let records = page["records"].as_array().expect("records");
    for task in started {
        // A pause names the one task that it suspends, too, and begins none.
        let accepted = records.iter().filter_map(serde_json::Value::as_str);
        let accepted = accepted.filter(|text| text.contains("\"status\":202"));
        let with_it = accepted.filter(|text| text.contains(&task));
        assert_eq!(with_it.count(), 1, "{task}: {body}");
    }
    assert!(!others.is_empty());
    for (method, path) in &others {
        let accepted = others
            .iter()
            .filter(|other| **other == (*method, path.clone()));
        let is_it = |record: &serde_json::Value| {
            let record = record.as_str().unwrap_or_default();
            let record: serde_json::Value = serde_json::from_str(record).unwrap_or_default();
            let done = record["status"].as_u64().is_some_and(|status| status < 300);
            done && record["method"] == *method && record["path"] == **path
        };
        let recorded = records.iter().filter(|record| is_it(record));
        assert_eq!(
            recorded.count(),
            accepted.count(),
            "{method} {path}: {body}"
        );
    }
}

/// The class: the record of a request named a task of which something was put down at the same
/// time, and which the request did not touch.
#[test]
fn the_record_of_a_request_names_no_task_that_the_request_did_not_touch() {
    let mut bed = bed_on(free_tcp());
    bed.start();
    let post = |path: &str, body: &str| {
        let (status, said) = bed.request("POST", path, body).expect("an answer");
        assert!((200..300).contains(&status), "{path}: {said}");
        serde_json::from_str::<serde_json::Value>(&said).unwrap_or_default()
    };
    for round in 0..6 {
        let operation = ["power off", "power on"][usize::from(round % 2 == 1)];
        let task = format!(r#"{{"node": "r1n01", "operation": "{operation}"}}"#);
        let task = post("/v1/tasks", &task);
        let path = format!("/v1/tasks/{}", task["id"].as_str().expect("an id"));
        bed.wait_for("the end of the task", |bed| {
            let (_, body) = bed.request("GET", &path, "").expect("an answer");
            let task: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            task["ended"] == true
        });
        post("/v1/pause", r#"{"reason": "smoke"}"#);
        post("/v1/release", "");
    }
    let audit = "/v1/audit?limit=500";
    let (_, body) = bed.request("GET", audit, "").expect("an answer");
    let page: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let records = page["records"].as_array().expect("records");
    let records = records.iter().map(|record| {
        let record = record.as_str().unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(record).expect("a record")
    });
    let pauses = records.filter(|record| record["path"] == "/v1/pause");
    let pauses: Vec<_> = pauses.collect();
    assert_eq!(pauses.len(), 6);
    for pause in pauses {
        assert!(pause["task"].is_null(), "{pause}");
    }
}
