//! Cases of the `Host` seam about the machine's lock, and about jobs that are fenced by it.

use std::time::Duration;

use hmco_boot::facts::fact::{Fact, FactValue};
use hmco_boot::model::action::{Job, JobStatus};
use hmco_boot::model::id::{JobId, RunId};
use hmco_boot::model::lock::{LockAnswer, LockClaim};
use hmco_boot::model::units::TimeSpan;
use hmco_boot::transport::HostErrorKind;

use super::rig::{Rig, held, job, within, write};

pub fn claim(run: &str, owner: &str) -> LockClaim {
    LockClaim {
        run: RunId::new(run),
        holder: format!("{run} of anna on desk, \"it's\" `hmco-boot run os`"),
        owner: owner.to_owned(),
        lease: TimeSpan(Duration::from_secs(120)),
    }
}

pub async fn lock(rig: &Rig, run: &str, owner: &str) -> LockAnswer {
    within(rig.host.lock(&claim(run, owner))).await.unwrap()
}

async fn unlock(rig: &Rig, run: &str) {
    within(rig.host.unlock(&RunId::new(run))).await.unwrap();
}

fn fenced(id: &str, run: &str, path: &str) -> Job {
    Job {
        fence: Some(RunId::new(run)),
        ..job(id, [write(path, "x")])
    }
}

fn is_held_by(answer: &LockAnswer, by: &str) -> bool {
    matches!(answer, LockAnswer::Held { run, .. } if run.as_str() == by)
}

async fn told(rig: &Rig) -> Option<String> {
    let answers = within(rig.host.read(&[Fact::RunState])).await.unwrap();
    match &answers[0].1 {
        Ok(FactValue::RunState(state)) => state.lock.clone(),
        other => panic!("{other:?}"),
    }
}

pub async fn a_lock_is_taken_renewed_and_given_back(rig: &Rig) {
    unlock(rig, "r1").await;
    assert_eq!(lock(rig, "r1", "a").await, LockAnswer::Taken);
    assert_eq!(lock(rig, "r1", "a").await, LockAnswer::Renewed);
    unlock(rig, "r2").await;
    assert!(is_held_by(&lock(rig, "r2", "b").await, "r1"), "not r2's");
    let text = told(rig).await.unwrap();
    assert!(
        text.contains("run r1\n") && text.contains("of anna on desk"),
        "{text}"
    );
    unlock(rig, "r1").await;
    unlock(rig, "r1").await;
    assert_eq!(told(rig).await, None);
    assert_eq!(lock(rig, "r2", "b").await, LockAnswer::Taken);
    assert!(is_held_by(&lock(rig, "r1", "a").await, "r2"));
}

pub async fn a_live_holder_is_named_with_the_seconds_that_are_left(rig: &Rig) {
    lock(rig, "r1", "a").await;
    let LockAnswer::Held {
        run,
        holder,
        seconds_left,
    } = lock(rig, "r2", "b").await
    else {
        panic!("it is held");
    };
    assert_eq!(run.as_str(), "r1");
    assert_eq!(holder, claim("r1", "a").holder);
    assert!((100..=120).contains(&seconds_left), "{seconds_left}");
}

pub async fn a_lock_of_another_boot_is_dead(rig: &Rig) {
    lock(rig, "r1", "a").await;
    rig.pretend_reboot();
    assert_eq!(lock(rig, "r2", "b").await, LockAnswer::Taken);
}

pub async fn a_lock_that_was_not_renewed_in_time_is_dead_unless_it_is_renewed_after_all(rig: &Rig) {
    lock(rig, "r1", "a").await;
    rig.pretend_time();
    assert_eq!(
        lock(rig, "r1", "a").await,
        LockAnswer::Renewed,
        "nobody came for it"
    );
    rig.pretend_time();
    assert_eq!(lock(rig, "r2", "b").await, LockAnswer::Taken);
    assert!(is_held_by(&lock(rig, "r1", "a").await, "r2"));
}

