//! What every journal does, held against the real one and the one in memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "journal/support.rs"]
mod support;

use hmco_boot::journal::memory::MemoryJournal;
use hmco_boot::journal::sqlite::SqliteJournal;
use hmco_boot::journal::{Journal, JournalErrorKind};
use hmco_boot::model::event::{Event, Record};
use hmco_boot::model::id::{PairId, RunId};
use hmco_boot::model::outcome::Outcome;
use support::{finished, note, started};

/// Runs one case against both.
fn both(case: impl Fn(&dyn Journal)) {
    case(&MemoryJournal::new());
    let folder = tempfile::tempdir().unwrap();
    case(&SqliteJournal::open(&folder.path().join("journal.db")).unwrap());
}

fn ids(list: &[&str]) -> Vec<RunId> {
    list.iter().map(RunId::new).collect()
}

#[test]
fn what_was_appended_is_read_in_order_durable_or_not() {
    both(|journal| {
        let run = "r1".into();
        journal.append(&run, &[started("r1", None)], true).unwrap();
        journal
            .append(&run, &[note(1, 10), note(2, 10)], false)
            .unwrap();
        journal.append(&run, &[note(3, 10)], true).unwrap();
        journal.append(&run, &[], true).unwrap();
        journal.append(&run, &[note(4, 10)], false).unwrap();
        let all = [
            started("r1", None),
            note(1, 10),
            note(2, 10),
            note(3, 10),
            note(4, 10),
        ];
        assert_eq!(journal.read(&run).unwrap(), all);
    });
}

#[test]
fn any_text_comes_back_as_it_went_in() {
    both(|journal| {
        let run = "r1".into();
        let text = "\0 \u{1b}[31m \u{fffd} 🥧 \r\n '\"; DROP TABLE run; --";
        let output = Record {
            seq: 1,
            at_ms: i64::MIN,
            event: Event::StepOutput {
                pair: PairId(1),
                text: text.into(),
            },
        };
        let records = [started("r1", None), output];
        journal.append(&run, &records, true).unwrap();
        assert_eq!(journal.read(&run).unwrap(), records);
    });
}

#[test]
fn an_illegal_append_is_refused_whole_and_the_legal_one_still_follows() {
    both(|journal| {
        let run: RunId = "r1".into();
        let early_end = Record {
            seq: 3,
            at_ms: 0,
            event: Event::StepFinished {
                pair: PairId(0),
                outcome: Outcome::Changed,
                took_ms: 0,
            },
        };
        let other = Record {
            seq: 2,
            at_ms: 0,
            event: Event::Other,
        };
        let illegal = |records: &[Record]| {
            for durable in [true, false] {
                let error = journal.append(&run, records, durable).unwrap_err();
                assert_eq!(error.kind, JournalErrorKind::Illegal);
                assert!(error.to_string().contains("r1"), "{error}");
            }
        };
        illegal(&[note(0, 1)]);
        illegal(&[note(1, 1)]);
        illegal(&[started("r2", None)]);
        journal.append(&run, &[started("r1", None)], false).unwrap();
        illegal(&[started("r1", None)]);
        illegal(&[note(2, 1)]);
        journal.append(&run, &[note(1, 1)], false).unwrap();
        illegal(&[note(2, 1), note(4, 1)]);
        illegal(&[note(2, 1), early_end]);
        illegal(&[other]);
        journal.append(&run, &[note(2, 1)], true).unwrap();
        journal.append(&run, &[finished(3)], true).unwrap();
        illegal(&[note(4, 1)]);
        assert_eq!(journal.read(&run).unwrap().len(), 4);
    });
}

#[test]
fn a_run_that_is_not_there_is_named_as_such() {
    both(|journal| {
        let error = journal.read(&"r9".into()).unwrap_err();
        assert_eq!(error.kind, JournalErrorKind::NoSuchRun);
        assert!(error.to_string().contains("r9"));
        assert!(error.failure.hint.is_some());
        assert_eq!(journal.runs().unwrap(), []);
    });
}

