//! `namespace`: a namespace of Kubernetes.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::shared::Presence;
use super::shared::kube::{self, Drift, How, Wished};
use super::{Class, Decision, Kind, Scope, Touches, Want};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::units::TimeSpan;

/// A namespace with labels and annotations; those that others set stay, those of other steps too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, such as `"pod-security.kubernetes.io/enforce" = "restricted"`. One that is taken out here stays.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Take over labels and annotations that others own.
    #[serde(default)]
    pub force_conflicts: bool,
    /// `"absent"` deletes it with everything in it.
    #[serde(default)]
    pub state: Presence,
}

/// How long a new namespace may take to be active.
const ACTIVE: TimeSpan = TimeSpan(Duration::from_secs(60));

/// Namespaces that the cluster does not work without.
const NEVER_REMOVED: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

impl Namespace {
    fn wished(&self) -> Vec<Wished> {
        let mut metadata = json!({ "name": self.name });
        for (key, map) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if let Some(metadata) = metadata.as_object_mut().filter(|_| !map.is_empty()) {
                metadata.insert(key.to_owned(), json!(map));
            }
        }
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        Wished::new(object, false, true).into_iter().collect()
    }

    fn how(&self) -> How {
        How {
            force: self.force_conflicts,
            ready: Some(ACTIVE),
        }
    }
}

impl Kind for Namespace {
    type Drift = Drift;
    const NAME: &'static str = "namespace";
    const SUMMARY: &'static str = "A namespace of Kubernetes with its labels.";
    const CLASS: Class = Class::State;
    const SCOPE: Scope = Scope::Cluster;
    const DISRUPTIVE: bool = true;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let edges = self.name.starts_with('-') || self.name.ends_with('-');
        if self.name.is_empty() || self.name.len() > 63 || edges || !self.name.bytes().all(plain) {
            found.push((
                "name",
                format!(
                    "{:?} is not the name of a namespace: lowercase letters, digits and `-`",
                    self.name
                ),
            ));
        }
        if self.state == Presence::Absent && NEVER_REMOVED.contains(&self.name.as_str()) {
            found.push((
                "name",
                format!("{} is never deleted: the cluster needs it", self.name),
            ));
        }
        found
    }

    fn may_disrupt(&self) -> bool {
        self.state == Presence::Absent
    }

    fn disrupts(&self, drift: &Self::Drift) -> bool {
        !drift.remove.is_empty()
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        match self.state {
            Presence::Present => kube::facts(&self.wished(), known, self.how()),
            Presence::Absent => kube::facts_absent(&self.wished(), known),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        match self.state {
            Presence::Present => kube::decide(&self.wished(), known, self.how()),
            Presence::Absent => kube::decide_absent(&self.wished(), known),
        }
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        let mut actions = kube::apply(drift, self.how());
        actions.extend(kube::delete(&drift.remove));
        actions
    }

    fn touches(&self) -> Touches {
        Touches {
            cluster: true,
            ..Touches::default()
        }
    }
}
