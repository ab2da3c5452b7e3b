//! Sequences that are driven by hand to what no simulated BMC says: every trouble, every restart
//! cause, a pulse whose answer was lost and whose effect is seen, event log entries that tell of no
//! crash.

use crate::frozen::Line;
use crate::world::{millis, secs};
use rackbmcd::bmc::vocabulary::{
    EventLogEntry, Order, OrderId, Reading, Refusal, RefusalKind, Report, Sign, Silence,
};
use rackbmcd::model::{BootDevice, Control, Delivery, Operation, Power, RestartCause, Trouble};
use rackbmcd::power::{Boot, Sequence, Settings};
use rackbmcd::time::Instant;
use uuid::Uuid;

pub(crate) const CAUSES: [RestartCause; 12] = [
    RestartCause::Unknown,
    RestartCause::ChassisControl,
    RestartCause::ResetButton,
    RestartCause::PowerButton,
    RestartCause::Watchdog,
    RestartCause::AlwaysRestore,
    RestartCause::RestorePrevious,
    RestartCause::PlatformEventReset,
    RestartCause::PlatformEventCycle,
    RestartCause::SoftReset,
    RestartCause::RealTimeClock,
    RestartCause::Other(0x0D),
];

pub(crate) const TROUBLES: [Trouble; 15] = [
    Trouble::NoAddress,
    Trouble::Unreachable,
    Trouble::Silent,
    Trouble::WrongPassword,
    Trouble::UnknownUser,
    Trouble::NoPrivilege,
    Trouble::NoCommonSuite,
    Trouble::NoProtocol,
    Trouble::SessionsFull,
    Trouble::Busy,
    Trouble::Held,
    Trouble::BreakerOpen,
    Trouble::Protocol,
    Trouble::Withdrawn,
    Trouble::WrongBmc,
];

pub(crate) const REFUSALS: [RefusalKind; 7] = [
    RefusalKind::Busy,
    RefusalKind::Updating,
    RefusalKind::NotSupported,
    RefusalKind::Doubted,
    RefusalKind::NotInPresentState,
    RefusalKind::NotPermitted,
    RefusalKind::Failed,
];

/// A sequence, its time and the number of its next order.
struct Driven {
    sequence: Sequence,
    now: Instant,
    order: u64,
    entries: Vec<Line>,
}

impl Driven {
    fn new(operation: Operation) -> Self {
        Self::by(operation, Settings::default())
    }

    fn by(operation: Operation, settings: Settings) -> Self {
        let now = Instant::after_start(secs(50));
        let mut sequence = Sequence::new(operation, settings);
        sequence.begin(now);
        Self {
            sequence,
            now,
            order: 1,
            entries: Vec::new(),
        }
    }

    /// Gives the next order and, where there is one, takes a record of the sequence that awaits its
    /// answer.
    fn next(&mut self) -> Option<Order> {
        loop {
            if let Some(order) = self.sequence.poll_order(OrderId(self.order)) {
                self.sequence.handle_sent(OrderId(self.order), self.now);
                self.keep();
                return Some(order);
            }
            self.now = self.sequence.poll_timeout()?;
            self.sequence.handle_timeout(self.now);
        }
    }

    fn report(&mut self, report: Report) {
        self.now += millis(300);
        self.sequence
            .handle_report(OrderId(self.order), report, self.now);
        self.order += 1;
        self.keep();
    }

    fn say(&mut self, reading: Reading) {
        self.report(Report::Accepted(reading));
    }

    fn silence(&mut self, trouble: Trouble, delivery: Delivery) {
        let text = trouble.words().to_owned();
        self.report(Report::Unanswered(Silence {
            delivery,
            trouble,
            text,
        }));
    }

    /// Takes a record as the rack would put it down now.
    fn keep(&mut self) {
        let id = Uuid::from_u128(0x01a0_ca46_4e71_7000_9ac9_bed1_d55d_84a4);
        let sequence = serde_json::to_string(&self.sequence.record(self.now)).expect("plain");
        // The journal has its own name for it, apart from the API's.
        let stored: serde_json::Value = serde_json::from_str(&sequence).expect("just written");
        let operation = &stored["knowledge"]["operation"];
        let record = format!(
            "{{\"identity\":{{\"id\":\"{id}\",\"node\":\"n01\",\"node_uuid\":\"{}\",\"batch\":null,\
             \"operation\":{operation},\"requested_by\":{{\"name\":\"alice\",\"uid\":1000,\"gid\":100,\"pid\":4711,\
             \"request\":\"req-7f\"}},\"requested_at\":1790100000000000,\"started_at\":1790100000050000,\
             \"ended_at\":null,\"version\":3,\"controls\":[]}},\"sequence\":{sequence},\"written_at\":1790100001000000,\
             \"resuming\":null,\"returning\":null,\"unsent\":null}}",
            Uuid::from_u128(0x7ac4_0000)
        );
        self.entries.push(Line {
            table: "tasks".to_owned(),
            key: id.to_string(),
            value: record.into_bytes(),
        });
    }
}

