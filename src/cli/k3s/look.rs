//! How a cluster is looked at: every node in one execution, the API in a few lists, all at once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::Context;
use crate::cli::cluster::Api;
use crate::cli::error::CliError;
use crate::cli::reach::BecomeArgs;
use crate::cli::session::Session;
use crate::cluster::{ApiError, Choice, Cluster};
use crate::k3s::look::{facts, told};
use crate::k3s::plans::address;
use crate::k3s::status::{Listed, Seen, Silence, Status};
use crate::model::event::RunArguments;
use crate::model::id::Target;
use crate::model::inventory::Node;
use crate::model::kube::ApiResource;
use crate::plan::adhoc::Adhoc;
use crate::steps::preflight::Role;
use crate::transport::Hosts;
use crate::transport::machines::Machines;

/// How long the API may take for all lists, once some server is ready.
const LISTS: Duration = Duration::from_secs(30);

/// What was found.
pub struct Looked {
    /// The state.
    pub status: Status,
    /// All pods and volumes, where they were asked for and the API told.
    pub more: More,
}

/// Lists that only some commands need.
#[derive(Default)]
pub struct More {
    /// All pods.
    pub pods: Vec<Value>,
    /// All volumes.
    pub volumes: Vec<Value>,
}

/// A session over all nodes of the inventory, which only looks.
pub fn session(
    label: &str,
    how: &BecomeArgs,
    context: &mut Context<'_>,
) -> Result<Session, CliError> {
    // The plan only says where to look.
    let plan = |inventory: &crate::model::inventory::Inventory, fingerprinter: &_| {
        let nodes = inventory.nodes.iter();
        let targets = nodes.map(|node| Target::Node(node.name.clone())).collect();
        Ok(Adhoc::nothing().plan(targets, fingerprinter))
    };
    Session::without_playbook(
        context,
        how,
        label.to_owned(),
        RunArguments::default(),
        plan,
    )
}

/// Looks. `more`: also at pods and volumes.
pub async fn look(
    session: &mut Session,
    how: &BecomeArgs,
    more: bool,
    context: &mut Context<'_>,
) -> Result<Looked, CliError> {
    let machines = session.machines(how, context).await?;
    let (_, api) = session.hosts(&machines, context)?;
    let cluster = api.cluster();
    let listing = tokio::spawn(async move { lists(&*cluster, more).await });
    let seen = ask_all(session, &machines).await;
    session.keep_digests(&machines, context);
    let ready = seen
        .iter()
        .any(|seen| seen.told.as_ref().is_ok_and(|told| told.readyz == "ok"));
    // Where no node told anything, the way to the API tells most of why.
    let silent = seen.iter().all(|seen| seen.told.is_err());
    let named = session.inventory.cluster.kubeconfig.is_some();
    let listed = if ready || named || silent || listing.is_finished() {
        match timeout(LISTS, listing).await {
            Ok(Ok(Ok(listed))) => Ok(listed),
            Ok(Ok(Err(error))) => Err(error.message),
            Ok(Err(_)) => Err("asking it ended without an answer".to_owned()),
            Err(_) => Err(format!("no answer within {}s", LISTS.as_secs())),
        }
    } else {
        listing.abort();
        Err("no server says that its API is ready".to_owned())
    };
    keep_pin(&api, session, context);
    let name = &session.inventory.cluster.name;
    Ok(match listed {
        Ok((listed, more)) => Looked {
            status: Status::of(name, &seen, Ok(&listed)),
            more,
        },
        Err(why) => Looked {
            status: Status::of(name, &seen, Err(why)),
            more: More::default(),
        },
    })
}

fn keep_pin(api: &Api, session: &Session, context: &mut Context<'_>) {
    api.keep_pin(&session.state, &session.inventory, context);
}

async fn ask_all(session: &Session, machines: &Arc<Machines>) -> Vec<Seen> {
    let mut asking = JoinSet::new();
    for (index, node) in session.inventory.nodes.iter().enumerate() {
        let (machines, node) = (machines.clone(), node.clone());
        asking.spawn(async move { (index, ask(&machines, &node).await) });
    }
    let mut all = Vec::new();
    while let Some(done) = asking.join_next().await {
        all.extend(done.ok());
    }
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, seen)| seen).collect()
}

/// What a node is to be.
pub fn role(node: &Node) -> Option<Role> {
    let has = |word: &str| node.roles.iter().any(|role| role == word);
    match (has("server"), has("agent")) {
        (true, _) => Some(Role::Server),
        (_, true) => Some(Role::Agent),
        _ => None,
    }
}

async fn ask(machines: &Machines, node: &Node) -> Seen {
    let target = Target::Node(node.name.clone());
    let facts = facts();
    let read = async { machines.host(&target).await?.read(&facts).await };
    let told = match read.await {
        Ok(answers) => {
            let find = |fact: &_| {
                let found = answers.iter().find(|(asked, _)| asked == fact);
                found.map(|(_, answer)| answer)
            };
            told(find).map_err(|failure| Silence {
                unreachable: false,
                failure,
            })
        }
        Err(error) => Err(Silence {
            unreachable: true,
            failure: error.failure,
        }),
    };
    Seen {
        name: node.name.to_string(),
        role: role(node),
        address: address(node),
        told,
    }
}

fn resource(api_version: &str, kind: &str, plural: &str, namespaced: bool) -> ApiResource {
    ApiResource {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced,
    }
}

async fn lists(cluster: &dyn Cluster, more: bool) -> Result<(Listed, More), ApiError> {
    let nodes = resource("v1", "Node", "nodes", false);
    let deployments = resource("apps/v1", "Deployment", "deployments", true);
    let pods = resource("v1", "Pod", "pods", true);
    let volumes = resource("v1", "PersistentVolume", "persistentvolumes", false);
    let (nodes, deployments, pods, volumes) = tokio::join!(
        cluster.list(&nodes, Choice::ALL),
        cluster.list(&deployments, Choice::of(Some("kube-system"))),
        some(cluster, &pods, more),
        some(cluster, &volumes, more)
    );
    let listed = Listed {
        nodes: nodes?.items,
        deployments: deployments?.items,
    };
    let more = More {
        pods: pods?,
        volumes: volumes?,
    };
    Ok((listed, more))
}

async fn some(
    cluster: &dyn Cluster,
    resource: &ApiResource,
    wanted: bool,
) -> Result<Vec<Value>, ApiError> {
    match wanted {
        true => Ok(cluster.list(resource, Choice::ALL).await?.items),
        false => Ok(Vec::new()),
    }
}
