//! `hmco-boot hosts preflight`: whether nodes can carry K3s, every check with its value, limit and cure. Looks at all nodes
//! of the inventory, since they are compared; shows those selected.

mod measure;
mod show;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use super::{choose, machines};
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::reach::BecomeArgs;
use crate::facts::fact::{Answer, Fact, FactError};
use crate::facts::known::{Known, Store};
use crate::model::id::Target;
use crate::model::inventory::{Connection, Inventory};
use crate::model::outcome::{ExitCode, Failure};
use crate::steps::preflight::finding::Severity;
use crate::steps::preflight::{FlannelBackend, Measuring, Peer, Preflight, Report};
use crate::steps::{Kind as _, Want};
use crate::transport::machines::Machines;
use crate::transport::{HostError, Hosts};
use measure::{answered, measure};
use show::show;

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
            None => (report_of(&wish, &known, args.measure), true),
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

/// What the checks find. `measured`: that was asked for, so a report without it would not be what was wanted.
fn report_of(wish: &Preflight, known: &Known<'_>, measured: bool) -> Result<Report, Failure> {
    let report = wish.full_report(known, measured).map_err(|error| {
        let failure = Failure::new(error.to_string());
        match error.source {
            Some(source) => failure.evidence(source.to_string()),
            None => failure,
        }
    })?;
    match &report.measuring {
        Measuring::Needed(why) | Measuring::Left(why) if measured => {
            Err(Failure::new("it was measured, but there is no result")
                .evidence(*why)
                .hint("see that /run/hmco-boot there can be read and is not full"))
        }
        _ => Ok(report),
    }
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
                let reached = answered(error.kind);
                failures.insert(target, (error.failure, reached));
            }
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::preflight::finding::Finding;

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

    #[test]
    fn a_measuring_that_was_asked_for_and_left_no_result_is_no_good_report() {
        let (target, wish) = (Target::Controller, Preflight::default());
        let mut store = Store::default();
        let nothing = crate::facts::fact::FactValue::K3sData(Default::default());
        store.insert(&target, [(Fact::K3sData, Ok(nothing))]);
        let known = store.view(&target);
        assert!(report_of(&wish, &known, false).is_ok());
        let failure = report_of(&wish, &known, true).unwrap_err();
        assert_eq!(failure.evidence, ["there is no measuring of this boot"]);
    }
}
