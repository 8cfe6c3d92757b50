//! Sends a file to a machine before the job that needs it: into the upload folder there, under its sha256. Goes on after
//! a cut connection where it broke off, reads the file from disk in small pieces, is proven on the machine before it
//! counts. Nothing but the upload folder is touched, so it needs no lock of the cluster.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::actions::{Paths, hex};
use super::exec::Input;
use super::job::{self, LIB};
use super::machine::{Settings, delimiter};
use super::shell::{Running, Shell};
use super::{HostError, HostErrorKind, OutputSink};
use crate::artifact::VerifiedFile;
use crate::facts::frame::{Delimiter, Frame, Splitter};
use crate::model::artifact::Pin;
use crate::model::path::AbsPath;
use crate::model::shell::quote;
use crate::model::units::Bytes;

mod words;

use words::Told;
pub(super) use words::narrator;

/// Bytes that are read and sent at once; a few of these are in memory.
const PIECE: usize = 64 * 1024;

/// Bytes a second that the slowest disk reads.
const SLOWEST: u64 = 5_000_000;

/// Bytes of standard error that are kept.
const TALK: usize = 4 * 1024;

/// How long the shell may take to end when all is said.
const GOODBYE: Duration = Duration::from_secs(5);

static UPLOAD: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| job::dense(include_str!("sh/upload.sh")));

/// How files are sent.
#[derive(Clone, Debug)]
pub struct UploadSettings {
    /// The folder on the machine (below its root).
    pub folder: AbsPath,
    /// Tries without getting further before it is given up; 0 counts as 1.
    pub tries: u32,
    /// Before the second try; doubled with each further one, up to 16 times.
    pub pause: Duration,
    /// How long nothing may move before the connection counts as dead.
    pub stall: Duration,
    /// How long another sender of the same file may stand still before it counts as dead.
    pub patience: Duration,
}

impl Default for UploadSettings {
    #[expect(
        clippy::expect_used,
        reason = "a constant; every test that makes default settings holds it"
    )]
    fn default() -> Self {
        Self {
            folder: AbsPath::new("/var/lib/hmco-boot/upload")
                .expect("the default upload folder is a path"),
            tries: 8,
            pause: Duration::from_secs(1),
            stall: Duration::from_secs(60),
            patience: Duration::from_secs(20),
        }
    }
}

/// One file on its way to one machine.
pub(super) struct Upload<'a> {
    pub shell: &'a dyn Shell,
    pub settings: &'a Settings,
    pub paths: &'a Paths,
    pub pin: &'a Pin,
    pub file: &'a VerifiedFile,
    /// Names us to the machine.
    pub sender: &'a str,
    pub output: OutputSink<'a>,
}

/// Why one connection did not do.
enum Broken {
    /// Another connection may go on.
    Cut(HostError),
    /// It stays so.
    Refused(HostError),
    /// What came was not what was sent; it was thrown away there.
    Damaged(HostError),
}

