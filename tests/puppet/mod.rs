//! A daemon of which only the answers are real, on a Unix socket, in the API's own JSON types: what
//! `rackbmc` says to what it is told.
#![allow(dead_code, reason = "each test uses its part of the puppet")]

use crate::daemon::{Said, rackbmc};
use rackbmcd::model::{
    Error, ErrorBody, Node, NodeDetail, NodeList, Operation, PowerReading, PowerState, Task, Word,
    Words,
};
use rackbmcd::time::WallTime;
use serde::Serialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

pub(crate) type Answer = (u16, String);

/// A daemon of which only the answers are real.
pub(crate) struct Puppet {
    pub folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Puppet {
    /// Answers each request (`GET /path`, body) by `script`.
    pub(crate) fn new(script: impl Fn(&str, &str) -> Answer + Send + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let puppet = Self { folder, asked };
        puppet.listen(script);
        puppet
    }

    pub(crate) fn listen(&self, script: impl Fn(&str, &str) -> Answer + Send + 'static) {
        let listener = UnixListener::bind(self.socket()).expect("a socket");
        let asked = Arc::clone(&self.asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &asked, &script);
            }
        });
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("rackbmcd.sock")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        rackbmc(&self.socket(), words)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).output().expect("rackbmc runs"))
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic in the puppet").clone()
    }

    pub(crate) fn posts(&self) -> Vec<String> {
        let asked = self.asked().into_iter();
        asked.filter(|line| !line.starts_with("GET")).collect()
    }
}

pub(crate) fn serve(
    mut stream: UnixStream,
    asked: &Mutex<Vec<String>>,
    script: &impl Fn(&str, &str) -> Answer,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut first = String::new();
    let mut length = 0;
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the whole body");
    let body = String::from_utf8(body).expect("text");
    let request = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    asked
        .lock()
        .expect("no panic in the puppet")
        .push(format!("{request} {body}").trim_end().to_owned());
    let (status, text) = script(&request, &body);
    let _ = write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    );
}

pub(crate) fn ok(value: &impl Serialize) -> Answer {
    (200, serde_json::to_string(value).expect("JSON"))
}

pub(crate) fn refuse(status: u16, kind: &str, message: &str) -> Answer {
    let error = Error {
        kind: Word::of(kind),
        message: message.into(),
        ..Error::default()
    };
    (
        status,
        serde_json::to_string(&ErrorBody { error }).expect("JSON"),
    )
}

pub(crate) const TASK: &str = "0197a5c3-7d11-7b6e-8f3a-0123456789ab";
pub(crate) const BATCH: &str = "0197a5c3-7d11-7b6e-8f3a-00000000000b";

pub(crate) fn node(number: u32, state: &str) -> Node {
    Node {
        uuid: Uuid::from_u128(number.into()),
        name: format!("r1n{number:02}").into(),
        power_state: PowerState::from_word(state).expect("a state"),
        rackbmcd: NodeDetail {
            rack: "r1".into(),
            groups: ["compute".to_owned()].into(),
            reading: Some(PowerReading {
                power_state: Word::of(state),
                at: WallTime::default(),
                age: Duration::from_secs(12),
            }),
            ..NodeDetail::default()
        },
        ..Node::default()
    }
}

pub(crate) fn rack(size: u32) -> Answer {
    ok(&NodeList {
        nodes: (1..=size).map(|number| node(number, "power on")).collect(),
        next: None,
    })
}

pub(crate) fn task(state: &str) -> Task {
    Task {
        id: TASK.parse().expect("an id"),
        version: 1,
        rack: "r1".into(),
        node: "r1n01".into(),
        operation: Operation::SoftPowerOff.into(),
        state: Word::of(state),
        ended: !["queued", "running", "suspended"].contains(&state),
        phase: "waiting for the machine to go down".into(),
        step: 2,
        steps: 3,
        outcome: (state == "succeeded").then(|| "read back as off".into()),
        ..Task::default()
    }
}
