//! The floor: what a reading of the power costs a program that does nothing else.
//!
//!     floor INTERVAL SECONDS WINDOWS <PORTS
//!
//! One session of cipher suite 17 with each of the BMCs on 127.0.0.1 whose ports are read from
//! standard input, then Get Chassis Status to one after the other, so that each is read every
//! INTERVAL seconds. The packets are those of the daemon; there are no timers, no retries, no JSON
//! and no log. Prints "begin", and "end READINGS CPU_NS SWITCHES" for each of WINDOWS windows of
//! SECONDS, so that another program can be measured in the same ones.

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use hmac::{Hmac, KeyInit, Mac};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const USER: &[u8] = b"admin";
const PASSWORD: &[u8] = b"admin";
/// Operator, looked up by name alone.
const ROLE: u8 = 0x13;
const OPEN_SESSION: u8 = 0x10;
const RAKP_1: u8 = 0x12;
const RAKP_3: u8 = 0x14;
/// An IPMI message, encrypted and signed.
const SEALED: u8 = 0xc0;

struct Session {
    port: u16,
    id: [u8; 4],
    sequence: u32,
    number: u8,
    aes: [u8; 16],
    integrity: Hmac<Sha256>,
}

/// The kernel's randomness, in blocks.
struct Random {
    block: [u8; 1024],
    used: usize,
}

impl Random {
    fn take(&mut self) -> [u8; 16] {
        if self.used + 16 > self.block.len() {
            getrandom::fill(&mut self.block).expect("randomness");
            self.used = 0;
        }
        let taken = self.block[self.used..][..16].try_into().expect("16 bytes");
        self.block[self.used..][..16].fill(0);
        self.used += 16;
        taken
    }
}

fn code(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// A datagram with the session header in front.
fn packet(kind: u8, id: &[u8; 4], sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(96);
    packet.extend([6, 0, 0xff, 7, 6, kind]);
    packet.extend(id);
    packet.extend(sequence.to_le_bytes());
    packet.extend((payload.len() as u16).to_le_bytes());
    packet.extend(payload);
    packet
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte))
}

impl Session {
    /// One request, as it goes out.
    fn seal(&mut self, function: u8, command: u8, data: &[u8], random: &mut Random) -> Vec<u8> {
        self.number = (self.number + 1) % 64;
        self.sequence += 1;
        let head = [0x20, function << 2];
        let mut body = vec![0x81, self.number << 2, command];
        body.extend(data);
        let mut clear = head.to_vec();
        clear.push(sum(&head));
        clear.extend(&body);
        clear.push(sum(&body));
        let pad = (16 - (clear.len() + 1) % 16) % 16;
        clear.extend((1..=pad).map(|byte| byte as u8));
        clear.push(pad as u8);
        let iv = random.take();
        let length = clear.len();
        cbc::Encryptor::<aes::Aes128>::new(&self.aes.into(), &iv.into())
            .encrypt_padded::<NoPadding>(&mut clear, length)
            .expect("whole blocks");
        let payload = [&iv[..], &clear].concat();
        let mut packet = packet(SEALED, &self.id, self.sequence, &payload);
        let pad = (4 - (packet.len() - 4 + 2) % 4) % 4;
        packet.extend(std::iter::repeat_n(0xff, pad));
        packet.extend([pad as u8, 7]);
        let mut mac = self.integrity.clone();
        mac.update(&packet[4..]);
        let signed = mac.finalize().into_bytes();
        packet.extend(&signed[..16]);
        packet
    }

    /// The answer's message, where it is one of ours.
    fn open(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (signed, found) = packet.split_at_checked(packet.len().checked_sub(16)?)?;
        let mut mac = self.integrity.clone();
        mac.update(signed.get(4..)?);
        mac.verify_truncated_left(found).ok()?;
        let length = u16::from_le_bytes(signed.get(14..16)?.try_into().ok()?);
        let (iv, sealed) = signed.get(16..16 + usize::from(length))?.split_at_checked(16)?;
        let mut clear = sealed.to_vec();
        cbc::Decryptor::<aes::Aes128>::new(&self.aes.into(), iv.try_into().ok()?)
            .decrypt_padded::<NoPadding>(&mut clear)
            .ok()?;
        let pad = usize::from(*clear.last()?);
        clear.truncate(clear.len().checked_sub(pad + 1)?);
        Some(clear)
    }
}

/// Sends and waits for the answer.
fn ask(socket: &UdpSocket, port: u16, packet: &[u8], answer: &mut [u8]) -> usize {
    socket.send_to(packet, ("127.0.0.1", port)).expect("sent");
    socket.recv(answer).expect("an answer within a second")
}

