//! Order, grouping and failures of the group commit.

use super::super::tests::{Disk, put, texts};
use super::*;
use nix::errno::Errno;
use smol::channel::unbounded;

fn batch(ticket: u64, key: &str, value: &str) -> Batch {
    Batch {
        ticket,
        writes: vec![put(Table::Tasks, key, value)],
        awaited: true,
    }
}

fn nobody_looks() -> Receiver<StoreQuery> {
    unbounded().1
}

fn known(tasks: &[&str]) -> Vec<String> {
    tasks.iter().map(|task| (*task).to_owned()).collect()
}

/// Long enough never to come by itself.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn all_that_waits_is_durable_with_one_commit() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut store = disk.store(home.path()).unwrap();
    let before = disk.syncs();
    store.commit(&[put(Table::Rack, "r", "x")]).unwrap();
    let one_commit = disk.syncs() - before;

    let (batches, inbox) = unbounded();
    let (outbox, outcomes) = unbounded();
    for ticket in 1..=256 {
        batches
            .try_send(batch(ticket, &ticket.to_string(), "x"))
            .unwrap();
    }
    batches.close();
    let before = disk.syncs();
    let mut store = waiting::block_on(run(store, Vec::new(), inbox, nobody_looks(), outbox, NEVER));
    assert_eq!(disk.syncs() - before, one_commit);
    assert_eq!(outcomes.try_recv(), Ok(Committed::Durable(256)));
    assert!(outcomes.try_recv().is_err(), "said once");
    assert_eq!(texts(&mut store).len(), 257);
}

#[test]
fn of_one_key_the_last_word_is_remembered() {
    let home = tempfile::tempdir().unwrap();
    let (batches, inbox) = unbounded();
    let (outbox, _outcomes) = unbounded();
    for (ticket, value) in [(1, "queued"), (2, "running"), (3, "ended")] {
        batches.try_send(batch(ticket, "t", value)).unwrap();
    }
    let forgotten = vec![
        put(Table::Tasks, "gone", "x"),
        Write::Delete {
            table: Table::Tasks,
            key: "gone".into(),
        },
    ];
    batches
        .try_send(Batch {
            ticket: 4,
            writes: forgotten,
            awaited: true,
        })
        .unwrap();
    batches.close();
    let store = Disk::default().store(home.path()).unwrap();
    let mut store = waiting::block_on(run(store, Vec::new(), inbox, nobody_looks(), outbox, NEVER));
    assert_eq!(texts(&mut store), ["tasks/t=ended"]);
}

#[test]
fn what_failed_is_written_with_what_comes_later_and_before_it_is_called_durable() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = disk.store(home.path()).unwrap();
    let (batches, inbox) = unbounded();
    let (outbox, outcomes) = unbounded();
    disk.fail(Errno::ENOSPC);
    let world = async {
        for ticket in [1, 2] {
            batches
                .send(batch(ticket, &ticket.to_string(), "x"))
                .await
                .unwrap();
            let Ok(Committed::Failed {
                ticket: up_to,
                reason,
            }) = outcomes.recv().await
            else {
                panic!("the disk is full");
            };
            assert_eq!(up_to, ticket);
            assert!(reason.contains("No space left"), "{reason}");
        }
        disk.heal();
        batches.send(batch(3, "3", "x")).await.unwrap();
        assert_eq!(outcomes.recv().await, Ok(Committed::Durable(3)));
        batches.close();
    };
    let (mut store, ()) = waiting::block_on(future::zip(
        run(
            store,
            known(&["1", "2"]),
            inbox,
            nobody_looks(),
            outbox,
            NEVER,
        ),
        world,
    ));
    assert_eq!(texts(&mut store), ["tasks/1=x", "tasks/2=x", "tasks/3=x"]);
}

