//! Where a lab is: its folder, what is in it, and the lock that lets one command at a time work on it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::names::{Tag, check_name};
use super::{LabError, files};
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

    /// The names of the labs that are here.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn labs(&self) -> Result<Vec<String>, Failure> {
        let mut names = files::names_in(&self.dir)?;
        names.retain(|name| check_name(name).is_ok());
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
    /// [`LabError::Locked`] where another command works on it.
    pub fn lock(&self) -> Result<File, LabError> {
        let path = self.dir.join("lock");
        loop {
            files::private_folder(&self.dir)?;
            let Some(lock) = files::try_lock(&path)? else {
                let what = format!("another command is at work on lab `{}`", self.name);
                return Err(LabError::Locked(
                    Failure::new(what)
                        .hint("wait until it ends; a command that died holds no lock"),
                ));
            };
            // A `down` that ended meanwhile has removed the file that this is.
            if files::is_linked(&lock) {
                return Ok(lock);
            }
        }
    }
}
