//! The files of a machine in memory: folders, files and links with modes and owners. Follows links in the folders of
//! a path as a kernel does. No permissions are enforced, and every file system is one and writable.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::facts::fact::{Content, FactError, FactValue, FileKind, FileStat};
use crate::model::action::{Action, Ownership};
use crate::model::path::AbsPath;
use crate::transport::actions::hex;

/// Links followed before a path counts as a loop.
const LINKS: u32 = 40;

/// What is at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FakeKind {
    /// A regular file.
    File(Vec<u8>),
    /// A folder.
    Directory,
    /// A symbolic link with this text.
    Symlink(String),
}

/// An entry of the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FakeNode {
    /// What it is.
    pub kind: FakeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner: name and number.
    pub user: (String, u32),
    /// Group: name and number.
    pub group: (String, u32),
    /// New for every change, like inode and change time together.
    pub version: u64,
}

/// The files of a machine.
#[derive(Clone, Debug)]
pub struct FakeTree {
    nodes: BTreeMap<AbsPath, FakeNode>,
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
    version: u64,
}

impl Default for FakeTree {
    /// An empty root folder, and the accounts that a Debian has.
    fn default() -> Self {
        let accounts = || {
            [
                ("root", 0),
                ("daemon", 1),
                ("www-data", 33),
                ("pi", 1000),
                ("nobody", 65534),
            ]
            .into_iter()
            .map(|(name, number)| (name.to_owned(), number))
            .collect()
        };
        let mut tree = Self {
            nodes: BTreeMap::new(),
            users: accounts(),
            groups: accounts(),
            version: 0,
        };
        if let Ok(root) = AbsPath::new("/") {
            tree.put(&root, FakeKind::Directory, 0o755);
        }
        tree
    }
}

/// What a shell would say, with exit status 1.
pub type Refusal = String;

impl FakeTree {
    /// Makes a user and a group of this name and number.
    pub fn add_account(&mut self, name: &str, number: u32) {
        self.users.insert(name.to_owned(), number);
        self.groups.insert(name.to_owned(), number);
    }

    /// What is at a path, not following a link there.
    pub fn get(&self, path: &AbsPath) -> Option<&FakeNode> {
        self.nodes.get(&self.resolve(path, false)?)
    }

