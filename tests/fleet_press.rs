//! What changes power over many racks: one batch in each under one id, and what becomes of it where
//! racks are down, restart or do not answer, and where the client that began it is gone.

mod daemon;
mod fleet_bed;

use daemon::{Said, begin};
use fleet_bed::{Fleet, stub};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rackbmcd::sim::{ChassisOrder, Mood, OsMood};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

fn started(racks: usize, nodes: usize, os: OsMood) -> Fleet {
    let mood = Mood {
        os,
        ..Mood::default()
    };
    let mut fleet = Fleet::of(racks, nodes, &mood);
    for bed in &mut fleet.beds {
        bed.start();
        bed.expect(0, &["wait", "--all", "--on", "--timeout", "1m"]);
    }
    fleet
}

fn quick() -> OsMood {
    OsMood::ObeysAfter(Duration::from_millis(500))
}

/// `f:7k3f9` out of what was said when it began.
fn id_in(said: &str) -> String {
    let id = said
        .split("fleet batch ")
        .nth(1)
        .and_then(|rest| rest.split(':').nth(1));
    format!("f:{}", id.unwrap_or_else(|| panic!("no id: {said}")))
}

/// The request ids of the batches that a rack remembers, with how many nodes each has.
fn batches(fleet: &Fleet, rack: usize) -> Vec<(String, usize)> {
    let (_, body) = fleet.beds[rack]
        .request("GET", "/v1/batches", "")
        .expect("an answer");
    let list: Value = serde_json::from_str(&body).expect("JSON");
    let batches = list["batches"].as_array().expect("a list").iter();
    let facts = |batch: &Value| {
        let request = batch["requested_by"]["request"].as_str().expect("an id");
        (
            request.to_owned(),
            batch["nodes"].as_array().expect("nodes").len(),
        )
    };
    batches.map(facts).collect()
}

fn orders(fleet: &Fleet, order: ChassisOrder) -> usize {
    let of = |bed: &daemon::Bed| {
        let nodes: Vec<String> = bed.rack.nodes().map(|(name, _)| name.to_owned()).collect();
        nodes
            .iter()
            .map(|node| bed.count(node, order))
            .sum::<usize>()
    };
    fleet.beds.iter().map(of).sum()
}

/// Reads what a command says on stderr until a line has this in it; what was said so far.
fn hear(child: &mut Child, wanted: &str) -> (String, BufReader<std::process::ChildStderr>) {
    let mut lines = BufReader::new(child.stderr.take().expect("piped"));
    let mut heard = String::new();
    while !heard.contains(wanted) {
        let read = lines.read_line(&mut heard).expect("text");
        assert!(read > 0, "it ended without '{wanted}': {heard}");
    }
    (heard, lines)
}

#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn one_command_presses_in_all_racks_and_its_parts_have_one_id() {
    let fleet = started(3, 2, quick());
    let said = fleet.expect(0, &["soft", "r[1-3]/@*", "--dry-run"]);
    assert_eq!(said.out.lines().count(), 6, "{}", said.out);
    assert!(
        said.out
            .starts_with("r1/n01: ready: power is on; would send: soft power off"),
        "{}",
        said.out
    );
    assert_eq!(orders(&fleet, ChassisOrder::Soft), 0);
    let said = fleet.expect(0, &["soft", "r[1-3]/@*"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 6, "{}", said.out);
    assert!(
        lines.iter().all(|line| line.contains(": shut down after ")),
        "{}",
        said.out
    );
    assert!(lines[5].starts_with("r3/n02: "), "{}", said.out);
    for rack in ["r1", "r2", "r3"] {
        let line = format!("{rack}: 2 nodes: 2 shut down");
        assert!(
            said.err.lines().any(|said| said == line),
            "{line}: {}",
            said.err
        );
    }
    assert_eq!(orders(&fleet, ChassisOrder::Soft), 6);
    let id = id_in(&said.err);
    let of_first = batches(&fleet, 0);
    for rack in 0..3 {
        assert_eq!(
            batches(&fleet, rack),
            of_first,
            "one id, and all nodes of the rack"
        );
        assert_eq!(of_first[0].1, 2);
    }
    let listed = fleet.expect(0, &["batch"]);
    assert!(listed.out.starts_with(&id), "{id}: {}", listed.out);
    assert!(
        listed
            .out
            .contains("soft power off of r[1-3]/n[01-02] in 3 racks"),
        "{}",
        listed.out
    );
    let shown = fleet.expect(0, &["batch", &id]);
    assert_eq!(shown.out.lines().count(), 6, "{}", shown.out);
    // All of it has ended: nothing to abort, and that is a success.
    let nothing = fleet.expect(0, &["abort", &id]);
    assert!(nothing.err.contains("nothing to abort"), "{}", nothing.err);
}

