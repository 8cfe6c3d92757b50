//! The protocol of jobs: the scripts of `sh/` put together for an apply or an attach, and the meaning of their frames.

use std::sync::LazyLock;

use super::actions::{self, Paths, Payload};
use super::exec::Input;
use super::machine::Settings;
use super::shell::LOADER;
use super::{HostError, HostErrorKind};
use crate::facts::frame::{Delimiter, Frame};
use crate::model::action::{Job, JobEnd, JobStatus, OUTPUT_CAP};
use crate::model::id::JobId;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::shell::quote;

/// The nap of `sh/lib.sh`, in milliseconds.
const NAP: u128 = 200;

static LIB: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/lib.sh")));
static JOB: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/job.sh")));
static GUARD: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/guard.sh")));
static APPLY: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/apply.sh")));
static ATTACH: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/attach.sh")));

/// Without comments, blank lines and indentation.
fn dense(text: &str) -> String {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// What every script begins with. The path is set because a login over SSH may have any.
pub(super) fn prelude(settings: &Settings) -> String {
    format!(
        "PATH={}; LANG=C.UTF-8; TERM=dumb; export PATH LANG TERM; unset LC_ALL LANGUAGE CDPATH; umask 077\n",
        quote(&settings.path)
    )
}

/// The mark that a script has said all.
pub(super) fn end_mark(delimiter: &Delimiter) -> String {
    let mark = delimiter.as_str();
    format!("printf '\\n{mark} < end\\n\\n{mark} > 0\\n'\n")
}

/// A script of its own inside another: it may exit, and standard input is not its own.
pub(super) fn enclosed(script: &str) -> String {
    format!("(\n{script}\n) </dev/null\n")
}

/// Folder of the jobs' books as the target's tools see it.
fn run_dir(settings: &Settings, paths: &Paths) -> String {
    paths.full(&settings.run_dir)
}

fn variables(settings: &Settings, paths: &Paths, delimiter: &Delimiter, id: &JobId) -> String {
    let run = run_dir(settings, paths);
    let mut text = String::new();
    for (name, value) in [
        ("D", delimiter.as_str()),
        ("RUN", &run),
        ("ID", id.as_str()),
        ("HERE", &format!("{run}/jobs/{id}")),
        ("KEEP", &OUTPUT_CAP.to_string()),
        (
            "GRACE",
            &settings.grace.as_millis().div_ceil(NAP).to_string(),
        ),
        ("SHELL_WORDS", &settings.shell.join(" ")),
        ("LOADER", LOADER),
    ] {
        text.push_str(&format!("{name}={}\n", quote(value)));
    }
    text
}

/// Why a job cannot be sent at all.
pub(super) fn check(job: &Job) -> Result<(), HostError> {
    check_id(&job.id)?;
    match job.actions.iter().find_map(actions::objection) {
        Some(objection) => Err(not_started(format!("{}: {objection}", job.label))),
        None => Ok(()),
    }
}

/// The id becomes the name of a folder, a line of a file, and the value of an environment variable.
pub(super) fn check_id(id: &JobId) -> Result<(), HostError> {
    let text = id.as_str();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let good = (1..=200).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if good {
        Ok(())
    } else {
        Err(not_started(format!("{text:?} cannot be the id of a job")))
    }
}

/// Everything that is said to the shell of an apply: its script, the payloads in order, the script that the job
/// itself reads. `facts` is the script that reads the facts, or empty.
pub(super) fn apply_input<'a>(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    job: &Job,
    payloads: &[Payload<'a>],
    facts: &str,
) -> Input<'a> {
    let mut text = prelude(settings);
    text.push_str(&variables(settings, paths, delimiter, &job.id));
    text.push_str(&LIB);
    text.push_str(&APPLY);
    text.push_str("hb_claim\n");
    for payload in payloads {
        let (folder, file) = payload
            .place
            .as_ref()
            .map_or(("", ""), |(folder, file)| (folder, file));
        text.push_str(&format!(
            "hb_receive {} {} {} {} {}\n",
            payload.action,
            payload.bytes.len(),
            payload.sha256,
            quote(folder),
            quote(file)
        ));
    }
    let programs = actions::runs_programs(&job.actions);
    text.push_str(&format!("hb_run {}\n", if programs { "1" } else { "''" }));
    if !facts.is_empty() {
        text.push_str(&enclosed(facts));
    }
    text.push_str("hb_goodbye\n");

    let mut input = Input::new();
    input.script(delimiter, &text);
    for payload in payloads {
        input.payload(payload.bytes);
    }
    input.script(
        delimiter,
        &job_script(settings, paths, delimiter, job, payloads, programs),
    );
    input
}

