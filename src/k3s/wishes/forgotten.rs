//! That Kubernetes and etcd know nothing of a node any more.

use std::time::Duration;

use serde::Serialize;

use super::{Decided, drift, key, kube, of_cluster, text};
use crate::facts::fact::FactError;
use crate::facts::known::{Known, Unreadable};
use crate::k3s::look;
use crate::model::event::DiffLine;
use crate::model::kube::{KubeAction, ObjectKey, OldObject};
use crate::model::units::TimeSpan;
use crate::steps::shared::diff::shown;
use crate::steps::shared::kube::list_fact;
use crate::steps::{Decision, Poll, Touches, Want, Wish};

/// How long a deleted object may take to be gone: K3s' controllers take the member of etcd out first, and a new leader is chosen
/// where that was the leader.
const GONE: TimeSpan = TimeSpan(Duration::from_secs(120));

/// That Kubernetes knows nothing of a node: no Node, no node password. With the Node K3s takes its member out of etcd.
#[derive(Clone, Debug, Serialize)]
pub struct Forgotten {
    /// The Node.
    pub node: String,
}

impl Forgotten {
    fn objects(&self) -> [ObjectKey; 2] {
        let password = format!("{}.node-password.k3s", self.node);
        [
            key("Node", None, &self.node),
            key("Secret", Some("kube-system"), &password),
        ]
    }
}

impl Wish for Forgotten {
    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, self.objects().map(|key| list_fact(&key)))
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let (mut diff, mut actions) = (Vec::new(), Vec::new());
        // The Node first: as long as it is there, its K3s may make the Secret anew.
        for key in self.objects() {
            let listed = known.kube_list(&list_fact(&key))?;
            if let Some(live) = listed.and_then(|list| list.get(&key.name)) {
                diff.push(DiffLine::old(key.to_string()));
                actions.push(kube(KubeAction::Delete {
                    objects: vec![OldObject::of(key, live)],
                    timeout: GONE,
                }));
            }
        }
        drift(diff, actions)
    }

    fn touches(&self) -> Touches {
        of_cluster()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}

/// That etcd has no such member any more, by the word of the server that it is asked on.
#[derive(Clone, Debug, Serialize)]
pub struct MemberGone {
    /// The member's name.
    pub member: String,
}

impl Wish for MemberGone {
    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, look::facts())
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let told = look::told(|fact| known.answer(fact));
        let missing = match told.map(|told| told.members) {
            Ok(Some(Ok(members))) => match members.iter().any(|one| one.name == self.member) {
                true => format!("etcd still has the member {}", self.member),
                false => return Ok(Decision::Unchanged),
            },
            Ok(Some(Err(why))) => format!("it does not list the members of etcd: {}", shown(&why)),
            Ok(None) => "K3s does not run here, so it lists no members of etcd".to_owned(),
            Err(failure) => {
                return Err(Unreadable {
                    target: known.target().clone(),
                    fact: look::question(),
                    source: Some(FactError::Failed(failure.message)),
                });
            }
        };
        Ok(Decision::Drift {
            diff: vec![DiffLine::old(missing)],
            drift: Vec::new(),
        })
    }

    fn poll(&self) -> Option<Poll> {
        Some(Poll {
            interval: TimeSpan(Duration::from_secs(1)),
            timeout: TimeSpan(Duration::from_secs(90)),
        })
    }

    fn touches(&self) -> Touches {
        Touches::default()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}
