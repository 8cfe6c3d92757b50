//! `hmco-boot k3s adopt`: from a K3s that was installed by get.k3s.io, k3s-ansible or by hand to what playbook `k3s` has to be
//! told. Changes nothing on the nodes.

mod joins;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::hosts::{self, Chosen};
use crate::cli::reach::BecomeArgs;
use crate::facts::fact::{Answer, Content, Fact, FactValue, K3sData, K3sInstall, Os};
use crate::model::id::Target;
use crate::model::outcome::{ExitCode, Failure};
use crate::model::path::AbsPath;
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::adopt::{Found, Set, read, toml};
use crate::steps::shared::k3s::files::{OWN, env_path, named_unit, unit_name, unit_text};
use crate::steps::shared::k3s::setting::quoted;
use crate::transport::machines::Machines;
use crate::transport::{HostError, Hosts};

/// Arguments of `k3s adopt`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Reads the unit, its environment and K3s' configuration files on every node, and prints what belongs into the inventory, so
that `hmco-boot plan k3s` shows what a run would still change, and why. Changes nothing, and shows no token: it says where
the token is.

Examples:
  hmco-boot k3s adopt
  hmco-boot k3s adopt >adopted.toml    to copy from: an inventory says [cluster], [vars] and each node once")]
pub struct Args {
    /// Selector of the nodes; by default all
    #[arg(value_name = "SEL")]
    pub selector: Option<String>,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

/// A node with K3s.
struct Node {
    found: Found,
    set: Set,
    version: String,
    arch: String,
    ca: Option<String>,
}

/// Reads and prints.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let chosen = hosts::choose(args.selector.as_deref(), context)?;
    let machines = hosts::machines(&chosen, &args.become_root, context).await?;
    let mut nodes = Vec::new();
    let mut codes = vec![ExitCode::Done];
    for (name, result) in look(&chosen, &machines).await {
        match result {
            Ok(Some(node)) => nodes.push(node),
            Ok(None) => context.output.talk(&format!("{name}: no K3s\n")),
            Err(Trouble::Host(error)) => {
                codes.push(ExitCode::Unreachable);
                let failure = about(&name, error.failure);
                context
                    .output
                    .report(&CliError::from_failure(Kind::Unreachable, &failure));
            }
            Err(Trouble::Odd(what)) => {
                codes.push(ExitCode::Failed);
                let failure = Failure::new(format!("{name}: {what}"))
                    .hint("bring it into a usual form by hand first, or leave the node out");
                context
                    .output
                    .report(&CliError::from_failure(Kind::Failed, &failure));
            }
        }
    }
    if nodes.is_empty() {
        return Ok(ExitCode::strongest(codes));
    }
    context.output.data(&text(&nodes, &chosen))?;
    for node in &nodes {
        for why in &node.set.restarts {
            let line = format!("{}: the first run restarts K3s: {why}\n", node.found.node);
            context.output.talk(&line);
        }
    }
    context.output.talk(
        "Next: put this into the inventory, pin the version (`hmco-boot pins update k3s`), keep the token as the secret k3s/token (on a \
         server: /var/lib/rancher/k3s/server/token, the part after the last `:`), then `hmco-boot plan k3s`.\n",
    );
    Ok(ExitCode::strongest(codes))
}

fn about(node: &str, mut failure: Failure) -> Failure {
    failure.message = format!("{node}: {}", failure.message);
    failure
}

enum Trouble {
    Host(HostError),
    Odd(String),
}

async fn look(
    chosen: &Chosen,
    machines: &Arc<Machines>,
) -> Vec<(String, Result<Option<Node>, Trouble>)> {
    let mut looking = JoinSet::new();
    for (index, node) in chosen.nodes.iter().enumerate() {
        let (machines, name) = (machines.clone(), node.name.clone());
        looking.spawn(async move {
            let target = Target::Node(name.clone());
            (
                index,
                name.to_string(),
                look_at(&machines, &target, name.as_str()).await,
            )
        });
    }
    let mut all = Vec::new();
    while let Some(done) = looking.join_next().await {
        all.extend(done.ok());
    }
    all.sort_by_key(|(index, ..)| *index);
    all.into_iter()
        .map(|(_, name, result)| (name, result))
        .collect()
}

