//! Standard output and error, and what is known of the terminal behind them: data goes to the first, talk to the
//! second. The only place that prints.

use std::io::{self, BufRead, IsTerminal, Write};

use serde::Serialize;

use super::environment::Environment;
use super::error::{CliError, HINT, WARNING, painted};
use super::guard::Guarded;
use crate::model::outcome::ExitCode;
use crate::model::redact::Redactor;
use crate::report::commands::Commands;
use crate::report::json::to_json;
use crate::report::style::{ColourMode, Line};

/// Version of the JSON that commands print: `v` of every line.
pub const JSON_VERSION: u32 = 1;

/// How a command shows what it has to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// A live view on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// For a terminal: a live view while something runs
    Tty,
    /// One line at a time, nothing drawn over
    Plain,
    /// Versioned JSON on standard output
    Json,
}

/// One of the two streams.
struct Stream {
    writer: Guarded,
    /// It is a terminal that can draw over what it shows.
    terminal: bool,
    /// Colour may be used on it.
    colour: bool,
}

/// Where a command's words go.
pub struct Output {
    stdout: Stream,
    stderr: Stream,
    /// Columns and rows, where one of the streams is a terminal.
    size: Option<(u16, u16)>,
    /// Somebody can answer a question: standard input and error are terminals.
    interactive: bool,
    /// The locale can show more than ASCII.
    unicode: bool,
    format: Format,
    redactor: Redactor,
    commands: Commands,
}

impl Output {
    /// The streams of this process; what the redactor knows does not show on them.
    pub fn process(env: &dyn Environment, redactor: &Redactor) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let (out_tty, err_tty) = (out.is_terminal(), err.is_terminal());
        let dumb = env.var("TERM").is_some_and(|term| term == "dumb");
        let size = (out_tty || err_tty).then(terminal_size::terminal_size);
        Self {
            stdout: Stream {
                writer: Guarded::new(Box::new(out), redactor),
                terminal: out_tty && !dumb,
                colour: colour(env, out_tty),
            },
            stderr: Stream {
                writer: Guarded::new(Box::new(err), redactor),
                terminal: err_tty && !dumb,
                colour: colour(env, err_tty),
            },
            size: size.flatten().map(|(w, h)| (w.0, h.0)),
            interactive: io::stdin().is_terminal() && err_tty,
            unicode: unicode(env),
            format: Format::default(),
            redactor: redactor.clone(),
            commands: Commands::default(),
        }
    }

    /// Two writers that are no terminals, for tests.
    #[doc(hidden)]
    pub fn to_writers(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        let redactor = Redactor::default();
        let stream = |writer| Stream {
            writer: Guarded::new(writer, &redactor),
            terminal: false,
            colour: false,
        };
        Self {
            stdout: stream(stdout),
            stderr: stream(stderr),
            size: None,
            interactive: false,
            unicode: false,
            format: Format::default(),
            redactor: redactor.clone(),
            commands: Commands::default(),
        }
    }

    /// What takes secrets out of all that is said: one for the whole process.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Takes `--output` into account.
    pub fn set_format(&mut self, format: Format) {
        self.format = format;
        self.stdout.writer.set_json(format == Format::Json);
        if format == Format::Json {
            self.stdout.colour = false;
        }
    }

    /// Takes into account what commands that are shown have to name.
    pub fn set_commands(&mut self, commands: Commands) {
        self.commands = commands;
    }

    /// What commands that are shown have to name.
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// How to show things: never [`Format::Auto`].
    pub fn format(&self) -> Format {
        match self.format {
            Format::Auto if self.stdout.terminal => Format::Tty,
            Format::Auto => Format::Plain,
            chosen => chosen,
        }
    }

    /// Whether standard output may have colour.
    pub fn colour(&self) -> bool {
        self.stdout.colour
    }

    /// The same, in a report's words.
    pub fn colour_mode(&self) -> ColourMode {
        if self.stdout.colour {
            ColourMode::Always
        } else {
            ColourMode::Never
        }
    }

    /// Whether standard error may have colour.
    pub fn error_colour(&self) -> bool {
        self.stderr.colour
    }

    /// Whether the reader's locale can show more than ASCII.
    pub fn unicode(&self) -> bool {
        self.unicode
    }

    /// Writes lines of a report to standard output.
    pub fn lines(&mut self, lines: &[Line]) -> Result<(), CliError> {
        let colour = self.colour_mode();
        let text: String = lines
            .iter()
            .map(|line| format!("{}\n", line.render(colour)))
            .collect();
        self.data(&text)
    }

    /// Columns of the terminal; 100 where there is none.
    pub fn width(&self) -> u16 {
        self.size.map_or(100, |(width, _)| width)
    }

    /// Columns that standard output has; `None` where it is no terminal and nothing need be cut.
    pub fn columns(&self) -> Option<usize> {
        let size = self.size.filter(|_| self.stdout.terminal);
        size.map(|(width, _)| usize::from(width))
    }

    /// Rows of the terminal; 40 where there is none.
    pub fn height(&self) -> u16 {
        self.size.map_or(40, |(_, height)| height)
    }

    /// Standard output for a reporter. Errors are the reporter's to handle: [`CliError::from_output`].
    pub fn writer(&mut self) -> &mut (dyn Write + Send) {
        &mut self.stdout.writer
    }

    /// Writes what the command was asked for to standard output.
    pub fn data(&mut self, text: &str) -> Result<(), CliError> {
        let writer = &mut self.stdout.writer;
        writer
            .write_all(text.as_bytes())
            .and_then(|()| writer.flush())
            .map_err(|error| CliError::from_output(&error))
    }

    /// Writes a secret to standard output, as it is: for whoever asked for that very value. Nothing that hides secrets
    /// in other outputs may stand in between.
    pub fn data_secret(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let writer = self.stdout.writer.unguarded();
        writer
            .write_all(bytes)
            .and_then(|()| writer.flush())
            .map_err(|error| CliError::from_output(&error))
    }

    /// Shows a secret that was made just now, as it is, on standard error: it is to be written down.
    pub fn talk_secret(&mut self, text: &str) {
        let writer = self.stderr.writer.unguarded();
        writer
            .write_all(text.as_bytes())
            .and_then(|()| writer.flush())
            .ok();
    }

    /// Writes a value as one line of JSON to standard output: `{"v":1,"type":KIND,...}`, as the lines of a run are.
    pub fn json(&mut self, kind: &str, value: &impl Serialize) -> Result<(), CliError> {
        #[derive(Serialize)]
        struct Versioned<'a, T> {
            v: u32,
            r#type: &'a str,
            #[serde(flatten)]
            value: &'a T,
        }
        let mut text = to_json(&Versioned {
            v: JSON_VERSION,
            r#type: kind,
            value,
        })
        .map_err(|error| CliError::failed("cannot write the answer as JSON").caused_by(&error))?;
        text.push('\n');
        self.data(&text)
    }

    /// Writes a remark to standard error. Where even that is gone, nobody is left to be told.
    pub fn talk(&mut self, text: &str) {
        let writer = &mut self.stderr.writer;
        writer
            .write_all(text.as_bytes())
            .and_then(|()| writer.flush())
            .ok();
    }

    /// Warns: what is wrong, and what to do.
    pub fn warn(&mut self, what: &str, hint: &str) {
        let colour = self.stderr.colour;
        let hint = self.commands.complete(hint);
        let text = format!(
            "{} {what}\n{} {hint}\n",
            painted("warning:", WARNING, colour),
            painted("hint:", HINT, colour)
        );
        self.talk(&text);
    }

    /// Shows the error that ended the command; gives the exit code.
    pub fn report(&mut self, error: &CliError) -> ExitCode {
        let error = error.without(&self.redactor).completed(&self.commands);
        let text = error.render(self.stderr.colour);
        self.talk(&text);
        error.exit()
    }

    /// Whether somebody can answer a question.
    pub fn interactive(&self) -> bool {
        self.interactive
    }

    /// Asks; only `y` or `yes` is yes. Without a terminal the answer is no: ask [`Output::interactive`] first and say
    /// which flag would have answered.
    pub fn confirm(&mut self, question: &str) -> bool {
        if !self.interactive {
            return false;
        }
        ask(question)
    }
}

