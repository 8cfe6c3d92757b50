//! The name of an object, and small questions to an object that is JSON.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of an object.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
pub struct ObjectKey {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `None` for kinds without namespaces.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The name that an object itself says, `None` where it has not all that a name needs.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |key: &str| {
            let text = object.get(key)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Some(Self {
            api_version: text("apiVersion")?,
            kind: text("kind")?,
            namespace: meta(object, "namespace").map(str::to_owned),
            name: meta(object, "name")
                .filter(|name| !name.is_empty())?
                .to_owned(),
        })
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        group_of(&self.api_version)
    }

    /// Whether other things go with it when it is deleted: all that is in a namespace, all custom resources of a definition, the
    /// data of a volume.
    pub fn holds_others(&self) -> bool {
        matches!(
            (self.group(), self.kind.as_str()),
            (
                "",
                "Namespace" | "PersistentVolumeClaim" | "PersistentVolume"
            ) | ("apiextensions.k8s.io", "CustomResourceDefinition")
        )
    }

    /// Whether both name one object, whichever version of its group they use.
    pub fn is_same(&self, other: &Self) -> bool {
        self.group() == other.group()
            && self.kind == other.kind
            && self.namespace == other.namespace
            && self.name == other.name
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// The group of an `apiVersion`; empty for the core group.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// A text of an object's metadata.
pub fn meta<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(key)?.as_str()
}

/// A text of an object.
pub fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}

/// A whole number of an object.
pub fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer)?.as_i64()
}

/// The kind of an object; empty where it has none.
pub fn kind(object: &Value) -> &str {
    text(object, "/kind").unwrap_or_default()
}
