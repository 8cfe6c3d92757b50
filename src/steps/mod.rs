//! Step kinds: one file each, all pure. A kind says which facts it wants, decides from wish and facts, and says which
//! actions would make them agree. It never sees a host, a clock or a file, so a dry run cannot change anything.
//!
//! **To add a kind**: `src/steps/<kind>.rs` with a type that implements [`Kind`], one line in `registry.rs`, one example
//! in `playbooks/examples/<kind>.toml`. The contract test, the schema and the docs pick it up. A kind is asked in this
//! order: [`Kind::facts`] (again after each round, until [`Want::Done`]), [`Kind::decide`], and on drift
//! [`Kind::apply`]; after the apply its facts are read again and it decides again: what still differs is a failure.

pub mod artifact;
pub mod assert;
pub mod authorized_key;
pub mod boot_cmdline;
pub mod command;
pub mod directory;
pub mod dns_check;
pub mod file;
pub mod hostname;
pub mod http_check;
pub mod k3s_agent;
pub mod k3s_server;
pub mod kernel_module;
pub mod line;
pub mod link;
pub mod manifest;
pub mod mount;
pub mod namespace;
pub mod node;
pub mod packages;
pub mod preflight;
pub mod reboot;
pub mod registry;
pub mod shared;
pub mod swap;
pub mod sysctl;
pub mod systemd_unit;
pub mod touches;
pub mod user;
pub mod volume_check;
pub mod wait;

use std::fmt::Debug;

pub use touches::Touches;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::facts::fact::Fact;
use crate::facts::known::{FactRef, Known, Unreadable};
use crate::model::action::{Action, JobEnd};
use crate::model::artifact::{PinBook, PinProblem};
use crate::model::event::DiffLine;
use crate::model::id::StepId;
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

/// Which class a kind is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Converges: compares and applies.
    State,
    /// Compares only; a difference is a failure.
    Check,
    /// Does something, and states what makes it unnecessary.
    Action,
}

/// What a kind can work on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Nodes and the controller: `on` is required.
    Machine,
    /// The Kubernetes API: `on` may be missing.
    Cluster,
    /// Either; `on` is required.
    Any,
}

/// The facts a wish wants, given those that are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Want {
    /// It can decide.
    Done,
    /// It needs these too (those already known are not read again). At most three rounds.
    More(Vec<FactRef>),
}

impl Want {
    /// Asks for those of `facts` that are not known; `Done` where all are.
    pub fn all(known: &Known<'_>, facts: impl IntoIterator<Item = Fact>) -> Self {
        let missing: Vec<FactRef> = facts
            .into_iter()
            .map(FactRef::from)
            .filter(|fact| !known.has(fact))
            .collect();
        if missing.is_empty() {
            Self::Done
        } else {
            Self::More(missing)
        }
    }

    /// What both ask for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::More(mut facts), Self::More(more)) => {
                facts.extend(more);
                facts.sort();
                facts.dedup();
                Self::More(facts)
            }
            (Self::Done, other) | (other, Self::Done) => other,
        }
    }
}

/// What comparing wish and facts gave.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision<D> {
    /// As wished.
    Unchanged,
    /// Not as wished.
    Drift {
        /// For people. Where the wish is tainted: only that it differs.
        diff: Vec<DiffLine>,
        /// For [`Kind::apply`].
        drift: D,
    },
    /// It cannot be brought to the wish: refused before anything is tried (a folder where a file is wanted).
    Refused(Failure),
    /// Nobody can tell whether it is as wished (an admission webhook does not answer): never "nothing to do".
    Unknown(Failure),
}

/// How a check waits for what it checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Poll {
    /// Pause between two looks.
    pub interval: TimeSpan,
    /// How long to go on looking before the check fails.
    pub timeout: TimeSpan,
}

/// Where a step is written: the same one whichever playbook uses its playbook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Path of its playbook below `playbooks/`.
    pub playbook: String,
    /// Its id there.
    pub step: StepId,
}

