//! The encrypted tree: opened and verified, its values opened, changed, sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;

use super::approved::Approved;
use super::files::Files;
use super::identity::Identities;
use super::name::SecretName;
use super::recipients::{Fingerprint, Recipients};
use super::verify::Finding;
use super::{Opening, SecretStore, SecretValue};
use crate::model::outcome::Failure;

/// Where a store lies: its tree, and what is remembered of it outside.
#[derive(Clone)]
pub struct Location {
    /// The folder `secrets` of a project.
    pub tree: PathBuf,
    /// `$XDG_CONFIG_HOME/hmco-boot/stores`, or `/var/lib/hmco-boot/stores` as a system service.
    pub state: PathBuf,
    files: Arc<dyn Files>,
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
    /// Who it is encrypted to, as the sealed manifest says; empty where that has no line for it.
    pub readers: Vec<Fingerprint>,
    /// The day its plaintext was set; `None` where the manifest has no line for it.
    pub set_on: Option<Date>,
}

/// What can be told of a store without an identity: names and places. Nothing in it is verified.
pub struct Outline {}

impl Outline {
    /// Reads the tree's files.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not as values are written, with its place.
    pub fn read(_location: &Location) -> Result<Self, Failure> {
        Err(not_yet())
    }

    /// The values, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &[]
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
        self.sets.insert(name, value);
        self
    }

    /// Removes a value.
    #[must_use]
    pub fn remove(mut self, name: SecretName) -> Self {
        self.removes.insert(name);
        self
    }

    /// Writes another recipients.toml. What it means for values that are there already is [`super::rekey`]'s.
    #[must_use]
    pub fn recipients(mut self, recipients: Recipients) -> Self {
        self.recipients = Some(recipients);
        self
    }
}

/// A verified tree: every value is the one that was sealed last, by a reader of this store.
pub struct Tree {}

impl Tree {
    /// Makes a store where there is none: manifest, recipients.toml, `.gitignore`, `.gitattributes`.
    pub fn create(
        _location: &Location,
        _recipients: &Recipients,
        _identities: Arc<Identities>,
        _approved: &Approved,
    ) -> Result<Self, Failure> {
        Err(not_yet())
    }

    /// Opens and verifies.
    ///
    /// # Errors
    ///
    /// The first of what is wrong, the others as evidence.
    pub fn open(
        _location: &Location,
        _identities: Arc<Identities>,
        _mode: Mode,
    ) -> Result<Self, Failure> {
        Err(not_yet())
    }

    /// The store's id: 16 hex digits.
    pub fn id(&self) -> &str {
        ""
    }

    /// The write it is at.
    pub fn counter(&self) -> u64 {
        0
    }

    /// Who reads, as the sealed recipients.toml says.
    pub fn recipients(&self) -> &Recipients {
        todo!()
    }

    /// The values, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &[]
    }

    /// What is no failure and should be said: the first contact with this store, one reader only, a memory outside of
    /// the tree that could not be written.
    pub fn warnings(&self) -> &[String] {
        &[]
    }

    /// Opens one value.
    pub fn get(&self, _name: &SecretName) -> Result<SecretValue, Failure> {
        Err(not_yet())
    }

    /// Opens values in parallel; every one's own result, in the order asked for.
    pub fn get_many(&self, _names: &[SecretName]) -> Vec<Result<SecretValue, Failure>> {
        Vec::new()
    }

    /// Carries out a change: encrypts, opens what it encrypted, writes it all or nothing, seals.
    ///
    /// # Errors
    ///
    /// A reader that is not approved on this machine, none of the identities here being a reader of a value (nobody
    /// could prove that it opens), the disk.
    pub fn commit(
        &mut self,
        _change: Change,
        _approved: &Approved,
        _today: Date,
    ) -> Result<(), Failure> {
        Err(not_yet())
    }
}

/// A tree as it is, with all that is wrong with it: for `secrets check` and `--accept-merge`.
pub struct Inspection {}

impl Inspection {
    /// Opens a tree and says all that is wrong with it. With [`Mode::Write`] it may be sealed again.
    ///
    /// # Errors
    ///
    /// What leaves nothing to look at: no manifest, a file that is no TOML, no identity that opens the store.
    pub fn of(
        _location: &Location,
        _identities: Arc<Identities>,
        _mode: Mode,
    ) -> Result<Self, Failure> {
        Err(not_yet())
    }

    /// What is wrong; empty where all is as sealed.
    pub fn findings(&self) -> &[Finding] {
        &[]
    }

    /// Who reads, as recipients.toml says now, sealed or not.
    pub fn recipients(&self) -> &Recipients {
        todo!()
    }

    /// What came in since this machine last looked or sealed, value by value: for a person to look at before
    /// [`Inspection::accept`].
    pub fn changes(&self) -> Vec<Incoming> {
        Vec::new()
    }

    /// Opens every value; what fails, with names and places. Empty: all open.
    pub fn open_all(&self) -> Vec<Failure> {
        Vec::new()
    }

    /// Seals the tree as it is now: every value must open, and bear its own name and this store.
    ///
    /// # Errors
    ///
    /// A value that does not open, a recipient that is not approved on this machine.
    pub fn accept(self, _approved: &Approved, _today: Date) -> Result<Tree, Failure> {
        Err(not_yet())
    }
}

/// A value that came in, went, or changed since this machine last looked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Its name.
    pub name: SecretName,
    /// What happened to it.
    pub change: Coming,
    /// Whether a holder of the store key wrote it: its own line in the manifest proves that. `false` for what was pasted
    /// in, and for what was written before the store key was last changed on the other side.
    pub proven: bool,
}

/// What happened to a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coming {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one.
    Changed,
    /// It is an older one than this machine has seen.
    Older,
}

/// The store in files as a run uses it: nothing is opened, and no identity asked for, before a value is needed.
pub struct FileSecrets {
    location: Location,
    names: Vec<String>,
    #[expect(clippy::type_complexity, reason = "one closure")]
    unlock: Arc<dyn Fn() -> Result<Arc<Identities>, Failure> + Send + Sync>,
}

impl FileSecrets {
    /// A store at a place; `unlock` finds the identities, once, when the first value is asked for (it may prompt).
    pub fn new(
        location: Location,
        unlock: impl Fn() -> Result<Arc<Identities>, Failure> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let outline = Outline::read(&location)?;
        Ok(Self {
            names: outline
                .entries()
                .iter()
                .map(|entry| entry.name.to_string())
                .collect(),
            location,
            unlock: Arc::new(unlock),
        })
    }
}

impl SecretStore for FileSecrets {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn open<'a>(&'a self, _names: &'a [String]) -> Opening<'a> {
        Box::pin(async move { Err(not_yet()) })
    }
}

fn not_yet() -> Failure {
    Failure::new("the store is not there yet")
}
