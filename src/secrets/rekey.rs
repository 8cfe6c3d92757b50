//! A re-key of the whole tree: every value encrypted anew, for the readers that recipients.toml names now.

use jiff::civil::Date;

use super::approved::Approved;
use super::name::SecretName;
use super::recipients::{Recipient, Recipients};
use super::store::{Inspection, Tree};
use crate::model::outcome::Failure;

/// What a re-key would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RekeyPlan {
    /// Every value, sorted by name.
    pub values: Vec<ValuePlan>,
    /// Readers that no value was encrypted to before.
    pub new_readers: Vec<Recipient>,
    /// Readers of before that recipients.toml no longer has: name where it is known, fingerprint.
    pub gone_readers: Vec<String>,
    /// The recipients after it.
    pub recipients: Recipients,
}

/// What a re-key would do to one value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValuePlan {
    /// Its name.
    pub name: SecretName,
    /// Who could not read it and will: names.
    pub gains: Vec<String>,
    /// Who can read it and will not: names, or fingerprints of those recipients.toml no longer has. They may have kept
    /// what they read.
    pub loses: Vec<String>,
    /// Who keeps reading it: names.
    pub keeps: Vec<String>,
}

/// What a re-key of this tree for these recipients would do. Opens nothing.
///
/// # Errors
///
/// A tree with more wrong than that recipients.toml changed.
pub fn plan(_tree: &Inspection, _recipients: &Recipients) -> Result<RekeyPlan, Failure> {
    Err(Failure::new("the store is not there yet"))
}

/// Carries it out: all values or none. `progress` hears how many of how many are done, from several threads.
///
/// # Errors
///
/// A reader that is not approved on this machine, a value that does not open before or after, the disk.
pub fn carry_out(
    _tree: Inspection,
    _plan: &RekeyPlan,
    _approved: &Approved,
    _today: Date,
    _progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Tree, Failure> {
    Err(Failure::new("the store is not there yet"))
}
