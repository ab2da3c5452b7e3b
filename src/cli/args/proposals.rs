//! What is said of a line that begins with no verb: the line that was probably meant, as it can be
//! typed.

use super::fingers::meant;
use super::verbs::GROUPS;
use clap::Command;
use std::borrow::Cow;
use std::ffi::OsString;

/// The words that lead to a verb, as in `rackbmc bmc info`, as far as there are such, and what they
/// lead to.
pub(super) fn noun<'a>(command: &'a Command, words: &[OsString]) -> (&'a Command, String) {
    let (mut noun, mut path) = (command, "rackbmc".to_owned());
    for typed in words {
        let inner = noun
            .find_subcommand(typed)
            .filter(|inner| inner.has_subcommands());
        if let Some(inner) = inner {
            noun = inner;
            path = format!("{path} {}", inner.get_name());
        }
    }
    (noun, path)
}

/// Where the verbs are found that may stand there: of a noun all of them.
pub(super) fn verbs_of(noun: &Command, path: &str) -> String {
    if path == "rackbmc" {
        return "All verbs: rackbmc --help".to_owned();
    }
    let verbs = noun.get_subcommands().filter(|verb| !verb.is_hide_set());
    let verbs: Vec<&str> = verbs.map(Command::get_name).collect();
    format!("There are: {} ({path} --help)", verbs.join(", "))
}

pub(super) fn in_words(words: &[OsString]) -> Vec<String> {
    let words = words.iter().map(|word| word.to_string_lossy());
    words.map(Cow::into_owned).collect()
}

/// What is said of a word that is none of the verbs that may stand where it stands, behind options
/// of every verb.
pub(super) fn no_verb(
    command: &Command,
    before: &[String],
    words: &[OsString],
    word: &str,
) -> String {
    let place = words.iter().position(|typed| typed == word).unwrap_or(0);
    let (noun, path) = noun(command, &words[..place]);
    let is_first = path == "rackbmc";
    let head = match is_first {
        true => format!("there is no verb '{word}'"),
        false => format!("there is no '{path} {word}'"),
    };
    let (from_here, words) = (&words[place..], in_words(&words[place..]));
    if let Some((tips, why)) = meant(from_here).filter(|_| is_first) {
        return with_tips(&head, &theirs(command, before, tips, &words), why);
    }
    let line = |verb: &str, rest: &[&[String]]| line(&path, before, verb, rest);
    let verb = words
        .iter()
        .position(|typed| noun.find_subcommand(typed).is_some());
    // `switch` is close to `watch`, and `switch off` is not.
    let tips = match is_node(word) || verb.is_some() && is_of_sentence(word) {
        true => Vec::new(),
        false => tips(noun, word, is_first),
    };
    match (verb, tips.is_empty()) {
        (Some(at), true) => {
            let lines = verb_first(&words, at).map(|rest| line(&words[at], &[&rest]));
            match lines.into_iter().find(|line| is_taken(command, line)) {
                Some(line) => format!("the verb comes first: {}", line.join(" ")),
                None => head,
            }
        }
        (None, _) if is_first && is_node(word) => {
            let line = line("status", &[&words[..1]]);
            format!(
                "'{word}' is no verb; the verb comes first: {}",
                line.join(" ")
            )
        }
        _ => {
            let tips = tips.iter().map(|tip| {
                let whole = line(tip, &[&words[1..]]);
                let line = Some(whole).filter(|line| is_taken(command, line));
                line.unwrap_or_else(|| self::line(&path, before, tip, &[]))
            });
            with_tips(&head, &tips.collect::<Vec<_>>(), "")
        }
    }
}

/// Whether a word looks like a set of nodes.
fn is_node(word: &str) -> bool {
    let numbered = word.contains(['[', '@']) || word.bytes().any(|byte| byte.is_ascii_digit());
    numbered && !word.starts_with('-')
}

/// What may follow the verb that stands at that place, the best first.
fn verb_first(words: &[String], at: usize) -> [Vec<String>; 4] {
    let (ahead, behind) = (&words[..at], &words[at + 1..]);
    let (front, back) = nodes_of(ahead, behind);
    [
        [front.as_slice(), &back].concat(),
        [back.as_slice(), &front].concat(),
        [behind, &front].concat(),
        Vec::new(),
    ]
}

