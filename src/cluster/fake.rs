//! An API in memory: kinds, namespaces, server-side apply with managers, dry runs, versions, and the least of controllers
//! (namespaces become active, definitions established, workloads ready). What it is asked is kept for tests to count.

mod kinds;
mod merge;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    ApiError, ApiErrorKind, Apply, BoxFuture, Change, Choice, Cluster, Listed, Place, Watch,
};
use crate::model::kube::key::{kind, number, text};
use crate::model::kube::{ApiResource, Discovery, MANAGER, discovery, patch};
use kinds::{KINDS, controllers};
use watch::{Chosen, History};

/// An API in memory.
pub struct FakeCluster {
    state: Mutex<State>,
    /// Rung at every change.
    bell: Notify,
}

/// Plural with group, namespace and name.
type Key = (String, String, String);

#[derive(Default)]
struct State {
    served: Discovery,
    objects: BTreeMap<Key, Value>,
    version: u64,
    history: History,
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
            bell: Notify::new(),
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
        self.bell.notify_waiters();
    }

    /// Takes an object away.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.state().take(&key);
        self.bell.notify_waiters();
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
        let of_namespace = |key: &Key| key.0 == "poddisruptionbudgets.policy" && key.1 == namespace;
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

    fn key(&self, place: &Place<'_>) -> Key {
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
        self.history
            .add(self.version, &key, Change::Set(object.clone()));
        self.objects.insert(key, object.clone());
        object
    }

    /// Takes an object away; whether there was one.
    fn take(&mut self, key: &Key) -> bool {
        let Some(object) = self.objects.remove(key) else {
            return false;
        };
        self.version += 1;
        self.history.add(self.version, key, Change::Gone(object));
        true
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
        choice: Choice<'a>,
    ) -> BoxFuture<'a, Result<Listed, ApiError>> {
        let mut state = self.state();
        state.asked.push(watch::described("list", resource, choice));
        let wanted = Chosen::of(resource, choice);
        let found = state.objects.iter().filter(|(key, _)| wanted.has(key));
        let listed = match state.history.trouble() {
            Some(error) => Err(error),
            None => Ok(Listed {
                items: found.map(|(_, object)| object.clone()).collect(),
                version: state.version.to_string(),
            }),
        };
        Box::pin(async { listed })
    }

    fn watch<'a>(
        &'a self,
        resource: &'a ApiResource,
        choice: Choice<'a>,
        version: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Watch + 'a>, ApiError>> {
        Box::pin(async move { self.watch_from(resource, choice, version) })
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
        self.bell.notify_waiters();
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
        self.bell.notify_waiters();
        Box::pin(async { result })
    }

    fn delete<'a>(
        &'a self,
        place: Place<'a>,
        uid: Option<&'a str>,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        let mut state = self.state();
        let key = state.key(&place);
        state.asked.push(format!("delete {} {}", key.0, key.2));
        if let Some(error) = state.troubles.get(&place.resource.kind).cloned() {
            return Box::pin(async move { Err(error) });
        }
        let live = state.objects.get(&key);
        if let (Some(live), Some(uid)) = (live, uid)
            && text(live, "/metadata/uid") != Some(uid)
        {
            let stale = ApiError::new(ApiErrorKind::Stale, "Precondition failed: UID");
            return Box::pin(async { Err(stale) });
        }
        let there = state.take(&key);
        if place.resource.kind == "Namespace" {
            let inside = |key: &&Key| key.1 == place.name;
            let gone: Vec<Key> = state.objects.keys().filter(inside).cloned().collect();
            for key in &gone {
                state.take(key);
            }
        }
        self.bell.notify_waiters();
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
            state.take(&key);
            self.bell.notify_waiters();
        }
        Box::pin(async { result })
    }
}
