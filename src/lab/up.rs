//! Bringing a lab up: stage by stage, each looking first whether its result is there already.

#![expect(
    clippy::disallowed_methods,
    reason = "times how long nodes take, and gives up on one that never answers"
)]

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use super::cgroup::Hierarchies;
use super::command::tail;
use super::k3s::K3s;
use super::names::MAX_NODES;
use super::node::Node;
use super::place::{Place, Shelf};
use super::recipe::{MAIN_URL, Recipe, SECURITY_URL};
use super::record::Record;
use super::{
    LabError, Say, base, command, cut, files, inventory, mark, network, packages, ssh, tools,
    verify,
};
use crate::model::outcome::Failure;

/// How long a node may take until it answers SSH.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is asked for; `None`: as the lab is, or the default for a new one.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Nodes with the role `server`.
    pub servers: Option<usize>,
    /// Nodes with the role `agent`.
    pub agents: Option<usize>,
    /// Addresses.
    pub subnet: Option<Ipv4Net>,
    /// Debian's suite.
    pub suite: Option<String>,
    /// The user of SSH.
    pub user: Option<String>,
    /// CPU time of each node, in percent of one processor.
    pub cpu: Option<u32>,
    /// The K3s of its nodes.
    pub k3s: Option<K3s>,
    /// Where the inventory goes; `None`: none is written.
    pub inventory: Option<PathBuf>,
    /// Where packages come from, for a new lab: main and security archive.
    pub mirrors: Option<Mirrors>,
    /// This program, which serves packages.
    pub program: PathBuf,
}

/// Where packages come from: main and security archive; or why none answers.
pub type Mirrors = Result<(String, String), Failure>;

/// Brings a lab up; one that is up is only looked at.
///
/// # Errors
/// Where a stage fails. What was done so far stays, and the next call goes on from there.
pub fn up(place: &Place, request: &Request, say: Say<'_>) -> Result<Record, LabError> {
    tools::expect_root()?;
    tools::expect_tools()?;
    let _lock = place.lock()?;
    let hierarchies = Hierarchies::of_this_machine()?;
    let mut record = match plan(place, request, say) {
        Err(error) if Record::load(place).is_ok_and(|known| known.is_none()) => {
            // Nothing was begun: nothing stays.
            mark::undo(&place.dir)?;
            return Err(error);
        }
        planned => planned?,
    };
    if let Some(words) = tools::few_watches(record.nodes.len()) {
        say(&format!("warning: {words}"));
    }
    let all = nodes(place, &record, &hierarchies);
    bring(place, &record, &all, &request.program, say)?;
    let keys = pin(place, &record, &all)?;
    if inventory::write(place, &mut record, &keys, !hierarchies.v2())? == inventory::Found::Edited
        && let Some(path) = &record.inventory
    {
        say(&format!(
            "{} was changed since it was written: it is left as it is",
            path.display()
        ));
    }
    verify::verify(place, &record, &all)?;
    Ok(record)
}

/// Gives power to nodes of a lab that has been up.
///
/// # Errors
/// Where a stage fails.
pub fn start(
    place: &Place,
    record: &Record,
    nodes: &[Node],
    program: &Path,
    say: Say<'_>,
) -> Result<(), LabError> {
    tools::expect_tools()?;
    let _lock = place.lock()?;
    bring(place, record, nodes, program, say)
}

/// Everything that nodes need, then the nodes; what is there is left as it is.
fn bring(
    place: &Place,
    record: &Record,
    nodes: &[Node],
    program: &Path,
    say: Say<'_>,
) -> Result<(), LabError> {
    let hierarchies = Hierarchies::of_this_machine()?;
    let base = base::ensure(place, record, &hierarchies, say)?;
    network::ensure_bridge(&place.tag, record.subnet)?;
    packages::ensure(
        place,
        &packages::Config::of(place, record),
        program,
        &hierarchies,
    )?;
    let public_key = ssh::ensure_key(place)?;
    for node in nodes {
        node.prepare(&base, place, record, &public_key)?;
    }
    start_all(place, record, nodes, say)?;
    Ok(())
}

/// All nodes of a lab.
pub fn nodes(place: &Place, record: &Record, hierarchies: &Hierarchies) -> Vec<Node> {
    let plans = record.nodes().into_iter();
    plans
        .map(|plan| Node::new(place, plan, hierarchies))
        .collect()
}

