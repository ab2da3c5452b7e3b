//! Kept datagrams as lines of text: when, which way, what it is, and its bytes.

use super::{Datagram, Form, Record, What};
use crate::ipmi::payload::PayloadType;
use crate::ipmi::reveal::Head;
use crate::ipmi::{Status, session15::AuthType};
use crate::time::WallTime;
use std::fmt::Write;
use std::time::Duration;

/// The line of a record that is so old, where the calendar says `wall` now.
pub(super) fn line(record: &Record, age: Duration, wall: WallTime) -> String {
    let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
    let at = WallTime::from_unix_micros(wall.unix_micros().saturating_sub(micros));
    let (seconds, port) = (age.as_secs_f64(), record.port);
    let when = format!("{at} {seconds:>11.6} s ago");
    match &record.what {
        What::Datagram(datagram) => {
            let way = if datagram.came { '<' } else { '>' };
            format!("{when} {way} port {port}: {}", in_words(datagram))
        }
        What::Unreachable => {
            format!("{when} < port {port}: the network says that nothing listens there")
        }
        What::Repeated { times, each } => {
            let datagrams = match each {
                1 => "datagram that follows",
                _ => "datagrams that follow",
            };
            let often = match times {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            format!(
                "{when} - up to this moment the {each} {datagrams} came {often} before, the same but for random numbers and moments"
            )
        }
        What::Withheld => format!(
            "{when} - port {port}: what is shown as sent at this moment did not leave, for another daemon of this host has the BMC"
        ),
    }
}

fn in_words(datagram: &Datagram) -> String {
    let mut text = frame(datagram.form);
    let unread = |(kind, encrypted): (PayloadType, bool)| {
        encrypted && kind == PayloadType::Ipmi && datagram.shown.is_empty()
    };
    if datagram.form.payload().is_some_and(unread) {
        text.push_str(", not decrypted: its keys are gone");
    } else if let Some(what) = content(datagram) {
        let _ = write!(text, ", {what}");
    }
    let _ = write!(text, ": {}", bytes(datagram));
    if let Some(why) = datagram.dropped.and_then(dropped_words) {
        let _ = write!(text, "; dropped: {why}");
    }
    text
}

fn frame(form: Form) -> String {
    let protection = |kind: u8| match (kind & super::ENCRYPTED, kind & super::AUTHENTICATED) {
        (0, 0) => "",
        (0, _) => " authenticated",
        (_, 0) => " encrypted",
        (..) => " encrypted authenticated",
    };
    match form {
        Form::Outside(_) => "RMCP IPMI 2.0, outside of sessions".to_owned(),
        Form::Session(kind, id, sequence) => format!(
            "RMCP IPMI 2.0, session {:08x} packet {sequence}{}",
            u32::from_be_bytes(id),
            protection(kind)
        ),
        Form::Outside15 => "RMCP IPMI 1.5, outside of sessions".to_owned(),
        Form::Session15(auth_type, id, sequence) => format!(
            "RMCP IPMI 1.5, session {:08x} packet {sequence}, authentication {}",
            u32::from_be_bytes(id),
            AuthType::from_bits(auth_type).unwrap_or(AuthType::Oem)
        ),
        Form::Asf => "RMCP ASF, presence".to_owned(),
        Form::Unknown => "no packet of a known form".to_owned(),
    }
}

/// What the packet carries.
fn content(datagram: &Datagram) -> Option<String> {
    let of_message = || message(&datagram.shown, &datagram.left_out);
    let Some((kind, _)) = datagram.form.payload() else {
        let is_message = matches!(datagram.form, Form::Outside15 | Form::Session15(..));
        return is_message.then(of_message).flatten();
    };
    let status = || {
        let status = datagram.shown.get(1).map(|status| Status(*status));
        status.map_or(String::new(), |status| format!(" ({status})"))
    };
    Some(match kind {
        PayloadType::Ipmi => return of_message(),
        PayloadType::Sol => "serial over LAN".to_owned(),
        PayloadType::OemExplicit { .. } => "a maker's payload".to_owned(),
        PayloadType::OpenSessionRequest => "Open Session Request".to_owned(),
        PayloadType::OpenSessionResponse => format!("Open Session Response{}", status()),
        PayloadType::Rakp1 => "RAKP 1".to_owned(),
        PayloadType::Rakp2 => format!("RAKP 2{}", status()),
        PayloadType::Rakp3 => format!("RAKP 3{}", status()),
        PayloadType::Rakp4 => format!("RAKP 4{}", status()),
        PayloadType::Other(number) => format!("payload {number:02x}h"),
    })
}

/// An IPMI message's command, and how it went.
fn message(shown: &[u8], left_out: &[(u16, u16)]) -> Option<String> {
    let mut whole = shown.to_vec();
    if !left_out.is_empty() {
        // The checksum is left out, too, and `Head` wants one.
        whole.push(0);
    }
    let head = Head::of(&whole)?;
    let numbers = format!("{:02x}h/{:02x}h", head.net_fn, head.command);
    let name = match head.name() {
        Some(name) => format!("{name} {numbers}"),
        None => numbers,
    };
    let sequence = head.sequence;
    Some(match head.completion {
        None => format!("{name} request {sequence}"),
        Some(code) => {
            let words = code.words_for(head.net_fn, head.command);
            format!(
                "{name} answer to request {sequence} ({:02X}h, {words})",
                code.0
            )
        }
    })
}

/// The bytes, and where some are left out.
fn bytes(datagram: &Datagram) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut gaps = datagram.left_out.iter().peekable();
    for place in 0..=datagram.shown.len() {
        while let Some((_, count)) = gaps.next_if(|(at, _)| usize::from(*at) <= place) {
            words.push(format!("[{count} left out]"));
        }
        if let Some(byte) = datagram.shown.get(place) {
            words.push(format!("{byte:02x}"));
        }
    }
    if datagram.cut > 0 {
        words.push(format!("[{} more]", datagram.cut));
    }
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(" "),
    }
}

/// Why a datagram was dropped, by its number.
fn dropped_words(number: u8) -> Option<&'static str> {
    use crate::session::Dropped::{self, *};
    const ALL: [(Dropped, &str); 11] = [
        (Malformed, "it is no packet that can be read"),
        (NotExpected, "nothing is waited for"),
        (
            Rumour,
            "an error that names no session, something better is waited for",
        ),
        (OtherSession, "of another session, step or log-in"),
        (NotAuthenticated, "it has no integrity code"),
        (NotEncrypted, "it is not encrypted"),
        (WrongCode, "its integrity code is wrong"),
        (
            OutOfWindow,
            "its number was seen before, or is too far away",
        ),
        (WrongPad, "its padding is wrong"),
        (WrongMessage, "its message or a checksum of it is wrong"),
        (Stale, "nobody waits for this answer"),
    ];
    let is = |(why, _): &&(Dropped, &str)| *why as u8 == number;
    ALL.iter().find(is).map(|(_, words)| *words)
}
