//! Whatever is done to the tree behind our back is refused: the reason, the file, the line, the name, and what mends it.

use std::fs;
use std::sync::Arc;

use hmco_boot::secrets::identity::Identities;
use hmco_boot::secrets::store::{Change, Mode, Tree};
use hmco_boot::secrets::verify::What;

use super::support::*;

fn values() -> Store {
    Store::holding(&[("k3s/a", "one"), ("k3s/b", "two"), ("dns/c", "three")])
}

/// The tree is refused for reading and writing, first of all for this; what is said has all of these words.
fn refused(store: &Store, what: What, words: &[&str]) {
    let findings = store.inspect().findings().to_vec();
    assert_eq!(
        findings.first().map(|one| one.what),
        Some(what),
        "{findings:#?}"
    );
    for mode in [Mode::Read, Mode::Write] {
        let failure = store.open(mode).err().unwrap();
        for word in words {
            assert!(
                said(&failure).contains(word),
                "{word:?} is not in {failure:#?}"
            );
        }
        assert!(failure.hint.is_some());
    }
}

#[test]
fn a_value_put_under_another_name_is_refused() {
    let store = values();
    let text = store.read("k3s.toml");
    let (a, b) = (armored(&text, "a"), armored(&text, "b"));
    store.write("k3s.toml", &text.replace(&b, &a));
    refused(
        &store,
        What::Swapped,
        &[
            "k3s/b holds the ciphertext of k3s/a",
            "secrets/k3s.toml, line",
            "git checkout",
        ],
    );
}

#[test]
fn a_swapped_value_is_refused_even_where_somebody_who_can_seal_sealed_it() {
    let store = values();
    let text = store.read("k3s.toml");
    let (a, b) = (armored(&text, "a"), armored(&text, "b"));
    store.write("k3s.toml", &text.replace(&b, &a));
    let failure = store
        .inspect()
        .accept(&store.everybody(), today())
        .err()
        .unwrap();
    assert!(
        said(&failure).contains("k3s/b: it was encrypted as k3s/a"),
        "{failure:?}"
    );
    assert!(
        said(&failure).contains("secrets/k3s.toml, line"),
        "{failure:?}"
    );
}

#[test]
fn a_value_from_an_older_commit_is_refused() {
    let store = values();
    let old = armored(&store.read("k3s.toml"), "a");
    store.set(&[("k3s/a", "new")]);
    let text = store.read("k3s.toml");
    store.write("k3s.toml", &text.replace(&armored(&text, "a"), &old));
    refused(
        &store,
        What::Replaced,
        &["k3s/a", "older commit", "secrets/k3s.toml, line 1"],
    );
}

#[test]
fn a_value_and_its_line_from_an_older_commit_are_refused() {
    let store = values();
    let line = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("  \"k3s/a "))
            .unwrap();
        line.to_owned()
    };
    let old = (
        armored(&store.read("k3s.toml"), "a"),
        line(&store.read("manifest.toml")),
    );
    store.set(&[("k3s/a", "new")]);
    let (text, manifest) = (store.read("k3s.toml"), store.read("manifest.toml"));
    store.write("k3s.toml", &text.replace(&armored(&text, "a"), &old.0));
    store.write("manifest.toml", &manifest.replace(&line(&manifest), &old.1));
    refused(
        &store,
        What::Unsealed,
        &["not the one that was sealed", "manifest.toml"],
    );
}

#[test]
fn a_whole_tree_from_an_older_commit_is_refused_and_says_which_values_differ() {
    let store = values();
    let old: Vec<(&str, String)> = ["k3s.toml", "manifest.toml"]
        .map(|file| (file, store.read(file)))
        .into();
    store.set(&[("k3s/a", "new")]);
    for (file, text) in &old {
        store.write(file, text);
    }
    refused(
        &store,
        What::RolledBack,
        &[
            "write 2 after write 3",
            "k3s/a is another one",
            "--accept-merge",
        ],
    );
    // Going back can be meant.
    store.inspect().accept(&store.everybody(), today()).unwrap();
    assert_eq!(store.get("k3s/a").unwrap(), "one");
    assert_eq!(store.open(Mode::Read).unwrap().counter(), 4);
}

