//! `manifest`: Kubernetes objects, from files, pinned artifacts or the playbook itself.

mod prepare;
mod set;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::kube::{self, Drift, How};
use super::shared::{Presence, yes};
use super::{Class, Decision, Kind, Scope, Touches, Want, Written};
use crate::facts::fact::{Fact, ManifestSource};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::artifact::{ArtifactRef, PinBook, PinProblem};
use crate::model::kube::document::{self, DocumentError};
use crate::model::kube::secret;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

/// Kubernetes objects as manifests say them: applied by server-side apply under the manager `hmco-boot`, in the order of
/// installing and not of the documents, definitions established before their custom resources; then awaited until they
/// are ready. What others own or added stays theirs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Files below `playbooks/` of the project, or embedded ones of the same path: YAML with one or more documents.
    /// Templates in them are not rendered.
    #[serde(default)]
    pub files: Vec<String>,
    /// Artifacts of hmco-boot.lock that are manifests.
    #[serde(default)]
    pub artifacts: Vec<ArtifactRef>,
    /// Documents in the playbook itself. Where the text holds a secret, all of them are Secrets.
    #[serde(default)]
    pub inline: Option<Text>,
    /// Namespace of objects that name none, and of the ServiceAccounts in role bindings that name none; `default`
    /// otherwise.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Objects (and ServiceAccounts in role bindings) of this namespace go to `namespace` as well: releases that say
    /// `default` and mean any.
    #[serde(default)]
    pub instead_of: Option<String>,
    /// Make `namespace` where it is not there and the manifests do not; one that is there is left as it is, and it is never
    /// deleted with the step.
    #[serde(default)]
    pub create_namespace: bool,
    /// Changes to single objects before they are applied.
    #[serde(default)]
    pub patches: Vec<Patch>,
    /// Images by what shall be used instead: `{ "quay.io/metallb/speaker" = "registry.lab/metallb/speaker" }`. The tag
    /// or digest stays unless the new one has its own.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Take over fields that others own. For a hand-over that is meant; otherwise a conflict fails the step and names
    /// them.
    #[serde(default)]
    pub force_conflicts: bool,
    /// Wait until workloads, jobs and definitions are ready; also on a run where nothing is to be applied.
    #[serde(default = "yes")]
    pub ready: bool,
    /// How long to wait for that.
    #[serde(default = "default_ready_timeout")]
    pub ready_timeout: TimeSpan,
    /// A name for these objects as a set, of which there is one in the cluster: what was in it before and is not wished any
    /// more is deleted. The cluster itself remembers what is in a set, so any machine may run the step, and which step applied
    /// it last: another one that would delete its objects is refused. A step that drops its `set`, or calls it otherwise,
    /// leaves the objects of the former one where they are.
    #[serde(default)]
    pub set: Option<String>,
    /// `"absent"` deletes the objects, in the order opposite to that of installing; deleted definitions take their custom
    /// resources with them.
    #[serde(default)]
    pub state: Presence,
    #[serde(skip)]
    #[schemars(skip)]
    written: Option<Written>,
    #[serde(skip)]
    #[schemars(skip)]
    prepared: prepare::Kept,
}

/// A change to one object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// Its kind: `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, where several objects have this kind and name.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Laid over the object: tables are merged, lists replaced; of lists whose items have a `name`, the items of the same
    /// name are merged.
    pub set: BTreeMap<String, serde_json::Value>,
    /// Keys that are taken away, as JSON pointers: `/spec/replicas`; each must be there.
    #[serde(default)]
    pub remove: Vec<String>,
}

fn default_ready_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(480))
}

impl Manifest {
    fn how(&self) -> How {
        How {
            force: self.force_conflicts,
            ready: self.ready.then_some(self.ready_timeout),
        }
    }

