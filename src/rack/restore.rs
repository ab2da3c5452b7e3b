//! What a former life remembered, read from the journal's entries, and the tasks that go on.

use super::batch::{Batch, BatchRecord};
use super::clock::{Alive, Copied, Moment, Stamp, WORTH_A_WORD};
use super::gate::Pause;
use super::history::History;
use super::inventory::{Inventory, NodeId};
use super::ledger::Ledger;
use super::node::Memory;
use super::quarantine::Unreadable;
use super::record::Table;
use super::settings::NodeSettings;
use super::stored::{self, Entry, Intent, TaskRecord};
use super::task::Task;
use super::tasks::Tasks;
use crate::bmc::vocabulary::OrderId;
use crate::model::{PowerState, TaskState};
use crate::power::{Saved, Sequence};
use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// One remembered entry: its table, key and value.
pub type Remembered = (Table, String, Vec<u8>);

/// How long ago a record was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Since {
    /// So long the daemon lived after that: patience ran on.
    pub(super) lived: Duration,
    /// So long it was away: patience stood still.
    pub(super) away: Duration,
    /// By the calendar it lived so much longer or shorter, where that is worth a word.
    pub(super) off_by: Option<Duration>,
    /// The machine was started anew since, and its calendar is behind what it said then: nobody
    /// knows how long it was away.
    pub(super) untold: bool,
}

impl Since {
    /// `written` and `written_at` are of the record, `alive` is the last sign of life, and the new
    /// life begins at `at` in the `boot` of the machine.
    ///
    /// What is of one life is compared by its own clock; only what is of an older format by the
    /// calendar.
    pub(super) fn of(
        (written, written_at): (Option<Stamp>, WallTime),
        alive: Option<Alive>,
        boot: Option<Uuid>,
        at: Moment,
    ) -> Self {
        let by_calendar = alive.map_or(Duration::ZERO, |alive| alive.wall.since(written_at));
        let lived = match (written, alive.and_then(|alive| alive.stamp)) {
            (Some(written), Some(alive)) if written.life == alive.life => {
                alive.at.saturating_sub(written.at)
            }
            // The sign is of another life: it says nothing of this one.
            (Some(_), Some(_)) => Duration::ZERO,
            _ => by_calendar,
        };
        let one_life = |alive: &Alive| alive.stamp.map(|of| of.life) == written.map(|of| of.life);
        let alive = alive.filter(one_life);
        let stamp = alive.and_then(|alive| alive.stamp);
        // A record is a sign of life as well: what is put down in the first seconds after a rest
        // is younger than the last sign.
        let signs = written.zip(stamp);
        let last_at = signs.map(|(written, alive)| written.at.max(alive.at));
        let younger = signs.map(|(written, alive)| written.at.saturating_sub(alive.at));
        let one_boot = alive.is_some_and(|alive| alive.boot.is_some() && alive.boot == boot);
        let another_boot = alive.is_some_and(|alive| alive.boot.is_some() && alive.boot != boot);
        let last = alive.map_or(written_at, |alive| alive.wall.max(written_at));
        let away = match (last_at, alive) {
            // Lives of one boot have one clock, which nobody can set.
            (Some(last_at), _) if one_boot => at.now.since_start().saturating_sub(last_at),
            (_, Some(alive)) if alive.wall > written_at => at.wall.since(alive.wall),
            _ => at.wall.since(written_at),
        };
        let set_back = alive.map_or(Duration::ZERO, |alive| written_at.since(alive.wall));
        let by_calendar = by_calendar + younger.unwrap_or_default();
        let off_by = by_calendar.abs_diff(lived + set_back);
        Self {
            lived,
            away,
            off_by: (alive.is_some() && off_by > WORTH_A_WORD).then_some(off_by),
            // A machine that lost its clock with its power says that no time
            // has passed, or less than none.
            untold: another_boot && boot.is_some() && last.since(at.wall) > WORTH_A_WORD,
        }
    }
}

