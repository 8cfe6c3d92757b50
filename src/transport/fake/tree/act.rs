//! Actions on the files of a machine in memory: what `sh/job.sh` does on a real one, with the same refusals.

use sha2::{Digest as _, Sha256};

use super::{FakeKind, FakeTree, Refusal};
use crate::model::action::{Action, Ownership, Replaces};
use crate::model::path::AbsPath;
use crate::transport::actions::hex;

impl FakeTree {
    /// Carries out an action that is not `Run`.
    pub(in crate::transport::fake) fn act(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::WriteFile {
                path,
                content,
                mode,
                owner,
                backup,
                replaces: _,
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
            Action::Run(_) | Action::Reboot => Ok(()),
            Action::Place { path, .. } => Err(format!("{path}: nothing was sent")),
            Action::Kube(_) => Err("a machine is not the Kubernetes API".to_owned()),
        }
    }

    /// Why a file is not written: it is not what it was when its new content was made from it.
    pub(in crate::transport::fake) fn changed_meanwhile(&self, action: &Action) -> Option<Refusal> {
        let Action::WriteFile {
            path,
            content,
            replaces: Some(replaces),
            ..
        } = action
        else {
            return None;
        };
        // Refused for what it is by `write_file`.
        let there = self.nodes.get(&self.place(path).ok()?);
        let kind = there.map(|node| &node.kind);
        if kind == Some(&FakeKind::Directory) {
            return None;
        }
        let is_link = matches!(kind, Some(FakeKind::Symlink(_)));
        let bytes = self.content(path);
        let expected = match replaces {
            Replaces::Absent => kind.is_none(),
            Replaces::Sha256(sha256) => {
                bytes.is_some_and(|bytes| hex(&Sha256::digest(bytes)) == *sha256)
            }
        };
        let done = !is_link && bytes == Some(content.expose().as_bytes());
        (!expected && !done).then(|| format!("{path} was changed meanwhile; nothing was written"))
    }

    /// Writes a file as an action does.
    pub(in crate::transport::fake) fn write_file(
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
}
