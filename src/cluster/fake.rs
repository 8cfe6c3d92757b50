//! An API in memory: kinds, namespaces, server-side apply with managers, dry runs, versions, and the least of controllers
//! (namespaces become active, definitions established, workloads ready). What it is asked is kept for tests to count.

mod merge;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{ApiError, ApiErrorKind, Apply, BoxFuture, Cluster, Place};
use crate::model::kube::key::{kind, number, text};
use crate::model::kube::{ApiResource, Discovery, MANAGER, discovery, patch};

/// Kinds that are served at the beginning.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Node", "nodes", false),
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Secret", "secrets", true),
    ("v1", "Service", "services", true),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("v1", "Pod", "pods", true),
    (
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        true,
    ),
    ("v1", "ResourceQuota", "resourcequotas", true),
    ("v1", "PersistentVolume", "persistentvolumes", false),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", false),
    ("apps/v1", "Deployment", "deployments", true),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "clusterroles",
        false,
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        false,
    ),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
    ),
];

/// An API in memory.
pub struct FakeCluster {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    served: Discovery,
    /// By plural with group, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    version: u64,
    asked: Vec<String>,
    /// Every write to objects of this kind is answered so.
    troubles: BTreeMap<String, ApiError>,
    /// Workloads do not become ready.
    stuck: bool,
}

impl Default for FakeCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeCluster {
    /// With the namespaces that every cluster has.
    pub fn new() -> Self {
        let mut state = State::default();
        state.served.resources = KINDS
            .iter()
            .map(|(api_version, kind, plural, namespaced)| ApiResource {
                api_version: (*api_version).to_owned(),
                kind: (*kind).to_owned(),
                plural: (*plural).to_owned(),
                namespaced: *namespaced,
            })
            .collect();
        let cluster = Self {
            state: Mutex::new(state),
        };
        for name in ["default", "kube-system"] {
            cluster.put(
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
                "apiserver",
            );
        }
        cluster
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object by somebody else's hand.
    pub fn put(&self, object: Value, manager: &str) {
        let mut state = self.state();
        let api_version = object.get("apiVersion").and_then(Value::as_str);
        let api_version = api_version.unwrap_or_default().to_owned();
        let Some(resource) = state.served.get(&api_version, kind(&object)).cloned() else {
            return;
        };
        let fields = merge::fields(&object);
        let mut object = object;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(
                "managedFields".to_owned(),
                json!([{ "manager": manager, "operation": "Update", "apiVersion": api_version, "fieldsV1": fields }]),
            );
        }
        state.store(&resource, object);
    }

    /// Takes an object away.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.state().objects.remove(&key);
    }

    /// Every write to objects of this kind is answered so; `None` = no longer.
    pub fn trouble(&self, kind: &str, error: Option<ApiError>) {
        let mut state = self.state();
        match error {
            Some(error) => drop(state.troubles.insert(kind.to_owned(), error)),
            None => drop(state.troubles.remove(kind)),
        }
    }

    /// Workloads do not become ready any more.
    pub fn stick(&self, stuck: bool) {
        self.state().stuck = stuck;
    }

    /// What was asked since the last time: `list apps/v1 deployments in web`.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// All objects, without versions and managers' times: equal pictures = nothing was changed.
    pub fn picture(&self) -> String {
        let state = self.state();
        let objects = state.objects.iter();
        objects
            .map(|(key, object)| format!("{key:?} {object}\n"))
            .collect()
    }
}

fn place_of(resource: &ApiResource) -> String {
    match resource.api_version.split_once('/') {
        Some((group, _)) => format!("{}.{group}", resource.plural),
        None => resource.plural.clone(),
    }
}

