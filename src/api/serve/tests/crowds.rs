//! Long answers that many ask for.

use super::*;

const DETAILS: &[u8] = b"GET /v1/nodes/detail HTTP/1.1\r\nhost: x\r\n\r\n";

fn nodes(house: &House) -> usize {
    let calls = house.calls();
    let long = calls
        .iter()
        .filter(|call| matches!(call, Call::Look(Look::Nodes)));
    long.count()
}

#[test]
fn no_long_answer_is_made_for_clients_that_have_gone() {
    let house = House::new(slow);
    for _ in 0..20 {
        let mut stream = house.connect();
        stream.write_all(&DETAILS.repeat(8)).expect("sent");
    }
    // That of the first is under way, and perhaps of one or two more; the others are nobody's.
    let begun = Instant::now();
    house.still_serves();
    assert!(begun.elapsed() < LATE * 4, "{:?}", begun.elapsed());
    assert!(nodes(&house) <= 5, "{}", nodes(&house));
}

#[test]
fn who_waits_too_long_for_a_long_answer_is_told_so() {
    let limits = Limits {
        answer: Duration::from_secs(2),
        ..short()
    };
    let rack = |call: &Call| match call {
        Call::Look(Look::Nodes) => Reaction::Silence,
        _ => obliging(call),
    };
    let house = House::with(rack, limits);
    let held: Vec<UnixStream> = (0..2)
        .map(|number| {
            let mut stream = house.connect();
            stream.write_all(DETAILS).expect("sent");
            // The first has the turn until the rack's patience is over, the second has it then.
            while nodes(&house) < 1 && number == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(200));
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(400));
    let answer = house.send("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 2"), "{answer}");
    drop(held);
    let began = Instant::now();
    let next = || house.send("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    while !next().starts_with("HTTP/1.1 200") {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_disk_that_hangs_holds_up_no_long_answer_that_needs_none() {
    let house = House::new(|call| match call {
        Call::Look(Look::Node(_)) => Reaction::Now(Ok(Answer::Node(crate::model::Node::default()))),
        Call::History { .. } => Reaction::Silence,
        _ => obliging(call),
    });
    let held: Vec<UnixStream> = (0..6)
        .map(|_| {
            let mut stream = house.connect();
            let request = b"GET /v1/nodes/n/history HTTP/1.1\r\nhost: x\r\n\r\n";
            stream.write_all(request).expect("sent");
            stream
        })
        .collect();
    let asked = || {
        let calls = house.calls();
        let from_disk = |call: &&Call| matches!(call, Call::History { .. });
        calls.iter().filter(from_disk).count()
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while asked() < 2 {
        assert!(Instant::now() < deadline, "{:?}", house.calls());
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    house.still_serves();
    assert!(begun.elapsed() < short().answer, "{:?}", begun.elapsed());
    drop(held);
}

/// The thread of the API has other things to do: sockets and timers of everybody else.
#[test]
fn between_long_answers_others_have_their_turn() {
    let house = House::new(|call| {
        if matches!(call, Call::Look(Look::Nodes)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        obliging(call)
    });
    let mut half = house.connect();
    half.write_all(b"GET /v1/nodes HTTP/1.1\r\nhost: x\r\n")
        .expect("sent");
    let held: Vec<UnixStream> = (0..30)
        .map(|_| {
            let mut stream = house.connect();
            stream.write_all(DETAILS).expect("sent");
            stream
        })
        .collect();
    let begun = Instant::now();
    read_all(&mut half);
    let took = begun.elapsed();
    assert!(
        took < short().header_timeout * 2,
        "its time was over after 400 ms, and it ended after {took:?}"
    );
    drop(held);
}

#[test]
fn health_and_power_wait_for_no_crowd_that_asks_for_metrics() {
    let limits = Limits {
        answer: Duration::from_secs(60),
        ..short()
    };
    let house = House::with(obliging, limits);
    let (stays, count) = &*house.writing;
    stays.store(true, Ordering::SeqCst);
    let crowd: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = house.connect();
            let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            stream.write_all(request).expect("sent");
            stream
        })
        .collect();
    while count.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..3 {
        // Whoever waits for the metrics waits until these were answered.
        let health = house.send("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&health), "200", "{health}");
        let body = r#"{"target": "power off"}"#;
        let order = house.send(format!("{}connection: close\r\n\r\n{body}", put(body)));
        assert_eq!(status(&order), "202", "{order}");
        assert_eq!(count.load(Ordering::SeqCst), 1, "one at a time");
    }
    stays.store(false, Ordering::SeqCst);
    for mut stream in crowd {
        let answer = read_all(&mut stream);
        assert_eq!(status(&answer), "200", "{answer}");
    }
}

/// The thousands of names of each would be in memory at once.
#[test]
fn who_names_many_waits_for_others_who_do_and_who_names_few_does_not() {
    let limits = Limits {
        answer: Duration::from_secs(3),
        ..short()
    };
    let rack = |call: &Call| match call {
        Call::Look(Look::Nodes) => Reaction::Silence,
        _ => obliging(call),
    };
    let house = House::with(rack, limits);
    let batch = |nodes: &str| {
        let body = format!(r#"{{"nodes":[{nodes}],"operation":"power on"}}"#);
        format!(
            "POST /v1/batches HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // Who wants to know what there is has the turn meanwhile.
    let groups = batch(&format!(r#""@all"{}"#, " ".repeat(5000)));
    let held: Vec<UnixStream> = (0..4)
        .map(|_| {
            let mut stream = house.connect();
            stream.write_all(groups.as_bytes()).expect("sent");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    // It gets as far as the rack, which refuses it.
    let few = house.send(batch(r#""n[001-200]""#));
    assert!(few.starts_with("HTTP/1.1 400"), "{few}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let many = house.send(batch(r#""n[0001-4096]""#));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{many}");
    drop(held);
    let many = house.send(batch(r#""n[0001-4096]""#));
    assert!(many.starts_with("HTTP/1.1 400"), "{many}");
}

/// Hundreds of them would be in memory while their senders, or the rack, take their time.
#[test]
fn a_few_long_bodies_are_held_at_once_and_short_ones_pass() {
    let limits = Limits {
        body_timeout: Duration::from_secs(1),
        answer: Duration::from_secs(20),
        ..short()
    };
    let rack = |call: &Call| match call {
        Call::Pause { .. } => Reaction::Silence,
        _ => obliging(call),
    };
    let house = House::with(rack, limits);
    let post = |path: &str, body: &str, padding: usize| {
        format!(
            "POST /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}{}",
            body.len() + padding,
            " ".repeat(padding)
        )
    };
    let held: Vec<UnixStream> = (0..4)
        .map(|_| {
            let mut stream = house.connect();
            let long = post("pause", r#"{"reason":"x"}"#, 20_000);
            stream.write_all(long.as_bytes()).expect("sent");
            stream
        })
        .collect();
    let paused = || {
        let calls = house.calls();
        let pauses = calls
            .iter()
            .filter(|call| matches!(call, Call::Pause { .. }));
        pauses.count()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while paused() < 4 {
        assert!(Instant::now() < deadline, "{}", paused());
        std::thread::sleep(Duration::from_millis(5));
    }
    let crowded = house.send(post("release", "{}", 20_000));
    assert_eq!(status(&crowded), "503", "{crowded}");
    assert_eq!(status(&house.send(post("release", "{}", 3000))), "200");
    // It is noticed within seconds that they have gone.
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while status(&house.send(post("release", "{}", 20_000))) != "200" {
        assert!(Instant::now() < deadline);
    }
}
