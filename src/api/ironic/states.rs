//! A node's states, and the nine words that change them.

use super::record::{Members, STATES};
use super::target::PowerTarget;
use crate::api::dispatch::RequestContext;
use crate::api::fault::Fault;
use crate::api::message::{self, Response};
use crate::api::version::SOFT_POWER;
use crate::model::{PowerOptions, Seconds, Words};
use crate::rack::call::PowerChange;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// `GET /v1/nodes/{ident}/states`
pub(crate) async fn show(request: RequestContext) -> Result<Response, Fault> {
    let node = request.rack.node(&request.node()?).await?;
    let states = Members::of(STATES, request.version);
    Ok(Response::ok(&states.show(&node, &request.base)))
}

/// The body as it came: what is in the members is judged later, after the node was found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    target: Option<Value>,
    timeout: Option<Value>,
}

/// `PUT /v1/nodes/{ident}/states/power`
pub(crate) async fn set_power(request: RequestContext) -> Result<Response, Fault> {
    let (target, timeout) = body(&request)?;
    let ident = request.node()?;
    let wish = wish(&request, &target, timeout.as_ref());
    if wish.is_err() {
        // Ironic says that a node is not there before it says what is wrong with the wish, and so
        // do its clients' tests.
        request.rack.node(&ident).await?;
    }
    let (target, options) = wish?;
    let task = request
        .rack
        .set_power(&ident, target.change(), options)
        .await?;
    let place = format!(
        "{}{}",
        request.base,
        request.path.trim_end_matches("/power")
    );
    let response = Response::empty(StatusCode::ACCEPTED).with("location", place);
    Ok(match task {
        Some(taken) => response.with("x-rackbmcd-task", taken.task.to_string()),
        None => response,
    })
}

/// The two members of the body.
fn body(request: &RequestContext) -> Result<(String, Option<Value>), Fault> {
    message::is_json(&request.headers, &request.body)?;
    let missing = |why: &str| {
        Fault::bad(format!("Missing mandatory parameter: target{why}")).about("member", "target")
    };
    if request.body.iter().all(u8::is_ascii_whitespace) {
        return Err(missing(""));
    }
    let Body { target, timeout } = match serde_json::from_slice::<Value>(&request.body) {
        Ok(Value::Object(_)) => request.json()?,
        Ok(_) => return Err(missing(" (the body is no JSON object)")),
        Err(error) if error.to_string().contains("recursion limit") => {
            return Err(Fault::too_deep());
        }
        Err(error) => return Err(missing(&format!(" (the body is no JSON: {error})"))),
    };
    match target {
        None => Err(missing("")),
        Some(Value::String(target)) => Ok((target, timeout)),
        Some(other) => {
            Err(Fault::bad(format!("Expected string for target: {other}"))
                .about("member", "target"))
        }
    }
}

/// What is wanted, once the node is there.
fn wish(
    request: &RequestContext,
    target: &str,
    timeout: Option<&Value>,
) -> Result<(PowerTarget, PowerOptions), Fault> {
    let known = PowerTarget::from_word(target);
    let newer = known.is_some_and(|target| {
        !matches!(
            target,
            PowerTarget::PowerOn | PowerTarget::PowerOff | PowerTarget::Rebooting
        )
    });
    if request.version < SOFT_POWER && (newer || timeout.is_some()) {
        let what = if newer {
            format!("the target '{target}'")
        } else {
            "the member timeout".to_owned()
        };
        return Err(Fault::not_acceptable(format!(
            "Request not acceptable. The requested version {} does not know {what}: it needs version {SOFT_POWER}.",
            request.version
        )));
    }
    let timeout = timeout.map(patience).transpose()?;
    let Some(target) = known else {
        let words = PowerTarget::words();
        return Err(Fault::bad(format!(
            "The requested action \"{target}\" is not known. Valid targets are: {}.",
            words.join(", ")
        ))
        .about("member", "target"));
    };
    if let (PowerChange::Abort(_), Some(_)) = (target.change(), timeout) {
        let word = target.name();
        let text = format!("timeout goes with a change of power; '{word}' is done at once");
        return Err(Fault::bad(text).about("member", "timeout"));
    }
    Ok((
        target,
        PowerOptions {
            timeout,
            ..PowerOptions::default()
        },
    ))
}

/// The timeout in all the forms that Ironic takes: a number, a number as text, even `true`; and our
/// `90s`.
fn patience(value: &Value) -> Result<Duration, Fault> {
    let seconds = match value {
        Value::Number(number) => number.as_f64().and_then(Seconds::from_f64),
        Value::String(text) => Seconds::from_words(text),
        Value::Bool(truth) => Some(Seconds(Duration::from_secs(u64::from(*truth)))),
        _ => None,
    };
    match seconds {
        Some(Seconds(timeout)) if !timeout.is_zero() => Ok(timeout),
        _ => Err(
            Fault::bad(format!("timeout has to be positive, in seconds: {value}"))
                .about("member", "timeout"),
        ),
    }
}
