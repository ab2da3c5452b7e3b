//! The hosts of the rack: which of them owns it, and how it is given to another one.

use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::{Response, check_text};
use crate::model::{ErrorKind, HandoverRequest};
use http::StatusCode;
use serde_json::json;

/// `GET /v1/ha`
pub(crate) async fn show(request: RequestContext) -> Result<Response, Fault> {
    Ok(Response::ok(&request.rack.ha().await))
}

/// `GET /v1/ha/owner`, for load balancers: nobody logs in for it, and it names nobody.
pub(crate) async fn owner(request: RequestContext) -> Result<Response, Fault> {
    match request.rack.ha().await.may_change_machines() {
        true => Ok(Response::ok(&json!({ "owner": true }))),
        false => Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Moved,
            "this host does not own the rack at the moment",
        )),
    }
}

/// `POST /v1/ha/handover`
pub(crate) async fn hand_over(request: RequestContext) -> Result<Response, Fault> {
    let HandoverRequest { to } = request.json_or_default()?;
    if let Some(to) = &to {
        check_text("to", to)?;
        if to.trim().is_empty() {
            let what = "to is empty: name a host, or leave it out";
            return Err(Fault::bad(what).about("member", "to"));
        }
    }
    request.rack.hand_over(to).await?;
    Ok(Response::empty(StatusCode::ACCEPTED))
}
