//! A disk that hangs, look-ups that hang, and a calendar and a process that do not go on as they
//! should: told in virtual time where that can show it, and by the real daemon under a shim
//! (`tests/shim/hang.c`) where it cannot.

#[path = "daemon/mod.rs"]
mod daemon;
mod world;

use daemon::{Bed, DAEMON, Keys, plan};
use rackbmcd::model::{Control, Operation, PowerOptions, TaskState};
use rackbmcd::rack::call::{Answer, Call, Refused};
use rackbmcd::sim::{ChassisOrder, Mood, OsMood};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use world::{World, batch_of, secs, who};

/// A soft power off of n01 that has left, with its time and that of the hard one, in seconds.
fn soft_off_that_left(bed: &Bed, timeout: u32, hard_after: u32) -> Value {
    let body = format!(
        r#"{{"node":"n01","operation":"soft power off","timeout":{timeout},"hard_after":{hard_after}}}"#
    );
    let (status, task) = json(bed.request("POST", "/v1/tasks", &body));
    assert_eq!(status, 202, "{task}");
    bed.wait_for("it leaves", |bed| bed.count("n01", ChassisOrder::Soft) == 1);
    task
}

#[test]
fn what_hangs_on_its_way_to_the_disk_is_withdrawn_after_five_seconds_and_named() {
    let mut world = World::new(70, 2);
    world.run_for(secs(20));
    world.commit_takes = secs(36);
    let asked = world.now;
    let call = Call::Start {
        node: "n01".into(),
        operation: Operation::PowerOff,
        options: PowerOptions::default(),
        who: who(),
    };
    let refused = world.call(call).expect_err("not remembered");
    assert!(world.now - asked <= secs(6), "{:?}", world.now - asked);
    let Refused::Withdrawn { task: Some(_), .. } = refused else {
        panic!("{refused:?}");
    };
    let told = refused.to_string();
    assert!(
        told.contains("may still happen") && told.contains("rackbmc task"),
        "{told}"
    );
    world.commit_takes = Duration::from_millis(2);
    world.run_for(secs(120));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 0);
    // The disk answers: the next one is taken.
    let task = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
    // Nothing of the first one is left on the disk.
    world.crash();
    world.start();
    world.run_for(secs(60));
    assert_eq!(world.executed("n01", ChassisOrder::Off), 1);
}

#[test]
fn a_batch_whose_caller_has_gone_before_it_was_durable_does_not_begin() {
    let mut world = World::new(71, 2);
    world.run_for(secs(20));
    world.commit_takes = secs(3);
    let request = batch_of(&["n01", "n02"], Operation::Cycle);
    let call = world.ask(Call::StartBatch {
        request,
        who: who(),
    });
    world.run_for(secs(1));
    world.rack().forget_call(call);
    world.run_for(secs(60));
    for node in ["n01", "n02"] {
        assert_eq!(world.executed(node, ChassisOrder::Cycle), 0);
    }
    world.commit_takes = Duration::from_millis(2);
    let task = world.start_task("n01", Operation::Cycle, PowerOptions::default());
    assert_eq!(world.run_task(task, secs(120)).state, TaskState::Succeeded);
}

/// Each of them has thousands of records on their way to the disk.
#[test]
fn changes_of_whole_batches_do_not_gather_before_a_disk_that_hangs() {
    const NODES: usize = 300;
    let mut world = World::new(73, NODES);
    let names: Vec<String> = (0..NODES).map(world::name).collect();
    for name in &names {
        world.mood(name).os = OsMood::Hangs;
    }
    world.run_for(secs(30));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = batch_of(&names, Operation::SoftPowerOff);
    let who = who();
    let begun = world.call(Call::StartBatch {
        request,
        who: who.clone(),
    });
    let Ok(Answer::Batch(batch)) = begun else {
        panic!("{begun:?}");
    };
    world.run_for(secs(10));
    world.commit_takes = secs(3600);
    let control = |control| Call::ControlBatch {
        batch: batch.id,
        control,
        nodes: Vec::new(),
        who: who.clone(),
    };
    let mut refused = 0;
    for round in 0..60 {
        let call = control([Control::Suspend, Control::Resume][round % 2]);
        let id = world.ask(call);
        world.run_for(Duration::from_millis(10));
        refused += usize::from(world.take_answer(id) == Some(Err(Refused::DiskBehind)));
    }
    assert!((20..60).contains(&refused), "{refused} of 60");
    // What ends it is taken all the same.
    let abort = world.ask(control(Control::Abort));
    world.run_for(Duration::from_millis(10));
    assert_ne!(world.take_answer(abort), Some(Err(Refused::DiskBehind)));
}

