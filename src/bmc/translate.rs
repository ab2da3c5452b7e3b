//! Orders as IPMI commands, and IPMI answers as readings: the one place where both vocabularies
//! meet, but for the event log's.

use super::script::{Need, Part, READ_PATIENCE, command};
use super::vocabulary::{EventLogEntry, Order, Reading, RefusalKind, Repeat, Route, Sign};
use crate::ipmi::command::set_system_boot_options::{
    BootFlags, Device, FlagValidClearing, Parameter,
};
use crate::ipmi::command::{
    Command, chassis_control, chassis_identify, cold_reset, get_acpi_power_state,
    get_chassis_capabilities, get_chassis_status, get_dcmi_power_reading, get_device_guid,
    get_device_id, get_poh_counter, get_sel_entry, get_sel_info, get_self_test_results,
    get_session_info, get_system_boot_options, get_system_guid, get_system_restart_cause,
    set_power_restore_policy, set_system_boot_options, warm_reset,
};
use crate::ipmi::{CompletionCode, Wire, event, guid};
use crate::model::{BootDevice, Chassis, Light, Power, RestorePolicy, Word};
use crate::session::{Bridge, Request, Resend};
use std::time::Duration;

/// The reading that keeps a session alive.
pub(super) fn keepalive() -> Request {
    Request::of(&get_device_id::Request, Resend::Allowed, READ_PATIENCE)
}

pub(super) fn parts(order: &Order) -> Vec<Part> {
    match order {
        Order::ReadPower => single(order, &get_chassis_status::Request),
        Order::PowerOn => single(order, &chassis_control::Request::PowerUp),
        Order::PowerOff => single(order, &chassis_control::Request::PowerDown),
        Order::SoftOff => single(order, &chassis_control::Request::SoftShutdown),
        Order::Cycle => single(order, &chassis_control::Request::PowerCycle),
        Order::Reset => single(order, &chassis_control::Request::HardReset),
        Order::Nmi => single(order, &chassis_control::Request::DiagnosticInterrupt),
        Order::ReadRestartCause => single(order, &get_system_restart_cause::Request),
        Order::ReadEventLogInfo => single(order, &get_sel_info::Request),
        Order::ReadEventLogEntry(record) => single(order, &get_sel_entry::Request::whole(*record)),
        Order::Identify(duration) => single(order, &identify(*duration)),
        Order::ReadBootDevice => single(order, &BOOT_FLAGS),
        Order::SetBootDevice {
            device,
            persistent,
            uefi,
        } => set_boot_device(*device, *persistent, *uefi),
        Order::ReadIdentity => single(order, &get_device_id::Request),
        Order::ReadPowerUse => single(order, &get_dcmi_power_reading::Request),
        Order::ReadAcpiState => single(order, &get_acpi_power_state::Request),
        // The machine's GUID, or the BMC's own where it does not know the machine's.
        Order::ReadGuid => vec![
            optional(command(&get_system_guid::Request)),
            otherwise(command(&get_device_guid::Request)),
        ],
        Order::ReadChassis => vec![
            part(command(&get_chassis_status::Request)),
            optional(command(&get_chassis_capabilities::Request)),
            optional(command(&get_self_test_results::Request)),
            optional(command(&get_poh_counter::Request)),
        ],
        Order::SetRestorePolicy(policy) => vec![
            part(command(&set_power_restore_policy::Request(restore_policy(
                *policy,
            )))),
            part(command(&get_chassis_status::Request)),
        ],
        Order::ReadSessions => single(order, &get_session_info::Request::Current),
        Order::ReadEventLog(_) | Order::ClearEventLog => {
            unreachable!("these have commands of their own: `event_log`")
        }
        Order::ResetBmc { cold: true } => single(order, &cold_reset::Request),
        Order::ResetBmc { cold: false } => single(order, &warm_reset::Request),
        Order::Raw {
            net_fn,
            lun,
            command,
            data,
            route,
        } => vec![part(raw(*net_fn, *lun, *command, data, *route))],
    }
}

