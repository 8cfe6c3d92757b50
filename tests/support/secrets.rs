//! A store of secrets in a project, and the identity that opens it in a user's home.

use std::path::Path;
use std::sync::Arc;

use hmco_boot::secrets::SecretValue;
use hmco_boot::secrets::approved::{Approved, ConfigEnv};
use hmco_boot::secrets::identity::{self, Identities, IdentityEnv, NobodyAnswers};
use hmco_boot::secrets::recipients::{Recipient, Recipients};
use hmco_boot::secrets::store::{Change, Location, Tree};

/// Makes a store with these values, for one reader and a recovery key that nobody has.
pub fn store(project: &Path, home: &Path, values: &[(&str, &str)]) {
    let config = ConfigEnv {
        home: Some(home.to_owned()),
        ..ConfigEnv::default()
    };
    let folder = config.folder().unwrap();
    let (text, key) = identity::generate("for a test");
    std::fs::create_dir_all(&folder).unwrap();
    identity::write_new(&folder.join(identity::FILE), &text).unwrap();
    let reader = |name: &str, key, recovery| Recipient {
        name: name.to_owned(),
        key,
        since: "2026-02-01".to_owned(),
        groups: Vec::new(),
        recovery,
    };
    let (_, recovery) = identity::generate("for nobody");
    let readers = [
        reader("anna", key, false),
        reader("recovery", recovery, true),
    ];
    let recipients = Recipients::first(&readers).unwrap();
    let mut approved = Approved::none();
    readers.iter().for_each(|reader| approved.approve(reader));
    let environment = IdentityEnv {
        config: Some(folder),
        ..IdentityEnv::default()
    };
    let identities = Identities::find(&environment, Some(&recipients), &mut NobodyAnswers).unwrap();
    let stores = config.stores().unwrap();
    let location = Location::new(project.join("secrets"), stores.clone());
    let mut tree = Tree::create(&location, &recipients, Arc::new(identities), &approved).unwrap();
    let change = values.iter().fold(Change::new(), |change, (name, value)| {
        let value = SecretValue::new(value.as_bytes().to_vec());
        change.set(name.parse().unwrap(), value)
    });
    tree.commit(change, &approved, jiff::civil::date(2026, 2, 1))
        .unwrap();
    approved.save(&stores, tree.id()).unwrap();
}
