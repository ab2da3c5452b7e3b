//! `rackbmc` as scripts see it, the built program: exit codes, what is on stdout, what was asked of
//! the daemon.
//!
//! The daemon here is a puppet on a Unix socket that speaks the API's JSON types; the real one is
//! in `tests/cli.rs`.

mod daemon;
mod puppet;

use daemon::{Said, begin};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use puppet::{BATCH, Puppet, TASK, ok, rack, refuse, serve, task};
use rackbmcd::model::{Batch, BatchNode, Ha, HaHost, Health, Node, Operation, Task, TaskList};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A rack of 20 whose tasks run and then end as told.
fn ending(state: &'static str) -> Puppet {
    Puppet::new(move |request, _| match request {
        "GET /v1/nodes/detail" => rack(20),
        "POST /v1/tasks" => ok(&task("running")),
        _ if request.starts_with("GET /v1/tasks/") => {
            if state == "running" {
                std::thread::sleep(Duration::from_millis(50));
            }
            ok(&task(state))
        }
        _ => refuse(404, "not_found", "the puppet does not know this"),
    })
}

#[test]
fn a_verb_waits_for_the_end_and_exits_as_the_task_ended() {
    for (state, line, code) in [
        ("succeeded", "already off", 0),
        ("failed", "soft power off failed", 1),
        ("stuck", "soft power off stuck", 1),
        ("aborted", "soft power off aborted", 6),
        ("rolled back", "soft power off rolled back", 6),
    ] {
        let puppet = ending(state);
        let said = puppet.run(&["soft", "r1n01", "--timeout", "90s"]);
        assert_eq!(said.code, code, "{state}: {}{}", said.out, said.err);
        assert!(
            said.out.starts_with(&format!("r1n01: {line}")),
            "{}",
            said.out
        );
        assert!(
            said.err.contains("task t:pf2db: "),
            "the task's id is said first: {}",
            said.err
        );
        let body = r#"{"node":"r1n01","operation":"soft power off","timeout":90}"#;
        assert_eq!(puppet.posts(), [format!("POST /v1/tasks {body}")]);
    }
}

#[test]
fn a_wait_that_runs_out_leaves_the_task_running_and_says_so() {
    let said = ending("running").run(&["soft", "r1n01", "--wait=300ms"]);
    assert_eq!(said.code, 5, "{}", said.err);
    assert!(said.err.contains("still runs"), "{}", said.err);
}

