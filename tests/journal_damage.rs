//! Journals that are old, new, torn, damaged or no journals at all: each is read as far as it is sound, or refused with
//! a reason and a cure, and never touched when refused.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; it makes the files it is about"
)]

#[path = "journal/support.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use hmco_boot::journal::sqlite::SqliteJournal;
use hmco_boot::journal::{Journal, JournalError, JournalErrorKind};
use hmco_boot::model::event::{CancelLevel, DiffLine, Event, Record};
use hmco_boot::model::id::{PairId, Target};
use hmco_boot::model::outcome::{ExitCode, Failure, Outcome};
use rusqlite::Connection;
use support::{finished, note, started};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    /// A journal with a run of `n` records, each in a commit of its own.
    fn with_run(n: u64) -> (Self, SqliteJournal) {
        let place = Self::new();
        let journal = SqliteJournal::open(&place.path()).unwrap();
        for record in run(n) {
            journal.append(&"r".into(), &[record], true).unwrap();
        }
        (place, journal)
    }

    /// What a power cut would leave of this one, which goes on.
    fn copied(&self) -> Self {
        let copy = Self::new();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            // The index is in memory that a power cut does not leave.
            if !entry.path().to_str().unwrap().ends_with("-shm") {
                fs::copy(entry.path(), copy.folder.path().join(entry.file_name())).unwrap();
            }
        }
        copy
    }

    /// All files with their bytes.
    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        all.sort();
        all
    }

    /// Opens what must be refused, both ways.
    fn refused(&self) -> JournalError {
        let error = SqliteJournal::open(&self.path()).err().unwrap();
        let reading = SqliteJournal::open_to_read(&self.path()).err().unwrap();
        assert_eq!(error.kind, reading.kind);
        let hint = error.failure.hint.clone().unwrap();
        assert!(!hint.is_empty());
        assert!(error.to_string().contains(self.path().to_str().unwrap()));
        error
    }
}

fn run(n: u64) -> Vec<Record> {
    let mut records = vec![started("r", None)];
    records.extend((1..n).map(|seq| note(seq, 700)));
    records
}

fn sql(path: &Path, statements: &str) {
    Connection::open(path)
        .unwrap()
        .execute_batch(statements)
        .unwrap();
}

#[test]
fn a_journal_from_the_future_is_refused_by_both_versions_and_left_alone() {
    let (place, journal) = Place::with_run(3);
    journal.close().unwrap();
    sql(&place.path(), "PRAGMA user_version = 99");
    let before = place.contents();
    let error = place.refused();
    assert_eq!(error.kind, JournalErrorKind::Newer);
    assert!(error.to_string().contains("version 99"), "{error}");
    assert!(error.to_string().contains("knows up to 1"), "{error}");
    assert!(error.failure.hint.unwrap().contains("newer hmco-boot"));
    assert_eq!(place.contents(), before);
}

#[test]
fn a_journal_whose_future_is_only_in_the_log_is_refused_and_keeps_its_log() {
    let (place, journal) = Place::with_run(3);
    let newer = Connection::open(place.path()).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    let copy = place.copied();
    let before = copy.contents();
    assert_eq!(copy.refused().kind, JournalErrorKind::Newer);
    let mut after = copy.contents();
    after.retain(|(path, _)| !path.to_str().unwrap().ends_with("-shm"));
    assert_eq!(after, before);
    drop(journal);
}

