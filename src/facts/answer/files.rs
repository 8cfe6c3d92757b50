//! Files: what is at a path, and what is in it.

use serde::{Deserialize, Serialize};

/// What is at a path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileStat {
    /// Regular file, folder, link ...
    pub kind: FileKind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner's number and name (the number as text where it has none).
    pub uid: u32,
    /// See `uid`.
    pub user: String,
    /// Group's number and name.
    pub gid: u32,
    /// See `gid`.
    pub group: String,
    /// In bytes.
    pub size: u64,
    /// Hard links.
    pub links: u64,
    /// Identity and times as one opaque text: equal texts = same device, inode, size, mtime and ctime.
    pub identity: String,
    /// Text of the link, where it is one.
    pub link_target: Option<String>,
}

/// The type of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or FIFO.
    Special,
}

/// A file's bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// sha256 of the bytes in lowercase hex.
    pub sha256: String,
    /// The bytes; `None` where the digest was the one named in the question.
    pub bytes: Option<Vec<u8>>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Content({} bytes)",
            self.bytes.as_ref().map_or(0, Vec::len)
        )
    }
}
