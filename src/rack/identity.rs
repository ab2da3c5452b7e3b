//! BMCs that are others than before (design, rule 12): told, and until somebody accepts them their nodes' tasks stand
//! still. The GUIDs are `bmc`'s to compare.

use super::call::{Refused, TaskId, Who};
use super::clock::Moment;
use super::history::entry;
use super::node::{Effect, Node};
use super::tasks::Tasks;
use crate::model::HistoryKind;
use crate::power::State;
use uuid::Uuid;

impl Node {
    /// Tells that its BMC is another one, once.
    pub(super) fn take_alarm(&mut self, at: Moment) -> Vec<Effect> {
        let Some(text) = self.bmc.take_alarm() else {
            return Vec::new();
        };
        log::warn!("{}: {text}", self.settings.name);
        let told = entry(HistoryKind::Fault, text.clone(), true, at);
        vec![Effect::History(told), Effect::Event(text)]
    }

    /// Somebody says that the BMC that is there now shall be the node's.
    pub(super) fn accept_bmc(
        &mut self,
        guid: Uuid,
        who: &Who,
        at: Moment,
    ) -> Result<Vec<Effect>, Refused> {
        if !self.bmc.accept_guid(guid) {
            let (state, why) = match self.bmc.guids() {
                Some((_, new)) => (
                    "changed BMC",
                    format!("The BMC that is there has GUID {new}"),
                ),
                None => ("same BMC", "There is nothing to accept".to_owned()),
            };
            return Err(Refused::WrongState {
                action: "bmc accept".to_owned(),
                node: self.settings.name.clone(),
                state: state.to_owned(),
                why,
            });
        }
        let text = format!("the BMC with GUID {guid} is accepted by {}", who.name);
        log::info!("{}: {text}", self.settings.name);
        let mut told = entry(HistoryKind::Order, text.clone(), false, at);
        told.by = Some(who.name.clone());
        Ok(vec![Effect::History(told), Effect::Event(text)])
    }
}

/// The task that is to stand still because its node's BMC is another one, and why.
pub(super) fn to_suspend(node: &Node, tasks: &Tasks) -> Option<(TaskId, String)> {
    let task = tasks.get(node.task?)?;
    match task.state() {
        State::Queued | State::Running => Some((task.identity.id, node.bmc.other_bmc()?)),
        State::Suspended
        | State::Aborting
        | State::RollingBack
        | State::Succeeded
        | State::Failed
        | State::Aborted
        | State::Cancelled
        | State::RolledBack
        | State::Stuck => None,
    }
}
