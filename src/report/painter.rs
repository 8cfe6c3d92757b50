//! Puts frames on a terminal in place, below lines that stay. Knows terminals, not runs.
//!
//! It moves the cursor up over the last frame, erases it, and never uses the alternate screen, so that what was said
//! stays in the scrollback. All below the first row is erased before it is written: a line that was only overwritten keeps its former
//! length in some terminals, and is wrapped by it when the window gets narrower. A frame that has not changed is not
//! painted again, and where the terminal knows how, it shows each new one at once (mode 2026).
//!
//! After the terminal became narrower, the lines of the last frame are taken to have been wrapped, as nearly all
//! terminals do; on one that cuts them instead, a few lines above the frame may be lost from the screen (the summary
//! says again whatever matters).

use std::io::{self, Write};

use super::style::{ColourMode, Line};

const HIDE_CURSOR: &str = "\x1b[?25l";
/// Shows the cursor again and ends any colour: what a caller writes if the process must end without [`Painter::finish`].
pub const RESTORE: &str = "\x1b[0m\x1b[?25h";
const ERASE_BELOW: &str = "\x1b[J";
const AT_ONCE: &str = "\x1b[?2026h";
const AT_ONCE_END: &str = "\x1b[?2026l";

/// Paints frames on a terminal.
#[derive(Debug)]
pub struct Painter<W: Write> {
    out: W,
    colour: ColourMode,
    width: usize,
    height: usize,
    /// The frame on the screen.
    painted: Vec<Line>,
    /// Whether the size changed since.
    resized: bool,
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
            resized: false,
            hidden: false,
        }
    }

    /// The terminal has another size now.
    pub fn resize(&mut self, width: usize, height: usize) {
        self.width = width.max(1);
        self.height = height.max(1);
        self.resized = true;
    }

    /// Writes `kept`, which stays, where the last frame was, and a new frame below it. The frame must fit the size.
    pub fn paint(&mut self, kept: &[Line], frame: &[Line]) -> io::Result<()> {
        let frame = frame
            .get(..frame.len().min(self.height))
            .unwrap_or_default();
        if kept.is_empty() && frame == self.painted && !self.resized && self.hidden {
            return Ok(());
        }
        let mut text = String::from(AT_ONCE);
        if !self.hidden {
            text.push_str(HIDE_CURSOR);
        }
        self.hidden = true;
        self.go_to_top(&mut text);
        let rows = kept
            .iter()
            .chain(frame)
            .map(|line| line.render(self.colour));
        text.push_str(&over(&rows.collect::<Vec<_>>()));
        if frame.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str(AT_ONCE_END);
        self.painted = frame.to_vec();
        self.resized = false;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Erases the frame, writes `kept`, and gives the terminal back.
    pub fn finish(&mut self, kept: &[Line]) -> io::Result<()> {
        let mut text = String::new();
        self.go_to_top(&mut text);
        let rows = kept.iter().map(|line| line.render(self.colour));
        text.push_str(&over(&rows.collect::<Vec<_>>()));
        if !kept.is_empty() {
            text.push_str("\r\n");
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
        let rows = |line: &Line| line.width().div_ceil(self.width).max(1);
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

/// Rows to write over what is below the cursor. The first is written before the rest is erased: from the corner of the
/// screen, some terminals take "erase below" for "clear the screen" and push all of it into the scrollback.
fn over(rows: &[String]) -> String {
    match rows {
        [] => ERASE_BELOW.to_owned(),
        [first, rest @ ..] => {
            let rest = rest.iter().map(|row| format!("\r\n{row}"));
            format!("{first}{ERASE_BELOW}{}", rest.collect::<String>())
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