#[test]
fn the_same_write_by_another_hand_is_refused() {
    let store = values();
    let old: Vec<(&str, String)> = ["k3s.toml", "manifest.toml"]
        .map(|file| (file, store.read(file)))
        .into();
    store.set(&[("k3s/a", "ours")]);
    for (file, text) in &old {
        store.write(file, text);
    }
    let mut theirs = Tree::open(&store.elsewhere(), store.bert.identities(), Mode::Write).unwrap();
    let change = Change::new().set(name("k3s/b"), value("theirs"));
    theirs.commit(change, &store.everybody(), today()).unwrap();
    drop(theirs);
    refused(&store, What::Forked, &["write 3", "k3s/a is another one"]);
}

#[test]
fn a_removed_an_added_and_a_foreign_value_are_refused() {
    let store = values();
    let text = store.read("k3s.toml");
    fs::remove_file(store.path("dns.toml")).unwrap();
    refused(
        &store,
        What::Removed,
        &["dns/c was removed", "git checkout -- ", "dns.toml"],
    );

    let store = values();
    let other = Store::holding(&[("k3s/z", "foreign")]);
    let foreign = other.read("k3s.toml");
    store.write("k3s.toml", &format!("{}{foreign}", store.read("k3s.toml")));
    refused(
        &store,
        What::Added,
        &["k3s/z", "the seal does not know it", "line"],
    );
    // Whoever seals it anyway is told what it is.
    let anna = &store.anna;
    let failure = store
        .inspect()
        .accept(&store.everybody(), today())
        .err()
        .unwrap();
    assert!(
        said(&failure).contains("none of the identities"),
        "{failure:?}"
    );
    drop((text, anna));
}

#[test]
fn a_value_of_another_store_with_the_same_readers_is_refused_by_its_header() {
    let store = values();
    let mut other = Store::new();
    let people = [&store.anna, &store.bert];
    other.location = hmco_boot::secrets::store::Location::new(
        other.folder.path().join("second/secrets"),
        other.folder.path().join("state"),
    );
    let mut tree = Tree::create(
        &other.location,
        &recipients(&people),
        store.anna.identities(),
        &approved(&people),
    )
    .unwrap();
    let change = Change::new().set(name("k3s/a"), value("foreign"));
    tree.commit(change, &approved(&people), today()).unwrap();
    let text = store.read("k3s.toml");
    let foreign = armored(&other.read("k3s.toml"), "a");
    store.write("k3s.toml", &text.replace(&armored(&text, "a"), &foreign));
    refused(&store, What::Replaced, &["k3s/a"]);
    let failures = store.inspect().open_all();
    assert_eq!(failures.len(), 1);
    assert!(
        said(&failures[0]).contains("for another store"),
        "{failures:?}"
    );
    assert!(
        said(&failures[0]).contains("secrets/k3s.toml, line"),
        "{failures:?}"
    );
}

#[test]
fn another_store_in_the_place_of_ours_is_refused_and_not_taken_for_new() {
    let store = values();
    let other = Store::holding(&[("k3s/a", "foreign")]);
    let people = [&store.anna, &store.bert];
    let attack = hmco_boot::secrets::store::Location::new(
        store.folder.path().join("attack/secrets"),
        store.folder.path().join("attack/state"),
    );
    Tree::create(
        &attack,
        &recipients(&people),
        store.anna.identities(),
        &approved(&people),
    )
    .unwrap();
    fs::remove_dir_all(&store.location.tree).unwrap();
    fs::rename(&attack.tree, &store.location.tree).unwrap();
    refused(&store, What::OtherStore, &["holds another one", "rm "]);
    assert!(store.inspect().accept(&store.everybody(), today()).is_err());
    drop(other);
}

#[test]
fn a_seal_under_a_key_that_somebody_made_from_public_keys_alone_is_refused() {
    let store = values();
    let id = store.open(Mode::Read).unwrap().id().to_owned();
    let people = [&store.anna, &store.bert];
    // The same id, the same readers, a higher write: all that can be had without any private key.
    let attack = hmco_boot::secrets::store::Location::new(
        store.folder.path().join("attack/secrets"),
        store.folder.path().join("attack/state"),
    );
    let mut tree = Tree::create(
        &attack,
        &recipients(&people),
        store.anna.identities(),
        &approved(&people),
    )
    .unwrap();
    for _ in 0..4 {
        let change = Change::new().set(name("k3s/a"), value("forged"));
        tree.commit(change, &approved(&people), today()).unwrap();
    }
    let theirs = tree.id().to_owned();
    drop(tree);
    let forged = fs::read_to_string(attack.tree.join("manifest.toml")).unwrap();
    store.write("manifest.toml", &forged.replace(&theirs, &id));
    // The header inside of the store key names its store, so a key made for another one does not even open. The forger
    // who knows the format makes one for ours: that is `a_key_leads_back_to_those_before_it_and_to_no_others`.
    let failure = store.open(Mode::Read).err().unwrap();
    assert!(
        said(&failure).contains("made for something else"),
        "{failure:?}"
    );
}

