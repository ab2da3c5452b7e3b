//! From what a person wrote (node sets, groups, `-x`, `--all`) to the nodes that are meant.
//!
//! No targets is an error for every verb that changes something, never "all" (design, rule 7);
//! verbs that only read take all nodes then.

use super::args::Nodes;
use super::client::Client;
use super::exit::Failure;
use crate::model::Node;
use crate::nodeset;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, IsTerminal, Write};
use uuid::Uuid;

/// More nodes than this are asked about before their power is changed.
pub(super) const MANY: usize = 16;

/// What no named node means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    Mistake,
    /// All nodes: for verbs that only read.
    All,
}

/// The nodes that are meant, in the order of writing, each known to the daemon.
///
/// # Errors
/// Usage where the expression is wrong, names a node or group that the rack does not have, or
/// nothing at all; and what the way to the daemon may bring.
pub(super) async fn nodes(
    client: &Client,
    wanted: &Nodes,
    unnamed: Unnamed,
) -> Result<Vec<Node>, Failure> {
    if wanted.nodes.is_empty() && !wanted.all && unnamed == Unnamed::Mistake {
        return Err(Failure::Usage(
            "no targets: name nodes (r1n03, r1n[01-16], @group), or say --all".into(),
        ));
    }
    choose(client.nodes().await?, wanted)
}

/// The same for whoever asks the daemon for these nodes next: their names are all that is told of
/// them.
///
/// # Errors
/// As [`nodes`], where no node at all means all.
pub(super) async fn names(client: &Client, wanted: &Nodes) -> Result<Vec<String>, Failure> {
    let mut words = wanted.nodes.iter().chain(&wanted.exclude);
    let groups = words.any(|word| word.contains('@'));
    let chosen = choose(client.nodes_to_choose(groups).await?, wanted)?;
    Ok(chosen.iter().map(|node| name(node).to_owned()).collect())
}

/// The part of `nodes` that needs no daemon.
fn choose(known: Vec<Node>, wanted: &Nodes) -> Result<Vec<Node>, Failure> {
    if known.is_empty() {
        return Err(Failure::Usage(
            "the rack has no nodes yet: its configuration wants a [[node]], then `systemctl reload rackbmcd`"
                .into(),
        ));
    }
    let all = wanted.all || wanted.nodes.is_empty();
    if all && wanted.exclude.is_empty() {
        return Ok(known);
    }
    let usage = |e: nodeset::NodeSetError| Failure::Usage(e.to_string());
    let groups = |group: &str| members(&known, group);
    let mut named = wanted.nodes.clone();
    if all {
        named = vec!["@all".into()];
    }
    let names = nodeset::expand_all(&named, &wanted.exclude, &groups).map_err(usage)?;
    let by_name: HashMap<&str, &Node> = known.iter().map(|node| (name(node), node)).collect();
    let by_uuid: HashMap<Uuid, &Node> = known.iter().map(|node| (node.uuid, node)).collect();
    let find = |word: &str| {
        let uuid = || {
            Uuid::try_parse(word)
                .ok()
                .and_then(|uuid| by_uuid.get(&uuid))
        };
        by_name.get(word).or_else(uuid).copied()
    };
    let mut chosen: Vec<Node> = Vec::new();
    let mut taken = HashSet::new();
    let mut missing = Vec::new();
    for name in &names {
        match find(name) {
            Some(node) if !taken.insert(node.uuid) => {}
            Some(node) => chosen.push(node.clone()),
            None => missing.push(name.as_str()),
        }
    }
    // A typing error among the excluded names would press buttons that were meant to be spared.
    if !wanted.exclude.is_empty() {
        let excluded = nodeset::expand_all(&wanted.exclude, &[] as &[&str], &groups);
        for name in excluded.map_err(usage)? {
            if find(&name).is_none() {
                return Err(Failure::Usage(format!(
                    "-x {name}: the rack has no such node; nothing was done"
                )));
            }
        }
    }
    if missing.is_empty() {
        return Ok(chosen);
    }
    let meant = match missing.as_slice() {
        ["all"] => "; all of them are --all",
        ["help"] => "; about a verb: rackbmc VERB --help",
        // No node can be called so.
        [id] if id.starts_with("t:") || id.starts_with("b:") => {
            "; an id has five letters behind its colon, as in t:7k3f9"
        }
        _ => "",
    };
    Err(Failure::Usage(format!(
        "the rack has no node {}; nothing was done (it has {}{meant})",
        nodeset::fold(&missing),
        nodeset::fold(known.iter().map(name))
    )))
}

/// The name of the node that has that uuid.
///
/// # Errors
/// What the way to the daemon may bring.
pub(super) async fn named_by_uuid(client: &Client, uuid: &str) -> Result<Option<String>, Failure> {
    let Ok(uuid) = Uuid::try_parse(uuid) else {
        return Ok(None);
    };
    let nodes = client.nodes().await?;
    let found = nodes.iter().find(|node| node.uuid == uuid);
    Ok(found.map(|node| name(node).to_owned()))
}

/// The name a person knows a node by.
pub(super) fn name(node: &Node) -> &str {
    &node.name
}

/// The nodes of a group, by name; `None` where it has none.
pub(super) fn members(known: &[Node], group: &str) -> Option<Vec<String>> {
    let in_group = |node: &&Node| group == "all" || node.rackbmcd.groups.iter().any(|g| g == group);
    let names: Vec<String> = known
        .iter()
        .filter(in_group)
        .map(|node| name(node).to_owned())
        .collect();
    (!names.is_empty()).then_some(names)
}

