//! The cluster as a target, on an API in memory: what kinds ask it, what they decide, what an apply leaves.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "cluster/sets.rs"]
mod sets;
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
        let store = self.all_facts(wish).await;
        wish.decide(&store.view(&Target::Cluster)).unwrap()
    }

    async fn all_facts(&self, wish: &dyn Wish) -> Store {
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
        store
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

fn configs(names: &[&str], more: Value) -> Manifest {
    let text: String = names
        .iter()
        .map(|name| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n"))
        .collect();
    let mut table = more;
    table["inline"] = json!(text);
    manifest(table)
}

#[tokio::test]
async fn a_namespace_that_is_only_made_is_left_as_it_is_and_outlives_the_step() {
    let world = World::new();
    let place = json!({ "namespace": "web", "create_namespace": true, "set": "web" });
    world.converge(&configs(&["a"], place.clone())).await;
    let labelled: hmco_boot::steps::namespace::Namespace = serde_json::from_value(
        json!({ "name": "web", "labels": { "pod-security.kubernetes.io/enforce": "baseline" } }),
    )
    .unwrap();
    world.converge(&labelled).await;
    assert_eq!(
        world.look(&configs(&["a"], place)).await,
        Decision::Unchanged
    );
    assert_eq!(world.look(&labelled).await, Decision::Unchanged);
    // Without the key it is no member of the set that could be deleted.
    let without = configs(&["b"], json!({ "namespace": "web", "set": "web" }));
    let diff = world.converge(&without).await;
    assert!(diff.contains("Old ConfigMap web/a"), "{diff}");
    assert!(!diff.contains("Namespace"), "{diff}");
    let gone = json!({ "namespace": "web", "create_namespace": true, "state": "absent" });
    let diff = world.converge(&configs(&["b"], gone)).await;
    assert!(!diff.contains("Namespace"), "{diff}");
    assert!(
        world
            .api
            .picture()
            .contains("pod-security.kubernetes.io/enforce")
    );
}

#[tokio::test]
async fn steps_that_label_one_node_or_namespace_leave_each_others_labels() {
    let world = World::new();
    world.api.put(
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "pi" },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] }
        }),
        "k3s",
    );
    let node = |labels: Value| -> hmco_boot::steps::node::Node {
        serde_json::from_value(json!({ "name": "pi", "labels": labels })).unwrap()
    };
    let (zone, storage) = (
        node(json!({ "zone": "a" })),
        node(json!({ "storage": "nvme" })),
    );
    world.converge(&zone).await;
    world.converge(&storage).await;
    assert_eq!(world.look(&zone).await, Decision::Unchanged);
    let other = node(json!({ "zone": "b" }));
    let diff = world.converge(&other).await;
    assert!(!diff.contains("storage: nvme\nNew"), "{diff}");
    assert_eq!(world.look(&storage).await, Decision::Unchanged);
}

#[tokio::test]
async fn what_waits_for_another_change_of_the_step_is_tried_when_that_is_there() {
    let world = World::with_file(POOLS);
    let wish = manifest(json!({ "files": ["pools.yaml"] }));
    world.converge(&wish).await;
    // Its definition gets a field, and the resource has it: the API knows it only afterwards.
    let newer = POOLS.replace("spec: {range: ", "spec: {auto: true, range: ");
    let newer = newer.replace("scope: Namespaced", "scope: Namespaced\n  preserve: true");
    let unknown = ApiError::new(
        ApiErrorKind::Rejected,
        "failed to create typed patch object: .spec.auto: field not declared in schema",
    );
    world.api.trouble("Pool", Some(unknown.clone()));
    let wish = manifest(json!({ "inline": newer }));
    let Decision::Drift { diff, drift } = world.look(&wish).await else {
        panic!("it is no change");
    };
    let said = told(&diff);
    assert!(
        said.contains("Pool default/lan: cannot be tried before CustomResourceDefinition pools.example.org is as wished"),
        "{said}"
    );
    world.api.trouble("Pool", None);
    assert_eq!(world.carry_out(drift).await.status, JobStatus::Succeeded);
    assert_eq!(world.look(&wish).await, Decision::Unchanged);
    // Where nothing changes that could help, it is refused as before.
    world.api.trouble("Pool", Some(unknown));
    let wish = manifest(json!({ "inline": newer_range() }));
    let failure = refused(world.look(&wish).await);
    assert!(
        failure.evidence[0].contains("not declared in schema"),
        "{failure:?}"
    );
}

/// Only another range.
fn newer_range() -> String {
    let newer = POOLS.replace("spec: {range: 192", "spec: {auto: true, range: 193");
    newer.replace("scope: Namespaced", "scope: Namespaced\n  preserve: true")
}

