//! What fingers type that know other tools: their nouns, options and order of words, put into ours
//! before the line is read; and for words that have none of ours, what was probably meant.

use std::ffi::OsString;

/// First words of other tools, and ours for them where they mean the same. Longer ones win over
/// their beginnings.
const PHRASES: &[(&[&str], &[&str])] = &[
    // The name of the other tool itself, kept by habit.
    (&["ipmitool"], &[]),
    (&["ipmipower"], &[]),
    (&["powerman"], &[]),
    (&["wwctl"], &[]),
    (&["openstack"], &[]),
    (&["baremetal"], &[]),
    (&["ironic"], &[]),
    (&["systemctl"], &[]),
    // powerman and ipmipower have their verbs as options.
    (&["--on"], &["on"]),
    (&["-1"], &["on"]),
    (&["--off"], &["off"]),
    (&["-0"], &["off"]),
    (&["--soft"], &["soft"]),
    (&["--cycle"], &["cycle"]),
    (&["-c"], &["cycle"]),
    (&["--reset"], &["reset"]),
    (&["-r"], &["reset"]),
    (&["--pulse"], &["nmi"]),
    (&["--query"], &["status"]),
    (&["powerman", "-q"], &["status"]),
    (&["--query-all"], &["status"]),
    (&["-Q"], &["status"]),
    (&["--stat"], &["status"]),
    (&["--list"], &["status", "-o", "name"]),
    (&["-l"], &["status", "-o", "name"]),
    (&["--flash"], &["identify", "--for", "forever"]),
    (&["--unflash"], &["identify", "--off"]),
    (&["-u"], &["identify", "--off"]),
    (&["--beacon"], &["chassis", "status"]),
    // ipmitool.
    (&["mc"], &["bmc"]),
    (&["mc", "guid"], &["bmc", "info"]),
    (&["mc", "selftest"], &["chassis", "status"]),
    (&["mc", "reset", "cold"], &["bmc", "reset", "--cold"]),
    (&["mc", "reset", "warm"], &["bmc", "reset", "--warm"]),
    (&["bmc", "reset", "cold"], &["bmc", "reset", "--cold"]),
    (&["bmc", "reset", "warm"], &["bmc", "reset", "--warm"]),
    (&["session", "info"], &["bmc", "info"]),
    (&["chassis", "identify"], &["identify"]),
    (
        &["chassis", "identify", "force"],
        &["identify", "--for", "forever"],
    ),
    (&["chassis", "selftest"], &["chassis", "status"]),
    (&["chassis", "restart_cause"], &["bmc", "info"]),
    (&["chassis", "poh"], &["chassis", "status"]),
    (&["chassis", "policy", "list"], &["chassis", "policy"]),
    (
        &["chassis", "policy", "always-on"],
        &["chassis", "policy", "--set", "always-on"],
    ),
    (
        &["chassis", "policy", "always-off"],
        &["chassis", "policy", "--set", "always-off"],
    ),
    (
        &["chassis", "policy", "previous"],
        &["chassis", "policy", "--set", "previous"],
    ),
    (&["chassis", "bootdev"], &["bootdev", "--set"]),
    (&["chassis", "bootparam", "get", "5"], &["bootdev"]),
    (&["sel", "elist"], &["sel", "list"]),
    (&["dcmi", "power", "reading"], &["power-use"]),
    // baremetal (openstack baremetal), and the ironic command before it.
    (&["node", "power"], &["power"]),
    (&["node", "reboot"], &["reboot"]),
    (&["node", "inject", "nmi"], &["nmi"]),
    (&["node", "list"], &["status"]),
    (&["node", "show"], &["node-show"]),
    (&["node", "history", "list"], &["history"]),
    (&["node", "maintenance", "set"], &["maintenance"]),
    (&["node", "maintenance", "unset"], &["maintenance", "--off"]),
    (&["node", "boot", "device", "show"], &["bootdev"]),
    (&["node-list"], &["status"]),
    (&["node-inject-nmi"], &["nmi"]),
    (&["node-get-boot-device"], &["bootdev"]),
    // systemctl: its reboot asks the operating system.
    (&["systemctl", "reboot"], &["reboot", "--soft"]),
    (&["systemctl", "restart"], &["reboot", "--soft"]),
    (&["systemctl", "stop"], &["soft"]),
    (&["is-active"], &["status"]),
    // As the verbs are.
    (&["wait", "on"], &["wait", "--on"]),
    (&["wait", "off"], &["wait", "--off"]),
    // What many programs have beside --help and --version.
    (&["help"], &["--help"]),
    (&["version"], &["--version"]),
    (&["-?"], &["--help"]),
];