impl Output {
    /// Asks for a name to be typed, before what cannot be undone. Without a terminal nothing was typed.
    pub fn confirm_by_name(&mut self, question: &str, name: &str) -> bool {
        if !self.interactive {
            return false;
        }
        let mut error = io::stderr();
        let asked = write!(error, "{question} ").and_then(|()| error.flush());
        let mut answer = String::new();
        let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
        read.is_ok() && answer.trim() == name
    }
}

/// Asks on standard error and waits for an answer on standard input; only `y` or `yes` is yes.
pub fn ask(question: &str) -> bool {
    let mut error = io::stderr();
    let asked = write!(error, "{question} [y/N] ").and_then(|()| error.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
}

/// Whether a stream may have colour: `NO_COLOR` forbids it, `CLICOLOR_FORCE` demands it, else a terminal that is not
/// `dumb` has it.
fn colour(env: &dyn Environment, terminal: bool) -> bool {
    let is = |name: &str, value: &str| env.var(name).is_some_and(|found| found == value);
    if env.flag("NO_COLOR") {
        false
    } else if env.flag("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") {
        true
    } else {
        terminal && !is("TERM", "dumb") && !is("CLICOLOR", "0")
    }
}

/// Whether the locale's character set is UTF-8, by the first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set.
fn unicode(env: &dyn Environment) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| env.var(name))
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_string_lossy().to_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    use super::*;

    fn env(vars: &[(&str, &str)]) -> BTreeMap<String, OsString> {
        vars.iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect()
    }

    #[test]
    fn no_color_wins_over_force_and_force_over_a_pipe() {
        assert!(colour(&env(&[]), true));
        assert!(!colour(&env(&[]), false));
        assert!(colour(&env(&[("CLICOLOR_FORCE", "1")]), false));
        assert!(!colour(&env(&[("CLICOLOR_FORCE", "0")]), false));
        assert!(!colour(
            &env(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]),
            true
        ));
        assert!(colour(&env(&[("NO_COLOR", "")]), true));
        assert!(!colour(&env(&[("TERM", "dumb")]), true));
    }

    #[test]
    fn the_first_word_on_the_locale_decides() {
        assert!(unicode(&env(&[("LANG", "C.UTF-8")])));
        assert!(!unicode(&env(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")])));
        assert!(unicode(&env(&[("LC_ALL", ""), ("LC_CTYPE", "de_DE.utf8")])));
        assert!(!unicode(&env(&[])));
    }

    #[test]
    fn without_a_terminal_auto_means_plain_lines_and_nobody_is_asked() {
        let mut output = Output::to_writers(Box::new(Vec::new()), Box::new(Vec::new()));
        assert_eq!(output.format(), Format::Plain);
        assert!(!output.confirm("really?"));
        output.set_format(Format::Json);
        assert_eq!(output.format(), Format::Json);
    }
}
