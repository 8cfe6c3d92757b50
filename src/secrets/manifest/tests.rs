use super::*;
use crate::secrets::keys::digest;

fn line(name: &str, write: u64) -> Line {
    Line {
        name: name.parse().unwrap(),
        digest: digest(name.as_bytes()),
        write,
        set_on: jiff::civil::date(2026, 2, 1),
        readers: vec!["0123456789abcdef".parse().unwrap()],
        mac: String::new(),
    }
}

fn sealed(key: &StoreKey) -> Manifest {
    let store = "0123456789abcdef";
    let older = StoreKey::generate().unwrap();
    let mut manifest = Manifest {
        store: store.into(),
        keys: vec!["QUJD".into()],
        heirs: vec![older.heir(store, key)],
        lines: vec![line("k3s/token", 3), line("dns/key", 2)],
        ..Manifest::default()
    };
    for line in &mut manifest.lines {
        *line = line.clone().sealed(store, key);
    }
    manifest.seal(3, &digest(b"recipients"), key);
    manifest
}

#[test]
fn a_manifest_is_toml_and_comes_back_as_it_was_written_whatever_its_line_ends() {
    let key = StoreKey::generate().unwrap();
    let manifest = sealed(&key);
    let text = manifest.text();
    assert!(toml_edit::Document::parse(text.as_str()).is_ok());
    assert_eq!(Manifest::parse(&text).unwrap(), manifest);
    assert_eq!(
        Manifest::parse(&text.replace('\n', "\r\n")).unwrap(),
        manifest
    );
    assert!(!manifest.is_merged());
}

#[test]
fn the_seal_is_over_the_store_the_counter_the_readers_and_every_word_of_every_line() {
    let key = StoreKey::generate().unwrap();
    let manifest = sealed(&key);
    assert!(manifest.valid_seal(&key).is_some());
    assert!(
        manifest
            .valid_seal(&StoreKey::generate().unwrap())
            .is_none()
    );
    let changes: [fn(&mut Manifest); 9] = [
        |one| one.store = "fedcba9876543210".into(),
        |one| one.seals[0].counter = 4,
        |one| one.seals[0].recipients = digest(b"others"),
        |one| drop(one.lines.remove(0)),
        |one| one.lines[0].digest = digest(b"another"),
        |one| one.lines[0].write = 1,
        |one| one.lines[0].set_on = jiff::civil::date(2026, 2, 2),
        |one| one.lines[0].readers.clear(),
        |one| one.lines[0].name = "dns/kez".parse().unwrap(),
    ];
    for change in changes {
        let mut changed = manifest.clone();
        change(&mut changed);
        assert!(changed.valid_seal(&key).is_none(), "{changed:?}");
    }
}

#[test]
fn a_line_bears_its_own_proof() {
    let key = StoreKey::generate().unwrap();
    let line = line("k3s/token", 3).sealed("0123456789abcdef", &key);
    assert!(line.is_by("0123456789abcdef", &key));
    assert!(!line.is_by("fedcba9876543210", &key));
    let other = Line {
        write: 4,
        ..line.clone()
    };
    assert!(!other.is_by("0123456789abcdef", &key));
}

#[test]
fn the_marks_of_a_conflict_are_read_past_and_make_it_a_merged_one() {
    let key = StoreKey::generate().unwrap();
    let text = sealed(&key).text();
    let seal = text
        .lines()
        .find(|line| line.starts_with("  \"3 sha256:"))
        .unwrap();
    let other = seal.replacen("\"3 ", "\"4 ", 1);
    for base in ["", "||||||| base\n  \"2 sha256:00 00\",\n"] {
        let conflict = format!("<<<<<<< HEAD\n{seal}\n{base}=======\n{other}\n>>>>>>> theirs");
        let merged = Manifest::parse(&text.replace(seal, &conflict)).unwrap();
        assert!(merged.is_merged() && merged.marked);
        assert_eq!(merged.seals.len(), 2);
        assert_eq!(merged.counter(), 4);
    }
    // As `merge=union` leaves it.
    let union = Manifest::parse(&text.replace(seal, &format!("{seal}\n{other}"))).unwrap();
    assert!(union.is_merged() && !union.marked);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    let key = StoreKey::generate().unwrap();
    let text = sealed(&key).text();
    for (from, to, why) in [
        ("format = 1", "format = 2", "newer"),
        ("format = 1\n", "", "format"),
        ("store = \"0123456789abcdef\"", "store = \"x\"", "16 hex"),
        ("store = \"0123456789abcdef\"\n", "", "store"),
        ("seals = [", "sales = [", "unknown key"),
        ("\"k3s/token sha256:", "\"k3s/token sha257:", "digest"),
        ("\"k3s/token sha256:", "\"K3s/token sha256:", "name"),
        (" 3 2026-02-01 ", " x 2026-02-01 ", "write"),
        (" 3 2026-02-01 ", " 3 2026-02-31 ", "day"),
        ("2026-02-01 0123456789abcdef", "2026-02-01 anna", "reader"),
        ("\"QUJD\"", "\"QU!D\"", "base64"),
        ("\"QUJD\",", "\"QUJD", "without its end"),
    ] {
        assert!(text.contains(from), "{from}");
        let failure = Manifest::parse(&text.replacen(from, to, 1)).unwrap_err();
        let said = failure.evidence.join("\n");
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(Manifest::parse("").is_err());
}
