//! The edge error: what every failure of a command becomes before it is shown, once. Lower layers keep precise types;
//! here they turn into a kind (and so an exit code), what happened, its causes, and what to do.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

use anstyle::{AnsiColor, Style};

use crate::journal::{JournalError, JournalErrorKind};
use crate::model::outcome::{ExitCode, Failure};
use crate::model::redact::Redactor;
use crate::report::commands::Commands;
use crate::report::text::harmless_lines;

/// What sort of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The command was understood and did not work.
    Failed,
    /// Wrong arguments, or mistakes in the project's files.
    Usage,
    /// A target could not be reached.
    Unreachable,
    /// Somebody else holds a lock.
    Locked,
    /// Stopped by a signal.
    Interrupted,
    /// Wrong arguments, already shown in the words of the argument parser.
    Told,
    /// Whoever read our standard output went away, as `head` does: the end of the work, not a failure.
    OutputClosed,
    /// A command that was run for the user ended with this status, and said itself what there is to say.
    Passed(u8),
}

/// A failure as a person meets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CliError {
    kind: Kind,
    before: String,
    what: String,
    evidence: Vec<String>,
    causes: Vec<String>,
    hints: Vec<String>,
}

/// Style of the word `error:`.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Style of the word `warning:`.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Style of the word `hint:`.
pub const HINT: Style = AnsiColor::Cyan.on_default().bold();

impl CliError {
    /// What happened, as a lowercase fragment without a full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            before: String::new(),
            what: what.into(),
            evidence: Vec::new(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The command did not work.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Kind::Failed, what)
    }

    /// The command or the project's files are wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, what)
    }

    /// A command that was run for the user ended with this status.
    pub fn passed(status: u8) -> Self {
        Self::new(Kind::Passed(status), "the command failed")
    }

    /// A failure that a lower layer already put in words.
    pub fn from_failure(kind: Kind, failure: &Failure) -> Self {
        Self {
            evidence: failure.evidence.clone(),
            hints: failure.hint.iter().cloned().collect(),
            ..Self::new(kind, failure.message.clone())
        }
    }

    /// Writing to standard output failed.
    pub fn from_output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Kind::OutputClosed, "standard output was closed")
        } else {
            Self::failed("cannot write to standard output").caused_by(error)
        }
    }

    /// What a command showed, where its exit code answers too (`plan --exit-code | grep -q`): a reader that had enough
    /// must not turn that answer into "all is well".
    pub fn unless_closed(shown: Result<(), Self>) -> Result<(), Self> {
        match shown {
            Err(error) if error.kind == Kind::OutputClosed => Ok(()),
            shown => shown,
        }
    }

    /// With an error and all that it names as its source.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        let chain = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
        self.causes.extend(chain.map(ToString::to_string));
        self
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With a text, ready as it is, to show above: drawn diagnostics.
    #[must_use]
    pub fn below(mut self, text: impl Into<String>) -> Self {
        self.before = text.into();
        self
    }

    /// With the commands in its hints as they would be typed here.
    #[must_use]
    pub fn completed(&self, commands: &Commands) -> Self {
        let hints = self.hints.iter();
        Self {
            hints: hints
                .map(|hint| commands.complete(hint).into_owned())
                .collect(),
            ..self.clone()
        }
    }

    /// Without secrets. Here, where values are still as they were: to show them makes other characters of some.
    #[must_use]
    pub fn without(&self, redactor: &Redactor) -> Self {
        let mut clean = self.clone();
        redactor.string(&mut clean.before);
        redactor.string(&mut clean.what);
        redactor.lines(&mut clean.evidence);
        let others = clean.causes.iter_mut().chain(&mut clean.hints);
        others.for_each(|text| redactor.string(text));
        clean
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit code it asks for.
    pub fn exit(&self) -> ExitCode {
        match self.kind {
            Kind::Failed | Kind::Passed(_) => ExitCode::Failed,
            Kind::Usage | Kind::Told => ExitCode::Usage,
            Kind::Unreachable => ExitCode::Unreachable,
            Kind::Locked => ExitCode::Locked,
            Kind::Interrupted => ExitCode::Interrupted,
            Kind::OutputClosed => ExitCode::Done,
        }
    }

    /// The number to exit with: that of [`CliError::exit`], or the one of a command that was run for the user.
    pub fn number(&self) -> u8 {
        match self.kind {
            Kind::Passed(status) => status,
            _ => self.exit().number(),
        }
    }

    /// The whole text to show; empty where there is nothing to say.
    pub fn render(&self, colour: bool) -> String {
        if matches!(self.kind, Kind::OutputClosed | Kind::Told | Kind::Passed(_)) {
            return String::new();
        }
        let mut text = self.before.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        paragraph(&mut text, &painted("error:", ERROR, colour), &self.what);
        for line in self.evidence.iter().flat_map(|lines| harmless_lines(lines)) {
            writeln!(text, "  | {line}").ok();
        }
        for cause in &self.causes {
            paragraph(&mut text, "  caused by:", cause);
        }
        for hint in &self.hints {
            paragraph(&mut text, &painted("hint:", HINT, colour), hint);
        }
        text
    }
}

