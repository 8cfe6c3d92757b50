//! Saved plans: what was shown to a person, bound to the targets it was made from.
//!
//! A saved plan holds the plan's fingerprint (so the wishes are the same) and a keyed fingerprint of every non-volatile
//! fact that was read for it (so the targets are the same). What could only be decided later is bound by its wish alone,
//! and is listed so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::fact::{Answer, Fact, FactError, FactValue, FileKind};
use crate::facts::known::Store;
use crate::model::event::{DiffLine, RunArguments};
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::{StepAddr, Target};
use crate::model::outcome::Failure;

/// Version of the saved format; a newer one is refused.
pub const SAVED_VERSION: u32 = 1;

/// What `plan --out` writes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// [`SAVED_VERSION`] of the writer.
    pub version: u32,
    /// hmco-boot's version.
    pub tool: String,
    /// The playbook, as given.
    pub playbook: String,
    /// What shapes the plan.
    pub arguments: RunArguments,
    /// [`super::Plan::fingerprint`].
    pub fingerprint: String,
    /// What was found.
    pub decisions: Vec<SavedDecision>,
    /// Non-volatile facts it was found from.
    pub facts: Vec<SavedFact>,
}

/// What a plan said of a pair.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDecision {
    /// The step.
    pub step: StepAddr,
    /// Its target.
    pub target: Target,
    /// One word: `unchanged`, `change`, `later`, `skipped`.
    pub decision: String,
    /// The difference, where it would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<DiffLine>,
}

/// A fact a plan was made from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedFact {
    /// Where it was read.
    pub target: Target,
    /// Which.
    pub fact: Fact,
    /// Keyed fingerprint of the answer.
    pub digest: String,
}

/// What a run of a saved plan holds against its targets.
#[derive(Clone, Debug)]
pub struct Expectation {
    digests: BTreeMap<Target, BTreeMap<Fact, String>>,
    fingerprinter: Fingerprinter,
}

/// All facts that bind a plan: what does not change by itself.
pub fn binding_facts(
    store: &Store,
    targets: &[Target],
    fingerprinter: &Fingerprinter,
) -> Vec<SavedFact> {
    let of = |target: &Target| {
        store
            .answers(target)
            .filter(|(fact, _)| !fact.is_volatile())
            .map(|(fact, answer)| SavedFact {
                target: target.clone(),
                fact: fact.clone(),
                digest: digest(fingerprinter, answer),
            })
            .collect::<Vec<_>>()
    };
    targets.iter().flat_map(of).collect()
}

fn digest(fingerprinter: &Fingerprinter, answer: &Result<FactValue, FactError>) -> String {
    let mut answer = answer.clone();
    if let Ok(FactValue::Stat(stat)) = &mut answer {
        // Times and inode are no part of any decision: only what they stand for is.
        stat.identity.clear();
        stat.links = 0;
        if stat.kind == FileKind::Directory {
            stat.size = 0;
        }
    }
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    fingerprinter.fingerprint("fact", &text)
}

impl Expectation {
    /// From a saved plan, by the key it was made with.
    pub fn new(saved: &SavedPlan, fingerprinter: Fingerprinter) -> Self {
        let mut digests: BTreeMap<Target, BTreeMap<Fact, String>> = BTreeMap::new();
        for fact in &saved.facts {
            digests
                .entry(fact.target.clone())
                .or_default()
                .insert(fact.fact.clone(), fact.digest.clone());
        }
        Self {
            digests,
            fingerprinter,
        }
    }

    /// The first answer that is no longer what the plan was made from.
    pub fn contradicted_by(&self, target: &Target, answers: &[Answer]) -> Option<Failure> {
        let expected = self.digests.get(target)?;
        let changed = answers.iter().find(|(fact, answer)| {
            expected
                .get(fact)
                .is_some_and(|digest_then| *digest_then != digest(&self.fingerprinter, answer))
        })?;
        let what = changed.0.describe();
        Some(
            Failure::new(format!(
                "{target}: {what} is no longer what the saved plan was made from"
            ))
            .hint("make a new plan with `hmco-boot plan --out`, look at it, and run that"),
        )
    }

    /// What the run itself changes is no longer expected to be as it was.
    pub fn forget(&mut self, target: &Target, stale: impl Fn(&Fact) -> bool) {
        if let Some(expected) = self.digests.get_mut(target) {
            expected.retain(|fact, _| !stale(fact));
        }
    }
}
