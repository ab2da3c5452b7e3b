//! What is shown of a fleet batch: while it goes on, when its client lets go, and at the end.

use super::{Over, Part, Run, Stand, tasks_of};
use crate::cli::exit::Exit;
use crate::cli::fleet::{Fleet, PATIENCE};
use crate::cli::follow::exit_of;
use crate::cli::output::{cut, say};
use crate::cli::power::{Waiting, without_tasks};
use crate::cli::results::{self, Ending, Rank};
use crate::model::{Batch, Task, TaskState, Word, counted};
use crate::nodeset;

/// Live lines at once; the others are counted.
const LIVE_LINES: usize = 16;

/// What became of the nodes of a batch that has ended, by the names of their rack; what those
/// without a task mean.
pub(super) fn endings_of(batch: &Batch, tasks: &[Task]) -> (Vec<Ending>, Exit) {
    let (mut endings, refused) = without_tasks(batch);
    endings.extend(tasks.iter().map(Ending::of));
    (endings, refused)
}

impl Run<'_> {
    /// The live lines: a rack each, and a count of all.
    pub(super) fn picture(&self) -> String {
        let parts = self.parts.borrow();
        let under_way = parts.iter().filter_map(|part| match &part.stand {
            Stand::Asked => Some(format!("{}  asked to begin", part.rack.name)),
            Stand::Begun(batch) => Some(format!("{}  {}", part.rack.name, counts(batch))),
            _ => None,
        });
        let mut lines: Vec<String> = under_way.take(LIVE_LINES).collect();
        let of = |which: fn(&Stand) -> bool| parts.iter().filter(|part| which(&part.stand)).count();
        let waiting = of(|stand| matches!(stand, Stand::Waiting));
        let under_way = of(|stand| matches!(stand, Stand::Asked | Stand::Begun(_)));
        lines.push(format!(
            "{}: {} ended, {under_way} under way, {waiting} not begun",
            counted(parts.len(), "rack"),
            parts.len() - waiting - under_way
        ));
        let lines = lines.iter().map(|line| cut(line, self.live.width()));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Says what goes on without this client, what does not, and how to stop it.
    pub(super) fn tell_what_goes_on(&self, over: Over) {
        let named = |which: fn(&Stand) -> bool| {
            let racks = self.racks(which);
            (!racks.is_empty()).then(|| nodeset::fold(racks.iter().map(|rack| rack.name.as_str())))
        };
        let begun = named(|stand| matches!(stand, Stand::Begun(_)));
        let asked = named(|stand| matches!(stand, Stand::Asked));
        let waiting = named(|stand| matches!(stand, Stand::Waiting));
        let head = match over {
            Over::OutOfTime => "the wait ran out",
            Over::LetGo | Over::Ended => "let go",
        };
        let mut said = Vec::new();
        said.extend(begun.map(|racks| format!("what has begun goes on: {racks}")));
        said.extend(asked.map(|racks| format!("asked, and may have begun: {racks}")));
        said.extend(waiting.map(|racks| format!("not begun, and will not be: {racks}")));
        say!("\n{head}. {}", said.join("; "));
        say!("to stop it: rackbmc --fleet abort {}", self.id);
    }

    /// Shows what became of every node; what that means for the exit code.
    pub(super) async fn conclude(&self, waiting: Waiting) -> Exit {
        let (mut tasks, mut endings, mut exits) = (Vec::new(), Vec::new(), Vec::new());
        let under_way = self.under_way().await;
        for (place, part) in self.parts.borrow().iter().enumerate() {
            let (own, without, exit) = match &part.stand {
                Stand::Ended(batch, tasks) => of_batch(batch, tasks),
                Stand::Begun(batch) => match under_way.iter().find(|(at, _)| *at == place) {
                    Some((_, tasks)) => of_batch(batch, tasks),
                    None => without(part, Rank::Open, "goes on", "", Exit::StillRunning),
                },
                Stand::Lost(why) => without(part, Rank::Open, "goes on", why, Exit::Unreachable),
                Stand::NotBegun(why, exit) => {
                    let rank = match exit {
                        Exit::Withdrawn => Rank::Withdrawn,
                        _ => Rank::Failed,
                    };
                    without(part, rank, "not begun", why, *exit)
                }
                Stand::Unsure(why) => {
                    without(part, Rank::Failed, "may have begun", why, Exit::Unreachable)
                }
                Stand::Asked => without(
                    part,
                    Rank::Failed,
                    "may have begun",
                    "its rack had not answered yet",
                    Exit::StillRunning,
                ),
                Stand::Waiting => {
                    without(part, Rank::Withdrawn, "not begun", "", Exit::StillRunning)
                }
            };
            // Nobody wanted to wait for it: that it runs is what was asked for.
            let runs = waiting == Waiting::No && exit == Exit::StillRunning;
            exits.push(if runs { Exit::Done } else { exit });
            let rack = part.rack;
            tasks.extend(own.into_iter().map(|task| Task {
                node: rack.full(&task.node),
                ..task
            }));
            endings.extend(without.into_iter().map(|ending| Ending {
                node: rack.full(&ending.node),
                ..ending
            }));
        }
        results::show(&self.fleet.out, &tasks, endings);
        Exit::worst(exits)
    }

    /// The tasks of what goes on, as far as their racks tell them soon.
    async fn under_way(&self) -> Vec<(usize, Vec<Task>)> {
        let begun: Vec<_> = {
            let parts = self.parts.borrow();
            let begun = parts.iter().enumerate();
            let begun = begun.filter_map(|(place, part)| match &part.stand {
                Stand::Begun(batch) => Some((place, part.rack, batch.clone())),
                _ => None,
            });
            begun.collect()
        };
        let racks: Vec<_> = begun.iter().map(|(_, rack, _)| *rack).collect();
        let question = async |rack: &super::Rack| {
            let of_it = begun.iter().find(|(_, known, _)| known.name == rack.name);
            let (place, _, batch) = of_it.expect("asked for these racks alone");
            Ok((*place, tasks_of(rack, batch).await?))
        };
        let answers = Fleet::asked(&racks, PATIENCE, question).await;
        answers
            .into_iter()
            .filter_map(|(_, answer)| answer.ok())
            .collect()
    }
}

