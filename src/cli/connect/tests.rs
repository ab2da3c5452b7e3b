//! What is asked of which host, where a rack has several, and what an answer says.

use super::*;
use std::io::{Read, Write};

#[test]
fn nobody_is_sent_into_a_group_that_is_roots_or_may_not_either() {
    let daemon = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(1));
    let daemon = daemon.ok().flatten().expect("every Linux has it").name;
    assert_eq!(users(0o140_660, 1), Users::Group(daemon));
    assert_eq!(users(0o140_660, 0), Users::Root);
    assert_eq!(users(0o140_600, 1), Users::Root);
    assert_eq!(
        users(0o140_660, 4_000_000_123),
        Users::Nameless(4_000_000_123)
    );
}

#[test]
fn the_reason_is_found_in_every_shape_of_error() {
    let reason = |text: &str| refusal(StatusCode::CONFLICT, text).message;
    assert_eq!(
        reason(
            r#"{"error":{"kind":"control","message":"cancel is refused: sent","node":"r1n01"}}"#
        ),
        "cancel is refused: sent"
    );
    assert_eq!(
        reason(
            r#"{"error_message":"{\"faultcode\":\"Client\",\"faultstring\":\"Node x could not be found.\",\"debuginfo\":null}"}"#
        ),
        "Node x could not be found."
    );
    assert_eq!(
        reason(
            r#"{"error_message":"{\"code\":404,\"title\":\"Not Found\",\"description\":\"no such path\"}"}"#
        ),
        "no such path"
    );
    assert_eq!(
        reason(r#"{"error":{"message":"Incorrect username or password","code":401}}"#),
        "Incorrect username or password"
    );
    assert_eq!(
        reason("gateway trouble"),
        "the daemon answered 409 Conflict: gateway trouble"
    );
}

#[test]
fn a_url_without_a_port_means_ironics_port() {
    let at = |url| Endpoint::from_url(url, None, None).map(|e| e.name());
    assert_eq!(at("http://127.0.0.1").unwrap(), "127.0.0.1:6385");
    assert_eq!(at("http://localhost:7000/").unwrap(), "localhost:7000");
    assert!(at("ftp://localhost").is_err());
    assert!(at("http://user:secret@localhost").is_err());
}

#[test]
fn a_socket_that_is_not_there_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix(folder.path().join("none.sock"));
    let way = Way::to(endpoint);
    let failure = smol::block_on(request(&way, Method::GET, "/v1", None, Duration::ZERO));
    assert!(
        matches!(failure, Err(Failure::NoSocket { .. })),
        "{failure:?}"
    );
}

#[test]
fn a_socket_on_which_nobody_listens_is_told_from_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let endpoint = Endpoint::Unix(path);
    let way = Way::to(endpoint);
    let failure = smol::block_on(request(&way, Method::GET, "/v1", None, Duration::ZERO));
    assert!(
        matches!(failure, Err(Failure::NobodyListens { .. })),
        "{failure:?}"
    );
}