fn log_in(socket: &UdpSocket, port: u16, random: &mut Random) -> Session {
    let mut answer = [0; 512];
    let ours = u32::from(port).to_le_bytes();
    let mut open = vec![0, 3, 0, 0];
    open.extend(ours);
    for (kind, algorithm) in [(0, 3), (1, 4), (2, 1)] {
        open.extend([kind, 0, 0, 8, algorithm, 0, 0, 0]);
    }
    ask(socket, port, &packet(OPEN_SESSION, &[0; 4], 0, &open), &mut answer);
    assert_eq!(answer[17], 0, "the open is refused");
    let id: [u8; 4] = answer[24..28].try_into().expect("4 bytes");
    let rm = random.take();
    let name = [&[ROLE, USER.len() as u8][..], USER].concat();
    let first = [&[0; 4][..], &id, &rm, &[ROLE, 0, 0, USER.len() as u8], USER].concat();
    ask(socket, port, &packet(RAKP_1, &[0; 4], 0, &first), &mut answer);
    assert_eq!(answer[17], 0, "the log-in is refused");
    let rc: [u8; 16] = answer[24..40].try_into().expect("16 bytes");
    let proof = code(PASSWORD, &[&rc, &ours, &name]);
    let third = [&[0; 4][..], &id, &proof].concat();
    ask(socket, port, &packet(RAKP_3, &[0; 4], 0, &third), &mut answer);
    assert_eq!(answer[17], 0, "the password is refused");
    let sik = code(PASSWORD, &[&rm, &rc, &name]);
    let (k1, k2) = (code(&sik, &[&[1; 20]]), code(&sik, &[&[2; 20]]));
    let mut session = Session {
        port,
        id,
        sequence: 0,
        number: 0,
        aes: k2[..16].try_into().expect("16 bytes"),
        integrity: Hmac::new_from_slice(&k1).expect("any key"),
    };
    let level = session.seal(6, 0x3b, &[3], random);
    let length = ask(socket, port, &level, &mut answer);
    let answered = session.open(&answer[..length]).expect("signed");
    assert_eq!(answered[6], 0, "the level is refused");
    session
}

fn main() {
    let words: Vec<f64> = std::env::args().skip(1).map(|word| word.parse().expect("a number")).collect();
    let [interval, seconds, windows] = words[..] else {
        panic!("floor INTERVAL SECONDS WINDOWS <PORTS");
    };
    let mut ports = String::new();
    std::io::stdin().read_to_string(&mut ports).expect("ports");
    let ports = ports.split_whitespace().map(|port| port.parse().expect("a port"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let mut random = Random { block: [0; 1024], used: 1024 };
    let mut sessions: Vec<Session> = ports.map(|port| log_in(&socket, port, &mut random)).collect();
    let mut by_port: Vec<u16> = vec![0; 65536];
    for (index, session) in sessions.iter().enumerate() {
        by_port[usize::from(session.port)] = index as u16;
    }
    socket.set_nonblocking(true).expect("told");
    let apart = Duration::from_secs_f64(interval / sessions.len() as f64);
    let (mut due, mut next) = (Instant::now(), 0);
    for _ in 0..windows as u32 {
        println!("begin");
        let (cpu, switches) = used();
        let (mut readings, end) = (0, due + Duration::from_secs_f64(seconds));
        while due < end {
            readings += wait(&socket, due, &sessions, &by_port);
            let session = &mut sessions[next];
            let request = session.seal(0, 1, &[], &mut random);
            socket.send_to(&request, ("127.0.0.1", session.port)).expect("sent");
            (due, next) = (due + apart, (next + 1) % sessions.len());
        }
        let (cpu_now, switches_now) = used();
        println!("end {readings} {} {}", (cpu_now - cpu).as_nanos(), switches_now - switches);
        std::io::stdout().flush().expect("written");
    }
}

/// Takes answers until `due`: how many said what the power is.
fn wait(socket: &UdpSocket, due: Instant, sessions: &[Session], by_port: &[u16]) -> u32 {
    let (mut readings, mut answer) = (0, [0; 512]);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return readings;
        }
        let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let ready = ppoll(&mut waiting, Some(TimeSpec::from_duration(left)), None).expect("waited");
        if ready > 0
            && let Ok((length, from)) = socket.recv_from(&mut answer)
        {
            let session = &sessions[usize::from(by_port[usize::from(from.port())])];
            let told = session.open(&answer[..length]);
            readings += u32::from(told.is_some_and(|told| told.get(6) == Some(&0) && told.len() > 8));
        }
    }
}

/// CPU time of this process, and how often it went to sleep.
fn used() -> (Duration, i64) {
    let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("Linux has this clock");
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("Linux counts");
    (cpu.into(), usage.voluntary_context_switches())
}
