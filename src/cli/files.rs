//! Writing the few files that commands leave in a project.

#![expect(
    clippy::disallowed_methods,
    reason = "the only place of the command line that writes into a project"
)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

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
