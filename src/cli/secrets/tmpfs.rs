//! Folders for plaintext that must be a file for a moment: in memory only (tmpfs), for this user alone, gone with the
//! command; and where the command was killed, gone at the next start.
//!
//! Such a folder is `hmco-boot-plain.PID.RANDOM` in `$XDG_RUNTIME_DIR` or `/dev/shm`. It holds a file `.lock` that is
//! locked while its command lives, so a folder whose lock can be taken has been left behind. What memory holds may still
//! be swapped out: that is the machine's own matter.

#![expect(
    clippy::disallowed_methods,
    reason = "makes, fills, reads and removes folders in memory"
)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::cli::environment::Environment;
use crate::model::outcome::Failure;

const PREFIX: &str = "hmco-boot-plain.";
const LOCK: &str = ".lock";

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of linux/magic.h.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// A folder in memory, for this user alone; removed with all that is in it when dropped.
pub struct Folder {
    path: PathBuf,
    /// Held while this process lives.
    _lock: File,
}

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// No place of this user is in memory: then nothing is written anywhere.
    pub fn new(env: &dyn Environment) -> Result<Self, Failure> {
        let mut failure = Failure::new("there is no place in memory for plaintext")
            .hint("mount a tmpfs on /dev/shm, or set XDG_RUNTIME_DIR to one of this user; on a disk it could be found again");
        for base in bases(env) {
            match is_in_memory(&base) {
                Ok(true) => match make(&base) {
                    Ok(folder) => return Ok(folder),
                    Err(error) => {
                        failure = failure.evidence(format!("{}: {error}", base.display()))
                    }
                },
                Ok(false) => failure = failure.evidence(format!("{}: not a tmpfs", base.display())),
                Err(error) => failure = failure.evidence(format!("{}: {error}", base.display())),
            }
        }
        Err(failure)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in it, for this user alone.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(bytes)?;
        Ok(path)
    }

    /// Reads a file of it.
    pub fn read(&self, name: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut file = File::open(self.path.join(name))?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is swept at the next start.
        fs::remove_dir_all(&self.path).ok();
    }
}

fn bases(env: &dyn Environment) -> Vec<PathBuf> {
    let runtime = env.var("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute());
    runtime
        .into_iter()
        .chain([PathBuf::from("/dev/shm")])
        .collect()
}

fn is_in_memory(path: &Path) -> io::Result<bool> {
    let about = rustix::fs::statfs(path)?;
    Ok(u64::try_from(about.f_type).is_ok_and(|kind| IN_MEMORY.contains(&(kind & 0xffff_ffff))))
}

fn make(base: &Path) -> io::Result<Folder> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let random = u64::from_le_bytes(random);
    let path = base.join(format!("{PREFIX}{}.{random:016x}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&path)?;
    let locked = || {
        // Under another name until it is locked: who sees `.lock` may try to take it.
        let beside = path.join(".lock.new");
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(&beside, path.join(LOCK))?;
        Ok(lock)
    };
    match locked() {
        Ok(lock) => Ok(Folder { path, _lock: lock }),
        Err(error) => {
            fs::remove_dir_all(&path).ok();
            Err(error)
        }
    }
}

/// Removes what killed commands of this user left behind; says how many folders that were.
pub fn sweep(env: &dyn Environment) -> usize {
    let user = rustix::process::geteuid().as_raw();
    let mut swept = 0;
    for entry in bases(env)
        .iter()
        .filter_map(|base| fs::read_dir(base).ok())
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let path = entry.path();
        let own =
            fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir() && about.uid() == user);
        if own && is_left_behind(&path, rest) && fs::remove_dir_all(&path).is_ok() {
            swept += 1;
        }
    }
    swept
}

fn is_left_behind(path: &Path, rest: &str) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        // Killed before it was locked, or about to be.
        Err(_) => rest
            .split('.')
            .next()
            .is_some_and(|pid| !Path::new("/proc").join(pid).exists()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn env(path: &Path) -> BTreeMap<String, OsString> {
        BTreeMap::from([("XDG_RUNTIME_DIR".to_owned(), path.as_os_str().to_owned())])
    }

    #[test]
    fn a_folder_is_in_memory_for_its_user_alone_and_gone_when_dropped() {
        let none = BTreeMap::<String, OsString>::new();
        let folder = Folder::new(&none).unwrap();
        let path = folder.path().to_path_buf();
        assert!(is_in_memory(&path).unwrap());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let file = folder.write("a", b"plain").unwrap();
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(*folder.read("a").unwrap(), b"plain");
        // Its command lives.
        assert!(!is_left_behind(
            &path,
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .strip_prefix(PREFIX)
                .unwrap()
        ));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_disk_is_no_place_for_plaintext() {
        assert!(!is_in_memory(Path::new("/proc")).unwrap());
        assert!(is_in_memory(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn what_a_killed_command_left_is_swept_and_nothing_else_is() {
        let base = tempfile::tempdir_in("/dev/shm").unwrap();
        let left = make(base.path()).unwrap();
        left.write("token", b"plain").unwrap();
        let path = left.path().to_path_buf();
        let alive = make(base.path()).unwrap();
        // As a kill would: the lock goes, the folder stays.
        let Folder { .. } = &left;
        let kept = path.with_extension("kept");
        fs::rename(&path, &kept).unwrap();
        drop(left);
        fs::rename(&kept, &path).unwrap();
        let never_locked = base.path().join(format!("{PREFIX}4294967295.0"));
        fs::create_dir(&never_locked).unwrap();
        fs::create_dir(base.path().join("other")).unwrap();
        sweep(&env(base.path()));
        assert!(!path.exists() && !never_locked.exists());
        assert!(alive.path().exists() && base.path().join("other").exists());
    }
}
