//! A started shell on a channel: its end, what its end means, and with sudo the moment it begins.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use russh::client::Msg;
use russh::{Channel, ChannelWriteHalf, Sig};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::client::{millis, no_way};
use super::pump::{Chunks, Pump};
use super::shell::Lease;
use super::sudo::{self, Gate, Sudo};
use crate::model::outcome::Failure;
use crate::transport::shell::{Control, NOT_LOADED};
use crate::transport::{BoxFuture, HostError};

/// Pieces of output (32 KiB at most each) that wait for a reader.
const WAITING: usize = 4;

/// Exit statuses that the machine's own errors explain better.
const TOLD_ELSEWHERE: [i32; 3] = [NOT_LOADED, 126, 127];

/// What is known of a started shell.
#[derive(Default)]
pub(super) struct Story {
    pub exit: Option<i32>,
    /// The server runs no command.
    pub refused: bool,
    /// The program runs; without sudo, as far as is known.
    pub began: bool,
    /// The channel is closed.
    pub closed: bool,
    /// What sudo said, without its prompts.
    pub talk: String,
    /// How often it asked.
    pub prompts: usize,
}

/// How far a shell is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// sudo has not started the program yet.
    Waiting,
    /// The program runs.
    Began,
    /// sudo wants another password than the one it got.
    Wrong,
    /// All was said.
    Ended,
}

fn is_over(now: &Progress) -> bool {
    matches!(now, Progress::Ended | Progress::Wrong)
}

/// The end of a shell, and what its end means.
pub(super) struct SshControl {
    story: Arc<Mutex<Story>>,
    progress: watch::Receiver<Progress>,
    /// Until it is dropped.
    write: Option<ChannelWriteHalf<Msg>>,
    lease: Lease,
    sudo: Sudo,
    waited: bool,
    tally: Arc<Tally>,
}

/// What is told of a started shell with `-vv`: when, how long, how many bytes; never which.
pub(super) struct Tally {
    machine: String,
    number: u64,
    began: Instant,
    sent: AtomicU64,
}

/// Numbers what is started, over all machines.
static STARTED: AtomicU64 = AtomicU64::new(1);

impl Tally {
    fn begin(machine: &str) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(machine, number, "exec begins");
        Self {
            machine: machine.to_owned(),
            number,
            began: Instant::now(),
            sent: AtomicU64::new(0),
        }
    }

    pub(super) fn end(&self, exit: Option<i32>, received: u64) {
        let (machine, number) = (&self.machine, self.number);
        let (sent, ms) = (self.sent.load(Ordering::Relaxed), millis(self.began));
        tracing::debug!(machine, number, exit, sent, received, ms, "exec ended");
    }
}

/// The output of a started shell.
pub(super) struct Streams {
    pub stdout: Chunks,
    pub stderr: Chunks,
}

