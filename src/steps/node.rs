//! `node`: a Node of Kubernetes: labels, taints, whether pods may be put on it, and that it is Ready.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::shared::diff;
use super::shared::kube::{self, How, Wished};
use super::shared::yes;
use super::{Class, Decision, Kind, Scope, Touches, Want};
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::kube::key::text;
use crate::model::kube::ready::{Expected, readiness};
use crate::model::kube::{Awaited, KubeAction, ObjectKey, Readiness};
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

/// A Node of Kubernetes, which joined by itself. Labels and taints that others set stay, those of other steps too; taints of the
/// node's own controllers (`node.kubernetes.io/...`) are theirs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name in Kubernetes: the host name.
    pub name: String,
    /// Labels it has. One that is taken out here stays on the Node: `kubectl label node NAME KEY-` removes it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints it has.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// Taints it does not have, by key or `key:Effect`.
    #[serde(default)]
    pub remove_taints: Vec<String>,
    /// `true`: no new pods are put on it; `false`: they are. Not looked at by default.
    #[serde(default)]
    pub cordoned: Option<bool>,
    /// Wait until it is Ready; also on a run where nothing is to be changed.
    #[serde(default = "yes")]
    pub ready: bool,
    /// How long to wait for that, and for the Node to be there at all.
    #[serde(default = "default_ready_timeout")]
    pub ready_timeout: TimeSpan,
    /// Take over labels that others own.
    #[serde(default)]
    pub force_conflicts: bool,
}

/// A taint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: Option<String>,
    /// What it does.
    pub effect: Effect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Effect {
    /// New ones are not put there.
    NoSchedule,
    /// New ones are put elsewhere where that is possible.
    PreferNoSchedule,
    /// Those that run there are ended.
    NoExecute,
}

impl Effect {
    fn word(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// What there is to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Drift {
    labels: kube::Drift,
    /// The new list of taints, and whether pods may be put there; with the version of the Node they were decided on.
    patch: Option<(Value, Option<String>)>,
    wait: bool,
}

fn default_ready_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(300))
}

impl Node {
    fn key(&self) -> ObjectKey {
        ObjectKey {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: None,
            name: self.name.clone(),
        }
    }

    fn list(&self) -> Fact {
        kube::list_fact(&self.key())
    }

    fn how(&self) -> How {
        How {
            force: self.force_conflicts,
            ready: None,
        }
    }

    /// Labels are applied as fields of ours; an apply of a Node that is not there would make one without a machine.
    fn wished(&self) -> Vec<Wished> {
        if self.labels.is_empty() {
            return Vec::new();
        }
        let object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": self.name, "labels": self.labels }
        });
        Wished::new(object, false, true).into_iter().collect()
    }

    fn live<'a>(&self, known: &Known<'a>) -> Result<Option<&'a Value>, Unreadable> {
        let list = known.kube_list(&self.list())?;
        Ok(list.and_then(|list| list.get(&self.name)))
    }

    fn removes(&self, taint: &Value) -> bool {
        let key = text(taint, "/key").unwrap_or_default();
        let effect = text(taint, "/effect").unwrap_or_default();
        self.remove_taints
            .iter()
            .any(|named| named == key || *named == format!("{key}:{effect}"))
    }

    /// The taints as they shall be, those of others where they are.
    fn taints(&self, live: &Value) -> Vec<Value> {
        let same = |wished: &Taint, taint: &Value| {
            text(taint, "/key") == Some(&wished.key)
                && text(taint, "/effect") == Some(wished.effect.word())
        };
        let now = live.pointer("/spec/taints").and_then(Value::as_array);
        let mut taints: Vec<Value> = now.into_iter().flatten().cloned().collect();
        taints.retain(|taint| !self.removes(taint));
        for wished in &self.taints {
            let mut new = json!({ "key": wished.key, "effect": wished.effect.word() });
            if let (Some(value), Some(map)) = (&wished.value, new.as_object_mut()) {
                map.insert("value".to_owned(), json!(value));
            }
            match taints.iter_mut().find(|taint| same(wished, taint)) {
                Some(taint) if text(taint, "/value") == wished.value.as_deref() => {}
                Some(taint) => *taint = new,
                None => taints.push(new),
            }
        }
        taints
    }

    /// What differs in `spec`, with the patch that mends it.
    fn spec(&self, live: &Value, diff: &mut Vec<DiffLine>) -> Option<Value> {
        let mut spec = serde_json::Map::new();
        let now = live.pointer("/spec/taints").and_then(Value::as_array);
        let now: Vec<Value> = now.into_iter().flatten().cloned().collect();
        let wished = self.taints(live);
        if now != wished {
            for taint in now.iter().filter(|taint| !wished.contains(taint)) {
                diff.push(DiffLine::old(format!("taint {}", shown(taint))));
            }
            for taint in wished.iter().filter(|taint| !now.contains(taint)) {
                diff.push(DiffLine::new(format!("taint {}", shown(taint))));
            }
            spec.insert("taints".to_owned(), Value::Array(wished));
        }
        let is_cordoned =
            live.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true);
        if let Some(cordoned) = self.cordoned.filter(|wished| *wished != is_cordoned) {
            let words = |cordoned| match cordoned {
                true => "cordoned: no new pods are put on it",
                false => "not cordoned",
            };
            diff.push(DiffLine::old(words(is_cordoned)));
            diff.push(DiffLine::new(words(cordoned)));
            let value = if cordoned { json!(true) } else { Value::Null };
            spec.insert("unschedulable".to_owned(), value);
        }
        (!spec.is_empty()).then(|| json!({ "spec": spec }))
    }
}

