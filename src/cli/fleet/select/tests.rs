//! Sets of nodes over racks, without a daemon.

use super::*;
use crate::cli::client::Client;
use crate::cli::connect::Endpoint;
use crate::cli::output::Out;
use crate::model::NodeDetail;

fn fleet() -> Fleet {
    let racks = (1..=3).map(|number| Rack {
        name: format!("r{number}"),
        client: Client::new(Endpoint::Unix("/nowhere".into())),
        named: true,
    });
    Fleet {
        racks: racks.collect(),
        etcd: None,
        out: Out::of_a_person(),
    }
}

/// Four nodes, of which the last two are in group storage.
fn nodes(rack: usize) -> Vec<Node> {
    (1..=4)
        .map(|number| Node {
            name: format!("n{number:02}").into(),
            // The first one is called the same everywhere, and has its uuid by that.
            uuid: match number {
                1 => Uuid::from_u128(1),
                _ => Uuid::from_u128((rack * 100 + number) as u128),
            },
            rackbmcd: NodeDetail {
                groups: match number > 2 {
                    true => ["storage".to_owned()].into(),
                    false => [].into(),
                },
                ..NodeDetail::default()
            },
            ..Node::default()
        })
        .collect()
}

/// What is chosen where these racks are silent: `r1/n[01-02] | silent r3/@storage`.
fn chosen(targets: &[&str], exclude: &[&str], silent: &[&str]) -> Result<String, String> {
    let own = |words: &[&str]| -> Vec<String> { words.iter().map(|w| (*w).to_owned()).collect() };
    let (words, exclude) = (own(targets), own(exclude));
    let fleet = fleet();
    let named = Named::read(&words, &exclude, &fleet).map_err(|why| why.to_string())?;
    let answers = fleet.racks.iter().enumerate();
    let answers = answers.filter(|(_, rack)| named.has(rack));
    let answers = answers.map(|(place, rack)| match silent.contains(&rack.name.as_str()) {
        true => (
            rack,
            Err(Failure::NobodyListens {
                at: rack.name.clone(),
            }),
        ),
        false => (rack, Ok(nodes(place + 1))),
    });
    let found = choose(&words, &exclude, &named, answers.collect());
    let found = found.map_err(|why| why.to_string())?;
    let names = found.chosen.iter().flat_map(|chosen| {
        let full = |name: String| chosen.rack.full(&name);
        chosen.names().into_iter().map(full).collect::<Vec<_>>()
    });
    let silent = found.silent.iter();
    let silent = silent.map(|silent| format!(" | silent {}/{}", silent.rack.name, silent.nodes));
    Ok(format!(
        "{}{}",
        nodeset::fold(names),
        silent.collect::<String>()
    ))
}

#[test]
fn a_set_carries_its_racks_and_a_group_without_one_is_of_all() {
    let of = |targets: &[&str], exclude: &[&str]| chosen(targets, exclude, &[]);
    assert_eq!(of(&["r[1-2]/n[01-02]"], &[]).unwrap(), "r[1-2]/n[01-02]");
    assert_eq!(of(&["r2/@storage"], &[]).unwrap(), "r2/n[03-04]");
    assert_eq!(of(&["@storage"], &[]).unwrap(), "r[1-3]/n[03-04]");
    assert_eq!(of(&["@*"], &["@storage"]).unwrap(), "r[1-3]/n[01-02]");
    assert_eq!(of(&["@storage"], &["r3/@*"]).unwrap(), "r[1-2]/n[03-04]");
    let one = of(
        &["r[1-3]/@storage!r1/n03,r1/n04", "r1/n01"],
        &["r[2-3]/n03"],
    );
    assert_eq!(one.unwrap(), "r1/n[01,04],r[2-3]/n04");
    let uuid = Uuid::from_u128(202).to_string();
    assert_eq!(of(&[&uuid], &[]).unwrap(), "r2/n02");
    assert_eq!(of(&[&format!("r2/{uuid}")], &[]).unwrap(), "r2/n02");
    let same = Uuid::from_u128(1);
    assert_eq!(of(&[&format!("r2/{same}")], &[]).unwrap(), "r2/n01");
}

#[test]
fn one_word_that_is_wrong_and_nothing_is_done_anywhere() {
    let no = |targets: &[&str], exclude: &[&str]| chosen(targets, exclude, &[]).unwrap_err();
    assert_eq!(
        no(&["r1/n[04-05]"], &[]),
        "the fleet has no node r1/n05; nothing was done (r1 has n[01-04])"
    );
    assert_eq!(
        no(&["r[3-4]/n01"], &[]),
        "the fleet has no rack r4 (it has r[1-3])"
    );
    assert_eq!(
        no(&["r1/n01"], &["r9/@*"]),
        "the fleet has no rack r9 (it has r[1-3])"
    );
    assert!(no(&["r1/@*"], &["r1/n09"]).starts_with("-x r1/n09: the fleet has no such node"));
    assert!(no(&["@compute"], &[]).contains("there is no group 'compute'"));
    assert!(no(&["r1/@compute"], &[]).contains("there is no group 'r1/compute'"));
    let same = Uuid::from_u128(1).to_string();
    assert!(no(&[&same], &[]).contains("is a node in several racks: name one of r[1-3]/n01"));
    assert!(no(&["n01"], &[]).starts_with("'n01' does not say its rack: write r1/n01"));
    assert!(no(&["r1"], &[]).starts_with("'r1' is a rack: its nodes are r1/@*"));
    assert!(no(&["r1/n01"], &["r1/n01"]).contains("nothing is left"));
    assert!(no(&["r1/n01"], &["r1/@*"]).contains("nothing is left"));
}

#[test]
fn what_is_named_of_a_silent_rack_is_kept_beside_the_reason() {
    let of = |targets: &[&str], exclude: &[&str]| chosen(targets, exclude, &["r2"]).unwrap();
    assert_eq!(
        of(&["r[1-2]/n[01-02]"], &[]),
        "r1/n[01-02] | silent r2/n[01-02]"
    );
    assert_eq!(
        of(&["@storage"], &[]),
        "r[1,3]/n[03-04] | silent r2/@storage"
    );
    assert_eq!(of(&["r2/@*"], &[]), " | silent r2/@*");
    // It need not even answer.
    assert_eq!(of(&["@storage"], &["r2/@*"]), "r[1,3]/n[03-04]");
    assert_eq!(of(&["r[1-2]/n01"], &["r2/n01"]), "r1/n01");
}
