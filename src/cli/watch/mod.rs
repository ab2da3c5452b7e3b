//! `watch`: the rack as it changes.

use super::App;
use super::args::Watch;
use super::exit::{Exit, Failure};
use super::output;
use super::patience::Patience;
use super::select::{self, Unnamed};
use super::status;
use crate::model::Node;
use std::collections::HashMap;
use uuid::Uuid;

/// Follows power states: a line for every change.
pub async fn watch(app: &App, args: Watch) -> Result<Exit, Failure> {
    let mut last: HashMap<Uuid, Node> = HashMap::new();
    let mut patience = Patience::default();
    while !output::is_lost() {
        let nodes = patience
            .ask(async || select::nodes(&app.client, &args.nodes, Unnamed::All).await)
            .await?;
        let is_same = |node: &Node| {
            last.get(&node.uuid).is_some_and(|old| {
                old.power_state == node.power_state
                    && old.target_power_state == node.target_power_state
                    && old.last_error == node.last_error
            })
        };
        let changed: Vec<Node> = nodes
            .iter()
            .filter(|node| !is_same(node))
            .cloned()
            .collect();
        if !changed.is_empty() {
            status::show(app, &changed, false);
        }
        last = nodes.into_iter().map(|node| (node.uuid, node)).collect();
        smol::Timer::after(args.interval).await;
    }
    Ok(Exit::Done)
}
