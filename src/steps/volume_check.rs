//! `volume_check`: tries a StorageClass with a volume, once.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::shared::diff::shown;
use super::shared::kube::list_fact;
use super::{Class, Decision, Kind, Scope, Touches, Want};
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::kube::key::meta;
use crate::model::kube::ready::Expected;
use crate::model::kube::{Awaited, KubeAction, KubeObject, ObjectKey, OldObject};
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

/// Tries a StorageClass: a claim of it and a pod that mounts the volume are made, awaited, and deleted again. It is tried
/// once as it is: an annotation of the class says so, and goes with the class.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeCheck {
    /// The class.
    pub class: String,
    /// It must be the one and only default class: with two, the newest is taken for claims that name none, whichever
    /// that is.
    #[serde(default)]
    pub only_default: bool,
    /// Where claim and pod are made.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// The image of the pod, which does nothing. By default the one that K3s runs under every pod anyhow.
    #[serde(default = "default_image")]
    pub image: String,
    /// How long volume and pod may take.
    #[serde(default = "default_timeout")]
    pub timeout: TimeSpan,
}

/// The annotation that says what was tried.
const TRIED: &str = "hmco-boot/volume-tried";
/// The annotation of a default class (kubernetes.io/docs: storage classes).
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
/// The annotation by which local-path makes volumes of another type: what is tried with one says nothing of another.
const VOLUME_TYPE: &str = "defaultVolumeType";
/// The name of claim and pod.
const NAME: &str = "hmco-boot-volume-check";

fn default_namespace() -> String {
    "default".to_owned()
}

fn default_image() -> String {
    "rancher/mirrored-pause:3.6".to_owned()
}

fn default_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(300))
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(name)?
        .as_str()
}

/// What a trial is good for: this very class, with this type of volumes. All else of a class never changes.
fn stamp(class: &Value) -> String {
    let uid = meta(class, "uid").unwrap_or_default();
    match annotation(class, VOLUME_TYPE) {
        Some(sort) => format!("{uid}/{sort}"),
        None => uid.to_owned(),
    }
}

impl VolumeCheck {
    fn class_key(&self) -> ObjectKey {
        ObjectKey {
            api_version: "storage.k8s.io/v1".to_owned(),
            kind: "StorageClass".to_owned(),
            namespace: None,
            name: self.class.clone(),
        }
    }

    fn list(&self) -> Fact {
        list_fact(&self.class_key())
    }

    fn made(&self, kind: &str) -> ObjectKey {
        ObjectKey {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.namespace.clone()),
            name: NAME.to_owned(),
        }
    }

    fn claim(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": NAME, "namespace": self.namespace },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": self.class,
                "resources": { "requests": { "storage": "1Mi" } }
            }
        })
    }

    /// As harmless as the strictest Pod Security level wants it, so that it is admitted everywhere.
    fn pod(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": NAME, "namespace": self.namespace },
            "spec": {
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65535, "seccompProfile": { "type": "RuntimeDefault" }
                },
                "containers": [{
                    "name": "mounts", "image": self.image,
                    "resources": { "requests": { "cpu": "1m", "memory": "4Mi" }, "limits": { "cpu": "100m", "memory": "32Mi" } },
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                    "volumeMounts": [{ "name": "volume", "mountPath": "/volume" }]
                }],
                "volumes": [{ "name": "volume", "persistentVolumeClaim": { "claimName": NAME } }]
            }
        })
    }

    /// Why this cannot be the one default class.
    fn other_defaults(&self, classes: &[Value]) -> Option<Failure> {
        let is_default = |class: &&Value| annotation(class, DEFAULT) == Some("true");
        let names: Vec<&str> = classes
            .iter()
            .filter(is_default)
            .filter_map(|class| meta(class, "name"))
            .collect();
        if names == [self.class.as_str()] {
            return None;
        }
        let failure = match names.is_empty() {
            true => Failure::new("there is no default StorageClass"),
            false => Failure::new(format!(
                "{} is not the one default StorageClass: {} {}",
                self.class,
                names.join(", "),
                if names.len() == 1 { "is" } else { "are" }
            )),
        };
        let other = names.iter().find(|name| **name != self.class);
        Some(match other {
            Some(other) => failure.hint(format!(
                "kubectl annotate --overwrite storageclass {other} {DEFAULT}=false"
            )),
            None => failure.hint(format!(
                "kubectl annotate --overwrite storageclass {} {DEFAULT}=true",
                self.class
            )),
        })
    }
}

