//! What the walk has found, or what a few stories may miss, as tests of their own: all placements
//! of one kind in the scenes where it matters.

use crate::Plan;
use crate::fault::{Act, Fault};
use crate::scene::{Scene, Turn};
use crate::world::secs;
use rackbmcd::api::ironic::target::PowerTarget;
use rackbmcd::model::{Control, Operation, TakeOver};
use rackbmcd::sim::Mishap;

fn plan(operation: Operation, on: bool, turn: Turn) -> Plan {
    Plan::of(Scene {
        operation,
        on,
        turn,
    })
}

/// Tells the scene with each of these faults.
fn tell(scene: Scene, wanted: impl Fn(Fault) -> bool) {
    let plan = Plan::of(scene);
    let length = plan.holds();
    let faults = Fault::placements(length).into_iter();
    let mut told = 0;
    for fault in faults.filter(|fault| wanted(*fault)) {
        plan.with(fault).holds();
        told += 1;
    }
    assert!(told > 0, "there is no such place");
}

#[test]
fn a_power_on_that_is_being_written_down_does_not_leave_after_its_soft_reboot_was_aborted_by_name()
{
    let scene = Scene {
        operation: Operation::SoftReboot,
        on: false,
        turn: Turn::Plain,
    };
    let word = Act::Word(PowerTarget::AbortSoftRebooting);
    tell(
        scene,
        |fault| matches!(fault, Fault::Act(_, act) if act == word),
    );
}

#[test]
fn one_reading_is_not_believed() {
    for operation in Operation::ALL {
        for on in [true, false] {
            let scene = Scene {
                operation,
                on,
                turn: Turn::Plain,
            };
            tell(scene, |fault| matches!(fault, Fault::WrongReading(1..=4)));
        }
    }
}

#[test]
fn nor_is_one_in_the_last_moment_of_a_timeout() {
    for operation in Operation::ALL {
        for on in [true, false] {
            let turn = Turn::TooSlow;
            let scene = Scene {
                operation,
                on,
                turn,
            };
            tell(scene, |fault| matches!(fault, Fault::WrongReading(_)));
        }
    }
}

#[test]
fn what_a_task_read_before_a_kill_is_known_after_it_and_put_down_to_nobody_else() {
    let plan = plan(Operation::SoftReboot, true, Turn::Used(Control::Suspend));
    let length = plan.holds();
    for event in 0..length.events {
        let killed = plan.with(Fault::Act(event, Act::Kill));
        let aborted = killed.with(Fault::Act(event + 4, Act::Use(Control::Abort)));
        aborted.holds();
    }
}

#[test]
fn nor_does_one_say_that_an_earlier_order_has_had_its_effect() {
    let off = Scene {
        operation: Operation::PowerOff,
        on: true,
        turn: Turn::TooSlow,
    };
    let soft = Scene {
        operation: Operation::SoftReboot,
        on: false,
        turn: Turn::TooSlow,
    };
    for (scene, wanted) in [(off, Operation::PowerOn), (soft, Operation::PowerOff)] {
        let plan = Plan::of(scene);
        for event in [20, 36, 40, 60] {
            for act in [
                Act::TakeOver(wanted, TakeOver::Running),
                Act::AbortThen(wanted),
            ] {
                let taken = plan.with(Fault::Act(event, act));
                let length = taken.holds();
                for reading in 1..=length.commands.min(24) {
                    let misread = taken.with(Fault::WrongReading(reading));
                    misread.holds();
                }
            }
        }
    }
}

#[test]
fn nothing_is_sent_to_another_bmc_or_with_a_level_that_is_too_low_wherever_that_comes() {
    let soft = Scene {
        operation: Operation::SoftPowerOff,
        on: true,
        turn: Turn::Escalates,
    };
    for act in [Act::Swap, Act::Lower] {
        tell(
            soft,
            |fault| matches!(fault, Fault::Act(_, found) if found == act),
        );
    }
}