impl Upload<'_> {
    /// Sends until the machine has proven the file.
    pub async fn run(&self) -> Result<(), HostError> {
        let mut told = Told::new(self.pin, self.output);
        let (mut tries, mut damaged, mut furthest) = (0, false, 0);
        loop {
            let reached = AtomicU64::new(0);
            let error = match self.once(&reached, &mut told).await {
                Ok(()) => return Ok(()),
                Err(Broken::Refused(error)) => return Err(error),
                Err(Broken::Damaged(error)) => {
                    if std::mem::replace(&mut damaged, true) {
                        return Err(error);
                    }
                    error
                }
                Err(Broken::Cut(error)) => error,
            };
            let reached = reached.into_inner();
            if reached > furthest {
                (furthest, tries) = (reached, 0);
            }
            tries += 1;
            if tries >= self.settings.upload.tries {
                return Err(self.given_up(error, tries, furthest));
            }
            let words = format!("{error}; trying again\n");
            (self.output)(&words);
            let doubled = 2_u32.saturating_pow(tries - 1).min(16);
            tokio::time::sleep(self.settings.upload.pause * doubled).await;
        }
    }

    fn given_up(&self, mut error: HostError, tries: u32, furthest: u64) -> HostError {
        let failure = error.failure.evidence(format!(
            "sending {} ended after {} of {}, tried {tries} times without getting further",
            self.pin.describe(),
            Bytes(furthest),
            Bytes(self.file.size)
        ));
        error.failure = failure;
        error
    }

    fn script(&self, delimiter: &Delimiter, mark: &str) -> String {
        let mut text = job::prelude(self.settings);
        let upload = &self.settings.upload;
        for (name, value) in [
            ("D", delimiter.as_str()),
            ("UPLOADS", &self.paths.full(&upload.folder)),
            ("SUM", &self.file.sha256),
            ("SIZE", &self.file.size.to_string()),
            ("OWNER", self.sender),
            ("MARK", mark),
            ("PATIENCE", &upload.patience.as_secs().to_string()),
        ] {
            text.push_str(&format!("{name}={}\n", quote(value)));
        }
        text.push_str(&LIB);
        text.push_str(&UPLOAD);
        text.push_str("hb_upload\n");
        text
    }

    /// One connection.
    async fn once(&self, reached: &AtomicU64, told: &mut Told<'_>) -> Result<(), Broken> {
        let (delimiter, mark) = (
            delimiter().map_err(Broken::Refused)?,
            delimiter().map_err(Broken::Refused)?,
        );
        let started = self.shell.start(&self.settings.shell).await;
        let Running {
            stdin,
            stdout,
            stderr,
            mut control,
        } = started.map_err(|error| match error.kind {
            HostErrorKind::Unreachable { transient: false } => Broken::Refused(error),
            _ => Broken::Cut(error),
        })?;
        let mut input = Input::new();
        input.script(&delimiter, &self.script(&delimiter, mark.as_str()));
        let moved = AtomicU64::new(0);
        let (go, from) = oneshot::channel();
        let mut talk = Vec::new();
        let verdict = {
            let sending = self.send(stdin, &input, from, &moved);
            let hearing = self.hear(stdout, &delimiter, go, &moved, reached, told);
            let errors = read_talk(stderr, &mut talk);
            let watching = self.stalled(&moved);
            tokio::pin!(sending, hearing, errors, watching);
            let (mut sent, mut quiet) = (false, false);
            loop {
                tokio::select! {
                    verdict = &mut hearing => break verdict,
                    result = &mut sending, if !sent => match result {
                        Ok(()) => sent = true,
                        Err(error) => break Some(Err(Broken::Refused(error))),
                    },
                    () = &mut errors, if !quiet => quiet = true,
                    () = &mut watching => break Some(Err(Broken::Cut(self.silent()))),
                }
            }
        };
        match verdict {
            Some(Ok(())) => {
                // It has said all; only a shell that hangs is ended.
                if tokio::time::timeout(GOODBYE, control.wait()).await.is_err() {
                    tracing::debug!("the shell of an upload did not end by itself");
                }
                Ok(())
            }
            Some(Err(broken)) => Err(broken),
            None => {
                let exit = tokio::time::timeout(GOODBYE, control.wait()).await;
                let talk = String::from_utf8_lossy(&talk).into_owned();
                Err(Broken::Cut(self.cut(exit.ok().flatten(), &talk)))
            }
        }
    }

    /// Sends the script and, when the machine has said from where, the bytes. Where the other side does not read on, what
    /// it says (or does not say) tells why.
    async fn send(
        &self,
        mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
        input: &Input<'_>,
        from: oneshot::Receiver<u64>,
        moved: &AtomicU64,
    ) -> Result<(), HostError> {
        if input.write(&mut stdin).await.is_err() || stdin.flush().await.is_err() {
            return hold_open(stdin).await;
        }
        let Ok(from) = from.await else {
            return hold_open(stdin).await;
        };
        let line = format!("go {from}\n");
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return hold_open(stdin).await;
        }
        let mut pieces = self.pieces(from);
        while let Some(piece) = pieces.recv().await {
            let piece = piece.map_err(|error| self.unreadable(&error))?;
            if stdin.write_all(&piece).await.is_err() {
                return hold_open(stdin).await;
            }
            moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        if stdin.flush().await.is_err() {
            tracing::debug!("the end of an upload was not taken");
        }
        hold_open(stdin).await
    }

    /// The file's bytes from an offset on; read ahead by a few pieces.
    fn pieces(&self, from: u64) -> mpsc::Receiver<io::Result<Vec<u8>>> {
        let (give, take) = mpsc::channel(4);
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || {
            let read = || -> io::Result<()> {
                let mut reader = file.open()?;
                reader.seek(SeekFrom::Start(from))?;
                let mut left = file.size.saturating_sub(from);
                while left > 0 {
                    let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                    let mut piece = vec![0; length];
                    reader.read_exact(&mut piece)?;
                    left -= length as u64;
                    if give.blocking_send(Ok(piece)).is_err() {
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = read()
                && give.blocking_send(Err(error)).is_err()
            {
                tracing::debug!("nobody waits for the file any more");
            }
        });
        take
    }

    /// Hears the machine to its verdict; `None` where it ended without one.
    async fn hear(
        &self,
        mut stdout: Box<dyn tokio::io::AsyncRead + Send + Unpin>,
        delimiter: &Delimiter,
        go: oneshot::Sender<u64>,
        moved: &AtomicU64,
        reached: &AtomicU64,
        told: &mut Told<'_>,
    ) -> Option<Result<(), Broken>> {
        let mut go = Some(go);
        let mut splitter = Splitter::new(delimiter);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = stdout.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                return None;
            }
            moved.fetch_add(count as u64, Ordering::Relaxed);
            for frame in splitter.push(buffer.get(..count).unwrap_or_default()) {
                let Frame::Whole {
                    name, args, body, ..
                } = &frame
                else {
                    continue;
                };
                let number = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(0);
                match name.as_str() {
                    "upload-done" => return Some(Ok(())),
                    "upload-refused" => {
                        let kind = args.first().map_or("", String::as_str);
                        return Some(Err(self.refused(kind, &String::from_utf8_lossy(body))));
                    }
                    "upload-at" => {
                        let from = match self.fits(number, args.get(1)).await {
                            Ok(true) => number,
                            Ok(false) => 0,
                            Err(error) => {
                                return Some(Err(Broken::Refused(self.unreadable(&error))));
                            }
                        };
                        reached.store(from, Ordering::Relaxed);
                        told.at(from, self.file.size);
                        if let Some(go) = go.take()
                            && go.send(from).is_err()
                        {
                            return None;
                        }
                    }
                    "upload-have" => {
                        reached.store(number, Ordering::Relaxed);
                        told.at(number, self.file.size);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether what the machine has is how the file begins.
    async fn fits(&self, have: u64, sha256: Option<&String>) -> io::Result<bool> {
        if have == 0 || have > self.file.size {
            return Ok(false);
        }
        let (file, sha256) = (self.file.clone(), sha256.cloned());
        let begun = tokio::task::spawn_blocking(move || -> io::Result<bool> {
            let mut reader = file.open()?.take(have);
            let mut hasher = Sha256::new();
            let mut buffer = vec![0; PIECE];
            loop {
                let count = reader.read(&mut buffer)?;
                if count == 0 {
                    return Ok(sha256 == Some(hex(&hasher.finalize())));
                }
                hasher.update(buffer.get(..count).unwrap_or_default());
            }
        });
        begun.await.map_err(io::Error::other)?
    }

    /// Returns when nothing has moved for too long.
    async fn stalled(&self, moved: &AtomicU64) {
        let mut before = u64::MAX;
        loop {
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
            tokio::time::sleep(self.patience()).await;
        }
    }

    /// How long nothing may move: a slow card needs its time to read the whole file for its digest.
    fn patience(&self) -> Duration {
        self.settings.upload.stall + Duration::from_secs(self.file.size / SLOWEST)
    }
}

/// Keeps the pipe open: its end would be taken for a cut connection. Dropped when the other side has spoken.
async fn hold_open<T>(stdin: Box<dyn AsyncWrite + Send + Unpin>) -> T {
    let held: T = std::future::pending().await;
    drop(stdin);
    held
}

async fn read_talk(mut stderr: Box<dyn tokio::io::AsyncRead + Send + Unpin>, talk: &mut Vec<u8>) {
    let mut buffer = vec![0; 1024];
    while let Ok(count) = stderr.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let room = TALK.saturating_sub(talk.len());
        talk.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
    }
}
