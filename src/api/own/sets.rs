//! Sets of nodes, as bodies name them.

use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::model::Node;
use crate::nodeset::{self, NodeSetError};
use crate::rack::call::Refused;

/// The nodes that sets, groups and exclusions mean, as the client has them. Who named nodes one by one is taken at the
/// word: whether they are there is the rack's to say.
pub(super) async fn meant(
    request: &RequestContext,
    named: Vec<String>,
    excluded: &[String],
) -> Result<Vec<String>, Fault> {
    let is_set =
        |text: &String| text.contains(['[', ']', '@', ',', '!', '&']) || text.contains(' ');
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
    for name in excluded {
        let names = nodeset::expand(name, &groups).map_err(|error| wrong("exclude", error))?;
        let is = |node: &Node, name: &str| *node.name == *name || node.uuid.to_string() == name;
        let missing = |name: &&String| !known.iter().any(|node| is(node, name));
        if let Some(missing) = names.iter().find(missing) {
            return Err(Refused::NoSuchNode(missing.clone()).into());
        }
    }
    nodeset::expand_all(&named, excluded, &groups).map_err(|error| wrong("nodes", error))
}