#[test]
fn an_abort_while_the_disk_hangs_holds_and_says_that_it_is_not_remembered() {
    let mut world = World::new(72, 1);
    world.mood("n01").os = OsMood::Hangs;
    world.run_for(secs(20));
    let task = world.start_task("n01", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(3));
    world.commit_takes = secs(36);
    let asked = world.now;
    let refused = world
        .control(task, Control::Abort)
        .expect_err("not remembered");
    assert!(matches!(refused, Refused::Unremembered(_)), "{refused}");
    assert!(world.now - asked <= secs(11), "{:?}", world.now - asked);
    assert_eq!(world.state(task), TaskState::Aborted, "it holds");
}

/// The shim, built once by each test into the bed's folder.
fn shimmed(bed: &Bed) -> Command {
    let library = bed.path("hang.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/hang.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status()
        .expect("cc is there");
    assert!(built.success());
    let mut command = Command::new(DAEMON);
    command
        .env("LD_PRELOAD", library)
        .env("SHIM_DIR", bed.path(""));
    command
}

fn set(bed: &Bed, name: &str, number: i64) {
    let new = bed.path("new");
    fs::write(&new, number.to_string()).expect("it can be written");
    fs::rename(new, bed.path(name)).expect("it can be moved");
}

fn json(answer: Option<(u16, String)>) -> (u16, Value) {
    let (status, text) = answer.expect("an answer");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

#[test]
fn a_real_disk_that_hangs_is_said_and_nothing_happens_that_was_refused() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    bed.start_by(command);
    set(&bed, "disk", 60_000);
    let asked = Instant::now();
    let body = r#"{"node":"n01","operation":"power off"}"#;
    let (status, said) = json(bed.request("POST", "/v1/tasks", body));
    assert_eq!(status, 504, "{said}");
    assert!(said.to_string().contains("it may still happen"), "{said}");
    assert!(asked.elapsed() < Duration::from_secs(15));
    let (_, health) = json(bed.request("GET", "/healthz", ""));
    assert_eq!(health["status"], "failing", "{health}");
    assert!(
        bed.log().contains("the disk has not answered for 5 s"),
        "{}",
        bed.log()
    );
    set(&bed, "disk", 0);
    bed.wait_for("it is well", |bed| {
        json(bed.request("GET", "/healthz", "")).1["status"] == "ok"
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bed.count("n01", ChassisOrder::Off), 0);
}

/// Whatever becomes of it, the log says that the disk failed.
#[test]
fn a_real_sync_that_fails_once_is_said() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    bed.start_by(command);
    for _ in 0..3 {
        set(&bed, "fail", 1);
        let body = r#"{"reason":"x"}"#;
        let (status, said) = json(bed.request("POST", "/v1/pause", body));
        assert!(status == 200 || status == 503, "{said}");
        bed.wait_for("it is well", |bed| {
            json(bed.request("GET", "/healthz", "")).1["status"] != "failing"
        });
    }
    assert!(!bed.path("fail").exists(), "a sync has failed");
    let log = bed.log();
    let mended = log.contains("a second one made durable what was written");
    assert!(
        mended || log.contains("the journal cannot be written"),
        "{log}"
    );
}

#[test]
fn look_ups_of_users_that_hang_slow_nobody_else() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    set(&bed, "names", 8_000);
    bed.start_by(command);
    let asked = Instant::now();
    for _ in 0..3 {
        let (status, _) = json(bed.request("GET", "/v1/nodes", ""));
        assert_eq!(status, 200);
    }
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
}

