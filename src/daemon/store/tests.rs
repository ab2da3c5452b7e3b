//! The store on real files, and on a disk that fails, is read-only or counts its syncs.

mod log;

use super::tables::{FORMAT_KEY, META, definition};
use super::*;
use crate::rack::record::{End, Stretch, Table};
use nix::sys::stat::Mode;
use redb::backends::FileBackend;
use redb::{Builder, StorageBackend};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// A disk that can be told to fail.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Condition>);

#[derive(Default)]
struct Condition {
    /// The error of every write and sync; 0 is none.
    errno: AtomicI32,
    /// So many syncs from now one fails, once: it took effect all the same. 0 is never.
    failing_sync: AtomicU64,
    /// So many syncs fail after that one.
    more_syncs: AtomicU64,
    /// So many writes from now one fails, once, and has no effect. 0 is never.
    failing_write: AtomicU64,
    syncs: AtomicU64,
}

impl Disk {
    pub(super) fn fail(&self, errno: Errno) {
        self.0.errno.store(errno as i32, Ordering::SeqCst);
    }

    pub(super) fn heal(&self) {
        self.0.errno.store(0, Ordering::SeqCst);
    }

    pub(super) fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::SeqCst)
    }

    pub(super) fn store(&self, directory: &Path) -> Result<Store, StoreError> {
        let condition = Arc::clone(&self.0);
        let open = move |file: File| {
            let file = FileBackend::new(file)?;
            let condition = Arc::clone(&condition);
            Builder::new().create_with_backend(Failing { file, condition })
        };
        Store::open_with(directory, false, Box::new(open), Hold::default())
    }
}

struct Failing {
    file: FileBackend,
    condition: Arc<Condition>,
}

impl std::fmt::Debug for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Failing")
    }
}

impl Failing {
    fn check(&self) -> io::Result<()> {
        match self.condition.errno.load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.condition.syncs.fetch_add(1, Ordering::SeqCst);
        self.file.sync_data()?;
        let failing = step(&self.condition.failing_sync);
        let more = failing.is_none() && step(&self.condition.more_syncs).is_some();
        match failing == Some(1) || more {
            true => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            false => Ok(()),
        }
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        if step(&self.condition.failing_write) == Some(1) {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        self.file.write(offset, data)
    }
}

/// Counts down; what it was, `None` where it is over.
fn step(counter: &AtomicU64) -> Option<u64> {
    let order = Ordering::SeqCst;
    counter
        .fetch_update(order, order, |left| left.checked_sub(1))
        .ok()
}

pub(super) fn put(table: Table, key: &str, value: &str) -> Write {
    Write::Put {
        table,
        key: key.into(),
        value: value.as_bytes().into(),
    }
}

fn delete(table: Table, key: &str) -> Write {
    Write::Delete {
        table,
        key: key.into(),
    }
}

pub(super) fn texts(store: &mut Store) -> Vec<String> {
    let text = |(table, key, value): (Table, String, Vec<u8>)| {
        format!(
            "{}/{key}={}",
            table.name(),
            String::from_utf8(value).expect("put as text")
        )
    };
    store
        .load()
        .expect("it loads")
        .into_iter()
        .map(text)
        .collect()
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("a/b");
    let mut store = Store::open(&directory).unwrap();
    assert_eq!(texts(&mut store), [""; 0]);
    store
        .commit(&[
            put(Table::Tasks, "2", "two"),
            put(Table::Audit, "1", ""),
            put(Table::Tasks, "1", "one"),
        ])
        .unwrap();
    store
        .commit(&[
            put(Table::Tasks, "1", "uno"),
            delete(Table::Tasks, "2"),
            delete(Table::Rack, "no"),
        ])
        .unwrap();
    // In one transaction the last word on a key counts.
    store
        .commit(&[delete(Table::Rack, "pause"), put(Table::Rack, "pause", "x")])
        .unwrap();
    // The audit trail is not loaded with the rest: it is read by pieces.
    let expected = ["tasks/1=uno", "rack/pause=x"];
    assert_eq!(texts(&mut store), expected);
    drop(store);
    let mut store = Store::open(&directory).unwrap();
    assert_eq!(texts(&mut store), expected);
    let last = store.last(Table::Audit).unwrap();
    assert_eq!(last.map(|(_, value)| value), Some(Vec::new()));
    assert_eq!(
        store.entry(Table::Rack, "pause").unwrap(),
        Some(b"x".to_vec())
    );
    assert_eq!(store.entry(Table::History, "1").unwrap(), None);
}

#[test]
fn the_directory_and_its_files_are_for_the_daemon_alone() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("state");
    let _store = Store::open(&directory).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
        files += 1;
    }
    assert_eq!(
        files, 2,
        "the journal and the lock, and no half-made journal"
    );
}

