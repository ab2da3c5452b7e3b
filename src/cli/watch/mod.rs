//! `watch`: the rack as it changes; on a terminal one picture, elsewhere a line for every change.

mod live;

use super::App;
use super::args::{Format, Watch};
use super::exit::{Exit, Failure};
use super::output;
use super::patience::Patience;
use super::select::{self, Unnamed};
use super::status;
use crate::model::Node;
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use uuid::Uuid;

/// Follows power states.
pub async fn watch(app: &App, args: Watch) -> Result<Exit, Failure> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if app.out.person && io::stdin().is_terminal() && !dumb && app.out.format == Format::Text {
        return live::live(app, &args).await;
    }
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
