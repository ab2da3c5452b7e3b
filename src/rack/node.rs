//! One node: its BMC, what was read of it, what is shown of it, and what the journal keeps of it.

use super::call::Refused;
use super::clock::Moment;
use super::drift::Late;
use super::gate::Gate;
use super::ledger::Ledger;
use super::quarantine::Hold;
use super::record::Table;
use super::restart::Restart;
use super::settings::{NodeSettings, RackSettings};
use super::stored;
use super::sweeps::Asker;
use super::task::Task;
use super::tasks::Tasks;
use crate::bmc::vocabulary::OrderId;
use crate::bmc::{self, Bmc, Knowledge};
use crate::model::{
    self, BmcHealth, BmcSummary, HistoryEntry, Lack, LackReason, NodeDetail, Operation, Power,
    PowerState, Target, TaskId, TaskState, Who, Word,
};
use crate::power;
use crate::time::{Instant, WallTime};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A machine and its BMC.
pub(super) struct Node {
    pub(super) settings: NodeSettings,
    pub(super) bmc: Bmc,
    /// The address of its BMC under which datagrams find it.
    pub(super) noted: Option<SocketAddr>,
    /// The GUID of its BMC, as the inventory has it.
    pub(super) noted_guid: Option<Uuid>,
    /// It has no twin, as of that many changes of the inventory.
    pub(super) alone_as_of: Option<u64>,
    /// What was told of other nodes that have the same BMC.
    pub(super) told_shared: Option<String>,
    /// When it wants attention, and when it is to be read, as the inventory has it.
    pub(super) timer: Option<Instant>,
    pub(super) reading_timer: Option<Instant>,
    pub(super) memory: Memory,
    /// An entry of the journal that cannot be read and may be about it.
    pub(super) quarantine: Option<Box<Hold>>,
    /// The reading that the power sync waits for.
    pub(super) sync: Option<OrderId>,
    pub(super) next_sync: Instant,
    /// Whether that waits for a place among the log-ins.
    pub(super) in_line: bool,
    /// After which part of an interval the second one comes, as long as the first has not ended.
    pub(super) second_sync: Option<f64>,
    /// Readings that failed in a row.
    pub(super) failed_syncs: u32,
    /// The task that has the node.
    pub(super) task: Option<TaskId>,
    /// What its last task called done, and when.
    pub(super) done: Option<(Power, Instant)>,
    /// A reading for those who asked for a fresh one.
    pub(super) fresh: Option<OrderId>,
    pub(super) fresh_calls: Vec<(Asker, Instant)>,
    /// When the last NMI went out, on our own clock: nobody sets that.
    pub(super) nmi_at: Option<Instant>,
    /// Its BMC was told to restart, and it is not known yet whether it did.
    pub(super) restart: Option<Restart>,
    /// Readings outside tasks that may be under way, and who asked for each.
    pub(super) readers: Vec<(OrderId, Who)>,
}

/// What is to be remembered and told of a node after something happened to it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Effect {
    /// The journal is to keep it as it is.
    Save,
    /// Its history has one more entry.
    History(HistoryEntry),
    /// An event says so.
    Event(String),
}

/// What is remembered of a node over a restart.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) created_at: WallTime,
    pub(super) updated_at: Option<WallTime>,
    pub(super) shown: PowerState,
    pub(super) last_error: Option<String>,
    pub(super) maintenance: Option<Box<model::Hold>>,
    /// The task that the maintenance keeps from beginning.
    pub(super) suspended: Option<TaskId>,
    pub(super) fault: Option<model::NodeFault>,
    pub(super) last_nmi: Option<WallTime>,
    pub(super) reading: Option<(Power, WallTime)>,
    /// What its tasks have sent and that may still act.
    pub(super) late: Vec<Late>,
    /// How long a state has to hold on it, where one did not that a task had called done.
    pub(super) holds_longer: Option<Duration>,
    /// Since when the node is configured no more.
    pub(super) gone_since: Option<WallTime>,
    pub(super) knowledge: Arc<Knowledge>,
}

impl Node {
    pub(super) fn new(settings: NodeSettings, memory: Memory, at: Moment) -> Self {
        let now = at.now;
        // The calendar may have been set since: how long ago that was is
        // counted by the machine's clock.
        let nmi_at = memory.last_nmi.map(|last| now.before(at.age(last)));
        let bmc = Bmc::new(bmc_settings(&settings), memory.knowledge.clone(), now);
        Self {
            bmc,
            noted: None,
            noted_guid: None,
            alone_as_of: None,
            told_shared: None,
            timer: None,
            reading_timer: None,
            in_line: false,
            second_sync: None,
            sync: None,
            next_sync: now,
            failed_syncs: 0,
            task: None,
            done: None,
            fresh: None,
            fresh_calls: Vec::new(),
            nmi_at,
            restart: None,
            readers: Vec::new(),
            memory,
            quarantine: None,
            settings,
        }
    }

    /// An NMI is on its way.
    pub(super) fn note_nmi(&mut self, at: Moment) {
        self.nmi_at = Some(at.now);
        self.memory.last_nmi = Some(at.wall);
    }

