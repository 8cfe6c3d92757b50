//! What a way of reaching a machine must offer: start one POSIX shell that loads its script from standard input.
//! Everything else (scripts, jobs, frames) is common to all ways and lives in the other files.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{BoxFuture, HostError};
use crate::facts::fact::Login;

/// The program text of every shell that is started, here and on the target, attached or detached. Constant, so that
/// nothing of a run shows in any process list. It reads a line `LENGTH MARK` (`read` takes a pipe byte by byte), then
/// exactly LENGTH bytes (`dd` with full blocks; a `head -c` may read ahead), checks that they end with `#MARK`, and
/// evaluates them. What follows on standard input is the script's. The variables are unset first: one that came
/// exported from outside would hand the script to every program's environment.
pub const LOADER: &str = "unset n e s;IFS=' ' read -r n e||exit 97;s=$(dd bs=\"$n\" count=1 iflag=fullblock \
                          2>/dev/null)||exit 97;case $s in *\"#$e\")eval \"$s\";;*)exit 97;;esac";

/// Exit status of [`LOADER`] when its script did not arrive whole; nothing was carried out.
pub const NOT_LOADED: i32 = 97;

/// A way of starting shells on one machine.
pub trait Shell: Send + Sync {
    /// Starts `PROGRAM -c LOADER`, PROGRAM being a POSIX shell (usually the one word `sh`). Errors are
    /// [`Unreachable`](super::HostErrorKind::Unreachable).
    fn start<'a>(&'a self, program: &'a [String]) -> BoxFuture<'a, Result<Running, HostError>>;

    /// As whom the machine was entered, where this way of starting shells logs in and is connected.
    fn login(&self) -> BoxFuture<'_, Option<Login>> {
        Box::pin(std::future::ready(None))
    }
}

/// A shell that was started.
pub struct Running {
    /// Its standard input.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its standard output.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Its end.
    pub control: Box<dyn Control>,
}

/// The end of a started shell. Dropping it before [`Control::wait`] returned ends the shell and all it has started
/// that is still attached; detached jobs go on.
pub trait Control: Send {
    /// Awaits the exit status (128 + N after signal N); `None` = the connection was lost and nobody knows.
    fn wait(&mut self) -> BoxFuture<'_, Option<i32>>;

    /// Why the shell never came to load its script, where this way of starting shells knows: then nothing that was
    /// sent was carried out. Asked after [`Control::wait`], where the script said nothing.
    fn refusal(&self) -> Option<HostError> {
        None
    }

    /// Why the connection was lost, where that is known. Asked after [`Control::wait`].
    fn last_words(&self) -> Option<String> {
        None
    }
}
