//! Clients that go before their answer, halfway or at once, on real sockets.

use super::*;

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let house = House::new(slow);
    let mut stream = house.connect();
    stream
        .write_all(b"GET /v1/nodes HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let answer = read_all(&mut stream);
    assert_eq!(status(&answer), "200", "{answer}");
}

/// Waits for news as long as it was asked to.
fn without_news(call: &Call) -> Reaction {
    match call {
        Call::Events { wait, .. } if !wait.is_zero() => Reaction::Silence,
        _ => obliging(call),
    }
}

const POLL: &[u8] = b"GET /v1/events?wait=300s HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// It is not seen whether a client on TCP has closed one side or both: it is answered, and does not
/// keep its place until the wait is over.
#[test]
fn a_client_on_tcp_that_has_said_all_waits_for_news_a_while_and_is_answered() {
    let house = House::new(without_news);
    let mut stream = std::net::TcpStream::connect(house.tcp).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    let credentials = "authorization: bearer tok-1\r\n\r\n";
    let poll = [&POLL[..POLL.len() - 2], credentials.as_bytes()].concat();
    stream.write_all(&poll).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(status(&answer), "200", "{answer}");
    let waits: Vec<Duration> = house.calls().iter().map(Call::wait).collect();
    assert_eq!(waits, [Duration::from_secs(300), Duration::ZERO]);
}

/// Of those on a Unix socket it is seen.
#[test]
fn clients_on_a_unix_socket_that_have_gone_keep_no_place_and_those_that_listen_do() {
    let house = House::new(without_news);
    let mut listens = house.connect();
    listens.write_all(POLL).expect("sent");
    listens.shutdown(Shutdown::Write).expect("half closed");
    // This one is admin, for whom all places are.
    let gone: Vec<UnixStream> = (1..short().connections)
        .map(|_| {
            let mut stream = house.connect();
            stream.write_all(POLL).expect("sent");
            stream
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(60);
    while house.calls().len() < short().connections as usize {
        assert!(Instant::now() < end, "{}", house.calls().len());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(gone);
    let asks = "GET /v1/nodes HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    while !house.send(asks).starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < end, "they keep their places");
        std::thread::sleep(Duration::from_millis(50));
    }
    listens
        .set_read_timeout(Some(short().half_closed + Duration::from_secs(3)))
        .expect("a timeout");
    let read = listens.read(&mut [0]);
    let error = read.expect_err("nothing has happened that it could be told");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
}

#[test]
fn a_client_that_goes_away_loses_its_answer_and_nobody_elses() {
    let house = House::new(slow);
    let body = r#"{"target": "power on"}"#;
    for _ in 0..5 {
        let mut stream = house.connect();
        stream
            .write_all(format!("{}\r\n{body}", put(body)).as_bytes())
            .expect("sent");
        drop(stream);
    }
    // In the middle of a body nothing was asked yet.
    let mut stream = house.connect();
    stream
        .write_all(format!("{}\r\n{{\"target\"", put(body)).as_bytes())
        .expect("sent");
    drop(stream);
    house.still_serves();
    let pulses = house
        .calls()
        .iter()
        .filter(|call| matches!(call, Call::SetPower { .. }))
        .count();
    assert_eq!(pulses, 5, "each complete request is carried out once");
}

#[test]
fn what_was_asked_and_never_answered_is_in_the_trail() {
    let limits = Limits {
        answer: Duration::from_secs(30),
        grace: Duration::from_millis(50),
        ..short()
    };
    let house = House::with(
        |call| match call {
            Call::SetPower { .. } => silent(call),
            _ => obliging(call),
        },
        limits,
    );
    let mut stream = house.connect();
    let body = r#"{"target": "power off"}"#;
    stream
        .write_all(format!("{}\r\n{body}", put(body)).as_bytes())
        .expect("sent");
    let deadline = Instant::now() + Duration::from_secs(5);
    while house.calls().is_empty() {
        assert!(Instant::now() < deadline, "never asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The daemon goes down in the middle of it.
    house.shutdown.close();
    let audits = house.audits.clone();
    drop(house);
    let audits = audits.lock().expect("no test panics here");
    let [audit] = &audits[..] else {
        panic!("{audits:?}")
    };
    assert_eq!(audit.status, 499, "{audit:?}");
    assert_eq!(audit.what.as_deref(), Some("power off"));
    assert_eq!(audit.nodes.as_deref(), Some("n1"));
}
