//! Draining a Node: its pods are asked to leave, as often as their budgets say "not now", until all are gone or the time is
//! over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::read::AT_ONCE;
use super::retry::{CHANGING, retrying};
use super::{ApiError, Choice, Cluster, Place};
use crate::model::kube::ApiResource;
use crate::model::kube::drain::{Leaving, leaving};
use crate::transport::OutputSink;

/// Pause between two rounds: a budget has room again when a pod is up elsewhere, which takes seconds.
const PAUSE: Duration = Duration::from_millis(1000);
/// Pods that are named one by one where they did not leave.
const NAMED: usize = 8;

/// Drains; gives lines for people and whether another try may help where it could not.
pub(super) async fn drain(
    cluster: &dyn Cluster,
    node: &str,
    limit: Duration,
    output: OutputSink<'_>,
) -> Result<(), (Vec<String>, bool)> {
    let pods = ApiResource {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: "pods".to_owned(),
        namespaced: true,
    };
    let began = Instant::now();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut said = String::new();
    loop {
        let all = retrying(CHANGING, || cluster.list(&pods, Choice::ALL)).await;
        let all = all.map_err(|error| (vec![error.message.clone()], error.may_pass()))?;
        let here = leaving(&all.items, node);
        if here.is_empty() {
            return Ok(());
        }
        let open: Vec<&Leaving> = here
            .iter()
            .filter(|pod| !asked.contains(&pod.uid))
            .collect();
        let mut refused = Vec::new();
        for (pod, answer) in ask(cluster, &pods, &open).await {
            match answer {
                Ok(there) => {
                    asked.insert(pod.uid.clone());
                    if there {
                        output(&format!("evicted Pod {}/{}\n", pod.namespace, pod.name));
                    }
                }
                Err(error) if error.may_pass() => {
                    refused.push(line(pod, &error.message));
                }
                Err(error) => return Err((vec![line(pod, &error.message)], false)),
            }
        }
        if began.elapsed() + PAUSE > limit {
            return Err((given_up(&here, &refused, limit), false));
        }
        let news = refused.join("\n");
        if !news.is_empty() && news != said {
            output(&format!("waiting: {news}\n"));
            said = news;
        }
        sleep(PAUSE).await;
    }
}

fn line(pod: &Leaving, words: &str) -> String {
    format!("Pod {}/{}: {words}", pod.namespace, pod.name)
}

fn given_up(here: &[Leaving], refused: &[String], limit: Duration) -> Vec<String> {
    let mut lines = vec![format!("not drained within {}s:", limit.as_secs())];
    match refused.is_empty() {
        false => lines.extend(refused.iter().take(NAMED).cloned()),
        true => lines.extend(
            here.iter()
                .take(NAMED)
                .map(|pod| line(pod, "is still there")),
        ),
    }
    if here.len() > NAMED {
        lines.push(format!("{} pods in all", here.len()));
    }
    lines
}

/// Asks all of them at once, so many at a time.
async fn ask<'p>(
    cluster: &dyn Cluster,
    pods: &ApiResource,
    open: &[&'p Leaving],
) -> Vec<(&'p Leaving, Result<bool, ApiError>)> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let asked = open.iter().map(|pod| {
        let room = room.clone();
        async move {
            let _turn = room.acquire().await;
            let place = Place {
                resource: pods,
                namespace: Some(&pod.namespace),
                name: &pod.name,
            };
            (*pod, cluster.evict(place, &pod.uid).await)
        }
    });
    join_all(asked).await
}

/// All of them, in order.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        let mut open = false;
        for (future, slot) in waiting.iter_mut().zip(done.iter_mut()) {
            if slot.is_some() {
                continue;
            }
            match future.as_mut().poll(cx) {
                std::task::Poll::Ready(output) => *slot = Some(output),
                std::task::Poll::Pending => open = true,
            }
        }
        match open {
            true => std::task::Poll::Pending,
            false => std::task::Poll::Ready(std::mem::take(&mut done)),
        }
    })
    .await
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::super::fake::FakeCluster;
    use super::*;

    fn pod(name: &str, label: &str) -> serde_json::Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": "default", "name": name, "labels": { "app": label } },
            "spec": { "nodeName": "a" }
        })
    }

    fn budget(allowed: u32) -> serde_json::Value {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": { "namespace": "default", "name": "db" },
            "spec": { "selector": { "matchLabels": { "app": "db" } } },
            "status": { "disruptionsAllowed": allowed }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_holds_a_pod_until_it_has_room() {
        let cluster = Arc::new(FakeCluster::new());
        for object in [pod("web", "web"), pod("db", "db"), budget(0)] {
            cluster.put(object, "kubectl");
        }
        let room = cluster.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(5)).await;
            room.put(budget(1), "controller");
        });
        let said = Mutex::new(String::new());
        let began = Instant::now();
        let sink = |text: &str| said.lock().unwrap().push_str(text);
        drain(&*cluster, "a", Duration::from_secs(60), &sink)
            .await
            .unwrap();
        assert!(began.elapsed() >= Duration::from_secs(5));
        let said = said.into_inner().unwrap();
        assert!(
            said.starts_with("evicted Pod default/web\nwaiting: Pod default/db: Cannot evict"),
            "{said}"
        );
        assert!(said.ends_with("evicted Pod default/db\n"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_leave_in_time_is_named_with_its_reason() {
        let cluster = FakeCluster::new();
        cluster.put(pod("db", "db"), "kubectl");
        cluster.put(budget(0), "kubectl");
        let (lines, _) = drain(&cluster, "a", Duration::from_secs(10), &|_| {})
            .await
            .unwrap_err();
        assert_eq!(lines[0], "not drained within 10s:");
        assert!(lines[1].contains("disruption budget"), "{lines:?}");
        cluster.put(budget(1), "kubectl");
        drain(&cluster, "a", Duration::from_secs(10), &|_| {})
            .await
            .unwrap();
    }
}
