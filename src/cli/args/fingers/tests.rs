//! Lines as other tools have them, and what becomes of each.

use super::super::{ChassisNoun, CommandLine, NounVerb, Verb};
use super::*;

fn split(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn read(line: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::read(split(&format!("rackbmc {line}")))
}

/// What is said of a line that is not taken, without what follows of help.
fn said(line: &str) -> String {
    let mistake = read(line).expect_err(line).to_string();
    let first = mistake.lines().next().unwrap_or_default();
    first.trim_start_matches("error: ").to_owned()
}

/// Lines of other tools, and the line of ours that does the same.
const SAME: &[(&str, &str)] = &[
    // ipmitool
    ("chassis power on n1", "on n1"),
    ("chassis power up n1", "on n1"),
    ("chassis power off n1", "off n1"),
    ("chassis power down n1", "off n1"),
    ("chassis power soft n1", "soft n1"),
    ("chassis power acpi n1", "soft n1"),
    ("chassis power cycle n1", "cycle n1"),
    ("chassis power reset n1", "reset n1"),
    ("chassis power diag n1", "nmi n1"),
    ("chassis power status n1", "status n1"),
    ("power status n1", "status n1"),
    ("power off n1", "off n1"),
    ("power soft n1", "soft n1"),
    ("ipmitool chassis power status n1", "status n1"),
    ("--rack r2 chassis identify n1", "--rack r2 identify n1"),
    ("chassis identify force n1", "identify --for forever n1"),
    ("chassis selftest n1", "chassis status n1"),
    ("chassis poh n1", "chassis status n1"),
    ("chassis restart_cause n1", "bmc info n1"),
    ("chassis policy list n1", "chassis policy n1"),
    (
        "chassis policy previous n1",
        "chassis policy --set previous n1",
    ),
    ("chassis bootdev pxe n1", "bootdev --set pxe n1"),
    ("chassis bootdev none n1", "bootdev --set none n1"),
    (
        "chassis bootdev disk options=persistent,efiboot n1",
        "bootdev --set disk n1 --persistent --uefi",
    ),
    ("chassis bootparam get 5 n1", "bootdev n1"),
    ("mc info n1", "bmc info n1"),
    ("mc guid n1", "bmc info n1"),
    ("mc selftest n1", "chassis status n1"),
    ("mc reset cold n1", "bmc reset --cold n1"),
    ("bmc reset warm n1", "bmc reset --warm n1"),
    ("sel list n1", "sel list n1"),
    ("sel elist n1", "sel list n1"),
    ("sel clear n1", "sel clear n1"),
    ("dcmi power reading n1", "power-use n1"),
    // ipmipower
    ("--on n[1-3]", "on n[1-3]"),
    ("--off n1", "off n1"),
    ("--soft n1", "soft n1"),
    ("--cycle n1", "cycle n1"),
    ("--reset n1", "reset n1"),
    ("--pulse n1", "nmi n1"),
    ("--stat n1", "status n1"),
    ("ipmipower --stat n1", "status n1"),
    // powerman
    ("-1 n1", "on n1"),
    ("-0 n1", "off n1"),
    ("-c n1", "cycle n1"),
    ("-r n1", "reset n1"),
    ("powerman -q n1", "status n1"),
    ("--query n1", "status n1"),
    ("-Q", "status"),
    ("-l", "status -o name"),
    ("--flash n1", "identify --for forever n1"),
    ("--unflash n1", "identify --off n1"),
    ("--beacon n1", "chassis status n1"),
    // xCAT
    ("rpower n1 on", "on n1"),
    ("rpower n1 off", "off n1"),
    ("rpower n1 softoff", "soft n1"),
    ("rpower n1 boot", "boot --reset n1"),
    ("rpower n1 reset", "reset n1"),
    ("rpower n1 stat", "status n1"),
    ("rpower n1 state", "status n1"),
    ("rpower n1 resetsp", "bmc reset --cold n1"),
    ("softoff n1", "soft n1"),
    ("rbeacon n1 on", "identify --for forever n1"),
    ("rsetboot n1 net", "bootdev --set pxe n1"),
    ("rsetboot n1 stat", "bootdev n1"),
    ("reventlog n1 clear", "sel clear n1"),
    // baremetal, and the ironic command
    ("baremetal node power on n1", "on n1"),
    ("node power off n1", "off n1"),
    ("node power off --soft n1", "off --soft n1"),
    (
        "openstack baremetal node power off --soft --power-timeout 60 n1",
        "off --soft --timeout 60 n1",
    ),
    ("node reboot n1", "reboot n1"),
    ("node reboot --soft n1", "reboot --soft n1"),
    ("node inject nmi n1", "nmi n1"),
    ("node list", "status"),
    ("node show n1", "node-show n1"),
    ("node history list n1", "history n1"),
    ("node boot device show n1", "bootdev n1"),
    ("node boot device set n1 pxe", "bootdev n1 --set pxe"),
    (
        "node boot device set n1 disk --persistent",
        "bootdev n1 --set disk --persistent",
    ),
    (
        "node maintenance set n1 --reason fans",
        "maintenance n1 --reason fans",
    ),
    ("node maintenance unset n1", "maintenance --off n1"),
    ("ironic node-list", "status"),
    (
        "ironic node-set-power-state n1 soft_off",
        "node-set-power-state n1 soft_off",
    ),
    ("node-set-boot-device n1 pxe", "bootdev n1 --set pxe"),
    ("node-set-maintenance n1 true", "maintenance n1"),
    ("node-set-maintenance n1 false", "maintenance --off n1"),
    ("node-inject-nmi n1", "nmi n1"),
    ("soft_off n1", "soft n1"),
    ("soft_reboot n1", "soft-reboot n1"),
    ("inject_nmi n1", "nmi n1"),
    // Redfish's types of a reset
    ("On n1", "on n1"),
    ("ForceOn n1", "on n1"),
    ("ForceOff n1", "off n1"),
    ("GracefulShutdown n1", "soft n1"),
    ("GracefulRestart n1", "soft-reboot n1"),
    ("ForceRestart n1", "reset n1"),
    ("PowerCycle n1", "cycle n1"),
    ("Nmi n1", "nmi n1"),
    // systemctl
    ("poweroff n1", "soft n1"),
    ("halt n1", "soft n1"),
    ("start n1", "on n1"),
    ("status n1", "status n1"),
    ("is-active n1", "status n1"),
    ("soft-reboot n1", "soft-reboot n1"),
    ("wait off n1", "wait --off n1"),
    ("wait on n[1-3]", "wait --on n[1-3]"),
    ("systemctl reboot n1", "reboot --soft n1"),
    ("systemctl restart n1", "reboot --soft n1"),
    ("systemctl stop n1", "soft n1"),
    ("systemctl poweroff n1", "soft n1"),
    // Warewulf
    ("wwctl power on n1", "on n1"),
    ("wwctl power soft n1", "soft n1"),
];

#[test]
fn lines_of_other_tools_do_what_they_say() {
    for (theirs, ours) in SAME {
        let meaning = |line: &str| {
            let read = read(line).unwrap_or_else(|mistake| panic!("{line}: {mistake}"));
            // What is pressed is compared by its meaning, not by the noun before it.
            match read.verb {
                Verb::PowerNoun {
                    verb: NounVerb::Power(verb),
                }
                | Verb::Chassis {
                    noun:
                        ChassisNoun::Power {
                            verb: NounVerb::Power(verb),
                        },
                }
                | Verb::Power(verb) => format!("{:?} {:?}", verb.operation(), read.common.rack),
                Verb::PowerNoun {
                    verb: NounVerb::Status(status),
                }
                | Verb::Chassis {
                    noun:
                        ChassisNoun::Power {
                            verb: NounVerb::Status(status),
                        },
                } => {
                    format!("{:?} {:?}", Verb::Status(status), read.common.rack)
                }
                verb => format!("{verb:?} {:?}", read.common.rack),
            }
        };
        assert_eq!(meaning(theirs), meaning(ours), "{theirs}");
    }
}

/// Lines that mean nothing here, and the answer.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "sol activate n1",
        "there is no verb 'sol': there are no serial consoles here: ipmitool sol activate, or conman",
    ),
    (
        "node console show n1",
        "there is no verb 'node': there are no serial consoles here: ipmitool sol activate, or conman",
    ),
    (
        "lan print 1",
        "there is no verb 'lan': a BMC's own settings are changed with ipmitool, or at the BMC",
    ),
    (
        "sensor n1",
        "there is no verb 'sensor'; perhaps 'rackbmc chassis status n1' (sensors are read with ipmitool; faults of the chassis are shown here)",
    ),
    (
        "fru print n1",
        "there is no verb 'fru'; perhaps 'rackbmc bmc info n1'",
    ),
    (
        "restart n1",
        "there is no verb 'restart'; perhaps 'rackbmc reboot --soft n1' or 'rackbmc reboot n1'",
    ),
    (
        "stop n1",
        "there is no verb 'stop'; perhaps 'rackbmc soft n1' or 'rackbmc off n1'",
    ),
    (
        "power-off n1",
        "there is no verb 'power-off'; perhaps 'rackbmc soft n1' or 'rackbmc off n1'",
    ),
    (
        "PushPowerButton n1",
        "there is no verb 'PushPowerButton'; perhaps 'rackbmc soft n1' or 'rackbmc on n1' (the button of a machine that is off switches it on)",
    ),
    (
        "FullPowerCycle n1",
        "there is no verb 'FullPowerCycle'; perhaps 'rackbmc cycle n1' (standby power stays on: IPMI has no order that takes it away)",
    ),
    (
        "Suspend n1",
        "there is no verb 'Suspend': machines are not put to sleep from here",
    ),
    (
        "Pause n1",
        "there is no verb 'Pause': machines are not put to sleep from here",
    ),
    (
        "rpower n1 suspend",
        "there is no verb 'rpower'; perhaps 'rackbmc status n1' (the verb comes first here)",
    ),
    (
        "-I lanplus -H 10.0.0.1 -U root power status",
        "there is no option '-I': rackbmcd knows addresses, users and passwords of its BMCs: name nodes only, as in 'rackbmc status r1n03'",
    ),
    (
        "-f n1",
        "there is no option '-f'; perhaps 'rackbmc identify n1' or 'rackbmc off n1' (powerman flashes the light with it, ipmipower switches off)",
    ),
    (
        "-q n1",
        "'n1' is no verb; the verb comes first: rackbmc -q status n1",
    ),
    (
        "node validate n1",
        "there is no verb 'node'; perhaps 'rackbmc status --fresh n1' or 'rackbmc explain n1'",
    ),
    (
        "hibernate n1",
        "there is no verb 'hibernate': machines are not put to sleep from here",
    ),
    // No word leads to power that is not close to a word for it.
    ("config", "there is no verb 'config'"),
    ("re n1", "there is no verb 're'"),
    ("power config n1", "there is no 'rackbmc power config'"),
    (
        "power of n1",
        "there is no 'rackbmc power of'; perhaps 'rackbmc power off n1'",
    ),
    (
        "chassis powr on n1",
        "there is no 'rackbmc chassis powr'; perhaps 'rackbmc chassis power on n1'",
    ),
    ("power n1 off", "the verb comes first: rackbmc power off n1"),
    ("sel save n1", "there is no 'rackbmc sel save'"),
    (
        "bmc infos n1",
        "there is no 'rackbmc bmc infos'; perhaps 'rackbmc bmc info n1'",
    ),
    (
        "audit verfy",
        "there is no 'rackbmc audit verfy'; perhaps 'rackbmc audit verify'",
    ),
];

