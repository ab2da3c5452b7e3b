//! The audit trail of the real daemon, read back, checked, and tampered with on its disk.

use super::{Bed, obeys};
use rackbmcd::daemon::store::Store;
use rackbmcd::rack::record::{Table, Write};
use sha2::{Digest, Sha256};
use std::process::Command;

impl Bed {
    fn verify_offline(&self) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_rackbmcd"))
            .args(["--verify-audit", "--config"])
            .arg(self.path("rackbmcd.toml"))
            .output()
            .expect("rackbmcd runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }

    fn tamper(&self, change: impl FnOnce(&mut Store) -> Vec<Write>) {
        let mut store = Store::open(&self.path("state")).expect("the daemon is stopped");
        let writes = change(&mut store);
        store.commit(&writes).expect("the disk is well");
    }
}

fn drop_record(number: u64) -> Write {
    Write::Delete {
        table: Table::Audit,
        key: format!("{number:020}"),
    }
}

#[test]
fn every_change_is_recorded_and_a_cut_or_an_edit_shows() {
    let mut bed = Bed::new(&[("r1n01", obeys(1))]);
    bed.expect(0, &["off", "r1n01"]);
    bed.expect(0, &["identify", "r1n01", "--off"]);
    assert_eq!(bed.rackbmc(&["raw", "r1n01", "0", "2", "0"]).code, 2);
    bed.expect(0, &["status", "r1n01"]);
    let listed = bed.expect(0, &["audit"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 4, "looking is not recorded: {listed}");
    assert!(
        lines[0].contains(" START ") && lines[0].contains("configuration sha256:"),
        "{listed}"
    );
    assert!(
        lines[1].contains("POST /v1/tasks -> 202: power off r1n01"),
        "{listed}"
    );
    assert!(
        lines[2].contains("POST /v1/nodes/r1n01/identify -> 200: identify r1n01"),
        "{listed}"
    );
    assert!(
        lines[3].contains("-> 400: raw command 02h of network function 00h, unit 0, 1 byte r1n01 (a raw Chassis Control is refused"),
        "{listed}"
    );
    for line in lines {
        let at = line.split(' ').nth(1).expect("a time");
        assert!(at.starts_with("20") && at.contains('T'), "{line}");
    }
    assert_eq!(bed.expect(0, &["audit", "-n", "1"]).lines().count(), 1);
    let all = bed.expect(0, &["audit", "--limit", "100000", "-o", "json"]);
    assert_eq!(all.matches("\"number\"").count(), 4, "{all}");
    let whole = bed.expect(0, &["audit", "verify"]);
    let known = whole
        .trim_end()
        .rsplit_once(' ')
        .expect("a number and a hash")
        .1
        .to_owned();
    assert!(known.starts_with("4:"), "{whole}");

    bed.kill();
    assert_eq!(bed.verify_offline().0, Some(0));
    bed.start();
    bed.expect(0, &["identify", "r1n01", "--off"]);
    bed.expect(0, &["audit", "verify", "--known", &known]);
    bed.kill();

    bed.tamper(|store| {
        let record = store
            .after(Table::Audit, "", 2)
            .expect("it is there")
            .remove(1);
        let text = String::from_utf8(record).expect("JSON");
        vec![Write::Put {
            table: Table::Audit,
            key: format!("{:020}", 2),
            value: text.replace("/v1/tasks", "/v1/other").into_bytes().into(),
        }]
    });
    let (code, said) = bed.verify_offline();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("record 2 was changed"), "{said}");

    bed.tamper(|_| vec![drop_record(6), drop_record(5)]);
    let (code, said) = bed.verify_offline();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("records 5 to 6, the newest, are missing"),
        "{said}"
    );
    bed.start();
    bed.expect(0, &["identify", "r1n01", "--off"]);
    let said = bed.expect(1, &["audit", "verify"]);
    assert!(
        said.contains("record 2 was changed") && said.contains("records 5 to 6 are missing"),
        "{said}"
    );
}

