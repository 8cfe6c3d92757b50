//! From inventory and playbook to a [`Plan`].

use std::collections::{BTreeMap, BTreeSet};

use super::expand::Builder;
use super::targets::{TargetId, Targets};
use super::{Pair, Plan, Vertex, fingerprint};
use crate::model::artifact::PinBook;
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::Target;
use crate::model::inventory::Inventory;
use crate::model::mistake::{Mistake, Severity};
use crate::model::playbook::Playbook;
use crate::model::selector::Selector;
use crate::model::template::SecretLookup;
use crate::model::value::{Span, Value};
use crate::model::vars::Constants;

/// What a plan is built from.
pub struct Request<'a> {
    /// The nodes.
    pub inventory: &'a Inventory,
    /// All playbooks, by path.
    pub playbooks: &'a BTreeMap<String, Playbook>,
    /// The one to run.
    pub playbook: &'a Playbook,
    /// `--limit`.
    pub limit: Option<&'a Selector>,
    /// `--var`.
    pub vars: &'a BTreeMap<String, Value>,
    /// Opened secrets; the same name must give the same value while the plan is built.
    pub secrets: SecretLookup<'a>,
    /// Artifacts that steps may name.
    pub pins: &'a PinBook,
    /// For [`Plan::fingerprint`].
    pub fingerprinter: &'a Fingerprinter,
}

/// Builds a plan, or says every mistake that only shows when templates are rendered.
pub fn build(request: &Request<'_>) -> Result<Plan, Vec<Mistake>> {
    let targets = Targets::of(request.inventory, request.playbooks);
    let constants = Constants::default();
    let limit = request
        .limit
        .map(|selector| limited(selector, &targets))
        .transpose()?;
    let mut builder = Builder::new(request, &targets, &constants, limit);
    builder.outermost();
    let Builder {
        mistakes,
        pairs,
        order,
        ..
    } = builder;
    if !mistakes.is_empty() {
        return Err(deduplicated(mistakes));
    }
    let used: BTreeSet<&Target> = pairs.iter().map(|pair| &pair.target).collect();
    let in_order = targets.everything();
    let in_order = in_order.iter().map(|id| targets.target(*id));
    let fingerprint = fingerprint::of(&pairs, &order.graph, request.fingerprinter);
    Ok(Plan {
        playbook: request.playbook.path.clone(),
        title: request.playbook.title.clone(),
        targets: in_order.filter(|target| used.contains(target)).collect(),
        pairs,
        graph: order.graph,
        fingerprint,
    })
}

fn limited(selector: &Selector, targets: &Targets<'_>) -> Result<BTreeSet<TargetId>, Vec<Mistake>> {
    match targets.select(selector) {
        Ok(targets) => Ok(targets.iter().copied().collect()),
        Err(error) => Err(vec![Mistake {
            code: "bad-selector",
            severity: Severity::Error,
            message: format!("--limit {selector}: {}", error.message),
            span: None,
            label: String::new(),
            related: Vec::new(),
            hint: error.hint,
        }]),
    }
}

/// Mistakes at one place that differ in their words only: more than these are counted.
const ALIKE: usize = 3;

/// The same mistake shows once for every target; people need it once, and not 1,000 times in other words either.
fn deduplicated(mistakes: Vec<Mistake>) -> Vec<Mistake> {
    let mut seen = BTreeSet::new();
    let mut alike: BTreeMap<(Span, &'static str), (usize, usize)> = BTreeMap::new();
    let mut kept: Vec<Mistake> = Vec::new();
    for mistake in mistakes {
        if !seen.insert((mistake.span, mistake.code, mistake.message.clone())) {
            continue;
        }
        if let Some(span) = mistake.span {
            let (count, last) = alike.entry((span, mistake.code)).or_default();
            *count += 1;
            if *count > ALIKE {
                continue;
            }
            *last = kept.len();
        }
        kept.push(mistake);
    }
    for (count, last) in alike.values() {
        if *count > ALIKE
            && let Some(mistake) = kept.get_mut(*last)
        {
            let more = count - ALIKE;
            mistake.message = format!("{}; and {more} more like this", mistake.message);
        }
    }
    kept
}

impl Pair {
    /// Whether it may disturb what runs on its target.
    pub fn is_disruptive(&self) -> bool {
        let super::Work::Wish(wish) = &self.work else {
            return false;
        };
        self.kind.disruptive && wish.may_disrupt()
    }
}

impl Vertex {
    /// How many of its predecessors may end badly.
    pub fn tolerates(&self) -> u32 {
        match self {
            Self::Pair(_) => 0,
            Self::Join { tolerate } => *tolerate,
        }
    }
}
