//! What the frames of a job's execution say: refusal, output, verdict.

use super::{HostError, HostErrorKind};
use crate::facts::frame::Frame;
use crate::model::action::{JobEnd, JobStatus};
use crate::model::id::JobId;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::redact::{Chunks, Redactor};

/// What the frames of a job have said so far. What it prints is given on without secrets, each stream for itself: what
/// the two say comes in turns, and a value may be cut by that.
pub(super) struct Story {
    refused: Option<(String, String)>,
    started: bool,
    /// The boot in which it was started.
    boot: Option<String>,
    /// It found at its beginning that this run held the lock (empty: none), and did nothing.
    fenced: Option<String>,
    status: Option<JobStatus>,
    stdout: Stream,
    stderr: Stream,
}

/// One output stream of a job.
struct Stream {
    redactor: Redactor,
    chunks: Chunks,
    /// Bytes before the next ones were not seen.
    gap: bool,
    /// Offset up to which it was handed on.
    seen: u64,
    /// Bytes of a character whose rest has not come yet.
    partial: Vec<u8>,
    last: Vec<u8>,
    total: u64,
}

impl Story {
    /// Nothing was said yet.
    pub(super) fn new(redactor: &Redactor) -> Self {
        Self {
            refused: None,
            started: false,
            boot: None,
            fenced: None,
            status: None,
            stdout: Stream::new(redactor),
            stderr: Stream::new(redactor),
        }
    }

    /// Takes a frame of the job's in, gives others back. New output goes to `output`.
    pub(super) fn take(&mut self, frame: Frame, output: &dyn Fn(&str)) -> Option<Frame> {
        let Frame::Whole {
            name, args, body, ..
        } = &frame
        else {
            return Some(frame);
        };
        let number = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(0);
        match name.as_str() {
            "job-refused" => {
                let why = String::from_utf8_lossy(body).into_owned();
                self.refused = Some((args.join(" "), why));
            }
            "job-started" => {
                self.started = true;
                self.boot = args.first().cloned();
            }
            "job-stdout" => self.stdout.news(number, body, output),
            "job-stderr" => self.stderr.news(number, body, output),
            "job-last-stdout" => self.stdout.last(number, body, output),
            "job-last-stderr" => self.stderr.last(number, body, output),
            "job-end" if args.first().is_some_and(|word| word == "fenced") => {
                self.fenced = Some(args.get(1).cloned().unwrap_or_default());
            }
            "job-end" => self.status = Some(status(&args.join(" "))),
            _ => return Some(frame),
        }
        None
    }

    /// Whether the machine had begun to start it.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// The boot in which it was started.
    pub(super) fn boot(&self) -> Option<&str> {
        self.boot.as_deref()
    }

    /// How it ended, where that was said.
    pub(super) fn end(&self) -> Option<JobEnd> {
        Some(JobEnd {
            status: self.status.clone()?,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            dropped: self.stdout.dropped() + self.stderr.dropped(),
        })
    }

    /// Why it was refused, where it was.
    pub(super) fn refusal(&self, id: &JobId, run_dir: &AbsPath) -> Option<HostError> {
        if let Some(run) = &self.fenced {
            return Some(fenced(Some(run.as_str()).filter(|run| !run.is_empty()), ""));
        }
        let (kind, text) = self.refused.as_ref()?;
        Some(match kind.as_str() {
            "fenced" => fenced(None, ""),
            fence if fence.starts_with("fenced ") => {
                let run = fence.trim_start_matches("fenced ");
                fenced(Some(run).filter(|run| !run.is_empty()), text)
            }
            "busy" => busy(format!("another job of hmco-boot, {text}, is running"))
                .with_hint("wait for it, or `hmco-boot resume` the run it belongs to"),
            "exists" => busy(format!("the job {id} was there already")),
            "stuck" => busy(format!("processes of the job {id} do not end"))
                .with_hint("look for processes in state D there: usually a disk or a mount that does not answer"),
            "short" => not_started(format!("what was sent did not arrive whole at {text}")),
            _ => not_started(format!("the job could not be prepared: {text}"))
                .with_hint(format!("see that {run_dir} can be written and has space, as well as the destination folders")),
        })
    }
}

