//! The daemon's room of one BMC beside a simulated BMC, in virtual time and with nothing between
//! them: what leaves, when, and what orders come to. With cipher suite 2, whose packets can be read
//! without keys.

use rackbmcd::bmc::vocabulary::{Order, OrderId, Report, Route};
use rackbmcd::bmc::{Bmc, Care, PresenceAnswer, Purpose, Settings};
use rackbmcd::entropy::Seeded;
use rackbmcd::ipmi::message::{self, Checksums};
use rackbmcd::ipmi::rmcp::{self, Asf, Class};
use rackbmcd::ipmi::{SuiteId, session20};
use rackbmcd::model::{Delivery, Trouble};
use rackbmcd::session::secret::Password;
use rackbmcd::session::{self, Quirks};
use rackbmcd::sim::{self, BmcSettings, ChassisOrder, Mood, Privilege, Refusal, User};
use rackbmcd::time::Instant;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const ADDRESS: &str = "10.0.0.1";
const NAME: &str = "bmc.example";
/// Network function and command.
const GET_DEVICE_ID: (u8, u8) = (0x06, 0x01);
const GET_CHANNEL_CIPHER_SUITES: (u8, u8) = (0x06, 0x54);
const CHASSIS_CONTROL: (u8, u8) = (0x00, 0x02);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Room {
    bmc: Bmc,
    far: sim::Bmc,
    entropy: Seeded,
    now: Instant,
    orders: u64,
    /// All that left, and when.
    sent: Vec<(Instant, Vec<u8>)>,
    reports: Vec<(OrderId, Report)>,
    /// When its name was to be looked up, and whether that was done.
    looked_up: Vec<Instant>,
    resolves: bool,
}

fn settings(host: &str, quirks: Quirks) -> Settings {
    let login = session::Settings {
        suites: vec![SuiteId(2)],
        quirks,
        ..session::Settings::new("admin", Password::new(*b"secret").expect("short"))
    };
    Settings {
        host: host.into(),
        port: 623,
        login: Arc::new(login),
        care: Arc::default(),
    }
}

impl Room {
    fn new() -> Self {
        Self::at(ADDRESS, Quirks::NONE)
    }

    fn at(host: &str, quirks: Quirks) -> Self {
        let far = BmcSettings {
            users: vec![User::new("admin", "secret", Privilege::Administrator)],
            suites: vec![2],
            ..BmcSettings::default()
        };
        let settings = settings(host, quirks);
        let now = Instant::after_start(secs(1000));
        Self {
            bmc: Bmc::new(settings, Arc::default(), now),
            far: sim::Bmc::new(far, Mood::default(), 3),
            entropy: Seeded::new(5),
            now,
            orders: 0,
            sent: vec![],
            reports: vec![],
            looked_up: vec![],
            resolves: true,
        }
    }

    fn submit(&mut self, order: Order, purpose: Purpose) -> OrderId {
        self.orders += 1;
        let id = OrderId(self.orders);
        self.bmc
            .submit(id, order, purpose, self.now, &mut self.entropy);
        self.drain();
        id
    }

    fn want(&mut self) {
        self.bmc.set_wanted(true, self.now);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        loop {
            self.drain();
            let due = [self.bmc.poll_timeout(), self.far.poll_timeout()];
            let Some(due) = due.into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            turns = if due > self.now { 0 } else { turns + 1 };
            assert!(turns < 1000, "the room stands still at {:?}", self.now);
            self.now = self.now.max(due);
            self.far.handle_timeout(self.now);
            self.bmc.handle_timeout(self.now, &mut self.entropy);
        }
        self.now = end;
    }

    /// Passes on all that leaves now, either way.
    fn drain(&mut self) {
        loop {
            if self.bmc.poll_resolve().is_some() {
                self.looked_up.push(self.now);
                if self.resolves {
                    let found = Ok(vec![SocketAddr::from(([10, 0, 0, 1], 623))]);
                    self.bmc.handle_resolved(found, self.now, &mut self.entropy);
                }
            } else if let Some(outgoing) = self.bmc.poll_transmit() {
                let port = 10_000 + u16::try_from(outgoing.port).expect("a few");
                let from = SocketAddr::from(([192, 0, 2, 1], port));
                self.far.handle_datagram(from, &outgoing.datagram, self.now);
                self.sent.push((self.now, outgoing.datagram));
            } else if let Some((to, reply)) = self.far.poll_transmit() {
                let port = u64::from(to.port()) - 10_000;
                self.bmc
                    .handle_datagram(port, &reply, self.now, &mut self.entropy);
            } else {
                break;
            }
        }
        let reports = std::iter::from_fn(|| self.bmc.poll_report());
        self.reports.extend(reports);
    }

