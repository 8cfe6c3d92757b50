//! The real API: requests over a [`Connector`](super::connect::Connector)'s connection, answers as JSON. A connection that
//! is lost is made anew, to the next server where there are several, and what was asked is asked once more: every request
//! may be done twice. A server that is in trouble itself is left too, but it is for the caller to ask again.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::connect::Connector;
use super::request::{Asked, Unsent, parsed, send};
use super::watch::{KubeWatch, RENEWED};
use super::{ApiError, ApiErrorKind, Apply, BoxFuture, Choice, Cluster, Listed, Place, Watch};
use crate::model::kube::key::text;
use crate::model::kube::{ApiResource, Discovery, MANAGER};

/// Limit of one request; admission webhooks may take 30 s each.
const REQUEST: Duration = Duration::from_secs(60);
/// Answers above this are refused, in bytes.
const ANSWER: usize = 256 * 1024 * 1024;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// JSON is YAML.
const APPLY_PATCH: &str = "application/apply-patch+yaml";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// The real API.
pub struct KubeCluster {
    connector: Connector,
    /// The longest answer that is read, in bytes.
    longest: usize,
}

impl KubeCluster {
    /// Reached this way.
    pub fn new(connector: Connector) -> Self {
        Self {
            connector,
            longest: ANSWER,
        }
    }

