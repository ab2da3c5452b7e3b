//! A rack in a storm: forty-eight nodes, links that lose, copy, delay, reorder and damage, BMCs in
//! every mood, people at the buttons, requests and controls at random, a disk that fills up,
//! configurations that change, and a daemon that is stopped and killed again and again, in virtual
//! time.
//!
//! A seed is a whole story and its failure names it:
//!
//! ```text
//! STORM_SEED=1234 cargo test --test storm          one story alone
//! STORM_SEEDS=10000 cargo test --release --test storm -- --nocapture
//! ```
//!
//! `tests/watch` says what must hold; `mischief` makes BMCs and people misbehave.

mod mischief;
#[path = "../watch/mod.rs"]
mod watch;
#[path = "../world/mod.rs"]
mod world;

use mischief::{Dice, Mischief};
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::model::{
    BatchStart, Control, OnBusy, OnFailure, OnSoftTimeout, Operation, PowerOptions, TakeOver,
    TaskId, TaskState,
};
use rackbmcd::rack::call::{Call, PowerChange};
use rackbmcd::rack::settings::NodeSettings;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use watch::{Asked, Watched};
use world::{World, millis, name, secs, who};

struct Storm {
    watched: Watched,
    /// All the nodes that there ever are: a configuration may leave some of them out.
    all: Vec<NodeSettings>,
    dice: Dice,
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
            node.groups = vec![["compute", "storage"][place % 2].to_owned()].into();
        }
        world.commit_takes = millis(1 + dice.below(60));
        for place in 0..nodes {
            mischief::settle_in(&mut world, place, &mut dice);
        }
        world.log = Some(Vec::new());
        world.start();
        Self {
            all: world.nodes.clone(),
            watched: Watched::new(world),
            dice,
        }
    }

    fn turn(&mut self) -> Result<(), String> {
        let dice = &mut self.dice;
        let nodes = self.all.len() as u64;
        let active: Vec<TaskId> = self.watched.watch.active.iter().copied().collect();
        match dice.below(100) {
            0..35 => {
                let node = name(dice.below(nodes) as usize);
                let options = options(dice);
                let who = who();
                let mut asked = match options.timeout {
                    Some(_) => Asked::Timed,
                    None => Asked::Other,
                };
                let call = match dice.below(6) {
                    0 => {
                        asked = Asked::Other;
                        Call::InjectNmi { node, who }
                    }
                    1 | 2 => {
                        let target = dice.pick(&PowerTarget::ALL);
                        let change = target.change();
                        if matches!(change, PowerChange::Abort(_)) {
                            asked = self.watched.abort_by(&node, target);
                        }
                        Call::SetPower {
                            node,
                            change,
                            options,
                            who,
                        }
                    }
                    _ => {
                        let operation = dice.pick(&Operation::ALL);
                        Call::Start {
                            node,
                            operation,
                            options,
                            who,
                        }
                    }
                };
                self.watched.ask(call, asked);
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
                self.watched.control(task, control);
            }
            68..72 if !self.watched.batches.is_empty() => {
                let batch = dice.pick(&self.watched.batches);
                let control = dice.pick(&Control::ALL);
                self.watched.unquiet_all();
                let call = Call::ControlBatch {
                    batch,
                    control,
                    nodes: Vec::new(),
                    who: who(),
                };
                self.watched.ask(call, Asked::Other);
            }
            72..74 => {
                self.watched.pause("a storm");
                let pause = millis(self.dice.below(20_000));
                self.watched.run(pause)?;
                self.watched.release();
            }
            74..77 => {
                let node = name(dice.below(nodes) as usize);
                let hold = dice.chance(0.5).then(|| Some("being looked at".to_owned()));
                let who = who();
                self.watched
                    .ask(Call::SetMaintenance { node, hold, who }, Asked::Other);
            }
            77..82 => self.crash()?,
            82..83 => self.stop()?,
            83 => self.reload()?,
            84 => self.fill_the_disk()?,
            85..88 => {
                let node = name(dice.below(nodes) as usize);
                self.watched.ask(Call::FreshNode(node), Asked::Other);
            }
            _ => {
                let place = dice.below(nodes) as usize;
                let mischief = Mischief::new(dice);
                if mischief.is_anothers_hand() {
                    self.watched
                        .watch
                        .disturbed
                        .insert(place, self.watched.world.now);
                }
                mischief.befall(&mut self.watched.world, place);
            }
        }
        let most = self.dice.peek(2_500);
        let pause = millis(self.dice.below(most));
        self.watched.run(pause)
    }

    fn start_batch(&mut self) {
        let dice = &mut self.dice;
        let nodes = self.all.len() as u64;
        let (first, count) = (dice.below(nodes), 2 + dice.below(nodes / 3 + 1));
        let names = (first..nodes.min(first + count)).map(|node| name(node as usize));
        let request = BatchStart {
            operation: dice.pick(&Operation::ALL),
            nodes: names.collect(),
            options: options(dice),
            max_parallel: dice.below(5) as u32,
            stagger: millis(dice.below(3) * 700),
            on_failure: dice.pick(&[OnFailure::Continue, OnFailure::Stop]),
            order: if dice.chance(0.3) {
                vec!["storage".to_owned(), "compute".to_owned()]
            } else {
                Vec::new()
            },
            exclude: Vec::new(),
            dry_run: dice.chance(0.2),
        };
        let asked = match request.dry_run {
            true => Asked::Other,
            false => Asked::Batch(request.max_parallel, request.stagger),
        };
        let who = who();
        self.watched.ask(Call::StartBatch { request, who }, asked);
    }

    /// The disk has no room for some time, in which it may be that nothing, or a crash, happens.
    fn fill_the_disk(&mut self) -> Result<(), String> {
        self.watched.world.disk_full = Some("no space left on device");
        self.watched.watch.disk_fails(true, self.watched.world.now);
        let before = millis(self.dice.below(20_000));
        let mut run = self.watched.run(before);
        if run.is_ok() && self.dice.chance(0.3) {
            run = self.crash();
        }
        if run.is_ok() {
            let after = millis(self.dice.below(20_000));
            run = self.watched.run(after);
        }
        self.watched.world.disk_full = None;
        self.watched.watch.disk_fails(false, self.watched.world.now);
        run
    }

    /// The configuration changes: limits, and nodes that come and go.
    fn reload(&mut self) -> Result<(), String> {
        let dice = &mut self.dice;
        let mut settings = self.watched.world.settings.clone();
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
        match self.watched.world.reload(settings, nodes) {
            Ok(()) => self.watched.watch.reloaded(),
            // A node with a task stays.
            Err(why) if busy && why.contains("is gone, but task") => {}
            Err(why) => return Err(format!("the configuration is not taken: {why}")),
        }
        self.watched.run(millis(1))
    }

    fn crash(&mut self) -> Result<(), String> {
        let away = self.away();
        self.watched.crash(away)
    }

    fn stop(&mut self) -> Result<(), String> {
        let away = self.away();
        self.watched.stop(away)
    }

    /// How long the daemon is away.
    fn away(&mut self) -> Option<Duration> {
        let dice = &mut self.dice;
        dice.chance(0.6).then(|| millis(dice.below(30_000)))
    }

    /// The storm is over: everybody may go on, and everything must end.
    fn clear_up(&mut self) -> Result<(), String> {
        let settings = self.watched.world.settings.clone();
        self.watched.world.reload(settings, self.all.clone())?;
        self.watched.release();
        for place in 0..self.all.len() {
            let (node, who) = (name(place), who());
            let hold = None;
            self.watched
                .ask(Call::SetMaintenance { node, hold, who }, Asked::Other);
        }
        let end = self.watched.world.now + secs(3 * 3600);
        while !self.watched.watch.active.is_empty() {
            if self.watched.world.now >= end {
                let id = self.watched.watch.active.first().expect("there is one");
                let view = self.watched.world.task(*id);
                return Err(format!("{id} does not end: {view:#?}"));
            }
            let suspended: Vec<TaskId> = self.watched.watch.active.iter().copied().collect();
            for id in suspended {
                let seen = &self.watched.watch.tasks[&id];
                if seen.state == TaskState::Suspended && !seen.resuming {
                    self.watched.control(id, Control::Resume);
                }
            }
            self.watched.run(secs(5))?;
        }
        self.watched.run(secs(10))?;
        // What was said at the end is what is known after a restart.
        self.watched.watch.all_is_durable()?;
        self.crash()
    }
}

