//! One value of a loaded store opened, and held to its header: this store, this name, these readers.

use super::cipher::{self, OpenError, Opened};
use super::document::{Document, Placed};
use super::load::Loaded;
use super::manifest::Line;
use super::name::{SecretName, unknown};
use super::recipients;
use crate::model::outcome::Failure;

impl Loaded {
    /// The failure for a name that is not there.
    pub fn unknown(&self, name: &SecretName) -> Failure {
        let names = self.entries.iter().map(|entry| entry.name.as_str());
        unknown(name.as_str(), names)
    }

    /// The place of a value.
    pub fn placed(&self, name: &SecretName) -> Option<(&Document, &Placed)> {
        let document = self.documents.get(name.file())?;
        Some((document, document.value(name)?))
    }

    /// The sealed line of a value, where one line is the one.
    pub fn line(&self, value: &Placed) -> Option<&Line> {
        let mut lines = self.manifest.lines.iter();
        lines.find(|line| line.name == value.name && line.digest == value.digest)
    }

    /// Opens a value and holds it to its header.
    pub fn open(&self, document: &Document, value: &Placed) -> Result<Opened, Failure> {
        let refused = |why: &str, hint: String| {
            Failure::new(format!("{}: {why}", value.name))
                .evidence(format!("{}, line {}", document.shown(), value.line))
                .hint(hint)
        };
        let back = format!(
            "take it back from git (git log -- {0}), or set it again: hmco-boot secrets set {1}",
            document.shown(),
            value.name
        );
        let opened = match cipher::decrypt(&value.armored, &self.identities) {
            Ok(opened) => opened,
            Err(OpenError::NotOurs) => {
                return Err(refused(
                    &OpenError::NotOurs.to_string(),
                    self.who_reads(value),
                ));
            }
            Err(error) => return Err(refused(&error.to_string(), back)),
        };
        let header = &opened.header;
        let name = value.name.as_str();
        if header.store != self.manifest.store {
            let why = format!("it was encrypted for another store ({})", header.store);
            return Err(refused(&why, back));
        }
        if header.name != name {
            let why = format!(
                "it was encrypted as {}, and put here under another name",
                header.name
            );
            return Err(refused(&why, back));
        }
        if header.readers.len() != opened.keys {
            let why = format!(
                "its header names {} readers, and {} keys open it",
                header.readers.len(),
                opened.keys
            );
            return Err(refused(
                &why,
                format!("encrypt it anew: hmco-boot secrets set {name}"),
            ));
        }
        match self.line(value) {
            Some(line) if line.readers != header.readers => Err(refused(
                "its header names other readers than the list of secrets",
                format!("encrypt it anew: hmco-boot secrets set {name}"),
            )),
            _ => Ok(opened),
        }
    }

    /// What to do where none of the identities opens a value.
    fn who_reads(&self, value: &Placed) -> String {
        let readers = self
            .line(value)
            .map(|line| line.readers.as_slice())
            .unwrap_or_default();
        let names: Vec<String> = readers.iter().map(|one| self.reader_name(*one)).collect();
        if names.is_empty() {
            "use the identity of a reader: --identity FILE".into()
        } else {
            format!(
                "its readers are {}: use the identity of one of them (--identity FILE), or ask one to re-key it",
                names.join(", ")
            )
        }
    }

    /// The name of a reader, where it is known.
    pub fn reader_name(&self, fingerprint: recipients::Fingerprint) -> String {
        let listed = self.recipients.by_fingerprint(fingerprint);
        let seen = self.seen.as_ref().and_then(|seen| seen.reader(fingerprint));
        match listed.map(|one| one.name.as_str()).or(seen) {
            Some(name) => name.to_owned(),
            None => fingerprint.to_string(),
        }
    }
}
