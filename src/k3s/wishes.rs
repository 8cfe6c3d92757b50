//! What the steps of [`plans`](super::plans) bring about. Each looks before it acts, so a command that was cut off is given again
//! and goes on.

use std::time::Duration;

use serde::Serialize;

use super::leave::{self, Leave, Machine};
use super::look;
use super::status::{Listed, Seen, Silence, Status};
use crate::facts::fact::{Fact, FactError};
use crate::facts::known::{FactRef, Known, Unreadable};
use crate::model::action::{Action, JobEnd};
use crate::model::event::DiffLine;
use crate::model::id::{NodeName, Target};
use crate::model::kube::{KubeAction, ObjectKey, drain};
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;
use crate::steps::preflight::Role;
use crate::steps::shared::diff::shown;
use crate::steps::shared::k3s::cluster::is_alive;
use crate::steps::shared::k3s::files::{HOLD, path, unit_name};
use crate::steps::shared::k3s::scripts;
use crate::steps::shared::kube::list_fact;
use crate::steps::shared::script;
use crate::steps::{Decision, Poll, Touches, Want, Wish};

type Decided = Result<Decision<Vec<Action>>, Unreadable>;

/// How long a deleted object may take to be gone: K3s' controllers take the member of etcd out first, and a new leader is chosen
/// where that was the leader.
const GONE: TimeSpan = TimeSpan(Duration::from_secs(120));

