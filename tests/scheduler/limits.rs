//! How many at once, in which order, and who is asked first.

use hmco_boot::engine::scheduler::{Command, Consent, Input, Options};
use hmco_boot::model::action::JobStatus;
use hmco_boot::model::artifact::Fetch;
use hmco_boot::model::event::Event;
use hmco_boot::model::outcome::{ExitCode, Outcome};
use hmco_boot::transport::HostErrorKind;
use petgraph::graph::NodeIndex;

use super::lab::*;

fn many(count: usize) -> Vec<Step> {
    (0..count).map(|at| step("a", &format!("n{at}"))).collect()
}

#[test]
fn no_more_executions_are_under_way_than_parallel_says() {
    for (parallel, at_once) in [(0, 1), (1, 1), (3, 3)] {
        let mut lab = Lab::with(
            plan(many(5)),
            Options {
                parallel,
                ..options()
            },
        );
        lab.feed(Input::Start);
        assert_eq!(lab.bench.len(), at_once);
        lab.reads().lock();
        let mut changed = 0;
        while let Some(first) = lab.applying().first().copied() {
            assert!(lab.bench.len() <= at_once);
            lab.works(first).reads();
            changed += 1;
        }
        assert_eq!((changed, lab.exit), (5, Some(ExitCode::Done)));
    }
}

/// So many that send much.
fn large(count: usize, uploads: usize) -> Lab {
    large_and(count, uploads, [])
}

/// The same, with more steps after them.
fn large_and(count: usize, uploads: usize, more: impl IntoIterator<Item = Step>) -> Lab {
    let steps = many(count).into_iter();
    let steps = steps.map(|step| step.wish(|wish| wish.bytes = 300 * 1024));
    Lab::with(
        plan(steps.chain(more).collect()),
        Options {
            uploads,
            ..options()
        },
    )
}

/// With its lock; all targets are being read.
fn locked(lab: &mut Lab) {
    lab.start();
    lab.take(|command| matches!(command, Command::Lock { .. }))
        .unwrap();
    lab.feed(Input::Locked(Ok(Vec::new())));
}

#[test]
fn the_first_large_payload_goes_alone_and_to_the_first_target() {
    let mut lab = large(5, 3);
    locked(&mut lab);
    // They answer in another order than the plan's.
    for name in ["n4", "n2"] {
        lab.read(name);
        assert!(lab.applying().is_empty(), "{name}");
    }
    lab.read("n0");
    assert_eq!(lab.applying(), [0]);
    for name in ["n1", "n3"] {
        lab.read(name);
        assert_eq!(lab.applying(), [0], "{name}");
    }
    lab.works(0);
    assert_eq!(lab.applying(), [1, 2, 3]);
    lab.works(2);
    assert_eq!(lab.applying(), [1, 3, 4]);
}

#[test]
fn what_follows_on_the_first_target_begins_before_the_others_are_sent_theirs() {
    let mut lab = large_and(3, 3, [step("b", "n0").needs(&[0])]);
    lab.start().lock();
    assert_eq!(lab.applying(), [0]);
    lab.works(0).reads();
    assert_eq!(lab.applying(), [3]);
    assert_eq!(lab.timer(), 0, "half a second");
    assert_eq!(lab.applying(), [3, 1, 2]);
}

#[test]
fn a_first_target_that_does_not_answer_keeps_no_upload_waiting() {
    let mut lab = large(3, 3);
    locked(&mut lab);
    for name in ["n2", "n1"] {
        lab.read(name);
        assert!(lab.applying().is_empty(), "{name}");
    }
    lab.read_fails("n0", HostErrorKind::Unreachable { transient: true });
    assert_eq!(lab.applying(), [1]);
}

#[test]
fn a_first_upload_that_takes_long_does_not_go_on_alone() {
    let mut lab = large(5, 3);
    lab.start().lock();
    assert_eq!(lab.applying(), [0]);
    assert_eq!(lab.timer(), 20);
    assert_eq!(lab.applying(), [0, 1, 2]);
}

#[test]
fn no_more_large_payloads_are_under_way_than_uploads_says() {
    for uploads in [0, 1, 2] {
        let mut lab = large(4, uploads);
        lab.start().lock();
        let mut order = Vec::new();
        while let Some(first) = lab.applying().first().copied() {
            assert!(lab.applying().len() <= uploads.max(1));
            lab.works(first);
            order.push(first);
        }
        assert_eq!(order, [0, 1, 2, 3]);
    }
}

