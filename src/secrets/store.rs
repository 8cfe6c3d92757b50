//! The encrypted tree: opened and verified, its values opened, changed, sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;

use super::SecretValue;
use super::approved::Approved;
use super::files::{Disk, Files};
use super::identity::Identities;
use super::load::{self, Loaded, load};
use super::name::SecretName;
use super::recipients::{Fingerprint, Recipients};
use super::seen::Memory;
use super::spread::spread;
use super::write::{Write, encrypt, require_approved};
use crate::model::outcome::Failure;

pub use super::create::create;
pub use super::inspect::{Coming, Incoming, Inspection};
pub use super::serve::FileSecrets;

/// Where a store lies: its tree, and what is remembered of it outside.
#[derive(Clone)]
pub struct Location {
    /// The folder `secrets` of a project.
    pub tree: PathBuf,
    /// `$XDG_CONFIG_HOME/hmco-boot/stores`, or `/var/lib/hmco-boot/stores` as a system service.
    pub state: PathBuf,
    pub(super) files: Arc<dyn Files>,
}

impl Location {
    /// A place on this machine's disk.
    pub fn new(tree: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self::with_files(tree, state, Arc::new(Disk))
    }

    /// A place whose files are reached in another way.
    pub fn with_files(
        tree: impl Into<PathBuf>,
        state: impl Into<PathBuf>,
        files: Arc<dyn Files>,
    ) -> Self {
        Self {
            tree: tree.into(),
            state: state.into(),
            files,
        }
    }

    pub(super) fn memory(&self) -> Memory<'_> {
        Memory {
            files: &*self.files,
            folder: &self.state,
        }
    }
}

/// Whether a tree is opened to be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Only looked at; a change that was cut off is read as it will be.
    Read,
    /// To be changed: takes the lock, and ends what was cut off.
    Write,
}

/// One value of the tree, without opening it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: SecretName,
    /// The file, as a path a user can open.
    pub file: String,
    /// The line of its key, from 1.
    pub line: usize,
    /// `sha256:` and the digest of its ciphertext.
    pub digest: String,
    /// Who it is encrypted to, as the manifest says; empty where that has no line for it.
    pub readers: Vec<Fingerprint>,
    /// The day its plaintext was set; `None` where the manifest has no line for it.
    pub set_on: Option<Date>,
}

/// What can be told of a store without an identity: names and places. Nothing in it is verified.
#[derive(Clone, Debug)]
pub struct Outline {
    store: Option<String>,
    entries: Vec<Entry>,
    recipients: Option<Recipients>,
}

impl Outline {
    /// Reads the tree's files. Where there is no store, it is empty.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not as values are written, with its place.
    pub fn read(location: &Location) -> Result<Self, Failure> {
        let parts = load::parts(location)?;
        Ok(Self {
            entries: load::entries(&parts.documents, parts.manifest.as_ref()),
            store: parts.manifest.map(|manifest| manifest.store),
            recipients: parts.recipients,
        })
    }

    /// The store's id, as the manifest says; `None` where there is no store.
    pub fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// The values, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The readers, as recipients.toml says.
    pub fn recipients(&self) -> Option<&Recipients> {
        self.recipients.as_ref()
    }
}

/// A change of the tree, carried out as one.
#[derive(Default)]
pub struct Change {
    sets: BTreeMap<SecretName, SecretValue>,
    removes: BTreeSet<SecretName>,
    recipients: Option<Recipients>,
}

impl Change {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value, new or not.
    #[must_use]
    pub fn set(mut self, name: SecretName, value: SecretValue) -> Self {
        self.removes.remove(&name);
        self.sets.insert(name, value);
        self
    }

    /// Removes a value.
    #[must_use]
    pub fn remove(mut self, name: SecretName) -> Self {
        self.sets.remove(&name);
        self.removes.insert(name);
        self
    }

    /// Writes another recipients.toml, and a new store key for them. Values that are there keep their readers until a
    /// re-key ([`super::rekey`]).
    #[must_use]
    pub fn recipients(mut self, recipients: Recipients) -> Self {
        self.recipients = Some(recipients);
        self
    }
}

