//! Which keys somebody at this machine approved as readers of a store. It lies outside the tree: what is in git can be
//! swapped, or slipped in by a merge; this cannot, by the same way. The counter and seal that were seen last lie beside it
//! in a file of their own (the store's), so that neither is ever written with an old copy of the other.

#![expect(
    clippy::disallowed_methods,
    reason = "reads and writes the record of a store, in this user's configuration"
)]

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::recipients::{Fingerprint, Recipient};
use crate::model::outcome::Failure;
use crate::model::shell::quote;

/// What the environment says about where configuration belongs; the command line hands it in.
#[derive(Clone, Debug, Default)]
pub struct ConfigEnv {
    /// `$STATE_DIRECTORY`: systemd made it for a system service.
    pub state_directory: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl ConfigEnv {
    /// This user's folder of our configuration: `$XDG_CONFIG_HOME/hmco-boot`, else `$HOME/.config/hmco-boot`. A path that
    /// is not absolute does not count, as the XDG specification demands.
    pub fn folder(&self) -> Option<PathBuf> {
        let absolute = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_absolute());
        let xdg = absolute(&self.xdg_config_home).map(|path| path.join("hmco-boot"));
        xdg.or_else(|| absolute(&self.home).map(|path| path.join(".config/hmco-boot")))
    }

    /// The folder with the records of stores: that of the system service where this is one (`/var/lib/hmco-boot/stores`),
    /// else `stores` in the folder of configuration.
    pub fn stores(&self) -> Result<PathBuf, Failure> {
        // systemd joins several by colons.
        let service = self.state_directory.as_ref().and_then(|list| {
            let first = list.to_str()?.split(':').next()?;
            Some(PathBuf::from(first)).filter(|path| path.is_absolute())
        });
        let folder = service.or_else(|| self.folder());
        folder.map(|folder| folder.join("stores")).ok_or_else(|| {
            Failure::new("there is no place to remember what was approved: neither $HOME nor $XDG_CONFIG_HOME is set")
                .hint("set XDG_CONFIG_HOME to a folder of this user")
        })
    }
}

/// The keys that were approved for one store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    /// By fingerprint: the reader's name when it was approved.
    #[serde(default)]
    approved: BTreeMap<String, String>,
    /// Those whose approval was taken back: so that a re-key can say by name who loses what.
    #[serde(default)]
    former: BTreeMap<String, String>,
}

/// Where the approvals of a store are, in the folder of records ([`ConfigEnv::stores`]).
pub fn path(stores: &Path, store_id: &str) -> PathBuf {
    stores.join(format!("{store_id}.approved.toml"))
}

impl Approved {
    /// Nothing is approved: a store that is still to be made.
    pub fn none() -> Self {
        Self::default()
    }

    /// What was approved for a store. Where there is no record, nothing was.
    pub fn load(stores: &Path, store_id: &str) -> Result<Self, Failure> {
        if store_id.is_empty() || !store_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(
                Failure::new(format!("{store_id:?} is not the id of a store"))
                    .hint("take secrets/manifest.toml back from git"),
            );
        }
        let path = path(stores, store_id);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::none()),
            Err(error) => return Err(unusable(&path, &error.to_string())),
        };
        let found = fs::metadata(&path).map_err(|error| unusable(&path, &error.to_string()))?;
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user && found.uid() != 0 || found.mode() & 0o022 != 0 {
            let message = format!("others can write to {}", path.display());
            return Err(Failure::new(message).hint(format!(
                "see that nothing was added to it, then: chown {user} {0} && chmod 600 {0}",
                quote(&path.to_string_lossy())
            )));
        }
        toml::from_str(&text).map_err(|error| unusable(&path, error.message()))
    }

    /// Writes the record of a store, whole or not at all.
    pub fn save(&self, stores: &Path, store_id: &str) -> Result<(), Failure> {
        let path = path(stores, store_id);
        let text = toml::to_string(self).map_err(|error| unusable(&path, &error.to_string()))?;
        let text = format!(
            "# Keys that were approved here as readers of secrets. Not in git on purpose.\n{text}"
        );
        write_private(&path, &text).map_err(|error| {
            Failure::new(format!("cannot write {}: {error}", path.display()))
                .hint("make room, or give the folder to this user")
        })
    }

    /// Whether somebody here approved this key.
    pub fn is_approved(&self, fingerprint: Fingerprint) -> bool {
        self.approved.contains_key(&fingerprint.to_string())
    }

    /// Those of `readers` that nobody here approved yet.
    pub fn missing<'a>(
        &self,
        readers: impl IntoIterator<Item = &'a Recipient>,
    ) -> Vec<&'a Recipient> {
        let new = |reader: &&Recipient| !self.is_approved(reader.fingerprint());
        readers.into_iter().filter(new).collect()
    }

    /// Approves a reader's key.
    pub fn approve(&mut self, reader: &Recipient) {
        let fingerprint = reader.fingerprint().to_string();
        self.approved.insert(fingerprint, reader.name.clone());
    }

    /// Takes an approval back.
    pub fn withdraw(&mut self, fingerprint: Fingerprint) {
        let fingerprint = fingerprint.to_string();
        if let Some(name) = self.approved.remove(&fingerprint) {
            self.former.insert(fingerprint, name);
        }
    }

    /// The name that a key had when it was approved here, though it may not be a reader's any more.
    pub fn name_of(&self, fingerprint: &str) -> Option<&str> {
        let known = self
            .approved
            .get(fingerprint)
            .or_else(|| self.former.get(fingerprint));
        known.map(String::as_str)
    }
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(format!("cannot use {}: {why}", path.display()))
        .hint("restore it from a backup, or remove it: all readers then have to be approved again")
}