#[test]
fn what_failed_is_tried_again_without_being_asked() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = disk.store(home.path()).unwrap();
    let (batches, inbox) = unbounded();
    let (outbox, outcomes) = unbounded();
    disk.fail(Errno::EROFS);
    let world = async {
        batches.send(batch(7, "7", "x")).await.unwrap();
        assert!(matches!(
            outcomes.recv().await,
            Ok(Committed::Failed { ticket: 7, .. })
        ));
        disk.heal();
        while outcomes.recv().await != Ok(Committed::Durable(7)) {}
        batches.close();
    };
    let committing = run(
        store,
        known(&["7"]),
        inbox,
        nobody_looks(),
        outbox,
        Duration::from_millis(1),
    );
    let (mut store, ()) = waiting::block_on(future::zip(committing, world));
    assert_eq!(texts(&mut store), ["tasks/7=x"]);
}

#[test]
fn the_thread_gives_the_store_back_when_nobody_sends_any_more() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let (batches, inbox) = unbounded();
    let (outbox, outcomes) = unbounded();
    let thread = spawn(store, inbox, nobody_looks(), outbox).unwrap();
    batches.send_blocking(batch(1, "1", "x")).unwrap();
    assert_eq!(outcomes.recv_blocking(), Ok(Committed::Durable(1)));
    drop(batches);
    assert_eq!(texts(&mut thread.join().unwrap()), ["tasks/1=x"]);
}

/// The class: the thread that writes the journal broke down, and the daemon ran on without a memory.
#[test]
fn a_thread_that_breaks_down_has_no_more_outcomes_and_leaves_what_was_durable() {
    let home = tempfile::tempdir().unwrap();
    let (batches, inbox) = unbounded();
    let (looks, wanted) = unbounded();
    let (outbox, outcomes) = unbounded();
    let store = Store::open(home.path()).unwrap();
    let thread = spawn(store, inbox, wanted, outbox).unwrap();
    batches.send_blocking(batch(1, "1", "x")).unwrap();
    assert_eq!(outcomes.recv_blocking(), Ok(Committed::Durable(1)));
    let breaks: StoreQuery = Box::new(|_| panic!("as the test wants it"));
    looks.send_blocking(breaks).unwrap();
    assert!(outcomes.recv_blocking().is_err());
    assert!(thread.join().is_err());
    assert_eq!(texts(&mut Store::open(home.path()).unwrap()), ["tasks/1=x"]);
}

#[test]
fn a_look_sees_what_was_committed_before_it() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let (batches, inbox) = unbounded();
    let (looks, wanted) = unbounded();
    let (outbox, outcomes) = unbounded();
    let thread = spawn(store, inbox, wanted, outbox).unwrap();
    for (ticket, key) in [(1, "1"), (2, "2"), (3, "3")] {
        batches
            .try_send(Batch {
                ticket,
                writes: vec![put(Table::Audit, key, key)],
                awaited: true,
            })
            .unwrap();
        while waiting::block_on(outcomes.recv()) != Ok(Committed::Durable(ticket)) {}
    }
    let (seen, found) = unbounded();
    let look: StoreQuery = Box::new(move |store| {
        let after = store.after(Table::Audit, "1", 5).unwrap();
        let all = store.load().unwrap().len();
        seen.try_send((after, store.last(Table::Audit).unwrap(), all))
            .unwrap();
    });
    looks.try_send(look).unwrap();
    let (after, last, all) = waiting::block_on(found.recv()).unwrap();
    assert_eq!(after, [b"2".to_vec(), b"3".to_vec()]);
    assert_eq!(last.map(|(_, value)| value), Some(b"3".to_vec()));
    assert_eq!(all, 0, "the trail is not loaded with the rest");
    drop(batches);
    thread.join().unwrap();
}