/// Why tasks are not simply gone on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stale {
    /// The daemon was away for so long.
    Away(Duration),
    /// The daemon was away, and the calendar does not tell for how long.
    Untold,
    /// The journal lacks so many transactions.
    Behind(u64),
    /// The journal may lack some.
    Unknown,
}

/// Whether what the journal says is too old to go on with it.
pub(super) fn stale(copied: Copied, away: Duration, untold: bool) -> Option<Stale> {
    match copied {
        Copied::No if untold => Some(Stale::Untold),
        Copied::No => (away > LONG).then_some(Stale::Away(away)),
        Copied::Behind(behind) => Some(Stale::Behind(behind)),
        Copied::Unknown => Some(Stale::Unknown),
    }
}

impl Stale {
    /// Whether a person is to decide about this task. Waits and the way back on go on after an
    /// absence, but nothing is begun; of a journal that is older than the world nothing is
    /// believed. One that stands is left as it is, but not where it waits to go on, or is `held` by
    /// what lets it go by itself.
    pub(super) fn concerns(&self, task: &Task, held: bool) -> bool {
        let stands = task.state() == TaskState::Suspended && !task.wants_place() && !held;
        match self {
            Self::Behind(_) | Self::Unknown => !stands,
            Self::Away(_) | Self::Untold => {
                let mut sent = task.sequence.sent().iter();
                let has_left = sent.any(|sent| sent.order.changes_power() && sent.handed);
                !has_left && !stands
            }
        }
    }

    /// Who suspends it.
    pub(super) fn by(&self) -> String {
        format!("rackbmcd ({self})")
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(away) => write!(f, "no sign of life for {} min", away.as_secs() / 60),
            Self::Untold => f.write_str(
                "the machine was started anew and its calendar is behind the last sign of life: nobody knows how old that is",
            ),
            Self::Behind(1) => write!(
                f,
                "the journal is a copy from before: 1 later transaction is not in it"
            ),
            Self::Behind(count) => write!(
                f,
                "the journal is a copy from before: {count} later transactions are not in it"
            ),
            Self::Unknown => f.write_str(
                "the journal may be a copy from before: the file that would tell, lock, is not as it was written",
            ),
        }
    }
}

impl TaskRecord {
    /// The task as it goes on. Patience ran on while the daemon lived, and stood still while it did
    /// not. `never_off` is what the configuration says of its node by now.
    pub(super) fn take_up(
        self,
        node: Option<NodeId>,
        never_off: Option<bool>,
        since: Since,
        at: Moment,
    ) -> Task {
        let Since {
            lived,
            away,
            off_by,
            untold: _,
        } = since;
        if let Some(off_by) = off_by {
            log::warn!(
                "{}: the calendar was set by about {} s while task {} ran: its patience is counted by the machine's own \
                 clock, which says that {} s of it passed after its last record",
                self.identity.node,
                off_by.as_secs(),
                self.identity.id,
                lived.as_secs()
            );
        }
        let saved = Saved::from(self.sequence).after_absence(away);
        let mut saved = saved.with_unsent(self.unsent);
        if let Some(never) = never_off {
            saved = saved.with_never_off(never);
        }
        // It goes on from its last record: the time that the daemon lived after that is patience.
        let then = at.now.before(lived);
        let mut sequence = Sequence::restore(saved, then);
        let had_ended = sequence.state().is_end();
        // An order that had not left was waiting for its turn: that time is no patience.
        sequence.await_turn(self.unsent.is_some(), then);
        sequence.await_turn(false, at.now);
        let mut task = Task {
            identity: self.identity,
            node,
            sequence,
            admitted: true,
            ahead: None,
            foresight: None,
            resuming: self.resuming,
            returning: self.returning,
            nmi_call: None,
            had_turn: false,
            journaled: None,
        };
        task.had_turn = task.has_left();
        // What ended only now, because its time was over before the daemon was, is still to be
        // noted.
        if had_ended {
            task.journaled = Some(task.milestone());
        }
        task
    }
}

