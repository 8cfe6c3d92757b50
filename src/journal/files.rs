//! Files of the state folder: made whole or not at all, readable by their owner only, there after a power cut.
#![expect(
    clippy::disallowed_methods,
    reason = "adapter: the journal's files are made here"
)]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A new empty file beside `path` under a name of its own, mode 0600 whatever the umask.
pub(super) fn new_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}.new", u64::from_ne_bytes(random)));
    let path = PathBuf::from(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    Ok((file, path))
}

/// Removes a file; that it is not there is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes `path` with this content, replacing what is there, or leaves everything as it was.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (file, new) = new_beside(path)?;
    let done = fill(file, content)
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| sync_folder(path));
    if done.is_err() {
        discard(&new);
    }
    done
}

/// Makes `path` with this content if nothing is there; `false` if something is. Whoever sees the file sees all of it.
pub(super) fn publish(path: &Path, content: &[u8]) -> io::Result<bool> {
    let (file, new) = new_beside(path)?;
    let done = fill(file, content).and_then(|()| link_new(&new, path));
    discard(&new);
    done
}

/// Gives the finished file `new` the name `path` if nothing has it; `false` if something has.
pub(super) fn link_new(new: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(new, path) {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// Removes a file that is of no use any more. Where that fails it is litter, not an error.
pub(super) fn discard(path: &Path) {
    drop(fs::remove_file(path));
}

/// What is there, without following a symlink; `None` where nothing is.
pub(super) fn look(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A file's bytes; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens a file for locking, making it (empty, 0600) where it is not there.
pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Whether another open handle of this file is locked exclusively; of a file that is gone, none is.
pub(super) fn is_locked(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The files of a folder.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| entry.map(|e| e.path())).collect()
}

/// Makes the entries of the folder of `path` survive a power cut.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn fill(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}
