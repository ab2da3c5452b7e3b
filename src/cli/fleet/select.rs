//! From what a person wrote to the nodes that are meant, over many racks: `r[1-20]/n[01-16]`,
//! `r7/@compute`, `@storage`.
//!
//! The racks that are named are asked for their nodes, and no others. What is named of a rack that
//! does not answer is kept beside the reason. No targets is an error for every verb that changes
//! something, as within a rack (design, rule 7).

use super::summaries::Heard;
use super::{Answer, Fleet, PATIENCE, Rack, no_rack};
use crate::cli::args::Nodes;
use crate::cli::exit::Failure;
use crate::cli::select::{Unnamed, members, name};
use crate::model::Node;
use crate::nodeset::{self, Fault, NodeSetError};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// What is wanted of the nodes that are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Facts {
    /// Name and uuid, of the racks that are sure to be those which are meant: buttons will be
    /// pressed.
    Names,
    /// What people are shown.
    Shown,
    /// The same, of what racks have published where that is not stale.
    Published,
    /// Ironic's whole record.
    Whole,
}

/// Nodes of one rack.
pub(super) struct Chosen<'f> {
    pub rack: &'f Rack,
    /// Its nodes, in the order of writing, by the names that they have there.
    pub nodes: Vec<Node>,
}

impl Chosen<'_> {
    /// The names that the nodes have in their rack.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.nodes.iter().map(|node| name(node).to_owned());
        names.collect()
    }
}

/// A rack that did not answer.
pub(super) struct Silent<'f> {
    pub rack: &'f Rack,
    pub why: Failure,
    /// What was named of it.
    pub nodes: String,
}

/// What is meant, rack by rack in the order of the fleet.
pub(super) struct Selection<'f> {
    /// The nodes of the racks that answered.
    pub chosen: Vec<Chosen<'f>>,
    /// The racks that did not.
    pub silent: Vec<Silent<'f>>,
    /// Those of them whose last words are old, and are among the chosen all the same.
    pub stale: Vec<(&'f Rack, Failure)>,
}

/// The nodes that are meant, each known to its rack.
///
/// # Errors
/// Usage where the expression is wrong, names a rack, node or group that is not there, or nothing
/// at all.
pub(super) async fn select<'f>(
    fleet: &'f Fleet,
    wanted: &Nodes,
    unnamed: Unnamed,
    facts: Facts,
) -> Result<Selection<'f>, Failure> {
    select_within(fleet, wanted, unnamed, facts, PATIENCE).await
}

/// The same where racks have another time to answer.
///
/// # Errors
/// As [`select`].
pub(super) async fn select_within<'f>(
    fleet: &'f Fleet,
    wanted: &Nodes,
    unnamed: Unnamed,
    facts: Facts,
    patience: std::time::Duration,
) -> Result<Selection<'f>, Failure> {
    let mut words = wanted.nodes.clone();
    if words.is_empty() && !wanted.all && unnamed == Unnamed::Mistake {
        return Err(Failure::Usage(
            "no targets: name nodes with their racks (r7/n03, r[1-20]/n[01-16], r7/@compute, @storage), or say --all"
                .into(),
        ));
    }
    if words.is_empty() || wanted.all {
        words = vec!["@all".into()];
    }
    let named = Named::read(&words, &wanted.exclude, fleet)?;
    let racks: Vec<&Rack> = fleet.racks.iter().filter(|rack| named.has(rack)).collect();
    let groups = words
        .iter()
        .chain(&wanted.exclude)
        .any(|word| word.contains('@'));
    let question = async |rack: &'f Rack| match facts {
        Facts::Names => {
            rack.sure().await?;
            rack.client.nodes_to_choose(groups).await
        }
        Facts::Shown | Facts::Published => rack.client.nodes_to_show().await,
        Facts::Whole => rack.client.nodes().await,
    };
    let heard = match facts {
        Facts::Published => fleet.heard(&racks, patience, question).await,
        Facts::Names | Facts::Shown | Facts::Whole => {
            let answers = Fleet::asked(&racks, patience, question).await;
            answers.into_iter().map(Heard::from).collect()
        }
    };
    let mut stale = Vec::new();
    let answers = heard.into_iter().filter_map(|heard| {
        let answer = match (heard.answer, heard.said) {
            (Some(Err(why)), Some(said)) => {
                stale.push((heard.rack, why));
                Ok(said.nodes)
            }
            (Some(answer), _) => answer,
            (None, said) => Ok(said?.nodes),
        };
        Some((heard.rack, answer))
    });
    let answers = answers.collect();
    let selection = choose(&words, &wanted.exclude, &named, answers)?;
    Ok(Selection { stale, ..selection })
}

