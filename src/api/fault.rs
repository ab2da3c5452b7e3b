//! What a client is told when something is refused: one value, written in Ironic's shape on
//! Ironic's paths and in ours elsewhere. Also the one place where a refusal of the rack gets its
//! HTTP status.

use super::ironic::sentences::sentence;
use super::message::Response;
use crate::model::{Error, ErrorBody, ErrorKind, Role};
use crate::rack::call::Refused;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

/// Whose conventions a path follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Surface {
    /// Ironic's: microversions, its error body.
    Ironic,
    Own,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub status: StatusCode,
    /// The stable word for our own surface.
    pub kind: ErrorKind,
    /// One line for people.
    pub message: String,
    /// Which of Ironic's forms it takes there.
    form: Form,
    /// What not every refusal has; boxed, because refusals travel in results.
    more: Box<More>,
}

/// What a refusal is about.
#[derive(Clone, Debug, Default, PartialEq)]
struct More {
    node: Option<String>,
    task: Option<String>,
    detail: Option<Value>,
    /// What Ironic says instead of the message, on its paths.
    ironic: Option<String>,
    /// What is put down of it instead of the message.
    lasting: Option<String>,
    /// Headers of the answer.
    headers: Vec<(&'static str, String)>,
}

/// Ironic has several forms of one thing, and clients read each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// `error_message` holding faultcode and faultstring: said by a handler.
    Handler,
    /// `error_message` holding code, title and description: said by the router.
    Router,
    /// The fault object alone: a body that was not even read.
    Bare,
    /// `error` with code and message: said by http_basic.
    Basic,
}

