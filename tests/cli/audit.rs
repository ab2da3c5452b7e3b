//! The audit trail of the real daemon, read back, checked, and tampered with on its disk.

use super::{Bed, obeys};
use rackbmcd::daemon::store::Store;
use rackbmcd::rack::record::{Table, Write};
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
    assert_eq!(bed.expect(0, &["audit", "-n", "1"]).lines().count(), 1);
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
            value: text.replace("/v1/tasks", "/v1/other").into_bytes(),
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