    /// The calendar was set: the last NMI is put down as that would have it, where it still counts.
    /// After a restart nobody knows any more what the calendar said before.
    pub(super) fn restamp_nmi(&mut self, at: Moment) -> Option<Effect> {
        let age = at.now.since(self.nmi_at?);
        (age < self.settings.nmi_min_interval).then(|| {
            self.memory.last_nmi = Some(at.wall.before(age));
            Effect::Save
        })
    }

    /// The one that was on its way was refused, or never left: nobody has to wait for that.
    pub(super) fn forget_nmi(&mut self) {
        self.nmi_at = None;
        self.memory.last_nmi = None;
    }

    /// What is said to whoever wants the node while a task has it.
    pub(super) fn locked(&self, task: TaskId, tasks: &Tasks, host: &str, at: Moment) -> Refused {
        let holder = tasks.get(task);
        let detail = holder.map(|task| format!(" {}", task.holds_in_words()));
        let left = holder.and_then(|task| task.sequence.progress(at.now).time_left);
        Refused::Locked {
            node: self.settings.name.to_string(),
            uuid: self.settings.uuid,
            host: host.to_owned(),
            task,
            detail: detail.unwrap_or_default(),
            left,
        }
    }

    /// The maintenance that keeps power orders from it, by the policy.
    pub(super) fn maintenance_block(&self, gate: &Gate) -> Option<&model::Hold> {
        let hold = self.memory.maintenance.as_deref();
        hold.filter(|_| gate.maintenance_blocks())
    }

    /// A power order is refused where it is in maintenance and the policy says so.
    pub(super) fn check_maintenance(&self, gate: &Gate) -> Result<(), Refused> {
        let Some(hold) = self.maintenance_block(gate) else {
            return Ok(());
        };
        let unnamed = || format!("set by {}", hold.by);
        Err(Refused::Maintenance {
            node: self.settings.name.to_string(),
            reason: hold.reason.clone().unwrap_or_else(unnamed),
        })
    }

    /// Nothing is changed through a BMC that is another node's, too: nobody knows which machine it
    /// would be.
    pub(super) fn check_shared(&self, action: &str) -> Result<(), Refused> {
        let Some(why) = self.bmc.shared() else {
            return Ok(());
        };
        Err(Refused::WrongState {
            action: action.to_owned(),
            node: self.settings.name.to_string(),
            state: "shared BMC".to_owned(),
            why: why.to_owned(),
        })
    }

    /// Nothing is sent to a BMC that another daemon of this host has.
    pub(super) fn check_lock(&self, action: &str) -> Result<(), Refused> {
        let Some(why) = self.bmc.locked() else {
            return Ok(());
        };
        Err(Refused::WrongState {
            action: action.to_owned(),
            node: self.settings.name.to_string(),
            state: "another daemon's BMC".to_owned(),
            why,
        })
    }

    /// The operations that it does not take.
    pub(super) fn lacks(&self, now: Instant) -> Vec<Lack> {
        let lacks = |operation| {
            // The configuration is asked first: what it forbids is refused whatever the BMC has.
            let because = if self.forbids(operation).is_some() {
                LackReason::Configuration
            } else if self
                .bmc
                .lacks(&power::special_order(self.carries_out(operation))?, now)
            {
                LackReason::Bmc
            } else {
                return None;
            };
            Some(Lack { operation, because })
        };
        Operation::ALL.into_iter().filter_map(lacks).collect()
    }

