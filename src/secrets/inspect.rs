//! A tree as it is, with all that is wrong with it: looked at, and sealed again after a merge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;

use super::approved::Approved;
use super::cipher::Opened;
use super::document::{Document, Placed};
use super::identity::Identities;
use super::load::{Loaded, load, recipients_digest};
use super::manifest::Line;
use super::name::SecretName;
use super::recipients::Recipients;
use super::spread::spread;
use super::store::{Entry, Location, Mode, Tree};
use super::verify::{Finding, What};
use super::write::{Write, require_approved};
use crate::model::outcome::Failure;

/// A tree as it is, with all that is wrong with it: for `secrets check`, `--accept-merge` and `rotate`.
pub struct Inspection {
    loaded: Loaded,
}

/// A value that came in, went, or changed since this machine last looked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Its name.
    pub name: SecretName,
    /// What happened to it.
    pub change: Coming,
    /// Whether a holder of the store key wrote it: its own line in the manifest proves that. `false` for what was pasted
    /// in, and for what was written under a store key that is not in use any more.
    pub proven: bool,
}

/// What happened to a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coming {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one.
    Changed,
    /// It is an older one than this machine has seen.
    Older,
}

impl Inspection {
    /// Opens a tree and says all that is wrong with it. With [`Mode::Write`] it may be sealed again.
    ///
    /// # Errors
    ///
    /// What leaves nothing to look at: no manifest, a file that is no TOML, no identity that opens the store.
    pub fn of(
        location: &Location,
        identities: Arc<Identities>,
        mode: Mode,
    ) -> Result<Self, Failure> {
        load(location, identities, mode, None).map(|loaded| Self { loaded })
    }

    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    pub(super) fn into_loaded(self) -> Loaded {
        self.loaded
    }

    /// What is wrong, the worst first; empty where all is as sealed.
    pub fn findings(&self) -> &[Finding] {
        &self.loaded.findings
    }

    /// The store's id: 16 hex digits.
    pub fn id(&self) -> &str {
        &self.loaded.manifest.store
    }

    /// The write it is at.
    pub fn counter(&self) -> u64 {
        self.loaded.manifest.counter()
    }

    /// The values, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &self.loaded.entries
    }

    /// Who reads, as recipients.toml says now, sealed or not.
    pub fn recipients(&self) -> &Recipients {
        &self.loaded.recipients
    }

    /// As [`Tree::warnings`].
    pub fn warnings(&self) -> &[String] {
        &self.loaded.warnings
    }

    fn placed(&self) -> Vec<(&Document, &Placed)> {
        let all = self.loaded.documents.values();
        all.flat_map(|document| document.values().iter().map(move |value| (document, value)))
            .collect()
    }

    /// What came in since this machine last looked or sealed, value by value: for a person to look at before
    /// [`Inspection::accept`]. Where this machine never looked, against the lines of the manifest.
    pub fn changes(&self) -> Vec<Incoming> {
        let loaded = &self.loaded;
        let before: BTreeMap<&SecretName, (&str, u64)> = match &loaded.seen {
            Some(seen) => seen
                .values
                .iter()
                .map(|(name, value)| (name, (value.digest.as_str(), value.write)))
                .collect(),
            None => loaded
                .manifest
                .lines
                .iter()
                .map(|line| (&line.name, (line.digest.as_str(), line.write)))
                .collect(),
        };
        let mut changes = Vec::new();
        let mut there = BTreeSet::new();
        for (_, value) in self.placed() {
            there.insert(&value.name);
            let line = self.proven_line(value);
            let change = match before.get(&value.name) {
                None => Coming::Added,
                Some((digest, _)) if *digest == value.digest => continue,
                Some((_, write)) if line.is_some_and(|line| line.write < *write) => Coming::Older,
                Some(_) => Coming::Changed,
            };
            changes.push(Incoming {
                name: value.name.clone(),
                change,
                proven: line.is_some(),
            });
        }
        for name in before.keys().filter(|name| !there.contains(*name)) {
            changes.push(Incoming {
                name: (*name).clone(),
                change: Coming::Removed,
                // Nothing can prove that something is not there but the seal.
                proven: false,
            });
        }
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        changes
    }

    /// The line of a value that a holder of a store key in use wrote.
    fn proven_line(&self, value: &Placed) -> Option<&Line> {
        let line = self.loaded.line(value)?;
        let store = &self.loaded.manifest.store;
        let mut keys = self.loaded.keys.iter();
        keys.any(|key| line.is_by(store, key)).then_some(line)
    }

    /// Opens every value; what fails, with names and places. Empty: all open.
    pub fn open_all(&self) -> Vec<Failure> {
        let opened = self.opened();
        opened
            .into_iter()
            .filter_map(|(_, result)| result.err())
            .collect()
    }

    fn opened(&self) -> Vec<(&Placed, Result<Opened, Failure>)> {
        let placed = self.placed();
        let opened = spread(&placed, |(document, value)| {
            self.loaded.open(document, value)
        });
        let values = placed.into_iter().map(|(_, value)| value);
        values.zip(opened).collect()
    }

    /// Seals the tree as it is now: every value must open, and bear its own name and this store.
    ///
    /// # Errors
    ///
    /// A finding that cannot be accepted, a value that does not open, a recipient that is not approved on this machine,
    /// the disk.
    pub fn accept(mut self, approved: &Approved, today: Date) -> Result<Tree, Failure> {
        let hard = self
            .findings()
            .iter()
            .find(|finding| !finding.what.is_acceptable());
        if let Some(finding) = hard {
            return Err(finding.failure.clone());
        }
        require_approved(approved, self.recipients().all())?;
        let lines = self.lines(today)?;
        let digest = recipients_digest(self.recipients());
        let seals = &self.loaded.manifest.seals;
        // Other readers, or a key that was not ours: who seals from now on are those that are listed now.
        let other = |one: &Finding| matches!(one.what, What::KeyReplaced | What::RecipientsChanged);
        let new_key =
            self.findings().iter().any(other) || seals.iter().any(|one| one.recipients != digest);
        self.loaded.change(|loaded| {
            let mut write = Write::begin(loaded)?;
            lines.into_iter().for_each(|line| write.set_line(line));
            if new_key {
                write.set_new_key();
            }
            write.finish()
        })?;
        Tree::sound(self.loaded)
    }

    /// A line for every value, with what it says of itself; what opens is dated as its line says.
    fn lines(&self, today: Date) -> Result<Vec<Line>, Failure> {
        let mut failures: Vec<Failure> = Vec::new();
        let mut lines = Vec::new();
        let seen = self.loaded.seen.as_ref().map_or(0, |seen| seen.counter);
        let write = self.counter().max(seen) + 1;
        for (value, opened) in self.opened() {
            match opened {
                Err(failure) => failures.push(failure),
                Ok(opened) => {
                    let old = self
                        .loaded
                        .manifest
                        .lines
                        .iter()
                        .find(|line| line.name == value.name);
                    let proven = self.proven_line(value);
                    lines.push(Line {
                        name: value.name.clone(),
                        digest: value.digest.clone(),
                        write: proven.map_or(write, |line| line.write),
                        set_on: proven.or(old).map_or(today, |line| line.set_on),
                        readers: opened.header.readers,
                        mac: String::new(),
                    });
                }
            }
        }
        let mut failures = failures.into_iter();
        let Some(mut first) = failures.next() else {
            return Ok(lines);
        };
        for other in failures {
            first.evidence.push(other.message);
            first.evidence.extend(other.evidence);
        }
        Err(first)
    }
}
