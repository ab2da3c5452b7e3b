//! What is stored of a node and its BMC.

use super::super::drift;
use super::super::node::Memory;
use super::pause::Hold;
use crate::bmc;
use crate::model::TaskId;
use crate::power::stored::sent::Order;
use crate::power::stored::words::{Operation, Power, State, Trouble, stored_words};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    created_at: WallTime,
    updated_at: Option<WallTime>,
    shown: PowerState,
    last_error: Option<String>,
    maintenance: Option<Hold>,
    suspended: Option<TaskId>,
    fault: Option<Fault>,
    last_nmi: Option<WallTime>,
    reading: Option<(Power, WallTime)>,
    late: Vec<Late>,
    // This field came within a format: a record without it reads, and is written, as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holds_longer: Option<Duration>,
    gone_since: Option<WallTime>,
    knowledge: Knowledge,
}

stored_words! {
    /// What is shown of a node's power.
    PowerState = crate::model::PowerState {
        "power on" = On,
        "power off" = Off,
        "error" = Error,
        "unknown" = Unknown,
    }
}

stored_words! {
    /// What is wrong with a node.
    Fault = crate::model::NodeFault {
        // The word is Ironic's, and older than the room of words: what is stored keeps its name.
        "power failure" = Unreadable,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Late {
    task: TaskId,
    operation: Operation,
    state: State,
    ended: WallTime,
    order: Order,
    at: WallTime,
    until: WallTime,
    to: Vec<Power>,
}

/// What was learned of a BMC.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Knowledge {
    suite: Option<u8>,
    quirks: Vec<String>,
    evidence: Vec<String>,
    listed: Option<Vec<String>>,
    carried_out: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_ins: Option<LogIns>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pace: Option<Pace>,
}

/// What a BMC bears, where that is less than the configured pace.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pace {
    percent: u8,
    times: u32,
}

/// Log-ins that were refused in a row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIns {
    count: u32,
    trouble: Trouble,
    text: String,
    credentials: u8,
}

/// Who a BMC is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    guid: Option<Uuid>,
    other: Option<Uuid>,
    changed: bool,
    unstable: bool,
    #[serde(default, skip_serializing_if = "Traits::say_nothing")]
    traits: Traits,
    #[serde(default, skip_serializing_if = "Traits::say_nothing")]
    other_traits: Traits,
}

/// What else is known of one.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Traits {
    maker: Option<u32>,
    address: Option<SocketAddr>,
}

impl Traits {
    fn say_nothing(&self) -> bool {
        self.maker.is_none() && self.address.is_none()
    }
}

impl From<bmc::identity::Traits> for Traits {
    fn from(running: bmc::identity::Traits) -> Self {
        let bmc::identity::Traits { maker, address } = running;
        Self { maker, address }
    }
}

impl From<Traits> for bmc::identity::Traits {
    fn from(stored: Traits) -> Self {
        let Traits { maker, address } = stored;
        Self { maker, address }
    }
}

impl From<&Memory> for Node {
    fn from(running: &Memory) -> Self {
        // Each field is named: a new one does not compile before it is decided how it is stored.
        let Memory {
            created_at,
            updated_at,
            shown,
            last_error,
            maintenance,
            suspended,
            fault,
            last_nmi,
            reading,
            late,
            holds_longer,
            gone_since,
            knowledge,
        } = running;
        Self {
            created_at: *created_at,
            updated_at: *updated_at,
            shown: (*shown).into(),
            last_error: last_error.clone(),
            maintenance: maintenance.as_deref().map(Into::into),
            suspended: *suspended,
            fault: fault.map(Into::into),
            last_nmi: *last_nmi,
            reading: reading.map(|(power, at)| (power.into(), at)),
            late: late.iter().filter_map(Late::of).collect(),
            holds_longer: *holds_longer,
            gone_since: *gone_since,
            knowledge: (&**knowledge).into(),
        }
    }
}