#[test]
fn a_file_that_is_sent_counts_as_large_and_one_that_a_target_fetches_does_not() {
    for (fetch, at_once) in [(Fetch::Controller, 1), (Fetch::Node, 4)] {
        let placing = |step: Step| {
            step.wish(|wish| {
                wish.bytes = 60_000_000;
                wish.places = Some(fetch);
            })
        };
        let steps = many(4).into_iter().map(placing).collect();
        let mut lab = Lab::with(
            plan(steps),
            Options {
                uploads: 1,
                ..options()
            },
        );
        lab.start().lock().reads();
        assert_eq!(lab.applying().len(), at_once, "{fetch:?}");
    }
}

#[test]
fn a_lost_connection_keeps_its_place_among_the_executions_and_gives_it_back_once() {
    let mut lab = Lab::with(
        plan(many(3)),
        Options {
            parallel: 1,
            ..options()
        },
    );
    lab.start().lock();
    lab.apply_fails(0, hmco_boot::transport::HostErrorKind::Lost);
    assert!(lab.applying().is_empty(), "the job may still run");
    lab.set("n0", "a", "good");
    lab.attached(Ok(hmco_boot::model::action::JobStatus::Succeeded));
    while lab.exit.is_none() {
        lab.reads();
        if let Some(next) = lab.applying().first().copied() {
            assert_eq!(lab.bench.len(), 1, "one execution at once: {:?}", lab.bench);
            lab.works(next);
        }
    }
    assert_eq!(lab.exit, Some(ExitCode::Done));
}

#[test]
fn of_a_series_only_so_many_are_open_and_a_failure_stops_those_not_started() {
    let steps = (0..4)
        .map(|at| step("a", &format!("n{at}")).serial(2).retry(3, 1, 9))
        .collect();
    let mut lab = Lab::new(plan(steps));
    lab.start().lock();
    assert_eq!(lab.applying(), [0, 1]);
    lab.applied(1, BUSY).applied(0, BAD);
    assert!(
        lab.is_open(1),
        "it was started: it is not blocked, its next try comes"
    );
    lab.timer();
    lab.reads().works(1);
    assert_eq!(lab.words(), ["failed", "changed", "blocked", "blocked"]);
}

#[test]
fn the_next_of_a_series_begins_when_the_gate_of_the_one_before_holds() {
    let steps = vec![
        step("a", "n").serial(1).gate(60),
        step("a", "m").serial(1).gate(60),
    ];
    let mut lab = Lab::new(plan(steps));
    lab.set("m", "gate", "good").start().lock();
    lab.works(0).reads();
    assert!(lab.applying().is_empty() && lab.is_open(0));
    lab.set("n", "gate", "good").timer();
    lab.reads();
    assert_eq!(
        (lab.outcome(0), lab.applying()),
        (&Outcome::Changed, vec![1])
    );
}

#[test]
fn a_gate_that_held_right_after_the_apply_costs_no_further_execution() {
    let mut lab = Lab::new(plan(vec![step("a", "n").gate(60)]));
    lab.set("n", "gate", "good").start().lock();
    lab.works(0);
    assert_eq!(lab.words(), ["changed"]);
}

#[test]
fn a_gate_is_waited_for_no_longer_than_its_limit() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n").gate(3),
        step("b", "n").needs(&[0]),
    ]));
    lab.start().lock();
    lab.works(0);
    for _ in 0..3 {
        assert!(lab.is_open(0));
        assert_eq!(lab.timer(), 1);
        lab.reads();
    }
    assert_eq!(lab.words(), ["failed", "blocked"]);
}

#[test]
fn the_limit_of_a_gate_is_a_time_however_long_each_look_takes() {
    let mut lab = Lab::new(plan(vec![step("a", "n").gate(60)]));
    lab.start().lock();
    lab.works(0);
    let (delay, limit) = *lab.timers().last().unwrap();
    assert_eq!(delay, 60);
    lab.timer();
    // The minute passes while it is looked at for the first time.
    lab.fire(limit);
    assert!(lab.is_open(0), "that look still counts");
    lab.reads();
    assert_eq!(lab.words(), ["failed"]);
}

