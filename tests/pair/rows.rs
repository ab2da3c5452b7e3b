//! What a host's tenure makes of one thing that happens, told by hand: no machine and no rack are
//! needed for it.

mod commits;

use crate::etcd::Etcd;
use crate::single::{millis, secs};
use rackbmcd::entropy::Seeded;
use rackbmcd::etcd::{Answer, Change, Request, Trouble};
use rackbmcd::rack::record::{Table, Write};
use rackbmcd::rack::stored::migrate::{FORMAT, Upgrade};
use rackbmcd::tenure::keys::{self, Head, Own};
use rackbmcd::tenure::{
    Begun, Cause, Event, MARGIN, Me, Phase, Pinned, RequestId, Settings, Tenure,
};
use rackbmcd::time::{Instant, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

const T: Duration = Duration::from_secs(9);
/// How long a write that was taken permits something.
const PERMIT: Duration = T.checked_sub(MARGIN).unwrap();

/// Two hosts that are asked and answered by hand.
struct Pair {
    now: Instant,
    etcd: Etcd,
    hosts: Vec<Host>,
}

struct Host {
    tenure: Tenure,
    events: Vec<Event>,
    /// Requests on their way, which nobody has carried out yet.
    out: Vec<(RequestId, Request)>,
    /// It does not reach etcd: every request is answered by nobody, after a second.
    cut: bool,
    given_up: Vec<(Instant, RequestId)>,
    watched: usize,
}

fn me(place: usize) -> Me {
    Me {
        host: format!("mgmt{}", place + 1),
        host_id: Uuid::from_u128(place as u128 + 1),
        boot: Some(Uuid::from_u128(100 + place as u128)),
        url: Some(format!("https://mgmt{}:6385", place + 1)),
        version: "1".to_owned(),
        format: FORMAT,
    }
}

fn settings() -> Settings {
    Settings {
        prefix: "/rackbmc".to_owned(),
        rack: "r1".to_owned(),
        tenure: T,
        pinned: Pinned::default(),
    }
}

fn host(me: Me, settings: Settings, seed: u64, now: Instant) -> Host {
    let entropy = Box::new(Seeded::new(seed));
    Host {
        tenure: Tenure::new(me, settings, entropy, WallTime::default(), now),
        events: Vec::new(),
        out: Vec::new(),
        cut: false,
        given_up: Vec::new(),
        watched: 0,
    }
}

impl Pair {
    fn new() -> Self {
        let now = Instant::after_start(secs(1000));
        let mut pair = Self {
            now,
            etcd: Etcd::default(),
            hosts: vec![host(me(0), settings(), 1, now)],
        };
        pair.run(millis(10));
        pair.hosts.push(host(me(1), settings(), 2, now));
        pair.run(secs(1));
        assert_eq!(pair.phases(), [Phase::Owner, Phase::Standby]);
        pair
    }

    fn phases(&self) -> Vec<Phase> {
        self.hosts.iter().map(|host| host.tenure.phase()).collect()
    }

    /// Everything that can happen at this moment happens.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let mut quiet = true;
            for host in &mut self.hosts {
                let tenure = &mut host.tenure;
                let due = host.given_up.iter().position(|(at, _)| *at <= self.now);
                if let Some(due) = due {
                    let (_, id) = host.given_up.remove(due);
                    let silent = Err(Trouble::Silent("no answer in 1 s".to_owned()));
                    tenure.handle_answer(id, silent, self.now);
                    quiet = false;
                }
                if tenure.poll_timeout().is_some_and(|at| at <= self.now) {
                    tenure.handle_timeout(self.now);
                    quiet = false;
                }
                host.events
                    .extend(std::iter::from_fn(|| tenure.poll_event()));
                let asked: Vec<_> = std::iter::from_fn(|| tenure.poll_request()).collect();
                quiet &= asked.is_empty();
                for (id, request) in asked {
                    if host.cut {
                        host.given_up.push((self.now + secs(1), id));
                        host.out.push((id, request));
                    } else {
                        let answer = self.etcd.carry_out(&request);
                        tenure.handle_answer(id, answer, self.now);
                    }
                }
                let keys = tenure.watched();
                let changes = &self.etcd.changes[host.watched..];
                for (_, change) in changes.iter().filter(|_| !host.cut) {
                    let (Change::Put(rackbmcd::etcd::Entry { key, .. }) | Change::Deleted(key, _)) =
                        change;
                    if keys.contains(key) {
                        tenure.handle_change(change, self.now);
                    }
                }
                if !host.cut {
                    host.watched = self.etcd.changes.len();
                }
                host.events
                    .extend(std::iter::from_fn(|| tenure.poll_event()));
            }
            if quiet {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self.hosts.iter().flat_map(|host| {
                let given_up = host.given_up.iter().map(|(at, _)| *at);
                given_up.chain(host.tenure.poll_timeout())
            });
            match next.min().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    fn events(&mut self, place: usize) -> Vec<Event> {
        std::mem::take(&mut self.hosts[place].events)
    }

    fn begun(&mut self, place: usize) -> Begun {
        let events = self.events(place).into_iter();
        let mut begun = events.filter_map(|event| match event {
            Event::Own(begun) => Some(*begun),
            _ => None,
        });
        begun.next().expect("its tenure began")
    }

    /// One commit was taken, and the second has had no answer for so long: its host does not reach
    /// etcd any more.
    fn unanswered(time: Duration) -> Self {
        let mut pair = Self::new();
        pair.commit(0, 1, 1);
        pair.hosts[0].cut = true;
        pair.commit(0, 2, 2);
        pair.run(time);
        pair
    }

    fn commit(&mut self, place: usize, ticket: u64, value: u8) {
        let write = Write::Put {
            table: Table::Tasks,
            key: "t".to_owned(),
            value: [value].into(),
        };
        let now = self.now;
        self.hosts[place].tenure.commit(ticket, vec![write], now);
        self.settle();
    }

    fn task(&self) -> Option<u8> {
        let value = self.etcd.value("/rackbmc/1/racks/r1/j/tasks/t");
        value.map(|value| value[0])
    }

    /// A request of a host that nobody answered is carried out now.
    fn arrive_late(&mut self, place: usize, which: impl Fn(&Request) -> bool) {
        let out = &mut self.hosts[place].out;
        let found = out.iter().position(|(_, request)| which(request));
        let (_, request) = out.remove(found.expect("such a request was asked"));
        let _ = self.etcd.carry_out(&request);
    }

    fn head(&self) -> Head {
        keys::read(self.etcd.value("/rackbmc/1/racks/r1/head").unwrap()).unwrap()
    }
}

fn puts(what: &'static str) -> impl Fn(&Request) -> bool {
    move |request| format!("{request:?}").contains(&format!("Put(\"/rackbmc/1/racks/r1/{what}"))
}

fn until(events: &[Event]) -> Option<Instant> {
    let mut until = events.iter().filter_map(|event| match event {
        Event::Until(until) => Some(*until),
        _ => None,
    });
    until.next_back()
}

#[test]
fn the_first_host_owns_a_new_rack_at_once_and_the_second_stands_by() {
    let mut pair = Pair::new();
    let begun = pair.begun(0);
    assert_eq!((begun.cause, begun.remembered.len()), (Cause::First, 0));
    pair.run(secs(600));
    assert_eq!(pair.phases(), [Phase::Owner, Phase::Standby]);
    let until = until(&pair.events(0)).unwrap();
    assert!(until > pair.now + secs(3) && until <= pair.now + PERMIT);
    let pins = |event: &Event| matches!(event, Event::Pin(_));
    assert!(pair.events(1).iter().all(pins));
}

#[test]
fn a_dead_owner_is_followed_after_the_tenure_time_with_all_that_it_wrote() {
    let mut pair = Pair::new();
    pair.commit(0, 1, 5);
    assert!(pair.events(0).contains(&Event::Committed(1)));
    let died = pair.now;
    pair.hosts.remove(0);
    pair.run(T + millis(100));
    let begun = pair.begun(0);
    assert_eq!(begun.cause, Cause::Silence);
    assert!(begun.at - died <= T + millis(50), "{:?}", begun.at - died);
    let entry = (Table::Tasks, "t".to_owned(), vec![5]);
    assert_eq!(begun.remembered, [entry]);
    assert_eq!(begun.until, begun.at + PERMIT);
}

#[test]
fn permits_of_two_hosts_never_overlap_when_one_is_cut_off() {
    let mut pair = Pair::new();
    pair.hosts[0].cut = true;
    pair.events(0);
    pair.run(T + secs(4));
    let events = pair.events(0);
    let last = until(&events);
    assert!(events.contains(&Event::Dark));
    assert_eq!(last, None, "no beat was taken");
    let begun = pair.begun(1);
    assert!(begun.at > Instant::after_start(secs(1001)) + PERMIT);
    // It hears of it once it reaches etcd again, and not before.
    assert_eq!(pair.hosts[0].tenure.phase(), Phase::Dark);
    pair.hosts[0].cut = false;
    pair.run(secs(2));
    let deposed = pair.events(0);
    let by = |event: &Event| matches!(event, Event::Deposed { by: Some(own), .. } if own.host == "mgmt2");
    assert!(deposed.iter().any(by), "{deposed:?}");
    assert_eq!(pair.phases(), [Phase::Standby, Phase::Owner]);
    pair.run(secs(100));
    assert_eq!(pair.phases(), [Phase::Standby, Phase::Owner]);
}

#[test]
fn an_etcd_that_is_away_changes_no_owner() {
    for away in [2, 9, 60] {
        let mut pair = Pair::new();
        pair.events(0);
        pair.etcd.leaderless = true;
        pair.run(secs(away));
        pair.etcd.leaderless = false;
        pair.run(secs(30));
        assert_eq!(pair.phases(), [Phase::Owner, Phase::Standby], "{away} s");
        let events = pair.events(0);
        let dark = events.contains(&Event::Dark);
        assert_eq!(dark, away >= 9, "{away} s");
        assert!(
            until(&events).is_some_and(|until| until > pair.now),
            "the dark ends"
        );
    }
}

#[test]
fn who_gives_the_rack_up_is_followed_at_once() {
    let mut pair = Pair::new();
    pair.commit(0, 1, 5);
    pair.events(0);
    let now = pair.now;
    pair.hosts[0].tenure.release(None, now);
    pair.settle();
    let events = pair.events(0);
    assert_eq!(events[0], Event::Until(now), "nothing leaves any more");
    assert!(events.contains(&Event::Released));
    let begun = pair.begun(1);
    assert_eq!((begun.cause, begun.at), (Cause::Released, now));
    pair.run(secs(60));
    assert_eq!(pair.phases(), [Phase::Standby, Phase::Owner]);
}

#[test]
fn a_rack_that_nobody_takes_goes_back_to_who_gave_it_up() {
    let mut pair = Pair::new();
    let now = pair.now;
    pair.hosts[1]
        .tenure
        .set_fit(Err("other nodes".to_owned()), now);
    pair.hosts[0].tenure.release(Some("mgmt2".to_owned()), now);
    pair.run(secs(4));
    assert_eq!(pair.phases(), [Phase::Standby; 2]);
    pair.run(secs(2));
    assert_eq!(pair.phases(), [Phase::Owner, Phase::Standby]);
    pair.begun(0);
    // The other way round it goes to whom it was meant for.
    let now = pair.now;
    pair.hosts[1].tenure.set_fit(Ok(()), now);
    pair.hosts[0].tenure.release(Some("mgmt2".to_owned()), now);
    pair.run(secs(1));
    assert_eq!(pair.phases(), [Phase::Standby, Phase::Owner]);
}

#[test]
fn a_restarted_owner_takes_its_rack_back_at_once_and_a_rebooted_one_waits() {
    for (boot, wait) in [(100, millis(0)), (999, T)] {
        let mut pair = Pair::new();
        let again = Me {
            boot: Some(Uuid::from_u128(boot)),
            ..me(0)
        };
        let standby = pair.hosts.pop().unwrap();
        pair.hosts = vec![host(again, settings(), 3, pair.now)];
        let before = pair.now;
        drop(standby);
        pair.run(secs(20));
        let begun = pair.begun(0);
        let expected = if wait.is_zero() {
            Cause::Restart
        } else {
            Cause::Silence
        };
        assert_eq!((begun.cause, begun.at - before), (expected, wait));
    }
}

#[test]
fn a_claim_that_was_not_answered_and_arrived_late_is_taken_up() {
    let mut pair = Pair::new();
    pair.commit(0, 1, 1);
    pair.hosts.remove(0);
    pair.run(T - millis(100));
    pair.hosts[0].cut = true;
    pair.run(secs(5));
    assert_eq!(pair.phases(), [Phase::Standby], "it has stopped trying");
    pair.arrive_late(0, puts("own"));
    let now = pair.now;
    pair.hosts[0].cut = false;
    pair.run(secs(3));
    let begun = pair.begun(0);
    assert_eq!(begun.remembered[0].2, [1]);
    assert!(begun.until >= now && begun.until <= begun.at + PERMIT);
    pair.commit(0, 1, 2);
    assert!(pair.events(0).contains(&Event::Committed(1)));
}

#[test]
fn another_cluster_and_an_older_copy_are_not_taken_for_the_rack() {
    let mut pair = Pair::new();
    pair.commit(0, 1, 1);
    let copy = pair.etcd.clone();
    pair.run(secs(5));
    pair.commit(0, 2, 2);
    pair.run(secs(5));
    pair.hosts.remove(0);
    pair.etcd = copy;
    pair.hosts[0].watched = pair.etcd.changes.len();
    pair.run(secs(30));
    assert_eq!(pair.phases(), [Phase::Standby]);
    let why = pair.hosts[0].tenure.unfit().unwrap_or_default();
    assert!(why.contains("put back from a copy"), "{why}");
    pair.etcd.cluster = 8;
    pair.run(secs(30));
    let why = pair.hosts[0].tenure.unfit().unwrap_or_default();
    assert!(why.contains("another cluster"), "{why}");
}

#[test]
fn an_answer_of_another_cluster_in_between_harms_nothing_and_is_not_held_against_a_host_later() {
    let mut pair = Pair::new();
    pair.run(secs(5));
    pair.etcd.cluster = 8;
    pair.run(secs(4));
    for host in &pair.hosts {
        let why = host.tenure.unfit().unwrap_or_default();
        assert!(why.contains("another cluster"), "{why}");
    }
    pair.etcd.cluster = 7;
    pair.run(secs(5));
    assert_eq!(pair.phases(), [Phase::Owner, Phase::Standby]);
    let unfit: Vec<_> = pair.hosts.iter().map(|host| host.tenure.unfit()).collect();
    assert_eq!(unfit, [None, None]);
    pair.hosts.remove(0);
    pair.run(secs(11));
    assert_eq!(pair.phases(), [Phase::Owner]);
}

#[test]
fn a_host_waits_as_long_as_the_owner_was_configured_with_where_that_is_longer() {
    let of = |seconds| Settings {
        tenure: secs(seconds),
        ..settings()
    };
    for (owners, others, waits) in [(60, 6, 60), (6, 60, 60), (9, 9, 9)] {
        let now = Instant::after_start(secs(1000));
        let mut pair = Pair {
            now,
            etcd: Etcd::default(),
            hosts: vec![host(me(0), of(owners), 1, now)],
        };
        pair.run(millis(10));
        pair.hosts.push(host(me(1), of(others), 2, now));
        // Between two signs of life of the owner nobody claims.
        pair.run(secs(100));
        assert_eq!(pair.phases(), [Phase::Owner, Phase::Standby]);
        pair.hosts[0].cut = true;
        let since = pair.now;
        while pair.phases()[1] != Phase::Owner {
            pair.run(millis(100));
            assert!(pair.now - since < secs(waits + 2), "{owners} {others}");
        }
        let until = |event: &Event| match event {
            Event::Own(begun) => Some(begun.until),
            Event::Until(until) => Some(*until),
            _ => None,
        };
        let permitted = pair.hosts[0].events.iter().rev().find_map(until).unwrap();
        assert!(permitted + secs(1) < pair.now, "{owners} {others}");
    }
}

#[test]
fn what_a_host_remembers_of_etcd_on_its_disk_holds_over_its_lives() {
    let pinned = |pin: fn(&mut Pinned)| {
        let mut pair = Pair::new();
        pair.commit(0, 1, 1);
        let mut settings = settings();
        pin(&mut settings.pinned);
        pair.hosts = vec![host(me(1), settings, 9, pair.now)];
        pair.run(secs(30));
        pair.hosts[0].tenure.unfit()
    };
    assert_eq!(pinned(|_| {}), None);
    assert_eq!(pinned(|pin| pin.ticket = 1), None);
    assert!(pinned(|pin| pin.ticket = 2).is_some_and(|why| why.contains("copy")));
    assert!(pinned(|pin| pin.cluster = Some(8)).is_some_and(|why| why.contains("cluster")));
    let other = pinned(|pin| pin.rack = Some(Uuid::from_u128(5)));
    assert!(other.is_some_and(|why| why.contains("another rack of that name")));
}

#[test]
fn an_owner_keeps_on_its_disk_how_many_commits_there_are() {
    let mut pair = Pair::new();
    pair.events(0);
    for ticket in 1..=18 {
        pair.commit(0, ticket, 1);
        pair.run(secs(1));
    }
    let pins = |events: &[Event]| -> Vec<u64> {
        let pins = events.iter().filter_map(|event| match event {
            Event::Pin(pinned) => Some(pinned.ticket),
            _ => None,
        });
        pins.collect()
    };
    let kept = pins(&pair.events(0));
    assert!((3..=6).contains(&kept.len()), "now and then: {kept:?}");
    assert!(kept.is_sorted() && kept.last() >= Some(&14), "{kept:?}");
    let now = pair.now;
    pair.hosts[0].tenure.release(None, now);
    pair.run(millis(10));
    assert_eq!(pins(&pair.events(0)).first(), Some(&18));
}

#[test]
fn a_host_that_is_not_fit_never_claims_and_goes_on_when_it_is() {
    let mut pair = Pair::new();
    let now = pair.now;
    pair.hosts[1]
        .tenure
        .set_fit(Err("no node in common".to_owned()), now);
    pair.hosts.remove(0);
    pair.run(secs(60));
    assert_eq!(pair.phases(), [Phase::Standby]);
    let now = pair.now;
    pair.hosts[0].tenure.set_fit(Ok(()), now);
    pair.run(millis(10));
    assert_eq!(pair.phases(), [Phase::Owner]);
}

#[test]
fn a_host_that_does_not_know_the_format_of_the_journal_leaves_it_alone_and_says_what_to_do() {
    let mut pair = Pair::new();
    let key = "/rackbmc/1/racks/r1/own";
    let mut own: Own = keys::read(pair.etcd.value(key).unwrap()).unwrap();
    own.format = FORMAT + 1;
    pair.hosts.remove(0);
    pair.etcd.put(key, &keys::bytes(&own));
    pair.run(secs(60));
    assert_eq!(pair.phases(), [Phase::Standby]);
    let why = pair.hosts[0].tenure.unfit().unwrap_or_default();
    assert!(why.ends_with("upgrade this host"), "{why}");
}

type Entries = Vec<(String, Vec<u8>)>;

/// The keys and values of a journal of format 2, in order; and the same in the format of now.
fn older_journal() -> (Entries, Vec<Vec<u8>>) {
    let mut entries = BTreeMap::new();
    for table in ["nodes", "tasks"] {
        let path = format!("tests/journal/v2/{table}.jsonl");
        // One key may be there more than once, from several stories.
        let text = std::fs::read_to_string(path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let key = line["key"].as_str().unwrap();
            let key = format!("/rackbmc/1/racks/r1/j/{table}/{key}-{number}");
            entries.insert(key, serde_json::to_vec(&line["value"]).unwrap());
        }
    }
    let brought = entries.iter().map(|(key, value)| {
        let nodes = key.contains("/j/nodes/");
        let table = if nodes { Table::Nodes } else { Table::Tasks };
        Upgrade::from(2).entry(table, "", value.clone()).1
    });
    let brought = brought.collect();
    (entries.into_iter().collect(), brought)
}

#[test]
fn a_newer_host_brings_the_journal_of_an_older_one_to_its_own_format_wherever_that_was_left() {
    let (older, newer) = older_journal();
    let last = older.len() - 1;
    assert!(last > 130, "more than one commit");
    let formats = "/rackbmc/1/racks/r1/format";
    // The host before did so with the first so many, and died.
    for done in [0, 1, 100, last] {
        let now = Instant::after_start(secs(1000));
        let hosts = vec![host(me(0), settings(), 1, now)];
        let etcd = Etcd::default();
        let mut pair = Pair { now, etcd, hosts };
        for (place, (key, value)) in older.iter().enumerate() {
            let value = if place < done { &newer[place] } else { value };
            pair.etcd.put(key, value);
        }
        let brought = done.checked_sub(1).map(|place| &older[place].0);
        let brought = brought.map(|upto| format!(r#"{{"upto":"{upto}","format":{FORMAT}}},"#));
        let known = format!(r#"[{}{{"format":2}}]"#, brought.unwrap_or_default());
        pair.etcd.put(formats, known.as_bytes());
        pair.run(millis(10));
        pair.commit(0, 1, 1);
        let begun = pair.begun(0);
        let read: Vec<&Vec<u8>> = begun.remembered.iter().map(|(.., value)| value).collect();
        assert_eq!(read, newer.iter().collect::<Vec<_>>(), "{done}");
        let there = older.iter().map(|(key, _)| pair.etcd.value(key).unwrap());
        assert!(there.eq(newer.iter().map(|value| &value[..])), "{done}");
        let known = format!(r#"[{{"format":{FORMAT}}}]"#);
        assert_eq!(pair.etcd.value(formats).unwrap(), known.as_bytes());
        assert_eq!(pair.task(), Some(1));
    }
}

#[test]
fn of_a_rack_that_nobody_had_for_a_while_the_calendar_tells_that() {
    let mut pair = Pair::new();
    pair.run(secs(5));
    pair.hosts.clear();
    pair.run(secs(1));
    let mut late = host(me(1), settings(), 9, pair.now);
    let a_while = secs(900);
    late.tenure
        .handle_wall(WallTime::default() + a_while, pair.now);
    late.watched = pair.etcd.changes.len();
    pair.hosts.push(late);
    pair.run(secs(20));
    let begun = pair.events(0).into_iter().find_map(|event| match event {
        Event::Own(begun) => begun.last_sign,
        _ => None,
    });
    let (_, ago) = begun.expect("it has the rack, and a sign of the former owner");
    assert!(ago >= a_while, "{ago:?}");
}

#[test]
fn a_process_that_was_stopped_knows_by_its_clock_that_its_permit_is_over() {
    let mut pair = Pair::new();
    pair.events(0);
    let stopped = pair.hosts.remove(0);
    pair.run(secs(20));
    assert_eq!(pair.phases(), [Phase::Owner]);
    pair.hosts.insert(0, stopped);
    pair.hosts[0].tenure.handle_timeout(pair.now);
    let first = pair.hosts[0].tenure.poll_event();
    assert_eq!(first, Some(Event::Dark), "before anything is asked");
    pair.run(millis(10));
    assert!(
        pair.events(0)
            .iter()
            .any(|event| matches!(event, Event::Deposed { .. }))
    );
}

#[test]
fn keys_that_were_deleted_by_hand_end_a_tenure_and_begin_another() {
    let mut pair = Pair::new();
    pair.commit(0, 1, 1);
    let own: Own = keys::read(pair.etcd.value("/rackbmc/1/racks/r1/own").unwrap()).unwrap();
    assert_eq!(own.host, "mgmt1");
    pair.etcd.put("/rackbmc/1/racks/r1/own", b"nonsense");
    pair.run(secs(20));
    let owners = pair
        .phases()
        .iter()
        .filter(|phase| **phase == Phase::Owner)
        .count();
    assert_eq!(owners, 1, "{:?}", pair.phases());
}
