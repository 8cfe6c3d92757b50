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

    /// Holds what a connection would trust to the pin; where none is known, the CA that is trusted becomes it.
    pub(super) fn check(&self, ca: Option<&[u8]>, config: &kube::Config) -> Result<(), Failure> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = self.known.clone().or_else(|| seen.clone());
        let found = trusted(ca, config).map(digest);
        match (expected, found) {
            (Some(expected), Ok(found)) if expected.eq_ignore_ascii_case(&found) => Ok(()),
            (Some(expected), Ok(found)) => Err(Failure::new(
                "the cluster has another CA than the one that is pinned",
            )
            .evidence(format!("pinned: {expected} ({})", self.place))
            .evidence(format!("found:  {found}"))
            .hint(
                "if the cluster was made anew on purpose, put the new one in its place; if not, find out whose cluster \
                 this is before anything else",
            )),
            (Some(expected), Err(why)) => Err(Failure::new(format!(
                "the cluster's CA is pinned, and its kubeconfig {why}"
            ))
            .evidence(format!("pinned: {expected} ({})", self.place))
            .hint(
                "nothing was sent there: use a kubeconfig with an https:// server and the cluster's own CA, as \
                 `hmco-boot kubeconfig --out FILE` writes one",
            )),
            (None, Ok(found)) => {
                *seen = Some(found);
                Ok(())
            }
            (None, Err(_)) => Ok(()),
        }
    }
}

/// The one CA that a server has to prove itself by, or why there is none.
fn trusted<'a>(ca: Option<&'a [u8]>, config: &kube::Config) -> Result<&'a [u8], &'static str> {
    if config.cluster_url.scheme() != Some(&http::uri::Scheme::HTTPS) {
        return Err("leads to a server without TLS");
    }
    if config.accept_invalid_certs {
        return Err("trusts every server (`insecure-skip-tls-verify`)");
    }
    ca.ok_or("names no CA, so every public one would do")
}

/// How a CA is told: the sha256 of its PEM file.
pub(super) fn digest(ca: &[u8]) -> String {
    let digest = Sha256::digest(ca);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
