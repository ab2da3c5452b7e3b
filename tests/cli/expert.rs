//! The small orders, from the command line to the simulated BMC and back.

use super::{Bed, obeys};
use rackbmcd::model::TaskState;
use rackbmcd::sim::Identify;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn json(text: &str) -> serde_json::Value {
    let all: serde_json::Value = serde_json::from_str(text).expect("JSON");
    all[0].clone()
}

#[test]
fn a_boot_device_is_set_as_asked_and_read_back_and_cleared() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    assert_eq!(bed.expect(0, &["bootdev", "r1n01"]), "r1n01: no override\n");
    bed.expect(0, &["bootdev", "r1n01", "--set", "pxe", "--uefi"]);
    let flags = || {
        bed.rack
            .with_bmc("r1n01", |bmc, now| bmc.host_mut().boot.get(5, now))
            .flatten()
            .expect("the node is there, and has boot flags")
    };
    // §28.13, parameter 5: valid (80h) and EFI (20h), once; device selector 1 in bits 5 to 2.
    assert_eq!(flags()[..2], [0xA0, 0x04]);
    assert_eq!(
        bed.expect(0, &["bootdev", "r1n01"]),
        "r1n01: pxe, for the next boot, in UEFI mode\n"
    );
    bed.expect(0, &["bootdev", "r1n01", "--set", "disk", "--persistent"]);
    assert_eq!(flags()[..2], [0xC0, 0x08]);
    let shown = json(&bed.expect(0, &["bootdev", "r1n01", "-o", "json"]));
    assert_eq!(shown["boot_device"], "disk");
    assert_eq!(
        (&shown["persistent"], &shown["uefi"]),
        (&true.into(), &false.into())
    );
    bed.expect(0, &["bootdev", "r1n01", "--set", "none"]);
    assert_eq!(flags()[0] & 0x80, 0);
    assert_eq!(bed.rackbmc(&["bootdev", "r1n01", "--uefi"]).code, 2);
}

#[test]
fn raw_commands_reach_the_bmc_and_the_controllers_behind_it() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    // Get Device ID (§20.1): the simulated BMC is device 20h, product 1; its satellites are
    // products 2 and 4.
    let product = |words: &[&str]| {
        let text = bed.expect(0, words);
        let bytes: Vec<&str> = text
            .trim_start_matches("r1n01: ")
            .trim_end()
            .split(' ')
            .collect();
        (bytes[0].to_owned(), bytes[9].to_owned())
    };
    assert_eq!(
        product(&["raw", "r1n01", "0x06", "0x01"]),
        ("20".into(), "01".into())
    );
    assert_eq!(
        product(&["raw", "r1n01", "6", "1", "--bridge", "0:0x2c"]),
        ("01".into(), "02".into())
    );
    assert_eq!(
        product(&["raw", "r1n01", "6", "1", "--bridge", "0:0x82,7:0x72"]),
        ("01".into(), "04".into())
    );
    let nobody = bed.rackbmc(&["raw", "r1n01", "6", "1", "--bridge", "0:0x40"]);
    assert_eq!(nobody.code, 1, "{}{}", nobody.out, nobody.err);
    assert!(nobody.err.contains("0x83"), "{}", nobody.err);
    let power = bed.rackbmc(&["raw", "r1n01", "0", "2", "0"]);
    assert_ne!(power.code, 0);
    assert!(bed.executed("r1n01").is_empty());
}

#[test]
fn identify_switches_the_light_for_as_long_as_asked() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    let light = || {
        bed.rack
            .with_bmc("r1n01", |bmc, _| bmc.host().identify != Identify::Off)
            .expect("the node is there")
    };
    assert!(!light());
    bed.expect(0, &["identify", "r1n01", "--for", "1m"]);
    assert!(light());
    bed.expect(0, &["identify", "r1n01", "--off"]);
    assert!(!light());
}

#[test]
fn a_bmc_says_who_it_is_and_what_its_event_log_has() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    let info = json(&bed.expect(0, &["bmc", "info", "r1n01", "-o", "json"]));
    assert_eq!(info["product"], 1);
    assert_eq!(info["possible_sessions"], 8);
    assert!(info["guid"].as_str().is_some_and(|guid| guid.len() == 36));
    assert!(
        info["acpi"]
            .as_str()
            .is_some_and(|state| state.contains("S0")),
        "{info}"
    );
    let watts = json(&bed.expect(0, &["power-use", "r1n01", "-o", "json"]));
    assert!(
        watts["watts"].as_u64().is_some_and(|watts| watts > 0),
        "{watts}"
    );
    bed.expect(0, &["nmi", "r1n01"]);
    let log = json(&bed.expect(0, &["sel", "list", "r1n01", "-o", "json"]));
    let entries = log["entries"].as_array().expect("a list").len();
    assert!(entries > 0, "{log}");
    let unsure = bed.rackbmc(&["sel", "clear", "r1n01"]);
    assert_eq!(unsure.code, 2, "{}", unsure.err);
    bed.expect(0, &["sel", "clear", "r1n01", "--yes"]);
    let after = json(&bed.expect(0, &["sel", "list", "r1n01", "-o", "json"]));
    assert!(after["entries"].as_array().expect("a list").len() < entries);
}