/// The file system of the configuration, which is looked at each 5 s, is one over a network, say.
#[test]
fn looks_at_the_configuration_that_hang_are_told_and_slow_nobody() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    bed.start_by(command);
    set(&bed, "config", 600_000);
    bed.wait_for("it is told", |bed| {
        bed.log()
            .contains("its file system has not answered for 5 s")
    });
    bed.expect(0, &["off", "n01"]);
    assert_eq!(bed.count("n01", ChassisOrder::Off), 1);
    set(&bed, "config", 0);
    bed.wait_for("it is well", |bed| {
        bed.log().contains("can be looked at again")
    });
    // It is looked at as before.
    let path = bed.path("rackbmcd.toml");
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, text + "[nonsense]\n").expect("it can be written");
    bed.wait_for("it is seen", |bed| {
        bed.log().contains("the configuration on disk is wrong")
    });
}

#[test]
fn a_real_calendar_that_is_set_and_a_process_that_stands_still_judge_nothing() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    bed.start_by(command);
    soft_off_that_left(&bed, 12, 9);
    // Minutes of both in `tests/run long`.
    let still = std::env::var("STANDS_STILL").map_or(14, |text| text.parse().expect("seconds"));
    set(&bed, "calendar", 7200);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(bed.pid()).expect("a process id"));
    let send = |signal| nix::sys::signal::kill(pid, signal).expect("it is ours");
    send(nix::sys::signal::Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(still));
    send(nix::sys::signal::Signal::SIGCONT);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(bed.count("n01", ChassisOrder::Off), 0, "{}", bed.log());
    assert!(
        bed.log().contains("the daemon stood still for"),
        "{}",
        bed.log()
    );
    assert!(
        bed.log().contains("the calendar was set forward by"),
        "{}",
        bed.log()
    );
    bed.wait_for("its time", |bed| bed.count("n01", ChassisOrder::Off) == 1);
}

/// A daemon that gets no processor for a second finds in its sockets what the whole rack has
/// answered meanwhile, and that the time of each answer is over. How long it may put that off is
/// held beside it (`daemon/shell/catching_up.rs`).
#[test]
fn a_daemon_that_is_behind_asks_nobody_again_who_has_answered() {
    let names: Vec<String> = (1..=60).map(|number| format!("n{number:03}")).collect();
    let plans = names.iter().map(|name| plan(name, Mood::default()));
    // Nothing but what is asked for here reaches the BMCs, however long it takes: sessions stay
    // open.
    let keys = Keys {
        rack: "sync_interval = \"1h\"",
        defaults: "idle_close = \"1h\"",
        ..Keys::default()
    };
    let mut bed = Bed::of(plans, &keys);
    bed.start();
    bed.expect(0, &["wait", "n[001-060]", "--on", "--timeout", "60s"]);
    // Each BMC is asked who it is soon after its first session: that is no question for the second
    // time, and comes late on a slow machine.
    for name in &names {
        bed.wait_for("it has said who it is and whose sessions it has", |bed| {
            let trace = bed.request("GET", &format!("/v1/nodes/{name}/trace"), "");
            trace.is_some_and(|(_, text)| text.contains("Get Session Info 06h/3dh answer"))
        });
    }
    let told = (0..12).find_map(|_| stopped_among_answers(&bed, &names));
    let (answered, again) = told.expect("the machine was too slow to show it, each time");
    // What was on its way when the daemon was stopped may be among them.
    let most = answered / 10;
    assert!(again <= most, "{again} of {answered} were asked again");
}

/// All nodes are asked, and the daemon stands still while they answer, until it is late with all of
/// them: how many BMCs had been asked by then, and how many of these were asked once more. Nothing,
/// where it came out otherwise.
fn stopped_among_answers(bed: &Bed, names: &[String]) -> Option<(usize, usize)> {
    let before = what_came(bed, names);
    let sent_before = sent(bed);
    let nodes = names.len() as u64;
    // Whoever looks at one BMC keeps all of them from answering.
    let (asked, sent_then, stopped) = bed.rack.with_bmc(&names[0], |_, _| {
        let asked = daemon::begin(bed.command(&["status", "@all", "--fresh"]));
        bed.wait_for("they are asked", |bed| sent(bed) >= sent_before + nodes);
        let sent_then = sent(bed);
        signal(bed, nix::sys::signal::Signal::SIGSTOP);
        (asked, sent_then, Instant::now())
    })?;
    std::thread::sleep(Duration::from_millis(1200));
    let then = what_came(bed, names);
    signal(bed, nix::sys::signal::Signal::SIGCONT);
    // Who stood still for three seconds looks at all machines anew, and is to.
    let anew = stopped.elapsed() > Duration::from_millis(2700);
    let said = asked.wait_with_output().expect("it ends");
    let now = what_came(bed, names);
    let counts = before.iter().zip(&then).zip(&now);
    let counts = counts.filter(|((before, then), _)| then > before);
    let (answered, again) = counts.fold((0, 0), |(answered, again), ((_, then), now)| {
        (answered + 1, again + usize::from(now > then))
    });
    // On a slow machine some got copies before all were asked; those that got too many have used up
    // their time.
    let shown = answered >= names.len() / 2 && sent_then <= sent_before + 2 * nodes;
    (shown && !anew && said.status.success()).then_some((answered, again))
}

