//! Every verb against the real daemon with one node and with sixteen; `VERB_NODES=600,4096` names
//! other sizes (`tests/run long`). Each does what it says on all of them, in a time that does not
//! grow beyond reason, in words of people.

mod daemon;

use daemon::{Bed, Keys, plan};
use rackbmcd::sim::{Mood, OsMood};
use std::fmt::Write;
use std::time::Instant;

/// Verbs with what they exit with; `ALL` is the set of all nodes, `ONE` one of them.
const LINES: &[(i32, &str)] = &[
    (0, "wait ALL --on --timeout 10m"),
    (0, "status"),
    (0, "status --fresh -b"),
    (0, "status ALL -o wide"),
    (0, "status -o json"),
    (0, "status -o name"),
    (0, "explain ONE"),
    (0, "explain ALL -o json"),
    (0, "check --expect on"),
    (0, "on ALL --yes"),
    (0, "soft ALL --yes"),
    (0, "wait ALL --off --timeout 10m"),
    (0, "on ALL --yes"),
    (0, "off ALL --yes -b"),
    (0, "boot ALL --yes --from pxe"),
    (0, "reboot ALL --yes"),
    (0, "reboot --soft ALL --yes"),
    (0, "reset ALL --yes"),
    (0, "cycle ALL --yes"),
    (0, "nmi ALL --yes"),
    (0, "off ALL --yes --dry-run"),
    (0, "soft ONE --no-wait --take-over"),
    (0, "suspend ONE"),
    (0, "resume ONE"),
    (0, "abort ONE"),
    (0, "abort ALL"),
    (1, "cancel ONE"),
    (1, "rollback ONE"),
    // The soft power off may have reached it before the abort.
    (0, "on ONE --yes"),
    (0, "wait ALL --on --timeout 10m"),
    (0, "tasks"),
    (0, "tasks --active"),
    (0, "task ONE"),
    (0, "batch"),
    (0, "history ALL"),
    (0, "events --idle 100ms"),
    (0, "pause the air conditioning fails"),
    (1, "on ONE"),
    (0, "release"),
    (0, "maintenance ALL --reason fans"),
    (0, "maintenance ALL --off"),
    (0, "retry ALL"),
    (0, "identify ALL"),
    (0, "identify ALL --off"),
    (0, "bootdev ALL --set disk"),
    (0, "bootdev ALL"),
    (0, "bmc info ALL"),
    (0, "bmc accept ALL"),
    (0, "bmc trace ONE"),
    (0, "chassis status ALL"),
    (0, "chassis policy ALL"),
    (0, "power-use ALL"),
    (0, "sel list ALL"),
    (0, "sel clear ALL --yes"),
    (0, "raw ONE 0x06 0x01"),
    (0, "audit -n 100"),
    (0, "audit verify"),
    (0, "node-show ONE"),
    (0, "node-show-states ONE"),
    (0, "node-set-power-state ONE on"),
    (0, "support --to SUPPORT"),
    (0, "completion bash"),
    (0, "man"),
];

fn bed(nodes: usize) -> Bed {
    let mood = Mood {
        os: OsMood::ObeysAfter(std::time::Duration::from_millis(500)),
        ..Mood::default()
    };
    let digits = nodes.to_string().len().max(2);
    let plans = (1..=nodes).map(|number| {
        let mut plan = plan(&format!("n{number:0digits$}"), mood.clone());
        // Some of the verbs want the level administrator.
        plan.settings.users = vec![rackbmcd::sim::User::new(
            "admin",
            "secret",
            rackbmcd::sim::Privilege::Administrator,
        )];
        plan
    });
    // A cycle leaves a machine off for a second. More of them at once than a build for tests reads
    // in that time are not seen off, which the daemon says: that is no matter of verbs.
    let keys = Keys {
        rack: "power_on_stagger = \"1ms\"\nmax_transitions = 64",
        defaults: "privilege = \"administrator\"\nmin_off_time = \"1s\"\nsettle = \"1s\"\nnmi_watch = \"1s\"\n\
                   nmi_min_interval = \"1s\"\norders_per_second = 20.0\nsoft_power_off_timeout = \"120s\"",
        ..Keys::default()
    };
    let mut bed = Bed::of(plans, &keys);
    bed.start();
    bed
}

/// All lines on a rack of so many nodes; prints for each, at once, what it took.
fn every_verb(nodes: usize) {
    let bed = bed(nodes);
    let digits = nodes.to_string().len().max(2);
    let one = format!("n{:0digits$}", 1);
    let all = format!("n[{:0digits$}-{nodes:0digits$}]", 1);
    let support = bed.path("support.tar.gz");
    let mut faults = String::new();
    for (code, line) in LINES {
        let line = line
            .replace("ALL", if nodes == 1 { &one } else { &all })
            .replace("ONE", &one)
            .replace("SUPPORT", support.to_str().expect("text"));
        let words: Vec<&str> = line.split(' ').collect();
        let began = Instant::now();
        let said = bed.rackbmc(&words);
        let took = began.elapsed().as_secs_f64();
        let lines = said.out.lines().count();
        println!("{took:8.2} s {lines:6} lines  {line}");
        let both = format!("{}{}", said.out, said.err);
        if said.code != *code {
            // Lines of progress say nothing of why.
            let lines = both.lines().filter(|line| !line.contains(" left  "));
            let odd = lines.filter(|line| line.contains("fail") || line.contains("rackbmc"));
            let end: Vec<&str> = odd.take(5).collect();
            let _ = writeln!(faults, "{line}: exit {}, not {code}: {end:#?}", said.code);
        }
        if let Some(word) = private(&line, &both) {
            let _ = writeln!(faults, "{line}: a private word: {word}");
        }
    }
    assert!(
        faults.is_empty(),
        "{nodes} nodes:\n{faults}\n{}",
        tail(&bed.log())
    );
}

/// A word that programs match, shown to people; or one thing counted as several.
fn private(line: &str, said: &str) -> Option<String> {
    let is_data = line.contains("json")
        || [
            "node-",
            "support",
            "completion",
            "man",
            "bmc trace",
            "explain",
            "audit",
        ]
        .iter()
        .any(|verb| line.starts_with(verb));
    let mut words = said.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    let found = words.find(|word| word.contains('_') && !is_data);
    let ones = ["1 nodes", "1 tasks", "1 entries", "panicked"];
    let mut lines = said.lines();
    let one = lines.find(|line| {
        let is = |one: &&str| line.starts_with(one) || line.contains(&format!(" {one}"));
        ones.iter().any(is)
    });
    found.or(one).map(str::to_owned)
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[test]
fn every_verb_on_racks_of_many_sizes() {
    let sizes = std::env::var("VERB_NODES").unwrap_or_else(|_| "1,16".to_owned());
    for size in sizes.split(',') {
        let nodes = size.parse().expect("a number of nodes");
        let began = Instant::now();
        every_verb(nodes);
        println!("{nodes} nodes, {:.0} s", began.elapsed().as_secs_f64());
    }
}
