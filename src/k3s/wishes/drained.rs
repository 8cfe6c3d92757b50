//! That a Node is drained, and what may be lost by that.

use serde::Serialize;

use super::{Decided, drift, key, kube, list, of_cluster, text};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::JobEnd;
use crate::model::event::DiffLine;
use crate::model::kube::{KubeAction, drain};
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;
use crate::steps::shared::diff::shown;
use crate::steps::{Decision, Touches, Want, Wish};

/// That no pods are on a Node but those that belong there, and that no new ones come.
#[derive(Clone, Debug, Serialize)]
pub struct Drained {
    /// The Node.
    pub node: String,
    /// How long budgets and pods are waited for.
    pub timeout: TimeSpan,
    /// Also what is lost with it: pods that nothing makes anew, volumes on its disk.
    pub lose: bool,
}

impl Wish for Drained {
    fn facts(&self, known: &Known<'_>) -> Want {
        let lists = ["Node", "Pod", "PersistentVolume"].map(list);
        Want::all(known, lists)
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let nodes = known.kube_list(&list("Node"))?;
        let Some(node) = nodes.and_then(|nodes| nodes.get(&self.node)) else {
            return Ok(Decision::Unchanged);
        };
        let items = |kind: &str| -> Result<Vec<serde_json::Value>, Unreadable> {
            let listed = known.kube_list(&list(kind))?;
            Ok(listed.map(|list| list.items.clone()).unwrap_or_default())
        };
        let pods = drain::leaving(&items("Pod")?, &self.node);
        let volumes = drain::volumes(&items("PersistentVolume")?, &self.node);
        if let Some(failure) = lost(&self.node, &pods, &volumes).filter(|_| !self.lose) {
            return Ok(Decision::Refused(failure));
        }
        let (mut diff, mut actions) = (Vec::new(), Vec::new());
        let cordoned = node
            .pointer("/spec/unschedulable")
            .and_then(serde_json::Value::as_bool);
        if cordoned != Some(true) {
            diff.push(DiffLine::new("cordoned: no new pods are put on it"));
            actions.push(kube(KubeAction::Patch {
                key: key("Node", None, &self.node),
                patch: Text::plain(r#"{"spec":{"unschedulable":true}}"#),
                resource_version: None,
            }));
        }
        if !pods.is_empty() {
            for pod in &pods {
                let line = format!("Pod {}/{}", pod.namespace, pod.name);
                diff.push(DiffLine::old(shown(&line)));
            }
            actions.push(kube(KubeAction::Drain {
                node: self.node.clone(),
                timeout: self.timeout,
            }));
        }
        drift(diff, actions)
    }

    fn touches(&self) -> Touches {
        of_cluster()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn explain(&self, failure: Failure, _end: &JobEnd) -> Failure {
        let node = &self.node;
        failure.hint(format!(
            "let more pods of the same kind run elsewhere, or give it more time: --drain-timeout. It stays cordoned; `kubectl uncordon {node}` puts it back to work"
        ))
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}

/// What would be lost with a Node.
pub fn lost(node: &str, pods: &[drain::Leaving], volumes: &[String]) -> Option<Failure> {
    let alone: Vec<String> = pods
        .iter()
        .filter(|pod| pod.alone)
        .map(|pod| format!("{}/{}", pod.namespace, pod.name))
        .collect();
    if alone.is_empty() && volumes.is_empty() {
        return None;
    }
    let mut failure = Failure::new(format!("something would be lost with {node}")).hint(
        "move it away first (back up what is in the volumes, and delete their claims), or let it go: --delete-local-data",
    );
    for pod in alone {
        failure = failure.evidence(format!("Pod {pod}: nothing makes it anew elsewhere"));
    }
    for claim in volumes {
        failure = failure.evidence(format!(
            "volume of {claim}: it is on the disk of this node alone"
        ));
    }
    Some(failure)
}
