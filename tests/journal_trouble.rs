//! The journal on a disk that is full or read-only, under a process that is killed, and beside a second one.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; it mounts and fills disks, and talks to processes it starts"
)]

#[path = "support/skip.rs"]
mod skip;
#[path = "journal/support.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hmco_boot::journal::sqlite::SqliteJournal;
use hmco_boot::journal::{Journal, JournalErrorKind};
use hmco_boot::model::event::Record;
use hmco_boot::model::id::RunId;
use support::{finished, note, started};

/// A small disk of its own.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where mounting is not permitted (then the test says so and does nothing).
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=4m", "none"];
        let mounted = Command::new("mount")
            .args(options)
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|done| done.status.success()) {
            return Some(Self { folder });
        }
        skip::tell("no permission to mount a small disk");
        None
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn remount(&self, option: &str) {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", &format!("remount,{option}")])
            .arg(self.folder.path());
        assert!(mount.status().unwrap().success());
    }

    /// Takes up this many bytes.
    fn ballast(&self, bytes: usize) {
        fs::write(self.folder.path().join("ballast"), vec![0; bytes]).unwrap();
    }

    /// Takes up all there is.
    fn fill_up(&self) {
        let mut file = fs::File::create(self.folder.path().join("ballast")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.folder.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

fn run() -> RunId {
    "r".into()
}

/// Appends notes from `seq` on until one is refused, which it returns with how many were taken.
fn fill(
    journal: &SqliteJournal,
    mut seq: u64,
    durable: bool,
) -> (u64, hmco_boot::journal::JournalError) {
    loop {
        match journal.append(&run(), &[note(seq, 3000)], durable) {
            Ok(()) => seq += 1,
            Err(error) => return (seq, error),
        }
    }
}

fn expected(records: u64) -> Vec<Record> {
    let notes = (1..records).map(|seq| note(seq, 3000));
    std::iter::once(started("r", None)).chain(notes).collect()
}

#[test]
fn on_a_full_disk_an_append_fails_whole_with_a_cure_and_all_goes_on_when_there_is_space() {
    let Some(disk) = SmallDisk::new() else { return };
    disk.ballast(3_400_000);
    let journal = SqliteJournal::open(&disk.path()).unwrap();
    journal.append(&run(), &[started("r", None)], true).unwrap();
    let (taken, error) = fill(&journal, 1, true);
    assert!(taken > 5, "{taken}");
    assert_eq!(error.kind, JournalErrorKind::Io);
    assert!(error.to_string().contains("disk full"), "{error}");
    assert!(error.to_string().contains(disk.path().to_str().unwrap()));
    assert!(error.failure.hint.unwrap().contains("free some space"));

    let batch: Vec<_> = (taken..taken + 9).map(|seq| note(seq, 3000)).collect();
    let error = journal.append(&run(), &batch, true).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Io);
    let second = SqliteJournal::open_to_read(&disk.path()).unwrap().unwrap();
    assert_eq!(second.read(&run()).unwrap(), expected(taken));
    drop(second);

    disk.free();
    journal.append(&run(), &[note(taken, 3000)], true).unwrap();
    assert_eq!(journal.read(&run()).unwrap(), expected(taken + 1));
    journal.close().unwrap();
    let again = SqliteJournal::open(&disk.path()).unwrap();
    assert_eq!(again.read(&run()).unwrap(), expected(taken + 1));
}

#[test]
fn what_was_acknowledged_without_being_durable_is_written_later_or_said_to_be_in_trouble() {
    let Some(disk) = SmallDisk::new() else { return };
    disk.ballast(3_400_000);
    let journal = SqliteJournal::open(&disk.path()).unwrap();
    journal.append(&run(), &[started("r", None)], true).unwrap();
    // Reading writes what is queued, so these are acknowledged first and found to be too much afterwards.
    let mut acknowledged = 1;
    while acknowledged < 1000 {
        let taken = journal.append(&run(), &[note(acknowledged, 3000)], false);
        if taken.is_err() {
            break;
        }
        acknowledged += 1;
        if acknowledged % 5 == 0 && journal.read(&run()).is_err() {
            break;
        }
    }
    assert!(acknowledged < 1000);
    for durable in [false, true] {
        let error = journal
            .append(&run(), &[note(acknowledged, 3000)], durable)
            .unwrap_err();
        assert!(error.to_string().contains("disk full"), "{error}");
    }
    disk.free();
    let (taken, _) = fill(&journal, acknowledged, false);
    let records = match journal.read(&run()) {
        Ok(records) => records,
        Err(_) => {
            // Full again: what was taken is there or announced as not written.
            let error = journal.close().unwrap_err();
            assert_eq!(error.kind, JournalErrorKind::Io);
            let reader = SqliteJournal::open_to_read(&disk.path()).unwrap().unwrap();
            reader.read(&run()).unwrap()
        }
    };
    assert!(
        records.len() as u64 >= acknowledged,
        "{} of {acknowledged}",
        records.len()
    );
    assert!(records.len() as u64 <= taken);
    assert_eq!(records, expected(records.len() as u64));
}

#[test]
fn no_journal_is_made_on_a_full_disk_and_nothing_is_left_of_the_attempt() {
    let Some(disk) = SmallDisk::new() else { return };
    disk.fill_up();
    let error = SqliteJournal::open(&disk.path()).err().unwrap();
    assert_eq!(error.kind, JournalErrorKind::Io);
    let told = format!("{error} {:?}", error.failure.hint);
    assert!(told.contains("full"), "{told}");
    let files: Vec<_> = fs::read_dir(disk.folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    disk.free();
    SqliteJournal::open(&disk.path()).unwrap();
}

#[test]
fn a_read_only_disk_gives_its_history_and_takes_nothing() {
    let Some(disk) = SmallDisk::new() else { return };
    let journal = SqliteJournal::open(&disk.path()).unwrap();
    journal.append(&run(), &expected(5), true).unwrap();
    journal.close().unwrap();
    disk.remount("ro");
    let error = SqliteJournal::open(&disk.path()).err().unwrap();
    assert_eq!(error.kind, JournalErrorKind::Io);
    assert!(error.to_string().contains("cannot be written"), "{error}");
    let reader = SqliteJournal::open_to_read(&disk.path()).unwrap().unwrap();
    assert_eq!(reader.read(&run()).unwrap(), expected(5));
    assert_eq!(reader.runs().unwrap().len(), 1);
    let error = reader.append(&run(), &[note(5, 1)], false).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Io);
    assert!(reader.prune(0).is_err());
}

#[test]
fn a_log_left_on_a_read_only_disk_is_read_or_refused_never_passed_over() {
    let Some(disk) = SmallDisk::new() else { return };
    let place = tempfile::tempdir().unwrap();
    let living = SqliteJournal::open(&place.path().join("journal.db")).unwrap();
    living.append(&run(), &expected(5), true).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("journal.db{suffix}");
        fs::copy(place.path().join(&name), disk.folder.path().join(&name)).unwrap();
    }
    disk.remount("ro");
    let reader = SqliteJournal::open_to_read(&disk.path()).unwrap().unwrap();
    assert_eq!(reader.read(&run()).unwrap(), expected(5));
    drop(reader);

    disk.remount("rw");
    fs::remove_file(disk.folder.path().join("journal.db-shm")).unwrap();
    disk.remount("ro");
    let error = SqliteJournal::open_to_read(&disk.path()).err().unwrap();
    assert_eq!(error.kind, JournalErrorKind::Io);
}