/// What stands before a verb and behind it, without words that only make a sentence of it.
fn nodes_of(ahead: &[String], behind: &[String]) -> (Vec<String>, Vec<String>) {
    let named = ahead.iter().chain(behind).any(|word| is_node(word));
    let meant = |word: &&String| match named {
        true => is_node(word) || word.starts_with('-'),
        false => !is_of_sentence(word),
    };
    let mut option = false;
    let kept = |word: &&String| {
        // What follows an option may be its value.
        let is_value = std::mem::replace(&mut option, word.starts_with('-'));
        is_value || !is_of_sentence(word)
    };
    (
        ahead.iter().filter(meant).cloned().collect(),
        behind.iter().filter(kept).cloned().collect(),
    )
}

fn is_of_sentence(word: &str) -> bool {
    SENTENCE.contains(&word.to_ascii_lowercase().as_str())
}

/// Words that people put around a verb.
const SENTENCE: [&str; 16] = [
    "please", "turn", "switch", "power", "set", "put", "make", "do", "go", "the", "it", "node",
    "nodes", "machine", "server", "host",
];

/// Lines that were probably meant by words of another tool: of what was typed only the nodes are
/// taken over.
pub(super) fn theirs(
    command: &Command,
    before: &[String],
    tips: &[&str],
    typed: &[String],
) -> Vec<Vec<String>> {
    // A number alone is theirs: of a sensor, a channel, a user.
    let is_ours = |word: &&String| is_node(word) && !word.bytes().all(|byte| byte.is_ascii_digit());
    let nodes: Vec<String> = typed.iter().skip(1).filter(is_ours).cloned().collect();
    let tips = tips.iter().map(|tip| {
        let whole = line("rackbmc", before, tip, &[&nodes]);
        let line_of = Some(whole).filter(|line| is_taken(command, line));
        line_of.unwrap_or_else(|| line("rackbmc", before, tip, &[]))
    });
    tips.collect()
}

/// A line to type: the options of every verb that were typed stay where they were.
fn line(path: &str, before: &[String], verb: &str, rest: &[&[String]]) -> Vec<String> {
    let (program, noun) = path.split_once(' ').unwrap_or((path, ""));
    let mut line = vec![program.to_owned()];
    line.extend(before.iter().cloned());
    let words = noun.split(' ').chain(verb.split(' '));
    line.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    line.extend(rest.iter().flat_map(|part| part.iter().cloned()));
    line
}

/// Whether a line can be typed.
fn is_taken(command: &Command, line: &[String]) -> bool {
    command.clone().try_get_matches_from(line).is_ok()
}

/// `there is no verb 'statsu'; perhaps 'rackbmc status' (why not the word itself)`.
pub(super) fn with_tips(head: &str, tips: &[Vec<String>], why: &str) -> String {
    let tips: Vec<String> = tips
        .iter()
        .map(|tip| format!("'{}'", tip.join(" ")))
        .collect();
    match (tips.is_empty(), why) {
        (true, "") => head.to_owned(),
        (true, why) => format!("{head}: {why}"),
        (false, "") => format!("{head}; perhaps {}", tips.join(" or ")),
        (false, why) => format!("{head}; perhaps {} ({why})", tips.join(" or ")),
    }
}

