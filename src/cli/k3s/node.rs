//! `hmco-boot k3s node`: a node leaves its cluster, or a new machine takes its name.

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::k3s::copies;
use crate::cli::k3s::look::{self, Looked};
use crate::cli::k3s::procedure::{self, not_agreed, refused, untold};
use crate::cli::k3s::stages;
use crate::cli::reach::BecomeArgs;
use crate::cli::session::Session;
use crate::k3s::leave::{self, Leave, Machine};
use crate::k3s::plans::{self, Removal};
use crate::k3s::status::{NodeStatus, Status};
use crate::model::id::NodeName;
use crate::model::inventory::Inventory;
use crate::model::outcome::ExitCode;
use crate::model::shell::quote;
use crate::model::units::TimeSpan;

/// Arguments of `k3s node`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do with it.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `k3s node`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Take a node out of the cluster: drain it, take its member out of etcd, forget it, take K3s off it
    Remove(RemoveArgs),
    /// Forget the former machine of a node, so that the next run joins a new one of this name
    Replace(ReplaceArgs),
}

/// How long a drain is waited for by default.
const DRAIN: TimeSpan = TimeSpan(std::time::Duration::from_secs(300));

/// Arguments of `k3s node remove`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Refuses where the rest would not be a cluster that works. Pods leave by eviction: \
PodDisruptionBudgets are respected. Cut off in the middle, it is given again and goes on.

Examples:
  hmco-boot k3s node remove pi5-04 --dry-run
  hmco-boot k3s node remove pi5-04
  hmco-boot k3s node remove pi5-03 --dead       its machine is gone for good")]
pub struct RemoveArgs {
    /// The node, by its name in the inventory
    pub name: String,
    /// Its machine is gone for good: only delete what the cluster knows of it
    #[arg(long)]
    pub dead: bool,
    /// How long PodDisruptionBudgets and pods are waited for
    #[arg(long, value_name = "TIME", default_value_t = DRAIN, value_parser = time)]
    pub drain_timeout: TimeSpan,
    /// Go on where pods that nothing makes anew, or volumes on the node's own disk, are lost
    #[arg(long)]
    pub delete_local_data: bool,
    /// How to go about it.
    #[command(flatten)]
    pub common: Common,
    /// What is copied off before.
    #[command(flatten)]
    pub copies: copies::Args,
}

impl RemoveArgs {
    /// The command as it is given again.
    fn words(&self) -> String {
        let mut words = format!("k3s node remove {}", quote(&self.name));
        if self.drain_timeout != DRAIN {
            words.push_str(&format!(" --drain-timeout {}", self.drain_timeout));
        }
        let flags = [
            (self.dead, " --dead"),
            (self.delete_local_data, " --delete-local-data"),
        ];
        let given = flags.iter().filter(|(given, _)| *given);
        words.extend(given.map(|(_, flag)| *flag));
        words.push_str(&self.copies.words());
        words
    }
}

/// Arguments of `k3s node replace`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
For a machine that is gone for good (its disk died), when another one gets its name and address: \
the former Node, its node password and its member of etcd are deleted, so that K3s on the new \
machine can join.

Examples:
  hmco-boot k3s node replace pi5-03
  hmco-boot hosts pin pi5-03 && hmco-boot run bootstrap-all")]
pub struct ReplaceArgs {
    /// The node, by its name in the inventory
    pub name: String,
    /// How to go about it.
    #[command(flatten)]
    pub common: Common,
}

/// How to go about it.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short, conflicts_with = "dry_run")]
    pub yes: bool,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

/// For clap: a time.
fn time(text: &str) -> Result<TimeSpan, String> {
    TimeSpan::parse(text).map_err(|error| error.to_string())
}

/// Carries out one of them.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Remove(args) => remove(args, context).await,
        Command::Replace(args) => replace(args, context).await,
    }
}

async fn remove(args: &RemoveArgs, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let command = args.words();
    let mut session = look::session(&command, &args.common.become_root, context)?;
    let looked = looked(&mut session, &args.name, &args.common, context).await?;
    let machine = match args.dead {
        true => Machine::Dead,
        false => Machine::Here,
    };
    let leave = leave::decide(&looked.status, &args.name, machine).map_err(|r| refused(&r))?;
    let node = looked.status.node(&args.name);
    let node = node.filter(|_| machine == Machine::Here);
    let untold = untold(node.as_slice(), args.copies.without_copies)?;
    let copies = match node {
        Some(node) if node.has_state() == Some(true) => {
            let node = NodeName::new(&node.name);
            Some(copies::plan(&args.copies, &[node], &[], &session, context)?)
        }
        _ => None,
    };
    let mut stages = stages::of_removal(&looked, &leave, args, copies.as_ref())?;
    stages.warnings.extend(untold);
    let cluster = &looked.status.cluster;
    let heading = match args.dead {
        false => format!("{} leaves the cluster {cluster}:", args.name),
        true => format!(
            "{}, whose machine is gone, leaves the cluster {cluster}:",
            args.name
        ),
    };
    stages.show(&heading, context)?;
    if !agreed(&args.common, &format!("Remove {}?", args.name), context)? {
        return Ok(ExitCode::Done);
    }
    if let Some(copies) = &copies {
        copies
            .make(&mut session, &args.common.become_root, false, context)
            .await?;
    }
    let removal = Removal {
        inventory: &session.inventory,
        leave: &leave,
        machine,
        drain_timeout: args.drain_timeout,
        lose: args.delete_local_data,
    };
    let links = plans::removal(&removal, witness(&looked.status, &leave).as_ref());
    let title = format!("{} leaves the cluster", args.name);
    let how = &args.common.become_root;
    let exit = procedure::run(&mut session, &command, &title, &links, how, context).await?;
    if exit == ExitCode::Done {
        removed(args, &looked, &session.inventory, context);
    }
    Ok(exit)
}