/// How many datagrams each BMC has got, once no more come.
fn what_came(bed: &Bed, names: &[String]) -> Vec<u64> {
    let look = || {
        let came = names.iter().map(|name| {
            let counted = bed.rack.with_bmc(name, |bmc, _| bmc.counters().received);
            counted.expect("it is there")
        });
        came.collect::<Vec<u64>>()
    };
    let end = Instant::now() + secs(60);
    let mut came = look();
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = look();
        if now == came {
            return came;
        }
        assert!(Instant::now() < end, "more and more come");
        came = now;
    }
}

/// How many datagrams the daemon has sent.
fn sent(bed: &Bed) -> u64 {
    let (_, metrics) = bed.request("GET", "/metrics", "").expect("an answer");
    let is_sent = |line: &&str| {
        line.starts_with("rackbmc_datagrams_total") && line.contains("direction=\"sent\"")
    };
    let line = metrics.lines().find(is_sent).expect("they are counted");
    let count = line.rsplit(' ').next().expect("a number");
    count.parse().expect("a number")
}

/// Of some that are reached over a network, say.
#[test]
fn a_file_system_that_cannot_sync_directories_keeps_what_is_written_all_the_same() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    set(&bed, "directories", 1);
    bed.start_by(command);
    let warned = bed.log().contains("cannot sync a directory");
    assert!(warned, "{}", bed.log());
    bed.expect(0, &["off", "n01"]);
    bed.kill();
    let command = shimmed(&bed);
    bed.start_by(command);
    let (status, said) = json(bed.request("GET", "/v1/tasks", ""));
    assert_eq!(status, 200);
    assert_eq!(said["tasks"].as_array().map(Vec::len), Some(1), "{said}");
}

fn signal(bed: &Bed, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(bed.pid()).expect("a process id"));
    nix::sys::signal::kill(pid, signal).expect("it is ours");
}

/// The time that the daemon takes for an answer.
fn answer_time(bed: &Bed, path: &str) -> Duration {
    let asked = Instant::now();
    let (status, said) = bed.request("GET", path, "").expect("an answer");
    assert_eq!(status, 200, "{said}");
    asked.elapsed()
}