/// The racks that an expression names.
struct Named {
    /// All of them, by a group of no rack or by a uuid.
    all: bool,
    some: BTreeSet<String>,
    /// Those that `-x` takes out as a whole: they need not even answer.
    without: BTreeSet<String>,
}

impl Named {
    fn read(words: &[String], exclude: &[String], fleet: &Fleet) -> Result<Self, Failure> {
        let (all, some) = racks_of(words, fleet)?;
        let (_, excluded) = racks_of(exclude, fleet)?;
        let plain = exclude.iter().filter(|word| !word.contains(['!', '&']));
        let whole = RefCell::new(BTreeSet::new());
        for word in plain {
            let note = |group: &str| {
                if let Some(rack) = group.strip_suffix("/all") {
                    whole.borrow_mut().insert(rack.to_owned());
                }
                Some(vec![format!("@{group}")])
            };
            nodeset::expand(word, &note).map_err(usage)?;
        }
        let known = |rack: &String| fleet.racks.iter().any(|known| known.name == *rack);
        match some.iter().chain(&excluded).find(|rack| !known(rack)) {
            Some(unknown) => Err(no_rack(unknown, &fleet.racks)),
            None => Ok(Self {
                all,
                some,
                without: whole.into_inner(),
            }),
        }
    }

    fn has(&self, rack: &Rack) -> bool {
        (self.all || self.some.contains(&rack.name)) && !self.without.contains(&rack.name)
    }
}

/// Whether all racks are named, and which are by name.
fn racks_of(words: &[String], fleet: &Fleet) -> Result<(bool, BTreeSet<String>), Failure> {
    let (all, some) = (Cell::new(false), RefCell::new(BTreeSet::new()));
    let note = |group: &str| {
        match group.split_once('/') {
            Some((rack, _)) => drop(some.borrow_mut().insert(rack.to_owned())),
            None => all.set(true),
        }
        Some(vec![format!("@{group}")])
    };
    for word in words {
        let names = match nodeset::expand(word, &note) {
            Ok(names) => names,
            // So it may seem as long as groups have no members.
            Err(NodeSetError {
                fault: Fault::NothingLeft,
                ..
            }) => Vec::new(),
            Err(why) => return Err(usage(why)),
        };
        for name in names {
            match name.split_once('/') {
                _ if name.starts_with('@') => {}
                Some((rack, _)) => drop(some.borrow_mut().insert(rack.to_owned())),
                None if Uuid::try_parse(&name).is_ok() => all.set(true),
                None => return Err(bare(&name, fleet)),
            }
        }
    }
    Ok((all.get(), some.into_inner()))
}

fn usage(why: NodeSetError) -> Failure {
    Failure::Usage(why.to_string())
}

/// A name without its rack.
fn bare(name: &str, fleet: &Fleet) -> Failure {
    let is_rack = fleet.racks.iter().any(|rack| rack.name == name);
    Failure::Usage(match (is_rack, fleet.racks.first()) {
        (true, _) => format!("'{name}' is a rack: its nodes are {name}/@*; nothing was done"),
        (false, first) => format!(
            "'{name}' does not say its rack: write {}/{name} or the like; nothing was done",
            first.map_or("r1", |rack| rack.name.as_str())
        ),
    })
}

