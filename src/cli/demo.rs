//! `rackbmc demo`: what this is about, in half a minute: a simulated rack, the real daemon, and its
//! verbs used on them.
//!
//! Nothing but the machines is simulated. The rack answers IPMI on loopback UDP, the daemon is this
//! program under its other name (`rackbmcd`) as a child with a configuration of its own, and every
//! step is a command line that is parsed and carried out as any other. Child and folder go away at
//! the end, after Ctrl-C and after a failure.

use super::args::{CommandLine, Demo};
use super::client::Client;
use super::connect::Endpoint;
use super::exit::{Exit, Failure};
use super::output::{self, Out};
use super::sim::{NodePlan, Served, serve};
use super::{App, verb};
use crate::model::PowerState;
use crate::sim::{BmcSettings, Conditions, Mood, OsMood, Privilege, User};
use async_signal::{Signal, Signals};
use clap::Parser;
use nix::unistd::Pid;
use smol::future::FutureExt;
use smol::stream::StreamExt;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long daemon and rack may take until every power state has been read.
const START: Duration = Duration::from_secs(15);
/// How long the daemon may take to close its sessions when told to stop.
const STOP: Duration = Duration::from_secs(5);
/// The password of the simulated BMCs; it goes into a file that only we can read, as on a real
/// host.
const PASSWORD: &str = "sim-ple";
/// The nodes and how their operating systems take the power button.
const NODES: [(&str, OsMood); 4] = [
    ("r1n01", OsMood::ObeysAfter(Duration::from_secs(4))),
    ("r1n02", OsMood::ObeysAfter(Duration::from_secs(4))),
    ("r1n03", OsMood::Hangs),
    ("r1n04", OsMood::ObeysAfter(Duration::from_secs(3))),
];

/// Runs the demo.
pub(super) fn run(args: &Demo, out: Out) -> Result<Exit, Failure> {
    let folder = Folder::new()?;
    let served = serve(plans(), 1)
        .map_err(|e| Failure::Here(format!("the simulated rack cannot listen on loopback: {e}")))?;
    let socket = folder.path().join("rackbmcd.sock");
    let config = write_configuration(folder.path(), &socket, &served)?;
    let mut daemon = Daemon::start(folder.path(), &config)?;
    let ended = smol::block_on(async {
        // A terminal that is closed leaves nothing behind either.
        let mut signals = Signals::new([Signal::Int, Signal::Term, Signal::Hup])
            .map_err(|e| Failure::Here(format!("cannot listen for Ctrl-C: {e}")))?;
        let stopped = async {
            signals.next().await;
            Ok(None)
        };
        let played = async { play(args, &out, &socket, &mut daemon).await.map(Some) };
        // A Ctrl-C is ours before it is that of the verb that is being shown.
        stopped.or(played).await
    });
    drop((daemon, served, folder));
    match ended? {
        Some(exit) => Ok(exit),
        None => {
            out.remark("\ndemo: ended; rack and daemon are gone, and so is their folder");
            Ok(if args.keep {
                Exit::Done
            } else {
                Exit::Withdrawn
            })
        }
    }
}

