//! `hmco-boot hosts facts`: what nodes are, read in one execution each. Changes nothing.

use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::{choose, machines};
use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::cli::reach::BecomeArgs;
use crate::facts::fact::{
    Answer, Boot, Clock, Disk, Fact, FactError, FactValue, Link, NAMED, Net, Os, PackageManager,
    to_json,
};
use crate::model::id::{NodeName, Target};
use crate::model::outcome::{ExitCode, Failure};
use crate::model::path::AbsPath;
use crate::report::style::{Ink, Line};
use crate::report::text::{duration, some_of};
use crate::transport::{HostError, Hosts};

/// Arguments of `hosts facts`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
What playbooks see as `facts.os`, `facts.net` and so on in `when` and `assert` is what --output json
shows, one line per node. Exits with 3 where a node could not be reached.

Examples:
  hmco-boot hosts facts
  hmco-boot hosts facts role:server --output json")]
pub struct Args {
    /// Selector of the nodes; by default all
    #[arg(value_name = "SEL")]
    pub selector: Option<String>,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

/// What is read: the facts that playbooks can name, and some that only people want.
fn wanted() -> Result<Vec<(&'static str, Fact)>, CliError> {
    let path = AbsPath::new("/").map_err(|error| CliError::failed("no path").caused_by(&error))?;
    let more = [
        ("disk", Fact::Disk { path }),
        ("package_manager", Fact::PackageManager),
        ("run_state", Fact::RunState),
    ];
    Ok(NAMED.into_iter().chain(more).collect())
}

/// Reads and shows.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let chosen = choose(args.selector.as_deref(), context)?;
    let machines = machines(&chosen, &args.become_root, context).await?;
    let wanted = wanted()?;
    let facts: Vec<Fact> = wanted.iter().map(|(_, fact)| fact.clone()).collect();
    let mut reading = JoinSet::new();
    for (index, node) in chosen.nodes.iter().enumerate() {
        let (machines, facts) = (machines.clone(), facts.clone());
        let target = Target::Node(node.name.clone());
        reading.spawn(async move {
            let read = async { machines.host(&target).await?.read(&facts).await };
            (index, read.await)
        });
    }
    let mut read: Vec<(usize, Result<Vec<Answer>, HostError>)> = Vec::new();
    while let Some(done) = reading.join_next().await {
        read.extend(done.ok());
    }
    read.sort_by_key(|(index, _)| *index);
    let mut codes = vec![ExitCode::Done];
    for (index, result) in read {
        let Some(node) = chosen.nodes.get(index) else {
            continue;
        };
        match result {
            Ok(answers) => show(&node.name, &wanted, &answers, context)?,
            Err(error) => {
                codes.push(ExitCode::Unreachable);
                unreachable(&node.name, &error.failure, context)?;
            }
        }
    }
    Ok(ExitCode::strongest(codes))
}

fn unreachable(
    node: &NodeName,
    failure: &Failure,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    if context.output.format() == Format::Json {
        return context
            .output
            .json("unreachable", &json!({ "node": node, "failure": failure }));
    }
    let error = CliError::from_failure(Kind::Unreachable, &super::about(node.as_str(), failure));
    context.output.report(&error);
    Ok(())
}

