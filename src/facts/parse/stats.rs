//! What `stat` said.

use std::collections::BTreeMap;

use super::align::{ByPath, Event, align, failed, in_chunks};
use super::reply::{Part, Reply};
use crate::facts::fact::{Fact, FactError, FileKind, FileStat};
use crate::facts::questions;

/// What `stat` said, by path without the root prefix.
pub struct Stats(ByPath<FileStat>);

impl Stats {
    pub fn new(facts: &[Fact], reply: &Reply<'_>) -> Self {
        let mut found = BTreeMap::new();
        let paths = questions::stat_paths(facts);
        for (n, chunk) in in_chunks(&paths, reply, |path| path)
            .into_iter()
            .enumerate()
        {
            let full: Vec<String> = chunk.iter().map(|p| format!("{}{p}", reply.root)).collect();
            let results = match reply.part(&format!("stat {n}"), "stat") {
                Ok(part) => align(&full, stat_events(part), part),
                Err(error) => vec![Err(error); full.len()],
            };
            let results = results.into_iter().zip(&full).enumerate();
            let results = results.map(|(index, (result, full))| {
                let result = match result {
                    // The batch hung, and each path was asked by itself.
                    Err(FactError::TimedOut) => alone(reply, &format!("stat {n}.{index}"), full),
                    result => result,
                };
                result.and_then(|record| {
                    file_stat(&record, full).ok_or_else(|| failed("stat answered nonsense"))
                })
            });
            found.extend(chunk.iter().map(|p| (*p).to_owned()).zip(results));
        }
        Self(found)
    }

    pub fn get(&self, path: &str) -> Result<FileStat, FactError> {
        self.0
            .get(path)
            .cloned()
            .unwrap_or_else(|| Err(failed("no answer: stat was not asked")))
    }
}

/// What `stat` said of one path in a frame of its own.
fn alone(reply: &Reply<'_>, frame: &str, full: &str) -> Result<Vec<u8>, FactError> {
    let Some(part) = reply.get(frame) else {
        return Err(FactError::TimedOut);
    };
    let full = [full.to_owned()];
    let mut results = align(&full, stat_events(part), part);
    results.pop().unwrap_or(Err(FactError::TimedOut))
}

/// Records of `stat`: from `MARK;PATH` to `MARK.`, whatever bytes a link's text has.
fn stat_events(part: Part<'_>) -> Vec<Event> {
    let (start, end) = (format!("{};", part.mark), format!("{}.", part.mark));
    let mut events = Vec::new();
    let mut open: Option<(String, Vec<u8>)> = None;
    for line in part.body.split(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(start.as_bytes()) {
            open = Some((String::from_utf8_lossy(name).into_owned(), Vec::new()));
        } else if line == end.as_bytes() {
            events.extend(open.take().map(|(name, bytes)| Event::Record(name, bytes)));
        } else if let Some((_, bytes)) = &mut open {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        } else if !line.is_empty() {
            events.push(Event::Complaint(String::from_utf8_lossy(line).into_owned()));
        }
    }
    events
}

/// `HEXMODE UID GID LINKS SIZE IDENTITY`, user, group, and name with the text of a link.
fn file_stat(record: &[u8], full: &str) -> Option<FileStat> {
    let mut parts = record.splitn(4, |byte| *byte == b'\n');
    let mut text = || {
        parts
            .next()
            .map(|part| String::from_utf8_lossy(part).into_owned())
    };
    let (numbers, user, group, name) = (text()?, text()?, text()?, text()?);
    let mut words = numbers.splitn(6, ' ');
    let raw = u32::from_str_radix(words.next()?, 16).ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (uid, gid, links, size) = (number()?, number()?, number()?, number()?);
    let (uid, gid) = (u32::try_from(uid).ok()?, u32::try_from(gid).ok()?);
    let identity = words.next()?.to_owned();
    let kind = match raw & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Symlink,
        _ => FileKind::Special,
    };
    let link_target = match kind {
        FileKind::Symlink => Some(link_text(name.strip_suffix('\n')?, full)?.to_owned()),
        _ => None,
    };
    let named = |name: String, id: u32| match name.as_str() {
        "UNKNOWN" | "" => id.to_string(),
        _ => name,
    };
    Some(FileStat {
        kind,
        mode: raw & 0o7777,
        uid,
        user: named(user, uid),
        gid,
        group: named(group, gid),
        size,
        links,
        identity,
        link_target,
    })
}

/// GNU (literal quoting) writes `NAME -> TEXT`, busybox `'NAME' -> 'TEXT'`; nothing is escaped.
fn link_text<'a>(name: &'a str, full: &str) -> Option<&'a str> {
    if let Some(text) = name
        .strip_prefix(full)
        .and_then(|rest| rest.strip_prefix(" -> "))
    {
        return Some(text);
    }
    name.strip_prefix('\'')?
        .strip_prefix(full)?
        .strip_prefix("' -> '")?
        .strip_suffix('\'')
}
