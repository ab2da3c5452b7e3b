//! The rack as a whole: its events, its pause, the daemon's health, and this API's description.

use super::WAIT_LIMIT;
use super::tasks::Nothing;
use crate::api::access::Role;
use crate::api::events::EventStream;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::api::openapi as description;
use crate::api::plan::{Asking, Plan, ask, done, shown, stray};
use crate::model::{EventId, PauseRequest, Pausing};
use crate::rack::call::{Answer, Call};
use http::StatusCode;
use std::sync::OnceLock;
use std::time::Duration;

/// How many events one long poll brings at most.
pub const EVENTS_AT_ONCE: usize = 500;

/// `GET /v1/events`: a long poll, or a stream where `Accept` asks for one.
pub fn events(asking: Asking) -> Result<Plan, Fault> {
    asking
        .query
        .only(&["since", "wait", "node", "limit", "snapshot"])?;
    let stream = asking
        .headers
        .get_all(http::header::ACCEPT)
        .iter()
        .any(|accept| {
            String::from_utf8_lossy(accept.as_bytes())
                .to_ascii_lowercase()
                .contains("text/event-stream")
        });
    let last = asking
        .headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok());
    // The header wins: a stream that was cut goes on from there, though its address still says where it began.
    let since = last
        .filter(|_| stream)
        .or(asking.query.value("since"))
        .filter(|text| !text.is_empty());
    let since = since
        .map(|text| {
            text.parse::<EventId>()
                .map_err(|error| Fault::bad(error).about("parameter", "since"))
        })
        .transpose()?;
    let nodes: Vec<String> = asking
        .query
        .pairs()
        .iter()
        .filter(|(name, _)| name == "node")
        .flat_map(|(_, names)| names.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if asking.query.value("node").is_some() && nodes.is_empty() {
        return Err(Fault::bad("node= names no node").about("parameter", "node"));
    }
    let snapshot = asking.query.flag("snapshot")?.unwrap_or(false);
    if stream {
        return Ok(Plan::Stream(EventStream::new(
            since,
            nodes,
            snapshot,
            asking.base,
        )));
    }
    // A snapshot comes with a stream: a poller reads nodes and tasks itself.
    // Without a position there is nothing to wait for yet: the answer says where to begin.
    let wait = match asking.query.duration("wait", WAIT_LIMIT)? {
        Some(wait) => wait,
        None => Duration::ZERO,
    };
    let limit = asking.query.limit(EVENTS_AT_ONCE, EVENTS_AT_ONCE)?;
    let call = Call::Events {
        since,
        nodes,
        wait,
        limit,
    };
    ask(call, |answer| {
        let Answer::Events(found) = answer else {
            return Err(stray());
        };
        shown(&found)
    })
}

/// `GET /v1/pause`
pub fn pausing(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    about_pause(Call::Pausing)
}

/// `POST /v1/pause`
pub fn pause(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: PauseRequest = asking.json()?;
    if wanted.reason.trim().is_empty() {
        return Err(Fault::bad(
            "reason is empty: everyone who is refused meanwhile will want to know",
        )
        .about("member", "reason"));
    }
    asking.permitted(Role::Operator, Vec::new(), move |asking| {
        about_pause(Call::Pause {
            reason: wanted.reason,
            who: asking.who.clone(),
        })
    })
}

/// `POST /v1/release`
pub fn release(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    asking.json_or_default::<Nothing>()?;
    asking.permitted(Role::Operator, Vec::new(), |asking| {
        about_pause(Call::Release {
            who: asking.who.clone(),
        })
    })
}

fn about_pause(call: Call) -> Result<Plan, Fault> {
    ask(call, |answer| {
        let Answer::Pausing(pause) = answer else {
            return Err(stray());
        };
        shown(&Pausing {
            paused: pause.is_some(),
            pause,
        })
    })
}

/// `GET /healthz`
pub fn health(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    ask(Call::Health, |answer| {
        let Answer::Health(found) = answer else {
            return Err(stray());
        };
        shown(&found)
    })
}

/// `GET /metrics`
pub fn metrics(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    Ok(Plan::Metrics)
}

/// Records of the audit trail at once, where nobody says how many, and at most: each may be a kilobyte.
const RECORDS: usize = 100;
const RECORDS_LIMIT: usize = 1000;

/// `GET /v1/audit`
pub fn audit(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&["after", "limit"])?;
    let after = asking.query.number("after")?.unwrap_or(0);
    let limit = asking.query.limit(RECORDS, RECORDS_LIMIT)?;
    // It tells of all nodes: a role on some of them is not enough.
    asking.permitted(Role::Admin, Vec::new(), move |_| {
        Ok(Plan::Audit { after, limit })
    })
}

/// `GET /v1/openapi.json`
pub fn openapi(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    // The same for everybody, and not quickly made.
    static DOCUMENT: OnceLock<Response> = OnceLock::new();
    let made = DOCUMENT.get_or_init(|| Response::json(StatusCode::OK, &description::document()));
    done(made.clone())
}
