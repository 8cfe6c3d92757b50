//! One file of values as text: what is in it and where, and edits that leave everything else in it alone. So one value
//! changed is only that value's lines changed, comments and layout and line ends stay, and git merges value by value.
//!
//! Two things git cannot merge by itself: one value changed on both sides, and two new values put into the same gap. New
//! values go into the order of the names, so that the second is rare.

mod edit;
mod read;

use std::ops::Range;

use super::keys;
use super::name::SecretName;
use crate::model::outcome::Failure;

/// A file of values.
#[derive(Clone, Debug)]
pub struct Document {
    stem: String,
    shown: String,
    text: String,
    values: Vec<Placed>,
    tables: Vec<Header>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its name.
    pub name: SecretName,
    /// The line of its key, from 1.
    pub line: usize,
    /// The ciphertext, lines ended by `\n`, nothing around it.
    pub armored: String,
    /// `sha256:` and the hex digest of that.
    pub digest: String,
    /// The string in the text, with its quotes.
    value: Range<usize>,
    /// Where its line begins.
    start: usize,
    /// What stands in the line before its last key: indentation, keys with dots.
    before: String,
    /// In an inline table: it can be replaced there, not removed.
    inline: bool,
}

/// The header of a table.
#[derive(Clone, Debug)]
struct Header {
    path: Vec<String>,
    span: Range<usize>,
}

/// One edit of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// This ciphertext under this name, new or not.
    Set(SecretName, String),
    /// Nothing under this name any more.
    Remove(SecretName),
}

impl Document {
    /// A file that is still to be made. `stem` is its name without `.toml`, `shown` as a user can open it.
    pub fn empty(stem: &str, shown: &str) -> Self {
        Self {
            stem: stem.to_owned(),
            shown: shown.to_owned(),
            text: String::new(),
            values: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// All that is not as values are written, each with its line. None of it is shown: it may be a secret.
    pub fn parse(stem: &str, shown: &str, bytes: &[u8]) -> Result<Self, Failure> {
        read::read(stem, shown, bytes)
    }

    /// The values, as the file has them.
    pub fn values(&self) -> &[Placed] {
        &self.values
    }

    /// The value of a name.
    pub fn value(&self, name: &SecretName) -> Option<&Placed> {
        self.values.iter().find(|value| value.name == *name)
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file, as a user can open it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether nothing is left in it that a person wrote.
    pub fn is_blank(&self) -> bool {
        self.values.is_empty() && !self.text.contains('#')
    }

    /// With these edits, read again and compared with what was meant.
    ///
    /// # Errors
    ///
    /// A name that cannot stand in this file as it is laid out.
    pub fn edited(&self, edits: &[Edit]) -> Result<Self, Failure> {
        edit::edited(self, edits)
    }
}

/// A ciphertext with lines ended by `\n` and nothing around it: what digests are made of.
fn normal(armored: &str) -> String {
    let mut text = armored.trim().replace("\r\n", "\n");
    text.push('\n');
    text
}

/// The digest of a ciphertext, whatever its line ends.
pub fn digest_of(armored: &str) -> String {
    keys::digest(normal(armored).as_bytes())
}

#[cfg(test)]
mod tests;
