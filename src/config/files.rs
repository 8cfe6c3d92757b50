//! What the loader needs of a project's folder, so that tests and fuzzing can hand it files in memory.

use std::collections::BTreeMap;

/// Files larger than this are refused: nothing a person writes is.
pub const MAX_BYTES: u64 = 5 * 1024 * 1024;

/// Read access to the files of a project. Paths are relative to the project (or absolute, where a user gave one), with
/// `/` between parts.
pub trait Files {
    /// The bytes of a file; one larger than [`MAX_BYTES`] is refused without being read.
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError>;

    /// Paths of all regular files below a folder (relative to the project, sorted), and what could not be looked at.
    /// A folder that does not exist has none.
    fn list(&self, folder: &str) -> (Vec<String>, Vec<(String, FileError)>);
}

/// Why a file cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no such file")]
    Missing,
    /// Symbolic links that lead back to themselves.
    #[error("its symbolic links lead in a circle")]
    SymlinkLoop,
    /// A device, a socket, a FIFO, a folder.
    #[error("it is not a regular file")]
    NotAFile,
    /// More than [`MAX_BYTES`].
    #[error("it has {0} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge(u64),
    /// Anything else, in the system's words.
    #[error("{0}")]
    Io(String),
}

/// Files in memory.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    /// Path to bytes, or to the error that reading gives.
    pub files: BTreeMap<String, Result<Vec<u8>, FileError>>,
}

impl MemoryFiles {
    /// With one more file.
    #[must_use]
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), Ok(content.into()));
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let bytes = self
            .files
            .get(path)
            .cloned()
            .unwrap_or(Err(FileError::Missing))?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > MAX_BYTES {
            return Err(FileError::TooLarge(size));
        }
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> (Vec<String>, Vec<(String, FileError)>) {
        let inside = |path: &&String| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        (
            self.files.keys().filter(inside).cloned().collect(),
            Vec::new(),
        )
    }
}
