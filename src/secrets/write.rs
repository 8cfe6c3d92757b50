//! A change of a tree put together: values encrypted and opened again, files edited, a new seal; then all of it as one.

use std::collections::BTreeMap;

use super::SecretValue;
use super::approved::Approved;
use super::cipher;
use super::document::{Document, Edit, digest_of};
use super::format::Header;
use super::keys::StoreKey;
use super::load::{Loaded, recipients_digest};
use super::manifest::{self, Line, Manifest};
use super::name::SecretName;
use super::recipients::{self, Fingerprint, Recipient, Recipients};
use super::staging::Batch;
use crate::model::outcome::Failure;

/// Most heirs that are kept: a machine that slept through more re-keys takes the store as it is.
const MOST_HEIRS: usize = 64;

/// A value encrypted anew.
pub(super) struct Sealed {
    pub armored: String,
    pub readers: Vec<Fingerprint>,
}

/// Encrypts a value for those who read its name, and proves that it opens.
pub(super) fn encrypt(
    loaded: &Loaded,
    recipients: &Recipients,
    name: &SecretName,
    value: &SecretValue,
) -> Result<Sealed, Failure> {
    let readers = recipients.readers_of(name);
    let header = Header::new(
        &loaded.manifest.store,
        name.as_str(),
        value.is_text(),
        readers.iter().map(|one| one.fingerprint()),
    );
    let keys: Vec<_> = readers.iter().map(|one| &one.key).collect();
    let armored = cipher::encrypt(&header, value.expose(), &keys)?;
    let opened = cipher::decrypt(&armored, &loaded.identities)
        .map_err(|error| unproven(name, &readers, &error))?;
    if opened.header != header || opened.value != *value || opened.keys != keys.len() {
        return Err(Failure::new(format!(
            "{name} did not come back from its encryption as it went in"
        ))
        .hint("nothing was written; this is a mistake of hmco-boot or of this machine's memory"));
    }
    Ok(Sealed {
        armored,
        readers: header.readers,
    })
}

fn unproven(name: &SecretName, readers: &[&Recipient], error: &cipher::OpenError) -> Failure {
    let names: Vec<&str> = readers.iter().map(|one| one.name.as_str()).collect();
    Failure::new(format!(
        "{name} was not written, because nobody here can prove that it would open: {error}"
    ))
    .evidence(format!("it would be for {}", names.join(", ")))
    .hint("do it with the identity of one of them (--identity FILE), or see [readers] in secrets/recipients.toml")
}

/// Refuses keys that nobody approved on this machine.
pub(super) fn require_approved<'a>(
    approved: &Approved,
    readers: impl IntoIterator<Item = &'a Recipient>,
) -> Result<(), Failure> {
    let missing = approved.missing(readers);
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let names: Vec<&str> = missing.iter().map(|one| one.name.as_str()).collect();
    let mut failure = Failure::new(format!(
        "nothing is encrypted to a key that was not approved on this machine: {}",
        names.join(", ")
    ));
    for one in &missing {
        failure = failure.evidence(format!(
            "{}: {} {}",
            one.name,
            one.key.sort(),
            one.fingerprint()
        ));
    }
    Err(failure.hint(format!(
        "compare the fingerprint with {0} by another way, then: hmco-boot secrets recipients approve {0}; or remove {0}",
        first.name
    )))
}

/// A change being put together.
pub(super) struct Write<'a> {
    loaded: &'a Loaded,
    recipients: Recipients,
    write: u64,
    edits: BTreeMap<String, Vec<Edit>>,
    lines: BTreeMap<SecretName, Line>,
    new_key: bool,
}

impl<'a> Write<'a> {
    /// Begins with the lines of the manifest that fit the files.
    pub fn begin(loaded: &'a Loaded) -> Result<Self, Failure> {
        if loaded.held.is_none() {
            return Err(Failure::new(
                "the secrets were opened only to be read, or a change of them failed before",
            )
            .hint("open them again"));
        }
        let seen = loaded.seen.as_ref().map_or(0, |seen| seen.counter);
        let mut lines = BTreeMap::new();
        for line in &loaded.manifest.lines {
            if loaded
                .placed(&line.name)
                .is_some_and(|(_, value)| value.digest == line.digest)
            {
                lines.insert(line.name.clone(), line.clone());
            }
        }
        Ok(Self {
            recipients: loaded.recipients.clone(),
            write: loaded.manifest.counter().max(seen) + 1,
            edits: BTreeMap::new(),
            new_key: loaded.keys.len() != 1 || loaded.manifest.keys.len() != 1,
            lines,
            loaded,
        })
    }

