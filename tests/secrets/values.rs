//! Values go in and come back, and the files around them stay as people wrote them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hmco_boot::secrets::SecretValue;
use hmco_boot::secrets::store::{Change, Location, Mode, Outline, Tree};
use jiff::civil::date;

use super::support::*;

#[test]
fn text_of_many_lines_binary_values_and_ten_megabytes_come_back_exactly() {
    let store = Store::new();
    let binary: Vec<u8> = (0..=255).cycle().take(10_000_000).collect();
    let values = [
        ("k3s/token", b"K10abc::server:x".to_vec()),
        ("k3s/empty", Vec::new()),
        ("k3s/lines", b"a\n\nb'''c\r\nd\n".to_vec()),
        ("k3s/bytes", vec![0, 0xff, b'\n', 0x80]),
        ("big/blob", binary),
    ];
    let change = values.iter().fold(Change::new(), |change, (at, bytes)| {
        change.set(name(at), SecretValue::new(bytes.clone()))
    });
    store.change(change).unwrap();
    let tree = store.open(Mode::Read).unwrap();
    for (at, bytes) in &values {
        let value = tree.get(&name(at)).unwrap();
        assert!(value.expose() == bytes.as_slice(), "{at}");
        assert_eq!(value.is_text(), std::str::from_utf8(bytes).is_ok(), "{at}");
    }
    let names: Vec<_> = values.iter().map(|(at, _)| name(at)).collect();
    let all = tree.get_many(&names);
    for ((at, bytes), value) in values.iter().zip(all) {
        assert!(value.unwrap().expose() == bytes.as_slice(), "{at}");
    }
}

#[test]
fn one_value_changed_changes_only_its_own_lines_and_words_of_people_stay() {
    let store = Store::holding(&[("k3s/a", "one"), ("k3s/t/b", "two"), ("dns/c", "three")]);
    let commented = format!("# what this is\n\n{}# the end\n", store.read("k3s.toml"));
    store.write("k3s.toml", &commented);
    let other = fs::metadata(store.path("dns.toml"))
        .unwrap()
        .modified()
        .unwrap();
    store.set(&[("k3s/t/b", "new")]);
    let (before, after) = (
        armored(&commented, "b"),
        armored(&store.read("k3s.toml"), "b"),
    );
    assert_ne!(before, after);
    assert_eq!(store.read("k3s.toml"), commented.replace(&before, &after));
    assert_eq!(
        fs::metadata(store.path("dns.toml"))
            .unwrap()
            .modified()
            .unwrap(),
        other
    );
    assert_eq!(store.get("k3s/a").unwrap(), "one");
    assert_eq!(store.get("k3s/t/b").unwrap(), "new");
}

#[test]
fn a_tree_with_the_line_ends_of_windows_opens_and_keeps_them() {
    let store = Store::holding(&[("k3s/a", "one"), ("k3s/b", "two")]);
    for file in ["k3s.toml", "manifest.toml", "recipients.toml"] {
        store.write(file, &store.read(file).replace('\n', "\r\n"));
    }
    assert_eq!(store.get("k3s/a").unwrap(), "one");
    store.set(&[("k3s/a", "new"), ("k3s/z", "more")]);
    let text = store.read("k3s.toml");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert_eq!(store.get("k3s/z").unwrap(), "more");
}

#[test]
fn removing_takes_the_value_and_the_last_one_its_file() {
    let store = Store::holding(&[("k3s/a", "one"), ("dns/b", "two")]);
    store.change(Change::new().remove(name("dns/b"))).unwrap();
    assert!(!store.path("dns.toml").exists());
    let tree = store.open(Mode::Read).unwrap();
    assert_eq!(tree.entries().len(), 1);
    let failure = store
        .change(Change::new().remove(name("k3s/b")))
        .unwrap_err();
    assert!(
        said(&failure).contains("did you mean \"k3s/a\""),
        "{failure:?}"
    );
}

#[test]
fn a_missing_name_is_told_with_the_nearest_and_nothing_is_made_of_it() {
    let store = Store::holding(&[("k3s/token", "one")]);
    let before = store.read("manifest.toml");
    let failure = store.get("k3s/tokn").unwrap_err();
    assert!(
        said(&failure).contains("did you mean \"k3s/token\""),
        "{failure:?}"
    );
    assert_eq!(store.read("manifest.toml"), before);
}