impl Stream {
    fn new(redactor: &Redactor) -> Self {
        Self {
            redactor: redactor.clone(),
            chunks: redactor.chunks(),
            gap: false,
            seen: 0,
            partial: Vec::new(),
            last: Vec::new(),
            total: 0,
        }
    }

    fn news(&mut self, offset: u64, body: &[u8], output: &dyn Fn(&str)) {
        let end = offset + body.len() as u64;
        let known = self.seen.saturating_sub(offset);
        let fresh = usize::try_from(known)
            .ok()
            .and_then(|known| body.get(known..))
            .unwrap_or_default();
        if offset > self.seen {
            self.partial.clear();
            say(output, &self.chunks.finish());
            self.gap = true;
        }
        self.seen = self.seen.max(end);
        self.partial.extend_from_slice(fresh);
        let whole = whole_characters(&self.partial);
        let rest = self.partial.split_off(whole);
        let text = std::mem::replace(&mut self.partial, rest);
        if !text.is_empty() {
            self.say(&text, output);
        }
    }

    fn say(&mut self, bytes: &[u8], output: &dyn Fn(&str)) {
        let text = String::from_utf8_lossy(bytes);
        let shown = match std::mem::take(&mut self.gap) {
            true => self.chunks.push(&self.redactor.tail(&text)),
            false => self.chunks.push(&text),
        };
        say(output, &shown);
    }

    fn last(&mut self, total: u64, body: &[u8], output: &dyn Fn(&str)) {
        self.total = total;
        self.last = body.to_vec();
        let start = total.saturating_sub(body.len() as u64);
        self.news(start, body, output);
        if !self.partial.is_empty() {
            let rest = std::mem::take(&mut self.partial);
            self.say(&rest, output);
        }
        say(output, &self.chunks.finish());
    }

    fn dropped(&self) -> u64 {
        self.total.saturating_sub(self.last.len() as u64)
    }

    /// The last bytes as text; a character that the cap cut in two is left out.
    fn text(&self) -> String {
        let cut = if self.dropped() == 0 {
            0
        } else {
            self.last
                .iter()
                .take(3)
                .take_while(|byte| (0x80..0xc0).contains(*byte))
                .count()
        };
        let text = String::from_utf8_lossy(self.last.get(cut..).unwrap_or_default());
        let text = match self.dropped() {
            0 => text,
            _ => self.redactor.tail(&text).into_owned().into(),
        };
        let mut chunks = self.redactor.chunks();
        chunks.push(&text) + &chunks.finish()
    }
}

fn say(output: &dyn Fn(&str), text: &str) {
    if !text.is_empty() {
        output(text);
    }
}

/// How many of the bytes do not belong to a last character that is incomplete.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => {
            // Something is wrong in the middle; only the end matters here.
            let tail = bytes.len().saturating_sub(3);
            let from_lead = bytes.iter().enumerate().skip(tail).find(|(at, byte)| {
                let needs = match **byte {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf4 => 4,
                    _ => 0,
                };
                at + needs > bytes.len()
            });
            from_lead.map_or(bytes.len(), |(at, _)| at)
        }
    }
}

/// The text of a status file.
fn status(text: &str) -> JobStatus {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["succeeded"] => JobStatus::Succeeded,
        ["timed-out"] => JobStatus::TimedOut,
        ["failed", action, exit, retry] => match (action.parse(), exit.parse()) {
            (Ok(action), Ok(exit)) => JobStatus::Failed {
                action,
                exit,
                retryable: *retry == "1",
            },
            _ => JobStatus::Lost,
        },
        _ => JobStatus::Lost,
    }
}

impl HostError {
    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.failure = self.failure.hint(hint);
        self
    }
}

fn busy(message: String) -> HostError {
    HostError {
        kind: HostErrorKind::Busy,
        failure: Failure::new(message),
    }
}