fn shown(taint: &Value) -> String {
    let key = text(taint, "/key").unwrap_or_default();
    let effect = text(taint, "/effect").unwrap_or_default();
    diff::shown(&match text(taint, "/value") {
        Some(value) => format!("{key}={value}:{effect}"),
        None => format!("{key}:{effect}"),
    })
}

impl Kind for Node {
    type Drift = Drift;
    const NAME: &'static str = "node";
    const SUMMARY: &'static str = "Labels, taints and readiness of a Node of Kubernetes.";
    const CLASS: Class = Class::State;
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if self.name.is_empty()
            || self.name.contains(['/', ' '])
            || self.name.chars().any(char::is_uppercase)
        {
            found.push(("name", format!("{:?} is not the name of a Node", self.name)));
        }
        for taint in &self.taints {
            let own = taint.effect.word();
            if self
                .remove_taints
                .iter()
                .any(|named| *named == taint.key || *named == format!("{}:{own}", taint.key))
            {
                found.push((
                    "remove_taints",
                    format!("the taint {} is wished and taken away", taint.key),
                ));
            }
        }
        found
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        match Want::all(known, [self.list()]) {
            Want::Done => {}
            more => return more,
        }
        match self.live(known) {
            Ok(Some(_)) => kube::facts(&self.wished(), known, self.how()),
            _ => Want::Done,
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let Some(live) = self.live(known)? else {
            return Ok(Decision::Refused(
                Failure::new(format!("there is no Node {}", self.name)).hint(
                    "a machine becomes a Node when K3s runs on it: that step comes before this one",
                ),
            ));
        };
        let mut drift = Drift::default();
        let mut lines = Vec::new();
        match kube::decide(&self.wished(), known, self.how())? {
            Decision::Unchanged => {}
            Decision::Drift {
                diff,
                drift: labels,
            } => {
                lines = diff;
                drift.labels = labels;
            }
            Decision::Refused(failure) => return Ok(Decision::Refused(failure)),
            Decision::Unknown(failure) => return Ok(Decision::Unknown(failure)),
        }
        if let Some(patch) = self.spec(live, &mut lines) {
            let version = text(live, "/metadata/resourceVersion").map(str::to_owned);
            drift.patch = Some((patch, version));
        }
        if self.ready
            && let Readiness::Waiting(words) | Readiness::Failed(words) = readiness(live)
        {
            lines.push(DiffLine::old(format!("not Ready: {}", diff::shown(&words))));
            drift.wait = true;
        }
        Ok(match drift == Drift::default() {
            true => Decision::Unchanged,
            false => Decision::Drift { diff: lines, drift },
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        let mut actions = Vec::new();
        // The patch first, as it is for the very version of the Node that was read: it holds the taints of others too.
        if let Some((patch, resource_version)) = &drift.patch {
            actions.push(Action::Kube(Box::new(KubeAction::Patch {
                key: self.key(),
                patch: Text::plain(patch.to_string()),
                resource_version: resource_version.clone(),
            })));
        }
        actions.extend(kube::apply(&drift.labels, self.how()));
        if drift.wait {
            actions.push(Action::Kube(Box::new(KubeAction::Await {
                objects: vec![Awaited {
                    key: self.key(),
                    what: Expected::Ready,
                }],
                timeout: self.ready_timeout,
            })));
        }
        actions
    }

    fn touches(&self) -> Touches {
        Touches {
            cluster: true,
            ..Touches::default()
        }
    }
}