/// A step kind. `Self` is a wish: the decoded, rendered table of one step for one target.
pub trait Kind: Debug + Send + Sync + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// What it found to differ, in terms its apply understands.
    type Drift: Clone + Debug + Send + Sync + 'static;

    /// The name of its table.
    const NAME: &'static str;
    /// One sentence for lists.
    const SUMMARY: &'static str;
    /// Its class.
    const CLASS: Class;
    /// What it works on.
    const SCOPE: Scope = Scope::Machine;
    /// Applying it may disturb what runs on the target: asked for once, or `--yes`.
    const DISRUPTIVE: bool = false;
    /// At most so many of its targets at once, whatever a playbook says; a playbook may say less.
    const SERIAL: Option<u32> = None;

    /// Works on nodes only: what it does to the controller would end the run itself.
    const NODES_ONLY: bool = false;
    /// Whether it asks other nodes than its target, which may be out of `--limit`.
    const ASKS_OTHERS: bool = false;

    /// What is wrong with the wish that its types cannot say, as (path of the key, message) pairs.
    fn validate(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Looks up the artifacts it names ([`ArtifactRef::resolve`](crate::model::artifact::ArtifactRef::resolve)); what is
    /// wrong with them, by the key. Called by the plan, before anything is decided.
    fn pins(&mut self, _book: &PinBook) -> Vec<(&'static str, PinProblem)> {
        Vec::new()
    }

    /// What only one pair of a plan may have, in words: two would undo each other's work.
    fn claims(&self) -> Option<String> {
        None
    }

    /// Tells it which step it is. Called by the plan, before anything is decided.
    fn placed(&mut self, _step: &Written) {}

    /// Whether this wish of a kind that may disturb ([`Kind::DISRUPTIVE`]) can, whatever differs.
    fn may_disrupt(&self) -> bool {
        true
    }

    /// A secret of its that the tool itself may make where the store has none yet: only where every server of the inventory
    /// answers and none has a cluster's data.
    fn makes(&self) -> Option<&Text> {
        None
    }

    /// Facts it wants.
    fn facts(&self, known: &Known<'_>) -> Want;

    /// Compares. A fact it needs and that could not be read is an error, never "nothing to do".
    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable>;

    /// What would make them agree. Empty for checks.
    fn apply(&self, drift: &Self::Drift) -> Vec<Action>;

    /// What its apply may change.
    fn touches(&self) -> Touches;

    /// What a person should know although the target is as wished: told as a warning of the run, with the step's name
    /// and target in front of its message. Asked once, when the decision is `Unchanged`.
    fn warning(&self, _known: &Known<'_>) -> Option<Failure> {
        None
    }

    /// Whether a second decision after an apply proves anything. False only for an action that states no condition
    /// (`always = true`), which then counts as changed when its program succeeded.
    fn verifiable(&self) -> bool {
        true
    }

    /// For a check ([`Class::Check`]) that waits: while it differs its facts are read again, and it fails only when the
    /// time is over, with the last difference. A preview looks once.
    fn poll(&self) -> Option<Poll> {
        None
    }

    /// Whether bringing *this* difference about disturbs what runs on the target. Asked only where the kind may disturb
    /// at all ([`Kind::DISRUPTIVE`]).
    fn disrupts(&self, _drift: &Self::Drift) -> bool {
        Self::DISRUPTIVE
    }

    /// A failed apply in better words: a kind that knows what the output of its job means names the cause and its cure.
    /// `failure` is what is told otherwise; `end` has all that was kept of the output.
    fn explain(&self, failure: Failure, _end: &JobEnd) -> Failure {
        failure
    }
}

/// A wish of any kind, as plan and engine hold it.
pub trait Wish: Debug + Send + Sync {
    /// See [`Kind::pins`].
    fn pins(&mut self, _book: &PinBook) -> Vec<(&'static str, PinProblem)> {
        Vec::new()
    }
    /// See [`Kind::claims`].
    fn claims(&self) -> Option<String> {
        None
    }
    /// See [`Kind::placed`].
    fn placed(&mut self, _step: &Written) {}
    /// See [`Kind::may_disrupt`].
    fn may_disrupt(&self) -> bool {
        true
    }
    /// See [`Kind::makes`].
    fn makes(&self) -> Option<&Text> {
        None
    }
    /// See [`Kind::facts`].
    fn facts(&self, known: &Known<'_>) -> Want;
    /// See [`Kind::decide`]; the actions of [`Kind::apply`] come with the drift.
    fn decide(&self, known: &Known<'_>) -> Result<Decision<Vec<Action>>, Unreadable>;
    /// See [`Kind::poll`].
    fn poll(&self) -> Option<Poll> {
        None
    }
    /// See [`Kind::disrupts`]; false where nothing differs.
    fn disrupts(&self, _known: &Known<'_>) -> bool {
        true
    }
    /// See [`Kind::touches`].
    fn touches(&self) -> Touches;
    /// See [`Kind::warning`].
    fn warning(&self, _known: &Known<'_>) -> Option<Failure> {
        None
    }
    /// See [`Kind::verifiable`].
    fn verifiable(&self) -> bool;
    /// See [`Kind::explain`].
    fn explain(&self, failure: Failure, _end: &JobEnd) -> Failure {
        failure
    }
    /// The wish as canonical JSON for the plan's fingerprint; may hold secrets, so only a keyed MAC of it is kept.
    fn fingerprint_text(&self) -> String;
}

impl<K: Kind> Wish for K {
    fn pins(&mut self, book: &PinBook) -> Vec<(&'static str, PinProblem)> {
        Kind::pins(self, book)
    }

    fn claims(&self) -> Option<String> {
        Kind::claims(self)
    }

    fn placed(&mut self, step: &Written) {
        Kind::placed(self, step);
    }

    fn may_disrupt(&self) -> bool {
        Kind::may_disrupt(self)
    }

    fn makes(&self) -> Option<&Text> {
        Kind::makes(self)
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        Kind::facts(self, known)
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Vec<Action>>, Unreadable> {
        Ok(match Kind::decide(self, known)? {
            Decision::Unchanged => Decision::Unchanged,
            Decision::Drift { diff, drift } => {
                let actions = self.apply(&drift);
                Decision::Drift {
                    diff,
                    drift: actions,
                }
            }
            Decision::Refused(failure) => Decision::Refused(failure),
            Decision::Unknown(failure) => Decision::Unknown(failure),
        })
    }

    fn poll(&self) -> Option<Poll> {
        Kind::poll(self)
    }

    fn disrupts(&self, known: &Known<'_>) -> bool {
        let decision = Kind::decide(self, known);
        K::DISRUPTIVE
            && matches!(decision, Ok(Decision::Drift { drift, .. }) if Kind::disrupts(self, &drift))
    }

    fn touches(&self) -> Touches {
        Kind::touches(self)
    }

    fn warning(&self, known: &Known<'_>) -> Option<Failure> {
        Kind::warning(self, known)
    }

    fn verifiable(&self) -> bool {
        Kind::verifiable(self)
    }

    fn explain(&self, failure: Failure, end: &JobEnd) -> Failure {
        Kind::explain(self, failure, end)
    }

    fn fingerprint_text(&self) -> String {
        // `Text` serialises tainted values as a mark only; a changed secret shows as drift, not as a changed plan.
        serde_json::to_string(self).unwrap_or_else(|error| format!("unserialisable: {error}"))
    }
}