#[test]
fn without_waiting_a_running_task_is_what_was_asked_for() {
    let puppet = ending("running");
    let said = puppet.run(&["soft", "r1n01", "--no-wait", "-o", "json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let tasks: Vec<Task> = serde_json::from_str(&said.out).expect("an array, though it is one");
    assert_eq!(tasks[0].id.to_string(), TASK);
}

#[test]
fn nothing_is_pressed_where_no_node_an_unknown_one_or_too_many_are_named() {
    let puppet = ending("succeeded");
    for words in [
        &["off"][..],
        &["off", "r1n21"],
        &["off", "r1n[01-"],
        &["off", "@storage"],
        &["off", "r1n01", "-x", "r1n01"],
        &["off", "r1n[01-17]"],
        &["off", "--all"],
        &["frobnicate", "r1n01"],
        &["off", "r1n01", "--timeout", "soon"],
    ] {
        let said = puppet.run(words);
        assert_eq!(said.code, 2, "{words:?}: {}{}", said.out, said.err);
        assert_eq!(said.out, "", "{words:?}");
    }
    assert_eq!(puppet.posts(), [""; 0]);
}

#[test]
fn several_nodes_are_one_batch_with_its_policy() {
    let puppet = Puppet::new(|request, _| match request {
        "GET /v1/nodes/detail" => rack(20),
        "POST /v1/batches" => ok(&Batch {
            id: BATCH.parse().expect("an id"),
            operation: Operation::PowerOff.into(),
            nodes: vec![
                BatchNode {
                    node: "r1n01".into(),
                    task: TASK.parse().ok(),
                    ..BatchNode::default()
                },
                BatchNode {
                    node: "r1n02".into(),
                    note: Some("in maintenance".into()),
                    ..BatchNode::default()
                },
            ],
            ..Batch::default()
        }),
        _ => ok(&task("succeeded")),
    });
    let words = [
        "off",
        "r1n[01-02]",
        "--max-parallel",
        "4",
        "--stagger",
        "500ms",
        "--on-failure",
        "stop",
    ];
    let said = puppet.run(&words);
    assert_eq!(said.code, 1, "one node was refused: {}", said.err);
    assert_eq!(
        said.out,
        "r1n02: not begun: in maintenance\nr1n01: already off\n"
    );
    let body = r#"{"max_parallel":4,"nodes":["r1n01","r1n02"],"on_failure":"stop","operation":"power off","stagger":0.5}"#;
    assert_eq!(puppet.posts(), [format!("POST /v1/batches {body}")]);
}

#[test]
fn a_refusal_is_said_in_the_daemons_words_with_its_own_code() {
    for (status, kind, code) in [
        (409, "node_locked", 1),
        (403, "not_permitted", 4),
        (400, "bad_request", 2),
        (503, "stopping", 3),
        (503, "store", 1),
    ] {
        let puppet = Puppet::new(move |request, _| match request {
            "GET /v1/nodes/detail" => rack(4),
            _ => refuse(status, kind, "no, because of the moon"),
        });
        let said = puppet.run(&["on", "r1n01"]);
        assert_eq!(said.code, code, "{kind}");
        assert!(said.err.contains("because of the moon"), "{}", said.err);
    }
}

#[test]
fn no_socket_nobody_behind_it_and_no_permission_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    // Somebody else may not get at where it was built: root's home is closed.
    let program = folder.path().join("rackbmc");
    std::fs::copy(env!("CARGO_BIN_EXE_rackbmc"), &program).expect("a copy");
    let run = |path: &Path, uid: Option<u32>| {
        let mut command = Command::new(&program);
        command
            .arg("status")
            .env_clear()
            .env("RACKBMC_SOCKET", path);
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        Said::of(command.output().expect("rackbmc runs"))
    };
    let missing = run(&folder.path().join("none.sock"), None);
    assert_eq!(missing.code, 3);
    assert!(missing.err.contains("no socket at"), "{}", missing.err);

    let path = folder.path().join("rackbmcd.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    let refused = run(&path, None);
    assert_eq!(refused.code, 3);
    assert!(
        refused.err.contains("connection refused"),
        "{}",
        refused.err
    );

    // Root may do everything, so as root somebody else has to try.
    let nobody = nix::unistd::geteuid().is_root().then_some(65534);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    mode(folder.path(), 0o711);
    mode(&path, 0o000);
    let forbidden = run(&path, nobody);
    assert_eq!(forbidden.code, 4, "{}", forbidden.err);
    // Nobody is sent into a group that may not either.
    assert!(
        forbidden.err.contains("only root may use it"),
        "{}",
        forbidden.err
    );
    assert!(!forbidden.err.contains("usermod"), "{}", forbidden.err);
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    for no_socket in [folder.path(), &file] {
        let said = run(no_socket, None);
        assert_eq!(said.code, 3);
        assert!(said.err.contains("this is no socket"), "{}", said.err);
    }
}

#[test]
fn a_daemon_that_restarts_during_the_wait_loses_nothing() {
    let puppet = Puppet::new(|_, _| (500, String::new()));
    // This one is replaced: its socket goes away as that of a restarted daemon does.
    std::fs::remove_file(puppet.socket()).expect("the socket is there");
    let listener = UnixListener::bind(puppet.socket()).expect("a socket");
    let child = begin(puppet.command(&["soft", "r1n01"]));
    let asked = Mutex::new(Vec::new());
    for answer in [rack(4), ok(&task("running"))] {
        let (stream, _) = listener.accept().expect("a request");
        serve(stream, &asked, &|_, _| answer.clone());
    }
    drop(listener);
    std::fs::remove_file(puppet.socket()).expect("the socket is there");
    std::thread::sleep(Duration::from_millis(700));
    puppet.listen(|_, _| ok(&task("succeeded")));
    let said = Said::of(child.wait_with_output().expect("it ends"));
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("waiting for it to come back"),
        "{}",
        said.err
    );
    assert!(said.err.contains("rackbmcd is back"), "{}", said.err);
}

#[test]
fn ctrl_c_lets_go_and_a_second_one_aborts() {
    let puppet = Puppet::new(|request, _| match request {
        "GET /v1/nodes/detail" => rack(4),
        "POST /v1/tasks" => ok(&task("running")),
        _ if request.ends_with("/abort") => ok(&task("aborted")),
        _ => {
            std::thread::sleep(Duration::from_millis(50));
            ok(&task("running"))
        }
    });
    let start = |presses: u32| {
        let before = puppet.asked().len();
        let child = begin(puppet.command(&["soft", "r1n01"]));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        // It listens for Ctrl-C from the moment it follows the task.
        let deadline = Instant::now() + Duration::from_secs(10);
        while puppet.asked().len() < before + 3 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        for _ in 0..presses {
            std::thread::sleep(Duration::from_millis(300));
            kill(pid, Signal::SIGINT).expect("it runs");
        }
        Said::of(child.wait_with_output().expect("it ends"))
    };
    let once = start(1);
    assert_eq!(once.code, 5, "{}", once.err);
    assert!(
        once.err.contains("To stop it: rackbmc abort r1n01"),
        "{}",
        once.err
    );
    assert!(!puppet.posts().iter().any(|post| post.ends_with("/abort")));
    let twice = start(2);
    assert_eq!(twice.code, 6, "{}", twice.err);
    let aborts = puppet.posts();
    assert_eq!(
        aborts.iter().filter(|post| post.contains("/abort")).count(),
        1
    );
}

#[test]
fn a_control_finds_the_task_of_a_node_and_aborting_nothing_is_a_success() {
    let busy = Puppet::new(|request, _| match request {
        "GET /v1/nodes/detail" => rack(4),
        _ if request.starts_with("GET /v1/tasks?") && request.contains("node=r1n01") => {
            ok(&TaskList {
                tasks: vec![task("running")],
            })
        }
        _ if request.starts_with("GET /v1/tasks?") => ok(&TaskList::default()),
        _ if request.ends_with("/abort") => ok(&task("aborted")),
        _ => refuse(
            409,
            "control_refused",
            "cancel is refused: the soft power off was sent; abort and rollback are possible",
        ),
    });
    assert_eq!(busy.run(&["abort", "r1n01"]).code, 0);
    assert_eq!(busy.posts(), [format!("POST /v1/tasks/{TASK}/abort")]);
    let idle = busy.run(&["abort", "r1n02"]);
    assert_eq!(
        (idle.code, idle.err.as_str()),
        (0, "r1n02: no task is running: nothing to abort\n")
    );
    let late = busy.run(&["cancel", "r1n01"]);
    assert_eq!(late.code, 1);
    assert!(
        late.err.contains("abort and rollback are possible"),
        "{}",
        late.err
    );
    assert_eq!(busy.run(&["abort"]).code, 2);
}

#[test]
fn status_has_one_shape_in_json_and_folds_in_text() {
    let puppet = Puppet::new(|request, _| match request {
        "GET /v1/nodes/detail" | "GET /v1/nodes?fields=uuid,name" => rack(4),
        _ => refuse(404, "not_found", "?"),
    });
    let full = puppet.run(&["status", "r1n01", "--full", "-o", "json"]).out;
    let one: Vec<Node> = serde_json::from_str(&full).expect("an array");
    let all: Vec<serde_json::Value> =
        serde_json::from_str(&puppet.run(&["status", "-o", "json"]).out).expect("an array");
    let facts = all[0].as_object().expect("an object");
    assert_eq!(facts.len(), 10, "{facts:?}");
    assert_eq!((one.len(), all.len()), (1, 4));
    assert_eq!(puppet.run(&["status", "-b"]).out, "r1n[01-04]: power on\n");
    assert_eq!(puppet.run(&["status", "r1n02"]).out, "r1n02: power on\n");
    assert_eq!(
        puppet
            .run(&["status", "@compute", "-x", "r1n[02-04]", "-o", "name"])
            .out,
        "r1n01\n"
    );
    let completed = |words: &[&str]| {
        let words = [&["__complete", "rackbmc"], words].concat();
        puppet.run(&words).out
    };
    assert_eq!(completed(&["status", "@"]), "@compute\n");
    assert_eq!(
        completed(&["off", "r1n01,r1n04,r"]),
        "r1n01,r1n04,r1n02\nr1n01,r1n04,r1n03\n"
    );
    assert_eq!(
        completed(&["off", "r1n[01-"]),
        "r1n[01-02]\nr1n[01-03]\nr1n[01-04]\n"
    );
    assert_eq!(completed(&["off", "-x", "r1n04"]), "r1n04\n");
    assert_eq!(
        completed(&["status", "-o", "ya"]).split('\t').next(),
        Some("yaml")
    );
}

#[test]
fn verbs_are_offered_by_the_names_that_the_help_has() {
    let hosts = Ha {
        hosts: ["mgmt1", "mgmt2", "other"].map(host).to_vec(),
        ..Ha::default()
    };
    let puppet = Puppet::new(move |request, _| match request {
        "GET /v1/ha" => ok(&hosts),
        _ => rack(4),
    });
    let help = puppet.run(&["--help"]).out;
    let (verbs, _) = help.split_once("Options of every verb").expect("options");
    let verbs = verbs.lines().filter_map(|line| line.strip_prefix("  "));
    let mut verbs: Vec<&str> = verbs.filter_map(|line| line.split(' ').next()).collect();
    verbs.sort_unstable();
    let offered = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let said = puppet
            .run(&[&["__complete", "rackbmc"], &words[..]].concat())
            .out;
        let names = said.lines().filter_map(|line| line.split('\t').next());
        let mut names: Vec<String> = names
            .filter(|name| !name.starts_with('-'))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names
    };
    assert_eq!(offered(""), verbs);
    for (words, names) in [
        ("power ", "boot cycle nmi off on reboot reset soft status"),
        (
            "chassis power ",
            "boot cycle nmi off on reboot reset soft status",
        ),
        ("sta", "status"),
        // As it was begun.
        ("shutd", "shutdown"),
        ("dia", "diag"),
        ("bmc ", "accept info reset trace"),
        ("chassis ", "policy power status"),
        ("sel ", "clear list"),
        ("ha ", "handover status"),
        ("ha handover --to ", "mgmt1 mgmt2 other"),
        ("ha handover --to mg", "mgmt1 mgmt2"),
        ("audit ", "verify"),
        ("completion ", "bash fish zsh"),
        (
            "man node-s",
            "node-set-power-state node-show node-show-states",
        ),
        (
            "chassis policy r1n01 --set ",
            "always-off always-on previous",
        ),
        (
            "bootdev r1n01 --set remote-",
            "remote-cdrom remote-disk remote-floppy remote-media",
        ),
        ("bootdev r1n01 --set n", "none"),
        ("boot r1n01 --from n", ""),
        ("off r1n01 --on-busy ", "fail skip take-over"),
        ("identify r1n01 --for ", "forever"),
        ("check --expect ", "off on"),
    ] {
        assert_eq!(offered(words).join(" "), names, "{words}");
    }
}

