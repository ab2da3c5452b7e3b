//! The loop: one input, drain every output of the [`Rack`], wait for the next. The rack decides;
//! this carries.

mod answering;
mod catching_up;
mod looks;
mod post;
mod publishing;
mod putting_down;
mod recording;
mod reloading;
mod sending;
mod start;
mod unconfirmed;

use super::alarm::Alarm;
use super::audit::limit::Oldest;
use super::clock::Clock;
use super::on_disk::{Found, OnDisk};
use super::store::committer::{Batch, Committed};
use super::systemd::{self, notify};
use super::thread::Executor;
use super::udp::Received;
use super::{EXIT_CONFIG, Failure, kernel, metrics};
use crate::api::access::Peer;
use crate::api::serve::{Asked, Audit, Context, Noted, Reply};
use crate::config::ApiSettings;
use crate::etcd::{Answer, Change, Trouble};
use crate::host;
use crate::model::{Ha, Health, counted};
use crate::rack::call::{self, CallId, Refused};
use crate::rack::{Rack, Remembered};
use crate::tenure::RequestId;
use crate::time::Instant;
use answering::Held;
use catching_up::CatchingUp;
use looks::Looks;
use nix::sys::signal::Signal;
use post::{Member, Post};
use publishing::Publisher;
use recording::Records;
use sd_notify::NotifyState;
use sending::Sending;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
pub(super) use start::run;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use unconfirmed::Unconfirmed;
use uuid::Uuid;

/// What can happen to the loop, beside calls.
#[derive(Debug)]
pub(super) enum Input {
    Datagrams(Received),
    /// The journal wrote, or could not.
    Committed(Committed),
    /// The journal's thread broke down.
    JournalGone,
    /// A signal came.
    Signal(Signal),
    /// The oldest records of the audit trail, of which there are too many.
    Oldest(Result<Option<Oldest>, String>),
    /// Entries of the journal that the rack wanted to see, in this tenure.
    Found(u64, u64, Result<Vec<(String, Vec<u8>)>, String>),
    /// Entries of the journal on this host's disk that somebody wants to see who asks a host
    /// without the rack.
    FoundForLook(CallId, Result<Vec<(String, Vec<u8>)>, String>),
    /// Etcd answered, or did not.
    Etcd(RequestId, Result<Answer, Trouble>),
    /// Keys changed that are watched.
    Changed(Vec<Change>),
    /// Changes may have been missed.
    Unwatched,
    /// The journal in etcd was read, to be looked at.
    Mirrored(Result<Answer, Trouble>),
    /// What this host's own disk has was read, for the next tenure.
    OwnHistory(Result<Vec<Remembered>, String>),
    /// A BMC's name was looked up.
    Resolved(Uuid, String, Result<Vec<SocketAddr>, String>),
    /// The hosts of the rack have said something of themselves.
    Hosts(Result<Answer, Trouble>),
    /// A member of etcd was looked at.
    Member(String, Option<Member>),
    /// Somebody wants to know how it stands with them.
    Ha(Sender<Ha>),
    /// Somebody wants the rack to be another host's.
    HandOver(Option<String>, Sender<Result<(), Refused>>),
    /// Somebody wants the metrics.
    Metrics(Sender<String>),
    /// The configuration on the disk was looked at; and read, where it has changed.
    Looked(Option<Box<Found>>),
    /// The configuration was read again.
    Reloaded(Box<Found>),
}