#[test]
fn tries_are_as_many_and_as_far_apart_as_the_policy_says() {
    let mut lab = Lab::new(plan(vec![step("a", "n").retry(5, 2, 7)]));
    lab.start().lock();
    let mut delays = Vec::new();
    loop {
        lab.applied(0, BUSY);
        if lab.exit.is_some() {
            break;
        }
        delays.push(lab.timer());
        lab.reads();
    }
    assert_eq!(delays, [2, 4, 7, 7]);
    assert_eq!(lab.words(), ["failed"]);
}

#[test]
fn a_barrier_passes_with_as_many_failures_as_it_tolerates() {
    for (tolerate, last) in [(0, "blocked"), (1, "changed")] {
        let mut plan = plan(vec![step("a", "n"), step("a", "m"), step("b", "o")]);
        let join = plan
            .graph
            .add_node(hmco_boot::plan::Vertex::Join { tolerate });
        for pair in [0, 1] {
            plan.graph.add_edge(plan.pairs[pair].vertex, join, ());
        }
        plan.graph.add_edge(join, plan.pairs[2].vertex, ());
        let mut lab = Lab::new(plan);
        lab.start().lock();
        lab.applied(0, BAD);
        assert!(
            lab.applying().iter().all(|pair| *pair == 1),
            "the barrier waits for all"
        );
        lab.works(1);
        if lab.exit.is_none() {
            lab.reads().works(2);
        }
        assert_eq!(lab.words(), ["failed", "changed", last]);
        assert_eq!(
            lab.exit,
            Some(ExitCode::Failed),
            "a tolerated failure is one"
        );
    }
}

#[test]
fn a_join_of_nothing_holds_nobody_up() {
    let mut plan = plan(vec![step("a", "n")]);
    let join = plan
        .graph
        .add_node(hmco_boot::plan::Vertex::Join { tolerate: 0 });
    plan.graph.add_edge(join, NodeIndex::new(0), ());
    let mut lab = Lab::new(plan);
    lab.set("n", "a", "good").start();
    assert_eq!(lab.words(), ["unchanged"]);
}

#[test]
fn what_was_applied_is_proven_before_the_next_apply_wherever_it_stands_in_the_plan() {
    let mut lab = Lab::new(plan(vec![
        step("first", "m"),
        step("a", "n").needs(&[0]),
        step("b", "n"),
    ]));
    lab.start().lock();
    assert_eq!(lab.applying(), [0, 2]);
    lab.works(0);
    lab.works(2);
    let at = |wanted: &dyn Fn(&Event) -> bool| lab.events.iter().position(wanted).unwrap();
    let proven = at(&|e| matches!(e, Event::StepFinished { pair, .. } if pair.0 == 2));
    let started = at(&|e| matches!(e, Event::StepStarted { pair, .. } if pair.0 == 1));
    assert!(proven < started);
}

#[test]
fn a_person_is_asked_once_before_the_first_disruptive_step_and_may_refuse() {
    for (answer, word) in [(true, "changed"), (false, "failed")] {
        let steps = vec![step("a", "n").disruptive(), step("a", "m").disruptive()];
        let consent = Consent::Ask;
        let mut lab = Lab::with(
            plan(steps),
            Options {
                consent,
                ..options()
            },
        );
        lab.start().lock();
        let asked = lab.take(|c| matches!(c, Command::Confirm { .. }));
        let Some(Command::Confirm { pairs }) = asked else {
            panic!("nobody was asked")
        };
        assert_eq!((pairs.len(), lab.bench.len()), (2, 0));
        lab.feed(Input::Confirmed(answer));
        // Said again, it changes nothing.
        lab.feed(Input::Confirmed(!answer));
        for pair in lab.applying() {
            lab.works(pair);
        }
        assert_eq!(lab.words(), [word, word]);
    }
}

#[test]
fn without_consent_a_disruptive_step_is_refused_and_others_go_on() {
    let mut lab = Lab::new(plan(vec![step("a", "n").disruptive(), step("b", "n")]));
    lab.start().lock();
    lab.works(1);
    assert_eq!(lab.words(), ["failed", "changed"]);
}

