//! Every message of the command line that a person can meet, in one file:
//! `tests/snapshots/messages__all.snap`. To be read as a whole: what happened, to which node, what
//! to do next; a state once; no private word.
//!
//! The built program, with a puppet in the daemon's place; what a terminal shows is in the tests of
//! `src/cli`. The sentences of tasks come from the daemon and have a file of their own.

mod daemon;
mod puppet;

use daemon::Said;
use puppet::{Answer, BATCH, Puppet, TASK, node, ok, refuse, task};
use rackbmcd::model::{
    Asker, AuditPage, Batch, BatchList, BatchNode, BootOverride, EventLog, Events, Explanation,
    Fact, Ha, HaHost, HaOwner, HaRole, Health, History, Hold, NodeList, Operation, Pausing,
    PowerState, Task, TaskList, Trouble, Word,
};
use std::fmt::Write;
use std::time::Duration;

/// Four nodes: two that are well, one whose BMC is silent, one in maintenance after an abort.
fn nodes() -> Answer {
    let mut nodes: Vec<_> = (1..=4).map(|number| node(number, "power on")).collect();
    nodes[1].power_state = PowerState::Off;
    nodes[2].power_state = PowerState::Unknown;
    nodes[2].rackbmcd.reading = None;
    nodes[2].rackbmcd.bmc.trouble = Some(Trouble::ALL[0].into());
    nodes[2].rackbmcd.bmc.trouble_text = Some("no answer, 4 attempts in 5 s".into());
    nodes[3].power_state = PowerState::Error;
    nodes[3].last_error = Some("aborted by alice: the soft power off was sent".into());
    nodes[3].rackbmcd.maintenance = Some(Hold {
        reason: Some("new fans".into()),
        by: "alice".into(),
        ..Hold::default()
    });
    ok(&NodeList { nodes, next: None })
}

fn of(node: &str, operation: Operation, state: &str, outcome: &str) -> Task {
    Task {
        node: node.into(),
        operation: operation.into(),
        outcome: (!outcome.is_empty()).then(|| outcome.into()),
        elapsed: Duration::from_millis(12_400),
        time_left: Some(Duration::from_secs(588)),
        ..task(state)
    }
}

/// How the tasks of each node end, by its number.
fn started(body: &str) -> Answer {
    let operation = Operation::ALL
        .into_iter()
        .find(|operation| body.contains(&format!("\"operation\":\"{operation}\"")));
    let operation = operation.expect("an operation");
    if body.contains("r1n02") {
        return ok(&of(
            "r1n02",
            operation,
            "failed",
            &format!("{operation} failed: the BMC did not answer for 60 s"),
        ));
    }
    if body.contains("r1n03") {
        return refuse(
            409,
            "node_locked",
            "Node r1n03 is locked by bob's soft power off (t:7k3f9), 9 min 48 s left: rackbmc off r1n03 --take-over",
        );
    }
    if body.contains("r1n04") {
        return refuse(
            409,
            "maintenance",
            "r1n04 is in maintenance since 12:03 (alice): new fans",
        );
    }
    ok(&of(
        "r1n01",
        operation,
        "succeeded",
        "done, read back at 12.4 s",
    ))
}

fn batch(state: &str) -> Batch {
    let of = |node: &str, state: &str, note: Option<&str>| BatchNode {
        node: node.into(),
        task: note.is_none().then(|| TASK.parse().expect("an id")),
        state: Word::of(state),
        note: note.map(str::to_owned),
        ..BatchNode::default()
    };
    Batch {
        id: BATCH.parse().expect("an id"),
        operation: Operation::PowerOff.into(),
        state: Word::of(state),
        nodes: vec![
            of("r1n01", "succeeded", None),
            of("r1n03", "refused", Some("the BMC did not answer for 5 s")),
        ],
        counts: [("succeeded".to_owned(), 1), ("refused".to_owned(), 1)].into(),
        ..Batch::default()
    }
}

