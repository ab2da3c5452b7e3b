//! From a request to its endpoint's handler, and from what that makes of it to the response. Pure:
//! no socket, no clock, no randomness (the request's id is part of it); what a handler needs of the
//! world is a [`Daemon`].
//!
//! What all endpoints have in common is checked here, from their rows in the table: version,
//! method, `Accept`, role and the names of query parameters. Which nodes the role has to be good
//! for is the rack's to check.

use super::endpoint::{Endpoint, Media, Route};
use super::fault::{Fault, Surface};
use super::handle::{Daemon, RackHandle, TaskFilter};
use super::message::{self, Query, Request, Response};
use super::route::{self, Found};
use super::stream::TextStream;
use super::version::{self, Version};
use crate::model::{BatchId, ErrorKind, Short, Stale, TaskId, Who};
use crate::rack::rights::Rights;
use http::{HeaderMap, StatusCode};
use std::rc::Rc;
use uuid::Uuid;

/// The longest path and query that are looked at.
pub const PATH_LIMIT: usize = 8 * 1024;

/// What every answer to one request has in common.
#[derive(Clone, Debug)]
pub struct Frame {
    request_id: String,
    version: Option<Version>,
    surface: Surface,
    pretty: bool,
    /// How old what is answered is, where it is not of now.
    pub stale: Option<Stale>,
}

/// One request on its way through its handler.
pub struct RequestContext {
    /// The parts of the path that stand for something, by name.
    pub params: Vec<(String, String)>,
    pub version: Version,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// `http://<host>`.
    pub base: String,
    /// The same for the address of a next page, or nothing.
    pub base_of_pages: String,
    /// The path as asked, without a slash at its end, and with its version.
    pub path: String,
    /// The rack, asked in the name of whoever made the request.
    pub rack: RackHandle,
    /// What that one may do.
    pub rights: Rights,
}

/// What a handler makes of a request.
pub enum Outcome {
    Whole(Response),
    /// Text that comes piece by piece.
    Stream(TextStream),
}

impl From<Response> for Outcome {
    fn from(response: Response) -> Self {
        Self::Whole(response)
    }
}

/// Handles `request` of somebody who has `rights`: the frame of its answer, and what came of
/// it.
pub async fn handle(
    request: Request,
    rights: Rights,
    daemon: Rc<dyn Daemon>,
) -> (Frame, Result<Outcome, Fault>) {
    let mut frame = Frame::plain(&request);
    let found = match admit(request, rights, daemon, &mut frame) {
        Ok((endpoint, context)) => (endpoint.handler)(context).await,
        Err(fault) => Err(fault),
    };
    (frame, found)
}

/// The endpoint that a request is for, and the request as its handler takes it.
fn admit(
    request: Request,
    rights: Rights,
    daemon: Rc<dyn Daemon>,
    frame: &mut Frame,
) -> Result<(&'static Endpoint, RequestContext), Fault> {
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
    // Ironic checks the version before the method and before anything of the request itself, but
    // `/` speaks to all.
    if route.surface == Surface::Ironic && route.path != "/" {
        asked.as_ref().map_err(Fault::not_acceptable)?;
    }
    let endpoint = route
        .endpoint(&request.method)
        .ok_or_else(|| Fault::no_method(&request.method, &route.allowed()))?;
    if endpoint.media == Media::Json && !takes_json(&request.headers) {
        return Err(Fault::not_acceptable(
            "the answer is application/json, and the Accept header does not take it",
        ));
    }
    let who = Who {
        name: request.peer.name(),
        uid: request.peer.uid,
        gid: request.peer.gid,
        pid: request.peer.pid,
        request: request.id.clone(),
    };
    // Somewhere at least: where, is known once the rack has found what the request is about.
    let held = |role| match endpoint.whole_rack {
        true => rights.everywhere(role),
        false => rights.somewhere(role),
    };
    if let Some(role) = endpoint.role.filter(|role| !held(*role)) {
        return Err(Fault::no_role(role, &who.name));
    }
    let query = Query::parse(&request.query)?;
    if !endpoint.refusing {
        query.only(|name| endpoint.knows(name))?;
    }
    let context = RequestContext {
        params,
        version: frame.version.unwrap_or(version::MAXIMUM),
        query,
        base: message::base(&request),
        base_of_pages: message::base_of_pages(&request),
        path,
        headers: request.headers,
        body: request.body,
        rack: RackHandle::new(daemon, who),
        rights,
    };
    Ok((endpoint, context))
}