/// What was remembered, sorted.
#[derive(Default)]
pub(super) struct RestoredState {
    pub(super) tasks: Vec<TaskRecord>,
    pub(super) batches: BTreeMap<Uuid, BatchRecord>,
    pub(super) nodes: BTreeMap<Uuid, Memory>,
    pub(super) history: History,
    pub(super) pause: Option<Pause>,
    pub(super) alive: Option<Alive>,
    /// Orders outside tasks of which nobody knows what came of them.
    pub(super) intents: Vec<(OrderId, Intent)>,
    /// The last sign of life of another host, and how long ago that was.
    pub(super) last_sign: Option<(WallTime, Duration)>,
    pub(super) unreadable: Vec<Unreadable>,
}

impl RestoredState {
    pub(super) fn sort(remembered: Vec<Remembered>) -> Self {
        let mut restored = Self::default();
        for (table, key, value) in remembered {
            match stored::read(table, &key, &value) {
                Ok(entry) => restored.put(entry),
                Err(why) => restored.unreadable.push(Unreadable {
                    table,
                    key,
                    value,
                    why,
                }),
            }
        }
        restored
    }

    /// What was read by a former life is shown as a reading with its age, not as the present.
    pub(super) fn show_nothing_as_present(&mut self) {
        let nodes = self.nodes.values_mut();
        // `error` stays until the next power sync (design, section 3), over a restart as well.
        for memory in nodes.filter(|memory| memory.shown != PowerState::Error) {
            memory.shown = PowerState::Unknown;
        }
    }

    /// What cannot be read is not written over. Gives the nodes that have no entry: where an
    /// entry's key cannot be read, it is that of one of them, which must not get another one then.
    pub(super) fn seal_unreadable(
        &self,
        nodes: &[NodeSettings],
        ledger: &mut Ledger,
    ) -> BTreeSet<Uuid> {
        let mut nobodys = false;
        let mut without: BTreeSet<Uuid> = nodes.iter().map(|node| node.uuid).collect();
        without.retain(|uuid| !self.nodes.contains_key(uuid));
        for Unreadable { table, key, .. } in &self.unreadable {
            if *table == Table::Nodes {
                match key.parse() {
                    Ok(uuid) => drop(without.remove(&uuid)),
                    Err(_) => nobodys = true,
                }
            }
            // Entries of the rack are not sealed: the next pause, and the
            // next sign of life, replace them.
            if *table != Table::Rack {
                ledger.journal.seal(*table, key.clone());
            }
        }
        for uuid in without.iter().filter(|_| nobodys) {
            ledger.journal.seal(Table::Nodes, uuid.to_string());
        }
        without
    }

    /// A batch over etcd may be written in parts, and its own record is written last: a task that
    /// never began and names a batch that is not there was never admitted, and is forgotten.
    pub(super) fn drop_half_admitted(&mut self, ledger: &mut Ledger) {
        let unreadable = self.unreadable.iter();
        // One of the unreadable entries may be the batch that is looked for.
        if unreadable
            .into_iter()
            .any(|entry| entry.table == Table::Batches)
        {
            return;
        }
        let batches = &self.batches;
        self.tasks.retain(|task| {
            let identity = &task.identity;
            let orphan = identity.batch.is_some_and(|batch| !batches.contains_key(&batch));
            let began = identity.started_at.is_some() || identity.ended_at.is_some();
            let dropped = orphan && !began;
            if dropped {
                let (id, node) = (identity.id, &identity.node);
                log::warn!("{node}: task {id} is of a batch that was not written to its end: nobody was told that it was taken, and it is forgotten");
                ledger.journal.delete(Table::Tasks, id.to_string());
            }
            !dropped
        });
    }

    /// When the journal was last written, as far as its entries say.
    pub(super) fn last_sign_of_life(&self) -> Option<WallTime> {
        let tasks = self.tasks.iter().map(|task| task.written_at);
        let nodes = self.nodes.values().flat_map(|memory| {
            let read = memory.reading.map(|(_, at)| at);
            [memory.updated_at, read].into_iter().flatten()
        });
        let alive = self.alive.map(|alive| alive.wall);
        alive.into_iter().chain(tasks).chain(nodes).max()
    }

