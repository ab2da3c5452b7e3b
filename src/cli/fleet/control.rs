//! Controls over many racks: on what a fleet batch began, or on the tasks that have certain nodes.

mod wait;

use super::id::{FleetId, Found, Written, find};
use super::power::tell_silent;
use super::select::{Facts, select};
use super::{Fleet, Rack, tell};
use crate::cli::args;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::say;
use crate::cli::results;
use crate::cli::select::{Unnamed, each_of};
use crate::cli::tasks::{controlled_exit, is_id, nothing_to, on_a_node, tell_refusals};
use crate::model::{Batch, Control, Task};
use std::collections::HashMap;
use std::time::Duration;

/// How long a rack may take to carry a control out on all that is meant in it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tasks that a daemon lists with one answer.
const LISTED: u32 = 1000;

/// What came of a control.
#[derive(Default)]
struct Done<'f> {
    tasks: Vec<(&'f Rack, Task)>,
    exits: Vec<Exit>,
}

/// Uses a control on what is named.
pub(super) async fn control<'f>(
    fleet: &'f Fleet,
    control: Control,
    args: args::Control,
) -> Result<Exit, Failure> {
    let (ids, sets) = written(&args.targets.nodes)?;
    let mut done = Done::default();
    // All is found before anything is done.
    let mut found = Vec::new();
    for (word, id) in ids {
        found.push((word, find(fleet, id).await?));
    }
    let chosen = if !sets.is_empty() || args.targets.all || found.is_empty() {
        let mut wanted = args.targets.clone();
        wanted.nodes = sets;
        Some(select(fleet, &wanted, Unnamed::Mistake, Facts::Names).await?)
    } else {
        None
    };
    for (word, found) in found {
        let name = control.name();
        for (rack, why) in &found.silent {
            done.exits.push(tell(rack, why));
            say!(
                "{}: whether it has a part of {word} is not known: {name} was not asked for there",
                rack.name
            );
        }
        done.add(on_batches(control, word, &found).await);
    }
    if let Some(chosen) = chosen {
        done.exits.extend(tell_silent(&chosen, control.name()));
        let racks: Vec<&'f Rack> = chosen.chosen.iter().map(|chosen| chosen.rack).collect();
        let question = async |rack: &'f Rack| {
            let of_it = chosen
                .chosen
                .iter()
                .find(|chosen| chosen.rack.name == rack.name);
            let names = of_it.map(|chosen| chosen.names()).unwrap_or_default();
            on_nodes(rack, control, &names).await
        };
        for (rack, answer) in Fleet::asked(&racks, PATIENCE, question).await {
            match answer {
                Ok(in_rack) => done.add(in_rack),
                Err(why) => done.exits.push(unsure(rack, &why, control)),
            }
        }
    }
    if let Some(patience) = args.wait
        && !done.tasks.is_empty()
    {
        done.wait(fleet, control, patience).await?;
    }
    let tasks = done.tasks.into_iter();
    let tasks: Vec<Task> = tasks.map(|(rack, task)| rack.task(task)).collect();
    results::show(&fleet.out, &tasks, Vec::new());
    Ok(Exit::worst(done.exits))
}

type Ids<'w> = Vec<(&'w String, Written)>;

/// The ids of fleet batches among these words, and the rest of them.
fn written(words: &[String]) -> Result<(Ids<'_>, Vec<String>), Failure> {
    let (mut ids, mut sets) = (Vec::new(), Vec::new());
    for word in words {
        match Written::read(word) {
            Some(id) => ids.push((word, id)),
            // A uuid may be a node's, too.
            None if is_id(word) && word.contains(':') => return Err(of_one_rack(word)),
            None => sets.push(word.clone()),
        }
    }
    Ok((ids, sets))
}

/// Aborts what was begun under an id in these racks, and says what came of it.
pub(super) async fn abort_all(racks: &[&Rack], id: FleetId) {
    let question = async |rack: &Rack| {
        let batches = rack.client.batches().await?;
        let ours = batches.iter().find(|batch| FleetId::of(batch) == Some(id));
        match ours {
            Some(batch) => rack
                .client
                .control_batch(batch.id, Control::Abort)
                .await
                .map(Some),
            None => Ok(None),
        }
    };
    for (rack, answer) in Fleet::asked(racks, PATIENCE, question).await {
        match answer {
            Ok(Some(batch)) => {
                say!("{}: abort: {}", rack.name, batch.state);
                tell_refusals(&with_rack(rack, batch));
            }
            Ok(None) => say!("{}: nothing had begun there", rack.name),
            Err(why) => drop(unsure(rack, &why, Control::Abort)),
        }
    }
}

