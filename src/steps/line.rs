//! `line`: one line of a text file that something else owns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::Presence;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::known::{Known, Unreadable};
use crate::model::action::Action;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

/// A line in a text file that something else owns; or no such line. The rest of the file, its line ends, mode and
/// owner stay. Where the whole file is yours, use `file`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The file: UTF-8, at most 1 MiB. A symbolic link there is refused: name the file it leads to.
    pub path: AbsPath,
    /// The line, without its line end; needed unless `state = "absent"` has a `match`. May hold a secret: then no
    /// difference is ever shown.
    #[serde(default)]
    pub line: Option<Text>,
    /// A regular expression for the line as it is before (and after): the matching line is replaced by `line`; without
    /// a match `line` is added. It must match `line` too. More than one match is refused unless `all = true`.
    #[serde(default, rename = "match")]
    pub pattern: Option<String>,
    /// Replace every line that `match` matches.
    #[serde(default)]
    pub all: bool,
    /// `"absent"` removes every line that equals `line` or that `match` matches.
    #[serde(default)]
    pub state: Presence,
    /// Where to add the line: after the last line that this regular expression matches. At the end of the file by
    /// default. A line that is there already is not moved.
    #[serde(default)]
    pub after: Option<String>,
    /// Where to add the line: before the first line that this regular expression matches.
    #[serde(default)]
    pub before: Option<String>,
    /// Make the file where it is missing; otherwise a missing file is refused.
    #[serde(default)]
    pub create: bool,
    /// Permissions of a file that `create` makes, in octal; `"0644"` by default, `"0600"` where the line holds a
    /// secret. A file that exists keeps its own.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Keep the former file beside it as `NAME.hmco-boot-old`.
    #[serde(default)]
    pub backup: bool,
}

impl Kind for Line {
    type Drift = Vec<Action>;
    const NAME: &'static str = "line";
    const SUMMARY: &'static str = "A line in a text file that something else owns.";
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
