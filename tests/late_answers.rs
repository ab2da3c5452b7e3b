//! A BMC that answers late, over real sockets: its answers come to ports of earlier messages of the
//! log-in, which have to be open still. Round trips of two, four and eight seconds side by side,
//! which takes three quarters of a minute; `ROUND_TRIPS=2` is the shortest.

mod daemon;

use daemon::{Bed, Keys, plan};
use rackbmcd::cli::sim::NodePlan;
use rackbmcd::sim::{Conditions, Mood};
use std::time::{Duration, Instant};

/// Its network alone takes so long, and it keeps every session for a minute, half-open ones as
/// well.
fn far_away(seconds: u64) -> NodePlan {
    let mut plan = plan(&format!("n{seconds}"), Mood::default());
    plan.settings.half_open_timeout = Duration::from_secs(60);
    plan.conditions = Conditions {
        delay: Duration::from_millis(500 * seconds),
        ..Conditions::default()
    };
    plan
}

/// The node as `rackbmc status` has it; its exit code says that the BMC does not answer yet.
fn shown(bed: &Bed, name: &str) -> serde_json::Value {
    let said = bed.rackbmc(&["status", name, "--full", "-o", "json"]).out;
    let nodes: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    nodes[0].clone()
}

#[test]
fn a_bmc_that_is_seconds_away_is_logged_in_to_and_its_callers_hear_that_it_is_tried() {
    let chosen = std::env::var("ROUND_TRIPS").unwrap_or_else(|_| "2,4,8".to_owned());
    let chosen: Vec<u64> = chosen
        .split(',')
        .map(|seconds| seconds.parse().expect("seconds"))
        .collect();
    let mut bed = Bed::of(
        chosen.iter().map(|seconds| far_away(*seconds)),
        &Keys::default(),
    );
    bed.start();
    let began = Instant::now();
    let names: Vec<String> = chosen.iter().map(|seconds| format!("n{seconds}")).collect();
    // Five seconds, and a little for a busy machine.
    std::thread::sleep(Duration::from_millis(6500));
    for name in &names {
        let node = shown(&bed, name);
        let trouble = node["rackbmcd"]["bmc"]["trouble_text"]
            .as_str()
            .unwrap_or_default();
        let read = node["rackbmcd"]["reading"].is_object();
        assert!(read || trouble.contains("still trying"), "{name}: {node:#}");
    }
    for name in &names {
        let read = |node: &serde_json::Value| node["rackbmcd"]["reading"].is_object();
        while !read(&shown(&bed, name)) {
            let node = shown(&bed, name);
            assert!(
                began.elapsed() < Duration::from_secs(100),
                "{name}: {node:#}\n{}",
                bed.log()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        println!("{name}: read after {:?}", began.elapsed());
        let counters = bed
            .rack
            .with_bmc(name, |bmc, _| bmc.counters())
            .expect("a BMC");
        assert!(counters.most_sessions <= 2, "{name}: {counters:?}");
        assert_eq!(counters.sessions_opened, 1, "{name}: {counters:?}");
    }
}
