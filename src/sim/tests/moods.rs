//! Every mood, seen from the network, in virtual time.

use super::super::{
    Babble, Bmc, BmcSettings, ChassisOrder, Conditions, Link, Mood, OsMood, Privilege, Repeated,
    User,
};
use super::console::Console;
use crate::time::Instant;
use proptest::prelude::*;
use std::time::Duration;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn console(mood: Mood) -> Console {
    console_with(BmcSettings::default(), mood)
}

fn console_with(settings: BmcSettings, mood: Mood) -> Console {
    Console::new(Bmc::new(settings, mood, 7), Link::new(7))
}

#[test]
fn a_soft_power_off_is_seen_when_the_os_is_down_and_the_bmc_says_so() {
    let mut console = console(Mood {
        os: OsMood::ObeysAfter(secs(5)),
        stale_for: secs(3),
        ..Mood::default()
    });
    console.enter();
    assert_eq!(console.order(5), Some(0x00));
    console.wait(secs(5));
    // The machine is off; its BMC shows the old state for three seconds more.
    assert!(!console.bmc().host().is_on());
    assert_eq!(console.shows_on(), Some(true));
    console.wait(secs(2));
    assert_eq!(console.shows_on(), Some(false));
    assert_eq!(console.bmc().host().count(ChassisOrder::Soft), 1);
}

#[test]
fn a_hanging_os_answers_yes_and_stays() {
    let mut console = console(Mood {
        os: OsMood::Hangs,
        ..Mood::default()
    });
    console.enter();
    assert_eq!(console.order(5), Some(0x00));
    for _ in 0..20 {
        console.wait(secs(50));
        assert_eq!(console.shows_on(), Some(true));
    }
}

#[test]
fn a_session_that_is_silent_is_closed_and_one_that_speaks_is_not() {
    let mut console = console(Mood::default());
    console.enter();
    for _ in 0..5 {
        console.wait(secs(58));
        assert_eq!(console.shows_on(), Some(true));
    }
    console.wait(secs(61));
    assert_eq!(console.shows_on(), None);
    assert_eq!(console.bmc().open_sessions(), 0);
}

#[test]
fn a_forgotten_session_is_answered_with_silence_and_a_new_one_opens() {
    let mut console = console(Mood {
        session_life: Some(secs(30)),
        ..Mood::default()
    });
    console.enter();
    assert_eq!(console.shows_on(), Some(true));
    console.wait(secs(30));
    assert_eq!(console.shows_on(), None);
    console.enter();
    assert_eq!(console.shows_on(), Some(true));
}

#[test]
fn a_full_table_refuses_and_a_log_in_that_stops_half_way_frees_its_slot() {
    let mut console = console_with(
        BmcSettings {
            session_limit: 2,
            half_open_timeout: secs(10),
            ..BmcSettings::default()
        },
        Mood::default(),
    );
    let open = |console: &mut Console| {
        let mut open = vec![0x01, 4, 0, 0, 1, 2, 3, 4];
        for kind in 0..3 {
            open.extend([kind, 0, 0, 8, 1, 0, 0, 0]);
        }
        console.step(0x10, &open).unwrap()[1]
    };
    assert_eq!((open(&mut console), open(&mut console)), (0x00, 0x00));
    // 01h: insufficient resources to create a session.
    assert_eq!(console.log_in(4), Some(0x01));
    console.wait(secs(10));
    assert_eq!(console.log_in(4), Some(0x00));
    console.bmc().mood_mut().session_table_full = Some(0x0B);
    assert_eq!(console.log_in(4), Some(0x0B));
}

#[test]
fn a_copy_on_the_link_is_dropped_and_a_careless_bmc_carries_it_out() {
    for (executes_copies, times) in [(false, 1), (true, 2)] {
        let mut console = console(Mood {
            executes_copies,
            ..Mood::default()
        });
        console.enter();
        console.request_number += 1;
        let reset = console.datagram(0x00, 0x02, &[3]);
        let replies = console.exchange(&reset).len() + console.exchange(&reset).len();
        assert_eq!(replies, times);
        assert_eq!(console.bmc().host().count(ChassisOrder::Reset), times);
    }
}

#[test]
fn a_link_that_doubles_everything_does_not_double_orders() {
    let mut link = Link::new(3);
    link.set_both(Conditions {
        duplicate: 1.0,
        ..Conditions::default()
    });
    let bmc = Bmc::new(BmcSettings::default(), Mood::default(), 7);
    let mut console = Console::new(bmc, link);
    // The doubled set-up fails in the same way as with real BMCs, so the session is opened over a
    // kind link.
    console
        .rack
        .link_mut(console.bmc)
        .unwrap()
        .set_both(Conditions::default());
    console.enter();
    console
        .rack
        .link_mut(console.bmc)
        .unwrap()
        .towards_bmc
        .duplicate = 1.0;
    assert_eq!(console.order(2), Some(0x00));
    assert_eq!(console.bmc().host().count(ChassisOrder::Cycle), 1);
}