/// Between the look before a commit and its end.
/// `rackbmcd --discard`, typed by root.
#[test]
fn what_root_makes_belongs_to_whoever_has_the_directory_and_links_of_theirs_lead_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let root = nix::unistd::geteuid().is_root();
    let owner = if root {
        65_534
    } else {
        nix::unistd::geteuid().as_raw()
    };
    std::os::unix::fs::chown(home.path(), Some(owner), None).unwrap();
    drop(Store::open(home.path()).unwrap());
    for name in [LOCK, FILE] {
        let found = fs::metadata(home.path().join(name)).unwrap();
        assert_eq!(found.uid(), owner, "{name}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("made");
    fs::remove_file(home.path().join(LOCK)).unwrap();
    std::os::unix::fs::symlink(&target, home.path().join(LOCK)).unwrap();
    assert_eq!(Store::open(home.path()).is_err(), root);
    assert_eq!(target.exists(), !root);
    // One that is there is not written to either: a number would be noted in its place.
    fs::write(&target, "of somebody else").unwrap();
    assert_eq!(Store::open(home.path()).is_err(), root);
    let written = fs::read(&target).unwrap() != b"of somebody else";
    assert!(!(root && written));
}

#[test]
fn what_is_no_file_in_the_place_of_the_lock_or_the_journal_is_told_and_keeps_nobody() {
    use std::os::unix::fs::symlink;
    let pipe = |path: &Path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
    let device = |path: &Path| symlink("/dev/null", path).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let strangers: [&dyn Fn(&Path); 3] = [&pipe, &device, &directory];
    for open in [Store::open, Store::open_anew, Store::open_to_look] {
        for (name, put) in [LOCK, FILE]
            .iter()
            .flat_map(|name| strangers.map(|put| (name, put)))
        {
            let place = tempfile::tempdir().unwrap();
            drop(Store::open(place.path()).unwrap());
            let path = place.path().join(name);
            fs::remove_file(&path).unwrap();
            put(&path);
            let told = open(place.path()).err().unwrap().to_string();
            assert!(told.contains(name), "{told}");
            assert!(
                told.contains("no file") || told.contains("directory"),
                "{told}"
            );
        }
    }
}

#[test]
fn a_journal_that_is_cut_off_or_deleted_during_a_commit_is_noticed_with_it() {
    for deleted in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        store.commit(&[put(Table::Tasks, "1", "one")]).unwrap();
        store.check_still_there().unwrap();
        let path = home.path().join(FILE);
        match deleted {
            true => fs::remove_file(&path).unwrap(),
            false => {
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }
        }
        let error = store.check_still_there().expect_err("it is not whole");
        assert!(matches!(error, StoreError::Gone { .. }), "{error}");
        store
            .commit(&[put(Table::Tasks, "2", "two")])
            .expect_err("nothing is taken any more");
    }
}

#[test]
fn a_second_daemon_is_told_that_the_first_is_there() {
    let home = tempfile::tempdir().unwrap();
    let first = Store::open(home.path()).unwrap();
    let error = Store::open(home.path()).err().expect("in use");
    assert!(matches!(error, StoreError::Locked(_)));
    assert!(
        error.to_string().contains("in use by another rackbmcd"),
        "{error}"
    );
    drop(first);
    Store::open(home.path()).unwrap();
}

/// The bytes on the disk at some moment are what a daemon finds that is started after a kill at
/// that moment.
#[test]
fn a_kill_at_any_commit_loses_nothing_that_was_durable() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path()).unwrap();
    for index in 0..20 {
        store
            .commit(&[put(Table::Tasks, &format!("{index:02}"), "t")])
            .unwrap();
        let copy = tempfile::tempdir().unwrap();
        fs::copy(home.path().join(FILE), copy.path().join(FILE)).unwrap();
        let mut after = Store::open(copy.path()).unwrap();
        assert_eq!(texts(&mut after).len(), index + 1);
    }
}