#[test]
fn of_several_hosts_the_next_one_is_asked_where_one_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = |name: &str| Endpoint::Unix(folder.path().join(name));
    let way = Way::to_one_of(vec![nobody("a.sock"), nobody("b.sock")]);
    let there = std::os::unix::net::UnixListener::bind(folder.path().join("b.sock")).unwrap();
    let answers = std::thread::spawn(move || {
        for body in ["{}", r#"{"error":{"kind":"moved","message":"elsewhere"}}"#] {
            let (mut stream, _) = there.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let status = if body == "{}" {
                "200 OK"
            } else {
                "503 Service Unavailable"
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let ask = || smol::block_on(request(&way, Method::GET, "/v1", None, Duration::ZERO));
    assert!(ask().is_ok());
    assert_eq!(
        way.endpoint(),
        &nobody("b.sock"),
        "it was right, and is asked first"
    );
    match ask() {
        Err(Failure::Refused(refusal)) => assert_eq!(refusal.message, "elsewhere"),
        other => panic!("{other:?}"),
    }
    answers.join().unwrap();
}

/// A host that gives these answers, one for each request, and then is gone.
fn host(socket: PathBuf, bodies: Vec<&'static str>) -> std::thread::JoinHandle<()> {
    let there = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for body in bodies {
            let (mut stream, _) = there.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            answer(&mut stream, "200 OK", body);
        }
    })
}

#[test]
fn what_a_host_says_that_does_not_own_the_rack_is_taken_where_the_owner_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let [standby, owner] = ["a.sock", "b.sock"].map(|name| folder.path().join(name));
    let way = Way::to_one_of(
        [&standby, &owner]
            .map(|at| Endpoint::Unix(at.clone()))
            .to_vec(),
    );
    let stale =
        r#"{"stale":true,"stale_age":3,"rack_owner":"mgmt2","rack_owner_url":null,"tasks":[1]}"#;
    let standby = host(standby, vec![stale, stale]);
    let owner = host(owner, vec![r#"{"tasks":[2]}"#]);
    let ask = || {
        smol::block_on(request(
            &way,
            Method::GET,
            "/v1/tasks",
            None,
            Duration::ZERO,
        ))
    };
    assert_eq!(ask().unwrap()["tasks"][0], 2);
    assert_eq!(way.stale(), None);
    owner.join().unwrap();
    // It is asked first, is gone, and the other one is all that is left.
    assert_eq!(ask().unwrap()["tasks"][0], 1);
    let said = way.stale().unwrap();
    assert_eq!(
        (said.stale_age, said.rack_owner.as_deref()),
        (3, Some("mgmt2"))
    );
    standby.join().unwrap();
}

/// The next request, and under which key it is made.
fn hear(host: &std::os::unix::net::UnixListener) -> (std::os::unix::net::UnixStream, String) {
    let (mut stream, _) = host.accept().unwrap();
    let mut head = [0; 4096];
    let count = stream.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
    let key = head.split("idempotency-key: ").nth(1).unwrap();
    (stream, key[..36].to_owned())
}

/// A daemon's socket, and the way to it for a request that is carried out once.
fn listening() -> (tempfile::TempDir, std::os::unix::net::UnixListener, Way) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a.sock");
    let there = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    (folder, there, Way::to(Endpoint::Unix(socket)).once())
}

fn answer(stream: &mut std::os::unix::net::UnixStream, status: &str, body: &str) {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
}

#[test]
fn what_is_carried_out_once_is_asked_again_of_the_host_that_has_the_rack_next() {
    let folder = tempfile::tempdir().unwrap();
    let [dies, next] = ["a.sock", "b.sock"].map(|name| folder.path().join(name));
    let way = Way::to_one_of([&dies, &next].map(|at| Endpoint::Unix(at.clone())).to_vec());
    let listen = |at: PathBuf| std::os::unix::net::UnixListener::bind(at).unwrap();
    let (dies, next) = (listen(dies), listen(next));
    let hosts = std::thread::spawn(move || {
        let (_, first) = hear(&dies);
        drop(dies);
        let (mut stream, second) = hear(&next);
        let moved = r#"{"error":{"kind":"moved","message":"no host owns the rack"}}"#;
        answer(&mut stream, "503 Service Unavailable", moved);
        let (mut stream, third) = hear(&next);
        answer(&mut stream, "202 Accepted", "{}");
        assert_eq!((&first, &first), (&second, &third));
    });
    let once = way.once();
    let asked = request(&once, Method::POST, "/v1/tasks", None, Duration::ZERO);
    assert!(smol::block_on(asked).is_ok());
    hosts.join().unwrap();
}

#[test]
fn what_is_carried_out_once_is_asked_again_of_a_daemon_that_was_killed_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a.sock");
    let way = Way::to(Endpoint::Unix(socket.clone()));
    let listen = |at: &PathBuf| std::os::unix::net::UnixListener::bind(at).unwrap();
    let dies = listen(&socket);
    let daemon = std::thread::spawn(move || {
        let (stream, killed) = hear(&dies);
        drop((stream, dies));
        std::fs::remove_file(&socket).unwrap();
        // So that it is missed once.
        std::thread::sleep(ASK_AGAIN);
        let (mut stream, back) = hear(&listen(&socket));
        answer(&mut stream, "202 Accepted", "{}");
        assert_eq!(killed, back);
    });
    let once = way.once();
    let asked = request(&once, Method::POST, "/v1/tasks", None, Duration::ZERO);
    assert!(smol::block_on(asked).is_ok());
    daemon.join().unwrap();
}

#[test]
fn a_daemon_that_says_that_it_stops_is_not_asked_again() {
    let (_folder, there, way) = listening();
    let stops = std::thread::spawn(move || {
        let (mut stream, _) = hear(&there);
        let stopping = r#"{"error":{"kind":"stopping","message":"rackbmcd stops"}}"#;
        answer(&mut stream, "503 Service Unavailable", stopping);
    });
    let asked = request(&way, Method::POST, "/v1/tasks", None, Duration::ZERO);
    let failure = smol::block_on(asked).unwrap_err().to_string();
    assert_eq!(failure, "rackbmcd stops");
    stops.join().unwrap();
}

