//! A playbook: declared vars and steps, as written (templates not yet rendered, bodies not yet decoded).

use std::collections::BTreeMap;

use super::id::{KindName, StepId};
use super::selector::Selector;
use super::units::TimeSpan;
use super::value::{Span, Value};
use super::vars::VarDecl;

/// A playbook file, checked for structure.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// Its path below `playbooks/`, e.g. `platform/metallb.toml`: the name it is used by.
    pub path: String,
    /// First line of `playbooks list`.
    pub title: String,
    /// Text for `playbooks show`.
    pub doc: String,
    /// What it takes.
    pub vars: BTreeMap<String, VarDecl>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// `[[step]]`.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique in its playbook.
    pub id: StepId,
    /// Where the id is written.
    pub span: Span,
    /// Words for people; the id where missing.
    pub title: Option<String>,
    /// Targets; `None` only where the kind has one possible target, and for a playbook step.
    pub on: Option<(Selector, Span)>,
    /// `None`: the default order. `Some([])`: the start of this playbook.
    pub needs: Option<Vec<Need>>,
    /// An expression over vars and facts; false = skipped.
    pub when: Option<(String, Span)>,
    /// One step per item.
    pub each: Option<Value>,
    /// Policies.
    pub policy: Policy,
    /// The kind and its table.
    pub body: Body,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Body {
    /// Uses another playbook: `[step.playbook]`.
    Playbook {
        /// Path of that playbook below `playbooks/`.
        path: String,
        /// Where the path is written.
        span: Span,
        /// What it is given; templates of the outer playbook.
        vars: BTreeMap<String, Value>,
    },
    /// Any other kind.
    Kind {
        /// The kind.
        kind: KindName,
        /// Where the kind's name is written.
        span: Span,
        /// Its table, templates not yet rendered.
        table: Value,
    },
}

/// An entry of `needs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// The step needed, of the same playbook.
    pub step: StepId,
    /// Where it is written.
    pub span: Span,
    /// For which of the step's targets.
    pub across: Across,
    /// How many targets may have failed where this is a barrier.
    pub tolerate: u32,
}

/// Which targets of a step that is needed are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Across {
    /// The same target where the step has it, else all.
    #[default]
    Same,
    /// All, also where it has the same.
    All,
    /// The first in the inventory's order.
    First,
}

/// How a step is run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Policy {
    /// At most this many targets at once, each behind its gate; a failure stops the remaining ones.
    pub serial: Option<u32>,
    /// For errors that can pass.
    pub retry: Option<Retry>,
    /// Limit of one apply, also of one that by its own keys (`ready_timeout`) may wait for longer. Where there is none, an
    /// apply has ten minutes, or as long as its own keys say and five minutes more.
    pub timeout: Option<TimeSpan>,
    /// Must hold on a target after the step before the next target starts and before those that wait go on.
    pub gate: Option<Gate>,
}

/// `retry = { attempts, delay, max_delay }`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Before the second try; doubles each time.
    pub delay: TimeSpan,
    /// Never longer than this.
    pub max_delay: TimeSpan,
}

/// `[step.gate]`: a check kind's table, polled until it holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Gate {
    /// A kind of class `check`.
    pub kind: KindName,
    /// Where the kind's name is written.
    pub span: Span,
    /// Its table, templates not yet rendered.
    pub table: Value,
    /// How long to wait for it; 5m by default.
    pub timeout: TimeSpan,
    /// How often to look; 2s by default.
    pub interval: TimeSpan,
}
