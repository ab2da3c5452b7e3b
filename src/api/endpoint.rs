//! What there is to know of an endpoint: its method, who may use it, what goes in, what comes out,
//! and who answers.
//!
//! The table of them is `route`'s; what is not said of one there is as the constructors here have
//! it.

use super::dispatch::{Outcome, RequestContext};
use super::fault::{Fault, Surface};
use super::handle::Later;
use super::openapi::schemas::members;
use crate::model::Role;
use http::Method;

pub struct Route {
    /// With `{name}` for what varies.
    pub path: &'static str,
    /// Whose conventions it follows.
    pub surface: Surface,
    /// What may be done there.
    pub endpoints: &'static [Endpoint],
}

impl Route {
    /// The endpoint for `method`; HEAD is GET without its body.
    pub fn endpoint(&self, method: &Method) -> Option<&'static Endpoint> {
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
    pub fn allowed(&self) -> String {
        let names: Vec<&str> = self
            .endpoints
            .iter()
            .filter(|endpoint| !endpoint.refusing)
            .map(|endpoint| endpoint.method.name())
            .collect();
        names.join(", ")
    }
}

/// The methods that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Get,
    Put,
    Post,
    /// Change a record.
    Patch,
    /// Take back.
    Delete,
}

impl Verb {
    /// As it stands in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One method of one path: all that there is to know of it.
pub struct Endpoint {
    pub method: Verb,
    /// The role that it needs on some node at least; `None` where anyone may. Which node, the rack
    /// finds out.
    pub role: Option<Role>,
    /// Whether the role has to be good for the whole rack: what is told is about all of it.
    pub whole_rack: bool,
    /// What it does, in a line for the OpenAPI document.
    pub summary: &'static str,
    /// The query parameters, in the notation of `openapi::schemas`.
    pub query: &'static str,
    /// Parameters that are taken for the sake of old clients and not described.
    pub tolerated: &'static [&'static str],
    /// The body that goes in.
    pub body: Option<Body>,
    /// The status of success.
    pub status: u16,
    /// Another status of success, and what it means.
    pub other_status: Option<(u16, &'static str)>,
    /// The shape that success brings; nothing where empty.
    pub brings: &'static str,
    /// What else than JSON it answers with.
    pub media: Media,
    /// Whether the audit trail tells of a look, as it does of all that changes something.
    pub recorded: bool,
    /// Whether it exists only to say why not: such ones are not in the OpenAPI document.
    pub refusing: bool,
    pub handler: Handler,
}

/// A body that goes in, by the name of its shape.
#[derive(Clone, Copy)]
pub enum Body {
    /// It must be there.
    Needed(&'static str),
    /// It may be left out.
    Optional(&'static str),
}

/// What an endpoint answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    /// JSON, whatever the request accepts must include it.
    Json,
    /// JSON, or a stream of events where the request accepts one.
    Events,
    /// A line of JSON for each thing, as they come.
    Lines,
    /// OpenMetrics text.
    Figures,
}

type Handler = fn(RequestContext) -> Later<Result<Outcome, Fault>>;

pub(super) const fn endpoint(
    method: Verb,
    role: Role,
    summary: &'static str,
    handler: Handler,
) -> Endpoint {
    Endpoint {
        method,
        role: Some(role),
        whole_rack: false,
        summary,
        query: "",
        tolerated: &[],
        body: None,
        status: 200,
        other_status: None,
        brings: "",
        media: Media::Json,
        recorded: false,
        refusing: false,
        handler,
    }
}

pub(super) const fn get(summary: &'static str, handler: Handler) -> Endpoint {
    endpoint(Verb::Get, Role::Reader, summary, handler)
}

pub(super) const fn put(summary: &'static str, handler: Handler) -> Endpoint {
    endpoint(Verb::Put, Role::Operator, summary, handler)
}

pub(super) const fn post(summary: &'static str, handler: Handler) -> Endpoint {
    endpoint(Verb::Post, Role::Operator, summary, handler)
}

pub(super) const fn delete(summary: &'static str, handler: Handler) -> Endpoint {
    endpoint(Verb::Delete, Role::Operator, summary, handler)
}

impl Endpoint {
    /// Whether it knows a query parameter of that name.
    pub fn knows(&self, parameter: &str) -> bool {
        self.tolerated.contains(&parameter)
            || members(self.query).any(|(name, _)| name == parameter)
    }

    pub(super) const fn needs(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// A role on some nodes is not enough.
    pub(super) const fn of_whole_rack(mut self) -> Self {
        self.whole_rack = true;
        self
    }

    /// Open to anyone who reached us.
    pub(super) const fn public(mut self) -> Self {
        self.role = None;
        self
    }

    pub(super) const fn query(mut self, query: &'static str) -> Self {
        self.query = query;
        self
    }

    pub(super) const fn tolerates(mut self, parameters: &'static [&'static str]) -> Self {
        self.tolerated = parameters;
        self
    }

    pub(super) const fn takes(mut self, shape: &'static str) -> Self {
        self.body = Some(Body::Needed(shape));
        self
    }

    pub(super) const fn may_take(mut self, shape: &'static str) -> Self {
        self.body = Some(Body::Optional(shape));
        self
    }

    pub(super) const fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) const fn or_answers(mut self, status: u16, meaning: &'static str) -> Self {
        self.other_status = Some((status, meaning));
        self
    }

    pub(super) const fn brings(mut self, shape: &'static str) -> Self {
        self.brings = shape;
        self
    }

    pub(super) const fn speaks(mut self, media: Media) -> Self {
        self.media = media;
        self
    }

    /// The audit trail tells of it, though it changes nothing.
    pub(super) const fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    /// Only says why not.
    pub(super) const fn refusing(mut self) -> Self {
        self.refusing = true;
        self
    }
}

pub(super) const fn ironic(path: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route {
        path,
        surface: Surface::Ironic,
        endpoints,
    }
}

pub(super) const fn own(path: &'static str, endpoints: &'static [Endpoint]) -> Route {
    Route {
        path,
        surface: Surface::Own,
        endpoints,
    }
}