    /// The bytes of a file, following links.
    pub fn content(&self, path: &AbsPath) -> Option<&[u8]> {
        match &self.nodes.get(&self.resolve(path, true)?)?.kind {
            FakeKind::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Puts a file there, with missing folders.
    pub fn write(&mut self, path: &AbsPath, bytes: impl Into<Vec<u8>>, mode: u32) {
        if let Some(parent) = path.parent() {
            self.make_folders(&parent);
        }
        let path = self.resolve(path, false).unwrap_or_else(|| path.clone());
        self.put(&path, FakeKind::File(bytes.into()), mode);
    }

    /// Puts a symbolic link there, with missing folders.
    pub fn link(&mut self, path: &AbsPath, to: &str) {
        if let Some(parent) = path.parent() {
            self.make_folders(&parent);
        }
        let path = self.resolve(path, false).unwrap_or_else(|| path.clone());
        self.put(&path, FakeKind::Symlink(to.to_owned()), 0o777);
    }

    /// Makes a folder and those it lies in, where they are missing.
    pub fn make_folders(&mut self, path: &AbsPath) {
        if let Some(parent) = path.parent() {
            self.make_folders(&parent);
        }
        let resolved = self.resolve(path, true).unwrap_or_else(|| path.clone());
        if !self.nodes.contains_key(&resolved) {
            self.put(&resolved, FakeKind::Directory, 0o755);
        }
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &AbsPath> {
        self.nodes.keys()
    }

    /// The answer to a question for its stat.
    pub(super) fn stat(&self, path: &AbsPath) -> Result<FactValue, FactError> {
        let node = self.get(path).ok_or(FactError::NotFound)?;
        let (kind, size, link_target) = match &node.kind {
            FakeKind::File(bytes) => (FileKind::File, bytes.len() as u64, None),
            FakeKind::Directory => (FileKind::Directory, 4096, None),
            FakeKind::Symlink(to) => (FileKind::Symlink, to.len() as u64, Some(to.clone())),
        };
        Ok(FactValue::Stat(FileStat {
            kind,
            mode: node.mode,
            uid: node.user.1,
            user: node.user.0.clone(),
            gid: node.group.1,
            group: node.group.0.clone(),
            size,
            links: 1,
            identity: format!("fake:{}", node.version),
            link_target,
        }))
    }

    /// The answer to a question for its digest.
    pub(super) fn digest(&self, path: &AbsPath) -> Result<FactValue, FactError> {
        Ok(FactValue::Digest(hex(&Sha256::digest(self.file(path)?))))
    }

    /// The answer to a question for its content.
    pub(super) fn content_fact(
        &self,
        path: &AbsPath,
        unless: Option<&str>,
        cap: u64,
    ) -> Result<FactValue, FactError> {
        let bytes = self.file(path)?;
        let sha256 = hex(&Sha256::digest(bytes));
        if unless == Some(sha256.as_str()) {
            return Ok(FactValue::Content(Content {
                sha256,
                bytes: None,
            }));
        }
        if bytes.len() as u64 > cap {
            return Err(FactError::Truncated);
        }
        Ok(FactValue::Content(Content {
            sha256,
            bytes: Some(bytes.to_vec()),
        }))
    }

    fn file(&self, path: &AbsPath) -> Result<&[u8], FactError> {
        match self.content(path) {
            Some(bytes) => Ok(bytes),
            None if self
                .resolve(path, true)
                .is_some_and(|path| self.nodes.contains_key(&path)) =>
            {
                Err(FactError::Failed("not a regular file".to_owned()))
            }
            None => Err(FactError::NotFound),
        }
    }

    /// Carries out an action that is not `Run`.
    pub(super) fn act(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::WriteFile {
                path,
                content,
                mode,
                owner,
                backup,
            } => self.write_file(path, content.expose().as_bytes(), mode.0, owner, *backup),
            Action::MakeDirectory { path, mode, owner } => {
                match self.get(path).map(|node| &node.kind) {
                    Some(FakeKind::Symlink(_)) => {
                        return Err(format!("{path} is a symbolic link; it is not followed"));
                    }
                    Some(FakeKind::File(_)) => return Err(format!("{path}: File exists")),
                    Some(FakeKind::Directory) => {}
                    None => self.make_folders(path),
                }
                self.change(path, Some(mode.0), owner)
            }
            Action::SetAttributes { path, mode, owner } => match self.get(path) {
                None => Err(format!("{path} does not exist")),
                Some(node) if mode.is_some() && matches!(node.kind, FakeKind::Symlink(_)) => Err(
                    format!("{path} is a symbolic link, which has no mode; it is not followed"),
                ),
                Some(_) => self.change(path, mode.map(|mode| mode.0), owner),
            },
            Action::Symlink { path, to } => {
                let kind = self.get(path).map(|node| node.kind.clone());
                match kind {
                    Some(FakeKind::Symlink(text)) if text == *to => Ok(()),
                    None | Some(FakeKind::Symlink(_)) => {
                        let resolved = self.place(path)?;
                        self.put(&resolved, FakeKind::Symlink(to.clone()), 0o777);
                        Ok(())
                    }
                    Some(_) => Err(format!(
                        "{path} is there and no symbolic link; it is not replaced"
                    )),
                }
            }
            Action::Remove { path, recursive } => self.remove(path, *recursive),
            Action::Run(_) => Ok(()),
        }
    }

    fn write_file(
        &mut self,
        path: &AbsPath,
        bytes: &[u8],
        mode: u32,
        owner: &Ownership,
        backup: bool,
    ) -> Result<(), Refusal> {
        let resolved = self.place(path)?;
        let former = self.nodes.get(&resolved).cloned();
        if former
            .as_ref()
            .is_some_and(|node| node.kind == FakeKind::Directory)
        {
            return Err(format!("{path} is a folder; it is not replaced by a file"));
        }
        let (user, group) = self.owners(owner)?;
        if let Some(old) = former
            && backup
            && matches!(&old.kind, FakeKind::File(content) if content != bytes)
            && let Ok(place) = AbsPath::new(&format!("{resolved}.hmco-boot-old"))
        {
            self.nodes.insert(place, old);
        }
        let node = self.put(&resolved, FakeKind::File(bytes.to_vec()), mode);
        node.user = user.unwrap_or_else(|| node.user.clone());
        node.group = group.unwrap_or_else(|| node.group.clone());
        Ok(())
    }

    fn change(
        &mut self,
        path: &AbsPath,
        mode: Option<u32>,
        owner: &Ownership,
    ) -> Result<(), Refusal> {
        let (user, group) = self.owners(owner)?;
        self.version += 1;
        let version = self.version;
        let resolved = self.resolve(path, false);
        let Some(node) = resolved.and_then(|path| self.nodes.get_mut(&path)) else {
            return Err(format!("{path} does not exist"));
        };
        node.mode = mode.unwrap_or(node.mode);
        node.user = user.unwrap_or_else(|| node.user.clone());
        node.group = group.unwrap_or_else(|| node.group.clone());
        node.version = version;
        Ok(())
    }

    /// Removes what is there, if anything; a folder only with `recursive`, and then with all in it.
    pub fn remove(&mut self, path: &AbsPath, recursive: bool) -> Result<(), Refusal> {
        let Some(resolved) = self.resolve(path, false) else {
            return Ok(());
        };
        match self.nodes.get(&resolved).map(|node| &node.kind) {
            None => Ok(()),
            Some(FakeKind::Directory) if !recursive => Err(format!(
                "{path} is a folder; it is not removed without `recursive`"
            )),
            Some(_) => {
                self.nodes.retain(|path, _| !path.is_below(&resolved));
                Ok(())
            }
        }
    }

    /// Where something new at `path` goes, which needs its folder.
    fn place(&self, path: &AbsPath) -> Result<AbsPath, Refusal> {
        let parent = path.parent().unwrap_or_else(|| path.clone());
        let folder = self
            .resolve(&parent, true)
            .filter(|folder| {
                self.nodes
                    .get(folder)
                    .is_some_and(|node| node.kind == FakeKind::Directory)
            })
            .ok_or_else(|| {
                format!("the folder {parent} does not exist; make it in a step before this one")
            })?;
        join(&folder, path.file_name()).ok_or_else(|| format!("{path} is no path"))
    }

    fn put(&mut self, path: &AbsPath, kind: FakeKind, mode: u32) -> &mut FakeNode {
        self.version += 1;
        let node = FakeNode {
            kind,
            mode,
            user: ("root".to_owned(), 0),
            group: ("root".to_owned(), 0),
            version: self.version,
        };
        match self.nodes.entry(path.clone()) {
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                entry.insert(node);
                entry.into_mut()
            }
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(node),
        }
    }

    #[expect(clippy::type_complexity, reason = "two optional accounts, used twice")]
    fn owners(
        &self,
        owner: &Ownership,
    ) -> Result<(Option<(String, u32)>, Option<(String, u32)>), Refusal> {
        let find = |table: &BTreeMap<String, u32>, name: &Option<String>, what: &str| {
            let Some(name) = name else { return Ok(None) };
            let by_number = || {
                let number: u32 = name.parse().ok()?;
                let known = table.iter().find(|(_, n)| **n == number);
                Some((known.map_or(name, |(known, _)| known).clone(), number))
            };
            table
                .get(name)
                .map(|number| (name.clone(), *number))
                .or_else(by_number)
                .map(Some)
                .ok_or_else(|| format!("chown: invalid {what}: '{name}'"))
        };
        Ok((
            find(&self.users, &owner.user, "user")?,
            find(&self.groups, &owner.group, "group")?,
        ))
    }

    /// The path with every link in its folders followed, and the last part too if asked. `None` where a folder is
    /// missing or links go round.
    fn resolve(&self, path: &AbsPath, follow_last: bool) -> Option<AbsPath> {
        let mut left = LINKS;
        self.resolve_within(path, follow_last, &mut left)
    }

    fn resolve_within(&self, path: &AbsPath, follow: bool, left: &mut u32) -> Option<AbsPath> {
        let Some(parent) = path.parent() else {
            return Some(path.clone());
        };
        let folder = self.resolve_within(&parent, true, left)?;
        let here = join(&folder, path.file_name())?;
        match self.nodes.get(&here).map(|node| &node.kind) {
            Some(FakeKind::Symlink(to)) if follow => {
                *left = left.checked_sub(1)?;
                let next = if to.starts_with('/') {
                    to.clone()
                } else {
                    format!("{folder}/{to}")
                };
                self.resolve_within(&normal(&next)?, true, left)
            }
            _ => Some(here),
        }
    }
}

fn join(folder: &AbsPath, name: &str) -> Option<AbsPath> {
    let slash = if folder.as_str() == "/" { "" } else { "/" };
    AbsPath::new(&format!("{folder}{slash}{name}")).ok()
}

/// Without `.` and `..`, by the letters alone.
fn normal(text: &str) -> Option<AbsPath> {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    AbsPath::new(&format!("/{}", parts.join("/"))).ok()
}
