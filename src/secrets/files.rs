//! File operations of the encrypted tree as a seam of their own: a test can make any one of them the last.
#![expect(
    clippy::disallowed_methods,
    reason = "adapter: the files of the tree are read and written here"
)]

use std::io;
use std::path::Path;

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
}