/// Looks; an unknown name is told with those that there are.
async fn looked(
    session: &mut Session,
    name: &str,
    common: &Common,
    context: &mut Context<'_>,
) -> Result<Looked, CliError> {
    let looked = look::look(session, &common.become_root, true, context).await?;
    if looked.status.node(name).is_none() {
        let names: Vec<String> = looked
            .status
            .nodes
            .iter()
            .map(|node| format!("`{}`", node.name))
            .collect();
        let what = format!("neither the inventory nor the cluster has a node `{name}`");
        return Err(CliError::usage(what).hint(format!("there are {}", names.join(", "))));
    }
    Ok(looked)
}

/// A server that stays and serves, to be asked for the members of etcd.
fn witness(status: &Status, leave: &Leave) -> Option<NodeName> {
    let serves = |node: &&NodeStatus| {
        node.name != leave.name
            && node.api_ready == Some(true)
            && node
                .etcd
                .as_ref()
                .is_some_and(|member| member.healthy == Some(true))
    };
    let found = status.nodes.iter().find(serves)?;
    Some(NodeName::new(&found.name))
}

/// Whether it is to be done; false: it was only to be shown.
fn agreed(common: &Common, question: &str, context: &mut Context<'_>) -> Result<bool, CliError> {
    if common.dry_run {
        return Ok(false);
    }
    match common.yes || context.output.confirm(question) {
        true => Ok(true),
        false => Err(not_agreed("--yes", context)),
    }
}

/// What comes next.
fn removed(args: &RemoveArgs, looked: &Looked, inventory: &Inventory, context: &mut Context<'_>) {
    let node = looked.status.node(&args.name);
    let mut text = String::from("Next:\n");
    if node.is_some_and(|node| node.in_inventory) {
        text.push_str(&format!(
            "  take [node.{}] out of the inventory, or the next run joins it again\n",
            args.name
        ));
    }
    let address = node.and_then(|node| node.address.as_ref());
    if address.is_some() && address == inventory.cluster.api_address.as_ref() {
        text.push_str(&format!(
            "  name another `api_address` in {}: it is still that of {}\n",
            inventory.file, args.name
        ));
    }
    text.push_str("  hmco-boot plan k3s      nodes that joined at it are told of another server\n");
    if args.dead {
        text.push_str(&format!(
            "If its machine should come back after all: hmco-boot k3s reset --node {}, before anything else.\n",
            args.name
        ));
    }
    let text = context.output.commands().complete(&text).into_owned();
    context.output.talk(&text);
}

async fn replace(args: &ReplaceArgs, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let command = format!("k3s node replace {}", quote(&args.name));
    let mut session = look::session(&command, &args.common.become_root, context)?;
    let looked = looked(&mut session, &args.name, &args.common, context).await?;
    let status = &looked.status;
    let node = status.node(&args.name);
    if !node.is_some_and(|node| node.in_inventory) {
        let what = format!(
            "{} is not in the inventory: no new machine would join",
            args.name
        );
        return Err(CliError::usage(what).hint(format!(
            "put it there first, or only take it out: hmco-boot k3s node remove {} --dead",
            args.name
        )));
    }
    let leave = leave::decide(status, &args.name, Machine::Replaced).map_err(|r| refused(&r))?;
    let stages = stages::of_replacement(&looked, &leave);
    let heading = format!("A new machine takes the place of {}:", args.name);
    stages.show(&heading, context)?;
    let question = format!("Forget the former {}?", args.name);
    if !agreed(&args.common, &question, context)? {
        return Ok(ExitCode::Done);
    }
    let removal = Removal {
        inventory: &session.inventory,
        leave: &leave,
        machine: Machine::Dead,
        drain_timeout: TimeSpan(std::time::Duration::ZERO),
        lose: false,
    };
    let links = plans::removal(&removal, witness(status, &leave).as_ref());
    let title = format!("a new machine for {}", args.name);
    let how = &args.common.become_root;
    let exit = procedure::run(&mut session, &command, &title, &links, how, context).await?;
    if exit == ExitCode::Done {
        let text = format!(
            "Next, when the new machine answers:\n  hmco-boot hosts pin {0}          its host key is a new one\n  hmco-boot run bootstrap-all      it joins, as {0}\n",
            args.name
        );
        let text = context.output.commands().complete(&text).into_owned();
        context.output.talk(&text);
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn the_command_that_is_given_again_has_all_that_was_said() {
        for line in [
            "k3s node remove n1",
            "k3s node remove n1 --dead",
            "k3s node remove n1 --drain-timeout 40m --delete-local-data --without-copies",
            "k3s node remove n1 --to /media/stick",
            "k3s node remove n1 --to '/media/my stick'",
        ] {
            let words = line.replace("'/media/my stick'", "'/media/my\u{a0}stick'");
            let words = words.split(' ').map(|word| word.replace('\u{a0}', " "));
            let words = words.map(|word| word.trim_matches('\'').to_owned());
            match Line::parse_from(words.skip(1)).command {
                Command::Remove(args) => assert_eq!(args.words(), line),
                Command::Replace(_) => panic!("{line}"),
            }
        }
    }
}