#[test]
fn no_target_and_many_without_yes_begin_nothing() {
    let fleet = started(2, 9, quick());
    let said = fleet.expect(2, &["off"]);
    assert!(said.err.contains("no targets"), "{}", said.err);
    let said = fleet.expect(2, &["off", "@*"]);
    assert!(
        said.err
            .contains("18 nodes (r[1-2]/n[01-09]): this wants --yes"),
        "{}",
        said.err
    );
    fleet.expect(2, &["off", "r1/n01", "r2/n77"]);
    assert_eq!(orders(&fleet, ChassisOrder::Off), 0);
    fleet.expect(0, &["off", "@*", "--yes", "-b"]);
    assert_eq!(orders(&fleet, ChassisOrder::Off), 18);
}

#[test]
fn a_rack_that_is_down_is_told_with_what_it_was_not_asked_and_stops_the_others_only_where_wanted() {
    let mut fleet = started(3, 1, quick());
    fleet.beds[1].kill();
    let said = fleet.expect(3, &["off", "r[1-3]/n01", "--on-failure", "stop"]);
    assert!(
        said.err.contains("nothing was begun in any rack"),
        "{}",
        said.err
    );
    assert_eq!(orders(&fleet, ChassisOrder::Off), 0);
    let said = fleet.expect(3, &["off", "r[1-3]/n01"]);
    assert!(
        said.err.contains("r2: was not asked for power off of n01"),
        "{}",
        said.err
    );
    assert_eq!(said.out.lines().count(), 2, "{}", said.out);
    assert!(!fleet.beds[0].is_on("n01") && !fleet.beds[2].is_on("n01"));
}

#[test]
fn racks_begin_one_after_the_other_and_a_failure_stops_those_that_have_not() {
    let fleet = started(3, 1, OsMood::Hangs);
    let words = [
        "soft",
        "@*",
        "--racks-at-once",
        "1",
        "--on-failure",
        "stop",
        "--timeout",
        "3s",
    ];
    let said = fleet.expect(1, &words);
    assert!(
        said.out.contains("r1/n01: soft power off failed"),
        "{}",
        said.out
    );
    for node in ["r2/n01", "r3/n01"] {
        let line = format!("{node}: not begun: r1 failed (--on-failure stop)");
        assert!(said.out.contains(&line), "{}", said.out);
    }
    assert_eq!(orders(&fleet, ChassisOrder::Soft), 1);
    assert!(batches(&fleet, 1).is_empty() && batches(&fleet, 2).is_empty());
    let said = fleet.expect(2, &["soft", "@*", "--racks-at-once", "1", "--no-wait"]);
    assert!(said.err.contains("leave --no-wait out"), "{}", said.err);
}

#[test]
fn a_client_that_is_killed_leaves_whole_batches_that_are_found_and_held_by_the_id() {
    let fleet = started(3, 2, OsMood::Hangs);
    let mut child = begin(fleet.command(&["soft", "@*", "--racks-at-once", "2"]));
    let (heard, _lines) = hear(&mut child, "fleet batch f:");
    wait_until("two racks begin", || {
        (0..2).all(|rack| !batches(&fleet, rack).is_empty())
    });
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let id = id_in(&heard);
    assert_eq!(batches(&fleet, 0), batches(&fleet, 1));
    assert_eq!(batches(&fleet, 0)[0].1, 2);
    assert!(batches(&fleet, 2).is_empty());
    let listed = fleet.expect(0, &["batch"]);
    assert!(
        listed.out.contains("r[1-2]/n[01-02] in 2 racks"),
        "{}",
        listed.out
    );
    for control in ["suspend", "resume", "abort"] {
        let said = fleet.expect(0, &[control, &id]);
        assert_eq!(said.out.lines().count(), 4, "{control}: {}", said.out);
    }
    for bed in &fleet.beds[..2] {
        let tasks = bed.expect(0, &["tasks", "--active"]);
        assert_eq!(tasks, "");
    }
}

