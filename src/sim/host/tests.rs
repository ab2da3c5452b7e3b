//! The machine alone, without a BMC.

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::after_start(Duration::from_secs(seconds))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const CONSOLE: By = By::Console(SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    7,
));

#[test]
fn an_obedient_os_goes_down_after_its_time_and_not_before() {
    let mut mood = Mood::default();
    let mut host = Host::new(true);
    let soft = host.execute(ChassisOrder::Soft, CONSOLE, &mut mood, at(1));
    assert_eq!(soft, Ok(Effect::Done));
    host.advance(&mood, Instant::after_start(Duration::from_millis(5_999)));
    assert!(host.is_on());
    host.advance(&mood, at(6));
    assert!(!host.is_on());
    // The change is dated when it happened, however late one looks.
    let late = &mut Host::new(true);
    late.execute(ChassisOrder::Soft, CONSOLE, &mut mood, at(1))
        .unwrap();
    late.advance(&mood, at(100));
    assert_eq!(
        late.power_changes(),
        [PowerChange {
            at: at(6),
            on: false
        }]
    );
}

#[test]
fn a_hanging_os_ignores_the_button_and_obeys_the_plug() {
    let mut mood = Mood {
        os: OsMood::Hangs,
        ..Mood::default()
    };
    let mut host = Host::new(true);
    let soft = host.execute(ChassisOrder::Soft, CONSOLE, &mut mood, at(1));
    assert_eq!(soft, Ok(Effect::Ignored));
    host.advance(&mood, at(100_000));
    assert!(host.is_on());
    host.execute(ChassisOrder::Off, CONSOLE, &mut mood, at(100_000))
        .unwrap();
    assert!(!host.is_on());
    assert_eq!(host.count(ChassisOrder::Soft), 1);
}

#[test]
fn an_os_that_comes_back_is_off_in_between() {
    let mut mood = Mood {
        os: OsMood::ComesBack {
            down_after: secs(4),
            back_after: secs(3),
        },
        ..Mood::default()
    };
    let mut host = Host::new(true);
    host.execute(ChassisOrder::Soft, CONSOLE, &mut mood, at(0))
        .unwrap();
    host.advance(&mood, at(5));
    assert!(!host.is_on());
    host.advance(&mood, at(7));
    assert!(host.is_on());
}

#[test]
fn an_os_that_ignores_the_first_button_obeys_the_second() {
    let mut mood = Mood {
        os: OsMood::IgnoresFirst {
            ignored: 1,
            after: secs(2),
        },
        ..Mood::default()
    };
    let mut host = Host::new(true);
    let mut soft = |when| host.execute(ChassisOrder::Soft, CONSOLE, &mut mood, at(when));
    assert_eq!(soft(0), Ok(Effect::Ignored));
    assert_eq!(soft(60), Ok(Effect::Done));
    host.advance(&mood, at(62));
    assert!(!host.is_on());
}

#[test]
fn an_order_on_that_comes_too_early_is_accepted_and_lost() {
    let mut mood = Mood {
        min_off_time: secs(10),
        ..Mood::default()
    };
    let mut host = Host::new(true);
    host.execute(ChassisOrder::Off, CONSOLE, &mut mood, at(0))
        .unwrap();
    let early = host.execute(ChassisOrder::On, CONSOLE, &mut mood, at(9));
    assert_eq!(early, Ok(Effect::LostTooEarly));
    host.advance(&mood, at(1000));
    assert!(!host.is_on());
    mood.early_on = EarlyOn::Delayed;
    host.execute(ChassisOrder::On, CONSOLE, &mut mood, at(1000))
        .unwrap();
    assert!(host.is_on());
}

#[test]
fn the_shown_state_lags_behind_the_machine() {
    let mut mood = Mood {
        stale_for: secs(3),
        ..Mood::default()
    };
    let mut host = Host::new(true);
    host.execute(ChassisOrder::Off, CONSOLE, &mut mood, at(10))
        .unwrap();
    assert!(!host.is_on());
    assert!(host.shows_on(&mood, at(12)));
    assert!(!host.shows_on(&mood, at(13)));
}

#[test]
fn a_cycle_is_off_for_its_time_and_a_reset_never_is() {
    let mut mood = Mood::default();
    let mut host = Host::new(true);
    host.execute(ChassisOrder::Cycle, CONSOLE, &mut mood, at(0))
        .unwrap();
    host.advance(&mood, at(9));
    let changes: Vec<_> = host.power_changes().iter().map(|c| (c.at, c.on)).collect();
    assert_eq!(changes, [(at(0), false), (at(1), true)]);
    host.execute(ChassisOrder::Reset, CONSOLE, &mut mood, at(9))
        .unwrap();
    assert_eq!(host.power_changes().len(), 2);
}

#[test]
fn a_crash_is_logged_and_ends_in_a_reboot_with_its_cause() {
    let mut mood = Mood::default();
    let mut host = Host::new(true);
    host.execute(ChassisOrder::Nmi, CONSOLE, &mut mood, at(5))
        .unwrap();
    assert!(!host.os_is_up());
    assert_eq!(host.event_log.len(), 2);
    let soft = host.execute(ChassisOrder::Soft, CONSOLE, &mut mood, at(6));
    assert_eq!(soft, Ok(Effect::Ignored));
    host.advance(&mood, at(15));
    assert!(host.os_is_up());
    assert_eq!(host.restart_cause, 0x0A);
}

#[test]
fn pulses_are_refused_while_off_and_levels_are_done() {
    for (order, answer) in [
        (ChassisOrder::Cycle, Err(0xD5)),
        (ChassisOrder::Reset, Err(0xD5)),
        (ChassisOrder::Nmi, Err(0xD5)),
        (ChassisOrder::Soft, Err(0xD5)),
        (ChassisOrder::Off, Ok(Effect::NothingToDo)),
        (ChassisOrder::On, Ok(Effect::Done)),
    ] {
        let mut host = Host::new(false);
        let given = host.execute(order, CONSOLE, &mut Mood::default(), at(0));
        assert_eq!(given, answer, "{order:?}");
        assert_eq!(host.executed().len(), usize::from(answer.is_ok()));
    }
}

#[test]
fn a_refusal_counts_down() {
    let mut mood = Mood::default();
    mood.refusals.push(super::super::mood::Refusal {
        order: ChassisOrder::Off,
        code: 0xC0,
        times: Some(2),
    });
    let mut host = Host::new(true);
    let mut off = || host.execute(ChassisOrder::Off, CONSOLE, &mut mood, at(0));
    assert_eq!((off(), off()), (Err(0xC0), Err(0xC0)));
    assert_eq!(off(), Ok(Effect::Done));
}

#[test]
fn after_a_power_cut_the_policy_decides() {
    for (policy, on) in [
        (RestorePolicy::StayOff, false),
        (RestorePolicy::Previous, true),
        (RestorePolicy::AlwaysOn, true),
    ] {
        let mood = Mood::default();
        let mut host = Host::new(true);
        host.restore_policy = policy;
        host.lose_mains(&mood, at(1));
        assert!(!host.is_on());
        host.regain_mains(&mood, at(2));
        assert_eq!(host.is_on(), on, "{policy:?}");
    }
}
