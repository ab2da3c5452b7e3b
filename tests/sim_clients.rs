//! The stock clients, ipmitool and FreeIPMI's ipmipower, against our simulated BMC on loopback:
//! they know nothing of ours, so they are the judges of its reading of the specification.
//!
//! They must be there: a missing client is a failure, not a skipped test.

use rackbmcd::cli::sim::{NodePlan, Served, serve};
use rackbmcd::sim::{
    BmcSettings, ChassisOrder, Conditions, Host, Mood, OsMood, Privilege, Quirks, Refusal, User,
    cipher_suites,
};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const NODE: &str = "n01";

/// A rack of one.
struct Bed {
    served: Served,
}

impl Bed {
    fn new(change: impl FnOnce(&mut BmcSettings, &mut Mood)) -> Self {
        let mut settings = BmcSettings {
            name: NODE.to_owned(),
            users: vec![User::new("admin", "secret", Privilege::Administrator)],
            suites: cipher_suites().collect(),
            session_limit: 32,
            offers_v15: true,
            ..BmcSettings::default()
        };
        let mut mood = Mood {
            os: OsMood::ObeysAfter(Duration::from_millis(200)),
            cycle_off_time: Duration::from_millis(50),
            ..Mood::default()
        };
        change(&mut settings, &mut mood);
        let plan = NodePlan {
            address: "127.0.0.1:0".parse().unwrap(),
            settings,
            mood,
            conditions: Conditions::default(),
        };
        Self {
            served: serve(vec![plan], 7).unwrap(),
        }
    }

    fn kind() -> Self {
        Self::new(|_, _| {})
    }

    fn host<T>(&self, look: impl FnOnce(&Host) -> T) -> T {
        self.served
            .with_bmc(NODE, |bmc, _| look(bmc.host()))
            .unwrap()
    }

    fn is_on(&self) -> bool {
        self.host(Host::is_on)
    }