/// An order of one command, which is sent again, or not, as the order says.
fn single<C: Command>(order: &Order, command: &C) -> Vec<Part> {
    let (resend, patience) = match order.repeat() {
        Repeat::Harmless => (Resend::Allowed, READ_PATIENCE),
        // One datagram, ever: then the machine is looked at.
        Repeat::AfterLook | Repeat::Never => (Resend::Never, PULSE_PATIENCE),
    };
    vec![part(Request::of(command, resend, patience))]
}

fn raw(net_fn: u8, lun: u8, command: u8, data: &[u8], route: Route) -> Request {
    Request {
        net_fn,
        lun,
        command,
        data: data.to_vec(),
        bridge: bridge(route),
        // Nobody knows whether its bytes may be carried out twice.
        resend: Resend::Never,
        patience: READ_PATIENCE,
    }
}

fn part(request: Request) -> Part {
    Part {
        request,
        need: Need::Always,
    }
}

fn optional(request: Request) -> Part {
    Part {
        request,
        need: Need::Optional,
    }
}

/// Sent where the one before it was refused.
fn otherwise(request: Request) -> Part {
    Part {
        request,
        need: Need::Otherwise,
    }
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
        // A part of a second counts as one: 0 would put the light out.
        Some(time) => {
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            chassis_identify::Request::Seconds(u8::try_from(seconds).unwrap_or(u8::MAX))
        }
    }
}

/// As Ironic does it: without the 60 s after which a BMC would forget the boot flags again (§28.14,
/// parameter 3).
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
        device: device.map_or(Device::NONE, |device| Device(device.selector())),
        ..BootFlags::default()
    };
    // Many BMCs have only the flags themselves (§28.12 lets them): the rest may be refused.
    vec![
        optional(set(Parameter::FlagValidClearing(keep))),
        part(set(Parameter::BootFlags(flags))),
        optional(command(&BOOT_FLAGS)),
    ]
}

fn decode<T: Wire>(data: &[u8]) -> Result<T, String> {
    T::decode(data).map_err(|error| format!("its answer cannot be read: {error}"))
}

fn entry(answer: &get_sel_entry::Response) -> Result<EventLogEntry, String> {
    let record = answer
        .record()
        .map_err(|error| format!("its entry cannot be read: {error}"))?;
    Ok(entry_of(&record, answer.next))
}

/// What a record of the event log says, and which one follows it.
pub(super) fn entry_of(record: &event::Record, next: u16) -> EventLogEntry {
    EventLogEntry {
        id: record.id,
        next,
        timestamp: record.timestamp(),
        text: record.words(),
        sign: match record.sign() {
            event::Sign::None => Sign::None,
            event::Sign::Interrupt => Sign::Interrupt,
            event::Sign::Crash => Sign::Crash,
            event::Sign::Restart => Sign::Restart,
        },
        by_other: record.is_by_other(),
    }
}

/// What the answers to an order's commands say; `None` is one that was refused and could be.
pub(super) fn reading(order: &Order, answers: &[Option<Vec<u8>>]) -> Result<Reading, String> {
    let answer = |at: usize| answers.get(at).and_then(Option::as_deref);
    let last = answers.last().and_then(Option::as_deref);
    let data = last.or(answer(0)).unwrap_or_default();
    Ok(match order {
        Order::ReadPower => {
            let status: get_chassis_status::Response = decode(data)?;
            Reading::Power(power(&status))
        }
        Order::ReadRestartCause => {
            let answer: get_system_restart_cause::Response = decode(data)?;
            Reading::RestartCause(answer.cause)
        }
        Order::ReadEventLogInfo => event_log_info(&decode(data)?),
        Order::ReadEventLogEntry(_) => Reading::EventLogEntry(entry(&decode(data)?)?),
        Order::ReadBootDevice => boot_device(&boot_flags(data)?),
        Order::SetBootDevice {
            device,
            persistent,
            uefi,
        } => match last {
            Some(data) => as_asked(*device, *persistent, *uefi, &boot_flags(data)?)?,
            // The BMC took the setting, and cannot show it.
            None => Reading::Done,
        },
        Order::ReadChassis => Reading::Chassis(Box::new(chassis(data_of(answers)?)?)),
        Order::SetRestorePolicy(policy) => policy_as_asked(*policy, &decode(data)?)?,
        Order::ReadIdentity => identity(&decode(data)?),
        Order::ReadPowerUse => Reading::PowerUse {
            watts: watts(&decode(data)?)?,
        },
        Order::ReadAcpiState => {
            let state: get_acpi_power_state::Response = decode(data)?;
            Reading::AcpiState(state.words().to_owned())
        }
        Order::ReadGuid => {
            let answer: get_device_guid::Response = decode(data)?;
            Reading::Guid(uuid::Uuid::from_bytes(guid::as_written(answer.guid)))
        }
        Order::ReadSessions => sessions(&decode(data)?),
        Order::Raw { .. } => Reading::Raw(data.to_vec()),
        Order::PowerOn
        | Order::PowerOff
        | Order::SoftOff
        | Order::Cycle
        | Order::Reset
        | Order::Nmi
        | Order::Identify(_)
        | Order::ReadEventLog(_)
        | Order::ClearEventLog
        | Order::ResetBmc { .. } => Reading::Done,
    })
}

