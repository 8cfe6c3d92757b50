//! The K3s that a lab's nodes get instead of the pinned release: a file of this machine, a real K3s or the stand-in.

#![expect(
    clippy::disallowed_methods,
    reason = "reads the file that the user names, and asks it for its version"
)]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
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
    /// Whether it runs pods: the stand-in only says so.
    #[serde(default)]
    pub real: bool,
}

/// What the stand-in puts on its Nodes, so what is in its binary.
const SIMULATED: &[u8] = b"hmco-boot/simulated";

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
        let words = AhoCorasick::new([SIMULATED])
            .map_err(|error| Failure::new(format!("cannot look for words: {error}")))?;
        let mut digest = Sha256::new();
        // In front of what is read: the end of what was read before, in which the words may begin.
        let mut buffer = vec![0; SIMULATED.len() + (1 << 20)];
        let (mut size, mut real) = (0, true);
        loop {
            let (_, room) = buffer.split_at_mut(SIMULATED.len());
            let read = file
                .read(room)
                .map_err(|error| io_failure(what, &path, &error))?;
            if read == 0 {
                break;
            }
            digest.update(room.get(..read).unwrap_or_default());
            size += read as u64;
            let seen = buffer.get(..SIMULATED.len() + read).unwrap_or_default();
            real = real && !words.is_match(seen);
            buffer.copy_within(read..SIMULATED.len() + read, 0);
        }
        let sha256 = digest.finalize();
        Ok(Self {
            path,
            version,
            sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            size,
            real,
        })
    }

    /// What people should know when another one takes its place: nodes that run K3s take no other version in passing.
    /// `None`, the former one: what is pinned.
    pub fn in_place_of(&self, old: Option<&Self>) -> Option<String> {
        if old.is_some_and(|old| (&old.version, old.real) == (&self.version, self.real)) {
            return None;
        }
        let name = |k3s: &Self| {
            let kind = if k3s.real { "" } else { ", simulated" };
            format!("{} ({}{kind})", k3s.version, k3s.path.display())
        };
        Some(format!(
            "warning: this lab's K3s was {}, and is {} from now on\n\
             hint: nodes on which the former one has been run need `lab down` and `lab up`: a run does not change one for the other",
            old.map_or("what hmco-boot.lock pins".to_owned(), name),
            name(self)
        ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_k3s_of_another_kind_is_told_of_and_another_build_is_not() {
        let old = K3s {
            path: "/old".into(),
            version: "v1.32.2+k3s1".into(),
            sha256: "ab".into(),
            size: 1,
            real: false,
        };
        let built_again = K3s {
            sha256: "cd".into(),
            ..old.clone()
        };
        assert_eq!(built_again.in_place_of(Some(&old)), None);
        let real = K3s {
            path: "/new".into(),
            real: true,
            ..old.clone()
        };
        let told = real.in_place_of(Some(&old)).unwrap();
        assert!(
            told.contains("was v1.32.2+k3s1 (/old, simulated), and is v1.32.2+k3s1 (/new) from"),
            "{told}"
        );
        let newer = K3s {
            version: "v1.34.6+k3s1".into(),
            ..old.clone()
        };
        let told = newer.in_place_of(Some(&old)).unwrap();
        assert!(told.contains("lab down"), "{told}");
        let told = newer.in_place_of(None).unwrap();
        assert!(told.contains("was what hmco-boot.lock pins"), "{told}");
    }

    #[test]
    fn a_stand_in_is_told_from_a_real_one_wherever_its_binary_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k3s");
        let head = "#!/bin/sh\necho 'k3s version v1.32.2+k3s1 (381620ef)'\nexit\n";
        let of = |filler: usize, words: &str| {
            let text = format!("{head}{}{words}", "x".repeat(filler));
            super::super::files::write(&path, &text, 0o755).unwrap();
            let found = K3s::of(&path).unwrap();
            assert_eq!(found.size, text.len() as u64);
            assert_eq!(found.version, "v1.32.2+k3s1");
            found.real
        };
        assert!(of(0, ""));
        assert!(of(3 << 20, "hmco-boot/simulate"));
        // Also across two reads.
        for filler in [0, (1 << 20) - head.len() - 7, (2 << 20) - head.len() - 18] {
            assert!(!of(filler, "hmco-boot/simulated, and more"), "{filler}");
        }
    }
}