#[test]
fn a_kill_while_the_journal_is_made_leaves_no_half_of_it() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(format!("{FILE}.new")), b"half a journal").unwrap();
    assert_eq!(texts(&mut Store::open(home.path()).unwrap()), [""; 0]);
}

fn set_format(path: &Path, format: u64) {
    let database = Database::open(path).unwrap();
    let writing = database.begin_write().unwrap();
    let mut meta = writing.open_table(META).unwrap();
    meta.insert(FORMAT_KEY, format).unwrap();
    drop(meta);
    writing.commit().unwrap();
}

#[test]
fn a_newer_journal_is_refused_with_both_versions_and_not_touched() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path()).unwrap();
    store.commit(&[put(Table::Tasks, "t", "x")]).unwrap();
    drop(store);
    let path = home.path().join(FILE);
    set_format(&path, FORMAT + 1);
    let clean = fs::read(&path).unwrap();
    // As a daemon leaves it that is killed: redb would put that in order.
    let database = Database::open(&path).unwrap();
    let mut writing = database.begin_write().unwrap();
    writing.set_durability(redb::Durability::Immediate).unwrap();
    writing.commit().unwrap();
    let killed = fs::read(&path).unwrap();
    drop(database);
    assert!(killed != clean);
    for bytes in [clean, killed] {
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(home.path()).err().expect("refused").to_string();
        let found = format!(
            "has format {} and was written by a newer rackbmcd",
            FORMAT + 1
        );
        assert!(error.contains(&found), "{error}");
        let known = format!(
            "{}, knows formats up to {FORMAT}",
            env!("CARGO_PKG_VERSION")
        );
        assert!(error.contains(&known), "{error}");
        assert!(error.contains("start the newer version again"), "{error}");
        assert!(fs::read(&path).unwrap() == bytes, "not one byte is changed");
    }
    set_format(&path, FORMAT);
    assert_eq!(texts(&mut Store::open(home.path()).unwrap()), ["tasks/t=x"]);
}

#[test]
fn an_older_journal_is_brought_to_the_newest_format_as_a_whole() {
    let directory =
        |format| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/journal/v{format}"));
    // A format in work has none yet.
    for format in (1..=FORMAT).filter(|format| directory(*format).exists()) {
        let frozen = directory(format);
        let home = tempfile::tempdir().unwrap();
        fs::copy(frozen.join(FILE), home.path().join(FILE)).unwrap();
        let trail = |store: &mut Store| store.after_with_keys(Table::Audit, "", 100).unwrap();
        let mut store = Store::open(home.path()).unwrap();
        let (first, audit) = (store.load().unwrap(), trail(&mut store));
        let lines = fs::read_to_string(frozen.join("journal.redb.jsonl")).unwrap();
        let entries = |table| store.keys(table).unwrap().len();
        let entries: usize = Table::ALL.into_iter().map(entries).sum();
        assert_eq!(entries, lines.lines().count());
        for (table, key, value) in &first {
            let why = crate::rack::stored::unreadable(*table, key, value);
            assert_eq!(why, None, "v{format}: {}/{key}", table.name());
        }
        drop(store);
        let mut again = Store::open(home.path()).unwrap();
        assert_eq!((again.load().unwrap(), trail(&mut again)), (first, audit));
        assert_eq!(crate::daemon::audit::verify(&mut again).unwrap().2, []);
    }
}