#[test]
fn a_second_process_sees_a_durable_append_at_once_and_may_not_write_into_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (one, two) = (
        SqliteJournal::open(&path).unwrap(),
        SqliteJournal::open(&path).unwrap(),
    );
    one.append(&run(), &[started("r", None)], true).unwrap();
    assert_eq!(two.read(&run()).unwrap().len(), 1);
    two.append(&run(), &[note(1, 2)], true).unwrap();
    let error = one.append(&run(), &[note(1, 1)], true).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Illegal);

    // Acknowledged before it could be known: told at the next append, and other runs do not suffer.
    two.append(&run(), &[note(2, 2)], true).unwrap();
    one.append(&"s".into(), &[started("s", None)], true)
        .unwrap();
    two.append(&run(), &[note(3, 2)], false).unwrap();
    one.append(&run(), &[note(3, 1)], true).unwrap();
    two.append(&"t".into(), &[started("t", None)], true)
        .unwrap();
    let error = two.append(&run(), &[note(4, 2)], true).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Illegal);
    two.append(&run(), &[finished(4)], true).unwrap();
    let all = [
        started("r", None),
        note(1, 2),
        note(2, 2),
        note(3, 1),
        finished(4),
    ];
    assert_eq!(one.read(&run()).unwrap(), all);
}