/// A job's run does not hold the machine's lock: run `by` does, by its own words `holder`, or nobody.
pub(super) fn fenced(by: Option<&str>, holder: &str) -> HostError {
    let failure = match by {
        Some(run) => {
            let words = if holder.is_empty() {
                String::new()
            } else {
                format!(" ({holder})")
            };
            let what =
                format!("the lock on this machine was lost to run {run}{words}; nothing was done");
            Failure::new(what).hint(
                "wait until that run has ended, then `hmco-boot resume`: it looks again before it does anything",
            )
        }
        None => Failure::new(
            "the lock on this machine is gone: it restarted, perhaps; nothing was done",
        )
        .hint("run `hmco-boot resume`: it takes the lock again and looks before it does anything"),
    };
    HostError {
        kind: HostErrorKind::Fenced,
        failure,
    }
}

pub(super) fn not_started(message: String) -> HostError {
    HostError {
        kind: HostErrorKind::NotStarted,
        failure: Failure::new(message),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn characters_that_two_pieces_share_come_out_whole() {
        let text = "a\u{e4}\u{20ac}\u{1f980}z";
        let bytes = text.as_bytes();
        for size in 1..=bytes.len() {
            let heard = RefCell::new(String::new());
            let output = |text: &str| heard.borrow_mut().push_str(text);
            let mut stream = Stream::new(&Redactor::default());
            let mut at = 0;
            for piece in bytes.chunks(size) {
                stream.news(at, piece, &output);
                at += piece.len() as u64;
            }
            stream.last(at, bytes, &output);
            assert_eq!(*heard.borrow(), text, "pieces of {size}");
            assert_eq!(stream.text(), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_marked_and_held_back_no_longer_than_needed() {
        let heard = RefCell::new(String::new());
        let output = |text: &str| heard.borrow_mut().push_str(text);
        let mut stream = Stream::new(&Redactor::default());
        stream.news(0, b"x\xff\xe2\x82", &output);
        assert_eq!(*heard.borrow(), "x\u{fffd}");
        stream.last(4, b"x\xff\xe2\x82", &output);
        assert_eq!(*heard.borrow(), "x\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_tail_begins_with_a_whole_character_and_what_was_streamed_is_not_repeated() {
        let heard = RefCell::new(String::new());
        let output = |text: &str| heard.borrow_mut().push_str(text);
        let mut stream = Stream::new(&Redactor::default());
        stream.news(0, b"abc", &output);
        // Bytes 2 to 9 of eleven: the middle of a character, and what was heard already.
        stream.last(11, "\u{20ac}cdefg".as_bytes().get(1..).unwrap(), &output);
        assert_eq!(stream.text(), "cdefg");
        assert_eq!(stream.dropped(), 4);
        assert!(heard.borrow().ends_with("cdefg"), "{}", heard.borrow());
    }

    #[test]
    fn a_secret_that_pieces_or_the_cap_cut_does_not_come_out() {
        let redactor = Redactor::default();
        redactor.register("db/password", b"correct-horse-battery");
        let heard = RefCell::new(String::new());
        let output = |text: &str| heard.borrow_mut().push_str(text);
        let mut stream = Stream::new(&redactor);
        stream.news(0, b"p=correct-", &output);
        assert_eq!(*heard.borrow(), "p=");
        stream.news(10, b"horse-battery.\n", &output);
        // The middle of another one, after bytes that nobody saw.
        stream.news(100, b"-horse-battery\nand correct-ho", &output);
        stream.last(129, b"horse-battery\nand correct-ho", &output);
        assert_eq!(
            *heard.borrow(),
            "p=<secret db/password>.\n<secret>\nand <secret db/password>"
        );
        assert_eq!(stream.text(), "<secret>\nand <secret db/password>");
    }

    #[test]
    fn a_status_that_makes_no_sense_is_no_success() {
        assert_eq!(status("succeeded"), JobStatus::Succeeded);
        let failed = JobStatus::Failed {
            action: 3,
            exit: 137,
            retryable: true,
        };
        assert_eq!(status("failed 3 137 1"), failed);
        for text in [
            "",
            "lost",
            "succeed",
            "succeeded 1",
            "failed 1",
            "failed x 1 0",
        ] {
            assert_eq!(status(text), JobStatus::Lost, "{text}");
        }
    }
}
