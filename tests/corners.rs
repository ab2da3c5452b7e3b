//! Journeys around corners, in virtual time: what once went wrong at the seams between the rooms, one claim each.

mod world;

use rackbmcd::power::{Operation, State};
use rackbmcd::rack::call::Wishes;
use world::{World, secs};

#[test]
fn a_task_on_a_bmc_that_was_found_dead_hears_of_it_at_once() {
    let mut world = World::new(31, 1);
    world.bmc("n01").settings_mut().users[0].password = b"another".to_vec();
    world.run_for(secs(130));
    let task = world.start_task("n01", Operation::PowerOff, Wishes::default());
    let view = world.run_task(task, secs(1));
    assert_eq!(view.state, State::Failed, "{view:#?}");
}
