//! A run while it goes on: signals in, reports out, questions to the person at the terminal.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::error::CliError;
use crate::engine::runner::{Confirm, Observer};
use crate::model::event::{CancelLevel, Record};
use crate::report::Reporter;
use crate::transport::BoxFuture;

/// Ctrl-C, SIGTERM and a closed terminal: the first lets running steps end, a second one does not.
pub fn signals() -> Result<mpsc::UnboundedReceiver<CancelLevel>, CliError> {
    let (cancel, asked) = mpsc::unbounded_channel();
    let listen = |kind| {
        signal(kind)
            .map_err(|error| CliError::failed("cannot listen for signals").caused_by(&error))
    };
    let (mut interrupt, mut terminate, mut hangup) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
        listen(SignalKind::hangup())?,
    );
    tokio::spawn(async move {
        let mut level = CancelLevel::Drain;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if cancel.send(level).is_err() {
                return;
            }
            level = CancelLevel::Abort;
        }
    });
    Ok(asked)
}

/// Hands a run's records to a reporter.
pub struct Watcher<'w> {
    reporter: Box<dyn Reporter + 'w>,
    size: Option<(u16, u16)>,
    failed: Option<io::Error>,
}

impl<'w> Watcher<'w> {
    /// For this reporter.
    pub fn new(reporter: Box<dyn Reporter + 'w>) -> Self {
        Self {
            reporter,
            size: None,
            failed: None,
        }
    }

    /// Ends the report. A closed pipe is no failure of the run: whoever read had enough.
    pub fn finish(mut self) -> Result<(), CliError> {
        let finished = self.reporter.finish();
        match self.failed.map_or(finished, Err) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::from_output(&error))
            }
            _ => Ok(()),
        }
    }

    fn keep(&mut self, shown: io::Result<()>) {
        if let Err(error) = shown {
            self.failed.get_or_insert(error);
        }
    }
}

impl Observer for Watcher<'_> {
    fn record(&mut self, record: &Record) {
        if self.failed.is_none() {
            let shown = self.reporter.record(record);
            self.keep(shown);
        }
    }

    fn tick(&mut self, now_ms: i64) {
        if self.failed.is_some() {
            return;
        }
        let size = terminal_size::terminal_size().map(|(width, height)| (width.0, height.0));
        if let Some((width, height)) = size.filter(|_| self.size != size) {
            self.size = size;
            self.reporter
                .resize(usize::from(width), usize::from(height));
        }
        let shown = self.reporter.tick(now_ms);
        self.keep(shown);
    }

    fn question(&mut self, stands: bool) {
        if self.failed.is_some() {
            return;
        }
        let shown = match stands {
            true => self.reporter.pause(),
            false => self.reporter.unpause(),
        };
        self.keep(shown);
    }
}

/// Sees nothing: for a preview, which shows its result only.
pub struct Unwatched;

impl Observer for Unwatched {
    fn record(&mut self, _: &Record) {}

    fn tick(&mut self, _: i64) {}
}

/// The person at the terminal.
pub struct Terminal;

impl Confirm for Terminal {
    fn confirm<'a>(&'a self, pairs: &'a [String]) -> BoxFuture<'a, bool> {
        let question = format!(
            "These steps disturb what runs on their targets:\n  {}\nGo on?",
            pairs.join("\n  ")
        );
        Box::pin(async move {
            // A thread of its own: the runtime would await one of its own at the end, and after Ctrl-C nobody answers.
            let (answer, answered) = oneshot::channel();
            std::thread::spawn(move || answer.send(super::output::ask(&question)));
            answered.await.unwrap_or(false)
        })
    }
}
