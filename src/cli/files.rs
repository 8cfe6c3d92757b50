//! Reading and writing the few files that commands are handed by name or leave in a project.

#![expect(
    clippy::disallowed_methods,
    reason = "the only place of the command line that writes into a project"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use crate::steps::shared::digest;

/// Writes a file that must not be there yet ([`io::ErrorKind::AlreadyExists`]), and its folders; no half of it is left
/// behind.
pub fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file would be taken for a whole one. Where even removing fails, the error that is returned says enough.
        fs::remove_file(path).ok();
    }
    written
}

/// A file that only its owner may read, written beside the place of another and renamed to it in the end; what does not come so far
/// is not left behind.
struct Beside {
    path: PathBuf,
    beside: PathBuf,
    file: File,
}

impl Beside {
    fn begin(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .inspect_err(|_| {
                // One that a process of the same number left is in the way no second time.
                fs::remove_file(&beside).ok();
            })?;
        let path = path.to_owned();
        Ok(Self { path, beside, file })
    }

    fn end(self) -> io::Result<()> {
        fs::rename(&self.beside, &self.path)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Ended, it has another name.
        fs::remove_file(&self.beside).ok();
    }
}

/// Writes a file that only its owner may read, whole or not at all: beside it, then renamed over it.
pub fn replace_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = Beside::begin(path)?;
    new.file.write_all(text)?;
    new.file.sync_all()?;
    new.end()
}

/// A file that comes in pieces, which only its owner may read, in a folder that only its owner may look into. It is there in the
/// end whole or not at all.
pub struct Pieces(Beside);

impl Pieces {
    /// Begins it, and makes its folder.
    pub fn begin(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        Beside::begin(path).map(Self)
    }

    /// The next bytes.
    pub fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0.file.write_all(piece)
    }

    /// Ends it, and reads it back: what lies on the disk has this sha256.
    pub fn end(self, sha256: &str) -> io::Result<()> {
        self.0.file.sync_all()?;
        let mut sum = sha2::Sha256::new();
        let mut back = BufReader::with_capacity(1 << 16, File::open(&self.0.beside)?);
        loop {
            let piece = back.fill_buf()?;
            let length = piece.len();
            if length == 0 {
                break;
            }
            sum.update(piece);
            back.consume(length);
        }
        match digest::hex(&sum.finalize()) == sha256 {
            true => self.0.end(),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what was read back is not what was written",
            )),
        }
    }
}

/// A file, to be read in pieces.
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Writes a file that only its owner may read, and its folder where there is none; a symbolic link stays one.
pub fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    replace_private(&path, text)
}

/// Writes a file that must still hold `old` ([`io::ErrorKind::InvalidData`] where it does not), whole or not at all: beside
/// it, then renamed over it, with the mode it has. A symbolic link stays one.
pub fn replace_if_same(path: &Path, old: &str, new: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let same = || -> io::Result<()> {
        if fs::read(&path)? == old.as_bytes() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "somebody else changed it meanwhile",
        ))
    };
    same()?;
    let mode = fs::metadata(&path)?.permissions();
    let mut made = Beside::begin(&path)?;
    made.file.set_permissions(mode)?;
    made.file.write_all(new.as_bytes())?;
    made.file.sync_all()?;
    same()?;
    made.end()
}

/// Reads a text file.
pub fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_only_while_it_is_as_it_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        replace_if_same(&link, "old", "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.is_symlink());
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let error = replace_if_same(&file, "old", "newer").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_comes_in_pieces_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a");
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let make = |end: &[u8]| {
            let mut pieces = Pieces::begin(&path).unwrap();
            pieces.add(b"a").unwrap();
            pieces.add(end).unwrap();
            pieces.end(sum)
        };
        assert!(make(b"cc").is_err());
        drop(Pieces::begin(&path).unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        make(b"bc").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
