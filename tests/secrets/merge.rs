//! The real git: two branches, each with its own values; what merges by itself, and how it is sealed again.

use hmco_boot::secrets::approved::Approved;
use hmco_boot::secrets::rekey;
use hmco_boot::secrets::store::{Change, Coming, Inspection, Location, Mode, Tree};
use hmco_boot::secrets::verify::What;

use super::support::*;

/// A store in a repository, with this in its first commit.
fn repository(values: &[(&str, &str)]) -> Store {
    let store = Store::holding(values);
    let project = store.location.tree.parent().unwrap();
    git(project, &["init", "-q"]);
    commit(&store, "first");
    store
}

fn commit(store: &Store, words: &str) {
    let project = store.location.tree.parent().unwrap();
    git(project, &["add", "-A"]);
    git(project, &["commit", "-q", "-m", words]);
}

fn run(store: &Store, args: &[&str]) -> (bool, String) {
    try_git(store.location.tree.parent().unwrap(), args)
}

/// Bert's machine: it has its own memory, and the same clone, since git can only be in one branch at a time.
fn berts(store: &Store) -> Location {
    Location::new(&store.location.tree, store.folder.path().join("bert"))
}

fn by_bert(store: &Store, change: Change) {
    let mut tree = Tree::open(&berts(store), store.bert.identities(), Mode::Write).unwrap();
    tree.commit(change, &store.everybody(), today()).unwrap();
}

/// Anna sets `ours` on main, Bert `theirs` on his branch, and Anna merges. Whether git could by itself, and what it said.
fn merged(store: &Store, ours: &[(&str, &str)], theirs: &[(&str, &str)]) -> (bool, String) {
    assert!(run(store, &["checkout", "-q", "-b", "bert"]).0);
    let change = theirs.iter().fold(Change::new(), |change, (at, text)| {
        change.set(name(at), value(text))
    });
    by_bert(store, change);
    commit(store, "bert's");
    assert!(run(store, &["checkout", "-q", "main"]).0);
    store.set(ours);
    commit(store, "anna's");
    run(store, &["merge", "-q", "bert"])
}

#[test]
fn two_branches_with_values_of_one_file_merge_by_themselves_and_are_sealed_after_a_look() {
    let store = repository(&[
        ("k3s/a", "1"),
        ("k3s/b", "2"),
        ("k3s/c", "3"),
        ("k3s/t/d", "4"),
    ]);
    let (ok, text) = merged(
        &store,
        &[("k3s/a", "anna's"), ("k3s/b2", "new by anna")],
        &[
            ("k3s/b", "bert's"),
            ("k3s/t/e", "new by bert"),
            ("dns/x", "new file"),
        ],
    );
    assert!(ok, "{text}");
    let failure = store.open(Mode::Read).err().unwrap();
    assert!(
        said(&failure).contains("check --accept-merge"),
        "{failure:?}"
    );
    let inspection = store.inspect();
    let whats: Vec<What> = inspection.findings().iter().map(|one| one.what).collect();
    assert_eq!(whats, [What::Merged], "{:#?}", inspection.findings());
    let came: Vec<(String, Coming, bool)> = inspection
        .changes()
        .into_iter()
        .map(|one| (one.name.to_string(), one.change, one.proven))
        .collect();
    let expected = [
        ("dns/x", Coming::Added),
        ("k3s/b", Coming::Changed),
        ("k3s/t/e", Coming::Added),
    ];
    assert_eq!(
        came,
        expected.map(|(name, change)| (name.to_owned(), change, true))
    );
    assert!(inspection.open_all().is_empty());
    let tree = inspection.accept(&store.everybody(), today()).unwrap();
    assert_eq!(tree.counter(), 4);
    drop(tree);
    for (at, text) in [
        ("k3s/a", "anna's"),
        ("k3s/b", "bert's"),
        ("k3s/b2", "new by anna"),
        ("k3s/c", "3"),
        ("k3s/t/d", "4"),
        ("k3s/t/e", "new by bert"),
        ("dns/x", "new file"),
    ] {
        assert_eq!(store.get(at).unwrap(), text, "{at}");
    }
    // Bert pulls what was sealed: his machine takes it, since it is newer and by the same key.
    Tree::open(&berts(&store), store.bert.identities(), Mode::Read).unwrap();
}

