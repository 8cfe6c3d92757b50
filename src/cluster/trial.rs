//! A trial: objects that are made to see whether they come to be what is awaited, and that are taken away again.

use std::time::Duration;

use tokio::time::timeout;

use super::act::{Trouble, apply, delete};
use super::host::ClusterHost;
use super::wait::wait;
use crate::model::kube::ready::Expected;
use crate::model::kube::{Awaited, KubeObject, OldObject};
use crate::transport::OutputSink;

/// How long what a failed trial left may take to be gone.
const LEFT: Duration = Duration::from_secs(30);

/// Deletes these and waits until they are gone.
pub(super) async fn gone(
    host: &ClusterHost,
    objects: &[OldObject],
    limit: Duration,
    output: OutputSink<'_>,
) -> Result<(), Trouble> {
    let going = delete(host, objects, output).await?;
    let absent = |OldObject { key, uid }| Awaited {
        key,
        what: uid.map_or(Expected::Absent, |uid| Expected::Gone { uid }),
    };
    let absent: Vec<Awaited> = going.into_iter().map(absent).collect();
    wait(host, &absent, limit, output).await
}

/// Nothing of it is left behind; where that cannot be, it is said after what failed first.
pub(super) async fn trial(
    host: &ClusterHost,
    objects: &[KubeObject],
    awaited: &[Awaited],
    limit: Duration,
    output: OutputSink<'_>,
) -> Result<(), Trouble> {
    let mut tried = apply(host, objects, false, output).await;
    if tried.is_ok() {
        tried = wait(host, awaited, limit, output).await;
    }
    // What uses another object comes after it, and goes before it.
    let made = objects.iter().rev();
    let made: Vec<OldObject> = made
        .map(|object| OldObject::named(object.key.clone()))
        .collect();
    let Err(mut failed) = tried else {
        return gone(host, &made, limit, output).await;
    };
    let limit = limit.min(LEFT);
    let removed = match timeout(limit, gone(host, &made, limit, output)).await {
        Ok(removed) => removed.map_err(|left| left.lines),
        Err(_) => Err(vec![format!("not within {}s", limit.as_secs())]),
    };
    if let Err(why) = removed {
        let names: Vec<String> = made.iter().map(|old| old.key.to_string()).collect();
        let line = format!("could not be removed: {}", names.join(", "));
        failed.lines.push(line);
        failed
            .lines
            .extend(why.iter().map(|line| format!("  {line}")));
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::cluster::ApiError;
    use crate::cluster::fake::FakeCluster;
    use crate::model::action::{Action, Job, JobEnd, JobStatus};
    use crate::model::id::JobId;
    use crate::model::kube::{KubeAction, ObjectKey};
    use crate::model::sensitive::Text;
    use crate::model::units::TimeSpan;
    use crate::transport::Host as _;

    async fn tried(api: &Arc<FakeCluster>) -> JobEnd {
        let key = |kind: &str| ObjectKey {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some("default".to_owned()),
            name: "try".to_owned(),
        };
        let object = |kind: &str| {
            KubeObject {
            key: key(kind),
            body: Text::plain(
                json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "try", "namespace": "default" } })
                    .to_string(),
            ),
        }
        };
        let action = KubeAction::Try {
            objects: vec![object("PersistentVolumeClaim"), object("Pod")],
            awaited: vec![Awaited {
                key: key("Pod"),
                what: Expected::Ready,
            }],
            timeout: TimeSpan(Duration::from_secs(60)),
        };
        let job = Job {
            id: JobId::new("job"),
            label: "step@cluster".into(),
            actions: vec![Action::Kube(Box::new(action))],
            timeout: TimeSpan(Duration::from_secs(300)),
            fence: None,
        };
        let host = ClusterHost::new(api.clone(), Arc::new(|_: &str| Ok(None)));
        host.apply(&job, &[], &|_| {}).await.unwrap().end
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_a_trial_is_left_whether_it_failed_or_not() {
        let api = Arc::new(FakeCluster::new());
        let before = api.picture();
        let end = tried(&api).await;
        assert_eq!(end.status, JobStatus::Succeeded, "{}", end.stderr);
        assert_eq!(api.picture(), before);

        api.stick(true);
        let end = tried(&api).await;
        assert!(matches!(end.status, JobStatus::Failed { .. }));
        assert!(
            end.stderr.starts_with("not so within 60s:"),
            "{}",
            end.stderr
        );
        assert!(!end.stderr.contains("removed"), "{}", end.stderr);
        assert_eq!(api.picture(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn what_of_a_failed_trial_cannot_be_removed_is_named_after_the_failure() {
        let api = Arc::new(FakeCluster::new());
        let before = api.picture();
        let denied = ApiError::of_answer(403, br#"{"message":"pods is forbidden: no"}"#, None);
        api.trouble("Pod", Some(denied));
        let end = tried(&api).await;
        let lines: Vec<&str> = end.stderr.lines().collect();
        assert!(lines[0].contains("pods is forbidden"), "{lines:?}");
        let left = lines
            .iter()
            .position(|line| line.starts_with("could not be removed: "));
        assert!(
            left.is_some_and(|at| at > 0 && lines[at].contains("Pod")),
            "{lines:?}"
        );
        // The claim, which was made, is gone all the same.
        assert_eq!(api.picture(), before);
    }
}