#[test]
fn a_bmc_reset_is_refused_to_operators_and_in_the_middle_of_a_task() {
    let bed = Bed::new(&[("r1n01", super::hangs())]);
    // The bed's user is an operator, and a cold reset is an administrator's affair (appendix G).
    let refused = bed.rackbmc(&["bmc", "reset", "--cold", "r1n01", "--yes"]);
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    bed.expect(0, &["soft", "r1n01", "--no-wait"]);
    bed.reached("r1n01", 1);
    let busy = bed.rackbmc(&["bmc", "reset", "--warm", "r1n01", "--yes"]);
    assert_eq!(busy.code, 1, "{}{}", busy.out, busy.err);
    assert!(busy.err.contains("is busy"), "{}", busy.err);
    bed.expect(0, &["abort", "r1n01"]);
}

#[test]
fn events_tell_a_task_s_course_and_watch_shows_the_change() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    let spawn = |words: &[&str]| {
        bed.command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rackbmc runs")
    };
    let events = spawn(&["events", "r1n01", "--idle", "4s", "-o", "json"]);
    let mut watch = spawn(&["watch", "r1n01", "--interval", "100ms"]);
    // Both are there before anything happens: a second is far more than a connection takes.
    std::thread::sleep(Duration::from_secs(1));
    bed.expect(0, &["soft", "r1n01"]);
    let events = events.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&events.stdout).into_owned();
    let told: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    let states: Vec<&str> = told
        .iter()
        .filter_map(|event| event["task"]["state"].as_str())
        .collect();
    assert_eq!(states.last(), Some(&"succeeded"), "{text}");
    assert!(states.contains(&"running"), "{text}");
    let ids: Vec<&str> = told
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    let mut unique = ids.clone();
    unique.dedup();
    assert_eq!(ids, unique, "every event once");

    let began = Instant::now();
    while bed.is_on("r1n01") {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    std::thread::sleep(Duration::from_millis(500));
    watch.kill().expect("it still watches");
    let watched = watch.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&watched.stdout).into_owned();
    assert!(
        text.contains("power on") && text.contains("power off"),
        "{text}"
    );
}

#[test]
fn the_last_datagrams_of_a_bmc_are_written_as_text_for_a_report() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    bed.expect(0, &["status", "r1n01", "--fresh"]);
    let text = bed.expect(0, &["bmc", "trace", "r1n01"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("# r1n01: the last ") && lines[0].contains("its BMC at 127.0.0.1:"),
        "{text}"
    );
    assert!(lines[1].starts_with("# > left this host"), "{text}");
    for wanted in [
        "Get Channel Authentication Capabilities 06h/38h request",
        "Open Session Request",
        "RAKP 2 (status 00h, no errors)",
        "Get Chassis Status 00h/01h answer to request",
        "left out]",
    ] {
        assert!(text.contains(wanted), "{wanted}:\n{text}");
    }
    let letters = |word: &str| -> String {
        let bytes: Vec<String> = word.bytes().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(" ")
    };
    for secret in ["admin", "secret"] {
        assert!(
            !text.contains(secret) && !text.contains(&letters(secret)),
            "{text}"
        );
    }
    let shown = json(&bed.expect(0, &["bmc", "trace", "r1n01", "-o", "json"]));
    assert_eq!(shown["node"], "r1n01");
    assert!(
        shown["lines"]
            .as_array()
            .is_some_and(|lines| lines.len() > 8)
    );
    assert_eq!(bed.rackbmc(&["bmc", "trace", "r1n77"]).code, 2);
}

#[test]
fn another_bmc_is_shown_with_its_guid_maker_and_address_and_accepted_when_a_person_says_so() {
    let bed = Bed::new(&[("r1n01", obeys(1))]);
    bed.expect(0, &["status", "r1n01", "--fresh"]);
    let accept = ["bmc", "accept", "r1n01"];
    assert_eq!(
        bed.expect(0, &accept),
        "no BMC is another one than before\n"
    );
    let maker = |bed: &Bed| {
        bed.rackbmc(&["explain", "r1n01"])
            .out
            .contains("enterprise number")
    };
    bed.wait_for("its maker is known", maker);
    bed.rack.with_bmc("r1n01", |bmc, _| {
        bmc.settings_mut().guid = rackbmcd::sim::guid_of("another");
        bmc.settings_mut().manufacturer = 674;
        bmc.forget_sessions();
    });
    bed.wait_for("it was noticed", |bed| {
        bed.rackbmc(&["status", "r1n01", "--fresh"]);
        bed.rackbmc(&["explain", "r1n01"])
            .out
            .contains("other GUID now")
    });
    bed.wait_for("its maker is known, too", |bed| {
        bed.rackbmc(&accept).out.contains("maker 674")
    });
    // Nobody is there to be asked.
    let asked = bed.rackbmc(&accept);
    assert_eq!(asked.code, 2, "{}{}", asked.out, asked.err);
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    let lines: Vec<&str> = asked.out.lines().collect();
    assert_eq!(lines[0], "r1n01: its BMC is another one than before");
    for (line, beginning, maker) in [
        (lines[1], "  was  GUID ", "maker 0, address 127.0.0.1:"),
        (lines[2], "  is   GUID ", "maker 674, address 127.0.0.1:"),
    ] {
        assert!(
            line.starts_with(beginning) && line.contains(maker),
            "{}",
            asked.out
        );
    }
    bed.rackbmc(&["off", "r1n01", "--no-wait"]);
    bed.wait_for("its task stands still", |bed| {
        bed.last_task("r1n01").state == TaskState::Suspended
    });
    assert!(bed.is_on("r1n01"));
    bed.expect(0, &["abort", "r1n01"]);
    let said = bed.expect(0, &["bmc", "accept", "r1n01", "--yes"]);
    assert!(said.contains("its BMC is accepted"), "{said}");
    bed.expect(0, &["off", "r1n01"]);
    assert!(!bed.is_on("r1n01"));
}
