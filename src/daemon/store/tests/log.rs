//! The log before the journal: what was said to be durable is there, whatever becomes of the two
//! files.

use super::super::log_file::ROOM;
use super::*;

const LOG: &str = "journal.log";

fn with_log(directory: &Path) -> Store {
    let mut store = Store::open(directory).unwrap();
    store.keep_log();
    store
}

/// Commits task `number`, and says whether it is in the log alone.
fn commit(store: &mut Store, number: usize) -> bool {
    let task = put(Table::Tasks, &format!("{number:03}"), "t");
    let mut told = 0;
    store.commit_to_log(&[task], || told += 1).unwrap();
    assert_eq!(told, 1);
    store.is_unsettled()
}

/// The files of a directory as somebody finds them who starts after a kill or a power cut: those
/// that are named, in a directory of their own.
fn copy(directory: &Path, names: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names {
        fs::copy(directory.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn a_kill_after_any_commit_loses_nothing_whether_it_is_in_the_log_or_in_the_journal() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    for number in 0..40 {
        assert!(commit(&mut store, number));
        if number % 9 == 8 {
            store.settle().unwrap();
            assert!(!store.is_unsettled());
        }
        let after = copy(home.path(), &[FILE, LOCK, LOG]);
        // Whoever only looks sees it as well, and changes nothing.
        let before = [FILE, LOG].map(|name| fs::read(after.path().join(name)).unwrap());
        let mut look = Store::open_to_look(after.path()).unwrap();
        assert_eq!(texts(&mut look).len(), number + 1);
        drop(look);
        let unchanged = [FILE, LOG].map(|name| fs::read(after.path().join(name)).unwrap());
        assert!(before == unchanged);
        let mut next = Store::open(after.path()).unwrap();
        assert_eq!(next.copied(), Copied::No);
        assert_eq!(texts(&mut next).len(), number + 1);
        assert!(commit(&mut next, number + 1) || texts(&mut next).len() == number + 2);
    }
    // A journal without its log counts fewer than the lock.
    assert!(commit(&mut store, 40));
    let without = copy(home.path(), &[FILE, LOCK]);
    let mut next = Store::open(without.path()).unwrap();
    assert!(
        matches!(next.copied(), Copied::Behind(5)),
        "{:?}",
        next.copied()
    );
    assert_eq!(texts(&mut next).len(), 36);
}

#[test]
fn a_daemon_that_stops_leaves_the_journal_and_the_lock_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    commit(&mut store, 1);
    let three = [FILE, LOCK, LOG].map(str::to_owned);
    assert_eq!(files(home.path()), BTreeSet::from(three));
    store.end_log().unwrap();
    drop(store);
    assert_eq!(
        files(home.path()),
        BTreeSet::from([FILE, LOCK].map(str::to_owned))
    );
    assert_eq!(
        texts(&mut Store::open(home.path()).unwrap()),
        ["tasks/001=t"]
    );
}

#[test]
fn what_is_read_has_what_is_in_the_log() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    assert!(commit(&mut store, 1));
    assert!(commit(&mut store, 2));
    let gone = [delete(Table::Tasks, "001"), put(Table::Tasks, "002", "two")];
    store.commit_to_log(&gone, || {}).unwrap();
    assert_eq!(store.entry(Table::Tasks, "001").unwrap(), None);
    assert_eq!(texts(&mut store), ["tasks/002=two"]);
    assert!(!store.is_unsettled());
    assert!(commit(&mut store, 3), "and goes on");
}

#[test]
fn a_log_that_is_full_makes_way_for_a_commit_to_the_journal_and_begins_anew() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    let large = "x".repeat(ROOM / 8);
    let mut settled = 0;
    for number in 0..18 {
        let task = put(Table::Tasks, &format!("{number:03}"), &large);
        store.commit_to_log(&[task], || {}).unwrap();
        settled += usize::from(!store.is_unsettled());
        let after = copy(home.path(), &[FILE, LOCK, LOG]);
        let mut next = Store::open(after.path()).unwrap();
        assert_eq!(texts(&mut next).len(), number + 1);
        let length = fs::metadata(home.path().join(LOG)).unwrap().len();
        assert_eq!(length, ROOM as u64, "it never grows");
    }
    assert_eq!(settled, 2, "each eighth");
    let larger = put(Table::Tasks, "larger", &"x".repeat(2 * ROOM));
    store.commit_to_log(&[larger], || {}).unwrap();
    assert!(!store.is_unsettled());
    assert_eq!(texts(&mut store).len(), 19);
}

