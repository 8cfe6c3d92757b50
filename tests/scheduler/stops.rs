//! How a run is stopped: Ctrl-C, a lock, the journal; and what it says then.

use hmco_boot::engine::scheduler::Input;
use hmco_boot::model::event::{CancelLevel, Event};
use hmco_boot::model::id::PairId;
use hmco_boot::model::outcome::{ExitCode, Failure};

use super::lab::*;

fn journal_failed(unstarted: Option<u32>) -> Input {
    Input::JournalFailed {
        failure: Failure::new("no space"),
        unstarted: unstarted.map(PairId),
    }
}

fn refused() -> Input {
    Input::Locked(Err(Failure::new("run x holds it")))
}

#[test]
fn a_refused_lock_ends_the_run_with_5_and_nothing_was_applied() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("c", "m").check()]));
    lab.start();
    lab.bench.clear();
    lab.feed(refused());
    assert_eq!(lab.words(), ["interrupted", "failed"]);
    assert_eq!(lab.exit, Some(ExitCode::Locked), "5 comes before 1");
    assert!(lab.bench.is_empty());
}

#[test]
fn a_lock_refused_after_ctrl_c_does_not_hide_that_the_run_was_interrupted() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "m").gate(60)]));
    // Something must be under way, or the run is over at once.
    lab.set("m", "b", "good").start();
    lab.timer();
    assert!(lab.wants_lock());
    lab.feed(Input::Cancel(CancelLevel::Drain)).feed(refused());
    lab.reads();
    assert_eq!(lab.exit, Some(ExitCode::Interrupted));
}

#[test]
fn the_first_ctrl_c_lets_what_is_applied_end_and_be_proven_and_starts_nothing() {
    let steps = vec![
        step("a", "n"),
        step("b", "n").needs(&[0]),
        step("c", "m").gate(60),
        step("d", "o").retry(3, 1, 1),
    ];
    let mut lab = Lab::new(plan(steps));
    lab.start().lock();
    lab.applied(3, BUSY);
    lab.feed(Input::Cancel(CancelLevel::Drain));
    assert_eq!(lab.exit, None);
    lab.works(0).works(2);
    assert_eq!(
        lab.words(),
        ["changed", "interrupted", "interrupted", "interrupted"]
    );
    assert_eq!(lab.text(1), "not started: the run was stopped");
    assert!(
        lab.text(2)
            .starts_with("changed, but its gate was not awaited"),
        "{}",
        lab.text(2)
    );
    assert!(
        lab.text(3).starts_with("tried without success"),
        "{}",
        lab.text(3)
    );
    assert_eq!(lab.exit, Some(ExitCode::Interrupted));
    // Timers that still run mean nothing any more.
    lab.timer();
    assert!(lab.applying().is_empty());
}

#[test]
fn the_second_ctrl_c_ends_the_run_at_once_and_says_that_jobs_may_still_run() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.feed(Input::Cancel(CancelLevel::Drain));
    assert_eq!(lab.exit, None);
    lab.feed(Input::Cancel(CancelLevel::Abort));
    assert_eq!(lab.exit, Some(ExitCode::Interrupted));
    assert!(lab.text(0).contains("may still run"));
    let events = lab.events.len();
    lab.works(0);
    assert_eq!(lab.events.len(), events, "nothing follows the end");
}

#[test]
fn an_apply_that_is_not_on_record_is_not_carried_out_and_the_run_fails() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("b", "n").needs(&[0]),
        step("c", "m"),
    ]));
    lab.start().lock();
    lab.feed(journal_failed(Some(0)));
    assert_eq!(lab.exit, None, "the other one was started");
    lab.works(2);
    assert_eq!(lab.words(), ["interrupted", "interrupted", "changed"]);
    assert_eq!(lab.exit, Some(ExitCode::Failed));
}

#[test]
fn a_broken_journal_is_told_once_and_does_not_hide_ctrl_c() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.feed(Input::Cancel(CancelLevel::Drain));
    lab.feed(journal_failed(None)).feed(journal_failed(None));
    lab.works(0);
    let warnings = lab
        .events
        .iter()
        .filter(|e| matches!(e, Event::Warning { .. }));
    assert_eq!(warnings.count(), 1);
    assert_eq!(lab.exit, Some(ExitCode::Interrupted));
}

#[test]
fn what_is_told_twice_changes_nothing() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("b", "n").needs(&[0]),
        step("c", "m"),
    ]));
    let read = |lab: &Lab, name: &str| Input::Read {
        target: node(name),
        result: Ok(lab.answers(&node(name), &[fact("a"), fact("b"), fact("c")])),
        took_ms: 1,
    };
    lab.start();
    for target in ["n", "m"] {
        let again = read(&lab, target);
        lab.feed(again);
    }
    lab.lock()
        .feed(Input::Locked(Ok(Vec::new())))
        .feed(refused());
    assert_eq!(lab.applying(), [0, 2]);
    let again = read(&lab, "n");
    lab.feed(again);
    assert_eq!(lab.applying(), [0, 2], "n is busy with its job");
    lab.works(0);
    lab.feed(Input::Applied {
        pair: PairId(0),
        result: Err(trouble(GONE)),
    });
    assert_eq!(lab.applying(), [2, 1]);
    lab.works(1).works(2);
    assert_eq!(lab.words(), ["changed", "changed", "changed"]);
    assert_eq!(lab.exit, Some(ExitCode::Done));
}
