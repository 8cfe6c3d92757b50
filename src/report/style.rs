//! Styled text: roles instead of colours, and lines that are harmless by construction. Only the basic colours red,
//! green and magenta plus bold and dim are used, without backgrounds, so that light and dark terminals both stay
//! readable; no meaning is carried by colour alone.

use anstyle::{AnsiColor, Style};

use super::text;
use crate::model::outcome::Outcome;

/// Whether colours are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ColourMode {
    /// Plain text.
    #[default]
    Never,
    /// ANSI colours.
    Always,
}

/// What a piece of text is, for its look.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ink {
    /// Ordinary.
    Plain,
    /// What matters in its line: names, what runs now.
    Strong,
    /// Less important; still readable where dim is not shown.
    Soft,
    /// Something was changed as wished; a line that will come.
    Good,
    /// Something failed; a line that will go.
    Bad,
    /// Something waits, is tried again, or is not known.
    Warn,
}

impl Ink {
    fn style(self) -> Style {
        let colour = |c: AnsiColor| Style::new().fg_color(Some(c.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Soft => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green),
            Self::Bad => colour(AnsiColor::Red).bold(),
            Self::Warn => colour(AnsiColor::Magenta),
        }
    }

    /// The ink of an outcome's word.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Unchanged | Outcome::Skipped(_) => Self::Soft,
            Outcome::Changed => Self::Good,
            Outcome::Failed(_) | Outcome::Unreachable(_) => Self::Bad,
            Outcome::Blocked { .. } | Outcome::Interrupted(_) | Outcome::Unknown(_) => Self::Warn,
        }
    }
}

/// A line of styled segments, without control characters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    segments: Vec<(Ink, String)>,
}

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line of one segment.
    pub fn of(ink: Ink, text: impl AsRef<str>) -> Self {
        Self::new().with(ink, text)
    }

    /// With a segment at its end. The text is made harmless here, wherever it came from.
    #[must_use]
    pub fn with(mut self, ink: Ink, text: impl AsRef<str>) -> Self {
        self.push(ink, text);
        self
    }

    /// With ordinary text at its end.
    #[must_use]
    pub fn plain(self, text: impl AsRef<str>) -> Self {
        self.with(Ink::Plain, text)
    }

    /// Adds a segment; see [`Line::with`].
    pub fn push(&mut self, ink: Ink, text: impl AsRef<str>) {
        let text = text::harmless(text.as_ref());
        match self.segments.last_mut() {
            _ if text.is_empty() => {}
            Some((last, body)) if *last == ink => body.push_str(&text),
            _ => self.segments.push((ink, text)),
        }
    }

    /// Adds the segments of another line.
    pub fn append(&mut self, other: Line) {
        for (ink, body) in other.segments {
            self.push(ink, body);
        }
    }

    /// Blanks up to a column.
    pub fn pad_to(&mut self, column: usize) {
        let blanks = column.saturating_sub(self.width());
        self.push(Ink::Plain, " ".repeat(blanks));
    }

    /// Columns it takes.
    pub fn width(&self) -> usize {
        self.segments
            .iter()
            .map(|(_, body)| text::width(body))
            .sum()
    }

    /// The line cut to `max` columns, with a sign where it was cut.
    #[must_use]
    pub fn fit(self, max: usize, unicode: bool) -> Self {
        if self.width() <= max {
            return self;
        }
        let mut out = Self::new();
        let mut room = max;
        for (ink, body) in self.segments {
            let wide = text::width(&body);
            // The last column is kept for the sign of the cut.
            if wide < room {
                room -= wide;
                out.push(ink, body);
            } else {
                let cut = format!("{body}  ");
                out.push(ink, text::fit(&cut, room, unicode));
                break;
            }
        }
        out
    }

    /// The line in as many lines of at most `max` columns as it takes, indented by `indent`; from the second on by two
    /// more. Broken at blanks where possible.
    pub fn wrap(&self, indent: usize, max: usize) -> Vec<Self> {
        let indent = indent.min(max / 2);
        let whole = format!("{}{}", " ".repeat(indent), self.text());
        if text::width(&whole) <= max {
            let mut line = Self::of(Ink::Plain, " ".repeat(indent));
            line.append(self.clone());
            return vec![line];
        }
        let room = max.saturating_sub(indent + 2).max(1);
        let mut lines = Vec::new();
        let mut inks = self
            .segments
            .iter()
            .flat_map(|(ink, body)| body.chars().map(move |c| (*ink, c)));
        let mut last = Ink::Plain;
        for (at, row) in text::wrap(&self.text(), room).iter().enumerate() {
            let lead = if at == 0 { indent } else { indent + 2 };
            let mut line = Self::of(Ink::Plain, " ".repeat(lead));
            for c in row.chars() {
                // Wrapping only drops or repeats blanks: every other character still finds its own, and a blank looks
                // as what stood before it.
                if c != ' ' {
                    last = inks
                        .find(|(_, own)| *own == c)
                        .map_or(Ink::Plain, |(ink, _)| ink);
                }
                line.push(last, c.encode_utf8(&mut [0; 4]));
            }
            lines.push(line);
        }
        lines
    }

    /// Its text alone.
    pub fn text(&self) -> String {
        self.segments
            .iter()
            .map(|(_, body)| body.as_str())
            .collect()
    }

    /// Its text, with ANSI colours where wanted; no line end.
    pub fn render(&self, colour: ColourMode) -> String {
        let show = |(ink, body): &(Ink, String)| match (colour, ink) {
            (ColourMode::Never, _) | (_, Ink::Plain) => body.clone(),
            (ColourMode::Always, ink) => {
                let style = ink.style();
                format!("{}{body}{}", style.render(), style.render_reset())
            }
        };
        self.segments.iter().map(show).collect()
    }
}

/// Columns as wide as their widest cell.
pub fn table<const N: usize>(rows: &[[(Ink, String); N]]) -> Vec<Line> {
    let mut widths = [0; N];
    for row in rows {
        for (width, (ink, cell)) in widths.iter_mut().zip(row) {
            *width = Line::of(*ink, cell).width().max(*width);
        }
    }
    rows.iter()
        .map(|row| {
            let (mut line, mut start) = (Line::new(), 0);
            for ((ink, cell), width) in row.iter().zip(widths) {
                // No blanks for a cell that is empty: it may be the last.
                if !cell.is_empty() {
                    line.pad_to(start);
                    line.push(*ink, cell);
                }
                start += width + 2;
            }
            line
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_width_with_a_sign() {
        let line = Line::of(Ink::Bad, "abc").plain("defgh");
        assert_eq!(line.clone().fit(8, true).text(), "abcdefgh");
        assert_eq!(line.clone().fit(5, true).text(), "abcd…");
        assert_eq!(line.clone().fit(3, false).text(), "ab~");
        assert_eq!(line.clone().fit(1, false).text(), "~");
        assert_eq!(line.fit(0, false).text(), "");
    }

    #[test]
    fn escapes_in_a_segment_never_reach_the_terminal() {
        let line = Line::of(Ink::Bad, "a\x1b[2Jb");
        assert_eq!(line.render(ColourMode::Never), r"a\x1b[2Jb");
        assert_eq!(
            line.render(ColourMode::Always),
            "\x1b[1m\x1b[31ma\\x1b[2Jb\x1b[0m"
        );
    }
}
