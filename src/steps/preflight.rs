//! `preflight`: everything that sinks K3s clusters, looked at before K3s is there. Two layers: checks of facts, which cost
//! nothing beside the facts, and one measuring (a job) for what must be tried. Every result has the measured value, the
//! limit and the cure; all errors are told at once.
//!
//! Each check is a pure function of facts ([`CHECKS`]). What it does not do: cure anything.

pub mod finding;
mod inputs;
mod kernel;
mod limits;
mod machine;
mod measured;
mod network;
mod peers;
mod ports;
mod report;
mod seen;
#[cfg(test)]
mod tests;
mod wish;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::finding::{Finding, Severity};
use self::inputs::Inputs;
pub use self::limits::Limits;
use self::machine::Found;
use self::measured::{Measured, RESULTS};
pub use self::report::{Measuring, Report};
use self::seen::Seen;
pub use self::wish::{FlannelBackend, Peer, Role};
use super::shared::list::OneOrMany;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::Fact;
use crate::facts::known::{FactRef, Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;

/// Checks whether a node can carry K3s: control groups, memory, clock, names, disks, ports and more. An error fails the
/// step, with every finding, its value, its limit and its cure; warnings are told. Where K3s is not installed yet it also
/// measures, once a boot: synchronous writes (servers), ports between the nodes, whether the cluster's address is free,
/// name resolution. On a node where K3s has data nothing is measured, and what only tells whether it would fit is a
/// warning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preflight {
    /// The nodes that make up the cluster, this one among them: `"{{ nodes }}"`. They are compared (names, clocks) and
    /// their ports are tried. Without it the node is looked at alone.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// What this node is to be; by default what its entry in `peers` says, else an agent.
    #[serde(default)]
    pub role: Option<Role>,
    /// Checks whose errors are only warnings here, by name; `all` for all of them. For a first pass before playbook os,
    /// which cures some: `warn = ["cgroup", "modules"]`.
    #[serde(default)]
    pub warn: OneOrMany<String>,
    /// Other limits than the built-in ones.
    #[serde(default)]
    pub limits: Limits,
    /// Measure what facts cannot tell.
    #[serde(default = "yes")]
    pub measure: bool,
    /// The cluster's own address, which nobody may have yet: `"{{ cluster.api_address or '' }}"`. An address of a node, a
    /// name or nothing: no check.
    #[serde(default)]
    pub virtual_address: Option<String>,
    /// How pods of different nodes will reach each other; tells ports and modules.
    #[serde(default)]
    pub flannel_backend: FlannelBackend,
    /// Names that the node must be able to look up; none in a cluster without internet.
    #[serde(default)]
    pub resolve: OneOrMany<String>,
}

fn yes() -> bool {
    true
}

/// A check of facts: the name it is known by where it cannot even look, and the check.
type Check = (&'static str, fn(&Seen<'_>) -> Found);

/// All checks of facts, in the order in which they are told.
const CHECKS: [Check; 24] = [
    ("root", machine::root),
    ("init", machine::init),
    ("arch", kernel::architecture),
    ("page-size", kernel::page_size),
    ("cgroup", kernel::cgroup),
    ("modules", kernel::modules),
    ("memory", kernel::memory),
    ("cpus", kernel::cpus),
    ("hostname", machine::hostname),
    ("machine-id", machine::machine_id),
    ("unique-hostname", peers::unique),
    ("clock", peers::clock),
    ("disk", network::disk),
    ("sd-card", machine::sd_card),
    ("default-route", network::default_route),
    ("nameservers", network::nameservers),
    ("ports-free", network::ports_free),
    ("firewall", network::firewall),
    ("network-manager", network::network_manager),
    ("iptables", machine::iptables),
    ("swap", machine::swap),
    ("apparmor", machine::apparmor),
    ("power", machine::power),
    ("other-kubernetes", machine::other_kubernetes),
];

/// Names of findings that are not names of checks above.
const FURTHER: [&str; 12] = [
    "cgroup-v1",
    "unique-machine-id",
    "unique-mac",
    "unique-product-uuid",
    "clock-skew",
    "inodes",
    "read-only",
    "docker",
    "sync-write",
    "ports-reachable",
    "virtual-address",
    "dns",
];

