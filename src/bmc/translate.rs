//! Orders as IPMI commands, and IPMI answers as readings: the one place where both vocabularies meet.

use super::vocabulary::{
    BootDevice, EventLogEntry, Order, Power, Reading, Refusal, RefusalKind, Repeat, Report,
    RestartCause, Route,
};
use crate::ipmi::command::set_system_boot_options::{
    BootFlags, Device, FlagValidClearing, Parameter,
};
use crate::ipmi::command::{
    Command, chassis_control, chassis_identify, clear_sel, cold_reset, get_acpi_power_state,
    get_chassis_status, get_dcmi_power_reading, get_device_guid, get_device_id, get_sel_entry,
    get_sel_info, get_session_info, get_system_boot_options, get_system_restart_cause, reserve_sel,
    send_message, set_system_boot_options, warm_reset,
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
    /// The newest entries of the event log among those that were walked over so far.
    entries: VecDeque<EventLogEntry>,
    /// How many those are.
    walked: u32,
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
    /// The next command, [`Script::request`], after a pause.
    Next {
        /// How long the BMC is left alone before.
        pause: Duration,
    },
    /// The BMC was too busy, and the same command may be sent again.
    Busy,
    /// The order has its report.
    Done(Report),
}

impl Script {
    /// The commands of `order`, of which the first is to be sent now.
    pub(super) fn begin(order: &Order) -> Script {
        let mut rest = VecDeque::from(parts(order));
        let now = rest.pop_front().expect("every order has a first command");
        Script {
            order: order.clone(),
            rest,
            now,
            entries: VecDeque::new(),
            walked: 0,
        }
    }

    /// The command that is to be sent now, or was.
    pub(super) fn request(&self) -> Request {
        self.now.request.clone()
    }

    /// What an order that is ended early has brought so far, where that is of use.
    pub(super) fn so_far(&mut self, _why: &str) -> Option<Reading> {
        None
    }

    /// Takes the answer to the command under way.
    pub(super) fn handle(&mut self, completion: CompletionCode, data: &[u8]) -> Step {
        if completion == CompletionCode::NOT_PRESENT && matches!(self.order, Order::ReadEventLog(_))
        {
            // An empty log has no first entry, and one that was cleared meanwhile no next one.
            return Step::Done(Report::Accepted(Reading::EventLog(
                self.entries.drain(..).collect(),
            )));
        }
        if !completion.is_ok() && !self.now.optional {
            let harmless = self.order.repeat() == Repeat::Harmless;
            return match harmless && passes(completion) {
                true => Step::Busy,
                false => Step::Done(self.refused(completion)),
            };
        }
        match self.follow(completion, data) {
            Ok(Some(next)) => self.rest.push_front(next),
            Ok(None) => {}
            Err(text) => return Step::Done(unreadable(text)),
        }
        if let Some(next) = self.rest.pop_front() {
            self.now = next;
            return Step::Next {
                pause: Duration::ZERO,
            };
        }
        if let Order::ReadEventLog(_) = self.order {
            return Step::Done(Report::Accepted(Reading::EventLog(
                self.entries.drain(..).collect(),
            )));
        }
        Step::Done(reading(&self.order, data).map_or_else(unreadable, Report::Accepted))
    }

    /// The next command, where it depends on the answer to the one before.
    fn follow(&mut self, completion: CompletionCode, data: &[u8]) -> Result<Option<Part>, String> {
        match (&self.order, self.now.request.command) {
            (Order::ClearEventLog, <reserve_sel::Request as Command>::NUMBER)
                if completion.is_ok() =>
            {
                let reservation = decode::<reserve_sel::Response>(data)?.reservation;
                let clear = clear_sel::Request {
                    reservation,
                    action: clear_sel::Action::Initiate,
                };
                Ok(Some(part(Request::of(
                    &clear,
                    Resend::Allowed,
                    READ_PATIENCE,
                ))))
            }
            (Order::ReadEventLog(limit), _) => {
                let answer: get_sel_entry::Response = decode(data)?;
                let limit = usize::from(*limit).clamp(1, LOG_LIMIT);
                self.entries.push_back(entry(&answer)?);
                if self.entries.len() > limit {
                    self.entries.pop_front();
                }
                // FFFFh follows the last one; a BMC that goes round in circles is not followed for ever.
                self.walked += 1;
                let on = answer.next != LAST_RECORD && self.walked < LOG_WALK;
                let next = get_sel_entry::Request::whole(answer.next);
                Ok(on.then(|| part(Request::of(&next, Resend::Allowed, READ_PATIENCE))))
            }
            _ => Ok(None),
        }
    }

