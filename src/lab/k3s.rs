//! The K3s that a lab's nodes get instead of the pinned release: a file of this machine, a real K3s or the stand-in.

#![expect(
    clippy::disallowed_methods,
    reason = "reads the file that the user names, and asks it for its version"
)]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::command;
use super::files::io_failure;
use crate::model::outcome::Failure;

/// A K3s.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct K3s {
    /// The file, by its whole path.
    pub path: PathBuf,
    /// What it says it is.
    pub version: String,
    /// sha256 in lowercase hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl K3s {
    /// Looks at a file.
    ///
    /// # Errors
    /// Where it cannot be read, or is no K3s for this machine.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let what = "cannot read";
        let path = path
            .canonicalize()
            .map_err(|error| io_failure(what, path, &error))?;
        let version = version(&path)?;
        let mut file = File::open(&path).map_err(|error| io_failure(what, &path, &error))?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut size = 0;
        loop {
            let read = file
                .read(&mut buffer)
                .map_err(|error| io_failure(what, &path, &error))?;
            if read == 0 {
                break;
            }
            digest.update(buffer.get(..read).unwrap_or_default());
            size += read as u64;
        }
        let sha256 = digest.finalize();
        Ok(Self {
            path,
            version,
            sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            size,
        })
    }

    /// As an inventory says it.
    pub fn artifact(&self) -> String {
        let quoted = |text: &str| toml_edit::Value::from(text).to_string();
        format!(
            "\n# K3s of this lab, instead of what hmco-boot.lock pins.\n[[artifact]]\nname = \"k3s\"\nversion = {}\narch = \"{}\"\n\
             url = {}\nsha256 = \"{}\"\nsize = {}\nfetch = \"controller\"\n",
            quoted(&self.version),
            arch(),
            quoted(&format!("file://{}", self.path.display())),
            self.sha256,
            self.size,
        )
    }
}

/// `NAME version VERSION (COMMIT)`; the name is the file's.
fn version(path: &Path) -> Result<String, Failure> {
    let program = path.to_string_lossy();
    let said = command::run(&program, &["--version"])?;
    let first = said.lines().next().unwrap_or_default();
    let version = first.split_whitespace().nth(2).unwrap_or_default();
    if !version.starts_with('v') {
        return Err(Failure::new(format!("{program} is no K3s"))
            .evidence(format!("`{program} --version` says: {first}"))
            .hint("name the binary of a release, or the stand-in (tests/k3s-standin/build.sh)"));
    }
    Ok(version.to_owned())
}

/// This machine's architecture in Debian's words: the nodes' too.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "arm" => "armhf",
        _ => "amd64",
    }
}
