//! The real daemon on a simulated rack, with a folder for both: what tests of the whole stand on.
//!
//! The rack runs inside the test, so that a machine's own record of what it carried out is the
//! witness. Ports are the kernel's choice, and what was started here is ended here.
#![allow(dead_code, reason = "each test uses its part of the bed")]

use rackbmcd::cli::sim::{NodePlan, Served, serve};
use rackbmcd::sim::{BmcSettings, ChassisOrder, Conditions, Mood, OsMood, Privilege, User};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Far more than a start, or an answer, takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines that a test adds to the tables of the configuration.
#[derive(Default)]
pub(crate) struct Keys<'a> {
    /// The rack's name, `r1` where empty.
    pub name: &'a str,
    pub api: &'a str,
    pub rack: &'a str,
    pub defaults: &'a str,
}

/// A command that needs root: who is not has it run by sudo.
pub(crate) fn as_root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

/// Where the descriptors of a process lead, by number. Its own user may not look where it has
/// secrets: the kernel gives its memory and files to root alone.
pub(crate) fn descriptors(pid: u32) -> Vec<String> {
    let listed = as_root("ls")
        .args(["-l", &format!("/proc/{pid}/fd")])
        .output()
        .expect("ls, or sudo");
    // One that was closed while it was looked at makes `ls` complain, and counts for nothing.
    let text = String::from_utf8_lossy(&listed.stdout);
    let to = text.lines().filter_map(|line| line.split_once(" -> "));
    let to: Vec<String> = to.map(|(_, to)| to.to_owned()).collect();
    assert!(!to.is_empty(), "{listed:?}");
    to
}

/// See the head of this file.
pub(crate) struct Bed {
    pub rack: Served,
    daemon: Option<Child>,
    folder: tempfile::TempDir,
}

impl Bed {
    /// A rack and a configuration with all of its nodes; the daemon does not run yet.
    pub(crate) fn of(plans: impl IntoIterator<Item = NodePlan>, keys: &Keys<'_>) -> Self {
        Self::with_nodes(plans, keys, |name, address| {
            format!(
                "[[node]]\nname = \"{name}\"\naddress = \"{}\"\nport = {}\n",
                address.ip(),
                address.port()
            )
        })
    }

    /// Two nodes, n01 and n02, whose operating systems do not go down.
    pub(crate) fn of_hanging_systems() -> Self {
        let mood = Mood {
            os: OsMood::Hangs,
            ..Mood::default()
        };
        let plans = ["n01", "n02"].map(|name| plan(name, mood.clone()));
        Self::of(plans, &Keys::default())
    }

    /// As [`Bed::of`], with the `[[node]]` of each BMC in the test's own words.
    pub(crate) fn with_nodes(
        plans: impl IntoIterator<Item = NodePlan>,
        keys: &Keys<'_>,
        node: impl Fn(&str, SocketAddr) -> String,
    ) -> Self {
        let bed = Self {
            rack: serve(plans.into_iter().collect(), 7).expect("loopback is there"),
            daemon: None,
            folder: tempfile::tempdir().expect("a folder"),
        };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(bed.path("bmc.pw"))
            .and_then(|mut file| writeln!(file, "secret"))
            .expect("a password file");
        fs::create_dir(bed.path("state")).expect("a folder");
        let mut text = format!(
            "[daemon]\nstate_dir = {:?}\n[api]\nsocket = {:?}\n{}\n[rack]\nname = {:?}\n{}\n\
             [defaults]\nusername = \"admin\"\npassword_file = {:?}\n{}\n",
            bed.path("state"),
            bed.socket(),
            keys.api,
            if keys.name.is_empty() {
                "r1"
            } else {
                keys.name
            },
            keys.rack,
            bed.path("bmc.pw"),
            keys.defaults,
        );
        for (name, address) in bed.rack.nodes() {
            text.push_str(&node(name, address));
        }
        fs::write(bed.path("rackbmcd.toml"), text).expect("a configuration");
        bed
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.start_by(Command::new(DAEMON));
    }

    /// The same by a command to which the daemon's own arguments are added.
    pub(crate) fn start_by(&mut self, command: Command) {
        self.daemon = Some(spawn(command, self.folder.path()));
        let deadline = Instant::now() + PATIENCE;
        while self.request("GET", "/healthz", "").is_none() {
            assert!(Instant::now() < deadline, "never ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Asks the daemon to stop (SIGTERM) and waits until it has.
    pub(crate) fn terminate(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = i32::try_from(daemon.id()).expect("a process id");
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is ours");
            let _ = daemon.wait();
        }
    }

    /// Waits until something is so, a while that is long on a busy machine.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < end, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// How the daemon ended, once it has by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let daemon = self.daemon.as_mut().expect("it was started");
        daemon.try_wait().expect("it is ours")
    }

    /// The process id of the daemon that runs.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it was started").id()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("s")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Asks the daemon and does not wait for an answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Option<UnixStream> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()?;
        Some(stream)
    }

    /// The status and the body, where an answer came.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut answer = String::new();
        let mut stream = self.send(method, path, body)?;
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// `rackbmc` with these words, for this daemon.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        rackbmc(&self.socket(), words)
    }

    pub(crate) fn rackbmc(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).output().expect("rackbmc runs"))
    }

    /// Runs it and demands an exit code; what it said.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, words: &[&str]) -> String {
        let said = self.rackbmc(words);
        let (out, err) = (&said.out, &said.err);
        assert_eq!(
            said.code,
            code,
            "{words:?} said:\n{out}{err}\nthe daemon:\n{}",
            self.log()
        );
        said.out
    }

    /// How often the machine carried an order out.
    pub(crate) fn count(&self, node: &str, order: ChassisOrder) -> usize {
        self.rack
            .with_bmc(node, |bmc, _| bmc.host().count(order))
            .expect("the node is there")
    }

    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.rack
            .with_bmc(node, |bmc, _| bmc.host().is_on())
            .expect("the node is there")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `rackbmc` said.
pub(crate) struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// The daemon's program.
pub(crate) const DAEMON: &str = env!("CARGO_BIN_EXE_rackbmcd");

/// The daemon on `folder/rackbmcd.toml`, with what it says in `folder/log`.
pub(crate) fn spawn(mut command: Command, folder: &Path) -> Child {
    let log = File::create(folder.join("log")).expect("a log");
    command
        .arg("--config")
        .arg(folder.join("rackbmcd.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("the daemon starts")
}

/// `rackbmc` for whoever listens at `socket`, with nothing of the environment but that.
pub(crate) fn rackbmc(socket: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rackbmc"));
    command
        .args(words)
        .env_clear()
        .env("RACKBMC_SOCKET", socket)
        .stdin(Stdio::null());
    command
}

/// Runs a command whose words are read later.
pub(crate) fn begin(mut command: Command) -> Child {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().expect("rackbmc runs")
}

/// A TCP port of loopback that is free now; another program that takes it first makes the start
/// fail, and says so.
pub(crate) fn free_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
}

/// A BMC on loopback that knows the operator of every bed.
pub(crate) fn plan(name: &str, mood: Mood) -> NodePlan {
    NodePlan {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        settings: BmcSettings {
            name: name.to_owned(),
            users: vec![User::new("admin", "secret", Privilege::Operator)],
            guid: rackbmcd::sim::guid_of(name),
            ..BmcSettings::default()
        },
        mood,
        conditions: Conditions::default(),
    }
}
