//! File operations of the encrypted tree as a seam of their own: a test can make any one of them the last.
#![expect(
    clippy::disallowed_methods,
    reason = "adapter: the files of the tree are read and written here"
)]

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What keeps others from writing while it lives.
pub type Held = Box<dyn Send + Sync>;

/// The few operations that the tree is read and written with. Each is one step that a crash may come before or after.
pub trait Files: Send + Sync {
    /// A file's bytes; `None` where there is none.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// The names in a folder, sorted; none where there is no folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder (and those above it) where there is none, with this mode.
    fn make_folder(&self, folder: &Path, mode: u32) -> io::Result<()>;
    /// Writes a file whole, in place of what was there, with this mode. Not on the disk before [`Files::sync_file`].
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;
    /// Waits until a file's bytes are on the disk.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Waits until a folder's names are on the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; none there is well.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder; none there is well.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
    /// Takes the lock of this path for this process; `None` where somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Held>>;
    /// The path without links in it, where it leads somewhere.
    fn real_path(&self, path: &Path) -> PathBuf;
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

/// "Not there" as a value.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        there(fs::read(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in there(fs::read_dir(folder))?.into_iter().flatten() {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn make_folder(&self, folder: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(mode).create(folder)
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?
            .write_all(bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        there(fs::remove_file(path)).map(drop)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        there(fs::remove_dir(folder)).map(drop)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Held>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn real_path(&self, path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }
}