struct Shell {
    clock: Clock,
    post: Post,
    sending: Sending,
    /// Taken away at the end, so that the journal's thread ends.
    journal: Option<Sender<Batch>>,
    /// What goes to it next, at once.
    batch: Option<Batch>,
    last_ticket: u64,
    unconfirmed: Unconfirmed,
    /// When what nobody waits for is written.
    write_at: Option<Instant>,
    records: Records,
    /// The bytes of the journal's file.
    journal_size: Arc<AtomicU64>,
    replies: BTreeMap<CallId, Waiting>,
    /// What the rack said and nobody was told yet.
    answers: Vec<(CallId, Result<call::Answer, Refused>)>,
    held: Held,
    /// The call of this turn that is meant to change something.
    accepting: Option<(CallId, Rc<Noted>)>,
    next_call: u64,
    to_inputs: Sender<Input>,
    on_disk: OnDisk,
    /// While the configuration is being read again: whether that was asked for once more.
    reloading: Option<bool>,
    executor: Executor,
    context: Rc<Context>,
    looks: Looks,
    publisher: Option<Publisher>,
    /// What the listeners were made with.
    api: ApiSettings,
    /// Dropped to tell the API that the daemon goes down.
    going_down: Option<Sender<()>>,
    /// What a person has to mend in the configuration before the daemon can go on.
    mistake: Option<String>,
    /// Nothing can be remembered any more in this life. Ended here, the daemon is started again,
    /// and goes on from what is on the disk.
    journal_gone: bool,
    /// When patience with the shutdown ends.
    stop_by: Option<Instant>,
    watchdog: Option<Duration>,
    housekeeping_at: Instant,
    /// When free memory is given back to the system.
    give_back_at: Instant,
    /// Whether that comes soon after much was written, so that there is more to give back a moment
    /// later.
    gives_back_soon: bool,
    program: kernel::Program,
    /// When it is looked how large the daemon is.
    size_look_at: Instant,
    status: String,
    /// When the loop looked at the clock last.
    awake_at: Instant,
    /// After a time in which the loop stood still: what came in meanwhile is read before anything
    /// counts as missing.
    listen_until: Instant,
    catching_up: CatchingUp,
}

/// Somebody who waits for an answer.
struct Waiting {
    reply: Reply,
    peer: Rc<Peer>,
    /// Whether nothing is meant to change: such a call may be dropped.
    looks: bool,
    /// Whether it begins something: who stops something is told at once.
    begins: bool,
}

/// What ends a wait.
enum Turn {
    Input(Input),
    Asked(Asked),
    Audit(Audit),
    Time,
}

impl Shell {
    /// The time; the rack is told first where the loop stood still since it was asked last.
    fn now(&mut self) -> Instant {
        let now = self.clock.now();
        let gap = now - self.awake_at;
        self.awake_at = now;
        if gap > STOOD_STILL {
            self.listen_until = now + LISTEN;
            self.post.handle_absence(gap, now);
        }
        now
    }

    /// When the rack wants its time to be looked at. Regular readings may wait a moment for others,
    /// so that they leave, and their answers come, together.
    fn due_at(&self) -> Option<Instant> {
        let rack = self.post.rack();
        let reading = rack.and_then(Rack::poll_reading).map(|at| at + TOGETHER);
        let deadline = rack.and_then(Rack::poll_deadline);
        let tenure = self.post.next_of_tenure();
        [reading, deadline, tenure].into_iter().flatten().min()
    }

    /// Whether what is due is put off once more, for what has come and was taken in instead: see
    /// [`CatchingUp`].
    fn listens_first(&mut self, due: Instant, more: bool, now: Instant) -> bool {
        let behind = more || self.sending.sockets.is_behind();
        if !self.catching_up.puts_off(due, behind, now) {
            return false;
        }
        let waiting = self.sending.sockets.take_waiting();
        let found = more || !waiting.is_empty();
        for received in waiting {
            self.catching_up.took(received.datagrams.len());
            self.handle(Input::Datagrams(received));
        }
        found
    }

