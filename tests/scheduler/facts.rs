//! Reading: what is asked, when, and what an answer that does not come means.

use hmco_boot::engine::scheduler::{Command, Input, Mode, Options};
use hmco_boot::facts::fact::{Fact, FactError};
use hmco_boot::facts::known::FactRef;
use hmco_boot::model::event::Event;
use hmco_boot::model::outcome::{ExitCode, Outcome};

use super::lab::*;

fn of(target: &str, name: &str) -> FactRef {
    FactRef {
        target: Some(node(target)),
        fact: fact(name),
    }
}

#[test]
fn a_converged_target_is_read_once_and_nothing_is_locked() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n").needs(&[0])]));
    lab.set("n", "a", "good").set("n", "b", "good").start();
    assert_eq!(lab.words(), ["unchanged", "unchanged"]);
    assert_eq!(lab.exit, Some(ExitCode::Done));
    let reads = lab.events.iter();
    let reads = reads
        .filter(|e| matches!(e, Event::FactsRequested { .. }))
        .count();
    assert_eq!((reads, lab.bench.len()), (1, 0));
}

#[test]
fn a_kind_warns_once_for_a_pair_that_is_as_wished_be_it_found_so_or_made_so() {
    let warns = |step: Step| step.wish(|wish| wish.warns = true);
    let mut lab = Lab::new(plan(vec![
        warns(step("a", "n")),
        warns(step("b", "n")).needs(&[0]),
    ]));
    lab.set("n", "a", "good").set("n", "b", "bad").start();
    lab.lock();
    lab.set("n", "b", "good").works(1);
    let warnings: Vec<&str> = lab
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Warning { failure } => Some(failure.message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(lab.words(), ["unchanged", "changed"]);
    assert_eq!(warnings, ["a@n: good, but old", "b@n: good, but old"]);
}

#[test]
fn waiting_for_a_turn_alone_does_not_ask_for_a_lock() {
    let rollout = |gate: bool| {
        let first = step("a", "n").serial(1);
        let first = if gate { first.gate(60) } else { first };
        vec![first, step("a", "m").serial(1)]
    };
    let mut lab = Lab::new(plan(rollout(true)));
    lab.set("n", "a", "good").set("m", "a", "good").start();
    assert!(
        !lab.wants_lock(),
        "the gate of n does not hold, nothing differs"
    );
    lab.set("n", "gate", "good").timer();
    lab.reads();
    assert_eq!(lab.exit, Some(ExitCode::Done));
}

#[test]
fn a_preview_never_asks_for_a_lock_also_while_a_pair_waits_for_its_turn() {
    let preview = Options {
        mode: Mode::Preview,
        ..options()
    };
    // The first of the series waits for a fact of another target; the second has to wait for its turn.
    let steps = vec![
        step("x", "n").wish(|wish| wish.facts.push(of("o", "y"))),
        step("a", "n").needs(&[0]).serial(1),
        step("a", "m").serial(1),
    ];
    let mut lab = Lab::with(plan(steps), preview);
    lab.feed(Input::Start);
    lab.read("n");
    lab.read("m");
    assert!(!lab.wants_lock());
    lab.reads();
    let changing = |c: &Command| {
        matches!(
            c,
            Command::Lock { .. }
                | Command::Apply { .. }
                | Command::Attach { .. }
                | Command::Confirm { .. }
        )
    };
    assert!(!lab.bench.iter().any(changing));
    assert_eq!(lab.exit, Some(ExitCode::Done));
}

#[test]
fn a_step_that_waits_for_others_does_not_use_up_its_rounds() {
    let mut steps = vec![step("a", "n").wish(|wish| wish.facts.push(of("slow", "x")))];
    // Others come one by one to read its target meanwhile.
    let others = ["b", "c", "d", "e", "f"];
    for other in others {
        let asks = |wish: &mut Good| wish.facts = vec![fact(other).into(), of("n", other)];
        steps.push(step(other, other).wish(asks));
    }
    let mut lab = Lab::new(plan(steps));
    lab.set("n", "a", "good").set("slow", "x", "good");
    for other in others {
        lab.set("n", other, "good").set(other, other, "good");
    }
    lab.feed(Input::Start);
    lab.read("n");
    for other in others {
        lab.read(other);
        lab.read("n");
    }
    lab.read("slow");
    assert_eq!(lab.outcome(0), &Outcome::Unchanged);
    lab.reads();
    assert_eq!(lab.exit, Some(ExitCode::Done));
}

#[test]
fn what_was_asked_of_another_target_is_asked_again_when_the_lock_makes_its_answer_stale() {
    let steps = vec![
        step("a", "n").wish(|wish| wish.facts.push(of("other", "x"))),
        step("b", "n")
            .wish(|wish| wish.facts.push(of("other", "y")))
            .needs(&[0]),
        step("c", "m"),
    ];
    let mut lab = Lab::new(plan(steps));
    lab.set("n", "a", "good").set("n", "b", "good");
    lab.set("other", "x", "good").set("other", "y", "good");
    lab.feed(Input::Start);
    lab.read("n");
    lab.read("m");
    lab.read("other");
    // `b` asks the other target, and the lock comes before the answer.
    lab.lock();
    while lab.exit.is_none() {
        lab.reads();
        lab.works(2);
    }
    assert_eq!(lab.words(), ["unchanged", "unchanged", "changed"]);
}

#[test]
fn facts_of_a_target_that_does_not_answer_are_an_error_and_not_a_wait() {
    let asks = |wish: &mut Good| wish.facts.push(of("dead", "x"));
    let mut lab = Lab::new(plan(vec![step("a", "n").wish(asks)]));
    lab.set("n", "a", "good").feed(Input::Start);
    lab.read("n");
    lab.read_fails("dead", GONE);
    assert_eq!(lab.outcome(0).word(), "failed", "not unchanged");
    assert_eq!(lab.text(0), "could not read sha256 of /x on dead");
    assert_eq!(lab.exit, Some(ExitCode::Failed));
}

#[test]
fn a_fact_that_cannot_be_read_fails_its_step_only() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n")]));
    lab.set("n", "b", "good");
    lab.world
        .insert((node("n"), "a".to_owned()), Err(FactError::Denied));
    lab.start();
    assert_eq!(lab.words(), ["failed", "unchanged"]);
}

