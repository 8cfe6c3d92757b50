//! Selectors: which targets a step is for.

use super::id::Target;
use super::inventory::Inventory;

/// A parsed selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector(String);

/// Why a selector's text is none, with the bytes at fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelectorError {
    /// Byte range in the selector's text.
    pub at: std::ops::Range<usize>,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Selector {
    /// Parses a selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self(text.to_owned()))
    }

    /// The targets it selects, in inventory order. An unknown node, group, or role is an error at its own bytes.
    pub fn targets(&self, _inventory: &Inventory) -> Result<Vec<Target>, SelectorError> {
        Ok(Vec::new())
    }
}
