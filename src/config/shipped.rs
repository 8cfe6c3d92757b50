//! The playbooks that are embedded in the binary: all of the repository's `playbooks/`, including the files that they
//! copy to nodes and the examples.

use include_dir::{Dir, DirEntry, include_dir};

// A file that is *added* is noticed at the next build of this file only; `tests/config.rs` compares both lists.
static PLAYBOOKS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");

/// Paths of all embedded files below `playbooks/`, sorted.
pub fn paths() -> Vec<&'static str> {
    let mut found = Vec::new();
    collect(&PLAYBOOKS, &mut found);
    found.sort_unstable();
    found
}

fn collect(folder: &'static Dir<'static>, found: &mut Vec<&'static str>) {
    for entry in folder.entries() {
        match entry {
            DirEntry::Dir(inner) => collect(inner, found),
            DirEntry::File(file) => found.extend(file.path().to_str()),
        }
    }
}

/// The bytes of an embedded file, by its path below `playbooks/`.
pub fn read(path: &str) -> Option<&'static [u8]> {
    PLAYBOOKS.get_file(path).map(include_dir::File::contents)
}
