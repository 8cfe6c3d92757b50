//! The state folder of a cluster: where its journal, its lock, its key and its caches are. Nothing in it is the truth
//! about a node; all of it is for this user's eyes only.
//!
//! | file | what it is |
//! |---|---|
//! | `journal.db` | the journal of runs |
//! | `lock`, `holder.*.json` | who works on this cluster from here (see `local_lock`) |
//! | `mac.key` | the key of fingerprints, made once |
//! | `cluster-ca.sha256` | the cluster's CA, pinned at first contact where the inventory names none |
//! | `digests.*.json` | per target: digests of files by their stat |

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files;
use crate::model::id::Target;
use crate::model::outcome::Failure;

/// The name of our folder among those of other programs.
const OURS: &str = "hmco-boot";

/// A cache bigger than this was not written by us.
const CACHE_LIMIT: u64 = 64 << 20;

/// What the environment says about where state belongs; the command line hands it in.
#[derive(Clone, Debug, Default)]
pub struct StateEnv {
    /// `$STATE_DIRECTORY`: systemd made it for a system service.
    pub state_directory: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl StateEnv {
    /// The folder that holds the state folders of all clusters: the first of `$STATE_DIRECTORY` (of a system service,
    /// `/var/lib/hmco-boot`), `$XDG_STATE_HOME/hmco-boot`, `$HOME/.local/state/hmco-boot`. A path that is not absolute
    /// does not count, as the XDG specification demands.
    pub fn base(&self) -> Result<PathBuf, Failure> {
        let absolute = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_absolute());
        // systemd joins several by colons.
        let service = self.state_directory.as_ref().and_then(|list| {
            let first = list.to_str()?.split(':').next()?;
            Some(PathBuf::from(first)).filter(|path| path.is_absolute())
        });
        let user = || absolute(&self.xdg_state_home).map(|path| path.join(OURS));
        let home = || absolute(&self.home).map(|path| path.join(".local/state").join(OURS));
        service.or_else(user).or_else(home).ok_or_else(|| {
            Failure::new(
                "there is no place for the journal: neither $HOME nor $XDG_STATE_HOME is set",
            )
            .hint("set XDG_STATE_HOME to a folder of this user")
        })
    }
}

/// The state folder of one cluster.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    cluster: String,
}

/// A cache as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cache {
    /// There is none.
    Absent,
    /// Its JSON text.
    Text(String),
    /// There is something that is not one. It counts as absent, and the next save replaces it.
    Damaged(Failure),
}

impl StateDir {
    /// The state folder `base/cluster`, made (mode 0700) where it is missing. Refuses one that belongs to somebody else
    /// or that others can write: what is in it decides what a run trusts.
    pub fn open(base: &Path, cluster: &str) -> Result<Self, Failure> {
        let mut parts = Path::new(cluster).components();
        let plain = matches!(parts.next(), Some(Component::Normal(name)) if name == cluster);
        if !plain || cluster.contains('\0') {
            let message = format!("{cluster:?} cannot be the name of a cluster's state folder");
            return Err(Failure::new(message).hint("give the cluster a plain name, without `/`"));
        }
        let path = base.join(cluster);
        let failed = |e: io::Error| of_io("make the state folder", &path, &e);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(base)
            .map_err(failed)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
            Err(_) => {}
            Ok(()) => files::sync_folder(&path).map_err(failed)?,
        }
        let user = rustix::process::geteuid().as_raw();
        // Through a symlink, which may well be the user's own.
        let around = base.metadata().map_err(failed)?;
        let sticky = around.mode() & 0o1000 != 0;
        if around.mode() & 0o022 != 0 && !sticky {
            return Err(open_to_others(base, &around));
        }
        if around.uid() != user && around.uid() != 0 {
            return Err(of_somebody_else(base, &around, user));
        }
        let found =
            files::look(&path).and_then(|found| found.ok_or(io::ErrorKind::NotFound.into()));
        let found = found.map_err(failed)?;
        if !found.is_dir() {
            let message = format!("{} is not a folder", path.display());
            return Err(Failure::new(message).hint("move it away; a folder is made in its place"));
        }
        if found.uid() != user {
            return Err(of_somebody_else(&path, &found, user));
        }
        if found.mode() & 0o022 != 0 {
            return Err(open_to_others(&path, &found));
        }
        if found.mode() & 0o777 != 0o700 {
            std::fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(Self {
            path,
            cluster: cluster.to_owned(),
        })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Where the journal is.
    pub fn journal_path(&self) -> PathBuf {
        self.path.join("journal.db")
    }

    /// The key of this cluster's fingerprints, made at random the first time; two processes that come first at once
    /// get the same. A damaged or exposed key is refused, never replaced unasked.
    pub fn mac_key(&self) -> Result<[u8; 32], Failure> {
        let path = self.path.join("mac.key");
        let failed = |e: io::Error| of_io("make or read the key", &path, &e);
        if files::look(&path).map_err(failed)?.is_none() {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|e| failed(io::Error::other(e)))?;
            files::publish(&path, format!("{}\n", hex(&key)).as_bytes()).map_err(failed)?;
        }
        let replace = "to start over, remove it: saved plans and fingerprints of earlier runs then no longer compare";
        let found =
            files::look(&path).and_then(|found| found.ok_or(io::ErrorKind::NotFound.into()));
        let mode = found.map_err(failed)?.mode();
        if mode & 0o077 != 0 {
            let message = format!(
                "others may have read the key {} (mode {:04o})",
                path.display(),
                mode & 0o7777
            );
            return Err(
                Failure::new(message).hint(format!("if nobody did, `chmod 600` it; {replace}"))
            );
        }
        let bytes = files::read(&path).map_err(failed)?.unwrap_or_default();
        parse_key(&bytes).ok_or_else(|| {
            Failure::new(format!("the key {} is damaged", path.display()))
                .hint(format!("restore it from a backup; {replace}"))
        })
    }

