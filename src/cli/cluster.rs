//! How commands reach the Kubernetes API of the inventory's cluster: by its kubeconfig where it names one, else through
//! its servers.

use std::path::Path;
use std::sync::Arc;

use super::Context;
use super::error::{CliError, Kind};
use crate::artifact::Artifacts;
use crate::cluster::Cluster;
use crate::cluster::client::KubeCluster;
use crate::cluster::connect::{Connector, Pin};
use crate::cluster::host::{ClusterHost, ProjectFiles};
use crate::cluster::hosts::WithCluster;
use crate::config::files::{FileError, Files as _};
use crate::config::load::DiskFiles;
use crate::config::shipped;
use crate::journal::state_dir::StateDir;
use crate::model::id::Target;
use crate::model::inventory::{Inventory, Node};
use crate::model::outcome::Failure;
use crate::plan::Plan;
use crate::transport::Hosts;
use crate::transport::machines::Machines;

/// The role of nodes that serve the API.
const SERVER: &str = "server";

/// The way to the API, for after a run.
pub struct Api {
    cluster: Arc<KubeCluster>,
}

/// The targets that a plan reaches: the cluster is reached through its servers, and some steps ask nodes that are out of the
/// limit.
pub fn reached(inventory: &Inventory, plan: &Plan) -> Vec<Target> {
    let targets = &plan.targets;
    let through_servers =
        targets.contains(&Target::Cluster) && inventory.cluster.kubeconfig.is_none();
    let others = match plan.pairs.iter().any(|pair| pair.kind.asks_others) {
        true => nodes(inventory, |_| true),
        false => nodes(inventory, |node| through_servers && is_server(node)),
    };
    let others = others.into_iter().filter(|node| !targets.contains(node));
    targets.iter().cloned().chain(others).collect()
}

fn is_server(node: &Node) -> bool {
    node.roles.iter().any(|role| role == SERVER)
}

fn nodes(inventory: &Inventory, chosen: impl Fn(&Node) -> bool) -> Vec<Target> {
    let nodes = inventory.nodes.iter().filter(|node| chosen(node));
    nodes.map(|node| Target::Node(node.name.clone())).collect()
}

/// Machines and the cluster, as one. Nothing is connected to yet.
pub fn hosts(
    inventory: &Inventory,
    root: &Path,
    state: &StateDir,
    machines: Arc<Machines>,
    artifacts: Arc<dyn Artifacts>,
    context: &Context<'_>,
) -> Result<(Arc<dyn Hosts>, Api), CliError> {
    let redactor = context.output.redactor().clone();
    let pin = pin(inventory, Some(state))?;
    let connector = match &inventory.cluster.kubeconfig {
        Some(path) => {
            let file = root.join(path);
            let text = kubeconfig(&file)
                .map_err(|failure| CliError::from_failure(Kind::Usage, &failure))?;
            let folder = file.parent().unwrap_or(root).to_owned();
            Connector::kubeconfig(path.clone(), text, folder, redactor, pin)
        }
        None => Connector::through_servers(
            nodes(inventory, is_server),
            machines.clone(),
            machines.clone(),
            inventory.cluster.api_address.clone(),
            redactor,
            pin,
        ),
    };
    let cluster = Arc::new(KubeCluster::new(connector));
    let host = ClusterHost::new(cluster.clone(), files(root)).with_artifacts(artifacts);
    let hosts = WithCluster::new(machines, Arc::new(host));
    Ok((Arc::new(hosts), Api { cluster }))
}

/// Who the cluster must prove to be: by its inventory, else by what was seen at the first contact.
pub fn pin(inventory: &Inventory, state: Option<&StateDir>) -> Result<Pin, CliError> {
    match (&inventory.cluster.ca_sha256, state) {
        (Some(known), _) => Ok(Pin::new(
            Some(known.clone()),
            format!("`ca_sha256` in {}", inventory.file),
        )),
        (None, Some(state)) => {
            let known = state.cluster_ca();
            let known = known.map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?;
            Ok(Pin::new(
                known,
                state.cluster_ca_path().display().to_string(),
            ))
        }
        (None, None) => Ok(Pin::default()),
    }
}

impl Api {
    /// The API itself.
    pub fn cluster(&self) -> Arc<dyn Cluster> {
        self.cluster.clone()
    }

