//! `hmco-boot lab`: rehearsal nodes on this machine.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Mutex;

use clap::Subcommand;
use ipnet::Ipv4Net;

use super::error::{CliError, Kind};
use super::output::{Format, Output};
use super::{Context, paths, project};
use crate::lab::cut::{self, Cut};
use crate::lab::node::{Node, Power};
use crate::lab::place::{DEFAULT_DIR, Place, Shelf};
use crate::lab::record::Record;
use crate::lab::status::Status;
use crate::lab::up::Request;
use crate::lab::{LabError, cgroup::Hierarchies, down, packages, recipe, ssh, status, tools, up};
use crate::model::outcome::{ExitCode, Failure};

/// Arguments of `lab`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Nodes of a lab are real to everything that talks to them (systemd, OpenSSH, addresses of their own), but for the
kernel, which is this machine's. They are as powerful as root on this machine.

Examples:
  hmco-boot lab up                               3 servers and 1 agent, in inventory/lab.toml
  hmco-boot lab up --name two --servers 1 --agents 1
  hmco-boot lab ssh lab-1 -- uptime
  hmco-boot lab kill lab-2                       a power cut; back with: lab start lab-2
  hmco-boot lab cut lab-1 lab-2                  drop what they send each other; end it with --heal
  hmco-boot lab down")]
