//! A closer look at one node.

use super::tasks::Nothing;
use crate::api::access::Role;
use crate::api::fault::Fault;
use crate::api::ironic::record;
use crate::api::plan::{Asking, Plan, ask, shown, stray};
use crate::rack::call::{Answer, Call};
use serde_json::json;

/// `GET /v1/nodes/{ident}/explain`
pub fn explain(asking: Asking) -> Result<Plan, Fault> {
    asking.query.only(&[])?;
    ask(Call::Explain(asking.any_node()), move |answer| {
        let Answer::Explanation(found) = answer else {
            return Err(stray());
        };
        let mut body = json!(found);
        body["node"] = record::full(&found.node, &asking.base);
        shown(&body)
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
        shown(&record::full(&node, &base))
    })
}
