//! Files inside a `.tar.gz`: which one a playbook means, and what its bytes are.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::VerifiedFile;
use super::files::hex;
use crate::model::artifact::Member;
use crate::model::outcome::Failure;

/// Bytes that are unpacked at most while looking: an archive that blows up is no release.
const UNPACKED: u64 = 8 << 30;

/// Finds the one regular file whose path is `name` or ends with `/name`, and reads it through. Blocking.
pub fn find(archive: &VerifiedFile, name: &str) -> Result<Member, Failure> {
    let read = archive.open().and_then(|file| look(file, name));
    let found = read.map_err(|error| {
        Failure::new(format!("{} is no .tar.gz that can be read", archive.source))
            .evidence(error.to_string())
            .hint("leave `member` out where the artifact is the file itself")
    })?;
    match found.matches.as_slice() {
        [member] => Ok(member.clone()),
        [] => Err(
            Failure::new(format!("there is no file `{name}` in {}", archive.source))
                .evidence(format!("it has: {}", found.others.join(", ")))
                .hint("`member` is a file's path in the archive, or the end of it"),
        ),
        several => {
            let paths: Vec<&str> = several.iter().map(|member| member.path.as_str()).collect();
            Err(
                Failure::new(format!("`{name}` is several files of {}", archive.source))
                    .evidence(paths.join(", "))
                    .hint("give more of the path in `member`"),
            )
        }
    }
}

/// The bytes of a member, or of the file itself. Blocking, and all in memory: for tests.
#[doc(hidden)]
pub fn read(file: &VerifiedFile, member: Option<&Member>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(member) = member else {
        file.open()?.read_to_end(&mut bytes)?;
        return Ok(bytes);
    };
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file.open()?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if *entry.path_bytes() == *member.path.as_bytes() {
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[derive(Default)]
struct Found {
    matches: Vec<Member>,
    /// Some of the files that do not match.
    others: Vec<String>,
}

fn look(file: impl Read, name: &str) -> io::Result<Found> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file).take(UNPACKED));
    let mut found = Found::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !is(&path, name) {
            if found.others.len() < 20 {
                found.others.push(path);
            }
            continue;
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut size = 0;
        loop {
            let count = entry.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            size += count as u64;
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
        found.matches.push(Member {
            path,
            sha256: hex(&hasher.finalize()),
            size,
        });
    }
    Ok(found)
}

fn is(path: &str, name: &str) -> bool {
    let plain = path.strip_prefix("./").unwrap_or(path);
    plain == name
        || path == name
        || plain
            .strip_suffix(name)
            .is_some_and(|before| before.ends_with('/'))
}
