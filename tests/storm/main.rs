//! A rack in a storm: forty-eight nodes, links that lose, copy, delay, reorder and damage, BMCs in every mood, people
//! at the buttons, requests and controls at random, a disk that fills up, configurations that change, and a daemon that is
//! stopped and killed again and again, in virtual time.
//!
//! A seed is a whole story and its failure names it:
//!
//! ```text
//! STORM_SEED=1234 cargo test --test storm          one story alone
//! STORM_SEEDS=10000 cargo test --release --test storm -- --nocapture
//! ```
//!
//! `watch` says what must hold; `mischief` makes BMCs and people misbehave.

mod mischief;
mod watch;
#[path = "../world/mod.rs"]
mod world;

use mischief::{Dice, Mischief};
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::power::{Control, OnSoftTimeout, Operation, State};
use rackbmcd::rack::call::{
    Answer, BatchId, BatchRequest, Call, CallId, OnFailure, TaskId, Wishes,
};
use rackbmcd::rack::settings::NodeSettings;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use watch::Watch;
use world::{World, millis, name, secs, who};

/// What was asked for and is to be noted when it is answered.
enum Asked {
    /// A control on one task, and the place in the list of datagrams at which it was asked for.
    Control(TaskId, Control, usize),
    Batch(u32, Duration),
    Pause(usize),
    Other,
}

struct Storm {
    world: World,
    /// All the nodes that there ever are: a configuration may leave some of them out.
    all: Vec<NodeSettings>,
    watch: Watch,
    dice: Dice,
    asked: BTreeMap<CallId, Asked>,
    batches: Vec<BatchId>,
    broken: Option<String>,
}

/// What a story came to.
#[derive(Default)]
struct Story {
    tasks: u64,
    crashes: u64,
    datagrams: u64,
    virtual_time: Duration,
    ends: BTreeMap<&'static str, u64>,
}

impl Storm {
    fn new(seed: u64, nodes: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new(seed, nodes);
        world.crash();
        world.settings.max_transitions = 3 + dice.below(14) as u32;
        world.settings.power_on_stagger = millis(100 + dice.below(900));
        for (place, node) in world.nodes.iter_mut().enumerate() {
            node.nmi_min_interval = secs(10);
            node.groups = vec![["compute", "storage"][place % 2].to_owned()];
        }
        world.commit_takes = millis(1 + dice.below(60));
        for place in 0..nodes {
            mischief::settle_in(&mut world, place, &mut dice);
        }
        world.log = Some(Vec::new());
        world.start();
        Storm {
            all: world.nodes.clone(),
            world,
            watch: Watch::default(),
            dice,
            asked: BTreeMap::new(),
            batches: Vec::new(),
            broken: None,
        }
    }

