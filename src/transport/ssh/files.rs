//! The files that say how machines are reached: ssh_config, known_hosts, keys. A seam, so that the rules are tried without
//! a disk.

#![expect(
    clippy::disallowed_methods,
    reason = "the adapter that reads the caller's SSH files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::config::glob_matches;

/// No file of SSH is larger; known_hosts of a whole university is a few MiB.
const MAX_BYTES: u64 = 32 << 20;

/// Where the files are read.
pub trait Files: Send + Sync {
    /// The text of a file; bytes that are no UTF-8 are replaced.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Names in a folder; none where it cannot be read.
    fn names(&self, folder: &Path) -> Vec<String>;

    /// Whether there is something at a path.
    fn exists(&self, path: &Path) -> bool;

    /// The paths that a pattern of a shell means, sorted: `*`, `?` and `[...]` in each part.
    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::new()];
        for part in pattern.components() {
            let part = part.as_os_str().to_string_lossy();
            let is_pattern = part.contains(['*', '?', '[']);
            found = found
                .into_iter()
                .flat_map(|folder| {
                    if !is_pattern {
                        return vec![folder.join(&*part)];
                    }
                    let mut names = self.names(&folder);
                    names.retain(|name| glob_matches(&part, name));
                    names.sort();
                    names.into_iter().map(|name| folder.join(name)).collect()
                })
                .collect();
        }
        found.retain(|path| self.exists(path));
        found
    }
}

/// The disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        // Looked at before it is opened: opening a FIFO would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(path)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_BYTES) {
            return Err(io::Error::other("it is larger than 32 MiB"));
        }
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// Files in memory, by path.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, String>);

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let below = self
            .0
            .keys()
            .filter_map(|path| path.strip_prefix(folder).ok());
        let mut names: Vec<String> = below
            .filter_map(|path| path.components().next())
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        names.dedup();
        names
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.keys().any(|known| known.starts_with(path))
    }
}
