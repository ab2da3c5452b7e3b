//! Batches: tasks over many nodes under one policy.

use super::WAIT_LIMIT;
use crate::api::access::Role;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::api::plan::{Asking, Plan, ask, done, shown, stray};
use crate::model::{BatchControl, BatchList, BatchStart, Control};
use crate::rack::call::{Answer, BatchRequest, Call};
use http::StatusCode;

/// `GET /v1/batches`
pub fn list(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    ask(Call::Batches, |answer| {
        let Answer::Batches(batches) = answer else {
            return Err(stray());
        };
        shown(&BatchList { batches })
    })
}

/// `POST /v1/batches`
pub fn start(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: BatchStart = asking.json()?;
    let wishes = super::wishes(
        wanted.timeout,
        wanted.on_soft_timeout,
        wanted.repeat_soft_after,
        wanted.hard_after,
    )?;
    if wanted.nodes.is_empty() {
        return Err(Fault::bad(
            "nodes names no node: a batch over nothing is a mistake, never all",
        )
        .about("member", "nodes"));
    }
    let request = BatchRequest {
        operation: wanted.operation,
        nodes: wanted.nodes,
        wishes,
        max_parallel: wanted.max_parallel.unwrap_or(0),
        stagger: wanted.stagger.map(|stagger| stagger.0).unwrap_or_default(),
        on_failure: wanted.on_failure.unwrap_or_default(),
        order: wanted.order,
        dry_run: wanted.dry_run,
    };
    asking.permitted(Role::Operator, request.nodes.clone(), move |asking| {
        let status = if request.dry_run {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        let call = Call::StartBatch {
            request,
            who: asking.who.clone(),
        };
        ask(call, move |answer| {
            let Answer::Batch(batch) = answer else {
                return Err(stray());
            };
            let response = Response::json(status, &batch);
            // Nothing is kept of a dry run, so there is no place to look for it.
            done(if status == StatusCode::ACCEPTED {
                response.with(
                    "location",
                    format!("{}/v1/batches/{}", asking.base, batch.id),
                )
            } else {
                response
            })
        })
    })
}

/// `GET /v1/batches/{id}`
pub fn show(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&["wait"])?;
    let batch = asking.id("batch")?;
    let call = match asking.query.duration("wait", WAIT_LIMIT)? {
        Some(wait) => Call::AwaitBatch { batch, wait },
        None => Call::Batch(batch),
    };
    answered(call)
}

/// `DELETE /v1/batches/{id}`
pub fn cancel(asking: Asking) -> Result<Plan, Fault> {
    use_control(asking, Control::Cancel)
}

/// `POST /v1/batches/{id}/{control}`
pub fn control(asking: Asking) -> Result<Plan, Fault> {
    let control = super::control(asking.param("control"))?;
    use_control(asking, control)
}

fn use_control(asking: Asking, control: Control) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: BatchControl = asking.json_or_default()?;
    let batch = asking.id("batch")?;
    if wanted.nodes.as_ref().is_some_and(Vec::is_empty) {
        return Err(
            Fault::bad("nodes names no node: leave it out to mean the whole batch")
                .about("member", "nodes"),
        );
    }
    let nodes = wanted.nodes.unwrap_or_default();
    let go = move |asking: Asking, nodes| {
        answered(Call::ControlBatch {
            batch,
            control,
            nodes,
            who: asking.who,
        })
    };
    if asking.rights.everywhere(Role::Operator) {
        return go(asking, nodes);
    }
    ask(Call::Batch(batch), move |answer| {
        let Answer::Batch(view) = answer else {
            return Err(stray());
        };
        let touched = match nodes.as_slice() {
            [] => view.nodes.into_iter().map(|entry| entry.node).collect(),
            _ => nodes.clone(),
        };
        asking.permitted(Role::Operator, touched, move |asking| go(asking, nodes))
    })
}

fn answered(call: Call) -> Result<Plan, Fault> {
    ask(call, |answer| {
        let Answer::Batch(batch) = answer else {
            return Err(stray());
        };
        shown(&batch)
    })
}