    /// Remembers the CA that was seen where none was pinned, and says so.
    pub fn keep_pin(&self, state: &StateDir, inventory: &Inventory, context: &mut Context<'_>) {
        let Some(digest) = self.cluster.connector().first_contact() else {
            return;
        };
        if let Err(failure) = state.save_cluster_ca(&digest) {
            let hint = failure.hint.unwrap_or_default();
            context.output.warn(&failure.message, &hint);
            return;
        }
        context.output.warn(
            &format!("first contact with the Kubernetes API: the cluster's CA is pinned now on this machine ({digest})"),
            &format!(
                "compare it with `sha256sum /var/lib/rancher/k3s/server/tls/server-ca.crt` on a server, then write \
                 `ca_sha256 = \"{digest}\"` below [cluster] in {}, so that other machines know it too",
                inventory.file
            ),
        );
    }
}

fn kubeconfig(path: &Path) -> Result<String, Failure> {
    super::files::read(path).map_err(|error| {
        Failure::new(format!(
            "cannot read the kubeconfig {}: {error}",
            path.display()
        ))
        .hint("`kubeconfig` below [cluster] of the inventory names it, relative to the project")
    })
}

/// Files below `playbooks/` of the project; else the embedded ones.
fn files(root: &Path) -> Arc<ProjectFiles> {
    let disk = DiskFiles {
        root: root.to_owned(),
    };
    Arc::new(
        move |path: &str| match disk.read(&format!("playbooks/{path}")) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FileError::Missing) => Ok(shipped::read(path).map(<[u8]>::to_vec)),
            Err(error) => Err(Failure::new(format!("playbooks/{path}: {error}"))),
        },
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::model::fingerprint::Fingerprinter;
    use crate::model::id::NodeName;
    use crate::model::inventory::{self, Connection};
    use crate::model::units::TimeSpan;
    use crate::model::value::{FileId, Span};
    use crate::plan::chain::{self, Link};
    use crate::steps::command::Command;
    use crate::steps::registry::{self, KindInfo};

    const SPAN: Span = Span {
        file: FileId(0),
        start: 0,
        end: 0,
    };

    fn node(name: &str, role: &str) -> Node {
        Node {
            name: NodeName::new(name),
            span: SPAN,
            connection: Connection::Local { root: None },
            roles: vec![role.to_owned()],
            arch: None,
            labels: BTreeMap::new(),
            vars: BTreeMap::new(),
        }
    }

    fn inventory() -> Inventory {
        Inventory {
            file: "inventory/test.toml".to_owned(),
            cluster: inventory::Cluster {
                name: "test".to_owned(),
                domain: None,
                api_address: None,
                ca_sha256: None,
                kubeconfig: None,
            },
            nodes: vec![
                node("s1", "server"),
                node("a1", "agent"),
                node("s2", "server"),
            ],
            groups: Vec::new(),
            bastions: Vec::new(),
            vars: BTreeMap::new(),
        }
    }

    /// What a plan of one step on one target reaches.
    fn reached_by(kind: &'static KindInfo, target: Target) -> Vec<String> {
        let command: Command = serde_json::from_value(json!({ "argv": ["true"] })).unwrap();
        let link = Link {
            step: "step",
            target,
            kind,
            wish: Arc::new(command),
            timeout: TimeSpan(Duration::from_secs(1)),
            after: Vec::new(),
        };
        let plan = chain::plan("test", "Test", &[link], &Fingerprinter::new([0; 32]));
        let reached = reached(&inventory(), &plan);
        reached.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plan_reaches_also_whom_its_steps_ask() {
        let agent = || Target::Node(NodeName::new("a1"));
        let kind = |name| registry::kind(name).unwrap();
        assert_eq!(reached_by(kind("command"), agent()), ["a1"]);
        assert_eq!(
            reached_by(kind("command"), Target::Cluster),
            ["cluster", "s1", "s2"]
        );
        // Beyond `--limit`, too: nobody may count as silent because he was not let in.
        assert_eq!(reached_by(kind("k3s_agent"), agent()), ["a1", "s1", "s2"]);
        assert_eq!(reached_by(kind("preflight"), agent()), ["a1", "s1", "s2"]);
    }
}
