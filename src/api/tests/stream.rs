//! The stream of server-sent events, step by step.

use super::real::{RealRack, SECOND};
use super::*;
use crate::api::events::{EventStream, HEARTBEAT};
use crate::api::handle::RackHandle;
use crate::api::stream::TextStream;
use crate::model::{Event, EventId, EventKind, Events, REASON_LIMIT};
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
    let nodes = || Ok(Answer::Nodes(vec![node()]));
    let (first, call) = reader.text(nodes());
    assert!(matches!(call, Call::Look(Look::NodesAfter { after: None, of, .. }) if of.is_empty()));
    assert!(
        first.starts_with("id: 18c2f-50\nevent: snapshot\ndata: {\"nodes\":[{"),
        "{first}"
    );
    let tasks = Ok(Answer::Tasks(vec![task()]));
    let (second, calls) = reader.next([Ok(Answer::Nodes(Vec::new())), tasks]);
    assert!(matches!(
        &calls[..],
        [
            Call::Look(Look::NodesAfter { after: Some(last), .. }),
            Call::Look(Look::ActiveTasks { before: None, .. })
        ] if *last == node().uuid
    ));
    let second = second.expect("not refused").expect("it goes on");
    let (third, call) = reader.text(Ok(Answer::Tasks(Vec::new())));
    assert!(
        matches!(call, Call::Look(Look::ActiveTasks { before: Some(last), .. }) if last == task().id)
    );
    let shown = told(&format!("{first}{second}{third}"));
    assert_eq!(shown["nodes"][0]["name"], "r1n01");
    assert_eq!(shown["tasks"][0]["id"], TASK);
    let (_, call) = reader.text(events(&[], 50, false));
    assert_eq!(since(&call), Some(id(50)));
}

/// What one snapshot says, which is one event with one line of data.
fn told(text: &str) -> serde_json::Value {
    let (head, data) = text.split_once("data: ").expect("data");
    assert!(head.ends_with("event: snapshot\n"), "{head}");
    let data = data.strip_suffix("\n\n").expect("its end");
    assert!(!data.contains('\n'));
    serde_json::from_str(data).expect("JSON")
}

/// A rack of so many nodes with the longest reasons, each of which has a task.
fn large(nodes: u128, call: &Call) -> Result<Answer, Refused> {
    let behind = |last: Option<u128>, limit: usize| {
        let first = last.map_or(1, |last| last + 1);
        (first..=nodes).take(limit)
    };
    let reason = "\u{1f9ca}".repeat(REASON_LIMIT);
    match call {
        Call::Events { .. } => events(&[], 50, false),
        Call::Look(Look::NodesAfter { after, limit, .. }) => {
            let numbers = behind(after.map(|uuid| uuid.as_u128()), *limit);
            let nodes = numbers.map(|number| Node {
                uuid: Uuid::from_u128(number),
                rackbmcd: NodeDetail {
                    maintenance: Some(Hold {
                        reason: Some(reason.clone()),
                        ..Hold::default()
                    }),
                    ..node().rackbmcd
                },
                ..node()
            });
            Ok(Answer::Nodes(nodes.collect()))
        }
        Call::Look(Look::ActiveTasks { before, limit, .. }) => {
            let last = before.map(|id| nodes + 1 - id.as_u128());
            let tasks = behind(last, *limit).map(|number| Task {
                id: Uuid::from_u128(nodes + 1 - number),
                ..task()
            });
            Ok(Answer::Tasks(tasks.collect()))
        }
        other => panic!("{other:?}"),
    }
}

/// A stream that begins with a snapshot of what `daemon` knows.
fn snapshot_of(daemon: Rc<dyn Daemon>, nodes: &[&str]) -> EventStream {
    let rack = RackHandle::new(daemon, Who::default());
    let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
    EventStream::new(rack, None, nodes, true, "http://localhost".into())
}

fn next(stream: &mut EventStream) -> String {
    let text = at_once(stream.next());
    text.expect("not refused").expect("it goes on")
}

/// The rest of the snapshot of this stream.
fn rest(stream: &mut EventStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        text += &next(stream);
    }
    text
}

