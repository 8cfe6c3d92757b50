//! What is wrong with a tree: the files against the manifest, the manifest against its seal, and both against what this
//! machine has seen before. Pure: it is handed all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::document::{Document, Placed};
use super::keys::StoreKey;
use super::manifest::{self, Line, Manifest};
use super::name::SecretName;
use super::recipients::{self, Recipients};
use super::seen::Seen;
use crate::model::outcome::Failure;

/// The command that shows what came in and seals it.
const ACCEPT: &str = "hmco-boot secrets check --accept-merge";

/// One thing wrong with a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub what: What,
    /// The value it is about, where it is about one.
    pub name: Option<SecretName>,
    /// The file, as a path a user can open.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The same in words: what happened, where, and the command that mends it.
    pub failure: Failure,
}

/// What is wrong; the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum What {
    /// Another store than the one this machine has seen here.
    OtherStore,
    /// The store key is none that followed the one this machine has seen.
    KeyReplaced,
    /// The whole tree is older than what this machine has seen.
    RolledBack,
    /// As new as what this machine has seen, and not the same.
    Forked,
    /// The manifest was merged by git: it holds seals of both sides, or conflict markers.
    Merged,
    /// A value's ciphertext is the sealed one of another name.
    Swapped,
    /// A value's ciphertext is not the sealed one.
    Replaced,
    /// A value that the seal knows is gone.
    Removed,
    /// A value that the seal does not know.
    Added,
    /// recipients.toml is not the sealed one.
    RecipientsChanged,
    /// The manifest's own lines were changed.
    Unsealed,
}

impl What {
    /// Whether it may be sealed after somebody looked at it.
    pub fn is_acceptable(self) -> bool {
        self != Self::OtherStore
    }
}

/// All that a tree is held against.
pub(super) struct Facts<'a> {
    pub tree: &'a Path,
    pub manifest: &'a Manifest,
    /// The store keys in the manifest that open.
    pub keys: &'a [StoreKey],
    /// The ids of these and of all that led to them.
    pub key_ids: &'a BTreeSet<String>,
    pub documents: &'a BTreeMap<String, Document>,
    pub recipients: &'a Recipients,
    pub recipients_digest: &'a str,
    pub seen: Option<&'a Seen>,
    /// The store that this folder held, and where that is remembered.
    pub store_here: Option<(&'a str, &'a Path)>,
}

/// All that is wrong, the worst first.
pub(super) fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    facts.against_memory(&mut found);
    if facts.manifest.is_merged() {
        let failure =
            Failure::new("the list of secrets came through a merge, and nobody sealed it since")
                .hint(format!("look at what came in, and seal it: {ACCEPT}"));
        found.push(facts.about_manifest(What::Merged, failure));
    } else {
        facts.seal(&mut found);
    }
    facts.values(&mut found);
    facts.recipients(&mut found);
    found.sort_by(|a, b| a.what.cmp(&b.what));
    found
}

