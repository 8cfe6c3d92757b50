//! Everything of a store read and held against each other: what a [`super::store::Tree`] and an inspection are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cipher::{self, OpenError, Opened};
use super::document::{Document, Placed};
use super::files::Held;
use super::identity::Identities;
use super::keys::{self, StoreKey};
use super::manifest::{self, Line, Manifest};
use super::name::{SecretName, is_segment, unknown};
use super::recipients::{self, Recipients};
use super::seen::Seen;
use super::staging::{self, Batch, Contents, Recovered};
use super::store::{Entry, Location, Mode};
use super::verify::{Facts, Finding, examine};
use crate::model::outcome::Failure;

/// Changes under one's eyes that are put up with before giving up.
const TRIES: usize = 10;

/// A store, read.
pub(super) struct Loaded {
    pub location: Location,
    pub identities: Arc<Identities>,
    pub mode: Mode,
    /// The lock, where it may be changed.
    pub held: Option<Held>,
    pub manifest: Manifest,
    pub documents: BTreeMap<String, Document>,
    pub recipients: Recipients,
    /// The store keys of the manifest that open; the first is the one in use.
    pub keys: Vec<StoreKey>,
    pub key: StoreKey,
    pub entries: Vec<Entry>,
    pub findings: Vec<Finding>,
    pub seen: Option<Seen>,
    pub warnings: Vec<String>,
}

/// The files of a store, read without any key.
pub(super) struct Parts {
    pub manifest: Option<Manifest>,
    pub documents: BTreeMap<String, Document>,
    pub recipients: Option<Recipients>,
}

/// The digest of a list of readers, whatever its line ends.
pub(super) fn recipients_digest(recipients: &Recipients) -> String {
    keys::digest(recipients.text().replace("\r\n", "\n").as_bytes())
}

/// Reads until nobody changes it meanwhile.
fn contents(location: &Location) -> Result<Contents, Failure> {
    let read = || staging::read(&*location.files, &location.tree);
    let mut before = read();
    for _ in 0..TRIES {
        let again = read();
        if before == again {
            return again;
        }
        before = again;
    }
    before
}

/// Reads a store's files.
pub(super) fn parts(location: &Location) -> Result<Parts, Failure> {
    let mut parts = Parts {
        manifest: None,
        documents: BTreeMap::new(),
        recipients: None,
    };
    let mut failures: Vec<Failure> = Vec::new();
    for (file, bytes) in contents(location)?.files {
        let shown = location.tree.join(&file).display().to_string();
        let text = || {
            String::from_utf8(bytes.clone()).map_err(|_| {
                Failure::new(format!("{shown} is not UTF-8")).hint("take it back from git")
            })
        };
        let stem = file.trim_end_matches(".toml");
        let read = match file.as_str() {
            manifest::FILE => text().and_then(|text| {
                parts.manifest = Some(Manifest::parse(&text)?);
                Ok(())
            }),
            recipients::FILE => text().and_then(|text| {
                parts.recipients = Some(Recipients::parse(&text)?);
                Ok(())
            }),
            _ if is_segment(stem) => Document::parse(stem, &shown, &bytes).map(|document| {
                parts.documents.insert(stem.to_owned(), document);
            }),
            _ => Err(
                Failure::new(format!("{shown} cannot be a file of values")).hint(
                    "its name may have a-z, 0-9, '.', '_' and '-': rename it, or move it elsewhere",
                ),
            ),
        };
        failures.extend(read.err());
    }
    let mut failures = failures.into_iter();
    match failures.next() {
        None => Ok(parts),
        Some(mut first) => {
            for other in failures {
                first.evidence.push(other.message);
                first.evidence.extend(other.evidence);
            }
            Err(first)
        }
    }
}