    /// Questions for the texts that are not in the wish, in the order of the wish.
    fn sources(&self) -> Vec<Fact> {
        let files = self.files.iter().cloned().map(ManifestSource::File);
        let pins = self.artifacts.iter().filter_map(|artifact| {
            // A manifest is for machines of all kinds.
            let found = artifact.found()?;
            let pin = found.pin("all").or_else(|| found.pins.first())?;
            Some(ManifestSource::Artifact(Box::new(pin.clone())))
        });
        files.chain(pins).map(Fact::KubeManifest).collect()
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What is wrong with documents in the playbook itself. What YAML says of a text may quote it: of one with a secret only the
/// kind of mistake is told.
fn inline_mistake(inline: &Text) -> Option<String> {
    let objects = match document::parse(inline.expose()) {
        Ok(objects) => objects,
        Err(DocumentError::NotText { .. }) if inline.is_tainted() => {
            return Some(format!(
                "a value of a Secret is no text, but what YAML makes of it: put it in quotes, {}",
                document::TEMPLATES
            ));
        }
        Err(_) if inline.is_tainted() => {
            return Some("this is not YAML (not shown: it holds a secret)".to_owned());
        }
        Err(error) => return Some(error.to_string()),
    };
    if objects.is_empty() {
        return Some("there is no object in this text".to_owned());
    }
    (inline.is_tainted() && !objects.iter().all(secret::is_secret)).then(|| {
        "a secret belongs in a Secret: give the other objects a step of their own".to_owned()
    })
}

impl Kind for Manifest {
    type Drift = Drift;
    const NAME: &'static str = "manifest";
    const SUMMARY: &'static str =
        "Kubernetes objects from files, pinned artifacts or the playbook.";
    const CLASS: Class = Class::State;
    const SCOPE: Scope = Scope::Cluster;
    const DISRUPTIVE: bool = true;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut mistake = |key, message: String| found.push((key, message));
        if self.files.is_empty() && self.artifacts.is_empty() && self.inline.is_none() {
            mistake(
                "files",
                "which objects? (`files`, `artifacts` or `inline`)".to_owned(),
            );
        }
        for file in &self.files {
            let odd = |part: &str| matches!(part, "" | "." | "..");
            if file.starts_with('/') || file.split('/').any(odd) {
                mistake(
                    "files",
                    format!("{file:?} is not a plain path below `playbooks/`"),
                );
            }
        }
        if let Some(message) = self.inline.as_ref().and_then(inline_mistake) {
            mistake("inline", message);
        }
        for (key, name) in [("namespace", &self.namespace), ("set", &self.set)] {
            if let Some(name) = name
                && !is_name(name)
            {
                mistake(
                    key,
                    format!("{name:?} is not a name that Kubernetes takes here"),
                );
            }
        }
        if self.namespace.is_none() && (self.create_namespace || self.instead_of.is_some()) {
            mistake("namespace", "which namespace? (`namespace`)".to_owned());
        }
        if self.set.is_some() && self.state == Presence::Absent {
            mistake(
                "set",
                "objects that shall all be gone are no set".to_owned(),
            );
        }
        found
    }

    fn pins(&mut self, book: &PinBook) -> Vec<(&'static str, PinProblem)> {
        let mut problems = Vec::new();
        for artifact in &mut self.artifacts {
            if let Err(problem) = artifact.resolve(book) {
                problems.push(("artifacts", problem));
            }
        }
        problems
    }

    fn claims(&self) -> Option<String> {
        let set = self.set.as_ref()?;
        Some(format!("the set {set}"))
    }

    fn placed(&mut self, step: &Written) {
        self.written = Some(step.clone());
    }

    /// Only a step that deletes.
    fn may_disrupt(&self) -> bool {
        self.set.is_some() || self.state == Presence::Absent
    }

    /// Whether what is deleted takes more with it than itself, or is all of a set: that may be somebody else's set.
    fn disrupts(&self, drift: &Self::Drift) -> bool {
        drift.removes_all || drift.remove.iter().any(|old| old.key.holds_others())
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let first = self.sources().into_iter().chain([Fact::KubeDiscovery]);
        match Want::all(known, first) {
            Want::Done => {}
            more => return more,
        }
        let Ok(Ok(prepared)) = self.prepare(known) else {
            // The decision says what is wrong.
            return Want::Done;
        };
        match self.state {
            Presence::Absent => kube::facts_absent(&prepared.wished, known),
            Presence::Present => kube::facts(&prepared.wished, known, self.how())
                .and(set::facts(self, &prepared, known)),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let prepared = match self.prepare(known)? {
            Ok(prepared) => prepared,
            Err(failure) => return Ok(Decision::Refused(failure)),
        };
        match self.state {
            Presence::Absent => kube::decide_absent(&prepared.wished, known),
            Presence::Present => {
                let decision = kube::decide(&prepared.wished, known, self.how())?;
                set::pruned(self, &prepared, known, decision)
            }
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
