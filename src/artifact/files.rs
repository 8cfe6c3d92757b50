//! The cache folder: where each file is, how it becomes whole at once, and one process at a time per file. Blocking.
//!
//! `sha256/HEX` whole files; `sha256/HEX.part`, `.part.from` what a download has so far and where from; `HEX.lock` held
//! (flock) while it is fetched; `refused/HEX` files that were not what they should be, never used again.

#![expect(
    clippy::disallowed_methods,
    reason = "the adapter for the cache folder and mirror folders"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// The cache folder.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// What tells that a file was not touched since it was hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Held while a file is fetched.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Cache {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the whole file with this sha256 is, if it is there.
    pub fn whole(&self, sha256: &str) -> PathBuf {
        self.folder.join("sha256").join(sha256)
    }

    /// Where a download collects what it has. `key` is a sha256 (of the file, or of a URL nothing is known of yet).
    pub fn part(&self, key: &str) -> PathBuf {
        self.folder.join("sha256").join(format!("{key}.part"))
    }

    /// Makes the folders.
    pub fn prepare(&self) -> io::Result<()> {
        for name in ["sha256", "refused"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(self.folder.join(name))?;
        }
        Ok(())
    }

    /// Takes the right to fetch a file; `None` while another process (or another task of this one) has it.
    pub fn lock(&self, key: &str) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o644)
            .open(self.folder.join("sha256").join(format!("{key}.lock")))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes what was downloaded the whole file: on the disk first, then under its name.
    pub fn keep(&self, part: &Path, sha256: &str) -> io::Result<PathBuf> {
        let whole = self.whole(sha256);
        File::open(part)?.sync_all()?;
        fs::rename(part, &whole)?;
        forget_origin(part)?;
        File::open(self.folder.join("sha256"))?.sync_all()?;
        Ok(whole)
    }

    /// Puts a file aside that is not what it should be; where it is then.
    pub fn refuse(&self, file: &Path, sha256: &str) -> io::Result<PathBuf> {
        let aside = self.folder.join("refused").join(sha256);
        fs::rename(file, &aside)?;
        forget_origin(file)?;
        Ok(aside)
    }
}

/// Size and sha256 of a file.
pub(super) fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, hex(&hasher.finalize())));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        size += count as u64;
    }
}

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The identity of a regular file; `None` where there is none.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Identity {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// The size of a regular file; `None` where there is none.
pub(super) fn size(path: &Path) -> Option<u64> {
    identity(path).map(|identity| identity.size)
}

/// Where the bytes of a part came from, as text; `None` where that was not written.
pub(super) fn origin(part: &Path) -> Option<String> {
    fs::read_to_string(beside(part)).ok()
}

/// Remembers where the bytes of a part come from.
pub(super) fn set_origin(part: &Path, text: &str) -> io::Result<()> {
    fs::write(beside(part), text)
}

fn forget_origin(part: &Path) -> io::Result<()> {
    remove(&beside(part))
}

/// Removes what a download has so far.
pub(super) fn forget(part: &Path) -> io::Result<()> {
    remove(part)?;
    forget_origin(part)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".from");
    PathBuf::from(name)
}