#[test]
fn nor_at_the_first_contact_of_a_life_whichever_of_two_bmcs_is_met_first() {
    for operation in [
        Operation::SoftPowerOff,
        Operation::PowerOff,
        Operation::Cycle,
    ] {
        for turn in [Turn::Cold, Turn::Again] {
            let scene = Scene {
                operation,
                on: true,
                turn,
            };
            tell(
                scene,
                |fault| matches!(fault, Fault::Act(_, found) if found == Act::Swap),
            );
        }
    }
}

#[test]
fn an_order_that_was_refused_as_a_copy_may_still_act_by_another_copy_of_it() {
    for operation in [Operation::PowerOff, Operation::PowerOn, Operation::Reboot] {
        let scene = Scene {
            operation,
            on: operation != Operation::PowerOn,
            turn: Turn::Plain,
        };
        let plan = Plan::of(scene);
        let length = plan.holds();
        for datagram in 1..=length.datagrams {
            let late = plan.with(Fault::Datagram(datagram, Mishap::Late(secs(12))));
            // A command and its answer are two datagrams: what is refused is that command, or one
            // of the two after it.
            let command = datagram.div_ceil(2);
            for command in command..=length.commands.min(command + 2) {
                for code in [0xC0, 0xC1] {
                    let refused = late.with(Fault::Answered(command, code));
                    refused.holds();
                }
            }
        }
    }
}

#[test]
fn a_node_whose_level_is_too_low_for_the_first_log_ins_of_a_life_is_read_again_when_there_is_room()
{
    let scene = Scene {
        operation: Operation::PowerOn,
        on: true,
        turn: Turn::Again,
    };
    let plan = Plan::of(scene);
    for event in [5, 6, 7] {
        let lowered = plan.with(Fault::Act(event, Act::Lower));
        for later in 1..=6 {
            let back = lowered.with(Fault::Act(event + later, Act::Use(Control::Rollback)));
            back.holds();
        }
    }
}

#[test]
fn who_asks_for_something_else_ends_the_watch_of_an_nmi_also_after_a_pause_of_the_daemon() {
    let plan = plan(Operation::InjectNmi, true, Turn::Plain);
    for event in [14, 20, 26, 40] {
        for catches_up in [true, false] {
            let still = plan.with(Fault::Act(event, Act::StandStill { catches_up }));
            for later in [0, 3] {
                for operation in [Operation::PowerOn, Operation::PowerOff] {
                    let asked = still.with(Fault::Act(event + later, Act::Ask(operation)));
                    asked.holds();
                }
            }
        }
    }
}

#[test]
fn a_log_in_that_is_refused_after_a_pause_of_the_daemon_is_said_of_the_bmc_and_not_of_the_machine()
{
    for (operation, on, turn) in [
        (Operation::PowerOn, true, Turn::TooSlow),
        (Operation::PowerOff, true, Turn::Cold),
        (Operation::Reboot, true, Turn::Cold),
        (Operation::Reset, false, Turn::TooSlow),
    ] {
        let plan = plan(operation, on, turn);
        for lowered in [0, 4, 5] {
            let lowered = plan.with(Fault::Act(lowered, Act::Lower));
            for event in [0, 5, 7, 11] {
                for catches_up in [true, false] {
                    let still = Act::StandStill { catches_up };
                    let still = lowered.with(Fault::Act(event, still));
                    still.holds();
                }
            }
        }
    }
}

#[test]
fn a_guid_that_goes_back_and_forth_is_ignored_as_the_daemon_says() {
    for (operation, turn, first, second) in [
        (Operation::PowerOff, Turn::Cold, 10, 54),
        (Operation::SoftReboot, Turn::AskedTwice, 13, 62),
        (Operation::SoftReboot, Turn::Escalates, 0, 45),
        (Operation::SoftReboot, Turn::Used(Control::Suspend), 23, 68),
    ] {
        let plan = plan(operation, true, turn);
        let there = plan.with(Fault::Act(first, Act::Swap));
        let again = there.with(Fault::Act(second, Act::Swap));
        again.holds();
    }
}

