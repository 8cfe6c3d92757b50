//! `file`: a regular file with a content.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{Presence, yes};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

/// A regular file with a content, permissions and an owner; or no file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where the file is. A symbolic link there is replaced by the file, not followed. Its folder must exist.
    pub path: AbsPath,
    /// The whole content, needed unless `state = "absent"`. May hold a secret: then no difference is ever shown.
    #[serde(default)]
    pub content: Option<Text>,
    /// Permissions in octal; `"0644"` by default, `"0600"` where the content holds a secret.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Owner, a user's name or number. By default it stays as it is; a new file belongs to who makes it (root).
    #[serde(default)]
    pub owner: Option<String>,
    /// Group, a name or number. By default it stays as it is.
    #[serde(default)]
    pub group: Option<String>,
    /// `"absent"` removes a file or link; the other keys are then not looked at.
    #[serde(default)]
    pub state: Presence,
    /// `false`: only make it where nothing is, and never overwrite a content that is there; `mode`, `owner` and `group`
    /// that are written here still hold.
    #[serde(default = "yes")]
    pub replace: bool,
    /// Keep the former file beside it as `NAME.hmco-boot-old` when the content is replaced.
    #[serde(default)]
    pub backup: bool,
}

impl Kind for File {
    type Drift = Vec<Action>;
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "A file with a content, permissions and an owner.";
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
