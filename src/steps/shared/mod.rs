//! What several kinds need: words for owners and modes, differences of texts, places that hold secrets. No kind.

pub mod attributes;
pub mod diff;
pub mod digest;
pub mod fstab;
#[cfg(test)]
pub(crate) mod given;
pub mod k3s;
pub mod kube;
pub mod list;
pub mod place;
pub mod scalar;
pub mod script;
pub mod service;
#[cfg(test)]
pub(crate) mod testing;
pub mod whole;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Touches;
use crate::facts::fact::{Content, FileStat};
use crate::model::action::Replaces;
use crate::model::path::AbsPath;

/// There from when words were taken off the next boot's kernel command line until that boot: nothing else tells words
/// that were taken off from those that a firmware adds.
pub const CMDLINE_MARK: &str = "/run/hmco-boot/reboot-cmdline";

/// Whether something shall be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Presence {
    /// It shall be there.
    #[default]
    Present,
    /// It shall not be there.
    Absent,
}

/// For `#[serde(default = ...)]` of switches that are on unless said otherwise.
pub(super) fn yes() -> bool {
    true
}

/// What a file has to be still when its edited content is written: what this decision was made on. A link that leads
/// nowhere is replaced as it is.
pub(super) fn replaces(stat: Option<&FileStat>, content: Option<&Content>) -> Option<Replaces> {
    match (content, stat) {
        (Some(content), _) => Some(Replaces::Sha256(content.sha256.clone())),
        (None, None) => Some(Replaces::Absent),
        (None, Some(_)) => None,
    }
}

/// What writing a file touches: the file, and the former one that is kept beside it.
pub(super) fn written(path: &AbsPath, backup: bool) -> Touches {
    let kept = AbsPath::new(&format!("{path}.hmco-boot-old"))
        .ok()
        .filter(|_| backup);
    Touches::paths([path.clone()].into_iter().chain(kept))
}
