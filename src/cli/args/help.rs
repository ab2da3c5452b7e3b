//! Help that helps: verbs in groups, three examples for each, and for a word that is no verb what
//! was probably meant.

use super::CommandLine;
use super::fingers::{first_word, meant};
use super::proposals::{in_words, no_verb, noun, theirs, verbs_of, with_tips};
use super::verbs::{Entry, GROUPS, INNER};
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory};
use comfy_table::{ContentArrangement, Table, presets};
use std::ffi::OsString;

/// The command line as it is read.
pub(crate) fn parser() -> Command {
    let command = CommandLine::command()
        .disable_help_flag(true)
        .arg(help_flag());
    // A variable of the environment that is empty is as good as none.
    let is_empty = |arg: &&Arg| {
        let variable = arg.get_env().and_then(std::env::var_os);
        variable.is_some_and(|value| value.is_empty())
    };
    let empty = command.get_arguments().filter(is_empty);
    let empty: Vec<_> = empty.map(|arg| arg.get_id().clone()).collect();
    let without = |command: Command, id| command.mut_arg(id, |arg| arg.env(None::<&str>));
    empty.into_iter().fold(command, without)
}

/// The command line as it is explained: options of every verb are shown by `rackbmc --help` alone.
pub(crate) fn command() -> Command {
    let mut command = parser().mut_args(|arg| {
        let global = arg.is_global_set() && arg.get_id() != "help";
        arg.hide(global)
    });
    let text = all_verbs(&command);
    for (verb, _, examples) in entries() {
        command = command.mut_subcommand(verb, |sub| with_examples(sub, examples));
    }
    for (path, examples) in INNER {
        let (verb, inner) = path.split_once(' ').expect("a verb and what follows it");
        command = command.mut_subcommand(verb, |sub| {
            sub.mut_subcommand(inner, |sub| with_examples(sub, examples))
        });
    }
    command.override_help(text)
}

/// The help of a verb, with examples of it.
fn with_examples(verb: Command, examples: &[&str; 3]) -> Command {
    let shown = examples.map(|line| format!("  rackbmc {line}"));
    let text = format!("Examples:\n{}\n\n{POINTER}", shown.join("\n"));
    // What it has to say itself comes first.
    let own = verb.get_after_help().map(|own| format!("{own}\n\n"));
    verb.after_help(own.unwrap_or_default() + &text)
}

/// As short as it can be for `-h` and `--help` alike.
fn help_flag() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .global(true)
        .action(ArgAction::HelpShort)
        .help("Print this help")
}

const POINTER: &str = "Options of every verb (-o, -b, -q, --rack, --socket ...): rackbmc --help";

const EXIT_CODES: &str = "\
Exit codes: 0 done and read back; 1 some or all nodes failed; 2 usage; 3 daemon unreachable;
4 not permitted; 5 the wait ran out, the task still runs; 6 aborted, cancelled or rolled back.";

fn entries() -> impl Iterator<Item = &'static Entry> {
    GROUPS.iter().flat_map(|(_, entries)| entries.iter())
}

/// The help of the whole program.
fn all_verbs(command: &Command) -> String {
    let width = super::super::output::terminal_width()
        .unwrap_or(80)
        .clamp(40, 100);
    let mut text = "The power of a rack's machines, through rackbmcd.\n\n\
        Usage: rackbmc VERB [NODES] [OPTIONS]\n\n\
        NODES are node sets: r1n03, r1n[01-16,20], @group, several of them, minus those of -x.\n\
        Verbs that change something never mean \"all nodes\" unless --all says so.\n"
        .to_owned();
    for (heading, verbs) in GROUPS {
        let rows = verbs
            .iter()
            .map(|(verb, text, _)| [format!("  {verb}"), (*text).to_owned()]);
        text.push_str(&format!("\n{heading}\n{}\n", aligned(rows, width)));
    }
    let options = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| {
            let short = arg
                .get_short()
                .map_or("    ".to_owned(), |short| format!("-{short}, "));
            let values = arg
                .get_value_names()
                .filter(|_| arg.get_action().takes_values());
            let value = values
                .and_then(|names| names.first())
                .map_or(String::new(), |name| format!(" {name}"));
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            [
                format!("  {short}--{}{value}", arg.get_long().unwrap_or_default()),
                help,
            ]
        });
    text.push_str(&format!(
        "\nOptions of every verb\n{}\n",
        aligned(options, width)
    ));
    text.push_str(&format!("\nOf a verb: rackbmc VERB --help\n{EXIT_CODES}\n"));
    text
}

