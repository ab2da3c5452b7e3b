//! What becomes of commits: not answered, refused, in parts, of a tenure that is over.

use super::*;

#[test]
fn a_commit_that_was_not_answered_is_tried_until_it_is_known_and_done_once() {
    let mut pair = Pair::unanswered(millis(1100));
    let waiting = |event: &Event| matches!(event, Event::Waiting { ticket: 2, .. });
    assert!(pair.events(0).iter().any(waiting));
    // The first try arrives late; the next says that it is there.
    pair.arrive_late(0, puts("j/tasks"));
    pair.hosts[0].cut = false;
    pair.run(secs(2));
    assert!(pair.events(0).contains(&Event::Committed(2)));
    pair.commit(0, 3, 3);
    assert_eq!((pair.task(), pair.head().ticket), (Some(3), 3));
    // Another try of the second, even later, changes nothing.
    let late = pair.hosts[0].out.clone();
    for (_, request) in late {
        let _ = pair.etcd.carry_out(&request);
    }
    assert_eq!((pair.task(), pair.head().ticket), (Some(3), 3));
}

#[test]
fn a_commit_that_may_be_there_never_ends_as_failed() {
    let mut pair = Pair::unanswered(millis(900));
    pair.hosts[0].cut = false;
    pair.etcd.full = true;
    pair.run(secs(3));
    let events = pair.events(0);
    let failed = |event: &Event| matches!(event, Event::Failed { .. });
    assert!(!events.iter().any(failed), "{events:?}");
    pair.etcd.full = false;
    pair.arrive_late(0, puts("j/tasks"));
    pair.run(secs(2));
    let events = pair.events(0);
    assert!(events.contains(&Event::Committed(2)), "{events:?}");
}

#[test]
fn what_etcd_refuses_from_the_first_try_on_has_failed_and_the_next_goes_on() {
    let mut pair = Pair::new();
    pair.etcd.full = true;
    pair.commit(0, 1, 1);
    let failed = |event: &Event| matches!(event, Event::Failed { ticket: 1, .. });
    assert!(pair.events(0).iter().any(failed));
    pair.etcd.full = false;
    pair.commit(0, 2, 2);
    assert!(pair.events(0).contains(&Event::Committed(2)));
    assert_eq!((pair.task(), pair.head().ticket), (Some(2), 1));
}

#[test]
fn a_commit_that_can_never_be_taken_any_more_loses_its_number_to_an_empty_one() {
    let mut pair = Pair::unanswered(millis(900));
    pair.hosts[0].cut = false;
    pair.etcd.forbidden = true;
    pair.run(millis(500));
    pair.etcd.forbidden = false;
    pair.run(secs(3));
    let events = pair.events(0);
    let failed = |event: &Event| matches!(event, Event::Failed { ticket: 2, .. });
    assert!(events.iter().any(failed), "{events:?}");
    pair.arrive_late(0, puts("j/tasks"));
    assert_eq!(pair.task(), Some(1), "it comes too late");
    pair.commit(0, 3, 3);
    assert!(pair.events(0).contains(&Event::Committed(3)));
}

#[test]
fn nothing_of_a_former_owner_is_taken_after_the_next_claim() {
    let mut pair = Pair::unanswered(T + secs(1));
    let begun = pair.begun(1);
    assert_eq!(begun.remembered[0].2, [1]);
    let late = std::mem::take(&mut pair.hosts[0].out);
    for (_, request) in late {
        match pair.etcd.carry_out(&request) {
            Ok(Answer::Txn { succeeded, .. }) => assert!(!succeeded, "{request:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pair.task(), Some(1));
}

#[test]
fn many_changes_go_in_parts_and_the_batch_goes_last() {
    let mut pair = Pair::new();
    let put = |table, number: u32| Write::Put {
        table,
        key: format!("{number:03}"),
        value: [1].into(),
    };
    let mut writes: Vec<Write> = (0..300).map(|task| put(Table::Tasks, task)).collect();
    writes.push(put(Table::Batches, 0));
    let now = pair.now;
    let before = pair.etcd.changes.len();
    pair.hosts[0].tenure.commit(1, writes, now);
    pair.settle();
    assert!(pair.events(0).contains(&Event::Committed(1)));
    assert_eq!(pair.head().ticket, 3, "three transactions");
    let keys = pair.etcd.changes[before..].iter();
    let mut keys = keys.filter_map(|(_, change)| match change {
        Change::Put(entry) if entry.key.contains("/j/") => Some(&entry.key),
        _ => None,
    });
    assert!(keys.next_back().unwrap().contains("/j/batches/"));
}