#[test]
fn a_control_waits_for_the_end_of_what_it_was_used_on_in_all_racks() {
    let fleet = started(2, 2, OsMood::Hangs);
    let id = id_in(&fleet.expect(0, &["soft", "@*", "--no-wait"]).err);
    fleet.expect(0, &["suspend", &id]);
    let said = fleet.expect(5, &["resume", &id, "--wait=1s"]);
    assert_eq!(said.out.lines().count(), 4, "{}", said.out);
    let told = "the wait ran out: it goes on in r[1-2]";
    assert!(said.err.contains(told), "{}", said.err);
    let said = fleet.expect(0, &["rollback", "r[1-2]/@*", "--wait"]);
    assert_eq!(said.out.matches("rolled back").count(), 4, "{}", said.out);
    for bed in &fleet.beds {
        assert_eq!(bed.expect(0, &["tasks", "--active"]), "");
    }
}

#[test]
fn ctrl_c_says_what_goes_on_and_what_was_not_begun() {
    let fleet = started(3, 1, OsMood::Hangs);
    let child = begin(fleet.command(&["soft", "@*", "--racks-at-once", "2"]));
    wait_until("two racks begin", || {
        (0..2).all(|rack| !batches(&fleet, rack).is_empty())
    });
    // It has been told by then that they began: it looks at them every half second.
    std::thread::sleep(Duration::from_secs(2));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, Signal::SIGINT).expect("it is ours");
    let said = Said::of(child.wait_with_output().expect("it ends"));
    assert_eq!(said.code, 5, "{}", said.err);
    let id = id_in(&said.err);
    assert!(
        said.err
            .contains("what has begun goes on: r[1-2]; not begun, and will not be: r3"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains(&format!("rackbmc --fleet abort {id}")),
        "{}",
        said.err
    );
    // By nodes, too.
    fleet.expect(0, &["abort", "r[1-2]/@*"]);
    assert!(batches(&fleet, 2).is_empty());
}

#[test]
fn a_rack_that_restarts_meanwhile_is_waited_for() {
    let mut fleet = started(2, 1, OsMood::Hangs);
    let mut child = begin(fleet.command(&["soft", "@*"]));
    let (heard, mut lines) = hear(&mut child, "fleet batch f:");
    wait_until("both begin", || {
        (0..2).all(|rack| !batches(&fleet, rack).is_empty())
    });
    fleet.beds[1].kill();
    // Its answer to the request may have been lost with it, or come before.
    let mut said = String::new();
    while !said.contains("r2: ") {
        assert!(lines.read_line(&mut said).expect("text") > 0, "{said}");
    }
    fleet.beds[1].start();
    fleet.expect(0, &["abort", &id_in(&heard)]);
    // A batch that was not durable yet went down with the daemon: then nothing began there, and
    // that is told.
    let code = match batches(&fleet, 1).is_empty() {
        true => 3,
        false => 6,
    };
    assert_eq!(child.wait().expect("it ends").code(), Some(code), "{said}");
}

