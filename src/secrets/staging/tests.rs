use super::*;
use crate::secrets::files::Disk;

#[expect(clippy::disallowed_methods, reason = "a test looks at files")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn names(tree: &Path) -> Vec<String> {
    Disk.list(tree).unwrap()
}

fn batch() -> Batch {
    let mut batch = Batch::default();
    batch.write("a.toml", "new a");
    batch.write("new.toml", "new");
    batch.remove("gone.toml");
    batch
}

fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    write(&tree.path().join("a.toml"), "old a");
    write(&tree.path().join("gone.toml"), "old");
    write(&tree.path().join("notes.txt"), "not ours");
    tree
}

#[test]
fn a_change_replaces_adds_and_removes_and_leaves_nothing_behind() {
    let tree = tree();
    commit(&Disk, tree.path(), batch()).unwrap();
    assert_eq!(names(tree.path()), ["a.toml", "new.toml", "notes.txt"]);
    let contents = read(&Disk, tree.path()).unwrap();
    assert_eq!(contents.files["a.toml"], b"new a");
    assert!(!contents.cut_off);
    assert_eq!(recover(&Disk, tree.path()).unwrap(), Recovered::Nothing);
}

#[test]
fn what_was_staged_and_never_counted_is_removed() {
    let tree = tree();
    let folder = tree.path().join(".staging-00");
    Disk.make_folder(&folder, 0o755).unwrap();
    write(&folder.join("a.toml"), "half of it");
    assert_eq!(read(&Disk, tree.path()).unwrap().files["a.toml"], b"old a");
    assert_eq!(recover(&Disk, tree.path()).unwrap(), Recovered::Back);
    assert_eq!(names(tree.path()), ["a.toml", "gone.toml", "notes.txt"]);
}

/// A change that counts, with one of its two files in place.
fn half_done(tree: &Path) -> Marker {
    let marker = Marker {
        folder: ".staging-00".into(),
        files: [
            ("a.toml".to_owned(), Some(digest(b"new a"))),
            ("gone.toml".to_owned(), None),
            ("new.toml".to_owned(), Some(digest(b"new"))),
        ]
        .into(),
    };
    let folder = tree.join(&marker.folder);
    Disk.make_folder(&folder, 0o755).unwrap();
    write(&folder.join("new.toml"), "new");
    write(&tree.join("a.toml"), "new a");
    write(&tree.join(MARKER), &marker.text());
    marker
}

#[test]
fn a_change_that_counts_is_read_as_it_will_be_and_ended_by_the_next_writer() {
    let tree = tree();
    half_done(tree.path());
    let contents = read(&Disk, tree.path()).unwrap();
    assert!(contents.cut_off);
    let found: Vec<&str> = contents.files.keys().map(String::as_str).collect();
    assert_eq!(found, ["a.toml", "new.toml"]);
    assert_eq!(contents.files["new.toml"], b"new");
    assert_eq!(recover(&Disk, tree.path()).unwrap(), Recovered::Forward);
    assert_eq!(names(tree.path()), ["a.toml", "new.toml", "notes.txt"]);
}

#[test]
fn a_change_of_which_a_part_is_gone_or_other_than_it_was_is_refused_and_not_guessed() {
    for spoil in ["gone", "changed", "marker"] {
        let tree = tree();
        half_done(tree.path());
        let staged = tree.path().join(".staging-00/new.toml");
        match spoil {
            "gone" => Disk.remove(&staged).unwrap(),
            "changed" => write(&staged, "something else"),
            _ => write(&tree.path().join(MARKER), "hmco-boot commit 1\n"),
        }
        for failure in [
            read(&Disk, tree.path()).unwrap_err(),
            recover(&Disk, tree.path()).unwrap_err(),
        ] {
            assert!(failure.hint.unwrap().contains("git checkout"), "{spoil}");
        }
        assert!(names(tree.path()).contains(&MARKER.to_owned()));
    }
}

#[test]
fn a_marker_that_leads_out_of_the_folder_is_none() {
    let marker = |folder: &str, name: &str| {
        let files = [(name.to_owned(), None)].into();
        let folder = folder.to_owned();
        Marker { folder, files }.text()
    };
    assert!(Marker::parse(marker(".staging-1", "a.toml").as_bytes()).is_some());
    for bad in [
        marker(".staging-1", "../a.toml"),
        marker(".staging-1", ".."),
        marker(".staging-1/../..", "a.toml"),
        marker("elsewhere", "a.toml"),
    ] {
        assert!(Marker::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn a_disk_that_refuses_leaves_the_tree_as_it_was() {
    let tree = tempfile::tempdir().unwrap();
    let missing = tree.path().join("not/there");
    assert!(commit(&Disk, &missing, batch()).is_ok());
    write(&tree.path().join("file"), "");
    let failure = commit(&Disk, &tree.path().join("file"), batch()).unwrap_err();
    assert!(failure.hint.is_some());
}