    /// Other readers from now on: with a new store key, so that who went cannot seal any more.
    pub fn set_recipients(&mut self, recipients: Recipients) {
        self.recipients = recipients;
        self.new_key = true;
    }

    pub fn set_new_key(&mut self) {
        self.new_key = true;
    }

    pub fn line(&self, name: &SecretName) -> Option<&Line> {
        self.lines.get(name)
    }

    pub fn set_line(&mut self, line: Line) {
        self.lines.insert(line.name.clone(), line);
    }

    /// A value that was encrypted anew.
    pub fn set(&mut self, name: &SecretName, sealed: Sealed, set_on: jiff::civil::Date) {
        self.set_line(Line {
            name: name.clone(),
            digest: digest_of(&sealed.armored),
            write: self.write,
            set_on,
            readers: sealed.readers,
            mac: String::new(),
        });
        let edits = self.edits.entry(name.file().to_owned()).or_default();
        edits.push(Edit::Set(name.clone(), sealed.armored));
    }

    pub fn remove(&mut self, name: &SecretName) {
        self.lines.remove(name);
        let edits = self.edits.entry(name.file().to_owned()).or_default();
        edits.push(Edit::Remove(name.clone()));
    }

    /// The files that this means, for [`Loaded::change`].
    pub fn finish(mut self) -> Result<Batch, Failure> {
        let mut batch = Batch::default();
        for (stem, edits) in &self.edits {
            let document = self.edited(stem, edits)?;
            let file = format!("{stem}.toml");
            if document.is_blank() {
                batch.remove(file);
            } else {
                batch.write(file, document.text());
            }
        }
        if self.recipients.text() != self.loaded.recipients.text() {
            batch.write(recipients::FILE, self.recipients.text());
        }
        batch.write(manifest::FILE, self.manifest()?.text());
        Ok(batch)
    }

    fn edited(&self, stem: &str, edits: &[Edit]) -> Result<Document, Failure> {
        match self.loaded.documents.get(stem) {
            Some(document) => document.edited(edits),
            None => {
                let shown = self.loaded.location.tree.join(format!("{stem}.toml"));
                Document::empty(stem, &shown.display().to_string()).edited(edits)
            }
        }
    }

    /// The new manifest, sealed.
    fn manifest(&mut self) -> Result<Manifest, Failure> {
        let before = &self.loaded.manifest;
        let mut manifest = Manifest {
            store: before.store.clone(),
            heirs: before.heirs.clone(),
            keys: before.keys.clone(),
            ..Manifest::default()
        };
        let key = if self.new_key {
            let key = StoreKey::generate()?;
            let readers: Vec<&Recipient> = self.recipients.all().iter().collect();
            manifest.keys = vec![encrypted(&key, &manifest.store, &readers, &self.loaded)?];
            for old in &self.loaded.keys {
                manifest.heirs.push(old.heir(&manifest.store, &key));
            }
            let extra = manifest.heirs.len().saturating_sub(MOST_HEIRS);
            manifest.heirs.drain(..extra);
            key
        } else {
            self.loaded.key.clone()
        };
        let lines = std::mem::take(&mut self.lines);
        let sealed = lines
            .into_values()
            .map(|line| line.sealed(&before.store, &key));
        manifest.lines = sealed.collect();
        manifest.seal(self.write, &recipients_digest(&self.recipients), &key);
        Ok(manifest)
    }
}

/// A store key for readers, proven to open.
fn encrypted(
    key: &StoreKey,
    store: &str,
    readers: &[&Recipient],
    loaded: &Loaded,
) -> Result<String, Failure> {
    let text = key.encrypted(store, readers)?;
    match StoreKey::open(&text, store, &loaded.identities) {
        Ok(opened) if opened.id() == key.id() => Ok(text),
        Ok(_) => Err(Failure::new(
            "the new store key did not come back as it went in",
        )),
        Err(error) => Err(Failure::new(format!(
            "nothing was written, because nobody here could read these secrets afterwards: {error}"
        ))
        .hint("do it with the identity of one who stays a reader: --identity FILE")),
    }
}