#[test]
fn entries_say_place_readers_and_day_without_opening_anything() {
    let store = Store::holding(&[("k3s/a", "one")]);
    let later = date(2026, 3, 1);
    let change = Change::new().set(name("k3s/t/b"), value("two"));
    let mut tree = store.open(Mode::Write).unwrap();
    tree.commit(change, &store.everybody(), later).unwrap();
    let outline = Outline::read(&store.location).unwrap();
    assert_eq!(outline.entries(), tree.entries());
    assert_eq!(outline.store(), Some(tree.id()));
    let [a, b] = outline.entries() else { panic!() };
    assert_eq!((a.set_on, b.set_on), (Some(today()), Some(later)));
    assert_eq!(a.readers.len(), 2);
    assert!(b.file.ends_with("secrets/k3s.toml"));
    let text = store.read("k3s.toml");
    assert!(text.lines().nth(b.line - 1).unwrap().starts_with("b = "));
}

#[test]
fn a_store_is_made_once_and_never_over_something() {
    let store = Store::holding(&[("k3s/a", "one")]);
    let people = [&store.anna, &store.bert];
    let again = || {
        Tree::create(
            &store.location,
            &recipients(&people),
            store.anna.identities(),
            &approved(&people),
        )
    };
    assert!(said(&again().err().unwrap()).contains("nothing is made anew"));
    fs::remove_file(store.path("manifest.toml")).unwrap();
    assert!(said(&again().err().unwrap()).contains("nothing is made anew"));
    let failure = store.open(Mode::Write).err().unwrap();
    assert!(said(&failure).contains("git checkout"), "{failure:?}");
    assert!(!store.path("manifest.toml").exists());
}

#[test]
fn where_there_is_no_store_the_failure_says_how_to_make_one_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let person = Person::age(folder.path(), "anna");
    let location = Location::new(folder.path().join("secrets"), folder.path().join("state"));
    for mode in [Mode::Read, Mode::Write] {
        let failure = Tree::open(&location, person.identities(), mode)
            .err()
            .unwrap();
        assert!(said(&failure).contains("secrets init"), "{failure:?}");
    }
    assert!(!location.tree.exists() && !location.state.exists());
    assert!(Outline::read(&location).unwrap().entries().is_empty());
}

#[test]
fn one_writes_at_a_time_and_the_other_is_told() {
    let store = Store::holding(&[("k3s/a", "one")]);
    let first = store.open(Mode::Write).unwrap();
    let failure = store.open(Mode::Write).err().unwrap();
    assert!(said(&failure).contains("another hmco-boot"), "{failure:?}");
    assert_eq!(store.get("k3s/a").unwrap(), "one");
    drop(first);
    store.open(Mode::Write).unwrap();
}

#[test]
fn a_tree_opened_to_read_writes_nothing() {
    let store = Store::holding(&[("k3s/a", "one")]);
    let mut tree = store.open(Mode::Read).unwrap();
    let change = Change::new().set(name("k3s/a"), value("two"));
    assert!(tree.commit(change, &store.everybody(), today()).is_err());
    assert_eq!(store.get("k3s/a").unwrap(), "one");
}

#[test]
fn what_is_kept_outside_is_for_this_user_only_and_shows_no_value() {
    let store = Store::holding(&[("k3s/a", "canary-of-this-test")]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.location.state), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&store.location.state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        assert!(!fs::read_to_string(&path).unwrap().contains("canary"));
        files += 1;
    }
    assert_eq!(files, 2);
    for entry in fs::read_dir(&store.location.tree).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            !fs::read_to_string(&path).unwrap().contains("canary"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_value_never_shows_itself() {
    let value = value("canary");
    assert!(!format!("{value:?} {:#?}", Some(&value)).contains("canary"));
}

#[test]
fn after_a_refused_change_the_same_tree_can_be_changed() {
    let store = Store::holding(&[("k3s/a", "one")]);
    let mut tree = store.open(Mode::Write).unwrap();
    let change = || Change::new().set(name("k3s/a"), value("two"));
    let nobody = approved(&[]);
    let failure = tree.commit(change(), &nobody, today()).unwrap_err();
    assert!(
        said(&failure).contains("recipients approve anna"),
        "{failure:?}"
    );
    tree.commit(change(), &store.everybody(), today()).unwrap();
    assert_eq!(tree.get(&name("k3s/a")).unwrap().text(), Some("two"));
}
