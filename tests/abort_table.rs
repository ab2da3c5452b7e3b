//! The abort table (docs/design.md, section 3) row by row, as Ironic's clients ask for it: over
//! HTTP, of the real daemon, soon after the request and later. What reached the machine is the
//! machine's own word.

mod daemon;

use daemon::{Bed, Keys, plan};
use rackbmcd::sim::{ChassisOrder, Mood, OsMood};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const WORDS: [&str; 3] = [
    "abort soft rebooting",
    "abort soft power off",
    "abort inject nmi",
];
/// What is asked for, on a machine that is on or off.
const REQUESTS: [(&str, bool); 9] = [
    ("soft rebooting", true),
    ("soft rebooting", false),
    ("soft power off", true),
    ("soft power off", false),
    ("inject nmi", true),
    ("rebooting", true),
    ("power off", true),
    ("power on", false),
    ("power on", true),
];
/// Before its first reading can be there, while it is being carried out, and when nothing but
/// waiting is left.
const MOMENTS: [u64; 3] = [0, 60, 700];

/// A node as its states are shown.
#[derive(Debug)]
struct Shown {
    power: Value,
    target: Value,
}

/// A request as openstacksdk makes it.
fn ask(bed: &Bed, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(bed.socket()).expect("it listens");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a timeout");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-OpenStack-Ironic-API-Version: 1.31\r\n\
         OpenStack-API-Version: baremetal 1.31\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn shown(bed: &Bed, node: &str) -> Shown {
    let (status, body) = ask(bed, "GET", &format!("/v1/nodes/{node}/states"), "");
    assert_eq!(status, 200, "{body}");
    let states: Value = serde_json::from_str(&body).expect("JSON");
    Shown {
        power: states["power_state"].clone(),
        target: states["target_power_state"].clone(),
    }
}

fn set_power(bed: &Bed, node: &str, target: &str) -> (u16, String) {
    let body = format!(r#"{{"target": "{target}"}}"#);
    ask(bed, "PUT", &format!("/v1/nodes/{node}/states/power"), &body)
}

/// What the machine has carried out and would not have without an order of ours.
fn carried_out(bed: &Bed, node: &str) -> [usize; 4] {
    use ChassisOrder::{Nmi, Off, On, Soft};
    [On, Off, Soft, Nmi].map(|order| bed.count(node, order))
}

#[test]
fn every_row_of_the_abort_table_holds_over_http_at_every_moment() {
    let mood = Mood {
        os: OsMood::Hangs,
        on_delay: Duration::from_secs(30),
        off_delay: Duration::from_secs(30),
        ..Mood::default()
    };
    let cases = WORDS.len() * REQUESTS.len() * MOMENTS.len();
    let names: Vec<String> = (0..cases).map(|number| format!("n{number:03}")).collect();
    let plans = names.iter().map(|name| plan(name, mood.clone()));
    let mut bed = Bed::of(
        plans,
        &Keys {
            rack: "power_on_stagger = \"0s\"\nmax_transitions = 200",
            defaults: "nmi_watch = \"20s\"",
            ..Keys::default()
        },
    );
    let mut node = names.iter();
    let mut table = Vec::new();
    for (request, on) in REQUESTS {
        for word in WORDS {
            for moment in MOMENTS {
                table.push((
                    request,
                    on,
                    word,
                    moment,
                    node.next().expect("one for each"),
                ));
            }
        }
    }
    for (_, on, _, _, node) in &table {
        if !on {
            bed.rack.with_bmc(node, |bmc, now| {
                bmc.mood_mut().off_delay = Duration::ZERO;
                bmc.order_by_somebody(ChassisOrder::Off, now);
            });
        }
    }
    bed.start();
    bed.wait_for("every node is read", |bed| {
        names.iter().all(|node| shown(bed, node).power.is_string())
    });
    let mut ended = Vec::new();
    for (request, on, word, moment, node) in table {
        let case = format!("{request} from on = {on}, {word} after {moment} ms");
        let (status, body) = set_power(&bed, node, request);
        assert_eq!(status, 202, "{case}: {body}");
        std::thread::sleep(Duration::from_millis(moment));
        let before = shown(&bed, node);
        let (status, body) = set_power(&bed, node, word);
        assert_eq!((status, body.as_str()), (202, ""), "{case}");
        let at_answer = carried_out(&bed, node);
        let after = shown(&bed, node);
        let named = word == format!("abort {request}");
        let aim = match word {
            "abort inject nmi" => "inject nmi",
            _ => "soft power off",
        };
        // The first reading of a machine that is off may come between the look at it and the abort.
        let is_sure = on || before.target != aim;
        if before.target == aim && is_sure {
            assert_eq!(after.power, "error", "{case}: {before:?} {after:?}");
            assert_eq!(after.target, Value::Null, "{case}: {before:?} {after:?}");
            ended.push((case, node, at_answer));
        } else if is_sure {
            assert_ne!(after.power, "error", "{case}: {before:?} {after:?}");
            assert!(after.power.is_string(), "{case}: {before:?} {after:?}");
            if named && after.target.is_null() {
                // A first reading said that it is off, and nothing had left.
                assert_eq!(after.power, before.power, "{case}");
                ended.push((case, node, at_answer));
            }
        }
    }
    assert!(ended.len() >= 15, "{ended:?}");
    std::thread::sleep(Duration::from_secs(3));
    for (case, node, at_answer) in ended {
        assert_eq!(
            carried_out(&bed, node),
            at_answer,
            "{case}: after the answer"
        );
    }
}
