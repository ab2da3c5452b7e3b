//! The chassis of machines as their BMCs tell of it: what was set is read back, what is not known
//! is said.

mod world;

use rackbmcd::bmc::vocabulary::{Order, Reading, Route};
use rackbmcd::model::{
    BootDevice, Chassis, ChassisPart, Delivery, Light, Operation, PowerOptions, RestorePolicy,
};
use rackbmcd::rack::call::{Answer, Call, Look, Refused};
use rackbmcd::sim::{BootMood, CommandRefusal};
use std::sync::Arc;
use world::{World, millis, secs, who};

fn world() -> World {
    let mut world = World::new(1, 1);
    world.run_for(secs(3));
    world
}

fn order(world: &mut World, order: Order) -> Result<Reading, Refused> {
    let answer = world.call(Call::Order {
        node: "n01".into(),
        order,
        who: who(),
    });
    match answer {
        Ok(Answer::Reading(reading)) => Ok(reading),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => Err(refused),
    }
}

fn set(device: Option<BootDevice>, persistent: bool, uefi: bool) -> Order {
    Order::SetBootDevice {
        device,
        persistent,
        uefi,
    }
}

fn refuse(world: &mut World, net_fn: u8, command: u8, code: u8) {
    world.mood("n01").command_refusals.push(CommandRefusal {
        net_fn,
        command,
        code,
        after: 0,
        times: 99,
    });
}

#[test]
fn every_boot_device_is_set_and_read_back_as_itself() {
    let mut world = world();
    for device in BootDevice::ALL {
        for (persistent, uefi) in [(false, false), (true, false), (false, true), (true, true)] {
            let shown = Reading::BootDevice {
                device: Some(device),
                persistent,
                uefi,
            };
            let answer = order(&mut world, set(Some(device), persistent, uefi));
            assert_eq!(answer, Ok(shown.clone()), "{device}");
            assert_eq!(order(&mut world, Order::ReadBootDevice), Ok(shown));
        }
    }
    assert!(order(&mut world, set(None, false, false)).is_ok());
    let none = Reading::BootDevice {
        device: None,
        persistent: false,
        uefi: false,
    };
    assert_eq!(order(&mut world, Order::ReadBootDevice), Ok(none));
}

#[test]
fn a_boot_device_that_is_not_kept_as_asked_for_is_an_error_that_names_both() {
    for (mood, shown) in [
        (
            BootMood::OtherDevice(5),
            "the BMC shows cdrom for every boot, in UEFI mode",
        ),
        (BootMood::Forgotten, "the BMC shows no override"),
        (
            BootMood::OnceOnly,
            "the BMC shows pxe for the next boot, in UEFI mode",
        ),
    ] {
        let mut world = world();
        world.mood("n01").boot = mood;
        let refused = order(&mut world, set(Some(BootDevice::Pxe), true, true)).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("asked for pxe for every boot, in UEFI mode"),
            "{text}"
        );
        assert!(text.contains(shown), "{text}");
        assert!(!text.contains("completion code"), "{text}");
    }
    // A BMC that takes it and does not let it be read: accepted, and no more said than that.
    let mut world = world();
    refuse(&mut world, 0x00, 0x09, 0xC1);
    assert_eq!(
        order(&mut world, set(Some(BootDevice::Pxe), false, false)),
        Ok(Reading::Done)
    );
}

#[test]
fn the_chassis_is_told_of_with_what_the_bmc_does_not_say_left_open() {
    let mut world = world();
    let chassis = |world: &mut World| match order(world, Order::ReadChassis) {
        Ok(Reading::Chassis(chassis)) => *chassis,
        other => panic!("{other:?}"),
    };
    let full: Chassis = chassis(&mut world);
    assert_eq!(full.self_test.as_deref(), Some("passed"));
    assert_eq!(full.identify, Some(Light::Off));
    assert!(full.power_on_hours.is_some());
    assert!(full.faults.is_empty());
    assert!(
        full.capabilities
            .is_some_and(|has| has.contains(&ChassisPart::DiagnosticInterrupt.into()))
    );
    for (lasting, light) in [
        (Some(secs(60)), Light::Timed),
        (None, Light::On),
        (Some(secs(0)), Light::Off),
    ] {
        order(&mut world, Order::Identify(lasting)).unwrap();
        assert_eq!(chassis(&mut world).identify, Some(light));
    }
    // A BMC counts to 255 s: nothing else is sent than what was asked for.
    let too_long = order(&mut world, Order::Identify(Some(secs(256))));
    assert!(matches!(too_long, Err(Refused::Invalid(_))), "{too_long:?}");
    assert!(order(&mut world, Order::Identify(Some(secs(255)))).is_ok());
    refuse(&mut world, 0x00, 0x00, 0xC1);
    refuse(&mut world, 0x06, 0x04, 0xC1);
    refuse(&mut world, 0x00, 0x0F, 0xC1);
    let bare = chassis(&mut world);
    assert_eq!((bare.capabilities, bare.self_test), (None, None));
    assert_eq!(bare.power_on_hours, None);
}

