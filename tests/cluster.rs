//! The cluster as a target, on an API in memory: what kinds ask it, what they decide, what an apply leaves.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "cluster/troubles.rs"]
mod troubles;

use std::sync::Arc;
use std::time::Duration;

use hmco_boot::cluster::fake::FakeCluster;
use hmco_boot::cluster::host::ClusterHost;
use hmco_boot::cluster::{ApiError, ApiErrorKind};
use hmco_boot::facts::fact::Fact;
use hmco_boot::facts::known::Store;
use hmco_boot::model::action::{Action, Job, JobEnd, JobStatus};
use hmco_boot::model::event::DiffLine;
use hmco_boot::model::id::{JobId, Target};
use hmco_boot::model::outcome::Failure;
use hmco_boot::model::units::TimeSpan;
use hmco_boot::steps::manifest::Manifest;
use hmco_boot::steps::{Decision, Want, Wish};
use hmco_boot::transport::Host;
use serde_json::{Value, json};

struct World {
    api: Arc<FakeCluster>,
    host: ClusterHost,
}

impl World {
    fn new() -> Self {
        Self::with_file("")
    }

    /// With a text that every file has.
    fn with_file(text: &str) -> Self {
        let api = Arc::new(FakeCluster::new());
        let text = text.to_owned();
        let host = ClusterHost::new(
            api.clone(),
            Arc::new(move |_: &str| Ok(Some(text.clone().into_bytes()))),
        );
        Self { api, host }
    }

    async fn look(&self, wish: &dyn Wish) -> Decision<Vec<Action>> {
        let mut store = Store::default();
        for _ in 0..3 {
            let Want::More(facts) = wish.facts(&store.view(&Target::Cluster)) else {
                break;
            };
            let facts: Vec<Fact> = facts.into_iter().map(|fact| fact.fact).collect();
            store.insert(&Target::Cluster, self.host.read(&facts).await.unwrap());
        }
        assert_eq!(
            wish.facts(&store.view(&Target::Cluster)),
            Want::Done,
            "three rounds are enough"
        );
        wish.decide(&store.view(&Target::Cluster)).unwrap()
    }

    async fn carry_out(&self, actions: Vec<Action>) -> JobEnd {
        self.carry_out_within(Duration::from_secs(60), actions)
            .await
    }

    async fn carry_out_within(&self, limit: Duration, actions: Vec<Action>) -> JobEnd {
        let job = Job {
            id: JobId::new("job"),
            label: "step@cluster".into(),
            actions,
            timeout: TimeSpan(limit),
            fence: None,
        };
        self.host.apply(&job, &[], &|_| {}).await.unwrap().end
    }

    /// Applies; the step is as wished then. Gives the difference as text.
    async fn converge(&self, wish: &dyn Wish) -> String {
        let Decision::Drift { diff, drift } = self.look(wish).await else {
            panic!("nothing differs");
        };
        let end = self.carry_out(drift).await;
        assert_eq!(end.status, JobStatus::Succeeded, "{}", end.stderr);
        assert_eq!(self.look(wish).await, Decision::Unchanged);
        told(&diff)
    }
}

fn told(diff: &[DiffLine]) -> String {
    let lines = diff
        .iter()
        .map(|line| format!("{:?} {}\n", line.side, line.text));
    lines.collect()
}

fn manifest(table: Value) -> Manifest {
    serde_json::from_value(table).unwrap()
}

fn refused(decision: Decision<Vec<Action>>) -> Failure {
    match decision {
        Decision::Refused(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn many(count: usize) -> Manifest {
    let mut text = String::new();
    for number in 0..count {
        let namespace = ["default", "kube-system"][number % 2];
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}, namespace: {namespace}}}\n\
             data: {{key: value, file: \"a: b\"}}\n"
        ));
    }
    manifest(json!({ "inline": text }))
}

#[tokio::test]
async fn what_is_as_wished_costs_one_list_per_kind_and_namespace() {
    let world = World::new();
    world.converge(&many(40)).await;
    world.api.asked();
    assert_eq!(world.look(&many(40)).await, Decision::Unchanged);
    let mut asked = world.api.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "discover",
            "list configmaps in default",
            "list configmaps in kube-system",
            "list namespaces"
        ]
    );
}

