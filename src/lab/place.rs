//! Where a lab is: its folder, what is in it, and the lock that lets one command at a time work on it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::names::{Tag, check_name};
use super::{LabError, files, mark};
use crate::model::outcome::Failure;

/// Where labs are by default. Not below `/var/lib/hmco-boot`: the folders in there are named after clusters, and a
/// cluster may be called `lab`.
pub const DEFAULT_DIR: &str = "/var/lib/hmco-boot-lab";

/// The folder with all labs and what they share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

/// One lab's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Its short name on this machine.
    pub tag: Tag,
    shelf: Shelf,
}

impl Shelf {
    /// The labs below this folder, which is made where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made, or its path has characters that mean something in mount options.
    pub fn open(dir: &Path) -> Result<Self, LabError> {
        files::private_folder(dir)?;
        let dir = std::fs::canonicalize(dir)
            .map_err(|error| files::io_failure("look at", dir, &error))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if !dir.to_string_lossy().chars().all(plain) {
            let what = format!("labs cannot be in {}", dir.display());
            return Err(LabError::Usage(Failure::new(what).hint(
                "name a folder with --dir whose path has only letters, digits, `.`, `_` and `-`",
            )));
        }
        Ok(Self { dir })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What labs share and can be made again: base trees, packages. (A lab's name never begins with a dot.)
    pub fn cache(&self) -> PathBuf {
        self.dir.join(".cache")
    }

    /// Refuses a folder of somebody else where the cache would be.
    ///
    /// # Errors
    /// [`LabError::Usage`] where there is one.
    pub fn check_cache(&self) -> Result<(), LabError> {
        mark::check(&self.cache(), "cache of labs")
    }

    /// Makes the cache where it is missing.
    ///
    /// # Errors
    /// As [`Self::check_cache`]; where it cannot be made.
    pub fn claim_cache(&self) -> Result<(), LabError> {
        mark::claim(&self.cache(), "cache of labs")
    }

    /// The control group of what is done for all labs, as making a base.
    pub fn cgroup(&self) -> String {
        format!(
            "hmco-lab-shelf-{}",
            Tag::of(&self.dir.to_string_lossy()).as_str()
        )
    }

    /// Waits until no other process works on what labs share.
    ///
    /// # Errors
    /// Where the lock cannot be tried.
    pub fn lock(&self) -> Result<File, Failure> {
        files::lock(&self.dir.join(".lock"))
    }

    /// The same, without waiting: `None` where another process does.
    ///
    /// # Errors
    /// Where the lock cannot be tried.
    pub fn try_lock(&self) -> Result<Option<File>, Failure> {
        files::try_lock(&self.dir.join(".lock"))
    }

    /// The names of the labs that are here; folders of others are none.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn labs(&self) -> Result<Vec<String>, Failure> {
        let mut names = files::names_in(&self.dir)?;
        names.retain(|name| check_name(name).is_ok() && mark::is_ours(&self.dir.join(name)));
        Ok(names)
    }

    /// One of them, whether it is there or not.
    ///
    /// # Errors
    /// Where it cannot be a lab's name.
    pub fn lab(&self, name: &str) -> Result<Place, LabError> {
        check_name(name).map_err(LabError::Usage)?;
        let dir = self.dir.join(name);
        Ok(Place {
            name: name.to_owned(),
            tag: Tag::of(&dir.to_string_lossy()),
            dir,
            shelf: self.clone(),
        })
    }
}

impl Place {
    /// The folder with all labs.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Refuses folders of somebody else where the lab, or what labs share, would be.
    ///
    /// # Errors
    /// [`LabError::Usage`] where there is one.
    pub fn check(&self) -> Result<(), LabError> {
        mark::check(&self.dir, "lab")?;
        self.shelf.check_cache()
    }

