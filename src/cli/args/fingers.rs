//! What fingers type that know other tools: their nouns and options, put into our words before the line is read.

use std::ffi::OsString;

/// First words of other tools, and ours for them. Longer ones come before their beginnings.
const PHRASES: &[(&[&str], &[&str])] = &[
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
    (&["--stat"], &["status"]),
    // ipmitool.
    (&["mc", "info"], &["bmc", "info"]),
    (&["mc", "reset", "cold"], &["bmc", "reset", "--cold"]),
    (&["mc", "reset", "warm"], &["bmc", "reset", "--warm"]),
    (&["mc", "reset"], &["bmc", "reset"]),
    (&["chassis", "identify"], &["identify"]),
    (&["dcmi", "power", "reading"], &["power-use"]),
    // baremetal (openstack baremetal).
    (&["baremetal", "node"], &["node"]),
    (&["node", "power"], &["power"]),
    (&["node", "reboot"], &["reboot"]),
    (&["node", "inject", "nmi"], &["nmi"]),
    (&["node", "list"], &["status"]),
    (&["node", "show"], &["node-show"]),
    (&["node", "history", "list"], &["history"]),
    (&["node", "maintenance", "set"], &["maintenance"]),
    (&["node", "maintenance", "unset"], &["maintenance", "--off"]),
    (&["node", "boot", "device", "show"], &["bootdev"]),
    // What many programs have beside --help and --version.
    (&["help"], &["--help"]),
    (&["version"], &["--version"]),
    (&["-?"], &["--help"]),
];

/// The line in our words.
pub fn translated(words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words;
    // `help soft` is `soft --help`.
    if words.len() > 2 && words[1] == "help" {
        words.remove(1);
        words.push("--help".into());
        return words;
    }
    // Some take more than one step: `baremetal node power on`.
    for _ in 0..2 {
        let matching = |(theirs, _): &&(&[&str], &[&str])| {
            words.len() > theirs.len() && theirs.iter().zip(&words[1..]).all(|(a, b)| b == a)
        };
        let best = PHRASES
            .iter()
            .filter(matching)
            .max_by_key(|(theirs, _)| theirs.len());
        let Some((theirs, ours)) = best else { break };
        words.splice(1..=theirs.len(), ours.iter().map(OsString::from));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tools_words_become_ours() {
        for (theirs, ours) in [
            ("rackbmc --on n[1-3]", "rackbmc on n[1-3]"),
            ("rackbmc -0 n1", "rackbmc off n1"),
            (
                "rackbmc baremetal node power off --soft n1",
                "rackbmc power off --soft n1",
            ),
            (
                "rackbmc node maintenance unset n1",
                "rackbmc maintenance --off n1",
            ),
            ("rackbmc mc reset cold n1", "rackbmc bmc reset --cold n1"),
            ("rackbmc dcmi power reading n1", "rackbmc power-use n1"),
            ("rackbmc help soft", "rackbmc soft --help"),
            ("rackbmc help", "rackbmc --help"),
            ("rackbmc on n1", "rackbmc on n1"),
        ] {
            let split = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(translated(split(theirs)), split(ours), "{theirs}");
        }
    }
}