impl Kind for VolumeCheck {
    type Drift = String;
    const NAME: &'static str = "volume_check";
    const SUMMARY: &'static str = "Tries a StorageClass with a volume and a pod, once.";
    const CLASS: Class = Class::Action;
    const SCOPE: Scope = Scope::Cluster;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (key, value) in [("class", &self.class), ("image", &self.image)] {
            if value.trim().is_empty() {
                found.push((key, "must not be empty".to_owned()));
            }
        }
        found
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, [self.list()])
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let classes = known.kube_list(&self.list())?;
        let Some(class) = classes.and_then(|classes| classes.get(&self.class)) else {
            return Ok(Decision::Refused(
                Failure::new(format!("there is no StorageClass {}", self.class)).hint(
                    "a step before this one brings it, or awaits it (`wait` with `object`): K3s makes its own some seconds after its start",
                ),
            ));
        };
        let classes = classes.map(|classes| classes.items.as_slice());
        if self.only_default
            && let Some(failure) = self.other_defaults(classes.unwrap_or_default())
        {
            return Ok(Decision::Refused(failure));
        }
        let stamp = stamp(class);
        if annotation(class, TRIED) == Some(&stamp) {
            return Ok(Decision::Unchanged);
        }
        let line = format!("no volume of {} was tried since it was made", self.class);
        Ok(Decision::Drift {
            diff: vec![DiffLine::old(shown(&line))],
            drift: stamp,
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        let both = vec![self.made("Pod"), self.made("PersistentVolumeClaim")];
        let object = |key: &ObjectKey, body: Value| KubeObject {
            key: key.clone(),
            body: Text::plain(body.to_string()),
        };
        let awaited = |kind: &str, what| Awaited {
            key: self.made(kind),
            what,
        };
        let bound = Expected::Field {
            pointer: "/status/phase".to_owned(),
            value: Some("Bound".to_owned()),
        };
        let patch = json!({ "metadata": { "annotations": { (TRIED): drift } } });
        let actions = [
            // What a trial that was cut off left behind proves nothing.
            KubeAction::Delete {
                objects: both.into_iter().map(OldObject::named).collect(),
                timeout: self.timeout,
            },
            KubeAction::Try {
                objects: vec![
                    object(&self.made("PersistentVolumeClaim"), self.claim()),
                    object(&self.made("Pod"), self.pod()),
                ],
                awaited: vec![
                    awaited("PersistentVolumeClaim", bound),
                    awaited("Pod", Expected::Ready),
                ],
                timeout: self.timeout,
            },
            KubeAction::Patch {
                key: self.class_key(),
                patch: Text::plain(patch.to_string()),
                resource_version: None,
            },
        ];
        actions
            .into_iter()
            .map(|action| Action::Kube(Box::new(action)))
            .collect()
    }

    fn touches(&self) -> Touches {
        Touches {
            cluster: true,
            ..Touches::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::fact::FactValue;
    use crate::facts::known::Store;
    use crate::model::id::Target;
    use crate::model::kube::ObjectList;

    fn class(name: &str, annotations: Value) -> Value {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": { "name": name, "uid": format!("uid-of-{name}"), "annotations": annotations }
        })
    }

    fn decided(items: Vec<Value>) -> Decision<String> {
        let wish: VolumeCheck =
            serde_json::from_value(json!({ "class": "local-path", "only_default": true })).unwrap();
        let mut store = Store::default();
        let list = FactValue::KubeList(Arc::new(ObjectList { items }));
        store.insert(&Target::Cluster, [(wish.list(), Ok(list))]);
        wish.decide(&store.view(&Target::Cluster)).unwrap()
    }

    #[test]
    fn a_class_is_tried_once_as_it_is() {
        let fresh = json!({ (DEFAULT): "true" });
        let Decision::Drift { drift, .. } = decided(vec![class("local-path", fresh)]) else {
            panic!("it was never tried");
        };
        assert_eq!(drift, "uid-of-local-path");
        let tried = json!({ (DEFAULT): "true", (TRIED): drift });
        assert_eq!(
            decided(vec![class("local-path", tried)]),
            Decision::Unchanged
        );
        // Volumes of another type are other volumes.
        let other = json!({ (DEFAULT): "true", (VOLUME_TYPE): "local", (TRIED): drift });
        assert!(matches!(
            decided(vec![class("local-path", other)]),
            Decision::Drift { .. }
        ));
    }

    #[test]
    fn what_is_made_for_a_trial_goes_with_it() {
        let wish: VolumeCheck = serde_json::from_value(json!({ "class": "local-path" })).unwrap();
        let made = |action: Action| match action {
            Action::Kube(action) => match *action {
                KubeAction::Apply { objects, .. } => panic!("it is left behind: {objects:?}"),
                KubeAction::Try { objects, .. } => objects.len(),
                _ => 0,
            },
            other => panic!("{other:?}"),
        };
        let all: usize = wish.apply(&String::new()).into_iter().map(made).sum();
        assert_eq!(all, 2);
    }

    #[test]
    fn no_default_and_two_defaults_are_refused_with_the_command_that_cures() {
        let refused = |items| match decided(items) {
            Decision::Refused(failure) => format!("{failure:?}"),
            other => panic!("{other:?}"),
        };
        let default = || json!({ (DEFAULT): "true" });
        let none = refused(vec![class("local-path", json!({}))]);
        assert!(none.contains("no default") && none.contains("storageclass local-path"));
        let two = refused(vec![
            class("local-path", default()),
            class("nfs", default()),
        ]);
        assert!(
            two.contains("storageclass nfs") && two.contains("=false"),
            "{two}"
        );
        assert!(refused(Vec::new()).contains("there is no StorageClass local-path"));
    }
}
