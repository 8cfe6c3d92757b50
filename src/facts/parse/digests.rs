//! Digests and contents of regular files.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::align::{ByPath, Event, align, failed, in_chunks};
use super::reply::{Part, Reply, complaint, lines};
use crate::facts::digest_cache::DigestCache;
use crate::facts::fact::{Content, Fact, FactError};
use crate::facts::questions::{self, Hashed};

/// sha256 by path without the root prefix.
pub struct Digests(ByPath<Digested>);

/// sha256 and size of a file.
#[derive(Clone)]
struct Digested {
    sha256: String,
    size: u64,
}

impl Digests {
    pub fn new(facts: &[Fact], reply: &Reply<'_>, cache: &mut DigestCache) -> Self {
        let mut found = BTreeMap::new();
        let targets = questions::hashed(facts);
        let groups = in_chunks(&targets, reply, |target| target.path);
        for (n, chunk) in groups.into_iter().enumerate() {
            let results = group(n, chunk, reply, cache);
            found.extend(chunk.iter().map(|t| t.path.to_owned()).zip(results));
        }
        Self(found)
    }

    pub fn get(&self, path: &str) -> Result<String, FactError> {
        self.digested(path).map(|digested| digested.sha256)
    }

    fn digested(&self, path: &str) -> Result<Digested, FactError> {
        self.0
            .get(path)
            .cloned()
            .unwrap_or_else(|| Err(failed("no answer: sha256sum was not asked")))
    }

    /// Bytes count only with the digest that the target computed by itself: a file that changed in between, or bytes
    /// lost on the way, cannot pass.
    pub fn content(
        &self,
        reply: &Reply<'_>,
        index: usize,
        path: &str,
        unless: &Option<String>,
        cap: u64,
    ) -> Result<Content, FactError> {
        let Digested { sha256, size } = self.digested(path)?;
        if unless.as_ref() == Some(&sha256) {
            return Ok(Content {
                sha256,
                bytes: None,
            });
        }
        let words = format!("content {index}");
        if size > cap && reply.get(&words).is_none() {
            return Err(FactError::Truncated);
        }
        let part = match reply.get(&words).map(Part::whole) {
            Some(Ok(part)) => part,
            _ if reply.any_timed_out("digests-") => return Err(FactError::TimedOut),
            Some(Err(error)) => return Err(error),
            None => return Err(failed("no answer: the content did not come back")),
        };
        let length = u64::try_from(part.body.len()).unwrap_or(u64::MAX);
        if length > cap || hex_sha256(part.body) != sha256 {
            return Err(FactError::Truncated);
        }
        Ok(Content {
            sha256,
            bytes: Some(part.body.to_vec()),
        })
    }
}

/// What `stat` said of a file to be hashed.
struct Identity {
    regular: bool,
    folder: bool,
    size: u64,
    text: String,
}