#[test]
fn a_log_that_is_taken_away_cut_or_put_in_anothers_place_is_done_without() {
    let delete = |path: &Path| fs::remove_file(path).unwrap();
    let move_away = |path: &Path| fs::rename(path, path.with_extension("away")).unwrap();
    let replace = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::write(path, [0; 100]).unwrap();
    };
    let cut = |path: &Path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(9)
            .unwrap()
    };
    let harms: [&dyn Fn(&Path); 4] = [&delete, &move_away, &replace, &cut];
    for (number, harm) in harms.into_iter().enumerate() {
        let home = tempfile::tempdir().unwrap();
        let mut store = with_log(home.path());
        assert!(commit(&mut store, 1));
        harm(&home.path().join(LOG));
        assert!(!commit(&mut store, 2), "{number}: it is in the journal");
        let mut next = Store::open(copy(home.path(), &[FILE, LOCK]).path()).unwrap();
        assert_eq!(next.copied(), Copied::No);
        assert_eq!(texts(&mut next).len(), 2);
        store.begin_log();
        assert!(commit(&mut store, 3), "{number}: there is a new one");
        store.end_log().unwrap();
        assert_eq!(texts(&mut store).len(), 3);
    }
}

#[test]
fn a_disk_that_takes_the_log_and_not_the_journal_fails_and_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut store = disk.store(home.path()).unwrap();
    store.keep_log();
    assert!(commit(&mut store, 1));
    disk.fail(Errno::ENOSPC);
    assert!(commit(&mut store, 2), "the log has its room already");
    let error = store.settle().expect_err("the disk is full").to_string();
    assert!(error.contains("No space left"), "{error}");
    // Who is told so is right: nothing more is taken.
    for number in 3..6 {
        let task = put(Table::Tasks, &format!("{number:03}"), "t");
        let error = store
            .commit_to_log(&[task], || {})
            .expect_err("nothing is taken");
        assert!(error.to_string().contains("No space left"), "{error}");
        store.begin_log();
    }
    store
        .entry(Table::Tasks, "001")
        .expect_err("nor read as if it were all");
    // Killed now, or healed: what was durable is there, and nothing else.
    let after = copy(home.path(), &[FILE, LOCK, LOG]);
    let expected = ["tasks/001=t", "tasks/002=t"];
    assert_eq!(texts(&mut Store::open(after.path()).unwrap()), expected);
    disk.heal();
    store.settle().unwrap();
    assert_eq!(texts(&mut store), expected);
    store.begin_log();
    assert!(commit(&mut store, 3));
    store.end_log().unwrap();
    drop(store);
    assert_eq!(texts(&mut Store::open(home.path()).unwrap()).len(), 3);
}

#[test]
fn a_log_that_fails_is_taken_back_and_the_journal_takes_its_place() {
    for fails_too in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let mut store = disk.store(home.path()).unwrap();
        store.keep_log();
        assert!(commit(&mut store, 1));
        store.log.as_mut().expect("one is kept").fail_next();
        if fails_too {
            disk.fail(Errno::EIO);
        }
        let mut told = 0;
        let said = store.commit_to_log(&[put(Table::Tasks, "002", "t")], || told += 1);
        assert_eq!(said.is_err(), fails_too);
        assert_eq!(told, usize::from(said.is_ok()), "once, where it is durable");
        // It had reached the disk, and is taken back there.
        let after = copy(home.path(), &[FILE, LOCK, LOG]);
        let found = texts(&mut Store::open(after.path()).unwrap()).len();
        assert_eq!(found, 1 + usize::from(said.is_ok()));
    }
}

#[test]
fn a_log_is_not_brought_into_another_journal() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    let early = copy(home.path(), &[FILE]);
    for number in 0..6 {
        commit(&mut store, number);
        if number == 2 {
            store.settle().unwrap();
        }
    }
    // Killed, and an older journal is put in its place: its log has gone on without it.
    let killed = copy(home.path(), &[LOCK, LOG]);
    fs::copy(early.path().join(FILE), killed.path().join(FILE)).unwrap();
    let mut next = Store::open(killed.path()).unwrap();
    assert!(
        matches!(next.copied(), Copied::Behind(6)),
        "{:?}",
        next.copied()
    );
    assert_eq!(texts(&mut next), [""; 0]);
    drop(next);
    // The same with a new one.
    let killed = copy(home.path(), &[LOCK, LOG]);
    assert!(matches!(
        Store::open(killed.path()),
        Err(StoreError::Missing(_))
    ));
    let mut next = Store::open_anew(killed.path()).unwrap();
    assert_eq!(texts(&mut next), [""; 0]);
}

#[test]
fn what_is_no_file_in_the_place_of_the_log_is_told_by_who_opens_the_journal() {
    let home = tempfile::tempdir().unwrap();
    drop(Store::open(home.path()).unwrap());
    nix::unistd::mkfifo(&home.path().join(LOG), Mode::S_IRWXU).unwrap();
    for open in [Store::open, Store::open_to_look] {
        let told = open(home.path()).err().unwrap().to_string();
        assert!(told.contains(LOG) && told.contains("no file"), "{told}");
    }
}