#[test]
fn a_word_without_a_meaning_here_leads_to_the_right_one_and_never_lightly_to_power() {
    for (line, answer) in ELSEWHERE {
        assert_eq!(&said(line), answer, "{line}");
    }
}

#[test]
fn no_tip_of_clap_leads_to_power() {
    for line in [
        "config",
        "cofnig on",
        "power config n1",
        "inject nim n1",
        "node-set-power-state n1 stop",
    ] {
        let mistake = read(line).expect_err(line).to_string();
        assert!(!mistake.contains("similar"), "{line}: {mistake}");
    }
}

#[test]
fn help_is_asked_for_in_many_ways() {
    for (theirs, ours) in [
        ("rackbmc help soft", "rackbmc soft --help"),
        ("rackbmc help", "rackbmc --help"),
        ("rackbmc -?", "rackbmc --help"),
        ("rackbmc on n1", "rackbmc on n1"),
        ("rackbmc", "rackbmc"),
    ] {
        assert_eq!(translated(split(theirs)), split(ours), "{theirs}");
    }
}

#[test]
fn a_noun_without_a_verb_that_it_has_is_answered_with_those_that_there_are() {
    for line in ["bmc", "bmc n1", "bmc nosuch n1"] {
        let mistake = read(line).expect_err(line).to_string();
        let last = mistake.trim_end().lines().last().unwrap_or_default();
        let there_are = "There are: info, reset, trace, accept (rackbmc bmc --help)";
        assert_eq!(last, there_are, "{line}");
    }
    assert_eq!(said("sel"), "'rackbmc sel' is followed by what it is to do");
}