    /// Why the rack counts as paused, where the entry of its pause cannot be read.
    pub(super) fn lost_pause(&self) -> Option<String> {
        let is_pause =
            |entry: &&Unreadable| entry.table == Table::Rack && entry.key == stored::PAUSE;
        let entry = self.unreadable.iter().find(is_pause)?;
        Some(format!(
            "the rack was paused, and what the journal says of it cannot be read ({}); tasks that the pause had suspended \
             stay so when it is released",
            entry.why
        ))
    }

    /// Tasks, batches and history go on where they were. Gives the longest time for which one of
    /// the tasks stood still, and whether nobody knows that of one.
    pub(super) fn take_up(
        self,
        boot: Option<Uuid>,
        inventory: &mut Inventory,
        tasks: &mut Tasks,
        ledger: &mut Ledger,
        at: Moment,
    ) -> (Duration, bool) {
        tasks.history = self.history;
        for batch in self.batches.into_values() {
            tasks.insert_batch(Batch::restore(batch));
        }
        let (mut longest, mut untold) = (Duration::ZERO, false);
        for record in self.tasks {
            let node = inventory.with_uuid(record.identity.node_uuid);
            let written = (record.written, record.written_at);
            let mut since = Since::of(written, self.alive, boot, at);
            if let Some((_, ago)) = self.last_sign {
                // Two hosts have two calendars.
                since = Since {
                    away: ago,
                    off_by: None,
                    untold: false,
                    ..since
                };
            }
            let found = node.and_then(|id| inventory.get(id));
            let never_off = found.map(|node| node.settings.power.never_off);
            let task = record.take_up(node, never_off, since, at);
            if !task.is_closed() {
                longest = longest.max(since.away);
                untold |= since.untold;
            }
            // A task knows what it has sent by the ids of the orders: this life must use others.
            for sent in task.sequence.sent() {
                ledger.skip_past(sent.id);
            }
            if let Some(node) = node.and_then(|id| inventory.get_mut(id)) {
                node.take_up(&task, at.now);
            }
            tasks.insert(task);
        }
        (longest, untold)
    }

    fn put(&mut self, entry: Entry) {
        match entry {
            Entry::Task(record) => self.tasks.push(*record),
            Entry::Batch(id, record) => drop(self.batches.insert(id, record)),
            Entry::Node(id, memory) => drop(self.nodes.insert(id, *memory)),
            Entry::History(number, node, entry) => self.history.restore(number, node, entry.at),
            Entry::Pause(pause) => self.pause = Some(pause),
            Entry::Alive(alive) => self.alive = Some(alive),
            Entry::Intent(order, intent) => self.intents.push((order, intent)),
            Entry::Foreign => {}
        }
    }
}

/// The nodes of tasks that have not ended, with their names, as far as they can be read.
pub fn busy_nodes(remembered: &[Remembered]) -> BTreeMap<Uuid, String> {
    let of_tasks = remembered
        .iter()
        .filter(|(table, ..)| *table == Table::Tasks);
    let tasks = of_tasks.filter_map(
        |(table, key, value)| match stored::read(*table, key, value) {
            Ok(Entry::Task(task)) => Some(task.identity),
            _ => None,
        },
    );
    let active = tasks.filter(|task| task.ended_at.is_none());
    active
        .map(|task| (task.node_uuid, task.node.to_string()))
        .collect()
}

