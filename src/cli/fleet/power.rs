//! The verbs that press buttons, over many racks: one batch in each, all under one id.

use super::id::FleetId;
use super::run::{Part, Run};
use super::select::{Chosen, Facts, Selection, select};
use super::{Fleet, Rack, tell};
use crate::cli::args::PowerArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::say;
use crate::cli::power::{Waiting, batch_start, show_plan};
use crate::cli::select::{Unnamed, confirm};
use crate::model::{Batch, OnFailure, Operation, counted};
use crate::nodeset;
use std::time::Duration;

/// How long a rack may take to look at all of its nodes for a dry run.
const PLAN_PATIENCE: Duration = Duration::from_secs(120);

/// Carries `operation` out on the nodes that are meant.
pub(super) async fn send(
    fleet: &Fleet,
    operation: Operation,
    press: PowerArgs,
) -> Result<Exit, Failure> {
    if press.no_wait && press.racks_at_once.is_some() {
        return Err(Failure::Usage(
            "--racks-at-once waits for racks before others begin: leave --no-wait out".into(),
        ));
    }
    let found = select(fleet, &press.nodes, Unnamed::Mistake, Facts::Names).await?;
    if press.dry_run {
        return plan(fleet, operation, &found, &press).await;
    }
    let names = full_names(&found.chosen);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if !names.is_empty() {
        confirm(operation.name(), &names, press.yes)?;
    }
    let mut exits = tell_silent(&found, operation.name());
    let stops = press.on_failure == Some(OnFailure::Stop);
    if stops && !found.silent.is_empty() {
        say!("--on-failure stop: nothing was begun in any rack");
        return Ok(Exit::worst(exits));
    }
    if names.is_empty() {
        return Ok(Exit::worst(exits));
    }
    let id = FleetId::make();
    fleet.out.remark(&format!(
        "fleet batch {id}: {operation} {} in {}",
        nodeset::fold(&names),
        counted(found.chosen.len(), "rack")
    ));
    let parts = found.chosen.into_iter().map(|chosen| {
        let names = chosen.names();
        let own: Vec<&str> = names.iter().map(String::as_str).collect();
        Part::to_begin(chosen.rack, batch_start(operation, &own, &press), names)
    });
    let run = Run::new(fleet, id, parts.collect(), stops);
    let waiting = Waiting::of(press.wait, press.no_wait);
    exits.push(run.carry_out(press.racks_at_once, waiting).await?);
    Ok(Exit::worst(exits))
}

/// The names of all nodes, each with its rack.
pub(super) fn full_names(chosen: &[Chosen<'_>]) -> Vec<String> {
    let full = |chosen: &Chosen<'_>| {
        let names = chosen.names().into_iter();
        names
            .map(|name| chosen.rack.full(&name))
            .collect::<Vec<_>>()
    };
    chosen.iter().flat_map(full).collect()
}

/// Says which racks did not answer, and what was not asked of them.
pub(super) fn tell_silent(found: &Selection<'_>, what: &str) -> Vec<Exit> {
    let mut exits = Vec::new();
    for silent in &found.silent {
        exits.push(tell(silent.rack, &silent.why));
        say!(
            "{}: was not asked for {what} of {}",
            silent.rack.name,
            silent.nodes
        );
    }
    exits
}

/// What would be done, rack by rack.
async fn plan(
    fleet: &Fleet,
    operation: Operation,
    found: &Selection<'_>,
    press: &PowerArgs,
) -> Result<Exit, Failure> {
    let racks: Vec<&Rack> = found.chosen.iter().map(|chosen| chosen.rack).collect();
    let question = async |rack: &Rack| {
        let of_it = found
            .chosen
            .iter()
            .find(|chosen| chosen.rack.name == rack.name);
        let names = of_it.map(Chosen::names).unwrap_or_default();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        rack.client
            .start_batch(&batch_start(operation, &names, press))
            .await
    };
    let mut exits = tell_silent(found, operation.name());
    let mut whole = Batch::default();
    for (rack, plan) in Fleet::asked(&racks, PLAN_PATIENCE, question).await {
        match plan {
            Ok(plan) => whole.nodes.extend(plan.nodes.into_iter().map(|mut node| {
                node.node = rack.full(&node.node);
                node
            })),
            Err(why) => exits.push(tell(rack, &why)),
        }
    }
    exits.push(show_plan(&fleet.out, &whole));
    Ok(Exit::worst(exits))
}