#[test]
fn the_snapshot_of_a_large_rack_comes_in_pieces_that_always_find_place() {
    let double = Rc::new(Double {
        rack: |call| large(1500, &call),
        calls: RefCell::default(),
    });
    let mut stream = snapshot_of(double.clone(), &[]);
    assert_eq!(next(&mut stream), "retry: 2000\nid: 18c2f-50\n\n");
    let mut whole = String::new();
    while !whole.ends_with("\n\n") {
        let before = double.calls.borrow().len();
        let piece = next(&mut stream);
        // `SMALL` of `serve`: answers that are never refused for their size.
        assert!(piece.len() <= 16 * 1024, "{}", piece.len());
        // After the last node the tasks are asked for.
        assert!(double.calls.borrow().len() - before <= 2);
        whole += &piece;
    }
    let shown = told(&whole);
    let nodes = shown["nodes"].as_array().expect("a list");
    let uuids = nodes.iter().map(|node| node["uuid"].as_str());
    let expected: Vec<_> = (1..=1500)
        .map(|number| Uuid::from_u128(number).to_string())
        .collect();
    assert!(uuids.eq(expected.iter().map(|uuid| Some(uuid.as_str()))));
    let tasks = shown["tasks"].as_array().expect("a list");
    assert_eq!(tasks.len(), 1000);
    assert_eq!(tasks[999]["id"], Uuid::from_u128(501).to_string());
    assert_eq!(next(&mut stream), ": alive\n\n");
}

#[test]
fn what_changes_while_a_snapshot_is_read_comes_after_it() {
    let rack = RealRack::new();
    let hold = |node: &str, reason: &str| {
        let hold = Some(Some(reason.to_owned()));
        let (node, who) = (node.to_owned(), Who::default());
        rack.ask_as_admin(Call::SetMaintenance { node, hold, who });
    };
    let reasons = |text: &str| -> Vec<Option<String>> {
        let shown = told(text);
        let nodes = shown["nodes"].as_array().expect("a list").iter();
        nodes
            .map(|node| node["maintenance_reason"].as_str().map(str::to_owned))
            .collect()
    };
    let long = "x".repeat(500);
    let mut stream = snapshot_of(rack.asker(), &[]);
    next(&mut stream);
    hold("r1n01", &long);
    let first = next(&mut stream);
    hold("r1n02", "between");
    hold("r1n01", "too late");
    let text = first + &rest(&mut stream);
    let shown = reasons(&text);
    assert_eq!(shown.len(), 2);
    assert!(shown.contains(&Some(long.clone())) || shown.contains(&Some("too late".into())));
    // All three are told, in their order, whatever the snapshot has of them.
    let mut after = String::new();
    while after.matches("event: node").count() < 3 {
        after += &next(&mut stream);
    }
    let of = |what: &str| {
        after
            .find(what)
            .unwrap_or_else(|| panic!("{what}: {after}"))
    };
    assert!(of(&long) < of("between") && of("between") < of("too late"));
    // What the snapshot has already is known for that.
    let event = after.split("data: ").nth(1).expect("an event");
    let event: Event =
        serde_json::from_str(event.split_once('\n').expect("its end").0).expect("JSON");
    let node = &told(&text)["nodes"][0];
    let shown: Node = serde_json::from_value(node.clone()).expect("a node");
    assert!(shown.updated_at >= Some(event.at), "{shown:?} {event:?}");
}

#[test]
fn a_snapshot_of_some_nodes_has_each_of_them_once() {
    let rack = RealRack::new();
    let mut stream = snapshot_of(rack.asker(), &["r1n02", SECOND, "r1n02"]);
    next(&mut stream);
    let shown = told(&rest(&mut stream));
    let nodes = shown["nodes"].as_array().expect("a list");
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0]["name"], "r1n02");
}

#[test]
fn a_refusal_ends_the_stream() {
    let mut reader = stream("GET /v1/events?node=nosuch", None);
    let refused = Err(Refused::NoSuchNode("nosuch".into()));
    let fault = reader.next([refused]).0.expect_err("refused");
    assert_eq!(fault.status.as_u16(), 404);
}
