//! Orders as commands in bytes, and answers in bytes as reports.

use super::*;
use crate::model::{BootDevice, Power};

#[test]
fn a_refused_status_is_told_with_its_code_and_meaning() {
    let mut script = Script::begin(&Order::SoftOff);
    let request = script.request();
    assert_eq!(
        (request.net_fn, request.command, request.data.as_slice()),
        (0x00, 0x02, &[5][..])
    );
    assert_eq!(request.resend, Resend::Never);
    let Step::Done(Report::Refused(refusal)) = script.handle(CompletionCode(0xD5), &[]) else {
        panic!()
    };
    assert_eq!(
        (refusal.code, refusal.kind),
        (0xD5, RefusalKind::NotInPresentState)
    );
}

#[test]
fn a_chassis_status_of_three_four_or_more_bytes_is_a_power_state() {
    // §28.2: byte 1 bit 0 is the power; bits 6:5 (here "always on") do not matter.
    for data in [
        &[0x41, 0, 0x40][..],
        &[0x41, 0, 0x40, 0],
        &[0x41, 0, 0x40, 0, 9, 9],
    ] {
        let mut script = Script::begin(&Order::ReadPower);
        let Step::Done(report) = script.handle(CompletionCode::OK, data) else {
            panic!()
        };
        assert_eq!(report, Report::Accepted(Reading::Power(Power::On)));
    }
}

/// What becomes of an order whose every command is answered so.
fn answered_throughout(order: &Order, data: &[u8]) -> Report {
    let mut script = Script::begin(order);
    for _ in 0..200 {
        script.request();
        match script.handle(CompletionCode::OK, data) {
            Step::Done(report) => return report,
            Step::Next { .. } => {}
            Step::Busy => panic!("{order:?}: busy"),
        }
    }
    panic!("{order:?}: no end");
}

#[test]
fn an_answer_cut_short_is_a_refusal_that_says_so_and_not_a_guess() {
    let policy = crate::model::RestorePolicy::Previous;
    for order in [
        Order::ReadPower,
        Order::ReadRestartCause,
        Order::ReadEventLogInfo,
        Order::ReadEventLogEntry(1),
        Order::ReadEventLog(3),
        Order::ClearEventLog,
        Order::ReadBootDevice,
        Order::SetBootDevice {
            device: Some(BootDevice::Pxe),
            persistent: false,
            uefi: false,
        },
        Order::ReadIdentity,
        Order::ReadPowerUse,
        Order::ReadAcpiState,
        Order::ReadGuid,
        Order::ReadChassis,
        Order::ReadSessions,
        Order::SetRestorePolicy(policy),
    ] {
        let report = answered_throughout(&order, &[]);
        let Report::Refused(refusal) = report else {
            panic!("{order:?}: {report:?}");
        };
        let text = refusal.text;
        assert!(text.contains("cannot be read"), "{order:?}: {text}");
    }
}

#[test]
fn a_bmc_without_the_boot_flag_timeout_still_gets_its_boot_device() {
    let order = Order::SetBootDevice {
        device: Some(BootDevice::Pxe),
        persistent: false,
        uefi: true,
    };
    let mut script = Script::begin(&order);
    assert_eq!(script.request().data, [3, 0x08]);
    let step = script.handle(CompletionCode(0x80), &[]);
    assert!(matches!(step, Step::Next { .. }));
    // §28.14: parameter 5; valid + UEFI (A0h); PXE (1 in bits 5:2).
    assert_eq!(script.request().data, [5, 0xA0, 0x04, 0, 0, 0]);
    let step = script.handle(CompletionCode::OK, &[]);
    assert!(matches!(step, Step::Next { .. }));
    // §28.13: what was set is read back.
    let back = script.request();
    assert_eq!((back.command, back.data.as_slice()), (0x09, &[5, 0, 0][..]));
    let shown = [0x01, 0x05, 0xA0, 0x04, 0x00, 0x00, 0x00];
    assert!(matches!(
        script.handle(CompletionCode::OK, &shown),
        Step::Done(Report::Accepted(Reading::BootDevice {
            device: Some(BootDevice::Pxe),
            persistent: false,
            uefi: true,
        }))
    ));
}

#[test]
fn what_passes_is_asked_again_for_readings_and_levels_only() {
    let answer = |order| Script::begin(&order).handle(CompletionCode(0xFF), &[]);
    assert!(matches!(answer(Order::PowerOn), Step::Busy));
    assert!(matches!(
        answer(Order::Reset),
        Step::Done(Report::Refused(_))
    ));
}
