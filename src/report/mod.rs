//! Everything that a person or a program sees of a run. Reads the events of [`crate::model::event`] and nothing else, so
//! a live run and `runs replay` drive the same code; writes to a writer it is handed. No IO of its own, no environment,
//! no clock: time comes in with records and with [`Reporter::tick`].
//!
//! | file | what |
//! |---|---|
//! | [`state`], [`pair`], [`waits`] | the fold of events that all views share; what waits for what |
//! | [`tty`], [`frame`], [`grid`], [`painter`] | the live view: a pure frame, and what puts it on a terminal |
//! | [`plain`], [`lines`], [`details`] | one line per event that matters |
//! | [`json`] | one JSON object per event |
//! | [`summary`] | what is said at the end |
//! | [`commands`] | commands in hints, as they would be typed here |
//! | [`graph`], [`plan`], [`list`] | plans as graphs, dry runs, lists of runs: from small view types of their own |
//! | [`style`], [`text`] | looks and words; the place where foreign text is made harmless |

pub mod commands;
pub mod details;
pub mod frame;
pub mod graph;
pub mod grid;
pub mod json;
pub mod lines;
pub mod list;
pub mod painter;
pub mod pair;
pub mod plain;
pub mod plan;
pub mod state;
pub mod style;
pub mod summary;
pub mod text;
pub mod tty;
pub mod waits;

use std::io::{self, Write};

use jiff::tz::TimeZone;

pub use style::ColourMode;

use crate::model::event::Record;

/// How a run is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A live view on a terminal.
    Tty,
    /// Lines of text, for logs and pipes.
    Plain,
    /// A JSON object per line.
    Json,
}

/// What the reader's side is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Columns. Plain lines are never cut or wrapped, the summary is.
    pub width: usize,
    /// Rows; only the live view asks.
    pub height: usize,
    /// Whether to use colours.
    pub colour: ColourMode,
    /// Whether more than ASCII can be shown.
    pub unicode: bool,
    /// Also what is as wished, readings, and the output of steps.
    pub verbose: bool,
    /// The zone that times of day are shown in.
    pub zone: TimeZone,
    /// What commands that are shown have to name.
    pub commands: commands::Commands,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            width: 80,
            height: 24,
            colour: ColourMode::Never,
            unicode: true,
            verbose: false,
            zone: TimeZone::UTC,
            commands: commands::Commands::default(),
        }
    }
}

/// Shows one run as it goes. An error means that the writer cannot be written to (a closed pipe, for instance); what
/// follows from that is for the caller to say.
pub trait Reporter: Send {
    /// Takes in an event of the run and shows what there is to show.
    fn record(&mut self, record: &Record) -> io::Result<()>;

    /// Time has passed; call about ten times a second while the run goes on.
    fn tick(&mut self, now_ms: i64) -> io::Result<()>;

    /// The terminal has another size now.
    fn resize(&mut self, width: usize, height: usize);

    /// Leaves the terminal to a question until [`Reporter::unpause`]; what happens meanwhile is shown then. Only what
    /// draws over itself has to.
    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The question is over.
    fn unpause(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// No more events will come: says how the run ended and leaves the terminal as it was.
    fn finish(&mut self) -> io::Result<()>;
}

/// The reporter for a format.
pub fn reporter<'w>(
    format: Format,
    options: Options,
    out: impl Write + Send + 'w,
) -> Box<dyn Reporter + 'w> {
    match format {
        Format::Tty => Box::new(tty::Tty::new(options, out)),
        Format::Plain => Box::new(plain::Plain::new(options, out)),
        Format::Json => Box::new(json::Json::new(out)),
    }
}
