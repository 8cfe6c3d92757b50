//! Files: what `stat` said, small texts, digests and contents.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::reply::{Part, Reply, complaint, lines};
use crate::facts::digest_cache::DigestCache;
use crate::facts::fact::{Content, Fact, FactError, FileKind, FileStat};
use crate::facts::questions::{self, Hashed, Place, chunks};

/// Answers by path.
type ByPath<T> = BTreeMap<String, Result<T, FactError>>;

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
            let results = results.into_iter().zip(&full).map(|(result, full)| {
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

/// The chunks the script made of a list of paths.
fn in_chunks<'a, T>(items: &'a [T], reply: &Reply<'_>, path: impl Fn(&T) -> &str) -> Vec<&'a [T]> {
    chunks(items, |item| {
        crate::model::shell::quote(&format!("{}{}", reply.root, path(item))).len() + 1
    })
}

/// One thing in a tool's output: an answer with its name, or a complaint.
enum Event {
    Record(String, Vec<u8>),
    Complaint(String),
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

/// Gives each name its record or its complaint. A tool answers in the order of its arguments, one record or one line
/// of complaint for each: a complaint is known by its place, not by the name it quotes in its own way.
fn align(names: &[String], events: Vec<Event>, part: Part<'_>) -> Vec<Result<Vec<u8>, FactError>> {
    let mut results: Vec<Result<Vec<u8>, FactError>> = vec![Err(part.missing()); names.len()];
    let mut complaints: Vec<String> = Vec::new();
    let mut from = 0;
    for event in events {
        match event {
            Event::Complaint(line) => complaints.push(line),
            Event::Record(name, bytes) => {
                let later = names.iter().skip(from).position(|other| *other == name);
                let Some(at) = later.map(|at| from + at) else {
                    continue;
                };
                assign(results.get_mut(from..at), &complaints, false);
                complaints.clear();
                if let Some(result) = results.get_mut(at) {
                    *result = Ok(bytes);
                }
                from = at + 1;
            }
        }
    }
    let unfinished = part.whole().is_err();
    assign(results.get_mut(from..), &complaints, unfinished);
    results
}

/// Complaints to the names between two records; where the numbers do not fit, nobody knows whose they are.
fn assign(gap: Option<&mut [Result<Vec<u8>, FactError>]>, complaints: &[String], unfinished: bool) {
    let gap = gap.unwrap_or_default();
    let fits = gap.len() == complaints.len() || (unfinished && complaints.len() < gap.len());
    for (n, result) in gap.iter_mut().enumerate() {
        match complaints.get(n) {
            Some(line) if fits => *result = Err(complaint(line)),
            Some(line) => *result = Err(FactError::Failed(line.chars().take(300).collect())),
            None => {}
        }
    }
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

/// Small text files.
pub struct Texts {
    found: BTreeMap<String, Text>,
    prefixes: [(Place, String); 3],
    missing: Option<FactError>,
}

/// One small file.
enum Text {
    Lines(Vec<u8>),
    Absent,
    Denied,
    Failed(String),
}

impl Texts {
    pub fn new(facts: &[Fact], reply: &Reply<'_>) -> Self {
        let prefixes = [
            (Place::Machine, String::new()),
            (Place::Root, reply.root.clone()),
            (Place::Run, reply.run_dir.clone()),
        ];
        let mut texts = Self {
            found: BTreeMap::new(),
            prefixes,
            missing: None,
        };
        let names: Vec<String> = questions::text_files(facts)
            .iter()
            .map(|(place, path)| texts.full(*place, path))
            .collect();
        let length = |name: &String| crate::model::shell::quote(name).len() + 1;
        for (n, names) in chunks(&names, length).into_iter().enumerate() {
            match reply
                .part(&format!("files {n}"), "files")
                .and_then(Part::whole)
            {
                Ok(part) => texts.fill(names, part),
                Err(error) => texts.missing = Some(error),
            }
        }
        texts
    }

    fn full(&self, place: Place, path: &str) -> String {
        let prefix = self.prefixes.iter().find(|(other, _)| *other == place);
        format!("{}{path}", prefix.map_or("", |(_, prefix)| prefix))
    }

    fn fill(&mut self, names: &[String], part: Part<'_>) {
        let empty = |name: &String| (name.clone(), Text::Lines(Vec::new()));
        self.found.extend(names.iter().map(empty));
        let mark = format!("{};", part.mark);
        for line in part.body.split(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(mark.as_bytes()) {
                let text = String::from_utf8_lossy(rest);
                if let Some((word, name)) = text.split_once(' ') {
                    let state = match word {
                        "absent" => Text::Absent,
                        "denied" => Text::Denied,
                        _ => Text::Failed("it is not a regular file".to_owned()),
                    };
                    self.found.insert(name.to_owned(), state);
                }
            } else if let Some(rest) = line.strip_prefix(b"grep: ") {
                let text = String::from_utf8_lossy(rest);
                if let Some((name, why)) = text.rsplit_once(": ") {
                    let state = match complaint(why) {
                        FactError::NotFound => Text::Absent,
                        FactError::Denied => Text::Denied,
                        _ => Text::Failed(why.to_owned()),
                    };
                    self.found.insert(name.to_owned(), state);
                }
            } else if let Some((name, content)) = owner(names, line)
                && let Some(Text::Lines(bytes)) = self.found.get_mut(name)
            {
                bytes.extend_from_slice(content);
                bytes.push(b'\n');
            }
        }
    }

    /// The bytes of a file, `None` where there is none.
    pub fn bytes(&self, place: Place, path: &str) -> Result<Option<&[u8]>, FactError> {
        if let Some(error) = &self.missing {
            return Err(error.clone());
        }
        let name = self.full(place, path);
        match self.found.get(&name) {
            Some(Text::Lines(bytes)) => Ok(Some(bytes)),
            Some(Text::Absent) => Ok(None),
            Some(Text::Denied) => Err(FactError::Denied),
            Some(Text::Failed(why)) => Err(FactError::Failed(format!("{name}: {why}"))),
            None => Err(FactError::Failed(format!("no answer: {name} was not read"))),
        }
    }

    /// The text of a file without its last newline, `None` where there is none.
    pub fn text(&self, place: Place, path: &str) -> Result<Option<String>, FactError> {
        Ok(self.bytes(place, path)?.map(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            text.trim_end_matches('\n').to_owned()
        }))
    }

    /// The text of a file of the machine, trimmed; empty where it is not there or not readable.
    pub fn machine(&self, path: &str) -> String {
        match self.text(Place::Machine, path) {
            Ok(Some(text)) => text.trim_matches(['\0', '\n', ' ']).to_owned(),
            _ => String::new(),
        }
    }
}

/// Whose line this is (`NAME:TEXT`): the longest name that fits.
fn owner<'a, 'b>(names: &'a [String], line: &'b [u8]) -> Option<(&'a str, &'b [u8])> {
    names
        .iter()
        .filter_map(|name| {
            let rest = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
            Some((name.as_str(), rest))
        })
        .max_by_key(|(name, _)| name.len())
}

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
        let Some(part) = reply.get(&format!("content {index}")) else {
            return Err(if size > cap {
                FactError::Truncated
            } else if reply.any_timed_out("digests-") {
                FactError::TimedOut
            } else {
                failed("no answer: the content did not come back")
            });
        };
        let part = part.whole().map_err(|error| match error {
            FactError::Failed(_) if reply.any_timed_out("digests-") => FactError::TimedOut,
            other => other,
        })?;
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
    let part = match reply.get(&format!("identity {n}")) {
        Some(part) => part,
        None => {
            let error = reply.part(&format!("identity {n}"), &batch).err();
            return vec![Err(error.unwrap_or(FactError::TimedOut)); targets.len()];
        }
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

/// Whether a later change is sure to show in the identity: the times have nanoseconds (a whole second is taken for a
/// file system or tool without), and the last change lies so far back that the next one gets another time, as clocks
/// of file systems tick in milliseconds.
fn settled(seen: &Identity, now: Option<&Identity>) -> bool {
    let change_time = |text: &str| {
        let (_, times) = text.rsplit_once(" +0000:")?;
        let (seconds, fraction) = times.strip_suffix(" +0000")?.split_once('.')?;
        let precise = fraction.len() == 9 && fraction != "000000000";
        let time = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", seconds).ok()?;
        precise.then_some(time)
    };
    let then = change_time(&seen.text);
    let now = now.and_then(|now| change_time(&now.text));
    match (then, now) {
        (Some(then), Some(now)) => then
            .checked_add(jiff::Span::new().seconds(2))
            .is_ok_and(|safe| safe < now),
        _ => false,
    }
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
    match reply.get(&format!("sha256 {n}")) {
        Some(part) => {
            hashes.missing = part.missing();
            for line in lines(part.body).filter(|line| !line.is_empty()) {
                match hash_line(&line) {
                    Some((hash, path)) => {
                        hashes.found.insert(path, hash);
                    }
                    None => hashes.complaints.push(line),
                }
            }
        }
        None if reply.timed_out(batch) => {}
        None => hashes.missing = failed("no answer: the digests did not come back"),
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

fn failed(why: &str) -> FactError {
    FactError::Failed(why.to_owned())
}
