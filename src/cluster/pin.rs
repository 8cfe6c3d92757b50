//! Who a cluster is: the sha256 of its CA's certificate, held to what is known of it before anything is said to it.

use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::model::outcome::Failure;

/// Who the cluster is: the sha256 of its CA's certificate (the PEM file).
#[derive(Default)]
pub struct Pin {
    /// The one that must be shown, where it is known.
    pub known: Option<String>,
    /// Where the pin is said, for messages: `ca_sha256 in inventory/homelab.toml`.
    pub place: String,
    /// The one that was shown first, where none was known.
    seen: Mutex<Option<String>>,
}

impl Pin {
    /// The pin that is known, and where it is said.
    pub fn new(known: Option<String>, place: impl Into<String>) -> Self {
        Self {
            known,
            place: place.into(),
            seen: Mutex::default(),
        }
    }

    /// The CA that was seen where none was known.
    pub fn first_contact(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone().filter(|_| self.known.is_none())
    }

    pub(super) fn check(&self, ca: &[u8]) -> Result<(), Failure> {
        let digest: String = Sha256::digest(ca)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = self.known.clone().or_else(|| seen.clone());
        match expected {
            Some(expected) if !expected.eq_ignore_ascii_case(&digest) => Err(Failure::new(
                "the cluster has another CA than the one that is pinned",
            )
            .evidence(format!("pinned: {expected} ({})", self.place))
            .evidence(format!("found:  {digest}"))
            .hint(
                "if the cluster was made anew on purpose, put the new one in its place; if not, find out whose cluster \
                 this is before anything else",
            )),
            Some(_) => Ok(()),
            None => {
                *seen = Some(digest);
                Ok(())
            }
        }
    }
}