impl<'f> Done<'f> {
    /// Follows the tasks to their ends, which have to be what the control was for.
    async fn wait(
        &mut self,
        fleet: &Fleet,
        control: Control,
        patience: Option<Duration>,
    ) -> Result<(), Failure> {
        let tasks = std::mem::take(&mut self.tasks);
        let (tasks, lost) = wait::to_the_end(fleet, tasks, patience).await?;
        let ends = tasks.iter().map(|(_, task)| controlled_exit(control, task));
        self.exits.extend(ends.chain(lost));
        self.tasks = tasks;
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.tasks.extend(other.tasks);
        self.exits.extend(other.exits);
    }
}

fn of_one_rack(word: &str) -> Failure {
    Failure::Usage(format!(
        "{word} is an id of one rack: name the rack with --rack, or the node (r7/n03), or a fleet batch (f:...); nothing was done"
    ))
}

/// A control that was asked for, and of which nothing was heard.
fn unsure(rack: &Rack, why: &Failure, control: Control) -> Exit {
    let exit = tell(rack, why);
    if why.may_pass() {
        say!(
            "{}: {control} was asked for, and may have been carried out",
            rack.name
        );
    }
    exit
}

/// On the part that each rack has of a fleet batch. What has ended by itself in the meantime is
/// left alone.
async fn on_batches<'f>(control: Control, word: &str, found: &Found<'f>) -> Done<'f> {
    let mut done = Done::default();
    let open: Vec<&(&'f Rack, Batch)> = found
        .batches
        .iter()
        .filter(|(_, batch)| batch.ended_at.is_none())
        .collect();
    if open.is_empty() {
        let (why, exit) = match found.batches.is_empty() {
            true => (
                "no rack that answered remembers it".to_owned(),
                Exit::Failed,
            ),
            false => nothing_to(control),
        };
        say!("{word}: {why}");
        done.exits.push(exit);
        return done;
    }
    let racks: Vec<&'f Rack> = open.iter().map(|(rack, _)| *rack).collect();
    let question = async |rack: &'f Rack| {
        let of_it = open.iter().find(|(known, _)| known.name == rack.name);
        let (_, batch) = of_it.expect("asked for these racks alone");
        let batch = rack.client.control_batch(batch.id, control).await?;
        let tasks = super::run::tasks_of(rack, &batch).await?;
        Ok((batch, tasks))
    };
    for (rack, answer) in Fleet::asked(&racks, PATIENCE, question).await {
        match answer {
            Ok((batch, tasks)) => {
                done.exits.extend(tell_refusals(&with_rack(rack, batch)));
                done.tasks
                    .extend(tasks.into_iter().map(|task| (rack, task)));
            }
            Err(why) => done.exits.push(unsure(rack, &why, control)),
        }
    }
    done
}

/// On the tasks that have these nodes of a rack.
async fn on_nodes<'f>(
    rack: &'f Rack,
    control: Control,
    names: &[String],
) -> Result<Done<'f>, Failure> {
    let running = rack.client.tasks(None, None, true, LISTED).await?;
    let mut having: HashMap<&str, &Task> = HashMap::new();
    for task in &running {
        having.entry(&task.node).or_insert(task);
    }
    let each = each_of(names, async |name: &String| {
        let task = having.get(name.as_str())?;
        Some(rack.client.control(task.id, control).await)
    });
    let mut done = Done::default();
    for (name, answer) in names.iter().zip(each.await) {
        let full = rack.full(name);
        match answer {
            None => {
                let (word, exit) = nothing_to(control);
                say!("{full}: {word}");
                done.exits.push(exit);
            }
            Some(answer) => match on_a_node(&full, answer)? {
                Ok(task) => done.tasks.push((rack, task)),
                Err(exit) => done.exits.push(exit),
            },
        }
    }
    Ok(done)
}

/// The batch with its nodes as they are called where there are many racks.
pub(super) fn with_rack(rack: &Rack, mut batch: Batch) -> Batch {
    for node in &mut batch.nodes {
        let why = node.refused.take();
        node.refused = why.map(|why| {
            // It may name the node itself: once is enough.
            let own = format!("{}: ", node.node);
            why.strip_prefix(&own).map(str::to_owned).unwrap_or(why)
        });
        node.node = rack.full(&node.node);
    }
    batch
}
