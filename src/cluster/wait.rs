//! Waiting until objects are as expected: looks at all of them at once, again and again. An API that is gone for a while
//! is waited for as well.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::act::{Trouble, known_or_asked, place};
use super::host::ClusterHost;
use super::read::AT_ONCE;
use super::{ApiError, ApiErrorKind, Cluster};
use crate::model::kube::ready::{Expected, pod_reason, readiness};
use crate::model::kube::{ApiResource, Awaited, ObjectKey, Readiness, key};
use crate::transport::OutputSink;

/// Pauses between two looks at what is awaited.
const FIRST_LOOK: Duration = Duration::from_millis(150);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// What one look gave.
type Seen = Result<Readiness, ApiError>;

/// Looks until all is as expected. What will not come by waiting ends it at once.
pub(super) async fn wait(
    host: &ClusterHost,
    objects: &[Awaited],
    limit: Duration,
    output: OutputSink<'_>,
) -> Result<(), Trouble> {
    let began = Instant::now();
    let mut pause = FIRST_LOOK;
    let mut said = String::new();
    let mut open: Vec<&Awaited> = objects.iter().collect();
    loop {
        let mut waiting = Vec::new();
        let mut missing = Vec::new();
        let mut trouble = false;
        for (awaited, seen) in open.iter().copied().zip(look_at(host, &open).await) {
            match seen {
                Ok(Readiness::Ready) => {}
                Ok(Readiness::Waiting(words)) => {
                    missing.push(format!("{}: {words}", awaited.key));
                    waiting.push(awaited);
                }
                Ok(Readiness::Failed(words)) => {
                    return Err(
                        given_up(host, awaited, vec![format!("{}: {words}", awaited.key)]).await,
                    );
                }
                Err(error) if error.may_pass() => {
                    // Where the API does not answer, it does so for all of them.
                    if !trouble {
                        missing.push(format!("{}: {error}", awaited.key));
                    }
                    trouble = true;
                    waiting.push(awaited);
                }
                Err(error) => {
                    return Err(Trouble {
                        lines: vec![format!("{}: {error}", awaited.key)],
                        may_pass: false,
                    });
                }
            }
        }
        let Some(first) = waiting.first().copied() else {
            return Ok(());
        };
        if began.elapsed() + pause > limit {
            let mut lines = vec![format!("not so within {}s:", limit.as_secs())];
            lines.append(&mut missing);
            return Err(given_up(host, first, lines).await);
        }
        let news = missing.join("\n");
        if news != said {
            output(&format!("waiting: {news}\n"));
            said = news;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
        open = waiting;
    }
}

/// Looks at all of them at once; the answers are in their order.
async fn look_at(host: &ClusterHost, open: &[&Awaited]) -> Vec<Seen> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut seen: Vec<Seen> = Vec::with_capacity(open.len());
    for (number, awaited) in open.iter().enumerate() {
        let key = &awaited.key;
        let served = match known_or_asked(host, key).await {
            Ok(served) => served,
            Err(error) => {
                seen.push(Err(error));
                continue;
            }
        };
        let Some(resource) = served.get(&key.api_version, &key.kind).cloned() else {
            seen.push(Ok(match awaited.what {
                Expected::Absent => Readiness::Ready,
                _ => Readiness::Waiting(format!("the API serves no {} yet", key.kind)),
            }));
            continue;
        };
        seen.push(Err(ApiError::new(
            ApiErrorKind::Server,
            "looking ended without an answer",
        )));
        let (cluster, room, awaited) = (host.cluster.clone(), room.clone(), (*awaited).clone());
        tasks.spawn(async move {
            let _turn = room.acquire().await;
            (number, look(&*cluster, &resource, &awaited).await)
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok((number, answer)) = ended
            && let Some(slot) = seen.get_mut(number)
        {
            *slot = answer;
        }
    }
    seen
}

async fn look(cluster: &dyn Cluster, resource: &ApiResource, awaited: &Awaited) -> Seen {
    let object = match cluster.get(place(resource, &awaited.key)).await {
        Ok(object) => object,
        // Its kind is gone since it was asked for.
        Err(error) if error.kind == ApiErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(awaited.what.of(object.as_ref()))
}

/// With why its pods do not come up, where it has pods.
async fn given_up(host: &ClusterHost, awaited: &Awaited, mut lines: Vec<String>) -> Trouble {
    lines.extend(pods(host, &awaited.key).await.unwrap_or_default());
    Trouble {
        lines,
        may_pass: false,
    }
}

async fn pods(host: &ClusterHost, owner: &ObjectKey) -> Option<Vec<String>> {
    let namespace = owner.namespace.as_deref()?;
    let name = ObjectKey {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: owner.namespace.clone(),
        name: String::new(),
    };
    let served = known_or_asked(host, owner).await.ok()?;
    let resource = served.get(&owner.api_version, &owner.kind)?;
    let object = host.cluster.get(place(resource, owner)).await.ok()??;
    let labels = object
        .pointer("/spec/selector/matchLabels")?
        .as_object()?
        .clone();
    let pods = served.get(&name.api_version, &name.kind)?;
    let all = host.cluster.list(pods, Some(namespace)).await.ok()?;
    let chosen = all.iter().filter(|pod| {
        labels.iter().all(|(label, value)| {
            pod.pointer("/metadata/labels").and_then(|l| l.get(label)) == Some(value)
        })
    });
    let mut lines = Vec::new();
    for pod in chosen
        .filter(|pod| readiness(pod) != Readiness::Ready)
        .take(5)
    {
        let pod_name = key::meta(pod, "name").unwrap_or_default();
        lines.push(format!("Pod {namespace}/{pod_name}: {}", pod_reason(pod)));
    }
    Some(lines)
}