impl From<Node> for Memory {
    fn from(stored: Node) -> Self {
        let Node {
            created_at,
            updated_at,
            shown,
            last_error,
            maintenance,
            suspended,
            fault,
            last_nmi,
            reading,
            late,
            holds_longer,
            gone_since,
            knowledge,
        } = stored;
        Self {
            created_at,
            updated_at,
            shown: shown.into(),
            last_error,
            maintenance: maintenance.map(|hold| Box::new(hold.into())),
            suspended,
            fault: fault.map(Into::into),
            last_nmi,
            reading: reading.map(|(power, at)| (power.into(), at)),
            late: late.into_iter().map(Into::into).collect(),
            holds_longer,
            gone_since,
            knowledge: Arc::new(knowledge.into()),
        }
    }
}

impl Late {
    /// `None` for an order that no task gives, so that there is nothing to store.
    fn of(running: &drift::Late) -> Option<Self> {
        let drift::Late {
            task,
            operation,
            state,
            ended,
            order,
            at,
            until,
            to,
        } = running;
        Some(Self {
            task: *task,
            operation: (*operation).into(),
            state: (*state).into(),
            ended: *ended,
            order: Order::of(order)?,
            at: *at,
            until: *until,
            to: to.iter().map(|power| (*power).into()).collect(),
        })
    }
}

impl From<Late> for drift::Late {
    fn from(stored: Late) -> Self {
        let Late {
            task,
            operation,
            state,
            ended,
            order,
            at,
            until,
            to,
        } = stored;
        Self {
            task,
            operation: operation.into(),
            state: state.into(),
            ended,
            order: order.into(),
            at,
            until,
            to: to.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&bmc::Knowledge> for Knowledge {
    fn from(running: &bmc::Knowledge) -> Self {
        let bmc::Knowledge {
            suite,
            quirks,
            evidence,
            listed,
            carried_out,
            log_ins,
            identity,
            pace,
        } = running;
        let log_ins = log_ins.as_ref().map(|known| LogIns {
            count: known.refused.count,
            trouble: known.refused.trouble.into(),
            text: known.refused.text.clone(),
            credentials: known.credentials,
        });
        let bmc::identity::Known {
            guid,
            other,
            changed,
            unstable,
            traits,
            other_traits,
        } = *identity;
        Self {
            log_ins,
            pace: pace.map(|bmc::Lowered { percent, times }| Pace { percent, times }),
            // Without a GUID nothing tells one BMC from another: there is nothing to keep.
            identity: guid.map(|_| Identity {
                guid,
                other,
                changed,
                unstable,
                traits: traits.into(),
                other_traits: other_traits.into(),
            }),
            suite: *suite,
            quirks: quirks.clone(),
            evidence: evidence.clone(),
            listed: listed
                .as_ref()
                .map(|listed| listed.iter().map(str::to_owned).collect()),
            carried_out: carried_out.clone(),
        }
    }
}

impl From<Knowledge> for bmc::Knowledge {
    fn from(stored: Knowledge) -> Self {
        let Knowledge {
            suite,
            quirks,
            evidence,
            listed,
            carried_out,
            log_ins,
            identity,
            pace,
        } = stored;
        Self {
            log_ins: log_ins.map(|known| bmc::RefusedLogIns {
                refused: bmc::LogIns {
                    count: known.count,
                    trouble: known.trouble.into(),
                    text: known.text,
                },
                credentials: known.credentials,
            }),
            identity: identity
                .map(|known| bmc::identity::Known {
                    guid: known.guid,
                    other: known.other,
                    changed: known.changed,
                    unstable: known.unstable,
                    traits: known.traits.into(),
                    other_traits: known.other_traits.into(),
                })
                .unwrap_or_default(),
            pace: pace.map(|Pace { percent, times }| bmc::Lowered { percent, times }),
            suite,
            quirks,
            evidence,
            listed: listed.map(|listed| listed.into_iter().collect()),
            carried_out,
        }
    }
}
