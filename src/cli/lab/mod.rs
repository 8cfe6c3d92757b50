//! `hmco-boot lab`: rehearsal nodes on this machine.

mod args;
mod view;

pub use args::{Args, Command, Limit, Up};

use std::path::PathBuf;
use std::sync::Mutex;

use super::error::{CliError, Kind};
use super::output::{Format, Output};
use super::{Context, paths, project};
use crate::lab::cut::{self, Cut};
use crate::lab::k3s::K3s;
use crate::lab::node::Node;
use crate::lab::place::{DEFAULT_DIR, Place, Shelf};
use crate::lab::record::Record;
use crate::lab::up::Request;
use crate::lab::{
    LabError, cgroup::Hierarchies, down, mark, packages, recipe, ssh, status, tools, up,
};
use crate::model::outcome::{ExitCode, Failure};

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
        Command::Throttle { limit, nodes } => throttle(&place, *limit, nodes, context)?,
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
    // Before mirrors are looked for, which takes a while.
    place.check().map_err(edge)?;
    let inventory = inventory(place, args, context)?;
    let mut request = Request {
        servers: args.servers,
        agents: args.agents,
        subnet: args.subnet,
        suite: args.suite.clone(),
        user: args.user.clone(),
        cpu: args.cpu,
        k3s: k3s(args, context)?,
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

/// The K3s that is asked for.
fn k3s(args: &Up, context: &Context<'_>) -> Result<Option<K3s>, CliError> {
    let from_env = || {
        let value = context.env.var("K3S");
        value.filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let path = args.k3s.clone().or_else(from_env);
    path.map(|path| K3s::of(&context.cwd.join(path)))
        .transpose()
        .map_err(|failure| CliError::from_failure(Kind::Usage, &failure))
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
    } else if mark::is_ours(&shelf.cache()) {
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
    context.output.data(&view::table(&status))
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

fn throttle(
    place: &Place,
    limit: Limit,
    names: &[String],
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let mut record = expect(place)?;
    let _lock = place.lock().map_err(edge)?;
    let nodes = some_or_all(place, &record, names)?;
    for node in &nodes {
        node.group.make().map_err(failed)?;
        node.group.limit_cpu(limit.0).map_err(failed)?;
    }
    if names.is_empty() {
        record.cpu = limit.0;
        record.save(place).map_err(failed)?;
    }
    let who = match names {
        [] => format!("every node of lab `{}`", place.name),
        _ => {
            let names: Vec<&str> = nodes.iter().map(|node| node.plan.name.as_str()).collect();
            names.join(", ")
        }
    };
    context.output.talk(&match limit.0 {
        Some(percent) => {
            let end = [&["hmco-boot lab throttle off".to_owned()][..], names].concat();
            format!(
                "{who}: at most {percent} % of one processor; `{}` ends it\n",
                end.join(" ")
            )
        }
        None => format!("{who}: no limit on processors\n"),
    });
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