#[test]
fn a_merge_without_the_attributes_leaves_marks_in_the_list_and_is_sealed_the_same_way() {
    let store = repository(&[("k3s/a", "1"), ("k3s/b", "2"), ("k3s/c", "3")]);
    std::fs::remove_file(store.path(".gitattributes")).unwrap();
    commit(&store, "no attributes");
    let (ok, text) = merged(&store, &[("k3s/a", "anna's")], &[("k3s/c", "bert's")]);
    assert!(!ok && text.contains("manifest.toml"), "{text}");
    assert!(!text.contains("conflict in secrets/k3s.toml"), "{text}");
    assert!(store.read("manifest.toml").contains("<<<<<<<"));
    let failure = store.open(Mode::Read).err().unwrap();
    assert!(
        said(&failure).contains("came through a merge"),
        "{failure:?}"
    );
    store.inspect().accept(&store.everybody(), today()).unwrap();
    assert!(!store.read("manifest.toml").contains("<<<<<<<"));
    assert_eq!(store.get("k3s/a").unwrap(), "anna's");
    assert_eq!(store.get("k3s/c").unwrap(), "bert's");
}

#[test]
fn one_value_changed_on_both_sides_is_a_conflict_of_that_value_and_names_it() {
    let store = repository(&[("k3s/a", "1"), ("k3s/t/b", "2"), ("k3s/t/c", "3")]);
    let (ok, text) = merged(
        &store,
        &[("k3s/t/b", "anna's")],
        &[("k3s/t/b", "bert's"), ("k3s/a", "x")],
    );
    assert!(!ok, "{text}");
    let failure = store.open(Mode::Read).err().unwrap();
    let told = said(&failure);
    assert!(
        told.contains("k3s.toml holds a merge that nobody resolved"),
        "{told}"
    );
    assert!(
        told.contains("in k3s/t/b") && !told.contains("in k3s/t/c"),
        "{told}"
    );
    // Taking one side whole in the file, as anybody would.
    let (ok, text) = run(&store, &["checkout", "--theirs", "--", "secrets/k3s.toml"]);
    assert!(ok, "{text}");
    store.inspect().accept(&store.everybody(), today()).unwrap();
    assert_eq!(store.get("k3s/t/b").unwrap(), "bert's");
    assert_eq!(store.get("k3s/a").unwrap(), "x");
}

#[test]
fn a_re_key_on_one_branch_and_a_value_on_the_other_come_together() {
    let store = repository(&[("k3s/a", "1"), ("dns/b", "2")]);
    assert!(run(&store, &["checkout", "-q", "-b", "bert"]).0);
    by_bert(&store, Change::new().set(name("new/x"), value("bert's")));
    commit(&store, "bert's");
    assert!(run(&store, &["checkout", "-q", "main"]).0);
    let inspection = store.inspect();
    let same = inspection.recipients().clone();
    let plan = rekey::plan(&inspection, &same).unwrap();
    rekey::carry_out(inspection, &plan, &store.everybody(), &|_, _| {}).unwrap();
    commit(&store, "re-key");
    let (ok, text) = run(&store, &["merge", "-q", "bert"]);
    assert!(ok, "{text}");
    let inspection = store.inspect();
    // Bert's line is under the key of before: it cannot count as proven.
    let changes = inspection.changes();
    let came: Vec<_> = changes
        .iter()
        .map(|one| (one.name.as_str(), one.proven))
        .collect();
    assert_eq!(came, [("new/x", false)]);
    inspection.accept(&store.everybody(), today()).unwrap();
    assert_eq!(store.get("new/x").unwrap(), "bert's");
    Tree::open(&berts(&store), store.bert.identities(), Mode::Read).unwrap();
}