    /// The report of a refusal of the command under way.
    pub(super) fn refused(&self, completion: CompletionCode) -> Report {
        let request = &self.now.request;
        // §22.7: these are the BMC's words about the way, not the controller's about the command.
        let on_the_way = request.bridge != Bridge::None && (0x81..=0x83).contains(&completion.0);
        let (net_fn, command) = match on_the_way {
            true => (send_message::Request::NET_FN, send_message::Request::NUMBER),
            false => (request.net_fn, request.command),
        };
        let text = completion.words_for(net_fn, command).to_owned();
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
        Order::ReadAcpiState => read(&get_acpi_power_state::Request),
        Order::ReadGuid => read(&get_device_guid::Request),
        Order::ReadSessions => read(&get_session_info::Request::Current),
        Order::ReadEventLog(_) => read(&get_sel_entry::Request::whole(0)),
        Order::ClearEventLog => read(&reserve_sel::Request),
        Order::ResetBmc { cold: true } => once(&cold_reset::Request),
        Order::ResetBmc { cold: false } => once(&warm_reset::Request),
        Order::Raw {
            net_fn,
            lun,
            command,
            data,
            route,
        } => vec![part(Request {
            net_fn: *net_fn,
            lun: *lun,
            command: *command,
            data: data.clone(),
            bridge: bridge(*route),
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

/// One datagram, ever.
fn once<C: Command>(command: &C) -> Vec<Part> {
    vec![part(Request::of(command, Resend::Never, PULSE_PATIENCE))]
}

fn bridge(route: Route) -> Bridge {
    match route {
        Route::Direct => Bridge::None,
        Route::Behind { channel, address } => Bridge::Single { channel, address },
        Route::Beyond {
            transit_channel,
            transit_address,
            channel,
            address,
        } => Bridge::Dual {
            transit_channel,
            transit_address,
            channel,
            address,
        },
    }
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

fn decode<T: Wire>(data: &[u8]) -> Result<T, String> {
    T::decode(data).map_err(|error| format!("its answer cannot be read: {error}"))
}

fn unreadable(text: String) -> Report {
    Report::Refused(Refusal {
        code: 0,
        kind: RefusalKind::Failed,
        text,
    })
}

fn entry(answer: &get_sel_entry::Response) -> Result<EventLogEntry, String> {
    let record = answer
        .record()
        .map_err(|error| format!("its entry cannot be read: {error}"))?;
    Ok(EventLogEntry {
        id: record.id,
        next: answer.next,
        timestamp: record.timestamp(),
        text: record.words(),
        crash: record.is_crash(),
    })
}

/// What the data of the last answer says.
fn reading(order: &Order, data: &[u8]) -> Result<Reading, String> {
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
        Order::ReadEventLogEntry(_) => Reading::EventLogEntry(entry(&decode(data)?)?),
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
                uefi: flags.uefi && device.is_some(),
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
        Order::ReadAcpiState => {
            let state: get_acpi_power_state::Response = decode(data)?;
            Reading::AcpiState(state.words().to_owned())
        }
        Order::ReadGuid => {
            let answer: get_device_guid::Response = decode(data)?;
            Reading::Guid(uuid::Uuid::from_bytes(answer.reversed()))
        }
        Order::ReadSessions => {
            let answer: get_session_info::Response = decode(data)?;
            Reading::Sessions {
                active: answer.active,
                possible: answer.possible,
            }
        }
        Order::Raw { .. } => Reading::Raw(data.to_vec()),
        Order::PowerOn
        | Order::PowerOff
        | Order::SoftOff
        | Order::Cycle
        | Order::Reset
        | Order::Nmi
        | Order::Identify(_)
        | Order::SetBootDevice { .. }
        | Order::ClearEventLog
        | Order::ResetBmc { .. } => Reading::Done,
        // `Script::handle` has collected its entries one by one.
        Order::ReadEventLog(_) => Reading::EventLog(Vec::new()),
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

/// Whether the same command may well be taken a moment later.
fn passes(completion: CompletionCode) -> bool {
    kind(completion) == RefusalKind::Busy
}

/// What each completion code leads to: docs/protocol.md, "Completion codes".
fn kind(completion: CompletionCode) -> RefusalKind {
    match completion {
        CompletionCode::BUSY
        | CompletionCode::TIMEOUT
        | CompletionCode::OUT_OF_SPACE
        | CompletionCode::INITIALISING
        | CompletionCode::NO_RESPONSE
        // No reason given: the only word that some have for "not ready yet".
        | CompletionCode::UNSPECIFIED => RefusalKind::Busy,
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

/// The record id that follows the last entry of the event log (§31.5).
const LAST_RECORD: u16 = 0xFFFF;
/// Entries that one reading of the event log returns at most.
const LOG_LIMIT: usize = 256;
/// Entries that one reading of the event log walks over at most.
const LOG_WALK: u32 = 512;
/// How long one session waits for the answer to a harmless command before it is not trusted any more.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// How long the answer to a pulse is waited for: a slow BMC's, not a lost one's.
const PULSE_PATIENCE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_answer_cut_short_is_a_refusal_and_not_a_guess() {
        let mut script = Script::begin(&Order::ReadPower);
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
        let mut script = Script::begin(&order);
        assert_eq!(script.request().data, [3, 0x08]);
        let step = script.handle(CompletionCode(0x80), &[]);
        assert!(matches!(step, Step::Next { .. }));
        // §28.14: parameter 5; valid + UEFI (A0h); PXE (1 in bits 5:2).
        assert_eq!(script.request().data, [5, 0xA0, 0x04, 0, 0, 0]);
        assert!(matches!(
            script.handle(CompletionCode::OK, &[]),
            Step::Done(Report::Accepted(Reading::Done))
        ));
    }

    #[test]
    fn the_newest_entries_of_an_event_log_are_kept_and_an_empty_log_is_no_error() {
        // §31.5: next record id, then the 16 bytes of §32.1: id, type 02h, timestamp, generator, ...
        let answer = |id: u8, next: u16| {
            let mut data = next.to_le_bytes().to_vec();
            data.extend([
                id, 0, 0x02, 0, 0, 0, 0, 0x20, 0, 0x04, 0x20, 0, 0x6F, 0xA1, 0xFF, 0xFF,
            ]);
            data
        };
        let mut script = Script::begin(&Order::ReadEventLog(2));
        let first = script.request();
        assert_eq!(
            (first.net_fn, first.command, &first.data[2..4]),
            (0x0A, 0x43, &[0, 0][..])
        );
        for (id, next) in [(1, 2u16), (2, 3)] {
            let step = script.handle(CompletionCode::OK, &answer(id, next));
            assert!(matches!(step, Step::Next { .. }));
            assert_eq!(script.request().data[2..4], next.to_le_bytes());
        }
        let Step::Done(Report::Accepted(Reading::EventLog(entries))) =
            script.handle(CompletionCode::OK, &answer(3, 0xFFFF))
        else {
            panic!()
        };
        assert_eq!(
            entries.iter().map(|entry| entry.id).collect::<Vec<_>>(),
            [2, 3]
        );
        let mut script = Script::begin(&Order::ReadEventLog(2));
        let step = script.handle(CompletionCode::NOT_PRESENT, &[]);
        assert!(
            matches!(step, Step::Done(Report::Accepted(Reading::EventLog(entries))) if entries.is_empty())
        );
    }

    #[test]
    fn a_log_is_cleared_with_the_reservation_that_was_given() {
        let mut script = Script::begin(&Order::ClearEventLog);
        let reserve = script.request();
        assert_eq!((reserve.net_fn, reserve.command), (0x0A, 0x42));
        let step = script.handle(CompletionCode::OK, &[0x34, 0x12]);
        assert!(matches!(step, Step::Next { .. }));
        assert_eq!(script.request().data, [0x34, 0x12, b'C', b'L', b'R', 0xAA]);
        assert!(matches!(
            script.handle(CompletionCode::OK, &[0]),
            Step::Done(Report::Accepted(Reading::Done))
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
}
