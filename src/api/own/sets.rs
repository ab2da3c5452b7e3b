//! Sets of nodes, as bodies name them.

use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::model::Node;
use crate::nodeset::{self, NodeSetError};
use crate::rack::call::Refused;
use std::collections::BTreeSet;

/// The nodes that sets, groups and exclusions mean, as the client has them. Who named nodes one by
/// one is taken at the word: whether they are there is the rack's to say.
pub(super) async fn meant(
    request: &RequestContext,
    named: Vec<String>,
    excluded: &[String],
) -> Result<Vec<String>, Fault> {
    for (member, named) in [("nodes", &named[..]), ("exclude", excluded)] {
        check_count(member, named)?;
    }
    let is_set =
        |text: &String| text.contains(['[', ']', '@', ',', '!', '&']) || text.contains(' ');
    if named.len() > FEW {
        request.rack.many_names().await?;
    }
    if excluded.is_empty() && !named.iter().any(is_set) {
        return Ok(named);
    }
    // Only groups and exclusions want to know what there is.
    let asks = !excluded.is_empty() || named.iter().any(|text| text.contains('@'));
    let known = match asks {
        true => request.rack.nodes().await?,
        false => Vec::new(),
    };
    let groups = |group: &str| {
        let of = |node: &&Node| group == "all" || node.rackbmcd.groups.iter().any(|g| g == group);
        let names: Vec<String> = known
            .iter()
            .filter(of)
            .map(|node| node.name.to_string())
            .collect();
        (!names.is_empty()).then_some(names)
    };
    let wrong = |member: &str, error: NodeSetError| {
        Fault::bad(format!("{member}: {error}")).about("member", member)
    };
    // A typing error among the excluded names would press buttons that were meant to be spared.
    if !excluded.is_empty() {
        let names = nodeset::expand_few(excluded, &[] as &[&str], &groups, NAMED_LIMIT);
        let names = names.map_err(|error| wrong("exclude", error))?;
        let ways = |node: &Node| [node.name.to_string(), node.uuid.to_string()];
        let there: BTreeSet<String> = known.iter().flat_map(ways).collect();
        if let Some(missing) = names.iter().find(|name| !there.contains(*name)) {
            return Err(Refused::NoSuchNode(missing.clone()).into());
        }
    }
    let mut meant = nodeset::expand_few(&named, excluded, &groups, FEW);
    if let Err(NodeSetError {
        fault: nodeset::Fault::TooMany(_),
        ..
    }) = meant
    {
        request.rack.many_names().await?;
        meant = nodeset::expand_few(&named, excluded, &groups, NAMED_LIMIT);
    }
    meant.map_err(|error| wrong("nodes", error))
}

/// How many nodes a request may name, repeated ones counted: each of the largest rack by its name
/// and by its uuid.
const NAMED_LIMIT: usize = 8192;

/// So many are few: those who name no more wait for nobody.
const FEW: usize = 256;

fn check_count(member: &str, named: &[String]) -> Result<(), Fault> {
    if named.len() <= NAMED_LIMIT {
        return Ok(());
    }
    let text = format!("{member}: more than {NAMED_LIMIT} nodes are named: no rack has as many");
    Err(Fault::bad(text).about("member", member))
}
