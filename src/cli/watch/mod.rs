//! `watch`: the rack as it changes; on a terminal a full screen of nodes, tasks and events, with
//! keys that act; elsewhere a line for every change.
//!
//! What is seen and what a key does is one plain value, [`view::View`]: it is told what the daemon
//! said and which keys came when, gives back what is wished for, and draws itself. `screen` has the
//! terminal, `reader` the daemon.

mod confirm;
mod draw;
mod front;
mod keys;
mod known;
mod lines;
mod reader;
mod screen;
#[cfg(test)]
mod tests;
mod view;

use super::App;
use super::args::{Format, Watch};
use super::exit::{Exit, Failure};
use std::io::{self, IsTerminal};

/// Follows the rack.
pub(super) async fn watch(app: &App, args: Watch) -> Result<Exit, Failure> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if app.out.person && io::stdin().is_terminal() && !dumb && app.out.format == Format::Text {
        return screen::run(app, &args).await;
    }
    lines::run(app, &args).await
}
