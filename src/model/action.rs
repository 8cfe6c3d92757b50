//! What an apply may do to a target: a closed list, so that a dry run cannot reach it by accident, a fake can carry it
//! out in memory, and only one place turns it into shell.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::artifact::{Member, Pin};
use super::id::{JobId, RunId};
use super::kube::KubeAction;
use super::path::AbsPath;
use super::sensitive::Text;
use super::units::{Mode, TimeSpan};

/// One change to a target. Every action is idempotent by itself, as far as the thing it does allows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Write a regular file: new file in the destination folder (exclusive, umask 077), owner and mode set, fsync,
    /// rename over the destination, fsync of the folder. A symbolic link at `path` is replaced, not followed.
    WriteFile {
        /// Destination.
        path: AbsPath,
        /// The bytes. Sent by standard input, checked by length and sha256 on the target before the rename.
        content: Text,
        /// Permissions.
        mode: Mode,
        /// Owner and group; `None` leaves what a new file gets.
        owner: Ownership,
        /// Keep the former file beside it as `NAME.hmco-boot-old` (a hard link, made before the rename).
        backup: bool,
        /// What has to be there for it to be written; `None` = whatever is there is replaced. For those whose new
        /// content was made from the old one, which must not undo what somebody else wrote since. Looked at right before
        /// the rename (and before `backup`); where it is something else, and not yet what shall be written, nothing
        /// is written and the action ends with [`CHANGED_MEANWHILE`], retryable.
        replaces: Option<Replaces>,
    },
    /// Make a folder and its missing parents (those with mode 0755), then set mode and owner of the folder itself.
    MakeDirectory {
        /// The folder.
        path: AbsPath,
        /// Permissions.
        mode: Mode,
        /// Owner and group.
        owner: Ownership,
    },
    /// Change permissions and ownership of what is there; never follows a symbolic link at `path`.
    SetAttributes {
        /// A file or folder that exists.
        path: AbsPath,
        /// Permissions, where they shall change.
        mode: Option<Mode>,
        /// Owner and group, where they shall change.
        owner: Ownership,
    },
    /// Make `path` a symbolic link to `to`, replacing another link (by rename) but nothing else.
    Symlink {
        /// Where the link is.
        path: AbsPath,
        /// Its text, as `readlink` shows it; may be relative.
        to: String,
    },
    /// Remove a file or link; with `recursive` also a folder with all in it (never crossing into another mount).
    Remove {
        /// What to remove; missing is fine.
        path: AbsPath,
        /// Also folders.
        recursive: bool,
    },
    /// Run a program.
    Run(Program),
    /// Put a pinned file, or one out of a pinned `.tar.gz`, in its place: fetched by the node itself, or sent to it before
    /// the job; held to size and sha256 there; then moved in as [`Action::WriteFile`] does. A symbolic link at `path` is
    /// replaced, not followed.
    Place {
        /// What it is, where it comes from and who fetches it.
        pin: Box<Pin>,
        /// The file inside the archive; `None` = the fetched file itself.
        member: Option<Member>,
        /// Destination.
        path: AbsPath,
        /// Permissions.
        mode: Mode,
        /// Owner and group; `None` leaves what a new file gets.
        owner: Ownership,
    },
    /// Restart the machine. Only as the last action of a job: the verdict is written first, then the machine restarts;
    /// the apply ends when it answers with a new boot id. Refused by the machine that hmco-boot itself runs on.
    Reboot,
    /// Change what the Kubernetes API holds. Only for the cluster as a target; machines refuse it.
    Kube(Box<KubeAction>),
}

/// What a file must be to be replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replaces {
    /// Nothing is there, no symbolic link either.
    Absent,
    /// A regular file with this sha256 (lowercase hex) is there, or a symbolic link leads to one.
    Sha256(String),
}

/// Exit status of an [`Action::WriteFile`] that found something else than what it [`Replaces`] (EX_TEMPFAIL of sysexits.h).
pub const CHANGED_MEANWHILE: i32 = 75;

