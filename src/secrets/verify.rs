//! What is wrong with a tree: the files against the manifest, the manifest against its seal, and both against what this
//! machine has seen before.

use super::name::SecretName;
use crate::model::outcome::Failure;

/// One thing wrong with a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub what: What,
    /// The value it is about, where it is about one.
    pub name: Option<SecretName>,
    /// The file, as a path a user can open.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The same in words: what happened, where, and the command that mends it.
    pub failure: Failure,
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum What {
    /// The manifest was merged by git: it holds seals of both sides, or conflict markers.
    Merged,
    /// A value's ciphertext is not the sealed one.
    Replaced,
    /// A value's ciphertext is the sealed one of another name.
    Swapped,
    /// A value that the seal knows is gone.
    Removed,
    /// A value that the seal does not know.
    Added,
    /// The whole tree is older than what this machine has seen.
    RolledBack,
    /// As new as what this machine has seen, and not the same.
    Forked,
    /// recipients.toml is not the sealed one.
    RecipientsChanged,
    /// The manifest's own lines were changed.
    Unsealed,
    /// Another store than the one this machine has seen here.
    OtherStore,
}

impl What {
    /// Whether [`super::store::Inspection::accept`] may seal it after somebody looked at it.
    pub fn is_acceptable(self) -> bool {
        self != Self::OtherStore
    }
}
