//! Orders as IPMI commands, and IPMI answers as readings: the one place where both vocabularies meet.

use super::vocabulary::{
    BootDevice, EventLogEntry, Order, Power, Reading, Refusal, RefusalKind, Repeat, Report,
    RestartCause,
};
use crate::ipmi::command::set_system_boot_options::{
    BootFlags, Device, FlagValidClearing, Parameter,
};
use crate::ipmi::command::{
    Command, chassis_control, chassis_identify, get_chassis_status, get_dcmi_power_reading,
    get_device_id, get_sel_entry, get_sel_info, get_system_boot_options, get_system_restart_cause,
    set_system_boot_options,
};
use crate::ipmi::{CompletionCode, Wire};
use crate::session::{Bridge, Request, Resend};
use std::collections::VecDeque;
use std::time::Duration;

/// The commands of one order, and what becomes of their answers.
#[derive(Debug)]
pub(super) struct Script {
    order: Order,
    /// The commands to come after the one under way.
    rest: VecDeque<Part>,
    /// The one under way.
    now: Part,
}

/// One command of an order.
#[derive(Clone, Debug)]
struct Part {
    request: Request,
    /// Whether a refusal of it lets the order go on.
    optional: bool,
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// The next command.
    Next(Request),
    /// The BMC gave no reason: worth one more try from the beginning.
    Again,
    /// The order has its report.
    Done(Report),
}

impl Script {
    /// The commands of `order`, of which the first is to be sent now.
    pub(super) fn begin(order: &Order) -> (Script, Request) {
        let mut rest = VecDeque::from(parts(order));
        let now = rest.pop_front().expect("every order has a first command");
        let request = now.request.clone();
        (
            Script {
                order: order.clone(),
                rest,
                now,
            },
            request,
        )
    }

    /// Takes the answer to the command under way.
    pub(super) fn handle(&mut self, completion: CompletionCode, data: &[u8]) -> Step {
        if !completion.is_ok() && !self.now.optional {
            let harmless = self.order.repeat() == Repeat::Harmless;
            return match completion {
                CompletionCode::UNSPECIFIED if harmless => Step::Again,
                _ => Step::Done(self.refused(completion)),
            };
        }
        if let Some(next) = self.rest.pop_front() {
            self.now = next;
            return Step::Next(self.now.request.clone());
        }
        Step::Done(match reading(&self.order, data) {
            Ok(reading) => Report::Accepted(reading),
            Err(text) => Report::Refused(Refusal {
                code: 0,
                kind: RefusalKind::Failed,
                text,
            }),
        })
    }

    /// The report of a refusal of the command under way.
    pub(super) fn refused(&self, completion: CompletionCode) -> Report {
        let request = &self.now.request;
        let text = completion
            .words_for(request.net_fn, request.command)
            .to_owned();
        Report::Refused(Refusal {
            code: completion.0,
            kind: kind(completion),
            text,
        })
    }
}

/// The reading that keeps a session alive.
pub(super) fn keepalive() -> Request {
    Request::of(&get_device_id::Request, Resend::Allowed, READ_PATIENCE)
}

fn parts(order: &Order) -> Vec<Part> {
    let control = |what: chassis_control::Request| {
        let (resend, patience) = match order.repeat() {
            Repeat::Harmless => (Resend::Allowed, READ_PATIENCE),
            // One datagram, ever: then the machine is looked at.
            Repeat::AfterLook | Repeat::Never => (Resend::Never, PULSE_PATIENCE),
        };
        vec![part(Request::of(&what, resend, patience))]
    };
    match order {
        Order::ReadPower => read(&get_chassis_status::Request),
        Order::PowerOn => control(chassis_control::Request::PowerUp),
        Order::PowerOff => control(chassis_control::Request::PowerDown),
        Order::SoftOff => control(chassis_control::Request::SoftShutdown),
        Order::Cycle => control(chassis_control::Request::PowerCycle),
        Order::Reset => control(chassis_control::Request::HardReset),
        Order::Nmi => control(chassis_control::Request::DiagnosticInterrupt),
        Order::ReadRestartCause => read(&get_system_restart_cause::Request),
        Order::ReadEventLogInfo => read(&get_sel_info::Request),
        Order::ReadEventLogEntry(record) => read(&get_sel_entry::Request::whole(*record)),
        Order::Identify(duration) => read(&identify(*duration)),
        Order::ReadBootDevice => read(&get_system_boot_options::Request {
            number: 5,
            set: 0,
            block: 0,
        }),
        Order::SetBootDevice {
            device,
            persistent,
            uefi,
        } => set_boot_device(*device, *persistent, *uefi),
        Order::ReadIdentity => read(&get_device_id::Request),
        Order::ReadPowerUse => read(&get_dcmi_power_reading::Request),
        Order::Raw {
            net_fn,
            lun,
            command,
            data,
        } => vec![part(Request {
            net_fn: *net_fn,
            lun: *lun,
            command: *command,
            data: data.clone(),
            bridge: Bridge::None,
            resend: Resend::Never,
            patience: READ_PATIENCE,
        })],
    }
}