/// Two columns, the second one wrapped.
fn aligned(rows: impl Iterator<Item = [String; 2]>, width: u16) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.force_no_tty();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table.add_rows(rows);
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(comfy_table::ColumnConstraint::Absolute(
            comfy_table::Width::Fixed(27),
        ));
        first.set_padding((0, 1));
    }
    table.trim_fmt()
}

/// What `rackbmc` alone is answered with: the help, and no success.
pub(crate) fn bare(command: Command) -> clap::Error {
    // By clap itself: before the text of an error that is made here it writes "error:". A variable
    // that is set would count as a word, and clap's own error comes instead.
    command
        .mut_args(|arg| arg.env(None::<&str>))
        .arg_required_else_help(true)
        .try_get_matches_from(["rackbmc"])
        .expect_err("there are no words")
}

/// A mistake, where a word is no verb with what was probably meant. No tip of clap's own is shown:
/// to it `config` is like `on`.
pub(crate) fn explained(
    mut mistake: clap::Error,
    command: &Command,
    words: &[OsString],
) -> clap::Error {
    let rest = &words[first_word(words)..];
    let is_option = |word: &OsString| word.to_string_lossy().starts_with('-');
    let (noun, path) = noun(command, rest);
    let told =
        |kind, text: &str| clap::Error::raw(kind, format!("{text}\n\n{}\n", verbs_of(noun, &path)));
    match mistake.kind() {
        kind @ ErrorKind::InvalidSubcommand => {
            let word = mistake.get(ContextKind::InvalidSubcommand);
            let word = word.map(ToString::to_string).unwrap_or_default();
            let before = in_words(&words[1..first_word(words)]);
            told(kind, &no_verb(command, &before, rest, &word))
        }
        kind @ ErrorKind::UnknownArgument if rest.first().is_some_and(is_option) => {
            match meant(rest) {
                Some((tips, why)) => {
                    let head = format!("there is no option '{}'", rest[0].to_string_lossy());
                    let before = in_words(&words[1..first_word(words)]);
                    let tips = theirs(command, &before, tips, &in_words(rest));
                    told(kind, &with_tips(&head, &tips, why))
                }
                None => mistake,
            }
        }
        kind @ (ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
            if rest.is_empty() =>
        {
            told(kind, "a verb is missing")
        }
        kind @ (ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
            if path != "rackbmc" =>
        {
            told(kind, &format!("'{path}' is followed by what it is to do"))
        }
        kind @ ErrorKind::UnknownArgument => {
            let option = mistake
                .get(ContextKind::InvalidArg)
                .map(ToString::to_string);
            let option = option.unwrap_or_default();
            match verbs_with(command, &option).as_slice() {
                [] => {
                    // A word behind `--` would be taken for a node.
                    mistake.remove(ContextKind::Suggested);
                    mistake.remove(ContextKind::SuggestedValue);
                    mistake
                }
                verbs => {
                    let verb = rest[0].to_string_lossy();
                    let those = verbs.join(", ");
                    told(
                        kind,
                        &format!("'{option}' is no option of '{verb}', but of {those}"),
                    )
                }
            }
        }
        _ => {
            mistake.remove(ContextKind::SuggestedValue);
            mistake
        }
    }
}

/// The verbs that are shown and have such an option; those that have it only beside `--soft` with
/// that.
fn verbs_with(command: &Command, option: &str) -> Vec<String> {
    let Some(name) = option
        .strip_prefix("--")
        .and_then(|name| name.split('=').next())
    else {
        return Vec::new();
    };
    let soft_only = ["press-again-after", "hard-after"].contains(&name);
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let has = |verb: &&Command| {
        let mut options = verb.get_arguments().filter(|arg| !arg.is_global_set());
        options.any(|arg| arg.get_long() == Some(name))
    };
    let called = |verb: &Command| match (verb.get_name(), soft_only) {
        ("soft", _) | (_, false) => verb.get_name().to_owned(),
        (verb, true) => format!("{verb} --soft"),
    };
    shown.filter(has).map(called).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn read(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::read(line.split(' ').map(OsString::from))
    }

    fn said(line: &str) -> String {
        let mistake = read(line).expect_err(line);
        mistake
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    #[test]
    fn every_verb_is_in_one_group_and_its_examples_can_be_typed() {
        let command = CommandLine::command();
        let visible: BTreeSet<&str> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(Command::get_name)
            .collect();
        let grouped: Vec<&str> = entries().map(|(verb, ..)| *verb).collect();
        assert_eq!(grouped.len(), visible.len());
        assert_eq!(visible, grouped.iter().copied().collect());
        for (verb, text, examples) in entries() {
            assert!(text.len() <= 50, "{verb}: {text}");
            for example in examples {
                assert!(example.starts_with(verb), "{example}");
                let line = format!("rackbmc {}", example.replace("'new fans'", "fans"));
                assert!(read(&line).is_ok(), "{line}: {}", read(&line).unwrap_err());
            }
        }
    }

    #[test]
    fn an_option_of_other_verbs_is_said_to_be_theirs_and_nothing_leads_behind_two_dashes() {
        for (line, answer) in [
            (
                "rackbmc reset n1 --hard-after 3s",
                "error: '--hard-after' is no option of 'reset', but of off --soft, soft, reboot --soft, boot --soft",
            ),
            (
                "rackbmc on n1 --from pxe",
                "error: '--from' is no option of 'on', but of boot",
            ),
            (
                "rackbmc tasks --fresh",
                "error: '--fresh' is no option of 'tasks', but of status",
            ),
            (
                "rackbmc off n1 --frobnicate",
                "error: unexpected argument '--frobnicate' found",
            ),
        ] {
            assert_eq!(said(line), answer);
            assert!(!said_whole(line).contains("-- --"), "{line}");
        }
    }

    #[test]
    fn what_follows_a_noun_has_its_examples_too_and_they_can_be_typed() {
        let command = CommandLine::command();
        // `chassis power` has the verbs above.
        let nouns = command.get_subcommands().filter(|noun| !noun.is_hide_set());
        let mut expected = BTreeSet::new();
        for noun in nouns {
            let inner = noun
                .get_subcommands()
                .filter(|inner| !inner.has_subcommands());
            expected.extend(inner.map(|inner| format!("{} {}", noun.get_name(), inner.get_name())));
        }
        let listed: BTreeSet<String> = INNER.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(expected, listed);
        for (path, examples) in INNER {
            for example in examples {
                assert!(example.starts_with(path), "{example}");
                let line = format!("rackbmc {example}");
                assert!(read(&line).is_ok(), "{line}: {}", read(&line).unwrap_err());
            }
            let help = said_whole(&format!("rackbmc {path} --help"));
            assert!(
                help.contains("Examples:") && help.contains(POINTER),
                "{help}"
            );
        }
    }

    fn said_whole(line: &str) -> String {
        read(line).expect_err(line).to_string()
    }

    #[test]
    fn options_of_every_verb_are_known_wherever_the_verb_is_looked_for() {
        for option in command().get_arguments().filter(|arg| arg.is_global_set()) {
            let Some(name) = option.get_long().filter(|name| *name != "help") else {
                continue;
            };
            let mut words = vec!["rackbmc".to_owned(), format!("--{name}")];
            if option.get_action().takes_values() {
                let joined = [
                    "rackbmc".to_owned(),
                    format!("--{name}=x"),
                    "off".to_owned(),
                ];
                let joined = joined.map(OsString::from);
                assert_eq!(first_word(&joined), 2, "{name}");
                words.push("x".to_owned());
            }
            words.push("off".to_owned());
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            assert_eq!(first_word(&words), words.len() - 1, "{name}");
            if let Some(short) = option.get_short() {
                let mut words = words.clone();
                words[1] = format!("-{short}").into();
                assert_eq!(first_word(&words), words.len() - 1, "{name}");
            }
        }
    }

    #[test]
    fn a_verbs_help_is_its_own_and_short() {
        let mut command = command();
        command.build();
        for (verb, ..) in entries() {
            let sub = command.find_subcommand_mut(verb).expect("grouped");
            let help = sub.render_help().to_string();
            assert!(!help.contains("--socket <"), "{verb}: {help}");
            assert!(
                help.contains("Examples:") && help.contains(POINTER),
                "{verb}: {help}"
            );
            let moods = help.contains("ignores-first[:N]");
            assert_eq!(moods, *verb == "sim", "{help}");
            let long = ["sim", "boot", "soft", "off", "reboot"].contains(verb);
            assert!(
                help.lines().count() <= if long { 64 } else { 52 },
                "{verb}: {help}"
            );
        }
    }

    #[test]
    fn an_option_is_taken_only_where_it_holds() {
        assert!(read("rackbmc soft n1 --hard-after 5m").is_ok());
        assert!(read("rackbmc off n1 --soft --hard-after 5m").is_ok());
        for line in [
            "rackbmc off n1 --hard-after 5m",
            "rackbmc on n1 --hard-after 5m",
            "rackbmc reset n1 --press-again-after 5m",
            "rackbmc boot n1 --hard-after 5m",
        ] {
            assert_eq!(read(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_help_of_the_program() {
        insta::assert_snapshot!(command().render_help().to_string(), @r#"
        The power of a rack's machines, through rackbmcd.

        Usage: rackbmc VERB [NODES] [OPTIONS]

        NODES are node sets: r1n03, r1n[01-16,20], @group, several of them, minus those of -x.
        Verbs that change something never mean "all nodes" unless --all says so.

        Look
          status                    power states, and how old each reading is
          watch                     the rack on a full screen, as it changes
          events                    what happens, as it happens
          explain                   all that is known of a BMC, and why
          history                   what happened to nodes, newest first
          check                     for Nagios: one line, its own exit codes
          wait                      until nodes are on, or off; does nothing about it

        Power
          on                        switch on
          off                       switch off hard; softly with --soft
          soft                      ask the operating system to shut down
          reboot                    off and on again; softly with --soft
          boot                      start, from another device with --from
          reset                     hard reset, once
          cycle                     power cycle by the BMC, once
          nmi                       diagnostic interrupt, once; then watch

        Tasks
          tasks                     those that run, and the last that ended
          task                      one in full: what was sent, what may be done
          batch                     batches, or one with all its nodes
          abort                     stop now, leave the machine as it is
          cancel                    withdraw what has not been sent yet
          rollback                  stop, and bring the power state back
          suspend                   hold still; no patience runs out
          resume                    go on, after a look at the machine

        The rack
          pause                     the big red button: nothing new, all suspended
          release                   end the pause
          ha                        the hosts of a rack that has several
          maintenance               mark nodes as being worked on
          retry                     forget failed log-ins, try again
          audit                     who changed what
          support                   one file for whoever is to find out what is wrong

        Many racks (--fleet)
          racks                     each rack: answer, counts, tasks, trouble

        BMCs
          bmc                       who they are; restart them; accept another one
          chassis                   faults, identify light, restore policy
          sel                       their event logs
          power-use                 watts now
          identify                  blink the light
          bootdev                   what nodes boot from next
          raw                       one IPMI command in bytes (experts)

        Try it, and tools
          discover                  which BMCs a network has
          init                      a first configuration, by questions
          demo                      a simulated rack and the real daemon
          sim                       simulated BMCs for any IPMI client
          completion                completion for bash, zsh or fish
          man                       the man page
          node-show                 a node, as `ironic` showed it
          node-show-states          its states, as `ironic` showed them
          node-set-power-state      its power, as `ironic` set it

        Options of every verb
              --socket PATH         The daemon's socket
              --rack RACK           Which rack's daemon, where this host has several:
                                    the one whose socket is /run/rackbmcd/RACK.sock
              --fleet               Many racks at once: those of fleet.toml, else those
                                    of this host. Nodes are named with their rack:
                                    r7/n03, r[1-20]/@compute. With --rack, that one of
                                    them
              --fleet-file FILE     The file of the fleet's racks;
                                    ~/.config/rackbmc/fleet.toml or
                                    /etc/rackbmc/fleet.toml where not given
              --url URL             Reach the daemon over TCP instead, at
                                    http://HOST:PORT (https://HOST:PORT in a build with
                                    TLS). Where the rack has several hosts, all of
                                    theirs, with commas: whichever has the rack is
                                    asked
              --auth-file FILE      A file with user:password for --url (or put them
                                    into RACKBMC_AUTH)
              --cacert FILE         A file of those who vouch for an https:// daemon
                                    (PEM); the system's authorities where not given
          -o, --output FORMAT       How answers are written: text, wide (a table with
                                    all there is), json, yaml, name
          -b, --fold                Put nodes with the same answer into one line
          -q, --quiet               No progress on stderr
          -h, --help                Print this help

        Of a verb: rackbmc VERB --help
        Exit codes: 0 done and read back; 1 some or all nodes failed; 2 usage; 3 daemon unreachable;
        4 not permitted; 5 the wait ran out, the task still runs; 6 aborted, cancelled or rolled back.
        "#);
    }
}
