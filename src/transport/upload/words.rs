//! What is said of an upload: how far it is, and what went wrong with it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Broken, Upload};
use crate::artifact::Progress;
use crate::model::artifact::Pin;
use crate::model::outcome::Failure;
use crate::model::units::{Bytes, TimeSpan};
use crate::transport::story::not_started;
use crate::transport::{HostError, HostErrorKind, OutputSink};

impl Upload<'_> {
    fn what(&self) -> String {
        self.pin.describe()
    }

    pub(super) fn refused(&self, kind: &str, text: &str) -> Broken {
        let folder = &self.settings.upload.folder;
        let what = self.what();
        match kind {
            "busy" => Broken::Refused(HostError {
                kind: HostErrorKind::Busy,
                failure: Failure::new(format!("{what} is being sent there by somebody else"))
                    .hint("wait for the other run, or end it"),
            }),
            "space" => {
                let free = text.trim().parse().map_or_else(|_| text.to_owned(), |free| Bytes(free).to_string());
                Broken::Refused(failed(
                    Failure::new(format!("{what} does not fit on the disk of {folder}"))
                        .evidence(format!("{free} free; {} and a reserve are needed", Bytes(self.file.size)))
                        .hint("make room there"),
                ))
            }
            "damaged" => Broken::Damaged(failed(
                Failure::new(format!("{what} did not arrive as it was sent"))
                    .evidence(format!("sent: sha256 {}", self.file.sha256))
                    .evidence(format!("there: sha256 {text}"))
                    .hint("its disk or memory, or something on the way, changes bytes: look at the kernel's messages there"),
            )),
            _ => Broken::Refused(failed(
                Failure::new(format!("{what} cannot be sent"))
                    .evidence(text.trim())
                    .hint(format!("see that {folder} can be written and its disk has space")),
            )),
        }
    }

    pub(super) fn unreadable(&self, error: &io::Error) -> HostError {
        failed(
            Failure::new(format!("{} cannot be read", self.what()))
                .evidence(error.to_string())
                .hint("see that the cache folder's disk is well, then run it again"),
        )
    }

    pub(super) fn silent(&self) -> HostError {
        failed(
            Failure::new("the connection stands still")
                .evidence(format!("nothing moved for {}", TimeSpan(self.patience())))
                .hint("look at the network between here and the machine"),
        )
    }

    pub(super) fn cut(&self, exit: Option<i32>, talk: &str) -> HostError {
        let mut failure = Failure::new(format!(
            "the connection was lost while sending {}",
            self.what()
        ));
        if let Some(exit) = exit.filter(|exit| *exit != 0) {
            failure = failure.evidence(format!("the shell ended with status {exit}"));
        }
        for line in talk.lines() {
            failure = failure.evidence(line);
        }
        failed(failure.hint("look at the network between here and the machine; what was sent is kept there, and gone on with"))
    }
}

fn failed(failure: Failure) -> HostError {
    HostError {
        failure,
        ..not_started(String::new())
    }
}

/// Says how far it is, every tenth of the way.
pub(super) struct Told<'a> {
    what: String,
    output: OutputSink<'a>,
    tenth: Option<u64>,
}

impl<'a> Told<'a> {
    pub fn new(pin: &Pin, output: OutputSink<'a>) -> Self {
        Self {
            what: pin.describe(),
            output,
            tenth: None,
        }
    }

    /// So far it is.
    pub fn at(&mut self, have: u64, total: u64) {
        let tenth = have.saturating_mul(10).checked_div(total).unwrap_or(10);
        if self.tenth.replace(tenth) != Some(tenth) {
            let (have, total) = (Bytes(have), Bytes(total));
            (self.output)(&format!("{}: sent {have} of {total}\n", self.what));
        }
    }
}

/// Says how a download on the controller goes on, every tenth of the way.
pub(in crate::transport) fn narrator<'a>(
    pin: &'a Pin,
    output: OutputSink<'a>,
) -> impl Fn(Progress<'_>) + Send + Sync + 'a {
    let tenth = AtomicU64::new(u64::MAX);
    move |progress| {
        let what = pin.describe();
        match progress {
            Progress::Waiting => output(&format!("{what}: another process fetches it\n")),
            Progress::Trouble { failure, .. } => output(&format!("{what}: {}\n", failure.message)),
            Progress::Began { url, .. } => output(&format!("{what}: fetching {url}\n")),
            Progress::Got { have, total } => {
                let part = total.and_then(|total| have.saturating_mul(10).checked_div(total));
                if let (Some(part), Some(total)) = (part, total)
                    && tenth.swap(part, Ordering::Relaxed) != part
                {
                    let (have, total) = (Bytes(have), Bytes(total));
                    output(&format!("{what}: fetched {have} of {total}\n"));
                }
            }
        }
    }
}
