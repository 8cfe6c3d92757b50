//! A store in memory: for tests, and the empty one of a project without secrets.

use std::collections::BTreeMap;

use super::{Opening, SecretStore};
use crate::model::outcome::Failure;

/// Secrets in memory.
#[derive(Clone, Default)]
pub struct MemorySecrets {
    values: BTreeMap<String, String>,
}

impl MemorySecrets {
    /// A store with these names and values.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

impl SecretStore for MemorySecrets {
    fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    fn open<'a>(&'a self, names: &'a [String]) -> Opening<'a> {
        Box::pin(async move {
            names
                .iter()
                .map(|name| match self.values.get(name) {
                    Some(value) => Ok((name.clone(), value.clone())),
                    None => Err(Failure::new(format!("there is no secret {name:?}"))),
                })
                .collect()
        })
    }
}