impl Facts<'_> {
    fn about_manifest(&self, what: What, failure: Failure) -> Finding {
        let file = self.shown(manifest::FILE);
        Finding {
            what,
            name: None,
            failure: failure.evidence(file.clone()),
            file,
            line: None,
        }
    }

    fn shown(&self, file: &str) -> String {
        self.tree.join(file).display().to_string()
    }

    /// What this machine has seen, against what there is.
    fn against_memory(&self, found: &mut Vec<Finding>) {
        let id = &self.manifest.store;
        if let Some((before, place)) = self.store_here
            && before != id
        {
            let failure = Failure::new(format!(
                "this folder held the store {before}, and now holds another one, {id}"
            ))
            .hint(format!(
                "if you did not do that, take it back from git; if you did: rm {}",
                place.display()
            ));
            found.push(self.about_manifest(What::OtherStore, failure));
        }
        let Some(seen) = self.seen else {
            return;
        };
        if !self.key_ids.contains(&seen.key) {
            let failure = Failure::new(
                "the store key was replaced by somebody who did not hold the one this machine has seen",
            )
            .hint(format!(
                "ask the other readers who re-keyed; if two of you did at once and one was dropped on purpose: {ACCEPT}"
            ));
            found.push(self.about_manifest(What::KeyReplaced, failure));
        }
        let counter = self.manifest.counter();
        let back = "take the newer one back from git (git pull, git reflog)";
        if counter < seen.counter {
            let mut failure = Failure::new(format!(
                "the secrets are older than what this machine has seen: write {counter} after write {}",
                seen.counter
            ))
            .hint(format!("{back}; if going back was meant: {ACCEPT}"));
            failure.evidence = self.differing(seen);
            found.push(self.about_manifest(What::RolledBack, failure));
        }
        let same = |seal: &manifest::Seal| seal.mac == seen.seal;
        if counter == seen.counter && !self.manifest.seals.iter().any(same) {
            let mut failure = Failure::new(format!(
                "write {counter} of the secrets is not the write {counter} that this machine has seen"
            ))
            .hint(format!(
                "a write of this machine was dropped, or replaced: {back}; if that was meant: {ACCEPT}"
            ));
            failure.evidence = self.differing(seen);
            found.push(self.about_manifest(What::Forked, failure));
        }
    }

    /// The values that are not as this machine has seen them.
    fn differing(&self, seen: &Seen) -> Vec<String> {
        const MOST: usize = 10;
        let now: BTreeMap<&SecretName, &Placed> = self.placed().collect();
        let mut lines: Vec<String> = Vec::new();
        for (name, before) in &seen.values {
            match now.get(name) {
                None => lines.push(format!("{name} is not there any more")),
                Some(value) if value.digest != before.digest => {
                    lines.push(format!("{name} is another one"));
                }
                Some(_) => {}
            }
        }
        let more = lines.len().saturating_sub(MOST);
        lines.truncate(MOST);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    fn placed(&self) -> impl Iterator<Item = (&SecretName, &Placed)> {
        let all = self.documents.values().flat_map(Document::values);
        all.map(|value| (&value.name, value))
    }

    fn is_proven(&self, line: &Line) -> bool {
        self.keys
            .iter()
            .any(|key| line.is_by(&self.manifest.store, key))
    }

    /// The manifest's own lines.
    fn seal(&self, found: &mut Vec<Finding>) {
        if self
            .keys
            .iter()
            .any(|key| self.manifest.valid_seal(key).is_some())
        {
            return;
        }
        let unproven: Vec<&Line> = {
            let all = self.manifest.lines.iter();
            all.filter(|line| !self.is_proven(line)).collect()
        };
        let hint = format!(
            "if nobody here edited it, take it back: git checkout -- {}; else look at it and seal it: {ACCEPT}",
            self.shown(manifest::FILE)
        );
        let mut failure =
            Failure::new("the list of secrets is not the one that was sealed").hint(hint);
        for line in unproven.iter().take(10) {
            failure = failure.evidence(format!(
                "the line of {} was not written by a reader of this store",
                line.name
            ));
        }
        let mut finding = self.about_manifest(What::Unsealed, failure);
        if let [line] = unproven.as_slice() {
            finding.name = Some(line.name.clone());
        }
        found.push(finding);
    }

    /// The files against the lines.
    fn values(&self, found: &mut Vec<Finding>) {
        let lines = self.manifest.by_name();
        let owner: BTreeMap<&str, &SecretName> = {
            let all = self.manifest.lines.iter();
            all.map(|line| (line.digest.as_str(), &line.name)).collect()
        };
        let mut there = BTreeSet::new();
        for (name, value) in self.placed() {
            there.insert(name);
            let sealed = lines.get(name).map(Vec::as_slice).unwrap_or_default();
            if sealed.iter().any(|line| line.digest == value.digest) {
                continue;
            }
            let (what, message) = match owner.get(value.digest.as_str()) {
                Some(other) => (
                    What::Swapped,
                    format!("{name} holds the ciphertext of {other}"),
                ),
                None if sealed.is_empty() => (
                    What::Added,
                    format!("{name} was put in by hand or by a merge: the seal does not know it"),
                ),
                None => (
                    What::Replaced,
                    format!(
                        "{name} is not the ciphertext that was sealed: it was replaced, damaged, or brought back from an older commit"
                    ),
                ),
            };
            found.push(self.about_value(what, name, value, message));
        }
        for name in lines.keys().filter(|name| !there.contains(*name)) {
            let file = self.shown(&name.file_name());
            let message =
                format!("{name} was removed: the seal knows it, and {file} does not have it");
            let failure = Failure::new(message).evidence(file.clone()).hint(format!(
                "if nobody here removed it, take it back: git checkout -- {file}; if it is meant to be gone: {ACCEPT}"
            ));
            found.push(Finding {
                what: What::Removed,
                name: Some((*name).clone()),
                file,
                line: None,
                failure,
            });
        }
    }

    fn about_value(
        &self,
        what: What,
        name: &SecretName,
        value: &Placed,
        message: String,
    ) -> Finding {
        let file = self.shown(&name.file_name());
        let failure = Failure::new(message)
            .evidence(format!("{file}, line {}", value.line))
            .hint(format!(
                "if nobody here did that, take the file back: git checkout -- {file}; if it came in by a merge: {ACCEPT}"
            ));
        Finding {
            what,
            name: Some(name.clone()),
            file,
            line: Some(value.line),
            failure,
        }
    }

    /// The sealed recipients against those that are there.
    fn recipients(&self, found: &mut Vec<Finding>) {
        let sealed = |seal: &manifest::Seal| seal.recipients == self.recipients_digest;
        if self.manifest.seals.iter().any(sealed) {
            return;
        }
        let file = self.shown(recipients::FILE);
        let mut failure = Failure::new("the list of readers is not the one that was sealed")
            .evidence(file.clone())
            .hint(format!(
                "hmco-boot secrets rotate shows who would gain and lose what, and asks; git checkout -- {file} takes it back"
            ));
        if let Some(seen) = self.seen {
            for reader in self.recipients.all() {
                if seen.reader(reader.fingerprint()).is_none() {
                    failure = failure.evidence(format!(
                        "{} (fingerprint {}) was not in it",
                        reader.name,
                        reader.fingerprint()
                    ));
                }
            }
            let now = self
                .recipients
                .all()
                .iter()
                .map(|one| one.fingerprint().to_string());
            let now: BTreeSet<String> = now.collect();
            for (fingerprint, name) in seen.readers.iter().filter(|one| !now.contains(one.0)) {
                failure = failure.evidence(format!("{name} (fingerprint {fingerprint}) was in it"));
            }
        }
        found.push(Finding {
            what: What::RecipientsChanged,
            name: None,
            file,
            line: None,
            failure,
        });
    }
}
