//! Refusals in Ironic's own sentences, which its clients show and some of them read.

use crate::rack::call::{Refused, left_in_words};

/// What Ironic says of a refusal, where it has a sentence for it.
pub(crate) fn sentence(refused: &Refused) -> Option<String> {
    match refused {
        Refused::NoSuchNode(node) => Some(format!("Node {node} could not be found.")),
        Refused::Locked {
            uuid,
            host,
            detail,
            left,
            ..
        } => Some(format!(
            "Node {uuid} is locked by host {host}, please retry after the current operation is completed.{detail}{}",
            left_in_words(*left)
        )),
        Refused::WrongState {
            action,
            node,
            state,
            why,
        } => Some(format!(
            "The requested action \"{action}\" can not be performed on node \"{node}\" while it is in state \"{state}\". {why}"
        )),
        _ => None,
    }
}
