//! `hmco-boot k3s reset`: K3s and its data off one node, or off all of them. What cannot be made anew is copied before.

use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::k3s::copies::{self, Copies};
use crate::cli::k3s::look;
use crate::cli::k3s::procedure::{self, Stages, failed, not_agreed, untold};
use crate::cli::reach::BecomeArgs;
use crate::cli::session::Session;
use crate::k3s::reset::{self, Others, may_be_reset};
use crate::k3s::status::{NodeStatus, Status};
use crate::k3s::{leave, plans};
use crate::model::id::NodeName;
use crate::model::outcome::ExitCode;
use crate::model::shell::quote;
use crate::plan::chain::Link;
use crate::report::text::and_list;

/// Arguments of `k3s reset`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
What is on the nodes is gone afterwards: datastore, volumes of local-path, images. Snapshots and \
the server token are copied to this machine first and held to their checksums; where nobody else \
has them, nothing is done without a good copy, unless --without-copies says so.

Examples:
  hmco-boot k3s reset --node pi5-04 --dry-run
  hmco-boot k3s reset --node pi5-04
  hmco-boot k3s reset --all --to /media/stick
  hmco-boot k3s reset --all --confirm homelab     for scripts")]
#[group(id = "which", required = true, multiple = false, args = ["node", "all"])]
pub struct Args {
    /// This node; one that is a member of a cluster that works is taken out of it first (k3s node remove)
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// All nodes of the inventory: the end of the cluster
    #[arg(long)]
    pub all: bool,
    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// The name that is asked for otherwise: the node's, or with --all the cluster's
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    pub confirm: Option<String>,
    /// With --all: leave out nodes that do not answer
    #[arg(long)]
    pub skip_unreachable: bool,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
    /// What is copied off before.
    #[command(flatten)]
    pub copies: copies::Args,
}

impl Args {
    /// The command as it is given again. What is typed to agree is asked for anew.
    fn words(&self) -> String {
        let which = match &self.node {
            Some(name) => format!("--node {}", quote(name)),
            None => "--all".to_owned(),
        };
        let skip = match self.skip_unreachable {
            true => " --skip-unreachable",
            false => "",
        };
        format!("k3s reset {which}{skip}{}", self.copies.words())
    }
}

/// What is to be done.
struct Task {
    title: String,
    /// What has to be typed.
    name: String,
    stages: Stages,
    links: Vec<Link>,
    /// Whose snapshots and tokens are copied to this machine.
    stores: Vec<NodeName>,
    /// Those of them whose database is a file, which nobody else has.
    sqlite: Vec<NodeName>,
    /// Nobody else has what is on them.
    last: bool,
}

/// Shows, asks, copies, resets.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    if args.skip_unreachable && !args.all {
        let what = "--skip-unreachable is for --all";
        return Err(CliError::usage(what).hint("a node that is named has to answer"));
    }
    let mut session = look::session("k3s reset", &args.become_root, context)?;
    if let Some(name) = &args.node
        && session.inventory.node(&NodeName::new(name)).is_none()
    {
        let names: Vec<String> = session
            .inventory
            .nodes
            .iter()
            .map(|node| format!("`{}`", node.name))
            .collect();
        let what = format!("the inventory has no node `{name}`");
        return Err(CliError::usage(what).hint(format!("it has {}", names.join(", "))));
    }
    let looked = look::look(&mut session, &args.become_root, false, context).await?;
    let status = &looked.status;
    let mut task = match &args.node {
        Some(name) => one(name, args, status)?,
        None => all(args, status)?,
    };
    let copies = match task.stores.is_empty() {
        true => None,
        false => Some(copies::plan(
            &args.copies,
            &task.stores,
            &task.sqlite,
            &session,
            context,
        )?),
    };
    if let Some(copies) = &copies {
        task.stages.stages.splice(0..0, copies.words());
    }
    let heading = match &args.node {
        Some(name) => format!("{name} of the cluster {} is reset:", status.cluster),
        None => format!("The cluster {} ends:", status.cluster),
    };
    task.stages.show(&heading, context)?;
    if args.dry_run {
        return Ok(ExitCode::Done);
    }
    agreed(args, &task, context)?;
    if let Some(copies) = &copies {
        let exit = copied(copies, args, &task, &mut session, context).await?;
        if exit != ExitCode::Done {
            return Ok(exit);
        }
    }
    let (command, title) = (&args.words(), &task.title);
    let how = &args.become_root;
    let exit = procedure::run(&mut session, command, title, &task.links, how, context).await?;
    if exit == ExitCode::Done {
        ended(args, &session, context);
    }
    Ok(exit)
}

