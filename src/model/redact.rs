//! The redactor: knows the values that must never be shown, and takes them out of everything that is.
//!
//! One per process. A value is registered before it is used; from then on every event (before it is recorded or shown),
//! log line, error, difference, JSON text and panic message goes through it. What is found becomes `<secret NAME>`, or
//! `<secret>` where the value has no name (it was read from a file of a target).
//!
//! # What is found
//!
//! Each value as it is, and escaped for JSON, Rust, URLs, shells and terminals, in hexadecimal, and in base64 (standard and
//! URL alphabet) at its three alignments, alone also in lines of 64 and 76 characters; of several lines also each line of 8
//! characters or more by itself. Values at a place where two texts meet are found where the texts are given to one
//! [`Chunks`]. The first [`FRAGMENT`] or more bytes of a form are found without the rest, because what shows texts may cut
//! them.
//!
//! # What is not
//!
//! Blanks around a value are no part of it. Values under [`SHORTEST`] characters are not registered: they are in every
//! text. Those under [`SHORT`] are found as words of their own only. Of a value over [`WHOLE`] bytes the first and the last
//! [`PART`] are known in every form, and its lines as they are, up to [`LINES`] bytes. What a program makes of a value in
//! another way (encryption, compression, letters in another order) is not known to anybody.
//!
//! The copies of values in here are zeroed when they go, except those inside the automaton that looks for them.

mod chunks;
mod events;
mod forms;
mod json;
mod matcher;
mod sensitive;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use zeroize::Zeroize as _;

pub use chunks::Chunks;
pub use forms::{LINES, PART, SHORT, SHORTEST, WHOLE};
pub use matcher::FRAGMENT;

use matcher::{Matcher, Pattern};

/// Finds registered values in texts and puts their names there. A clone is the same redactor.
#[derive(Clone, Default)]
pub struct Redactor {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Something is registered. Where nothing is, this is all that is looked at.
    any: AtomicBool,
    known: Mutex<Known>,
    matcher: RwLock<Arc<Matcher>>,
}

/// What is registered: each form of each value, and whose it is.
#[derive(Default)]
struct Known {
    names: Vec<String>,
    forms: BTreeMap<Vec<u8>, Pattern>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(<secrets>)")
    }
}

impl Redactor {
    /// Registers a value under the name of its secret; an empty name stands for none.
    pub fn register(&self, name: &str, value: &[u8]) {
        self.register_all([(name, value)]);
    }

    /// Registers values, `(name, value)`.
    pub fn register_all<'v>(&self, values: impl IntoIterator<Item = (&'v str, &'v [u8])>) {
        let mut known = self
            .inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut news = false;
        for (name, value) in values {
            news |= known.add(name, value);
        }
        if !news {
            return;
        }
        let matcher = Arc::new(Matcher::new(&known.names, &known.forms));
        *self
            .inner
            .matcher
            .write()
            .unwrap_or_else(PoisonError::into_inner) = matcher;
        self.inner.any.store(true, Ordering::Release);
    }

    /// Registers what a file of a target holds that looks secret: it was read where secrets lie, and has no name here.
    pub fn register_file(&self, content: &[u8]) {
        let found = sensitive::values(content);
        self.register_all(found.iter().map(|value| ("", *value)));
    }

    /// Whether nothing is registered.
    pub fn is_empty(&self) -> bool {
        !self.inner.any.load(Ordering::Acquire)
    }

    /// The text without values.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(into_text(bytes)),
        }
    }

    /// The bytes without values.
    pub fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        match self.matcher() {
            Some(matcher) => matcher.redacted(bytes),
            None => Cow::Borrowed(bytes),
        }
    }

    /// The same for the end of a text whose beginning was cut off: it may begin in the middle of a value.
    pub fn tail<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(matcher) = self.matcher() else {
            return Cow::Borrowed(text);
        };
        let cut = matcher.rest_of_one(text.as_bytes());
        let cut = text.ceil_char_boundary(cut);
        if cut == 0 {
            return self.text(text);
        }
        let rest = self.text(text.get(cut..).unwrap_or_default());
        Cow::Owned(format!("<secret>{rest}"))
    }

    /// The name of a value that the text holds; `Some("")` for one without a name.
    pub fn finds(&self, text: &str) -> Option<String> {
        self.matcher()?.first(text.as_bytes())
    }

    /// For a text that comes in pieces.
    pub fn chunks(&self) -> Chunks {
        Chunks::new(self.clone())
    }

    fn matcher(&self) -> Option<Arc<Matcher>> {
        if self.is_empty() {
            return None;
        }
        let matcher = self
            .inner
            .matcher
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Some(matcher.clone())
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        for (mut form, _) in std::mem::take(&mut self.forms) {
            form.zeroize();
        }
    }
}

impl Known {
    /// Whether anything of it was not known.
    fn add(&mut self, name: &str, value: &[u8]) -> bool {
        let forms = forms::of(value);
        if forms.is_empty() {
            return false;
        }
        let index = match self.names.iter().position(|known| known == name) {
            Some(index) => index,
            None => {
                self.names.push(name.to_owned());
                self.names.len() - 1
            }
        };
        let mut news = false;
        for mut form in forms {
            let bytes = std::mem::take(&mut *form.bytes);
            let new = Pattern {
                name: index,
                word: form.word,
            };
            let Some(known) = self.forms.get_mut(&bytes) else {
                self.forms.insert(bytes, new);
                news = true;
                continue;
            };
            // A value with a name tells more than one without.
            let unnamed = self.names.get(known.name).is_some_and(String::is_empty);
            let better = Pattern {
                name: if unnamed { index } else { known.name },
                word: known.word && new.word,
            };
            news |= *known != better;
            *known = better;
        }
        news
    }
}

/// A value may be any bytes, and what is around it in a text is one still.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
