//! Command lines as they are typed, and what they mean.

use super::*;
use crate::model::Operation;

fn parse(line: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(std::iter::once("rackbmc").chain(line.split(' ')))
}

#[test]
fn a_rack_is_a_socket_unless_the_line_says_otherwise() {
    let read = |line: &str| {
        let words = line.split(' ').map(OsString::from);
        CommandLine::read(words).map(|line| line.common.socket)
    };
    let usual = std::path::Path::new(crate::cli::connect::DEFAULT_SOCKET);
    assert_eq!(read("rackbmc status").unwrap(), usual);
    let second = std::path::Path::new("/run/rackbmcd/r2.sock");
    assert_eq!(read("rackbmc --rack r2 status").unwrap(), second);
    assert_eq!(read("rackbmc status --rack r2").unwrap(), second);
    assert_eq!(
        read("rackbmc --rack r2 status --socket /x")
            .unwrap_err()
            .exit_code(),
        2
    );
    assert!(read("rackbmc --rack ../x status").is_err());
}

fn operation(words: &[&str]) -> Operation {
    let line = CommandLine::try_parse_from(std::iter::once("rackbmc").chain(words.iter().copied()))
        .unwrap_or_else(|e| panic!("{words:?}: {e}"));
    let verb = match line.verb {
        Verb::Power(verb)
        | Verb::PowerNoun {
            verb: NounVerb::Power(verb),
        }
        | Verb::Chassis {
            noun: ChassisNoun::Power {
                verb: NounVerb::Power(verb),
            },
        } => verb,
        Verb::Inject {
            noun: InjectNoun::Nmi(press),
        } => PowerVerb::Nmi(press),
        other => panic!("{words:?} is no power verb: {other:?}"),
    };
    verb.operation().0
}

#[test]
fn the_command_line_holds_together() {
    use clap::CommandFactory;
    CommandLine::command().debug_assert();
}

#[test]
fn the_documentation_names_every_verb_and_every_long_option() {
    use clap::CommandFactory;
    let text = include_str!("../../../docs/cli.md");
    let command = CommandLine::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        assert!(
            text.contains(&format!("`{name}")),
            "{name} is not in docs/cli.md"
        );
        // The simulator explains its many options itself.
        for option in verb.get_opts().filter(|_| name != "sim") {
            if let Some(long) = option.get_long() {
                assert!(text.contains(&format!("--{long}")), "{name} --{long}");
            }
        }
    }
}

#[test]
fn the_words_that_fingers_know_lead_to_the_same_operations() {
    for (words, means) in [
        (&["on", "n1"][..], Operation::PowerOn),
        (&["On", "n1"], Operation::PowerOn),
        (&["power", "on", "n1"], Operation::PowerOn),
        (&["chassis", "power", "on", "n1"], Operation::PowerOn),
        (&["off", "n1"], Operation::PowerOff),
        (&["ForceOff", "n1"], Operation::PowerOff),
        (&["soft", "n1"], Operation::SoftPowerOff),
        (&["softoff", "n1"], Operation::SoftPowerOff),
        (&["shutdown", "n1"], Operation::SoftPowerOff),
        (&["GracefulShutdown", "n1"], Operation::SoftPowerOff),
        (&["soft power off", "n1"], Operation::SoftPowerOff),
        (
            &["power", "off", "--soft", "--power-timeout", "5", "n1"],
            Operation::SoftPowerOff,
        ),
        (&["chassis", "power", "soft", "n1"], Operation::SoftPowerOff),
        (&["reboot", "n1"], Operation::Reboot),
        (&["boot", "n1"], Operation::Reboot),
        (&["reboot", "--soft", "n1"], Operation::SoftReboot),
        (&["GracefulRestart", "n1"], Operation::SoftReboot),
        (&["soft rebooting", "n1"], Operation::SoftReboot),
        (&["ForceRestart", "n1"], Operation::Reset),
        (&["reset", "n1"], Operation::Reset),
        (&["cycle", "n1"], Operation::Cycle),
        (&["diag", "n1"], Operation::InjectNmi),
        (&["Nmi", "n1"], Operation::InjectNmi),
        (&["inject", "nmi", "n1"], Operation::InjectNmi),
    ] {
        assert_eq!(operation(words), means, "{words:?}");
    }
}

#[test]
fn wait_takes_its_duration_only_with_an_equals_sign() {
    let press = |line| match parse(line).unwrap().verb {
        Verb::Power(verb) => verb.operation().1,
        other => panic!("{other:?}"),
    };
    let plain = press("soft --wait n1");
    assert_eq!(plain.wait, Some(None));
    assert_eq!(plain.nodes.nodes, ["n1"]);
    assert_eq!(
        press("soft n1 --wait=10m").wait,
        Some(Some(Duration::from_secs(600)))
    );
    assert_eq!(
        press("soft n1 --timeout 1h30m").timeout,
        Some(Duration::from_secs(5400))
    );
    assert!(parse("soft n1 --wait --no-wait").is_err());
    assert!(parse("soft n1 --timeout soon").is_err());
}

#[test]
fn the_specifications_power_states_are_taken_and_nothing_else() {
    for (word, target) in [
        ("on", "power on"),
        ("off", "power off"),
        ("reboot", "rebooting"),
        ("soft_reboot", "soft rebooting"),
        ("soft_off", "soft power off"),
        ("inject_nmi", "inject nmi"),
        ("abort_soft_reboot", "abort soft rebooting"),
        ("abort_soft_off", "abort soft power off"),
        ("abort_inject_nmi", "abort inject nmi"),
    ] {
        match parse(&format!("node-set-power-state n1 {word}"))
            .unwrap()
            .verb
        {
            Verb::NodeSetPowerState { power_state, .. } => {
                assert_eq!(power_state.target().name(), target);
            }
            other => panic!("{other:?}"),
        }
    }
    let mistake = parse("node-set-power-state n1 soft").unwrap_err();
    assert_eq!(mistake.exit_code(), 2);
}
