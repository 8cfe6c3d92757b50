//! The lock of a cluster on this machine: exclusive for what changes it, shared for what must only not meet a change.
//!
//! It is a `flock` on the file `lock`, so a dead holder frees it by dying, however it dies. Who holds it is written
//! down in a file of each holder's own, which the holder keeps locked as well: one that is not locked was left by a
//! dead one. A live holder is named and never robbed. (It binds processes of one state folder; that two machines do not
//! meet is the work of the locks on the nodes.)

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::files;
use super::state_dir::{StateDir, of_io};
use crate::model::id::RunId;
use crate::model::outcome::Failure;

/// A holder writes its name down just after it got the lock: how often and how long to wait for that.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Who wants or holds a lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LockHolder {
    /// The run, where it is one.
    pub run: Option<RunId>,
    /// The process.
    pub pid: u32,
    /// The user's name.
    pub user: String,
    /// The machine's name; a home folder may be on several.
    pub host: String,
    /// Since when, in milliseconds since 1970; for people.
    pub since_ms: i64,
    /// What it does: `run bootstrap-all`.
    pub command: String,
}

/// How a lock is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMode {
    /// By one alone.
    Exclusive,
    /// Together with others that share it.
    Shared,
}

/// A lock is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.failure().message)]
pub enum LockError {
    /// Somebody else holds it: exit code 5.
    Held {
        /// Who, as far as it could be told.
        holders: Vec<LockHolder>,
        /// For people.
        failure: Failure,
    },
    /// It could not even be tried.
    Io(Failure),
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct LocalLock {
    // In this order: a free lock has no holder's name beside it.
    _name: HolderFile,
    _lock: File,
}

#[derive(Debug)]
struct HolderFile {
    path: PathBuf,
    _locked: File,
}

impl LockError {
    /// What to tell people.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Held { failure, .. } | Self::Io(failure) => failure,
        }
    }
}

impl StateDir {
    /// Takes the lock of this cluster on this machine, or says at once who holds it.
    pub fn lock(&self, holder: &LockHolder, mode: LockMode) -> Result<LocalLock, LockError> {
        let path = self.path().join("lock");
        let lock = self.try_lock(&path, mode)?;
        for (left, _) in self.holders(&path)? {
            if !files::is_locked(&left) {
                files::discard(&left);
            }
        }
        let name = self.path().join("holder");
        let (mut file, new) = files::new_beside(&name).map_err(|e| io(&path, &e))?;
        // Locked before it gets the name under which others look for it.
        let named = new.with_extension("json");
        let made = file
            .try_lock()
            .map_err(std::io::Error::from)
            .and_then(|()| serde_json::to_writer(&mut file, holder).map_err(Into::into))
            .and_then(|()| files::link_new(&new, &named));
        files::discard(&new);
        made.map_err(|e| io(&path, &e))?;
        Ok(LocalLock {
            _name: HolderFile {
                path: named,
                _locked: file,
            },
            _lock: lock,
        })
    }

    /// For `runs unlock`: says who left a lock behind by dying and removes what they left. A lock that is held by a
    /// live process is refused, naming it.
    pub fn unlock(&self) -> Result<Vec<LockHolder>, LockError> {
        let path = self.path().join("lock");
        let _lock = self.try_lock(&path, LockMode::Exclusive)?;
        let names = self.holders(&path)?;
        for (file, _) in &names {
            files::discard(file);
        }
        Ok(names.into_iter().filter_map(|(_, holder)| holder).collect())
    }

    /// The run that goes on now, where one does: the one whose process holds the lock. Takes no lock and waits for none.
    pub fn live_run(&self) -> Option<RunId> {
        let names = self.holders(&self.path().join("lock")).ok()?;
        let mut live = names.into_iter().filter(|(file, _)| files::is_locked(file));
        live.find_map(|(_, holder)| holder?.run)
    }

    fn try_lock(&self, path: &Path, mode: LockMode) -> Result<File, LockError> {
        let lock = files::open_or_create(path).map_err(|e| io(path, &e))?;
        let attempt = || match mode {
            LockMode::Exclusive => lock.try_lock(),
            LockMode::Shared => lock.try_lock_shared(),
        };
        for look in 0..=LOOKS {
            match attempt() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::Error(e)) => return Err(io(path, &e)),
                Err(TryLockError::WouldBlock) => {}
            }
            let names = self.holders(path)?;
            let live: Vec<_> = names
                .into_iter()
                .filter(|(file, _)| files::is_locked(file))
                .collect();
            if !live.is_empty() || look == LOOKS {
                let holders = live.into_iter().filter_map(|(_, holder)| holder).collect();
                return Err(held(self.cluster(), path, holders));
            }
            // Somebody got it a moment ago and has not said who they are, or is just letting go.
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Err(held(self.cluster(), path, Vec::new()))
    }

    fn holders(&self, lock: &Path) -> Result<Vec<(PathBuf, Option<LockHolder>)>, LockError> {
        let all = files::list(self.path()).map_err(|e| io(lock, &e))?;
        let ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("holder.") && name.ends_with(".json"))
        };
        let read = |path: PathBuf| {
            let bytes = files::read(&path).ok().flatten()?;
            Some((path, serde_json::from_slice(&bytes).ok()))
        };
        Ok(all.into_iter().filter(ours).filter_map(read).collect())
    }
}

impl Drop for HolderFile {
    fn drop(&mut self) {
        files::discard(&self.path);
    }
}

fn held(cluster: &str, lock: &Path, holders: Vec<LockHolder>) -> LockError {
    let mut failure = Failure::new(format!(
        "cluster {cluster} is locked on this machine by {}",
        match holders.as_slice() {
            [] => "a process that does not say who it is".to_owned(),
            some => some
                .iter()
                .map(LockHolder::to_string)
                .collect::<Vec<_>>()
                .join(" and "),
        }
    ));
    failure.hint = Some(
        match holders.iter().find_map(|holder| holder.run.as_ref()) {
            Some(run) => format!(
                "wait for it (`hmco-boot runs show {run}` says how far it is), or end that process: its lock ends with it"
            ),
            None => format!("wait for it; `fuser {}` names the process", lock.display()),
        },
    );
    LockError::Held { holders, failure }
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(run) = &self.run {
            write!(f, "run {run} ")?;
        }
        write!(f, "({})", self.in_words())
    }
}

impl LockHolder {
    /// Command, process, user, machine, since when: one line for whoever meets the lock.
    pub fn in_words(&self) -> String {
        let Self {
            command,
            pid,
            user,
            host,
            since_ms,
            ..
        } = self;
        let words = format!("`{command}`, process {pid}, user {user} on {host}");
        match jiff::Timestamp::from_millisecond(*since_ms) {
            Ok(since) => format!("{words}, since {}", since.strftime("%Y-%m-%d %H:%M:%S UTC")),
            Err(_) => words,
        }
    }
}

fn io(path: &Path, error: &std::io::Error) -> LockError {
    LockError::Io(of_io("use the lock", path, error))
}