/// The part of `select` that needs no daemon.
fn choose<'f>(
    words: &[String],
    exclude: &[String],
    named: &Named,
    answers: Vec<Answer<'f, Vec<Node>>>,
) -> Result<Selection<'f>, Failure> {
    let mut known: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
    let (mut order, mut silent) = (Vec::new(), Vec::new());
    for (rack, answer) in answers {
        match answer {
            Ok(nodes) => {
                known.insert(&rack.name, nodes);
                order.push(rack);
            }
            Err(why) => silent.push(Silent {
                rack,
                why,
                nodes: String::new(),
            }),
        }
    }
    let groups = |group: &str| group_of(group, &known, &silent);
    let names = nodeset::expand_all(words, exclude, &groups).map_err(usage)?;
    // A typing error among the excluded names would press buttons that were meant to be spared.
    let mut spared = Vec::new();
    for word in exclude {
        spared.extend(nodeset::expand(word, &groups).map_err(usage)?);
    }
    let found = Found::among(&known);
    let is_missing = |name: &&String| found.find(name).is_none() && found.knows_rack(name);
    if let Some(name) = spared.iter().find(is_missing) {
        let text = format!("-x {name}: the fleet has no such node; nothing was done");
        return Err(Failure::Usage(text));
    }
    let mut chosen: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    let mut unheard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut missing = Vec::new();
    let mut taken = BTreeSet::new();
    for name in &names {
        match (found.find(name), name.split_once('/')) {
            (Some((rack, node)), _) => {
                if taken.insert((rack, node.uuid)) {
                    chosen.entry(rack.to_owned()).or_default().push(node.uuid);
                }
            }
            (None, Some((rack, _))) if named.without.contains(rack) => {}
            (None, Some((rack, node))) if !known.contains_key(rack) => {
                unheard.entry(rack).or_default().push(node);
            }
            (None, _) => missing.push(name.as_str()),
        }
    }
    for word in &missing {
        if let several @ [_, _, ..] = found.by_uuid(word) {
            let names = several
                .iter()
                .map(|(rack, node)| format!("{rack}/{}", name(node)));
            return Err(Failure::Usage(format!(
                "{word} is a node in several racks: name one of {}; nothing was done",
                nodeset::fold(names)
            )));
        }
    }
    if !missing.is_empty() {
        return Err(no_node(&missing, &known));
    }
    for silent in &mut silent {
        if let Some(nodes) = unheard.remove(silent.rack.name.as_str()) {
            silent.nodes = nodeset::fold(nodes);
        }
    }
    silent.retain(|silent| !silent.nodes.is_empty());
    // Of a thousand racks they are many: taken, and not copied.
    let chosen: Vec<Chosen<'f>> = order
        .into_iter()
        .filter_map(|rack| {
            let wanted = chosen.remove(&rack.name)?;
            let known = known.remove(rack.name.as_str())?.into_iter();
            let mut known: HashMap<Uuid, Node> = known.map(|node| (node.uuid, node)).collect();
            let nodes = wanted.iter().filter_map(|uuid| known.remove(uuid));
            Some(Chosen {
                rack,
                nodes: nodes.collect(),
            })
        })
        .collect();
    match chosen.is_empty() && silent.is_empty() {
        true => Err(Failure::Usage(Fault::NothingLeft.to_string())),
        false => Ok(Selection {
            chosen,
            silent,
            stale: Vec::new(),
        }),
    }
}

