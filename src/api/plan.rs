//! What a request means: an answer at once, or a call to the rack and what to make of its answer. Pure: no socket, no
//! clock, no randomness (the request's id is part of it).
//!
//! Driven by `serve`, which carries the calls to the rack and the response back.

use super::access::{Policy, Rights, Role};
use super::events::EventStream;
use super::fault::{Fault, Surface};
use super::message::{self, Query, Request, Response};
use super::route::{self, Found, Route};
use super::version::{self, Version};
use crate::model::ErrorKind;
use crate::rack::call::{Answer, Call, Refused, Who};
use http::{HeaderMap, Method, StatusCode};
use std::collections::BTreeSet;

/// What comes next for a request.
pub enum Plan {
    /// The answer.
    Done(Response),
    /// A call to the rack, and what to make of what it brings.
    Ask(Call, Next),
    /// Server-sent events until one side has enough.
    Stream(EventStream),
    /// The daemon's figures as OpenMetrics text.
    Metrics,
    /// A stretch of the audit trail.
    Audit {
        /// Records after this number.
        after: u64,
        /// At most so many.
        limit: usize,
    },
}

/// What to make of the rack's answer.
pub type Next = Box<dyn FnOnce(Result<Answer, Refused>) -> Result<Plan, Fault>>;

/// The largest body that is read.
pub const BODY_LIMIT: usize = 64 * 1024;
/// The longest path and query that are looked at.
pub const PATH_LIMIT: usize = 8 * 1024;

/// What every answer to one request has in common.
#[derive(Clone, Debug)]
pub struct Frame {
    request_id: String,
    version: Option<Version>,
    surface: Surface,
    pretty: bool,
}

/// One request on its way through a handler.
pub struct Asking {
    /// The parts of the path that stand for something, by name.
    pub params: Vec<(String, String)>,
    /// The microversion.
    pub version: Version,
    /// The query.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Who asks.
    pub who: Who,
    /// What they may do.
    pub rights: Rights,
    /// `http://<host>`.
    pub base: String,
    /// The path as asked, without a slash at its end, and with its version.
    pub path: String,
}

/// The first step for `request`, and what its answer will be dressed in.
pub fn plan(request: Request, policy: &Policy) -> (Frame, Result<Plan, Fault>) {
    let mut frame = Frame::plain(&request);
    let outcome = step(request, policy, &mut frame);
    (frame, outcome)
}

fn step(request: Request, policy: &Policy, frame: &mut Frame) -> Result<Plan, Fault> {
    if request.path.len() + request.query.len() > PATH_LIMIT {
        return Err(Fault::new(
            StatusCode::URI_TOO_LONG,
            ErrorKind::BadRequest,
            format!("path and query are longer than {PATH_LIMIT} bytes"),
        ));
    }
    let found = route::find(&request.path);
    let mut versioned = request.path == "/" || under_v1(&request.path);
    if let Ok(Found { route, .. }) = &found {
        frame.surface = route.surface;
        versioned |= route.surface == Surface::Ironic;
    }
    let asked = Version::asked(&request.headers);
    if versioned {
        frame.version = Some(*asked.as_ref().unwrap_or(&version::MINIMUM));
    }
    let Found {
        route,
        path,
        params,
    } = found?;
    // Ironic checks the version before the method and before anything of the request itself, but `/` speaks to all.
    if route.surface == Surface::Ironic && route.path != "/" {
        asked.as_ref().map_err(Fault::not_acceptable)?;
    }
    let rights = policy.rights(&request.peer);
    let endpoint = route
        .endpoint(&request.method)
        .ok_or_else(|| Fault::no_method(&request.method, &route.allowed()))?;
    if !endpoint.speaks_more_than_json && !takes_json(&request.headers) {
        return Err(Fault::not_acceptable(
            "the answer is application/json, and the Accept header does not take it",
        ));
    }
    if endpoint.role.is_some_and(|role| !rights.somewhere(role)) {
        return Err(no_role(
            endpoint.role.unwrap_or(Role::Admin),
            &request.peer.name(),
        ));
    }
    let asking = Asking {
        params,
        version: frame.version.unwrap_or(version::MAXIMUM),
        query: Query::parse(&request.query)?,
        base: message::base(&request),
        path,
        who: Who {
            name: request.peer.name(),
            uid: request.peer.uid,
            gid: request.peer.gid,
            pid: request.peer.pid,
            request: request.id,
        },
        headers: request.headers,
        body: request.body,
        rights,
    };
    (endpoint.handler)(asking)
}