fn host(name: &str) -> HaHost {
    HaHost {
        host: name.to_owned(),
        ..HaHost::default()
    }
}

#[test]
fn a_check_speaks_nagios() {
    let puppet = Puppet::new(|request, _| match request {
        "GET /v1/nodes/detail" => rack(4),
        _ => ok(&Health::default()),
    });
    let fine = puppet.run(&["check", "--expect", "on"]);
    assert_eq!(fine.code, 0, "{}", fine.out);
    assert!(
        fine.out.starts_with("RACKBMC OK - ") && fine.out.contains(" | nodes=4 "),
        "{}",
        fine.out
    );
    assert_eq!(puppet.run(&["check", "--expect", "off"]).code, 2);
    assert_eq!(puppet.run(&["check", "r1n99"]).code, 3);
    assert_eq!(puppet.run(&["check", "--frobnicate"]).code, 3);
    let gone = Puppet::new(|_, _| (500, String::new()));
    std::fs::remove_file(gone.socket()).expect("the socket is there");
    let gone = gone.run(&["check"]);
    assert_eq!(gone.code, 2);
    assert_eq!(gone.out.lines().count(), 1, "{}", gone.out);
}

#[test]
fn completion_and_man_page_need_no_daemon() {
    let puppet = Puppet::new(|_, _| (500, String::new()));
    for words in [
        &["completion", "bash"][..],
        &["completion", "zsh"],
        &["completion", "fish"],
        &["man"],
        &["man", "soft"],
        &["--version"],
    ] {
        let said = puppet.run(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        assert!(said.out.contains("rackbmc"), "{words:?}");
    }
    let said = puppet.run(&["__complete", "rackbmc", "expl"]);
    assert!(said.out.starts_with("explain\t"), "{}", said.out);
    let said = puppet.run(&["__complete", "rackbmc", "status", "--fr"]);
    assert!(said.out.starts_with("--fresh\t"), "{}", said.out);
    assert_eq!(puppet.asked(), [""; 0]);
}

#[test]
fn over_tcp_the_credentials_come_from_a_file_or_the_environment() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("auth");
    std::fs::write(&file, "admin:secret\n").expect("a file");
    let heads = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("a request");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).expect("a header");
            }
            let body = r#"{"error":{"message":"Incorrect username or password","code":401}}"#;
            write!(
                stream,
                "HTTP/1.1 401 x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .expect("it listens");
            heads.push(head.to_ascii_lowercase());
        }
        heads
    });
    for variable in [
        ("RACKBMC_AUTH", "admin:secret"),
        ("RACKBMC_AUTH_FILE", file.to_str().expect("text")),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackbmc"));
        command
            .args(["status", "--url", &url])
            .env_clear()
            .env(variable.0, variable.1);
        let said = Said::of(command.output().expect("rackbmc runs"));
        assert_eq!(said.code, 4, "{}", said.err);
        assert!(said.err.contains("Incorrect username") && !said.err.contains("secret"));
    }
    for head in heads.join().expect("both came") {
        // RFC 4648 of "admin:secret", by coreutils' base64.
        assert!(
            head.contains("authorization: basic ywrtaw46c2vjcmv0\r\n"),
            "{head}"
        );
        assert!(
            head.contains("x-openstack-ironic-api-version: 1.31\r\n"),
            "{head}"
        );
    }
}

