//! The `SecretStore` seam: names of secrets, and their values when a step needs them.

pub mod memory;

use std::future::Future;
use std::pin::Pin;

use crate::model::outcome::Failure;

/// Names and values, or why a store gives none.
pub type Opening<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<(String, String)>, Failure>> + Send + 'a>>;

/// Where secrets come from.
pub trait SecretStore: Send + Sync {
    /// The names it has; cheap, opens nothing.
    fn names(&self) -> Vec<String>;

    /// The values of these names, opened now.
    fn open<'a>(&'a self, names: &'a [String]) -> Opening<'a>;
}
