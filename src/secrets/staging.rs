//! Several files of the tree replaced as one, whatever happens in between.
//!
//! The new files are written to a staging folder inside of the tree and brought to the disk; then a marker, which names the
//! folder and the digest of every file, takes its name in one rename: that is the moment the change counts. Then file by
//! file takes its place, and marker and folder go. Whoever opens the tree for writing ends what was cut off: with a marker
//! forward, without one back. Who only reads it with a marker there reads through the staging folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::files::Files;
use super::keys::{digest, hex};
use crate::model::outcome::Failure;

/// The marker of a change that counts.
const MARKER: &str = ".commit";
/// How staging folders begin.
const STAGING: &str = ".staging-";
/// The marker's first line.
const HEAD: &str = "hmco-boot commit 1";
/// Ciphertext is no secret.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// A change of files: their new bytes, or `None` for those to be removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    files: BTreeMap<String, Option<Vec<u8>>>,
}

impl Batch {
    /// A file with these bytes.
    pub fn write(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(name.into(), Some(bytes.into()));
    }

    /// A file no more.
    pub fn remove(&mut self, name: impl Into<String>) {
        self.files.insert(name.into(), None);
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// What a marker says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Marker {
    folder: String,
    /// By name the digest of the new bytes; `None`: removed.
    files: BTreeMap<String, Option<String>>,
}

impl Marker {
    fn text(&self) -> String {
        let mut text = format!("{HEAD}\nstaging {}\n", self.folder);
        for (name, digest) in &self.files {
            match digest {
                Some(digest) => text.push_str(&format!("write {name} {digest}\n")),
                None => text.push_str(&format!("remove {name}\n")),
            }
        }
        format!("{text}list {}\n", digest(text.as_bytes()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (list, end) = text.rsplit_once("list ")?;
        if end.strip_suffix('\n')? != digest(list.as_bytes()) {
            return None;
        }
        let mut lines = list.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let folder = lines.next()?.strip_prefix("staging ")?;
        if !folder.starts_with(STAGING) || !is_plain(folder) {
            return None;
        }
        let mut files = BTreeMap::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let (name, digest) = match words.as_slice() {
                ["write", name, digest] => (*name, Some((*digest).to_owned())),
                ["remove", name] => (*name, None),
                _ => return None,
            };
            if !is_plain(name) {
                return None;
            }
            files.insert(name.to_owned(), digest);
        }
        Some(Self {
            folder: folder.to_owned(),
            files,
        })
    }
}

/// A name of a file in the folder itself: it leads nowhere else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains('/')
}

/// The tree's folder, seen through a change that was cut off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    /// The files of TOML, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether a change was cut off after it counted.
    pub cut_off: bool,
}

fn trouble(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "give the folder to this user",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
        _ => "see that the folder is there and the disk is well",
    };
    Failure::new(format!("{}: {error}", path.display())).hint(hint)
}

fn marker(files: &dyn Files, tree: &Path) -> Result<Option<Marker>, Failure> {
    let path = tree.join(MARKER);
    match files.read(&path).map_err(|error| trouble(&path, &error))? {
        None => Ok(None),
        Some(bytes) => Marker::parse(&bytes).map(Some).ok_or_else(|| {
            Failure::new(format!("{} is damaged", path.display()))
                .evidence("it says how a change that was cut off has to end")
                .hint(format!(
                    "take the tree back from git (git checkout -- {0}), then remove {1} and {0}/{STAGING}*",
                    tree.display(),
                    path.display()
                ))
        }),
    }
}

/// Reads the tree's files of TOML. A change that counts and was cut off is read as it will be.
///
/// # Errors
///
/// A file that cannot be read; a cut-off change of which a part is gone.
pub fn read(files: &dyn Files, tree: &Path) -> Result<Contents, Failure> {
    let failed = |error: &io::Error| trouble(tree, error);
    let marker = marker(files, tree)?;
    let mut found = BTreeMap::new();
    for name in files.list(tree).map_err(|error| failed(&error))? {
        if name.ends_with(".toml") && !name.starts_with('.') {
            let path = tree.join(&name);
            let bytes = files.read(&path).map_err(|error| trouble(&path, &error))?;
            // Gone since it was listed: somebody writes, and who reads looks again.
            found.extend(bytes.map(|bytes| (name, bytes)));
        }
    }
    for (name, wanted) in marker.iter().flat_map(|marker| &marker.files) {
        match (wanted, &marker) {
            (Some(wanted), Some(marker)) => {
                if found.get(name).is_none_or(|bytes| digest(bytes) != *wanted) {
                    let path = tree.join(&marker.folder).join(name);
                    let staged = files.read(&path).map_err(|error| trouble(&path, &error))?;
                    let staged = staged.filter(|bytes| digest(bytes) == *wanted);
                    let bytes = staged.ok_or_else(|| lost(tree, name))?;
                    if name.ends_with(".toml") {
                        found.insert(name.clone(), bytes);
                    }
                }
            }
            _ => drop(found.remove(name)),
        }
    }
    Ok(Contents {
        files: found,
        cut_off: marker.is_some(),
    })
}

