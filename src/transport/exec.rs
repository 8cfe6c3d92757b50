//! One execution: a shell is started, gets its script and payloads, answers in frames. Knows nothing of what they mean.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::shell::{NOT_LOADED, Running, Shell};
use super::{HostError, HostErrorKind};
use crate::facts::frame::{Delimiter, Frame, Splitter};
use crate::model::outcome::Failure;

/// Bytes of standard error that are kept, the last ones.
const STDERR_KEPT: usize = 16 * 1024;

/// Bytes of answers that one execution may give. What facts read is capped far below on the machine itself.
const ANSWERS: usize = 32 * 1024 * 1024;

/// Bytes that are shown of output that nobody asked for.
const LOOSE_SHOWN: usize = 1024;

/// How long a stream may stay open after the shell's end.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is said to a shell: a script, then bytes for it.
pub(super) struct Input<'a> {
    pieces: Vec<Cow<'a, [u8]>>,
    silence: Option<Duration>,
}

/// How an execution went.
pub(super) struct Execution {
    /// All frames but those that the listener kept.
    pub frames: Vec<Frame>,
    /// The script said that it had come to its end.
    pub ended: bool,
    /// Every byte of the input was taken by the connection.
    pub sent: bool,
    /// Exit status, where it is known.
    pub exit: Option<i32>,
    /// The last bytes of standard error.
    pub stderr: String,
    /// Why the script was never loaded, where the way of starting shells knows.
    pub refusal: Option<HostError>,
    /// Why the connection was lost, where that is known.
    pub last_words: Option<String>,
    /// Why it was given up from here.
    pub given_up: Option<String>,
}

/// What was heard of a script.
#[derive(Default)]
struct Heard {
    /// What the listener gave back.
    frames: Vec<Frame>,
    /// Anything at all.
    any: bool,
    /// That it came to its end.
    ended: bool,
}

impl<'a> Input<'a> {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            pieces: Vec::new(),
            silence: None,
        }
    }

    /// A script for a loading shell. The delimiter is known to nobody but this execution, so a script that was cut
    /// off cannot end with it by chance (inside the script it never follows a `#`).
    pub(super) fn script(&mut self, delimiter: &Delimiter, text: &str) {
        let mark = delimiter.as_str();
        let whole = format!("{text}\n#{mark}");
        let head = format!("{} {mark}\n", whole.len());
        self.pieces.push(Cow::Owned(head.into_bytes()));
        self.pieces.push(Cow::Owned(whole.into_bytes()));
    }

    /// Writes it all.
    pub(super) async fn write(
        &self,
        stdin: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> std::io::Result<()> {
        for piece in &self.pieces {
            stdin.write_all(piece).await?;
        }
        Ok(())
    }

    /// Gives up after silence of this length (at most twice as long).
    pub(super) fn expect_words_within(&mut self, silence: Duration) {
        self.silence = Some(silence);
    }

    /// Bytes as they are.
    pub(super) fn payload(&mut self, bytes: &'a [u8]) {
        self.pieces.push(Cow::Borrowed(bytes));
    }
}

/// Carries out one execution. `listen` sees each frame as it comes and gives back those to be kept. When the script
/// says that all was said, it is told so: what it must not throw away before (a job's verdict) can go then.
pub(super) async fn execute(
    shell: &dyn Shell,
    program: &[String],
    delimiter: &Delimiter,
    input: &Input<'_>,
    listen: &mut (dyn FnMut(Frame) -> Option<Frame> + Send),
) -> Result<Execution, HostError> {
    let Running {
        stdin,
        stdout,
        stderr,
        mut control,
    } = shell.start(program).await?;
    let (said, heard) = oneshot::channel();
    let mut sent = false;
    let mut talk = Vec::new();
    let mut answer = Heard::default();
    let pieces = AtomicUsize::new(0);
    let mut given_up = None;
    let exit = {
        let reading = read_frames(stdout, delimiter, listen, said, &pieces, &mut answer);
        let writing = write_input(stdin, input, heard, &mut sent);
        let errors = read_tail(stderr, &mut talk);
        tokio::pin!(reading, writing, errors);
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        let silence = silent(input.silence, &pieces);
        tokio::pin!(silence);
        let (mut written, mut heard, mut quiet) = (false, false, false);
        let mut exit = None;
        loop {
            tokio::select! {
                () = &mut writing, if !written => written = true,
                flood = &mut reading, if !heard => (heard, given_up) = (true, flood),
                silence = &mut silence, if exit.is_none() => given_up = Some(silence),
                () = &mut errors, if !quiet => quiet = true,
                status = control.wait(), if exit.is_none() => {
                    exit = Some(status);
                    patience.as_mut().reset(Instant::now() + PATIENCE);
                }
                // What the shell had said is in the pipes, but something it left behind holds them open.
                () = &mut patience, if exit.is_some() => break exit,
                else => break exit,
            }
            if given_up.is_some() {
                break None;
            }
            if heard && quiet && exit.is_some() {
                break exit;
            }
        }
    };
    Ok(Execution {
        frames: answer.frames,
        ended: answer.ended,
        sent,
        exit: exit.flatten(),
        stderr: String::from_utf8_lossy(&talk).trim().to_owned(),
        refusal: control.refusal().filter(|_| !answer.any),
        last_words: control.last_words(),
        given_up,
    })
}