fn under_v1(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// 403, with the role that is missing.
fn no_role(role: Role, name: &str) -> Fault {
    Fault::not_permitted(format!(
        "{name} is not permitted: this needs the role {role}"
    ))
    .about("role", &role.to_string())
}

/// Whether the `Accept` header takes JSON.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(http::header::ACCEPT).iter().peekable();
    accepts.peek().is_none()
        || accepts.any(|accept| {
            String::from_utf8_lossy(accept.as_bytes())
                .split(',')
                .any(|range| {
                    let essence = range
                        .split(';')
                        .next()
                        .unwrap_or_default()
                        .trim()
                        .to_ascii_lowercase();
                    ["", "*/*", "application/*", message::JSON].contains(&essence.as_str())
                        || essence.ends_with("+json")
                })
        })
}

impl Frame {
    /// The frame of a request of which nothing is known but what stands in its first lines.
    pub fn plain(request: &Request) -> Self {
        Self::of(&request.id, &request.path, &request.query, &request.headers)
    }

    /// The same for a request whose body was not read.
    pub fn of(id: &str, path: &str, query: &str, headers: &HeaderMap) -> Self {
        let indent = |accept: &http::HeaderValue| {
            String::from_utf8_lossy(accept.as_bytes())
                .to_ascii_lowercase()
                .contains("indent")
        };
        let pretty = query
            .split('&')
            .any(|part| matches!(part, "pretty" | "pretty=true" | "pretty=1"))
            || headers.get_all(http::header::ACCEPT).iter().any(indent);
        let surface = match route::find(path) {
            Ok(found) => found.route.surface,
            Err(_) if path == "/" || under_v1(path) => Surface::Ironic,
            Err(_) => Surface::Own,
        };
        Frame {
            request_id: id.to_owned(),
            version: None,
            surface,
            pretty,
        }
    }

    /// The response as it leaves.
    pub fn finish(&self, outcome: Result<Response, Fault>) -> Response {
        let mut response =
            outcome.unwrap_or_else(|fault| fault.fit(self.surface).response(self.surface));
        if self.pretty {
            response.make_pretty();
        }
        response.headers.extend(self.headers());
        response
    }

    /// The headers of every answer to this request.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("openstack-request-id", self.request_id.clone()),
            ("x-openstack-request-id", self.request_id.clone()),
        ];
        if let Some(version) = self.version {
            headers.push((
                "x-openstack-ironic-api-minimum-version",
                version::MINIMUM.to_string(),
            ));
            headers.push((
                "x-openstack-ironic-api-maximum-version",
                version::MAXIMUM.to_string(),
            ));
            headers.push(("x-openstack-ironic-api-version", version.to_string()));
        }
        headers
    }
}

impl Asking {
    /// A part of the path.
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The node that the path names, where the microversion takes that kind of name.
    ///
    /// # Errors
    /// 404: below 1.5 a name is no name.
    pub fn node(&self) -> Result<String, Fault> {
        let asked = self.param("ident");
        // Ironic takes `.json` behind a node for an old habit of its clients.
        let ident = asked
            .strip_suffix(".json")
            .filter(|rest| !rest.is_empty())
            .unwrap_or(asked);
        if self.version < version::NAMES && uuid::Uuid::try_parse(ident).is_err() {
            return Err(Fault::no_node(asked));
        }
        Ok(ident.to_owned())
    }