/// The values of a store, as entries.
pub(super) fn entries(
    documents: &BTreeMap<String, Document>,
    manifest: Option<&Manifest>,
) -> Vec<Entry> {
    let lines = manifest.map(Manifest::by_name).unwrap_or_default();
    let mut entries: Vec<Entry> = Vec::new();
    for document in documents.values() {
        for value in document.values() {
            let sealed = lines
                .get(&value.name)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let same = sealed.iter().find(|line| line.digest == value.digest);
            let line: Option<&Line> = same.or(sealed.first()).copied();
            entries.push(Entry {
                name: value.name.clone(),
                file: document.shown().to_owned(),
                line: value.line,
                digest: value.digest.clone(),
                readers: line.map(|line| line.readers.clone()).unwrap_or_default(),
                set_on: line.map(|line| line.set_on),
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// Takes the tree's lock.
pub(super) fn lock(location: &Location) -> Result<Held, Failure> {
    let path = location.tree.join(".lock");
    match location.files.lock(&path) {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(Failure::new("another hmco-boot is changing these secrets")
            .evidence(format!("it holds {}", path.display()))
            .hint("wait until it is done, and try again")),
        Err(error) => Err(
            Failure::new(format!("cannot lock {}: {error}", path.display()))
                .hint("the folder of secrets has to be there, and this user's"),
        ),
    }
}

/// Reads and verifies a store. `held`: the lock, where the caller has it already.
pub(super) fn load(
    location: &Location,
    identities: Arc<Identities>,
    mode: Mode,
    held: Option<Held>,
) -> Result<Loaded, Failure> {
    let mut warnings = Vec::new();
    let held = match (mode, held) {
        (Mode::Read, _) => None,
        (Mode::Write, held) => {
            refuse_no_store(location)?;
            let held = held.map_or_else(|| lock(location), Ok)?;
            match staging::recover(&*location.files, &location.tree)? {
                Recovered::Nothing => {}
                Recovered::Forward => warnings.push("a change of the secrets that was cut off was ended".into()),
                Recovered::Back => warnings.push("what a cut-off change of the secrets left behind was removed; it never counted".into()),
            }
            Some(held)
        }
    };
    let parts = parts(location)?;
    let Some(manifest) = parts.manifest else {
        return Err(no_manifest(location, !parts.documents.is_empty()));
    };
    let Some(recipients) = parts.recipients else {
        let path = location.tree.join(recipients::FILE);
        return Err(
            Failure::new(format!("{} is gone", path.display())).hint(format!(
                "take it back from git: git checkout -- {}",
                path.display()
            )),
        );
    };
    let keys = open_keys(&manifest, &recipients, &identities)?;
    let Some(key) = keys.first().cloned() else {
        return Err(Failure::new("the store has no key"));
    };
    let memory = location.memory();
    let mut loaded = Loaded {
        entries: entries(&parts.documents, Some(&manifest)),
        seen: memory.seen(&manifest.store)?,
        location: location.clone(),
        identities,
        mode,
        held,
        manifest,
        documents: parts.documents,
        recipients,
        keys,
        key,
        findings: Vec::new(),
        warnings,
    };
    loaded.verify()?;
    loaded.remember_if_sound();
    Ok(loaded)
}

/// A folder without a store is not locked: that would make a file in it.
fn refuse_no_store(location: &Location) -> Result<(), Failure> {
    let read = location.files.read(&location.tree.join(manifest::FILE));
    match (read, location.files.list(&location.tree)) {
        // With a marker there, the first manifest may still wait to be put in its place.
        (Ok(None), Ok(names)) if !names.iter().any(|name| name == ".commit") => {
            let values = names.iter().any(|name| name.ends_with(".toml"));
            Err(no_manifest(location, values))
        }
        _ => Ok(()),
    }
}

fn no_manifest(location: &Location, values: bool) -> Failure {
    let path = location.tree.join(manifest::FILE);
    if values {
        Failure::new(format!("{} is gone", path.display())).hint(format!(
            "take it back from git: git checkout -- {} (nothing is made anew because it is missing)",
            path.display()
        ))
    } else {
        Failure::new(format!(
            "there is no store of secrets in {}",
            location.tree.display()
        ))
        .hint("hmco-boot secrets init makes one")
    }
}

/// The store keys of a manifest that open.
fn open_keys(
    manifest: &Manifest,
    recipients: &Recipients,
    identities: &Identities,
) -> Result<Vec<StoreKey>, Failure> {
    let mut keys = Vec::new();
    let mut why = None;
    for text in &manifest.keys {
        match StoreKey::open(text, &manifest.store, identities) {
            Ok(key) => keys.push(key),
            Err(error) => why = Some(error),
        }
    }
    if !keys.is_empty() {
        return Ok(keys);
    }
    if why.is_none() || why == Some(OpenError::NotOurs) {
        identities.require(recipients)?;
    }
    let why = why.map_or("there is none".into(), |why| why.to_string());
    Err(Failure::new(format!("the store key in the list of secrets cannot be opened: {why}")).hint(
        "a reader who was added since the last `hmco-boot secrets rotate` of another reader has to wait for that; a damaged list: git checkout -- secrets/manifest.toml",
    ))
}

impl Loaded {
    /// Carries out a change of files and reads the store again, under the same lock. Where that fails, the lock is gone,
    /// so that nothing more is written from what may be of the past; where nothing was written yet, it stays.
    pub fn change(
        &mut self,
        change: impl FnOnce(&Self) -> Result<Batch, Failure>,
    ) -> Result<(), Failure> {
        let batch = change(self)?;
        let held = self.held.take();
        staging::commit(&*self.location.files, &self.location.tree, batch)?;
        let identities = Arc::clone(&self.identities);
        *self = load(&self.location.clone(), identities, self.mode, held)?;
        match self.findings.first() {
            None => Ok(()),
            Some(finding) => Err(finding.failure.clone()),
        }
    }

    fn verify(&mut self) -> Result<(), Failure> {
        let memory = self.location.memory();
        let place = memory.place_path(&self.location.tree);
        let here = memory.store_at(&self.location.tree)?;
        let key_ids = self.key_ids();
        let facts = Facts {
            tree: &self.location.tree,
            manifest: &self.manifest,
            keys: &self.keys,
            key_ids: &key_ids,
            documents: &self.documents,
            recipients: &self.recipients,
            recipients_digest: &recipients_digest(&self.recipients),
            seen: self.seen.as_ref(),
            store_here: here.as_deref().map(|here| (here, place.as_path())),
        };
        self.findings = examine(&facts);
        Ok(())
    }

    /// The ids of the keys in use and of all that led to them.
    fn key_ids(&self) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for key in &self.keys {
            ids.insert(key.id());
            let line = key.line_of(&self.manifest.store, &self.manifest.heirs);
            ids.extend(line.iter().map(StoreKey::id));
        }
        ids
    }

    /// A sound tree is what the next one is held against.
    fn remember_if_sound(&mut self) {
        if !self.findings.is_empty() {
            return;
        }
        if self.seen.is_none() {
            self.warnings.push(format!(
                "this machine sees the store {} for the first time: it takes it as it is, and compares from now on",
                self.manifest.store
            ));
        }
        if self.recipients.all().len() == 1 {
            self.warnings.push(
                "only one key reads the secrets: if it is lost, they are; add another reader (hmco-boot secrets recipients add)"
                    .into(),
            );
        }
        let seen = Seen::of(&self.manifest, &self.recipients, self.key.id());
        let memory = self.location.memory();
        if let Err(failure) = memory.remember(&self.location.tree, &self.manifest.store, &seen) {
            self.warnings.push(format!(
                "{}: an older copy of the secrets would not be noticed here",
                failure.message
            ));
        }
        self.seen = Some(seen);
    }

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
