//! Several daemons, each with a rack of its own, and the file that names them.
#![allow(dead_code, reason = "each test uses its part of the bed")]

use crate::daemon::{Bed, Keys, Said, plan};
use rackbmcd::sim::Mood;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// See the head of this file.
pub(crate) struct Fleet {
    pub beds: Vec<Bed>,
    folder: tempfile::TempDir,
}

impl Fleet {
    /// Racks r1, r2 ... of so many nodes n01, n02 ..., the last of which is in group storage. No
    /// daemon runs yet.
    pub(crate) fn of(racks: usize, nodes: usize, mood: &Mood) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bed = |rack: usize| {
            let name = format!("r{rack}");
            let keys = Keys {
                name: &name,
                rack: "power_on_stagger = \"1ms\"\nmax_transitions = 64",
                defaults: "min_off_time = \"1s\"\nsettle = \"1s\"\norders_per_second = 20.0",
                ..Keys::default()
            };
            let plans = (1..=nodes).map(|node| plan(&format!("n{node:02}"), mood.clone()));
            let last = format!("n{nodes:02}");
            Bed::with_nodes(plans, &keys, |name, address| {
                let groups = match name == last {
                    true => "groups = [\"storage\"]\n",
                    false => "",
                };
                format!(
                    "[[node]]\nname = \"{name}\"\naddress = \"{}\"\nport = {}\n{groups}",
                    address.ip(),
                    address.port()
                )
            })
        };
        let mut fleet = Self {
            beds: (1..=racks).map(bed).collect(),
            folder,
        };
        for rack in 1..=racks {
            let socket = fleet.beds[rack - 1].socket().display().to_string();
            fleet.add(&format!("r{rack}"), "socket", &socket);
        }
        fleet
    }

    /// One more rack in the file.
    pub(crate) fn add(&mut self, name: &str, key: &str, place: &str) {
        let path = self.path("fleet.toml");
        let mut text = std::fs::read_to_string(&path).unwrap_or_default();
        text.push_str(&format!(
            "[[rack]]\nname = \"{name}\"\n{key} = \"{place}\"\n"
        ));
        std::fs::write(path, text).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `rackbmc --fleet` with these words, with nothing of the environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackbmc"));
        command
            .args(words)
            .env_clear()
            .env("RACKBMC_FLEET", "1")
            .env("RACKBMC_FLEET_FILE", self.path("fleet.toml"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it and demands an exit code; what it said.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, words: &[&str]) -> Said {
        let said = Said::of(self.command(words).output().expect("rackbmc runs"));
        assert_eq!(said.code, code, "{words:?} said:\n{}{}", said.out, said.err);
        said
    }
}

/// A daemon that lets everybody in and never says a word. It ends with the test's process.
pub(crate) fn silent(socket: PathBuf) {
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            held.push(stream);
        }
    });
}

/// A daemon that has one answer to everything.
pub(crate) fn refusing(socket: PathBuf, status: u16, body: &'static str) {
    serve(socket, status, move |_| Some(body));
}

/// A daemon that answers by the first line of a request, and closes the connection without a word
/// where it has no answer; the lines that it was asked.
pub(crate) fn stub(
    socket: PathBuf,
    answer: impl Fn(&str) -> Option<&'static str> + Send + 'static,
) -> Arc<Mutex<Vec<String>>> {
    serve(socket, 200, answer)
}

fn serve(
    socket: PathBuf,
    status: u16,
    answer: impl Fn(&str) -> Option<&'static str> + Send + 'static,
) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]);
            let line = text.lines().next().unwrap_or_default().to_owned();
            if let Some(body) = answer(&line) {
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} So\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n{body}"
                );
            }
            noted.lock().expect("no panic there").push(line);
        }
    });
    asked
}
