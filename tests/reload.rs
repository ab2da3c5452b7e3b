//! Journeys over a new configuration, in virtual time: nodes that go, and nodes that come back.

mod world;

use rackbmcd::bmc::vocabulary::{Order, Reading, Route};
use rackbmcd::model::{
    BatchStart, BootDevice, Control, Fact, HistoryEntry, HistoryKind, Operation, Power,
    PowerOptions, PowerState, Severity, TaskState, Trouble,
};
use rackbmcd::rack::call::{Answer, Call, CallId, Look, Refused};
use rackbmcd::rack::record::Table;
use rackbmcd::rack::settings::NodeSettings;
use rackbmcd::session::secret::Password;
use rackbmcd::sim::{ChassisOrder, Conditions, OsMood};
use std::sync::Arc;
use std::time::Duration;
use world::{World, batch_of, millis, node, secs, who};

/// The configuration names these nodes from now on.
fn reload(world: &mut World, places: &[usize]) {
    let now = world.now;
    let (settings, nodes) = (
        world.settings.clone(),
        places.iter().map(|place| node(*place)).collect::<Vec<_>>(),
    );
    world.nodes = nodes.clone();
    world.rack().reload(settings, nodes, now).unwrap();
    world.run_for(millis(1));
}

fn facts(world: &mut World, node: &str) -> Vec<Fact> {
    match world.call(Call::Look(Look::Explain(node.into()))) {
        Ok(Answer::Explanation(explained)) => explained.facts,
        other => panic!("{other:?}"),
    }
}