#[tokio::test]
async fn a_resource_of_a_kind_that_is_served_does_not_wait_for_workloads_that_may_wait_for_it() {
    let world = World::new();
    world.converge(&manifest(json!({ "inline": POOLS }))).await;
    let text: String = POOLS
        .split("---\n")
        .take(2)
        .collect::<Vec<_>>()
        .join("---\n");
    let text = text
        .replace("name: lan", "name: other")
        .replace("name: controller", "name: user");
    let Decision::Drift { drift, .. } = world.look(&manifest(json!({ "inline": text }))).await
    else {
        panic!("nothing differs");
    };
    let purposes: Vec<String> = drift.iter().filter_map(Action::purpose).collect();
    assert_eq!(
        purposes,
        [
            "apply Deployment default/user",
            "apply Pool default/other",
            "see Deployment default/user ready"
        ]
    );
}

#[tokio::test]
async fn what_a_controller_copied_a_label_to_is_no_member_of_the_set() {
    let world = World::new();
    let both = |names: &[&str]| configs(names, json!({ "set": "s" }));
    world.converge(&both(&["a"])).await;
    let picture = world.api.picture();
    let (_, id) = picture
        .split_once("\"applyset.kubernetes.io/part-of\":\"")
        .unwrap();
    let (id, _) = id.split_once('"').unwrap();
    world.api.put(
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "copy", "namespace": "default", "labels": { "applyset.kubernetes.io/part-of": id } }
        }),
        "controller",
    );
    assert_eq!(world.look(&both(&["a"])).await, Decision::Unchanged);
}

#[tokio::test]
async fn a_set_is_remembered_before_its_objects_are_made_and_wherever_they_move() {
    let world = World::new();
    let wish = |namespace: &str| {
        let place = json!({ "set": "s", "namespace": namespace, "create_namespace": true });
        configs(&["a"], place)
    };
    world.converge(&wish("one")).await;
    let asked = world.api.asked();
    let first = asked.iter().find(|asked| asked.starts_with("apply "));
    assert_eq!(first.unwrap(), "apply configmaps hmco-boot-set-s");
    let diff = world.converge(&wish("two")).await;
    assert!(
        diff.contains("Old ConfigMap one/a (no longer in the set s)"),
        "{diff}"
    );
}

#[tokio::test]
async fn objects_whose_kind_went_with_its_definition_are_gone() {
    let world = World::new();
    let gone = manifest(json!({
        "inline": "apiVersion: example.org/v1\nkind: Pool\nmetadata: {name: lan}\n", "state": "absent"
    }));
    assert_eq!(world.look(&gone).await, Decision::Unchanged);
}

#[tokio::test]
async fn a_patch_that_takes_away_nothing_is_refused() {
    let world = World::new();
    let patch = |pointer: &str| {
        manifest(json!({
            "inline": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n",
            "patches": [{ "kind": "ConfigMap", "name": "c", "set": {}, "remove": [pointer] }]
        }))
    };
    world.converge(&patch("/data/a")).await;
    for pointer in ["/data/b", "data/a", "/spec/x/0"] {
        let failure = refused(world.look(&patch(pointer)).await);
        assert!(failure.message.contains(pointer), "{failure:?}");
    }
}

#[test]
fn what_yaml_makes_a_number_of_is_no_value_of_a_secret() {
    let wish = |value: &str| {
        let wish = manifest(json!({
            "inline": format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{pin: {value}}}\n")
        }));
        hmco_boot::steps::Kind::validate(&wish)
    };
    assert_eq!(wish("\"12345678\""), []);
    for value in ["12345678", "true", ""] {
        let found = wish(value);
        assert!(found[0].1.contains("`stringData.pin`"), "{found:?}");
        assert!(value.is_empty() || !found[0].1.contains(value), "{found:?}");
    }
}

#[tokio::test]
async fn an_object_of_a_kind_with_namespaces_is_awaited_in_one() {
    let world = World::new();
    let config = |namespace: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": namespace } });
    let wish = |object: Value| -> hmco_boot::steps::wait::Wait {
        serde_json::from_value(json!({ "object": object })).unwrap()
    };
    let there = wish(json!({ "api_version": "v1", "kind": "ConfigMap", "name": "c" }));
    world.api.put(config("kube-system"), "kubectl");
    assert!(matches!(world.look(&there).await, Decision::Drift { .. }));
    world.api.put(config("default"), "kubectl");
    assert_eq!(world.look(&there).await, Decision::Unchanged);
    // A kind that is misspelt is not gone.
    let absent = |kind: &str| {
        wish(json!({ "api_version": "v1", "kind": kind, "name": "x", "absent": true }))
    };
    assert_eq!(world.look(&absent("ConfigMap")).await, Decision::Unchanged);
    match world.look(&absent("Configmap")).await {
        Decision::Drift { diff, .. } => {
            assert!(
                told(&diff).contains("serves no Configmap of v1"),
                "{diff:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}