    async fn run(
        mut self,
        outcomes: Receiver<Committed>,
        inputs: Receiver<Input>,
        asked: Receiver<Asked>,
        audits: Receiver<Audit>,
        mut alarm: Alarm,
    ) -> Result<(), Failure> {
        loop {
            // What somebody waits for leaves first.
            self.drain();
            if self.tick() {
                self.drain();
            }
            let now = self.now();
            let quiet = self.post.is_over();
            let over = |by| quiet || now >= by;
            if self.stop_by.is_some_and(over) || self.mistake.is_some() || self.journal_gone {
                break;
            }
            let due = self.due_at().unwrap_or(self.housekeeping_at);
            let wake = due.min(self.housekeeping_at).max(self.listen_until);
            let more = self.sending.more_at.into_iter().chain(self.write_at);
            let more = more.chain(self.held.until());
            let wake = more.fold(wake, Instant::min);
            alarm.set(wake, self.clock);
            let room = self.records.has_room();
            let turn = async { Turn::Input(next_outcome(&outcomes).await) }
                .or(async { inputs.recv().await.map_or(Turn::Time, Turn::Input) })
                .or(async {
                    match asked.recv().await {
                        Ok(asked) => Turn::Asked(asked),
                        // The API is gone: nobody asks any more.
                        Err(_) => smol::future::pending().await,
                    }
                })
                .or(async {
                    // Who is to be recorded waits for a disk that lags behind.
                    let audits = audits.recv();
                    match room.then_some(audits) {
                        Some(next) => match next.await {
                            Ok(audit) => Turn::Audit(audit),
                            Err(_) => smol::future::pending().await,
                        },
                        None => smol::future::pending().await,
                    }
                })
                .or(async {
                    alarm.rung().await;
                    Turn::Time
                })
                .await;
            match turn {
                Turn::Input(input) => {
                    self.handle(input);
                    // However much a BMC babbles, callers have their turn.
                    if let Ok(asked) = asked.try_recv() {
                        self.drain();
                        self.ask(asked);
                        self.hand_over_batches();
                    }
                }
                Turn::Asked(next) => {
                    let mut alone = self.ask(next);
                    for _ in 1..ASKED_TOGETHER {
                        // What one caller is told may be long: it is on its way out before the next
                        // one is asked for.
                        let next = (!alone).then(|| asked.try_recv().ok()).flatten();
                        let Some(next) = next else { break };
                        alone = self.ask(next);
                    }
                    // The disk works beside what follows.
                    self.hand_over_batches();
                    if !asked.is_empty() {
                        self.drain();
                        smol::future::yield_now().await;
                    }
                }
                Turn::Audit(audit) => self.record(audit),
                Turn::Time => {}
            }
            let now = self.now();
            let due = self.due_at().filter(|at| *at <= now);
            let Some(due) = due.filter(|_| now >= self.listen_until) else {
                self.catching_up.is_over();
                continue;
            };
            if !self.listens_first(due, !inputs.is_empty(), now) {
                self.catching_up.is_over();
                self.post.handle_timeout(now);
            }
        }
        self.end(&audits)
    }

    /// What is left to be done when the loop has ended.
    fn end(mut self, audits: &Receiver<Audit>) -> Result<(), Failure> {
        self.drain();
        let answers = std::mem::take(&mut self.answers);
        self.answer_all(answers);
        // What the API said at the very end is audited, too.
        while let Ok(audit) = audits.try_recv() {
            self.record(audit);
        }
        self.hand_over_batches();
        self.journal = None;
        match self.mistake.take() {
            None => Ok(()),
            Some(text) => Err(Failure {
                text,
                code: EXIT_CONFIG,
            }),
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Datagrams(received) => {
                let Some(rack) = self.post.rack_mut() else {
                    return;
                };
                for (address, why) in received.unreachable {
                    rack.handle_unreachable(address, received.port, why, now);
                }
                for (from, datagram) in received.datagrams {
                    rack.handle_datagram(from, received.port, &datagram, now);
                }
            }
            Input::Committed(Committed::Durable(ticket)) => {
                self.unconfirmed.heard_of(ticket);
                self.records.handle_durable(ticket);
                self.recorded(ticket, now);
            }
            Input::Committed(Committed::Failed { ticket, reason }) => {
                self.unconfirmed.heard_of(ticket);
                self.unrecorded(ticket, &reason, now);
            }
            Input::JournalGone => self.journal_gone = true,
            Input::Signal(Signal::SIGHUP) => self.begin_reload(),
            Input::Signal(signal) => self.begin_stop(signal, now),
            Input::Resolved(node, host, answer) => {
                if let Some(rack) = self.post.rack_mut() {
                    rack.handle_resolved(node, &host, answer, now);
                }
            }
            Input::Oldest(oldest) => self.shorten(oldest, now),
            Input::Found(fence, look, found) => {
                let same = self.post.fence() == fence;
                if let Some(rack) = self.post.rack_mut().filter(|_| same) {
                    rack.handle_found(look, found, now);
                }
            }
            Input::FoundForLook(id, found) => self.found_for_look(id, found),
            Input::Etcd(id, answer) => self.etcd_answered(id, answer),
            Input::Changed(changes) => self.etcd_changed(&changes),
            Input::Unwatched => self.etcd_unwatched(),
            Input::Mirrored(found) => self.mirrored(found),
            Input::OwnHistory(own) => self.own_history_read(own),
            Input::Hosts(answer) => self.hosts_told(answer),
            Input::Member(name, said) => self.member_seen(name, said),
            Input::Ha(reply) => {
                // Whoever asked may be gone.
                let _ = reply.try_send(self.ha(now));
            }
            Input::HandOver(to, reply) => self.hand_over(to, reply),
            Input::Metrics(reply) => {
                let snapshot = self.snapshot(now);
                // Megabytes of text for a large rack: nobody else is to wait for them.
                let write = async move {
                    let text = smol::unblock(move || metrics::text(snapshot)).await;
                    // Nobody waits any more where this fails.
                    let _ = reply.try_send(text);
                };
                self.executor.spawn(write).detach();
            }
            Input::Looked(found) => {
                self.on_disk.looked();
                if let Some(found) = found {
                    self.judge(&found);
                }
            }
            Input::Reloaded(found) => {
                self.judge(&found);
                self.reload(found.outcome, now);
                if self.reloading.take() == Some(true) {
                    self.begin_reload();
                }
            }
        }
    }

