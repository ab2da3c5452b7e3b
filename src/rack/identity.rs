//! BMCs that are others than before (design, rule 12): told, and until somebody accepts them their nodes' tasks stand
//! still. The GUIDs are `bmc`'s to compare.

use super::Rack;
use super::call::{Refused, Who};
use super::clock::Moment;
use super::history::entry;
use super::inventory::NodeId;
use super::node::Effect;
use crate::model::HistoryKind;
use crate::power::{Control, State};
use uuid::Uuid;

impl Rack {
    /// Tells of a BMC that is another one, and lets the task of its node stand still.
    pub(super) fn watch_identity(&mut self, id: NodeId, at: Moment) {
        let Some(node) = self.inventory.get_mut(id) else {
            return;
        };
        let (name, task) = (node.settings.name.clone(), node.task);
        let (alarm, why) = (node.bmc.take_alarm(), node.bmc.other_bmc());
        if let Some(text) = alarm {
            log::warn!("{name}: {text}");
            let told = entry(HistoryKind::Fault, text.clone(), true, at);
            self.carry_out(id, [Effect::History(told), Effect::Event(text)], at);
        }
        let runs = |state: State| matches!(state, State::Queued | State::Running);
        let task = task.filter(|id| self.tasks.get(*id).is_some_and(|task| runs(task.state())));
        if let (Some(task), Some(why)) = (task, why)
            && self.control(task, Control::Suspend, &why, at).is_ok()
        {
            self.announce_task(task, format!("suspended: {why}"), at);
        }
    }

    /// Somebody says that the BMC that is there now shall be the node's.
    pub(super) fn accept_bmc(
        &mut self,
        id: NodeId,
        guid: Uuid,
        who: &Who,
        at: Moment,
    ) -> Result<(), Refused> {
        let Some(node) = self.inventory.get_mut(id) else {
            return Ok(());
        };
        let name = node.settings.name.clone();
        if !node.bmc.accept_guid(guid) {
            let (state, why) = match node.bmc.guids() {
                Some((_, new)) => (
                    "changed BMC",
                    format!("The BMC that is there has GUID {new}"),
                ),
                None => ("same BMC", "There is nothing to accept".to_owned()),
            };
            return Err(Refused::WrongState {
                action: "bmc accept".to_owned(),
                node: name,
                state: state.to_owned(),
                why,
            });
        }
        let text = format!("the BMC with GUID {guid} is accepted by {}", who.name);
        log::info!("{name}: {text}");
        let mut told = entry(HistoryKind::Order, text.clone(), false, at);
        told.by = Some(who.name.clone());
        self.carry_out(id, [Effect::History(told), Effect::Event(text)], at);
        Ok(())
    }
}