/// The steps.
async fn play(args: &Demo, out: &Out, socket: &Path, daemon: &mut Daemon) -> Result<Exit, Failure> {
    let app = App {
        client: Client::new(Endpoint::Unix(socket.to_owned())),
        out: *out,
    };
    out.data(&format!(
        "A rack of four simulated BMCs listens on UDP ports of 127.0.0.1; the real daemon\n\
         logs in to them with RMCP+ (cipher suite 17) and serves its API on the socket\n\
         {}. Only the machines are simulated.",
        socket.display()
    ));
    ready(&app, daemon).await?;

    step(&app, "The rack.", "status -o wide", &[Exit::Done]).await?;
    step(
        &app,
        "A soft power off, watched until the machine is read back as off.",
        "soft r1n02 --timeout 60s",
        &[Exit::Done],
    )
    .await?;
    step(
        &app,
        "The operating system of r1n03 hangs. We wait four seconds ...",
        "soft r1n03 --timeout 10m --wait=4s",
        &[Exit::StillRunning],
    )
    .await?;
    step(
        &app,
        "... and take it back: when this returns, nothing more is sent for the task.",
        "abort r1n03",
        &[Exit::Done],
    )
    .await?;
    step(
        &app,
        "The state is 'error' until the next power sync; last_error says who and what.",
        "node-show-states r1n03",
        &[Exit::Done],
    )
    .await?;
    step(
        &app,
        "The task remembers every order with its answer.",
        "task r1n03",
        &[Exit::Done],
    )
    .await?;
    step(
        &app,
        "A soft reboot: down softly, off for a moment, on again.",
        "reboot --soft r1n04 --timeout 60s",
        &[Exit::Done],
    )
    .await?;
    step(&app, "And so they stand now.", "status", &[Exit::Done]).await?;

    if args.keep {
        return keep(out, socket, daemon).await;
    }
    out.data(
        "\nTo go on by hand, let rack and daemon live (until Ctrl-C) with\n\
         \n    rackbmc demo --keep\n\
         \nand in another terminal, with the RACKBMC_SOCKET that it prints:\n\
         \n    rackbmc soft r1n03 --hard-after 10s    # escalation only where asked for\
         \n    rackbmc reboot --soft r1n[01-02]       # then: suspend, resume, rollback, abort\
         \n    rackbmc events                         # what happens, as it happens",
    );
    Ok(Exit::Done)
}

/// Leaves everything running until Ctrl-C, or until the daemon ends.
async fn keep(out: &Out, socket: &Path, daemon: &mut Daemon) -> Result<Exit, Failure> {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.parent().unwrap_or(Path::new("."));
    out.data(&format!(
        "\nRack and daemon (process {}) stay until Ctrl-C here. In another terminal:\n\
         \n    export RACKBMC_SOCKET={socket} PATH={program}:$PATH\
         \n    rackbmc watch\
         \n    rackbmc soft r1n03 --hard-after 10s\
         \n    rackbmc reboot --soft r1n[01-02]\
         \n    curl --unix-socket {socket} http://localhost/v1/nodes",
        daemon.pid(),
        socket = socket.display(),
        program = program.display(),
    ));
    // Without these lines nobody knows where they are.
    taken()?;
    loop {
        smol::Timer::after(Duration::from_millis(500)).await;
        daemon.still_runs()?;
    }
}

/// One step: what it shows, the command line, and that it ended as it should.
async fn step(app: &App, text: &str, line: &str, expected: &[Exit]) -> Result<(), Failure> {
    app.out.data(&format!("\n# {text}\n$ rackbmc {line}"));
    taken()?;
    let words = std::iter::once("rackbmc").chain(line.split(' '));
    let parsed = CommandLine::try_parse_from(words)
        .map_err(|e| Failure::Here(format!("demo: {line}: {e}")))?;
    let app = App {
        client: app.client.clone(),
        out: Out {
            format: parsed.common.output,
            ..app.out
        },
    };
    let exit = verb(&app, parsed.verb).await?;
    taken()?;
    if expected.contains(&exit) {
        Ok(())
    } else {
        Err(Failure::Here(format!(
            "demo: 'rackbmc {line}' ended with exit code {}",
            exit as u8
        )))
    }
}

/// Whether what is shown is still taken: there is no demonstration without somebody who looks.
///
/// # Errors
/// It is not.
fn taken() -> Result<(), Failure> {
    match output::is_lost() {
        false => Ok(()),
        true => Err(Failure::Here(
            "demo: ended before its end, since what it shows is not taken any more; rack and daemon are gone"
                .to_owned(),
        )),
    }
}