/// Copies, after stopping what has to hold still for that.
async fn copied(
    copies: &Copies,
    args: &Args,
    task: &Task,
    session: &mut Session,
    context: &mut Context<'_>,
) -> Result<ExitCode, CliError> {
    let (stop, how) = (copies.stopped(), &args.become_root);
    if !stop.is_empty() {
        let title = "K3s is stopped, so that its database can be copied";
        let links = plans::stop(stop);
        let exit = procedure::run(session, &args.words(), title, &links, how, context).await?;
        if exit != ExitCode::Done {
            return Ok(exit);
        }
    }
    let made = copies.make(session, how, task.last, context).await;
    made.map(|()| ExitCode::Done).map_err(|error| match stop {
        [] => error,
        stop => {
            let names: Vec<String> = stop.iter().map(ToString::to_string).collect();
            let names = and_list(&names);
            error.hint(format!(
                "K3s is stopped on {names}, and does not start at boot: hmco-boot run k3s brings it back"
            ))
        }
    })
}

/// What comes next. With the cluster goes what this machine knows of it.
fn ended(args: &Args, session: &Session, context: &mut Context<'_>) {
    let mut text = match args.all {
        true => "Next: hmco-boot run bootstrap-all makes a new cluster, with the token that is in the secrets\n".to_owned(),
        false => "Next: hmco-boot run bootstrap-all joins it again, or take it out of the inventory\n".to_owned(),
    };
    if args.all {
        if let Err(failure) = session.state.forget_cluster_ca() {
            let hint = failure
                .hint
                .as_deref()
                .unwrap_or("remove it by hand: a new cluster has another CA");
            context.output.warn(&failure.message, hint);
        }
        if session.inventory.cluster.ca_sha256.is_some() {
            text.push_str(&format!(
                "Before that, take `ca_sha256` out of {}: a new cluster has another CA\n",
                session.inventory.file
            ));
        }
    }
    let text = context.output.commands().complete(&text).into_owned();
    context.output.talk(&text);
}

fn agreed(args: &Args, task: &Task, context: &mut Context<'_>) -> Result<(), CliError> {
    let name = &task.name;
    match &args.confirm {
        Some(typed) if typed == name => return Ok(()),
        Some(typed) => {
            let what = format!("--confirm says `{typed}`, and this is `{name}`: nothing was done");
            return Err(CliError::usage(what).hint("look with --dry-run at what it would do"));
        }
        None => {}
    }
    let question = format!("This cannot be undone. Type the name `{name}` to go on:");
    match context.output.confirm_by_name(&question, name) {
        true => Ok(()),
        false if context.output.interactive() => {
            Err(CliError::usage("another name was typed: nothing was done")
                .hint("give the command again to go on"))
        }
        false => Err(not_agreed(&format!("--confirm {name}"), context)),
    }
}

fn unreachable(nodes: &[&NodeStatus], hint: &str) -> CliError {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let what = format!("{} cannot be reached: nothing was done", and_list(&names));
    CliError::new(Kind::Unreachable, what).hint(hint)
}

const GONE: &str = "K3s and its data are taken off the machine: processes, /var/lib/rancher/k3s (datastore, snapshots, volumes of \
                    local-path), /etc/rancher, /var/lib/kubelet, units, binary";