/// Who owns a file; `None` = leave it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ownership {
    /// A user's name or number.
    pub user: Option<String>,
    /// A group's name or number.
    pub group: Option<String>,
}

/// A program to run on a target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Program {
    /// Program and arguments. Visible in the target's process list: nothing secret.
    pub argv: Vec<String>,
    /// Working folder; `/` by default.
    pub cwd: Option<AbsPath>,
    /// Added to the environment; may be secret.
    pub env: Vec<(String, Text)>,
    /// Standard input; may be secret. Empty by default.
    pub stdin: Option<Text>,
    /// Exit statuses that mean success.
    pub ok_exit: Vec<i32>,
    /// Exit statuses that mean "try again later" to the retry policy.
    pub retry_exit: Vec<i32>,
    /// What it is for, as it goes on after "could not": `install jq with apt-get`. Nothing secret. `None` for a person's own
    /// program, of which nothing is known but its exit status.
    pub purpose: Option<String>,
}

impl Action {
    /// How long it may wait for something by its own limit; zero where it has none.
    pub fn waits(&self) -> Duration {
        match self {
            Self::Kube(action) => match action.as_ref() {
                KubeAction::Delete { timeout, .. }
                | KubeAction::Await { timeout, .. }
                | KubeAction::Drain { timeout, .. } => timeout.0,
                KubeAction::Try { timeout, .. } => timeout.0 * 2,
                KubeAction::Apply { .. } | KubeAction::Patch { .. } => Duration::ZERO,
            },
            _ => Duration::ZERO,
        }
    }

    /// What it is for, as it goes on after "could not"; `None` where nobody said.
    pub fn purpose(&self) -> Option<String> {
        Some(match self {
            Self::WriteFile { path, .. } => format!("write {path}"),
            Self::MakeDirectory { path, .. } => format!("make the folder {path}"),
            Self::SetAttributes { path, .. } => format!("set the mode or owner of {path}"),
            Self::Symlink { path, to } => format!("make {path} a link to {to}"),
            Self::Remove { path, .. } => format!("remove {path}"),
            Self::Run(program) => return program.purpose.clone(),
            Self::Place { pin, path, .. } => format!("put {} in its place {path}", pin.name),
            Self::Reboot => "restart the machine".to_owned(),
            Self::Kube(action) => action.purpose(),
        })
    }
}

/// All that one apply of one step does to one target, carried out as one detached execution under an id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Job {
    /// Unique over all runs; the name of its folder on the target.
    pub id: JobId,
    /// What to call it in messages: `STEP@TARGET`.
    pub label: String,
    /// In order; the first that fails ends the job.
    pub actions: Vec<Action>,
    /// After this the job and all its processes are ended. With a restart it is also how long the machine may take to
    /// come back.
    pub timeout: TimeSpan,
    /// The run that must hold the machine's lock: else nothing is done ([`Fenced`](crate::transport::HostErrorKind)).
    /// `None` = whoever holds it.
    pub fence: Option<RunId>,
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobEnd {
    /// The verdict.
    pub status: JobStatus,
    /// Last bytes of standard output and error, lossy UTF-8, capped on the target ([`OUTPUT_CAP`]).
    pub stdout: String,
    /// See `stdout`.
    pub stderr: String,
    /// Bytes that the cap cut off.
    pub dropped: u64,
}

/// Bytes kept of each output stream of a job.
pub const OUTPUT_CAP: u64 = 64 * 1024;

/// The verdict on a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Every action succeeded.
    Succeeded,
    /// Action `action` (from 0) ended with this exit status, which is none of its `ok_exit`. `retryable`: it is one of
    /// its `retry_exit`.
    Failed {
        /// Which action.
        action: u32,
        /// Its exit status; 128 + N after signal N.
        exit: i32,
        /// Whether the retry policy may try again.
        retryable: bool,
    },
    /// The time limit passed; all processes of the job were ended.
    TimedOut,
    /// The job is gone without a verdict: the target restarted, or somebody killed it.
    Lost,
}