impl State {
    /// Whether the budgets of a namespace let a pod go.
    fn may_go(&self, pod: &Value, namespace: &str) -> Result<(), ApiError> {
        let of_namespace = |key: &(String, String, String)| {
            key.0 == "poddisruptionbudgets.policy" && key.1 == namespace
        };
        let labels = pod.pointer("/metadata/labels");
        let covers = |budget: &Value| {
            let wanted = budget.pointer("/spec/selector/matchLabels");
            let mut wanted = wanted.and_then(Value::as_object).into_iter().flatten();
            wanted.all(|(name, value)| labels.and_then(|all| all.get(name)) == Some(value))
        };
        let mut budgets = self.objects.iter().filter(|(key, _)| of_namespace(key));
        let spent = budgets.any(|(_, budget)| {
            covers(budget) && number(budget, "/status/disruptionsAllowed") == Some(0)
        });
        match spent {
            true => Err(ApiError::new(
                ApiErrorKind::Busy,
                "Cannot evict pod as it would violate the pod's disruption budget.",
            )),
            false => Ok(()),
        }
    }

    fn key(&self, place: &Place<'_>) -> (String, String, String) {
        let namespace = place.namespace.filter(|_| place.resource.namespaced);
        let plural = place_of(place.resource);
        (
            plural,
            namespace.unwrap_or_default().to_owned(),
            place.name.to_owned(),
        )
    }

    fn check(&self, place: &Place<'_>) -> Result<(), ApiError> {
        if let Some(error) = self.troubles.get(&place.resource.kind) {
            return Err(error.clone());
        }
        let Some(namespace) = place.namespace.filter(|_| place.resource.namespaced) else {
            return Ok(());
        };
        let key = ("namespaces".to_owned(), String::new(), namespace.to_owned());
        match self.objects.contains_key(&key) {
            true => Ok(()),
            false => Err(ApiError::new(
                ApiErrorKind::NotFound,
                format!("namespaces \"{namespace}\" not found"),
            )),
        }
    }

    /// Puts an object in its place; a version for it where it is another one than before.
    fn store(&mut self, resource: &ApiResource, mut object: Value) -> Value {
        let text = |object: &Value, key: &str| {
            object
                .pointer(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let key = (
            place_of(resource),
            text(&object, "/metadata/namespace"),
            text(&object, "/metadata/name"),
        );
        if resource.kind == "CustomResourceDefinition" {
            let brought = discovery::of_crds([&object]).resources;
            self.served.resources.extend(brought);
        }
        let live = self.objects.get(&key);
        let generation = live
            .and_then(|live| number(live, "/metadata/generation"))
            .unwrap_or(0);
        let same_spec = live.is_some_and(|live| live.get("spec") == object.get("spec"));
        let generation = generation + i64::from(!same_spec);
        self.version += 1;
        let version = self.version.to_string();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("generation".to_owned(), json!(generation));
            metadata.insert("resourceVersion".to_owned(), json!(version));
            metadata
                .entry("uid")
                .or_insert_with(|| json!(format!("uid-{version}")));
        }
        controllers(&mut object, generation, self.stuck);
        self.objects.insert(key, object.clone());
        object
    }
}

/// What controllers would make of an object, at once.
fn controllers(object: &mut Value, generation: i64, stuck: bool) {
    let replicas = number(object, "/spec/replicas").unwrap_or(1);
    let available = if stuck { 0 } else { replicas };
    let status = match kind(object) {
        "Namespace" => json!({ "phase": "Active" }),
        "CustomResourceDefinition" => json!({ "conditions": [
            { "type": "NamesAccepted", "status": "True" }, { "type": "Established", "status": "True" }
        ] }),
        "Deployment" => json!({
            "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
            "availableReplicas": available
        }),
        "Pod" => json!({ "phase": "Running", "conditions": [
            { "type": "Ready", "status": if stuck { "False" } else { "True" } }
        ] }),
        "PersistentVolumeClaim" => json!({ "phase": if stuck { "Pending" } else { "Bound" } }),
        _ => return,
    };
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
}

impl Cluster for FakeCluster {
    fn discover(&self) -> BoxFuture<'_, Result<Discovery, ApiError>> {
        let mut state = self.state();
        state.asked.push("discover".to_owned());
        let served = state.served.clone();
        Box::pin(async { Ok(served) })
    }

    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Value>, ApiError>> {
        let mut state = self.state();
        let place = place_of(resource);
        state.asked.push(match namespace {
            Some(namespace) => format!("list {place} in {namespace}"),
            None => format!("list {place}"),
        });
        let found = state.objects.iter().filter(|((plural, inside, _), _)| {
            *plural == place && namespace.is_none_or(|namespace| namespace == inside)
        });
        let found: Vec<Value> = found.map(|(_, object)| object.clone()).collect();
        Box::pin(async { Ok(found) })
    }