async fn look_at(
    machines: &Machines,
    target: &Target,
    name: &str,
) -> Result<Option<Node>, Trouble> {
    let host = machines.host(target).await.map_err(Trouble::Host)?;
    let first = [Fact::Os, Fact::K3sInstall, Fact::K3sData];
    let answers = host.read(&first).await.map_err(Trouble::Host)?;
    let (mut os, mut install, mut data) =
        (Os::default(), K3sInstall::default(), K3sData::default());
    for (fact, answer) in answers {
        match answer {
            Ok(FactValue::Os(found)) => os = found,
            Ok(FactValue::K3sInstall(found)) => install = found,
            Ok(FactValue::K3sData(found)) => data = found,
            Ok(_) => {}
            Err(error) => return Err(Trouble::Odd(format!("{}: {error}", fact.describe()))),
        }
    }
    let Some(role) = role(&install)? else {
        return Ok(None);
    };
    let unit = format!("/etc/systemd/system/{}", unit_name(role));
    let (env, config) = papers(&install, role);
    let paths: Vec<&str> = [unit.as_str()]
        .into_iter()
        .chain(env.iter().copied())
        .chain(config.iter().copied())
        .collect();
    let facts: Vec<Fact> = paths.iter().filter_map(|path| content(path)).collect();
    let answers = host.read(&facts).await.map_err(Trouble::Host)?;
    let texts = texts(answers)?;
    let of = |path: &str| texts.get(path).cloned().unwrap_or_default();
    let found = Found {
        node: name.to_owned(),
        role,
        unit: of(&unit),
        env: env.iter().map(|path| of(path)).collect(),
        config: config
            .iter()
            .map(|path| ((*path).to_owned(), of(path)))
            .collect(),
    };
    let set = read(&found, &unit_text(role)).map_err(Trouble::Odd)?;
    Ok(Some(Node {
        set,
        version: install
            .version
            .split_whitespace()
            .nth(2)
            .unwrap_or_default()
            .to_owned(),
        arch: os.arch,
        ca: data.ca_sha256,
        found,
    }))
}

/// What a node is, by its unit; `None` = it has no K3s.
fn role(install: &K3sInstall) -> Result<Option<Role>, Trouble> {
    if let Some(unit) = named_unit(&install.units) {
        return Err(Trouble::Odd(format!(
            "K3s was installed here under another name: {unit}; rename it, and its environment file, to k3s.service (k3s-agent.service)"
        )));
    }
    match install.units.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [one] if one == unit_name(Role::Agent) => Ok(Some(Role::Agent)),
        [one] if one == unit_name(Role::Server) => Ok(Some(Role::Server)),
        _ => Err(Trouble::Odd("it is server and agent at once".to_owned())),
    }
}

/// The files that set it up: of its environment, and of its configuration but for those that this tool writes.
fn papers(install: &K3sInstall, role: Role) -> (Vec<&str>, Vec<&str>) {
    let is_env = |path: &&str| path.ends_with(".env") || path.starts_with("/etc/default/");
    let files = install.config_files.iter().map(String::as_str);
    let (mut env, mut config): (Vec<&str>, Vec<&str>) = files.partition(is_env);
    let own_env = env_path(role);
    env.retain(|path| !path.ends_with(".env") || *path == own_env.as_str());
    config.retain(|path| !OWN.contains(path));
    (env, config)
}

/// A file's bytes, which may hold a token.
fn content(path: &str) -> Option<Fact> {
    Some(Fact::Content {
        path: AbsPath::new(path).ok()?,
        unless_sha256: None,
        cap: 64 << 10,
        sensitive: true,
    })
}

fn texts(answers: Vec<Answer>) -> Result<BTreeMap<String, String>, Trouble> {
    let mut texts = BTreeMap::new();
    for (fact, answer) in answers {
        let Some(path) = fact.path().map(ToString::to_string) else {
            continue;
        };
        match answer {
            Ok(FactValue::Content(Content {
                bytes: Some(bytes), ..
            })) => {
                texts.insert(path, String::from_utf8_lossy(&bytes).into_owned());
            }
            Ok(_) => {}
            Err(error) => return Err(Trouble::Odd(format!("{path}: {error}"))),
        }
    }
    Ok(texts)
}