#[test]
fn runs_are_listed_newest_first_with_their_end_and_who_went_on_with_them() {
    both(|journal| {
        // The names are not in the order of time, as after a clock that went back.
        journal
            .append(&"b".into(), &[started("b", None), note(1, 1)], false)
            .unwrap();
        journal
            .append(&"c".into(), &[started("c", Some("b"))], false)
            .unwrap();
        let whole = [started("a", Some("b")), finished(1)];
        journal.append(&"a".into(), &whole, false).unwrap();
        let runs = journal.runs().unwrap();
        let names: Vec<_> = runs.iter().map(|run| run.started.run.as_str()).collect();
        assert_eq!(names, ["a", "c", "b"]);
        let Event::RunStarted(begun) = started("a", Some("b")).event else {
            panic!("not a start")
        };
        assert_eq!(runs[0].started, *begun);
        assert_eq!(runs[0].at_ms, started("a", None).at_ms);
        assert_eq!(runs[0].finished, Some(finished(1)));
        assert_eq!(runs[2].finished, None);
        assert_eq!(runs[2].resumed_by, Some("a".into()), "the latest counts");
        assert_eq!(runs[1].resumed_by, None);
    });
}

#[test]
fn pruning_keeps_the_newest_ended_runs_and_all_that_may_be_resumed() {
    both(|journal| {
        for name in ["1", "2", "3", "4"] {
            let mut records = vec![started(name, None)];
            if name != "2" {
                records.push(finished(1));
            }
            journal.append(&name.into(), &records, false).unwrap();
        }
        assert_eq!(journal.prune(2).unwrap(), ids(&["1"]));
        assert_eq!(
            journal.read(&"1".into()).unwrap_err().kind,
            JournalErrorKind::NoSuchRun
        );
        assert_eq!(journal.prune(2).unwrap(), []);
        journal.append(&"2".into(), &[note(1, 1)], false).unwrap();
        let resume = [started("5", Some("2")), finished(1)];
        journal.append(&"5".into(), &resume, false).unwrap();
        assert_eq!(journal.prune(0).unwrap(), ids(&["5", "4", "3", "2"]));
        assert_eq!(journal.runs().unwrap(), []);
        let error = journal
            .append(&"2".into(), &[note(2, 1)], true)
            .unwrap_err();
        assert_eq!(error.kind, JournalErrorKind::Illegal);
        journal
            .append(&"1".into(), &[started("1", None)], true)
            .unwrap();
    });
}

#[test]
fn runs_of_several_threads_do_not_mix() {
    both(|journal| {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                scope.spawn(move || {
                    let run = name.into();
                    journal.append(&run, &[started(name, None)], true).unwrap();
                    for seq in 1..40 {
                        journal.append(&run, &[note(seq, 5)], seq % 3 == 0).unwrap();
                    }
                });
            }
        });
        for name in ["a", "b", "c", "d"] {
            let records = journal.read(&name.into()).unwrap();
            assert_eq!(records[0], started(name, None));
            let expected: Vec<_> = (1..40).map(|seq| note(seq, 5)).collect();
            assert_eq!(records[1..], expected);
        }
    });
}

#[test]
fn the_fake_can_fail_die_and_lose_power_when_it_is_asked_to() {
    let run: RunId = "r".into();
    let journal = MemoryJournal::new();
    let shared = journal.clone();
    journal.fail_after(1);
    journal.append(&run, &[started("r", None)], true).unwrap();
    let refused = journal.append(&run, &[note(1, 1)], true).unwrap_err();
    assert_eq!(refused.kind, JournalErrorKind::Io);
    assert_eq!(shared.read(&run).unwrap().len(), 1);

    journal.heal();
    journal.crash_after(2);
    journal.append(&run, &[note(1, 1)], false).unwrap();
    assert!(
        journal
            .append(&run, &[note(2, 1), note(3, 1)], true)
            .is_err()
    );
    assert!(journal.append(&run, &[note(4, 1)], true).is_err());
    assert_eq!(
        shared.read(&run).unwrap(),
        [started("r", None), note(1, 1), note(2, 1)]
    );

    shared.heal();
    journal.append(&run, &[note(3, 1)], true).unwrap();
    journal.append(&run, &[note(4, 1)], false).unwrap();
    journal.lose_what_is_not_durable();
    assert_eq!(journal.read(&run).unwrap().len(), 4);
    journal.append(&run, &[note(4, 1)], true).unwrap();
    assert_eq!(journal.appends(), 5);
}