#[test]
fn two_that_make_the_journal_at_once_share_it() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let path = &path;
                scope.spawn(move || {
                    let journal = SqliteJournal::open(path).unwrap();
                    journal
                        .append(&name.into(), &[started(name, None)], true)
                        .unwrap();
                });
            }
        });
        let journal = SqliteJournal::open(&path).unwrap();
        assert_eq!(journal.runs().unwrap().len(), 3);
        drop(journal);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

/// Starts this test binary again, as `role` on `path`, under a loose umask.
fn again(role: &str, path: &Path) -> Child {
    Command::new("sh")
        .args([
            "-c",
            "umask 0; exec \"$0\" --ignored --exact --nocapture \"$1\"",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(role)
        .env("JOURNAL", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the process says after `word`, line by line.
fn said(child: &mut Child, word: &'static str) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.filter_map(move |line| Some(line.unwrap().split_once(word)?.1.to_owned()))
}

#[test]
#[ignore = "started by other tests as a process of its own"]
fn process_that_appends_for_ever() {
    let journal = SqliteJournal::open(Path::new(&std::env::var("JOURNAL").unwrap())).unwrap();
    journal.append(&run(), &[started("r", None)], true).unwrap();
    for batch in 0.. {
        let first = batch * 3 + 1;
        let records: Vec<_> = (first..first + 3).map(|seq| note(seq, 100)).collect();
        let durable = batch % 4 == 3;
        journal.append(&run(), &records, durable).unwrap();
        if durable {
            println!("ACK {}", first + 2);
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged_as_durable() {
    let mut seed: u64 = 5;
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let mut child = again("process_that_appends_for_ever", &path);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait_for = usize::try_from(seed >> 33).unwrap() % 40 + 1;
        let mut acknowledged = said(&mut child, "ACK ");
        let before = acknowledged.by_ref().take(wait_for).last().unwrap();
        child.kill().unwrap();
        let last = acknowledged
            .last()
            .unwrap_or(before)
            .parse::<usize>()
            .unwrap();
        child.wait().unwrap();

        let journal = SqliteJournal::open(&path).unwrap();
        let records = journal.read(&run()).unwrap();
        assert!(
            records.len() > last,
            "{} records, {last} acknowledged",
            records.len()
        );
        assert_eq!(
            records.len() % 3,
            1,
            "an append is there whole or not at all"
        );
        for (seq, record) in records.iter().enumerate().skip(1) {
            assert_eq!(*record, note(seq as u64, 100));
        }
        journal
            .append(&run(), &[finished(records.len() as u64)], true)
            .unwrap();
    }
}

#[test]
fn the_files_are_for_their_owner_only_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut child = again("process_that_appends_for_ever", &path);
    let mut acknowledged = said(&mut child, "ACK ");
    acknowledged.next().unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{entry:?}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    names.sort();
    assert_eq!(names, ["journal.db", "journal.db-shm", "journal.db-wal"]);

    // A copy that was restored with loose modes is tightened.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    SqliteJournal::open(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
