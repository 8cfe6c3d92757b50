//! Words for what goes wrong under a journal: each names the file, says what happened and what to do.

use std::path::Path;

use rusqlite::ffi;

use super::{JournalError, JournalErrorKind};
use crate::model::id::RunId;
use crate::model::outcome::Failure;

/// Below this many free bytes a failed write is blamed on the disk being full, whatever SQLite called it.
const NEARLY_FULL: u64 = 64 * 1024;

impl JournalError {
    /// An error of this kind.
    pub fn new(kind: JournalErrorKind, failure: Failure) -> Self {
        Self { kind, failure }
    }

    /// The same again, for another caller.
    pub(super) fn again(&self) -> Self {
        Self::new(self.kind, self.failure.clone())
    }
}

/// SQLite could not do what it was asked.
pub(super) fn of_sqlite(path: &Path, doing: &str, error: &rusqlite::Error) -> JournalError {
    let primary = error.sqlite_extended_error_code().map(|code| code & 0xff);
    let (kind, what, hint) = match primary {
        Some(ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB) => return corrupt(path, &error.to_string()),
        Some(ffi::SQLITE_CONSTRAINT) => (
            JournalErrorKind::Illegal,
            "another process has written to the same run",
            "end all but one of the processes that work on this run".to_owned(),
        ),
        Some(ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED) => (
            JournalErrorKind::Io,
            "another process has kept it busy for too long",
            format!("see who uses it (`fuser {}`) and try again", path.display()),
        ),
        _ if is_read_only(path, primary) => (
            JournalErrorKind::Io,
            "it cannot be written",
            format!(
                "make {} writable for this user, or mount its file system for writing",
                path.display()
            ),
        ),
        _ if is_full(path, primary) => (
            JournalErrorKind::Io,
            "disk full",
            format!(
                "free some space on the file system of {}, then `hmco-boot resume`",
                path.display()
            ),
        ),
        Some(ffi::SQLITE_CANTOPEN) => (
            JournalErrorKind::Io,
            "it cannot be opened",
            "see that its folder exists, is local, and belongs to this user".to_owned(),
        ),
        _ => (
            JournalErrorKind::Io,
            "the disk or SQLite failed",
            "look at the kernel's log (`dmesg`) for disk errors".to_owned(),
        ),
    };
    let message = format!("cannot {doing} the journal {}: {what}", path.display());
    JournalError::new(
        kind,
        Failure::new(message).evidence(with_code(error)).hint(hint),
    )
}

/// The system refused a file operation on the journal.
pub(super) fn of_io(path: &Path, doing: &str, error: &std::io::Error) -> JournalError {
    let message = format!("cannot {doing} the journal {}: {error}", path.display());
    let hint = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "disk full: free some space on its file system"
        }
        std::io::ErrorKind::ReadOnlyFilesystem => "mount its file system for writing",
        _ => "see that its folder exists, is local, and belongs to this user",
    };
    JournalError::new(JournalErrorKind::Io, Failure::new(message).hint(hint))
}

/// The file is not a journal, or damaged.
pub(super) fn corrupt(path: &Path, what: &str) -> JournalError {
    let shown = path.display();
    let failure = Failure::new(format!("the journal {shown} is damaged or not a journal"))
        .evidence(what)
        .hint(format!(
            "move it away with its -wal and -shm files (`mv {shown} {shown}.damaged`); the next run starts a new one. \
             Only the history and `resume` of past runs are lost: a new run reads every target again"
        ));
    JournalError::new(JournalErrorKind::Corrupt, failure)
}

/// The file was written by a later hmco-boot.
pub(super) fn newer(path: &Path, what: &str, theirs: i64, ours: i64) -> JournalError {
    let failure = Failure::new(format!(
        "the journal {} has {what} version {theirs}, and this hmco-boot ({}) knows up to {ours}",
        path.display(),
        env!("CARGO_PKG_VERSION"),
    ))
    .hint("use the newer hmco-boot that wrote it; nothing was changed");
    JournalError::new(JournalErrorKind::Newer, failure)
}

/// A record that may not follow.
pub(super) fn illegal(run: &RunId, why: impl std::fmt::Display) -> JournalError {
    let failure = Failure::new(format!("the journal refuses an event of run {run}: {why}"))
        .hint("this is a mistake in hmco-boot: report it; `hmco-boot resume` is safe");
    JournalError::new(JournalErrorKind::Illegal, failure)
}

/// A run that is not in the journal.
pub(super) fn no_such_run(run: &RunId) -> JournalError {
    let failure = Failure::new(format!("there is no run {run} in the journal"))
        .hint("`hmco-boot runs list` names all runs");
    JournalError::new(JournalErrorKind::NoSuchRun, failure)
}

/// SQLite's words and its extended code, which says far more.
fn with_code(error: &rusqlite::Error) -> String {
    match error.sqlite_extended_error_code() {
        Some(code) => format!("{error} (SQLite code {code})"),
        None => error.to_string(),
    }
}

/// A log that cannot be made is what SQLite tells of a read-only disk.
fn is_read_only(path: &Path, primary: Option<i32>) -> bool {
    match primary {
        Some(ffi::SQLITE_READONLY | ffi::SQLITE_PERM) => true,
        Some(ffi::SQLITE_CANTOPEN) => {
            let folder = path.parent().unwrap_or(path);
            rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err()
        }
        _ => false,
    }
}

/// What SQLite calls an IO error may be a full disk too: where a file is grown by its mapping, for one.
fn is_full(path: &Path, primary: Option<i32>) -> bool {
    match primary {
        Some(ffi::SQLITE_FULL) => true,
        Some(ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN) => {
            let folder = path.parent().unwrap_or(path);
            rustix::fs::statvfs(folder)
                .is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < NEARLY_FULL)
        }
        _ => false,
    }
}
