//! `directory`: a folder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::Presence;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::units::Mode;

/// A folder with permissions and an owner; or no folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where the folder is. Missing parents are made with mode 0755. A symbolic link there is refused, also one that
    /// leads to a folder: name the folder itself.
    pub path: AbsPath,
    /// Permissions in octal, of this folder only, not of what is in it.
    #[serde(default = "default_mode")]
    pub mode: Mode,
    /// Owner, a user's name or number. By default it stays as it is; a new folder belongs to who makes it (root).
    #[serde(default)]
    pub owner: Option<String>,
    /// Group, a name or number. By default it stays as it is.
    #[serde(default)]
    pub group: Option<String>,
    /// `"absent"` removes the folder, which needs `recursive = true`; the other keys are then not looked at.
    #[serde(default)]
    pub state: Presence,
    /// With `state = "absent"`: remove it with everything in it (but never what is mounted below it).
    #[serde(default)]
    pub recursive: bool,
}

fn default_mode() -> Mode {
    Mode(0o755)
}

impl Kind for Directory {
    type Drift = Vec<Action>;
    const NAME: &'static str = "directory";
    const SUMMARY: &'static str = "A folder with permissions and an owner.";
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
