//! `Artifacts` in memory, for tests of everything above: what a URL gives is told beforehand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::files::hex;
use super::{
    Artifacts, BoxFuture, Content, Progress, Source, VerifiedFile, Watch, mismatch, offline_hint,
};
use crate::model::artifact::Pin;
use crate::model::outcome::Failure;

/// Files by URL. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct MemoryArtifacts {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    urls: HashMap<String, Arc<[u8]>>,
    cache: HashMap<String, Arc<[u8]>>,
    fetched: usize,
}

impl MemoryArtifacts {
    /// From now on this URL gives these bytes.
    pub fn offer(&self, url: &str, bytes: impl Into<Arc<[u8]>>) {
        self.state().urls.insert(url.to_owned(), bytes.into());
    }

    /// From now on nothing can be fetched; what was, is cached.
    pub fn cut_off(&self) {
        self.state().urls.clear();
    }

    /// How often a URL was asked.
    pub fn fetched(&self) -> usize {
        self.state().fetched
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, pin: &Pin, watch: Watch<'_>) -> Result<VerifiedFile, Failure> {
        let mut state = self.state();
        if let Some(bytes) = state.cache.get(&pin.sha256) {
            return Ok(verified(pin, bytes.clone(), Source::Cache));
        }
        state.fetched += 1;
        let Some(bytes) = state.urls.get(&pin.url).cloned() else {
            return Err(Failure::new(format!("{} cannot be fetched", pin.url))
                .evidence("the server answered 404 Not Found")
                .hint(offline_hint(pin)));
        };
        let size = bytes.len() as u64;
        watch(Progress::Began {
            url: &pin.url,
            have: 0,
            total: Some(size),
        });
        let sha256 = hex(&Sha256::digest(&bytes));
        let source = Source::Url(pin.url.clone());
        if size != pin.size || sha256 != pin.sha256 {
            return Err(mismatch(pin, &source, size, &sha256));
        }
        watch(Progress::Got {
            have: size,
            total: Some(size),
        });
        state.cache.insert(sha256, bytes.clone());
        Ok(verified(pin, bytes, source))
    }
}

fn verified(pin: &Pin, bytes: Arc<[u8]>, source: Source) -> VerifiedFile {
    VerifiedFile {
        content: Content::Bytes(bytes),
        size: pin.size,
        sha256: pin.sha256.clone(),
        source,
    }
}

impl Artifacts for MemoryArtifacts {
    fn fetch<'a>(
        &'a self,
        pin: &'a Pin,
        watch: Watch<'a>,
    ) -> BoxFuture<'a, Result<VerifiedFile, Failure>> {
        Box::pin(std::future::ready(self.get(pin, watch)))
    }

    fn at_hand<'a>(&'a self, pin: &'a Pin) -> BoxFuture<'a, Option<Source>> {
        let cached = self.state().cache.contains_key(&pin.sha256);
        Box::pin(std::future::ready(cached.then_some(Source::Cache)))
    }
}
