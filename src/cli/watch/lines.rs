//! `watch` where stdout is no terminal: a line for every node whose state changed.

use crate::cli::App;
use crate::cli::args::Watch;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::cli::patience::Patience;
use crate::cli::select::{self, Unnamed};
use crate::cli::status;
use crate::model::Node;
use std::collections::HashMap;
use uuid::Uuid;

/// Prints what changes, until nobody takes it any more.
pub(super) async fn run(app: &App, args: &Watch) -> Result<Exit, Failure> {
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
            let changed: Vec<&Node> = changed.iter().collect();
            status::show(&app.out, &changed, false);
        }
        last = nodes.into_iter().map(|node| (node.uuid, node)).collect();
        smol::Timer::after(args.interval).await;
    }
    Ok(Exit::Done)
}