/// Tools that name the nodes before what is to be done: the tool, their word, ours.
const NODES_FIRST: &[(&str, &str, &[&str])] = &[
    ("rpower", "on", &["on"]),
    ("rpower", "off", &["off"]),
    ("rpower", "softoff", &["soft"]),
    ("rpower", "reset", &["reset"]),
    ("rpower", "cycle", &["cycle"]),
    // On where it is off, else a hard reset.
    ("rpower", "boot", &["boot", "--reset"]),
    ("rpower", "stat", &["status"]),
    ("rpower", "state", &["status"]),
    ("rpower", "status", &["status"]),
    ("rpower", "resetsp", &["bmc", "reset", "--cold"]),
    ("rbeacon", "on", &["identify", "--for", "forever"]),
    ("rbeacon", "off", &["identify", "--off"]),
    ("rbeacon", "stat", &["chassis", "status"]),
    ("rsetboot", "net", &["bootdev", "--set", "pxe"]),
    ("rsetboot", "hd", &["bootdev", "--set", "disk"]),
    ("rsetboot", "cd", &["bootdev", "--set", "cdrom"]),
    ("rsetboot", "default", &["bootdev", "--set", "none"]),
    ("rsetboot", "stat", &["bootdev"]),
    ("reventlog", "all", &["sel", "list", "-n", "1000"]),
    ("reventlog", "clear", &["sel", "clear"]),
    ("node-set-maintenance", "true", &["maintenance"]),
    ("node-set-maintenance", "on", &["maintenance"]),
    ("node-set-maintenance", "false", &["maintenance", "--off"]),
    ("node-set-maintenance", "off", &["maintenance", "--off"]),
];

/// Phrases behind which a node comes, and then what it is to boot from.
const BOOT_LAST: &[&[&str]] = &[
    &["node", "boot", "device", "set"],
    &["node-set-boot-device"],
];

/// The line in our words.
pub(super) fn translated(words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words;
    let at = first_word(&words);
    // `help soft` is `soft --help`.
    if words.len() > at + 1 && words[at] == "help" {
        words.remove(at);
        words.push("--help".into());
        return words;
    }
    // Some take more than one step: `openstack baremetal node power on`.
    for _ in 0..3 {
        if nodes_first(&mut words, at) || boot_last(&mut words, at) {
            break;
        }
        let best = PHRASES
            .iter()
            .filter(|(theirs, _)| begins(&words[at..], theirs))
            .max_by_key(|(theirs, _)| theirs.len());
        let Some((theirs, ours)) = best else { break };
        words.splice(at..at + theirs.len(), ours.iter().map(OsString::from));
        if ours.starts_with(&["bootdev", "--set"]) {
            boot_options(&mut words);
        }
    }
    words
}

/// Options of every verb that have a value, by their long names.
const WITH_VALUE: [&str; 7] = [
    "--socket",
    "--rack",
    "--url",
    "--auth-file",
    "--cacert",
    "--output",
    "--fleet-file",
];

/// Where the first word is that is none of the options that every verb has.
pub(super) fn first_word(words: &[OsString]) -> usize {
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        at += match word {
            "-b" | "--fold" | "-q" | "--quiet" | "--fleet" => 1,
            "-o" => 2,
            _ if WITH_VALUE.contains(&word) => 2,
            // `--rack=r2`, `-ojson`
            _ if word.starts_with("-o") => 1,
            _ if word
                .split_once('=')
                .is_some_and(|(option, _)| WITH_VALUE.contains(&option)) =>
            {
                1
            }
            _ => break,
        };
    }
    at.min(words.len())
}

fn begins(words: &[OsString], phrase: &[&str]) -> bool {
    words.len() >= phrase.len() && phrase.iter().zip(words).all(|(a, b)| b == a)
}

/// `rpower r1n03 on`.
fn nodes_first(words: &mut Vec<OsString>, at: usize) -> bool {
    let [tool, _, word, ..] = &words[at..] else {
        return false;
    };
    let known = NODES_FIRST
        .iter()
        .find(|(theirs, verb, _)| tool == theirs && word == verb);
    let Some((.., ours)) = known else {
        return false;
    };
    words.remove(at + 2);
    words.splice(at..=at, ours.iter().map(OsString::from));
    true
}

/// `node boot device set r1n03 pxe`.
fn boot_last(words: &mut Vec<OsString>, at: usize) -> bool {
    let phrase = BOOT_LAST
        .iter()
        .find(|phrase| begins(&words[at..], phrase) && words.len() >= at + phrase.len() + 2);
    let Some(phrase) = phrase else {
        return false;
    };
    words.splice(at..at + phrase.len(), [OsString::from("bootdev")]);
    words.insert(at + 2, "--set".into());
    true
}

/// `options=persistent,efiboot`.
fn boot_options(words: &mut Vec<OsString>) {
    let place = words.iter().position(|word| {
        let options = word.to_str().and_then(|word| word.strip_prefix("options="));
        options.is_some_and(|all| {
            all.split(',')
                .all(|one| ["persistent", "efiboot"].contains(&one))
        })
    });
    let Some(place) = place else { return };
    let options = words.remove(place);
    for (theirs, ours) in [("persistent", "--persistent"), ("efiboot", "--uefi")] {
        if options
            .to_str()
            .is_some_and(|options| options.contains(theirs))
        {
            words.push(ours.into());
        }
    }
}