/// Waits until the daemon answers and has read every node.
async fn ready(app: &App, daemon: &mut Daemon) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        daemon.still_runs()?;
        let seen = app.client.nodes().await;
        match seen {
            Ok(nodes)
                if nodes
                    .iter()
                    .all(|node| node.power_state != PowerState::Unknown) =>
            {
                return Ok(());
            }
            Err(failure) if !failure.may_pass() => return Err(failure),
            _ if began.elapsed() > START => {
                let log = daemon.log();
                return Err(Failure::Here(format!(
                    "demo: not every power state was read within {} s; the daemon says:\n{log}",
                    START.as_secs()
                )));
            }
            _ => {}
        }
        smol::Timer::after(Duration::from_millis(100)).await;
    }
}

fn plans() -> Vec<NodePlan> {
    NODES
        .iter()
        .zip(1_u8..)
        .map(|((name, os), number)| {
            let mut settings = BmcSettings {
                name: (*name).to_owned(),
                users: vec![User::new("admin", PASSWORD, Privilege::Operator)],
                ..BmcSettings::default()
            };
            settings.guid[15] = number;
            NodePlan {
                address: SocketAddr::from(([127, 0, 0, 1], 0)),
                settings,
                mood: Mood {
                    os: *os,
                    boot_time: Duration::from_secs(1),
                    ..Mood::default()
                },
                conditions: Conditions::default(),
            }
        })
        .collect()
}

/// A configuration as on a real host, with shorter times where a demo would only wait.
fn write_configuration(folder: &Path, socket: &Path, served: &Served) -> Result<PathBuf, Failure> {
    let password = folder.join("bmc.pw");
    let trouble = |e: io::Error| Failure::Here(format!("{}: {e}", folder.display()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&password)
        .and_then(|mut file| writeln!(file, "{PASSWORD}"))
        .map_err(trouble)?;
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let mut text = format!(
        "[daemon]\nstate_dir = {}\n\n[api]\nsocket = {}\n\n[rack]\nname = \"r1\"\n\n\
         [defaults]\nusername = \"admin\"\npassword_file = {}\nmin_off_time = \"2s\"\n\
         settle = \"2s\"\n",
        quoted(&folder.join("state")),
        quoted(socket),
        quoted(&password),
    );
    for (name, address) in served.nodes() {
        let _ = write!(
            text,
            "\n[[node]]\nname = \"{name}\"\naddress = \"{}\"\nport = {}\n",
            address.ip(),
            address.port()
        );
    }
    let config = folder.join("rackbmcd.toml");
    fs::create_dir(folder.join("state")).map_err(trouble)?;
    fs::write(&config, text).map_err(trouble)?;
    Ok(config)
}

/// A folder of our own that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("rackbmc-demo-{}", std::process::id()));
        // Nobody else may enter it, and one that is there already is not ours.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| Failure::Here(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed from a temporary folder is not worth a complaint.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The daemon as our child; dropping it stops it.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(folder: &Path, config: &Path) -> Result<Self, Failure> {
        let log = folder.join("rackbmcd.log");
        let start = || {
            let file = File::create(&log)?;
            Command::new(std::env::current_exe()?)
                .arg0("rackbmcd")
                .arg("--config")
                .arg(config)
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file)
                // A Ctrl-C at the terminal is for us: we stop the daemon in order.
                .process_group(0)
                .spawn()
        };
        let child = start().map_err(|e: io::Error| {
            Failure::Here(format!("demo: the daemon cannot be started: {e}"))
        })?;
        Ok(Self { child, log })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn still_runs(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::Here(format!(
                "demo: the daemon ended with {status} and said:\n{}",
                self.log()
            ))),
            Err(e) => Err(Failure::Here(format!("demo: the daemon is lost: {e}"))),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let pid = i32::try_from(self.child.id()).expect("a process id is positive and small");
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
            let began = Instant::now();
            while began.elapsed() < STOP && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