/// Nobody waits for half a minute for what will never be a daemon.
#[test]
fn what_is_no_daemon_is_not_asked_again() {
    let (_folder, there, way) = listening();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = hear(&there);
        // The beginning of an alert of TLS 1.2 (RFC 5246, section 6.2.1).
        stream.write_all(&[0x15, 0x03, 0x03, 0x00, 0x02]).unwrap();
        drop(stream);
        there.set_nonblocking(true).unwrap();
        std::thread::sleep(ASK_AGAIN * 2);
        assert!(there.accept().is_err(), "it is asked once");
    });
    let asked = request(&way, Method::POST, "/v1/tasks", None, Duration::ZERO);
    let failure = smol::block_on(asked).unwrap_err().to_string();
    assert!(
        failure.contains("what answers there speaks no HTTP: "),
        "{failure}"
    );
    other.join().unwrap();
}

#[test]
fn who_is_never_answered_hears_that_it_may_have_been_taken_on() {
    let at = "/s".to_owned();
    let why = "the connection broke before an answer came".to_owned();
    assert_eq!(
        perhaps_taken(Failure::Broken { at, why }).to_string(),
        "/s: the connection broke before an answer came; it may have been taken on all the same \
         (rackbmc tasks)"
    );
    let what = "/s: POST /v1/tasks".to_owned();
    let after = Duration::from_secs(30);
    assert_eq!(
        perhaps_taken(Failure::Timeout { what, after }).to_string(),
        "/s: POST /v1/tasks: no answer within 30s; it may have been taken on all the same \
         (rackbmc tasks)"
    );
}

#[test]
fn what_only_looks_is_asked_of_the_next_host_where_the_connection_to_the_first_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let [dies, next] = ["a.sock", "b.sock"].map(|name| folder.path().join(name));
    let way = Way::to_one_of([&dies, &next].map(|at| Endpoint::Unix(at.clone())).to_vec());
    let there = std::os::unix::net::UnixListener::bind(dies).unwrap();
    let dies = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = there.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
        }
    });
    let next = host(next, vec![r#"{"tasks":[2]}"#]);
    let ask =
        |way: &Way, method| smol::block_on(request(way, method, "/v1/tasks", None, Duration::ZERO));
    assert_eq!(ask(&way, Method::GET).unwrap()["tasks"][0], 2);
    next.join().unwrap();
    // What may have changed something is asked of nobody else, where it has no key.
    way.first.store(0, Ordering::Relaxed);
    let refused = ask(&way, Method::POST);
    assert!(
        matches!(refused, Err(Failure::Broken { .. })),
        "{refused:?}"
    );
    dies.join().unwrap();
}

#[test]
fn credentials_never_print() {
    let credentials = Credentials::new("admin:secret\n").unwrap();
    assert_eq!(format!("{credentials:?}"), "***");
    // RFC 4648 of "admin:secret", by coreutils' base64.
    assert_eq!(credentials.0, "Basic YWRtaW46c2VjcmV0");
}

#[test]
fn a_daemon_that_has_too_much_to_do_is_asked_again_when_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a.sock");
    let there = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let way = Way::to(Endpoint::Unix(socket));
    let daemon = std::thread::spawn(move || {
        let crowded = r#"{"error":{"kind":"crowded","message":"the disk is behind"}}"#;
        let other = r#"{"error":{"kind":"store","message":"the disk is full"}}"#;
        for (status, again, body) in [
            ("503 Service Unavailable", "retry-after: 0\r\n", crowded),
            ("503 Service Unavailable", "retry-after: 0\r\n", crowded),
            ("200 OK", "", "{}"),
            // It was done, and must not be asked for again.
            ("503 Service Unavailable", "", crowded),
            ("503 Service Unavailable", "retry-after: 0\r\n", other),
            // Nobody waits for so long.
            ("503 Service Unavailable", "retry-after: 3600\r\n", crowded),
        ] {
            let (mut stream, _) = there.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\n{again}content-length: {length}\r\n\r\n");
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .unwrap();
        }
    });
    let ask = || {
        let path = "/v1/batches/b/suspend";
        smol::block_on(request(&way, Method::POST, path, None, Duration::ZERO))
    };
    assert!(ask().is_ok());
    for said in [
        "the disk is behind",
        "the disk is full",
        "the disk is behind",
    ] {
        match ask() {
            Err(Failure::Refused(refusal)) => assert_eq!(refusal.message, said),
            other => panic!("{other:?}"),
        }
    }
    daemon.join().unwrap();
}