    fn reports_of(&self, order: OrderId) -> Vec<&Report> {
        let of = self.reports.iter().filter(|(id, _)| *id == order);
        of.map(|(_, report)| report).collect()
    }

    /// The presence pings that left, with their tags.
    fn pings(&self) -> Vec<(Instant, u8)> {
        let sent = self.sent.iter();
        sent.filter_map(|(at, datagram)| Some((*at, ping(datagram)?)))
            .collect()
    }

    /// The requests of one kind that left in a session.
    fn requests(&self, kind: (u8, u8)) -> Vec<(Instant, message::Request)> {
        let sent = self.sent.iter();
        sent.filter_map(|(at, datagram)| Some((*at, request(datagram)?)))
            .filter(|(_, request)| (request.net_fn, request.command) == kind)
            .collect()
    }

    /// What stands in the way, in words.
    fn trouble(&self) -> Option<(Trouble, String)> {
        self.bmc.trouble(self.now)
    }
}

fn ping(datagram: &[u8]) -> Option<u8> {
    let packet = rmcp::Packet::decode(datagram).ok();
    let body = packet.filter(|packet| packet.class == Class::Asf)?.body;
    match Asf::decode(body) {
        Ok(Asf::Ping { tag }) => Some(tag),
        _ => None,
    }
}

fn request(datagram: &[u8]) -> Option<message::Request> {
    let packet = rmcp::Packet::decode(datagram).ok();
    let body = packet.filter(|packet| packet.class == Class::Ipmi)?.body;
    let packet = session20::Packet::decode(body).ok();
    let packet = packet.filter(|packet| packet.header.session_id != 0)?;
    message::Request::decode(packet.payload, Checksums::Verified).ok()
}

fn pieces(asked: &[(Instant, message::Request)]) -> Vec<u8> {
    let pieces = asked.iter().map(|(_, request)| request.data[2] & 0x3F);
    pieces.collect()
}

#[test]
fn a_silent_bmc_is_pinged_with_two_packets_and_not_again_within_25_seconds() {
    let mut room = Room::new();
    room.far.mood_mut().dead = true;
    // What wants it has it tried again, and found silent, sooner than that.
    room.want();
    for _ in 0..120 {
        room.submit(Order::ReadPower, Purpose::Task);
        room.run_for(secs(1));
    }
    let pings = room.pings();
    let rounds: Vec<_> = pings.chunk_by(|one, next| one.1 == next.1).collect();
    assert!(rounds.len() >= 3, "{pings:?}");
    assert_eq!(rounds[0].len(), 2, "{pings:?}");
    assert!(rounds.iter().all(|round| round.len() <= 2), "{pings:?}");
    for pair in rounds.windows(2) {
        assert!(pair[1][0].0 - pair[0][0].0 >= secs(25), "{pings:?}");
    }
}

#[test]
fn a_pong_of_somebody_who_claims_no_ipmi_is_told_as_that_and_ends_the_pinging() {
    let mut room = Room::new();
    room.far.mood_mut().dead = true;
    room.submit(Order::ReadPower, Purpose::PowerState);
    room.run_for(secs(5));
    let [(_, tag)] = room.pings()[..] else {
        panic!("{:?}", room.pings());
    };
    let pong = Asf::Pong { tag, ipmi: false }.encode();
    let port = room.bmc.local_ports().last().expect("the session's");
    room.bmc
        .handle_datagram(port, &pong, room.now, &mut room.entropy);
    let found = room.bmc.presence().map(|(answer, _)| answer);
    assert_eq!(found, Some(PresenceAnswer::Pong { ipmi: false }));
    let (trouble, said) = room.trouble().expect("a verdict");
    assert_eq!(trouble, Trouble::Silent);
    let words = "a presence ping is answered, by somebody who does not claim to speak IPMI";
    assert!(said.contains(words), "{said}");
    room.run_for(secs(10));
    assert_eq!(room.pings().len(), 1);
}

