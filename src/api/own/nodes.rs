//! A closer look at one node.

use super::tasks::Nothing;
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::ironic::record;
use crate::api::message::Response;
use crate::model::AcceptRequest;
use serde_json::json;

/// `GET /v1/nodes/{ident}/explain`
pub(crate) async fn explain(request: RequestContext) -> Result<Response, Fault> {
    let found = request.rack.explain(request.any_node()).await?;
    let mut body = json!(found);
    body["node"] = record::full(&found.node, &request.base);
    Ok(Response::ok(&body))
}

/// `GET /v1/nodes/{ident}/trace`
pub(crate) async fn trace(request: RequestContext) -> Result<Response, Fault> {
    let trace = request.rack.trace(request.any_node()).await?;
    Ok(Response::ok(&trace))
}

/// `POST /v1/nodes/{ident}/retry`
pub(crate) async fn retry(request: RequestContext) -> Result<Response, Fault> {
    request.json_or_default::<Nothing>()?;
    let node = request.rack.retry(request.any_node()).await?;
    Ok(Response::ok(&record::full(&node, &request.base)))
}

/// `POST /v1/nodes/{ident}/bmc_accept`
pub(crate) async fn accept(request: RequestContext) -> Result<Response, Fault> {
    let wanted: AcceptRequest = request.json()?;
    let node = request
        .rack
        .accept_bmc(request.any_node(), wanted.guid)
        .await?;
    Ok(Response::ok(&record::full(&node, &request.base)))
}

/// `POST /v1/nodes/{ident}/fresh`
pub(crate) async fn fresh(request: RequestContext) -> Result<Response, Fault> {
    request.json_or_default::<Nothing>()?;
    let node = request.rack.fresh(request.any_node()).await?;
    Ok(Response::ok(&record::full(&node, &request.base)))
}