#[test]
fn the_hours_with_power_are_counted_while_the_machine_is_on() {
    let mut world = world();
    let hours = |world: &mut World| match order(world, Order::ReadChassis) {
        Ok(Reading::Chassis(chassis)) => chassis.power_on_hours,
        other => panic!("{other:?}"),
    };
    let before = hours(&mut world).expect("the BMC counts");
    world.run_for(secs(2 * 3600));
    assert_eq!(hours(&mut world), Some(before + 2));
    let off = world.start_task("n01", Operation::PowerOff, PowerOptions::default());
    world.run_task(off, secs(60));
    world.run_for(secs(2 * 3600));
    assert_eq!(hours(&mut world), Some(before + 2));
}

#[test]
fn a_restore_policy_is_set_and_read_back() {
    let mut world = world();
    for policy in RestorePolicy::ALL {
        order(&mut world, Order::SetRestorePolicy(policy)).unwrap();
        let Ok(Reading::Chassis(chassis)) = order(&mut world, Order::ReadChassis) else {
            panic!()
        };
        assert_eq!(chassis.restore_policy, Some(policy));
    }
    world.mood("n01").keeps_policy = true;
    let refused = order(&mut world, Order::SetRestorePolicy(RestorePolicy::AlwaysOn)).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("asked for always-on, and the BMC shows always-off"),
        "{text}"
    );
}

#[test]
fn a_power_reading_that_is_none_is_no_figure() {
    let reading = |watts: u16, state: u8| {
        let mut data = vec![0xDC];
        for _ in 0..4 {
            data.extend(watts.to_le_bytes());
        }
        data.extend([0; 8]);
        data.push(state);
        data
    };
    let cut = reading(200, 0x40)[..17].to_vec();
    let without_group = reading(200, 0x40)[1..].to_vec();
    for (data, said) in [
        (reading(0, 0), "power measurement is not active"),
        (reading(319, 0), "power measurement is not active"),
        (reading(0xFFFF, 0x40), "power measurement has no figure"),
        (cut, "ends too early"),
        (without_group, "cannot be read"),
    ] {
        let mut world = world();
        world.mood("n01").power_reading = Some(data);
        let text = order(&mut world, Order::ReadPowerUse)
            .unwrap_err()
            .to_string();
        assert!(text.contains(said), "{text}");
        assert!(!text.contains("completion code"), "{text}");
    }
    let mut world = world();
    world.mood("n01").power_reading = Some(reading(353, 0x40));
    assert_eq!(
        order(&mut world, Order::ReadPowerUse),
        Ok(Reading::PowerUse { watts: 353 })
    );
}

#[test]
fn the_guid_is_the_system_s_or_else_the_bmc_s() {
    let guid = |world: &mut World| match order(world, Order::ReadGuid) {
        Ok(Reading::Guid(guid)) => guid.to_string(),
        other => panic!("{other:?}"),
    };
    let written = "e53d9c7c-616d-48db-9dc2-26837ee0ec20";
    let uuid = uuid::Uuid::parse_str(written).unwrap();
    let mut reversed = *uuid.as_bytes();
    reversed.reverse();
    for sent in [reversed, *uuid.as_bytes(), uuid.to_bytes_le()] {
        for missing in [None, Some(0x37), Some(0x08)] {
            let mut world = world();
            world.bmc("n01").settings_mut().guid = sent;
            if let Some(command) = missing {
                refuse(&mut world, 0x06, command, 0xC1);
            }
            assert_eq!(guid(&mut world), written, "{sent:02x?} {missing:?}");
        }
    }
    let mut world = world();
    refuse(&mut world, 0x06, 0x37, 0xC1);
    refuse(&mut world, 0x06, 0x08, 0xC1);
    assert!(matches!(
        order(&mut world, Order::ReadGuid),
        Err(Refused::Bmc { code: 0xC1, .. })
    ));
}