pub async fn a_run_of_the_same_state_folder_takes_over_at_once(rig: &Rig) {
    lock(rig, "r1", "a").await;
    assert_eq!(lock(rig, "r2", "a").await, LockAnswer::Taken);
    assert!(is_held_by(&lock(rig, "r3", "b").await, "r2"));
}

pub async fn a_run_whose_job_still_works_is_not_robbed(rig: &Rig) {
    lock(rig, "r1", "a").await;
    rig.hold();
    rig.abandon("r1-0-1").await;
    rig.pretend_time();
    let LockAnswer::Working { run, job, .. } = lock(rig, "r2", "b").await else {
        panic!("its job works");
    };
    assert_eq!((run.as_str(), job.as_str()), ("r1", "r1-0-1"));
    assert_eq!(lock(rig, "r3", "a").await, LockAnswer::Taken, "its own may");
    assert!(is_held_by(&lock(rig, "r2", "b").await, "r3"));
    rig.unhold();
    within(rig.host.attach(&JobId::new("r1-0-1"), true, &|_| ()))
        .await
        .unwrap();
}

pub async fn of_several_at_once_one_gets_the_lock(rig: &Rig) {
    for round in 0..4 {
        let claims: Vec<_> = (0..6)
            .map(|n| claim(&format!("r{round}{n}"), &n.to_string()))
            .collect();
        let (a, b, c, d, e, f) = tokio::join!(
            rig.host.lock(&claims[0]),
            rig.host.lock(&claims[1]),
            rig.host.lock(&claims[2]),
            rig.host.lock(&claims[3]),
            rig.host.lock(&claims[4]),
            rig.host.lock(&claims[5]),
        );
        let answers: Vec<_> = [a, b, c, d, e, f].into_iter().map(Result::unwrap).collect();
        let winners: Vec<usize> = (0..6)
            .filter(|n| answers[*n] == LockAnswer::Taken)
            .collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        let winner = claims[winners[0]].run.as_str();
        let named = answers
            .iter()
            .filter(|answer| is_held_by(answer, winner))
            .count();
        assert_eq!(named, 5, "{answers:?}");
        match round {
            // The next ones fight for a dead lock, then for a free one.
            0 | 2 => rig.pretend_time(),
            _ => unlock(rig, winner).await,
        }
    }
}

pub async fn a_fenced_job_does_nothing_unless_its_run_holds_the_lock(rig: &Rig) {
    let gone = rig.apply(&fenced("r1-0-1", "r1", "/a")).await.unwrap_err();
    assert_eq!(gone.kind, HostErrorKind::Fenced);
    assert!(
        gone.failure.message.contains("is gone"),
        "{}",
        gone.failure.message
    );
    lock(rig, "r2", "b").await;
    let lost = rig.apply(&fenced("r1-0-2", "r1", "/a")).await.unwrap_err();
    assert_eq!(lost.kind, HostErrorKind::Fenced);
    assert!(
        lost.failure
            .message
            .contains("lost to run r2 (r2 of anna on desk"),
        "{}",
        lost.failure.message
    );
    assert!(!rig.is_there("/a"));
    unlock(rig, "r2").await;
    lock(rig, "r1", "a").await;
    // What was refused left nothing behind, and a lease that passed is made good by working.
    rig.pretend_time();
    let done = rig.apply(&fenced("r1-0-3", "r1", "/a")).await.unwrap();
    assert_eq!(done.end.status, JobStatus::Succeeded);
    assert!(rig.is_there("/a"));
    assert!(
        is_held_by(&lock(rig, "r2", "b").await, "r1"),
        "it lasts longer now"
    );
}

pub async fn a_lock_is_no_job_and_a_job_no_lock(rig: &Rig) {
    rig.hold();
    rig.abandon("r1-0-1").await;
    assert_eq!(
        lock(rig, "r2", "b").await,
        LockAnswer::Taken,
        "nobody holds it"
    );
    rig.release();
    let again = held("r1-0-1");
    let busy = rig.apply(&again).await.unwrap_err();
    assert_eq!(busy.kind, HostErrorKind::Busy);
    within(rig.host.attach(&JobId::new("r1-0-1"), false, &|_| ()))
        .await
        .unwrap();
}
