//! What an abort costs the daemon while a whole rack is busy: from the call to its answer, without
//! the disk's own time.
//!
//! `cargo bench --bench abort` prints the 99th percentile first, then divan's table; figures are in
//! docs/benchmarks.md.

#[path = "../tests/world/mod.rs"]
mod world;

use rackbmcd::model::{Operation, PowerOptions, TaskId};
use rackbmcd::sim::OsMood;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;
use world::{World, millis, name, secs};

/// A rack in which every node waits for an operating system that does not shut down.
struct Busy {
    world: World,
    tasks: VecDeque<TaskId>,
    /// The node of the oldest task.
    oldest: usize,
}

impl Busy {
    fn new(nodes: usize) -> Self {
        let mut world = World::new(7, nodes);
        world.crash();
        world.settings.max_transitions = u32::MAX;
        world.start();
        for node in 0..nodes {
            world.mood(&name(node)).os = OsMood::Hangs;
        }
        world.run_for(secs(20));
        let mut busy = Self {
            world,
            tasks: VecDeque::new(),
            oldest: 0,
        };
        (0..nodes).for_each(|node| busy.begin(node));
        busy.world.run_for(secs(60));
        busy
    }

    fn begin(&mut self, node: usize) {
        let options = PowerOptions {
            timeout: Some(secs(3_600)),
            ..PowerOptions::default()
        };
        let task = (self.world).start_task(&name(node), Operation::SoftPowerOff, options);
        self.tasks.push_back(task);
    }

    /// Aborts the oldest task: how long that took the daemon.
    fn abort(&mut self) -> Duration {
        let task = self.tasks.pop_front().expect("all nodes are busy");
        self.world.time_abort(task)
    }

    /// The node that became free is busy again.
    fn again(&mut self) {
        while self.tasks.len() < self.world.nodes.len() {
            self.begin(self.oldest);
            self.oldest = (self.oldest + 1) % self.world.nodes.len();
            self.world.run_for(millis(50));
        }
    }
}

#[divan::bench(args = [16, 256], sample_size = 1, sample_count = 200)]
fn abort(bencher: divan::Bencher, nodes: usize) {
    let busy = RefCell::new(Busy::new(nodes));
    bencher
        .with_inputs(|| busy.borrow_mut().again())
        .bench_local_values(|()| busy.borrow_mut().abort());
}

fn main() {
    let mut busy = Busy::new(256);
    let mut took: Vec<Duration> = (0..2_000)
        .map(|_| {
            busy.again();
            busy.abort()
        })
        .collect();
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "abort with 256 busy nodes, {} times: median {:?}, p99 {:?}, worst {:?}",
        took.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    divan::main();
}
