use super::*;
use crate::ipmi::session20::Header;

fn at(millis: u64) -> Instant {
    Instant::after_start(Duration::from_millis(millis))
}

fn clear(bytes: &[u8]) -> Clear {
    Clear {
        frame: Frame::V20(Header {
            payload_type: PayloadType::Ipmi,
            encrypted: true,
            authenticated: true,
            session_id: 0x1A2B_3C4D,
            sequence: 7,
        }),
        shown: bytes.to_vec(),
        left_out: Vec::new(),
    }
}

const STATUS: &[u8] = &[0x20, 0x00, 0xE0, 0x81, 0x14, 0x01, 0x6A];

fn lines(trace: &Trace, now: Instant) -> Vec<String> {
    let wall = WallTime::from_unix_micros(1_800_000_000_000_000);
    let records = trace.records().into_iter();
    records
        .map(|(at, record)| text::line(&record, now - at, wall))
        .collect()
}

#[test]
fn a_line_says_when_which_way_what_it_is_and_what_is_left_out() {
    let mut trace = Trace::new(at(0));
    trace.add(3, datagram(Way::Out, clear(STATUS), None), at(1_000));
    let answer = Clear {
        left_out: vec![(7, 5)],
        ..clear(&[0x81, 0x1C, 0x63, 0x20, 0x14, 0x46, 0x00])
    };
    let stale = Some(Dropped::Stale);
    trace.add(3, datagram(Way::In, answer, stale), at(1_250));
    trace.add(3, What::Unreachable, at(2_000));
    assert_eq!(
        lines(&trace, at(3_000)),
        [
            "2027-01-15T07:59:58.000000+00:00    2.000000 s ago > port 3: RMCP IPMI 2.0, session 1a2b3c4d packet 7 encrypted \
             authenticated, Get Chassis Status 00h/01h request 5: 20 00 e0 81 14 01 6a",
            "2027-01-15T07:59:58.250000+00:00    1.750000 s ago < port 3: RMCP IPMI 2.0, session 1a2b3c4d packet 7 encrypted \
             authenticated, Get User Name 06h/46h answer to request 5 (00h, completed normally): 81 1c 63 20 14 46 00 \
             [5 left out]; dropped: nobody waits for this answer",
            "2027-01-15T07:59:59.000000+00:00    1.000000 s ago < port 3: the network says that nothing listens there",
        ]
    );
}

#[test]
fn no_more_datagrams_and_bytes_are_kept_than_may_be() {
    let mut trace = Trace::new(at(0));
    for millis in 1..=1_000 {
        let other = [STATUS, &u64::to_be_bytes(millis)].concat();
        trace.add(1, datagram(Way::Out, clear(&other), None), at(millis));
    }
    assert_eq!((trace.count, trace.forgotten), (DATAGRAMS_KEPT, 800));
    let first = trace.records()[0].0;
    assert_eq!(first, at(801), "the moments are those of what is kept");
    trace.limit(1_000);
    assert!(trace.bytes.len() <= 1_000 && trace.count > 20);
    for millis in 1_001..=1_100 {
        trace.add(1, datagram(Way::In, clear(&[0; 1024]), None), at(millis));
    }
    assert!(trace.bytes.len() <= 1_000, "{}", trace.bytes.len());
    assert!(trace.bytes.capacity() <= BYTES_KEPT + 2 * GROWTH);
    assert!(
        lines(&trace, at(1_100))
            .last()
            .is_some_and(|line| line.ends_with("[768 more]"))
    );
    assert_eq!(trace.records().last().expect("one").0, at(1_100));
}

#[test]
fn the_traces_of_4096_bmcs_stay_within_their_bytes() {
    let nodes = 4096;
    let share = (24 << 20) / nodes;
    let mut bytes = 0;
    for node in 0..nodes {
        let mut trace = Trace::new(at(0));
        trace.limit(share);
        for number in 0..40 + node as u64 % 7 {
            let answer = [0x81; 200];
            let shown = if number % 2 == 0 { STATUS } else { &answer[..] };
            trace.add(1, datagram(Way::In, clear(shown), None), at(number));
        }
        assert!(trace.bytes.len() <= share && trace.count > 20);
        bytes += trace.bytes.capacity() + size_of::<Trace>();
    }
    let room = nodes * (GROWTH + 300 + size_of::<Trace>());
    assert!(bytes <= (24 << 20) + room, "{bytes} bytes");
}

