//! Which secrets are opened when, and what is said of those that are not.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::lookup::CLOSED;
use super::*;
use crate::secrets::Opening;
use crate::secrets::memory::MemorySecrets;

/// Counts what is opened.
struct Counting {
    inner: MemorySecrets,
    opened: AtomicUsize,
}

impl SecretStore for Counting {
    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn open<'a>(&'a self, names: &'a [String]) -> Opening<'a> {
        self.opened.fetch_add(names.len(), Ordering::Relaxed);
        self.inner.open(names)
    }
}

fn vault() -> (Vault, Arc<Counting>, Redactor) {
    let values = (0..50).map(|n| (format!("app/key-{n}"), format!("value-of-key-{n}")));
    let binary = (
        "app/binary".to_owned(),
        SecretValue::new(vec![0xff, 0, 1, 2, 3, 4, 5, 6]),
    );
    let values = values.map(|(name, value)| (name, SecretValue::new(value.into_bytes())));
    let store = Arc::new(Counting {
        inner: MemorySecrets::with_values(values.chain([binary])),
        opened: AtomicUsize::new(0),
    });
    let redactor = Redactor::default();
    (Vault::with(store.clone(), &redactor), store, redactor)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn names_are_checked_and_collected_without_opening_anything() {
    let (vault, store, _) = vault();
    let lookup = Lookup::closed(&vault);
    assert_eq!(lookup.get("app/key-1").unwrap(), CLOSED);
    assert_eq!(lookup.get("app/key-2").unwrap(), CLOSED);
    assert!(lookup.get("app/kye-1").unwrap_err().contains("app/key-1"));
    assert!(lookup.get("no-name").is_err());
    assert_eq!(lookup.missing(), names(&["app/key-1", "app/key-2"]));
    assert_eq!(store.opened.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_needed_is_opened_once_and_known_to_the_redactor() {
    let (mut vault, store, redactor) = vault();
    for asked in [["app/key-1", "app/key-2"], ["app/key-2", "app/key-3"]] {
        vault.open_quietly(&names(&asked)).await.unwrap();
    }
    assert_eq!(store.opened.load(Ordering::Relaxed), 3);
    let lookup = Lookup::open(&vault);
    assert_eq!(lookup.get("app/key-1").unwrap(), "value-of-key-1");
    assert_eq!(lookup.get("app/key-9").unwrap(), CLOSED);
    assert_eq!(lookup.missing(), names(&["app/key-9"]));
    assert_eq!(redactor.text("value-of-key-3."), "<secret app/key-3>.");
    assert_eq!(redactor.text("value-of-key-9."), "value-of-key-9.");
    let refused = refuse_values(&redactor, [("--var a", "x=value-of-key-1")]).unwrap_err();
    assert!(refused.render(false).contains("`app/key-1`"), "{refused:?}");
}

#[tokio::test]
async fn what_may_be_shown_by_a_command_that_nobody_knows_is_known_to_the_redactor() {
    let (mut vault, _, redactor) = vault();
    vault.know_all().await;
    assert_eq!(redactor.text("value-of-key-9."), "<secret app/key-9>.");
}

#[tokio::test]
async fn a_binary_value_is_refused_in_a_template_with_what_to_do() {
    let (mut vault, ..) = vault();
    vault.open_quietly(&names(&["app/binary"])).await.unwrap();
    let hint = Lookup::open(&vault).get("app/binary").unwrap_err();
    assert!(hint.contains("base64"), "{hint}");
}
