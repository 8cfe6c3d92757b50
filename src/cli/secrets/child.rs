//! A program that somebody works in (an editor), or that is run for them with secrets in its environment: it has the
//! terminal, and whatever ends it or us, what was made for it is cleared away.

#![expect(
    clippy::disallowed_methods,
    reason = "starts the editor, and the command of `secrets exec`"
)]

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its own end.
    pub status: ExitStatus,
    /// We were told to end meanwhile: by a closed terminal or a service manager.
    pub told_to_end: bool,
}

/// Runs a command with our streams and waits for it. A Ctrl-C is the child's (the terminal sends it to both): we stay, to
/// clear away. Being told to end is passed on.
pub async fn attend(
    program: &str,
    args: &[OsString],
    env: &[(String, OsString)],
) -> io::Result<Ended> {
    // From here on these do not end us; before the child is there, so that none is missed.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .envs(env.iter().cloned())
        .spawn()?;
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut told_to_end = false;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(Ended { status: status?, told_to_end }),
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            _ = terminate.recv() => told_to_end = pass_on(pid),
            _ = hangup.recv() => told_to_end = pass_on(pid),
        }
    }
}

fn pass_on(pid: Option<Pid>) -> bool {
    if let Some(pid) = pid {
        // It may have ended by itself a moment ago.
        kill_process(pid, Signal::TERM).ok();
    }
    true
}

/// Becomes the command: signals, exit status and process id are its own. Comes back only where it cannot be started.
pub fn become_it(program: &str, args: &[OsString], env: &[(String, OsString)]) -> io::Error {
    std::process::Command::new(program)
        .args(args)
        .envs(env.iter().cloned())
        .exec()
}

/// The exit status as a shell gives it: 128 and the number of a signal that ended it.
pub fn number(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(1)).unwrap_or(1)
}