#[test]
fn a_bmc_with_oem_auth_or_supermicro_auth_is_not_pinged() {
    for quirk in ["oem_auth", "supermicro_auth"] {
        let mut room = Room::at(ADDRESS, Quirks::parse([quirk]).expect("a quirk"));
        room.far.mood_mut().dead = true;
        for _ in 0..12 {
            room.submit(Order::ReadPower, Purpose::PowerState);
            room.run_for(secs(5));
        }
        let found = room.trouble().map(|(trouble, _)| trouble);
        assert_eq!(found, Some(Trouble::Silent), "{quirk}");
        assert_eq!(room.pings(), [], "{quirk}");
    }
}

#[test]
fn a_list_of_cipher_suites_without_end_costs_sixteen_packets() {
    let mut room = Room::new();
    // Each of its 62 pieces is full.
    room.far.settings_mut().suites = vec![2; 200];
    for _ in 0..3 {
        room.submit(Order::ReadPower, Purpose::PowerState);
        room.run_for(secs(30));
    }
    let asked = room.requests(GET_CHANNEL_CIPHER_SUITES);
    assert_eq!(pieces(&asked), (0..16).collect::<Vec<u8>>());
}

#[test]
fn a_piece_of_the_list_of_cipher_suites_that_does_not_come_is_asked_for_once_more_after_a_second() {
    let mut room = Room::new();
    room.far.mood_mut().ignores_cipher_suites = true;
    for _ in 0..3 {
        room.submit(Order::ReadPower, Purpose::PowerState);
        room.run_for(secs(30));
    }
    let asked = room.requests(GET_CHANNEL_CIPHER_SUITES);
    assert_eq!(pieces(&asked), [0, 0]);
    assert!(asked[1].0 - asked[0].0 >= secs(1), "{asked:?}");
}

#[test]
fn an_unused_session_is_kept_alive_each_25_seconds_give_or_take_five_while_an_operation_runs() {
    let mut room = Room::new();
    room.want();
    room.submit(Order::ReadPower, Purpose::Task);
    room.run_for(secs(1000));
    let asked = room.requests(GET_DEVICE_ID);
    let gaps: Vec<Duration> = asked.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert!(gaps.len() > 30, "{gaps:?}");
    let within = |gap: &Duration| (secs(20)..=secs(30)).contains(gap);
    assert!(gaps.iter().all(within), "{gaps:?}");
    let mean = gaps.iter().sum::<Duration>() / gaps.len() as u32;
    assert!((secs(23)..=secs(27)).contains(&mean), "{mean:?}");
    let different: BTreeSet<_> = gaps.iter().collect();
    assert!(different.len() > 20, "{gaps:?}");
    assert_eq!(room.far.counters().sessions_opened, 1);
}

/// A room whose sessions are kept for so long after their last use.
fn keeping(idle_close: Duration) -> Room {
    let mut room = Room::new();
    let mut settings = settings(ADDRESS, Quirks::NONE);
    settings.care = Arc::new(Care {
        idle_close,
        ..Care::default()
    });
    room.bmc = Bmc::new(settings, Arc::default(), room.now);
    room
}

#[test]
fn a_session_that_is_kept_for_longer_than_bmcs_keep_it_is_there_for_the_next_reading() {
    let mut room = keeping(secs(3600));
    // As the regular reading does by default, and the minute after which BMCs forget a session.
    for _ in 0..20 {
        let reading = room.submit(Order::ReadPower, Purpose::PowerState);
        room.run_for(secs(60) + Duration::from_millis(500));
        let said = room.reports_of(reading);
        assert!(matches!(said[..], [Report::Accepted(_)]), "{said:?}");
    }
    let counters = room.far.counters();
    assert_eq!(counters.sessions_opened, 1, "{counters:?}");
    // Once between two readings, after the questions of the first session.
    let asked = room.requests(GET_DEVICE_ID).len();
    assert!((19..=22).contains(&asked), "{asked}");
}