/// The lab's record: of what is there, with what is asked for; chosen and noted where it is new.
fn plan(place: &Place, request: &Request, say: Say<'_>) -> Result<Record, LabError> {
    // Two labs that begin at once must not choose the same addresses.
    let _lock = place.shelf().lock()?;
    place.shelf().check_cache()?;
    let known = Record::load(place)?;
    let old = known.clone();
    let mut record = match known {
        Some(record) => {
            agree(place, &record, request)?;
            record
        }
        None => new_record(place, request, say)?,
    };
    let new = old.is_none();
    let wanted = |asked: Option<usize>, default| asked.unwrap_or(if new { default } else { 0 });
    record.grow(&place.name, "server", wanted(request.servers, 3));
    record.grow(&place.name, "agent", wanted(request.agents, 1));
    if record.nodes.is_empty() || record.nodes.len() > MAX_NODES as usize {
        let what = format!(
            "a lab has 1 to {MAX_NODES} nodes, not {}",
            record.nodes.len()
        );
        return Err(LabError::Usage(
            Failure::new(what).hint("say how many with --servers N and --agents N"),
        ));
    }
    record.cpu = request.cpu.or(record.cpu);
    if let Some(k3s) = &request.k3s {
        if let Some(words) = k3s.in_place_of(record.k3s.as_ref()).filter(|_| !new) {
            say(&words);
        }
        record.k3s = Some(k3s.clone());
    }
    if request.inventory.is_some() && record.inventory != request.inventory {
        record.inventory.clone_from(&request.inventory);
        record.written.clear();
    }
    if let Some(path) = &record.inventory {
        inventory::check(path, place, &record.written).map_err(LabError::Usage)?;
    }
    if old.as_ref() != Some(&record) {
        record.save(place)?;
    }
    Ok(record)
}

fn new_record(place: &Place, request: &Request, say: Say<'_>) -> Result<Record, LabError> {
    let suite = request.suite.clone();
    let suite = suite.unwrap_or_else(|| super::recipe::DEFAULT_SUITE.to_owned());
    let debians = || (MAIN_URL.to_owned(), SECURITY_URL.to_owned());
    let (mirror, security_mirror) = match &request.mirrors {
        Some(Ok(mirrors)) => mirrors.clone(),
        Some(Err(failure)) => {
            // With a base at hand a lab is of use, and the cache may have the packages.
            if !base::path(place.shelf(), &Recipe::new(&suite).key()).is_dir() {
                return Err(LabError::Failed(failure.clone()));
            }
            say(&format!(
                "{}: nodes get only packages that were fetched before",
                failure.message
            ));
            debians()
        }
        None => debians(),
    };
    Ok(Record {
        subnet: network::choose(request.subnet, &place.tag, &claimed(place.shelf(), place)?)?,
        base: Recipe::new(&suite).key(),
        suite,
        mirror,
        security_mirror,
        user: request.user.clone().unwrap_or_else(|| "pi".to_owned()),
        cpu: None,
        k3s: None,
        inventory: None,
        written: Vec::new(),
        nodes: Vec::new(),
    })
}

/// Refuses what cannot be changed while a lab is there.
fn agree(place: &Place, record: &Record, request: &Request) -> Result<(), LabError> {
    let mut differ = Vec::new();
    let mut compare = |what: &str, has: String, asked: Option<String>| {
        if let Some(asked) = asked.filter(|asked| *asked != has) {
            differ.push(format!("{what}: it has {has}, asked for is {asked}"));
        }
    };
    compare(
        "subnet",
        record.subnet.to_string(),
        request.subnet.map(|net| net.trunc().to_string()),
    );
    compare("suite", record.suite.clone(), request.suite.clone());
    compare("user", record.user.clone(), request.user.clone());
    for (role, asked) in [("server", request.servers), ("agent", request.agents)] {
        let has = record.count(role);
        let fewer = asked.filter(|asked| *asked < has);
        compare(
            &format!("{role}s"),
            has.to_string(),
            fewer.map(|n| n.to_string()),
        );
    }
    if differ.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(format!("lab `{}` is there and is different", place.name));
    for line in differ {
        failure = failure.evidence(line);
    }
    Err(LabError::Usage(failure.hint(format!(
        "take it down first (hmco-boot lab down --name {}), or make another one with --name",
        place.name
    ))))
}

