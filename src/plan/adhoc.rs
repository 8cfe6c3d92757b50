//! A plan without a playbook: one command on some targets, as `exec` runs it.

use std::sync::Arc;
use std::time::Duration;

use petgraph::graph::DiGraph;
use serde::Serialize;

use super::{Pair, Plan, Vertex, Work, fingerprint};
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::event::DiffLine;
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::{PairId, StepAddr, Target};
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;
use crate::steps::command::Command;
use crate::steps::registry::{self, KindInfo};
use crate::steps::{Class, Decision, Touches, Want, Wish};

/// The address of the one step.
pub const STEP: &str = "exec";

/// A command for some targets.
#[derive(Clone, Debug)]
pub struct Adhoc {
    /// Program and arguments; nothing secret.
    pub argv: Vec<String>,
    /// Standard input.
    pub stdin: Option<Text>,
    /// Limit on one target.
    pub timeout: TimeSpan,
    /// At most so many targets at once; one that fails then stops those after it.
    pub serial: Option<u32>,
    /// It changes nothing, by the word of whoever calls it: it is read like a fact, without lock and job.
    pub read_only: bool,
}

/// A command that is a check: it only looks.
static READS: KindInfo = KindInfo {
    class: Class::Check,
    ..registry::info::<Command>()
};

/// What changes things.
static CHANGES: KindInfo = registry::info::<Command>();

impl Adhoc {
    /// Nothing: for a command that only needs a plan to say which machines it looks at.
    pub fn nothing() -> Self {
        Self {
            argv: vec!["true".to_owned()],
            stdin: None,
            timeout: TimeSpan(Duration::from_secs(10)),
            serial: None,
            read_only: true,
        }
    }

    /// The question that a read-only command is.
    pub fn fact(&self) -> Fact {
        Fact::Exec {
            argv: self.argv.clone(),
            timeout: self.timeout,
            sensitive: false,
        }
    }

    /// The plan: one pair for each target, none waits for another.
    pub fn plan(&self, targets: Vec<Target>, fingerprinter: &Fingerprinter) -> Plan {
        let wish: Arc<dyn Wish> = match self.read_only {
            true => Arc::new(Look(self.fact())),
            false => Arc::new(Command::at_once(self.argv.clone(), self.stdin.clone())),
        };
        let mut graph = DiGraph::new();
        let pair = |(number, target): (u32, &Target)| {
            let id = PairId(number);
            Pair {
                id,
                step: StepAddr::new(STEP),
                series: StepAddr::new(STEP),
                target: target.clone(),
                kind: if self.read_only { &READS } else { &CHANGES },
                work: Work::Wish(wish.clone()),
                whens: Vec::new(),
                serial: self.serial,
                retry: None,
                timeout: Some(self.timeout),
                gate: None,
                vertex: graph.add_node(Vertex::Pair(id)),
            }
        };
        let pairs: Vec<Pair> = (0..).zip(&targets).map(pair).collect();
        Plan {
            playbook: STEP.to_owned(),
            title: "a command".to_owned(),
            fingerprint: fingerprint::of(&pairs, &graph, fingerprinter),
            pairs,
            targets,
            graph,
        }
    }
}

impl Plan {
    /// Whether it is a command of [`Adhoc`]: `resume` does not go on with one.
    pub fn is_adhoc(&self) -> bool {
        // A playbook's path ends with `.toml`.
        self.playbook == STEP
    }
}

/// Wishes that a program that only reads succeeds.
#[derive(Debug, Serialize)]
struct Look(Fact);

impl Wish for Look {
    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, [self.0.clone()])
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Vec<Action>>, Unreadable> {
        let failure = match known.exec(&self.0)? {
            Some(result) if result.exit == 0 => return Ok(Decision::Unchanged),
            Some(result) => Failure::exited(result.exit),
            None => Failure::new("there is no such program"),
        };
        Ok(Decision::Drift {
            diff: vec![DiffLine::both(failure.message)],
            drift: Vec::new(),
        })
    }

    fn touches(&self) -> Touches {
        Touches::default()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
