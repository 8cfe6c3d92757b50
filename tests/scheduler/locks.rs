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

/// How often a target was read.
fn reads_of(lab: &Lab, name: &str) -> usize {
    let of = |event: &&Event| matches!(event, Event::FactsRequested { target, .. } if *target == node(name));
    lab.events.iter().filter(of).count()
}

#[test]
fn what_was_as_wished_before_the_lock_and_is_not_under_it_is_brought_about_in_its_order() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("b", "n").needs(&[0]),
        step("c", "m").needs(&[0]),
    ]));
    lab.set("n", "a", "good").start();
    // Whoever had the lock until then undid it.
    lab.set("n", "a", "bad");
    lab.lock();
    assert_eq!(lab.applying(), [0], "b and c wait for it again");
    lab.works(0).reads().works(1).works(2);
    assert_eq!(lab.words(), ["changed", "changed", "changed"]);
    assert_eq!(lab.exit, Some(ExitCode::Done));
    let ends = lab.events.iter();
    let ends = ends.filter(|e| matches!(e, Event::StepFinished { .. }));
    assert_eq!(ends.count(), 3, "each end is told once");
    assert_eq!(
        reads_of(&lab, "n"),
        2,
        "once before the lock, once under it"
    );
}

#[test]
fn what_is_still_as_wished_under_the_lock_ends_as_it_would_have() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("x", "n").needs(&[0]).when("facts.os == 'pi'"),
        step("b", "n").needs(&[1]),
    ]));
    lab.set("n", "a", "good").set("n", "os", "lxc").start();
    assert!(
        lab.events
            .iter()
            .all(|event| !matches!(event, Event::StepFinished { .. })),
        "nothing is said to have ended that is looked at again"
    );
    lab.lock().works(2);
    assert_eq!(lab.words(), ["unchanged", "skipped", "changed"]);
    assert_eq!(reads_of(&lab, "n"), 2);
}

#[test]
fn a_target_on_which_nothing_is_to_be_changed_is_read_once_and_done() {
    let mut lab = Lab::new(plan(vec![
        step("a", "done"),
        step("a", "n"),
        step("b", "done").needs(&[0]),
    ]));
    lab.set("done", "a", "good")
        .set("done", "b", "good")
        .start();
    let told = |event: &&Event| matches!(event, Event::StepFinished { .. });
    assert_eq!(lab.events.iter().filter(told).count(), 2, "before any lock");
    lab.lock().works(1);
    assert_eq!(lab.words(), ["unchanged", "changed", "unchanged"]);
    assert_eq!((reads_of(&lab, "done"), reads_of(&lab, "n")), (1, 2));
}

#[test]
fn a_condition_is_looked_at_again_under_the_lock() {
    for (before, under, word) in [("pi", "lxc", "skipped"), ("lxc", "pi", "changed")] {
        let mut lab = Lab::new(plan(vec![
            step("a", "n").when("facts.os == 'pi'"),
            step("b", "n").needs(&[0]),
        ]));
        lab.set("n", "os", before).start();
        lab.set("n", "os", under);
        lab.lock();
        if word == "changed" {
            lab.works(0);
        }
        lab.works(1);
        assert_eq!(lab.words(), [word, "changed"], "{before} -> {under}");
    }
}

#[test]
fn a_refused_lock_leaves_what_was_found_before_it_as_it_was() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n").needs(&[0])]));
    lab.set("n", "a", "good").start();
    lab.take(|command| matches!(command, Command::Lock { .. }));
    lab.feed(Input::Locked(Err(Failure::new("run x holds it"))));
    assert_eq!(lab.words(), ["unchanged", "interrupted"]);
    assert_eq!(lab.exit, Some(ExitCode::Locked));
}

#[test]
fn what_ended_elsewhere_does_not_let_others_past_what_is_open_again() {
    // c waits for b alone, which waits for a.
    let steps = || {
        vec![
            step("a", "n"),
            step("b", "m").needs(&[0]),
            step("c", "o").needs(&[1]),
            step("d", "n").needs(&[0]),
        ]
    };
    for fails in [false, true] {
        let mut lab = Lab::new(plan(steps()));
        lab.set("n", "a", "good").set("m", "b", "good").start();
        lab.set("n", "a", "bad");
        lab.lock();
        assert_eq!(lab.applying(), [0], "c too waits for a");
        if fails {
            lab.applied(0, BAD);
            assert_eq!(lab.words(), ["failed", "unchanged", "blocked", "blocked"]);
        } else {
            lab.works(0).reads().works(2).works(3);
            assert_eq!(lab.words(), ["changed", "unchanged", "changed", "changed"]);
        }
    }
}

#[test]
fn a_gate_that_was_being_awaited_waits_for_what_is_open_again_and_has_its_whole_time() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("b", "m").needs(&[0]).gate(60),
        step("c", "m").needs(&[1]),
        step("d", "n"),
    ]));
    lab.set("n", "a", "good").set("m", "b", "good").start();
    assert_eq!(lab.timers().len(), 2, "the gate is looked at");
    let limit = lab.timers()[1].1;
    lab.set("n", "a", "bad").set("m", "gate", "good");
    lab.lock();
    lab.fire(limit);
    assert!(lab.is_open(1));
    lab.works(0).reads().works(3).works(2);
    assert_eq!(lab.words(), ["changed", "unchanged", "changed", "changed"]);
}