fn job_script(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    job: &Job,
    payloads: &[Payload<'_>],
    programs: bool,
) -> String {
    let mut text = prelude(settings);
    text.push_str(&variables(settings, paths, delimiter, &job.id));
    text.push_str(&format!("LIB={}\neval \"$LIB\"\n", quote(&LIB)));
    text.push_str(&format!("GUARD=$LIB{}\n", quote(&GUARD)));
    text.push_str(&JOB);
    let ms = job.timeout.0.as_millis().max(1);
    let seconds = match ms % 1000 {
        0 => (ms / 1000).to_string(),
        rest => format!("{}.{rest:03}", ms / 1000),
    };
    text.push_str(&format!(
        "hb_begin {seconds} {}\n",
        if programs { "1" } else { "''" }
    ));
    text.push_str(&actions::script(&job.actions, payloads, paths));
    text.push_str("hb_finish succeeded\n");
    text
}

/// Everything that is said to the shell of an attach.
pub(super) fn attach_input(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    id: &JobId,
    end: bool,
) -> Input<'static> {
    let mut text = prelude(settings);
    text.push_str(&variables(settings, paths, delimiter, id));
    text.push_str(if end { "END=1\n" } else { "END=\n" });
    text.push_str(&LIB);
    text.push_str(&ATTACH);
    text.push_str("hb_attach\n");
    let mut input = Input::new();
    input.script(delimiter, &text);
    input
}

/// What the frames of a job have said so far.
#[derive(Default)]
pub(super) struct Story {
    refused: Option<(String, String)>,
    started: bool,
    status: Option<JobStatus>,
    stdout: Stream,
    stderr: Stream,
}

/// One output stream of a job.
#[derive(Default)]
struct Stream {
    /// Offset up to which it was handed on.
    seen: u64,
    /// Bytes of a character whose rest has not come yet.
    partial: Vec<u8>,
    last: Vec<u8>,
    total: u64,
}

impl Story {
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
            "job-started" => self.started = true,
            "job-stdout" => self.stdout.news(number, body, output),
            "job-stderr" => self.stderr.news(number, body, output),
            "job-last-stdout" => self.stdout.last(number, body, output),
            "job-last-stderr" => self.stderr.last(number, body, output),
            "job-end" => self.status = Some(status(&args.join(" "))),
            _ => return Some(frame),
        }
        None
    }

    /// Whether the machine had begun to start it.
    pub(super) fn started(&self) -> bool {
        self.started
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
        let (kind, text) = self.refused.as_ref()?;
        Some(match kind.as_str() {
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
    fn news(&mut self, offset: u64, body: &[u8], output: &dyn Fn(&str)) {
        let end = offset + body.len() as u64;
        let known = self.seen.saturating_sub(offset);
        let fresh = usize::try_from(known)
            .ok()
            .and_then(|known| body.get(known..))
            .unwrap_or_default();
        if offset > self.seen {
            self.partial.clear();
        }
        self.seen = self.seen.max(end);
        self.partial.extend_from_slice(fresh);
        let whole = whole_characters(&self.partial);
        let rest = self.partial.split_off(whole);
        let text = std::mem::replace(&mut self.partial, rest);
        if !text.is_empty() {
            output(&String::from_utf8_lossy(&text));
        }
    }

    fn last(&mut self, total: u64, body: &[u8], output: &dyn Fn(&str)) {
        self.total = total;
        self.last = body.to_vec();
        let start = total.saturating_sub(body.len() as u64);
        self.news(start, body, output);
        if !self.partial.is_empty() {
            output(&String::from_utf8_lossy(&std::mem::take(&mut self.partial)));
        }
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
        String::from_utf8_lossy(self.last.get(cut..).unwrap_or_default()).into_owned()
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

fn not_started(message: String) -> HostError {
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
            let mut stream = Stream::default();
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
        let mut stream = Stream::default();
        stream.news(0, b"x\xff\xe2\x82", &output);
        assert_eq!(*heard.borrow(), "x\u{fffd}");
        stream.last(4, b"x\xff\xe2\x82", &output);
        assert_eq!(*heard.borrow(), "x\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_tail_begins_with_a_whole_character_and_what_was_streamed_is_not_repeated() {
        let heard = RefCell::new(String::new());
        let output = |text: &str| heard.borrow_mut().push_str(text);
        let mut stream = Stream::default();
        stream.news(0, b"abc", &output);
        // Bytes 2 to 9 of eleven: the middle of a character, and what was heard already.
        stream.last(11, "\u{20ac}cdefg".as_bytes().get(1..).unwrap(), &output);
        assert_eq!(stream.text(), "cdefg");
        assert_eq!(stream.dropped(), 4);
        assert!(heard.borrow().ends_with("cdefg"), "{}", heard.borrow());
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

    #[test]
    fn scripts_are_sent_without_comments_and_hold_no_here_documents() {
        for text in [&LIB, &JOB, &GUARD, &APPLY, &ATTACH] {
            assert!(
                text.lines()
                    .all(|line| !line.starts_with('#') && !line.is_empty())
            );
            // Some shells make a temporary file of one.
            assert!(!text.contains("<<"), "{}", text.as_str());
        }
    }
}