fn part(request: Request) -> Part {
    Part {
        request,
        optional: false,
    }
}

fn read<C: Command>(command: &C) -> Vec<Part> {
    vec![part(Request::of(command, Resend::Allowed, READ_PATIENCE))]
}

fn identify(duration: Option<Duration>) -> chassis_identify::Request {
    match duration {
        None => chassis_identify::Request::Forever,
        // A part of a second is a second: zero would end it.
        Some(time) => {
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            chassis_identify::Request::Seconds(u8::try_from(seconds).unwrap_or(u8::MAX))
        }
    }
}

/// As Ironic does it: without the 60 s after which a BMC would forget the boot flags again (§28.14, parameter 3).
fn set_boot_device(device: Option<BootDevice>, persistent: bool, uefi: bool) -> Vec<Part> {
    let set = |parameter| {
        let request = set_system_boot_options::Request {
            invalid: false,
            parameter,
        };
        Request::of(&request, Resend::Allowed, READ_PATIENCE)
    };
    let keep = FlagValidClearing(FlagValidClearing::TIMEOUT);
    let flags = BootFlags {
        valid: device.is_some(),
        persistent,
        uefi,
        device: device.map_or(Device::NONE, selector),
        ..BootFlags::default()
    };
    // Many BMCs have only the flags themselves (§28.12 lets them): the rest may be refused.
    vec![
        Part {
            request: set(Parameter::FlagValidClearing(keep)),
            optional: true,
        },
        part(set(Parameter::BootFlags(flags))),
    ]
}

fn selector(device: BootDevice) -> Device {
    match device {
        BootDevice::Pxe => Device::PXE,
        BootDevice::Disk => Device::DISK,
        BootDevice::Cdrom => Device::CDROM,
        BootDevice::Bios => Device::BIOS,
        BootDevice::Safe => Device::SAFE,
    }
}

/// What the data of the last answer says.
fn reading(order: &Order, data: &[u8]) -> Result<Reading, String> {
    fn decode<T: Wire>(data: &[u8]) -> Result<T, String> {
        T::decode(data).map_err(|error| format!("its answer cannot be read: {error}"))
    }
    Ok(match order {
        Order::ReadPower => {
            let status: get_chassis_status::Response = decode(data)?;
            Reading::Power(if status.is_on() {
                Power::On
            } else {
                Power::Off
            })
        }
        Order::ReadRestartCause => {
            let answer: get_system_restart_cause::Response = decode(data)?;
            Reading::RestartCause(restart_cause(answer.cause))
        }
        Order::ReadEventLogInfo => {
            let info: get_sel_info::Response = decode(data)?;
            Reading::EventLogInfo {
                entries: info.entries,
                last_added: info.last_added,
            }
        }
        Order::ReadEventLogEntry(_) => {
            let answer: get_sel_entry::Response = decode(data)?;
            let record = answer
                .record()
                .map_err(|error| format!("its entry cannot be read: {error}"))?;
            Reading::EventLogEntry(EventLogEntry {
                id: record.id,
                next: answer.next,
                timestamp: record.timestamp(),
                text: record.words(),
                crash: record.is_crash(),
            })
        }
        Order::ReadBootDevice => {
            let answer: get_system_boot_options::Response = decode(data)?;
            let Parameter::BootFlags(flags) = answer.parameter else {
                return Err("its answer is not about boot flags".to_owned());
            };
            let usable = flags.valid && !answer.invalid;
            let device = boot_device(flags.device).filter(|_| usable);
            Reading::BootDevice {
                device,
                persistent: flags.persistent && device.is_some(),
            }
        }
        Order::ReadIdentity => {
            let answer: get_device_id::Response = decode(data)?;
            Reading::Identity {
                manufacturer: answer.manufacturer,
                product: answer.product,
                firmware: answer.firmware(),
            }
        }
        Order::ReadPowerUse => {
            let answer: get_dcmi_power_reading::Response = decode(data)?;
            Reading::PowerUse {
                watts: answer.current,
            }
        }
        Order::Raw { .. } => Reading::Raw(data.to_vec()),
        _ => Reading::Done,
    })
}

