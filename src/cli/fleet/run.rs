//! A fleet batch under way: one batch in each of several racks, begun and followed to the end.
//!
//! What has begun belongs to its rack, which carries it to its end whatever becomes of this client.
//! The client's alone is which rack begins when (`--racks-at-once`, `--on-failure stop`): what it
//! has not begun when it ends is not begun.

mod show;

use super::control::abort_all;
use super::id::FleetId;
use super::{AT_ONCE, Fleet, Rack};
use crate::cli::exit::{Exit, Failure};
use crate::cli::follow::{Live, SECOND_CTRL_C, exit_of, pressed_again};
use crate::cli::patience::{RESTART_BUDGET, RESTART_RETRY};
use crate::cli::power::Waiting;
use crate::cli::select::each_at_once;
use crate::model::{Batch, BatchStart, ErrorKind, Task};
use async_signal::{Signal, Signals};
use smol::future::or;
use smol::lock::Semaphore;
use smol::stream::StreamExt;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Time between two looks at a rack's batch.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time between two drawings.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// So many times a rack that answers must not know of a batch before it is believed.
const MISSES: u32 = 4;
/// Tasks that a daemon lists with one answer.
const LISTED: usize = 1000;

/// What one rack has of a fleet batch.
pub(super) struct Part<'f> {
    rack: &'f Rack,
    start: Option<BatchStart>,
    names: Vec<String>,
    stand: Stand,
}

/// How it stands.
enum Stand {
    /// Its turn has not come.
    Waiting,
    /// It was asked to begin, and has not answered yet.
    Asked,
    /// Its batch goes on, as it was seen last.
    Begun(Batch),
    /// Its batch has ended.
    Ended(Batch, Vec<Task>),
    /// Nothing began there.
    NotBegun(String, Exit),
    /// It was asked, and whether anything began is not known.
    Unsure(String),
    /// Its batch was begun, and how it stands is not known any more.
    Lost(String),
}

impl<'f> Part<'f> {
    /// Of a rack that is to begin.
    pub(super) fn to_begin(rack: &'f Rack, start: BatchStart, names: Vec<String>) -> Self {
        Part {
            rack,
            start: Some(start),
            names,
            stand: Stand::Waiting,
        }
    }

    /// Of a rack that has begun.
    pub(super) fn begun(rack: &'f Rack, batch: Batch) -> Self {
        Part {
            rack,
            start: None,
            names: batch.nodes.iter().map(|node| node.node.clone()).collect(),
            stand: Stand::Begun(batch),
        }
    }
}

/// How it came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Over {
    /// Nothing is left to do.
    Ended,
    /// The wait ran out.
    OutOfTime,
    /// Ctrl-C.
    LetGo,
}

/// See the head of this file.
pub(super) struct Run<'f> {
    fleet: &'f Fleet,
    id: FleetId,
    stops: bool,
    live: Live,
    parts: RefCell<Vec<Part<'f>>>,
    /// Why no further rack begins.
    closed: RefCell<Option<String>>,
    gate: Semaphore,
}

impl<'f> Run<'f> {
    pub(super) fn new(fleet: &'f Fleet, id: FleetId, parts: Vec<Part<'f>>, stops: bool) -> Self {
        Run {
            fleet,
            id,
            stops,
            live: Live::new(&fleet.out),
            parts: RefCell::new(parts),
            closed: RefCell::new(None),
            gate: Semaphore::new(AT_ONCE),
        }
    }

    /// Begins what has not begun, so many racks at a time, follows all to the end and shows what
    /// became of it.
    ///
    /// # Errors
    /// Ctrl-C cannot be listened for.
    pub(super) async fn carry_out(
        &self,
        at_once: Option<usize>,
        waiting: Waiting,
    ) -> Result<Exit, Failure> {
        let mut signals = Signals::new([Signal::Int])
            .map_err(|e| Failure::Here(format!("cannot listen for Ctrl-C: {e}")))?;
        let places: Vec<usize> = (0..self.parts.borrow().len()).collect();
        let work = async {
            let at_once = at_once.unwrap_or(places.len());
            each_at_once(&places, at_once, async |place: &usize| {
                self.part(*place, waiting).await;
            })
            .await;
            Over::Ended
        };
        let interrupted = async {
            signals.next().await;
            Over::LetGo
        };
        let late = async {
            match waiting.patience() {
                Some(patience) => smol::Timer::after(patience).await,
                None => smol::future::pending().await,
            };
            Over::OutOfTime
        };
        let draw = async {
            while self.live.is_live() {
                self.live.draw(&self.picture());
                smol::Timer::after(DRAW_EVERY).await;
            }
            smol::future::pending().await
        };
        let over = or(or(work, interrupted), or(late, draw)).await;
        self.live.finish();
        if over != Over::Ended {
            self.tell_what_goes_on(over);
        }
        if over == Over::LetGo && second(&mut signals, self.fleet.out.live).await {
            let racks = self.racks(|stand| matches!(stand, Stand::Begun(_) | Stand::Asked));
            abort_all(&racks, self.id).await;
        }
        Ok(self.conclude(waiting).await)
    }