#[test]
fn a_request_that_was_not_answered_is_looked_for_and_never_made_again() {
    let mut fleet = started(1, 1, quick());
    let node = "{\"nodes\":[{\"name\":\"n01\",\"uuid\":\"0197a5c3-7d11-4b6e-8f3a-0123456789ab\"}]}";
    let asked = stub(fleet.path("r2.sock"), move |line| match line {
        line if line.starts_with("POST") => None,
        line if line.starts_with("GET /healthz") => Some("{\"rack\":\"r2\"}"),
        line if line.starts_with("GET /v1/batches") => Some("{\"batches\":[]}"),
        _ => Some(node),
    });
    fleet.add("r2", "socket", "r2.sock");
    let said = fleet.expect(3, &["off", "r[1-2]/n01"]);
    assert!(said.err.contains("r2: not begun: "), "{}", said.err);
    assert!(
        said.err.contains("it knows of no such batch"),
        "{}",
        said.err
    );
    assert!(said.out.contains("r1/n01: switched off"), "{}", said.out);
    let asked = asked.lock().expect("no panic there");
    let posts = asked.iter().filter(|line| line.starts_with("POST"));
    assert_eq!(posts.count(), 1, "{asked:?}");
}

#[test]
fn a_rack_that_is_another_one_is_asked_for_nothing() {
    let fleet = started(1, 1, quick());
    let wrong = format!(
        "[[rack]]\nname = \"r9\"\nsocket = {:?}\n",
        fleet.beds[0].socket()
    );
    std::fs::write(fleet.path("fleet.toml"), wrong).expect("written");
    let said = fleet.expect(1, &["off", "r9/n01"]);
    assert!(
        said.err.contains("says that its rack is r1"),
        "{}",
        said.err
    );
    assert_eq!(orders(&fleet, ChassisOrder::Off), 0);
}

