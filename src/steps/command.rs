//! `command`: a program to run while something says that it is needed.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::list::OneOrMany;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

/// Runs a program, and states what makes it unnecessary. It runs while anything named by `creates` is missing, anything
/// named by `removes` is there, or `unless` does not succeed; and only if `only_if` succeeds. After it ran, the same
/// conditions must say that it is no longer needed: else the step failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments, run without a shell. Visible in the target's process list: nothing secret.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Instead of `argv`: text for `sh -eu`, sent by standard input (so it may hold a secret); programs in it read from
    /// /dev/null.
    #[serde(default)]
    pub script: Option<Text>,
    /// Paths that are there afterwards: needed while one of them is missing.
    #[serde(default)]
    pub creates: OneOrMany<AbsPath>,
    /// Paths that are gone afterwards: needed while one of them is there.
    #[serde(default)]
    pub removes: OneOrMany<AbsPath>,
    /// A program that only reads (argv): needed while it does not exit with 0. It runs in plans too, by this promise.
    #[serde(default)]
    pub unless: Vec<String>,
    /// A program that only reads (argv): not needed unless it exits with 0. It runs in plans too, by this promise.
    #[serde(default)]
    pub only_if: Vec<String>,
    /// Time limit of `unless` and `only_if`, each.
    #[serde(default = "default_condition_timeout")]
    pub condition_timeout: TimeSpan,
    /// Run it in every run. Nothing then proves what it did: it counts as changed when it succeeded. Goes with
    /// `only_if`, not with the other conditions.
    #[serde(default)]
    pub always: bool,
    /// Working folder; `/` by default.
    #[serde(default)]
    pub cwd: Option<AbsPath>,
    /// Added to the environment. Values may be secret.
    #[serde(default)]
    pub env: BTreeMap<String, Text>,
    /// Standard input of `argv`; may be secret. Empty by default.
    #[serde(default)]
    pub stdin: Option<Text>,
    /// Exit statuses that mean success.
    #[serde(default = "default_ok_exit")]
    pub ok_exit: Vec<u8>,
    /// Exit statuses that mean "try again later" to the step's `retry`.
    #[serde(default)]
    pub retry_exit: Vec<u8>,
    /// What it may change; everything by default. Naming it spares reading all other facts of the node again.
    #[serde(default)]
    pub touches: Option<CommandTouches>,
}

/// What a command may change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandTouches {
    /// These paths and all below them. `creates` and `removes` need not be named again.
    #[serde(default)]
    pub paths: Vec<AbsPath>,
    /// These systemd units, by full name.
    #[serde(default)]
    pub units: Vec<String>,
    /// Packages of the distribution.
    #[serde(default)]
    pub packages: bool,
    /// Sysctls, modules, boot settings.
    #[serde(default)]
    pub kernel: bool,
    /// Anything.
    #[serde(default)]
    pub everything: bool,
}

fn default_condition_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(10))
}

fn default_ok_exit() -> Vec<u8> {
    vec![0]
}

impl Kind for Command {
    type Drift = ();
    const NAME: &'static str = "command";
    const SUMMARY: &'static str = "A program to run, and what makes it unnecessary.";
    const CLASS: Class = Class::Action;

    fn facts(&self, _known: &Known<'_>) -> Want {
        Want::Done
    }

    fn decide(&self, _known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        Ok(Decision::Refused(Failure::new("not there yet")))
    }

    fn apply(&self, _drift: &Self::Drift) -> Vec<Action> {
        Vec::new()
    }

    fn touches(&self) -> Touches {
        Touches::everything()
    }

    fn verifiable(&self) -> bool {
        !self.always
    }
}