/// The addresses of all other labs, also of those that are not up.
fn claimed(shelf: &Shelf, but_for: &Place) -> Result<Vec<Ipv4Net>, LabError> {
    let mut claimed = Vec::new();
    for name in shelf.labs()? {
        if name == but_for.name {
            continue;
        }
        // A record that cannot be read claims nothing: its bridge, where there is one, does.
        if let Ok(Some(record)) = Record::load(&shelf.lab(&name)?) {
            claimed.push(record.subnet);
        }
    }
    Ok(claimed)
}

/// Starts the nodes that are off, all at once, and waits until each answers.
fn start_all(place: &Place, record: &Record, nodes: &[Node], say: Say<'_>) -> Result<(), Failure> {
    let begun = Instant::now();
    let cuts = cut::list(&place.tag, record)?;
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .iter()
            .map(|node| {
                let cut_off = verify::is_cut_off(&cuts, &node.plan.name);
                scope.spawn(move || start_one(node, record.cpu, cut_off, begun, say))
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<(), Failure>>| {
            let panicked = |_| Err(Failure::new("a thread of the lab panicked"));
            thread.join().unwrap_or_else(panicked)
        };
        threads.into_iter().map(join).collect::<Vec<_>>()
    });
    results.into_iter().collect()
}

fn start_one(
    node: &Node,
    cpu: Option<u32>,
    cut_off: bool,
    begun: Instant,
    say: Say<'_>,
) -> Result<(), Failure> {
    let (name, address) = (&node.plan.name, node.plan.address);
    let running = node.runs();
    let child = if running {
        None
    } else {
        Some(node.start(cpu)?)
    };
    if running && cpu.is_some() {
        node.group.limit_cpu(cpu)?;
    }
    if cut_off {
        say(&format!(
            "{name:<9} {address:<15} has power, but its network is cut: `lab cut {name} --heal` ends that"
        ));
        return Ok(());
    }
    wait_for_ssh(node, child)?;
    if running {
        say(&format!("{name:<9} {address:<15} answers SSH (it was up)"));
    } else {
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!(
            "{name:<9} {address:<15} answers SSH after {seconds:.1} s"
        ));
    }
    Ok(())
}

fn wait_for_ssh(node: &Node, mut child: Option<Child>) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        if super::node::answers_ssh(node.plan.address) {
            return Ok(());
        }
        let ended = child
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten());
        if let Some(status) = ended {
            return Err(evidence(
                node,
                format!("node {} ended: {status}", node.plan.name),
            ));
        }
        if begun.elapsed() > ANSWERS_WITHIN {
            let seconds = ANSWERS_WITHIN.as_secs();
            let what = format!(
                "node {} does not answer SSH after {seconds} s",
                node.plan.name
            );
            return Err(evidence(node, what));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The end of a node's console, and what its journal warns of.
fn evidence(node: &Node, what: String) -> Failure {
    let mut failure = Failure::new(what);
    for line in tail(&files::read_if_any(&node.console()), 15) {
        failure = failure.evidence(line);
    }
    if let Some(leader) = node.leader() {
        let leader = leader.to_string();
        let journal = [
            "-t",
            &leader,
            "-a",
            "journalctl",
            "-p",
            "warning",
            "-n",
            "10",
            "--no-pager",
            "-o",
            "cat",
        ];
        let said = command::run("nsenter", &journal).unwrap_or_default();
        for line in said.lines() {
            failure = failure.evidence(format!("journal: {line}"));
        }
    }
    let console = || format!("its console: {}", node.console().display());
    failure.hint(tools::few_watches(1).unwrap_or_else(console))
}

/// Reads the host keys that the nodes made and writes known_hosts.
fn pin(place: &Place, record: &Record, nodes: &[Node]) -> Result<Vec<Vec<String>>, Failure> {
    let mut all = Vec::new();
    let mut text = String::new();
    for (node, plan) in nodes.iter().zip(record.nodes()) {
        let keys = ssh::host_keys(&node.root())?;
        text.push_str(&ssh::known_hosts(&plan.name, plan.address, &keys));
        all.push(keys);
    }
    if files::read(&place.known_hosts())?.as_deref() != Some(text.as_str()) {
        files::write(&place.known_hosts(), &text, 0o600)?;
    }
    Ok(all)
}
