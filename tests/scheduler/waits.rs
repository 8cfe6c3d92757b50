//! Checks that wait for what they check.

use hmco_boot::engine::scheduler::{Input, Mode, Preview};
use hmco_boot::facts::fact::Fact;
use hmco_boot::model::event::{CancelLevel, Event};
use hmco_boot::model::id::{PairId, Target};
use hmco_boot::model::outcome::{ExitCode, Outcome};

use super::lab::*;

#[test]
fn a_check_that_holds_at_the_first_look_costs_nothing_more() {
    let mut lab = Lab::new(plan(vec![step("a", "n").waits(60)]));
    lab.set("n", "a", "good");
    lab.feed(Input::Start);
    lab.read("n");
    assert_eq!(lab.exit, Some(ExitCode::Done));
    assert_eq!(lab.outcome(0), &Outcome::Unchanged);
    assert!(lab.bench.is_empty());
}

#[test]
fn a_check_waits_until_it_holds_and_its_target_is_free_for_others_meanwhile() {
    let steps = vec![
        step("a", "n").waits(60),
        step("b", "n"),
        step("c", "n").needs(&[0]),
    ];
    let mut lab = Lab::new(plan(steps));
    lab.start().lock();
    assert_eq!(lab.applying(), [1], "it does not hold the target's slot");
    lab.works(1).reads();
    assert!(lab.is_open(0) && lab.is_open(2));
    assert_eq!(lab.timer(), 1);
    lab.reads();
    assert!(lab.is_open(0), "not yet");
    let waits = |event: &&Event| matches!(event, Event::GateWaiting { reason, .. } if reason == "a is not good");
    assert!(lab.events.iter().filter(waits).count() >= 2);
    lab.set("n", "a", "good");
    lab.timer();
    assert_eq!(
        lab.read("n"),
        [fact("a")].into(),
        "what it looks at, and no more"
    );
    assert_eq!(lab.outcome(0), &Outcome::Unchanged);
    lab.works(2);
    assert_eq!(lab.words(), ["unchanged", "changed", "changed"]);
}

#[test]
fn what_a_check_asks_for_in_a_later_round_is_read_anew_as_well() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n")
            .waits(60)
            .wish(|wish| wish.later = vec![fact("b").into()]),
    ]));
    lab.set("n", "a", "good").start();
    for _ in 0..2 {
        assert!(lab.is_open(0));
        lab.timer();
        assert_eq!(lab.read("n"), [fact("a")].into());
        assert_eq!(lab.read("n"), [fact("b")].into());
    }
    lab.set("n", "b", "good");
    lab.timer();
    lab.reads();
    lab.reads();
    assert_eq!(lab.outcome(0), &Outcome::Unchanged);
}

#[test]
fn a_check_that_never_holds_fails_with_its_last_difference_when_its_time_is_over() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n").waits(3),
        step("b", "n").needs(&[0]),
    ]));
    lab.start();
    for _ in 0..3 {
        assert!(lab.is_open(0));
        assert_eq!(lab.timer(), 1);
        lab.reads();
    }
    assert_eq!(lab.words(), ["failed", "blocked"]);
    let failure = lab.outcome(0).failure().unwrap();
    assert_eq!(failure.message, "a is not good");
    assert_eq!(failure.evidence, ["it was waited for 3s, looking every 1s"]);
    assert!(failure.hint.as_deref().unwrap().contains("`timeout`"));
    assert_eq!(lab.exit, Some(ExitCode::Failed));
}

#[test]
fn the_limit_is_a_time_however_long_each_look_takes() {
    let mut lab = Lab::new(plan(vec![step("a", "n").waits(60)]));
    lab.start();
    let (delay, limit) = *lab.timers().last().unwrap();
    assert_eq!(delay, 60);
    lab.timer();
    lab.fire(limit);
    assert!(lab.is_open(0), "the look under way still counts");
    lab.set("n", "a", "good").reads();
    assert_eq!(lab.outcome(0), &Outcome::Unchanged);
}

#[test]
fn what_was_read_before_something_was_applied_is_too_old_for_a_check_that_waits() {
    // The controller looks at what the step on the node changes; its answer from the beginning is no answer.
    let mut check = step("a", "m").needs(&[0]).waits(60);
    check = check.wish(|wish| wish.name = "served".to_owned());
    let mut lab = Lab::new(plan(vec![step("b", "n"), check]));
    lab.set("m", "a", "good").start().lock();
    lab.set("m", "a", "gone");
    lab.works(0).reads();
    assert!(lab.is_open(1), "it looked again");
    lab.set("m", "a", "good");
    lab.timer();
    lab.reads();
    assert_eq!(lab.words(), ["changed", "unchanged"]);
}

#[test]
fn a_look_that_was_under_way_when_the_check_began_to_wait_does_not_count() {
    let mut lab = Lab::new(plan(vec![
        step("b", "n"),
        step("a", "m").needs(&[0]).waits(60),
        step("c", "m"),
    ]));
    lab.set("m", "a", "good")
        .set("m", "c", "good")
        .start()
        .lock();
    // Something else reads the same fact when the job ends.
    lab.feed(Input::LockNews(hmco_boot::engine::locks::LockNews::Again(
        node("m"),
    )));
    lab.works(0);
    lab.set("m", "a", "gone");
    let first = lab.read("m");
    assert!(first.contains(&fact("a")));
    assert!(lab.is_open(1));
    let again = lab.read("m");
    assert!(again.contains(&fact("a")), "{again:?}");
}

#[test]
fn ctrl_c_ends_the_waiting() {
    let mut lab = Lab::new(plan(vec![step("a", "n").waits(600)]));
    lab.start();
    lab.feed(Input::Cancel(CancelLevel::Drain));
    assert_eq!(lab.exit, Some(ExitCode::Interrupted));
    assert!(
        lab.text(0).contains("it did not hold yet"),
        "{}",
        lab.text(0)
    );
}

#[test]
fn a_preview_looks_once() {
    let mut settings = options();
    settings.mode = Mode::Preview;
    let steps = vec![step("a", "n").waits(60), step("b", "n").waits(60)];
    let mut lab = Lab::with(plan(steps), settings);
    lab.set("n", "b", "good").start();
    assert_eq!(lab.exit, Some(ExitCode::Done));
    let later = "a run would wait for it, up to 1m: a is not good".to_owned();
    assert_eq!(
        lab.scheduler.preview(PairId(0)),
        Some(&Preview::Later(later))
    );
    assert_eq!(lab.scheduler.preview(PairId(1)), Some(&Preview::Unchanged));
    assert!(lab.bench.is_empty());
}

#[test]
fn what_the_controller_sees_is_looked_at_again_after_a_job_elsewhere() {
    // A fact that changes by itself.
    let look = |name: &str, need: usize| {
        let step = step(name, "x").needs(&[need]).check();
        let step = step.at(Target::Controller);
        step.wish(|wish| wish.facts = vec![Fact::Clock.into()])
    };
    let steps = vec![step("a", "n"), step("b", "m"), look("c", 0), look("d", 1)];
    let mut lab = Lab::new(plan(steps));
    lab.start().lock();
    lab.works(0);
    assert!(lab.read("controller").contains(&Fact::Clock));
    lab.works(1);
    assert!(
        lab.read("controller").contains(&Fact::Clock),
        "what was seen while the job ran is old"
    );
}