/// A verified tree: every value is the one that was sealed last, by a reader of this store.
pub struct Tree {
    loaded: Loaded,
}

impl Tree {
    /// Makes a store where there is none: manifest, recipients.toml, `.gitignore`, `.gitattributes`.
    ///
    /// # Errors
    ///
    /// There is one already, or its traces; recipients that are not approved; identities that are none of them.
    pub fn create(
        location: &Location,
        recipients: &Recipients,
        identities: Arc<Identities>,
        approved: &Approved,
    ) -> Result<Self, Failure> {
        create(location, recipients, identities, approved)
    }

    /// Opens and verifies.
    ///
    /// # Errors
    ///
    /// The worst of what is wrong, the others as evidence.
    pub fn open(
        location: &Location,
        identities: Arc<Identities>,
        mode: Mode,
    ) -> Result<Self, Failure> {
        Self::sound(load(location, identities, mode, None)?)
    }

    /// A tree with nothing wrong.
    pub(super) fn sound(loaded: Loaded) -> Result<Self, Failure> {
        let mut findings = loaded.findings.iter();
        let Some(first) = findings.next() else {
            return Ok(Self { loaded });
        };
        let mut failure = first.failure.clone();
        for finding in findings {
            failure = failure.evidence(format!("also: {}", finding.failure.message));
        }
        Err(failure)
    }

    /// The store's id: 16 hex digits.
    pub fn id(&self) -> &str {
        &self.loaded.manifest.store
    }

    /// The write it is at.
    pub fn counter(&self) -> u64 {
        self.loaded.manifest.counter()
    }

    /// Who reads, as the sealed recipients.toml says.
    pub fn recipients(&self) -> &Recipients {
        &self.loaded.recipients
    }

    /// The values, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &self.loaded.entries
    }

    /// What is no failure and should be said: the first contact with this store, one reader only, a cut-off change that
    /// was ended, a memory outside of the tree that could not be written.
    pub fn warnings(&self) -> &[String] {
        &self.loaded.warnings
    }

    /// Opens one value.
    ///
    /// # Errors
    ///
    /// There is none of this name, it does not open, or it was made for another name or store.
    pub fn get(&self, name: &SecretName) -> Result<SecretValue, Failure> {
        let loaded = &self.loaded;
        let Some((document, value)) = loaded.placed(name) else {
            return Err(loaded.unknown(name));
        };
        loaded.open(document, value).map(|opened| opened.value)
    }

    /// Opens values in parallel; every one's own result, in the order asked for.
    pub fn get_many(&self, names: &[SecretName]) -> Vec<Result<SecretValue, Failure>> {
        spread(names, |name| self.get(name))
    }

    /// Carries out a change: encrypts, opens what it encrypted, writes it all or nothing, seals. The day is what values
    /// set now are dated with.
    ///
    /// # Errors
    ///
    /// A reader that is not approved on this machine, none of the identities here being a reader of a value (nobody
    /// could prove that it opens), a name that is not there to remove, the disk. Nothing was written then, but where the
    /// failure says that the change counts already.
    pub fn commit(
        &mut self,
        change: Change,
        approved: &Approved,
        today: Date,
    ) -> Result<(), Failure> {
        self.loaded.change(|loaded| {
            let mut write = Write::begin(loaded)?;
            let recipients = change.recipients.as_ref().unwrap_or(&loaded.recipients);
            if change.recipients.is_some() {
                require_approved(approved, recipients.all())?;
                write.set_recipients(recipients.clone());
            }
            for name in change.sets.keys() {
                require_approved(approved, recipients.readers_of(name))?;
            }
            for name in &change.removes {
                if loaded.placed(name).is_none() {
                    return Err(loaded.unknown(name));
                }
                write.remove(name);
            }
            let sets: Vec<(&SecretName, &SecretValue)> = change.sets.iter().collect();
            let sealed = spread(&sets, |(name, value)| {
                encrypt(loaded, recipients, name, value)
            });
            for ((name, _), sealed) in sets.into_iter().zip(sealed) {
                write.set(name, sealed?, today);
            }
            write.finish()
        })
    }
}
