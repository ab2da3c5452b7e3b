//! The stream of server-sent events, step by step.

use super::*;
use crate::api::events::{EventStream, HEARTBEAT};
use crate::api::stream::TextStream;
use crate::model::{Event, EventId, EventKind, Events};
use crate::rack::call::Look;
use std::collections::VecDeque;

fn id(sequence: u64) -> EventId {
    EventId {
        epoch: 0x18c2f,
        sequence,
    }
}

fn events(numbers: &[u64], next: u64, reset: bool) -> Result<Answer, Refused> {
    let events = numbers.iter().map(|number| Event {
        id: id(*number),
        at: at(*number),
        kind: EventKind::Node.into(),
        node: Some("r1n01".into()),
        text: format!("event\n{number}"),
        task: None,
        power_state: PowerState::Off,
    });
    Ok(Answer::Events(Events {
        events: events.collect(),
        next: id(next),
        reset,
    }))
}

/// A stream and the rack that it reads from: its answers, in their order, and what it was asked.
struct Reader {
    stream: EventStream,
    double: Rc<Scripted>,
}

#[derive(Default)]
struct Scripted {
    answers: RefCell<VecDeque<Result<Answer, Refused>>>,
    calls: RefCell<Vec<Call>>,
}

impl Daemon for Scripted {
    fn call(&self, call: Call) -> Later<Result<Result<Answer, Refused>, Fault>> {
        self.calls.borrow_mut().push(call);
        let answer = self.answers.borrow_mut().pop_front();
        Box::pin(ready(Ok(answer.expect("no more is asked"))))
    }

    fn metrics(&self) -> Later<Result<String, Fault>> {
        panic!("a stream wants no figures")
    }

    fn trail(&self, _: u64, _: usize) -> Later<Result<AuditPage, String>> {
        panic!("a stream wants no trail")
    }

    fn support(&self) -> Later<Result<Support, Fault>> {
        panic!("a stream wants no report")
    }

    fn ha(&self) -> Later<Ha> {
        panic!("a stream wants no hosts")
    }

    fn hand_over(&self, _: Option<String>) -> Later<Result<(), Refused>> {
        panic!("a stream hands nothing over")
    }
}

impl Reader {
    /// What it is sent next, and what the rack was asked for it.
    fn next<const N: usize>(
        &mut self,
        answers: [Result<Answer, Refused>; N],
    ) -> (Result<Option<String>, Fault>, Vec<Call>) {
        self.double.answers.replace(answers.into());
        let text = at_once(self.stream.next());
        (text, self.double.calls.take())
    }

    fn text(&mut self, answer: Result<Answer, Refused>) -> (String, Call) {
        let (text, mut calls) = self.next([answer]);
        let text = text.expect("not refused").expect("it goes on");
        (text, calls.remove(0))
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.next([]), (Ok(None), calls) if calls.is_empty())
    }
}

fn stream(line: &str, last_event_id: Option<&str>) -> Reader {
    let asked = request(line).header("accept", "text/event-stream");
    let asked = match last_event_id {
        Some(id) => asked.header("last-event-id", id),
        None => asked,
    };
    let double = Rc::new(Scripted::default());
    let rights = Policy::default().rights(&asked.peer);
    match at_once(handle(asked, rights, double.clone())).1 {
        Ok(Outcome::Stream(TextStream::Events(stream))) => Reader { stream, double },
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
    let mut reader = stream("GET /v1/events", None);
    let (text, call) = reader.text(events(&[], 41, false));
    assert_eq!(since(&call), None);
    assert_eq!(text, "retry: 2000\nid: 18c2f-41\n\n");
    let (text, call) = reader.text(events(&[42, 43], 43, false));
    assert_eq!(since(&call), Some(id(41)));
    assert!(matches!(call, Call::Events { wait, .. } if wait == HEARTBEAT));
    insta::assert_snapshot!(text, @r####"
id: 18c2f-42
event: node
data: {"id":"18c2f-42","at":"2015-08-01T00:00:42.000000+00:00","kind":"node","node":"r1n01","text":"event\n42","task":null,"power_state":"power off"}

id: 18c2f-43
event: node
data: {"id":"18c2f-43","at":"2015-08-01T00:00:43.000000+00:00","kind":"node","node":"r1n01","text":"event\n43","task":null,"power_state":"power off"}
"####);
    let (_, call) = reader.text(events(&[], 43, false));
    assert_eq!(since(&call), Some(id(43)));
}

#[test]
fn the_last_event_id_wins_over_the_address() {
    let mut resumed = stream("GET /v1/events?since=18c2f-7", Some("18c2f-40"));
    let (_, call) = resumed.text(events(&[], 40, false));
    assert_eq!(since(&call), Some(id(40)));
    assert!(matches!(call, Call::Events { wait, .. } if wait.is_zero()));
    let mut named = stream("GET /v1/events?since=18c2f-7&node=r1n01", None);
    let (_, call) = named.text(events(&[], 7, false));
    assert!(
        matches!(call, Call::Events { since: Some(since), nodes, .. } if since == id(7) && nodes == ["r1n01"])
    );
}

#[test]
fn silence_is_a_comment() {
    let mut reader = stream("GET /v1/events?since=18c2f-7", None);
    assert_eq!(reader.text(events(&[], 7, false)).0, ": alive\n\n");
    assert_eq!(reader.text(events(&[], 7, false)).0, ": alive\n\n");
}

#[test]
fn a_reader_too_far_behind_is_told_so_and_let_go() {
    let mut reader = stream("GET /v1/events?since=18c2f-7", None);
    let (text, _) = reader.text(events(&[], 900, true));
    assert!(
        text.starts_with("id: 18c2f-900\nevent: reset\ndata: {"),
        "{text}"
    );
    assert!(reader.has_ended());
}

#[test]
fn a_snapshot_comes_first_and_loses_no_event_after_its_position() {
    let mut reader = stream("GET /v1/events?snapshot=true&since=18c2f-1", None);
    let (_, call) = reader.text(events(&[], 50, false));
    assert_eq!(since(&call), None);
    let nodes = Ok(Answer::Nodes(vec![node()]));
    let tasks = Ok(Answer::Tasks(vec![task()]));
    let (text, calls) = reader.next([tasks, nodes]);
    assert!(matches!(
        calls[..],
        [
            Call::Look(Look::Tasks { active: true, .. }),
            Call::Look(Look::Nodes)
        ]
    ));
    let text = text.expect("not refused").expect("it goes on");
    assert!(
        text.starts_with("id: 18c2f-50\nevent: snapshot\ndata: {\"nodes\":[{"),
        "{text}"
    );
    let (_, call) = reader.text(events(&[], 50, false));
    assert_eq!(since(&call), Some(id(50)));
}

#[test]
fn a_refusal_ends_the_stream() {
    let mut reader = stream("GET /v1/events?node=nosuch", None);
    let refused = Err(Refused::NoSuchNode("nosuch".into()));
    let fault = reader.next([refused]).0.expect_err("refused");
    assert_eq!(fault.status.as_u16(), 404);
}
