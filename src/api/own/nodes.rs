//! A closer look at one node, and what is asked of its BMC outside any task.

use super::tasks::Nothing;
use crate::api::access::Role;
use crate::api::fault::Fault;
use crate::api::ironic::record;
use crate::api::json as types;
use crate::api::plan::{Asking, Plan, ask, shown, stray};
use crate::api::view;
use crate::bmc::vocabulary::{Order, Reading, Route};
use crate::rack::call::{Answer, Call};

/// The longest data of a raw command: what one IPMI message over LAN carries in every BMC's buffer.
const RAW_LIMIT: usize = 200;

/// `GET /v1/nodes/{ident}/explain`
pub fn explain(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    ask(Call::Explain(asking.any_node()), move |answer| {
        let Answer::Explanation(found) = answer else {
            return Err(stray());
        };
        let node = record::typed(&found.node, &asking.base);
        shown(&view::explanation(&found, node))
    })
}

/// `POST /v1/nodes/{ident}/retry`
pub fn retry(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    asking.json_or_default::<Nothing>()?;
    let node = asking.any_node();
    asking.permitted(Role::Operator, vec![node.clone()], move |asking| {
        let call = Call::Retry {
            node,
            who: asking.who.clone(),
        };
        a_node(call, asking.base)
    })
}

/// `POST /v1/nodes/{ident}/fresh`
pub fn fresh(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    asking.json_or_default::<Nothing>()?;
    a_node(Call::FreshNode(asking.any_node()), asking.base)
}

fn a_node(call: Call, base: String) -> Result<Plan, Fault> {
    ask(call, move |answer| {
        let Answer::Node(node) = answer else {
            return Err(stray());
        };
        shown(&record::typed(&node, &base))
    })
}

/// `POST /v1/nodes/{ident}/identify`
pub fn identify(asking: Asking) -> Result<Plan, Fault> {
    let wanted: types::IdentifyRequest = asking.json_or_default()?;
    order(
        asking,
        Role::Operator,
        Order::Identify(wanted.lasting.map(|lasting| lasting.0)),
    )
}

/// `POST /v1/nodes/{ident}/raw`
pub fn raw(asking: Asking) -> Result<Plan, Fault> {
    let wanted: types::RawRequest = asking.json()?;
    let bad = |member: &str, what: &str| {
        Err(Fault::bad(format!("{member} {what}")).about("member", member))
    };
    if wanted.net_fn > 62 || !wanted.net_fn.is_multiple_of(2) {
        return bad(
            "net_fn",
            "is an even number from 0 to 62: odd ones are answers",
        );
    }
    if wanted.lun > 3 {
        return bad("lun", "is a number from 0 to 3");
    }
    if wanted.data.len() > RAW_LIMIT {
        return bad("data", "is at most 200 bytes");
    }
    let order_ = Order::Raw {
        net_fn: wanted.net_fn,
        lun: wanted.lun,
        command: wanted.command,
        data: wanted.data,
        route: Route::Direct,
    };
    order(asking, Role::Admin, order_)
}

fn order(asking: Asking, role: Role, order: Order) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    let node = asking.any_node();
    asking.permitted(role, vec![node.clone()], move |asking| {
        let name = order.name().to_owned();
        ask(
            Call::Order {
                node,
                order,
                who: asking.who.clone(),
            },
            |answer| {
                let Answer::Reading(reading) = answer else {
                    return Err(stray());
                };
                let data = match reading {
                    Reading::Raw(data) => Some(data),
                    _ => None,
                };
                shown(&types::OrderAnswer { order: name, data })
            },
        )
    })
}