#[test]
fn an_abort_of_a_task_that_the_disk_refuses_finds_nothing() {
    for (operation, on) in [
        (Operation::SoftPowerOff, true),
        (Operation::SoftReboot, true),
        (Operation::SoftReboot, false),
    ] {
        let plan = plan(operation, on, Turn::Plain);
        let refused = plan.with(Fault::Refused(1));
        for word in [
            PowerTarget::AbortSoftPowerOff,
            PowerTarget::AbortSoftRebooting,
        ] {
            let aborted = refused.with(Fault::Act(0, Act::Word(word)));
            aborted.holds();
        }
    }
}

#[test]
fn an_error_is_overwritten_soon_where_the_reading_that_was_to_do_it_found_no_room() {
    let plan = plan(Operation::SoftReboot, false, Turn::Crowded);
    let lowered = plan.with(Fault::Act(7, Act::Lower));
    for event in [39, 40, 41] {
        for catches_up in [true, false] {
            let still = lowered.with(Fault::Act(event, Act::StandStill { catches_up }));
            still.holds();
        }
    }
}

#[test]
fn an_order_that_left_after_a_log_in_is_as_young_as_its_datagram() {
    let plan = plan(Operation::Cycle, true, Turn::Crowded);
    for lowered in [9, 11, 13] {
        let lowered = plan.with(Fault::Act(lowered, Act::Lower));
        let length = lowered.holds();
        for event in length.events.saturating_sub(60)..=length.events {
            let act = Act::TakeOver(Operation::PowerOn, TakeOver::Running);
            lowered.with(Fault::Act(event, act)).holds();
        }
    }
}

#[test]
fn what_others_saw_of_an_order_before_its_task_ended_is_known_when_the_rest_of_it_comes() {
    let plan = plan(Operation::Cycle, true, Turn::TooSlow);
    let swapped = plan.with(Fault::Act(92, Act::Swap));
    let length = swapped.holds();
    for event in 100..=length.events {
        let aborted = swapped.with(Fault::Act(event, Act::Use(Control::Abort)));
        aborted.holds();
    }
}

#[test]
fn the_look_after_a_standstill_takes_the_log_ins_that_another_bmc_costs() {
    let scenes = [
        (Operation::Reset, Turn::Cold, 89),
        (Operation::Cycle, Turn::Used(Control::Suspend), 368),
    ];
    for (operation, turn, event) in scenes {
        let plan = plan(operation, true, turn);
        let still = Act::StandStill { catches_up: false };
        let still = plan.with(Fault::Act(event, still));
        for later in 8..20 {
            let swapped = still.with(Fault::Act(event + later, Act::Swap));
            swapped.holds();
        }
    }
}

#[test]
fn an_nmi_whose_machine_is_not_read_after_a_standstill_because_its_bmc_refuses_ends_all_the_same() {
    let plan = plan(Operation::InjectNmi, true, Turn::Crowded);
    let still = Act::StandStill { catches_up: false };
    let still = plan.with(Fault::Act(165, still));
    for command in 60..70 {
        for code in [0xC0, 0xC1] {
            let refused = still.with(Fault::Answered(command, code));
            refused.holds();
        }
    }
}

#[test]
fn what_ran_of_a_minimum_off_time_before_a_standstill_counts() {
    let plan = plan(Operation::Reboot, true, Turn::TooSlow);
    let still = Act::StandStill { catches_up: false };
    for suspended in 26..30 {
        let suspended = plan.with(Fault::Act(suspended, Act::Use(Control::Suspend)));
        for event in 40..60 {
            let still = suspended.with(Fault::Act(event, still));
            still.holds();
        }
    }
}
