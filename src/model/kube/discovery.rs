//! What an API serves, as far as it matters here: which kinds there are, what their lists are called, and whether they
//! live in namespaces.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::group_of;

/// All kinds of an API.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Discovery {
    /// In no order that matters; several versions of one kind are several entries.
    pub resources: Vec<ApiResource>,
}

/// A kind in one version of its group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ApiResource {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`, as in URLs.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Discovery {
    /// A kind by the version that an object names.
    pub fn get(&self, api_version: &str, kind: &str) -> Option<&ApiResource> {
        self.resources
            .iter()
            .find(|resource| resource.api_version == api_version && resource.kind == kind)
    }

    /// A version of a kind that is served: this one, else another of its group.
    pub fn served<'a>(&'a self, api_version: &'a str, kind: &str) -> Option<&'a str> {
        match self.get(api_version, kind) {
            Some(_) => Some(api_version),
            None => self.versions(api_version, kind).first().copied(),
        }
    }

    /// The versions of a kind's group that are served, where the wished one is not: for messages.
    pub fn versions(&self, api_version: &str, kind: &str) -> Vec<&str> {
        let group = group_of(api_version);
        self.resources
            .iter()
            .filter(|other| other.kind == kind && group_of(&other.api_version) == group)
            .map(|other| other.api_version.as_str())
            .collect()
    }

    /// Adds what an aggregated discovery document says (`APIGroupDiscoveryList` of apidiscovery.k8s.io/v2 or v2beta1,
    /// answered by `/api` and `/apis`). `None` where it is no such document.
    pub fn add_aggregated(&mut self, document: &Value) -> Option<()> {
        if document.get("kind")?.as_str()? != "APIGroupDiscoveryList" {
            return None;
        }
        for group in document.get("items")?.as_array()? {
            let name = group.pointer("/metadata/name").and_then(Value::as_str);
            let versions = group.get("versions").and_then(Value::as_array);
            for version in versions.into_iter().flatten() {
                let Some(number) = version.get("version").and_then(Value::as_str) else {
                    continue;
                };
                let api_version = match name.unwrap_or_default() {
                    "" => number.to_owned(),
                    group => format!("{group}/{number}"),
                };
                let resources = version.get("resources").and_then(Value::as_array);
                let found = resources.into_iter().flatten();
                self.resources
                    .extend(found.filter_map(|resource| aggregated(&api_version, resource)));
            }
        }
        Some(())
    }

    /// Adds what an `APIResourceList` says (answered by `/api/v1` and `/apis/GROUP/VERSION`).
    pub fn add_list(&mut self, document: &Value) -> Option<()> {
        let api_version = document.get("groupVersion")?.as_str()?;
        for resource in document.get("resources")?.as_array()? {
            let name = resource.get("name").and_then(Value::as_str);
            let Some(plural) = name.filter(|name| !name.contains('/')) else {
                continue;
            };
            self.resources.push(ApiResource {
                api_version: api_version.to_owned(),
                kind: resource.get("kind")?.as_str()?.to_owned(),
                plural: plural.to_owned(),
                namespaced: resource.get("namespaced")?.as_bool()?,
            });
        }
        Some(())
    }
}

fn aggregated(api_version: &str, resource: &Value) -> Option<ApiResource> {
    Some(ApiResource {
        api_version: api_version.to_owned(),
        kind: resource.pointer("/responseKind/kind")?.as_str()?.to_owned(),
        plural: resource.get("resource")?.as_str()?.to_owned(),
        namespaced: resource.get("scope")?.as_str()? == "Namespaced",
    })
}

/// The kinds that CustomResourceDefinitions among these objects will bring.
pub fn of_crds<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Discovery {
    let mut found = Discovery::default();
    for object in objects {
        if super::key::kind(object) == "CustomResourceDefinition" {
            found.resources.extend(of_crd(object).unwrap_or_default());
        }
    }
    found
}

fn of_crd(object: &Value) -> Option<Vec<ApiResource>> {
    let spec = object.get("spec")?;
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let (group, kind, plural) = (
        text("/group")?,
        text("/names/kind")?,
        text("/names/plural")?,
    );
    let namespaced = text("/scope")? == "Namespaced";
    let versions = spec.get("versions")?.as_array()?.iter();
    let served = versions.filter(|v| v.get("served").and_then(Value::as_bool) == Some(true));
    let names = served.filter_map(|version| version.get("name")?.as_str());
    Some(
        names
            .map(|version| ApiResource {
                api_version: format!("{group}/{version}"),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced,
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_aggregated_document_names_kinds_with_their_versions_and_scopes() {
        let mut found = Discovery::default();
        let document = json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "items": [
                { "metadata": {}, "versions": [{ "version": "v1", "resources": [
                    { "resource": "namespaces", "responseKind": { "kind": "Namespace" }, "scope": "Cluster" }
                ]}]},
                { "metadata": { "name": "apps" }, "versions": [{ "version": "v1", "resources": [
                    { "resource": "deployments", "responseKind": { "kind": "Deployment" }, "scope": "Namespaced" }
                ]}]},
                { "metadata": { "name": "stale.example.org" }, "versions": [{ "version": "v1", "freshness": "Stale" }] }
            ]
        });
        found.add_aggregated(&document).unwrap();
        assert_eq!(
            found.get("apps/v1", "Deployment").unwrap().plural,
            "deployments"
        );
        assert!(!found.get("v1", "Namespace").unwrap().namespaced);
        assert_eq!(found.versions("apps/v1beta1", "Deployment"), ["apps/v1"]);
        assert_eq!(
            found.add_aggregated(&json!({ "kind": "APIGroupList" })),
            None
        );
    }

    #[test]
    fn a_definition_says_which_kind_it_brings_in_which_served_versions() {
        let crd = json!({
            "kind": "CustomResourceDefinition",
            "spec": {
                "group": "example.org", "scope": "Cluster",
                "names": { "kind": "Pool", "plural": "pools" },
                "versions": [{ "name": "v1", "served": true }, { "name": "v0", "served": false }]
            }
        });
        let found = of_crds([&crd]);
        assert_eq!(found.resources.len(), 1);
        assert!(!found.get("example.org/v1", "Pool").unwrap().namespaced);
    }
}
