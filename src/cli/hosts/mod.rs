//! `hmco-boot hosts`: the nodes themselves, before and beside any playbook.

mod compare;
pub mod enroll;
pub mod facts;
pub mod pin;
pub mod preflight;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;

use super::error::{CliError, Kind};
use super::project::InventoryFile;
use super::reach::{self, BecomeArgs, Roads};
use super::vault::Vault;
use super::{Context, paths, project};
use crate::model::id::Target;
use crate::model::inventory::{Connection, Inventory, Node};
use crate::model::outcome::{ExitCode, Failure};
use crate::model::selector::Selector;
use crate::transport::machines::{Books, Machines};
use crate::transport::ssh::resolve::Resolver;
use crate::transport::ssh::{Access, Timeouts};

/// Arguments of `hosts`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `hosts`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Write the host keys of nodes into the inventory, after showing their fingerprints
    Pin(pin::Args),
    /// Install a public key on nodes, once by password
    Enroll(enroll::Args),
    /// Show what nodes are: system, boot, network, clock, disk
    Facts(facts::Args),
    /// Check whether nodes can carry K3s: values, limits and cures
    Preflight(preflight::Args),
}

/// Carries out one of them.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Pin(args) => pin::run(args, context).await,
        Command::Enroll(args) => enroll::run(args, context).await,
        Command::Facts(args) => facts::run(args, context).await,
        Command::Preflight(args) => preflight::run(args, context).await,
    }
}

/// The nodes that a command is about.
pub struct Chosen {
    /// The whole inventory.
    pub inventory: Inventory,
    /// The project's folder.
    pub root: PathBuf,
    /// The inventory's text as it was read.
    pub text: String,
    /// Selected nodes, in the order of the file.
    pub nodes: Vec<Node>,
}

impl Chosen {
    /// Those of the selected nodes that are reached by SSH; refuses where there is none.
    pub fn by_ssh(&self) -> Result<Vec<&Node>, CliError> {
        let by_ssh = |node: &&Node| matches!(node.connection, Connection::Ssh(_));
        let nodes: Vec<&Node> = self.nodes.iter().filter(by_ssh).collect();
        if nodes.is_empty() {
            return Err(
                CliError::usage("none of the selected nodes is reached by SSH").hint(format!(
                    "give a node of {} an `address`, or select another",
                    self.inventory.file
                )),
            );
        }
        Ok(nodes)
    }
}

/// Loads the project and selects nodes of its inventory; all of them where nothing is said.
pub fn choose(selector: Option<&str>, context: &mut Context<'_>) -> Result<Chosen, CliError> {
    let InventoryFile {
        inventory,
        root,
        text,
    } = project::inventory(context)?;
    let nodes = match selector {
        None => inventory.nodes.clone(),
        Some(selector) => select(selector, &inventory)?,
    };
    Ok(Chosen {
        inventory,
        root,
        text,
        nodes,
    })
}

fn select(text: &str, inventory: &Inventory) -> Result<Vec<Node>, CliError> {
    let selector = Selector::parse(text);
    let selected = selector.and_then(|selector| selector.targets(inventory));
    let targets = selected.map_err(|error| {
        let marks = "^".repeat(error.at.len().max(1));
        let place = format!("{text}\n{}{marks}", " ".repeat(error.at.start));
        let wrong = CliError::usage(error.message.clone()).below(place);
        match error.hint {
            Some(hint) => wrong.hint(hint),
            None => wrong,
        }
    })?;
    let nodes: Vec<Node> = targets
        .iter()
        .filter_map(|target| match target {
            Target::Node(name) => inventory.node(name).cloned(),
            Target::Cluster | Target::Controller => None,
        })
        .collect();
    if nodes.is_empty() {
        return Err(CliError::usage(format!("`{text}` selects no node"))
            .hint("name nodes, or a group of them, as in `on` of a step"));
    }
    Ok(nodes)
}

/// A failure whose words say which machine it is about, also where a bastion before it is at fault.
fn about(name: &str, failure: &Failure) -> Failure {
    let is_named = format!(" {} ", failure.message).contains(&format!(" {name} "));
    let mut failure = failure.clone();
    if !is_named {
        failure.message = format!("{name}: {}", failure.message);
    }
    failure
}

/// Finds the ways to the nodes of an inventory.
pub fn resolver(
    inventory: &Inventory,
    root: &std::path::Path,
    context: &Context<'_>,
) -> Result<Resolver, CliError> {
    let env = context.env;
    let variable = |name: &str| env.var(name).and_then(|value| value.into_string().ok());
    Resolver::load(inventory, root, reach::environment(context), &variable)
        .map_err(|failure| CliError::from_failure(Kind::Usage, &failure))
}

/// What connections of one command share.
pub fn access() -> Arc<Access> {
    Arc::new(Access::new(Timeouts::default(), Arc::new(reach::keyring())))
}

/// The machines behind the selected nodes.
pub async fn machines(
    chosen: &Chosen,
    how: &BecomeArgs,
    context: &mut Context<'_>,
) -> Result<Arc<Machines>, CliError> {
    let targets: Vec<Target> = chosen
        .nodes
        .iter()
        .map(|node| Target::Node(node.name.clone()))
        .collect();
    let (inventory, root) = (&chosen.inventory, &chosen.root);
    let mut vault = Vault::of(root, &how.identity, context);
    let roads = Roads::of(inventory, root, &targets, context)?;
    let ssh = reach::ways(inventory, roads, &targets, how, &mut vault, context).await?;
    let state = paths::state_base(context)?.join(&chosen.inventory.cluster.name);
    let books = Books {
        root: rustix::process::geteuid().is_root(),
        own: state.join("run"),
    };
    let digests = std::collections::BTreeMap::new();
    let machines = Machines::new(inventory, root, books, digests, ssh);
    Ok(Arc::new(
        machines.with_redactor(context.output.redactor().clone()),
    ))
}