fn one(name: &str, args: &Args, status: &Status) -> Result<Task, CliError> {
    let Some(node) = status.node(name) else {
        return Err(CliError::usage(format!("there is no node `{name}`"))
            .hint("hmco-boot status shows those that there are"));
    };
    if node.reachable != Some(true) {
        let hint = format!(
            "bring it up first; if its machine is gone for good, there is nothing to reset: hmco-boot k3s node remove {name} --dead"
        );
        return Err(unreachable(&[node], &hint));
    }
    let untold = untold(&[node], args.copies.without_copies)?;
    may_be_reset(status, node).map_err(|failure| failed(&failure))?;
    let others = reset::others(status, node);
    let answers = status.api_error.is_none();
    let mut stages = Stages {
        warnings: untold,
        ..Stages::default()
    };
    // The API is that of another cluster, whose Nodes are none of its business.
    let is_foreign = status.is_foreign(node);
    let forget = answers && others == Others::There && node.node.is_some() && !is_foreign;
    if forget {
        stages.stages.push(format!(
            "K3s is stopped on it; {} and its node password are deleted, so that it can join anew",
            leave::its_node(name, node.kube_name())
        ));
        if node.is_ready() {
            stages.warnings.push(format!(
                "its pods end at once: hmco-boot k3s node remove {name} lets them leave before"
            ));
        }
    }
    stages.stages.push(GONE.to_owned());
    stages.warnings.extend(match is_foreign {
        true => Some(
            "its CA is not that of the cluster: what is left of the one that it is of loses its data here".to_owned(),
        ),
        false => of_others(node, others, answers),
    });
    let own = NodeName::new(&node.name);
    let kube_name = node.kube_name();
    Ok(Task {
        title: format!("{name} is reset"),
        name: name.to_owned(),
        links: plans::reset_one(&own, forget.then_some(kube_name)),
        stages,
        sqlite: match node.has_sqlite() {
            true => vec![own.clone()],
            false => Vec::new(),
        },
        stores: match node.has_state() {
            Some(true) => vec![own],
            _ => Vec::new(),
        },
        last: !(answers && others == Others::There) || node.has_sqlite() || is_foreign,
    })
}

/// What it means for the others, as far as is known.
fn of_others(node: &NodeStatus, others: Others, answers: bool) -> Option<String> {
    let is_server = node.has_state() != Some(false);
    let words = match others {
        Others::Nobody if is_server => "it is the only server: this is the end of the cluster",
        Others::Silent if is_server => {
            "no other server answers: this is the end of the cluster, unless one of them has its data"
        }
        Others::There | Others::Silent if !answers => {
            "the Kubernetes API does not answer: its Node and its node password stay in the cluster"
        }
        _ => return None,
    };
    Some(words.to_owned())
}

fn listed(nodes: &[&NodeStatus]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    and_list(&names)
}

/// What is done to those with data, and before to those without.
fn all_gone(with: &[&NodeStatus], without: &[&NodeStatus]) -> Vec<String> {
    match (without.is_empty(), with.is_empty()) {
        (false, false) => vec![
            format!("{}: {GONE}", listed(without)),
            format!("the same of {}", listed(with)),
        ],
        (false, true) => vec![format!("{}: {GONE}", listed(without))],
        (true, false) => vec![format!("{}: {GONE}", listed(with))],
        (true, true) => Vec::new(),
    }
}

fn all(args: &Args, status: &Status) -> Result<Task, CliError> {
    let own: Vec<&NodeStatus> = status
        .nodes
        .iter()
        .filter(|node| node.in_inventory)
        .collect();
    let (there, silent): (Vec<&NodeStatus>, Vec<&NodeStatus>) = own
        .into_iter()
        .partition(|node| node.reachable == Some(true));
    if !silent.is_empty() && !args.skip_unreachable {
        let hint = "bring them up first: what is left on one of them is a cluster that comes back with it. Or leave them out: --skip-unreachable";
        return Err(unreachable(&silent, hint));
    }
    let untold = untold(&there, args.copies.without_copies)?;
    for node in &there {
        reset::usual_name(node).map_err(|failure| failed(&failure))?;
    }
    let names = |nodes: &[&NodeStatus]| -> Vec<NodeName> {
        nodes.iter().map(|node| NodeName::new(&node.name)).collect()
    };
    let (with, without): (Vec<&NodeStatus>, Vec<&NodeStatus>) = there
        .into_iter()
        .partition(|node| node.has_state() != Some(false));
    let stores = with.iter().filter(|node| node.has_state() == Some(true));
    let stores = stores.map(|node| NodeName::new(&node.name)).collect();
    let sqlite = with.iter().filter(|node| node.has_sqlite());
    let sqlite = sqlite.map(|node| NodeName::new(&node.name)).collect();
    let mut stages = Stages {
        warnings: untold,
        ..Stages::default()
    };
    stages.stages.extend(all_gone(&with, &without));
    stages.warnings.extend(
        status
            .mixture()
            .map(|mixture| format!("all of them end: {}", mixture.message)),
    );
    if !silent.is_empty() {
        stages.warnings.push(format!(
            "left as they are, with their data: {}; reset them when they answer, before anything else",
            listed(&silent)
        ));
    }
    Ok(Task {
        title: "the end of the cluster".to_owned(),
        name: status.cluster.clone(),
        links: plans::reset_all(&names(&without), &names(&with)),
        stages,
        stores,
        sqlite,
        last: true,
    })
}

#[cfg(test)]
mod tests;
