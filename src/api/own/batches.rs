//! Batches: tasks over many nodes under one policy.

use super::WAIT_LIMIT;
use super::sets::meant;
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::model::{BatchControl, BatchList, BatchStart, Control};
use http::StatusCode;

/// `GET /v1/batches`
pub(crate) async fn list(request: RequestContext) -> Result<Response, Fault> {
    let batches = request.rack.batches(None).await?;
    Ok(Response::ok(&BatchList { batches }))
}

/// `POST /v1/batches`
pub(crate) async fn start(request: RequestContext) -> Result<Response, Fault> {
    let mut wanted: BatchStart = request.json()?;
    super::check(wanted.operation, &wanted.options)?;
    if wanted.nodes.is_empty() {
        return Err(Fault::bad(
            "nodes is empty: a batch over no nodes is a mistake, and never means all of them",
        )
        .about("member", "nodes"));
    }
    let dry_run = wanted.dry_run;
    let nodes = meant(&request, std::mem::take(&mut wanted.nodes), &wanted.exclude).await?;
    let batch = request.rack.start_batch(BatchStart {
        nodes,
        exclude: Vec::new(),
        ..wanted
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
pub(crate) async fn show(request: RequestContext) -> Result<Response, Fault> {
    let id = request.batch_id().await?;
    if let Some(wait) = request.query.duration("wait", WAIT_LIMIT)? {
        request.rack.await_batch(id, wait).await?;
    }
    Ok(Response::ok(&request.rack.batch(id).await?))
}

/// `DELETE /v1/batches/{id}`
pub(crate) async fn cancel(request: RequestContext) -> Result<Response, Fault> {
    use_control(&request, Control::Cancel).await
}

/// `POST /v1/batches/{id}/{control}`
pub(crate) async fn control(request: RequestContext) -> Result<Response, Fault> {
    let control = super::control(request.param("control"))?;
    use_control(&request, control).await
}

async fn use_control(request: &RequestContext, control: Control) -> Result<Response, Fault> {
    let wanted: BatchControl = request.json_or_default()?;
    let id = request.batch_id().await?;
    if wanted.nodes.as_ref().is_some_and(Vec::is_empty) {
        return Err(
            Fault::bad("nodes is empty: leave it out to mean the whole batch")
                .about("member", "nodes"),
        );
    }
    let nodes = match wanted.nodes {
        Some(nodes) => meant(request, nodes, &[]).await?,
        None => Vec::new(),
    };
    let batch = request.rack.control_batch(id, control, nodes).await?;
    Ok(Response::ok(&batch))
}