/// At most two verbs that were probably meant, the best first. What changes something is named only
/// where hardly a letter is wrong or missing.
fn tips<'a>(noun: &'a Command, word: &str, is_first: bool) -> Vec<&'a str> {
    let typed = word.to_ascii_lowercase();
    let looks = |name: &str| {
        let look = GROUPS.iter().find(|(heading, _)| *heading == "Look");
        is_first && look.is_some_and(|(_, verbs)| verbs.iter().any(|(verb, ..)| *verb == name))
    };
    let mut near: Vec<(usize, &str)> = Vec::new();
    for verb in noun
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() || !is_first)
    {
        let name = verb.get_name();
        let far = verb
            .get_visible_aliases()
            .chain([name])
            .map(|word| strsim::osa_distance(&typed, word))
            .min();
        let far = far.unwrap_or(usize::MAX);
        let begins = typed.len() >= 2 && name.starts_with(typed.as_str());
        let close = match (looks(name), typed.len()) {
            (true, letters) => begins || far <= (letters / 3).max(1),
            (false, letters) => (begins && letters * 2 >= name.len()) || (letters >= 4 && far <= 1),
        };
        if close {
            near.push((far, name));
        }
    }
    near.sort();
    near.into_iter().take(2).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::CommandLine;
    use super::*;

    fn read(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::read(line.split(' ').map(OsString::from))
    }

    fn said(line: &str) -> String {
        let mistake = read(line).expect_err(line).to_string();
        mistake.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_word_that_is_no_verb_leads_to_what_was_meant_and_never_lightly_to_power() {
        for (line, answer) in [
            ("rackbmc config", "error: there is no verb 'config'"),
            (
                "rackbmc r1n01 off",
                "error: the verb comes first: rackbmc off r1n01",
            ),
            (
                "rackbmc r1n[01-04] soft --no-wait",
                "error: the verb comes first: rackbmc soft r1n[01-04] --no-wait",
            ),
            (
                "rackbmc --rack r2 r1n01 off",
                "error: the verb comes first: rackbmc --rack r2 off r1n01",
            ),
            (
                "rackbmc --fleet r7/n01",
                "error: 'r7/n01' is no verb; the verb comes first: rackbmc --fleet status r7/n01",
            ),
            (
                "rackbmc r1n01",
                "error: 'r1n01' is no verb; the verb comes first: rackbmc status r1n01",
            ),
            (
                "rackbmc statsu",
                "error: there is no verb 'statsu'; perhaps 'rackbmc status'",
            ),
            (
                "rackbmc rebot n1",
                "error: there is no verb 'rebot'; perhaps 'rackbmc reboot n1'",
            ),
            (
                "rackbmc info n1",
                "error: there is no verb 'info'; perhaps 'rackbmc explain n1' or 'rackbmc bmc info n1'",
            ),
            (
                "rackbmc power-off n1",
                "error: there is no verb 'power-off'; perhaps 'rackbmc soft n1' or 'rackbmc off n1'",
            ),
            ("rackbmc foo", "error: there is no verb 'foo'"),
            ("rackbmc -q", "error: a verb is missing"),
        ] {
            assert_eq!(said(line), answer, "{line}");
        }
    }

    /// The lines that an answer proposes.
    fn proposed(answer: &str) -> Vec<&str> {
        match answer.split_once("the verb comes first: ") {
            Some((_, line)) => vec![line],
            None => {
                let (_, tips) = answer.split_once("perhaps ").unwrap_or_default();
                let lines = tips.split('\'');
                lines.filter(|part| part.starts_with("rackbmc ")).collect()
            }
        }
    }

    #[test]
    fn whatever_is_proposed_can_be_typed_and_names_the_nodes_that_were_named() {
        for (line, best) in [
            ("turn on r1n01", "rackbmc on r1n01"),
            ("turn r1n01 on", "rackbmc on r1n01"),
            ("switch off r1n[01-04]", "rackbmc off r1n[01-04]"),
            ("please on n1", "rackbmc on n1"),
            ("please turn on alpha", "rackbmc on alpha"),
            ("n1 on", "rackbmc on n1"),
            ("alpha on", "rackbmc on alpha"),
            ("n1 n2 off --no-wait", "rackbmc off n1 n2 --no-wait"),
            ("n1 power off", "rackbmc power off n1"),
            (
                "@storage chassis power soft",
                "rackbmc chassis power soft @storage",
            ),
            ("power n1 off", "rackbmc power off n1"),
            ("power of n1", "rackbmc power off n1"),
            ("turn power off n1", "rackbmc power off n1"),
            ("n1 bmc info", "rackbmc bmc info n1"),
            ("bmc n1 reset --cold", "rackbmc bmc reset n1 --cold"),
            ("-o json n1 status", "rackbmc -o json status n1"),
            (
                "--rack r2 rebot n1 --no-wait",
                "rackbmc --rack r2 reboot n1 --no-wait",
            ),
            ("restart n1", "rackbmc reboot --soft n1"),
            ("--rack r2 stop n1", "rackbmc --rack r2 soft n1"),
            ("sensor list n1", "rackbmc chassis status n1"),
            ("fru print 0 n1", "rackbmc bmc info n1"),
            ("kill t:7k3f9", "rackbmc abort t:7k3f9"),
            ("sdr", "rackbmc chassis status"),
            ("rollbak n1", "rackbmc rollback n1"),
            (
                "n1 maintenance --reason set",
                "rackbmc maintenance n1 --reason set",
            ),
            ("on n1 off", ""),
        ] {
            let line = format!("rackbmc {line}");
            if best.is_empty() {
                assert!(read(&line).is_ok(), "{line}");
                continue;
            }
            let answer = said(&line);
            let proposed = proposed(&answer);
            assert_eq!(proposed.first(), Some(&best), "{line}: {answer}");
            for proposal in proposed {
                assert!(read(proposal).is_ok(), "{line}: {proposal}");
            }
        }
    }
}