/// `12 of 64 ended, 40 running, 2 failed`.
fn counts(batch: &Batch) -> String {
    let is_end = |state: &str| {
        let known = Word::<TaskState>::of(state).known();
        known.is_some_and(TaskState::is_end)
    };
    let all: u32 = batch.counts.values().sum();
    let ended = batch.counts.iter().filter(|(state, _)| is_end(state));
    let ended: u32 = ended.map(|(_, count)| count).sum();
    let mut said = vec![format!("{ended} of {all} ended")];
    let others = batch
        .counts
        .iter()
        .filter(|(state, count)| **count > 0 && state.as_str() != TaskState::Succeeded.name());
    said.extend(others.map(|(state, count)| format!("{count} {state}")));
    said.join(", ")
}

fn of_batch(batch: &Batch, tasks: &[Task]) -> (Vec<Task>, Vec<Ending>, Exit) {
    let (without, refused) = without_tasks(batch);
    let exits = tasks.iter().map(exit_of).chain([refused]);
    (tasks.to_vec(), without, Exit::worst(exits))
}

/// The nodes of a rack none of whose tasks is known.
fn without(
    part: &Part<'_>,
    rank: Rank,
    word: &str,
    why: &str,
    exit: Exit,
) -> (Vec<Task>, Vec<Ending>, Exit) {
    let endings = part.names.iter();
    let endings = endings.map(|name| Ending::without_task(name, rank, word, why));
    (Vec::new(), endings.collect(), exit)
}