#[test]
fn a_journal_that_is_written_over_under_the_daemon_fails_every_commit_from_then_on() {
    for cut in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut store = with_log(home.path());
        let kept = copy(home.path(), &[FILE]);
        for number in 0..9 {
            commit(&mut store, number);
            store.settle().unwrap();
        }
        let path = home.path().join(FILE);
        match cut {
            true => File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(0)
                .unwrap(),
            false => drop(fs::copy(kept.path().join(FILE), &path).unwrap()),
        }
        for number in 10..14 {
            let task = put(Table::Tasks, &format!("{number:03}"), "t");
            store
                .commit_to_log(&[task], || {})
                .expect_err("nothing is taken any more");
            store.begin_log();
        }
        assert!(!store.is_unsettled());
    }
}

#[test]
fn what_is_committed_after_a_copy_was_put_back_is_there_after_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    let kept = copy(home.path(), &[FILE]);
    for number in 0..9 {
        commit(&mut store, number);
    }
    store.end_log().unwrap();
    drop(store);
    fs::copy(kept.path().join(FILE), home.path().join(FILE)).unwrap();
    let mut store = with_log(home.path());
    assert!(matches!(store.copied(), Copied::Behind(9)));
    for number in 0..3 {
        // The first one closes the gap in the numbers, in the journal.
        assert_eq!(commit(&mut store, number), number > 0);
        let after = copy(home.path(), &[FILE, LOCK, LOG]);
        let mut next = Store::open(after.path()).unwrap();
        assert_eq!(texts(&mut next).len(), number + 1);
    }
}

#[test]
fn a_log_that_something_else_has_written_into_is_done_without() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    assert!(commit(&mut store, 1));
    let log = File::options().write(true).open(home.path().join(LOG));
    let log = log.unwrap();
    std::os::unix::fs::FileExt::write_all_at(&log, &[0x5A; 100], 0).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    log.set_modified(later).unwrap();
    assert!(!commit(&mut store, 2));
    let mut next = Store::open(copy(home.path(), &[FILE, LOCK]).path()).unwrap();
    assert_eq!(texts(&mut next).len(), 2);
}

#[test]
fn a_log_that_was_put_in_its_place_is_left_and_one_of_another_journal_put_aside() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    commit(&mut store, 1);
    store.settle().unwrap();
    let path = home.path().join(LOG);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"somebody else's").unwrap();
    store.end_log().unwrap();
    assert!(fs::read(&path).unwrap() == b"somebody else's");
    drop(store);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut other = with_log(elsewhere.path());
    for number in 0..5 {
        commit(&mut other, number);
        other.settle().unwrap();
    }
    commit(&mut other, 5);
    fs::copy(elsewhere.path().join(LOG), &path).unwrap();
    let foreign = fs::read(&path).unwrap();
    assert_eq!(
        texts(&mut Store::open_to_look(home.path()).unwrap()).len(),
        1
    );
    assert!(fs::read(&path).unwrap() == foreign, "who looks leaves it");
    assert_eq!(texts(&mut Store::open(home.path()).unwrap()).len(), 1);
    assert!(!path.exists());
    let aside = fs::read(home.path().join("journal.log.left-out")).unwrap();
    assert!(aside == foreign);
}

#[test]
fn beside_a_journal_that_is_a_link_there_is_no_log() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    drop(Store::open(home.path()).unwrap());
    let there = elsewhere.path().join(FILE);
    fs::rename(home.path().join(FILE), &there).unwrap();
    std::os::unix::fs::symlink(&there, home.path().join(FILE)).unwrap();
    let mut store = with_log(home.path());
    assert!(!commit(&mut store, 1));
    assert!(!home.path().join(LOG).exists());
}

/// The class: what redb writes while it is read, where its cache is full, was taken for a copy that
/// somebody had written into the journal; it was closed with its last writes lost, and redb
/// panicked.
#[test]
fn a_large_journal_that_a_kill_left_is_ours_when_it_was_put_in_order_and_read() {
    let home = tempfile::tempdir().unwrap();
    let mut store = with_log(home.path());
    let mut changed = 0;
    for round in 0..9_usize {
        let mut writes = (0..40).map(|place: usize| {
            let key = format!("{:05}", (round * 40 + place * 7919) % 1500);
            put(
                Table::ALL[place % 3],
                &key,
                &"v".repeat((round * 997 + place * 131) % 9000),
            )
        });
        if round % 3 == 2 {
            store
                .commit_to_log(&writes.collect::<Vec<_>>(), || {})
                .unwrap();
        } else {
            store
                .commit(&writes.by_ref().take(20).collect::<Vec<_>>())
                .unwrap();
            store
                .commit_to_log(&writes.collect::<Vec<_>>(), || {})
                .unwrap();
        }
        let after = copy(home.path(), &[FILE, LOCK, LOG]);
        let mut next = Store::open(after.path()).unwrap();
        let loaded = next.load().unwrap().len();
        let opened = next.opened.as_ref().unwrap();
        assert!(!next.hold.is_touched(opened.last_write()), "round {round}");
        next.keep_log();
        next.commit(&[put(Table::Audit, "1", "a")]).unwrap();
        assert_eq!(next.load().unwrap().len(), loaded);
        changed += loaded;
    }
    assert!(changed > 1000, "{changed}");
}