    /// The way it is reached.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    async fn ask(&self, asked: &Asked<'_>) -> Result<Value, ApiError> {
        let tries = self.connector.ways().max(1) + 1;
        let mut last = None;
        for _ in 0..tries {
            let connection = self.connector.connection().await?;
            let answer = send(&connection.client, asked, self.longest);
            let error = match timeout(REQUEST, answer).await {
                Ok(Ok((status, _, bytes))) if status.is_success() => return parsed(&bytes),
                // Credentials may have been renewed on the server since they were read.
                Ok(Ok((StatusCode::UNAUTHORIZED, _, bytes))) => {
                    ApiError::of_answer(401, &bytes, None)
                }
                Ok(Ok((status, retry_after, bytes))) => {
                    let error = ApiError::of_answer(status.as_u16(), &bytes, retry_after);
                    if error.kind == ApiErrorKind::Server {
                        // Another server may be well: whoever tries again asks the next one that says it is ready.
                        self.connector.leave(&connection).await;
                    }
                    return Err(error);
                }
                Ok(Err(Unsent::Refused(error))) => return Err(error),
                Ok(Err(Unsent::Lost(why))) => self.connector.lost(&connection, &why),
                Err(_) => {
                    let why = format!("no answer within {}s", REQUEST.as_secs());
                    self.connector.lost(&connection, &why)
                }
            };
            self.connector.leave(&connection).await;
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| ApiError::new(ApiErrorKind::Unreachable, "no way to the API")))
    }

    async fn get_json(&self, path: String, accept: &str) -> Result<Value, ApiError> {
        let asked = Asked {
            method: Method::GET,
            path,
            accept,
            body: None,
        };
        self.ask(&asked).await
    }

    async fn discover_all(&self) -> Result<Discovery, ApiError> {
        let mut found = Discovery::default();
        let (core, groups) = tokio::join!(
            self.get_json("/api".to_owned(), AGGREGATED),
            self.get_json("/apis".to_owned(), AGGREGATED)
        );
        let (core, groups) = (core?, groups?);
        if found.add_aggregated(&core).is_some() && found.add_aggregated(&groups).is_some() {
            return Ok(found);
        }
        // Before Kubernetes 1.26 each version of each group is asked.
        let mut found = Discovery::default();
        for version in versions(&core, &groups) {
            match self.get_json(version, JSON).await {
                Ok(list) => drop(found.add_list(&list)),
                // The server behind an aggregated API may be down; the others are there.
                Err(error)
                    if matches!(error.kind, ApiErrorKind::Server | ApiErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn list_all(
        &self,
        resource: &ApiResource,
        choice: Choice<'_>,
    ) -> Result<Listed, ApiError> {
        let mut path = path(resource, choice.namespace, None);
        if let Some(only) = only(choice) {
            path = format!("{path}?{only}");
        }
        let mut answer = self.get_json(path, JSON).await?;
        let Some(Value::Array(mut items)) = answer.get_mut("items").map(Value::take) else {
            return Err(ApiError::new(
                ApiErrorKind::Server,
                format!("the list of {} has no items", resource.plural),
            ));
        };
        // Items of a list do not say what they are.
        for item in &mut items {
            if let Some(item) = item.as_object_mut() {
                item.insert("apiVersion".to_owned(), json!(resource.api_version));
                item.insert("kind".to_owned(), json!(resource.kind));
            }
        }
        let version = text(&answer, "/metadata/resourceVersion").unwrap_or_default();
        Ok(Listed {
            version: version.to_owned(),
            items,
        })
    }

    async fn watch_from(
        &self,
        resource: &ApiResource,
        choice: Choice<'_>,
        version: &str,
    ) -> Result<Box<dyn Watch + '_>, ApiError> {
        let mut path = format!(
            "{}?watch=true&resourceVersion={}&timeoutSeconds={}&allowWatchBookmarks=true",
            path(resource, choice.namespace, None),
            escaped(version),
            RENEWED.as_secs()
        );
        if let Some(only) = only(choice) {
            path = format!("{path}&{only}");
        }
        let watch = KubeWatch::open(&self.connector, path, self.longest).await?;
        Ok(Box::new(watch))
    }

    async fn get_one(&self, place: Place<'_>) -> Result<Option<Value>, ApiError> {
        match self.get_json(of(place), JSON).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.kind == ApiErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn apply_one(
        &self,
        place: Place<'_>,
        object: &Value,
        how: Apply,
    ) -> Result<Value, ApiError> {
        let dry_run = if how.dry_run { "&dryRun=All" } else { "" };
        let force = how.force;
        let asked = Asked {
            method: Method::PATCH,
            path: format!(
                "{}?fieldManager={MANAGER}&force={force}{dry_run}",
                of(place)
            ),
            accept: JSON,
            body: Some((APPLY_PATCH, object.to_string().into_bytes())),
        };
        self.ask(&asked).await
    }

    async fn patch_one(&self, place: Place<'_>, patch: &Value) -> Result<Value, ApiError> {
        let asked = Asked {
            method: Method::PATCH,
            path: format!("{}?fieldManager={MANAGER}", of(place)),
            accept: JSON,
            body: Some((MERGE_PATCH, patch.to_string().into_bytes())),
        };
        self.ask(&asked).await
    }

    async fn delete_one(&self, place: Place<'_>, uid: Option<&str>) -> Result<bool, ApiError> {
        let mut options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"
        });
        if let (Some(uid), Some(map)) = (uid, options.as_object_mut()) {
            map.insert("preconditions".to_owned(), json!({ "uid": uid }));
        }
        let asked = Asked {
            method: Method::DELETE,
            path: of(place),
            accept: JSON,
            body: Some((JSON, options.to_string().into_bytes())),
        };
        match self.ask(&asked).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ApiErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl KubeCluster {
    async fn evict_one(&self, pod: Place<'_>, uid: &str) -> Result<bool, ApiError> {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": pod.name, "namespace": pod.namespace },
            "deleteOptions": { "preconditions": { "uid": uid } }
        });
        let asked = Asked {
            method: Method::POST,
            path: format!("{}/eviction", of(pod)),
            accept: JSON,
            body: Some((JSON, eviction.to_string().into_bytes())),
        };
        match self.ask(&asked).await {
            Ok(_) => Ok(true),
            // Gone, or another pod by now.
            Err(error) if matches!(error.kind, ApiErrorKind::NotFound | ApiErrorKind::Stale) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Paths of all versions that the documents of an old API name.
fn versions(core: &Value, groups: &Value) -> Vec<String> {
    let texts = |value: Option<&Value>| -> Vec<String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let core = texts(core.get("versions")).into_iter();
    let mut paths: Vec<String> = core.map(|version| format!("/api/{version}")).collect();
    let groups = groups.get("groups").and_then(Value::as_array);
    for group in groups.into_iter().flatten() {
        let versions = group.get("versions").and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            let name = version.get("groupVersion").and_then(Value::as_str);
            paths.extend(name.map(|name| format!("/apis/{name}")));
        }
    }
    paths
}

/// The path of an object.
fn of(place: Place<'_>) -> String {
    path(place.resource, place.namespace, Some(place.name))
}

fn path(resource: &ApiResource, namespace: Option<&str>, name: Option<&str>) -> String {
    let mut path = match resource.api_version.contains('/') {
        true => format!("/apis/{}", resource.api_version),
        false => format!("/api/{}", resource.api_version),
    };
    if let Some(namespace) = namespace.filter(|_| resource.namespaced) {
        path.push_str("/namespaces/");
        path.push_str(&escaped(namespace));
    }
    path.push('/');
    path.push_str(&resource.plural);
    if let Some(name) = name {
        path.push('/');
        path.push_str(&escaped(name));
    }
    path
}

/// A query for the one of a name.
fn only(choice: Choice<'_>) -> Option<String> {
    let name = choice.name?;
    Some(format!("fieldSelector=metadata.name%3D{}", escaped(name)))
}

/// Names of roles and nodes may hold `:` and more.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

impl Cluster for KubeCluster {
    fn discover(&self) -> BoxFuture<'_, Result<Discovery, ApiError>> {
        Box::pin(self.discover_all())
    }

    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        choice: Choice<'a>,
    ) -> BoxFuture<'a, Result<Listed, ApiError>> {
        Box::pin(self.list_all(resource, choice))
    }

    fn watch<'a>(
        &'a self,
        resource: &'a ApiResource,
        choice: Choice<'a>,
        version: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Watch + 'a>, ApiError>> {
        Box::pin(self.watch_from(resource, choice, version))
    }

    fn get<'a>(&'a self, place: Place<'a>) -> BoxFuture<'a, Result<Option<Value>, ApiError>> {
        Box::pin(self.get_one(place))
    }

    fn apply<'a>(
        &'a self,
        place: Place<'a>,
        object: &'a Value,
        how: Apply,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(self.apply_one(place, object, how))
    }

    fn patch<'a>(
        &'a self,
        place: Place<'a>,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ApiError>> {
        Box::pin(self.patch_one(place, patch))
    }

    fn delete<'a>(
        &'a self,
        place: Place<'a>,
        uid: Option<&'a str>,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        Box::pin(self.delete_one(place, uid))
    }

    fn evict<'a>(&'a self, pod: Place<'a>, uid: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        Box::pin(self.evict_one(pod, uid))
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod server_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api_and_names_are_escaped() {
        let resource = |api_version: &str, plural: &str, namespaced| ApiResource {
            api_version: api_version.to_owned(),
            kind: "X".to_owned(),
            plural: plural.to_owned(),
            namespaced,
        };
        let deployments = resource("apps/v1", "deployments", true);
        assert_eq!(
            path(&deployments, Some("n"), Some("a")),
            "/apis/apps/v1/namespaces/n/deployments/a"
        );
        assert_eq!(path(&deployments, None, None), "/apis/apps/v1/deployments");
        let roles = resource("rbac.authorization.k8s.io/v1", "clusterroles", false);
        assert_eq!(
            path(&roles, Some("n"), Some("system:a b/c")),
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a%20b%2Fc"
        );
        assert_eq!(
            path(&resource("v1", "namespaces", false), None, Some("n")),
            "/api/v1/namespaces/n"
        );
    }
}