    /// The digests that were saved for a target.
    pub fn digest_cache(&self, target: &Target) -> Cache {
        let path = self.digest_path(target);
        let damaged = |what: String| {
            let message = format!("the digest cache {} is ignored: {what}", path.display());
            Cache::Damaged(
                Failure::new(message).hint("nothing: it is made anew, files are hashed again"),
            )
        };
        match files::look(&path) {
            Ok(None) => return Cache::Absent,
            Ok(Some(found)) if found.len() > CACHE_LIMIT => return damaged("it is too big".into()),
            Ok(Some(found)) if !found.is_file() => return damaged("it is not a file".into()),
            Ok(Some(_)) => {}
            Err(e) => return damaged(e.to_string()),
        }
        let bytes = match files::read(&path) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(e) => return damaged(e.to_string()),
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => return damaged(e.to_string()),
        };
        match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Cache::Text(text),
            Err(e) => damaged(e.to_string()),
        }
    }

    /// Saves a target's digests (JSON), replacing the last ones.
    pub fn save_digest_cache(&self, target: &Target, text: &str) -> Result<(), Failure> {
        let path = self.digest_path(target);
        files::replace(&path, text.as_bytes())
            .map_err(|e| of_io("save the digest cache", &path, &e))
    }

    /// Where the pin of the cluster's CA is.
    pub fn cluster_ca_path(&self) -> PathBuf {
        self.path.join("cluster-ca.sha256")
    }

    /// The cluster's CA that was seen first: sha256 of its certificate as PEM.
    pub fn cluster_ca(&self) -> Result<Option<String>, Failure> {
        let path = self.cluster_ca_path();
        let found = files::read(&path).map_err(|e| of_io("read", &path, &e))?;
        let Some(bytes) = found else { return Ok(None) };
        let text = String::from_utf8(bytes).unwrap_or_default();
        match text.trim_end() {
            pin if pin.len() == 64 && pin.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Some(pin.to_owned()))
            }
            _ => Err(Failure::new(format!(
                "the pin of the cluster's CA {} is damaged",
                path.display()
            ))
            .hint("write `ca_sha256` below [cluster] of the inventory, then remove the file")),
        }
    }

    /// Remembers the cluster's CA.
    pub fn save_cluster_ca(&self, digest: &str) -> Result<(), Failure> {
        let path = self.cluster_ca_path();
        files::replace(&path, format!("{digest}\n").as_bytes())
            .map_err(|e| of_io("save the pin of the cluster's CA", &path, &e))
    }

    /// Forgets it: that cluster is no more.
    pub fn forget_cluster_ca(&self) -> Result<(), Failure> {
        let path = self.cluster_ca_path();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(of_io("remove the pin of the cluster's CA", &path, &error))
            }
            _ => Ok(()),
        }
    }

    fn digest_path(&self, target: &Target) -> PathBuf {
        let name = match target {
            Target::Node(name) => format!("node.{}", file_name(name.as_str())),
            Target::Cluster => "cluster".into(),
            Target::Controller => "controller".into(),
        };
        self.path.join(format!("digests.{name}.json"))
    }
}

pub(super) fn of_io(doing: &str, path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space on its file system"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount its file system for writing, or name a folder that can be written with --state-dir"
        }
        io::ErrorKind::PermissionDenied => {
            "run as the user it belongs to, or name a folder of this user with --state-dir"
        }
        _ => "see that its folder exists and is sound",
    };
    Failure::new(format!("cannot {doing} {}: {error}", path.display())).hint(hint)
}

fn of_somebody_else(path: &Path, found: &Metadata, user: u32) -> Failure {
    let message = format!(
        "{} belongs to user id {}, and this is user id {user}",
        path.display(),
        found.uid()
    );
    Failure::new(message).hint(
        "run hmco-boot as the user it belongs to (not through sudo), or name a folder of this user with --state-dir",
    )
}

fn open_to_others(path: &Path, found: &Metadata) -> Failure {
    let message = format!(
        "others can write to {} (mode {:04o})",
        path.display(),
        found.mode() & 0o7777
    );
    Failure::new(message).hint(format!(
        "see that all files in it are yours, then `chmod go-w {}`",
        path.display()
    ))
}

/// A node's name as part of a file's name: what is not plain is escaped, so that no two names share a file.
fn file_name(name: &str) -> String {
    if name.len() > 64 {
        return format!("%{}", hex(&Sha256::digest(name.as_bytes())));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let escape = |byte: u8| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    name.bytes().map(escape).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_key(text: &[u8]) -> Option<[u8; 32]> {
    let digits = text.strip_suffix(b"\n")?;
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}