#[test]
fn tasks_events_and_waiting_are_those_of_all_racks() {
    let mut fleet = started(2, 1, quick());
    let mut listening = begin(fleet.command(&["events", "--idle", "20s"]));
    // It says nothing until something happens: what it needs is a moment to ask where to begin.
    std::thread::sleep(Duration::from_secs(3));
    let waiting = begin(fleet.command(&["wait", "@*", "--off", "--timeout", "1m"]));
    fleet.expect(0, &["off", "r1/n01"]);
    fleet.expect(0, &["off", "r2/n01"]);
    let said = Said::of(waiting.wait_with_output().expect("it ends"));
    assert_eq!(said.code, 0, "{}", said.err);
    let mut lines: Vec<&str> = said.out.lines().collect();
    lines.sort_unstable();
    assert!(
        lines[0].starts_with("r1/n01: power off after "),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("r2/n01: power off after "),
        "{lines:?}"
    );
    let said = fleet.expect(0, &["tasks"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", said.out);
    assert!(
        lines[0].contains(" r2/n01 ") && lines[1].contains(" r1/n01 "),
        "{}",
        said.out
    );
    let said = fleet.expect(0, &["tasks", "r1/@*", "-o", "json"]);
    let tasks: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(tasks.as_array().map(Vec::len), Some(1));
    assert_eq!(tasks[0]["node"], "r1/n01");
    let heard = BufReader::new(listening.stdout.take().expect("piped")).lines();
    let heard: Vec<String> = heard
        .map(|line| line.expect("text"))
        .take_while(|line| !(line.contains("r2/n01") && line.contains("succeeded")))
        .collect();
    let place = |node: &str| heard.iter().position(|line| line.contains(node));
    assert!(place("r1/n01") < place("r2/n01"), "{heard:#?}");
    let times: Vec<&str> = heard.iter().map(|line| &line[..20]).collect();
    assert!(times.is_sorted(), "{heard:#?}");
    listening.kill().expect("it is ours");
    let _ = listening.wait();
    fleet.beds[1].kill();
    let said = fleet.expect(3, &["tasks"]);
    assert!(said.err.contains("r2: "), "{}", said.err);
    let said = fleet.expect(2, &["events", "--since", "1-1"]);
    assert!(said.err.contains("--rack"), "{}", said.err);
}

#[test]
fn racks_nodes_groups_and_ids_are_completed() {
    let fleet = started(2, 2, quick());
    let said = fleet.expect(0, &["off", "r1/n01"]);
    let id = id_in(&said.err);
    let found = |words: &[&str]| {
        let words: Vec<&str> = ["__complete", "rackbmc"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let said = fleet.expect(0, &words);
        let words = said
            .out
            .lines()
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned());
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found(&["status", "r"]), "r1/ r2/");
    assert_eq!(found(&["status", "r1/n"]), "r1/n01 r1/n02");
    assert_eq!(
        found(&["status", "r1/n01,r2/n0"]),
        "r1/n01,r2/n01 r1/n01,r2/n02"
    );
    assert_eq!(
        found(&["status", "r[1-2]/n[0"]),
        "r[1-2]/n[01] r[1-2]/n[02]"
    );
    assert_eq!(found(&["status", "@"]), "@storage");
    assert_eq!(found(&["status", "r2/@"]), "r2/@storage");
    assert_eq!(found(&["racks", "r"]), "r1 r2");
    assert_eq!(found(&["--rack", ""]), "r1 r2");
    assert_eq!(found(&["batch", "f:"]), id);
}

/// Over TCP, each with credentials of its own: who may not is told so by that rack, and the others
/// go on.
#[test]
fn each_rack_has_its_own_users_and_roles() {
    let mut fleet = started(1, 1, quick());
    let hash = bcrypt::hash("sesame", 4).expect("hashed");
    let htpasswd = fleet.path("htpasswd");
    std::fs::write(&htpasswd, format!("anna:{hash}\n")).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&htpasswd, mode).expect("ours");
    let tcp = daemon::free_tcp();
    let api = format!(
        "tcp = \"{tcp}\"\nauth = \"http_basic\"\nhtpasswd = {htpasswd:?}\n\
         [[api.role]]\nrole = \"reader\"\nhttp_users = [\"anna\"]\n"
    );
    let keys = daemon::Keys {
        name: "r2",
        api: &api,
        ..daemon::Keys::default()
    };
    let mut reader = daemon::Bed::of([daemon::plan("n01", Mood::default())], &keys);
    reader.start();
    reader.expect(0, &["wait", "n01", "--on", "--timeout", "1m"]);
    std::fs::write(fleet.path("right"), "anna:sesame\n").expect("written");
    std::fs::write(fleet.path("wrong"), "anna:guess\n").expect("written");
    let url = format!("http://{tcp}");
    fleet.add("r2", "auth_file = \"right\"\nurl", &url);
    let said = fleet.expect(0, &["status"]);
    assert_eq!(said.out, "r1/n01: power on\nr2/n01: power on\n");
    let said = fleet.expect(4, &["off", "@*"]);
    assert!(said.err.contains("r2: not begun: "), "{}", said.err);
    assert!(said.err.contains("operator"), "{}", said.err);
    assert!(said.out.contains("r1/n01: switched off"), "{}", said.out);
    assert!(reader.is_on("n01"));
    fleet.add("r3", "auth_file = \"wrong\"\nurl", &url);
    let said = fleet.expect(4, &["status"]);
    assert_eq!(said.out.lines().count(), 2, "{}", said.out);
    assert!(said.err.contains("r3: "), "{}", said.err);
}

/// `FLEET_RACKS=20 FLEET_NODES=64` tells it of a large one; what it took is printed.
#[test]
fn a_whole_fleet_goes_down_with_one_command() {
    let number = |name: &str, usual| {
        let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
        set.unwrap_or(usual)
    };
    let (racks, nodes): (usize, usize) = (number("FLEET_RACKS", 3), number("FLEET_NODES", 4));
    let fleet = started(racks, nodes, quick());
    let took = |words: &[&str]| {
        let began = Instant::now();
        let said = fleet.expect(0, words);
        (began.elapsed().as_secs_f64(), said.out.lines().count())
    };
    let best = |words: &[&str]| {
        let all = (0..5).map(|_| took(words).0);
        all.fold(f64::INFINITY, f64::min)
    };
    let (_, lines) = took(&["status"]);
    assert_eq!(lines, racks * nodes);
    let (status, listed) = (best(&["status", "-b"]), best(&["racks"]));
    let (soft, lines) = took(&["soft", "@*", "--yes"]);
    assert_eq!(lines, racks * nodes);
    assert_eq!(orders(&fleet, ChassisOrder::Soft), racks * nodes);
    println!(
        "{racks} racks of {nodes} nodes: status {status:.3} s, racks {listed:.3} s (best of 5), \
         soft power off of {lines} nodes to the end {soft:.1} s"
    );
}
