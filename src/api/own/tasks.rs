//! Tasks: listing, starting, watching, and the five controls.

use super::WAIT_LIMIT;
use crate::api::access::Role;
use crate::api::fault::Fault;
use crate::api::message::Response;
use crate::api::plan::{Asking, Plan, ask, done, shown, stray};
use crate::model::{Control, Task, TaskList, TaskStart};
use crate::rack::call::{Answer, Call};
use http::StatusCode;
use uuid::Uuid;

/// How many tasks are listed where nobody says.
const LISTED: usize = 100;
/// How many at most.
const LIST_LIMIT: usize = 1000;

/// `GET /v1/tasks`
pub fn list(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&["node", "batch", "active", "limit"])?;
    let node = asking.query.value("node").map(str::to_owned);
    listing(&asking, node)
}

/// `GET /v1/nodes/{ident}/tasks`
pub fn of_node(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&["batch", "active", "limit"])?;
    listing(&asking, Some(asking.any_node()))
}

fn listing(asking: &Asking, node: Option<String>) -> Result<Plan, Fault> {
    let batch = asking.query.value("batch").map(|text| {
        Uuid::try_parse(text).map_err(|_| {
            Fault::bad(format!("batch is a uuid, not '{text}'")).about("parameter", "batch")
        })
    });
    let limit = asking.query.limit(LISTED, LIST_LIMIT)?;
    let call = Call::Tasks {
        node,
        batch: batch.transpose()?,
        active: asking.query.flag("active")?.unwrap_or(false),
        limit,
    };
    ask(call, |answer| {
        let Answer::Tasks(tasks) = answer else {
            return Err(stray());
        };
        shown(&TaskList { tasks })
    })
}

/// `POST /v1/tasks`
pub fn start(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let wanted: TaskStart = asking.json()?;
    let wishes = super::wishes(
        wanted.timeout,
        wanted.on_soft_timeout,
        wanted.repeat_soft_after,
        wanted.hard_after,
    )?;
    if wanted.node.is_empty() {
        return Err(Fault::bad("node names no node").about("member", "node"));
    }
    let node = wanted.node;
    asking.permitted(Role::Operator, vec![node.clone()], move |asking| {
        let call = Call::Start {
            node,
            operation: wanted.operation,
            wishes,
            who: asking.who.clone(),
        };
        ask(call, move |answer| {
            let Answer::Task(task) = answer else {
                return Err(stray());
            };
            let place = format!("{}/v1/tasks/{}", asking.base, task.id);
            done(Response::json(StatusCode::ACCEPTED, &task).with("location", place))
        })
    })
}

/// `GET /v1/tasks/{id}`
pub fn show(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&["wait", "version"])?;
    let task = asking.id("task")?;
    let version = asking.query.number("version")?;
    let call = match asking.query.duration("wait", WAIT_LIMIT)? {
        Some(wait) => Call::AwaitTask {
            task,
            version,
            wait,
        },
        None => Call::Task(task),
    };
    ask(call, |answer| {
        let Answer::Task(task) = answer else {
            return Err(stray());
        };
        shown(&task)
    })
}

/// `DELETE /v1/tasks/{id}`
pub fn cancel(asking: Asking) -> Result<Plan, Fault> {
    use_control(asking, Control::Cancel)
}

/// `POST /v1/tasks/{id}/{control}`
pub fn control(asking: Asking) -> Result<Plan, Fault> {
    let control = super::control(asking.param("control"))?;
    use_control(asking, control)
}

fn use_control(asking: Asking, control: Control) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    asking.json_or_default::<Nothing>()?;
    let task = asking.id("task")?;
    let go = move |asking: Asking| {
        ask(
            Call::Control {
                task,
                control,
                who: asking.who,
            },
            |answer| {
                let Answer::Task(task) = answer else {
                    return Err(stray());
                };
                shown(&task)
            },
        )
    };
    if asking.rights.everywhere(Role::Operator) {
        return go(asking);
    }
    // Whose node it is decides.
    ask(Call::Task(task), move |answer| {
        let Answer::Task(Task { node, .. }) = answer else {
            return Err(stray());
        };
        asking.permitted(Role::Operator, vec![node], go)
    })
}

/// A body that says nothing: `{}`.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}
