//! The locks on targets: those that cannot be had, are gone, are lost.

use hmco_boot::engine::locks::{LockNews, NotLocked};
use hmco_boot::engine::scheduler::{Command, Input};
use hmco_boot::model::event::Event;
use hmco_boot::model::outcome::{ExitCode, Failure, Outcome};
use hmco_boot::transport::HostErrorKind;

use super::lab::*;

const FENCED: HostErrorKind = HostErrorKind::Fenced;

fn not_locked(target: &str, kind: HostErrorKind) -> NotLocked {
    NotLocked {
        target: node(target),
        error: trouble(kind),
    }
}

/// Answers the wish for a lock that is gone.
fn relocked(lab: &mut Lab, result: Result<(), HostErrorKind>) {
    let Some(Command::Relock { target }) = lab.take(|c| matches!(c, Command::Relock { .. })) else {
        panic!("no lock is taken again: {:?}", lab.bench)
    };
    let result = result.map_err(trouble);
    lab.feed(Input::Relocked { target, result });
}

#[test]
fn jobs_name_the_run_that_must_hold_the_lock() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    let fence = |command: &Command| match command {
        Command::Apply { job, .. } => job.fence.clone(),
        _ => None,
    };
    assert_eq!(lab.bench.iter().find_map(fence), Some("r".into()));
}

#[test]
fn a_target_that_does_not_answer_for_its_lock_is_given_up_and_the_others_go_on() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "m")]));
    lab.start();
    lab.take(|command| matches!(command, Command::Lock { .. }));
    lab.feed(Input::Locked(Ok(vec![not_locked("n", BLIP)])))
        .reads();
    lab.works(1);
    assert_eq!(lab.words(), ["unreachable", "changed"]);
    assert_eq!(lab.exit, Some(ExitCode::Unreachable));
    let locked = |event: &Event| match event {
        Event::Locked { targets } => Some(targets.clone()),
        _ => None,
    };
    assert_eq!(lab.events.iter().find_map(locked), Some(vec![node("m")]));
}

#[test]
fn a_target_that_cannot_keep_a_lock_is_not_changed_and_what_is_as_wished_there_counts() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("b", "n").needs(&[]),
        step("c", "m"),
    ]));
    lab.set("n", "b", "good").start();
    lab.take(|command| matches!(command, Command::Lock { .. }));
    lab.feed(Input::Locked(Ok(vec![not_locked(
        "n",
        HostErrorKind::NotStarted,
    )])))
    .reads();
    lab.works(2);
    assert_eq!(lab.words(), ["failed", "unchanged", "changed"]);
    assert_eq!(lab.text(0), "trouble");
}

#[test]
fn a_lock_that_is_gone_is_taken_again_and_everything_is_looked_at_again() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n").needs(&[0])]));
    lab.start().lock();
    lab.apply_fails(0, FENCED);
    assert!(
        lab.bench.iter().all(|c| !matches!(c, Command::Read { .. })),
        "not before it is held"
    );
    // Somebody else was faster, and did it.
    lab.set("n", "a", "good");
    relocked(&mut lab, Ok(()));
    assert!(lab.read("n").contains(&fact("a")));
    lab.works(1);
    assert_eq!(lab.words(), ["changed", "changed"]);
    assert_eq!(lab.exit, Some(ExitCode::Done));
}

#[test]
fn a_lock_that_is_gone_again_and_again_ends_the_step() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    for _ in 0..3 {
        lab.apply_fails(0, FENCED);
        relocked(&mut lab, Ok(()));
        lab.reads();
    }
    lab.apply_fails(0, FENCED);
    assert_eq!(lab.words(), ["failed"]);
}

#[test]
fn a_lock_that_somebody_else_has_stops_the_run_with_5_and_what_runs_ends() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("b", "m"),
        step("c", "m").needs(&[1]),
    ]));
    lab.start().lock();
    lab.apply_fails(0, FENCED);
    relocked(&mut lab, Err(FENCED));
    assert_eq!(lab.outcome(0).word(), "interrupted");
    assert!(lab.text(0).contains("trouble"), "{}", lab.text(0));
    lab.works(1).reads();
    assert_eq!(lab.words(), ["interrupted", "changed", "interrupted"]);
    assert_eq!(lab.exit, Some(ExitCode::Locked));
}

#[test]
fn a_target_that_does_not_answer_when_its_lock_is_gone_is_unreachable() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "m")]));
    lab.start().lock();
    lab.apply_fails(0, FENCED);
    relocked(&mut lab, Err(GONE));
    lab.works(1);
    assert_eq!(lab.words(), ["unreachable", "changed"]);
}

#[test]
fn news_of_a_lost_lock_starts_nothing_new() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n").needs(&[0])]));
    lab.start().lock();
    lab.feed(Input::LockNews(LockNews::Lost(Failure::new(
        "lost to anna",
    ))));
    assert_eq!(lab.exit, None, "what runs comes to its end");
    lab.works(0).reads();
    assert_eq!(lab.outcome(0), &Outcome::Changed);
    assert_eq!(lab.text(1), "not started: lost to anna");
    assert_eq!(lab.exit, Some(ExitCode::Locked));
}

#[test]
fn a_lock_that_was_gone_for_a_while_has_its_target_looked_at_again() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n").needs(&[0])]));
    lab.start().lock();
    lab.feed(Input::LockNews(LockNews::Again(node("n"))));
    // The job under way is not disturbed; what comes after it sees new facts.
    lab.set("n", "b", "good");
    lab.works(0).reads();
    assert_eq!(lab.words(), ["changed", "unchanged"]);
    assert_eq!(lab.exit, Some(ExitCode::Done));
}
