//! The rack's first turn: what the configuration describes, and what a former life of the daemon
//! remembered of it.

use super::clock::{Birth, Clock, Copied, Moment};
use super::figures::Counters;
use super::gate::Gate;
use super::inventory::Inventory;
use super::ledger::{self, Ledger};
use super::log_ins::LogIns;
use super::outbox::Outbox;
use super::permit::{FORMER_PACKETS, Succession};
use super::plan::Plans;
use super::record::Table;
use super::removed::RemovedNodes;
use super::restore::{self, Remembered, RestoredState, Stale};
use super::settings::{NodeSettings, RackSettings};
use super::stored::{self, Intent};
use super::sweeps::Sweeps;
use super::tasks::Tasks;
use super::traces::Traces;
use super::{PRUNING, Rack, quarantine};
use crate::bmc::Texts;
use crate::bmc::vocabulary::OrderId;
use crate::entropy::Entropy;
use crate::model::{Control, EventKind, TaskId, TaskState, Who, counted};
use crate::time::WallTime;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

impl Rack {
    /// The rack that the configuration describes, with what a former life remembered of it. An
    /// entry that cannot be read keeps power orders from whom it may be about: see `quarantine`.
    pub fn new(
        settings: RackSettings,
        nodes: Vec<NodeSettings>,
        remembered: Vec<Remembered>,
        birth: Birth,
        mut entropy: Box<dyn Entropy + Send>,
    ) -> Self {
        let Birth {
            wall,
            now,
            boot,
            copied,
            succession,
        } = birth;
        let epoch = epoch(wall, succession, &mut *entropy);
        let sign = succession.and_then(|succession| succession.last_sign);
        let mut rack = Self {
            clock: Clock::new(wall, now, epoch, boot),
            entropy,
            inventory: Inventory::default(),
            removed: RemovedNodes::default(),
            log_ins: LogIns::default(),
            traces: Traces::default(),
            texts: Texts::default(),
            sweeps: Sweeps::default(),
            tasks: Tasks::default(),
            gate: Gate::new(&settings, succession, now),
            ledger: Ledger::new(),
            outbox: Outbox::new(epoch),
            plans: Plans::default(),
            counters: Counters::default(),
            next_pruning: now + PRUNING,
            turned: now,
            settings,
        };
        let first_life = remembered.is_empty();
        let mut restored = RestoredState::sort(remembered);
        if !succession.is_some_and(|succession| succession.only_looked_at) {
            // Rule 8: what an earlier life has read is shown as a reading with its age.
            restored.show_nothing_as_present();
        }
        if succession.is_some() {
            // Only over etcd is a batch written in parts: a disk takes it in one transaction.
            restored.drop_half_admitted(&mut rack.ledger);
        }
        let without_entry = restored.seal_unreadable(&nodes, &mut rack.ledger);
        let last_heard = restored.last_sign_of_life();
        rack.clock.follow(restored.alive, sign);
        restored.last_sign = sign;
        let at = rack.at(now);
        rack.add_nodes(nodes, &mut restored, at);
        let clean = succession.is_none_or(|succession| succession.clean);
        rack.take_up(restored, &without_entry, copied, clean, at);
        // Whoever sets a rack up sees that all is known before anything can be switched.
        if first_life && rack.settings.start_paused {
            rack.begin_pause(FIRST_PAUSE.to_owned(), &Who::rackbmcd(), at);
        }
        rack.inherit_sessions(sign.map(|(_, ago)| ago), last_heard, at);
        rack
    }

    /// The nodes of the configuration, each with what is remembered of it. What is remembered of others
    /// is kept: they may come back.
    fn add_nodes(&mut self, nodes: Vec<NodeSettings>, restored: &mut RestoredState, at: Moment) {
        for settings in nodes {
            let memory = restored.nodes.remove(&settings.uuid);
            self.add_node(settings, memory, at);
        }
        for (node, memory) in std::mem::take(&mut restored.nodes) {
            self.removed.remember(node, memory, &mut self.ledger, at);
        }
        self.traces.share(&mut self.inventory);
    }

    /// What lived before may have left sessions open at its BMCs, which close them in their time.
    /// Where its host's last sign of life is not known, its last record is.
    fn inherit_sessions(
        &mut self,
        sign: Option<Duration>,
        last_heard: Option<WallTime>,
        at: Moment,
    ) {
        let last_heard = last_heard.map(|last| at.age(last).saturating_sub(ledger::HEARTBEAT));
        if let Some(ago) = sign.or(last_heard) {
            let nodes = self.inventory.iter_mut();
            nodes.for_each(|node| node.bmc.inherit_session(ago, at.now));
        }
    }