#[test]
fn events_of_a_later_version_are_passed_over_and_broken_ones_of_this_are_not() {
    let (place, journal) = Place::with_run(2);
    journal.close().unwrap();
    let insert = |seq: u64, version: u32, body: &str| {
        let values = format!("(1, {seq}, 0, {version}, '{body}')");
        sql(&place.path(), &format!("INSERT INTO event VALUES {values}"));
    };
    insert(2, 2, r#"{"type":"moon_phase","phase":"full"}"#);
    insert(3, 2, r#"{"type":"step_started","pair":{"now":"a table"}}"#);
    insert(4, 1, r#"{"type":"tide"}"#);
    let journal = SqliteJournal::open(&place.path()).unwrap();
    let records = journal.read(&"r".into()).unwrap();
    assert_eq!(records.len(), 5);
    for record in &records[2..] {
        assert_eq!(record.event, Event::Other);
    }
    journal.append(&"r".into(), &[note(5, 1)], true).unwrap();

    insert(6, 1, r#"{"type":"step_started"}"#);
    let error = journal.read(&"r".into()).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Corrupt);
    assert!(error.failure.evidence[0].starts_with("record 6 of run r"));
}

#[test]
fn a_run_that_only_a_later_version_understands_is_not_left_out_of_the_list() {
    let (place, journal) = Place::with_run(1);
    journal.close().unwrap();
    sql(
        &place.path(),
        r#"UPDATE event SET version = 7, body = '{"type":"run_started","run":{"id":"r"}}'"#,
    );
    let journal = SqliteJournal::open_to_read(&place.path()).unwrap().unwrap();
    let error = journal.runs().unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Newer);
    assert!(error.to_string().contains("version 7"), "{error}");
}

#[test]
fn the_golden_journal_of_version_1_opens_reads_and_goes_on() {
    let place = Place::new();
    sql(&place.path(), include_str!("journal/golden-v1.sql"));
    let journal = SqliteJournal::open(&place.path()).unwrap();
    let runs = journal.runs().unwrap();
    let names: Vec<_> = runs.iter().map(|run| run.started.run.as_str()).collect();
    assert_eq!(names, ["c3", "b2", "a1"]);
    assert_eq!(runs[2].resumed_by, Some("b2".into()));
    assert_eq!(runs[2].finished, None);
    let Some(Event::RunFinished { counts, exit, .. }) = runs[1].finished.clone().map(|r| r.event)
    else {
        panic!("the resume has ended")
    };
    assert_eq!((counts["changed"], exit), (1, ExitCode::Failed));

    // Every event of version 1 is there and still means the same.
    for (run, events) in golden_runs() {
        let records = journal.read(&run.into()).unwrap();
        let told: Vec<_> = records.into_iter().map(|record| record.event).collect();
        assert_eq!(told, events);
    }
    journal.append(&"a1".into(), &[note(18, 1)], true).unwrap();
}

/// Prints the rows of `golden-v1.sql`, for the next version's golden journal.
#[test]
#[ignore = "a tool, not a test"]
fn print_the_rows_of_a_golden_journal() {
    for (n, (run, events)) in golden_runs().into_iter().enumerate() {
        for (seq, event) in events.into_iter().enumerate() {
            let body = serde_json::to_string(&event).unwrap().replace('\'', "''");
            println!(
                "    ({}, {seq}, 1767344400{n}{seq:02}, 1, '{body}'),",
                n + 1
            );
        }
        println!("    -- run {run}");
    }
}

#[expect(clippy::too_many_lines, reason = "a list: one event of every type")]
fn golden_runs() -> Vec<(&'static str, Vec<Event>)> {
    let begin = |run, resumes| started(run, resumes).event;
    let failure = || {
        Failure::new("no")
            .evidence("E: Unable to locate package \u{2693}")
            .hint("it's")
    };
    let (pair, other, target) = (PairId(0), PairId(1), Target::Node("pi-0".into()));
    let job = |name: &str| name.into();
    let diff = Some(vec![
        DiffLine::old("a"),
        DiffLine::new("b"),
        DiffLine::both("c"),
    ]);
    let crashed = vec![
        begin("a1", None),
        Event::FactsRequested {
            target: target.clone(),
            round: 1,
            facts: 7,
        },
        Event::FactsRead {
            target: target.clone(),
            failed: 1,
            took_ms: 20,
        },
        Event::TargetUnreachable {
            target: Target::Cluster,
            failure: failure(),
        },
        Event::LeftoverJob {
            target: Target::Controller,
            job: job("z-0-1"),
            waiting: true,
        },
        Event::Locked {
            targets: vec![target.clone()],
        },
        Event::StepDecided {
            pair,
            diff: diff.clone(),
        },
        Event::StepStarted {
            pair,
            attempt: 1,
            job: job("a1-0-1"),
        },
        Event::StepOutput {
            pair,
            text: "\u{1b}[0mx\n".into(),
        },
        Event::StepRetry {
            pair,
            attempt: 1,
            delay_ms: 500,
            failure: failure(),
        },
        Event::StepDecided {
            pair,
            diff: diff.clone(),
        },
        Event::StepStarted {
            pair,
            attempt: 2,
            job: job("a1-0-2"),
        },
        Event::StepFinished {
            pair,
            outcome: Outcome::Failed(failure()),
            took_ms: 9,
        },
        Event::StepDecided {
            pair: other,
            diff: diff.clone(),
        },
        Event::StepStarted {
            pair: other,
            attempt: 1,
            job: job("a1-1-1"),
        },
        Event::Checkpoint {
            pair: other,
            name: "stage".into(),
            data: serde_json::json!({"n": [1, null]}),
        },
        Event::GateWaiting {
            pair: other,
            reason: "not ready".into(),
        },
        Event::CancelRequested {
            level: CancelLevel::Drain,
        },
    ];
    let ended = |counts: &[(&str, u32)], exit| Event::RunFinished {
        counts: counts
            .iter()
            .map(|(word, n)| ((*word).into(), *n))
            .collect(),
        exit,
        took_ms: 7,
    };
    let blocked = Outcome::Blocked {
        step: "motd".into(),
        target,
    };
    let resumed = vec![
        begin("b2", Some("a1")),
        Event::Locked { targets: vec![] },
        Event::Warning { failure: failure() },
        Event::StepDecided { pair: other, diff },
        Event::StepStarted {
            pair: other,
            attempt: 1,
            job: job("b2-1-1"),
        },
        Event::StepFinished {
            pair: other,
            outcome: Outcome::Changed,
            took_ms: 9,
        },
        Event::StepFinished {
            pair,
            outcome: blocked,
            took_ms: 0,
        },
        ended(&[("blocked", 1), ("changed", 1)], ExitCode::Failed),
    ];
    let refused = vec![
        begin("c3", None),
        Event::LockRefused { failure: failure() },
        ended(&[], ExitCode::Locked),
    ];
    vec![("a1", crashed), ("b2", resumed), ("c3", refused)]
}

#[test]
fn what_is_no_journal_is_refused_with_a_cure_and_not_touched() {
    let text = b"dear diary\n".repeat(1000);
    let another = {
        let place = Place::new();
        sql(&place.path(), "CREATE TABLE cookies (x)");
        fs::read(place.path()).unwrap()
    };
    for content in [Vec::new(), b"x".to_vec(), text, another] {
        let place = Place::new();
        fs::write(place.path(), &content).unwrap();
        let error = place.refused();
        assert_eq!(
            error.kind,
            JournalErrorKind::Corrupt,
            "{} bytes",
            content.len()
        );
        assert!(error.failure.hint.unwrap().contains("move it away"));
        assert_eq!(fs::read(place.path()).unwrap(), content);
    }
}

#[test]
fn a_log_without_its_journal_is_not_played_into_a_new_one() {
    let (place, journal) = Place::with_run(3);
    let copy = place.copied();
    fs::remove_file(copy.path()).unwrap();
    let error = SqliteJournal::open(&copy.path()).err().unwrap();
    assert_eq!(error.kind, JournalErrorKind::Corrupt);
    assert!(error.failure.evidence[0].contains("journal.db-wal"));
    assert!(!copy.path().exists());
    drop(journal);
}

#[test]
fn a_truncated_journal_is_refused_or_named_as_damaged_where_it_is_read() {
    let (place, journal) = Place::with_run(200);
    journal.close().unwrap();
    let whole = fs::metadata(place.path()).unwrap().len();
    for cut in [100, 4096, whole / 2, whole - 4096, whole - 1] {
        let copy = place.copied();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(copy.path())
            .unwrap();
        file.set_len(cut).unwrap();
        let error = copy.refused();
        assert_eq!(
            error.kind,
            JournalErrorKind::Corrupt,
            "cut at {cut} of {whole}"
        );
    }
}

#[test]
fn damage_inside_the_file_is_found_when_it_is_read_and_at_once_after_an_unclean_end() {
    let (place, journal) = Place::with_run(200);
    journal.close().unwrap();
    let journal = SqliteJournal::open(&place.path()).unwrap();
    journal.append(&"r".into(), &[note(200, 1)], true).unwrap();
    let unclean = place.copied();
    journal.close().unwrap();
    let clean = place.copied();
    for copy in [&clean, &unclean] {
        let mut bytes = fs::read(copy.path()).unwrap();
        let middle = bytes.len() / 4096 / 2 * 4096;
        bytes[middle..middle + 4096].fill(0xff);
        fs::write(copy.path(), bytes).unwrap();
    }
    let journal = SqliteJournal::open(&clean.path()).unwrap();
    let error = journal.read(&"r".into()).unwrap_err();
    assert_eq!(error.kind, JournalErrorKind::Corrupt);
    let error = SqliteJournal::open(&unclean.path()).err().unwrap();
    assert_eq!(error.kind, JournalErrorKind::Corrupt);
}

/// For each frame of a log: where it begins, and whether it ends a commit.
fn frames(log: &[u8]) -> Vec<(usize, bool)> {
    let starts = (32..log.len()).step_by(24 + 4096);
    starts
        .map(|at| (at, log[at + 4..at + 8] != [0; 4]))
        .collect()
}

/// How many commits end before byte `at` of the log.
fn commits_before(frames: &[(usize, bool)], at: usize) -> usize {
    let whole = frames.iter().filter(|(start, _)| start + 24 + 4096 <= at);
    whole.filter(|(_, commit)| *commit).count()
}

/// A fixed sequence of numbers.
fn seeded(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    }
}

#[test]
fn a_torn_log_is_read_up_to_its_last_whole_commit_and_then_goes_on() {
    const RECORDS: u64 = 25;
    let (place, journal) = Place::with_run(RECORDS);
    let whole = place.copied();
    drop(journal);
    let log_of = |place: &Place| place.folder.path().join("journal.db-wal");
    let log = fs::read(log_of(&whole)).unwrap();
    let frames = frames(&log);
    assert_eq!(commits_before(&frames, log.len()), 25, "one commit each");

    let mut random = seeded(11);
    for case in 0..60 {
        let copy = whole.copied();
        let (torn, at) = if case % 2 == 0 {
            let at = 32 + random(log.len() - 32);
            (log[..at].to_vec(), at)
        } else {
            let at = 32 + random(log.len() - 32);
            let mut flipped = log.clone();
            flipped[at] ^= 1 << random(8);
            (flipped, at)
        };
        fs::write(log_of(&copy), torn).unwrap();
        let sound = commits_before(&frames, at);
        let journal = SqliteJournal::open(&copy.path()).unwrap();
        let expected = run(sound as u64);
        match journal.read(&"r".into()) {
            Ok(records) => assert_eq!(records, expected[..], "damage at {at}"),
            Err(e) => assert_eq!((e.kind, sound), (JournalErrorKind::NoSuchRun, 0)),
        }
        if sound > 0 {
            journal
                .append(&"r".into(), &[finished(sound as u64)], true)
                .unwrap();
            journal.close().unwrap();
            let journal = SqliteJournal::open_to_read(&copy.path()).unwrap().unwrap();
            assert_eq!(journal.read(&"r".into()).unwrap().len(), sound + 1);
        }
    }
}