fn show(
    node: &NodeName,
    wanted: &[(&'static str, Fact)],
    answers: &[Answer],
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let answer = |fact: &Fact| answers.iter().find(|(asked, _)| asked == fact);
    if context.output.format() == Format::Json {
        let (mut values, mut errors) = (serde_json::Map::new(), serde_json::Map::new());
        for (name, fact) in wanted {
            match answer(fact) {
                Some((_, Ok(value))) => {
                    values.insert((*name).to_owned(), to_json(value));
                }
                Some((_, Err(error))) => {
                    errors.insert((*name).to_owned(), json!(error.to_string()));
                }
                None => {}
            }
        }
        let facts = json!({ "node": node, "facts": values, "errors": errors });
        return context.output.json("facts", &facts);
    }
    let mut lines = vec![Line::of(Ink::Strong, node.as_str())];
    for (name, fact) in wanted {
        if let Some((_, result)) = answer(fact) {
            lines.extend(rows(name, result));
        }
    }
    context.output.lines(&lines)
}

/// A fact for people: one line or a few.
fn rows(name: &str, result: &Result<FactValue, FactError>) -> Vec<Line> {
    let texts = match result {
        Ok(value) => words(value),
        // Nothing there is an answer, and of no interest here.
        Err(FactError::NotFound) => return Vec::new(),
        Err(error) => {
            let label = Line::new().plain(format!("  {name:<16}"));
            return vec![label.with(Ink::Bad, error.to_string())];
        }
    };
    texts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(label, text)| {
            let label = if label.is_empty() { name } else { label };
            Line::new()
                .with(Ink::Soft, format!("  {label:<16}"))
                .plain(text)
        })
        .collect()
}

/// A label (empty: the fact's name) and a text (empty: nothing to show).
type Words = Vec<(&'static str, String)>;

fn words(value: &FactValue) -> Words {
    match value {
        FactValue::Os(os) => os_words(os),
        FactValue::Boot(boot) => boot_words(boot),
        FactValue::Cgroup(cgroup) => {
            let controllers = cgroup.controllers.join(" ");
            vec![("", format!("version {}: {controllers}", cgroup.version))]
        }
        FactValue::Sudo(sudo) => {
            let words = match (sudo.is_root, sudo.installed, sudo.passwordless) {
                (true, _, _) => "read as root",
                (false, true, true) => "without password",
                (false, true, false) => "with password",
                (false, false, _) => "not installed",
            };
            vec![("", words.to_owned())]
        }
        FactValue::Clock(clock) => vec![("", clock_words(clock))],
        FactValue::Net(net) => net_words(net),
        FactValue::Disk(disk) => vec![("", disk_words(disk))],
        FactValue::PackageManager(manager) => vec![("packages", manager_words(manager))],
        FactValue::RunState(state) => {
            let jobs: Vec<&str> = state.jobs.iter().map(|job| job.id.as_str()).collect();
            let lock = state.lock.clone().unwrap_or_default();
            vec![
                ("lock", lock.trim().replace('\n', ", ")),
                ("jobs left", jobs.join(" ")),
            ]
        }
        FactValue::K3sInstall(k3s) => {
            vec![("k3s", listed([k3s.version.clone(), k3s.units.join(" ")]))]
        }
        other => vec![("", flat(&to_json(other)))],
    }
}

fn os_words(os: &Os) -> Words {
    let system = [&os.id, &os.version, &os.codename].map(String::as_str);
    vec![
        (
            "",
            listed([
                system.join(" ").trim().to_owned(),
                format!("userland {}", os.arch),
                format!("kernel {} {}", os.kernel, os.kernel_arch),
            ]),
        ),
        (
            "machine",
            listed([
                os.model.clone(),
                format!("{} CPUs", os.cpus),
                format!("{} memory", size(os.memory)),
                format!("pages of {}", size(u64::from(os.page_size))),
                os.init.clone(),
            ]),
        ),
        (
            "names",
            format!("hostname {}, machine-id {}", os.hostname, os.machine_id),
        ),
    ]
}

fn boot_words(boot: &Boot) -> Words {
    let reboot = if boot.reboot_required {
        format!("required: {}", boot.reboot_packages.join(" "))
    } else {
        String::new()
    };
    vec![
        ("", boot.id.clone()),
        ("cmdline", boot.cmdline.clone()),
        ("reboot", reboot),
    ]
}

fn disk_words(disk: &Disk) -> String {
    let read_only = if disk.read_only { ", read-only" } else { "" };
    format!(
        "{} on {} ({}{read_only}), {} of {} free",
        disk.source,
        disk.mount,
        disk.fs_type,
        size(disk.free),
        size(disk.size)
    )
}

fn manager_words(manager: &PackageManager) -> String {
    let holder = manager.lock_holder.as_ref();
    let interrupted = if manager.interrupted {
        "interrupted, wants `dpkg --configure -a`"
    } else {
        ""
    };
    listed([
        manager.name.clone(),
        holder.map_or(String::new(), |holder| format!("locked by {holder}")),
        interrupted.to_owned(),
    ])
}

fn clock_words(clock: &Clock) -> String {
    let now = jiff::Timestamp::from_millisecond(clock.now_ms).map_or_else(
        |_| clock.now_ms.to_string(),
        |now| now.strftime("%F %T UTC").to_string(),
    );
    let synchronized = match clock.synchronized {
        Some(true) => "synchronized",
        Some(false) => "NOT synchronized",
        None => "",
    };
    let up = format!("up {}", duration(clock.uptime_ms));
    listed([now, synchronized.to_owned(), up, clock.zone.clone()])
}

fn net_words(net: &Net) -> Words {
    // Of a bridge's ports and such there may be dozens; what a node is reached by has an address of its own.
    let is_own = |address: &&String| !address.starts_with("fe80:");
    let (shown, others): (Vec<&Link>, Vec<&Link>) = net
        .links
        .iter()
        .partition(|link| link.addresses.iter().any(|address| is_own(&address)));
    let mut rows: Words = shown
        .into_iter()
        .map(|link| {
            let addresses = link.addresses.iter().filter(is_own);
            let addresses: Vec<&str> = addresses.map(String::as_str).collect();
            let words = [
                addresses.join(" "),
                link.mac.clone(),
                format!("mtu {}", link.mtu),
                link.state.clone(),
            ];
            ("", format!("{}: {}", link.name, listed(words)))
        })
        .collect();
    let ports = |ports: &[u16]| {
        ports
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let others: Vec<String> = others.iter().map(|link| link.name.clone()).collect();
    rows.push(("no address", some_of(&others, 4)));
    rows.push((
        "default route",
        net.default_route.clone().unwrap_or_default(),
    ));
    rows.push(("name servers", net.nameservers.join(" ")));
    rows.push(("tcp ports", ports(&net.tcp_listen)));
    rows.push(("udp ports", ports(&net.udp_listen)));
    rows
}

/// What is there, with commas.
fn listed<const N: usize>(words: [String; N]) -> String {
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(", ")
}

/// Bytes in binary units.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        if bytes >= 1 << shift {
            let tenths = (u128::from(bytes) * 10) >> shift;
            return match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                rest => format!("{}.{rest} {unit}", tenths / 10),
            };
        }
    }
    format!("{bytes} B")
}

/// What is set of a table, on one line.
fn flat(value: &Json) -> String {
    let Json::Object(entries) = value else {
        return value.to_string();
    };
    let set = entries.iter().filter(|(_, value)| {
        !(value.is_null()
            || **value == json!(false)
            || **value == json!("")
            || **value == json!([]))
    });
    let words: Vec<String> = set
        .map(|(name, value)| match value {
            Json::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_binary_units() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(16384), "16 KiB");
        assert_eq!(size(8 * 1024 * 1024 * 1024 - 1), "7.9 GiB");
    }

    #[test]
    fn what_is_not_set_is_not_shown() {
        let value = json!({ "a": false, "b": "x", "c": null, "d": [], "e": 3 });
        assert_eq!(flat(&value), "b=x e=3");
    }
}
