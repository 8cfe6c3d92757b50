//! The texts that were loaded, with names and line numbers, so that a [`Span`] can be shown as file, line and column.
//! Not responsible for reading them ([`super::load`]) nor for drawing ([`super::diagnostic`]).

use crate::model::value::{FileId, Span};

/// Every text that spans of one load point into.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
}

/// One loaded text.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Byte offsets of the first byte of each line.
    lines: Vec<usize>,
}

/// A place as people and editors count it: both from 1, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column in characters (a byte order mark is not counted).
    pub column: usize,
}

impl Sources {
    /// Adds a text under the name that messages call it by.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let id = FileId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        self.list.push(Source::new(name.into(), text.into()));
        id
    }

    /// The text of an id; `None` for an id of another load.
    pub fn get(&self, id: FileId) -> Option<&Source> {
        self.list.get(usize::try_from(id.0).ok()?)
    }

    /// All texts, in the order they were loaded.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        (0u32..).map(FileId).zip(&self.list)
    }

    /// `FILE:LINE:COLUMN` of the start of a span; empty for a span of another load.
    pub fn describe(&self, span: Span) -> String {
        self.get(span.file).map_or_else(String::new, |source| {
            let place = source.place(span.start as usize);
            format!("{}:{}:{}", source.name, place.line, place.column)
        })
    }

    /// A span inside its text, widened to whole characters: parsers of the languages inside strings count bytes.
    pub fn whole_characters(&self, span: Span) -> Span {
        let Some(source) = self.get(span.file) else {
            return span;
        };
        let start = source.floor(span.start as usize);
        let mut end = (span.end as usize).clamp(start, source.text.len());
        while !source.text.is_char_boundary(end) {
            end += 1;
        }
        Span::new(span.file, start..end)
    }

    /// The part of a string value's span that shows bytes `range` of its decoded text: inside the quotes, with escapes
    /// counted as they are written. The whole span where the two cannot be matched.
    pub fn inside_string(&self, span: Span, range: std::ops::Range<usize>) -> Span {
        let raw = self
            .get(span.file)
            .and_then(|source| source.text.get(span.start as usize..span.end as usize));
        match raw.and_then(|raw| raw_range(raw, range)) {
            Some(found) => span.part(found),
            None => span,
        }
    }
}

impl Source {
    fn new(name: String, text: String) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let lines = std::iter::once(0)
            .chain(starts.map(|(at, _)| at + 1))
            .collect();
        Self { name, text, lines }
    }

    /// What messages call it: the path relative to the project.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as loaded (lossy, where the file was not UTF-8).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset; offsets beyond the end count as the end.
    pub fn place(&self, offset: usize) -> Place {
        let offset = self.floor(offset);
        let line = self.line_of(offset);
        let start = self.line_start(line);
        let before = self.text.get(start..offset).unwrap_or_default();
        let bom = usize::from(start == 0 && before.starts_with('\u{feff}'));
        Place {
            line: line + 1,
            column: before.chars().count() - bom + 1,
        }
    }

    /// Index of the line that holds an offset, from 0.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.lines
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    /// Offset of the first byte of a line (from 0); the end of the text where there is no such line.
    pub(super) fn line_start(&self, line: usize) -> usize {
        self.lines.get(line).copied().unwrap_or(self.text.len())
    }

    /// The nearest character boundary at or before an offset.
    pub(super) fn floor(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Bytes of the written string `raw` (with its quotes) that bytes `range` of its decoded text come from.
fn raw_range(raw: &str, range: std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.into_iter().find(|q| raw.starts_with(q))?;
    let mut at = quote.len();
    if quote.len() == 3 {
        // The newline right after three opening quotes is not part of the text.
        let rest = raw.get(at..)?;
        at += rest.len()
            - rest
                .strip_prefix("\r\n")
                .or(rest.strip_prefix('\n'))
                .unwrap_or(rest)
                .len();
    }
    let end = raw.len().checked_sub(quote.len())?;
    let escapes = quote.starts_with('"');
    let (mut decoded, mut start, mut stop) = (0, None, None);
    loop {
        if decoded >= range.start && start.is_none() {
            start = Some(at);
        }
        if decoded >= range.end {
            stop = Some(at);
        }
        if stop.is_some() || at >= end {
            break;
        }
        let (written, gives) = step(raw.get(at..end)?, escapes)?;
        at += written;
        decoded += gives;
    }
    Some(start?..stop?)
}

/// How many bytes one character is written with, and how many it decodes to.
fn step(rest: &str, escapes: bool) -> Option<(usize, usize)> {
    let first = rest.chars().next()?;
    if first != '\\' || !escapes {
        return Some((first.len_utf8(), first.len_utf8()));
    }
    let kind = rest.chars().nth(1)?;
    let hex = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, char::from_u32(code)?.len_utf8()))
    };
    match kind {
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        // A backslash at the end of a line swallows the white space up to the next character.
        c if c.is_whitespace() => Some((
            1 + rest.get(1..)?.len() - rest.get(1..)?.trim_start().len(),
            0,
        )),
        c => Some((1 + c.len_utf8(), 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one_and_skip_a_byte_order_mark() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "\u{feff}ä = 1\r\nb = 2");
        let at = |start: usize| sources.describe(Span::new(file, start..start));
        assert_eq!(at(3), "a.toml:1:1");
        assert_eq!(at(5), "a.toml:1:2");
        assert_eq!(at(11), "a.toml:2:1");
        assert_eq!(at(999), "a.toml:2:6");
    }

    #[test]
    fn a_part_of_a_string_is_found_through_quotes_and_escapes() {
        let cases = [
            (r#""a | bb""#, 4..6, "bb"),
            (r#""\u00e4 bb""#, 3..5, "bb"),
            (r#""\tbb""#, 1..3, "bb"),
            ("'''\nbb'''", 0..2, "bb"),
            ("\"\"\"\r\na \\\n   bb\"\"\"", 2..4, "bb"),
            (r"'C:\bb'", 3..5, "bb"),
        ];
        for (raw, range, wanted) in cases {
            let mut sources = Sources::default();
            let file = sources.add("x", raw);
            let span = sources.inside_string(Span::new(file, 0..raw.len()), range);
            let got = raw.get(span.start as usize..span.end as usize).unwrap();
            let got = got.trim_start_matches('\\').trim_start();
            assert_eq!(got, wanted, "{raw}");
        }
        let mut sources = Sources::default();
        let file = sources.add("x", "\"ab\"");
        let whole = Span::new(file, 0..4);
        assert_eq!(sources.inside_string(whole, 7..9), whole);
    }
}