#[test]
fn two_re_keys_at_once_end_in_a_third_key_that_both_machines_trust() {
    let store = repository(&[("k3s/a", "1")]);
    let rekeyed = |location: &Location, who: &Person| {
        let inspection = Inspection::of(location, who.identities(), Mode::Write).unwrap();
        let same = inspection.recipients().clone();
        let plan = rekey::plan(&inspection, &same).unwrap();
        rekey::carry_out(inspection, &plan, &store.everybody(), &|_, _| {}).unwrap();
    };
    assert!(run(&store, &["checkout", "-q", "-b", "bert"]).0);
    rekeyed(&berts(&store), &store.bert);
    commit(&store, "bert's");
    assert!(run(&store, &["checkout", "-q", "main"]).0);
    rekeyed(&store.location, &store.anna);
    commit(&store, "anna's");
    let (ok, _) = run(&store, &["merge", "-q", "bert"]);
    assert!(!ok, "the value was changed on both sides");
    assert!(run(&store, &["checkout", "--ours", "--", "secrets/k3s.toml"]).0);
    store.inspect().accept(&store.everybody(), today()).unwrap();
    assert_eq!(store.get("k3s/a").unwrap(), "1");
    let bert = Tree::open(&berts(&store), store.bert.identities(), Mode::Read).unwrap();
    assert_eq!(bert.get(&name("k3s/a")).unwrap().text(), Some("1"));
}

#[test]
fn what_a_stranger_merges_in_is_shown_as_not_proven_and_a_new_reader_asks_for_approval() {
    let store = repository(&[("k3s/a", "1"), ("k3s/b", "2")]);
    let mallory = Person::age(store.folder.path(), "mallory");
    let slipped = recipients(&[&store.anna, &store.bert])
        .with(&mallory.recipient())
        .unwrap();
    assert!(run(&store, &["checkout", "-q", "-b", "mallory"]).0);
    store.write("recipients.toml", slipped.text());
    // With the public keys and the format, a value for its place can be made; no line of the list can.
    let outline = hmco_boot::secrets::store::Outline::read(&store.location).unwrap();
    let people = [&store.anna, &store.bert];
    let header = hmco_boot::secrets::format::Header::new(
        outline.store().unwrap(),
        "k3s/b",
        true,
        people.iter().map(|one| one.key.fingerprint()),
    );
    let keys: Vec<_> = people.iter().map(|one| &one.key).collect();
    let forged = hmco_boot::secrets::cipher::encrypt(&header, b"forged", &keys).unwrap();
    let text = store.read("k3s.toml");
    store.write(
        "k3s.toml",
        &text.replace(&armored(&text, "b"), forged.trim_end()),
    );
    commit(&store, "harmless");
    assert!(run(&store, &["checkout", "-q", "main"]).0);
    store.set(&[("k3s/a", "anna's")]);
    commit(&store, "anna's");
    let (ok, text) = run(&store, &["merge", "-q", "mallory"]);
    assert!(ok, "{text}");
    let inspection = store.inspect();
    let whats: Vec<What> = inspection.findings().iter().map(|one| one.what).collect();
    assert_eq!(whats, [What::Replaced, What::RecipientsChanged]);
    let changes = inspection.changes();
    let came: Vec<_> = changes
        .iter()
        .map(|one| (one.name.as_str(), one.proven))
        .collect();
    assert_eq!(came, [("k3s/b", false)]);
    let failure = inspection
        .accept(&store.everybody(), today())
        .err()
        .unwrap();
    assert!(
        said(&failure).contains("recipients approve mallory"),
        "{failure:?}"
    );
    assert!(store.inspect().accept(&Approved::none(), today()).is_err());
}