fn event_log_info(info: &get_sel_info::Response) -> Reading {
    Reading::EventLogInfo {
        entries: info.entries,
        last_added: info.last_added,
    }
}

fn identity(answer: &get_device_id::Response) -> Reading {
    Reading::Identity {
        manufacturer: answer.manufacturer,
        product: answer.product,
        firmware: answer.firmware(),
    }
}

fn sessions(answer: &get_session_info::Response) -> Reading {
    Reading::Sessions {
        active: answer.active,
        possible: answer.possible,
    }
}

fn policy_as_asked(
    policy: RestorePolicy,
    status: &get_chassis_status::Response,
) -> Result<Reading, String> {
    let shown = status.restore_policy();
    // A BMC may say yes and keep the old policy: done is what is read back.
    if shown != restore_policy(policy) {
        let shown = policy_word(shown).map_or("an unknown one", RestorePolicy::name);
        return Err(format!("asked for {policy}, and the BMC shows {shown}"));
    }
    Ok(Reading::Done)
}

fn power(status: &get_chassis_status::Response) -> Power {
    match status.is_on() {
        true => Power::On,
        false => Power::Off,
    }
}

/// The answers to status, capabilities, self test and power-on hours.
fn data_of(answers: &[Option<Vec<u8>>]) -> Result<[Option<&[u8]>; 4], String> {
    match answers {
        [status, capabilities, test, hours] => {
            Ok([status, capabilities, test, hours].map(Option::as_deref))
        }
        _ => Err("an answer is missing".to_owned()),
    }
}

fn chassis([status, capabilities, test, hours]: [Option<&[u8]>; 4]) -> Result<Chassis, String> {
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    let status: get_chassis_status::Response = decode(status.unwrap_or_default())?;
    // Not every BMC has these three: what cannot be read of them is not known.
    let capabilities = capabilities.and_then(|data| decode(data).ok());
    let test = test.and_then(|data| decode(data).ok());
    let hours = hours.and_then(|data| decode(data).ok());
    Ok(Chassis {
        power: power(&status),
        restore_policy: policy_word(status.restore_policy()),
        identify: status.light().map(|light| match light {
            get_chassis_status::Light::Off => Light::Off,
            get_chassis_status::Light::Timed => Light::Timed,
            get_chassis_status::Light::Indefinite => Light::On,
        }),
        faults: owned(status.faults()),
        last_power_event: owned(status.last_event_words()),
        locked_buttons: status.locked_buttons().map(owned),
        capabilities: capabilities.map(|answer: get_chassis_capabilities::Response| {
            answer.parts().into_iter().map(Word::from).collect()
        }),
        self_test: test.map(|answer: get_self_test_results::Response| answer.words()),
        power_on_hours: hours.and_then(|answer: get_poh_counter::Response| answer.hours()),
    })
}

/// Whether the request asks for the status of the chassis.
pub(super) fn is_chassis_status(request: &Request) -> bool {
    type Asked = get_chassis_status::Request;
    (request.net_fn, request.command) == (Asked::NET_FN, Asked::NUMBER)
        // The status of a controller behind the BMC is not this machine's.
        && request.bridge == Bridge::None
}

