//! Completion: what may stand where the cursor is. Verbs, options and their values come from the
//! command line's own description; nodes, groups, tasks and batches from the daemon, or from
//! nowhere where it does not answer at once.
//!
//! The scripts of the shells ask `rackbmc __complete WORDS...`, the last of which is the one to be
//! completed, and get a line for each candidate, with what it is behind a tab.

mod sets;

use super::args::{CommandLine, Common};
use super::client::Client;
use super::exit::Exit;
use super::fleet::{self, Rack};
use super::output;
use crate::model::{Batch, BatchState, BootDevice, RestorePolicy, Short, Task, Words};
use crate::nodeset;
use clap::ValueEnum;
use clap_complete::engine::{self, CompletionCandidate};
use smol::future::or;
use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;
use std::time::Duration;

/// How long the daemon has: nobody waits for a Tab.
const PATIENCE: Duration = Duration::from_millis(500);
/// Tasks and batches that are offered.
const TASKS: u32 = 30;

/// Whom the words of the line mean.
enum Asked {
    /// One daemon.
    One(Client),
    /// Those of many racks.
    Fleet(Vec<Rack>),
    /// Nobody.
    Nobody,
}

/// Whom the words of the line mean, the verb, and the options of every verb.
static LINE: OnceLock<(Asked, String, Option<Common>)> = OnceLock::new();

/// Prints the candidates for the last of the words.
pub(super) fn complete(words: Vec<OsString>) -> Exit {
    let mut words = CommandLine::in_our_words(words);
    if words.len() < 2 {
        words.push(OsString::new());
    }
    // The last word is not finished, and may be none that an option takes.
    let finished = || Common::of_a_beginning(&words[..words.len() - 1]);
    let common = Common::of_a_beginning(&words).or_else(finished);
    let asked = common.as_ref().map_or(Asked::Nobody, meant);
    let _ = LINE.set((asked, verb(&words), common));
    let mut command = CommandLine::described();
    let place = words.len() - 1;
    let typed = words[place].to_string_lossy().into_owned();
    let found = engine::complete(&mut command, words, place, None).unwrap_or_default();
    let line = |candidate: &CompletionCandidate| {
        let value = candidate.get_value().to_string_lossy();
        // Of a verb's names clap offers the first one of the alphabet.
        let verb = candidate
            .get_id()
            .and_then(|id| id.strip_prefix("command::"));
        let verb = verb.filter(|verb| verb.starts_with(&*typed));
        let value = verb.map_or(value, Into::into);
        let help = candidate.get_help().map(ToString::to_string);
        let help = help.as_deref().and_then(|help| help.lines().next());
        let help = help.map(|help| output::harmless(help.trim_end_matches('.'), false));
        let help = help.map_or(String::new(), |help| format!("\t{help}"));
        format!("{}{help}\n", output::harmless(&value, false))
    };
    let shown = found.iter().filter(|candidate| !candidate.is_hide_set());
    output::write(shown.map(line).collect::<String>().as_bytes());
    Exit::Done
}

/// Whom the options mean, as far as they are written.
fn meant(common: &Common) -> Asked {
    if common.fleet && common.rack.is_none() {
        return fleet::racks(common).map_or(Asked::Nobody, Asked::Fleet);
    }
    super::endpoints(common).map_or(Asked::Nobody, |at| Asked::One(Client::of_one_of(at)))
}

/// The first word that is no option.
fn verb(words: &[OsString]) -> String {
    let written = words[..words.len() - 1].iter().skip(1);
    let mut written = written.map(|word| word.to_string_lossy());
    let verb = written.find(|word| !word.starts_with('-'));
    verb.unwrap_or_default().into_owned()
}

/// What the daemon says about a word, or nothing where it does not say it soon. It knows nothing of
/// options.
fn asked<T: Default>(word: &str, question: impl AsyncFn(&Client) -> Option<T>) -> T {
    if word.starts_with('-') {
        return T::default();
    }
    let Some((Asked::One(client), ..)) = LINE.get() else {
        return T::default();
    };
    soon(async { question(client).await.unwrap_or_default() })
}