/// Words of other tools for which there is nothing that means the same: verbs to look at, the best
/// first, and where that would not do, why.
pub(super) const MEANT: &[(&str, &[&str], &str)] = &[
    ("info", &["explain", "bmc info"], ""),
    ("show", &["status", "explain"], ""),
    ("ls", &["status"], ""),
    ("nodes", &["status"], ""),
    ("nodels", &["status -o name"], ""),
    ("nodestat", &["status"], ""),
    ("node", &["status", "node-show"], ""),
    ("node validate", &["status --fresh", "explain"], ""),
    ("node abort", &["abort"], ""),
    ("node-validate", &["status --fresh", "explain"], ""),
    ("ps", &["tasks"], ""),
    ("jobs", &["tasks"], ""),
    ("list-jobs", &["tasks --active"], ""),
    ("list-units", &["status"], ""),
    ("kill", &["abort"], ""),
    ("undo", &["rollback"], ""),
    ("revert", &["rollback"], ""),
    ("continue", &["resume"], ""),
    ("log", &["events", "history"], ""),
    ("logs", &["events", "history"], ""),
    ("journal", &["events", "history"], ""),
    ("reventlog", &["sel list", "sel clear"], ""),
    ("event", &["events", "sel list"], ""),
    ("top", &["watch"], ""),
    ("ping", &["status --fresh", "explain"], ""),
    ("sensor", &["chassis status"], NO_SENSORS),
    ("sensors", &["chassis status"], NO_SENSORS),
    ("sdr", &["chassis status"], NO_SENSORS),
    ("rvitals", &["chassis status"], NO_SENSORS),
    ("--temp", &["chassis status"], NO_SENSORS),
    ("-t", &["chassis status"], NO_SENSORS),
    ("fru", &["bmc info"], ""),
    ("rinv", &["bmc info"], ""),
    ("dcmi", &["power-use"], ""),
    ("rpower", &["status"], "the verb comes first here"),
    ("rbeacon", &["identify"], ""),
    ("rsetboot", &["bootdev"], ""),
    ("power-off", &["soft", "off"], ""),
    ("power_off", &["soft", "off"], ""),
    ("stop", &["soft", "off"], ""),
    ("restart", &["reboot --soft", "reboot"], ""),
    (
        "pushpowerbutton",
        &["soft", "on"],
        "the button of a machine that is off switches it on",
    ),
    (
        "fullpowercycle",
        &["cycle"],
        "standby power stays on: IPMI has no order that takes it away",
    ),
    (
        "-f",
        &["identify", "off"],
        "powerman flashes the light with it, ipmipower switches off",
    ),
    ("-n", &["on"], ""),
    ("-s", &["status"], ""),
    ("unpause", &["release"], ""),
    ("led", &["identify"], ""),
    ("light", &["identify"], ""),
    ("abort_soft_off", &["abort"], ""),
    ("abort_soft_reboot", &["abort"], ""),
    ("abort_inject_nmi", &["abort"], ""),
    ("sol", &[], NO_CONSOLE),
    ("console", &[], NO_CONSOLE),
    ("rcons", &[], NO_CONSOLE),
    ("node console", &[], NO_CONSOLE),
    ("lan", &[], NO_SETTINGS),
    ("user", &[], NO_SETTINGS),
    ("channel", &[], NO_SETTINGS),
    ("pef", &[], NO_SETTINGS),
    ("firmware", &[], NO_SETTINGS),
    ("hibernate", &[], NO_SLEEP),
    ("sleep", &[], NO_SLEEP),
    ("-i", &[], NO_LOG_IN),
    ("-h", &[], NO_LOG_IN),
    ("-p", &[], NO_LOG_IN),
    ("-e", &[], NO_LOG_IN),
];

const NO_SENSORS: &str = "sensors are read with ipmitool; faults of the chassis are shown here";
const NO_CONSOLE: &str = "there are no serial consoles here: ipmitool sol activate, or conman";
const NO_SETTINGS: &str = "a BMC's own settings are changed with ipmitool, or at the BMC";
const NO_SLEEP: &str = "machines are not put to sleep from here";
const NO_LOG_IN: &str = "rackbmcd knows addresses, users and passwords of its BMCs: name nodes only, as in 'rackbmc status r1n03'";

/// What is known of the words of other tools that a line begins with: the verbs that were probably
/// meant, and why not the word itself.
pub(super) fn meant(words: &[OsString]) -> Option<(&'static [&'static str], &'static str)> {
    let typed: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().to_ascii_lowercase())
        .collect();
    // Redfish writes them with a capital letter, and means the machine; ours are for tasks.
    if let Some(first) = words.first()
        && ["Suspend", "Pause", "Resume"]
            .iter()
            .any(|redfish| first == redfish)
    {
        return Some((&[], NO_SLEEP));
    }
    let matches = |phrase: &str| {
        let parts: Vec<&str> = phrase.split(' ').collect();
        typed.len() >= parts.len() && parts.iter().zip(&typed).all(|(a, b)| a == b)
    };
    let best = MEANT
        .iter()
        .filter(|(theirs, ..)| matches(theirs))
        .max_by_key(|(theirs, ..)| theirs.len())?;
    Some((best.1, best.2))
}

#[cfg(test)]
mod tests;
