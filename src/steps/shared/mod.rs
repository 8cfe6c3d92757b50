//! What several kinds need: words for owners and modes, differences of texts, places that hold secrets. No kind.

pub mod attributes;
pub mod diff;
pub mod digest;
pub mod list;
pub mod place;
#[cfg(test)]
pub(crate) mod testing;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
