//! Heads and bodies that do not come, are too large, or are no HTTP, on real sockets.

use super::*;

#[test]
fn headers_that_do_not_come_end_the_connection_and_hold_nobody_up() {
    let house = House::new(obliging);
    let begun = Instant::now();
    let mut drop_by_drop = house.connect();
    drop_by_drop.write_all(b"GET /v1/no").expect("sent");
    let mut idle = house.connect();
    house.still_serves();
    for stream in [&mut drop_by_drop, &mut idle] {
        read_all(stream);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    // A byte now and then does not stretch the deadline.
    let mut stream = house.connect();
    let begun = Instant::now();
    for byte in b"GET /v1/nodes HTTP/1.1\r\nhost: x\r\nx-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        stream.write_all(b"more").is_err(),
        "let go after {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let house = House::new(obliging);
    let begun = Instant::now();
    let answer = house.send(format!("{}\r\n{{\"targ", put(r#"{"target": "power on"}"#)));
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert!(house.calls().is_empty());
}

#[test]
fn a_body_that_is_too_large_is_413_announced_or_not() {
    let house = House::new(obliging);
    let large = "x".repeat(70_000);
    let announced = house.send(format!("{}\r\n{large}", put(&large)));
    assert_eq!(status(&announced), "413", "{announced}");
    assert!(announced.contains("\"faultstring\""), "{announced}");
    let chunk = format!("{:x}\r\n{}\r\n", 30_000, "y".repeat(30_000)).repeat(4);
    let chunked = house.send(format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    ));
    assert_eq!(status(&chunked), "413", "{chunked}");
    assert!(chunked.contains("\"kind\":\"body_too_large\""), "{chunked}");
    assert!(house.calls().is_empty());
}

#[test]
fn games_with_the_end_of_a_body_switch_nothing() {
    let house = House::new(obliging);
    let body = r#"{"target": "power on"}"#;
    let head = "PUT /v1/nodes/n1/states/power HTTP/1.1\r\nhost: x\r\nx-openstack-ironic-api-version: 1.31\r\n";
    for games in [
        "content-length: 22\r\ncontent-length: 23\r\n",
        "content-length: 22, 23\r\n",
        "content-length: -1\r\n",
        "content-length: 0x16\r\n",
        "content-length: +22\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding : chunked\r\n",
    ] {
        let answer = house.send(format!("{head}{games}\r\n{body}"));
        assert!(status(&answer).starts_with('4'), "{games}: {answer}");
    }
    assert!(house.calls().is_empty(), "{:?}", house.calls());
    // With both, the chunks count (RFC 9112 §6.3), and nothing after them does: it may be smuggled.
    let smuggled = format!("{}\r\n{body}", put(body)).replace("/n1/", "/n2/");
    let both = house.send(format!(
        "{head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n16\r\n{body}\r\n0\r\n\r\n{smuggled}"
    ));
    assert_eq!(both.matches("HTTP/1.1").count(), 1, "{both}");
    let calls = house.calls();
    assert!(
        matches!(&calls[..], [Call::SetPower { node, .. }] if node == "n1"),
        "{calls:?}"
    );
    house.still_serves();
}

#[test]
fn what_is_no_http_is_told_so() {
    let house = House::new(obliging);
    for nonsense in [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET /v1/nodes/\0 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        "GET /v1/nodes HTTP/9.9\r\n\r\n".to_owned(),
        format!(
            "GET /v1/nodes/{} HTTP/1.1\r\nhost: x\r\n\r\n",
            "x".repeat(100_000)
        ),
        format!(
            "GET /v1/nodes HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n",
            "x".repeat(100_000)
        ),
        format!(
            "GET /v1/nodes HTTP/1.1\r\nhost: x\r\n{}\r\n",
            "x-many: 1\r\n".repeat(200)
        ),
    ] {
        let answer = house.send(&nonsense);
        assert!(
            status(&answer).starts_with('4'),
            "{:.40}: {answer:.200}",
            nonsense
        );
    }
    let mut bytes =
        b"GET /v1/nodes/\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec();
    let answer = house.send(&bytes);
    assert!(status(&answer).starts_with('4'), "{answer}");
    bytes.truncate(10);
    house.send(&bytes);
    assert!(house.calls().is_empty());
    house.still_serves();
}