    /// Lets the world go on, looking at every instant.
    fn run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.world.now + time;
        let (watch, asked, broken) = (&mut self.watch, &mut self.asked, &mut self.broken);
        let batches = &mut self.batches;
        self.world.run_until(end, |world| {
            let looked =
                take_answers(world, watch, asked, batches).and_then(|()| watch.look(world));
            *broken = looked.err();
            broken.is_some()
        });
        match self.broken.take() {
            Some(why) => Err(format!("at {:?}: {why}", self.world.now)),
            None => Ok(()),
        }
    }

    fn ask(&mut self, call: Call, asked: Asked) {
        let id = self.world.ask(call);
        self.asked.insert(id, asked);
    }

    fn turn(&mut self) -> Result<(), String> {
        let dice = &mut self.dice;
        let nodes = self.all.len() as u64;
        let active: Vec<TaskId> = self.watch.active.iter().copied().collect();
        match dice.below(100) {
            0..35 => {
                let node = name(dice.below(nodes) as usize);
                let wishes = wishes(dice);
                let who = who();
                let call = match dice.below(6) {
                    0 => Call::InjectNmi { node, who },
                    1 | 2 => {
                        let target = dice.pick(&PowerTarget::ALL);
                        Call::SetPower {
                            node,
                            change: target.change(),
                            wishes,
                            who,
                        }
                    }
                    _ => {
                        let operation = dice.pick(&Operation::ALL);
                        Call::Start {
                            node,
                            operation,
                            wishes,
                            who,
                        }
                    }
                };
                self.ask(call, Asked::Other);
            }
            35..42 => self.start_batch(),
            42..68 if !active.is_empty() => {
                let task = dice.pick(&active);
                let control = dice.pick(&[
                    Control::Abort,
                    Control::Cancel,
                    Control::Rollback,
                    Control::Rollback,
                    Control::Suspend,
                    Control::Suspend,
                    Control::Resume,
                    Control::Resume,
                    Control::Resume,
                ]);
                self.control(task, control);
            }
            68..72 if !self.batches.is_empty() => {
                let batch = dice.pick(&self.batches);
                let control = dice.pick(&Control::ALL);
                self.unquiet_all();
                let call = Call::ControlBatch {
                    batch,
                    control,
                    nodes: Vec::new(),
                    who: who(),
                };
                self.ask(call, Asked::Other);
            }
            72..74 => {
                let from = Watch::quiet_from(&self.world);
                let reason = "a storm".to_owned();
                self.ask(Call::Pause { reason, who: who() }, Asked::Pause(from));
                let pause = millis(self.dice.below(20_000));
                self.run(pause)?;
                self.release();
            }
            74..77 => {
                let node = name(dice.below(nodes) as usize);
                let hold = dice.chance(0.5).then(|| Some("being looked at".to_owned()));
                let who = who();
                self.ask(Call::SetMaintenance { node, hold, who }, Asked::Other);
            }
            77..82 => self.crash()?,
            82..83 => self.stop()?,
            83 => self.reload()?,
            84 => self.fill_the_disk()?,
            85..88 => {
                let node = name(dice.below(nodes) as usize);
                self.ask(Call::FreshNode(node), Asked::Other);
            }
            _ => {
                let place = dice.below(nodes) as usize;
                let mischief = Mischief::new(dice);
                if mischief.is_anothers_hand() {
                    self.watch.disturbed.insert(place, self.world.now);
                }
                mischief.befall(&mut self.world, place);
            }
        }
        let most = self.dice.peek(2_500);
        let pause = millis(self.dice.below(most));
        self.run(pause)
    }

    fn control(&mut self, task: TaskId, control: Control) {
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
    fn unquiet_all(&mut self) {
        let active: Vec<TaskId> = self.watch.active.iter().copied().collect();
        for id in active {
            self.watch.unquiet(id);
        }
        self.asked
            .retain(|_, asked| !matches!(asked, Asked::Control(..)));
    }

    fn start_batch(&mut self) {
        let dice = &mut self.dice;
        let nodes = self.all.len() as u64;
        let (first, count) = (dice.below(nodes), 2 + dice.below(nodes / 3 + 1));
        let names = (first..nodes.min(first + count)).map(|node| name(node as usize));
        let request = BatchRequest {
            operation: dice.pick(&Operation::ALL),
            nodes: names.collect(),
            wishes: wishes(dice),
            max_parallel: dice.below(5) as u32,
            stagger: millis(dice.below(3) * 700),
            on_failure: dice.pick(&[OnFailure::Continue, OnFailure::Stop]),
            order: if dice.chance(0.3) {
                vec!["storage".to_owned(), "compute".to_owned()]
            } else {
                Vec::new()
            },
            dry_run: dice.chance(0.2),
        };
        let asked = match request.dry_run {
            true => Asked::Other,
            false => Asked::Batch(request.max_parallel, request.stagger),
        };
        let who = who();
        self.ask(Call::StartBatch { request, who }, asked);
    }

    fn release(&mut self) {
        self.watch.pause(None, self.world.now);
        self.asked
            .retain(|_, asked| !matches!(asked, Asked::Pause(_)));
        self.unquiet_all();
        self.ask(Call::Release { who: who() }, Asked::Other);
    }

    /// The disk has no room for some time, in which it may be that nothing, or a crash, happens.
    fn fill_the_disk(&mut self) -> Result<(), String> {
        self.world.disk_full = Some("no space left on device");
        self.watch.disk_fails(true, self.world.now);
        let before = millis(self.dice.below(20_000));
        let mut run = self.run(before);
        if run.is_ok() && self.dice.chance(0.3) {
            run = self.crash();
        }
        if run.is_ok() {
            let after = millis(self.dice.below(20_000));
            run = self.run(after);
        }
        self.world.disk_full = None;
        self.watch.disk_fails(false, self.world.now);
        run
    }

    /// The configuration changes: limits, and nodes that come and go.
    fn reload(&mut self) -> Result<(), String> {
        let dice = &mut self.dice;
        let mut settings = self.world.settings.clone();
        settings.max_transitions = 3 + dice.below(14) as u32;
        settings.power_on_stagger = millis(100 + dice.below(900));
        let nodes: Vec<NodeSettings> = match dice.below(3) {
            0 => self.all.clone(),
            _ => {
                let without = [
                    dice.below(self.all.len() as u64),
                    dice.below(self.all.len() as u64),
                ];
                let kept = (0..).zip(&self.all).filter(|(at, _)| !without.contains(at));
                kept.map(|(_, node)| node.clone()).collect()
            }
        };
        let busy = nodes.len() < self.all.len();
        match self.world.reload(settings, nodes) {
            Ok(()) => self.watch.reloaded(),
            // A node with a task stays.
            Err(why) if busy && why.contains("is gone, but task") => {}
            Err(why) => return Err(format!("the configuration is not taken: {why}")),
        }
        self.run(millis(1))
    }

    /// A stop as the service manager makes it: all that there was is there at the next start.
    fn stop(&mut self) -> Result<(), String> {
        self.watch.stopping = Some(Watch::quiet_from(&self.world));
        let now = self.world.now;
        self.world.rack().stop(now);
        // A BMC that says nothing is not waited for any longer.
        let end = now + secs(10);
        while !self.world.rack().is_quiet() && self.world.now < end {
            self.run(millis(50))?;
        }
        if self.world.rack().is_quiet() {
            self.watch.all_is_durable()?;
        }
        self.crash()
    }

    fn crash(&mut self) -> Result<(), String> {
        self.watch.look(&mut self.world)?;
        self.watch.before_crash(self.world.now);
        self.world.crash();
        self.watch.stopping = None;
        self.asked.clear();
        if self.dice.chance(0.6) {
            let away = millis(self.dice.below(30_000));
            self.world.run_for(away);
        }
        self.world.start();
        let call = Call::Tasks {
            node: None,
            batch: None,
            active: false,
            limit: usize::MAX,
        };
        let id = self.world.ask(call);
        let Some(Ok(Answer::Tasks(tasks))) = self.world.take_answer(id) else {
            return Err("the tasks are not told".to_owned());
        };
        let there = tasks
            .into_iter()
            .filter_map(|task| Some((task.id, task.state.known()?)))
            .collect();
        self.watch.after_crash(&self.world, &there)?;
        self.watch.look(&mut self.world)?;
        // A release that the disk did not take is not known any more.
        let id = self.world.ask(Call::Pausing);
        if let Some(Ok(Answer::Pausing(Some(_)))) = self.world.take_answer(id) {
            self.release();
        }
        Ok(())
    }

    /// The storm is over: everybody may go on, and everything must end.
    fn clear_up(&mut self) -> Result<(), String> {
        let settings = self.world.settings.clone();
        self.world.reload(settings, self.all.clone())?;
        self.release();
        for place in 0..self.all.len() {
            let (node, who) = (name(place), who());
            let hold = None;
            self.ask(Call::SetMaintenance { node, hold, who }, Asked::Other);
        }
        let end = self.world.now + secs(3 * 3600);
        while !self.watch.active.is_empty() {
            if self.world.now >= end {
                let id = self.watch.active.first().expect("there is one");
                let view = self.world.task(*id);
                return Err(format!("{id} does not end: {view:#?}"));
            }
            let suspended: Vec<TaskId> = self.watch.active.iter().copied().collect();
            for id in suspended {
                let seen = &self.watch.tasks[&id];
                if seen.state == State::Suspended && !seen.resuming {
                    self.control(id, Control::Resume);
                }
            }
            self.run(secs(5))?;
        }
        self.run(secs(10))?;
        // What was said at the end is what is known after a restart.
        self.watch.all_is_durable()?;
        self.crash()
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
            (Asked::Pause(from), Ok(_)) => watch.pause(Some(from), world.now),
            _ => {}
        }
    }
    Ok(())
}