fn lost(tree: &Path, name: &str) -> Failure {
    let path = tree.join(name);
    Failure::new(format!(
        "a change that was cut off cannot be ended: the new {} is gone",
        path.display()
    ))
    .hint(format!(
        "take the tree back from git (git checkout -- {0}), then remove {0}/{MARKER} and {0}/{STAGING}*",
        tree.display()
    ))
}

/// What [`recover`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovered {
    /// Nothing was cut off.
    Nothing,
    /// A change that counted was ended.
    Forward,
    /// A change that did not count yet was removed.
    Back,
}

/// Ends what was cut off. The caller holds the tree's lock.
///
/// # Errors
///
/// The disk; a part of the change is gone.
pub fn recover(files: &dyn Files, tree: &Path) -> Result<Recovered, Failure> {
    let mut done = Recovered::Nothing;
    if let Some(marker) = marker(files, tree)? {
        finish(files, tree, &marker)?;
        done = Recovered::Forward;
    }
    let names = files.list(tree).map_err(|error| trouble(tree, &error))?;
    for name in names.iter().filter(|name| name.starts_with(STAGING)) {
        clear(files, &tree.join(name)).map_err(|error| trouble(&tree.join(name), &error))?;
        if done == Recovered::Nothing {
            done = Recovered::Back;
        }
    }
    Ok(done)
}

/// Removes a staging folder with all in it.
fn clear(files: &dyn Files, folder: &Path) -> io::Result<()> {
    for name in files.list(folder)? {
        files.remove(&folder.join(name))?;
    }
    files.remove_folder(folder)
}

/// Carries out a change. The caller holds the tree's lock and recovered it.
///
/// # Errors
///
/// The disk. Where the failure came before the change counted, the tree is as it was; else the next one who opens the tree
/// for writing ends it, and the failure says so.
pub fn commit(files: &dyn Files, tree: &Path, batch: Batch) -> Result<(), Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
    let marker = Marker {
        folder: format!("{STAGING}{}", hex(&random)),
        files: batch
            .files
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.as_deref().map(digest)))
            .collect(),
    };
    let folder = tree.join(&marker.folder);
    if let Err(error) = stage(files, tree, &folder, &batch, &marker) {
        match files.read(&tree.join(MARKER)) {
            // The failure came after the change began to count.
            Ok(Some(_)) => {}
            Ok(None) => {
                // What cannot be removed now is by the next one who writes.
                drop(clear(files, &folder));
                return Err(trouble(tree, &error));
            }
            Err(_) => return Err(trouble(tree, &error)),
        }
    }
    finish(files, tree, &marker).map_err(|failure| {
        failure.evidence("the change counts already; the next command that writes secrets ends it")
    })
}

/// Until the change counts.
fn stage(
    files: &dyn Files,
    tree: &Path,
    folder: &Path,
    batch: &Batch,
    marker: &Marker,
) -> io::Result<()> {
    files.make_folder(folder, FOLDER_MODE)?;
    let new: Vec<_> = batch
        .files
        .iter()
        .filter_map(|(name, bytes)| Some((folder.join(name), bytes.as_ref()?)))
        .collect();
    for (path, bytes) in &new {
        files.write(path, bytes, FILE_MODE)?;
    }
    // All are under way before the first is waited for.
    for (path, _) in &new {
        files.sync_file(path)?;
    }
    let waiting = folder.join(MARKER);
    files.write(&waiting, marker.text().as_bytes(), FILE_MODE)?;
    files.sync_file(&waiting)?;
    files.sync_folder(folder)?;
    files.sync_folder(tree)?;
    files.rename(&waiting, &tree.join(MARKER))?;
    files.sync_folder(tree)
}

/// From the moment the change counts; over again as often as it is cut off.
fn finish(files: &dyn Files, tree: &Path, marker: &Marker) -> Result<(), Failure> {
    let folder = tree.join(&marker.folder);
    let staged = files
        .list(&folder)
        .map_err(|error| trouble(&folder, &error))?;
    let staged: BTreeSet<String> = staged.into_iter().collect();
    for (name, wanted) in &marker.files {
        place(
            files,
            tree,
            &folder,
            name,
            wanted.as_deref(),
            staged.contains(name),
        )?;
    }
    let end = || -> io::Result<()> {
        files.sync_folder(tree)?;
        files.remove(&tree.join(MARKER))?;
        files.sync_folder(tree)?;
        clear(files, &folder)
    };
    end().map_err(|error| trouble(tree, &error))
}

/// Puts one file where it belongs, where it is not there yet.
fn place(
    files: &dyn Files,
    tree: &Path,
    folder: &Path,
    name: &str,
    wanted: Option<&str>,
    staged: bool,
) -> Result<(), Failure> {
    let (from, to) = (folder.join(name), tree.join(name));
    let Some(wanted) = wanted else {
        return files.remove(&to).map_err(|error| trouble(&to, &error));
    };
    let is_new = |path: &Path| match files.read(path) {
        Ok(bytes) => Ok(bytes.is_some_and(|bytes| digest(&bytes) == wanted)),
        Err(error) => Err(trouble(path, &error)),
    };
    if staged && is_new(&from)? {
        files
            .rename(&from, &to)
            .map_err(|error| trouble(&to, &error))
    } else if is_new(&to)? {
        Ok(())
    } else {
        Err(lost(tree, name))
    }
}

#[cfg(test)]
mod tests;