#[test]
fn a_resent_request_is_executed_answered_or_refused_as_the_mood_says() {
    for (repeated, code, times) in [
        (Repeated::Executed, 0x00, 2),
        (Repeated::AnsweredAgain, 0x00, 1),
        (Repeated::RefusedAsDuplicate, 0xCF, 1),
    ] {
        let mut console = console(Mood {
            repeated,
            ..Mood::default()
        });
        console.enter();
        assert_eq!(console.order(3), Some(0x00));
        let again = console.ask_again(0x00, 0x02, &[3]).unwrap();
        assert_eq!(again.0, code);
        assert_eq!(console.bmc().host().count(ChassisOrder::Reset), times);
    }
}

#[test]
fn the_first_reply_is_lost_and_the_order_is_not() {
    let mut console = console(Mood {
        loses_first_reply: true,
        repeated: Repeated::AnsweredAgain,
        ..Mood::default()
    });
    assert_eq!(console.log_in(4), Some(0x00));
    assert_eq!(console.ask(0x06, 0x3B, &[4]), None);
    assert_eq!(console.ask_again(0x06, 0x3B, &[4]), Some((0, vec![4])));
    assert_eq!(console.order(2), None);
    assert_eq!(console.bmc().host().count(ChassisOrder::Cycle), 1);
    assert_eq!(console.ask_again(0x00, 0x02, &[2]), Some((0, vec![])));
    assert_eq!(console.bmc().host().count(ChassisOrder::Cycle), 1);
}

#[test]
fn a_bmc_that_reboots_is_deaf_for_its_time_and_the_machine_goes_on() {
    let mut console = console(Mood::default());
    console.enter();
    // Cold reset: answered, then away for a minute.
    assert_eq!(console.ask(0x06, 0x02, &[]), Some((0, vec![])));
    assert_eq!(console.log_in(4), None);
    console.wait(secs(57));
    assert_eq!(console.log_in(4), None);
    console.wait(secs(1));
    console.enter();
    assert_eq!(console.shows_on(), Some(true));
}

#[test]
fn a_pulled_plug_silences_the_bmc_and_the_policy_brings_the_machine_back() {
    let mut console = console(Mood {
        reset_takes: secs(20),
        ..Mood::default()
    });
    console.enter();
    let now = console.now;
    console.bmc().pull_plug(now);
    assert!(!console.bmc().host().is_on());
    assert_eq!(console.log_in(4), None);
    let now = console.now;
    console.bmc().plug_in(now);
    assert_eq!(console.log_in(4), None);
    console.wait(secs(20));
    console.enter();
    assert_eq!(console.shows_on(), Some(true));
    // 07h: powered up as the policy "previous state" says.
    assert_eq!(console.ask(0x00, 0x07, &[]), Some((0, vec![0x07, 0x01])));
}

#[test]
fn error_replies_are_whole_zeroed_or_short_as_the_firmware_is() {
    let mut console = console(Mood::default());
    console.user = b"nobody".to_vec();
    let rakp_1 = |console: &mut Console| {
        let mut open = vec![0x09, 4, 0, 0, 1, 2, 3, 4];
        for kind in 0..3 {
            open.extend([kind, 0, 0, 8, 1, 0, 0, 0]);
        }
        let id = console.step(0x10, &open).unwrap()[8..12].to_vec();
        let mut rakp_1 = vec![0x0A, 0, 0, 0];
        rakp_1.extend(id);
        rakp_1.extend([0x5C; 16]);
        rakp_1.extend([0x14, 0, 0, 6]);
        rakp_1.extend(b"nobody");
        console.step(0x12, &rakp_1).unwrap()
    };
    // Tag 0Ah, 0Dh unauthorised name, reserved, the console's session id.
    assert_eq!(rakp_1(&mut console), [0x0A, 0x0D, 0, 0, 1, 2, 3, 4]);
    console.bmc().mood_mut().quirks.error_replies_zeroed = true;
    assert_eq!(rakp_1(&mut console), [0x00, 0x0D, 0, 0, 0, 0, 0, 0]);
    console.bmc().mood_mut().quirks.short_error_replies = Some(2);
    assert_eq!(rakp_1(&mut console), [0x00, 0x0D]);
}

#[test]
fn a_wrong_password_is_said_in_rakp_4_and_locks_out_where_that_is_the_mood() {
    let mut console = console(Mood {
        lock_out: Some((2, secs(300))),
        ..Mood::default()
    });
    console.password = b"wrong".to_vec();
    assert_eq!(console.log_in(4), Some(0x0F));
    assert_eq!(console.log_in(4), Some(0x0F));
    console.password = b"admin".to_vec();
    assert_eq!(console.log_in(4), Some(0x0D));
    console.wait(secs(300));
    assert_eq!(console.log_in(4), Some(0x00));
}

