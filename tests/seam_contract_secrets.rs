//! What every store of secrets does, held against the real one and the one in memory.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; it makes folders"
)]

#[path = "secrets/support.rs"]
#[expect(dead_code, reason = "the tests of the tree use all of it")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hmco_boot::secrets::memory::MemorySecrets;
use hmco_boot::secrets::store::{Change, FileSecrets};
use hmco_boot::secrets::{SecretStore, SecretValue};
use support::{Store, name};

/// What both hold.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("dns/provider/key", b"two\nlines\n".to_vec()),
        ("k3s/empty", Vec::new()),
        ("k3s/token", b"K10abc".to_vec()),
        ("tls/key.der", vec![0, 0xff, 0x80, b'\n']),
    ]
}

/// Runs one case against both.
async fn both(case: impl AsyncFn(&dyn SecretStore)) {
    let memory = values()
        .into_iter()
        .map(|(at, bytes)| (at.to_owned(), SecretValue::new(bytes)));
    case(&MemorySecrets::with_values(memory)).await;
    let store = Store::new();
    let change = values()
        .into_iter()
        .fold(Change::new(), |change, (at, bytes)| {
            change.set(name(at), SecretValue::new(bytes))
        });
    store.change(change).unwrap();
    let anna = store.anna.clone();
    let real = FileSecrets::new(store.location.clone(), move || Ok(anna.identities())).unwrap();
    case(&real).await;
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|one| (*one).to_owned()).collect()
}

#[tokio::test]
async fn names_are_all_and_sorted() {
    both(async |store| {
        let expected: Vec<&str> = values().iter().map(|(at, _)| *at).collect();
        assert_eq!(store.names(), expected);
    })
    .await;
}

#[tokio::test]
async fn values_come_exactly_and_in_the_order_asked_for() {
    both(async |store| {
        let names = list(&[
            "tls/key.der",
            "dns/provider/key",
            "k3s/empty",
            "tls/key.der",
        ]);
        let opened = store.open(&names).await.unwrap();
        let found: Vec<&str> = opened.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            found,
            [
                "tls/key.der",
                "dns/provider/key",
                "k3s/empty",
                "tls/key.der"
            ]
        );
        for (at, value) in &opened {
            let wanted = values().into_iter().find(|(name, _)| name == at).unwrap().1;
            assert_eq!(value.expose(), wanted);
            assert_eq!(value.is_text(), *at != "tls/key.der");
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_asked_for_is_nothing_opened() {
    both(async |store| assert!(store.open(&[]).await.unwrap().is_empty())).await;
}

#[tokio::test]
async fn a_missing_name_fails_all_with_the_nearest_name() {
    both(async |store| {
        let failure = store
            .open(&list(&["k3s/token", "k3s/tokne"]))
            .await
            .unwrap_err();
        assert!(failure.message.contains("\"k3s/tokne\""), "{failure:?}");
        let hint = failure.hint.unwrap();
        assert!(hint.contains("\"k3s/token\""), "{hint}");
        assert!(store.open(&list(&["not a name"])).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn nobody_is_asked_for_an_identity_before_a_value_is_needed_and_then_once() {
    let store = Store::holding(&[("k3s/a", "one"), ("k3s/b", "two")]);
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, anna) = (Arc::clone(&asked), store.anna.clone());
    let secrets = FileSecrets::new(store.location.clone(), move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(anna.identities())
    })
    .unwrap();
    assert_eq!(secrets.names(), ["k3s/a", "k3s/b"]);
    assert!(secrets.open(&list(&["k3s/c"])).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let (a, b) = (list(&["k3s/a"]), list(&["k3s/b"]));
    let (one, two) = tokio::join!(secrets.open(&a), secrets.open(&b));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_run_keeps_to_the_tree_that_it_verified() {
    let store = Store::holding(&[("k3s/a", "one"), ("k3s/b", "two")]);
    let anna = store.anna.clone();
    let secrets = FileSecrets::new(store.location.clone(), move || Ok(anna.identities())).unwrap();
    secrets.open(&list(&["k3s/a"])).await.unwrap();
    std::fs::write(store.path("k3s.toml"), "b = \"plain\"\n").unwrap();
    let opened = secrets.open(&list(&["k3s/b"])).await.unwrap();
    assert_eq!(
        opened.first().and_then(|(_, value)| value.text()),
        Some("two")
    );
}
