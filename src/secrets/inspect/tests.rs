//! Forgeries that take all but a private key: what somebody makes who can write to the repository and knows the format.

use std::path::Path;

use age::secrecy::ExposeSecret as _;
use jiff::civil::date;

use super::*;
use crate::secrets::SecretValue;
use crate::secrets::files::{Disk, Files};
use crate::secrets::identity::{IdentityEnv, NobodyAnswers};
use crate::secrets::keys::StoreKey;
use crate::secrets::manifest::Manifest;
use crate::secrets::recipients::{Recipient, Recipients};
use crate::secrets::seen::Seen;
use crate::secrets::store::Change;

struct Rig {
    folder: tempfile::TempDir,
    location: Location,
    identities: Arc<Identities>,
    recipients: Recipients,
    approved: Approved,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = age::x25519::Identity::generate();
        let path = folder.path().join("identity.txt");
        let text = identity.to_string();
        Disk.write(&path, text.expose_secret().as_bytes(), 0o600)
            .unwrap();
        let env = IdentityEnv {
            named: vec![path],
            ..IdentityEnv::default()
        };
        let identities = Identities::find(&env, None, &mut NobodyAnswers).unwrap();
        let anna = Recipient {
            name: "anna".into(),
            key: identity.to_public().into(),
            since: "2026-02-01".into(),
            groups: Vec::new(),
            recovery: false,
        };
        let mut approved = Approved::none();
        approved.approve(&anna);
        let rig = Self {
            location: Location::new(folder.path().join("secrets"), folder.path().join("state")),
            folder,
            identities: Arc::new(identities),
            recipients: Recipients::first(&[anna]).unwrap(),
            approved,
        };
        let mut tree = Tree::create(
            &rig.location,
            &rig.recipients,
            Arc::clone(&rig.identities),
            &rig.approved,
        )
        .unwrap();
        let set = |change: Change, at: &str| {
            change.set(at.parse().unwrap(), SecretValue::new(b"value".to_vec()))
        };
        let change = set(set(Change::new(), "k3s/a"), "k3s/b");
        tree.commit(change, &rig.approved, date(2026, 2, 1))
            .unwrap();
        drop(tree);
        rig
    }

    fn path(&self) -> std::path::PathBuf {
        self.location.tree.join("manifest.toml")
    }

    /// The manifest as somebody else leaves it.
    fn forge(&self, forge: impl FnOnce(&mut Manifest, &StoreKey, String)) {
        let bytes = Disk.read(&self.path()).unwrap().unwrap();
        let mut manifest = Manifest::parse(std::str::from_utf8(&bytes).unwrap()).unwrap();
        let key = StoreKey::generate().unwrap();
        let readers: Vec<&Recipient> = self.recipients.all().iter().collect();
        let encrypted = key.encrypted(&manifest.store, &readers).unwrap();
        forge(&mut manifest, &key, encrypted);
        Disk.write(&self.path(), manifest.text().as_bytes(), 0o644)
            .unwrap();
    }

    fn inspect(&self, state: &Path) -> Inspection {
        let location = Location::new(&self.location.tree, state);
        Inspection::of(&location, Arc::clone(&self.identities), Mode::Write).unwrap()
    }
}

fn reseal(manifest: &mut Manifest, key: &StoreKey) {
    let store = manifest.store.clone();
    for line in &mut manifest.lines {
        *line = line.clone().sealed(&store, key);
    }
    let recipients = manifest.seals[0].recipients.clone();
    let counter = manifest.counter() + 10;
    manifest.seal(counter, &recipients, key);
}

#[test]
fn a_whole_list_under_a_store_key_made_from_public_keys_is_refused() {
    let rig = Rig::new();
    rig.forge(|manifest, key, encrypted| {
        manifest.keys = vec![encrypted];
        reseal(manifest, key);
    });
    let inspection = rig.inspect(&rig.location.state);
    let whats: Vec<What> = inspection.findings().iter().map(|one| one.what).collect();
    assert_eq!(whats, [What::KeyReplaced]);
    let said = &inspection.findings()[0].failure;
    assert!(said.message.contains("store key was replaced"), "{said:?}");
}

#[test]
fn a_forged_key_is_no_heir_by_a_line_that_says_so() {
    let rig = Rig::new();
    rig.forge(|manifest, key, encrypted| {
        let mut heir = StoreKey::generate().unwrap().heir(&manifest.store, key);
        // The id of the true key stands in nothing public but such lines; grant it to the forger.
        let seen = rig
            .location
            .memory()
            .seen(&manifest.store)
            .unwrap()
            .unwrap();
        heir.from = seen.key;
        manifest.heirs.push(heir);
        manifest.keys = vec![encrypted];
        reseal(manifest, key);
    });
    let inspection = rig.inspect(&rig.location.state);
    assert_eq!(inspection.findings()[0].what, What::KeyReplaced);
}

#[test]
fn what_a_merge_brings_under_a_key_of_its_own_is_not_proven() {
    let rig = Rig::new();
    rig.forge(|manifest, key, encrypted| {
        manifest.keys.insert(0, encrypted);
        let store = manifest.store.clone();
        let mut line = manifest.lines[1].clone();
        // Another ciphertext for the name, as the forger says.
        line.write = 99;
        manifest.lines.push(line.sealed(&store, key));
        let seal = manifest.seals[0].clone();
        let mut theirs = manifest.clone();
        reseal(&mut theirs, key);
        manifest.seals = vec![theirs.seals[0].clone(), seal];
        manifest.lines.remove(1);
    });
    // The values themselves are another pair of files: pretend that this machine knew another one.
    let store = rig.inspect(&rig.location.state).id().to_owned();
    let memory = rig.location.memory();
    let mut seen = memory.seen(&store).unwrap().unwrap();
    let name: SecretName = "k3s/b".parse().unwrap();
    seen.values.get_mut(&name).unwrap().digest = "sha256:other".into();
    memory.remember(&rig.location.tree, &store, &seen).unwrap();
    let inspection = rig.inspect(&rig.location.state);
    assert_eq!(inspection.findings()[0].what, What::Merged);
    let changes = inspection.changes();
    let came: Vec<_> = changes
        .iter()
        .map(|one| (one.name.as_str(), one.proven))
        .collect();
    assert_eq!(came, [("k3s/b", false)]);
    // Who never saw the store cannot tell which of two keys is the true one: nothing is proven.
    drop(inspection);
    let inspection = rig.inspect(&rig.folder.path().join("elsewhere"));
    assert!(inspection.loaded().trusted.is_empty());
    drop(inspection);
    // After a look, all of it is under a key that followed the true one.
    let inspection = rig.inspect(&rig.location.state);
    let tree = inspection.accept(&rig.approved, date(2026, 2, 2)).unwrap();
    assert_eq!(tree.counter(), 13);
}

#[test]
fn what_this_machine_has_seen_never_goes_back_to_an_older_write() {
    let rig = Rig::new();
    let inspection = rig.inspect(&rig.location.state);
    let store = inspection.id().to_owned();
    drop(inspection);
    let memory = rig.location.memory();
    let seen = memory.seen(&store).unwrap().unwrap();
    let older = Seen {
        counter: seen.counter - 1,
        ..seen.clone()
    };
    memory.remember(&rig.location.tree, &store, &older).unwrap();
    assert_eq!(memory.seen(&store).unwrap(), Some(seen.clone()));
    let newer = Seen {
        counter: seen.counter + 1,
        ..seen
    };
    memory.remember(&rig.location.tree, &store, &newer).unwrap();
    assert_eq!(memory.seen(&store).unwrap(), Some(newer));
}