/// A directory service and a resolver that hang while the configuration is read again, many times
/// over: whoever needs none of them notices nothing, and a stop does not wait.
#[test]
fn reloads_that_hang_in_look_ups_hold_nobody_up() {
    let plans = ["n01", "n02", "n03", "n04", "n05", "n06"].map(|name| plan(name, Mood::default()));
    let keys = Keys {
        api: "[[api.role]]\nrole = \"reader\"\nunix_users = [\"games\"]\nunix_groups = [\"games\"]",
        ..Keys::default()
    };
    let mut bed = Bed::with_nodes(plans, &keys, |name, at| {
        let host = if name == "n01" {
            "127.0.0.1"
        } else {
            "localhost"
        };
        format!(
            "[[node]]\nname = \"{name}\"\naddress = \"{host}\"\nport = {}\n",
            at.port()
        )
    });
    let command = shimmed(&bed);
    bed.start_by(command);
    bed.wait_for("all are read", |bed| {
        bed.rackbmc(&["status"]).out.matches("power on").count() == 6
    });
    set(&bed, "names", 120_000);
    set(&bed, "dns", 120_000);
    for _ in 0..40 {
        signal(&bed, nix::sys::signal::Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(10));
    }
    bed.wait_for("it reloads", |bed| {
        bed.log().contains("a reload is under way")
    });
    for _ in 0..5 {
        assert!(answer_time(&bed, "/v1/nodes") < Duration::from_secs(2));
    }
    bed.expect(0, &["off", "n01"]);
    assert_eq!(bed.count("n01", ChassisOrder::Off), 1);
    // Those with names have their addresses from before.
    bed.expect(0, &["off", "n02"]);
    let threads = fs::read_dir(format!("/proc/{}/task", bed.pid()))
        .expect("it runs")
        .count();
    assert!(threads < 20, "{threads} threads");
    set(&bed, "names", 0);
    set(&bed, "dns", 0);
    bed.wait_for("it is over", |bed| bed.log().contains(" reloaded"));
    set(&bed, "names", 120_000);
    signal(&bed, nix::sys::signal::Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    bed.terminate();
    assert!(
        asked.elapsed() < Duration::from_secs(12),
        "{:?}",
        asked.elapsed()
    );
    assert!(bed.log().contains("stopped"), "{}", bed.log());
}

#[test]
fn a_look_up_that_hangs_stops_no_stream_that_is_open() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    bed.start_by(command);
    let mut stream = std::os::unix::net::UnixStream::connect(bed.socket()).expect("it listens");
    let head = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    Write::write_all(&mut stream, head.as_bytes()).expect("it is taken");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    set(&bed, "names", 120_000);
    let body = r#"{"node":"n01","operation":"power off"}"#;
    let (status, said) = json(bed.request("POST", "/v1/tasks", body));
    assert_eq!(status, 202, "{said}");
    // The name that was looked up before, or none.
    let own = nix::unistd::User::from_uid(nix::unistd::getuid());
    let own = own.ok().flatten().map(|user| user.name);
    let by = said["requested_by"]["name"].as_str().map(str::to_owned);
    let nameless = by.as_ref().is_some_and(|name| name.starts_with("uid "));
    assert!(nameless || by == own, "{by:?}");
    let (mut heard, mut bytes) = (String::new(), [0; 4096]);
    while !heard.contains("succeeded") {
        let count = Read::read(&mut stream, &mut bytes).expect("news");
        assert!(count > 0, "the stream ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert_eq!(bed.count("n01", ChassisOrder::Off), 1);
}

/// The hard power off would have left 10 s after the request. What was told is that the abort is
/// not remembered.
#[test]
fn an_abort_on_a_real_disk_that_hangs_holds() {
    let mut bed = Bed::of_hanging_systems();
    let command = shimmed(&bed);
    bed.start_by(command);
    let task = soft_off_that_left(&bed, 60, 10);
    set(&bed, "disk", 120_000);
    let id = task["id"].as_str().expect("an id");
    let asked = Instant::now();
    let (status, said) = json(bed.request("POST", &format!("/v1/tasks/{id}/abort"), ""));
    assert_eq!(status, 503, "{said}");
    assert_eq!(said["error"]["kind"], "unremembered", "{said}");
    assert!(asked.elapsed() < Duration::from_secs(15));
    std::thread::sleep(Duration::from_secs(13).saturating_sub(asked.elapsed()));
    assert_eq!(bed.count("n01", ChassisOrder::Off), 0, "{}", bed.log());
    set(&bed, "disk", 0);
    bed.wait_for("it is well", |bed| {
        json(bed.request("GET", "/healthz", "")).1["status"] == "ok"
    });
    bed.kill();
    set(&bed, "disk", 0);
    bed.start();
    let (_, shown) = json(bed.request("GET", &format!("/v1/tasks/{id}"), ""));
    assert_eq!(shown["state"], "aborted", "it is remembered now: {shown}");
    assert_eq!(bed.count("n01", ChassisOrder::Off), 0);
}

/// A trail that is at its limit, on a disk without room: what could not be removed is removed
/// later, and nobody is accused.
#[test]
fn a_trail_that_is_full_on_a_full_disk_stays_whole() {
    let mut bed = Bed::of_hanging_systems();
    let path = bed.path("rackbmcd.toml");
    let text = fs::read_to_string(&path).expect("text");
    let text = text.replace("[daemon]\n", "[daemon]\naudit_megabytes = 1\n");
    fs::write(&path, text).expect("it can be written");
    let command = shimmed(&bed);
    bed.start_by(command);
    let body = r#"{"reason":"x"}"#;
    let pause = |bed: &Bed| json(bed.request("POST", "/v1/pause", body)).0;
    let trail = |bed: &Bed| {
        let metrics = bed.request("GET", "/metrics", "").expect("figures").1;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("rackbmc_audit_size_bytes{"));
        let size = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        size.expect("a size")
    };
    let socket = bed.socket();
    let ask = format!(
        "POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    while trail(&bed) < (1 << 20) - 30_000 {
        // One after the other each would wait for a sync of its own.
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    let mut stream =
                        std::os::unix::net::UnixStream::connect(&socket).expect("it listens");
                    stream
                        .write_all(ask.repeat(10).as_bytes())
                        .expect("it is taken");
                    stream
                        .shutdown(std::net::Shutdown::Write)
                        .expect("it is open");
                    let answers = std::io::read_to_string(stream).expect("answers");
                    assert_eq!(answers.matches("HTTP/1.1 200").count(), 10, "{answers}");
                });
            }
        });
    }
    set(&bed, "full", 1);
    let mut refused = 0;
    for _ in 0..15 {
        refused += usize::from(pause(&bed) == 503);
    }
    assert!(refused > 10, "{refused}");
    std::thread::sleep(Duration::from_secs(3));
    set(&bed, "full", 0);
    bed.wait_for("it is well", |bed| {
        json(bed.request("GET", "/healthz", "")).1["status"] != "failing"
    });
    // On its way beyond the limit the disk is full again and again, also where the oldest are to be
    // removed.
    for round in 0..120 {
        set(&bed, "full", i64::from(round % 30 == 29));
        assert!([200, 503].contains(&pause(&bed)));
    }
    set(&bed, "full", 0);
    let pruned = |bed: &Bed| bed.rackbmc(&["audit", "-n", "1000"]).out.contains("PRUNE");
    let end = Instant::now() + Duration::from_secs(80);
    while !pruned(&bed) {
        assert!(Instant::now() < end, "{} bytes", trail(&bed));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(!bed.log().contains("they were not whole"));
    let whole = bed.expect(0, &["audit", "verify"]);
    assert!(whole.contains("whole"), "{whole}");
    assert!(trail(&bed) <= 1 << 20);
}