#[test]
fn a_remark_that_cannot_be_written_changes_no_exit_code() {
    let full = || {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        full.expect("Linux has it")
    };
    for (state, words, code) in [
        ("succeeded", &["soft", "r1n01"][..], 0),
        ("failed", &["soft", "r1n01"], 1),
        ("running", &["soft", "r1n01", "--wait=100ms"], 5),
        ("succeeded", &["off", "r1n21"], 2),
    ] {
        let puppet = ending(state);
        let status = puppet.command(words).stderr(full()).status();
        let status = status.expect("rackbmc runs");
        assert_eq!(status.code(), Some(code), "{words:?}, {state}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_changes_the_exit_code_of_what_only_looks() {
    let full = || {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        full.expect("Linux has it")
    };
    // A pipe whose reader went away.
    let gone = || std::io::pipe().expect("a pipe").1;
    let nodes = || {
        Puppet::new(|request, _| match request {
            "GET /v1/nodes/detail" => rack(4),
            _ => refuse(404, "not_found", "?"),
        })
    };
    for (puppet, words, on_full, on_gone) in [
        (ending("succeeded"), &["soft", "r1n01"][..], 0, 0),
        (ending("aborted"), &["soft", "r1n01"], 6, 6),
        (ending("failed"), &["soft", "r1n01"], 1, 1),
        (nodes(), &["status"], 1, 0),
        (nodes(), &["status", "r1n09"], 2, 2),
        (nodes(), &["--help"], 1, 0),
        (nodes(), &["--version"], 1, 0),
        (nodes(), &["completion", "bash"], 1, 0),
    ] {
        let out = puppet
            .command(words)
            .stdout(full())
            .output()
            .expect("rackbmc runs");
        assert_eq!(out.status.code(), Some(on_full), "{words:?}");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            on_full == 2 || said.contains("could not be written"),
            "{words:?}: {said}"
        );
        let status = puppet
            .command(words)
            .stdout(gone())
            .stderr(std::process::Stdio::null())
            .status();
        assert_eq!(
            status.expect("rackbmc runs").code(),
            Some(on_gone),
            "{words:?}"
        );
    }
}

#[test]
fn help_is_no_error_and_ends_its_line() {
    let told = |words: &[&str], variable: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackbmc"));
        command.args(words).env_clear().env(variable, value);
        Said::of(command.output().expect("rackbmc runs"))
    };
    let said = |words: &[&str], variable: &str| told(words, variable, "");
    let alone = said(&[], "HOME");
    assert_eq!((alone.code, alone.out.as_str()), (2, ""));
    for (variable, value) in [
        ("RACKBMC_SOCKET", "/nowhere"),
        ("RACKBMC_RACK", "r1"),
        ("RACKBMC_URL", "http://localhost:1"),
        ("RACKBMC_OUTPUT", "json"),
    ] {
        let with = told(&[], variable, value);
        assert_eq!((with.code, &with.err), (2, &alone.err), "{variable}");
    }
    assert!(
        alone.err.starts_with("The power of a rack"),
        "{}",
        alone.err
    );
    let asked = said(&["--help"], "HOME");
    assert_eq!((asked.code, &asked.out), (0, &alone.err));
    let moods = said(&["sim", "--help"], "HOME").out;
    assert!(moods.contains("hangs") && moods.contains("Join several"));
    for text in [&asked.out, &moods] {
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
    }
    let wrong = said(&["sim", "--mood", "sulks"], "HOME");
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    // A variable that is empty is as good as none.
    for variable in [
        "RACKBMC_SOCKET",
        "RACKBMC_RACK",
        "RACKBMC_URL",
        "RACKBMC_OUTPUT",
    ] {
        let said = said(&["status"], variable);
        assert!(
            said.code == 3 && !said.err.contains("a value is required"),
            "{variable}: {}",
            said.err
        );
    }
}

#[test]
fn what_the_daemon_was_asked_at_a_command_line_ends_as_it_should_though_nobody_takes_the_words() {
    let bed = daemon::Bed::of([], &daemon::Keys::default());
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    let code = |words: &[&str]| {
        let mut command = Command::new(daemon::DAEMON);
        command.args(words).arg("--config");
        command.arg(bed.path("rackbmcd.toml")).env_clear();
        command.stdout(full().expect("there"));
        command.stderr(full().expect("there"));
        command.status().expect("rackbmcd runs").code()
    };
    assert_eq!(code(&["--check-config"]), Some(0));
    assert_eq!(code(&["--verify-audit"]), Some(1), "there is no journal");
    assert_eq!(code(&["--man", "daemon"]), Some(1), "nobody has the page");
    std::fs::write(bed.path("rackbmcd.toml"), "[rack\n").expect("it is ours");
    assert_eq!(code(&["--check-config"]), Some(78));
}
