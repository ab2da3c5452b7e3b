//! What is told without any fault: one operation, on one machine that does as such machines do.

use crate::watch::{Asked, Watched};
use crate::world::{World, millis, secs, who};
use rackbmcd::model::{Control, OnSoftTimeout, Operation, PowerOptions};
use rackbmcd::rack::call::Call;
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood};
use std::fmt;
use std::time::Duration;

/// One operation and what is special about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scene {
    pub operation: Operation,
    /// The machine is on at the beginning.
    pub on: bool,
    pub turn: Turn,
}

/// What is special about a scene.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Plain,
    /// The daemon has just been started, for the first time.
    Cold,
    /// It has just been started, and knows the BMC from the life before.
    Again,
    /// A timeout ends it first: the system hangs, or the machine is slow.
    TooSlow,
    /// The system hears the second request only.
    AskedTwice,
    /// The system hangs, and hard is allowed after a while.
    Escalates,
    /// Another machine is being switched on, and has the rack's only place.
    Crowded,
    /// Somebody uses a control while it is under way.
    Used(Control),
}

impl Scene {
    /// All scenes, with every operation that there is.
    pub(crate) fn all() -> Vec<Self> {
        let mut scenes = Vec::new();
        for operation in Operation::ALL {
            for on in [true, false] {
                let mut add = |turn| {
                    scenes.push(Self {
                        operation,
                        on,
                        turn,
                    });
                };
                add(Turn::Plain);
                add(Turn::Used(Control::Rollback));
                add(Turn::Used(Control::Suspend));
                add(Turn::TooSlow);
                add(Turn::Crowded);
                if on {
                    add(Turn::Cold);
                    add(Turn::Again);
                }
                if on && operation.is_soft() {
                    add(Turn::AskedTwice);
                    add(Turn::Escalates);
                }
            }
        }
        scenes
    }

    /// The world in which it is told, up to the request.
    pub(crate) fn open(self) -> Result<Watched, String> {
        let mut world = World::new(7, 2);
        world.crash();
        world.nodes[0].nmi_min_interval = secs(10);
        world.link(
            "n01",
            Conditions {
                delay: millis(5),
                ..Conditions::default()
            },
        );
        let now = world.now;
        if !self.on {
            world.bmc("n01").order_by_somebody(ChassisOrder::Off, now);
        }
        let mood = world.mood("n01");
        mood.on_delay = secs(2);
        mood.off_delay = secs(2);
        mood.cycle_off_time = secs(3);
        mood.boot_time = secs(1);
        mood.os = match self.turn {
            Turn::TooSlow | Turn::Escalates => OsMood::Hangs,
            Turn::AskedTwice => OsMood::IgnoresFirst {
                ignored: 1,
                after: secs(4),
            },
            Turn::Plain | Turn::Cold | Turn::Again | Turn::Crowded | Turn::Used(_) => {
                OsMood::ObeysAfter(secs(6))
            }
        };
        if self.turn == Turn::TooSlow {
            mood.on_delay = secs(20);
            mood.off_delay = secs(20);
        }
        if self.turn == Turn::Crowded {
            world.settings.max_transitions = 1;
            world.bmc("n02").order_by_somebody(ChassisOrder::Off, now);
            world.mood("n02").on_delay = secs(8);
        } else {
            world.nodes.truncate(1);
        }
        world.log = Some(Vec::new());
        world.start();
        let mut watched = Watched::new(world);
        watched.watch.most_sessions = Some(2);
        if self.turn != Turn::Cold {
            watched.run(secs(4))?;
        }
        if self.turn == Turn::Again {
            watched.stop(None)?;
        }
        if self.turn == Turn::Crowded {
            let call = Call::Start {
                node: "n02".to_owned(),
                operation: Operation::PowerOn,
                options: PowerOptions::default(),
                who: who(),
            };
            watched.ask(call, Asked::Other);
            watched.run(millis(500))?;
        }
        Ok(watched)
    }

    /// What the request asks for beside the operation.
    pub(crate) fn options(self) -> PowerOptions {
        let mut options = PowerOptions::default();
        match self.turn {
            Turn::TooSlow => options.timeout = Some(secs(15)),
            Turn::AskedTwice => options.repeat_soft_after = Some(secs(11)),
            Turn::Escalates => {
                options.hard_after = Some(secs(12));
                options.on_soft_timeout = Some(OnSoftTimeout::HardPowerOff);
            }
            Turn::Plain | Turn::Cold | Turn::Again | Turn::Crowded | Turn::Used(_) => {}
        }
        options
    }

    /// The control that is part of the scene, and how long after the request it is used.
    pub(crate) fn control(self) -> Option<(Duration, Control)> {
        match self.turn {
            Turn::Used(control) => Some((millis(1_200), control)),
            Turn::Plain
            | Turn::Cold
            | Turn::Again
            | Turn::Crowded
            | Turn::TooSlow
            | Turn::AskedTwice
            | Turn::Escalates => None,
        }
    }

    /// Whether the request or the node's policy allows a hard order after the soft one.
    pub(crate) fn may_turn_hard(self) -> bool {
        self.turn == Turn::Escalates || !self.operation.is_soft()
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let power = if self.on { "on" } else { "off" };
        write!(f, "{} from {power}", self.operation)?;
        match self.turn {
            Turn::Plain => Ok(()),
            Turn::Cold => f.write_str(", just started"),
            Turn::Again => f.write_str(", started again"),
            Turn::TooSlow => f.write_str(", too slow"),
            Turn::Crowded => f.write_str(", beside another power-on"),
            Turn::AskedTwice => f.write_str(", asked twice"),
            Turn::Escalates => f.write_str(", turning hard"),
            Turn::Used(control) => write!(f, ", with {control}"),
        }
    }
}
