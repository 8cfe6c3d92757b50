//! Puts frames on a terminal in place, below lines that stay. Knows terminals, not runs.
//!
//! It moves the cursor up over the last frame, erases line by line, and never uses the alternate screen, so that what
//! was said stays in the scrollback. After the terminal became narrower, the lines of the last frame are taken to have
//! been wrapped, as nearly all terminals do; on one that cuts them instead, a few lines above the frame may be lost from
//! the screen (the summary says again whatever matters).

use std::io::{self, Write};

use super::style::{ColourMode, Line};

const HIDE_CURSOR: &str = "\x1b[?25l";
/// Shows the cursor again and ends any colour: what a caller writes if the process must end without [`Painter::finish`].
pub const RESTORE: &str = "\x1b[0m\x1b[?25h";
const ERASE_LINE_END: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

/// Paints frames on a terminal.
#[derive(Debug)]
pub struct Painter<W: Write> {
    out: W,
    colour: ColourMode,
    width: usize,
    height: usize,
    /// Columns of each line of the frame on the screen.
    painted: Vec<usize>,
    hidden: bool,
}

impl<W: Write> Painter<W> {
    /// A painter for a terminal of this size; nothing is written yet.
    pub fn new(out: W, colour: ColourMode, width: usize, height: usize) -> Self {
        Self {
            out,
            colour,
            width: width.max(1),
            height: height.max(1),
            painted: Vec::new(),
            hidden: false,
        }
    }

    /// The terminal has another size now.
    pub fn resize(&mut self, width: usize, height: usize) {
        self.width = width.max(1);
        self.height = height.max(1);
    }

    /// Writes `kept`, which stays, where the last frame was, and a new frame below it. The frame must fit the size.
    pub fn paint(&mut self, kept: &[Line], frame: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        if !self.hidden {
            text.push_str(HIDE_CURSOR);
        }
        self.hidden = true;
        self.go_to_top(&mut text);
        for line in kept {
            // What is longer than a row wraps, and may stay wrapped: it is not painted over again.
            text.push_str(&format!("{}{ERASE_LINE_END}\r\n", line.render(self.colour)));
        }
        let frame = frame
            .get(..frame.len().min(self.height))
            .unwrap_or_default();
        for (at, line) in frame.iter().enumerate() {
            let end = if at + 1 == frame.len() { "" } else { "\r\n" };
            text.push_str(&format!(
                "{}{ERASE_LINE_END}{end}",
                line.render(self.colour)
            ));
        }
        text.push_str(ERASE_BELOW);
        self.painted = frame.iter().map(Line::width).collect();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Erases the frame, writes `kept`, and gives the terminal back.
    pub fn finish(&mut self, kept: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        self.go_to_top(&mut text);
        if !self.painted.is_empty() {
            text.push_str(ERASE_BELOW);
        }
        for line in kept {
            text.push_str(&format!("{}\r\n", line.render(self.colour)));
        }
        self.painted.clear();
        if self.hidden {
            text.push_str(RESTORE);
        }
        self.hidden = false;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// To the first column of the first row of the frame on the screen.
    fn go_to_top(&self, text: &mut String) {
        let rows = |columns: &usize| columns.div_ceil(self.width).max(1);
        let rows = self
            .painted
            .iter()
            .map(rows)
            .sum::<usize>()
            .min(self.height);
        text.push('\r');
        if rows > 1 {
            text.push_str(&format!("\x1b[{}A", rows - 1));
        }
    }
}

impl<W: Write> Drop for Painter<W> {
    fn drop(&mut self) {
        if self.hidden {
            // Nothing is left to be told if the terminal is gone.
            self.out.write_all(format!("{RESTORE}\r\n").as_bytes()).ok();
            self.out.flush().ok();
        }
    }
}