/// Connections at the same time: more of them would be taken from others.
const HANDFUL: usize = 8;

/// Does something for each of many, a handful at a time; the answers in the order of the items.
pub(super) async fn each_of<I, T>(items: &[I], what: impl AsyncFn(&I) -> T) -> Vec<T> {
    each_at_once(items, HANDFUL, what).await
}

/// The same, of so many at a time.
pub(super) async fn each_at_once<I, T>(
    items: &[I],
    at_once: usize,
    what: impl AsyncFn(&I) -> T,
) -> Vec<T> {
    let next = Cell::new(0);
    let answers = RefCell::new(Vec::from_iter(items.iter().map(|_| None)));
    let worker = async || {
        while let Some(item) = items.get(next.get()) {
            let place = next.replace(next.get() + 1);
            let answer = what(item).await;
            answers.borrow_mut()[place] = Some(answer);
        }
    };
    let executor = smol::LocalExecutor::new();
    let workers: Vec<_> = (0..at_once.min(items.len()))
        .map(|_| executor.spawn(worker()))
        .collect();
    executor
        .run(async {
            for worker in workers {
                worker.await;
            }
        })
        .await;
    drop(executor);
    answers.into_inner().into_iter().flatten().collect()
}

/// Asks before the power of many nodes is changed.
///
/// # Errors
/// Usage where the answer is no, or where nobody can be asked and `--yes` was not given.
pub(super) fn confirm(what: &str, names: &[&str], yes: bool) -> Result<(), Failure> {
    confirm_above(MANY, what, names, yes)
}

/// Asks before something is done to more than so many nodes.
///
/// # Errors
/// As [`confirm`].
pub(super) fn confirm_above(
    many: usize,
    what: &str,
    names: &[&str],
    yes: bool,
) -> Result<(), Failure> {
    if yes || names.len() <= many {
        return Ok(());
    }
    let question = match names {
        [name] => format!("{what}: {name}"),
        _ => format!("{what}: {} nodes ({})", names.len(), nodeset::fold(names)),
    };
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{question}: this wants --yes; nothing was done"
        )));
    }
    // Nobody can be asked where the question cannot be written: no answer is no.
    let _ = write!(io::stderr(), "{question}: go on? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::Usage("nothing was done".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeDetail;
    use uuid::Uuid;

    fn rack() -> Vec<Node> {
        (1..=4)
            .map(|n| Node {
                name: format!("r1n{n:02}").into(),
                uuid: Uuid::from_u128(n),
                rackbmcd: NodeDetail {
                    groups: if n > 2 {
                        ["storage".to_owned()].into()
                    } else {
                        [].into()
                    },
                    ..NodeDetail::default()
                },
                ..Node::default()
            })
            .collect()
    }

    fn chosen(nodes: &[&str], exclude: &[&str], all: bool) -> Result<String, String> {
        let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let wanted = Nodes {
            nodes: own(nodes),
            exclude: own(exclude),
            all,
        };
        choose(rack(), &wanted)
            .map(|nodes| nodeset::fold(nodes.iter().map(name)))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn sets_groups_exclusions_and_uuids_name_nodes() {
        assert_eq!(chosen(&["r1n[01-03]"], &[], false).unwrap(), "r1n[01-03]");
        assert_eq!(
            chosen(&["@storage", "r1n01"], &["r1n04"], false).unwrap(),
            "r1n[01,03]"
        );
        assert_eq!(chosen(&[], &["@storage"], true).unwrap(), "r1n[01-02]");
        let uuid = "00000000-0000-0000-0000-000000000002";
        assert_eq!(chosen(&[uuid, "r1n02"], &[], false).unwrap(), "r1n02");
    }

    #[test]
    fn one_unknown_name_and_nothing_is_done_at_all() {
        let no = chosen(&["r1n[03-06]"], &[], false).unwrap_err();
        assert_eq!(
            no,
            "the rack has no node r1n[05-06]; nothing was done (it has r1n[01-04])"
        );
        let no = chosen(&["all"], &[], false).unwrap_err();
        assert_eq!(
            no,
            "the rack has no node all; nothing was done (it has r1n[01-04]; all of them are --all)"
        );
        for id in ["t:0", "b:7k3f"] {
            let no = chosen(&[id], &[], false).unwrap_err();
            assert!(no.contains("an id has five letters"), "{no}");
        }
        assert!(
            chosen(&["@compute"], &[], false)
                .unwrap_err()
                .contains("no group 'compute'")
        );
        assert!(
            chosen(&["r1n01"], &["r1n09"], false)
                .unwrap_err()
                .contains("r1n09")
        );
    }

    #[test]
    fn no_target_is_a_mistake_and_never_all() {
        let client = Client::new(super::super::connect::Endpoint::Unix("/nowhere".into()));
        let failure = smol::block_on(nodes(&client, &Nodes::default(), Unnamed::Mistake));
        assert_eq!(failure.unwrap_err().exit() as u8, 2);
    }

    #[test]
    fn a_script_must_say_yes_to_many() {
        let names: Vec<String> = (0..17).map(|n| format!("n{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(confirm("power off", &names[..16], false).is_ok());
        assert!(confirm("power off", &names, true).is_ok());
        if !io::stdin().is_terminal() {
            let no = confirm("power off", &names, false).unwrap_err();
            assert_eq!(no.exit() as u8, 2);
        }
    }
}
