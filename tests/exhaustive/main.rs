//! Every placement of a fault: each operation is told once without any, which counts its datagrams,
//! commands, records and events, and then once more for each fault in each place. The promises of
//! the storm hold in every story, and the abort table row by row.
//!
//! ```text
//! cargo test --test exhaustive                                     evenly chosen stories with one fault
//! WALK_STORIES=all cargo test --test exhaustive -- --nocapture     every one of them
//! WALK_FAULTS=2 WALK_STORIES=100000 cargo test ...                 evenly chosen ones with two faults
//! WALK_ONLY='soft power off' ...                                   scenes with these words in their names
//! WALK_FAULT='late by 12s,stood still' ...                         faults with one of these words in their names
//! WALK_STORY='soft power off from on / datagram 7 lost' ...        that story alone
//! ```
//!
//! `scene` says what is told, `fault` what can go wrong, `story` how it is told and judged, `table`
//! what an abort does, `taken` what a request does that takes the node over.

mod fault;
mod found;
mod scene;
mod story;
mod table;
mod taken;
#[path = "../watch/mod.rs"]
mod watch;
#[path = "../world/mod.rs"]
mod world;

use fault::{Fault, Length};
use scene::Scene;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A scene and where its faults are.
struct Plan {
    scene: Scene,
    faults: Vec<Fault>,
}

impl Plan {
    /// The scene without any fault.
    fn of(scene: Scene) -> Self {
        let faults = Vec::new();
        Self { scene, faults }
    }

    fn name(&self) -> String {
        let faults = self.faults.iter().map(|fault| format!(" / {fault}"));
        format!("{}{}", self.scene, faults.collect::<String>())
    }

    /// Tells it: how long it was, or what was wrong.
    fn tell(&self) -> Result<Length, String> {
        let told =
            std::panic::catch_unwind(AssertUnwindSafe(|| story::tell(self.scene, &self.faults)));
        let length = told.unwrap_or_else(|_| Err("it panicked".to_owned()));
        length.map_err(|why| format!("{}: {why}", self.name()))
    }

    /// Tells it, where every promise has to hold: how long it was.
    fn holds(&self) -> Length {
        self.tell().unwrap_or_else(|why| panic!("{why}"))
    }

    fn with(&self, fault: Fault) -> Self {
        let (scene, mut faults) = (self.scene, self.faults.clone());
        faults.push(fault);
        Self { scene, faults }
    }
}

/// Tells all of them with the processors that there are; what each came to, in their order.
fn tell_all(plans: &[Plan], most_failures: usize) -> Vec<Result<Length, String>> {
    let next = AtomicUsize::new(0);
    let failures = AtomicUsize::new(0);
    let told = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(plan) = plans.get(at) else { return };
                    if failures.load(Ordering::Relaxed) >= most_failures {
                        return;
                    }
                    let came = plan.tell();
                    if let Err(why) = &came {
                        println!("{why}");
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                    told.lock().unwrap().push((at, came));
                }
            });
        }
    });
    let mut told = told.into_inner().unwrap();
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, came)| came).collect()
}

/// The stories with one more fault than these, which were so long: how many there are, and about
/// `most` of them: evenly chosen, half of them with what somebody does, of which there are many
/// more.
fn with_one_more(plans: &[Plan], lengths: &[Length], most: usize) -> (usize, Vec<Plan>) {
    let kinds = variable("WALK_FAULT").unwrap_or_default();
    let kinds: Vec<&str> = kinds.split(',').filter(|kind| !kind.is_empty()).collect();
    let is_wanted = |fault: &Fault| {
        kinds.is_empty() || kinds.iter().any(|kind| fault.to_string().contains(kind))
    };
    let placements = || {
        let told = plans.iter().zip(lengths);
        told.flat_map(|(plan, length)| {
            let faults = Fault::placements(*length).into_iter();
            let faults = faults.filter(is_wanted);
            faults.map(move |fault| (plan, fault))
        })
    };
    let mut all = [0, 0];
    placements().for_each(|(_, fault)| all[usize::from(fault.is_act())] += 1);
    let most = all.map(|all: usize| all.min(most.div_ceil(2)));
    let (mut chosen, mut share) = (Vec::new(), [0, 0]);
    for (plan, fault) in placements() {
        let kind = usize::from(fault.is_act());
        share[kind] += most[kind];
        if share[kind] >= all[kind] {
            share[kind] -= all[kind];
            chosen.push(plan.with(fault));
        }
    }
    (all[0] + all[1], chosen)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<usize> {
    variable(name).map(|value| value.parse().expect("a number"))
}

/// The story of that name.
fn named(name: &str) -> Plan {
    let mut parts = name.split(" / ");
    let scene = parts.next().unwrap_or_default();
    let scene = Scene::all()
        .into_iter()
        .find(|known| known.to_string() == scene)
        .unwrap_or_else(|| panic!("there is no scene '{scene}'"));
    let mut plan = Plan::of(scene);
    for part in parts {
        let length = plan.holds();
        let mut placements = Fault::placements(length).into_iter();
        let fault = placements.find(|fault| fault.to_string() == part);
        plan = plan.with(fault.unwrap_or_else(|| panic!("there is no place for '{part}'")));
    }
    plan
}

#[test]
fn every_promise_holds_wherever_one_thing_goes_wrong() {
    if let Some(name) = variable("WALK_STORY") {
        let plan = named(&name);
        plan.holds();
        return println!("{}: every promise held", plan.name());
    }
    let most = match variable("WALK_STORIES").as_deref() {
        Some("all") => usize::MAX,
        Some(number) => number.parse().expect("a number, or all"),
        None => 1_500,
    };
    let most_failures = number("WALK_FAILURES").unwrap_or(10);
    let only = variable("WALK_ONLY").unwrap_or_default();
    let began = Instant::now();
    let scenes = Scene::all().into_iter();
    let mut plans: Vec<Plan> = scenes
        .filter(|scene| scene.to_string().contains(&only))
        .map(Plan::of)
        .collect();
    let mut told = tell_all(&plans, most_failures);
    let (mut stories, mut possible) = (plans.len(), 0);
    for _ in 0..number("WALK_FAULTS").unwrap_or(1) {
        let Some(lengths) = told.iter().cloned().collect::<Result<Vec<_>, _>>().ok() else {
            break;
        };
        (possible, plans) = with_one_more(&plans, &lengths, most);
        told = tell_all(&plans, most_failures);
        stories += told.len();
    }
    println!(
        "{stories} stories in {:?}, the last ones of {possible} that there are",
        began.elapsed()
    );
    let failures: Vec<String> = told.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