pub(super) fn lock(story: &Mutex<Story>) -> MutexGuard<'_, Story> {
    story.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SshControl {
    /// Takes over a channel.
    pub(super) fn new(
        channel: Channel<Msg>,
        lease: Lease,
        gate: Option<Gate>,
        sudo: Sudo,
    ) -> (Self, Streams) {
        let (read, write) = channel.split();
        let tally = Arc::new(Tally::begin(lease.machine()));
        let began = gate.is_none();
        let story = Arc::new(Mutex::new(Story {
            began,
            ..Story::default()
        }));
        let (out, stdout) = mpsc::channel(WAITING);
        let (err, stderr) = mpsc::channel(WAITING);
        let (said, progress) = watch::channel(if began {
            Progress::Began
        } else {
            Progress::Waiting
        });
        let pump = Pump {
            read,
            out: Some(out),
            err: Some(err),
            story: story.clone(),
            progress: said,
            gate,
            talk: Vec::new(),
            tally: tally.clone(),
            received: 0,
        };
        tokio::spawn(pump.run());
        let control = Self {
            story,
            progress,
            write: Some(write),
            lease,
            sudo,
            waited: false,
            tally,
        };
        let streams = Streams {
            stdout: Chunks::new(stdout),
            stderr: Chunks::new(stderr),
        };
        (control, streams)
    }

    /// The channel's sending half.
    pub(super) fn write(&self) -> Option<&ChannelWriteHalf<Msg>> {
        self.write.as_ref()
    }

    /// Standard input of the shell. It fails once the shell has ended: the library would wait for room for ever.
    pub(super) fn input(&self) -> Input {
        let mut progress = self.progress.clone();
        let ended = async move {
            // An error is an end, too.
            progress.wait_for(is_over).await.is_ok()
        };
        Input {
            writer: self
                .write
                .as_ref()
                .map(|write| Box::pin(write.make_writer()) as Writer),
            ended: Some(Box::pin(ended)),
            tally: self.tally.clone(),
        }
    }

    /// Waits until sudo started the program, or did not.
    pub(super) async fn begun(&mut self) -> Progress {
        let known = self
            .progress
            .wait_for(|now| *now != Progress::Waiting)
            .await;
        known.map_or(Progress::Ended, |now| *now)
    }

    /// Why sudo did not start the program; `None` where nobody knows, as the connection was lost.
    pub(super) fn sudo_trouble(&self) -> Option<Failure> {
        let story = lock(&self.story);
        if story.exit.is_none() && story.prompts < 2 && self.lease.connection().is_closed() {
            return None;
        }
        let talk = sudo::Talk {
            text: &story.talk,
            prompts: story.prompts,
            exit: story.exit,
        };
        Some(sudo::trouble(
            &talk,
            &self.sudo,
            self.lease.machine(),
            self.lease.user(),
        ))
    }

    fn no_commands(&self) -> HostError {
        let (machine, user) = (self.lease.machine(), self.lease.user());
        no_way(
            false,
            Failure::new(format!("{machine} lets {user} log in but run no commands")).hint(
                "see `ForceCommand` in its sshd_config and the options of the key in authorized_keys",
            ),
        )
    }

    fn no_shell(&self, exit: i32) -> HostError {
        let (machine, user) = (self.lease.machine(), self.lease.user());
        no_way(
            false,
            Failure::new(format!(
                "the login shell of {user} on {machine} ended with status {exit} and ran no command"
            ))
            .hint(format!(
                "on {machine}: `getent passwd {user}` names that shell; give it a usual one"
            )),
        )
    }
}

impl Control for SshControl {
    fn wait(&mut self) -> BoxFuture<'_, Option<i32>> {
        Box::pin(async move {
            // It fails where the sender is gone: then it is over, too.
            if self.progress.wait_for(is_over).await.is_err() {
                tracing::debug!("a channel's task is gone");
            }
            self.waited = true;
            lock(&self.story).exit
        })
    }

    fn refusal(&self) -> Option<HostError> {
        let story = lock(&self.story);
        let (exit, began, refused) = (story.exit, story.began, story.refused);
        drop(story);
        if refused {
            return Some(self.no_commands());
        }
        if !began {
            return self.sudo_trouble().map(|failure| no_way(false, failure));
        }
        let plain = matches!(self.sudo, Sudo::None);
        exit.filter(|exit| plain && (1..128).contains(exit) && !TOLD_ELSEWHERE.contains(exit))
            .map(|exit| self.no_shell(exit))
    }

    fn last_words(&self) -> Option<String> {
        let connection = self.lease.connection();
        connection
            .is_closed()
            .then(|| connection.last_words())
            .flatten()
    }
}

impl Drop for SshControl {
    /// Closes the channel, and ends the shell where nobody awaited it (as far as the server carries signals).
    fn drop(&mut self) {
        if lock(&self.story).closed {
            return;
        }
        let (Ok(runtime), Some(write)) = (tokio::runtime::Handle::try_current(), self.write.take())
        else {
            return;
        };
        // A sudo that was given a wrong password ends with its input, and logs the failure.
        let waited = self.waited || *self.progress.borrow() == Progress::Wrong;
        runtime.spawn(async move {
            let closed = async {
                if !waited {
                    write.signal(Sig::KILL).await?;
                }
                write.close().await
            };
            if let Err(error) = closed.await {
                tracing::debug!(%error, "a channel could not be closed");
            }
        });
    }
}

type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Standard input of a shell.
pub(super) struct Input {
    writer: Option<Writer>,
    /// `None` once the shell has ended.
    ended: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    tally: Arc<Tally>,
}

impl Input {
    /// The writer, while the shell runs.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> io::Result<Pin<&mut (dyn AsyncWrite + Send)>> {
        if let Some(ended) = &mut self.ended
            && ended.as_mut().poll(context).is_ready()
        {
            self.ended = None;
        }
        match (&self.ended, &mut self.writer) {
            (Some(_), Some(writer)) => Ok(writer.as_mut()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = self.poll_open(context)?.poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &taken {
            self.tally.sent.fetch_add(*count as u64, Ordering::Relaxed);
        }
        taken
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_open(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_open(context)?.poll_shutdown(context)
    }
}