fn wishes(dice: &mut Dice) -> Wishes {
    let mut some = |chance: f64, from: u64, to: u64| {
        dice.chance(chance)
            .then(|| secs(from + dice.below(to - from)))
    };
    Wishes {
        timeout: some(0.8, 3, 120),
        repeat_soft_after: some(0.2, 1, 40),
        hard_after: some(0.2, 5, 80),
        on_soft_timeout: some(0.2, 0, 1).map(|_| OnSoftTimeout::HardPowerOff),
    }
}

fn storm(seed: u64, nodes: usize, turns: u64) -> Result<Story, String> {
    let mut storm = Storm::new(seed, nodes);
    let began = storm.world.now;
    storm.run(millis(5_000))?;
    for _ in 0..turns {
        storm.turn()?;
    }
    storm.clear_up()?;
    storm.watch.judge_machines(&mut storm.world)?;
    Ok(Story {
        tasks: storm.watch.tasks.len() as u64,
        crashes: storm.watch.crashes,
        datagrams: storm.world.left.len() as u64,
        virtual_time: storm.world.now - began,
        ends: storm.watch.ends,
    })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

#[test]
fn every_promise_holds_in_a_storm() {
    let nodes = number("STORM_NODES").unwrap_or(48) as usize;
    let turns = number("STORM_TURNS").unwrap_or(150);
    if let Some(seed) = number("STORM_SEED") {
        let story = storm(seed, nodes, turns).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        println!("seed {seed}: {} tasks, ends {:?}", story.tasks, story.ends);
        return;
    }
    let first = number("STORM_FROM").unwrap_or(1);
    let last = first + number("STORM_SEEDS").unwrap_or(20);
    let most = number("STORM_FAILURES").unwrap_or(1);
    let next = AtomicU64::new(first);
    let failures = std::sync::Mutex::new(Vec::new());
    let total = std::sync::Mutex::new(Story::default());
    let began = std::time::Instant::now();
    let verbose = number("STORM_VERBOSE").is_some();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last || failures.lock().unwrap().len() as u64 >= most {
                        return;
                    }
                    if verbose {
                        println!("seed {seed} at {:?}", began.elapsed());
                    }
                    let told = std::panic::catch_unwind(|| storm(seed, nodes, turns));
                    match told.unwrap_or_else(|_| Err("it panicked".to_owned())) {
                        Ok(story) => total.lock().unwrap().add(&story),
                        Err(why) => {
                            println!("seed {seed}: {why}");
                            failures.lock().unwrap().push(format!("seed {seed}: {why}"));
                        }
                    }
                }
            });
        }
    });
    let (total, failures) = (total.into_inner().unwrap(), failures.into_inner().unwrap());
    println!(
        "{} stories in {:?}: {} tasks, {} crashes, {} datagrams, {:?} of virtual time, ends {:?}",
        next.load(Ordering::Relaxed).min(last) - first,
        began.elapsed(),
        total.tasks,
        total.crashes,
        total.datagrams,
        total.virtual_time,
        total.ends
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

impl Story {
    fn add(&mut self, other: &Story) {
        self.tasks += other.tasks;
        self.crashes += other.crashes;
        self.datagrams += other.datagrams;
        self.virtual_time += other.virtual_time;
        for (end, count) in &other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }
}
