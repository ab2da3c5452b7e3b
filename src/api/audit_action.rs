//! What a call is meant to change, in a few words, for the audit trail. Calls that only look have
//! none.

use crate::nodeset;
use crate::rack::call::Call;

/// A change that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuditAction {
    /// The nodes, folded: as named by who asked, until the rack has found which are meant. `None`
    /// where it is the rack, or what a task or batch has.
    pub nodes: Option<String>,
    pub what: String,
}

/// What `call` is meant to change.
///
/// The bytes of a raw command are left out: some of them set passwords.
pub(crate) fn audit_action(call: &Call) -> Option<AuditAction> {
    let of = |node: &str, what: String| {
        Some(AuditAction {
            nodes: Some(node.to_owned()),
            what,
        })
    };
    match call {
        Call::SetPower { node, change, .. } => of(node, change.to_string()),
        Call::Start {
            node, operation, ..
        } => of(node, operation.to_string()),
        Call::InjectNmi { node, .. } => of(node, "inject nmi".to_owned()),
        Call::Control { control, .. } => Some(AuditAction {
            nodes: None,
            what: control.name().to_owned(),
        }),
        Call::StartBatch { request, .. } => {
            let dry = if request.dry_run { " (dry run)" } else { "" };
            of(
                &nodeset::fold(&request.nodes),
                format!("{}{dry}", request.operation),
            )
        }
        Call::ControlBatch { control, nodes, .. } => Some(AuditAction {
            nodes: Some(nodeset::fold(nodes)).filter(|nodes| !nodes.is_empty()),
            what: control.name().to_owned(),
        }),
        Call::SetMaintenance { node, hold, .. } => {
            let what = if hold.is_some() { "set" } else { "end" };
            of(node, format!("{what} maintenance"))
        }
        Call::Pause { .. } => Some(AuditAction {
            nodes: None,
            what: "pause".to_owned(),
        }),
        Call::Release { .. } => Some(AuditAction {
            nodes: None,
            what: "release".to_owned(),
        }),
        Call::Order { node, order, .. } => of(node, order.in_words()),
        Call::Retry { node, .. } => of(node, "retry".to_owned()),
        Call::Accept { node, guid, .. } => of(node, format!("accept the BMC with GUID {guid}")),
        Call::FreshNode(node) => of(node, "read the power state".to_owned()),
        Call::Sweep { nodes } => of(&nodeset::fold(nodes), "read the power state".to_owned()),
        Call::Look(_)
        | Call::AwaitTask { .. }
        | Call::AwaitBatch { .. }
        | Call::AwaitSweep { .. }
        | Call::Events { .. }
        | Call::History { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bmc::vocabulary::Order;
    use crate::model::{Operation, PowerOptions, Who};
    use crate::rack::call::Look;
    use crate::rack::call::PowerChange;

    #[test]
    fn a_change_is_told_with_its_node_and_a_look_is_none() {
        let call = Call::SetPower {
            node: "r1n01".into(),
            change: PowerChange::Start(Operation::SoftPowerOff),
            options: PowerOptions::default(),
            who: Who::default(),
        };
        let found = audit_action(&call).expect("a change");
        assert_eq!(found.nodes.as_deref(), Some("r1n01"));
        assert_eq!(found.what, "soft power off");
        assert_eq!(audit_action(&Call::Look(Look::Nodes)), None);
    }

    #[test]
    fn the_bytes_of_a_raw_command_stay_out() {
        // IPMI v2.0 §22.30: Set User Password carries the password itself.
        let call = Call::Order {
            node: "r1n01".into(),
            order: Order::Raw {
                route: crate::bmc::vocabulary::Route::Direct,
                net_fn: 0x06,
                lun: 0,
                command: 0x47,
                data: b"\x02\x02secret".to_vec(),
            },
            who: Who::default(),
        };
        assert_eq!(
            audit_action(&call).expect("a change").what,
            "raw command 47h of network function 06h, unit 0, 8 bytes"
        );
    }
}