/// What belongs into the inventory.
fn text(nodes: &[Node], chosen: &Chosen) -> String {
    let mut text = format!(
        "# Found by `hmco-boot k3s adopt`, for {}.\n",
        chosen.inventory.file
    );
    let cas: BTreeSet<&str> = nodes.iter().filter_map(|node| node.ca.as_deref()).collect();
    for ca in &cas {
        line(
            &mut text,
            &format!("# [cluster] ca_sha256 = {}", quoted(ca)),
        );
    }
    if cas.len() > 1 {
        line(
            &mut text,
            "# These servers are of DIFFERENT clusters: one inventory is one cluster.",
        );
    }
    places(&mut text, nodes, chosen);
    let versions: BTreeSet<(&str, &str)> = nodes
        .iter()
        .map(|node| (node.version.as_str(), node.arch.as_str()))
        .collect();
    for (version, arch) in versions {
        line(
            &mut text,
            &format!("# K3s {version} ({arch}) runs: pin this one as `k3s` in hmco-boot.lock."),
        );
    }
    let (mut common, mut own) = (Vec::new(), BTreeMap::<&str, Vec<String>>::new());
    for (role, name) in [
        (Role::Server, "k3s_config"),
        (Role::Agent, "k3s_agent_config"),
    ] {
        let of_role: Vec<&Node> = nodes
            .iter()
            .filter(|node| node.found.role == role)
            .collect();
        values(
            name,
            &of_role,
            |node| toml(&node.set.config),
            &mut common,
            &mut own,
        );
    }
    let all: Vec<&Node> = nodes.iter().collect();
    values("k3s_env", &all, environment, &mut common, &mut own);
    hidden(&mut text, nodes);
    line(&mut text, "[vars]");
    for entry in common {
        line(&mut text, &entry);
    }
    for (node, entries) in own {
        line(&mut text, &format!("\n[node.{node}.vars]"));
        for entry in entries {
            line(&mut text, &entry);
        }
    }
    text
}

/// Where nodes join, and roles that the inventory does not have.
fn places(text: &mut String, nodes: &[Node], chosen: &Chosen) {
    let urls = nodes.iter().filter_map(|node| {
        let url = node.set.server.as_deref()?;
        Some((node.found.node.as_str(), url))
    });
    for words in joins::of(
        &urls.collect::<Vec<_>>(),
        chosen.inventory.cluster.api_address.as_deref(),
    ) {
        line(text, &words);
    }
    for node in nodes {
        let role = node.found.role.word();
        let listed = chosen
            .nodes
            .iter()
            .find(|one| one.name.as_str() == node.found.node);
        if listed.is_some_and(|one| !one.roles.iter().any(|has| has == role)) {
            let words = format!("# [node.{}] roles = [{}]", node.found.node, quoted(role));
            line(text, &words);
        }
    }
}

/// Which settings are not shown, and what becomes of them.
fn hidden(text: &mut String, nodes: &[Node]) {
    for node in nodes {
        for name in &node.set.secrets {
            let words = match name.starts_with(|c: char| c.is_ascii_uppercase()) {
                true => format!(
                    "# {}: {name} may hold a secret and is not shown; the first run takes it away unless `env` of the step has it (as a secret).",
                    node.found.node
                ),
                false => format!(
                    "# {}: `{name}` holds a secret and is not shown; it stays in its file.",
                    node.found.node
                ),
            };
            line(text, &words);
        }
    }
}

/// A var that is the same on all nodes, or one for each.
fn values<'n>(
    name: &str,
    nodes: &[&'n Node],
    value: impl Fn(&Node) -> String,
    common: &mut Vec<String>,
    own: &mut BTreeMap<&'n str, Vec<String>>,
) {
    let all: BTreeSet<String> = nodes.iter().map(|node| value(node)).collect();
    match all.len() {
        0 => {}
        1 => common.extend(all.into_iter().map(|value| format!("{name} = {value}"))),
        _ => {
            for node in nodes {
                let entry = format!("{name} = {}", value(node));
                own.entry(node.found.node.as_str()).or_default().push(entry);
            }
        }
    }
}

fn environment(node: &Node) -> String {
    let entries = node.set.env.iter();
    let entries: Vec<String> = entries
        .map(|(name, value)| format!("{name} = {}", quoted(value)))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

fn line(text: &mut String, words: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{words}").ok();
}
