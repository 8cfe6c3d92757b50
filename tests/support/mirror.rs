//! Where the manifests of real releases are.

use std::path::{Path, PathBuf};

/// The folder that `HMCO_MIRROR` names, else the one beside the project; `None`, and said, where there is none.
pub fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("HMCO_MIRROR").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/upstream");
    let found = named
        .into_iter()
        .chain([beside])
        .find(|path| path.join("SOURCES.toml").is_file());
    if found.is_none() {
        crate::skip::tell("no HMCO_MIRROR names a folder with the manifests of releases");
    }
    found
}