impl Fault {
    /// A refusal said by a handler.
    pub fn new(status: StatusCode, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            form: Form::Handler,
            more: Box::default(),
        }
    }

    /// The node that it is about, where one is named.
    pub fn node(&self) -> Option<&str> {
        self.more.node.as_deref()
    }

    /// What is put down of it: nothing in it counts down.
    pub fn lasting(&self) -> &str {
        self.more.lasting.as_ref().unwrap_or(&self.message)
    }

    /// 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::BadRequest, message)
    }

    /// 503, for too many ask for as much at the same time: in two seconds there may be room.
    pub fn crowded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Crowded, message)
            .with("retry-after", "2")
    }

    /// 404 of a path that is not there.
    pub fn no_route() -> Self {
        Self {
            form: Form::Router,
            ..Self::new(
                StatusCode::NOT_FOUND,
                ErrorKind::NotFound,
                "The resource could not be found.",
            )
        }
    }

    /// 404 of a node that is not there.
    pub fn no_node(ident: &str) -> Self {
        Refused::NoSuchNode(ident.to_owned()).into()
    }

    /// The same where a request speaks a version in which a node has no name: Ironic's sentence,
    /// and what helps.
    pub fn no_name(ident: &str) -> Self {
        let mut fault = Self::no_node(ident);
        if let Some(sentence) = &mut fault.more.ironic {
            sentence.push_str(
                " (Names of nodes need the header X-OpenStack-Ironic-API-Version: 1.5 or newer.)",
            );
        }
        fault
    }

    /// 405.
    pub fn no_method(method: &http::Method, allowed: &str) -> Self {
        Self {
            form: Form::Router,
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                ErrorKind::MethodNotAllowed,
                format!("The method {method} is not allowed for this resource."),
            )
        }
        .with("allow", allowed)
    }

    /// 406.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self {
            form: Form::Router,
            ..Self::new(
                StatusCode::NOT_ACCEPTABLE,
                ErrorKind::NotAcceptable,
                message,
            )
        }
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self {
            form: Form::Bare,
            ..Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrorKind::BodyTooLarge,
                format!("the body is larger than {limit} bytes"),
            )
        }
    }

    /// 400 of JSON that is nested beyond all need.
    pub fn too_deep() -> Self {
        Self {
            form: Form::Bare,
            ..Self::bad("the body's JSON is nested too deeply")
        }
    }

    /// 408 of a body that does not come.
    pub fn too_slow() -> Self {
        Self {
            form: Form::Bare,
            ..Self::new(
                StatusCode::REQUEST_TIMEOUT,
                ErrorKind::RequestTimeout,
                "the body did not come in time",
            )
        }
    }

    /// 401, with the header that asks for credentials.
    pub fn not_authenticated(message: impl Into<String>, challenge: &str) -> Self {
        Self {
            form: Form::Basic,
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                ErrorKind::NotAuthenticated,
                message,
            )
        }
        .with("www-authenticate", challenge)
    }

    /// 400 of credentials that cannot be read.
    pub fn bad_credentials(message: impl Into<String>) -> Self {
        Self {
            form: Form::Basic,
            ..Self::bad(message)
        }
    }

    /// 403.
    pub fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::NotPermitted, message)
    }

    /// 403, with the role that is missing.
    pub fn no_role(role: Role, name: &str) -> Self {
        Self::not_permitted(format!(
            "{name} is not permitted: this needs the role {role}"
        ))
        .about("role", role.name())
    }

    /// A refusal of the rack, as it is said to `name`, who asked.
    pub fn refused(refused: Refused, name: &str) -> Self {
        match refused {
            Refused::NotPermitted { role, nodes } if !nodes.is_empty() => {
                let names = nodes.join(", ");
                Self::not_permitted(format!(
                    "{name} is not permitted on {names}: this needs the role {role}"
                ))
                .about("role", role.name())
                .on_node(&names)
            }
            Refused::NotPermitted { role, .. } => Self::no_role(role, name),
            refused => refused.into(),
        }
    }

    /// The same, with what it is about in its detail.
    #[must_use]
    pub fn about(mut self, what: &str, which: &str) -> Self {
        self.more.detail = Some(json!({ what: which }));
        self
    }

    /// The same, said of a node.
    #[must_use]
    pub fn on_node(mut self, node: &str) -> Self {
        self.more.node = Some(node.to_owned());
        self
    }

    /// The same, said of a task.
    #[must_use]
    fn on_task(mut self, task: &uuid::Uuid) -> Self {
        self.more.task = Some(task.to_string());
        self
    }

    /// The same with what is put down of it.
    #[must_use]
    fn put_down_as(mut self, lasting: String) -> Self {
        self.more.lasting = Some(lasting);
        self
    }

    /// The same with its detail.
    #[must_use]
    fn detailed(mut self, detail: Value) -> Self {
        self.more.detail = Some(detail);
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.more.headers.push((name, value.into()));
        self
    }

    /// The answer that says it.
    pub fn response(self, surface: Surface) -> Response {
        let side = if self.status.is_server_error() {
            "Server"
        } else {
            "Client"
        };
        let ironic = self.more.ironic.as_ref().unwrap_or(&self.message);
        let fault = IronicFault {
            faultcode: side,
            faultstring: ironic,
            debuginfo: None,
        };
        let mut response = match (surface, self.form) {
            (Surface::Ironic, Form::Handler) => wrapped(self.status, &fault),
            (Surface::Ironic, Form::Bare) => Response::json(self.status, &fault),
            (Surface::Ironic, Form::Router) => wrapped(
                self.status,
                &RouterFault {
                    code: self.status.as_u16(),
                    title: self.status.canonical_reason().unwrap_or_default(),
                    description: ironic,
                },
            ),
            (Surface::Ironic, Form::Basic) => Response::json(
                self.status,
                &json!({"error": {"message": self.message, "code": self.status.as_u16()}}),
            ),
            (Surface::Own, _) => Response::json(
                self.status,
                &ErrorBody {
                    error: Error {
                        kind: self.kind.into(),
                        message: self.message,
                        node: self.more.node,
                        task: self.more.task,
                        detail: self.more.detail,
                    },
                },
            ),
        };
        response.headers.extend(self.more.headers);
        response
    }

    /// The same refusal with the status that `surface` gives it.
    ///
    /// On Ironic's paths 409 and 503 mean "busy, ask again", and its clients do ask again, for ten
    /// seconds and more: what only a person can change is a plain 400 there.
    pub(super) fn fit(mut self, surface: Surface) -> Self {
        let waits_for_a_person = [
            ErrorKind::WrongState,
            ErrorKind::ForbiddenByConfiguration,
            ErrorKind::Maintenance,
            ErrorKind::UnreadableEntry,
            ErrorKind::Paused,
            ErrorKind::ControlRefused,
        ]
        .contains(&self.kind);
        if surface == Surface::Ironic && waits_for_a_person {
            self.status = StatusCode::BAD_REQUEST;
        }
        self
    }
}