fn boot_device(device: Device) -> Option<BootDevice> {
    match device {
        Device::PXE => Some(BootDevice::Pxe),
        Device::DISK => Some(BootDevice::Disk),
        Device::SAFE => Some(BootDevice::Safe),
        Device::CDROM | Device::REMOTE_CDROM => Some(BootDevice::Cdrom),
        Device::BIOS => Some(BootDevice::Bios),
        _ => None,
    }
}

fn restart_cause(cause: get_system_restart_cause::Cause) -> RestartCause {
    use get_system_restart_cause::Cause;
    match cause {
        Cause::Unknown => RestartCause::Unknown,
        Cause::ChassisControl => RestartCause::ChassisControl,
        Cause::ResetButton => RestartCause::ResetButton,
        Cause::PowerButton => RestartCause::PowerButton,
        Cause::Watchdog => RestartCause::Watchdog,
        Cause::AlwaysRestore => RestartCause::AlwaysRestore,
        Cause::RestorePrevious => RestartCause::RestorePrevious,
        Cause::PlatformEventReset => RestartCause::PlatformEventReset,
        Cause::PlatformEventCycle => RestartCause::PlatformEventCycle,
        Cause::SoftReset => RestartCause::SoftReset,
        Cause::RealTimeClock => RestartCause::RealTimeClock,
        Cause::Other(number) => RestartCause::Other(number),
    }
}

/// The policy of the protocol notes, section 1.7.
fn kind(completion: CompletionCode) -> RefusalKind {
    match completion {
        CompletionCode::BUSY
        | CompletionCode::TIMEOUT
        | CompletionCode::OUT_OF_SPACE
        | CompletionCode::INITIALISING
        | CompletionCode::NO_RESPONSE => RefusalKind::Busy,
        CompletionCode::FIRMWARE_UPDATE | CompletionCode::REPOSITORY_UPDATE => {
            RefusalKind::Updating
        }
        CompletionCode::INVALID_COMMAND
        | CompletionCode::INVALID_LUN
        | CompletionCode::OUT_OF_RANGE
        | CompletionCode::INVALID_DATA
        | CompletionCode::DISABLED => RefusalKind::NotSupported,
        CompletionCode::NOT_IN_PRESENT_STATE => RefusalKind::NotInPresentState,
        CompletionCode::INSUFFICIENT_PRIVILEGE => RefusalKind::NotPermitted,
        _ => RefusalKind::Failed,
    }
}

/// How long one session waits for the answer to a harmless command before it is not trusted any more.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How long the answer to a pulse is waited for: a slow BMC's, not a lost one's.
const PULSE_PATIENCE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_status_is_told_with_its_code_and_meaning() {
        let (mut script, request) = Script::begin(&Order::SoftOff);
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
            let (mut script, _) = Script::begin(&Order::ReadPower);
            let Step::Done(report) = script.handle(CompletionCode::OK, data) else {
                panic!()
            };
            assert_eq!(report, Report::Accepted(Reading::Power(Power::On)));
        }
    }

    #[test]
    fn an_answer_cut_short_is_a_refusal_and_not_a_guess() {
        let (mut script, _) = Script::begin(&Order::ReadPower);
        assert!(matches!(
            script.handle(CompletionCode::OK, &[]),
            Step::Done(Report::Refused(_))
        ));
    }

    #[test]
    fn a_bmc_without_the_boot_flag_timeout_still_gets_its_boot_device() {
        let order = Order::SetBootDevice {
            device: Some(BootDevice::Pxe),
            persistent: false,
            uefi: true,
        };
        let (mut script, first) = Script::begin(&order);
        assert_eq!(first.data, [3, 0x08]);
        let Step::Next(second) = script.handle(CompletionCode(0x80), &[]) else {
            panic!()
        };
        // §28.14: parameter 5; valid + UEFI (A0h); PXE (1 in bits 5:2).
        assert_eq!(second.data, [5, 0xA0, 0x04, 0, 0, 0]);
        assert!(matches!(
            script.handle(CompletionCode::OK, &[]),
            Step::Done(Report::Accepted(Reading::Done))
        ));
    }

    #[test]
    fn an_unspecified_error_is_asked_again_for_levels_only() {
        let answer = |order| Script::begin(&order).0.handle(CompletionCode(0xFF), &[]);
        assert!(matches!(answer(Order::PowerOn), Step::Again));
        assert!(matches!(
            answer(Order::Reset),
            Step::Done(Report::Refused(_))
        ));
    }
}