#[test]
fn levels_are_kept_to() {
    let mut console = console_with(
        BmcSettings {
            users: vec![User::new("admin", "admin", Privilege::Operator)],
            ..BmcSettings::default()
        },
        Mood::default(),
    );
    // 0Ah: unauthorised role, asked for administrator.
    assert_eq!(console.log_in(4), Some(0x0A));
    assert_eq!(console.log_in(3), Some(0x00));
    // A session begins at user level: reading yes, switching no (D4h).
    assert_eq!(console.shows_on(), Some(true));
    assert_eq!(console.order(0), Some(0xD4));
    // 81h: the level exceeds the user's limit.
    assert_eq!(console.ask(0x06, 0x3B, &[4]), Some((0x81, vec![])));
    assert_eq!(console.ask(0x06, 0x3B, &[3]), Some((0x00, vec![3])));
    assert_eq!(console.order(0), Some(0x00));
    // A cold reset is for administrators.
    assert_eq!(console.ask(0x06, 0x02, &[]), Some((0xD4, vec![])));
}

#[test]
fn a_babbling_bmc_sends_garbage_at_its_pace_and_still_answers() {
    let mut console = console(Mood {
        babble: Some(Babble {
            every: Duration::from_millis(100),
        }),
        ..Mood::default()
    });
    let ping = [6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x80, 1, 0, 0];
    let back = console.exchange(&ping);
    assert_eq!(back.len(), 11);
    assert_eq!(back[0][..4], [6, 0, 0xFF, 6]);
}

#[test]
fn a_reply_takes_its_time() {
    let mut console = console(Mood {
        reply_delay: secs(3),
        ..Mood::default()
    });
    let ping = [6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE, 0x80, 1, 0, 0];
    assert_eq!(console.exchange(&ping).len(), 0);
    assert_eq!(
        console.rack.poll_timeout(),
        Some(Instant::after_start(secs(4)))
    );
    console.now += secs(2);
    let delivery = console.rack.poll_delivery(console.now).unwrap();
    assert_eq!(delivery.at, Instant::after_start(secs(4)));
}

#[test]
fn a_lossy_link_delays_a_session_and_does_not_end_it() {
    let mut console = console(Mood::default());
    console.enter();
    let lossy = Conditions {
        loss: 0.3,
        ..Conditions::default()
    };
    console.rack.link_mut(console.bmc).unwrap().set_both(lossy);
    let answered = (0..40).filter(|_| console.shows_on().is_some()).count();
    assert!((10..32).contains(&answered), "{answered}");
}

#[test]
fn garbage_in_a_session_changes_nothing() {
    let mut console = console(Mood::default());
    console.enter();
    console.request_number += 1;
    let off = console.datagram(0x00, 0x02, &[0]);
    for bit in 32..8 * off.len() {
        let mut damaged = off.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            console.exchange(&damaged),
            Vec::<Vec<u8>>::new(),
            "bit {bit}"
        );
        // An exchange takes a second, and a session a minute of silence.
        console.now = Instant::after_start(secs(10));
    }
    assert!(console.bmc().host().is_on());
    assert_eq!(console.exchange(&off).len(), 1);
    assert!(!console.bmc().host().is_on());
}

proptest! {
    #[test]
    fn no_datagram_makes_a_bmc_panic(
        packets in proptest::collection::vec((0usize..7, proptest::collection::vec(any::<u8>(), 0..80)), 1..20),
        jump in 0u64..100,
    ) {
        let settings = BmcSettings { offers_v15: true, ..BmcSettings::default() };
        let mut console = console_with(settings, Mood::default());
        let heads: [&[u8]; 7] = [
            &[],
            &[6, 0, 0xFF, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[6, 0, 0xFF, 7, 6, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
            &[6, 0, 0xFF, 7, 6, 0x12, 0, 0, 0, 0, 0, 0, 0, 0],
            &[6, 0, 0xFF, 7, 6, 0x14, 0, 0, 0, 0, 0, 0, 0, 0],
            &[6, 0, 0xFF, 7, 6, 0xC0],
            &[6, 0, 0xFF, 6, 0, 0, 0x11, 0xBE],
        ];
        for (head, bytes) in packets {
            let datagram = [heads[head], &bytes].concat();
            console.exchange(&datagram);
            console.wait(secs(jump));
        }
        prop_assert!(console.bmc().host().is_on());
    }

    #[test]
    fn no_request_makes_a_bmc_panic(
        net_fn in 0u8..32,
        requests in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..24)), 1..20),
    ) {
        let mut console = console(Mood::default());
        console.enter();
        for (command, data) in requests {
            let net_fn = [0x00, 0x06, 0x0A, 0x2C].get(usize::from(net_fn)).copied().unwrap_or(net_fn * 2);
            if console.ask(net_fn, command, &data).is_none() {
                // Closed, or the BMC was reset.
                console.wait(secs(60));
                console.enter();
            }
        }
    }
}
