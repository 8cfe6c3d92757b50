//! What this machine has seen of a store, kept outside of the tree: the tree is in git, and what is in git can be rolled
//! back, replaced as a whole, or sealed by somebody else. `STORES/ID.seen.toml` holds the last write, its seal, the store
//! key's id and the values' digests; `STORES/place-DIGEST.toml` which store a folder holds. Approved keys are beside them
//! in a file of their own (`approved`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::Files;
use super::keys::digest;
use super::manifest::Manifest;
use super::name::SecretName;
use super::recipients::{Fingerprint, Recipients};
use crate::model::outcome::Failure;

/// What was seen of a store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The highest write.
    pub counter: u64,
    /// Its seal.
    pub seal: String,
    /// The id of the store key that made it.
    pub key: String,
    /// Who read then: fingerprints, each with the name.
    #[serde(default)]
    pub readers: BTreeMap<String, String>,
    /// The values then.
    #[serde(default)]
    pub values: BTreeMap<SecretName, SeenValue>,
}

/// What was seen of a value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SeenValue {
    /// The digest of its ciphertext.
    pub digest: String,
    /// The write that brought it.
    pub write: u64,
}

impl Seen {
    /// What there is to see in a sealed manifest.
    pub fn of(manifest: &Manifest, recipients: &Recipients, key: String) -> Self {
        let values = manifest.lines.iter().map(|line| {
            let value = SeenValue {
                digest: line.digest.clone(),
                write: line.write,
            };
            (line.name.clone(), value)
        });
        let seal = manifest.seals.first().map(|seal| seal.mac.clone());
        let readers = recipients.all().iter();
        Self {
            counter: manifest.counter(),
            seal: seal.unwrap_or_default(),
            key,
            readers: readers
                .map(|one| (one.fingerprint().to_string(), one.name.clone()))
                .collect(),
            values: values.collect(),
        }
    }

    /// The name of a reader of then.
    pub fn reader(&self, fingerprint: Fingerprint) -> Option<&str> {
        self.readers
            .get(&fingerprint.to_string())
            .map(String::as_str)
    }
}

/// Which store a folder holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Place {
    path: PathBuf,
    store: String,
}

/// The memory of stores of this machine.
pub struct Memory<'a> {
    /// Its files.
    pub files: &'a dyn Files,
    /// Its folder.
    pub folder: &'a Path,
}

impl Memory<'_> {
    fn seen_path(&self, store: &str) -> PathBuf {
        self.folder.join(format!("{store}.seen.toml"))
    }

    /// Where it is kept which store a tree holds.
    pub fn place_path(&self, tree: &Path) -> PathBuf {
        let path = self.files.real_path(tree);
        let digest = digest(path.as_os_str().as_encoded_bytes());
        let short: String = digest.chars().skip("sha256:".len()).take(16).collect();
        self.folder.join(format!("place-{short}.toml"))
    }

    /// What was seen of a store; `None` where nothing was.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read: then it is not "nothing".
    pub fn seen(&self, store: &str) -> Result<Option<Seen>, Failure> {
        self.load(&self.seen_path(store))
    }

    /// The id of the store that this tree held when it was seen last.
    pub fn store_at(&self, tree: &Path) -> Result<Option<String>, Failure> {
        let place: Option<Place> = self.load(&self.place_path(tree))?;
        Ok(place.map(|place| place.store))
    }

    /// Remembers. Never goes back to an older write: whoever read one may end after somebody who saw a newer one.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn remember(&self, tree: &Path, store: &str, seen: &Seen) -> Result<(), Failure> {
        let place = Place {
            path: self.files.real_path(tree),
            store: store.to_owned(),
        };
        if self.store_at(tree).ok().flatten().as_deref() != Some(store) {
            self.save(&self.place_path(tree), &place)?;
        }
        let known = self.seen(store).ok().flatten();
        let newer = known.is_none_or(|known| known.counter <= seen.counter && known != *seen);
        if newer {
            self.save(&self.seen_path(store), seen)?;
        }
        Ok(())
    }

    fn load<T: for<'de> Deserialize<'de>>(&self, path: &Path) -> Result<Option<T>, Failure> {
        let bytes = self.files.read(path).map_err(|error| {
            Failure::new(format!("{}: {error}", path.display()))
                .hint("it says what this machine has seen of the secrets: make it readable")
        })?;
        let damaged = |_| {
            Failure::new(format!("{} is damaged", path.display())).hint(
                "restore it, or remove it: this machine then takes the secrets as they are now for those it knows",
            )
        };
        bytes
            .map(|bytes| toml::from_slice(&bytes).map_err(damaged))
            .transpose()
    }

    fn save<T: Serialize>(&self, path: &Path, content: &T) -> Result<(), Failure> {
        let text = toml::to_string(content).map_err(|error| Failure::new(error.to_string()))?;
        let text = format!(
            "# What this machine has seen of a store of secrets. Not in git on purpose.\n{text}"
        );
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let write = || -> io::Result<()> {
            self.files.make_folder(self.folder, 0o700)?;
            self.files.write(&beside, text.as_bytes(), 0o600)?;
            self.files.sync_file(&beside)?;
            self.files.rename(&beside, path)?;
            self.files.sync_folder(self.folder)
        };
        write().map_err(|error| {
            Failure::new(format!("cannot write {}: {error}", path.display()))
                .hint("make room, or give the folder to this user")
        })
    }
}
