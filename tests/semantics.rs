//! The runs of `at_most_once.rs` with the rules by which other clients repeat a power cycle that
//! went unanswered: how often the machine is cycled for one command. The figures are in
//! `docs/protocol.md`.
//!
//! The rules are modelled, and `repeats.rs` shows them of the programs themselves.
//! `SEMANTICS_RUNS=n` runs more.

use rackbmcd::entropy::{Entropy, Seeded};
use rackbmcd::ipmi::command::chassis_control;
use rackbmcd::session::secret::Password;
use rackbmcd::session::{Event, Request, RequestId, Resend, Session, Settings, Timing};
use rackbmcd::sim::{
    Bmc, BmcSettings, ChassisOrder, Conditions, Link, Mood, Privilege, Rack, Repeated, User,
};
use rackbmcd::time::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// What follows silence.
#[derive(Clone, Copy, Debug)]
enum Rules {
    /// The same request number in a new packet, each second, five in all.
    Ipmitool,
    /// A new request number, each 400 ms, after each eight of them 400 ms more, for 20 s.
    Ipmipower,
    /// Nothing: the machine is looked at.
    Ours,
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One session with one BMC over a network that turns bad.
struct World {
    rack: Rack,
    session: Session,
    entropy: Seeded,
    now: Instant,
    events: Vec<Event>,
}

impl World {
    fn new(seed: u64, rules: Rules) -> Self {
        let mut dice = Seeded::new(seed);
        let executes_copies = dice.chance(0.5);
        let mood = Mood {
            executes_copies,
            repeated: match executes_copies || dice.chance(0.5) {
                true => Repeated::Executed,
                false => Repeated::RefusedAsDuplicate,
            },
            // Back on before the next copy comes: a machine that is off is not cycled.
            cycle_off_time: millis(10),
            ..Mood::default()
        };
        let settings = BmcSettings {
            users: vec![User::new("admin", "secret", Privilege::Administrator)],
            ..BmcSettings::default()
        };
        let mut rack = Rack::new();
        rack.add(
            bmc(),
            Bmc::new(settings, mood, dice.next_u64()),
            Link::new(dice.next_u64()),
        );
        let mut login = Settings::new("admin", Password::new(*b"secret").expect("short"));
        if let Rules::Ipmitool = rules {
            let second = Duration::from_secs(1);
            login.timing = Timing {
                resend_first: second,
                resend_floor: second,
                resend_cap: second,
                lost_after: u32::MAX,
                ..Timing::default()
            };
        }
        let mut world = Self {
            rack,
            session: Session::new(login),
            entropy: Seeded::new(dice.next_u64()),
            now: Instant::START,
            events: vec![],
        };
        world.session.open(world.now, &mut world.entropy);
        let opened =
            |events: &[Event]| events.iter().any(|event| matches!(event, Event::Opened(_)));
        assert!(world.run(Duration::from_secs(30), opened), "seed {seed}");
        let mood = world.rack.bmc_mut(bmc()).expect("it is there").mood_mut();
        mood.loses_first_reply = dice.chance(0.5);
        let link = world.rack.link_mut(bmc()).expect("it is there");
        link.set_both(Conditions {
            loss: 0.3,
            duplicate: 0.1,
            reorder: 0.1,
            delay: millis(1),
            jitter: millis(40),
            held_back: millis(300),
            ..Conditions::default()
        });
        if executes_copies {
            // Such a BMC carries out what the network copies, too: nobody can prevent that.
            link.towards_bmc.duplicate = 0.0;
        }
        world
    }

    /// Lets time pass until `done`, or for so long.
    fn run(&mut self, lasts: Duration, done: impl Fn(&[Event]) -> bool) -> bool {
        let end = self.now + lasts;
        loop {
            while let Some(delivery) = self.rack.poll_delivery(self.now) {
                self.session
                    .handle_datagram(&delivery.bytes, self.now, &mut self.entropy);
            }
            while let Some(transmit) = self.session.poll_transmit() {
                self.rack
                    .send(console(), bmc(), &transmit.datagram, self.now);
            }
            self.events
                .extend(std::iter::from_fn(|| self.session.poll_event()));
            if done(&self.events) {
                return true;
            }
            let next = [self.rack.poll_timeout(), self.session.poll_timeout()];
            let Some(next) = next.into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
                self.session.handle_timeout(self.now, &mut self.entropy);
            }
        }
    }

    /// Asks once by the session's rules; whether an answer came.
    fn ask(&mut self, resend: Resend, patience: Duration) -> bool {
        let request = Request::of(&chassis_control::Request::PowerCycle, resend, patience);
        let id = self.session.request(request, self.now);
        self.run(patience + millis(1), |events| ended(events, id).is_some());
        ended(&self.events, id) == Some(true)
    }
}

/// Whether a request has ended, and with an answer.
fn ended(events: &[Event], of: RequestId) -> Option<bool> {
    events.iter().find_map(|event| match event {
        Event::Answered { id, .. } if *id == of => Some(true),
        Event::Unanswered { id, .. } if *id == of => Some(false),
        _ => None,
    })
}

fn bmc() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 623))
}

fn console() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 10_000))
}

/// How often the machine was cycled for one command.
fn cycles(seed: u64, rules: Rules) -> usize {
    let mut world = World::new(seed, rules);
    match rules {
        Rules::Ipmitool => drop(world.ask(Resend::Allowed, millis(4900))),
        Rules::Ipmipower => {
            let mut waits = (0..26u64).map(|copy| millis(400 * (1 + copy / 8)));
            waits.any(|wait| world.ask(Resend::Never, wait));
        }
        Rules::Ours => drop(world.ask(Resend::Never, Duration::from_secs(5))),
    }
    // What is under way arrives.
    world.run(Duration::from_secs(2), |_| false);
    let bmc = world.rack.bmc(bmc()).expect("it is there");
    bmc.host().count(ChassisOrder::Cycle)
}

#[test]
fn by_other_clients_rules_an_unanswered_power_cycle_is_repeated_and_by_ours_it_is_not() {
    let runs = std::env::var("SEMANTICS_RUNS").map_or(300, |runs| runs.parse().expect("a number"));
    for (rules, repeats) in [
        (Rules::Ipmitool, true),
        (Rules::Ipmipower, true),
        (Rules::Ours, false),
    ] {
        let counts: Vec<usize> = (0..runs).map(|seed| cycles(seed, rules)).collect();
        let often = counts.iter().filter(|count| **count > 1).count();
        let never = counts.iter().filter(|count| **count == 0).count();
        let most = counts.iter().max().expect("runs");
        println!(
            "{rules:?}: {runs} runs, {often} cycled twice or more, at most {most} times, {never} never"
        );
        if repeats {
            assert!(often > counts.len() / 10, "{rules:?}: {often}");
        } else {
            assert_eq!(often, 0, "{rules:?}");
            assert!(never < counts.len() / 2, "{never} of them did not arrive");
        }
    }
}
