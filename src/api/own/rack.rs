//! The rack as a whole: its events, its pause, the daemon's health, and this API's description.

use super::WAIT_LIMIT;
use super::tasks::Nothing;
use crate::api::dispatch::{Outcome, RequestContext};
use crate::api::events::EventStream;
use crate::api::exposition::Exposition;
use crate::api::fault::Fault;
use crate::api::handle::EventFilter;
use crate::api::message::{Response, check_reason};
use crate::api::openapi as description;
use crate::api::stream::TextStream;
use crate::model::{Asker, EventId, Hold, PauseRequest, Pausing, RoleOnNodes, Word};
use std::sync::OnceLock;
use std::time::Duration;

/// How many events one long poll brings at most.
pub(crate) const EVENTS_AT_ONCE: usize = 500;
/// How many nodes events may be asked for: the names are kept for as long as somebody listens.
const FILTER_LIMIT: usize = 256;

/// `GET /v1/events`: a long poll, or a stream where `Accept` asks for one.
pub(crate) async fn events(request: RequestContext) -> Result<Outcome, Fault> {
    let stream = request
        .headers
        .get_all(http::header::ACCEPT)
        .iter()
        .any(|accept| {
            String::from_utf8_lossy(accept.as_bytes())
                .to_ascii_lowercase()
                .contains("text/event-stream")
        });
    let last = request
        .headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok());
    // The header wins: a stream that was cut goes on from there, though its address still says
    // where it began.
    let since = last
        .filter(|_| stream)
        .or(request.query.value("since"))
        .filter(|text| !text.is_empty());
    let since = since
        .map(|text| {
            text.parse::<EventId>()
                .map_err(|error| Fault::bad(error).about("parameter", "since"))
        })
        .transpose()?;
    let nodes: Vec<String> = request
        .query
        .pairs()
        .iter()
        .filter(|(name, _)| name == "node")
        .flat_map(|(_, names)| names.split(','))
        .filter(|name| !name.is_empty())
        .take(FILTER_LIMIT + 1)
        .map(str::to_owned)
        .collect();
    if nodes.len() > FILTER_LIMIT {
        let text = format!("node= names more than {FILTER_LIMIT} nodes: leave it out, and choose");
        return Err(Fault::bad(text).about("parameter", "node"));
    }
    if request.query.value("node").is_some() && nodes.is_empty() {
        return Err(Fault::bad("node= names no node").about("parameter", "node"));
    }
    let snapshot = request.query.flag("snapshot")?.unwrap_or(false);
    if stream {
        let stream = EventStream::new(request.rack, since, nodes, snapshot, request.base);
        return Ok(Outcome::Stream(TextStream::Events(stream)));
    }
    // A snapshot comes with a stream: a poller reads nodes and tasks itself.
    // Without a position there is nothing to wait for yet: the answer says where to begin.
    let wait = request.query.duration("wait", WAIT_LIMIT)?;
    let wanted = EventFilter {
        since,
        nodes,
        wait: wait.unwrap_or(Duration::ZERO),
        limit: request.query.limit(EVENTS_AT_ONCE, EVENTS_AT_ONCE)?,
    };
    let found = request.rack.events(wanted).await?;
    Ok(Response::ok(&found).into())
}

/// `GET /v1/pause`
pub(crate) async fn pausing(request: RequestContext) -> Result<Response, Fault> {
    Ok(told(request.rack.pausing().await?))
}

/// `POST /v1/pause`
pub(crate) async fn pause(request: RequestContext) -> Result<Response, Fault> {
    let wanted: PauseRequest = request.json()?;
    check_reason(&wanted.reason)?;
    if wanted.reason.trim().is_empty() {
        return Err(Fault::bad(
            "reason is empty: everyone who is refused meanwhile will want to know",
        )
        .about("member", "reason"));
    }
    Ok(told(request.rack.pause(wanted.reason).await?))
}

/// `POST /v1/release`
pub(crate) async fn release(request: RequestContext) -> Result<Response, Fault> {
    request.json_or_default::<Nothing>()?;
    Ok(told(request.rack.release().await?))
}

fn told(pause: Option<Hold>) -> Response {
    Response::ok(&Pausing {
        paused: pause.is_some(),
        pause,
    })
}

/// `GET /v1/whoami`
pub(crate) async fn whoami(request: RequestContext) -> Result<Response, Fault> {
    let on_nodes = request.rights.limited.into_iter();
    let on_nodes = on_nodes.map(|(role, nodes)| RoleOnNodes {
        role: role.into(),
        nodes: nodes.into_iter().collect(),
    });
    Ok(Response::ok(&Asker {
        name: request.rack.asker().to_owned(),
        role: request.rights.everywhere.map(Word::from),
        on_nodes: on_nodes.collect(),
    }))
}

/// `GET /healthz`. Nobody logs in for it: over TCP it tells nothing that a person wrote.
pub(crate) async fn health(request: RequestContext) -> Result<Response, Fault> {
    let mut health = request.rack.health().await?;
    if !request.rack.is_asked_on_this_host() {
        if let Some(pause) = &mut health.pause {
            pause.reason = None;
            pause.by.clear();
        }
        // Both may quote what they cannot read.
        let refused = health.configuration_refused.iter_mut();
        let unreadable = health.unreadable.iter_mut();
        for why in refused
            .map(|refused| &mut refused.why)
            .chain(unreadable.map(|entry| &mut entry.why))
        {
            "the log says it".clone_into(why);
        }
    }
    Ok(Response::ok(&health))
}

/// `GET /metrics`
pub(crate) async fn metrics(request: RequestContext) -> Result<Response, Fault> {
    let form = Exposition::asked(&request.headers);
    let text = request.rack.metrics().await?;
    Ok(Response::text(form.media_type(), form.of(text)))
}

/// Records of the audit trail at once, where nobody says how many, and at most: each may be a
/// kilobyte.
const RECORDS: usize = 100;
const RECORDS_LIMIT: usize = 1000;

/// `GET /v1/audit`
pub(crate) async fn audit(request: RequestContext) -> Result<Response, Fault> {
    let after = request.query.number("after")?.unwrap_or(0);
    let limit = request.query.limit(RECORDS, RECORDS_LIMIT)?;
    Ok(Response::ok(&request.rack.trail(after, limit).await?))
}

/// `GET /v1/support`
pub(crate) async fn support(request: RequestContext) -> Result<Response, Fault> {
    Ok(Response::ok(&request.rack.support().await?))
}

/// `GET /v1/openapi.json`
pub(crate) async fn openapi(_: RequestContext) -> Result<Response, Fault> {
    // The same for everybody, and not quickly made.
    static DOCUMENT: OnceLock<Response> = OnceLock::new();
    let made = DOCUMENT.get_or_init(|| Response::ok(&description::document()));
    Ok(made.clone())
}
