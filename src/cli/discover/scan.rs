//! Who answers: a presence ping (ASF, §13.2.3) and Get Channel Authentication Capabilities (§22.13)
//! to every address, outside of any session. No log-in, nothing that a BMC counts.

use crate::ipmi::command::Command;
use crate::ipmi::command::get_channel_auth_capabilities::{Request, Response, THIS_CHANNEL};
use crate::ipmi::message::{self, Checksums};
use crate::ipmi::rmcp::{self, Asf, Class};
use crate::ipmi::{PrivilegeLevel, Wire, session15};
use smol::future::FutureExt;
use smol::net::UdpSocket;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Every silent address is asked so often: a datagram may be lost, and a BMC may be asleep.
const ROUNDS: u8 = 2;
/// How long answers are waited for after the last question of a round.
const LATE: Duration = Duration::from_millis(1500);

/// Somebody who answered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Heard {
    pub address: IpAddr,
    /// What it says about log-ins, where it said anything.
    pub offers: Option<Response>,
}

/// Asks each of the addresses, so many datagrams a second.
///
/// # Errors
/// There is no socket, or nothing could be sent at all.
pub(crate) async fn scan(targets: &[IpAddr], port: u16, rate: u32) -> io::Result<Vec<Heard>> {
    let mut heard = BTreeMap::new();
    for family in [true, false] {
        let some: Vec<IpAddr> = targets
            .iter()
            .copied()
            .filter(|it| it.is_ipv4() == family)
            .collect();
        if some.is_empty() {
            continue;
        }
        let own: IpAddr = match family {
            true => Ipv4Addr::UNSPECIFIED.into(),
            false => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((own, 0)).await?;
        for round in 0..ROUNDS {
            ask(&socket, &some, port, rate, round, &mut heard).await?;
        }
    }
    Ok(heard.into_values().collect())
}

async fn ask(
    socket: &UdpSocket,
    targets: &[IpAddr],
    port: u16,
    rate: u32,
    round: u8,
    heard: &mut BTreeMap<IpAddr, Heard>,
) -> io::Result<()> {
    // Two datagrams to each address.
    let pause = Duration::from_secs(2) / rate;
    let datagrams = [ping(), question(round)];
    let (mut sent, mut trouble) = (false, None);
    let mut due = Instant::now();
    for target in targets {
        if heard.get(target).is_some_and(|it| it.offers.is_some()) {
            continue;
        }
        for datagram in &datagrams {
            match socket.send_to(datagram, (*target, port)).await {
                Ok(_) => sent = true,
                Err(error) => trouble = Some(error),
            }
        }
        due += pause;
        listen(socket, targets, port, due, heard).await;
    }
    listen(socket, targets, port, Instant::now() + LATE, heard).await;
    match trouble {
        Some(error) if !sent => Err(error),
        _ => Ok(()),
    }
}

/// Takes answers until a moment. Only those of who was asked count.
async fn listen(
    socket: &UdpSocket,
    targets: &[IpAddr],
    port: u16,
    until: Instant,
    heard: &mut BTreeMap<IpAddr, Heard>,
) {
    let mut bytes = [0; 512];
    loop {
        let receive = async { socket.recv_from(&mut bytes).await.map(Some) };
        let over = async {
            smol::Timer::at(until).await;
            Ok(None)
        };
        let (length, from) = match receive.or(over).await {
            Ok(Some(received)) => received,
            Ok(None) => return,
            // An ICMP message about an earlier datagram.
            Err(_) => continue,
        };
        if from.port() != port || targets.binary_search(&from.ip()).is_err() {
            continue;
        }
        let Some(answer) = understood(&bytes[..length]) else {
            continue;
        };
        let entry = heard.entry(from.ip()).or_insert(Heard {
            address: from.ip(),
            offers: None,
        });
        entry.offers = entry.offers.or(answer);
    }
}

fn ping() -> Vec<u8> {
    rmcp::encode(Class::Asf, &Asf::Ping { tag: 0 }.encode())
}

/// The question, in the second round without the bit that some BMCs of version 1.5 refuse.
fn question(round: u8) -> Vec<u8> {
    let request = Request {
        extended: round == 0,
        channel: THIS_CHANNEL,
        privilege: PrivilegeLevel::Operator,
    };
    let message =
        message::Request::to_bmc(Request::NET_FN, 0, Request::NUMBER, round, request.encode());
    let packet = session15::Packet::outside(&message.encode()).encode();
    rmcp::encode(Class::Ipmi, &packet)
}

/// What a datagram says: nothing that we know, that somebody is there, or what it offers.
fn understood(datagram: &[u8]) -> Option<Option<Response>> {
    let packet = rmcp::Packet::decode(datagram).ok()?;
    if packet.class == Class::Asf {
        return match Asf::decode(packet.body).ok()? {
            Asf::Pong { ipmi: true, .. } => Some(None),
            Asf::Pong { .. } | Asf::Ping { .. } => None,
        };
    }
    let packet = session15::Packet::decode(packet.body).ok()?;
    let response = message::Response::decode(packet.payload, Checksums::Verified).ok()?;
    if response.net_fn != Request::NET_FN | 1 || response.command != Request::NUMBER {
        return None;
    }
    Some(
        Response::decode(&response.data)
            .ok()
            .filter(|_| response.completion.is_ok()),
    )
}