fn under_v1(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
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
        Self::in_row(id, path, route::row(path), query, headers)
    }

    /// The same where the row of the path is known.
    pub fn in_row(
        id: &str,
        path: &str,
        row: Option<&'static Route>,
        query: &str,
        headers: &HeaderMap,
    ) -> Self {
        let indent = |accept: &http::HeaderValue| {
            String::from_utf8_lossy(accept.as_bytes())
                .to_ascii_lowercase()
                .contains("indent")
        };
        let pretty = query
            .split('&')
            .any(|part| matches!(part, "pretty" | "pretty=true" | "pretty=1"))
            || headers.get_all(http::header::ACCEPT).iter().any(indent);
        let surface = match row {
            Some(row) => row.surface,
            None if path == "/" || under_v1(path) => Surface::Ironic,
            None => Surface::Own,
        };
        Self {
            request_id: id.to_owned(),
            version: None,
            surface,
            pretty,
            stale: None,
        }
    }

    /// The response as it leaves.
    pub fn finish(&self, outcome: Result<Response, Fault>) -> Response {
        let mut response =
            outcome.unwrap_or_else(|fault| fault.fit(self.surface).response(self.surface));
        if let Some(stale) = self.stale.as_ref().filter(|_| response.status.is_success()) {
            response.begin_with(stale);
        }
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
        if let Some(stale) = &self.stale {
            headers.push(("x-rackbmc-stale", stale.stale_age.to_string()));
            let owner = stale.rack_owner.clone();
            headers.extend(owner.map(|owner| ("x-rackbmc-owner", owner)));
        }
        headers
    }
}

impl RequestContext {
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
        let ident = self.named_node();
        if self.version < version::NAMES && Uuid::try_parse(ident).is_err() {
            return Err(Fault::no_name(self.param("ident")));
        }
        Ok(ident.to_owned())
    }

    /// The node that a path of Ironic's names, where names work at every microversion.
    pub fn named_node(&self) -> &str {
        let asked = self.param("ident");
        // Ironic takes `.json` behind a node for an old habit of its clients.
        let ident = asked.strip_suffix(".json");
        ident.filter(|rest| !rest.is_empty()).unwrap_or(asked)
    }

    /// The node that the path of one of our own answers names: names always work there.
    pub fn any_node(&self) -> &str {
        self.param("ident")
    }

    /// The task that the path names, by its id or its short one.
    ///
    /// # Errors
    /// 404.
    pub async fn task_id(&self) -> Result<TaskId, Fault> {
        let text = self.param("id");
        if let Some((true, short)) = Short::written(text) {
            let wanted = TaskFilter {
                short: Some(short),
                limit: 2,
                ..TaskFilter::default()
            };
            let found = self.rack.tasks(wanted).await?;
            return only(text, "task", found.iter().map(|task| task.id).collect());
        }
        Uuid::try_parse(text).map_err(|_| no_such("task", text, "that is no id"))
    }

    /// The batch that the path names.
    ///
    /// # Errors
    /// 404.
    pub async fn batch_id(&self) -> Result<BatchId, Fault> {
        let text = self.param("id");
        if let Some((false, short)) = Short::written(text) {
            let found = self.rack.batches(Some(short)).await?;
            return only(text, "batch", found.iter().map(|batch| batch.id).collect());
        }
        Uuid::try_parse(text).map_err(|_| no_such("batch", text, "that is no id"))
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
}

/// The one that has a short id.
fn only(text: &str, what: &str, found: Vec<Uuid>) -> Result<Uuid, Fault> {
    match found[..] {
        [id] => Ok(id),
        [] => Err(no_such(
            what,
            text,
            "none that is remembered has this short id",
        )),
        _ => Err(no_such(
            what,
            text,
            "several have this short id: give the whole one",
        )),
    }
}

fn no_such(what: &str, text: &str, why: &str) -> Fault {
    let kind = match what {
        "batch" => ErrorKind::BatchNotFound,
        _ => ErrorKind::TaskNotFound,
    };
    let said = format!("{what} {text} could not be found: {why}");
    Fault::new(StatusCode::NOT_FOUND, kind, said)
}