#[test]
fn what_keeps_a_session_is_no_use_of_it_and_it_is_closed_in_its_time() {
    let mut room = keeping(secs(300));
    room.submit(Order::ReadPower, Purpose::PowerState);
    room.run_for(secs(299));
    assert_eq!(room.far.open_sessions(), 1);
    let asked = room.requests(GET_DEVICE_ID);
    assert!((5..=7).contains(&asked.len()), "{asked:?}");
    room.run_for(secs(5));
    assert_eq!(room.far.open_sessions(), 0);
    assert!(room.bmc.is_quiet());
    // One that is closed sooner than a BMC forgets it needs nothing.
    let mut room = keeping(secs(45));
    room.submit(Order::ReadPower, Purpose::PowerState);
    room.run_for(secs(44));
    let kept = room.requests(GET_DEVICE_ID).len();
    room.run_for(secs(100));
    assert_eq!((room.requests(GET_DEVICE_ID).len(), kept), (1, 1));
    assert_eq!(room.far.open_sessions(), 0);
}

#[test]
fn a_reading_waits_for_room_beside_two_sessions_of_ours_and_hears_why() {
    let mut room = Room::new();
    for _ in 0..2 {
        room.bmc.inherit_session(Duration::ZERO, room.now);
    }
    let words = "2 sessions of ours may still be open at the BMC";
    for purpose in [Purpose::PowerState, Purpose::Task, Purpose::Aside] {
        let id = room.submit(Order::ReadPower, purpose);
        let [Report::Unanswered(silence)] = room.reports_of(id)[..] else {
            panic!("{purpose:?}: {:?}", room.reports);
        };
        assert_eq!(silence.delivery, Delivery::NotSent, "{purpose:?}");
        assert!(silence.text.contains(words), "{}", silence.text);
    }
    assert_eq!(room.sent, []);
    let (_, said) = room.trouble().expect("what it waits for");
    assert!(said.contains(words), "{said}");
    let room_at = room.now + secs(63);
    assert_eq!(room.bmc.next_attempt(room.now), Some(room_at));
    room.run_for(secs(63));
    let id = room.submit(Order::ReadPower, Purpose::PowerState);
    room.run_for(secs(1));
    assert!(matches!(room.reports_of(id)[..], [Report::Accepted(_)]));
}

#[test]
fn a_late_answer_to_a_soft_off_counts_and_a_late_refusal_is_noted_only() {
    for refused in [false, true] {
        let mut room = Room::new();
        room.want();
        room.submit(Order::ReadPower, Purpose::Task);
        room.run_for(secs(1));
        let mood = room.far.mood_mut();
        mood.chassis_delay = secs(14);
        if refused {
            let (order, code) = (ChassisOrder::Soft, 0xD5);
            mood.refusals = vec![Refusal {
                order,
                code,
                times: None,
            }];
        }
        let id = room.submit(Order::SoftOff, Purpose::Task);
        room.run_for(secs(13));
        let [Report::Unanswered(silence)] = room.reports_of(id)[..] else {
            panic!("{:?}", room.reports);
        };
        assert_eq!(silence.delivery, Delivery::Unknown);
        room.run_for(secs(2));
        let later = &room.reports_of(id)[1..];
        match refused {
            false => assert!(matches!(later, [Report::Accepted(_)]), "{later:?}"),
            true => assert!(later.is_empty(), "{later:?}"),
        }
        let noted = |(_, text): (Instant, &str)| text.contains("answered late");
        assert!(room.bmc.failures().any(noted), "refused: {refused}");
        assert_eq!(room.requests(CHASSIS_CONTROL).len(), 1);
    }
}

