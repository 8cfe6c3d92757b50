//! `hmco-boot hosts preflight`: whether nodes can carry K3s, every check with its value, limit and cure. Looks at all nodes
//! of the inventory, since they are compared; shows those selected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::{choose, machines};
use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::cli::reach::BecomeArgs;
use crate::cli::session::new_run_id;
use crate::engine::clock::SystemClock;
use crate::facts::fact::{Answer, Fact, FactError};
use crate::facts::known::Store;
use crate::model::action::{Job, JobStatus};
use crate::model::id::{JobId, Target};
use crate::model::inventory::{Connection, Inventory};
use crate::model::outcome::{ExitCode, Failure};
use crate::model::units::TimeSpan;
use crate::report::style::{Ink, Line};
use crate::report::text::count;
use crate::steps::preflight::finding::{Finding, Severity};
use crate::steps::preflight::{FlannelBackend, Measuring, Peer, Preflight, Report};
use crate::steps::{Kind as _, Want};
use crate::transport::machines::Machines;
use crate::transport::{HostError, Hosts};

/// How long a measuring may take; it ends within a minute by itself.
const LIMIT: Duration = Duration::from_secs(180);

/// Arguments of `hosts preflight`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Reads facts only, and shows what was measured since the nodes' boot. With --measure it measures anew, on nodes with K3s
too: synchronous writes on servers (at most 6 MB), ports between the nodes, the cluster's address, names.
Exits with 1 where a check finds an error, with 3 where a node could not be reached.

Examples:
  hmco-boot hosts preflight
  hmco-boot hosts preflight role:server --measure --resolve registry-1.docker.io")]
pub struct Args {
    /// Selector of the nodes; by default all
    #[arg(value_name = "SEL")]
    pub selector: Option<String>,
    /// Measure what facts cannot tell
    #[arg(long)]
    pub measure: bool,
    /// How pods of different nodes reach each other: vxlan, host-gw, wireguard-native, none
    #[arg(long, value_name = "NAME", default_value = "vxlan", value_parser = backend)]
    pub flannel_backend: FlannelBackend,
    /// A name that the nodes must be able to look up, with --measure; may be repeated
    #[arg(long, value_name = "NAME")]
    pub resolve: Vec<String>,
    /// How to become root.
    #[command(flatten)]
    pub become_root: BecomeArgs,
}

fn backend(text: &str) -> Result<FlannelBackend, String> {
    serde_json::from_value(json!(text))
        .map_err(|_| "one of vxlan, host-gw, wireguard-native, none".to_owned())
}

/// What became of a node.
struct Looked {
    target: Target,
    report: Result<Report, Failure>,
    reached: bool,
}

/// Reads, measures where that is wished, and shows.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let chosen = choose(args.selector.as_deref(), context)?;
    let machines = machines(&chosen, &args.become_root, context).await?;
    let wish = wish(args, &chosen.inventory);
    if let Some((_, mistake)) = wish.validate().into_iter().next() {
        return Err(CliError::usage(mistake).hint("give other values"));
    }
    let targets: Vec<Target> = chosen
        .nodes
        .iter()
        .map(|node| Target::Node(node.name.clone()))
        .collect();
    let mut store = Store::default();
    let mut failures = read(&wish, &targets, &machines, &mut store).await;
    if args.measure {
        let measured = measure(&wish, &targets, &failures, &machines, &mut store).await?;
        failures.extend(measured);
    }
    let mut codes = vec![ExitCode::Done];
    for target in targets {
        let known = store.view(&target);
        let (report, reached) = match failures.remove(&target) {
            Some((failure, reached)) => (Err(failure), reached),
            None => {
                let report = wish.full_report(&known, args.measure);
                let failed = |error: crate::facts::known::Unreadable| {
                    let failure = Failure::new(error.to_string());
                    match error.source {
                        Some(source) => failure.evidence(source.to_string()),
                        None => failure,
                    }
                };
                (report.map_err(failed), true)
            }
        };
        let looked = Looked {
            target,
            report,
            reached,
        };
        codes.push(code(&looked));
        show(&looked, context)?;
    }
    Ok(ExitCode::strongest(codes))
}

fn code(looked: &Looked) -> ExitCode {
    match &looked.report {
        Err(_) if !looked.reached => ExitCode::Unreachable,
        Ok(report) if report.of(Severity::Error).next().is_none() => ExitCode::Done,
        _ => ExitCode::Failed,
    }
}