    fn get<'a>(&'a self, place: Place<'a>) -> BoxFuture<'a, Result<Option<Value>, ApiError>> {
        let mut state = self.state();
        let key = state.key(&place);
        state.asked.push(format!("get {} {}", key.0, key.2));
        let found = state.objects.get(&key).cloned();
        Box::pin(async { Ok(found) })
    }

    fn apply<'a>(
        &'a self,
        place: Place<'a>,
        object: &'a Value,
        how: Apply,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        let mut state = self.state();
        let key = state.key(&place);
        let word = if how.dry_run { "dry run of" } else { "apply" };
        state.asked.push(format!("{word} {} {}", key.0, key.2));
        let result = state.check(&place).and_then(|()| {
            let live = state.objects.get(&key).cloned();
            let merged = merge::apply(live.as_ref(), object, MANAGER, how.force)?;
            Ok(match (&live, how.dry_run) {
                (Some(live), _) if *live == merged => merged,
                (_, true) => merged,
                _ => state.store(place.resource, merged),
            })
        });
        Box::pin(async { result })
    }

    fn patch<'a>(
        &'a self,
        place: Place<'a>,
        change: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        let mut state = self.state();
        let key = state.key(&place);
        state.asked.push(format!("patch {} {}", key.0, key.2));
        let version = change.pointer("/metadata/resourceVersion").cloned();
        let result = match state.objects.get(&key).cloned() {
            None => Err(ApiError::new(
                ApiErrorKind::NotFound,
                format!("{} \"{}\" not found", key.0, key.2),
            )),
            Some(live)
                if version.is_some()
                    && live.pointer("/metadata/resourceVersion") != version.as_ref() =>
            {
                Err(ApiError::new(
                    ApiErrorKind::Stale,
                    "the object has been modified",
                ))
            }
            Some(mut live) => {
                patch::overlay(&mut live, change);
                Ok(state.store(place.resource, live))
            }
        };
        Box::pin(async { result })
    }

    fn delete<'a>(&'a self, place: Place<'a>) -> BoxFuture<'a, Result<bool, ApiError>> {
        let mut state = self.state();
        let key = state.key(&place);
        state.asked.push(format!("delete {} {}", key.0, key.2));
        if let Some(error) = state.troubles.get(&place.resource.kind).cloned() {
            return Box::pin(async move { Err(error) });
        }
        let there = state.objects.remove(&key).is_some();
        if place.resource.kind == "Namespace" {
            state
                .objects
                .retain(|(_, inside, _), _| inside != place.name);
        }
        Box::pin(async move { Ok(there) })
    }

    fn evict<'a>(&'a self, pod: Place<'a>, uid: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        let mut state = self.state();
        let key = state.key(&pod);
        state.asked.push(format!("evict {} {}", key.0, key.2));
        let result = match state.objects.get(&key) {
            Some(live) if text(live, "/metadata/uid") == Some(uid) => {
                state.may_go(live, &key.1).map(|()| true)
            }
            _ => Ok(false),
        };
        if result == Ok(true) {
            state.objects.remove(&key);
        }
        Box::pin(async { result })
    }
}
