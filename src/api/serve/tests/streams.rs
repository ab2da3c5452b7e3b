//! Streams of events on real sockets.

use super::*;
use crate::model::Node;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    let house = House::new(obliging);
    let mut stream = house.connect();
    stream
        .write_all(
            b"GET /v1/events?since=1-0 HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n",
        )
        .expect("sent");
    std::thread::sleep(Duration::from_millis(300));
    let asked = house.calls().len();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        house.calls().len() <= asked + 1,
        "a reader that does not read draws no events"
    );
    std::thread::sleep(Duration::from_millis(900));
    // What was written before is still in the socket; then it ends, although the events do not.
    let text = read_all(&mut stream);
    assert!(text.contains("event: node"), "{text:.300}");
}

#[test]
fn streams_are_counted_and_end_when_the_daemon_goes_down() {
    let mut house = House::new(|call| match call {
        Call::Events { since: Some(_), .. } => silent(call),
        _ => obliging(call),
    });
    let open = |house: &House| {
        let mut stream = house.connect();
        stream
            .write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
            .expect("sent");
        let mut bytes = [0; 2048];
        let count = stream.read(&mut bytes).expect("an answer");
        (
            stream,
            String::from_utf8_lossy(&bytes[..count]).into_owned(),
        )
    };
    let (mut first, head) = open(&house);
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let (_second, _) = open(&house);
    let (third, refused) = open(&house);
    assert_eq!(status(&refused), "503");
    drop(third);
    let begun = Instant::now();
    house.shutdown.close();
    read_all(&mut first);
    let ended = house.thread.take().map(JoinHandle::join);
    assert!(ended.as_ref().is_some_and(Result::is_ok));
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    house.thread = Some(std::thread::spawn(|| {}));
}

#[test]
fn a_stream_reads_the_same_whether_it_is_the_first_on_its_connection_or_not() {
    let read = |before: &str| {
        let mut house = House::new(|call| match call {
            Call::Events { since: Some(_), .. } => silent(call),
            _ => obliging(call),
        });
        let mut stream = house.connect();
        let ask = "GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n";
        stream
            .write_all(format!("{before}{ask}").as_bytes())
            .expect("sent");
        let mut text = String::new();
        let mut bytes = [0; 4096];
        while !text.contains("id: 1-0\n\n") {
            let count = stream.read(&mut bytes).expect("it goes on");
            assert!(count > 0, "ended: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        house.shutdown.close();
        text.push_str(&read_all(&mut stream));
        let ended = house.thread.take().map(JoinHandle::join);
        assert!(ended.as_ref().is_some_and(Result::is_ok));
        house.thread = Some(std::thread::spawn(|| {}));
        text
    };
    let first = read("");
    // RFC 9112 §7.1: the length of a chunk in hexadecimal digits, the chunk, at the end one without
    // length.
    let (head, body) = first.split_once("\r\n\r\n").expect("a head");
    assert_eq!(
        body, "15\r\nretry: 2000\nid: 1-0\n\n\r\n0\r\n\r\n",
        "{first}"
    );
    let second = read("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(second.starts_with("HTTP/1.1 200 OK"), "{second}");
    let (_, after) = second[1..].split_once("HTTP/1.1 ").expect("two answers");
    let (other, same) = after.split_once("\r\n\r\n").expect("a head");
    assert_eq!(same, body);
    let names = |head: &str| {
        let lines = head.lines().skip(1);
        let names = lines.map(|line| line.split(':').next().unwrap_or_default().to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let mut expected = names(other);
    // It is the last answer on its connection, and says so.
    expected.insert("connection".to_owned());
    assert_eq!(names(head), expected);
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(" GMT"),
        "{head}"
    );
}

#[test]
fn a_snapshot_is_made_as_far_as_its_reader_reads_it_and_who_does_not_read_is_let_go() {
    // It never ends.
    let house = House::new(|call| match call {
        Call::Look(Look::NodesAfter { .. }) => {
            let node = Node {
                last_error: Some("x".repeat(12_000)),
                ..Node::default()
            };
            Reaction::Now(Ok(Answer::Nodes(vec![node])))
        }
        _ => obliging(call),
    });
    for before in ["", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let asked = house.calls().len();
        let mut stream = house.connect();
        let ask =
            "GET /v1/events?snapshot=true HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n";
        stream
            .write_all(format!("{before}{ask}").as_bytes())
            .expect("sent");
        // Nothing is read until the other side has closed.
        let mut hangs_up = [PollFd::new(stream.as_fd(), PollFlags::empty())];
        let patience = PollTimeout::from(60_000u16);
        assert_eq!(poll(&mut hangs_up, patience).expect("polled"), 1);
        // What a socket takes, and a piece or two.
        let pieces = house.calls().len() - asked;
        assert!((2..200).contains(&pieces), "{pieces}");
        let text = read_all(&mut stream);
        assert!(text.contains("event: snapshot"), "{text:.300}");
    }
}
