//! What `wait` awaits of a Kubernetes object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::event::DiffLine;
use crate::model::kube::discovery::ApiResource;
use crate::model::kube::ready::Expected;
use crate::model::kube::{ObjectKey, Readiness};
use crate::steps::Want;
use crate::steps::shared::diff::shown;
use crate::steps::shared::kube::{list_fact, served};

/// A Kubernetes object that is as it should be: by default ready, by the rule of its kind (a Deployment whose pods are all
/// available, a Job that is complete); of kinds without a rule, there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, for kinds that have one; `default` by default.
    #[serde(default)]
    pub namespace: Option<String>,
    /// A condition of its status that has the status `status`.
    #[serde(default)]
    pub condition: Option<String>,
    /// The status of the condition; `True` by default.
    #[serde(default)]
    pub status: Option<String>,
    /// A JSON pointer to a field that is there: `/status/loadBalancer/ingress/0/ip`.
    #[serde(default)]
    pub field: Option<String>,
    /// What the field must be.
    #[serde(default)]
    pub value: Option<String>,
    /// `true`: it is gone, of a kind that the API serves.
    #[serde(default)]
    pub absent: bool,
}

impl Object {
    /// Its whole name; `None` where the API serves no such kind.
    fn key(&self, known: &Known<'_>) -> Result<Option<ObjectKey>, Unreadable> {
        let resource = served(known)?.get(&self.api_version, &self.kind);
        let namespace = |resource: &ApiResource| match (resource.namespaced, &self.namespace) {
            (true, None) => Some("default".to_owned()),
            (true, named) => named.clone(),
            (false, _) => None,
        };
        Ok(resource.map(|resource| ObjectKey {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: namespace(resource),
            name: self.name.clone(),
        }))
    }

    pub(super) fn facts(&self, known: &Known<'_>) -> Want {
        match Want::all(known, [Fact::KubeDiscovery]) {
            Want::Done => {}
            more => return more,
        }
        let key = self.key(known).ok().flatten();
        Want::all(known, key.as_ref().map(list_fact))
    }

    fn expected(&self) -> Expected {
        match (&self.condition, &self.field) {
            _ if self.absent => Expected::Absent,
            (Some(name), _) => Expected::Condition {
                name: name.clone(),
                status: self.status.clone().unwrap_or_else(|| "True".to_owned()),
            },
            (None, Some(pointer)) => Expected::Field {
                pointer: pointer.clone(),
                value: self.value.clone(),
            },
            (None, None) => Expected::Ready,
        }
    }

    /// What it lacks, as a line.
    pub(super) fn missing(&self, known: &Known<'_>) -> Result<Option<DiffLine>, Unreadable> {
        let Some(key) = self.key(known)? else {
            let line = format!("the API serves no {} of {}", self.kind, self.api_version);
            return Ok(Some(DiffLine::old(shown(&line))));
        };
        let list = known.kube_list(&list_fact(&key))?;
        let object = list.and_then(|list| list.get(&self.name));
        Ok(match self.expected().of(object) {
            Readiness::Ready => None,
            Readiness::Waiting(words) | Readiness::Failed(words) => {
                Some(DiffLine::old(shown(&format!("{key}: {words}"))))
            }
        })
    }

    pub(super) fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let ways = [self.absent, self.condition.is_some(), self.field.is_some()];
        if ways.iter().filter(|way| **way).count() > 1 {
            found.push((
                "object",
                "one of `absent`, `condition` and `field`, not several".to_owned(),
            ));
        }
        if self.status.is_some() && self.condition.is_none() {
            found.push((
                "object",
                "`status` is that of a condition: name it with `condition`".to_owned(),
            ));
        }
        if self.value.is_some() && self.field.is_none() {
            found.push((
                "object",
                "`value` is that of a field: name it with `field`".to_owned(),
            ));
        }
        if self
            .field
            .as_ref()
            .is_some_and(|field| !field.starts_with('/'))
        {
            found.push((
                "object",
                "`field` is a JSON pointer: `/status/phase`".to_owned(),
            ));
        }
        found
    }
}