fn history(world: &mut World) -> Vec<String> {
    let call = Call::History {
        node: "n01".into(),
        limit: 20,
    };
    match world.call(call) {
        Ok(Answer::History(entries)) => entries.iter().map(|entry| entry.text.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_became_of_an_order_that_is_not_answered_is_said_as_far_as_it_is_known() {
    let raw = Order::Raw {
        net_fn: 6,
        lun: 0,
        command: 1,
        data: Vec::new(),
        route: Route::Direct,
    };
    for (asked, said) in [
        (raw, "it may have arrived, and been carried out"),
        (
            Order::ResetBmc { cold: true },
            "it may have arrived: a BMC that restarts at once",
        ),
        (
            Order::ResetBmc { cold: false },
            "it may have arrived: a BMC that restarts at once",
        ),
        (
            Order::ClearEventLog,
            "it may have arrived, and been carried out",
        ),
    ] {
        let mut world = world();
        order(&mut world, Order::ReadPower).expect("a session");
        world.mood("n01").dead = true;
        let id = world.ask(Call::Order {
            node: "n01".into(),
            order: asked.clone(),
            who: who(),
        });
        world.run_for(secs(40));
        match world.take_answer(id) {
            Some(Err(Refused::Unanswered { delivery, text, .. })) => {
                assert_eq!(delivery, Delivery::Unknown, "{asked:?}");
                assert!(text.contains(said), "{asked:?}: {text}");
            }
            other => panic!("{asked:?}: {other:?}"),
        }
    }
}

#[test]
fn whether_a_bmc_that_was_told_to_restart_did_so_is_told_later() {
    for (silent_for, said) in [
        (Some(secs(45)), "s after it was told to restart"),
        (None, "it does not seem to have done so"),
    ] {
        let mut world = World::new(2, 1);
        world.crash();
        Arc::make_mut(&mut world.nodes[0].login).privilege =
            rackbmcd::ipmi::PrivilegeLevel::Administrator;
        world.start();
        world.run_for(secs(3));
        if silent_for.is_none() {
            // It says yes, and does nothing.
            refuse(&mut world, 6, 2, 0);
        }
        let id = world.ask(Call::Order {
            node: "n01".into(),
            order: Order::ResetBmc { cold: true },
            who: who(),
        });
        world.run_for(millis(100));
        if let Some(time) = silent_for {
            world.mood("n01").dead = true;
            world.bmc("n01").forget_sessions();
            world.run_for(time);
            world.mood("n01").dead = false;
        }
        world.run_for(secs(120));
        drop(world.take_answer(id));
        let told = history(&mut world);
        let found = told.iter().filter(|text| text.contains(said)).count();
        assert_eq!(found, 1, "{told:#?}");
        let faults = told.iter().filter(|text| text.contains("in a row")).count();
        assert_eq!(faults, 0, "{told:#?}");
    }
}

#[test]
fn each_reading_of_the_power_tells_of_the_chassis_too() {
    let mut world = world();
    order(&mut world, Order::Identify(None)).expect("accepted");
    order(&mut world, Order::SetRestorePolicy(RestorePolicy::AlwaysOn)).expect("accepted");
    order(&mut world, Order::ReadPower).expect("read");
    let explanation = match world.call(Call::Look(Look::Explain("n01".into()))) {
        Ok(Answer::Explanation(found)) => found,
        other => panic!("{other:?}"),
    };
    let chassis = explanation.chassis.expect("it was read");
    assert_eq!(chassis.restore_policy, Some(RestorePolicy::AlwaysOn));
    assert_eq!(chassis.identify, Some(Light::On));
    let facts: Vec<&str> = explanation
        .facts
        .iter()
        .map(|fact| fact.head.as_str())
        .collect();
    for head in ["chassis faults", "identify light", "last power event"] {
        assert!(facts.contains(&head), "{facts:?}");
    }
    let figures = world.rack().figures(rackbmcd::time::Instant::START);
    assert_eq!(figures.chassis, [("n01".to_owned(), chassis)]);
}
