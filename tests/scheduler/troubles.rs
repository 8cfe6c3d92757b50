//! Targets that do not answer, connections that break, jobs without a verdict.

use hmco_boot::engine::scheduler::Input;
use hmco_boot::model::action::JobStatus;
use hmco_boot::model::outcome::{ExitCode, Outcome};
use hmco_boot::transport::HostErrorKind;

use super::lab::*;

#[test]
fn all_steps_of_a_target_that_does_not_answer_are_unreachable_and_the_code_is_3() {
    let steps = vec![
        step("a", "n"),
        step("b", "n").needs(&[0]),
        step("c", "n").needs(&[1]),
    ];
    let mut lab = Lab::new(plan(steps));
    lab.feed(Input::Start).read_fails("n", GONE);
    assert_eq!(lab.words(), ["unreachable"; 3]);
    assert_eq!(lab.exit, Some(ExitCode::Unreachable));
}

#[test]
fn what_waits_elsewhere_for_an_unreachable_target_is_blocked_and_the_code_is_1() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "m").needs(&[0])]));
    lab.feed(Input::Start).read_fails("n", GONE).reads();
    assert_eq!(lab.words(), ["unreachable", "blocked"]);
    assert_eq!(lab.exit, Some(ExitCode::Failed));
}

#[test]
fn a_blip_is_tried_again_before_a_target_counts_as_unreachable() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.set("n", "a", "good")
        .feed(Input::Start)
        .read_fails("n", BLIP);
    assert!(lab.is_open(0));
    lab.timer();
    lab.reads();
    assert_eq!(lab.words(), ["unchanged"]);
}

#[test]
fn a_blip_before_an_apply_is_tried_again_too_and_not_for_ever() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.apply_fails(0, BLIP);
    assert!(lab.is_open(0));
    lab.timer();
    lab.reads();
    assert_eq!(lab.applying(), [0]);
    lab.apply_fails(0, BLIP);
    assert_eq!(lab.words(), ["unreachable"]);
}

#[test]
fn a_job_whose_connection_was_lost_is_attached_to_and_nothing_else_happens_there() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n")]));
    lab.start().lock();
    lab.apply_fails(0, HostErrorKind::Lost);
    assert_eq!(
        lab.bench.len(),
        1,
        "only the search for the job: {:?}",
        lab.bench
    );
    lab.set("n", "a", "good")
        .attached(Ok(JobStatus::Succeeded))
        .reads();
    assert_eq!(lab.outcome(0), &Outcome::Changed);
    lab.works(1);
    assert_eq!(lab.exit, Some(ExitCode::Done));
}

#[test]
fn a_target_that_stays_away_after_a_lost_connection_leaves_its_step_unknown() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "n")]));
    lab.start().lock();
    lab.apply_fails(0, HostErrorKind::Lost).attached(Err(BLIP));
    assert!(lab.is_open(0), "one more try");
    lab.timer();
    lab.attached(Err(BLIP));
    assert_eq!(lab.words(), ["unknown", "unreachable"]);
    assert_eq!(lab.exit, Some(ExitCode::Failed));
}

#[test]
fn a_leftover_job_that_cannot_be_attached_to_at_once_is_tried_again() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.jobs.insert(node("n"), Ok(vec!["before-1-1".into()]));
    lab.start().lock();
    lab.attached(Err(BLIP));
    lab.timer();
    lab.attached(Ok(JobStatus::Lost)).reads();
    lab.works(0);
    assert_eq!(lab.words(), ["changed"]);
}

#[test]
fn a_job_without_a_verdict_is_done_again_once_and_then_interrupted() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.applied(0, JobStatus::Lost).reads();
    assert_eq!(lab.applying(), [0], "it still differs: once more");
    lab.applied(0, JobStatus::Lost);
    assert_eq!(lab.words(), ["interrupted"]);
}

#[test]
fn a_job_without_a_verdict_that_did_its_work_counts_as_changed() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.set("n", "a", "good")
        .applied(0, JobStatus::Lost)
        .reads();
    assert_eq!(lab.words(), ["changed"]);
}

#[test]
fn a_job_without_a_verdict_on_a_target_that_is_gone_is_unknown_not_unreachable() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.apply_fails(0, HostErrorKind::Lost);
    lab.attached(Ok(JobStatus::Lost)).read_fails("n", GONE);
    assert_eq!(lab.words(), ["unknown"]);
}

#[test]
fn a_target_that_is_gone_before_the_proof_leaves_its_step_unknown() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.apply_fails(0, HostErrorKind::Lost);
    lab.attached(Ok(JobStatus::Succeeded)).read_fails("n", GONE);
    assert_eq!(lab.words(), ["unknown"]);
}

#[test]
fn a_target_that_is_gone_after_the_lock_ends_its_steps_and_no_others() {
    let mut lab = Lab::new(plan(vec![step("a", "n"), step("b", "m")]));
    lab.start();
    lab.bench.clear();
    lab.feed(Input::Locked(Ok(Vec::new())))
        .read_fails("n", GONE)
        .reads();
    lab.works(1);
    assert_eq!(lab.words(), ["unreachable", "changed"]);
    assert_eq!(lab.exit, Some(ExitCode::Unreachable));
}

#[test]
fn a_job_that_claims_success_and_did_nothing_fails() {
    let mut lab = Lab::new(plan(vec![
        step("a", "n").wish(|w| w.facts = vec![fact("b").into()]),
    ]));
    lab.start().lock();
    lab.works(0).reads();
    assert_eq!(lab.text(0), "applied, but still differs");
}

#[test]
fn a_prior_job_is_credited_only_with_a_success_and_only_where_nothing_else_can_tell() {
    for (status, applies) in [(JobStatus::Succeeded, 0), (BAD, 1), (JobStatus::Lost, 1)] {
        let always = step("a", "n").wish(|wish| wish.verifiable = false);
        let mut settings = options();
        settings
            .prior_jobs
            .insert("before-0-1".into(), hmco_boot::model::id::PairId(0));
        let mut lab = Lab::with(plan(vec![always]), settings);
        lab.jobs.insert(node("n"), Ok(vec!["before-0-1".into()]));
        lab.start().lock();
        lab.attached(Ok(status)).reads();
        assert_eq!(lab.applying().len(), applies);
        if applies > 0 {
            lab.works(0);
        }
        assert_eq!(lab.words(), ["changed"]);
    }
}

#[test]
fn a_failed_action_is_told_by_what_it_was_for_with_its_exit_status_as_evidence() {
    let mut lab = Lab::new(plan(vec![step("a", "n")]));
    lab.start().lock();
    lab.applied(0, BAD);
    assert_eq!(lab.text(0), "could not write /a");
    let failure = lab.outcome(0).failure().unwrap();
    assert_eq!(failure.evidence, ["it ended with exit status 1"]);
}
