//! The store in files as a run uses it: nothing is opened, and no identity asked for, before a value is needed.

use std::sync::{Arc, Mutex, PoisonError};

use super::identity::Identities;
use super::name::{SecretName, unknown};
use super::store::{Location, Mode, Outline, Tree};
use super::{Opening, SecretStore, SecretValue};
use crate::model::outcome::Failure;

/// Finds the identities; may prompt.
type Unlock = dyn Fn() -> Result<Arc<Identities>, Failure> + Send + Sync;

/// The store in files.
#[derive(Clone)]
pub struct FileSecrets {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    names: Vec<String>,
    unlock: Box<Unlock>,
    /// Opened at the first value, and for all of a run: what it used is what it verified.
    tree: Mutex<Option<Arc<Tree>>>,
}

impl FileSecrets {
    /// A store at a place; `unlock` finds the identities, once, when the first value is asked for (it may prompt).
    ///
    /// # Errors
    ///
    /// A file of the tree that cannot be read.
    pub fn new(
        location: Location,
        unlock: impl Fn() -> Result<Arc<Identities>, Failure> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let outline = Outline::read(&location)?;
        let names = outline.entries().iter().map(|entry| entry.name.to_string());
        Ok(Self {
            inner: Arc::new(Inner {
                names: names.collect(),
                location,
                unlock: Box::new(unlock),
                tree: Mutex::new(None),
            }),
        })
    }

    /// What should be said of the store; nothing before a value was opened.
    pub fn warnings(&self) -> Vec<String> {
        let tree = self
            .inner
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tree.as_ref()
            .map(|tree| tree.warnings().to_vec())
            .unwrap_or_default()
    }
}

impl Inner {
    /// The verified tree; the first who comes opens it, the others wait.
    fn tree(&self) -> Result<Arc<Tree>, Failure> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*tree {
            return Ok(Arc::clone(tree));
        }
        let identities = (self.unlock)()?;
        let opened = Arc::new(Tree::open(&self.location, identities, Mode::Read)?);
        *tree = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn open(&self, names: &[String]) -> Result<Vec<(String, SecretValue)>, Failure> {
        let mut parsed: Vec<SecretName> = Vec::new();
        for name in names {
            // A wrong name is found before anybody is asked for a passphrase.
            if !self.names.contains(name) {
                return Err(unknown(name, self.names.iter().map(String::as_str)));
            }
            parsed.push(name.parse()?);
        }
        if parsed.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.tree()?.get_many(&parsed);
        names
            .iter()
            .zip(values)
            .map(|(name, value)| Ok((name.clone(), value?)))
            .collect()
    }
}

impl SecretStore for FileSecrets {
    fn names(&self) -> Vec<String> {
        self.inner.names.clone()
    }

    fn open<'a>(&'a self, names: &'a [String]) -> Opening<'a> {
        let inner = Arc::clone(&self.inner);
        let names = names.to_vec();
        Box::pin(async move {
            // Arithmetic, files and perhaps a prompt: nothing for the threads that everybody waits on.
            tokio::task::spawn_blocking(move || inner.open(&names))
                .await
                .unwrap_or_else(|error| {
                    Err(Failure::new(format!(
                        "opening the secrets was cut off: {error}"
                    )))
                })
        })
    }
}
