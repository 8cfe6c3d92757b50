//! `assert`: expressions over facts that must hold.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::list::OneOrMany;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::outcome::Failure;

/// Expressions that must hold on the target. Changes nothing; where one is false the step fails.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assert {
    /// One expression or a list of them, all of which must be true, over `facts.NAME` (`os`, `boot`, `cgroup`, `sudo`,
    /// `clock`, `net`, `k3s_install`, `k3s_data`) and `read.NAME`. Vars come in as templates:
    /// `"facts.os.memory >= {{ min_memory }}"`, text in quotes: `"facts.os.arch == '{{ arch }}'"`.
    pub that: OneOrMany<String>,
    /// What to tell people where it does not hold: what is wrong, and what to do.
    #[serde(default)]
    pub message: Option<String>,
    /// Further facts to read, by the name the expressions use: `read = { motd = { stat = { path = "/etc/motd" } } }`
    /// is `read.motd.size`. What is not there is `none`.
    #[serde(default)]
    pub read: BTreeMap<String, Fact>,
}

impl Kind for Assert {
    type Drift = ();
    const NAME: &'static str = "assert";
    const SUMMARY: &'static str = "Expressions over facts that must hold.";
    const CLASS: Class = Class::Check;

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
        Touches::default()
    }
}