#[test]
fn a_recipient_slipped_in_is_refused_by_name() {
    let store = values();
    let mallory = Person::age(store.folder.path(), "mallory");
    let slipped = recipients(&[&store.anna, &store.bert])
        .with(&mallory.recipient())
        .unwrap();
    store.write("recipients.toml", slipped.text());
    refused(
        &store,
        What::RecipientsChanged,
        &[
            "mallory (fingerprint ",
            "was not in it",
            "secrets rotate",
            "recipients.toml",
        ],
    );
    // Who would seal it or re-key for it has to approve the key first.
    let inspection = store.inspect();
    let failure = inspection
        .accept(&store.everybody(), today())
        .err()
        .unwrap();
    assert!(
        said(&failure).contains("recipients approve mallory"),
        "{failure:?}"
    );
    let inspection = store.inspect();
    let plan = hmco_boot::secrets::rekey::plan(&inspection, &slipped).unwrap();
    let failure =
        hmco_boot::secrets::rekey::carry_out(inspection, &plan, &store.everybody(), &|_, _| {})
            .err()
            .unwrap();
    assert!(said(&failure).contains("not approved"), "{failure:?}");
    assert!(Tree::open(&store.location, mallory.identities(), Mode::Read).is_err());
}

#[test]
fn the_wrong_identity_is_told_whose_values_these_are() {
    let store = values();
    let stranger = Person::age(store.folder.path(), "stranger");
    let failure = Tree::open(&store.location, stranger.identities(), Mode::Read)
        .err()
        .unwrap();
    assert!(failure.hint.is_some(), "{failure:?}");
    let failure = Tree::open(&store.location, Arc::new(Identities::none()), Mode::Read)
        .err()
        .unwrap();
    assert!(failure.hint.is_some(), "{failure:?}");
}

#[test]
fn a_bit_that_flipped_and_a_ciphertext_cut_off_are_told_by_value_file_and_line() {
    for damage in ["flip", "cut", "line"] {
        let store = values();
        let text = store.read("k3s.toml");
        let whole = armored(&text, "b");
        let lines: Vec<&str> = whole.lines().collect();
        let damaged = match damage {
            "flip" => whole.replacen(lines[3], &lines[3].chars().rev().collect::<String>(), 1),
            "cut" => whole[..whole.len() - 60].to_owned(),
            _ => whole.replacen(&format!("{}\n", lines[2]), "", 1),
        };
        store.write("k3s.toml", &text.replace(&whole, &damaged));
        refused(
            &store,
            What::Replaced,
            &["k3s/b", "damaged", "secrets/k3s.toml, line"],
        );
        // Where only opening it can tell, that tells the same.
        let failures = store.inspect().open_all();
        let [failure] = failures.as_slice() else {
            panic!("{failures:?}")
        };
        assert!(
            failure
                .message
                .starts_with("k3s/b: its ciphertext is damaged"),
            "{failure:?}"
        );
    }
}

#[test]
fn lines_of_the_list_changed_by_hand_are_told_by_name() {
    let store = values();
    let manifest = store.read("manifest.toml");
    store.write(
        "manifest.toml",
        &manifest.replacen("\"dns/c sha256:", "\"dns/d sha256:", 1),
    );
    let findings = store.inspect().findings().to_vec();
    let whats: Vec<What> = findings.iter().map(|one| one.what).collect();
    assert!(whats.contains(&What::Unsealed), "{findings:#?}");
    let unsealed = findings
        .iter()
        .find(|one| one.what == What::Unsealed)
        .unwrap();
    assert!(said(&unsealed.failure).contains("the line of dns/d was not written by a reader"));
}

#[test]
fn a_machine_that_sees_the_store_for_the_first_time_says_so_and_then_compares() {
    let store = values();
    let elsewhere = store.elsewhere();
    let first = Tree::open(&elsewhere, store.bert.identities(), Mode::Read).unwrap();
    assert!(
        first
            .warnings()
            .iter()
            .any(|one| one.contains("for the first time"))
    );
    let again = Tree::open(&elsewhere, store.bert.identities(), Mode::Read).unwrap();
    assert!(again.warnings().is_empty(), "{:?}", again.warnings());
}