#[test]
fn a_dead_target_of_a_series_blocks_only_what_its_conditions_want_to_be_done() {
    // Whoever answers first: before the others have been read, and after.
    for dead_first in [true, false] {
        let rollout = |target| step("a", target).serial(1).when("facts.os == 'pi'");
        let mut lab = Lab::new(plan(vec![
            rollout("dead"),
            rollout("guest"),
            rollout("pi"),
            step("a", "left-out").serial(1).skipped(),
            step("a", "always").serial(1),
        ]));
        lab.set("guest", "os", "lxc").set("pi", "os", "pi");
        lab.feed(Input::Start);
        if dead_first {
            lab.read_fails("dead", GONE);
            lab.reads();
        } else {
            for target in ["guest", "pi", "always"] {
                lab.read(target);
            }
            lab.read_fails("dead", GONE);
        }
        assert_eq!(
            lab.words(),
            ["unreachable", "skipped", "blocked", "skipped", "blocked"]
        );
        assert_eq!(lab.text(1), "when: facts.os == 'pi'");
    }
}

#[test]
fn a_series_in_which_only_the_dead_target_was_to_be_changed_ends_with_3() {
    let rollout = |target| step("a", target).serial(1).when("facts.os == 'pi'");
    let mut lab = Lab::new(plan(vec![rollout("dead"), rollout("guest")]));
    lab.set("guest", "os", "lxc").feed(Input::Start);
    lab.read_fails("dead", GONE).reads();
    assert_eq!(lab.words(), ["unreachable", "skipped"]);
    assert_eq!(lab.exit, Some(ExitCode::Unreachable));
}

#[test]
fn a_stopped_target_of_a_series_waits_for_what_comes_before_it_and_lets_nobody_past() {
    // What its condition looks at may be made true by the step before it.
    let mut lab = Lab::new(plan(vec![
        step("b", "dead").serial(1),
        step("a", "n"),
        step("b", "n")
            .needs(&[1])
            .serial(1)
            .when("facts.os == 'pi'"),
        step("c", "n").needs(&[2]),
    ]));
    lab.set("n", "os", "lxc").feed(Input::Start);
    lab.read_fails("dead", GONE).reads();
    assert!(lab.is_open(2) && lab.is_open(3), "a is not done yet");
    lab.lock().works(1).reads();
    assert_eq!(lab.words()[..3], ["unreachable", "changed", "skipped"]);
    lab.works(3);
    assert_eq!(lab.exit, Some(ExitCode::Unreachable));
}

#[test]
fn what_is_left_out_is_not_said_to_be_blocked_and_lets_nobody_past_a_failure() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n"),
        step("b", "n").needs(&[0]).skipped(),
        step("c", "n").needs(&[1]),
    ]));
    lab.start().lock();
    lab.applied(0, BAD);
    assert_eq!(lab.words(), ["failed", "skipped", "blocked"]);
}

/// The limits of the jobs that are under way, in seconds.
fn job_limits(lab: &Lab) -> Vec<u64> {
    let limit = |command: &Command| match command {
        Command::Apply { job, .. } => Some(job.timeout.0.as_secs()),
        _ => None,
    };
    lab.bench.iter().filter_map(limit).collect()
}

#[test]
fn a_job_has_the_time_that_its_own_waits_may_take_where_no_timeout_says_otherwise() {
    let steps = vec![
        step("plain", "a"),
        step("short", "b").awaits(60),
        step("long", "c").awaits(1200),
        step("named", "d").awaits(1200).timeout(900),
    ];
    let mut lab = Lab::new(plan(steps));
    lab.start().lock();
    assert_eq!(job_limits(&lab), [600, 600, 1500, 900]);
    lab.applied(2, JobStatus::TimedOut)
        .applied(3, JobStatus::TimedOut);
    let failure = |pair| lab.outcome(pair).failure().unwrap();
    assert_eq!(
        failure(2).message,
        "it did not end within 25m and was ended"
    );
    assert_eq!(
        failure(3).message,
        "it did not end within 15m and was ended"
    );
    let hint = failure(3).hint.as_deref().unwrap();
    assert!(hint.contains("it may wait for 20m"), "{hint}");
    assert!(!failure(2).hint.as_deref().unwrap().contains("own keys"));
}