/// What tells whether K3s would fit a node: no reason to stop where it runs already.
const FITNESS: [&str; 13] = [
    "arch",
    "page-size",
    "memory",
    "cpus",
    "modules",
    "disk",
    "inodes",
    "sd-card",
    "iptables",
    "swap",
    "power",
    "hostname",
    "other-kubernetes",
];

/// A measuring that found errors counts for so long: it is the one that was made for this decision. Later the errors are
/// measured again, for somebody may have cured them.
const FRESH_MS: u64 = 10_000;

impl Default for Preflight {
    /// A node alone, with everything at its default.
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            role: None,
            warn: OneOrMany::default(),
            limits: Limits::default(),
            measure: yes(),
            virtual_address: None,
            flannel_backend: FlannelBackend::default(),
            resolve: OneOrMany::default(),
        }
    }
}

impl Preflight {
    /// Every check on what is known of the node.
    pub fn report(&self, known: &Known<'_>) -> Result<Report, Unreadable> {
        self.full_report(known, false)
    }

    /// The same; with `everywhere` also what was measured where K3s has data.
    pub fn full_report(&self, known: &Known<'_>, everywhere: bool) -> Result<Report, Unreadable> {
        let own = self
            .peers
            .iter()
            .find(|peer| peer.target() == *known.target());
        let role = self.role.or(own.map(Peer::role)).unwrap_or(Role::Agent);
        let seen = Seen {
            wish: self,
            known: *known,
            role,
        };
        let mut findings = Vec::new();
        for (name, check) in CHECKS {
            match check(&seen) {
                Ok(found) => findings.extend(found),
                Err(unreadable) => findings.push(unknown(name, &unreadable)),
            }
        }
        let (measuring, measured) = self.measured(&seen, everywhere)?;
        findings.extend(measured);
        let running = seen.has_k3s()?;
        for finding in &mut findings {
            let lenient =
                self.is_lenient(finding.check) || (running && FITNESS.contains(&finding.check));
            if lenient {
                finding.severity = finding.severity.min(Severity::Warning);
            }
        }
        Ok(Report {
            findings,
            measuring,
        })
    }

    fn is_lenient(&self, check: &str) -> bool {
        self.warn
            .0
            .iter()
            .any(|name| name == check || name == "all")
    }

    fn measured(
        &self,
        seen: &Seen<'_>,
        everywhere: bool,
    ) -> Result<(Measuring, Vec<Finding>), Unreadable> {
        if !self.measure {
            return Ok((
                Measuring::Left("the step says `measure = false`"),
                Vec::new(),
            ));
        }
        if !everywhere && seen.has_k3s()? {
            return Ok((
                Measuring::Left("K3s has data here: only `hosts preflight --measure` does it"),
                Vec::new(),
            ));
        }
        let text = match seen.known.content(&results()) {
            Ok(content) => content.and_then(|content| content.bytes.as_ref()),
            // Whatever is wrong with it (too large, half a file): the next measuring replaces it.
            Err(_) => None,
        };
        let Some(text) = text else {
            return Ok((
                Measuring::Needed("there is no measuring of this boot"),
                Vec::new(),
            ));
        };
        let inputs = Inputs::of(seen)?;
        let why = match Measured::parse(&String::from_utf8_lossy(text)) {
            None => "the last measuring is not whole",
            Some(found) if found.boot != seen.boot()?.id => "the last measuring is of another boot",
            Some(found) if found.key != inputs.key() => {
                "the last measuring was of something else (nodes, roles, addresses or names)"
            }
            Some(found) => {
                let age_ms = seen.clock()?.uptime_ms.saturating_sub(found.uptime_ms);
                return Ok((Measuring::Done { age_ms }, found.findings(seen, &inputs)));
            }
        };
        Ok((Measuring::Needed(why), Vec::new()))
    }

    /// The action that measures on a node.
    pub fn measuring(&self, known: &Known<'_>) -> Result<Action, Unreadable> {
        Ok(self.inputs(known)?.action())
    }

    /// What a measuring changes among the facts.
    pub fn facts_after_measuring() -> [Fact; 2] {
        [results(), Fact::Clock]
    }