fn answers(request: &str, body: &str) -> Answer {
    let (method, path) = request.split_once(' ').unwrap_or((request, ""));
    let path = path.split('?').next().unwrap_or_default();
    let about_n3 = path.contains("r1n03");
    let silent = || {
        refuse(
            504,
            "bmc_unanswered",
            "r1n03: the BMC did not answer for 5 s",
        )
    };
    match (method, path) {
        ("GET", "/v1/nodes/detail" | "/v1/nodes") => nodes(),
        ("GET", "/healthz") => ok(&Health {
            rack: "r1".into(),
            nodes: 4,
            ..Health::default()
        }),
        ("GET", "/v1/ha") => ok(&hosts()),
        ("POST", "/v1/ha/handover") => refuse(
            409,
            "control_refused",
            "no other host could take the rack: mgmt2: upgrade this host",
        ),
        ("GET", "/v1/whoami") => ok(&Asker::default()),
        ("POST", "/v1/tasks") => started(body),
        ("POST", "/v1/batches") => ok(&batch("ended")),
        ("GET", "/v1/batches") => ok(&BatchList {
            batches: vec![batch("ended")],
        }),
        ("GET", "/v1/tasks") if request.contains("node=r1n02") => ok(&TaskList::default()),
        ("GET", "/v1/tasks") => ok(&TaskList {
            tasks: vec![of("r1n01", Operation::SoftPowerOff, "running", "")],
        }),
        ("GET", path) if path == format!("/v1/batches/{BATCH}") => ok(&batch("ended")),
        ("GET", path) if path == format!("/v1/tasks/{TASK}") => ok(&of(
            "r1n01",
            Operation::PowerOff,
            "succeeded",
            "done, read back at 12.4 s",
        )),
        ("POST", path) if path.ends_with("/abort") && path.contains(TASK) => ok(&of(
            "r1n01",
            Operation::SoftPowerOff,
            "aborted",
            "aborted by alice: the soft power off was sent",
        )),
        ("POST", path) if path.ends_with("/cancel") && path.contains(TASK) => refuse(
            409,
            "control_refused",
            "cancel is refused: the soft power off was sent; abort and rollback are possible",
        ),
        ("GET", "/v1/events") => ok(&Events::default()),
        ("POST", "/v1/pause") => ok(&Pausing::default()),
        ("POST", "/v1/release") => ok(&Pausing::default()),
        ("GET", "/v1/audit") => ok(&AuditPage::default()),
        ("POST" | "PUT" | "GET", path) if about_n3 && path.starts_with("/v1/nodes/") => silent(),
        ("GET", path) if path.ends_with("/explain") => ok(&Explanation {
            node: node(1, "power on"),
            facts: vec![Fact {
                head: "log-in".into(),
                text: "as admin, privilege level operator, cipher suite 17".into(),
            }],
            ..Explanation::default()
        }),
        ("GET", path) if path.ends_with("/history") => ok(&History::default()),
        ("GET", path) if path.ends_with("/event_log") => ok(&EventLog::default()),
        ("GET", path) if path.ends_with("/boot_override") => ok(&BootOverride::default()),
        ("POST", path) if path.ends_with("/retry") => ok(&node(1, "power on")),
        ("POST" | "PUT" | "DELETE", path) if path.starts_with("/v1/nodes/") => (202, String::new()),
        _ => refuse(
            404,
            "task_not_found",
            "no task or batch with this id is remembered",
        ),
    }
}

/// Two hosts, of which the other one could not take the rack.
fn hosts() -> Ha {
    let host = |name: &str, unfit: Option<&str>| HaHost {
        host: name.into(),
        version: "0.2.0".into(),
        alive: true,
        seen: 2.0,
        unfit: unfit.map(str::to_owned),
        ..HaHost::default()
    };
    Ha {
        rack: "r1".into(),
        host: "mgmt1".into(),
        role: HaRole::Owner.into(),
        owner: Some(HaOwner {
            host: "mgmt1".into(),
            ..HaOwner::default()
        }),
        permit_left: Some(6.4),
        hosts: vec![
            host("mgmt1", None),
            host("mgmt2", Some("upgrade this host")),
        ],
        ..Ha::default()
    }
}

