//! A world under watch: what is asked of it is noted, its answers are judged, and every instant is
//! looked at.

use super::{Row, Watch};
use crate::world::{World, millis, secs, who};
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::model::{BatchId, Control, HistoryKind, TaskId, TaskState};
use rackbmcd::rack::call::{Answer, Call, CallId, Look};
use rackbmcd::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was asked for and is to be noted when it is answered.
pub(crate) enum Asked {
    /// A control on one task, and the place in the list of datagrams at which it was asked for.
    Control(TaskId, Control, usize),
    Batch(u32, Duration),
    /// A task with a timeout of its own.
    Timed,
    /// One of Ironic's words to abort, and what the table wants of it.
    Abort(Row),
    Pause(usize),
    Other,
}

/// See the head of this file.
pub(crate) struct Watched {
    pub world: World,
    pub watch: Watch,
    pub batches: Vec<BatchId>,
    asked: BTreeMap<CallId, Asked>,
}

impl Watched {
    /// The world from now on.
    pub(crate) fn new(world: World) -> Self {
        Self {
            world,
            watch: Watch::default(),
            batches: Vec::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Lets the world go on, looking at every instant.
    pub(crate) fn run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.world.now + time;
        self.run_until(end, |_| false).map(|_| ())
    }

    /// Lets the world go on until `done` or `end`, looking at every instant; whether it was done.
    pub(crate) fn run_until(
        &mut self,
        end: Instant,
        mut done: impl FnMut(&mut World) -> bool,
    ) -> Result<bool, String> {
        let (watch, asked, batches) = (&mut self.watch, &mut self.asked, &mut self.batches);
        let mut broken = None;
        let ended = self.world.run_until(end, |world| {
            let looked =
                take_answers(world, watch, asked, batches).and_then(|()| watch.look(world));
            broken = looked.err();
            broken.is_some() || done(world)
        });
        match broken {
            Some(why) => Err(format!("at {:?}: {why}", self.world.now)),
            None => Ok(ended),
        }
    }

    pub(crate) fn ask(&mut self, call: Call, asked: Asked) {
        let id = self.world.ask(call);
        self.asked.insert(id, asked);
    }

    /// One of Ironic's words to abort is about to be asked for on a node.
    pub(crate) fn abort_by(&mut self, node: &str, word: PowerTarget) -> Asked {
        let id = self.world.ask(Call::Look(Look::Node(node.to_owned())));
        let Some(Ok(Answer::Node(view))) = self.world.take_answer(id) else {
            return Asked::Other;
        };
        let target = view.target_power_state.and_then(|target| target.known());
        let row = self.watch.row_of(word, view.rackbmcd.task, target);
        row.map_or(Asked::Other, Asked::Abort)
    }

    pub(crate) fn control(&mut self, task: TaskId, control: Control) {
        let from = Watch::quiet_from(&self.world);
        if matches!(control, Control::Resume | Control::Rollback) {
            self.watch.unquiet(task);
            // A suspension whose answer is still to come promises nothing for the time after this.
            self.asked
                .retain(|_, asked| !matches!(asked, Asked::Control(of, ..) if *of == task));
        }
        let who = who();
        self.ask(
            Call::Control { task, control, who },
            Asked::Control(task, control, from),
        );
    }

    /// A batch's control may make any of its tasks go on.
    pub(crate) fn unquiet_all(&mut self) {
        let active: Vec<TaskId> = self.watch.active.iter().copied().collect();
        for id in active {
            self.watch.unquiet(id);
        }
        self.asked
            .retain(|_, asked| !matches!(asked, Asked::Control(..)));
    }

    pub(crate) fn pause(&mut self, reason: &str) {
        let from = Watch::quiet_from(&self.world);
        let reason = reason.to_owned();
        self.ask(Call::Pause { reason, who: who() }, Asked::Pause(from));
    }

    pub(crate) fn release(&mut self) {
        self.watch.pause(None, self.world.now);
        self.asked
            .retain(|_, asked| !matches!(asked, Asked::Pause(_)));
        self.unquiet_all();
        self.ask(Call::Release { who: who() }, Asked::Other);
    }

    /// A stop as the service manager makes it, and a start after `away`: all that there was is
    /// there then.
    pub(crate) fn stop(&mut self, away: Option<Duration>) -> Result<(), String> {
        self.watch.stopping = Some(Watch::quiet_from(&self.world));
        let now = self.world.now;
        self.world.rack().stop(now);
        // A BMC that says nothing is not waited for any longer.
        let end = now + secs(10);
        while !self.world.rack().is_quiet() && self.world.now < end {
            self.run(millis(50))?;
            if !self.world.is_running() {
                return self.crash(away);
            }
        }
        if self.world.rack().is_quiet() {
            self.watch.all_is_durable()?;
        }
        self.crash(away)
    }

    /// The daemon's process stands still for so long: what comes meanwhile is lost, or read
    /// afterwards.
    pub(crate) fn stand_still(&mut self, gap: Duration, catches_up: bool) -> Result<(), String> {
        self.watch.look(&mut self.world)?;
        self.watch.pass(self.world.now);
        self.watch
            .stood_still(self.world.now + gap, self.world.left.len());
        match catches_up {
            true => self.world.stand_still_and_catch_up(gap),
            false => self.world.stand_still(gap),
        }
        self.watch.look(&mut self.world)
    }

    /// Nothing in a node's history is put down to nobody.
    pub(crate) fn nothing_is_unexplained(&mut self, node: &str) -> Result<(), String> {
        let history = self.world.history(node);
        let drift = history
            .into_iter()
            .find(|entry| entry.kind.known() == Some(HistoryKind::Drift) && entry.task.is_none());
        drift.map_or(Ok(()), |entry| {
            Err(format!("blamed on nobody: {}", entry.text))
        })
    }

    /// The daemon is killed, if it still runs, and started again after `away`.
    pub(crate) fn crash(&mut self, away: Option<Duration>) -> Result<(), String> {
        self.watch.look(&mut self.world)?;
        self.watch.before_crash(self.world.now);
        self.world.crash();
        self.watch.stopping = None;
        self.asked.clear();
        if let Some(away) = away {
            self.world.run_for(away);
        }
        self.world.start();
        let call = Call::Look(Look::Tasks {
            node: None,
            batch: None,
            short: None,
            active: false,
            limit: usize::MAX,
        });
        let id = self.world.ask(call);
        let Some(Ok(Answer::Tasks(tasks))) = self.world.take_answer(id) else {
            return Err("the tasks are not told".to_owned());
        };
        let there: BTreeMap<TaskId, TaskState> = tasks
            .into_iter()
            .filter_map(|task| Some((task.id, task.state.known()?)))
            .collect();
        self.watch.after_crash(&self.world, &there)?;
        self.watch.look(&mut self.world)?;
        // A release that the disk did not take is not known any more.
        let id = self.world.ask(Call::Look(Look::Pausing));
        if let Some(Ok(Answer::Pausing(Some(_)))) = self.world.take_answer(id) {
            self.release();
        }
        Ok(())
    }
}

fn take_answers(
    world: &mut World,
    watch: &mut Watch,
    asked: &mut BTreeMap<CallId, Asked>,
    batches: &mut Vec<BatchId>,
) -> Result<(), String> {
    let ids: Vec<CallId> = asked.keys().copied().collect();
    for id in ids {
        let Some(answer) = world.take_answer(id) else {
            continue;
        };
        match (asked.remove(&id).expect("it was asked"), answer) {
            (Asked::Control(task, control, from), Ok(Answer::Task(view))) => match control {
                Control::Abort | Control::Cancel => {
                    if !view.ended {
                        return Err(format!(
                            "{task}: {control} answered, and it is {}",
                            view.state
                        ));
                    }
                    watch.quieted(task, control, from)?;
                }
                Control::Suspend => watch.quieted(task, control, from)?,
                Control::Resume | Control::Rollback => {}
            },
            (Asked::Batch(max_parallel, stagger), Ok(Answer::Batch(view))) => {
                watch.batch(view.id, max_parallel, stagger);
                batches.push(view.id);
            }
            (Asked::Timed, Ok(Answer::Task(view))) => watch.is_timed(view.id),
            (Asked::Timed, Ok(Answer::Taken(Some(taken)))) => watch.is_timed(taken.task),
            (Asked::Abort(row), Ok(Answer::Taken(taken)))
                if taken.is_some() != (row != Row::Nothing) =>
            {
                let ended = taken.map(|taken| taken.task);
                return Err(format!(
                    "an abort ended {ended:?}, and the table wants {row:?}"
                ));
            }
            (Asked::Pause(from), Ok(_)) => watch.pause(Some(from), world.now),
            _ => {}
        }
    }
    Ok(())
}
