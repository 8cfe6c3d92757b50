//! From what differs to actions, in the order of installing.

use std::time::Duration;

use super::{Drift, How};
use crate::model::action::Action;
use crate::model::kube::ready::Expected;
use crate::model::kube::{Awaited, KubeAction, KubeObject, ObjectKey, OldObject, order};
use crate::model::units::TimeSpan;

/// How long a definition may take to be established: it takes less than a second, or does not come.
const ESTABLISHED: TimeSpan = TimeSpan(Duration::from_secs(60));
/// How long to wait until deleted objects are gone.
pub(super) const GONE: TimeSpan = TimeSpan(Duration::from_secs(300));

/// Applies in waves; definitions are established before anything else goes on. Custom resources of these definitions come
/// when the workloads are ready: the webhook that checks them may be one. Others do not wait: a workload may wait for them, as
/// for a certificate.
pub fn apply(drift: &Drift, how: How) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut open: Vec<ObjectKey> = drift.wait.clone();
    waves(&mut actions, &mut open, &drift.first, how);
    waves(&mut actions, &mut open, &drift.apply, how);
    if !drift.late.is_empty() {
        await_all(&mut actions, &mut open, how);
        waves(&mut actions, &mut open, &drift.late, how);
    }
    await_all(&mut actions, &mut open, how);
    actions
}

fn waves(actions: &mut Vec<Action>, open: &mut Vec<ObjectKey>, objects: &[KubeObject], how: How) {
    for (_, objects) in order::waves(objects.to_vec(), |object| &object.key) {
        let definitions: Vec<ObjectKey> = objects
            .iter()
            .map(|object| &object.key)
            .filter(|key| key.kind == "CustomResourceDefinition")
            .cloned()
            .collect();
        actions.push(kube(KubeAction::Apply {
            objects,
            force: how.force,
        }));
        if !definitions.is_empty() {
            open.retain(|key| !definitions.contains(key));
            actions.push(kube(KubeAction::Await {
                objects: definitions.into_iter().map(ready).collect(),
                timeout: ESTABLISHED,
            }));
        }
    }
}

fn await_all(actions: &mut Vec<Action>, open: &mut Vec<ObjectKey>, how: How) {
    if let Some(timeout) = how.ready
        && !open.is_empty()
    {
        let objects = std::mem::take(open).into_iter().map(ready).collect();
        actions.push(kube(KubeAction::Await { objects, timeout }));
    }
}

/// Deletes in the order opposite to that of installing, each wave gone before the next.
pub fn delete(objects: &[OldObject]) -> Vec<Action> {
    let waves = order::waves(objects.to_vec(), |old| &old.key);
    let waves = waves.into_iter().rev();
    waves
        .map(|(_, objects)| {
            kube(KubeAction::Delete {
                objects,
                timeout: GONE,
            })
        })
        .collect()
}

fn ready(key: ObjectKey) -> Awaited {
    Awaited {
        key,
        what: Expected::Ready,
    }
}

fn kube(action: KubeAction) -> Action {
    Action::Kube(Box::new(action))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sensitive::Text;

    fn key(api_version: &str, kind: &str, name: &str) -> ObjectKey {
        ObjectKey {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: None,
            name: name.into(),
        }
    }

    fn told(actions: &[Action]) -> Vec<String> {
        actions.iter().filter_map(Action::purpose).collect()
    }

    #[test]
    fn definitions_are_established_and_workloads_ready_before_their_custom_resources_come() {
        let keys = [
            key("example.org/v1", "Pool", "p"),
            key("apps/v1", "Deployment", "d"),
            key(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "pools",
            ),
            key("v1", "Namespace", "n"),
        ];
        let body = |key: &ObjectKey| KubeObject {
            key: key.clone(),
            body: Text::plain("{}"),
        };
        let certificate = key("cert-manager.io/v1", "Certificate", "c");
        let mut drift = Drift {
            first: vec![body(&key("v1", "ConfigMap", "memory"))],
            apply: keys[1..].iter().chain([&certificate]).map(body).collect(),
            late: vec![body(&keys[0])],
            wait: vec![keys[1].clone(), keys[2].clone()],
            ..Drift::default()
        };
        let how = How {
            force: false,
            ready: Some(TimeSpan::parse("1m").unwrap()),
        };
        assert_eq!(
            told(&apply(&drift, how)),
            [
                "apply ConfigMap memory",
                "apply Namespace n",
                "apply CustomResourceDefinition pools",
                "see CustomResourceDefinition pools ready",
                "apply Deployment d",
                "apply Certificate c",
                "see Deployment d ready",
                "apply Pool p",
            ]
        );
        drift.late.clear();
        assert_eq!(
            told(&apply(&drift, how)).last().unwrap(),
            "see Deployment d ready"
        );
        let removal = delete(&keys.map(OldObject::named));
        assert_eq!(
            told(&removal),
            [
                "delete Pool p",
                "delete Deployment d",
                "delete CustomResourceDefinition pools",
                "delete Namespace n",
            ]
        );
    }
}
