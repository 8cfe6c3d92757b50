//! The machine hmco-boot runs on. A shell is a child process in a session of its own, so that Ctrl-C at the terminal
//! reaches hmco-boot only, with a clean environment.

#![expect(
    clippy::disallowed_methods,
    reason = "the adapter that starts shells on this machine and hands them the home folder"
)]

use std::ffi::OsString;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::job::restarts;
use super::machine::{DEFAULT_PATH, Machine, Settings};
use super::shell::{Control, LOADER, Running, Shell};
use super::story::not_started;
use super::{Applied, BoxFuture, Host, HostError, HostErrorKind, OutputSink};
use crate::facts::digest_cache::DigestCache;
use crate::facts::fact::{Answer, Fact};
use crate::model::action::{Job, JobEnd};
use crate::model::id::{JobId, RunId};
use crate::model::lock::{LockAnswer, LockClaim};
use crate::model::outcome::Failure;

/// The local machine as a [`Host`].
///
/// With a root (`Settings::root`) it works in a sandbox folder: paths of actions and facts, and working folders, are
/// below it; programs get it in `HMCO_BOOT_ROOT`. This is no jail: a symbolic link in there that points to an absolute
/// path leads out of it, and programs see the whole machine.
pub struct LocalHost {
    machine: Machine<LocalShell>,
}

impl LocalHost {
    /// With the system's `sh`.
    pub fn new(settings: Settings) -> Self {
        let home = std::env::var_os("HOME").unwrap_or_else(|| OsString::from("/"));
        Self {
            machine: Machine::new(LocalShell { home }, settings),
        }
    }

    /// The digests that are known by "same stat", for the caller to keep.
    pub fn digests(&self) -> DigestCache {
        self.machine.digests()
    }
}

impl Host for LocalHost {
    fn read<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<Vec<Answer>, HostError>> {
        self.machine.read(facts)
    }

    fn apply<'a>(
        &'a self,
        job: &'a Job,
        facts: &'a [Fact],
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<Applied, HostError>> {
        if restarts(job) {
            return Box::pin(std::future::ready(Err(not_here())));
        }
        self.machine.apply(job, facts, output)
    }

    fn attach<'a>(
        &'a self,
        job: &'a JobId,
        end: bool,
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<JobEnd, HostError>> {
        self.machine.attach(job, end, output)
    }

    fn lock<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<LockAnswer, HostError>> {
        self.machine.lock(claim)
    }

    fn unlock<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), HostError>> {
        self.machine.unlock(run)
    }
}

/// Starts shells as child processes.
struct LocalShell {
    home: OsString,
}

impl LocalShell {
    fn spawn(&self, program: &[String]) -> Result<Running, HostError> {
        // `setsid` runs in place: a child that std starts leads no process group, so its number stays the same.
        let mut child = Command::new("setsid")
            .args(program)
            .args(["-c", LOADER])
            .env_clear()
            .env("PATH", DEFAULT_PATH)
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                unreachable(format!(
                    "no shell could be started on this machine: {error}"
                ))
            })?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Running {
                stdin: Box::new(stdin),
                stdout: Box::new(stdout),
                stderr: Box::new(stderr),
                control: Box::new(LocalControl { child }),
            }),
            _ => Err(unreachable("the shell has no pipes".to_owned())),
        }
    }
}

impl Shell for LocalShell {
    fn start<'a>(&'a self, program: &'a [String]) -> BoxFuture<'a, Result<Running, HostError>> {
        Box::pin(async move { self.spawn(program) })
    }
}

fn unreachable(message: String) -> HostError {
    HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure: Failure::new(message)
            .hint("see that `sh` and `setsid` (package util-linux) are installed"),
    }
}

/// A restart of the machine that hmco-boot runs on would end the run that asked for it.
fn not_here() -> HostError {
    let mut error =
        not_started("the machine that hmco-boot runs on is not restarted by it".to_owned());
    error.failure = error
        .failure
        .hint("restart it by hand, then run this again; or run hmco-boot on another machine that reaches this one by SSH");
    error
}

struct LocalControl {
    child: Child,
}

impl Control for LocalControl {
    fn wait(&mut self) -> BoxFuture<'_, Option<i32>> {
        use std::os::unix::process::ExitStatusExt as _;
        Box::pin(async move {
            let status = self.child.wait().await.ok()?;
            status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal))
        })
    }
}

impl Drop for LocalControl {
    /// Ends the shell and its helpers where nobody awaited them. The detached job has a session of its own.
    fn drop(&mut self) {
        let Some(pid) = self.child.id() else { return };
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return;
        };
        if let Err(error) = kill_process_group(pid, Signal::KILL) {
            tracing::debug!(%error, "the shell had ended already");
        }
    }
}
