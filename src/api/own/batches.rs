//! Batches: tasks over many nodes under one policy.

use super::WAIT_LIMIT;
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::model::{BatchControl, BatchList, BatchStart, Control};
use crate::rack::call::BatchRequest;
use http::StatusCode;

/// `GET /v1/batches`
pub async fn list(request: RequestContext) -> Result<Response, Fault> {
    let batches = request.rack.batches().await?;
    Ok(Response::ok(&BatchList { batches }))
}

/// `POST /v1/batches`
pub async fn start(request: RequestContext) -> Result<Response, Fault> {
    let wanted: BatchStart = request.json()?;
    let wishes = super::wishes(
        wanted.timeout,
        wanted.on_soft_timeout,
        wanted.repeat_soft_after,
        wanted.hard_after,
        super::BootWishes {
            operation: wanted.operation,
            device: wanted.boot_device,
            uefi: wanted.uefi,
            on_if_off: wanted.on_if_off,
        },
    )?;
    if wanted.nodes.is_empty() {
        return Err(Fault::bad(
            "nodes names no node: a batch over nothing is a mistake, never all",
        )
        .about("member", "nodes"));
    }
    let dry_run = wanted.dry_run;
    let batch = request.rack.start_batch(BatchRequest {
        operation: wanted.operation,
        nodes: wanted.nodes,
        wishes,
        max_parallel: wanted.max_parallel.unwrap_or(0),
        stagger: wanted.stagger.map(|stagger| stagger.0).unwrap_or_default(),
        on_failure: wanted.on_failure.unwrap_or_default(),
        order: wanted.order,
        dry_run,
    });
    let batch = batch.await?;
    if dry_run {
        // Nothing is kept of a dry run, so there is no place to look for it.
        return Ok(Response::ok(&batch));
    }
    let place = format!("{}/v1/batches/{}", request.base, batch.id);
    Ok(Response::json(StatusCode::ACCEPTED, &batch).with("location", place))
}

/// `GET /v1/batches/{id}`
pub async fn show(request: RequestContext) -> Result<Response, Fault> {
    let id = request.id("batch")?;
    let batch = match request.query.duration("wait", WAIT_LIMIT)? {
        Some(wait) => request.rack.await_batch(id, wait).await?,
        None => request.rack.batch(id).await?,
    };
    Ok(Response::ok(&batch))
}

/// `DELETE /v1/batches/{id}`
pub async fn cancel(request: RequestContext) -> Result<Response, Fault> {
    use_control(&request, Control::Cancel).await
}

/// `POST /v1/batches/{id}/{control}`
pub async fn control(request: RequestContext) -> Result<Response, Fault> {
    let control = super::control(request.param("control"))?;
    use_control(&request, control).await
}

async fn use_control(request: &RequestContext, control: Control) -> Result<Response, Fault> {
    let wanted: BatchControl = request.json_or_default()?;
    let id = request.id("batch")?;
    if wanted.nodes.as_ref().is_some_and(Vec::is_empty) {
        return Err(
            Fault::bad("nodes names no node: leave it out to mean the whole batch")
                .about("member", "nodes"),
        );
    }
    let nodes = wanted.nodes.unwrap_or_default();
    let batch = request.rack.control_batch(id, control, nodes).await?;
    Ok(Response::ok(&batch))
}
