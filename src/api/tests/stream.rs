//! The stream of server-sent events, step by step.

use super::*;
use crate::api::events::{EventStream, HEARTBEAT};
use crate::model::EventKind;
use crate::rack::call::{EventId, EventView, EventsView};

fn id(sequence: u64) -> EventId {
    EventId {
        epoch: 0x18c2f,
        sequence,
    }
}

fn events(numbers: &[u64], next: u64, reset: bool) -> Result<Answer, Refused> {
    let events = numbers.iter().map(|number| EventView {
        id: id(*number),
        at: at(*number),
        kind: EventKind::Node.into(),
        node: Some("r1n01".into()),
        text: format!("event\n{number}"),
        task: None,
        power_state: PowerState::Off,
    });
    Ok(Answer::Events(EventsView {
        events: events.collect(),
        next: id(next),
        reset,
    }))
}

fn stream(line: &str, last_event_id: Option<&str>) -> EventStream {
    let asked = request(line).header("accept", "text/event-stream");
    let asked = match last_event_id {
        Some(id) => asked.header("last-event-id", id),
        None => asked,
    };
    match plan(asked, &Policy::default()).1 {
        Ok(Plan::Stream(stream)) => stream,
        Ok(_) => panic!("no stream"),
        Err(fault) => panic!("{fault:?}"),
    }
}

fn since(call: &Call) -> Option<EventId> {
    match call {
        Call::Events { since, .. } => *since,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_begins_with_the_position_from_which_it_can_be_resumed() {
    let fresh = stream("GET /v1/events", None);
    assert_eq!(since(&fresh.call(true)), None);
    let step = fresh.take(events(&[], 41, false)).expect("a step");
    assert_eq!(step.text, "retry: 2000\nid: 18c2f-41\n\n");
    let following = step.next.expect("it goes on");
    let call = following.call(false);
    assert_eq!(since(&call), Some(id(41)));
    assert!(matches!(call, Call::Events { wait, .. } if wait == HEARTBEAT));
    let step = following
        .take(events(&[42, 43], 43, false))
        .expect("a step");
    insta::assert_snapshot!(step.text, @r####"
id: 18c2f-42
event: node
data: {"id":"18c2f-42","at":"2015-08-01T00:00:42.000000+00:00","kind":"node","node":"r1n01","text":"event\n42","task":null,"power_state":"power off"}

id: 18c2f-43
event: node
data: {"id":"18c2f-43","at":"2015-08-01T00:00:43.000000+00:00","kind":"node","node":"r1n01","text":"event\n43","task":null,"power_state":"power off"}
"####);
    assert_eq!(
        step.next.map(|next| since(&next.call(false))),
        Some(Some(id(43)))
    );
}

#[test]
fn the_last_event_id_wins_over_the_address() {
    let resumed = stream("GET /v1/events?since=18c2f-7", Some("18c2f-40"));
    assert_eq!(since(&resumed.call(true)), Some(id(40)));
    assert!(matches!(resumed.call(true), Call::Events { wait, .. } if wait.is_zero()));
    let named = stream("GET /v1/events?since=18c2f-7&node=r1n01", None);
    assert!(
        matches!(named.call(false), Call::Events { since: Some(since), nodes, .. } if since == id(7) && nodes == ["r1n01"])
    );
}

#[test]
fn silence_is_a_comment() {
    let step = stream("GET /v1/events?since=18c2f-7", None)
        .take(events(&[], 7, false))
        .expect("a step");
    assert_eq!(step.text, ": alive\n\n");
    assert!(step.next.is_some());
}

#[test]
fn a_reader_too_far_behind_is_told_so_and_let_go() {
    let step = stream("GET /v1/events?since=18c2f-7", None)
        .take(events(&[], 900, true))
        .expect("a step");
    assert!(
        step.text
            .starts_with("id: 18c2f-900\nevent: reset\ndata: {"),
        "{}",
        step.text
    );
    assert!(step.next.is_none());
}

#[test]
fn a_snapshot_comes_first_and_loses_no_event_after_its_position() {
    let asked = stream("GET /v1/events?snapshot=true&since=18c2f-1", None);
    assert_eq!(since(&asked.call(true)), None);
    let step = asked.take(events(&[], 50, false)).expect("a step");
    let reading = step.next.expect("it goes on");
    assert_eq!(reading.call(false), Call::Nodes);
    let step = reading
        .take(Ok(Answer::Nodes(vec![node()])))
        .expect("a step");
    assert_eq!(step.text, "");
    let reading = step.next.expect("it goes on");
    assert!(matches!(
        reading.call(false),
        Call::Tasks { active: true, .. }
    ));
    let step = reading
        .take(Ok(Answer::Tasks(vec![task()])))
        .expect("a step");
    assert!(
        step.text
            .starts_with("id: 18c2f-50\nevent: snapshot\ndata: {\"nodes\":[{"),
        "{}",
        step.text
    );
    assert_eq!(
        step.next.map(|next| since(&next.call(false))),
        Some(Some(id(50)))
    );
}

#[test]
fn a_refusal_ends_the_stream() {
    let asked = stream("GET /v1/events?node=nosuch", None);
    let fault = asked
        .take(Err(Refused::NoSuchNode("nosuch".into())))
        .expect_err("refused");
    assert_eq!(fault.status.as_u16(), 404);
}