/// The names of a group with their racks. What it has in a rack that did not answer stands there as
/// the group itself.
fn group_of(
    group: &str,
    known: &BTreeMap<&str, Vec<Node>>,
    silent: &[Silent<'_>],
) -> Option<Vec<String>> {
    let of_rack = |rack: &str, group: &str| {
        let names = members(known.get(rack)?, group)?;
        let full = names.into_iter().map(|name| format!("{rack}/{name}"));
        Some(full.collect::<Vec<_>>())
    };
    let unheard = |rack: &str, group: &str| match group {
        "all" => format!("{rack}/@*"),
        _ => format!("{rack}/@{group}"),
    };
    if let Some((rack, group)) = group.split_once('/') {
        return match known.contains_key(rack) {
            true => of_rack(rack, group),
            false => Some(vec![unheard(rack, group)]),
        };
    }
    let mut names: Vec<String> = Vec::new();
    for rack in known.keys() {
        names.extend(of_rack(rack, group).unwrap_or_default());
    }
    if names.is_empty() && !known.is_empty() && group != "all" {
        return None;
    }
    names.extend(
        silent
            .iter()
            .map(|silent| unheard(&silent.rack.name, group)),
    );
    (!names.is_empty()).then_some(names)
}

/// The nodes of the racks that answered, by their names and uuids.
struct Found<'n> {
    known: &'n BTreeMap<&'n str, Vec<Node>>,
    by_name: HashMap<&'n str, HashMap<&'n str, &'n Node>>,
    /// Nodes of one name have the same uuid in every rack, where their configuration gives them
    /// none. Made where somebody names one: of a thousand racks they are many.
    by_uuid: OnceCell<HashMap<Uuid, Vec<(&'n str, &'n Node)>>>,
}

impl<'n> Found<'n> {
    fn among(known: &'n BTreeMap<&'n str, Vec<Node>>) -> Self {
        let of_rack = |(rack, nodes): (&&'n str, &'n Vec<Node>)| {
            let names = nodes.iter().map(|node| (name(node), node));
            (*rack, names.collect())
        };
        Self {
            known,
            by_name: known.iter().map(of_rack).collect(),
            by_uuid: OnceCell::new(),
        }
    }

    fn find(&self, word: &str) -> Option<(&'n str, &'n Node)> {
        let Some((rack, node)) = word.split_once('/') else {
            return match self.by_uuid(word) {
                [one] => Some(*one),
                _ => None,
            };
        };
        let (rack, nodes) = self.by_name.get_key_value(rack)?;
        let named = nodes.get(node).map(|found| (*rack, *found));
        let alike = || self.by_uuid(node).iter();
        named.or_else(|| alike().find(|(of, _)| of == rack).copied())
    }

    /// The nodes that have that uuid, in racks that answered.
    fn by_uuid(&self, word: &str) -> &[(&'n str, &'n Node)] {
        let Ok(uuid) = Uuid::try_parse(word) else {
            return &[];
        };
        let by_uuid = self.by_uuid.get_or_init(|| {
            let mut by_uuid: HashMap<Uuid, Vec<_>> = HashMap::new();
            for (rack, nodes) in self.known {
                for node in nodes {
                    by_uuid.entry(node.uuid).or_default().push((*rack, node));
                }
            }
            by_uuid
        });
        by_uuid.get(&uuid).map_or(&[], Vec::as_slice)
    }

    /// Whether the rack that a name carries has answered; of others nothing can be said.
    fn knows_rack(&self, word: &str) -> bool {
        let rack = word.split_once('/').map(|(rack, _)| rack);
        rack.is_none_or(|rack| self.by_name.contains_key(rack))
    }
}

fn no_node(missing: &[&str], known: &BTreeMap<&str, Vec<Node>>) -> Failure {
    let rack = missing
        .iter()
        .find_map(|name| Some(name.split_once('/')?.0));
    let nodes = rack.and_then(|rack| Some((rack, known.get(rack)?)));
    let has = nodes.map_or(String::new(), |(rack, nodes)| {
        format!(" ({rack} has {})", nodeset::fold(nodes.iter().map(name)))
    });
    Failure::Usage(format!(
        "the fleet has no node {}; nothing was done{has}",
        nodeset::fold(missing)
    ))
}

#[cfg(test)]
mod tests;