    /// The key of the configuration that forbids an operation on it.
    pub(super) fn forbids(&self, operation: Operation) -> Option<&'static str> {
        match operation {
            Operation::InjectNmi => (!self.settings.nmi).then_some("nmi"),
            // A soft reboot goes through off as well, from where this BMC could not come back.
            Operation::PowerOff | Operation::SoftPowerOff | Operation::SoftReboot => {
                self.settings.power.never_off.then_some("power_off")
            }
            Operation::PowerOn | Operation::Reboot | Operation::Reset | Operation::Cycle => None,
        }
    }

    /// An operation is refused where the configuration forbids it.
    pub(super) fn check_allowed(&self, operation: Operation) -> Result<(), Refused> {
        match self.forbids(operation) {
            None => Ok(()),
            Some(key) => Err(Refused::Forbidden {
                node: self.settings.name.to_string(),
                operation,
                key,
            }),
        }
    }

    /// How an operation is carried out on it: where the BMC goes off with the machine, a reboot is
    /// the BMC's own cycle.
    pub(super) fn carries_out(&self, operation: Operation) -> Operation {
        match operation {
            Operation::Reboot if self.settings.power.never_off => Operation::Cycle,
            other => other,
        }
    }

    /// Its BMC may be that of another machine from now on: what was learned of it and read of it is
    /// not known.
    pub(super) fn forget_machine(&mut self, now: Instant) {
        let memory = &mut self.memory;
        memory.knowledge = Arc::default();
        (memory.reading, memory.fault) = (None, None);
        // What was sent to the old BMC acts on the old machine, if it still does.
        memory.late.clear();
        (self.done, memory.holds_longer) = (None, None);
        // `error` stays until the next power sync (design, section 3).
        if memory.shown != PowerState::Error {
            memory.shown = PowerState::Unknown;
        }
        (self.failed_syncs, self.next_sync) = (0, now);
    }

    /// A task of a former life goes on: it has the node, unless another one has it.
    pub(super) fn take_up(&mut self, task: &Task, now: Instant) {
        // Two tasks would both drive the machine: the second one of a node is given up.
        if !task.is_closed() && self.task.is_none() {
            self.task = Some(task.identity.id);
            self.bmc
                .set_wanted(task.state() != TaskState::Suspended, now);
            let name = &self.settings.name;
            log::info!("{name}: taking up task {}", task.identity.id);
            if self.settings.power.never_off && task.may_switch_off() {
                let (id, operation) = (task.identity.id, task.identity.operation);
                log::warn!(
                    "{name}: power_off = false: task {id} ({operation}), which was taken before that, sends nothing that switches the node off"
                );
            }
            // The task may have read the machine after the node was last written down.
            let reading = task.last_reading();
            let before = self.memory.reading.map(|(_, at)| at);
            if reading.map(|(_, at)| at) > before {
                self.memory.reading = reading;
            }
        }
    }

    /// Whether the power sync wants to read it.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next_sync && self.sync.is_none() && !self.in_line
    }

    /// When its own timers want attention, the regular reading left aside.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let fresh = self.fresh_calls.iter().map(|(_, until)| *until).min();
        self.bmc.poll_timeout().into_iter().chain(fresh).min()
    }

    /// When it is to be read.
    pub(super) fn next_reading(&self) -> Option<Instant> {
        (self.sync.is_none() && !self.in_line).then_some(self.next_sync)
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// What was learned of its BMC since the journal was told.
    pub(super) fn learned(&mut self) -> bool {
        !self.bmc.knows_only(&self.memory.knowledge)
    }

    /// Puts it down as it is now.
    pub(super) fn save(&mut self, ledger: &mut Ledger) {
        // What was learned of the BMC goes with every record, so that `learned` is true once only.
        self.memory.knowledge = self.bmc.knowledge().clone();
        let (key, value) = (self.settings.uuid.to_string(), stored::node(&self.memory));
        ledger.journal.put(Table::Nodes, key, value);
    }

    /// Those who have waited long enough for a fresh reading.
    pub(super) fn take_late_calls(&mut self, now: Instant) -> Vec<Asker> {
        let late = self.fresh_calls.extract_if(.., |(_, until)| now >= *until);
        late.map(|(asker, _)| asker).collect()
    }

    /// Everybody who waits for a fresh reading.
    pub(super) fn take_calls(&mut self) -> Vec<Asker> {
        let calls = std::mem::take(&mut self.fresh_calls).into_iter();
        calls.map(|(asker, _)| asker).collect()
    }

    pub(super) fn view(
        &self,
        rack: &RackSettings,
        target: Option<Target>,
        at: Moment,
    ) -> model::Node {
        let (at_now, now) = (at, at.now);
        model::Node {
            name: self.settings.name.clone(),
            uuid: self.settings.uuid,
            created_at: self.memory.created_at,
            updated_at: self.memory.updated_at,
            power_state: self.memory.shown,
            target_power_state: target.map(Word::Known),
            last_error: self.memory.last_error.clone(),
            rackbmcd: NodeDetail {
                rack: rack.name.clone(),
                owner: rack.owner.clone(),
                groups: self.settings.groups.clone(),
                task: self.task,
                reading: self.memory.reading.map(|(power, at)| model::PowerReading {
                    power_state: power.into(),
                    at,
                    age: at_now.age(at),
                }),
                fault: self.memory.fault.map(Into::into),
                maintenance: self.memory.maintenance.as_deref().cloned(),
                bmc: self.bmc_view(now),
            },
            lacks: self.lacks(now),
            more: Default::default(),
        }
    }

    fn bmc_view(&self, now: Instant) -> BmcSummary {
        let trouble = self.bmc.trouble(now);
        let statistics = self.bmc.session().statistics();
        let health = match &trouble {
            Some((trouble, _)) => BmcHealth::Trouble(*trouble),
            None if self.bmc.is_open() => BmcHealth::SessionOpen,
            None if !self.bmc.is_closed() => BmcHealth::Connecting,
            None => BmcHealth::Ready,
        };
        BmcSummary {
            address: self.settings.address.host.clone(),
            port: self.settings.address.port,
            username: self.settings.login.username.clone(),
            privilege: self.settings.login.privilege.name().into(),
            health: health.into(),
            trouble: trouble.as_ref().map(|(trouble, _)| (*trouble).into()),
            trouble_text: trouble.map(|(_, text)| text),
            cipher_suite: self.bmc.knowledge().suite,
            round_trip: statistics.round_trip,
        }
    }
}

pub(super) fn bmc_settings(settings: &NodeSettings) -> bmc::Settings {
    bmc::Settings {
        host: settings.address.host.clone(),
        port: settings.address.port,
        login: settings.login.clone(),
        care: settings.care.clone(),
    }
}