/// Hands over as much as there is room for.
fn fill(mut write: impl FnMut(&[u8]) -> std::io::Result<usize>) {
    let full = loop {
        match write(&[b'x'; 4096]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock, "{full}");
}

#[test]
fn a_log_that_nobody_reads_and_a_systemd_that_does_not_listen_hold_nobody_up() {
    let mut bed = Bed::of_hanging_systems();
    let (socket, pipe) = (bed.path("notify"), bed.path("pipe"));
    let systemd = UnixDatagram::bind(&socket).expect("a socket");
    systemd.set_nonblocking(true).expect("a flag");
    let other = UnixDatagram::unbound().expect("a socket");
    other.set_nonblocking(true).expect("a flag");
    fill(|bytes| other.send_to(&bytes[..1], &socket));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut reader = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&pipe)
        .expect("a pipe");
    fill(|bytes| reader.write(bytes));
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"exec "$0" "$@" 2>"$LOG_PIPE""#, DAEMON])
        .args(["--log-level", "debug"])
        .env("LOG_PIPE", &pipe)
        .env("NOTIFY_SOCKET", &socket);
    bed.start_by(command);
    bed.expect(0, &["off", "n01"]);
    assert!(!bed.is_on("n01"));
    // Both go on where they stood still.
    let (mut log, mut heard) = (Vec::new(), String::new());
    let end = Instant::now() + secs(60);
    loop {
        let mut room = [0; 65_536];
        while let Ok(count) = reader.read(&mut room) {
            log.extend(&room[..count]);
        }
        while let Ok(count) = systemd.recv(&mut room) {
            heard += &String::from_utf8_lossy(&room[..count]);
        }
        let lost = String::from_utf8_lossy(&log).contains("lines of the log are lost");
        if lost && heard.contains("READY=1") {
            break;
        }
        assert!(Instant::now() < end, "lost: {lost}, heard: {heard:?}");
        let _ = bed.rackbmc(&["off", "n01"]);
    }
}
