//! Golden screens, and what keys do, with no terminal and no daemon.

use super::confirm::{Act, Action};
use super::draw::draw;
use super::front::{Front, Subject};
use super::known::News;
use super::view::{View, Wish};
use crate::cli::fixtures::node;
use crate::model::{
    Asker, Control, Event, EventKind, Health, Hold, Node, Operation, PowerState, Role, Task,
    TaskState, Trouble, Word,
};
use crate::time::WallTime;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A view of 16 nodes at a moment that the test moves on.
struct World {
    view: View,
    now: Instant,
}

fn moment(text: &str) -> WallTime {
    text.parse().expect("a time")
}

fn rack(size: u16) -> Vec<Node> {
    let one = |number: u16| {
        let state = match number % 8 {
            3 => PowerState::Off,
            _ => PowerState::On,
        };
        let mut node = node(&format!("r1n{number:02}"), state, f64::from(number % 60));
        node.uuid = Uuid::from_u128(number.into());
        node.rackbmcd.groups = [if number.is_multiple_of(4) {
            "storage"
        } else {
            "compute"
        }
        .to_owned()]
        .into();
        node.rackbmcd.bmc.address = format!("10.0.1.{}", number % 250).into();
        node.rackbmcd.bmc.port = 623;
        node.rackbmcd.bmc.health = Word::of("session open");
        node
    };
    (1..=size).map(one).collect()
}

fn task(number: u128, node: &Node, operation: Operation, state: TaskState) -> Task {
    Task {
        id: Uuid::from_u128(number),
        version: 3,
        node: node.name.to_string(),
        node_uuid: node.uuid,
        operation: operation.into(),
        state: state.into(),
        phase: match state {
            TaskState::Queued => "queued",
            _ => "waiting for the machine to go down",
        }
        .into(),
        step: 2,
        steps: 3,
        elapsed: Duration::from_secs(150),
        time_left: Some(Duration::from_secs(450)),
        may_abort: true,
        may_suspend: state == TaskState::Running,
        may_resume: state == TaskState::Suspended,
        may_rollback: true,
        ..Task::default()
    }
}

fn asker(role: Role) -> News {
    News::Asker(Asker {
        name: "ops".into(),
        role: Some(role.into()),
        on_nodes: Vec::new(),
    })
}

impl World {
    fn of(size: u16) -> Self {
        let now = Instant::now();
        let mut world = Self {
            view: View::new(true, TimeZone::UTC, now),
            now,
        };
        let mut nodes = rack(size);
        nodes[6].power_state = PowerState::Unknown;
        nodes[6].rackbmcd.reading = None;
        nodes[6].rackbmcd.bmc.trouble = Some(Trouble::ALL[0].into());
        nodes[6].rackbmcd.bmc.health = Word::of("no answer");
        nodes[6].rackbmcd.bmc.trouble_text = Some("no answer, 4 attempts in 5 s".into());
        nodes[8].rackbmcd.maintenance = Some(Hold {
            reason: Some("new \x1b[2Jfans".into()),
            ..Hold::default()
        });
        nodes[9].power_state = PowerState::Error;
        nodes[9].last_error = Some("aborted by ops".into());
        world.news(News::Health(
            Box::new(Health {
                rack: "r1".into(),
                ..Health::default()
            }),
            Duration::from_secs(11_100),
        ));
        world.news(asker(Role::Operator));
        world.news(News::Tasks(vec![
            task(3, &nodes[4], Operation::PowerOn, TaskState::Queued),
            task(2, &nodes[1], Operation::SoftPowerOff, TaskState::Running),
            task(1, &nodes[3], Operation::SoftReboot, TaskState::Suspended),
        ]));
        world.news(News::Nodes(nodes));
        let event = |second: u32, node: &str, text: &str| Event {
            at: moment(&format!("2026-11-26T12:03:{second:02}.000000+00:00")),
            kind: EventKind::Node.into(),
            node: Some(node.into()),
            text: text.into(),
            ..Event::default()
        };
        let events = vec![
            event(1, "r1n02", "soft power off asked for by ops"),
            event(2, "r1n07", "the BMC does not answer: 4 attempts in 5 s"),
            event(3, "elsewhere", "is watched by nobody"),
            event(
                4,
                "r1n02",
                "soft power off running: waiting for the machine to go down",
            ),
        ];
        world.news(News::Events(events, false));
        world
    }