/// JSON inside JSON, as Ironic does it.
fn wrapped(status: StatusCode, inner: &impl Serialize) -> Response {
    let text = serde_json::to_string(inner).expect("text and numbers");
    Response::json(status, &json!({ "error_message": text }))
}

/// What Ironic's handlers say.
#[derive(Serialize)]
struct IronicFault<'a> {
    faultcode: &'static str,
    faultstring: &'a str,
    debuginfo: Option<()>,
}

/// What Ironic's router says.
#[derive(Serialize)]
struct RouterFault<'a> {
    code: u16,
    title: &'a str,
    description: &'a str,
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let fault = |status, kind| {
            let mut fault = Self::new(status, kind, refused.to_string());
            fault.more.ironic = sentence(&refused);
            fault
        };
        match &refused {
            Refused::NoSuchNode(ident) => {
                fault(StatusCode::NOT_FOUND, ErrorKind::NodeNotFound).on_node(ident)
            }
            Refused::NotPermitted { .. } => Self::not_permitted(refused.to_string()),
            Refused::Members {
                refused: all,
                left_out,
                ..
            } => several(all, *left_out, refused.to_string()).put_down_as(refused.lasting()),
            Refused::NoSuchTask(id) => {
                fault(StatusCode::NOT_FOUND, ErrorKind::TaskNotFound).on_task(id)
            }
            Refused::NoSuchBatch(id) => fault(StatusCode::NOT_FOUND, ErrorKind::BatchNotFound)
                .about("batch", &id.to_string()),
            Refused::Locked { uuid, task, .. } => {
                fault(StatusCode::CONFLICT, ErrorKind::NodeLocked)
                    .on_node(&uuid.to_string())
                    .on_task(task)
                    .put_down_as(refused.lasting())
            }
            Refused::Forbidden { node, .. } => {
                fault(StatusCode::CONFLICT, ErrorKind::ForbiddenByConfiguration).on_node(node)
            }
            Refused::WrongState { node, .. } => {
                fault(StatusCode::CONFLICT, ErrorKind::WrongState).on_node(node)
            }
            Refused::Maintenance { node, .. } => {
                fault(StatusCode::CONFLICT, ErrorKind::Maintenance).on_node(node)
            }
            Refused::Unreadable { node, .. } => {
                fault(StatusCode::CONFLICT, ErrorKind::UnreadableEntry).on_node(node)
            }
            Refused::Paused { .. } => fault(StatusCode::CONFLICT, ErrorKind::Paused),
            Refused::Control { task, .. } => fault(StatusCode::CONFLICT, ErrorKind::ControlRefused)
                .on_node(&task.node)
                .on_task(&task.id)
                .detailed(json!(task)),
            Refused::BatchEnded { batch, .. } => {
                fault(StatusCode::CONFLICT, ErrorKind::ControlRefused)
                    .about("batch", &batch.to_string())
            }
            Refused::Invalid(_) => fault(StatusCode::BAD_REQUEST, ErrorKind::BadRequest),
            Refused::Store(_) | Refused::NotRead(_) => {
                fault(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Store)
            }
            Refused::Unremembered(_) => {
                fault(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unremembered)
            }
            Refused::Withdrawn { task, .. } => {
                let fault = fault(StatusCode::GATEWAY_TIMEOUT, ErrorKind::Store);
                match task {
                    Some(task) => fault.on_task(task),
                    None => fault,
                }
            }
            Refused::Moved { owner, .. } => {
                let fault = fault(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Moved);
                let fault = fault.with("Retry-After", "1");
                match owner {
                    Some(owner) => fault.with("X-Rackbmc-Owner", owner),
                    None => fault,
                }
            }
            Refused::NotHandedOver(_) => fault(StatusCode::CONFLICT, ErrorKind::WrongState),
            Refused::Unconfirmed(_) => {
                fault(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Unconfirmed)
            }
            Refused::Stopping => fault(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Stopping),
            Refused::Bmc { node, code, .. } => {
                fault(StatusCode::BAD_GATEWAY, ErrorKind::BmcRefused)
                    .on_node(node)
                    .detailed(json!({ "completion_code": code }))
            }
            Refused::NotAsAsked { node, .. } => {
                fault(StatusCode::BAD_GATEWAY, ErrorKind::BmcRefused).on_node(node)
            }
            Refused::Unanswered {
                node,
                trouble,
                delivery,
                ..
            } => fault(StatusCode::GATEWAY_TIMEOUT, ErrorKind::BmcUnanswered)
                .on_node(node)
                .detailed(json!({ "trouble": trouble, "delivery": delivery })),
            Refused::Sweeping | Refused::ManyBatches | Refused::DiskBehind => {
                fault(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Crowded).with("retry-after", "1")
            }
            Refused::NoSuchSweep => fault(StatusCode::NOT_FOUND, ErrorKind::NotFound),
            Refused::Crowded(node) => fault(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Crowded)
                .on_node(node)
                .with("retry-after", "1"),
        }
    }
}