#[test]
fn of_history_the_ends_are_loaded_and_the_rest_is_found_when_it_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path()).unwrap();
    let nodes = ["410b8fd9", "7c1b7b1e", "ffffffff"];
    let entries = nodes
        .iter()
        .flat_map(|node| (0..9).map(move |at| format!("{node}/{at:020}")));
    let mut writes: Vec<Write> = entries.map(|key| put(Table::History, &key, &key)).collect();
    writes.push(put(Table::History, "no such key", "x"));
    writes.push(put(Table::Tasks, "t", "x"));
    store.commit(&writes).unwrap();
    let loaded = store.load().unwrap();
    let loaded: BTreeSet<&str> = loaded.iter().map(|(_, key, _)| key.as_str()).collect();
    let mut ends: BTreeSet<String> = nodes
        .iter()
        .flat_map(|node| [format!("{node}/{:020}", 0), format!("{node}/{:020}", 8)])
        .collect();
    ends.extend(["no such key".to_owned(), "t".to_owned()]);
    assert_eq!(loaded, ends.iter().map(String::as_str).collect());
    for node in nodes {
        let mut found = |end, limit| {
            let (table, prefix) = (Table::History, format!("{node}/"));
            let stretch = Stretch {
                table,
                prefix,
                end,
                limit,
            };
            let found = store.stretch(&stretch).unwrap().into_iter();
            let number = |(key, _): (String, Vec<u8>)| key[node.len() + 1..].parse().unwrap();
            found.map(number).collect::<Vec<u64>>()
        };
        assert_eq!(found(End::Newest, 3), [8, 7, 6]);
        assert_eq!(found(End::Oldest, 2), [0, 1]);
        assert_eq!(found(End::Newest, 100).len(), 9);
    }
}

#[test]
fn a_look_makes_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path()).unwrap();
    store.commit(&[put(Table::Tasks, "t", "x")]).unwrap();
    let locked = Store::open_to_look(home.path()).err();
    assert!(matches!(locked, Some(StoreError::Locked(_))), "{locked:?}");
    drop(store);
    let path = home.path().join(FILE);
    fs::remove_file(home.path().join(LOCK)).unwrap();
    set_format(&path, 1);
    let before = fs::read(&path).unwrap();
    let mut store = Store::open_to_look(home.path()).unwrap();
    assert_eq!(texts(&mut store), ["tasks/t=x"]);
    drop(store);
    assert!(fs::read(&path).unwrap() == before);
    assert!(!home.path().join(LOCK).exists());
}

#[test]
fn what_is_no_journal_of_ours_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(FILE);
    for bytes in [&b""[..], b"SQLite format 3\0", &[0xA5; 100_000]] {
        fs::write(&path, bytes).unwrap();
        let error = Store::open(home.path()).err().expect("refused");
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(fs::read(&path).unwrap() == bytes, "left as it was");
    }
    fs::remove_file(&path).unwrap();
    let database = Database::create(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing
        .open_table(definition(Table::Tasks))
        .unwrap()
        .insert("k", &b"v"[..])
        .unwrap();
    writing.commit().unwrap();
    drop(database);
    let error = Store::open(home.path()).err().expect("refused").to_string();
    assert!(error.contains("does not say its format"), "{error}");
}