/// The newest record of a deed.
fn newest(bed: &Bed, deed: &str) -> Option<serde_json::Value> {
    let listed = bed.expect(0, &["-o", "json", "audit", "-n", "20"]);
    let records: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("JSON");
    records.into_iter().rfind(|record| record["method"] == deed)
}

fn reload(bed: &Bed) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(bed.pid()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("it is ours");
}

#[test]
fn starts_stops_and_reloads_are_recorded_with_the_configuration() {
    let mut bed = Bed::new(&[("r1n01", obeys(1))]);
    let file = bed.path("rackbmcd.toml");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let digest = |text: &str| {
        let digest = Sha256::digest(text);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("configuration sha256:{digest}")
    };
    let started = newest(&bed, "START").expect("it has started");
    let what = started["what"].as_str().expect("words");
    assert!(what.ends_with(&digest(&text)), "{what}");
    assert_eq!(started["path"], file.display().to_string());
    let changed = format!("{text}\n# a line more\n");
    std::fs::write(&file, &changed).expect("it can be written");
    reload(&bed);
    bed.wait_for("a record of the reload", |bed| {
        newest(bed, "RELOAD").is_some()
    });
    let reloaded = newest(&bed, "RELOAD").expect("just seen");
    assert_eq!(reloaded["what"], digest(&changed));
    assert_eq!(
        (&reloaded["status"], &reloaded["user"]),
        (&200.into(), &"rackbmcd".into())
    );
    bed.terminate();
    bed.start();
    let stopped = newest(&bed, "STOP").expect("it was stopped");
    let what = stopped["what"].as_str().expect("words");
    assert!(what.starts_with("SIGTERM; 0 tasks to go on with"), "{what}");
    bed.expect(0, &["audit", "verify"]);
}

#[test]
fn a_trail_that_is_too_long_loses_its_oldest_records_under_a_seal() {
    let mut bed = Bed::new(&[("r1n01", obeys(1))]);
    let requests = || {
        for _ in 0..600 {
            let answer = bed.request("POST", "/v1/pause", r#"{"reason":"x"}"#);
            assert_eq!(answer.map(|(status, _)| status), Some(200));
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(requests))));
    let size = |bed: &Bed| -> f64 {
        let (_, text) = bed.request("GET", "/metrics", "").expect("figures");
        let line = text
            .lines()
            .find(|line| line.starts_with("rackbmc_audit_size_bytes"));
        let (_, number) = line.expect("a line").rsplit_once(' ').expect("a number");
        number.parse().expect("a number")
    };
    assert!(size(&bed) > 1_200_000.0, "{}", size(&bed));
    let whole = bed.expect(0, &["audit", "verify"]);
    let known = whole
        .trim_end()
        .rsplit_once(' ')
        .expect("a hash")
        .1
        .to_owned();
    let file = bed.path("rackbmcd.toml");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let shorter = text.replace("[daemon]", "[daemon]\naudit_megabytes = 1");
    std::fs::write(&file, shorter).expect("it can be written");
    reload(&bed);
    bed.wait_for("it is shorter", |bed| size(bed) <= 1_048_576.0);
    assert!(size(&bed) > 900_000.0, "{}", size(&bed));
    let said = bed.expect(0, &["audit", "verify", "--known", &known]);
    assert!(
        said.contains("those before were removed by the daemon"),
        "{said}"
    );
    let removed = newest(&bed, "PRUNE").expect("a seal");
    assert!(
        removed["what"].to_string().contains("audit_megabytes"),
        "{removed}"
    );
    let number = removed["sealed"]["number"].as_u64().expect("a number");
    bed.kill();
    assert_eq!(bed.verify_offline().0, Some(0));
    bed.tamper(|_| vec![drop_record(number + 1)]);
    let (code, said) = bed.verify_offline();
    assert_eq!(code, Some(1), "{said}");
    let missing = format!("records {} to {} are missing", number + 1, number + 1);
    assert!(said.contains(&missing), "{said}");
    bed.start();
    let said = bed.expect(1, &["audit", "verify"]);
    assert!(said.contains(&missing), "{said}");
}