/// An answer that comes soon, or none.
fn soon<T: Default>(answer: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(PATIENCE).await;
        T::default()
    };
    smol::block_on(or(answer, late))
}

/// Node sets; for a control, the tasks and batches as well.
pub(super) fn nodes(current: &OsStr) -> Vec<CompletionCandidate> {
    let word = current.to_string_lossy();
    let mut found = Vec::new();
    let verb = LINE.get().map(|(_, verb, _)| verb.as_str());
    let controls = matches!(
        verb,
        Some("abort" | "cancel" | "rollback" | "suspend" | "resume")
    );
    if let Some((Asked::Fleet(racks), ..)) = LINE.get() {
        if controls {
            found.extend(fleet_ids(&word, racks));
        }
        found.extend(over_racks(&word, racks));
        return found;
    }
    if controls {
        found.extend(task_ids(&word, true));
        found.extend(batch_ids(&word, true));
    }
    found.extend(sets_for(&word));
    found
}

/// A task, or a node.
pub(super) fn tasks(current: &OsStr) -> Vec<CompletionCandidate> {
    let word = current.to_string_lossy();
    let mut found = task_ids(&word, false);
    found.extend(sets_for(&word));
    found
}

/// A batch.
pub(super) fn batches(current: &OsStr) -> Vec<CompletionCandidate> {
    let word = current.to_string_lossy();
    match LINE.get() {
        Some((Asked::Fleet(racks), ..)) => fleet_ids(&word, racks),
        _ => batch_ids(&word, false),
    }
}

/// The names of racks: of the fleet, else of this host.
pub(super) fn racks(current: &OsStr) -> Vec<CompletionCandidate> {
    let word = current.to_string_lossy();
    let common = LINE.get().and_then(|(.., common)| common.as_ref());
    let known = common.map(fleet::names).unwrap_or_default();
    let found = sets::with_names(&word, &known);
    found.into_iter().map(CompletionCandidate::new).collect()
}

/// What a node may boot from, and `none` to take that back.
pub(super) fn boot_devices(current: &OsStr) -> Vec<CompletionCandidate> {
    let named = BootDevice::ALL.map(|device| device.name().replace('_', "-"));
    let named = named.into_iter().filter(|name| !name.starts_with("0x"));
    let mut words: Vec<String> = named.chain(["usb".to_owned()]).collect();
    // `boot --from` takes nothing back.
    if LINE.get().is_some_and(|(_, verb, _)| verb == "bootdev") {
        words.push("none".to_owned());
    }
    those(current, words)
}

/// What machines may do when mains power comes back.
pub(super) fn policies(current: &OsStr) -> Vec<CompletionCandidate> {
    those(current, RestorePolicy::words())
}

/// The verbs that have a page.
pub(super) fn verbs(current: &OsStr) -> Vec<CompletionCandidate> {
    let described = CommandLine::described();
    let shown = described
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set());
    those(current, shown.map(|verb| verb.get_name().to_owned()))
}

/// How long a light blinks where it is not a duration.
pub(super) fn lasting(current: &OsStr) -> Vec<CompletionCandidate> {
    those(current, ["forever"])
}

/// The hosts of the rack.
pub(super) fn hosts(current: &OsStr) -> Vec<CompletionCandidate> {
    let word = current.to_string_lossy();
    let known = asked(&word, async |client| client.ha().await.ok());
    those(current, known.hosts.into_iter().map(|host| host.host))
}

/// Those of some words that begin as what is typed.
fn those(
    current: &OsStr,
    words: impl IntoIterator<Item = impl Into<String>>,
) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let words = words.into_iter().map(Into::<String>::into);
    let fit = words.filter(|word| word.starts_with(&*typed));
    fit.map(CompletionCandidate::new).collect()
}

