//! Takes the messages of a channel apart: output, standard error, what sudo says, the end. It never runs ahead of who
//! reads, so a machine that talks without end costs no memory here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf, Sig};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::channel::{Progress, Story, Tally, lock};
use super::sudo::Gate;

/// After the exit status, so long may output still come before the channel counts as ended. Something left behind may
/// hold it open for ever.
const QUIET: Duration = Duration::from_millis(250);

/// Bytes of what sudo says that are kept.
const TALK_KEPT: usize = 16 * 1024;

/// Extended data of this type is standard error (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// Takes the messages of a channel apart.
pub(super) struct Pump {
    pub read: ChannelReadHalf,
    pub out: Option<mpsc::Sender<Bytes>>,
    pub err: Option<mpsc::Sender<Bytes>>,
    pub story: Arc<Mutex<Story>>,
    pub progress: watch::Sender<Progress>,
    /// Until the program began.
    pub gate: Option<Gate>,
    pub talk: Vec<u8>,
    pub tally: Arc<Tally>,
    /// Bytes of output and standard error.
    pub received: u64,
}

impl Pump {
    pub(super) async fn run(mut self) {
        let mut exited = false;
        loop {
            let message = if exited {
                match timeout(QUIET, self.read.wait()).await {
                    Ok(message) => message,
                    Err(_) => {
                        self.progress.send_replace(Progress::Ended);
                        exited = false;
                        continue;
                    }
                }
            } else {
                self.read.wait().await
            };
            match message {
                None | Some(ChannelMsg::Close) => break,
                Some(message) => exited |= self.take(message).await,
            }
        }
        let exit = {
            let mut story = lock(&self.story);
            story.closed = true;
            story.exit
        };
        self.tally.end(exit, self.received);
        self.progress.send_if_modified(|now| {
            let news = *now != Progress::Wrong;
            if news {
                *now = Progress::Ended;
            }
            news
        });
    }

    /// Whether the shell has exited.
    async fn take(&mut self, message: ChannelMsg) -> bool {
        if let ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } = &message {
            self.received += data.len() as u64;
        }
        match message {
            ChannelMsg::Data { data } => give(&mut self.out, data).await,
            ChannelMsg::ExtendedData { data, ext: STDERR } => match self.gate.take() {
                Some(gate) => self.listen(gate, &data).await,
                None => give(&mut self.err, data).await,
            },
            ChannelMsg::Eof => (self.out, self.err) = (None, None),
            ChannelMsg::ExitStatus { exit_status } => {
                lock(&self.story).exit = Some(i32::try_from(exit_status).unwrap_or(255));
                return true;
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                lock(&self.story).exit = Some(128 + number(&signal_name));
                return true;
            }
            ChannelMsg::Failure => {
                lock(&self.story).refused = true;
                (self.out, self.err) = (None, None);
                self.progress.send_replace(Progress::Ended);
            }
            _ => {}
        }
        false
    }

    /// Hears what sudo says until the program says that it runs.
    async fn listen(&mut self, gate: Gate, data: &[u8]) {
        self.talk.extend_from_slice(data);
        let text = String::from_utf8_lossy(&self.talk);
        if let Some((before, after)) = text.split_once(&format!("{}\n", gate.began)) {
            let rest = Bytes::copy_from_slice(after.as_bytes());
            {
                let mut story = lock(&self.story);
                story.began = true;
                story.prompts = before.matches(&gate.prompt).count();
                story.talk = before.replace(&gate.prompt, "");
            }
            self.progress.send_replace(Progress::Began);
            if !rest.is_empty() {
                give(&mut self.err, rest).await;
            }
            return;
        }
        let prompts = text.matches(&gate.prompt).count();
        {
            let mut story = lock(&self.story);
            story.prompts = prompts;
            story.talk = text.replace(&gate.prompt, "");
        }
        if prompts > 1 {
            (self.out, self.err) = (None, None);
            self.progress.send_replace(Progress::Wrong);
        }
        let excess = self.talk.len().saturating_sub(TALK_KEPT);
        self.talk.drain(..excess);
        self.gate = Some(gate);
    }
}

/// Hands a piece of output on, as soon as there is room. Where nobody reads any more, it is thrown away.
async fn give(to: &mut Option<mpsc::Sender<Bytes>>, data: Bytes) {
    if let Some(sender) = to
        && sender.send(data).await.is_err()
    {
        *to = None;
    }
}

/// As Linux numbers them.
fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) => match name.split('@').next() {
            Some("BUS") => 7,
            Some("USR2") => 12,
            Some("XCPU") => 24,
            Some("XFSZ") => 25,
            Some("SYS") => 31,
            _ => 0,
        },
    }
}

/// Pieces of output as a stream.
pub(super) struct Chunks {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Chunks {
    pub(super) fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self {
            pieces,
            piece: Bytes::new(),
        }
    }
}

impl AsyncRead for Chunks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.pieces.poll_recv(context)) {
                Some(piece) => self.piece = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.piece.len().min(buffer.remaining());
        let taken = self.piece.split_to(count);
        buffer.put_slice(&taken);
        Poll::Ready(Ok(()))
    }
}