fn options(dice: &mut Dice) -> PowerOptions {
    let mut some = |chance: f64, from: u64, to: u64| {
        dice.chance(chance)
            .then(|| secs(from + dice.below(to - from)))
    };
    PowerOptions {
        timeout: some(0.8, 3, 120),
        repeat_soft_after: some(0.2, 1, 40),
        hard_after: some(0.2, 5, 80),
        on_soft_timeout: some(0.2, 0, 1).map(|_| OnSoftTimeout::HardPowerOff),
        on_busy: dice.chance(0.1).then_some(OnBusy::TakeOver),
        take_over: dice
            .chance(0.1)
            .then(|| dice.pick(&[TakeOver::Running, TakeOver::Suspended])),
        ..PowerOptions::default()
    }
}

fn storm(seed: u64, nodes: usize, turns: u64) -> Result<Story, String> {
    let mut storm = Storm::new(seed, nodes);
    let began = storm.watched.world.now;
    storm.watched.run(millis(5_000))?;
    for _ in 0..turns {
        storm.turn()?;
    }
    storm.clear_up()?;
    storm
        .watched
        .watch
        .judge_machines(&mut storm.watched.world)?;
    Ok(Story {
        tasks: storm.watched.watch.tasks.len() as u64,
        crashes: storm.watched.watch.crashes,
        datagrams: storm.watched.world.left.len() as u64,
        virtual_time: storm.watched.world.now - began,
        ends: storm.watched.watch.ends,
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
    fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.crashes += other.crashes;
        self.datagrams += other.datagrams;
        self.virtual_time += other.virtual_time;
        for (end, count) in &other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }
}
