//! One execution: a shell is started, gets its script and payloads, answers in frames. Knows nothing of what they mean.

use std::borrow::Cow;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::HostError;
use super::shell::{Running, Shell};
use crate::facts::frame::{Delimiter, Frame, Splitter};

/// Bytes of standard error that are kept, the last ones.
const STDERR_KEPT: usize = 16 * 1024;

/// How long a stream may stay open after the shell's end.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is said to a shell: a script, then bytes for it.
pub(super) struct Input<'a> {
    pieces: Vec<Cow<'a, [u8]>>,
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
        Self { pieces: Vec::new() }
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
    let exit = {
        let reading = read_frames(stdout, delimiter, listen, said, &mut answer);
        let writing = write_input(stdin, input, heard, &mut sent);
        let errors = read_tail(stderr, &mut talk);
        tokio::pin!(reading, writing, errors);
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        let (mut written, mut heard, mut quiet) = (false, false, false);
        let mut exit = None;
        loop {
            tokio::select! {
                () = &mut writing, if !written => written = true,
                () = &mut reading, if !heard => heard = true,
                () = &mut errors, if !quiet => quiet = true,
                status = control.wait(), if exit.is_none() => {
                    exit = Some(status);
                    patience.as_mut().reset(Instant::now() + PATIENCE);
                }
                // What the shell had said is in the pipes, but something it left behind holds them open.
                () = &mut patience, if exit.is_some() => break exit,
                else => break exit,
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
    })
}

/// Reads frames to the end of the stream. A failing read is the end of the stream: what is missing shows by that.
async fn read_frames(
    mut stdout: Box<dyn AsyncRead + Send + Unpin>,
    delimiter: &Delimiter,
    listen: &mut (dyn FnMut(Frame) -> Option<Frame> + Send),
    said: oneshot::Sender<()>,
    heard: &mut Heard,
) {
    let mut splitter = Splitter::new(delimiter);
    let mut buffer = vec![0; 64 * 1024];
    let mut said = Some(said);
    loop {
        let count = stdout.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            break;
        }
        for frame in splitter.push(buffer.get(..count).unwrap_or_default()) {
            heard.any |= !matches!(&frame, Frame::Loose(_));
            if matches!(&frame, Frame::Whole { name, .. } if name == "end") {
                heard.ended = true;
                // Gone where the other side has stopped reading; then there is nobody to tell.
                if said.take().is_some_and(|said| said.send(()).is_err()) {
                    tracing::debug!("nobody waits for the acknowledgement");
                }
            } else {
                heard.frames.extend(listen(frame));
            }
        }
    }
    heard.frames.extend(splitter.finish().and_then(listen));
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