/// What several nodes say: the status of one that is not there, else of one that has another reason
/// than a task, else of them all.
fn several(refused: &[Refused], left_out: usize, message: String) -> Fault {
    let faults: Vec<Fault> = refused.iter().cloned().map(Fault::from).collect();
    let rank = |fault: &&Fault| match fault.kind {
        ErrorKind::NodeNotFound => 0,
        ErrorKind::NodeLocked => 2,
        _ => 1,
    };
    let lead = faults
        .iter()
        .min_by_key(rank)
        .map(|lead| (lead.status, lead.kind));
    let (status, kind) = lead.unwrap_or((StatusCode::CONFLICT, ErrorKind::WrongState));
    let each = faults.iter().map(|fault| {
        json!({ "kind": fault.kind, "node": fault.more.node, "task": fault.more.task, "message": fault.message })
    });
    let each: Vec<Value> = each.collect();
    let mut detail = json!({ "refused": each });
    if left_out > 0 {
        detail["left_out"] = json!(left_out);
    }
    Fault::new(status, kind, message).detailed(detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use uuid::Uuid;

    #[test]
    fn what_is_put_down_of_a_refusal_counts_nothing_down() {
        let locked = |node: &str| Refused::Locked {
            node: node.to_owned(),
            uuid: Uuid::nil(),
            host: "r1".to_owned(),
            task: Uuid::nil(),
            detail: format!(" {node}: soft power off by alice is running"),
            left: Some(Duration::from_secs(18)),
        };
        let both = Refused::Members {
            refused: vec![locked("n01"), locked("n02")],
            left_out: 0,
            of: 2,
        };
        for (refused, told) in [(locked("n01"), 1), (both, 2)] {
            let fault = Fault::from(refused);
            assert_eq!(fault.message.matches("; 18 s left at most").count(), told);
            let lasting = fault.lasting();
            assert!(lasting.contains("by alice is running"), "{lasting}");
            assert!(!lasting.contains("left at most"), "{lasting}");
        }
        assert_eq!(Fault::bad("x").lasting(), "x");
    }
}