/// After such an absence nothing is begun that was asked for before it.
const LONG: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::super::tests::{at, secs, task};
    use super::*;
    use crate::model::Operation;

    const BOOT: Option<Uuid> = Some(Uuid::from_u128(1));

    fn stamp(life: u64, second: u64) -> Option<Stamp> {
        let at = secs(second);
        Some(Stamp { life, at })
    }

    fn alive(life: u64, second: u64, calendar: u64) -> Option<Alive> {
        Some(Alive {
            wall: at(calendar).wall,
            stamp: stamp(life, second),
            boot: BOOT,
        })
    }

    fn since(written: Option<Stamp>, alive: Option<Alive>, boot: Option<Uuid>) -> Since {
        Since::of((written, at(100).wall), alive, boot, at(1000))
    }

    #[test]
    fn patience_of_a_former_life_is_counted_by_the_clock_of_that_life() {
        let (lived, away, off_by) = (secs(6), secs(894), None);
        let right = Since {
            lived,
            away,
            off_by,
            untold: false,
        };
        assert_eq!(since(stamp(7, 100), alive(7, 106, 106), BOOT), right);
        // The calendar was set 15 minutes forward in between, or a day back.
        let off_by = Some(secs(894));
        let forward = since(stamp(7, 100), alive(7, 106, 1000), BOOT);
        assert_eq!(forward, Since { off_by, ..right });
        let back = since(stamp(7, 100), alive(7, 106, 40), BOOT);
        let off_by = Some(secs(66));
        assert_eq!(back, Since { off_by, ..right });
    }

    #[test]
    fn what_ends_because_its_time_was_over_when_the_daemon_died_is_still_to_be_noted() {
        let mut task = task(1, Operation::PowerOff);
        task.sequence.begin(at(100).now);
        let patience = task.sequence.settings().change_timeout;
        let since = |lived| Since {
            lived,
            away: secs(0),
            off_by: None,
            untold: false,
        };
        let record = |task: &mut Task| task.record(None, at(100));
        let goes_on = record(&mut task).take_up(None, None, since(secs(1)), at(1000));
        assert!(goes_on.is_active() && !goes_on.is_closed());
        let mut over = record(&mut task).take_up(None, None, since(patience + secs(1)), at(1000));
        assert!(!over.is_active() && !over.is_closed());
        assert!(over.news().is_some_and(|news| news.ended));
        let known = record(&mut over).take_up(None, None, since(secs(1)), at(1000));
        assert!(known.is_closed());
    }

    #[test]
    fn a_record_that_is_younger_than_the_last_sign_of_life_is_one_itself() {
        let right = Since {
            lived: secs(0),
            away: secs(900),
            off_by: None,
            untold: false,
        };
        // The sign is of a task that had ended a minute, or nearly two, before this one came.
        assert_eq!(since(stamp(7, 100), alive(7, 40, 40), BOOT), right);
        assert_eq!(since(stamp(7, 100), alive(7, 100, 100), BOOT), right);
        // The calendar was set 63 s back in between.
        let back = since(stamp(7, 100), alive(7, 97, 160), BOOT);
        let off_by = Some(secs(63));
        assert_eq!(back, Since { off_by, ..right });
    }

    #[test]
    fn the_sign_of_another_life_says_nothing_and_records_without_a_stamp_go_by_the_calendar() {
        let since = |written, alive| since(written, alive, BOOT);
        let other = since(stamp(8, 100), alive(7, 90, 90));
        assert_eq!((other.lived, other.away), (secs(0), secs(900)));
        let old = Some(Alive {
            wall: at(130).wall,
            stamp: None,
            boot: None,
        });
        let other = since(None, old);
        assert_eq!((other.lived, other.away), (secs(30), secs(870)));
        let none = since(stamp(7, 100), None);
        assert_eq!((none.lived, none.away), (secs(0), secs(900)));
    }

    #[test]
    fn after_a_boot_the_calendar_says_how_long_the_machine_was_away() {
        let boot = Some(Uuid::from_u128(2));
        let booted = since(stamp(7, 5000), alive(7, 5006, 106), boot);
        assert_eq!((booted.lived, booted.away), (secs(6), secs(894)));
        assert!(!booted.untold);
        // A machine that lost its clock with its power.
        let sign = alive(7, 5006, 2000);
        assert!(since(stamp(7, 5000), sign, boot).untold);
        assert!(
            !since(stamp(7, 5000), sign, BOOT).untold,
            "in one boot another clock tells"
        );
    }
}