#[test]
fn a_question_without_an_answer_is_an_error_and_not_asked_for_ever() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.feed(Input::Start);
    lab.bench.clear();
    lab.feed(Input::Read {
        target: node("n"),
        result: Ok(Vec::new()),
        took_ms: 1,
    });
    assert_eq!(lab.words(), ["failed"]);
}

#[test]
fn slow_facts_are_read_only_when_their_step_has_its_turn() {
    let cli = Fact::K3sCli {
        args: vec!["etcd-snapshot".to_owned()],
        timeout: seconds(9),
    };
    let ask = cli.clone();
    let steps = vec![
        step("a", "n").serial(1),
        step("a", "m")
            .serial(1)
            .wish(move |wish| wish.facts.push(ask.into())),
    ];
    let mut lab = Lab::new(plan(steps));
    lab.set("n", "a", "good")
        .set("m", "a", "good")
        .feed(Input::Start);
    assert!(!lab.read("m").contains(&cli));
    lab.read("n");
    assert!(lab.read("m").contains(&cli), "now it is needed");
}

#[test]
fn what_was_seen_of_others_before_the_jobs_of_a_rollout_is_looked_at_again() {
    let sees = |target: &str| {
        let other = of("o", "up");
        step("a", target)
            .serial(1)
            .wish(|wish| wish.facts.insert(0, other))
    };
    let mut lab = Lab::new(plan(vec![sees("n"), sees("m"), sees("l"), sees("k")]));
    lab.set("k", "a", "good").set("o", "up", "good").start();
    lab.lock();
    assert_eq!(lab.applying(), [0], "nothing has happened since");
    lab.works(0);
    assert_eq!(lab.applying(), [0; 0]);
    assert!(lab.read("o").contains(&fact("up")));
    assert_eq!(lab.applying(), [1]);
    // What is seen then is what counts; here, that nobody knows.
    let answer = Err(FactError::TimedOut);
    lab.world.insert((node("o"), "up".to_owned()), answer);
    lab.works(1).reads();
    assert_eq!(lab.words(), ["changed", "changed", "failed", "blocked"]);
}

#[test]
fn a_rollout_does_not_wait_again_for_those_who_did_not_answer() {
    let sees = |target: &str| {
        let asks = |wish: &mut Good| wish.facts = vec![fact("a").into(), of("o", "up")];
        step("a", target).serial(1).wish(asks)
    };
    let mut lab = Lab::new(plan(vec![step("a", "n").serial(1), sees("m")]));
    let answer = Err(FactError::NotFound);
    lab.world.insert((node("o"), "up".to_owned()), answer);
    lab.start().lock();
    lab.works(0);
    lab.read("o");
    assert_eq!(lab.applying(), [1]);
}

#[test]
fn leftover_jobs_on_a_target_that_is_only_checked_are_left_alone() {
    let mut lab = Lab::new(plan(vec![step("a", "n").check()]));
    lab.jobs.insert(node("n"), Ok(vec!["somebody-1-1".into()]));
    lab.set("n", "a", "good").start();
    assert_eq!(lab.words(), ["unchanged"]);
    assert_eq!((lab.exit, lab.bench.len()), (Some(ExitCode::Done), 0));
}

#[test]
fn a_leftover_job_is_awaited_under_the_lock_before_anything_else_and_once() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    // It stays on the list whatever happens.
    lab.jobs.insert(node("n"), Ok(vec!["before-1-1".into()]));
    lab.start();
    assert!(lab.applying().is_empty());
    lab.lock();
    assert!(lab.applying().is_empty(), "first the job");
    lab.attached(Ok(hmco_boot::model::action::JobStatus::Succeeded))
        .reads();
    lab.works(0);
    assert_eq!(lab.words(), ["changed"]);
}

#[test]
fn unreadable_leftovers_are_no_leave_to_apply() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n")]));
    lab.set("n", "b", "good");
    lab.jobs.insert(node("n"), Err(FactError::TimedOut));
    lab.start().lock();
    assert_eq!(lab.words(), ["failed", "unchanged"]);
    assert!(lab.text(0).contains("earlier run"), "{}", lab.text(0));
}
