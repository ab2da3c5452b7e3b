//! Tasks: listing, starting, watching, and the five controls.

use super::WAIT_LIMIT;
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::handle::TaskFilter;
use crate::api::message::Response;
use crate::model::{Control, OnBusy, TaskList, TaskStart};
use http::StatusCode;
use uuid::Uuid;

/// How many tasks are listed where nobody says.
const LISTED: usize = 100;
/// How many at most.
const LIST_LIMIT: usize = 1000;

/// `GET /v1/tasks`
pub(crate) async fn list(request: RequestContext) -> Result<Response, Fault> {
    let node = request.query.value("node").map(str::to_owned);
    listing(&request, node).await
}

/// `GET /v1/nodes/{ident}/tasks`
pub(crate) async fn of_node(request: RequestContext) -> Result<Response, Fault> {
    listing(&request, Some(request.any_node().to_owned())).await
}

async fn listing(request: &RequestContext, node: Option<String>) -> Result<Response, Fault> {
    let batch = request.query.value("batch").map(|text| {
        Uuid::try_parse(text).map_err(|_| {
            Fault::bad(format!("batch is a uuid, not '{text}'")).about("parameter", "batch")
        })
    });
    let wanted = TaskFilter {
        node,
        batch: batch.transpose()?,
        short: None,
        active: request.query.flag("active")?.unwrap_or(false),
        limit: request.query.limit(LISTED, LIST_LIMIT)?,
    };
    let tasks = request.rack.tasks(wanted).await?;
    Ok(Response::ok(&TaskList { tasks }))
}

/// `POST /v1/tasks`
pub(crate) async fn start(request: RequestContext) -> Result<Response, Fault> {
    let wanted: TaskStart = request.json()?;
    super::check(wanted.operation, &wanted.options)?;
    if wanted.node.is_empty() {
        return Err(Fault::bad("node is empty: it has to name one node").about("member", "node"));
    }
    let skips = wanted.options.on_busy() == OnBusy::Skip;
    let started = request
        .rack
        .start(&wanted.node, wanted.operation, wanted.options);
    let task = started.await?;
    if skips && !request.rack.asked_for(&task.requested_by) {
        // The node was busy and is left as it is: nothing was started, and this is what has it.
        return Ok(Response::ok(&task));
    }
    let place = format!("{}/v1/tasks/{}", request.base, task.id);
    Ok(Response::json(StatusCode::ACCEPTED, &task).with("location", place))
}

/// `GET /v1/tasks/{id}`
pub(crate) async fn show(request: RequestContext) -> Result<Response, Fault> {
    let id = request.task_id().await?;
    let version = request.query.number("version")?;
    let task = match request.query.duration("wait", WAIT_LIMIT)? {
        Some(wait) => request.rack.await_task(id, version, wait).await?,
        None => request.rack.task(id).await?,
    };
    Ok(Response::ok(&task))
}

/// `DELETE /v1/tasks/{id}`
pub(crate) async fn cancel(request: RequestContext) -> Result<Response, Fault> {
    use_control(&request, Control::Cancel).await
}

/// `POST /v1/tasks/{id}/{control}`
pub(crate) async fn control(request: RequestContext) -> Result<Response, Fault> {
    let control = super::control(request.param("control"))?;
    use_control(&request, control).await
}

async fn use_control(request: &RequestContext, control: Control) -> Result<Response, Fault> {
    request.json_or_default::<Nothing>()?;
    let id = request.task_id().await?;
    let task = request.rack.control(id, control).await?;
    Ok(Response::ok(&task))
}

/// A body that says nothing: `{}`.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}