/// A reading of the power at a port of its own, as the BMC answers it: its first byte, and after
/// how long.
fn read(trace: &mut Trace, port: LocalPort, state: u8, takes: u64, begun: u64) {
    let number = port as u8;
    let request = [
        0x20,
        0x00,
        0xE0,
        0x81,
        number << 2,
        0x01,
        0x6Au8.wrapping_sub(number),
    ];
    let answer = [
        0x81,
        0x04,
        0x7B,
        0x20,
        number << 2,
        0x01,
        0x00,
        state,
        0x00,
        0x00,
        number,
    ];
    let session = |bytes: &[u8]| Clear {
        frame: Frame::V20(Header {
            payload_type: PayloadType::Ipmi,
            encrypted: true,
            authenticated: true,
            session_id: 77 * port as u32,
            sequence: 7,
        }),
        ..clear(bytes)
    };
    trace.add(port, datagram(Way::Out, session(&request), None), at(begun));
    let came = at(begun + takes);
    trace.add(port, datagram(Way::In, session(&answer), None), came);
}

#[test]
fn readings_that_are_the_same_are_kept_once_and_counted() {
    let mut trace = Trace::new(at(0));
    for port in 1..=100 {
        read(&mut trace, port, 0x21, 20, port * 60_000);
    }
    let said = lines(&trace, at(6_000_020));
    assert_eq!(said.len(), 3, "{said:#?}");
    assert_eq!(
        said[0],
        "2027-01-15T07:59:00.000000+00:00   60.000000 s ago - up to this moment the 2 datagrams that follow came 99 times \
         before, the same but for random numbers and moments"
    );
    assert!(said[1].contains("request 36"), "the last one: {said:#?}");
    assert_eq!((trace.count, trace.forgotten), (200, 0));
    assert!(trace.bytes.capacity() < 300, "{}", trace.bytes.capacity());
    // Another state, and an answer that takes seconds, are something else; each is kept, and what
    // was before is, too.
    read(&mut trace, 101, 0x20, 20, 6_060_000);
    read(&mut trace, 102, 0x21, 20, 6_120_000);
    read(&mut trace, 103, 0x21, 3_000, 6_180_000);
    read(&mut trace, 104, 0x21, 3_000, 6_240_000);
    read(&mut trace, 105, 0x21, 20, 6_300_000);
    let moments: Vec<u64> = trace
        .records()
        .iter()
        .map(|(moment, _)| (*moment - at(0)).as_millis() as u64)
        .collect();
    assert_eq!(
        moments,
        [
            5_940_020, 6_000_000, 6_000_020, 6_060_000, 6_060_020, 6_120_000, 6_120_020, 6_183_000,
            6_240_000, 6_243_000, 6_300_000, 6_300_020,
        ]
    );
    // What is counted is forgotten as a whole, once the last 200 are without it.
    for port in 106..=300 {
        read(&mut trace, port, port as u8, 20, port * 60_000);
    }
    assert_eq!((trace.count, trace.forgotten), (200, 400));
    assert_eq!(trace.records().len(), 200);
}

#[test]
fn readings_of_one_session_are_folded_and_little_room_costs_the_oldest_only() {
    let mut trace = Trace::new(at(0));
    for round in 0..50 {
        read(&mut trace, 1, 0x21, 20, 5_000 + round * 5_000);
    }
    assert_eq!(lines(&trace, at(300_000)).len(), 3);
    trace.limit(60);
    assert!(trace.bytes.len() <= 60 && trace.count <= 2, "{trace:?}");
    for round in 60..70 {
        read(&mut trace, 1, 0x21, 20, 5_000 + round * 5_000);
        assert!(trace.bytes.len() <= 60, "{trace:?}");
    }
    let last = trace.records().last().map(|(moment, _)| *moment);
    assert_eq!(last, Some(at(350_020)));
}