/// Writes a file for this user's eyes only, and its folder, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| fs::File::open(folder)?.sync_all());
    if written.is_err() {
        fs::remove_file(&beside).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn reader() -> Recipient {
        Recipient {
            name: "anna".into(),
            key: age::x25519::Identity::generate().to_public().into(),
            since: String::new(),
            groups: Vec::new(),
            recovery: false,
        }
    }

    #[test]
    fn what_was_approved_is_remembered_for_this_store_alone_and_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let stores = folder.path().join("config/stores");
        let (anna, other) = (reader(), reader());
        let mut approved = Approved::load(&stores, "abc").unwrap();
        assert_eq!(approved.missing([&anna, &other]).len(), 2);
        approved.approve(&anna);
        approved.save(&stores, "abc").unwrap();
        let again = Approved::load(&stores, "abc").unwrap();
        assert!(again.is_approved(anna.fingerprint()) && !again.is_approved(other.fingerprint()));
        let elsewhere = Approved::load(&stores, "abd").unwrap();
        assert!(!elsewhere.is_approved(anna.fingerprint()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path(&stores, "abc")), 0o600);
        assert_eq!(mode(&stores), 0o700);
        approved.withdraw(anna.fingerprint());
        assert_eq!(approved.missing([&anna]).len(), 1);
        approved.save(&stores, "abc").unwrap();
        let again = Approved::load(&stores, "abc").unwrap();
        let fingerprint = anna.fingerprint().to_string();
        assert_eq!(again.name_of(&fingerprint), Some("anna"));
        assert!(!again.is_approved(anna.fingerprint()));
    }

    #[test]
    fn a_record_that_others_could_write_is_not_believed_and_no_id_leads_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let mut approved = Approved::none();
        approved.approve(&reader());
        approved.save(folder.path(), "abc").unwrap();
        let file = path(folder.path(), "abc");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let failure = Approved::load(folder.path(), "abc").unwrap_err();
        assert!(failure.message.contains("others can write"), "{failure:?}");
        for id in ["", "../x", "a/b"] {
            assert!(Approved::load(folder.path(), id).is_err(), "{id}");
        }
    }

    #[test]
    fn the_folders_are_those_of_the_user_or_of_the_service() {
        let path = |text: &str| Some(PathBuf::from(text));
        let mut env = ConfigEnv {
            home: path("/home/anna"),
            ..ConfigEnv::default()
        };
        let stores = |env: &ConfigEnv| env.stores().unwrap().display().to_string();
        assert_eq!(stores(&env), "/home/anna/.config/hmco-boot/stores");
        env.xdg_config_home = path("/cfg");
        assert_eq!(stores(&env), "/cfg/hmco-boot/stores");
        env.state_directory = path("/var/lib/hmco-boot:/var/lib/other");
        assert_eq!(stores(&env), "/var/lib/hmco-boot/stores");
        assert!(ConfigEnv::default().stores().is_err());
    }
}
