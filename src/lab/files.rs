//! Files of a lab: written whole or not at all, with their mode and owner.

#![expect(
    clippy::disallowed_methods,
    reason = "the lab's own files and those it puts into its nodes"
)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use crate::model::outcome::Failure;

/// A path's error as people meet it.
pub fn io_failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot {what} {}: {error}", path.display()));
    match error.kind() {
        ErrorKind::StorageFull => failure.hint("make room on that file system, then repeat"),
        _ => failure,
    }
}

/// inotify instances that processes of this machine have open.
pub fn inotify_instances() -> usize {
    let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let processes = folders(Path::new("/proc"));
    let open = processes.flat_map(|process| folders(&process.path().join("fd")));
    // A process may end meanwhile.
    open.filter_map(|file| fs::read_link(file.path()).ok())
        .filter(|target| target.as_os_str() == "anon_inode:inotify")
        .count()
}

/// Makes a folder, and those above it, that others may not look into.
pub fn private_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| io_failure("make", path, &error))
}

/// Makes a folder, and those above it.
pub fn folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| io_failure("make", path, &error))
}

/// Makes a folder of a node with an owner (user and group of one number).
pub fn owned_folder(path: &Path, mode: u32, owner: u32) -> Result<(), Failure> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .and_then(|()| chown(path, Some(owner), Some(owner)))
        .map_err(|error| io_failure("make", path, &error))
}

/// Writes a file: beside it, synchronised, then renamed over it.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    write_owned(path, text, mode, None)
}

/// Writes a file that belongs to a user (and group) of this number.
pub fn write_owned(path: &Path, text: &str, mode: u32, owner: Option<u32>) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // Left by a process of the same number that died: nobody else makes such a name.
    fs::remove_file(&beside).ok();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            if let Some(owner) = owner {
                chown(&beside, Some(owner), Some(owner))?;
            }
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        fs::remove_file(&beside).ok();
    }
    written.map_err(|error| io_failure("write", path, &error))
}

/// Reads a text file; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failure("read", path, &error)),
    }
}

/// Reads what is there, for evidence and for files of the kernel that may vanish: nothing where it cannot be read.
pub fn read_if_any(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The names in a folder, in order; none where there is no such folder.
pub fn names_in(path: &Path) -> Result<Vec<String>, Failure> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_failure("look into", path, &error)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// The names of all that is in a folder, also of what is no text.
pub fn entries(path: &Path) -> Result<Vec<OsString>, Failure> {
    fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(|error| io_failure("look into", path, &error))
}

/// Whether something is there, be it a link to nothing.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether it is a folder, and no link to one.
pub fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Writes a file of which only that it is there counts: that is so at once, or not at all.
pub fn leave_note(path: &Path, text: &str) -> Result<(), Failure> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| io_failure("write", path, &error))
}

/// Removes a file or a folder with all in it; also where there is none.
pub fn remove_any(path: &Path) -> Result<(), Failure> {
    match is_folder(path) {
        true => remove_tree(path),
        false => remove(path),
    }
}

/// Removes a file; also where there is none.
pub fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io_failure("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder with all in it; also where there is none. What it holds must not be mounted from elsewhere.
pub fn remove_tree(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io_failure("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder that is empty; `false` where it is not.
pub fn remove_empty(path: &Path) -> bool {
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Renames.
pub fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(|error| io_failure("rename", from, &error))
}

/// Opens a file to append to, for a program's output. Appending, so that two writers do not write over each other.
pub fn open_log(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| io_failure("write", path, &error))
}

/// Takes the lock of a file; `None` where another process has it. It is free again when the file is dropped, or its
/// process dies.
pub fn try_lock(path: &Path) -> Result<Option<File>, Failure> {
    let failed = |error: &io::Error| io_failure("lock", path, error);
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(&error)),
    }
}

/// Waits for the lock of a file.
pub fn lock(path: &Path) -> Result<File, Failure> {
    let file = open_lock(path)?;
    file.lock()
        .map_err(|error| io_failure("lock", path, &error))?;
    Ok(file)
}

fn open_lock(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| io_failure("open", path, &error))
}

/// Whether an open file still has a name.
pub fn is_linked(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.nlink() > 0)
}
