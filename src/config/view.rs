//! How miette reads our sources: by their line index, with long lines cut around the place.

use std::collections::BTreeMap;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::source::{Source, Sources};
use crate::model::value::{FileId, Span};

/// Lines longer than this are cut around the place.
const LONG_LINE: usize = 500;

/// A source as miette reads it: by the line index, so that a place late in a long file costs nothing.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    source: &'a Source,
    /// The text, printable, byte for byte as long.
    pub(super) text: &'a str,
}

impl<'a> View<'a> {
    /// The view of one of the sources.
    pub(super) fn of(
        sources: &'a Sources,
        shown: &'a BTreeMap<FileId, String>,
        file: FileId,
    ) -> Option<Self> {
        Some(Self {
            source: sources.get(file)?,
            text: shown.get(&file)?,
        })
    }

    /// A span as bytes to underline: of several lines only the first, of nothing the character before the end.
    pub(super) fn clip(&self, span: Span) -> SourceSpan {
        let start = self.source.floor(span.start as usize);
        let end = self.source.floor(span.end as usize).max(start);
        let line_end = self.line_end(self.source.line_of(start));
        let end = end.min(line_end.max(start));
        SourceSpan::new(start.into(), end - start)
    }

    /// One past the last byte of a line, its newline not counted.
    fn line_end(&self, line: usize) -> usize {
        let next = self.source.line_start(line + 1);
        let text = self.text.get(..next).unwrap_or_default();
        text.strip_suffix('\n').unwrap_or(text).len()
    }
}

impl SourceCode for View<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let (at, until) = (span.offset(), span.offset() + span.len());
        let line = self.source.line_of(at);
        let first = if before == 0 {
            line
        } else {
            line.saturating_sub(before)
        };
        let last = self.source.line_of(until) + after;
        let mut start = if before == 0 {
            at
        } else {
            self.source.line_start(first)
        };
        let mut end = if after == 0 {
            until
        } else {
            self.line_end(last)
        };
        let mut top = first;
        // Around a very long line only a window is shown.
        if at.saturating_sub(start) > LONG_LINE {
            start = self.source.floor(at - LONG_LINE / 4);
            top = line;
        }
        if end.saturating_sub(until) > LONG_LINE {
            end = self.source.floor(until + LONG_LINE / 4);
        }
        let column = self
            .text
            .get(self.source.line_start(top)..start)
            .map_or(0, |text| text.chars().count());
        let bom = usize::from(top == 0 && self.source.text().starts_with('\u{feff}') && column > 0);
        let data = self.text.get(start..end).unwrap_or_default().as_bytes();
        // A byte order mark is drawn as three blanks and counted as none.
        let column = column.saturating_sub(bom * 3);
        Ok(Box::new(MietteSpanContents::new_named(
            self.source.name().to_owned(),
            data,
            SourceSpan::new(start.into(), end.saturating_sub(start)),
            top,
            column,
            last.saturating_sub(top) + 1,
        )))
    }
}
