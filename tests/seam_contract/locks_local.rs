//! What only a real machine's lock can show: files that cannot be written, jobs that begin late, many takers.

use std::os::unix::fs::PermissionsExt as _;

use hmco_boot::model::action::Job;
use hmco_boot::model::id::RunId;
use hmco_boot::model::lock::LockAnswer;
use hmco_boot::transport::HostErrorKind;

use super::local::rig;
use super::locks::{claim, lock};
use super::rig::{job, within, write};

#[tokio::test]
async fn a_lock_that_cannot_be_kept_is_a_clear_error() {
    let rig = rig(|_| ());
    // A file where the folder should be keeps root out, too.
    rig.put("/run/hmco-boot", "no folder");
    let error = within(rig.host.lock(&claim("r1", "a"))).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::NotStarted);
    let failure = error.failure;
    assert!(
        failure
            .message
            .starts_with("the lock of this machine cannot be kept: "),
        "{}",
        failure.message
    );
    assert!(
        failure
            .hint
            .unwrap()
            .contains("see that /run/hmco-boot there can be written")
    );
    within(rig.host.unlock(&RunId::new("r1"))).await.unwrap();
}

#[tokio::test]
async fn a_job_that_begins_when_the_lock_is_lost_does_nothing() {
    let tools = tempfile::tempdir().unwrap();
    let own = tools.path().to_str().unwrap().to_owned();
    let rig = rig(|settings| settings.path = format!("{own}:{}", settings.path));
    lock(&rig, "r1", "a").await;
    // Between the first look at the lock and the job's beginning somebody else gets it.
    let root = rig.at("/");
    let thief = format!(
        "#!/bin/sh\nfor f in {root}/run/hmco-boot/lock.*; do :; done\nsed -i 's/^run .*/run thief/' \"$f\"\nPATH=/usr/bin:/bin exec setsid \"$@\"\n",
        root = root.display()
    );
    let setsid = tools.path().join("setsid");
    std::fs::write(&setsid, thief).unwrap();
    std::fs::set_permissions(&setsid, std::fs::Permissions::from_mode(0o755)).unwrap();
    let late = Job {
        fence: Some(RunId::new("r1")),
        ..job("r1-0-1", [write("/a", "x"), write("/b/c", "x")])
    };
    let error = rig.apply(&late).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Fenced, "{error:?}");
    assert!(
        error.failure.message.contains("lost to run thief"),
        "{}",
        error.failure.message
    );
    assert!(!rig.is_there("/a"));
    assert_eq!(rig.names("/"), ["run"], "no temporary files either");
}

#[tokio::test]
async fn old_states_of_the_lock_are_cleared_away() {
    let rig = rig(|_| ());
    lock(&rig, "r1", "a").await;
    for _ in 0..40 {
        assert_eq!(lock(&rig, "r1", "a").await, LockAnswer::Renewed);
    }
    let names = rig.names("/run/hmco-boot");
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with("lock."))
            .count(),
        32,
        "{names:?}"
    );
    assert!(names.contains(&"lock".to_owned()));
    assert!(
        !names.iter().any(|name| name.starts_with("lock-new")),
        "{names:?}"
    );
}