/// The same wish as that of playbook preflight.
fn wish(args: &Args, inventory: &Inventory) -> Preflight {
    let peers = inventory.nodes.iter().map(|node| Peer {
        name: node.name.to_string(),
        address: match &node.connection {
            Connection::Local { .. } => None,
            Connection::Ssh(ssh) => Some(ssh.address.clone()),
        },
        roles: node.roles.clone(),
        ..Peer::default()
    });
    Preflight {
        peers: peers.collect(),
        virtual_address: inventory.cluster.api_address.clone(),
        flannel_backend: args.flannel_backend,
        resolve: crate::steps::shared::list::OneOrMany(args.resolve.clone()),
        ..Preflight::default()
    }
}

/// Why there is no report of a node, and whether it answered.
type Failures = BTreeMap<Target, (Failure, bool)>;

/// A node, what it was asked, and its answers.
type Read = (Target, Vec<Fact>, Result<Vec<Answer>, HostError>);

/// Everything that is asked for on behalf of the selected nodes, each node once, all at the same time.
async fn read(
    wish: &Preflight,
    targets: &[Target],
    machines: &Arc<Machines>,
    store: &mut Store,
) -> Failures {
    let mut wanted: BTreeMap<Target, Vec<Fact>> = BTreeMap::new();
    for target in targets {
        let Want::More(facts) = wish.facts(&store.view(target)) else {
            continue;
        };
        for asked in facts {
            let of = asked.target.unwrap_or_else(|| target.clone());
            let facts = wanted.entry(of).or_default();
            if !facts.contains(&asked.fact) {
                facts.push(asked.fact);
            }
        }
    }
    let mut reading: JoinSet<Read> = JoinSet::new();
    for (target, facts) in wanted {
        let machines = machines.clone();
        reading.spawn(async move {
            let read = async { machines.host(&target).await?.read(&facts).await };
            let answers = read.await;
            (target, facts, answers)
        });
    }
    let mut failures = Failures::new();
    while let Some(done) = reading.join_next().await {
        let Ok((target, facts, answers)) = done else {
            continue;
        };
        match answers {
            Ok(answers) => store.insert(&target, answers),
            Err(error) => {
                // An answer all the same, so that the others can tell that they were not compared with it.
                let missing = FactError::Failed(error.failure.message.clone());
                let answers = facts.into_iter().map(|fact| (fact, Err(missing.clone())));
                store.insert(&target, answers);
                failures.insert(target, (error.failure, false));
            }
        }
    }
    failures
}

/// Measures on all nodes at the same time, so that they can listen for each other.
async fn measure(
    wish: &Preflight,
    targets: &[Target],
    failures: &Failures,
    machines: &Arc<Machines>,
    store: &mut Store,
) -> Result<Failures, CliError> {
    let run = new_run_id(&SystemClock::new())?;
    let mut found = Failures::new();
    let mut measuring = JoinSet::new();
    for target in targets.iter().filter(|t| !failures.contains_key(t)) {
        let action = match wish.measuring(&store.view(target)) {
            Ok(action) => action,
            Err(error) => {
                found.insert(target.clone(), (Failure::new(error.to_string()), true));
                continue;
            }
        };
        let job = Job {
            id: JobId::new(format!("preflight-{run}-{target}")),
            label: format!("preflight@{target}"),
            actions: vec![action],
            timeout: TimeSpan(LIMIT),
            fence: None,
        };
        let (machines, target) = (machines.clone(), target.clone());
        measuring.spawn(async move {
            let facts = Preflight::facts_after_measuring();
            let apply = async {
                let host = machines.host(&target).await?;
                host.apply(&job, &facts, &|_| {}).await
            };
            let applied = apply.await;
            (target, applied)
        });
    }
    while let Some(done) = measuring.join_next().await {
        let Ok((target, applied)) = done else {
            continue;
        };
        match applied {
            Ok(applied) if applied.end.status == JobStatus::Succeeded => {
                store.insert(&target, applied.answers);
            }
            Ok(applied) => {
                let mut failure = Failure::new("the measuring did not succeed")
                    .evidence(format!("{:?}", applied.end.status));
                failure
                    .evidence
                    .extend(applied.end.stderr.lines().map(str::to_owned));
                found.insert(target, (failure, true));
            }
            Err(error) => drop(found.insert(target, (error.failure, false))),
        }
    }
    Ok(found)
}