/// Ends when no piece came for this long, and says so.
async fn silent(limit: Option<Duration>, pieces: &AtomicUsize) -> String {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    loop {
        let before = pieces.load(Ordering::Relaxed);
        tokio::time::sleep(limit).await;
        if pieces.load(Ordering::Relaxed) == before {
            return format!("it has said nothing for {} s", limit.as_secs_f32());
        }
    }
}

/// Reads frames to the end of the stream, or says that there were too many. A failing read is the end of the stream: what is
/// missing shows by that.
async fn read_frames(
    mut stdout: Box<dyn AsyncRead + Send + Unpin>,
    delimiter: &Delimiter,
    listen: &mut (dyn FnMut(Frame) -> Option<Frame> + Send),
    said: oneshot::Sender<()>,
    pieces: &AtomicUsize,
    heard: &mut Heard,
) -> Option<String> {
    let mut splitter = Splitter::new(delimiter);
    let mut buffer = vec![0; 64 * 1024];
    let mut said = Some(said);
    let mut kept = 0;
    loop {
        let count = stdout.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            break;
        }
        pieces.fetch_add(1, Ordering::Relaxed);
        for frame in splitter.push(buffer.get(..count).unwrap_or_default()) {
            heard.any |= !matches!(&frame, Frame::Loose(_));
            if matches!(&frame, Frame::Whole { name, .. } if name == "end") {
                heard.ended = true;
                // Gone where the other side has stopped reading; then there is nobody to tell.
                if said.take().is_some_and(|said| said.send(()).is_err()) {
                    tracing::debug!("nobody waits for the acknowledgement");
                }
            } else if let Some(frame) = listen(frame) {
                kept += frame.size();
                heard.frames.push(frame);
            }
        }
        if kept + splitter.held() > ANSWERS {
            return Some(format!("it sent more than {} MiB", ANSWERS >> 20));
        }
    }
    heard.frames.extend(splitter.finish().and_then(listen));
    None
}

/// Writes the input, and `ok` once everything was heard. A shell that has refused reads no further: no error here.
async fn write_input(
    mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
    input: &Input<'_>,
    heard: oneshot::Receiver<()>,
    sent: &mut bool,
) {
    if input.write(&mut stdin).await.is_err() {
        return;
    }
    *sent = true;
    if stdin.flush().await.is_err() {
        return;
    }
    if heard.await.is_ok() {
        let acknowledged = async {
            stdin.write_all(b"ok\n").await?;
            stdin.shutdown().await
        };
        if let Err(error) = acknowledged.await {
            tracing::debug!(%error, "the acknowledgement was not taken");
        }
    }
}

async fn read_tail(mut stderr: Box<dyn AsyncRead + Send + Unpin>, tail: &mut Vec<u8>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count) = stderr.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        tail.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let excess = tail.len().saturating_sub(STDERR_KEPT);
        tail.drain(..excess);
    }
}

/// A new delimiter. Without randomness there is none that a file could not imitate.
pub(super) fn delimiter() -> Result<Delimiter, HostError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| HostError {
        kind: HostErrorKind::NotStarted,
        failure: Failure::new("this machine gives no random numbers").evidence(error.to_string()),
    })?;
    Ok(Delimiter::new(random))
}

/// The execution did not say that it had come to its end.
pub(super) fn cut_off(execution: &Execution, kind: HostErrorKind) -> HostError {
    if let Some(refusal) = &execution.refusal {
        return refusal.clone();
    }
    let silent = !matches!(kind, HostErrorKind::Lost) && execution.frames.is_empty();
    let (kind, mut failure) = match execution.exit {
        Some(NOT_LOADED) if execution.sent && silent => (
            HostErrorKind::Protocol,
            Failure::new("the machine's shell could not load a script")
                .hint("see that it has `sh`, `dd` and `sha256sum` (coreutils or busybox)"),
        ),
        Some(126 | 127) if silent => (
            HostErrorKind::Unreachable { transient: false },
            Failure::new("no POSIX shell could be started on the machine")
                .hint("see that it has `sh` and `setsid` (util-linux or busybox)"),
        ),
        _ if execution.given_up.is_some() => {
            let kind = match kind {
                HostErrorKind::Lost => kind,
                _ => HostErrorKind::Unreachable { transient: true },
            };
            let failure = Failure::new("the machine did not answer as it should, and was given up");
            (
                kind,
                failure.hint("log in there and see whether the login shell and the disks answer"),
            )
        }
        _ => {
            let message = match kind {
                HostErrorKind::NotStarted => "the connection was lost before the job was started",
                HostErrorKind::Lost => "the connection was lost while a job was running",
                _ => "the connection was lost before everything was answered",
            };
            (kind, Failure::new(message))
        }
    };
    if let Some(exit) = execution.exit {
        failure = failure.evidence(format!("the shell ended with status {exit}"));
    }
    for words in [&execution.given_up, &execution.last_words]
        .into_iter()
        .flatten()
    {
        failure = failure.evidence(words.clone());
    }
    for line in execution.stderr.lines() {
        failure = failure.evidence(line);
    }
    for frame in &execution.frames {
        if let Frame::Loose(bytes) = frame {
            let bytes = bytes.get(..LOOSE_SHOWN).unwrap_or(bytes);
            failure = failure.evidence(String::from_utf8_lossy(bytes).trim().to_owned());
        }
    }
    HostError { kind, failure }
}
