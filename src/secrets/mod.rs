//! The `SecretStore` seam: names of secrets, and their values when a step needs them.
//!
//! Who does what below: [`name`] names; [`recipients`], [`identity`] and [`approved`] who may read; [`format`] the header
//! bound into every ciphertext; [`cipher`] age; [`document`] one file of values as text; [`manifest`] the sealed list;
//! [`files`] file operations as a seam of their own, so that every one of them can be the last; [`staging`] several files
//! replaced as one; [`store`] the tree; [`verify`] what is wrong with a tree; [`rekey`] all values for new readers;
//! [`memory`] a store for tests.
//!
//! # What is zeroed
//!
//! [`SecretValue`], the store key and every buffer of this module that held a plaintext. Not zeroed, because other
//! crates own them: the chunk buffers of the age crate (it zeroes its keys, not each 64 KiB of plaintext), the pages of
//! a pipe or file the value came through, and what rendering makes of a value ([`crate::model::sensitive::Text`]). Core
//! dumps are off while the program runs; swap is the machine's own matter.

pub mod approved;
pub mod cipher;
mod create;
pub mod document;
pub mod files;
pub mod format;
pub mod generate;
pub mod identity;
mod inspect;
mod keys;
mod load;
pub mod manifest;
pub mod memory;
pub mod name;
pub mod recipients;
pub mod rekey;
pub mod scan;
mod seen;
mod serve;
mod spread;
pub mod staging;
pub mod store;
pub mod verify;
mod write;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use zeroize::Zeroizing;

use crate::model::outcome::Failure;

/// A secret in the clear: bytes that are zeroed when dropped and that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    bytes: Zeroizing<Vec<u8>>,
    text: bool,
}

impl SecretValue {
    /// A value from bytes: text where they are UTF-8, else binary. Takes the buffer over and zeroes it in the end.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::from_zeroizing(Zeroizing::new(bytes))
    }

    /// As [`SecretValue::new`], from a buffer that is zeroed already when dropped.
    pub fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Self {
        let text = std::str::from_utf8(&bytes).is_ok();
        Self { bytes, text }
    }

    /// The same bytes, as binary whatever they look like.
    #[must_use]
    pub fn into_binary(self) -> Self {
        Self {
            text: false,
            ..self
        }
    }

    /// The bytes, exactly. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// The value as text, where it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        if self.text {
            std::str::from_utf8(&self.bytes).ok()
        } else {
            None
        }
    }

    /// Whether it is text (UTF-8).
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Names and values in the order asked for, or why a store gives none.
pub type Opening<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<(String, SecretValue)>, Failure>> + Send + 'a>>;

/// Where secrets come from.
pub trait SecretStore: Send + Sync {
    /// The names it has, sorted; cheap, opens nothing and asks for no identity. A store that cannot be read has none;
    /// [`SecretStore::open`] says why.
    fn names(&self) -> Vec<String>;

    /// The values of these names, opened now, in the order asked for. One that cannot be opened fails all.
    fn open<'a>(&'a self, names: &'a [String]) -> Opening<'a>;
}
