//! The real daemon on real files is killed (SIGKILL) two hundred times, in the middle of whatever
//! it does, right after what it was asked for, and while it starts: nothing that it accepted is
//! lost, nothing that must happen once happens twice, and what was suspended still is.
//!
//! The rack is simulated inside the test on loopback, so that the machines' own records judge.
//! `KILLS=500` kills more often; `KILL_SEED=n` throws other dice (the moment of a kill is real
//! time, so that no story is the same twice).

mod daemon;

use daemon::{Bed, DAEMON, Keys, plan, spawn};
use rackbmcd::entropy::{Entropy, Seeded};
use rackbmcd::model::{Operation, Task, TaskId, TaskList, TaskState};
use rackbmcd::sim::{By, ChassisOrder, Mood, OsMood, Pointless};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const NODES: usize = 16;
const OPERATIONS: [&str; 8] = [
    "power on",
    "power off",
    "rebooting",
    "soft power off",
    "soft rebooting",
    "inject nmi",
    "hard reset",
    "power cycle",
];

impl Bed {
    fn new() -> Self {
        let plans = (0..NODES).map(|place| {
            let millis = |millis| Duration::from_millis(millis);
            let mood = Mood {
                os: match place % 4 {
                    0 => OsMood::Hangs,
                    _ => OsMood::ObeysAfter(millis(300 + 200 * place as u64)),
                },
                cycle_off_time: millis(300),
                executes_copies: place % 2 == 0,
                loses_first_reply: place % 5 == 1,
                pointless: Pointless::Accepted,
                ..Mood::default()
            };
            let mut plan = plan(&name(place), mood);
            // Every life leaves its sessions behind.
            plan.settings.session_limit = 1000;
            plan
        });
        let keys = Keys {
            rack: "sync_interval = \"60s\"\npower_on_stagger = \"20ms\"",
            defaults: "min_off_time = \"1s\"\nsettle = \"1s\"\nrollback_settle = \"2s\"\nsoft_power_off_timeout = \"4s\"\n\
                       power_change_timeout = \"15s\"\norders_per_second = 50.0\nburst = 20\nnmi_watch = \"2s\"\n\
                       nmi_min_interval = \"1s\"",
            ..Keys::default()
        };
        Self::of(plans, &keys)
    }

    fn tasks(&self) -> BTreeMap<TaskId, Task> {
        let (status, body) = (self.request("GET", "/v1/tasks?limit=1000", "")).expect("an answer");
        assert_eq!(status, 200, "{body}");
        let list: TaskList = serde_json::from_str(&body).expect("a list of tasks");
        assert!(list.tasks.len() < 1000, "the list has all of them");
        (list.tasks.into_iter())
            .map(|task| (task.id, task))
            .collect()
    }
}

