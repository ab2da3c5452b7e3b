//! What a control was used on, followed until all of it has ended.
//!
//! Each rack is asked for itself. One that restarts meanwhile is waited for, one that stays away is
//! named, and nothing is changed by it that somebody waits or lets go.

use crate::cli::exit::{Exit, Failure};
use crate::cli::fleet::{AT_ONCE, Fleet, Rack, tell};
use crate::cli::follow::Live;
use crate::cli::output::{cut, say};
use crate::cli::patience::RESTART_BUDGET;
use crate::cli::results::{self, Ending};
use crate::cli::select::each_at_once;
use crate::model::{Task, counted};
use crate::nodeset;
use async_signal::{Signal, Signals};
use smol::future::or;
use smol::lock::Semaphore;
use smol::stream::StreamExt;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Time between two looks at a rack.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time between two drawings.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// The tasks of one rack.
struct Part<'f> {
    rack: &'f Rack,
    tasks: RefCell<Vec<Task>>,
}

impl Part<'_> {
    fn open(&self) -> usize {
        self.tasks
            .borrow()
            .iter()
            .filter(|task| !task.ended)
            .count()
    }
}

/// Follows tasks until all have ended, the wait runs out or somebody presses Ctrl-C: how each was
/// seen last, and what racks mean for the exit code that could not be asked any more.
///
/// # Errors
/// Ctrl-C cannot be listened for.
pub(super) async fn to_the_end<'f>(
    fleet: &Fleet,
    tasks: Vec<(&'f Rack, Task)>,
    patience: Option<Duration>,
) -> Result<(Vec<(&'f Rack, Task)>, Vec<Exit>), Failure> {
    let mut signals = Signals::new([Signal::Int])
        .map_err(|e| Failure::Here(format!("cannot listen for Ctrl-C: {e}")))?;
    let parts = by_rack(tasks);
    let live = Live::new(&fleet.out);
    let lost = RefCell::new(Vec::new());
    let gate = Semaphore::new(AT_ONCE);
    let work = async {
        each_at_once(&parts, parts.len(), async |part: &Part<'f>| {
            if let Err(why) = follow(part, &gate, &live).await {
                lost.borrow_mut().push((part.rack, why));
            }
        })
        .await;
        None
    };
    let interrupted = async {
        signals.next().await;
        Some("let go")
    };
    let late = async {
        match patience {
            Some(patience) => smol::Timer::after(patience).await,
            None => smol::future::pending().await,
        };
        Some("the wait ran out")
    };
    let draw = async {
        while live.is_live() {
            live.draw(&picture(&parts, live.width()));
            smol::Timer::after(DRAW_EVERY).await;
        }
        smol::future::pending().await
    };
    let over = or(or(work, interrupted), or(late, draw)).await;
    live.finish();
    if let Some(why) = over {
        let open = parts.iter().filter(|part| part.open() > 0);
        let open = nodeset::fold(open.map(|part| part.rack.name.as_str()));
        say!("\n{why}: it goes on in {open}");
    }
    let lost = lost.take().into_iter();
    let exits = lost.map(|(rack, why)| tell(rack, &why)).collect();
    let seen = parts.into_iter().flat_map(|part| {
        let rack = part.rack;
        part.tasks
            .into_inner()
            .into_iter()
            .map(move |task| (rack, task))
    });
    Ok((seen.collect(), exits))
}

fn by_rack<'f>(tasks: Vec<(&'f Rack, Task)>) -> Vec<Part<'f>> {
    let mut parts: Vec<Part<'f>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (rack, task) in tasks {
        let place = *places.entry(&rack.name).or_insert_with(|| {
            parts.push(Part {
                rack,
                tasks: RefCell::default(),
            });
            parts.len() - 1
        });
        parts[place].tasks.get_mut().push(task);
    }
    parts
}

/// Looks at a rack until its tasks have ended.
async fn follow(part: &Part<'_>, gate: &Semaphore, live: &Live) -> Result<(), Failure> {
    let rack = part.rack;
    let mut away: Option<Instant> = None;
    while part.open() > 0 {
        smol::Timer::after(LOOK_EVERY).await;
        let looked = {
            let _turn = gate.acquire().await;
            look(part).await
        };
        match looked {
            Ok(()) => {
                if away.take().is_some() {
                    live.say(&format!("{} is back", rack.name));
                }
            }
            Err(why) if why.may_pass() && away.is_none_or(|at| at.elapsed() < RESTART_BUDGET) => {
                if away.is_none() {
                    let text = "its tasks are in its journal: waiting for it to come back";
                    live.say(&format!("{}: {why}; {text}", rack.name));
                    away = Some(Instant::now());
                }
            }
            Err(why) => return Err(why),
        }
    }
    let endings: Vec<Ending> = part.tasks.borrow().iter().map(Ending::of).collect();
    live.say(&format!("{}: {}", rack.name, results::summary(&endings)));
    Ok(())
}

/// How the tasks of a rack stand now. One that is among those that go on need not be asked for by
/// itself.
async fn look(part: &Part<'_>) -> Result<(), Failure> {
    let client = &part.rack.client;
    let active = client.tasks(None, None, true, super::LISTED).await?;
    let mut active: HashMap<_, Task> = active.into_iter().map(|task| (task.id, task)).collect();
    let open: Vec<_> = {
        let tasks = part.tasks.borrow();
        let open = tasks.iter().filter(|task| !task.ended);
        open.map(|task| task.id).collect()
    };
    for id in open {
        let seen = match active.remove(&id) {
            Some(task) => task,
            None => client.task(id).await?,
        };
        let mut tasks = part.tasks.borrow_mut();
        if let Some(known) = tasks.iter_mut().find(|known| known.id == id) {
            *known = seen;
        }
    }
    Ok(())
}

/// The live line.
fn picture(parts: &[Part<'_>], width: usize) -> String {
    let all: usize = parts.iter().map(|part| part.tasks.borrow().len()).sum();
    let open: usize = parts.iter().map(Part::open).sum();
    let racks = counted(parts.len(), "rack");
    cut(&format!("{} of {all} ended in {racks}", all - open), width)
}