    async fn part(&self, place: usize, waiting: Waiting) {
        let closed = self.closed.borrow().clone();
        let waits = matches!(self.parts.borrow()[place].stand, Stand::Waiting);
        if let Some(why) = closed.filter(|_| waits) {
            self.set(place, Stand::NotBegun(why, Exit::Withdrawn));
            return;
        }
        if waits {
            self.begin(place).await;
        }
        let begun = match &self.parts.borrow()[place].stand {
            Stand::Begun(batch) => batch.clone(),
            _ => return,
        };
        if waiting != Waiting::No {
            self.follow(place, begun).await;
        }
    }

    async fn begin(&self, place: usize) {
        let (rack, start) = {
            let parts = self.parts.borrow();
            (parts[place].rack, parts[place].start.clone())
        };
        let Some(start) = start else { return };
        self.set(place, Stand::Asked);
        let client = rack.client.under(&self.id.request());
        let answer = {
            let _turn = self.gate.acquire().await;
            client.start_batch(&start).await
        };
        let stand = match answer {
            Ok(batch) => Stand::Begun(batch),
            Err(why) if is_no(&why) => Stand::NotBegun(why.to_string(), why.exit()),
            Err(why) => self.look_for(rack, why).await,
        };
        match &stand {
            Stand::NotBegun(why, _) => self.live.say(&format!("{}: not begun: {why}", rack.name)),
            Stand::Unsure(why) => self.live.say(&format!("{}: {why}", rack.name)),
            _ => {}
        }
        if !matches!(stand, Stand::Begun(_)) {
            self.failed(rack);
        }
        self.set(place, stand);
    }

    /// After a request that nobody answered: whether the rack knows of the batch. It is never asked
    /// for it again.
    async fn look_for(&self, rack: &Rack, why: Failure) -> Stand {
        let text = "it is looked at until it says whether that began";
        self.live.say(&format!("{}: {why}; {text}", rack.name));
        let until = Instant::now() + RESTART_BUDGET;
        let mut missed = 0;
        while Instant::now() < until && missed < MISSES {
            smol::Timer::after(RESTART_RETRY).await;
            let _turn = self.gate.acquire().await;
            match rack.client.batches().await {
                Ok(batches) => {
                    let ours = |batch: &Batch| FleetId::of(batch) == Some(self.id);
                    if let Some(batch) = batches.into_iter().find(ours) {
                        return Stand::Begun(batch);
                    }
                    missed += 1;
                }
                Err(_) => missed = 0,
            }
        }
        match why {
            // What the connection carried went down with it.
            Failure::Broken { .. } if missed == MISSES => {
                let text = format!("{why}; it knows of no such batch");
                Stand::NotBegun(text, Exit::Unreachable)
            }
            _ => Stand::Unsure(format!(
                "{why}; it was asked, and may have begun (rackbmc --fleet batch {} tells once it answers)",
                self.id
            )),
        }
    }

    async fn follow(&self, place: usize, mut batch: Batch) {
        let rack = self.parts.borrow()[place].rack;
        let mut away: Option<Instant> = None;
        while !has_ended(&batch) {
            smol::Timer::after(LOOK_EVERY).await;
            let seen = {
                let _turn = self.gate.acquire().await;
                rack.client.batch(batch.id).await
            };
            match seen {
                Ok(seen) => {
                    if away.take().is_some() {
                        self.live.say(&format!("{} is back", rack.name));
                    }
                    batch = seen;
                    self.set(place, Stand::Begun(batch.clone()));
                }
                Err(why)
                    if why.may_pass() && away.is_none_or(|at| at.elapsed() < RESTART_BUDGET) =>
                {
                    if away.is_none() {
                        self.live.say(&format!(
                            "{}: {why}; its batch is in its journal: waiting for it to come back",
                            rack.name
                        ));
                        away = Some(Instant::now());
                    }
                }
                Err(why) => return self.lose(place, &why),
            }
        }
        let tasks = {
            let _turn = self.gate.acquire().await;
            tasks_of(rack, &batch).await
        };
        match tasks {
            Ok(tasks) => self.ended(place, batch, tasks),
            Err(why) => self.lose(place, &why),
        }
    }