fn name(place: usize) -> String {
    format!("n{place:02}")
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    let mut dice = Seeded::new(number("KILL_SEED").unwrap_or(1));
    let kills = number("KILLS").unwrap_or(200);
    let mut bed = Bed::new();
    bed.start();
    let mut accepted: BTreeSet<TaskId> = BTreeSet::new();
    let mut suspended: BTreeSet<TaskId> = BTreeSet::new();
    let (began, mut starts) = (Instant::now(), 0);
    for round in 0..kills {
        for _ in 0..1 + dice.below(4) {
            let node = name(dice.below(NODES as u64) as usize);
            let operation = OPERATIONS[dice.below(8) as usize];
            let body = format!("{{\"node\":\"{node}\",\"operation\":\"{operation}\"}}");
            if dice.chance(0.1) {
                // Killed before the answer is read: accepted or not, it happens at most once.
                let _unread = bed.send("POST", "/v1/tasks", &body);
                break;
            }
            let (status, answer) = bed.request("POST", "/v1/tasks", &body).expect("an answer");
            match status {
                202 => {
                    let task: Task = serde_json::from_str(&answer).expect("a task");
                    accepted.insert(task.id);
                }
                409 | 400 => {}
                _ => panic!("{body}: {status} {answer}"),
            }
        }
        let active: Vec<TaskId> = bed
            .tasks()
            .into_values()
            .filter(|task| !task.ended)
            .map(|task| task.id)
            .collect();
        for _ in 0..dice.below(3) {
            if active.is_empty() {
                break;
            }
            let id = &active[dice.below(active.len() as u64) as usize];
            let control = ["suspend", "resume", "abort", "rollback"][dice.below(4) as usize];
            let answer = bed.request("POST", &format!("/v1/tasks/{id}/{control}"), "{}");
            let (status, body) = answer.expect("an answer");
            match (status, control) {
                (200..300, "suspend") => drop(suspended.insert(*id)),
                (200..300, _) => drop(suspended.remove(id)),
                (409, _) => {}
                _ => panic!("{control}: {status} {body}"),
            }
        }
        if dice.chance(0.7) {
            sleep(Duration::from_millis(dice.below(120)));
        }
        bed.kill();
        while dice.chance(0.3) {
            let mut starting = spawn(Command::new(DAEMON), &bed.path(""));
            sleep(Duration::from_millis(dice.below(60)));
            let _ = starting.kill();
            let _ = starting.wait();
            starts += 1;
        }
        bed.start();
        let tasks = bed.tasks();
        for id in &accepted {
            assert!(tasks.contains_key(id), "round {round}: {id} is lost");
        }
        for id in &suspended {
            let state = &tasks[id].state;
            assert_eq!(*state, TaskState::Suspended, "round {round}: {id}");
        }
    }
    let killing = began.elapsed();
    for id in &suspended {
        bed.request("POST", &format!("/v1/tasks/{id}/resume"), "{}");
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    let tasks = loop {
        let tasks = bed.tasks();
        if tasks.values().all(|task| task.ended) {
            break tasks;
        }
        assert!(Instant::now() < deadline, "not all end: {tasks:#?}");
        sleep(Duration::from_millis(200));
    };
    judge(&bed, &tasks);
    let ends = tasks.values().fold(BTreeMap::new(), |mut ends, task| {
        *ends.entry(task.state.to_string()).or_insert(0) += 1;
        ends
    });
    println!(
        "{kills} kills and {starts} during starts in {killing:?}, {} tasks ({} accepted), ends {ends:?}",
        tasks.len(),
        accepted.len()
    );
}

/// No machine carried out a pulse more often than tasks asked for it, and each that succeeded came.
fn judge(bed: &Bed, tasks: &BTreeMap<TaskId, Task>) {
    for (operation, order) in [
        (Operation::Cycle, ChassisOrder::Cycle),
        (Operation::Reset, ChassisOrder::Reset),
        (Operation::InjectNmi, ChassisOrder::Nmi),
    ] {
        for node in (0..NODES).map(name) {
            let of_node = || {
                tasks
                    .values()
                    .filter(|task| task.node == node && task.operation == operation)
            };
            let sent = |task: &&Task| task.orders.iter().any(|order| order.changes_power);
            let (asked, sent) = (of_node().count(), of_node().filter(sent).count());
            let succeeded = of_node()
                .filter(|task| task.state == TaskState::Succeeded)
                .count();
            let executed = bed.count(&node, order);
            assert!(
                (succeeded..=sent).contains(&executed),
                "{node}: {operation} asked for {asked} times, sent {sent} times, succeeded {succeeded} times, \
                 carried out {executed} times"
            );
        }
    }
    for node in (0..NODES).map(name) {
        let soft = bed.rack.with_bmc(&node, |bmc, _| {
            let soft = bmc.host().executed().iter();
            soft.filter(|done| {
                done.order == ChassisOrder::Soft && matches!(done.by, By::Console(_))
            })
            .count()
        });
        let asked = tasks.values().filter(|task| {
            task.node == node
                && task.operation.known().is_some_and(Operation::is_soft)
                && task.outcome.is_some()
        });
        // Within a patience of four seconds nothing is pressed twice.
        assert!(
            soft.unwrap_or(0) <= asked.count(),
            "{node}: a soft request came twice"
        );
    }
}