/// What an answer about the chassis says, without what is asked for apart.
pub(super) fn chassis_status(data: &[u8]) -> Option<Chassis> {
    chassis([Some(data), None, None, None]).ok()
}

fn policy_word(policy: get_chassis_status::RestorePolicy) -> Option<RestorePolicy> {
    match policy {
        get_chassis_status::RestorePolicy::StayOff => Some(RestorePolicy::AlwaysOff),
        get_chassis_status::RestorePolicy::Previous => Some(RestorePolicy::Previous),
        get_chassis_status::RestorePolicy::AlwaysOn => Some(RestorePolicy::AlwaysOn),
        get_chassis_status::RestorePolicy::Unknown => None,
    }
}

fn restore_policy(policy: RestorePolicy) -> get_chassis_status::RestorePolicy {
    match policy {
        RestorePolicy::AlwaysOff => get_chassis_status::RestorePolicy::StayOff,
        RestorePolicy::Previous => get_chassis_status::RestorePolicy::Previous,
        RestorePolicy::AlwaysOn => get_chassis_status::RestorePolicy::AlwaysOn,
    }
}

/// Watts now, where the BMC measures them.
fn watts(answer: &get_dcmi_power_reading::Response) -> Result<u16, String> {
    match (answer.active, answer.current) {
        (false, _) => Err("its power measurement is not active".to_owned()),
        // FFFFh is what a field without a figure shows.
        (true, u16::MAX) => Err("its power measurement has no figure".to_owned()),
        (true, watts) => Ok(watts),
    }
}

/// The boot flags of an answer, where they count.
fn boot_flags(data: &[u8]) -> Result<BootFlags, String> {
    let answer: get_system_boot_options::Response = decode(data)?;
    match answer.parameter {
        Parameter::BootFlags(flags) if flags.valid && !answer.invalid => Ok(flags),
        // §28.14: flags that are not valid are no override, whatever device they name.
        Parameter::BootFlags(_) => Ok(BootFlags::default()),
        _ => Err("its answer is not about boot flags".to_owned()),
    }
}

fn boot_device(flags: &BootFlags) -> Reading {
    Reading::BootDevice {
        device: BootDevice::of_selector(flags.device.0),
        persistent: flags.persistent,
        uefi: flags.uefi,
    }
}

/// The boot device as it was read back, where it is as asked for.
fn as_asked(
    device: Option<BootDevice>,
    persistent: bool,
    uefi: bool,
    flags: &BootFlags,
) -> Result<Reading, String> {
    let shown = boot_device(flags);
    let asked = Reading::BootDevice {
        device,
        persistent,
        uefi,
    };
    // Without an override the other flags mean nothing, and BMCs show any.
    let cleared = device.is_none() && flags.device == Device::NONE;
    if cleared || shown == asked {
        return Ok(shown);
    }
    Err(format!(
        "asked for {}, and the BMC shows {}",
        boot_words(device, persistent, uefi),
        boot_words(
            BootDevice::of_selector(flags.device.0),
            flags.persistent,
            flags.uefi
        )
    ))
}

/// `pxe for the next boot, in UEFI mode`
fn boot_words(device: Option<BootDevice>, persistent: bool, uefi: bool) -> String {
    let Some(device) = device else {
        return "no override".to_owned();
    };
    let often = match persistent {
        true => "for every boot",
        false => "for the next boot",
    };
    let mode = if uefi { ", in UEFI mode" } else { "" };
    format!("{device} {often}{mode}")
}

/// What each completion code leads to: docs/protocol.md, "Completion codes".
pub(super) fn kind(completion: CompletionCode) -> RefusalKind {
    match completion {
        CompletionCode::BUSY
        | CompletionCode::TIMEOUT
        | CompletionCode::OUT_OF_SPACE
        | CompletionCode::INITIALISING
        | CompletionCode::NO_RESPONSE
        // FFh gives no reason: some BMCs say nothing else for "not ready yet".
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

/// Parameter 5.
const BOOT_FLAGS: get_system_boot_options::Request = get_system_boot_options::Request {
    number: 5,
    set: 0,
    block: 0,
};
/// How long the answer to a pulse is waited for: a slow BMC's, not a lost one's.
const PULSE_PATIENCE: Duration = Duration::from_secs(4);