fn show(looked: &Looked, context: &mut Context<'_>) -> Result<(), CliError> {
    let json = context.output.format() == Format::Json;
    match &looked.report {
        Ok(report) if json => {
            let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
            let measured = measuring_words(&report.measuring);
            let value = json!({ "node": looked.target.to_string(), "measuring": measured, "findings": findings });
            context.output.json("preflight", &value)
        }
        Ok(report) => {
            let width = usize::from(context.output.width());
            let lines = table(&looked.target.to_string(), report, width);
            context.output.lines(&lines)
        }
        Err(failure) if json => {
            let kind = if looked.reached {
                "failed"
            } else {
                "unreachable"
            };
            let value = json!({ "node": looked.target.to_string(), "failure": failure });
            context.output.json(kind, &value)
        }
        Err(failure) => {
            let kind = if looked.reached {
                Kind::Failed
            } else {
                Kind::Unreachable
            };
            let mut failure = failure.clone();
            failure.message = format!("{}: {}", looked.target, failure.message);
            let error = CliError::from_failure(kind, &failure);
            let text = error.render(context.output.error_colour());
            context.output.talk(&text);
            Ok(())
        }
    }
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    json!({
        "check": finding.check,
        "severity": finding.severity.word(),
        "measured": finding.measured,
        "limit": finding.limit,
        "cure": finding.cure,
    })
}

fn measuring_words(measuring: &Measuring) -> String {
    match measuring {
        Measuring::Done { age_ms } => {
            format!("measured {} ago", crate::report::text::duration(*age_ms))
        }
        Measuring::Needed(why) | Measuring::Left(why) => format!("not measured: {why}"),
    }
}

/// A node's findings: the worst first; what is fine in one row each.
fn table(name: &str, report: &Report, width: usize) -> Vec<Line> {
    let number = |severity| report.of(severity).count();
    let mut summary = vec![
        count(number(Severity::Error), "error", "errors"),
        count(number(Severity::Warning), "warning", "warnings"),
    ];
    summary.push(measuring_words(&report.measuring));
    let mut lines = vec![
        Line::of(Ink::Strong, name)
            .plain("  ")
            .with(Ink::Soft, summary.join(", ")),
    ];
    let column = report.findings.iter().map(|f| f.check.len()).max();
    let column = 2 + 9 + column.unwrap_or_default() + 2;
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in findings {
        let ink = match finding.severity {
            Severity::Error => Ink::Bad,
            Severity::Warning => Ink::Warn,
            Severity::Note | Severity::Fine => Ink::Soft,
        };
        let mut line = Line::new().with(
            ink,
            format!("  {:<9}{}", finding.severity.word(), finding.check),
        );
        line.pad_to(column);
        let rows = [
            ("", &finding.measured),
            ("limit: ", &finding.limit),
            ("cure: ", &finding.cure),
        ];
        for (at, (label, text)) in rows.into_iter().enumerate() {
            // What is fine needs no more words.
            if text.is_empty() || (at > 0 && finding.severity == Severity::Fine) {
                continue;
            }
            let ink = if at == 0 { Ink::Plain } else { Ink::Soft };
            for part in
                Line::of(ink, format!("{label}{text}")).wrap(0, width.saturating_sub(column))
            {
                line.pad_to(column);
                line.append(part);
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines.push(Line::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: &'static str, severity: Severity) -> Finding {
        Finding::new(
            check,
            severity,
            format!("value of {check}"),
            "a limit",
            "a cure that is long enough to need a second line",
        )
    }

    #[test]
    fn the_worst_comes_first_with_limit_and_cure_and_what_is_fine_takes_one_line() {
        let report = Report {
            findings: vec![
                finding("cpus", Severity::Fine),
                finding("disk", Severity::Warning),
                finding("memory", Severity::Error),
            ],
            measuring: Measuring::Needed("there is no measuring of this boot"),
        };
        let text: Vec<String> = table("pi-1", &report, 60).iter().map(Line::text).collect();
        assert_eq!(
            text,
            [
                "pi-1  1 error, 1 warning, not measured: there is no measuring of this boot",
                "  error    memory  value of memory",
                "                   limit: a limit",
                "                   cure: a cure that is long enough to",
                "                     need a second line",
                "  warning  disk    value of disk",
                "                   limit: a limit",
                "                   cure: a cure that is long enough to",
                "                     need a second line",
                "  fine     cpus    value of cpus",
                "",
            ]
        );
    }

    #[test]
    fn an_error_of_a_check_and_a_node_without_answer_have_codes_of_their_own() {
        let looked = |report, reached| Looked {
            target: Target::Controller,
            report,
            reached,
        };
        let with = |severity| Report {
            findings: vec![finding("disk", severity)],
            measuring: Measuring::Left(""),
        };
        assert_eq!(
            code(&looked(Ok(with(Severity::Warning)), true)),
            ExitCode::Done
        );
        assert_eq!(
            code(&looked(Ok(with(Severity::Error)), true)),
            ExitCode::Failed
        );
        assert_eq!(
            code(&looked(Err(Failure::new("x")), true)),
            ExitCode::Failed
        );
        assert_eq!(
            code(&looked(Err(Failure::new("x")), false)),
            ExitCode::Unreachable
        );
    }
}