    /// Takes tasks, batches and the pause up where they were.
    fn take_up(
        &mut self,
        mut restored: RestoredState,
        without_entry: &BTreeSet<Uuid>,
        copied: Copied,
        clean: bool,
        at: Moment,
    ) {
        let pause_lost = restored.lost_pause();
        let unreadable = std::mem::take(&mut restored.unreadable);
        let intents = std::mem::take(&mut restored.intents);
        self.gate.pause = restored.pause.take();
        // Rule 11: a former life may have switched a machine on a moment ago.
        self.gate.close_for_stagger(at.now);
        let boot = self.clock.boot;
        let (inventory, tasks) = (&mut self.inventory, &mut self.tasks);
        let ledger = &mut self.ledger;
        let (longest, untold) = restored.take_up(boot, inventory, tasks, ledger, at);
        let unknown = !intents.is_empty() || tasks.may_be_on_its_way(at);
        // The host before may have died with datagrams in its kernel:
        // none of ours may overtake them.
        if !clean && unknown {
            let from = at.now + FORMER_PACKETS;
            self.gate.permission.begin_later(from);
        }
        let held =
            quarantine::take_note_of(unreadable, without_entry, inventory, tasks, ledger, at);
        for (order, intent) in intents {
            self.note_intent(order, intent, at);
        }
        self.hold_unreadable(held, at);
        self.tasks.take_up_batches(at, &mut self.ledger);
        self.give_up_homeless(at);
        self.hold_stale(restore::stale(copied, longest, untold), at);
        if self.gate.permission.permit().is_some() {
            // Records of several hosts have several clocks: the next one counts from here.
            for id in self.tasks.active_ids() {
                self.tasks.save(id, &mut self.ledger, at);
            }
        }
        self.take_up_pause(pause_lost, at);
        // A person may have discarded the record of a batch's last task:
        // nothing else would end the batch.
        for batch in self.tasks.open_batches() {
            self.batch_went_on(batch, false, at);
        }
        for node in self.inventory.ids() {
            self.apply_maintenance(node, at);
            self.drain_node(node, at);
        }
        // However short this life is, the next one has to know when it ended.
        if self.tasks.count_active() > 0 {
            self.ledger.heartbeat_at_once(at.now);
        }
        self.finish(at);
    }

    /// Suspends the tasks that an unreadable entry may be about.
    fn hold_unreadable(&mut self, held: Vec<(TaskId, String)>, at: Moment) {
        for (id, by) in held {
            // Suspended, and told to go on: the task does so when a later
            // life finds the entry discarded.
            if self.control(id, Control::Suspend, &by, at).is_ok() {
                let _ = self.control(id, Control::Resume, &by, at);
            }
            self.hold_back(id, at);
        }
    }

    /// Ends the tasks whose nodes are gone: once the batches are there, for the end of one of a
    /// batch's tasks asks for its others.
    fn give_up_homeless(&mut self, at: Moment) {
        for id in self.tasks.active_ids() {
            if !self.tasks.has_its_node(id, &self.inventory) {
                self.tasks.give_up(id, at);
                self.note_milestone(id, at);
            }
        }
    }

    /// Who had the rack before asked a BMC for something, and nobody can say what came of it.
    fn note_intent(&mut self, order: OrderId, intent: Intent, at: Moment) {
        self.ledger.skip_past(order);
        let key = stored::intent_key(order);
        self.ledger.journal.delete(Table::Rack, key);
        let Intent {
            node,
            what,
            by,
            at: asked,
        } = intent;
        if let Some(node) = self.inventory.with_uuid(node) {
            let text = format!(
                "{what}: {by} asked for it at {asked} through a host that has the rack no more: it may have been carried out"
            );
            self.note_order(node, text, None, true, at);
        }
    }

    /// The pause goes on, or begins where nobody can read whether there was one.
    fn take_up_pause(&mut self, lost: Option<String>, at: Moment) {
        if let Some(why) = lost {
            self.begin_pause(why, &Who::rackbmcd(), at);
        } else if self.gate.pause.is_some() {
            // The last record of a rollback may be older than the pause, and know nothing of it.
            for id in self.tasks.active_ids() {
                self.hold_back(id, at);
            }
        } else {
            self.unhold_returns(at);
        }
    }

    /// What was asked for long ago, or may have been done since, is a person's to decide anew: such
    /// tasks are suspended.
    fn hold_stale(&mut self, stale: Option<Stale>, at: Moment) {
        let Some(stale) = stale else { return };
        let mut held = 0;
        for id in self.tasks.active_ids() {
            let kept = self.is_kept(id);
            let task = self.tasks.get(id);
            let Some(task) = task.filter(|task| stale.concerns(task, kept)) else {
                continue;
            };
            // The end of a pause must not begin what was asked for long ago: nobody was asked anew.
            if kept {
                self.keep_for_good(id, &stale.by(), at);
                held += 1;
                continue;
            }
            // A rollback cannot be suspended: it is ended, and the machine stays as it is.
            let control = match task.state() {
                TaskState::RollingBack => Control::Abort,
                TaskState::Queued
                | TaskState::Running
                | TaskState::Suspended
                | TaskState::Aborting
                | TaskState::Succeeded
                | TaskState::Failed
                | TaskState::Aborted
                | TaskState::Cancelled
                | TaskState::RolledBack
                | TaskState::Stuck => Control::Suspend,
            };
            held += usize::from(self.control(id, control, &stale.by(), at).is_ok());
        }
        if held > 0 {
            let tasks = counted(held, "task");
            let text = format!("{stale}: {tasks} suspended, to be resumed or cancelled");
            log::warn!("{text}");
            self.announce(EventKind::Rack, text, at);
        }
    }
}

/// Why a rack is paused of which the configuration says so.
const FIRST_PAUSE: &str = "the first start of this rack, and its configuration says start_paused: power states are read, nothing is switched";

/// What tells this life of the daemon from every other one: the fence of a rack of several hosts;
/// else the calendar, with a random part for two lives within its resolution.
fn epoch(wall: WallTime, succession: Option<Succession>, entropy: &mut dyn Entropy) -> u64 {
    match succession {
        Some(succession) => succession.fence,
        // Readers of events must never take the numbers of one life for those of another.
        None => (wall.unix_micros() << 8) | entropy.below(256),
    }
}