    /// ipmitool with words after the address and the user; what it printed on both streams, and
    /// whether it was content.
    fn ipmitool(&self, words: &str) -> (bool, String) {
        let port = self.served.address(0).port().to_string();
        let mut command = Command::new("ipmitool");
        command.args([
            "-H",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "admin",
            "-R",
            "2",
            "-N",
            "2",
        ]);
        if !words.contains("-P ") {
            command.args(["-P", "secret"]);
        }
        command.args(words.split_whitespace());
        let output = output(command, "ipmitool", "ipmitool");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn ipmipower(&self, words: &str) -> (bool, String) {
        let mut command = Command::new("ipmipower");
        command.args(["-h", &self.served.address(0).to_string()]);
        command.args(["-u", "admin", "-p", "secret", "--session-timeout", "8000"]);
        command.args(words.split_whitespace());
        let output = output(command, "ipmipower", "freeipmi-tools");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    #[track_caller]
    fn ipmitool_says(&self, words: &str, expected: &str) {
        let (content, said) = self.ipmitool(words);
        assert!(
            content && said.contains(expected),
            "ipmitool {words}: {said}"
        );
    }

    #[track_caller]
    fn ipmipower_says(&self, words: &str, expected: &str) {
        let (content, said) = self.ipmipower(words);
        assert!(
            content && said.trim() == format!("127.0.0.1: {expected}"),
            "ipmipower {words}: {said}"
        );
    }
}

fn output(mut command: Command, program: &str, package: &str) -> Output {
    command.stdin(Stdio::null());
    command.output().unwrap_or_else(|error| {
        panic!(
            "{program} cannot be run ({error}). This test needs it: apt-get install {package} \
             (Debian's ipmitool and freeipmi-tools), and /usr/sbin on the PATH"
        )
    })
}

#[test]
fn ipmitool_reads_the_power_state_with_every_suite_that_it_knows() {
    let bed = Bed::kind();
    // ipmitool 1.8.19 ends in a failed assertion of its own with MD5-128 (11, 12).
    for suite in [0, 1, 2, 3, 6, 7, 8, 15, 16, 17] {
        let words = format!("-I lanplus -C {suite} chassis power status");
        bed.ipmitool_says(&words, "Chassis Power is on");
    }
    bed.ipmitool_says("-I lanplus chassis power status", "Chassis Power is on");
}

#[test]
fn ipmipower_reads_the_power_state_with_every_suite() {
    let bed = Bed::kind();
    for suite in cipher_suites() {
        bed.ipmipower_says(&format!("-D LAN_2_0 -I {suite} --stat"), "on");
    }
    for suite in [3, 17] {
        let words = format!("-D LAN_2_0 -I {suite} -W opensesspriv --stat");
        bed.ipmipower_says(&words, "on");
    }
}

#[test]
fn both_clients_read_it_over_ipmi_1_5() {
    let bed = Bed::kind();
    bed.ipmitool_says("-I lan chassis power status", "Chassis Power is on");
    for kind in ["NONE", "PASSWORD", "MD5"] {
        let words = format!("-I lan -A {kind} chassis power status");
        bed.ipmitool_says(&words, "Chassis Power is on");
    }
    for kind in ["NONE", "MD2", "MD5"] {
        bed.ipmipower_says(&format!("-D LAN -a {kind} --stat"), "on");
    }
    // ipmipower 1.6.10 compares all 16 bytes of a straight password with its own copy, which ends
    // where the password does: with a shorter one it finds fault with every answer, ipmi_sim's too.
    // ipmi-chassis of the same package does not.
    let straight = "-D LAN -a STRAIGHT_PASSWORD_KEY -l ADMIN --stat";
    let sixteen = "0123456789abcdef";
    let bed = Bed::new(|settings, _| {
        let privilege = Privilege::Administrator;
        settings.users = vec![User::new("admin", sixteen, privilege)];
    });
    bed.ipmipower_says(&format!("{straight} -p {sixteen}"), "on");
    let (_, said) = bed.ipmipower(&format!("{straight} -p 0123456789abcdeX"));
    assert!(said.contains("password"), "{said}");
}

#[test]
fn all_six_orders_of_ipmitool_reach_the_machine_once_each() {
    for interface in ["-I lanplus -C 3", "-I lanplus -C 17", "-I lan"] {
        let bed = Bed::kind();
        let orders = [
            ("off", "Down/Off", ChassisOrder::Off),
            ("on", "Up/On", ChassisOrder::On),
            ("cycle", "Cycle", ChassisOrder::Cycle),
            ("reset", "Reset", ChassisOrder::Reset),
            ("diag", "Diag", ChassisOrder::Nmi),
            ("soft", "Soft", ChassisOrder::Soft),
        ];
        for (word, expected, order) in orders {
            // A cycle, or the crash of the one before, is over when the operating system is up.
            wait_until(|| bed.host(|host| order == ChassisOrder::On || host.os_is_up()));
            bed.ipmitool_says(&format!("{interface} chassis power {word}"), expected);
            let done: Vec<_> = bed.host(|host| host.executed().iter().map(|it| it.order).collect());
            assert_eq!(done.last(), Some(&order), "{interface} {word}");
            if order == ChassisOrder::Nmi {
                bed.served
                    .with_bmc(NODE, |bmc, now| {
                        bmc.order_by_somebody(ChassisOrder::Reset, now);
                    })
                    .unwrap();
            }
        }
        wait_until(|| !bed.is_on());
        for (_, _, order) in orders {
            assert_eq!(bed.host(|host| host.count(order)), 1, "{order:?}");
        }
        bed.ipmitool_says(
            &format!("{interface} chassis power status"),
            "Chassis Power is off",
        );
    }
}

#[test]
fn ipmipower_switches_and_waits_for_it() {
    let bed = Bed::kind();
    bed.ipmipower_says("-D LAN_2_0 -I 17 --off --wait-until-off", "ok");
    assert!(!bed.is_on());
    bed.ipmipower_says("-D LAN_2_0 -I 3 --on --wait-until-on", "ok");
    assert!(bed.is_on());
    bed.ipmipower_says("-D LAN_2_0 -I 17 --reset", "ok");
    bed.ipmipower_says("-D LAN -a MD5 --cycle", "ok");
    wait_until(|| bed.is_on());
    bed.ipmipower_says("-D LAN_2_0 -I 3 --soft", "ok");
    wait_until(|| !bed.is_on());
    for order in [
        ChassisOrder::Off,
        ChassisOrder::On,
        ChassisOrder::Reset,
        ChassisOrder::Cycle,
        ChassisOrder::Soft,
    ] {
        assert_eq!(bed.host(|host| host.count(order)), 1, "{order:?}");
    }
}

#[test]
fn ipmitool_reads_what_else_there_is() {
    let bed = Bed::kind();
    for (words, expected) in [
        ("mc info", "IPMI Version              : 2.0"),
        ("mc guid", "System GUID"),
        (
            "chassis restart_cause",
            "System restart cause: chassis power control command",
        ),
        ("chassis policy always-on", "always-on"),
        ("chassis status", "Power Restore Policy : always-on"),
        ("chassis identify 30", "30 seconds"),
        ("chassis poh", "POH Counter"),
        (
            "chassis bootdev pxe options=persistent",
            "Set Boot Device to pxe",
        ),
        ("chassis bootparam get 5", "Force PXE"),
        ("dcmi power reading", "240 Watts"),
        ("session info active", "ADMINISTRATOR"),
        ("channel getciphers ipmi", "sha256_128      aes_cbc_128"),
        ("sel info", "Entries          : 0"),
        ("power diag", "Diag"),
        ("sel list", "Run-time critical stop"),
        ("sel clear", "Clearing SEL"),
        ("sel list", "SEL has no entries"),
    ] {
        bed.ipmitool_says(&format!("-I lanplus {words}"), expected);
    }
}

#[test]
fn a_bmc_key_is_needed_where_it_is_set() {
    let bed = Bed::new(|settings, _| settings.bmc_key = Some(b"key-of-the-bmc".to_vec()));
    bed.ipmitool_says("-I lanplus -C 17 -k key-of-the-bmc power status", "is on");
    bed.ipmipower_says("-D LAN_2_0 -I 3 -k key-of-the-bmc --stat", "on");
    let (content, said) = bed.ipmitool("-I lanplus -C 17 power status");
    assert!(!content, "{said}");
    let (content, said) = bed.ipmipower("-D LAN_2_0 -I 17 --stat");
    assert!(!content && said.contains("k_g invalid"), "{said}");
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_refused() {
    let bed = Bed::kind();
    let (content, said) = bed.ipmitool("-I lanplus -C 17 -P wrong power off");
    assert!(!content, "{said}");
    for (words, why) in [
        ("-D LAN_2_0 -I 17 -p wrong --off", "password invalid"),
        ("-D LAN_2_0 -I 17 -u nobody --off", "username invalid"),
    ] {
        let (content, said) = bed.ipmipower(words);
        assert!(!content && said.contains(why), "{said}");
    }
    assert!(bed.is_on());
    assert_eq!(bed.host(|host| host.executed().len()), 0);
}

#[test]
fn a_user_without_the_privilege_may_read_and_not_switch() {
    let bed = Bed::new(|settings, _| settings.users[0].privilege = Privilege::User);
    bed.ipmitool_says("-I lanplus -C 17 -L USER power status", "is on");
    let (content, said) = bed.ipmitool("-I lanplus -C 17 -L USER power off");
    assert!(
        !content && said.to_lowercase().contains("insufficient privilege"),
        "{said}"
    );
    let (content, said) = bed.ipmitool("-I lanplus -C 17 -L ADMINISTRATOR power off");
    assert!(!content, "{said}");
    assert!(bed.is_on());
}

macro_rules! firmware {
    ($($field:ident),*) => {
        Quirks { $($field: true,)* ..Quirks::default() }
    };
}

#[test]
fn ipmipower_with_its_workarounds_logs_in_to_firmware_that_needs_them() {
    let suite = "-D LAN_2_0 -I 3";
    let md5 = "-D LAN -a MD5 -l ADMIN";
    for (quirks, how, workaround) in [
        (firmware!(level_of_open_session), suite, "opensesspriv"),
        (firmware!(rakp2_extra_byte), suite, "supermicro20"),
        (
            firmware!(rakp2_extra_byte, level_of_open_session),
            suite,
            "sun20",
        ),
        (
            firmware!(padded_user_names, rakp3_level_only, rakp4_by_integrity),
            suite,
            "intel20",
        ),
        // Where the algorithms of authentication and integrity differ.
        (
            firmware!(padded_user_names, rakp3_level_only, rakp4_by_integrity),
            "-D LAN_2_0 -I 1",
            "intel20",
        ),
        // ipmipower cuts the password to 16 bytes then.
        (
            firmware!(
                padded_user_names,
                rakp3_level_only,
                rakp4_by_integrity,
                password16_with_md5
            ),
            "-D LAN_2_0 -I 8 -p twenty-bytes-of-pass",
            "intel20",
        ),
        (firmware!(empty_capabilities), md5, "authcap"),
        (firmware!(empty_capabilities), suite, "authcap"),
        (
            firmware!(rakp4_value_without_authentication),
            "-D LAN_2_0 -I 0",
            "integritycheckvalue",
        ),
        (firmware!(wrong_checksums), suite, "nochecksumcheck"),
        (firmware!(session_id_zero_1_5), md5, "idzero"),
        (firmware!(wrong_codes_1_5), md5, "noauthcodecheck"),
        (firmware!(swapped_sequence_1_5), md5, "endianseq"),
        (
            firmware!(swapped_sequence_1_5, swapped_start_1_5),
            md5,
            "endianseq",
        ),
        (firmware!(unasked_codes_1_5), md5, "unexpectedauth"),
        (firmware!(needed_codes_1_5), md5, "forcepermsg"),
    ] {
        let bed = Bed::new(|settings, mood| {
            mood.quirks = quirks;
            if let Some((_, password)) = how.split_once(" -p ") {
                settings.users[0].password = password.as_bytes().to_vec();
            }
        });
        // Not all that ipmipower fails in shows in its exit status.
        let (_, said) = bed.ipmipower(&format!("{how} --stat --session-timeout 2000"));
        assert!(
            !said.trim().ends_with(": on"),
            "without {workaround}: {said}"
        );
        bed.ipmipower_says(&format!("{how} --stat -W {workaround}"), "on");
    }
}

#[test]
fn ipmitool_with_its_types_logs_in_to_firmware_that_needs_them() {
    for (mood, kind, otherwise) in [
        (
            quirky(firmware!(icts_pad)),
            "-I lanplus -C 3 -o icts",
            "-I lanplus -C 3",
        ),
        (
            quirky(firmware!(icts_pad)),
            "-I lanplus -C 17 -o icts",
            "-I lanplus -C 17",
        ),
        (
            Mood {
                ignores_capabilities: true,
                ..quirky(firmware!(
                    hashes_level_only,
                    rakp3_level_only,
                    rakp4_by_integrity,
                    user_field_16,
                    no_set_privilege
                ))
            },
            "-I lanplus -C 3 -o i82571spt",
            "-I lanplus -C 3",
        ),
        (
            quirky(firmware!(rakp3_level_only, rakp4_by_integrity)),
            "-I lanplus -C 3 -o intelplus",
            "-I lanplus -C 3",
        ),
        (
            quirky(firmware!(oem_only_1_5, challenge_codes_1_5)),
            "-I lan -o supermicro",
            "-I lan",
        ),
        // Where OEM is all there is, ipmitool takes it by itself.
        (
            quirky(firmware!(oem_only_1_5)),
            "-I lan -o quanta",
            "-I lan -A MD5",
        ),
        (
            Mood {
                sees_late: true,
                ..Mood::default()
            },
            "-I lan -o intelwv2 -R 1",
            "-I lan -R 1",
        ),
    ] {
        let bed = Bed::new(|_, its| *its = mood);
        let (_, said) = bed.ipmitool(&format!("{otherwise} -N 1 power status"));
        assert!(!said.contains("Power is on"), "without {kind}: {said}");
        let words = format!("{kind} power status");
        bed.ipmitool_says(&words, "Chassis Power is on");
    }
}

fn quirky(quirks: Quirks) -> Mood {
    Mood {
        quirks,
        ..Mood::default()
    }
}

#[test]
fn a_refused_order_is_said_by_ipmitool_with_its_code() {
    let bed = Bed::new(|_, mood| {
        mood.refusals.push(Refusal {
            order: ChassisOrder::Off,
            code: 0xC0,
            times: None,
        });
    });
    let (content, said) = bed.ipmitool("-I lanplus -C 3 power off");
    assert!(!content && said.contains("Node busy"), "{said}");
    assert!(bed.is_on());
}

/// Looks every few milliseconds; what does not come within 5 s is a failure.
#[track_caller]
fn wait_until(mut there: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !there() {
        assert!(started.elapsed() < Duration::from_secs(5), "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}