/// One or more lines, the first behind `word`. What is said may quote files and machines: nothing in it may drive the
/// terminal.
fn paragraph(text: &mut String, word: &str, rest: &str) {
    let mut word = word;
    for line in harmless_lines(rest) {
        // Writing to a String cannot fail.
        writeln!(text, "{word} {line}").ok();
        word = "   ";
    }
}

/// A word in a style, or as it is.
pub fn painted(word: &str, style: Style, colour: bool) -> String {
    if colour {
        format!("{style}{word}{style:#}")
    } else {
        word.to_owned()
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        let kind = match error.kind {
            JournalErrorKind::NoSuchRun => Kind::Usage,
            JournalErrorKind::Io
            | JournalErrorKind::Newer
            | JournalErrorKind::Corrupt
            | JournalErrorKind::Illegal => Kind::Failed,
        };
        Self::from_failure(kind, &error.failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the drawer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_whole_chain_is_shown_once_and_the_hint_comes_last() {
        let inner = io::Error::other("the key is lost");
        let error = CliError::failed("no spoon")
            .caused_by(&Outer(inner))
            .hint("eat with your hands");
        assert_eq!(
            error.render(false),
            "error: no spoon\n  caused by: cannot open the drawer\n  caused by: the key is lost\nhint: eat with your hands\n"
        );
        assert_eq!(error.exit(), ExitCode::Failed);
    }

    #[test]
    fn drawn_diagnostics_stand_above_the_error_line() {
        let error = CliError::usage("1 mistake").below("the drawing");
        assert_eq!(error.render(false), "the drawing\nerror: 1 mistake\n");
    }

    #[test]
    fn a_closed_standard_output_is_the_quiet_end_of_the_work() {
        let error = CliError::from_output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.render(true), "");
        assert_eq!(error.exit(), ExitCode::Done);
        let full = CliError::from_output(&io::Error::other("disk full"));
        assert_eq!(full.exit(), ExitCode::Failed);
    }

    #[test]
    fn quoted_text_cannot_drive_the_terminal() {
        let failure = Failure::new("it said \u{1b}[2J").evidence("one\r\ntwo\u{7}");
        let text = CliError::from_failure(Kind::Failed, &failure).render(false);
        assert_eq!(text, "error: it said \\x1b[2J\n  | one\n  | two\\x07\n");
    }

    #[test]
    fn colour_marks_only_the_leading_words() {
        let text = CliError::usage("x").hint("y").render(true);
        assert!(
            text.contains("\u{1b}[") && text.contains(" x\n") && text.contains(" y\n"),
            "{text:?}"
        );
    }
}