fn group(
    n: usize,
    targets: &[Hashed<'_>],
    reply: &Reply<'_>,
    cache: &mut DigestCache,
) -> Vec<Result<Digested, FactError>> {
    let batch = format!("digests-{n}");
    let part = match reply.whole(&format!("identity {n}"), &batch) {
        Ok(part) => part,
        Err(error) => return vec![Err(error); targets.len()],
    };
    let mut names = vec!["/proc/self/.".to_owned()];
    names.extend(targets.iter().map(|t| format!("{}{}", reply.root, t.path)));
    let mut seen = align(&names, identity_events(part), part).into_iter();
    let now = seen
        .next()
        .and_then(Result::ok)
        .as_deref()
        .and_then(identity);
    let seen: Vec<Result<Identity, FactError>> = seen
        .map(|result| {
            result
                .and_then(|bytes| identity(&bytes).ok_or_else(|| failed("stat answered nonsense")))
        })
        .collect();
    let hashes = hashes(n, reply, &batch);
    let mut results = Vec::with_capacity(targets.len());
    let mut unanswered = Vec::new();
    for ((target, seen), full) in targets.iter().zip(seen).zip(names.iter().skip(1)) {
        let result = match seen {
            Err(error) => Err(error),
            Ok(seen) if seen.folder => Err(failed("it is a folder, not a regular file")),
            Ok(seen) if !seen.regular => Err(failed("it is not a regular file")),
            Ok(seen) => match hashes.found.get(full) {
                Some(hash) => {
                    if target.cached && settled(&seen, now.as_ref()) {
                        cache.put(full, &reply.boot, &seen.text, hash);
                    }
                    Ok(Digested {
                        sha256: hash.clone(),
                        size: seen.size,
                    })
                }
                None if target.cap.is_some_and(|cap| seen.size > cap) => Err(FactError::Truncated),
                None => {
                    unanswered.push(results.len());
                    Err(hashes.missing.clone())
                }
            },
        };
        results.push(result);
    }
    // One complaint for each file that could not be hashed, in their order.
    if unanswered.len() == hashes.complaints.len() {
        for (at, line) in unanswered.into_iter().zip(&hashes.complaints) {
            if let Some(result) = results.get_mut(at) {
                *result = Err(complaint(line));
            }
        }
    }
    results
}

/// `MARK;HEXMODE SIZE IDENTITY /PATH`, one line each.
fn identity_events(part: Part<'_>) -> Vec<Event> {
    let start = format!("{};", part.mark);
    lines(part.body)
        .filter(|line| !line.is_empty())
        .map(|line| match line.strip_prefix(start.as_str()) {
            Some(rest) => match rest.split_once(" /") {
                Some((facts, path)) => Event::Record(format!("/{path}"), facts.as_bytes().to_vec()),
                None => Event::Complaint(line),
            },
            None => Event::Complaint(line),
        })
        .collect()
}

fn identity(record: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(record).ok()?;
    let mut words = text.splitn(3, ' ');
    let kind = u32::from_str_radix(words.next()?, 16).ok()? & 0o170_000;
    Some(Identity {
        regular: kind == 0o100_000,
        folder: kind == 0o040_000,
        size: words.next()?.parse().ok()?,
        text: words.next()?.to_owned(),
    })
}

/// How long ago, in nanoseconds, the last change has to be so that the next one gets another time: clocks of file systems
/// tick with the kernel's timer, 100 to 1,000 times a second (`CONFIG_HZ`). Two ticks of the slowest.
const TICKS: i128 = 20_000_000;

/// Whether a later change is sure to show in the identity: the times have nanoseconds (a whole second is taken for a
/// file system or tool without), and hashing began some ticks after the last change.
fn settled(seen: &Identity, now: Option<&Identity>) -> bool {
    let change_time = |text: &str| {
        let (_, times) = text.rsplit_once(" +0000:")?;
        let time = times.strip_suffix(" +0000")?;
        let (_, fraction) = time.split_once('.')?;
        let precise = fraction.len() == 9 && fraction != "000000000";
        let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", time).ok()?;
        let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        precise.then(|| time.timestamp().as_nanosecond())
    };
    let then = change_time(&seen.text);
    let now = now.and_then(|now| change_time(&now.text));
    matches!((then, now), (Some(then), Some(now)) if now - then > TICKS)
}

/// What `sha256sum` said.
struct Hashes {
    found: BTreeMap<String, String>,
    complaints: Vec<String>,
    missing: FactError,
}

fn hashes(n: usize, reply: &Reply<'_>, batch: &str) -> Hashes {
    let mut hashes = Hashes {
        found: BTreeMap::new(),
        complaints: Vec::new(),
        missing: FactError::TimedOut,
    };
    match reply.whole(&format!("sha256 {n}"), batch) {
        Ok(part) => {
            // Never a line of the output: it might be the digest of another, secret file.
            hashes.missing = failed("sha256sum gave no digest of it");
            for line in lines(part.body).filter(|line| !line.is_empty()) {
                match hash_line(&line) {
                    Some((hash, path)) => {
                        hashes.found.insert(path, hash);
                    }
                    None => hashes.complaints.push(line),
                }
            }
        }
        Err(error) => hashes.missing = error,
    }
    hashes
}

/// `HASH  PATH`; GNU puts a backslash in front where it had to escape the name.
fn hash_line(line: &str) -> Option<(String, String)> {
    let (escaped, rest) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (hash, path) = rest.split_once("  ")?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let path = if escaped {
        path.replace("\\\\", "\\")
    } else {
        path.to_owned()
    };
    (hash.len() == 64 && hash.bytes().all(hex)).then(|| (hash.to_owned(), path))
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(at: &str) -> Identity {
        Identity {
            regular: true,
            folder: false,
            size: 1,
            text: format!("1:2:1:2026-01-01 00:00:00.500000000 +0000:{at} +0000"),
        }
    }

    #[test]
    fn only_what_was_left_alone_for_some_ticks_is_known_by_its_times() {
        let now = changed("2026-01-01 00:00:01.010000000");
        let is_settled = |at: &str| settled(&changed(at), Some(&now));
        assert!(is_settled("2026-01-01 00:00:00.989999999"));
        assert!(is_settled("2025-12-31 23:59:59.999999999"));
        assert!(!is_settled("2026-01-01 00:00:00.990000000"));
        // Of a file system, or a tool, that knows no fractions; of a clock that was set back.
        assert!(!is_settled("2026-01-01 00:00:00.000000000"));
        assert!(!is_settled("2026-01-01 00:00:00"));
        assert!(!is_settled("2027-01-01 00:00:00.500000000"));
        assert!(!settled(&changed("2026-01-01 00:00:00.500000000"), None));
    }
}
