//! Draws mistakes for people (with the text underlined, by miette) and as JSON. Returns text; printing is the caller's.

use std::collections::BTreeMap;
use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode, ThemeCharacters,
    ThemeStyles,
};
use serde_json::{Value as Json, json};

use super::source::Sources;
use super::view::View;
use crate::model::mistake::{Mistake, Severity};
use crate::model::value::{FileId, Span};

/// How to draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Line-drawing characters; otherwise plain ASCII.
    pub unicode: bool,
    /// ANSI colours.
    pub color: bool,
    /// Columns to wrap messages at.
    pub width: usize,
}

/// More mistakes than this are counted, not drawn.
const DRAWN: usize = 100;

/// Draws all mistakes, one below the other. Control characters of the files are shown as `?`, so that a file cannot
/// speak to the terminal.
pub fn draw(sources: &Sources, mistakes: &[Mistake], look: Look) -> String {
    let mut shown = BTreeMap::new();
    for mistake in mistakes.iter().take(DRAWN) {
        let spans = mistake
            .span
            .iter()
            .chain(mistake.related.iter().map(|(span, _)| span));
        for span in spans {
            if let Some(source) = sources.get(span.file) {
                shown
                    .entry(span.file)
                    .or_insert_with(|| printable(source.text()));
            }
        }
    }
    let handler = handler(look);
    let mut out = String::new();
    for mistake in mistakes.iter().take(DRAWN) {
        let report = Report::new(sources, &shown, mistake);
        let mut text = String::new();
        // Writing to a string cannot fail; miette itself can only fail on a span that its source refuses, and ours
        // refuses none.
        if handler.render_report(&mut text, &report).is_err() {
            text = format!("{report}\n");
        }
        for line in text.trim_matches('\n').lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
    let more = mistakes.len().saturating_sub(DRAWN);
    if more > 0 {
        out.push_str(&format!("... and {more} more\n\n"));
    }
    out
}

/// `2 errors and 1 warning`; empty where there is nothing.
pub fn summary(mistakes: &[Mistake]) -> String {
    let errors = mistakes
        .iter()
        .filter(|m| m.severity == Severity::Error)
        .count();
    let count = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let parts = [
        count(errors, "error"),
        count(mistakes.len() - errors, "warning"),
    ];
    parts
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ")
}

/// Mistakes for programs: a list of objects. Lines and columns count from 1, columns in characters, `end` is one past
/// the last character.
pub fn to_json(sources: &Sources, mistakes: &[Mistake]) -> Json {
    let place = |span: Option<Span>| {
        let source = span.and_then(|span| Some((sources.get(span.file)?, span)));
        source.map_or(Json::Null, |(source, span)| {
            let (start, end) = (
                source.place(span.start as usize),
                source.place(span.end as usize),
            );
            json!({
                "file": source.name(), "line": start.line, "column": start.column,
                "end": { "line": end.line, "column": end.column },
            })
        })
    };
    let one = |mistake: &Mistake| {
        let mut object = json!({
            "code": mistake.code,
            "severity": word(mistake.severity),
            "message": mistake.message,
            "label": mistake.label,
            "hint": mistake.hint,
            "related": mistake.related.iter().map(|(span, words)| {
                let mut related = place(Some(*span));
                if let Some(object) = related.as_object_mut() {
                    object.insert("message".to_owned(), Json::from(words.as_str()));
                }
                related
            }).collect::<Vec<_>>(),
        });
        let place = place(mistake.span);
        for key in ["file", "line", "column", "end"] {
            if let Some(object) = object.as_object_mut() {
                let value = place.get(key).cloned().unwrap_or(Json::Null);
                object.insert(key.to_owned(), value);
            }
        }
        object
    };
    Json::Array(mistakes.iter().map(one).collect())
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn handler(look: Look) -> GraphicalReportHandler {
    let theme = GraphicalTheme {
        characters: if look.unicode {
            ThemeCharacters::unicode()
        } else {
            ThemeCharacters::ascii()
        },
        styles: if look.color {
            ThemeStyles::ansi()
        } else {
            ThemeStyles::none()
        },
    };
    GraphicalReportHandler::new_themed(theme)
        .with_width(look.width.max(40))
        .with_links(false)
        .with_context_lines(1)
        .without_syntax_highlighting()
        .with_show_related_as_nested(true)
}

/// The same number of bytes without control characters other than newlines and tabs: a text on a terminal must not
/// move the cursor, and one that reorders what is read must not lie.
fn printable(text: &str) -> String {
    let hidden = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        if c == '\r' && chars.peek() == Some(&'\n') || first && c == '\u{feff}' {
            out.extend(std::iter::repeat_n(' ', c.len_utf8()));
        } else if hidden(c) {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
        first = false;
    }
    out
}

/// A message on one line, without control characters.
fn one_line(text: &str) -> String {
    printable(&text.replace('\n', " "))
}

/// A mistake in miette's terms.
struct Report<'a> {
    code: String,
    message: String,
    hint: Option<String>,
    severity: miette::Severity,
    view: Option<View<'a>>,
    labels: Vec<LabeledSpan>,
    /// Places in other files.
    elsewhere: Vec<Report<'a>>,
}

impl<'a> Report<'a> {
    fn new(sources: &'a Sources, shown: &'a BTreeMap<FileId, String>, mistake: &Mistake) -> Self {
        let (severity, advice) = match mistake.severity {
            Severity::Error => (miette::Severity::Error, miette::Severity::Advice),
            Severity::Warning => (miette::Severity::Warning, miette::Severity::Advice),
        };
        let view = mistake
            .span
            .and_then(|span| View::of(sources, shown, span.file));
        let mut labels = Vec::new();
        if let (Some(view), Some(span)) = (&view, mistake.span) {
            let words = Some(one_line(&mistake.label)).filter(|words| !words.is_empty());
            labels.push(LabeledSpan::new_primary_with_span(words, view.clip(span)));
        }
        let mut elsewhere = Vec::new();
        for (span, words) in &mistake.related {
            let Some(other) = View::of(sources, shown, span.file) else {
                continue;
            };
            let words = one_line(words);
            if mistake.span.is_some_and(|own| own.file == span.file) {
                labels.push(LabeledSpan::new_with_span(Some(words), other.clip(*span)));
            } else {
                elsewhere.push(Report {
                    code: String::new(),
                    message: words,
                    hint: None,
                    severity: advice,
                    labels: vec![LabeledSpan::new_primary_with_span(None, other.clip(*span))],
                    view: Some(other),
                    elsewhere: Vec::new(),
                });
            }
        }
        // An empty text has nothing to underline; the message names the file.
        let view = view.filter(|view| !view.text.is_empty());
        if view.is_none() {
            labels.clear();
        }
        Self {
            code: format!("{}[{}]", word(mistake.severity), mistake.code),
            message: one_line(&mistake.message),
            hint: mistake.hint.as_deref().map(one_line),
            severity,
            view,
            labels,
            elsewhere,
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Report<'_> {}

impl Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.code.is_empty()).then(|| Box::new(&self.code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint
            .as_ref()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.view.as_ref().map(|view| view as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let reports = self
            .elsewhere
            .iter()
            .map(|report| report as &dyn Diagnostic);
        (!self.elsewhere.is_empty())
            .then(|| Box::new(reports) as Box<dyn Iterator<Item = &dyn Diagnostic>>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look {
        unicode: false,
        color: false,
        width: 80,
    };

    fn at(text: &str, range: std::ops::Range<usize>) -> (Sources, Mistake) {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", text);
        (
            sources,
            Mistake::error("code", Span::new(file, range), "message").hint("cure"),
        )
    }

    #[test]
    fn a_place_is_always_shown_also_at_the_end_and_in_an_empty_file() {
        for (text, range, place) in [
            ("a = 1\nb = 2\n", 6..7, "a.toml:2:1"),
            ("a = 1\n", 6..6, "a.toml:2:1"),
            ("a", 0..0, "a.toml:1:1"),
            ("\u{feff}a = 1\n", 3..4, "a.toml:1:1"),
            ("ä = ß\r\nb = 1\r\n", 5..7, "a.toml:1:5"),
        ] {
            let (sources, mistake) = at(text, range);
            let drawn = draw(&sources, &[mistake], PLAIN);
            assert!(drawn.contains(place), "{text:?}:\n{drawn}");
        }
        let (sources, mistake) = at("", 0..0);
        assert!(draw(&sources, &[mistake], PLAIN).contains("message"));
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let (sources, mut mistake) = at("a = '\u{1b}[31m\u{202e}x'\n", 4..9);
        mistake.message = "found \u{1b}[2J".to_owned();
        let drawn = draw(&sources, &[mistake], PLAIN);
        assert!(
            !drawn.contains('\u{1b}') && !drawn.contains('\u{202e}'),
            "{drawn}"
        );
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_place() {
        let text = format!("a = '{}'\n", "ä".repeat(100_000));
        let (sources, mistake) = at(&text, 100_001..100_003);
        let drawn = draw(&sources, &[mistake], PLAIN);
        assert!(drawn.len() < 3_000, "{}", drawn.len());
        assert!(drawn.contains("a.toml:1:50004"), "{drawn}");
    }

    #[test]
    fn the_json_form_has_place_and_end_and_null_without_one() {
        let (sources, mistake) = at("a = 1\nb = 2\n", 6..7);
        let whole = Mistake {
            span: None,
            ..mistake.clone()
        };
        let json = to_json(&sources, &[mistake, whole]);
        assert_eq!(json[0]["line"], 2);
        assert_eq!(json[0]["end"]["column"], 2);
        assert_eq!(json[0]["hint"], "cure");
        assert!(json[1]["file"].is_null());
    }
}