#[test]
fn an_order_that_has_left_without_an_answer_is_not_called_unsent_when_everything_stops() {
    let raw = || Order::Raw {
        net_fn: 0x30,
        lun: 0,
        command: 0x01,
        data: vec![],
        route: Route::Direct,
    };
    let mut room = Room::new();
    room.submit(Order::ReadPower, Purpose::Task);
    room.run_for(secs(1));
    room.far.mood_mut().silent_sessions = true;
    let (left, waits) = (
        room.submit(raw(), Purpose::Aside),
        room.submit(raw(), Purpose::Aside),
    );
    room.run_for(secs(1));
    room.bmc
        .stop("the daemon is shutting down", room.now, &mut room.entropy);
    room.run_for(secs(1));
    for (order, delivery) in [(left, Delivery::Unknown), (waits, Delivery::NotSent)] {
        let [Report::Unanswered(silence)] = room.reports_of(order)[..] else {
            panic!("{:?}", room.reports);
        };
        assert_eq!(silence.delivery, delivery, "{order:?}");
    }
}

#[test]
fn at_most_64_orders_wait_for_one_bmc_and_the_next_ones_hear_so_at_once() {
    // Its name is not known yet, so that nothing leaves.
    let mut room = Room::at(NAME, Quirks::NONE);
    room.resolves = false;
    let submit = |_| room.submit(Order::ReadPower, Purpose::PowerState);
    let orders: Vec<OrderId> = (0..67).map(submit).collect();
    let refused: Vec<OrderId> = room.reports.iter().map(|(id, _)| *id).collect();
    assert_eq!(refused, orders[64..]);
    for (_, report) in &room.reports {
        let Report::Unanswered(silence) = report else {
            panic!("{report:?}");
        };
        let (delivery, trouble) = (silence.delivery, silence.trouble);
        assert_eq!((delivery, trouble), (Delivery::NotSent, Trouble::Busy));
        assert_eq!(silence.text, "too many orders wait for this BMC");
    }
    // Of a task, which has one at a time, they are no crowd.
    for purpose in [Purpose::Change, Purpose::Task] {
        let id = room.submit(Order::PowerOff, purpose);
        assert!(room.reports_of(id).is_empty());
    }
}

#[test]
fn a_bmc_that_falls_silent_counts_as_dead_a_minute_after_a_change_of_power_and_not_sooner() {
    for (order, least, most) in [(Order::PowerOff, 60, 90), (Order::ReadPower, 12, 30)] {
        let mut room = Room::new();
        let from = room.now;
        let id = room.submit(order.clone(), Purpose::Task);
        room.run_for(secs(1));
        assert!(matches!(room.reports_of(id)[..], [Report::Accepted(_)]));
        room.far.mood_mut().dead = true;
        while room.trouble().is_none() && room.now < from + secs(200) {
            room.submit(Order::ReadPower, Purpose::PowerState);
            room.run_for(secs(1));
        }
        let after = room.now - from;
        let within = (secs(least)..=secs(most)).contains(&after);
        assert!(within, "{order:?}: {after:?}, {:?}", room.trouble());
        // Whoever asks in that minute hears that it does not answer.
        let silent = |(_, report): &(OrderId, Report)| match report {
            Report::Unanswered(silence) => silence.trouble == Trouble::Silent,
            _ => false,
        };
        assert!(room.reports.iter().any(silent), "{order:?}");
    }
}

#[test]
fn a_name_is_looked_up_again_before_a_log_in_where_that_was_more_than_30_seconds_ago() {
    for (pause, times) in [(secs(29), 1), (secs(31), 2)] {
        let mut room = Room::at(NAME, Quirks::NONE);
        room.submit(Order::ReadPower, Purpose::PowerState);
        room.run_for(pause);
        assert!(room.bmc.is_closed());
        assert_eq!(room.looked_up.len(), 1);
        let id = room.submit(Order::ReadPower, Purpose::PowerState);
        room.run_for(secs(1));
        assert!(matches!(room.reports_of(id)[..], [Report::Accepted(_)]));
        assert_eq!(room.looked_up.len(), times, "{pause:?}");
    }
}

#[test]
fn a_name_is_looked_up_again_after_silence() {
    let mut room = Room::at(NAME, Quirks::NONE);
    room.submit(Order::ReadPower, Purpose::PowerState);
    room.run_for(secs(12));
    room.far.mood_mut().dead = true;
    room.submit(Order::ReadPower, Purpose::PowerState);
    room.run_for(secs(4));
    assert_eq!(
        room.looked_up.len(),
        1,
        "no verdict yet, and not old enough"
    );
    room.run_for(secs(1));
    assert_eq!(room.looked_up.len(), 2);
}