pub struct Args {
    /// Which lab; several can be up at once
    #[arg(long, global = true, value_name = "NAME", default_value = "lab")]
    pub name: String,
    /// The folder with all labs; by default $HMCO_BOOT_LAB_DIR, else /var/lib/hmco-boot-lab
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// What to do with it.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `lab`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Bring the lab up, or what of it is not up; writes inventory/NAME.toml (or -i FILE)
    Up(Up),
    /// Take the lab down, with all that it has on this machine
    Down {
        /// All labs
        #[arg(long)]
        all: bool,
        /// What labs share as well: the base tree and the packages that were fetched
        #[arg(long, requires = "all")]
        caches: bool,
    },
    /// Show the nodes
    Status {
        /// Of all labs
        #[arg(long)]
        all: bool,
    },
    /// Log in to a node, or run a command on it
    Ssh {
        /// The node
        node: String,
        /// The command, after `--`
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Cut the power of nodes: nothing in them is told
    Kill {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Give power back to nodes that are off
    Start {
        /// The nodes; by default all
        nodes: Vec<String>,
    },
    /// Drop all packets between two nodes, or between one node and all others and this machine
    Cut {
        /// One node or two; none with --heal: all cuts
        #[arg(num_args = 0..=2)]
        nodes: Vec<String>,
        /// End the cut
        #[arg(long)]
        heal: bool,
    },
    /// Limit the CPU time of nodes, as of a slower machine
    Throttle {
        /// Percent of one processor, as in 25%; `off`: no limit
        limit: Limit,
        /// The nodes; by default all
        nodes: Vec<String>,
    },
    /// Serve packages to the nodes of a lab, until killed
    #[command(hide = true)]
    ServePackages {
        /// The address to listen on
        #[arg(long)]
        address: Ipv4Addr,
        /// Where fetched files are kept
        #[arg(long)]
        cache: PathBuf,
        /// FROM=TO: what nodes ask for, and where it is fetched
        #[arg(long, value_parser = pair)]
        route: Vec<(String, String)>,
        /// NAME=ADDRESS: a name that is answered with an address
        #[arg(long, value_parser = host)]
        host: Vec<(String, Ipv4Addr)>,
    },
}

/// How much CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit(Option<u32>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        percent(text).map(|percent| Self(Some(percent)))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or("write FROM=TO")?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

fn host(text: &str) -> Result<(String, Ipv4Addr), String> {
    let (name, address) = pair(text)?;
    let address = address.parse().map_err(|_| "write NAME=ADDRESS")?;
    Ok((name, address))
}

/// Arguments of `lab up`.
#[derive(Clone, Debug, clap::Args)]
pub struct Up {
    /// How many nodes with the role `server`; by default 3 in a new lab
    #[arg(long, value_name = "N")]
    pub servers: Option<usize>,
    /// How many nodes with the role `agent`; by default 1 in a new lab
    #[arg(long, value_name = "N")]
    pub agents: Option<usize>,
    /// The nodes' addresses; by default the first 172.30.N.0/24 that is free
    #[arg(long, value_name = "CIDR")]
    pub subnet: Option<Ipv4Net>,
    /// CPU time of each node, in percent of one processor, as in 25%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub cpu: Option<u32>,
    /// The user to log in as: pi (with sudo) or root; by default pi
    #[arg(long, value_name = "USER", value_parser = ["pi", "root"])]
    pub user: Option<String>,
    /// Debian's suite; by default bookworm
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// Debian's mirror; by default one of this machine's apt sources
    #[arg(long, value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub mirror: Option<String>,
    /// Write no inventory
    #[arg(long)]
    pub no_inventory: bool,
}

fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse() {
        Ok(percent @ 1..=10_000) => Ok(percent),
        _ => Err("write a number of percent, as in 25%".to_owned()),
    }
}

/// Carries out one of them.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    tools::expect_root().map_err(edge)?;
    if let Command::ServePackages {
        address,
        cache,
        route,
        host,
    } = &args.command
    {
        let config = packages::Config {
            address: *address,
            cache: cache.clone(),
            routes: route.clone(),
            hosts: host.clone(),
        };
        packages::server::serve(config).await.map_err(failed)?;
        return Ok(ExitCode::Done);
    }
    let named = args.dir.clone();
    let from_env = || {
        let value = context.env.var("HMCO_BOOT_LAB_DIR");
        value.filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let dir = named
        .or_else(from_env)
        .unwrap_or_else(|| DEFAULT_DIR.into());
    let shelf = Shelf::open(&context.cwd.join(dir)).map_err(edge)?;
    let place = shelf.lab(&args.name).map_err(edge)?;
    match &args.command {
        Command::Up(up) => bring_up(&place, up, context).await?,
        Command::Down { all: false, .. } => take_down(&place, context)?,
        Command::Down { caches, .. } => take_all_down(&shelf, *caches, context)?,
        Command::Status { all } => show(&shelf, &place, *all, context)?,
        Command::Ssh { node, command } => return log_in(&place, node, command),
        Command::Kill { nodes } => kill(&place, nodes, context)?,
        Command::Start { nodes } => start(&place, nodes, context)?,
        Command::Throttle { limit, nodes } => throttle(&place, *limit, nodes)?,
        Command::ServePackages { .. } => {}
        Command::Cut { nodes, heal } => cut_or_heal(&place, nodes, *heal, context)?,
    }
    Ok(ExitCode::Done)
}

fn edge(error: LabError) -> CliError {
    let kind = match error {
        LabError::Usage(_) => Kind::Usage,
        LabError::Locked(_) => Kind::Locked,
        LabError::Failed(_) => Kind::Failed,
    };
    CliError::from_failure(kind, error.failure())
}

fn failed(failure: Failure) -> CliError {
    CliError::from_failure(Kind::Failed, &failure)
}

/// The record of a lab that must be there.
fn expect(place: &Place) -> Result<Record, CliError> {
    let record = Record::load(place).map_err(failed)?;
    record.ok_or_else(|| {
        let what = format!("there is no lab `{}`", place.name);
        CliError::usage(what)
            .hint("hmco-boot lab up makes it; hmco-boot lab status --all shows those there are")
    })
}

fn find(place: &Place, record: &Record, name: &str) -> Result<Node, CliError> {
    let plan = cut::find(record, name).map_err(edge)?;
    let hierarchies = Hierarchies::of_this_machine().map_err(failed)?;
    Ok(Node::new(place, plan, &hierarchies))
}

async fn bring_up(place: &Place, args: &Up, context: &mut Context<'_>) -> Result<(), CliError> {
    let inventory = inventory(place, args, context)?;
    let mut request = Request {
        servers: args.servers,
        agents: args.agents,
        subnet: args.subnet,
        suite: args.suite.clone(),
        user: args.user.clone(),
        cpu: args.cpu,
        inventory,
        mirrors: None,
        program: program()?,
    };
    if Record::load(place).map_err(failed)?.is_none() {
        let suite = args.suite.as_deref().unwrap_or(recipe::DEFAULT_SUITE);
        request.mirrors = Some(packages::mirror::find(args.mirror.as_deref(), suite).await);
    }
    context
        .output
        .talk("Lab nodes are as powerful as root on this machine.\n");
    let record = telling(context.output, |say| up::up(place, &request, say))?;
    show_one(place, &record, context)?;
    if let Some(path) = &record.inventory {
        let path = paths::shown(path, &context.cwd);
        context.output.talk(&format!(
            "\nNext:\n  hmco-boot lab ssh {}-1\n  hmco-boot plan os -i {path}\n",
            place.name
        ));
    }
    Ok(())
}

/// Where the inventory of the lab goes.
fn inventory(place: &Place, args: &Up, context: &Context<'_>) -> Result<Option<PathBuf>, CliError> {
    if args.no_inventory {
        return Ok(None);
    }
    if let Some(file) = &context.globals.inventory {
        return Ok(Some(context.cwd.join(file)));
    }
    let Some(root) = project::root(context) else {
        let what = "this folder is no project: there is no place for the lab's inventory";
        return Err(CliError::usage(what)
            .hint("make a project here: hmco-boot init")
            .hint("or name the file with -i FILE, the project with --project DIR, or go without: --no-inventory"));
    };
    Ok(Some(
        root.join("inventory").join(format!("{}.toml", place.name)),
    ))
}

/// Runs something that tells its progress.
fn telling<T>(
    output: &mut Output,
    work: impl FnOnce(crate::lab::Say<'_>) -> Result<T, LabError>,
) -> Result<T, CliError> {
    let output = Mutex::new(output);
    let say = |line: &str| {
        if let Ok(mut output) = output.lock() {
            output.talk(&format!("{line}\n"));
        }
    };
    work(&say).map_err(edge)
}

fn take_down(place: &Place, context: &mut Context<'_>) -> Result<(), CliError> {
    let was_there = telling(context.output, |say| down::down(place, say))?;
    let words = if was_there {
        "is down"
    } else {
        "was not there"
    };
    let name = &place.name;
    context.output.talk(&format!("lab `{name}` {words}\n"));
    Ok(())
}

fn take_all_down(shelf: &Shelf, caches: bool, context: &mut Context<'_>) -> Result<(), CliError> {
    for name in shelf.labs().map_err(failed)? {
        take_down(&shelf.lab(&name).map_err(edge)?, context)?;
    }
    if caches {
        down::forget(shelf).map_err(edge)?;
    } else if shelf.cache().exists() {
        let cache = shelf.cache();
        let text = format!(
            "kept for the next lab: {} (--caches removes it)\n",
            cache.display()
        );
        context.output.talk(&text);
    }
    Ok(())
}

fn show(
    shelf: &Shelf,
    place: &Place,
    all: bool,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    if !all {
        let record = expect(place)?;
        return show_one(place, &record, context);
    }
    let names = shelf.labs().map_err(failed)?;
    for name in &names {
        let place = shelf.lab(name).map_err(edge)?;
        if let Some(record) = Record::load(&place).map_err(failed)? {
            show_one(&place, &record, context)?;
        }
    }
    if names.is_empty() {
        context
            .output
            .talk("there is no lab; hmco-boot lab up makes one\n");
    }
    Ok(())
}

fn show_one(place: &Place, record: &Record, context: &mut Context<'_>) -> Result<(), CliError> {
    let status = status::status(place, record).map_err(edge)?;
    if context.output.format() == Format::Json {
        return context.output.json("lab", &status);
    }
    context.output.data(&table(&status))
}

fn table(status: &Status) -> String {
    let mut text = format!(
        "lab {}: {} on {}{}\n",
        status.name,
        status.subnet,
        status.bridge,
        if status.bridge_up {
            ""
        } else {
            " (the bridge is missing)"
        }
    );
    for node in &status.nodes {
        let power = match node.power {
            Power::Off => "off",
            Power::On => "on, no SSH",
            Power::Answers => "answers SSH",
        };
        let memory = node
            .memory
            .map_or_else(String::new, |bytes| format!("{} MiB", bytes / 1_048_576));
        let cpu = node
            .cpu_limit
            .map_or_else(String::new, |percent| format!("  CPU {percent}%"));
        let boot = node.boot_id.as_deref().unwrap_or("-");
        text.push_str(&format!(
            "{:<10} {:<7} {:<15} {:<12} {:<36} {:>8}{cpu}\n",
            node.name, node.role, node.address, power, boot, memory
        ));
    }
    for cut in &status.cuts {
        text.push_str(&match cut {
            Cut::Node(node) => format!("cut: {node} from all others\n"),
            Cut::Pair(a, b) => format!("cut: {a} from {b}\n"),
        });
    }
    text
}

/// Becomes the system's ssh.
fn log_in(place: &Place, node: &str, words: &[String]) -> Result<ExitCode, CliError> {
    let record = expect(place)?;
    let plan = cut::find(&record, node).map_err(edge)?;
    let mut args = ssh::args(place, &record.user, plan.address);
    args.extend(words.iter().cloned());
    Err(failed(crate::lab::command::become_program("ssh", &args)))
}

fn kill(place: &Place, names: &[String], context: &mut Context<'_>) -> Result<(), CliError> {
    let record = expect(place)?;
    let nodes: Result<Vec<Node>, CliError> = names
        .iter()
        .map(|name| find(place, &record, name))
        .collect();
    for node in nodes? {
        let ran = node.runs();
        node.kill().map_err(failed)?;
        let words = if ran {
            "has no power any more"
        } else {
            "was off"
        };
        context
            .output
            .talk(&format!("{} {words}\n", node.plan.name));
    }
    Ok(())
}

fn start(place: &Place, names: &[String], context: &mut Context<'_>) -> Result<(), CliError> {
    let record = expect(place)?;
    let nodes = some_or_all(place, &record, names)?;
    let program = program()?;
    telling(context.output, |say| {
        up::start(place, &record, &nodes, &program, say)
    })
}

fn throttle(place: &Place, limit: Limit, names: &[String]) -> Result<(), CliError> {
    let mut record = expect(place)?;
    let _lock = place.lock().map_err(edge)?;
    for node in some_or_all(place, &record, names)? {
        node.group.make().map_err(failed)?;
        node.group.limit_cpu(limit.0).map_err(failed)?;
    }
    if names.is_empty() {
        record.cpu = limit.0;
        record.save(place).map_err(failed)?;
    }
    Ok(())
}

/// Nodes by name, or all.
fn some_or_all(place: &Place, record: &Record, names: &[String]) -> Result<Vec<Node>, CliError> {
    if names.is_empty() {
        let hierarchies = Hierarchies::of_this_machine().map_err(failed)?;
        return Ok(up::nodes(place, record, &hierarchies));
    }
    names.iter().map(|name| find(place, record, name)).collect()
}

/// This program's file: it also is the server of packages.
fn program() -> Result<PathBuf, CliError> {
    std::env::current_exe()
        .map_err(|error| CliError::failed("cannot tell which program this is").caused_by(&error))
}

fn cut_or_heal(
    place: &Place,
    names: &[String],
    heal: bool,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let record = expect(place)?;
    let wanted = match names {
        [] if heal => {
            cut::heal_all(&place.tag).map_err(failed)?;
            context.output.talk("nothing is cut any more\n");
            return Ok(());
        }
        [] => {
            return Err(CliError::usage("cut what?")
                .hint("name two nodes, or one to cut it from all others; hmco-boot lab status shows what is cut"));
        }
        [node] => Cut::Node(node.clone()),
        [a, b, ..] => Cut::Pair(a.clone(), b.clone()),
    };
    if heal {
        cut::heal(&place.tag, &record, &wanted).map_err(edge)
    } else {
        cut::cut(&place.tag, &record, &wanted).map_err(edge)
    }
}
