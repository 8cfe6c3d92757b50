//! `link`: a symbolic link.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::Presence;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

/// A symbolic link; or none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where the link is. Another link there is replaced; a file or folder there is refused. Its folder must exist.
    pub path: AbsPath,
    /// What it leads to, needed unless `state = "absent"`: the link's text, absolute or relative to the link's folder.
    /// It need not exist.
    #[serde(default)]
    pub to: Option<String>,
    /// `"absent"` removes a link, whatever it leads to; a file or folder there is refused.
    #[serde(default)]
    pub state: Presence,
}

impl Kind for Link {
    type Drift = Vec<Action>;
    const NAME: &'static str = "link";
    const SUMMARY: &'static str = "A symbolic link.";
    const CLASS: Class = Class::State;

    fn facts(&self, _known: &Known<'_>) -> Want {
        Want::Done
    }

    fn decide(&self, _known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        Ok(Decision::Refused(Failure::new("not there yet")))
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        Touches::paths([self.path.clone()])
    }
}