fn key(kind: &str, namespace: Option<&str>, name: &str) -> ObjectKey {
    ObjectKey {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

fn list(kind: &str, namespace: Option<&str>) -> Fact {
    list_fact(&key(kind, namespace, ""))
}

fn drift(diff: Vec<DiffLine>, actions: Vec<Action>) -> Decided {
    Ok(match actions.is_empty() {
        true => Decision::Unchanged,
        false => Decision::Drift {
            diff,
            drift: actions,
        },
    })
}

fn kube(action: KubeAction) -> Action {
    Action::Kube(Box::new(action))
}

fn of_cluster() -> Touches {
    Touches {
        cluster: true,
        ..Touches::default()
    }
}

/// A server to ask.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its name.
    pub name: NodeName,
    /// Its address.
    pub address: Option<String>,
}

/// That the cluster can still do without a node. As a check that waits it looks anew whenever something was applied before it: what
/// held before a drain of many minutes may not hold after it.
#[derive(Clone, Debug, Serialize)]
pub struct Guard {
    /// The cluster's name.
    pub cluster: String,
    /// All servers of the inventory.
    pub servers: Vec<Server>,
    /// How the node was to leave, when that was decided.
    pub leave: Leave,
    /// Its machine is dead.
    pub dead: bool,
}

impl Guard {
    fn seen(&self, known: &Known<'_>) -> Vec<Seen> {
        let seen = |server: &Server| {
            let target = Target::Node(server.name.clone());
            let told = look::told(|fact| known.answer_of(&target, fact));
            Seen {
                name: server.name.to_string(),
                role: Some(Role::Server),
                address: server.address.clone(),
                told: told.map_err(|failure| Silence {
                    unreachable: true,
                    failure,
                }),
            }
        };
        self.servers.iter().map(seen).collect()
    }
}

impl Wish for Guard {
    fn facts(&self, known: &Known<'_>) -> Want {
        let of_servers = self.servers.iter().flat_map(|server| {
            let target = Target::Node(server.name.clone());
            look::facts().into_iter().map(move |fact| FactRef {
                target: Some(target.clone()),
                fact,
            })
        });
        let nodes = std::iter::once(FactRef::from(list("Node", None)));
        let missing: Vec<FactRef> = of_servers
            .chain(nodes)
            .filter(|fact| !known.has(fact))
            .collect();
        match missing.is_empty() {
            true => Want::Done,
            false => Want::More(missing),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let listed = known.kube_list(&list("Node", None))?;
        let listed = Listed {
            nodes: listed.map(|list| list.items.clone()).unwrap_or_default(),
            deployments: Vec::new(),
        };
        let status = Status::of(&self.cluster, &self.seen(known), Ok(&listed));
        let machine = match self.dead {
            true => Machine::Dead,
            false => Machine::Here,
        };
        Ok(match leave::still(&status, &self.leave, machine) {
            Ok(()) => Decision::Unchanged,
            Err(failure) => Decision::Refused(failure),
        })
    }

    fn poll(&self) -> Option<Poll> {
        Some(Poll {
            interval: TimeSpan(Duration::from_secs(2)),
            timeout: TimeSpan(Duration::from_secs(30)),
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

fn text(wish: &impl Serialize) -> String {
    serde_json::to_string(wish).unwrap_or_default()
}

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
        let lists = ["Node", "Pod", "PersistentVolume"].map(|kind| list(kind, None));
        Want::all(known, lists)
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let nodes = known.kube_list(&list("Node", None))?;
        let Some(node) = nodes.and_then(|nodes| nodes.get(&self.node)) else {
            return Ok(Decision::Unchanged);
        };
        let items = |kind: &str| -> Result<Vec<serde_json::Value>, Unreadable> {
            let listed = known.kube_list(&list(kind, None))?;
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

/// That K3s does not run on a machine, and does not come back at its next boot.
#[derive(Clone, Debug, Serialize)]
pub struct Stopped {
    /// It may go on until it ends by itself, as it does when its member is taken out of etcd; it is not started again then.
    pub by_itself: bool,
}

const STOP: &str = r#"[ -z "$R" ] || exit 0
for u in k3s.service k3s-agent.service; do
  systemctl cat "$u" >/dev/null 2>&1 || continue
  systemctl disable "$u" 2>/dev/null || :
  [ "$1" = now ] || continue
  systemctl stop "$u"
done
[ "$1" != now ] || exit 0
mkdir -p /run/systemd/system/k3s.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/k3s.service.d/hmco-boot-leaving.conf
systemctl daemon-reload
"#;

impl Wish for Stopped {
    fn facts(&self, known: &Known<'_>) -> Want {
        let units = [Role::Server, Role::Agent].map(|role| Fact::Unit {
            name: unit_name(role).to_owned(),
        });
        let hold = Fact::Stat { path: path(HOLD) };
        Want::all(known, units.into_iter().chain([hold]))
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let held = known.stat(&path(HOLD))?.is_some();
        let mut diff = Vec::new();
        for role in [Role::Server, Role::Agent] {
            let name = unit_name(role);
            let Some(unit) = known.unit(name)? else {
                continue;
            };
            if unit.enabled == "enabled" {
                diff.push(DiffLine::old(format!("{name} starts at boot")));
            }
            match (self.by_itself, is_alive(unit)) {
                (false, true) => diff.push(DiffLine::old(format!("{name} runs"))),
                (true, true) if !held => {
                    diff.push(DiffLine::old(format!(
                        "{name} is started again when it ends"
                    )));
                }
                _ => {}
            }
        }
        let (purpose, word) = match self.by_itself {
            true => ("keep K3s from starting again", "later"),
            false => ("stop K3s", "now"),
        };
        let actions = match diff.is_empty() {
            true => Vec::new(),
            false => vec![script::run(
                "k3s-stop",
                purpose.to_owned(),
                STOP,
                [word],
                &[],
            )],
        };
        drift(diff, actions)
    }

    fn touches(&self) -> Touches {
        Touches {
            units: [Role::Server, Role::Agent]
                .map(|role| unit_name(role).to_owned())
                .to_vec(),
            paths: vec![path(HOLD)],
            k3s: true,
            cluster: true,
            ..Touches::default()
        }
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}

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
            if listed.is_some_and(|list| list.get(&key.name).is_some()) {
                diff.push(DiffLine::old(key.to_string()));
                actions.push(kube(KubeAction::Delete {
                    objects: vec![key],
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

/// That nothing of K3s is on a machine: no processes, no files, no data.
#[derive(Clone, Debug, Serialize)]
pub struct Clean;

impl Wish for Clean {
    fn facts(&self, known: &Known<'_>) -> Want {
        let units = [Role::Server, Role::Agent].map(|role| Fact::Unit {
            name: unit_name(role).to_owned(),
        });
        Want::all(known, scripts::remains().into_iter().chain(units))
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let mut diff = Vec::new();
        for role in [Role::Server, Role::Agent] {
            let name = unit_name(role);
            if known.unit(name)?.is_some_and(is_alive) {
                diff.push(DiffLine::old(format!("{name} runs")));
            }
        }
        for fact in scripts::remains() {
            let Some(at) = fact.path() else { continue };
            if known.stat(at)?.is_some() {
                diff.push(DiffLine::old(at.to_string()));
            }
        }
        let actions = match diff.is_empty() {
            true => Vec::new(),
            false => vec![scripts::uninstall()],
        };
        drift(diff, actions)
    }

    fn touches(&self) -> Touches {
        Touches::everything()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}