/// Sets of nodes with their racks.
fn over_racks(word: &str, racks: &[Rack]) -> Vec<CompletionCandidate> {
    if word.starts_with('-') {
        return Vec::new();
    }
    let (before, part) = sets::parted(word);
    let found = match part.split_once('/') {
        None if part.starts_with('@') => {
            let groups = soon(fleet::groups(racks));
            sets::with_groups(word, &groups)
        }
        None => {
            let names: Vec<String> = racks
                .iter()
                .map(|rack| format!("{}/", rack.name()))
                .collect();
            sets::with_names(word, &names)
        }
        Some((typed, node)) => {
            let typed_racks = nodeset::expand_pattern(typed).unwrap_or_default();
            let first = typed_racks.first();
            let rack = racks
                .iter()
                .find(|rack| Some(rack.name()) == first.map(String::as_str));
            let Some(rack) = rack else { return Vec::new() };
            let inside = match node.starts_with('@') {
                true => sets::with_groups(node, &soon(fleet::groups_of(rack))),
                false => sets::with_names(node, &soon(fleet::names_of(rack))),
            };
            let whole = |inside: String| format!("{before}{typed}/{inside}");
            inside.into_iter().map(whole).collect()
        }
    };
    found.into_iter().map(CompletionCandidate::new).collect()
}

/// Ids of fleet batches.
fn fleet_ids(word: &str, racks: &[Rack]) -> Vec<CompletionCandidate> {
    match fits(word, "f:") {
        true => helped(word, soon(fleet::ids(racks)).into_iter()),
        false => Vec::new(),
    }
}

/// Groups, with commas between them.
pub(super) fn groups(current: &OsStr) -> Vec<CompletionCandidate> {
    let word = current.to_string_lossy();
    let groups = asked(&word, async |client| client.groups().await.ok());
    let fitting = groups.iter().filter(|group| group.starts_with(&*word));
    fitting.map(CompletionCandidate::new).collect()
}

fn sets_for(word: &str) -> Vec<CompletionCandidate> {
    let wants_groups = sets::last_part(word).starts_with('@');
    let known = asked(word, async |client| match wants_groups {
        true => client.groups().await.ok(),
        false => client.names().await.ok(),
    });
    let found = match wants_groups {
        true => sets::with_groups(word, &known),
        false => sets::with_names(word, &known),
    };
    found.into_iter().map(CompletionCandidate::new).collect()
}

fn task_ids(word: &str, active: bool) -> Vec<CompletionCandidate> {
    if !fits(word, "t:") {
        return Vec::new();
    }
    let tasks = asked(word, async |client| {
        client.tasks(None, None, active, TASKS).await.ok()
    });
    let candidate = |task: &Task| {
        let help = format!("{} of {}, {}", task.operation, task.node, task.state);
        (Short::task(task.id), help)
    };
    helped(word, tasks.iter().map(candidate))
}

fn batch_ids(word: &str, active: bool) -> Vec<CompletionCandidate> {
    if !fits(word, "b:") {
        return Vec::new();
    }
    let batches = asked(word, async |client| client.batches().await.ok());
    let runs = |batch: &&Batch| {
        !active || batch.state == BatchState::Running || batch.state == BatchState::Suspended
    };
    let candidate = |batch: &Batch| {
        let nodes = output::nodes(batch.nodes.len());
        let help = format!("{} of {nodes}, {}", batch.operation, batch.state);
        (Short::batch(batch.id), help)
    };
    let some = batches.iter().filter(runs).take(TASKS as usize);
    helped(word, some.map(candidate))
}

/// Whether a word may become an id that begins so: it is a beginning of that, or that of it.
fn fits(word: &str, start: &str) -> bool {
    start.starts_with(word) || word.starts_with(start)
}

fn helped(
    word: &str,
    candidates: impl Iterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    candidates
        .filter(|(id, _)| id.starts_with(word))
        .map(|(id, help)| CompletionCandidate::new(id).help(Some(help.into())))
        .collect()
}

/// A shell that we have a script for.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The script of a shell.
pub(super) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("complete/rackbmc.bash"),
        Shell::Zsh => include_str!("complete/rackbmc.zsh"),
        Shell::Fish => include_str!("complete/rackbmc.fish"),
    }
}