    /// Asks the rack. Whether that only looks, or is told of thousands of nodes: else what it led to
    /// leaves, and is answered, with what others ask next to it.
    fn ask(&mut self, asked: Asked) -> bool {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let rights = self.context.policy().rights(&asked.peer);
        let looks = asked.call.only_looks();
        let begins = asked.call.begins_tasks();
        let alone = looks || asked.call.tells_of_many();
        let now = self.now();
        let stale = self.post.stale(now).filter(|_| looks);
        if !looks {
            self.put_down_earlier();
        }
        let Some(rack) = self.post.rack_mut() else {
            self.ask_standby(id, asked);
            return looks;
        };
        if let Some(stale) = stale {
            asked.noted.is_stale(stale);
        }
        let nodes = rack.handle_call(id, asked.call, &rights, now);
        asked.noted.nodes_are(&nodes);
        if !looks {
            self.accepting = Some((id, asked.noted));
        }
        let waiting = Waiting {
            reply: asked.reply,
            peer: asked.peer,
            looks,
            begins,
        };
        self.replies.insert(id, waiting);
        // The record of it goes with what it began, before anything of that is shared.
        self.put_down();
        alone
    }

    /// Carries every output of the rack to where it belongs: datagrams first, so that no answer
    /// overtakes them.
    fn drain(&mut self) {
        self.send();
        self.put_down();
        self.hand_over_batches();
        self.look_for_surplus();
        self.begin_looks();
        self.give_answers();
    }

    /// What is due now and then: a sign of life for systemd, clients that went away, sockets that
    /// nobody uses. Whether anything was.
    fn tick(&mut self) -> bool {
        let now = self.now();
        // A little early where the loop is awake anyway: else it would wake for this alone.
        if now + EARLY < self.housekeeping_at {
            return false;
        }
        self.housekeeping_at = now + self.watchdog.unwrap_or(HOUSEKEEPING).min(HOUSEKEEPING);
        let looks = self.size_look_at <= now;
        if looks {
            self.size_look_at = now + GIVE_BACK_LARGE;
        }
        if self.give_back_at <= now {
            let soon = std::mem::take(&mut self.gives_back_soon);
            self.give_back_at = now + if soon { ONCE_MORE } else { GIVE_BACK };
            kernel::give_back_memory();
            self.program.give_back();
        } else if looks && host::resident() > LARGE {
            kernel::give_back_memory();
        }
        let wall = self.clock.wall();
        if let Post::Shared(shared) = &mut self.post {
            shared.keeper.tenure_mut().handle_wall(wall, now);
        }
        if let Some(rack) = self.post.rack_mut() {
            rack.handle_wall(wall, now);
        }
        self.tell_hosts(wall, now);
        self.publish(wall, now);
        self.tell_unrecorded(now);
        let gone: Vec<CallId> = self
            .replies
            .iter()
            .filter(|(_, waiting)| waiting.reply.is_gone())
            .map(|(call, _)| *call)
            .collect();
        for call in gone {
            self.replies.remove(&call);
            if let Some(rack) = self.post.rack_mut() {
                rack.forget_call(call);
            }
        }
        let rack = self.post.rack();
        let ports = rack.map(Rack::ports_in_use).unwrap_or_default();
        let addresses = rack.map(Rack::addresses_in_use).unwrap_or_default();
        self.sending.sockets.keep(&ports);
        self.sending.locks.keep(&addresses);
        self.sending.locks.answer();
        self.look_at_configuration(now);
        systemd::tell_again();
        if self.watchdog.is_some() {
            notify(&[NotifyState::Watchdog]);
        }
        let summary = self.post.rack().map(|rack| rack.summary(now));
        let (nodes, tasks, troubled) = summary.unwrap_or_default();
        let mut status = match nodes {
            0 if summary.is_none() => "another host owns the rack: standing by".to_owned(),
            0 => "no nodes yet: its configuration wants a [[node]], then a reload".to_owned(),
            _ => format!(
                "{}, {} running, {} in trouble",
                counted(nodes, "node"),
                counted(tasks, "task"),
                counted(troubled, "BMC")
            ),
        };
        if let Some(refused) = self.on_disk.refused() {
            let (since, why) = (refused.since, &refused.why);
            status += &format!("; the configuration on disk is refused since {since}: {why}");
        }
        if self.status != status && self.stop_by.is_none() {
            notify(&[NotifyState::Status(&status)]);
            self.status = status;
        }
        true
    }