    fn news(&mut self, news: News) {
        self.view.news(news, self.now);
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Keys, with a picture drawn before each, as on a terminal.
    fn type_in(&mut self, keys: &str) -> Option<Wish> {
        let codes = keys.chars().map(|letter| match letter {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            '↓' => KeyCode::Down,
            '⇟' => KeyCode::PageDown,
            letter => KeyCode::Char(letter),
        });
        let mut wish = None;
        for code in codes.collect::<Vec<_>>() {
            self.picture(80, 24);
            self.view.drawn(self.now);
            let key = KeyEvent::new(code, KeyModifiers::NONE);
            wish = self.view.key(key, self.now);
        }
        wish
    }

    fn drawn(&mut self, width: u16, height: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no terminal");
        let frame = terminal.draw(|frame| draw(&mut self.view, frame, self.now));
        frame.expect("drawn").buffer.clone()
    }

    fn picture(&mut self, width: u16, height: u16) -> String {
        let buffer = self.drawn(width, height);
        let line = |y: u16| {
            let cells = (0..width).map(|x| buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        };
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn the_rack_on_a_small_screen() {
    let mut world = World::of(16);
    world.pass(3);
    insta::assert_snapshot!(world.picture(80, 24));
}

#[test]
fn the_rack_on_a_large_screen() {
    let mut world = World::of(60);
    world.type_in("g");
    insta::assert_snapshot!(world.picture(200, 50));
}

#[test]
fn thousands_of_nodes_are_moved_through_by_pages() {
    let mut world = World::of(4096);
    world.type_in("⇟⇟⇟↓");
    insta::assert_snapshot!(world.picture(80, 24));
    let began = Instant::now();
    for _ in 0..20 {
        world.type_in("⇟");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_question_names_what_will_happen_to_which_nodes() {
    let mut world = World::of(16);
    world.type_in("  ↓ s");
    insta::assert_snapshot!(world.picture(80, 24));
    let nodes = ["r1n01", "r1n02", "r1n04"].map(str::to_owned);
    let action = Action::Start(Operation::SoftPowerOff, nodes.into());
    assert_eq!(world.type_in("soft"), None);
    assert_eq!(world.type_in("\n"), Some(Wish::Do(action)));
}

#[test]
fn a_wrong_word_asks_for_nothing_and_escape_leaves() {
    let mut world = World::of(16);
    assert_eq!(world.type_in("non\x1b"), None);
    assert_eq!(world.view.remark.as_deref(), Some("nothing was asked"));
    assert_eq!(world.type_in("nyes\n"), None);
    assert_eq!(world.type_in("y\n"), None);
    assert_eq!(world.type_in("\n"), None);
    let action = Action::Start(Operation::PowerOn, vec!["r1n01".into()]);
    assert_eq!(world.type_in("on\n"), Some(Wish::Do(action)));
}

#[test]
fn keys_from_before_the_question_was_drawn_are_dropped() {
    let mut world = World::of(16);
    world.picture(80, 24);
    let early = world.now;
    let press =
        |world: &mut World, code, at| world.view.key(KeyEvent::new(code, KeyModifiers::NONE), at);
    let word = [KeyCode::Char('o'), KeyCode::Char('n'), KeyCode::Enter];
    press(&mut world, KeyCode::Char('n'), early);
    // Typed ahead: before there was a picture, and held up until after there was one.
    for code in word {
        assert_eq!(press(&mut world, code, early), None);
    }
    world.pass(1);
    world.picture(80, 24);
    world.view.drawn(world.now);
    for code in word {
        assert_eq!(press(&mut world, code, early), None);
    }
    let later = world.now;
    let answers = word.map(|code| press(&mut world, code, later));
    assert!(matches!(&answers[2], Some(Wish::Do(_))), "{answers:?}");
}

#[test]
fn marks_that_the_filter_hides_are_not_acted_on() {
    let mut world = World::of(16);
    world.type_in("  /r1n02\n");
    assert_eq!(world.view.marked(), (2, 1));
    world.type_in("n");
    insta::assert_snapshot!(world.picture(80, 24));
    let action = Action::Start(Operation::PowerOn, vec!["r1n02".into()]);
    assert_eq!(world.type_in("on\n"), Some(Wish::Do(action)));
    // All of them hidden: not the node under the cursor instead.
    world.type_in("\x1b/r1n16\nn");
    assert_eq!(world.view.front, None);
    assert_eq!(
        world.view.remark.as_deref(),
        Some("nothing was asked: the filter hides every marked node")
    );
}

#[test]
fn what_was_asked_for_stays_what_it_was_while_the_rack_moves() {
    let mut world = World::of(16);
    world.type_in("↓a");
    let mut moved = rack(16);
    moved.rotate_left(3);
    world.news(News::Nodes(moved));
    world.news(News::Tasks(Vec::new()));
    let wish = world.type_in("abort\n");
    let tasks = vec![(Uuid::from_u128(2), "r1n02".to_owned())];
    assert_eq!(wish, Some(Wish::Do(Action::Use(Control::Abort, tasks))));
}

#[test]
fn a_question_too_long_for_the_screen_wants_to_be_read_to_its_end() {
    let mut world = World::of(1000);
    // Every second one: their set does not fold.
    let every_second = world.view.shown().step_by(2).map(|node| node.uuid);
    world.view.marks = every_second.collect();
    world.type_in("n");
    let early = world.picture(80, 24);
    assert!(early.contains("more lines below"), "{early}");
    assert_eq!(world.type_in("on\n"), None);
    world.type_in(&"↓".repeat(60));
    assert!(matches!(world.type_in("on\n"), Some(Wish::Do(_))));
    for (width, height) in [(80, 3), (12, 24), (1, 1)] {
        let mut small = World::of(16);
        small
            .view
            .key(KeyEvent::from(KeyCode::Char('n')), small.now);
        small.picture(width, height);
        let Some(Front::Confirm(asked)) = &small.view.front else {
            panic!("no question");
        };
        assert!(!asked.is_seen(), "{width}x{height}");
    }
}

#[test]
fn a_reader_sees_grey_keys_and_which_role_is_missing() {
    let mut world = World::of(16);
    world.news(asker(Role::Reader));
    insta::assert_snapshot!(world.picture(80, 24).lines().last().unwrap_or_default(), @"? help / filter s soft n on a abort u suspend r resume b rollback i nmi q end");
    let buffer = world.drawn(80, 24);
    let place = (0..80)
        .find(|x| buffer[(*x, 23)].symbol() == "s" && buffer[(*x + 2, 23)].symbol() == "s")
        .expect("the key s");
    assert_eq!(buffer[(place, 23)].fg, Color::DarkGray);
    assert!(
        world
            .picture(80, 24)
            .contains("ops is reader, the role operator is missing")
    );
    assert_eq!(world.type_in("n"), None);
    assert_eq!(world.view.front, None);
    let remark = world.view.remark.clone().unwrap_or_default();
    assert_eq!(
        remark,
        "nothing was asked: ops is reader, the role operator is missing"
    );
}

#[test]
fn a_role_on_some_nodes_acts_on_these_alone() {
    let mut world = World::of(16);
    world.news(News::Asker(Asker {
        name: "ops".into(),
        role: Some(Role::Reader.into()),
        on_nodes: vec![crate::model::RoleOnNodes {
            role: Role::Operator.into(),
            nodes: vec!["r1n01".into()],
        }],
    }));
    assert!(matches!(world.type_in("non\n"), Some(Wish::Do(_))));
    world.type_in("  n");
    assert_eq!(
        world.view.remark.as_deref(),
        Some("nothing was asked: the role operator is missing for r1n02")
    );
}

#[test]
fn a_daemon_that_restarts_is_said_and_waited_for() {
    let mut world = World::of(16);
    world.news(News::Away("/run/x.sock: connection refused".into()));
    world.pass(7);
    let head: Vec<String> = world
        .picture(80, 24)
        .lines()
        .take(3)
        .map(str::to_owned)
        .collect();
    insta::assert_snapshot!(head.join("\n"), @r"
    rack r1   16 nodes: 12 on, 2 off, 1 error, 1 unknown       rackbmcd up 3 h 5 min
    the daemon does not answer for 7 s, this is what was known: /run/x.sock: connec…
      NODE  POWER      READ         NOTE                          1 to 11 of 16 rows
    ");
    world.type_in("n");
    assert_eq!(world.view.front, None);
    world.news(News::Back);
    let last = world.view.known.events.back().map(|said| said.text.clone());
    assert_eq!(last.as_deref(), Some("rackbmcd is back after 7 s"));
    // Agreed to while it was away: nothing is kept for later.
    world.type_in("n");
    world.news(News::Away("gone".into()));
    assert_eq!(world.type_in("on\n"), None);
}

#[test]
fn the_pause_stands_in_the_header() {
    let mut world = World::of(16);
    world.news(News::Health(
        Box::new(Health {
            rack: "r1".into(),
            pause: Some(Hold {
                reason: Some("smoke in row 4".into()),
                by: "ops".into(),
                since: moment("2026-11-26T11:59:00.000000+00:00"),
            }),
            ..Health::default()
        }),
        Duration::from_secs(60),
    ));
    let second = world.picture(80, 24).lines().nth(1).map(str::to_owned);
    insta::assert_snapshot!(second.unwrap_or_default(), @"PAUSED by ops since 11:59: smoke in row 4   1 BMC in trouble   3 tasks");
}

#[test]
fn details_of_what_is_under_the_cursor_stand_in_front_until_escape() {
    let mut world = World::of(16);
    let of = Subject::Node("r1n01".into());
    assert_eq!(world.type_in("\n"), Some(Wish::Details(of.clone())));
    let lines: Vec<String> = (1..40)
        .map(|n| format!("  fact {n}                text {n}"))
        .collect();
    world.view.details(&of, &lines.join("\n"));
    world.type_in("↓↓");
    insta::assert_snapshot!(world.picture(80, 24));
    world
        .view
        .details(&Subject::Node("r1n02".into()), "of another one");
    assert!(!world.picture(80, 24).contains("another"));
    world.type_in("\x1b\t\n");
    assert_eq!(
        world.view.looks_at(),
        Some(&Subject::Task(Uuid::from_u128(2)))
    );
}

#[test]
fn the_keys_are_explained() {
    let mut world = World::of(16);
    world.type_in("?");
    insta::assert_snapshot!(world.picture(80, 24));
}

#[test]
fn a_control_leaves_out_nodes_without_a_task_and_says_when_there_is_none() {
    let mut world = World::of(16);
    world.type_in("  b");
    assert!(
        world
            .picture(80, 24)
            .contains("Left alone, as no task is running: 1 node.")
    );
    world.type_in("\x1b\x1b↓↓↓↓↓↓↓↓a");
    assert_eq!(
        world.view.remark.as_deref(),
        Some("r1n11: no task is running")
    );
    world.type_in("\tr");
    assert_eq!(
        world.view.remark.as_deref(),
        Some("r1n02: cannot be resumed now")
    );
}

#[test]
fn an_answer_of_several_lines_stands_in_front() {
    let mut world = World::of(16);
    let act = Act::Use(Control::Abort);
    world.view.answer(act, "r1n01: abort: aborted");
    assert!(world.picture(80, 24).contains("r1n01: abort: aborted"));
    world
        .view
        .answer(act, "r1n01: abort: aborted\nr1n02: abort: it has ended");
    assert!(matches!(
        &world.view.front,
        Some(Front::Details(Subject::Answer(_), _))
    ));
}

#[test]
fn every_size_of_a_screen_is_drawn() {
    for size in [0, 1, 16] {
        let mut world = World::of(16);
        if size < 16 {
            world.news(News::Nodes(rack(size)));
        }
        for keys in ["", "?", "\x1bg", "n", "\x1b\n"] {
            world.type_in(keys);
            for (width, height) in [(1, 1), (2, 5), (10, 3), (40, 10), (80, 15), (300, 100)] {
                world.picture(width, height);
            }
        }
    }
}

#[test]
fn nothing_that_somebody_wrote_reaches_the_terminal_as_a_command() {
    let mut world = World::of(16);
    let buffer = world.drawn(80, 24);
    let odd = buffer
        .content
        .iter()
        .any(|cell| cell.symbol().contains('\x1b'));
    assert!(!odd);
    assert!(world.picture(80, 24).contains("new \\u{1b}[2Jfans"));
}

#[test]
fn without_colours_there_are_none() {
    let mut world = World::of(16);
    world.view.colour = false;
    world.news(asker(Role::Reader));
    let buffer = world.drawn(80, 24);
    assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset));
    let grey = |cell: &ratatui::buffer::Cell| cell.modifier.contains(Modifier::DIM);
    assert!(buffer.content.iter().any(grey));
}