#[test]
fn a_damaged_journal_is_refused_or_whole_and_never_half_read() {
    let home = tempfile::tempdir().unwrap();
    let mut store = Store::open(home.path()).unwrap();
    for index in 0..40 {
        let write = put(Table::Tasks, &format!("{index:02}"), &"x".repeat(200));
        store.commit(&[write]).unwrap();
    }
    let good = texts(&mut store);
    drop(store);
    let path = home.path().join(FILE);
    let bytes = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(bytes.len() / 97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        match Store::open(home.path()) {
            Ok(mut store) => assert_eq!(texts(&mut store), good, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    // Most of a young file is free room, where damage does no harm.
    assert!(refused > 0);
    for length in [1, 100, 4096, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        if let Ok(mut store) = Store::open(home.path()) {
            assert_eq!(texts(&mut store), good, "cut to {length}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_said_with_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let directory = file.path().join("state");
    let error = Store::open(&directory)
        .err()
        .expect("below a file")
        .to_string();
    assert!(
        error.contains(directory.to_str().unwrap()) && error.contains("os error 20"),
        "{error}"
    );
}

#[test]
fn a_full_disk_is_said_loses_nothing_and_is_survived() {
    use nix::errno::Errno;
    for (errno, words) in [
        (Errno::ENOSPC, "No space left"),
        (Errno::EROFS, "Read-only"),
        (Errno::EIO, "error 5"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let mut store = disk.store(home.path()).unwrap();
        store.commit(&[put(Table::Tasks, "old", "kept")]).unwrap();
        disk.fail(errno);
        for _ in 0..3 {
            let error = store
                .commit(&[put(Table::Tasks, "new", "x")])
                .expect_err("the disk fails");
            assert!(error.to_string().contains(words), "{error}");
        }
        disk.heal();
        assert_eq!(texts(&mut store), ["tasks/old=kept"]);
        store.commit(&[put(Table::Tasks, "new", "x")]).unwrap();
        drop(store);
        assert_eq!(
            texts(&mut disk.store(home.path()).unwrap()),
            ["tasks/new=x", "tasks/old=kept"]
        );
    }
}

#[test]
fn what_a_commit_says_is_what_the_next_life_finds_whichever_sync_fails() {
    let (mut there, mut absent) = (0, 0);
    for failing in 1..12 {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let mut store = disk.store(home.path()).unwrap();
        store.commit(&[put(Table::Tasks, "old", "kept")]).unwrap();
        disk.0.failing_sync.store(failing, Ordering::SeqCst);
        let said = store.commit(&[put(Table::Tasks, "new", "x")]);
        let fired = disk.0.failing_sync.load(Ordering::SeqCst) == 0;
        drop(store);
        disk.0.failing_sync.store(0, Ordering::SeqCst);
        let found = texts(&mut disk.store(home.path()).unwrap());
        let new = found.contains(&"tasks/new=x".to_owned());
        assert_eq!(new, said.is_ok(), "sync {failing}: {said:?}, {found:?}");
        assert!(found.contains(&"tasks/old=kept".to_owned()));
        there += u32::from(fired && new);
        absent += u32::from(fired && !new);
    }
    assert!(there > 0, "{there} there, {absent} absent");
}

#[test]
fn what_takes_the_place_of_a_commit_that_failed_is_not_taken_for_it() {
    let (mut there, mut absent) = (0, 0);
    for failing in 1..40 {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let mut store = disk.store(home.path()).unwrap();
        store.commit(&[put(Table::Tasks, "old", "kept")]).unwrap();
        // It takes effect, and nobody can know.
        disk.0.failing_sync.store(1, Ordering::SeqCst);
        disk.0.more_syncs.store(3, Ordering::SeqCst);
        let refused = store.commit(&[put(Table::Tasks, "refused", "x")]);
        assert!(refused.is_err());
        disk.0.more_syncs.store(0, Ordering::SeqCst);
        disk.0.failing_write.store(failing, Ordering::SeqCst);
        let said = store.commit(&[
            delete(Table::Tasks, "refused"),
            put(Table::Tasks, "new", "x"),
        ]);
        let fired = disk.0.failing_write.swap(0, Ordering::SeqCst) == 0;
        drop(store);
        let found = texts(&mut disk.store(home.path()).unwrap());
        let new = found.contains(&"tasks/new=x".to_owned());
        assert_eq!(new, said.is_ok(), "write {failing}: {said:?}, {found:?}");
        assert!(!new || !found.contains(&"tasks/refused=x".to_owned()));
        there += u32::from(fired && new);
        absent += u32::from(fired && !new);
    }
    assert!(absent > 0, "{there} there, {absent} absent");
}

#[test]
fn a_journal_cannot_be_begun_on_a_full_disk_and_can_be_afterwards() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    disk.fail(Errno::ENOSPC);
    let error = disk
        .store(home.path())
        .err()
        .expect("the disk is full")
        .to_string();
    assert!(error.contains("No space left"), "{error}");
    disk.heal();
    assert_eq!(texts(&mut disk.store(home.path()).unwrap()), [""; 0]);
}

#[test]
fn many_changes_cost_as_many_syncs_as_one() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut store = disk.store(home.path()).unwrap();
    let cost = |store: &mut Store, writes: &[Write]| {
        let before = disk.syncs();
        store.commit(writes).unwrap();
        disk.syncs() - before
    };
    let one = cost(&mut store, &[put(Table::Tasks, "one", "x")]);
    let many: Vec<Write> = (0..256)
        .map(|i| put(Table::Tasks, &format!("{i}"), "x"))
        .collect();
    assert!(one >= 1, "durable means synced");
    assert_eq!(cost(&mut store, &many), one);
}