#[test]
fn the_first_record_of_a_task_that_failed_is_never_written_and_the_disk_is_asked_again() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut store = disk.store(home.path()).unwrap();
    store.commit(&[put(Table::Tasks, "old", "x")]).unwrap();
    let (batches, inbox) = unbounded();
    let (outbox, outcomes) = unbounded();
    disk.fail(Errno::ENOSPC);
    let soon = Duration::from_millis(1);
    let world = async {
        let writes = vec![
            put(Table::Tasks, "new", "queued"),
            put(Table::Tasks, "old", "y"),
            put(Table::Batches, "b", "x"),
        ];
        batches
            .send(Batch {
                ticket: 1,
                writes,
                awaited: true,
            })
            .await
            .unwrap();
        for _ in 0..3 {
            let outcome = outcomes.recv().await;
            assert!(matches!(outcome, Ok(Committed::Failed { ticket: 1, .. })));
        }
        // The core has not heard of it yet when it suspends the task.
        batches.send(batch(2, "new", "suspended")).await.unwrap();
        disk.heal();
        while outcomes.recv().await != Ok(Committed::Durable(2)) {}
        let gone = Write::Delete {
            table: Table::Tasks,
            key: "new".into(),
        };
        let writes = vec![gone];
        batches
            .send(Batch {
                ticket: 3,
                writes,
                awaited: true,
            })
            .await
            .unwrap();
        assert_eq!(outcomes.recv().await, Ok(Committed::Durable(3)));
        batches
            .send(batch(4, "new", "of another life"))
            .await
            .unwrap();
        assert_eq!(outcomes.recv().await, Ok(Committed::Durable(4)));
        batches.close();
    };
    let durable = store.keys(Table::Tasks).unwrap();
    let (mut store, ()) = waiting::block_on(future::zip(
        run(store, durable, inbox, nobody_looks(), outbox, soon),
        world,
    ));
    let seen = texts(&mut store);
    assert_eq!(
        seen,
        ["tasks/new=of another life", "tasks/old=y", "batches/b=x"]
    );
}

#[test]
fn nothing_of_a_refused_task_is_found_by_a_life_that_begins_before_its_delete() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = disk.store(home.path()).unwrap();
    let (batches, inbox) = unbounded();
    let (outbox, outcomes) = unbounded();
    disk.fail(Errno::EROFS);
    let world = async {
        batches.send(batch(1, "new", "queued")).await.unwrap();
        let outcome = outcomes.recv().await;
        assert!(matches!(outcome, Ok(Committed::Failed { ticket: 1, .. })));
        disk.heal();
        batches.send(batch(2, "new", "suspended")).await.unwrap();
        assert_eq!(outcomes.recv().await, Ok(Committed::Durable(2)));
        batches.close();
    };
    let (mut store, ()) = waiting::block_on(future::zip(
        run(store, Vec::new(), inbox, nobody_looks(), outbox, NEVER),
        world,
    ));
    assert_eq!(texts(&mut store), [""; 0]);
}

#[test]
fn what_is_durable_is_in_the_log_at_once_and_in_the_journal_a_moment_later() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Disk::default().store(home.path()).unwrap();
    store.keep_log();
    let (batches, inbox) = unbounded();
    let (outbox, outcomes) = unbounded();
    // What somebody has who copies the journal without its log.
    let in_the_journal = || {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(
            home.path().join("journal.redb"),
            copy.path().join("journal.redb"),
        )
        .unwrap();
        texts(&mut Store::open(copy.path()).unwrap()).len()
    };
    let world = async {
        // What nobody waits for goes into the journal alone.
        let idle = Batch {
            awaited: false,
            ..batch(1, "1", "x")
        };
        batches.send(idle).await.unwrap();
        assert_eq!(outcomes.recv().await, Ok(Committed::Durable(1)));
        assert_eq!(in_the_journal(), 1);
        for ticket in 2..=5 {
            let batch = batch(ticket, &ticket.to_string(), "x");
            batches.send(batch).await.unwrap();
            assert_eq!(outcomes.recv().await, Ok(Committed::Durable(ticket)));
        }
        assert_eq!(in_the_journal(), 1);
        let until = Instant::now() + Duration::from_secs(60);
        while in_the_journal() < 5 {
            assert!(Instant::now() < until, "it stays in the log");
            waiting::sleep(Duration::from_millis(20)).await;
        }
        batches.send(batch(6, "6", "x")).await.unwrap();
        assert_eq!(outcomes.recv().await, Ok(Committed::Durable(6)));
        batches.close();
    };
    let committing = run(store, Vec::new(), inbox, nobody_looks(), outbox, NEVER);
    let (mut store, ()) = waiting::block_on(future::zip(committing, world));
    assert!(!home.path().join("journal.log").exists());
    assert_eq!(texts(&mut store).len(), 6);
}
