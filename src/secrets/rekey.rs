//! A re-key of the whole tree: every value encrypted anew, for the readers that recipients.toml names now, and a new store
//! key. All values, also those whose readers stay: a key that somebody may have copied opens nothing that is written from
//! now on.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::approved::Approved;
use super::document::{Document, Placed};
use super::load::Loaded;
use super::name::SecretName;
use super::recipients::{Fingerprint, Recipient, Recipients};
use super::spread::spread;
use super::store::{Inspection, Tree};
use super::verify::What;
use super::write::{Sealed, Write, encrypt, require_approved};
use crate::model::outcome::Failure;

/// What a re-key would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RekeyPlan {
    /// Every value, sorted by name.
    pub values: Vec<ValuePlan>,
    /// Readers that no value was encrypted to before.
    pub new_readers: Vec<Recipient>,
    /// Readers of before that recipients.toml no longer has: names where they are known, else fingerprints.
    pub gone_readers: Vec<String>,
    /// The recipients after it.
    pub recipients: Recipients,
}

/// What a re-key would do to one value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValuePlan {
    /// Its name.
    pub name: SecretName,
    /// Who could not read it and will: names.
    pub gains: Vec<String>,
    /// Who can read it and will not: names, or fingerprints of those recipients.toml no longer has. They may have kept
    /// what they read.
    pub loses: Vec<String>,
    /// Who keeps reading it: names.
    pub keeps: Vec<String>,
}

/// What a re-key of this tree for these recipients would do. Opens nothing.
///
/// # Errors
///
/// A tree with more wrong than that recipients.toml changed.
pub fn plan(tree: &Inspection, recipients: &Recipients) -> Result<RekeyPlan, Failure> {
    let mut findings = tree.findings().iter();
    if let Some(finding) = findings.find(|finding| finding.what != What::RecipientsChanged) {
        return Err(finding.failure.clone());
    }
    let loaded = tree.loaded();
    let mut before: Vec<Fingerprint> = Vec::new();
    let mut values = Vec::new();
    for entry in tree.entries() {
        before.extend(&entry.readers);
        let after = recipients.readers_of(&entry.name);
        let was = |one: &&&Recipient| entry.readers.contains(&one.fingerprint());
        let stays = |one: &Fingerprint| after.iter().any(|reader| reader.fingerprint() == *one);
        let name = |one: &&Recipient| one.name.clone();
        let lost = entry.readers.iter().filter(|one| !stays(one));
        values.push(ValuePlan {
            name: entry.name.clone(),
            gains: after.iter().filter(|one| !was(one)).map(name).collect(),
            keeps: after.iter().filter(was).map(name).collect(),
            loses: lost.map(|one| loaded.reader_name(*one)).collect(),
        });
    }
    before.sort_unstable();
    before.dedup();
    let new = |one: &&Recipient| !before.contains(&one.fingerprint());
    let gone = |one: &&Fingerprint| recipients.by_fingerprint(**one).is_none();
    Ok(RekeyPlan {
        values,
        new_readers: recipients.all().iter().filter(new).cloned().collect(),
        gone_readers: before
            .iter()
            .filter(gone)
            .map(|one| loaded.reader_name(*one))
            .collect(),
        recipients: recipients.clone(),
    })
}

/// Carries it out: all values or none. `progress` hears how many of how many are done, from several threads.
///
/// # Errors
///
/// A reader that is not approved on this machine, a value that does not open before or after, the disk.
pub fn carry_out(
    tree: Inspection,
    plan: &RekeyPlan,
    approved: &Approved,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Tree, Failure> {
    // What was planned is what is done.
    if self::plan(&tree, &plan.recipients)? != *plan {
        return Err(
            Failure::new("the secrets changed since the re-key was planned").hint("plan it again"),
        );
    }
    require_approved(approved, plan.recipients.all())?;
    let mut loaded = tree.into_loaded();
    loaded.change(|loaded| {
        let sealed = encrypt_all(loaded, &plan.recipients, progress)?;
        let mut write = Write::begin(loaded)?;
        write.set_recipients(plan.recipients.clone());
        for (name, sealed) in sealed {
            // A re-key makes no value younger.
            let set_on = write.line(&name).map(|line| line.set_on);
            let no_line = || Failure::new(format!("{name} has no line in the list of secrets"));
            write.set(&name, sealed, set_on.ok_or_else(no_line)?);
        }
        write.finish()
    })?;
    Tree::sound(loaded)
}

/// Every value, encrypted anew; or all that do not open.
fn encrypt_all(
    loaded: &Loaded,
    recipients: &Recipients,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<(SecretName, Sealed)>, Failure> {
    let placed: Vec<(&Document, &Placed)> = loaded
        .documents
        .values()
        .flat_map(|document| document.values().iter().map(move |value| (document, value)))
        .collect();
    let done = AtomicUsize::new(0);
    let results = spread(&placed, |(document, value)| {
        let opened = loaded.open(document, value)?;
        let sealed = encrypt(loaded, recipients, &value.name, &opened.value)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, placed.len());
        Ok((value.name.clone(), sealed))
    });
    let mut failures: Vec<Failure> = Vec::new();
    let mut all = Vec::new();
    for result in results {
        match result {
            Ok(one) => all.push(one),
            Err(failure) => failures.push(failure),
        }
    }
    let mut failures = failures.into_iter();
    let Some(mut first) = failures.next() else {
        return Ok(all);
    };
    for other in failures {
        first.evidence.push(other.message);
    }
    Err(first.hint("nothing was changed; a value that only others read has to be re-keyed by one of them, or by the recovery key"))
}
