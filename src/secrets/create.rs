//! A store made where there is none.

use std::sync::Arc;

use super::approved::Approved;
use super::identity::Identities;
use super::keys::{StoreKey, hex};
use super::load::{load, lock, recipients_digest};
use super::manifest::{self, Manifest};
use super::recipients::{self, Recipient, Recipients};
use super::seen::Seen;
use super::staging::{self, Batch};
use super::store::{Location, Mode, Tree};
use super::write::require_approved;
use crate::model::outcome::Failure;

/// What git leaves alone.
const IGNORE: (&str, &str) = (
    ".gitignore",
    "# Of one moment on one machine: the lock, and a change that was cut off.\n/.lock\n/.commit\n/.staging-*/\n",
);
/// How git merges the list: the lines of both sides. `hmco-boot secrets check --accept-merge` then seals it.
const ATTRIBUTES: (&str, &str) = (
    ".gitattributes",
    "# A merge keeps the lines of both sides; then: hmco-boot secrets check --accept-merge\n/manifest.toml merge=union\n",
);

/// Makes a store.
pub fn create(
    location: &Location,
    recipients: &Recipients,
    identities: Arc<Identities>,
    approved: &Approved,
) -> Result<Tree, Failure> {
    require_approved(approved, recipients.all())?;
    let tree = &location.tree;
    let trouble = |error: std::io::Error| {
        Failure::new(format!("cannot make {}: {error}", tree.display()))
            .hint("make room, or give the folder above it to this user")
    };
    location.files.make_folder(tree, 0o755).map_err(trouble)?;
    let held = lock(location)?;
    staging::recover(&*location.files, tree)?;
    let there = staging::read(&*location.files, tree)?.files;
    if let Some(file) = there.keys().next() {
        return Err(Failure::new(format!(
            "{} is no empty folder: there is {file}",
            tree.display()
        ))
        .hint(
            "nothing is made anew where something is: take the rest back from git, or move it away",
        ));
    }
    let (manifest, key) = first_manifest(recipients, &identities)?;
    let mut batch = Batch::default();
    batch.write(manifest::FILE, manifest.text());
    batch.write(recipients::FILE, recipients.text());
    for (name, text) in [IGNORE, ATTRIBUTES] {
        let read = location.files.read(&tree.join(name)).map_err(trouble)?;
        if read.is_none() {
            batch.write(name, text);
        }
    }
    staging::commit(&*location.files, tree, batch)?;
    // Another store may have been here, and gone with its folder.
    let seen = Seen::of(&manifest, recipients, key.id());
    location.memory().remember(tree, &manifest.store, &seen)?;
    Tree::sound(load(location, identities, Mode::Write, Some(held))?)
}

/// An empty list, sealed.
fn first_manifest(
    recipients: &Recipients,
    identities: &Identities,
) -> Result<(Manifest, StoreKey), Failure> {
    let mut id = [0; 8];
    getrandom::fill(&mut id)
        .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
    let key = StoreKey::generate()?;
    let mut manifest = Manifest {
        store: hex(&id),
        ..Manifest::default()
    };
    let readers: Vec<&Recipient> = recipients.all().iter().collect();
    manifest.keys = vec![key.encrypted(&manifest.store, &readers)?];
    for text in &manifest.keys {
        StoreKey::open(text, &manifest.store, identities).map_err(|error| {
            Failure::new(format!("nobody here could open the new store: {error}"))
                .hint("one of its readers has to be this user: see --identity")
        })?;
    }
    manifest.seal(1, &recipients_digest(recipients), &key);
    Ok((manifest, key))
}
