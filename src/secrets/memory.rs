//! A store in memory: for tests, and the empty one of a project without secrets.

use std::collections::BTreeMap;

use super::name::unknown;
use super::{Opening, SecretStore, SecretValue};

/// Secrets in memory.
#[derive(Clone, Default)]
pub struct MemorySecrets {
    values: BTreeMap<String, SecretValue>,
}

impl MemorySecrets {
    /// A store with these names and values.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::with_values(
            values
                .into_iter()
                .map(|(name, value)| (name, SecretValue::new(value.into_bytes()))),
        )
    }

    /// A store with these names and values, binary ones too.
    pub fn with_values(values: impl IntoIterator<Item = (String, SecretValue)>) -> Self {
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
                    None => Err(unknown(name, self.values.keys().map(String::as_str))),
                })
                .collect()
        })
    }
}