/// Lines as they are typed, by subject.
const LINES: &[(&str, &[&str])] = &[
    (
        "what cannot be meant",
        &[
            "config",
            "r1n01 off",
            "reset r1n01 --hard-after 3s",
            "off r1n01 --frobnicate",
            "task b:00000",
            "batch t:00000",
            "--fleet r7/n01 off",
            "ha",
            "ha handover mgmt2",
            "chassis policy r1n01 --set sometimes",
            "statsu",
            "power-off r1n01",
            "off",
            "off r1n09",
            "off @nobody",
            "off r1n[01-",
            "off r1n[01-02] -x r1n09",
            "off r1n01 --hard-after 5m",
            "off r1n01 --timeout soon",
            "soft r1n01 --wait --no-wait",
            "raw r1n01 0x06",
            "bootdev r1n01 --set moon",
            "wait r1n01",
            "node-set-power-state r1n01 sleep",
            "sel clear r1n01",
            "bmc reset r1n01",
            "bmc reset r1n01 --cold",
            "completion elvish",
            "man moon",
            "status --rack ../r2",
            "status --url ftp://here",
            "status --url https://here",
            "discover 10.0.0.0/8",
            "discover here",
            "init",
        ],
    ),
    (
        "power",
        &[
            "on r1n01",
            "off r1n01",
            "soft r1n01",
            "reboot r1n01",
            "reboot --soft r1n01",
            "reset r1n01",
            "cycle r1n01",
            "nmi r1n01",
            "boot r1n01 --from pxe",
            "off r1n02",
            "off r1n03",
            "off r1n04",
            "off r1n01,r1n03",
            "off r1n01,r1n03 -q -b",
        ],
    ),
    (
        "tasks",
        &[
            "tasks",
            "tasks r1n02",
            "task r1n01",
            "task r1n02",
            "task t:00000",
            "batch",
            "batch b:00000",
            "abort r1n01",
            "abort r1n02",
            "abort t:00000",
            "cancel r1n01",
            "cancel r1n02",
            "rollback r1n02",
            "suspend r1n02",
            "resume r1n02",
        ],
    ),
    (
        "looking",
        &[
            "status",
            "status -b",
            "status -o wide",
            "status r1n03 -o json",
            "explain r1n01",
            "explain r1n03",
            "history r1n01",
            "check",
            "check r1n01 --expect off",
            "events --idle 1ms",
            "audit",
            "sel list r1n01",
            "sel list r1n03",
        ],
    ),
    (
        "several hosts, many racks",
        &[
            "ha status",
            "ha handover --to mgmt2",
            "--fleet racks",
            "--fleet status",
            "--fleet check",
            "--fleet off",
            "--fleet off r1n01",
            "--fleet off r7/r1n01",
            "--fleet status r1/r1n09",
        ],
    ),
    (
        "everything else",
        &[
            "identify r1n01",
            "identify r1n01 --for forever",
            "identify r1n01 --off",
            "identify r1n03",
            "bootdev r1n01",
            "bootdev r1n01 --set pxe",
            "bootdev r1n01 --set none",
            "maintenance r1n01 --reason fans",
            "maintenance r1n01 --off",
            "pause smoke in row 4",
            "release",
            "retry r1n01",
        ],
    ),
];

fn told(text: &mut String, line: &str, said: &Said, folder: &str) {
    let _ = writeln!(text, "$ rackbmc {line}");
    for (mark, lines) in [("  ", &said.out), ("! ", &said.err)] {
        for line in lines.replace(folder, "/run").lines() {
            let _ = writeln!(text, "{}", format!("{mark}{line}").trim_end());
        }
    }
    if said.code != 0 {
        let _ = writeln!(text, "= {}", said.code);
    }
}

#[test]
fn all_of_them_in_one_file() {
    let puppet = Puppet::new(answers);
    let folder = puppet.folder.path().display().to_string();
    let fleet = format!("{folder}/fleet.toml");
    let racks = format!("[[rack]]\nname = \"r1\"\nsocket = {:?}\n", puppet.socket());
    std::fs::write(&fleet, racks).expect("a file");
    let mut text = String::new();
    for (subject, lines) in LINES {
        let _ = writeln!(text, "\n# {subject}\n");
        for line in *lines {
            let words: Vec<&str> = line.split(' ').collect();
            let mut command = puppet.command(&words);
            command
                .stdin(std::process::Stdio::null())
                .env("RACKBMC_FLEET_FILE", &fleet)
                .env("COLUMNS", "100");
            let said = Said::of(command.output().expect("rackbmc runs"));
            told(&mut text, line, &said, &folder);
        }
    }
    let _ = writeln!(text, "\n# where there is no daemon\n");
    std::fs::remove_file(puppet.socket()).expect("the socket is there");
    for line in [
        "status",
        "off r1n01",
        "check",
        "watch",
        "__complete rackbmc status r1",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        told(&mut text, line, &puppet.run(&words), &folder);
    }
    drop(std::os::unix::net::UnixListener::bind(puppet.socket()).expect("a socket"));
    told(&mut text, "status", &puppet.run(&["status"]), &folder);
    for (word, why) in [
        ("1 nodes", "one is one"),
        ("1 tasks", "one is one"),
        ("panicked", "no panic"),
        ("Refusal", "no private word"),
    ] {
        let said = |line: &&str| line.contains(word) && !line.contains(&format!("{word}="));
        let found = text.lines().find(said);
        assert_eq!(found, None, "{why}");
    }
    // A word with an underscore is one that programs match; people may type these, and no others
    // are shown to them.
    let typed = "__complete RACKBMC_SOCKET on|off|soft_reboot|soft_off|inject_nmi|abort_soft_reboot|abort_soft_off|abort_inject_nmi POWER_STATE";
    for word in text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')) {
        let is_key = text.contains(&format!("\"{word}\":"));
        assert!(
            !word.contains('_') || typed.contains(word) || is_key,
            "{word}"
        );
    }
    insta::assert_snapshot!("all", text);
}