    /// The private key that nodes let in.
    pub fn key(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// The nodes' host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// What was asked for.
    pub fn record(&self) -> PathBuf {
        self.dir.join("lab.toml")
    }

    /// What the server of packages says.
    pub fn packages_log(&self) -> PathBuf {
        self.dir.join("packages.log")
    }

    /// The folder of a node.
    pub fn node(&self, name: &str) -> PathBuf {
        self.dir.join("nodes").join(name)
    }

    /// Takes the lab's lock, for a command that changes it; the folder is made where it is missing.
    ///
    /// # Errors
    /// [`LabError::Locked`] where another command works on it; [`LabError::Usage`] where its folder is somebody else's.
    pub fn lock(&self) -> Result<File, LabError> {
        let path = self.dir.join(mark::LOCK);
        loop {
            mark::claim(&self.dir, "lab")?;
            let Some(lock) = files::try_lock(&path)? else {
                let what = format!("another command is at work on lab `{}`", self.name);
                return Err(LabError::Locked(
                    Failure::new(what)
                        .hint("wait until it ends; a command that died holds no lock"),
                ));
            };
            // A `down` that ended meanwhile has removed the file that this is.
            if files::is_linked(&lock) {
                // It may just have taken the mark.
                mark::claim(&self.dir, "lab")?;
                return Ok(lock);
            }
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test makes folders and looks at them"
)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::lab::mark;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path()).unwrap();
        (folder, shelf)
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, LabError>) -> String {
        match result {
            Err(LabError::Usage(failure)) => failure.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_of_somebody_else_is_no_lab_and_is_neither_locked_nor_removed() {
        let (folder, shelf) = shelf();
        let notes = folder.path().join("notes");
        std::fs::create_dir(&notes).unwrap();
        // Even one in which things are called as in a lab.
        for name in ["lock", "lab.toml", "key"] {
            std::fs::write(notes.join(name), "mine").unwrap();
        }
        let place = shelf.lab("notes").unwrap();
        assert!(refused(place.lock()).ends_with("/notes is there and is no lab"));
        refused(place.check());
        assert_eq!(shelf.labs().unwrap(), Vec::<String>::new());
        assert_eq!(crate::lab::record::Record::load(&place).unwrap(), None);
        mark::undo(&notes).unwrap();
        mark::remove(&notes).unwrap();
        assert_eq!(
            files::names_in(&notes).unwrap(),
            ["key", "lab.toml", "lock"]
        );
    }

    #[test]
    fn a_file_or_a_link_with_a_labs_name_is_no_lab() {
        let (folder, shelf) = shelf();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        drop(shelf.lab("real").unwrap().lock().unwrap());
        for (name, target) in [
            ("empty", elsewhere.path()),
            ("lab", &folder.path().join("real")),
            ("nothing", Path::new("/not/there")),
        ] {
            symlink(target, folder.path().join(name)).unwrap();
        }
        for name in ["file", "empty", "lab", "nothing"] {
            refused(shelf.lab(name).unwrap().lock());
        }
        assert_eq!(shelf.labs().unwrap(), ["real"]);
        assert_eq!(
            files::names_in(elsewhere.path()).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_lab_is_marked_before_anything_is_in_it_and_goes_with_all_that_is() {
        let (folder, shelf) = shelf();
        // Of an empty folder nothing can be lost.
        std::fs::create_dir(folder.path().join("lab")).unwrap();
        let place = shelf.lab("lab").unwrap();
        let lock = place.lock().unwrap();
        assert!(matches!(place.lock(), Err(LabError::Locked(_))));
        assert_eq!(shelf.labs().unwrap(), ["lab"]);
        std::fs::create_dir_all(place.node("lab-1").join("upper")).unwrap();
        mark::undo(&place.dir).unwrap();
        assert!(place.node("lab-1").exists(), "that is more than a lock");
        mark::remove(&place.dir).unwrap();
        drop(lock);
        assert!(!place.dir.exists());
    }

    #[test]
    fn nothing_stays_of_a_lab_that_was_only_locked() {
        let (folder, shelf) = shelf();
        let place = shelf.lab("lab").unwrap();
        let _lock = place.lock().unwrap();
        mark::undo(&place.dir).unwrap();
        assert_eq!(
            files::names_in(folder.path()).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_removal_that_was_cut_off_at_its_end_is_gone_on_with() {
        let (_folder, shelf) = shelf();
        let place = shelf.lab("lab").unwrap();
        drop(place.lock().unwrap());
        std::fs::remove_file(place.dir.join(mark::MARK)).unwrap();
        assert_eq!(files::names_in(&place.dir).unwrap(), ["lock"]);
        drop(place.lock().unwrap());
        mark::remove(&place.dir).unwrap();
        assert!(!place.dir.exists());
    }

    #[test]
    fn a_cache_of_somebody_else_is_not_used() {
        let (folder, shelf) = shelf();
        let base = folder.path().join(".cache/base-mine");
        std::fs::create_dir_all(&base).unwrap();
        refused(shelf.claim_cache());
        refused(shelf.lab("lab").unwrap().check());
        mark::remove(&shelf.cache()).unwrap();
        assert!(base.exists());
        std::fs::remove_dir(&base).unwrap();
        shelf.claim_cache().unwrap();
        std::fs::create_dir(&base).unwrap();
        mark::remove(&shelf.cache()).unwrap();
        assert!(!shelf.cache().exists());
    }
}
