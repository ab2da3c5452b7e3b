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
        trace.add(1, datagram(Way::Out, clear(STATUS), None), at(millis));
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