    fn with_disk(&self, health: Health) -> Health {
        Health {
            configuration_refused: self.on_disk.refused().cloned(),
            ..health
        }
    }

    fn snapshot(&self, now: Instant) -> metrics::Snapshot {
        let rack = self.post.rack();
        metrics::Snapshot {
            health: self.with_disk(self.post.health(now)),
            nodes: rack.map(|rack| rack.nodes(now)).unwrap_or_default(),
            counters: rack.map(Rack::counters).cloned().unwrap_or_default(),
            figures: rack.map(|rack| rack.figures(now)).unwrap_or_default(),
            sockets: self.sending.sockets.len(),
            journal_bytes: self.journal_size.load(Ordering::Relaxed),
            journal_waiting: self.unconfirmed.wait(now).max(self.post.unconfirmed(now)),
            audit_bytes: self.records.trail.bytes(),
            overflowed: self.sending.sockets.overflowed(),
            shared: self.post.figures(now),
        }
    }

    fn begin_stop(&mut self, signal: Signal, now: Instant) {
        if self.stop_by.is_some() {
            log::warn!("{signal} again: stopping at once");
            self.stop_by = Some(now);
            return;
        }
        let summary = self.post.rack().map(|rack| rack.summary(now));
        let (_, tasks, _) = summary.unwrap_or_default();
        let tasks = counted(tasks, "task");
        log::info!("{signal}: stopping; {tasks} to go on with at the next start");
        let status = format!("stopping; {tasks} to go on with at the next start");
        notify(&[NotifyState::Stopping, NotifyState::Status(&status)]);
        self.stop_by = Some(now + STOP_PATIENCE);
        self.going_down = None;
        match &mut self.post {
            Post::Alone(rack) => rack.stop(now),
            Post::Shared(shared) => shared.keeper.hand_over(None, now),
        }
        self.record_own("STOP", format!("{signal}; {tasks} to go on with"), None);
    }
}

/// What the journal's thread says next, or that it has ended.
async fn next_outcome(outcomes: &Receiver<Committed>) -> Input {
    let next = outcomes.recv().await;
    next.map_or(Input::JournalGone, Input::Committed)
}

/// So much later than it is due a regular reading may leave, together with others.
const TOGETHER: Duration = Duration::from_millis(75);
/// So many calls that ask for changes are taken together, where so many wait.
const ASKED_TOGETHER: usize = 32;
/// How long after that once more: what the answers and the questions of new sessions took is free.
const ONCE_MORE: Duration = Duration::from_secs(2);
/// How often free memory is given back otherwise.
const GIVE_BACK: Duration = Duration::from_secs(60);
/// How often while the daemon is large: what is free in its heap counts against what it may have.
const GIVE_BACK_LARGE: Duration = Duration::from_secs(2);
/// The daemon is large with so many bytes: half of what its unit gives it.
const LARGE: u64 = 64 << 20;
const HOUSEKEEPING: Duration = Duration::from_secs(1);
const EARLY: Duration = Duration::from_millis(400);
/// The loop looks at the clock each second: where that took longer than this, the process was
/// stopped or the machine slept.
const STOOD_STILL: Duration = Duration::from_secs(3);
/// How long it listens then before it judges.
const LISTEN: Duration = Duration::from_millis(200);
/// How long sessions may take to close.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_hears_that_the_journals_thread_is_gone_after_all_that_it_said() {
        let (outbox, outcomes) = smol::channel::unbounded();
        outbox.try_send(Committed::Durable(3)).unwrap();
        drop(outbox);
        let heard = [0, 1].map(|_| smol::block_on(next_outcome(&outcomes)));
        let heard = heard.map(|input| format!("{input:?}"));
        assert_eq!(heard, ["Committed(Durable(3))", "JournalGone"]);
    }
}