    fn inputs(&self, known: &Known<'_>) -> Result<Inputs, Unreadable> {
        let own = self
            .peers
            .iter()
            .find(|peer| peer.target() == *known.target());
        Inputs::of(&Seen {
            wish: self,
            known: *known,
            role: self.role.or(own.map(Peer::role)).unwrap_or(Role::Agent),
        })
    }

    fn own_facts(&self) -> Vec<Fact> {
        let modules = kernel::module_names(self.flannel_backend);
        let mut facts: Vec<Fact> = peers::COMPARED.to_vec();
        facts.extend([Fact::Boot, Fact::Cgroup, Fact::Clock, Fact::Sudo]);
        facts.extend(seen::DISKS.map(seen::disk_fact));
        facts.extend(modules.into_iter().map(|name| Fact::Module {
            name: name.to_owned(),
        }));
        facts.extend(seen::UNITS.map(|name| Fact::Unit {
            name: name.to_owned(),
        }));
        if self.measure {
            facts.push(results());
        }
        facts
    }
}

/// The question for the results of a measuring.
fn results() -> Fact {
    Fact::Content {
        path: seen::constant(RESULTS),
        unless_sha256: None,
        cap: 256 << 10,
        sensitive: true,
    }
}

/// A check that could not look.
fn unknown(check: &'static str, unreadable: &Unreadable) -> Finding {
    let why = unreadable.source.as_ref().map(ToString::to_string);
    Finding::new(
        check,
        Severity::Error,
        format!(
            "unknown: could not read {}: {}",
            unreadable.fact.describe(),
            why.unwrap_or_else(|| "it was never asked for, a mistake in hmco-boot".to_owned())
        ),
        "to be known",
        "see that the tool is installed and answers on the node",
    )
}

/// What it found to differ: that a measuring is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing(Inputs);

impl Kind for Preflight {
    type Drift = Missing;
    const NAME: &'static str = "preflight";
    const SUMMARY: &'static str = "Whether a node can carry K3s: values, limits and cures.";
    const CLASS: Class = Class::Action;
    const ASKS_OTHERS: bool = true;

    fn validate(&self) -> Vec<(&'static str, String)> {
        wish::mistakes(self)
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let own = self.own_facts().into_iter().map(FactRef::from);
        let others = self
            .peers
            .iter()
            .map(Peer::target)
            .filter(|target| target != known.target())
            .flat_map(|target| {
                peers::COMPARED.map(|fact| FactRef {
                    target: Some(target.clone()),
                    fact,
                })
            });
        let missing: Vec<FactRef> = own.chain(others).filter(|fact| !known.has(fact)).collect();
        match missing.is_empty() {
            true => Want::Done,
            false => Want::More(missing),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let report = self.report(known)?;
        let failed = report.of(Severity::Error).next().is_some();
        let why = match &report.measuring {
            Measuring::Done { age_ms } if failed && *age_ms > FRESH_MS => {
                let measured_only = Preflight {
                    measure: false,
                    ..self.clone()
                };
                let without = measured_only.report(known)?;
                match without.of(Severity::Error).next() {
                    Some(_) => return Ok(Decision::Refused(report.failure())),
                    None => "the last measuring found errors that may have been cured",
                }
            }
            _ if failed => return Ok(Decision::Refused(report.failure())),
            Measuring::Done { .. } | Measuring::Left(_) => return Ok(Decision::Unchanged),
            Measuring::Needed(why) => why,
        };
        let inputs = self.inputs(known)?;
        let mut diff: Vec<DiffLine> = inputs.words().into_iter().map(DiffLine::new).collect();
        diff.push(DiffLine::both(format!("because {why}")));
        diff.extend(report.lines(Severity::Note).into_iter().map(DiffLine::both));
        Ok(Decision::Drift {
            diff,
            drift: Missing(inputs),
        })
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        vec![drift.0.action()]
    }

    fn touches(&self) -> Touches {
        Touches::paths([seen::constant(RESULTS)])
    }

    fn warning(&self, known: &Known<'_>) -> Option<Failure> {
        let report = self.report(known).ok()?;
        let count = report.of(Severity::Warning).count();
        if count == 0 {
            return None;
        }
        let mut failure = Failure::new(match count {
            1 => "one thing will work badly, or not for long".to_owned(),
            count => format!("{count} things will work badly, or not for long"),
        });
        failure.evidence = report.lines(Severity::Note);
        Some(failure)
    }
}