fn history(world: &mut World, node: &str) -> Vec<HistoryEntry> {
    let (node, limit) = (node.into(), 100);
    match world.call(Call::History { node, limit }) {
        Ok(Answer::History(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_is_never_to_be_switched_off_is_so_once_no_task_could_do_it() {
    for (operation, waits) in [
        (Operation::SoftPowerOff, true),
        (Operation::SoftReboot, true),
        (Operation::InjectNmi, false),
        (Operation::Cycle, false),
    ] {
        let mut world = World::new(7, 2);
        world.run_for(secs(2));
        world.mood("n01").os = OsMood::Hangs;
        let task = world.start_task("n01", operation, PowerOptions::default());
        world.run_for(millis(200));
        let (settings, mut nodes) = (world.settings.clone(), world.nodes.clone());
        Arc::make_mut(&mut nodes[0].power).never_off = true;
        let now = world.now;
        let said = world.rack().reload(settings.clone(), nodes.clone(), now);
        world.run_for(millis(1));
        if !waits {
            assert_eq!(said, Ok(()), "{operation}");
            continue;
        }
        let why = said.unwrap_err();
        assert!(
            why.starts_with("power_off = false for node n01, but task t:")
                && why.ends_with("runs on it: wait for its end or abort it"),
            "{why}"
        );
        world.control(task, Control::Abort).unwrap();
        world.run_for(secs(2));
        let now = world.now;
        assert_eq!(world.rack().reload(settings, nodes, now), Ok(()));
    }
}

#[test]
fn the_session_of_a_node_that_is_gone_is_closed_politely() {
    let mut world = World::new(100, 2);
    // Its first reading has been made.
    world.run_for(secs(2));
    assert_eq!(world.bmc("n02").open_sessions(), 1);
    reload(&mut world, &[0]);
    world.run_for(secs(1));
    assert_eq!(world.bmc("n02").open_sessions(), 0);
    assert!(matches!(
        world.call(Call::Look(Look::Node("n02".into()))),
        Err(Refused::NoSuchNode(_))
    ));
    let left = world.left.len();
    world.run_for(secs(50));
    let to_it = world.left[left..].iter().filter(|left| left.node == 1);
    assert_eq!(to_it.count(), 0, "it is spoken to no more");
}

#[test]
fn a_node_that_is_gone_and_deaf_holds_nothing_up() {
    let mut world = World::new(101, 2);
    world.run_for(secs(62));
    world.link(
        "n02",
        Conditions {
            loss: 1.0,
            ..Conditions::default()
        },
    );
    let waiting = world.ask(Call::FreshNode("n02".into()));
    reload(&mut world, &[0]);
    let answer = world.take_answer(waiting);
    assert!(
        matches!(answer, Some(Err(Refused::NoSuchNode(_)))),
        "{answer:?}"
    );
    let now = world.now;
    world.rack().stop(now);
    world.run_for(secs(11));
    assert!(world.rack().is_quiet());
}

#[test]
fn a_node_that_comes_back_is_known_still_also_over_a_restart() {
    for crash in [false, true] {
        let mut world = World::new(102, 2);
        world.run_for(secs(70));
        let task = world.start_task("n02", Operation::PowerOff, PowerOptions::default());
        world.run_task(task, secs(60));
        let learned = |world: &mut World| -> Vec<Fact> {
            let known = ["suite that works", "suites listed", "found out"];
            let mut facts = facts(world, "n02");
            facts.retain(|fact| known.contains(&fact.head.as_str()));
            facts
        };
        let (before, told) = (learned(&mut world), history(&mut world, "n02"));
        assert!(!before.is_empty() && !told.is_empty());
        reload(&mut world, &[0]);
        world.run_for(secs(10));
        if crash {
            world.crash();
            world.start();
            world.run_for(secs(10));
        }
        reload(&mut world, &[0, 1]);
        assert_eq!(learned(&mut world), before);
        assert_eq!(history(&mut world, "n02"), told);
        world.run_for(secs(70));
        assert!(world.node("n02").rackbmcd.reading.is_some());
    }
}

#[test]
fn what_is_known_of_a_node_that_stays_away_is_forgotten_with_its_history() {
    let mut world = World::new(103, 2);
    world.crash();
    world.settings.history_keep = secs(4 * 3600);
    world.start();
    world.run_for(secs(70));
    let task = world.start_task("n02", Operation::PowerOff, PowerOptions::default());
    world.run_task(task, secs(60));
    reload(&mut world, &[0]);
    let uuid = node(1).uuid.to_string();
    let about = |world: &World, table: Table| {
        let says = |entry: &(&str, &[u8])| {
            entry.0 == uuid || String::from_utf8_lossy(entry.1).contains(&uuid)
        };
        world.remembered(table).filter(says).count()
    };
    world.run_for(secs(3 * 3600));
    assert_eq!(about(&world, Table::Nodes), 1);
    assert!(about(&world, Table::History) > 0);
    // Also where the daemon was not there the whole time.
    world.crash();
    world.run_for(secs(3600));
    world.start();
    world.run_for(secs(2 * 3600));
    for table in [Table::Nodes, Table::History, Table::Tasks] {
        assert_eq!(about(&world, table), 0, "{}", table.name());
    }
}

/// Orders outside tasks, as an operator gives them, and whether each may change the machine.
fn side_orders() -> Vec<Order> {
    vec![
        Order::SetBootDevice {
            device: Some(BootDevice::Pxe),
            persistent: false,
            uefi: false,
        },
        Order::Raw {
            net_fn: 0x30,
            lun: 0,
            command: 0x70,
            data: vec![1, 2, 3],
            route: Route::Direct,
        },
        Order::ResetBmc { cold: true },
        Order::ReadEventLog(20),
    ]
}

fn order(node: &str, order: Order) -> Call {
    Call::Order {
        node: node.into(),
        order,
        who: who(),
    }
}

/// A rack of three whose second BMC takes its time to answer, and has a session with us.
fn slow_second(seed: u64) -> World {
    let mut world = World::new(seed, 3);
    world.run_for(secs(3));
    world.mood("n02").reply_delay = millis(200);
    world.call(Call::FreshNode("n02".into())).unwrap();
    world.run_for(secs(4));
    world.call(Call::FreshNode("n02".into())).unwrap();
    world
}

/// How many datagrams of orders have left for the node in this place.
fn orders_for(world: &World, place: usize) -> usize {
    let left = world.left.iter();
    left.filter(|left| left.node == place && left.order.is_some())
        .count()
}

/// Asks, and stops when the first datagram of it is on its way.
fn ask_until_it_left(world: &mut World, call: Call) -> CallId {
    let before = orders_for(world, 1);
    let id = world.ask(call);
    let end = world.now + secs(5);
    assert!(
        world.run_until(end, |world| orders_for(world, 1) > before),
        "it does not leave"
    );
    assert_eq!(world.take_answer(id), None, "it is under way");
    id
}

/// New configurations in which the second node stays: as it is, with other settings, in another
/// place.
fn staying() -> Vec<Vec<NodeSettings>> {
    let mut changed = node(1);
    changed.groups = vec!["storage".into()].into();
    Arc::make_mut(&mut changed.care).keepalive = secs(20);
    vec![
        vec![node(0), node(1), node(2)],
        vec![node(0), changed, node(2)],
        vec![node(1), node(2), node(0)],
        vec![node(2), node(1)],
        vec![node(1)],
    ]
}

fn take(world: &mut World, nodes: Vec<NodeSettings>) {
    let settings = world.settings.clone();
    world.reload(settings, nodes).unwrap();
}

fn answer_within(world: &mut World, call: CallId, time: Duration) -> Result<Answer, Refused> {
    let (end, mut answer) = (world.now + time, None);
    world.run_until(end, |world| {
        answer = world.take_answer(call);
        answer.is_some()
    });
    answer.expect("every call is answered")
}

#[test]
fn an_order_of_a_node_that_stays_goes_on_and_its_caller_hears_what_the_bmc_said() {
    for (at, nodes) in staying().into_iter().enumerate() {
        for asked in side_orders() {
            let mut world = slow_second(110);
            let call = ask_until_it_left(&mut world, order("n02", asked.clone()));
            take(&mut world, nodes.clone());
            let answer = answer_within(&mut world, call, secs(10));
            let words = format!("{at}, {asked:?}: {answer:?}");
            match asked {
                Order::Raw { .. } | Order::ResetBmc { .. } => {
                    assert!(matches!(answer, Err(Refused::Bmc { .. })), "{words}")
                }
                Order::ReadEventLog(_) => assert!(
                    matches!(answer, Ok(Answer::Reading(Reading::EventLog { .. }))),
                    "{words}"
                ),
                Order::SetBootDevice { .. } => assert!(
                    matches!(answer, Ok(Answer::Reading(Reading::BootDevice { .. }))),
                    "{words}"
                ),
                _ => assert_eq!(answer, Ok(Answer::Reading(Reading::Done)), "{words}"),
            }
        }
    }
}

#[test]
fn a_raw_command_leaves_once_also_where_the_configuration_is_read_before_it_is_written_down() {
    for nodes in staying() {
        let mut world = slow_second(111);
        let (call, before) = (
            world.ask(order("n02", side_orders().remove(1))),
            orders_for(&world, 1),
        );
        take(&mut world, nodes);
        let answer = answer_within(&mut world, call, secs(10));
        assert!(matches!(answer, Err(Refused::Bmc { .. })), "{answer:?}");
        world.run_for(secs(5));
        assert_eq!(orders_for(&world, 1), before + 1);
    }
}

#[test]
fn whoever_ordered_something_of_a_node_that_goes_hears_what_is_known_of_it() {
    for asked in side_orders() {
        let mut world = slow_second(112);
        let call = ask_until_it_left(&mut world, order("n02", asked.clone()));
        take(&mut world, vec![node(0), node(2)]);
        let answer = world.take_answer(call).expect("at once").unwrap_err();
        assert!(
            matches!(
                answer,
                Refused::Unanswered {
                    trouble: Trouble::Withdrawn,
                    ..
                }
            ),
            "{asked:?}: {answer}"
        );
        assert!(
            answer.to_string().contains("it may have arrived"),
            "{answer}"
        );
        let left = orders_for(&world, 1);
        world.run_for(secs(20));
        assert_eq!(orders_for(&world, 1), left, "{asked:?}");
    }
}

#[test]
fn what_has_not_left_for_a_node_that_goes_never_does_and_its_caller_hears_that() {
    for asked in side_orders() {
        let mut world = slow_second(113);
        // The reading has the BMC's attention, and the order waits behind it.
        ask_until_it_left(&mut world, Call::FreshNode("n02".into()));
        let before = orders_for(&world, 1);
        let call = world.ask(order("n02", asked.clone()));
        take(&mut world, vec![node(0), node(2)]);
        let answer = world.take_answer(call).expect("at once").unwrap_err();
        assert!(answer.to_string().contains("it was not sent"), "{answer}");
        world.run_for(secs(20));
        assert_eq!(orders_for(&world, 1), before, "{asked:?}");
    }
}

#[test]
fn the_history_of_a_node_that_goes_and_comes_back_tells_what_became_of_an_order() {
    let mut world = slow_second(114);
    ask_until_it_left(&mut world, order("n02", side_orders().remove(0)));
    reload(&mut world, &[0, 2]);
    reload(&mut world, &[0, 1, 2]);
    let told = history(&mut world, "n02");
    assert!(told[0].text.contains("it may have arrived"), "{told:?}");
    assert_eq!(told[0].severity, Severity::Error);
}

#[test]
fn a_fresh_reading_goes_on_where_the_node_stays_and_is_refused_where_it_goes() {
    for nodes in staying() {
        let mut world = slow_second(115);
        let asked_at = world.now;
        let call = ask_until_it_left(&mut world, Call::FreshNode("n02".into()));
        take(&mut world, nodes);
        let answer = answer_within(&mut world, call, secs(1));
        let Ok(Answer::Node(view)) = answer else {
            panic!("{answer:?}")
        };
        let age = view.rackbmcd.reading.expect("it was read").age;
        assert!(age <= world.now - asked_at, "{age:?}");
    }
    let mut world = slow_second(115);
    let call = ask_until_it_left(&mut world, Call::FreshNode("n02".into()));
    reload(&mut world, &[0, 2]);
    let answer = world.take_answer(call);
    assert!(matches!(answer, Some(Err(Refused::NoSuchNode(_)))));
}

fn plan_of(nodes: &[&str]) -> Call {
    let request = BatchStart {
        dry_run: true,
        ..batch_of(nodes, Operation::PowerOff)
    };
    Call::StartBatch {
        request,
        who: who(),
    }
}

fn states(answer: Result<Answer, Refused>) -> Vec<(String, String)> {
    match answer {
        Ok(Answer::Batch(view)) => {
            let nodes = view.nodes.into_iter();
            nodes
                .map(|node| (node.node, node.state.to_string()))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dry_run_is_answered_over_a_reload_with_what_is_there_by_then() {
    let all = ["n01", "n02", "n03"];
    let ready = |name: &str| (name.to_owned(), "ready".to_owned());
    for nodes in [
        vec![node(0), node(1), node(2)],
        vec![node(2), node(0), node(1)],
    ] {
        let mut world = slow_second(116);
        let call = ask_until_it_left(&mut world, plan_of(&all));
        take(&mut world, nodes);
        let seen = states(answer_within(&mut world, call, secs(10)));
        assert_eq!(seen, all.map(ready));
    }
    for goes in ["n02", "n03"] {
        let mut world = slow_second(117);
        let call = ask_until_it_left(&mut world, plan_of(&all));
        let stays = (0..3).filter(|place| world::name(*place) != goes);
        let nodes = stays.map(node).collect();
        take(&mut world, nodes);
        let seen = states(answer_within(&mut world, call, secs(10)));
        let expected = all.map(|name| match name == goes {
            true => (name.to_owned(), "refused".to_owned()),
            false => ready(name),
        });
        assert_eq!(seen, expected, "without {goes}");
    }
}

#[test]
fn the_periodic_reading_of_a_node_goes_on_after_every_reload() {
    let mut world = slow_second(118);
    for _ in 0..40 {
        world.run_for(secs(7));
        reload(&mut world, &[2, 1, 0]);
        world.run_for(secs(8));
        reload(&mut world, &[1, 2]);
        let age = world.node("n02").rackbmcd.reading.expect("it is read").age;
        assert!(age <= secs(61), "{age:?}");
    }
}

#[test]
fn a_batch_goes_on_while_nodes_move_in_the_order_and_others_come_and_go() {
    let mut world = World::new(119, 5);
    reload(&mut world, &[0, 1, 2, 4]);
    for node in ["n01", "n02", "n03"] {
        world.mood(node).off_delay = secs(20);
    }
    world.run_for(secs(3));
    let batch = world.start_batch(batch_of(&["n01", "n02", "n03"], Operation::SoftPowerOff));
    world.run_for(secs(2));
    reload(&mut world, &[2, 1, 0, 3]);
    world.run_for(secs(2));
    let refused = {
        let settings = world.settings.clone();
        let nodes = vec![node(0), node(2)];
        world.reload(settings, nodes).unwrap_err()
    };
    assert!(refused.contains("n02 is gone, but task"), "{refused}");
    world.run_for(secs(90));
    for member in batch.nodes {
        let task = world.task(member.task.unwrap());
        assert_eq!(task.state, TaskState::Succeeded, "{task:#?}");
        assert_eq!(world.executed(&member.node, ChassisOrder::Soft), 1);
        assert!(!world.is_on(&member.node));
    }
}

/// The second node's BMC is to be found where the third one's is.
fn moved() -> Vec<NodeSettings> {
    let mut other = node(1);
    other.address = node(2).address;
    vec![node(0), other]
}

#[test]
fn orders_to_a_bmc_at_another_address_are_withdrawn_and_reach_the_new_one_never() {
    for asked in side_orders() {
        let mut world = slow_second(120);
        reload(&mut world, &[0, 1]);
        let call = ask_until_it_left(&mut world, order("n02", asked.clone()));
        take(&mut world, moved());
        let answer = world.take_answer(call).expect("at once").unwrap_err();
        assert!(
            answer.to_string().contains("it may have arrived"),
            "{answer}"
        );
        let before = world.bmc("n03").counters().requests;
        world.run_for(secs(4));
        assert!(world.bmc("n03").counters().requests > before, "it is read");
        let to_new = world.left.iter().filter(|left| left.node == 2);
        let ids: Vec<_> = to_new.filter_map(|left| left.order).collect();
        let to_old = world
            .left
            .iter()
            .rfind(|left| left.node == 1 && left.order.is_some());
        assert!(!ids.contains(&to_old.unwrap().order.unwrap()));
        assert_eq!(world.bmc("n02").open_sessions(), 0, "closed politely");
    }
}

#[test]
fn a_node_whose_bmc_moved_is_read_anew_and_nothing_that_was_learned_is_taken_for_true() {
    let mut world = slow_second(121);
    reload(&mut world, &[0, 1]);
    let now = world.now;
    world.bmc("n03").order_by_somebody(ChassisOrder::Off, now);
    let fresh = ask_until_it_left(&mut world, Call::FreshNode("n02".into()));
    let plan = world.ask(plan_of(&["n02"]));
    take(&mut world, moved());
    assert_eq!(world.node("n02").rackbmcd.reading, None);
    let known = facts(&mut world, "n02");
    let suite = known.iter().find(|fact| fact.head == "suite that works");
    assert_eq!(suite.unwrap().text, "not known yet");
    let answer = answer_within(&mut world, fresh, secs(5));
    let Ok(Answer::Node(view)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(view.rackbmcd.reading.unwrap().power_state, Power::Off);
    let seen = states(answer_within(&mut world, plan, secs(5)));
    assert_eq!(seen[0].1, "nothing to do");
    let drifts = history(&mut world, "n02");
    assert!(
        drifts.iter().all(|entry| entry.kind != HistoryKind::Drift),
        "{drifts:?}"
    );
}

#[test]
fn a_bmc_is_not_given_another_address_under_a_task() {
    let mut world = slow_second(122);
    reload(&mut world, &[0, 1]);
    world.mood("n02").off_delay = secs(20);
    let task = world.start_task("n02", Operation::SoftPowerOff, PowerOptions::default());
    let settings = world.settings.clone();
    let refused = world.reload(settings, moved()).unwrap_err();
    assert!(
        refused.contains("n02 has a BMC at another address now, but task"),
        "{refused}"
    );
    assert_eq!(world.run_task(task, secs(60)).state, TaskState::Succeeded);
    assert!(world.is_on("n03"));
}

/// Two nodes; the second one's BMC is logged in to with this password.
fn with_password(password: &[u8]) -> Vec<NodeSettings> {
    let mut other = node(1);
    Arc::make_mut(&mut other.login).password = Password::new(password).unwrap();
    vec![node(0), other]
}

/// Log-ins that began at the second node's BMC.
fn log_ins(world: &mut World) -> u64 {
    let suites = node(1).login.suites.len() as u64;
    world.bmc("n02").counters().open_requests / suites
}

#[test]
fn a_reload_that_puts_a_wrong_password_right_ends_the_rest_and_the_node_is_read_at_once() {
    for crash in [false, true] {
        let mut world = World::new(123, 2);
        world.crash();
        world.bmc("n02").forget_sessions();
        world.bmc("n02").settings_mut().users[0].password = b"right".to_vec();
        let before = log_ins(&mut world);
        world.start();
        world.run_for(secs(100));
        if crash {
            world.crash();
            world.start();
            world.run_for(secs(100));
        }
        let held = |world: &mut World| {
            let bmc = world.node("n02").rackbmcd.bmc;
            assert_eq!(bmc.trouble, Some(Trouble::Held.into()), "{bmc:?}");
        };
        held(&mut world);
        assert_eq!(log_ins(&mut world), before + 2);
        // The same credentials are no reason to try again; other ones are, twice.
        take(&mut world, with_password(b"secret"));
        world.run_for(secs(100));
        assert_eq!(log_ins(&mut world), before + 2);
        take(&mut world, with_password(b"wrong, too"));
        world.run_for(secs(10));
        held(&mut world);
        world.run_for(secs(500));
        assert_eq!(log_ins(&mut world), before + 4);
        take(&mut world, with_password(b"right"));
        world.run_for(secs(2));
        let node = world.node("n02");
        assert_eq!(node.power_state, PowerState::On, "{node:#?}");
        let age = node.rackbmcd.reading.expect("it was read").age;
        assert!(age <= secs(2), "{age:?}");
    }
}

#[test]
fn other_credentials_of_a_node_that_is_well_are_tried_at_once_and_what_is_shown_stays() {
    let mut world = World::new(124, 2);
    world.run_for(secs(10));
    world.bmc("n02").settings_mut().users[0].password = b"rotated".to_vec();
    take(&mut world, with_password(b"rotated"));
    assert_eq!(world.power_state("n02"), PowerState::On);
    world.run_for(secs(2));
    let reading = world.node("n02").rackbmcd.reading.expect("it was read");
    assert!(reading.age <= secs(2), "{reading:?}");

    world.mood("n02").off_delay = secs(20);
    let task = world.start_task("n02", Operation::SoftPowerOff, PowerOptions::default());
    world.run_for(secs(1));
    world
        .put_power("n02", "abort soft power off", PowerOptions::default())
        .unwrap();
    assert_eq!(world.state(task), TaskState::Aborted);
    world.bmc("n02").settings_mut().users[0].password = b"again".to_vec();
    take(&mut world, with_password(b"again"));
    world.run_for(secs(11));
    assert_eq!(world.power_state("n02"), PowerState::Error);
    world.run_for(secs(10));
    // The request had reached the machine.
    assert_eq!(world.power_state("n02"), PowerState::Off);
}