/// The records of all of them.
pub(crate) fn all() -> Vec<Line> {
    let mut entries = Vec::new();
    for trouble in TROUBLES {
        for delivery in [Delivery::NotSent, Delivery::Unknown] {
            let mut driven = Driven::new(Operation::PowerOn);
            driven.next();
            driven.silence(trouble, delivery);
            entries.append(&mut driven.entries);
        }
    }
    for kind in REFUSALS {
        let mut driven = Driven::new(Operation::PowerOn);
        driven.next();
        let text = "no".to_owned();
        driven.report(Report::Refused(Refusal {
            code: 0xC1,
            kind,
            text,
            unanswered: 0,
        }));
        entries.append(&mut driven.entries);
    }
    for control in [Control::Abort, Control::Cancel, Control::Rollback] {
        entries.append(&mut withdrawing(control));
    }
    entries.append(&mut booting());
    for cause in CAUSES {
        for operation in [Operation::InjectNmi, Operation::Cycle, Operation::Reset] {
            let mut driven = Driven::new(operation);
            drive(&mut driven, cause, 40);
            entries.append(&mut driven.entries);
        }
    }
    entries
}

/// An order that was given and has not left is being withdrawn.
fn withdrawing(control: Control) -> Vec<Line> {
    let mut driven = Driven::new(Operation::SoftPowerOff);
    driven.next();
    driven.say(Reading::Power(Power::On));
    let given = driven.sequence.poll_order(OrderId(driven.order));
    assert_eq!(given, Some(Order::SoftOff));
    let done = driven.sequence.control(control, "bob", driven.now);
    done.expect("nothing has left");
    driven.entries.clear();
    driven.keep();
    driven.entries
}

/// A machine is switched on to boot from a device, which its BMC reads back.
fn booting() -> Vec<Line> {
    let boot = Some(Boot {
        device: BootDevice::Pxe,
        uefi: true,
    });
    let settings = Settings {
        boot,
        ..Settings::default()
    };
    let mut driven = Driven::by(Operation::PowerOn, settings);
    let mut looks = 0;
    for _ in 0..6 {
        match driven.next() {
            None => break,
            Some(Order::ReadPower) => {
                looks += 1;
                let power = if looks > 1 { Power::On } else { Power::Off };
                driven.say(Reading::Power(power));
            }
            Some(Order::SetBootDevice {
                device,
                persistent,
                uefi,
            }) => driven.say(Reading::BootDevice {
                device,
                persistent,
                uefi,
            }),
            Some(_) => driven.say(Reading::Done),
        }
    }
    driven.entries
}

/// Answers whatever is asked: the pulse is never answered, and what is read afterwards shows that
/// it arrived.
fn drive(driven: &mut Driven, cause: RestartCause, most: usize) {
    let (mut pulsed, mut looks) = (false, 0);
    for _ in 0..most {
        let Some(order) = driven.next() else { return };
        match order {
            Order::ReadPower => {
                looks += 1;
                let off = pulsed && looks % 4 == 3;
                driven.say(Reading::Power(if off { Power::Off } else { Power::On }));
            }
            Order::ReadRestartCause if pulsed && cause == RestartCause::Unknown => {
                driven.say(Reading::RestartCause(RestartCause::Watchdog));
            }
            Order::ReadRestartCause => driven.say(Reading::RestartCause(cause)),
            Order::ReadEventLogInfo => driven.say(Reading::EventLogInfo {
                entries: if pulsed { 3 } else { 1 },
                last_added: if pulsed { 1_000_100 } else { 1_000_000 },
            }),
            Order::ReadEventLogEntry(id) => {
                let id = if id == 0xFFFF { 1 } else { id.max(1) };
                driven.say(Reading::EventLogEntry(EventLogEntry {
                    id,
                    next: if pulsed && id < 3 { id + 1 } else { 0xFFFF },
                    timestamp: 1_000_000 + u32::from(id),
                    text: if id == 3 {
                        "OS stop: run-time critical stop"
                    } else {
                        "fan 3: lower critical"
                    }
                    .to_owned(),
                    sign: if id == 3 { Sign::Crash } else { Sign::None },
                    by_other: false,
                }));
            }
            _ => {
                pulsed = true;
                driven.silence(Trouble::Silent, Delivery::Unknown);
            }
        }
    }
}