#[tokio::test]
async fn an_object_that_differs_is_asked_about_by_itself_and_shown() {
    let world = World::new();
    world.converge(&many(6)).await;
    world.api.asked();
    let mut wish = many(6);
    let text = wish.inline.as_ref().unwrap().expose().replace(
        "name: c3, namespace: kube-system}\ndata: {key: value",
        "name: c3, namespace: kube-system}\ndata: {key: other",
    );
    wish.inline = Some(hmco_boot::model::sensitive::Text::plain(text));
    let Decision::Drift { diff, .. } = world.look(&wish).await else {
        panic!("it differs");
    };
    let asked = world.api.asked();
    let tried: Vec<&String> = asked
        .iter()
        .filter(|asked| asked.starts_with("dry run"))
        .collect();
    assert_eq!(tried, ["dry run of configmaps c3"]);
    let text = told(&diff);
    assert!(text.contains("Old   key: value"), "{text}");
    assert!(text.contains("New   key: other"), "{text}");
}

const POOLS: &str = "
apiVersion: example.org/v1
kind: Pool
metadata: {name: lan}
spec: {range: 192.168.1.240-192.168.1.250}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller}
spec:
  replicas: 1
  selector: {matchLabels: {app: pools}}
  template:
    metadata: {labels: {app: pools}}
    spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pools.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Pool, plural: pools}
  versions: [{name: v1, served: true, storage: true}]
";

#[tokio::test]
async fn a_definition_and_its_resource_go_in_one_step_and_the_namespace_is_made() {
    let world = World::with_file(POOLS);
    let wish = manifest(
        json!({ "files": ["pools.yaml"], "namespace": "pools", "create_namespace": true }),
    );
    world.converge(&wish).await;
    let asked = world.api.asked();
    let applied: Vec<&str> = asked
        .iter()
        .filter_map(|asked| asked.strip_prefix("apply "))
        .collect();
    assert_eq!(
        applied,
        [
            "namespaces pools",
            "customresourcedefinitions.apiextensions.k8s.io pools.example.org",
            "deployments.apps controller",
            "pools.example.org lan"
        ]
    );
    let gone =
        manifest(json!({ "files": ["pools.yaml"], "namespace": "pools", "state": "absent" }));
    world.converge(&gone).await;
}

#[tokio::test]
async fn a_kind_that_nobody_serves_is_refused_by_its_name() {
    let world = World::new();
    let wish = manifest(
        json!({ "inline": "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: x}\n" }),
    );
    let failure = refused(world.look(&wish).await);
    assert!(failure.hint.unwrap().contains("apps/v1"));
}

#[tokio::test]
async fn what_a_set_holds_no_more_is_deleted_from_any_machine() {
    let world = World::new();
    let with = |names: &[&str]| {
        let text: String = names
            .iter()
            .map(|name| format!("---\napiVersion: v1\nkind: {name}\nmetadata: {{name: a}}\n"))
            .collect();
        manifest(json!({ "inline": text, "set": "s" }))
    };
    world
        .converge(&with(&["ConfigMap", "ServiceAccount"]))
        .await;
    let diff = world.converge(&with(&["ConfigMap"])).await;
    assert!(
        diff.contains("Old ServiceAccount default/a (no longer in the set s)"),
        "{diff}"
    );
    assert!(
        !world.api.picture().contains("serviceaccounts"),
        "{}",
        world.api.picture()
    );
    // What has no mark is not touched.
    world.api.put(
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "theirs", "namespace": "default" } }),
        "kubectl",
    );
    assert_eq!(world.look(&with(&["ConfigMap"])).await, Decision::Unchanged);
}

#[tokio::test]
async fn the_value_of_a_secret_is_in_no_difference_and_in_no_fact() {
    let world = World::new();
    let wish = |value: &str| {
        manifest(json!({
            "inline": format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{password: {value}}}\n")
        }))
    };
    let diff = world.converge(&wish("canary-7Q2x")).await;
    assert!(!diff.contains("canary"), "{diff}");
    let list = Fact::KubeList {
        api_version: "v1".into(),
        kind: "Secret".into(),
        namespace: None,
    };
    let answers = format!("{:?}", world.host.read(&[list]).await.unwrap());
    assert!(
        !answers.contains("canary") && !answers.contains("Y2FuYXJ5"),
        "{answers}"
    );
    let diff = world.converge(&wish("other-7Q2x")).await;
    assert!(
        diff.contains("data.password differs (values not shown)"),
        "{diff}"
    );
    assert!(!diff.contains("7Q2x"), "{diff}");
}
