//! Kubernetes objects as data: names of objects, documents of manifests, the order to install them in, whether a live
//! object is as wished, and whether it is ready. Pure: what talks to an API is `cluster`.

pub mod adjust;
pub mod discovery;
pub mod document;
pub mod drain;
pub mod fields;
pub mod key;
pub mod order;
pub mod patch;
pub mod reach;
pub mod ready;
pub mod secret;
pub mod show;

pub use discovery::{ApiResource, Discovery};
pub use key::ObjectKey;
pub use ready::{Awaited, Readiness};

use super::sensitive::Text;
use super::units::TimeSpan;

use serde::{Deserialize, Serialize};

/// The field manager under which hmco-boot owns what it applied.
pub const MANAGER: &str = "hmco-boot";

/// An object to apply: its name, and the whole of it as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KubeObject {
    /// Its name.
    pub key: ObjectKey,
    /// The object. Tainted where it may not be shown: a Secret, or made from a text with a secret in it.
    pub body: Text,
}

/// An object to delete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OldObject {
    /// Its name.
    pub key: ObjectKey,
    /// The `metadata.uid` of the one that was looked at: somebody may make another of this name at any time. `None` =
    /// whichever has the name.
    pub uid: Option<String>,
}

impl OldObject {
    /// This very object.
    pub fn of(key: ObjectKey, live: &serde_json::Value) -> Self {
        Self {
            uid: key::meta(live, "uid").map(str::to_owned),
            key,
        }
    }

    /// Whatever has this name.
    pub fn named(key: ObjectKey) -> Self {
        Self { key, uid: None }
    }
}

/// One change to what an API holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KubeAction {
    /// Apply these, all at once, as server-side applies of [`MANAGER`].
    Apply {
        /// The objects; none depends on another of them.
        objects: Vec<KubeObject>,
        /// Take fields over that others own. `false`: a conflict is an error that names them.
        force: bool,
    },
    /// Delete these, all at once, and wait until they are gone. Missing is fine, and another object of the same name is left.
    Delete {
        /// The objects.
        objects: Vec<OldObject>,
        /// How long to wait until they are gone.
        timeout: TimeSpan,
    },
    /// A JSON merge patch of one object, where an apply cannot say what is meant (lists without keys).
    Patch {
        /// The object.
        key: ObjectKey,
        /// The patch, a JSON object.
        patch: Text,
        /// The `resourceVersion` that it was decided on: if the object changed since, nothing is done and the action
        /// may be tried again.
        resource_version: Option<String>,
    },
    /// Wait until all of these are so.
    Await {
        /// What is awaited of which object.
        objects: Vec<Awaited>,
        /// How long to wait.
        timeout: TimeSpan,
    },
    /// Have the pods of a Node leave it by eviction, as far as PodDisruptionBudgets let them go, and wait until they are gone
    /// ([`drain::leaving`]).
    Drain {
        /// The Node.
        node: String,
        /// How long to wait for budgets and pods.
        timeout: TimeSpan,
    },
    /// Apply these, wait until all of `awaited` are so, and delete them again, whether they came to be so or not.
    Try {
        /// The objects; none depends on another of them.
        objects: Vec<KubeObject>,
        /// What is awaited of which object.
        awaited: Vec<Awaited>,
        /// How long to wait for that, and then until they are gone.
        timeout: TimeSpan,
    },
}

impl KubeAction {
    /// What it is for, as it goes on after "could not".
    pub fn purpose(&self) -> String {
        let some = |keys: Vec<&ObjectKey>| match keys.as_slice() {
            [] => "nothing".to_owned(),
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        match self {
            Self::Apply { objects, .. } => {
                format!("apply {}", some(objects.iter().map(|o| &o.key).collect()))
            }
            Self::Delete { objects, .. } => {
                format!("delete {}", some(objects.iter().map(|o| &o.key).collect()))
            }
            Self::Patch { key, .. } => format!("patch {key}"),
            Self::Await { objects, .. } => {
                format!(
                    "see {} ready",
                    some(objects.iter().map(|o| &o.key).collect())
                )
            }
            Self::Drain { node, .. } => format!("drain Node {node}"),
            Self::Try { objects, .. } => {
                format!("try {}", some(objects.iter().map(|o| &o.key).collect()))
            }
        }
    }
}

/// What a dry run of an apply gave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DryRun {
    /// The object as it would be.
    Object(serde_json::Value),
    /// Others own fields that it sets.
    Conflict(Vec<FieldConflict>),
    /// The API, an admission webhook or a quota refuses it, with this reason.
    Rejected(String),
    /// Nobody can tell: an admission webhook does not answer, or the API itself could not finish.
    NoAnswer(String),
}

/// A field that another manager owns.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct FieldConflict {
    /// Who, as the API says it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// Which: `.spec.replicas`.
    pub field: String,
}

/// All objects of a kind in a namespace (or of a kind without namespaces).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ObjectList {
    /// The objects, values of Secrets replaced by digests ([`secret::scrub`]).
    pub items: Vec<serde_json::Value>,
}

impl ObjectList {
    /// One by its name.
    pub fn get(&self, name: &str) -> Option<&serde_json::Value> {
        self.items
            .iter()
            .find(|item| key::meta(item, "name") == Some(name))
    }
}
