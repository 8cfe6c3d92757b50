//! What the machine in memory offers beyond the seam: faults, crashes, restarts.

use hmco_boot::facts::fact::{Fact, FactValue, RunState};
use hmco_boot::model::action::JobStatus;
use hmco_boot::model::id::JobId;
use hmco_boot::transport::fake::{FakeHost, Fault};
use hmco_boot::transport::{Host as _, HostErrorKind};

use super::locks::claim;
use super::rig::{abs, job, write};

fn content(fake: &FakeHost, path: &str) -> Option<Vec<u8>> {
    fake.with_tree(|tree| tree.content(&abs(path)).map(<[u8]>::to_vec))
}

async fn run_state(fake: &FakeHost) -> RunState {
    let answers = fake.read(&[Fact::RunState]).await.unwrap();
    match &answers[0].1 {
        Ok(FactValue::RunState(state)) => state.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_fault_leaves_what_it_says() {
    use Fault::*;
    let cases = [
        (
            LostBefore,
            HostErrorKind::Lost,
            None,
            JobStatus::Lost,
            false,
        ),
        (
            LostDuring,
            HostErrorKind::Lost,
            Some(true),
            JobStatus::Succeeded,
            true,
        ),
        (
            LostAfter,
            HostErrorKind::Lost,
            Some(false),
            JobStatus::Succeeded,
            true,
        ),
        (
            NotStarted,
            HostErrorKind::NotStarted,
            None,
            JobStatus::Lost,
            false,
        ),
        (Busy, HostErrorKind::Busy, None, JobStatus::Lost, false),
    ];
    for (fault, kind, left, status, written) in cases {
        let fake = FakeHost::new();
        fake.fail_next([fault]);
        let error = fake
            .apply(&job("j", [write("/x", "x")]), &[], &|_| ())
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{fault:?}");
        let jobs = run_state(&fake).await.jobs;
        assert_eq!(jobs.first().map(|job| job.running), left, "{fault:?}");
        let end = fake.attach(&JobId::new("j"), false, &|_| ()).await.unwrap();
        assert_eq!(end.status, status, "{fault:?}");
        assert_eq!(content(&fake, "/x").is_some(), written, "{fault:?}");
        assert!(run_state(&fake).await.jobs.is_empty());
    }
}

#[tokio::test]
async fn a_machine_that_is_gone_comes_back_when_told() {
    let fake = FakeHost::new();
    fake.fail_always(Fault::Unreachable { transient: true });
    for _ in 0..3 {
        let error = fake.read(&[Fact::Os]).await.unwrap_err();
        assert_eq!(error.kind, HostErrorKind::Unreachable { transient: true });
    }
    fake.recover();
    fake.fail_next([Fault::Unreachable { transient: true }; 2]);
    assert!(fake.read(&[Fact::Os]).await.is_err());
    assert!(fake.read(&[Fact::Os]).await.is_err());
    assert!(fake.read(&[Fact::Os]).await.is_ok());
    assert_eq!(fake.calls().reads, 6);
}

#[tokio::test]
async fn a_restart_ends_what_ran_and_changes_the_boot_id() {
    let fake = FakeHost::new();
    let before = run_state(&fake).await;
    fake.fail_next([Fault::LostDuring]);
    fake.lock(&claim("r", "a")).await.unwrap();
    assert!(run_state(&fake).await.lock.is_some());
    fake.apply(&job("j", [write("/x", "x")]), &[], &|_| ())
        .await
        .unwrap_err();
    fake.reboot();
    let after = run_state(&fake).await;
    assert_ne!(before.boot_id, after.boot_id);
    assert!(after.jobs.is_empty() && after.lock.is_none());
    let end = fake.attach(&JobId::new("j"), false, &|_| ()).await.unwrap();
    assert_eq!(end.status, JobStatus::Lost);
    assert_eq!(content(&fake, "/x"), None);
    assert!(fake.applied().is_empty());
}

#[tokio::test]
async fn a_clone_is_the_same_machine_and_a_job_left_alone_ends_once() {
    let fake = FakeHost::new();
    let again = fake.clone();
    fake.fail_next([Fault::LostDuring]);
    fake.apply(&job("j", [write("/x", "x")]), &[], &|_| ())
        .await
        .unwrap_err();
    again.settle();
    again.settle();
    assert_eq!(content(&fake, "/x").unwrap(), b"x");
    assert_eq!(fake.applied(), [JobId::new("j")]);
    let end = again
        .attach(&JobId::new("j"), false, &|_| ())
        .await
        .unwrap();
    assert_eq!(end.status, JobStatus::Succeeded);
    assert_eq!(fake.applied().len(), 1);
}
