//! Stories whose records are collected: every operation and control on BMCs in every mood, in
//! virtual time, with a daemon that is stopped in the middle of everything, because then it puts
//! down every task as it is.

use crate::frozen::Line;
use crate::mischief::{self, Dice, Mischief};
use crate::world::{Logged, World, millis, name, secs};
use rackbmcd::bmc::vocabulary::Order;
use rackbmcd::model::{
    BatchStart, BootDevice, Control, OnFailure, OnSoftTimeout, Operation, PowerOptions, TaskId,
    TaskState, Who,
};
use rackbmcd::rack::call::{Answer, Call, Look};
use rackbmcd::rack::record::Write;
use rackbmcd::rack::settings::MaintenancePolicy;
use rackbmcd::session::secret::Password;
use rackbmcd::sim::{ChassisOrder, Refusal};
use std::sync::Arc;

/// All that is put down in one story.
pub(crate) fn told(seed: u64, lives: u64) -> Vec<Line> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed, NODES);
    world.crash();
    world.settings.max_transitions = 12;
    world.settings.power_on_stagger = millis(300);
    world.settings.fault_after = 1;
    if dice.chance(0.3) {
        world.settings.maintenance_policy = MaintenancePolicy::Block;
    }
    for place in 0..NODES {
        let node = &mut world.nodes[place];
        node.nmi_min_interval = secs(1);
        node.groups = vec![["compute", "storage"][place % 2].to_owned()].into();
        match place {
            1 => Arc::make_mut(&mut node.login).password = Password::new(*b"wrong").expect("short"),
            2 => Arc::make_mut(&mut node.login).username = "nobody".into(),
            3 => node.address.host = "bmc.example".into(),
            _ => {}
        }
        if place > 6 {
            mischief::settle_in(&mut world, place, &mut dice);
        }
    }
    let all = world.nodes.clone();
    world.log = Some(Vec::new());
    world.start();
    let mut entries = Vec::new();
    for _ in 0..lives {
        live(&mut world, &mut dice);
        let (settings, kept) = (world.settings.clone(), all[..NODES - 1].to_vec());
        if dice.chance(0.3) && world.reload(settings.clone(), kept).is_ok() {
            world.run_for(millis(10));
            world.reload(settings, all.clone()).expect("one comes back");
        }
        let now = world.now;
        world.rack().stop(now);
        world.run_for(millis(30));
        for (_, logged) in world.log.as_mut().expect("it logs").drain(..) {
            if let Logged::Put(Write::Put { table, key, value }) = logged {
                let table = table.name().to_owned();
                let value = value.to_vec();
                entries.push(Line { table, key, value });
            }
        }
        world.crash();
        world.run_for(millis(dice.below(4_000)));
        world.start();
    }
    entries
}

/// What people do and what befalls BMCs between two starts of the daemon.
fn live(world: &mut World, dice: &mut Dice) {
    for _ in 0..(3 + dice.below(12)) {
        turn(world, dice);
        let most = dice.peek(2_000);
        world.run_for(millis(dice.below(most)));
    }
}

fn turn(world: &mut World, dice: &mut Dice) {
    let node = name(dice.below(NODES as u64) as usize);
    match dice.below(20) {
        0..9 => {
            let operation = dice.pick(&Operation::ALL);
            let options = options(dice);
            let who = who(dice);
            world.ask(Call::Start {
                node,
                operation,
                options,
                who,
            });
        }
        9..14 => {
            for task in tasks(world) {
                if dice.chance(0.4) {
                    let control = dice.pick(&Control::ALL);
                    world.ask(Call::Control {
                        task,
                        control,
                        who: who(dice),
                    });
                }
            }
        }
        14 => batch(world, dice),
        15 if dice.chance(0.4) => {
            let reason = "a leak".to_owned();
            world.ask(Call::Pause {
                reason,
                who: who(dice),
            });
            world.run_for(millis(dice.below(3_000)));
            if dice.chance(0.6) {
                world.ask(Call::Release { who: who(dice) });
            }
        }
        16 => {
            let reason = dice.chance(0.5).then(|| "fan replaced".to_owned());
            let hold = dice.chance(0.6).then_some(reason);
            world.ask(Call::SetMaintenance {
                node,
                hold,
                who: who(dice),
            });
        }
        17 => {
            let order = Order::SetBootDevice {
                device: Some(BootDevice::Pxe),
                persistent: false,
                uefi: true,
            };
            world.ask(Call::Order {
                node,
                order,
                who: who(dice),
            });
        }
        18 => {
            let code = dice.pick(&[0xC0, 0xC1, 0xC3, 0xD1, 0xD4, 0xD5, 0xFF, 0xCC]);
            let order = dice.pick(&ORDERS);
            world.mood(&node).refusals = vec![Refusal {
                order,
                code,
                times: Some(3),
            }];
        }
        _ => {
            let place = dice.below(NODES as u64) as usize;
            Mischief::new(dice).befall(world, place);
        }
    }
}

fn batch(world: &mut World, dice: &mut Dice) {
    let first = dice.below(NODES as u64 / 2) as usize;
    let count = 2 + dice.below(6) as usize;
    let request = BatchStart {
        operation: dice.pick(&Operation::ALL),
        nodes: (first..first + count).map(name).collect(),
        options: options(dice),
        max_parallel: dice.below(3) as u32,
        stagger: millis(dice.below(2) * 700),
        on_failure: dice.pick(&[OnFailure::Continue, OnFailure::Stop]),
        order: if dice.chance(0.5) {
            vec!["storage".to_owned()]
        } else {
            Vec::new()
        },
        exclude: Vec::new(),
        dry_run: false,
    };
    world.ask(Call::StartBatch {
        request,
        who: who(dice),
    });
}

fn tasks(world: &mut World) -> Vec<TaskId> {
    let call = Call::Look(Look::Tasks {
        node: None,
        batch: None,
        short: None,
        active: true,
        limit: usize::MAX,
    });
    let id = world.ask(call);
    match world.take_answer(id) {
        Some(Ok(Answer::Tasks(tasks))) => {
            let open = tasks
                .iter()
                .filter(|task| task.state != TaskState::Aborting);
            open.map(|task| task.id).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn options(dice: &mut Dice) -> PowerOptions {
    let mut some = |chance: f64, from: u64, to: u64| {
        dice.chance(chance)
            .then(|| secs(from + dice.below(to - from)))
    };
    PowerOptions {
        timeout: some(0.8, 3, 90),
        repeat_soft_after: some(0.3, 1, 20),
        hard_after: some(0.3, 3, 40),
        on_soft_timeout: some(0.4, 0, 1).map(|_| OnSoftTimeout::HardPowerOff),
        ..PowerOptions::default()
    }
}

/// Enough for a BMC of every kind; the first few are good ones, the next three cannot be logged in
/// to.
const NODES: usize = 16;

/// Somebody at a Unix socket, or over the network.
fn who(dice: &mut Dice) -> Who {
    let local = dice.chance(0.5);
    Who {
        name: "alice".to_owned(),
        uid: local.then_some(1000),
        gid: local.then_some(100),
        pid: local.then_some(4711),
        request: "req-7f0e".to_owned(),
    }
}

const ORDERS: [ChassisOrder; 6] = [
    ChassisOrder::Off,
    ChassisOrder::On,
    ChassisOrder::Cycle,
    ChassisOrder::Reset,
    ChassisOrder::Nmi,
    ChassisOrder::Soft,
];
