//! The only part of the configuration that touches the disk: finds a project's folder and reads its files. What they
//! mean is [`super::project`]'s.
#![expect(
    clippy::disallowed_methods,
    reason = "the adapter of the configuration: all reading happens here"
)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::files::{FileError, Files, MAX_BYTES};
use super::project::{self, Loaded, Options};

/// Folders inside folders deeper than this are refused.
const MAX_DEPTH: usize = 16;

/// Loads the project at or above `start`; with `exact`, `start` itself is the project (`--project DIR`). Relative paths
/// in `options` are relative to `start`.
pub fn load_project(start: &Path, exact: bool, options: &Options) -> Loaded {
    let root = if exact {
        Some(start.to_owned())
    } else {
        find_project(start)
    };
    let Some(root) = root else {
        return project::without_project(start, options);
    };
    let mut options = options.clone();
    if let Some(inventory) = options.inventory.take() {
        // Given relative to the folder the user is in; named relative to the project where it lies in it.
        let given = start.join(inventory);
        let inside = match (given.canonicalize(), root.canonicalize()) {
            (Ok(given), Ok(root)) => given.strip_prefix(root).ok().map(Path::to_owned),
            _ => given.strip_prefix(&root).ok().map(Path::to_owned),
        };
        options.inventory = Some(inside.unwrap_or(given).to_string_lossy().into_owned());
    }
    let files = DiskFiles { root: root.clone() };
    project::load_from(&files, Some(root), &options)
}

/// The nearest folder at or above `start` that has a folder `inventory`.
pub fn find_project(start: &Path) -> Option<PathBuf> {
    let start = start.canonicalize().unwrap_or_else(|_| start.to_owned());
    start
        .ancestors()
        .find(|folder| folder.join("inventory").is_dir())
        .map(Path::to_owned)
}

/// A project's folder on disk.
#[derive(Clone, Debug)]
pub struct DiskFiles {
    /// The folder.
    pub root: PathBuf,
}

impl Files for DiskFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let path = self.root.join(path);
        // Looked at before it is opened: opening a FIFO would wait for a writer.
        let meta = fs::metadata(&path).map_err(file_error)?;
        if !meta.is_file() {
            return Err(FileError::NotAFile);
        }
        if meta.len() > MAX_BYTES {
            return Err(FileError::TooLarge(meta.len()));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(file_error)?;
        // One byte more than allowed tells a file that grew meanwhile.
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(file_error)?;
        match u64::try_from(bytes.len()) {
            Ok(size) if size <= MAX_BYTES => Ok(bytes),
            _ => Err(FileError::TooLarge(MAX_BYTES + 1)),
        }
    }

    fn list(&self, folder: &str) -> (Vec<String>, Vec<(String, FileError)>) {
        let mut found = Listing::default();
        if fs::symlink_metadata(self.root.join(folder)).is_ok() {
            found.folder(&self.root, folder, &mut Vec::new());
        }
        found.files.sort();
        (found.files, found.errors)
    }
}

#[derive(Default)]
struct Listing {
    files: Vec<String>,
    errors: Vec<(String, FileError)>,
}

impl Listing {
    /// Adds what is below `folder`; `above` are the real paths of the folders around it.
    fn folder(&mut self, root: &Path, folder: &str, above: &mut Vec<PathBuf>) {
        let entries = match root.join(folder).canonicalize() {
            Ok(real) if above.contains(&real) => Err(FileError::SymlinkLoop),
            Ok(_) if above.len() >= MAX_DEPTH => Err(FileError::Io(format!(
                "folders are nested deeper than {MAX_DEPTH}"
            ))),
            Ok(real) => {
                above.push(real);
                fs::read_dir(root.join(folder)).map_err(file_error)
            }
            Err(error) => Err(file_error(error)),
        };
        match entries {
            Ok(entries) => {
                for entry in entries {
                    self.entry(root, folder, entry, above);
                }
                above.pop();
            }
            Err(error) => self.errors.push((folder.to_owned(), error)),
        }
    }

    fn entry(
        &mut self,
        root: &Path,
        folder: &str,
        entry: std::io::Result<fs::DirEntry>,
        above: &mut Vec<PathBuf>,
    ) {
        let name = match entry {
            Ok(entry) => entry.file_name().to_string_lossy().into_owned(),
            Err(error) => return self.errors.push((folder.to_owned(), file_error(error))),
        };
        // Editors' backups and version control are no part of a project.
        if name.starts_with('.') || name.ends_with('~') {
            return;
        }
        let path = format!("{folder}/{name}");
        match fs::metadata(root.join(&path)) {
            Ok(meta) if meta.is_dir() => self.folder(root, &path, above),
            Ok(_) => self.files.push(path),
            Err(error) => self.errors.push((path, file_error(error))),
        }
    }
}

fn file_error(error: std::io::Error) -> FileError {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return FileError::SymlinkLoop;
    }
    match error.kind() {
        std::io::ErrorKind::NotFound => FileError::Missing,
        _ => FileError::Io(error.to_string()),
    }
}
