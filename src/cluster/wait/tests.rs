//! Waiting, on an API in memory.

mod troubles;

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;
use crate::cluster::ApiErrorKind;
use crate::cluster::fake::FakeCluster;
use crate::model::kube::ready::Expected;

fn key(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    }
}

/// A ConfigMap in whose `data.is` this text is awaited.
fn map(namespace: &str, name: &str) -> Awaited {
    Awaited {
        key: key("v1", "ConfigMap", namespace, name),
        what: Expected::Field {
            pointer: "/data/is".to_owned(),
            value: Some("well".to_owned()),
        },
    }
}

fn is(namespace: &str, name: &str, what: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": namespace, "name": name },
        "data": { "is": what }
    })
}

struct World {
    api: Arc<FakeCluster>,
    host: ClusterHost,
    said: Mutex<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let api = Arc::new(FakeCluster::new());
        Self {
            host: ClusterHost::new(api.clone(), Arc::new(|_: &str| Ok(None))),
            api,
            said: Mutex::default(),
        }
    }

    async fn wait(&self, objects: &[Awaited]) -> Result<(), Vec<String>> {
        let output = |text: &str| self.said.lock().unwrap().push(text.to_owned());
        let limit = Duration::from_secs(300);
        let waited = wait(&self.host, objects, limit, &output).await;
        waited.map_err(|trouble| trouble.lines)
    }

    /// Waits for the map `a`.
    async fn wait_for_a(&self) -> Result<(), Vec<String>> {
        self.wait(&[map("default", "a")]).await
    }

    /// What was asked but for what the API serves.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.api.asked();
        asked.retain(|asked| asked != "discover");
        asked
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock().unwrap())
    }
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_well_after_some_changes_costs_one_list_and_one_watch() {
    let world = World::new();
    let changes = async {
        for number in 0..8 {
            seconds(3).await;
            world
                .api
                .put(is("default", "a", &format!("at {number}")), "x");
        }
        world.api.put(is("default", "a", "well"), "x");
    };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(world.wait_for_a(), changes);
    assert_eq!(waited, Ok(()));
    assert_eq!(
        began.elapsed(),
        Duration::from_secs(24),
        "not a moment later"
    );
    assert_eq!(
        world.asked(),
        [
            "list configmaps a in default",
            "watch configmaps a in default"
        ]
    );
    let said = world.said();
    assert_eq!(
        said[0], "waiting: ConfigMap default/a: it is not there\n",
        "{said:?}"
    );
    assert_eq!(said.len(), 9, "each change is news: {said:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_well_already_costs_a_list_per_kind_and_namespace_and_no_watch() {
    let world = World::new();
    let mut awaited = Vec::new();
    for name in ["a", "b", "c"] {
        for namespace in ["default", "kube-system"] {
            world.api.put(is(namespace, name, "well"), "x");
            awaited.push(map(namespace, name));
        }
    }
    assert_eq!(world.wait(&awaited).await, Ok(()));
    let mut asked = world.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "list configmaps in default",
            "list configmaps in kube-system"
        ]
    );
    assert_eq!(world.said(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_away_is_seen_and_only_what_is_still_awaited_is_watched() {
    let world = World::new();
    let absent = |name: &str| Awaited {
        what: Expected::Absent,
        ..map("default", name)
    };
    world.api.put(is("default", "a", "there"), "x");
    let goes = async {
        seconds(5).await;
        world.api.remove("configmaps", "default", "a");
    };
    let awaited = [absent("a"), absent("b")];
    let (waited, ()) = tokio::join!(world.wait(&awaited), goes);
    assert_eq!(waited, Ok(()));
    assert_eq!(
        world.asked(),
        [
            "list configmaps in default",
            "watch configmaps a in default"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_changes_is_not_told_word_by_word() {
    let world = World::new();
    let flood = async {
        for number in 0..5000 {
            sleep(Duration::from_millis(2)).await;
            world
                .api
                .put(is("default", "a", &format!("at {number}")), "x");
        }
        world.api.put(is("default", "a", "well"), "x");
    };
    let (waited, ()) = tokio::join!(world.wait_for_a(), flood);
    assert_eq!(waited, Ok(()));
    // Ten seconds, by pauses of 150 ms that double to 2 s.
    let said = world.said().len();
    assert!((6..=9).contains(&said), "{said}");
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_kinds_and_namespaces_are_not_all_watched_at_once_and_all_seen() {
    let world = World::new();
    let namespaces: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    let awaited: Vec<Awaited> = namespaces.iter().map(|name| map(name, "a")).collect();
    let most = Mutex::new(0);
    let changes = async {
        seconds(20).await;
        *most.lock().unwrap() = world.api.watches();
        for namespace in &namespaces {
            world.api.put(is(namespace, "a", "well"), "x");
        }
    };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(world.wait(&awaited), changes);
    assert_eq!(waited, Ok(()));
    assert!(began.elapsed() <= Duration::from_secs(22));
    assert_eq!(*most.lock().unwrap(), AT_ONCE);
    assert_eq!(world.api.watches(), 0, "none is left open");
}

fn definition(kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.example.org") },
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": { "kind": kind, "plural": plural },
            "versions": [{ "name": "v1", "served": true, "storage": true }]
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_yet_is_asked_for_until_it_is() {
    let world = World::new();
    let pool = Awaited {
        key: key("example.org/v1", "Pool", "default", "lan"),
        what: Expected::Ready,
    };
    let comes = async {
        seconds(10).await;
        world.api.put(definition("Pool", "pools"), "x");
        seconds(10).await;
        let object = json!({
            "apiVersion": "example.org/v1", "kind": "Pool",
            "metadata": { "namespace": "default", "name": "lan" }
        });
        world.api.put(object, "x");
    };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(world.wait(std::slice::from_ref(&pool)), comes);
    assert_eq!(waited, Ok(()));
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    assert_eq!(
        world.said(),
        [
            "waiting: Pool default/lan: the API serves no Pool yet\n",
            "waiting: Pool default/lan: it is not there\n"
        ]
    );
    let absent = Awaited {
        key: key("example.org/v1", "Nothing", "default", "lan"),
        what: Expected::Absent,
    };
    assert_eq!(world.wait(&[absent]).await, Ok(()), "there is none");
}

#[tokio::test(start_paused = true)]
async fn what_will_not_come_by_waiting_ends_it_at_once() {
    let world = World::new();
    world.api.put(definition("Job", "jobs"), "x");
    let job = Awaited {
        key: key("example.org/v1", "Job", "default", "once"),
        what: Expected::Ready,
    };
    let fails = async {
        seconds(10).await;
        let object = json!({
            "apiVersion": "example.org/v1", "kind": "Job",
            "metadata": { "namespace": "default", "name": "once" },
            "status": { "conditions": [{ "type": "Failed", "status": "True", "message": "no more tries" }] }
        });
        world.api.put(object, "x");
    };
    let began = Instant::now();
    let awaited = [map("default", "a"), job];
    let (waited, ()) = tokio::join!(world.wait(&awaited), fails);
    let lines = waited.unwrap_err();
    assert!(lines[0].starts_with("Job default/once: "), "{lines:?}");
    assert!(lines[0].contains("no more tries"), "{lines:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    seconds(1).await;
    assert_eq!(world.api.watches(), 0, "nobody looks any more");

    let denied = ApiError::new(ApiErrorKind::Denied, "you may not list");
    world.api.away(Some(denied));
    let lines = world.wait(&awaited).await.unwrap_err();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("you may not list"), "{lines:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_so_in_time_is_named_with_why_and_within_the_time() {
    let world = World::new();
    world.api.stick(true);
    let labels = json!({ "app": "web" });
    world.api.put(
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "namespace": "default", "name": "web" },
            "spec": { "replicas": 1, "selector": { "matchLabels": labels } }
        }),
        "x",
    );
    world.api.put(
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": "default", "name": "web-0", "labels": labels }
        }),
        "x",
    );
    let web = Awaited {
        key: key("apps/v1", "Deployment", "default", "web"),
        what: Expected::Ready,
    };
    let began = Instant::now();
    let lines = world.wait(&[web]).await.unwrap_err();
    assert_eq!(lines[0], "not so within 300s:");
    assert!(lines[1].starts_with("Deployment default/web: 0 of 1 pods"));
    assert!(lines[2].starts_with("Pod default/web-0: "), "{lines:?}");
    let took = began.elapsed().as_secs();
    assert!((297..300).contains(&took), "{took}");
}
