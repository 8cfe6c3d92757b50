//! The live view of a run on a terminal: what ended scrolls away above, the frame below shows what goes on.

use std::io::{self, Write};

use super::frame::{Canvas, frame};
use super::lines::{Detail, Narrator};
use super::painter::Painter;
use super::plain;
use super::state::State;
use super::style::Line;
use super::{Options, Reporter, summary};
use crate::model::event::{Event, Record};

/// Least time between two frames: terminals over slow links need it, and nobody reads faster.
const FRAME_MS: i64 = 80;

/// Shows a run on a terminal.
#[derive(Debug)]
pub struct Tty<W: Write> {
    painter: Painter<W>,
    options: Options,
    state: State,
    narrator: Narrator,
    kept: Vec<Line>,
    painted_ms: Option<i64>,
    /// The last time heard of, from records or ticks.
    now_ms: i64,
    resized: bool,
    /// A question stands where the view would be.
    paused: bool,
}

impl<W: Write> Tty<W> {
    /// Shows on `out`, which must be a terminal.
    pub fn new(options: Options, out: W) -> Self {
        let detail = if options.verbose {
            Detail::All
        } else {
            Detail::Results
        };
        Self {
            painter: Painter::new(out, options.colour, options.width, options.height),
            state: State::shown_with(options.commands.clone()),
            options,
            narrator: Narrator::new(detail),
            kept: Vec::new(),
            painted_ms: None,
            now_ms: 0,
            resized: false,
            paused: false,
        }
    }

    fn paint(&mut self, now_ms: i64) -> io::Result<()> {
        // One column and one row stay free: a full last column makes some terminals wrap, a full screen makes the
        // lines above flicker.
        let canvas = Canvas {
            width: self.options.width.saturating_sub(1).max(1),
            height: self.options.height.saturating_sub(1).max(1),
            unicode: self.options.unicode,
        };
        let frame = frame(&self.state, canvas, now_ms);
        let kept = std::mem::take(&mut self.kept);
        self.painted_ms = Some(now_ms);
        self.resized = false;
        self.painter.paint(&kept, &frame)
    }

    fn is_due(&self, now_ms: i64) -> bool {
        // A clock that was set back must not stop the view.
        let due = self
            .painted_ms
            .is_none_or(|last| !(0..FRAME_MS).contains(&(now_ms - last)));
        !self.paused && (due || self.resized)
    }
}

impl<W: Write + Send> Reporter for Tty<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let record = &*self.options.commands.record(record);
        self.state.apply(record);
        self.now_ms = record.at_ms;
        if !matches!(record.event, Event::RunStarted(_)) {
            let lines = self.narrator.tell(&self.state, record);
            self.kept
                .extend(plain::stamped(&self.options, record.at_ms, &lines));
        }
        if self.is_due(record.at_ms) {
            return self.paint(record.at_ms);
        }
        Ok(())
    }

    fn tick(&mut self, now_ms: i64) -> io::Result<()> {
        self.now_ms = now_ms;
        if self.is_due(now_ms) {
            return self.paint(now_ms);
        }
        Ok(())
    }

    fn resize(&mut self, width: usize, height: usize) {
        self.options.width = width;
        self.options.height = height;
        self.painter.resize(width, height);
        self.resized = true;
    }

    fn pause(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.paused, true) {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.kept);
        self.painter.finish(&kept)
    }

    fn unpause(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.paused, false) {
            return self.paint(self.now_ms);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut kept = std::mem::take(&mut self.kept);
        kept.push(Line::new());
        kept.extend(summary::lines(&self.state, self.options.width));
        self.painter.finish(&kept)
    }
}