    /// The node that the path of one of our own answers names: names always work there.
    pub fn any_node(&self) -> String {
        self.param("ident").to_owned()
    }

    /// The uuid that the path names.
    ///
    /// # Errors
    /// 404: what is no uuid names nothing.
    pub fn id(&self, what: &str) -> Result<uuid::Uuid, Fault> {
        let text = self.param("id");
        uuid::Uuid::try_parse(text).map_err(|_| {
            let kind = if what == "batch" {
                ErrorKind::BatchNotFound
            } else {
                ErrorKind::TaskNotFound
            };
            Fault::new(
                StatusCode::NOT_FOUND,
                kind,
                format!("{what} {text} could not be found: that is no uuid"),
            )
        })
    }

    /// The body, which has to be there.
    ///
    /// # Errors
    /// 400, 415.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        message::json_body(&self.headers, &self.body)
    }

    /// The body, or what stands for a missing one.
    ///
    /// # Errors
    /// 400, 415.
    pub fn json_or_default<T: serde::de::DeserializeOwned + Default>(&self) -> Result<T, Fault> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            Ok(T::default())
        } else {
            self.json()
        }
    }

    /// Goes on with `then` if the asker holds `role` on the whole rack or on each of `nodes` (names or uuids).
    ///
    /// # Errors
    /// 403; what `then` refuses.
    pub fn permitted(
        self,
        role: Role,
        nodes: Vec<String>,
        then: impl FnOnce(Asking) -> Result<Plan, Fault> + Send + 'static,
    ) -> Result<Plan, Fault> {
        if self.rights.everywhere(role) {
            return then(self);
        }
        if !self.rights.somewhere(role) || nodes.is_empty() {
            return Err(no_role(role, &self.who.name));
        }
        if nodes.iter().all(|node| self.rights.on(role, node)) {
            return then(self);
        }
        // Some are uuids, or out of reach: only the rack knows their names.
        ask(Call::Nodes, move |answer| {
            let Answer::Nodes(views) = answer else {
                return Err(stray());
            };
            let wanted: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
            for view in &views {
                let uuid = view.uuid.to_string();
                let meant = wanted.contains(&*view.name) || wanted.contains(uuid.as_str());
                if meant && !self.rights.on(role, &view.name) {
                    return Err(no_role(role, &self.who.name).on_node(&view.name));
                }
            }
            then(self)
        })
    }
}

/// A call whose refusal is the request's refusal.
///
/// # Errors
/// None yet: it is a `Result` so that handlers can end with it.
pub fn ask(
    call: Call,
    then: impl FnOnce(Answer) -> Result<Plan, Fault> + Send + 'static,
) -> Result<Plan, Fault> {
    Ok(Plan::Ask(call, Box::new(move |outcome| then(outcome?))))
}

/// An answer at once.
///
/// # Errors
/// None: it is a `Result` so that handlers can end with it.
pub fn done(response: Response) -> Result<Plan, Fault> {
    Ok(Plan::Done(response))
}

/// An answer at once, with a JSON body and status 200.
///
/// # Errors
/// None: it is a `Result` so that handlers can end with it.
pub fn shown(value: &impl serde::Serialize) -> Result<Plan, Fault> {
    done(Response::json(StatusCode::OK, value))
}

/// The rack answered with something that was not asked for: a mistake of ours.
pub fn stray() -> Fault {
    Fault::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Internal,
        "the rack's answer does not belong to the question; please report this",
    )
}

impl Route {
    /// The endpoint for `method`; HEAD is GET without its body.
    fn endpoint(&self, method: &Method) -> Option<&'static route::Endpoint> {
        let name = if method == Method::HEAD {
            "GET"
        } else {
            method.as_str()
        };
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.method.name() == name)
    }

    /// The methods that there are, for the `Allow` header.
    fn allowed(&self) -> String {
        let names: Vec<&str> = self
            .endpoints
            .iter()
            .filter(|endpoint| !endpoint.refusing)
            .map(|endpoint| endpoint.method.name())
            .collect();
        names.join(", ")
    }
}