    fn lose(&self, place: usize, why: &Failure) {
        let rack = self.parts.borrow()[place].rack;
        let text = format!("{why}; what has begun there goes on");
        self.live.say(&format!("{}: {text}", rack.name));
        self.failed(rack);
        self.set(place, Stand::Lost(text));
    }

    fn ended(&self, place: usize, batch: Batch, tasks: Vec<Task>) {
        let rack = self.parts.borrow()[place].rack;
        let (endings, refused) = show::endings_of(&batch, &tasks);
        let exits = tasks.iter().map(exit_of).chain([refused]);
        match Exit::worst(exits) {
            Exit::Done => {}
            Exit::Withdrawn => self.close(format!("what {} did was taken back", rack.name)),
            _ => self.failed(rack),
        }
        let line = crate::cli::results::summary(&endings);
        self.live.say(&format!("{}: {line}", rack.name));
        self.set(place, Stand::Ended(batch, tasks));
    }

    /// Something failed in a rack.
    fn failed(&self, rack: &Rack) {
        if self.stops {
            self.close(format!("{} failed (--on-failure stop)", rack.name));
        }
    }

    fn close(&self, why: String) {
        self.closed.borrow_mut().get_or_insert(why);
    }

    fn set(&self, place: usize, stand: Stand) {
        self.parts.borrow_mut()[place].stand = stand;
    }

    /// The racks whose part stands so.
    fn racks(&self, which: impl Fn(&Stand) -> bool) -> Vec<&'f Rack> {
        let parts = self.parts.borrow();
        let some = parts.iter().filter(|part| which(&part.stand));
        some.map(|part| part.rack).collect()
    }
}

/// Whether a failure says for certain that nothing began.
fn is_no(why: &Failure) -> bool {
    match why {
        // Something between may have said it: only the daemon's own words count.
        Failure::Refused(refusal) if refusal.status >= 500 => match refusal.kind.known() {
            None | Some(ErrorKind::Unremembered | ErrorKind::Internal) => false,
            Some(_) => true,
        },
        Failure::Timeout { .. } | Failure::Broken { .. } => false,
        _ => true,
    }
}

fn has_ended(batch: &Batch) -> bool {
    batch.ended_at.is_some() || batch.nodes.iter().all(|node| node.task.is_none())
}

/// The tasks of a batch, in the order of its nodes.
pub(super) async fn tasks_of(rack: &Rack, batch: &Batch) -> Result<Vec<Task>, Failure> {
    let ids: Vec<_> = batch.nodes.iter().filter_map(|node| node.task).collect();
    let mut tasks = Vec::with_capacity(ids.len());
    if ids.len() > LISTED {
        for id in ids {
            tasks.push(rack.client.task(id).await?);
        }
        return Ok(tasks);
    }
    let of_it = batch.id.to_string();
    let mut listed = rack
        .client
        .tasks(None, Some(&of_it), false, LISTED as u32)
        .await?;
    for id in ids {
        if let Some(place) = listed.iter().position(|task| task.id == id) {
            tasks.push(listed.swap_remove(place));
        }
    }
    Ok(tasks)
}

/// Whether Ctrl-C is pressed once more, which a person on a terminal is told to do.
async fn second(signals: &mut Signals, told: bool) -> bool {
    if told {
        crate::cli::output::say!(
            "(press Ctrl-C once more within {} s to abort what has begun)",
            SECOND_CTRL_C.as_secs()
        );
    }
    pressed_again(signals).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Refusal;
    use crate::model::Word;

    #[test]
    fn only_the_daemons_own_no_says_that_nothing_began() {
        let refused = |status, kind: &str| {
            is_no(&Failure::Refused(Refusal {
                status,
                kind: Word::of(kind),
                message: "no".into(),
            }))
        };
        assert!(refused(409, "node_locked"));
        assert!(refused(403, "not_permitted"));
        assert!(refused(503, "store"));
        assert!(refused(503, "paused"));
        // It was done.
        assert!(!refused(503, "unremembered"));
        // A proxy has no word for it.
        assert!(!refused(502, ""));
        assert!(!refused(504, ""));
        let at = || "mgmt1:6385".to_owned();
        assert!(is_no(&Failure::NobodyListens { at: at() }));
        let why = "the connection broke before an answer came".to_owned();
        assert!(!is_no(&Failure::Broken { at: at(), why }));
        let after = Duration::from_secs(30);
        assert!(!is_no(&Failure::Timeout { what: at(), after }));
    }
}
