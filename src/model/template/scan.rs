//! Where code is inside a text: a small scanner beside minijinja's own, which does not say.

use std::ops::Range;

/// What a piece of code in a text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `{{ ... }}`
    Expression,
    /// `{% ... %}`
    Statement,
    /// `{# ... #}`
    Comment,
}

/// A piece of code, by byte ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Code {
    /// What it is.
    pub kind: Kind,
    /// With its marks.
    pub outer: Range<usize>,
    /// Without them.
    pub inner: Range<usize>,
}

/// Whether a string holds a template: an expression, a statement or a comment.
pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// The bytes of the expression, where a text is exactly one `{{ expression }}`.
pub fn lone_expression(text: &str) -> Option<Range<usize>> {
    // Cheap look first: most texts end here.
    if !(text.starts_with("{{") && text.ends_with("}}")) {
        return None;
    }
    let first = next_code(text, 0)?;
    (first.kind == Kind::Expression && first.outer == (0..text.len())).then_some(first.inner)
}

/// All code in a text but comments. Raw blocks hold none; what is not closed ends the list (minijinja says so better).
pub(super) fn codes(text: &str) -> Vec<Code> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(code) = next_code(text, at) {
        at = code.outer.end;
        let raw = code.kind == Kind::Statement
            && text
                .get(code.inner.clone())
                .is_some_and(|s| s.trim() == "raw");
        if raw {
            match end_of_raw(text, at) {
                Some(end) => at = end,
                None => break,
            }
        } else if code.kind != Kind::Comment {
            found.push(code);
        }
    }
    found
}

fn end_of_raw(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let start = at + text.get(at..)?.find("{%")?;
        let inner = text
            .get(start + 2..)?
            .trim_start_matches(['-', '+'])
            .trim_start();
        if inner.starts_with("endraw") {
            return Some(start + text.get(start..)?.find("%}")? + 2);
        }
        at = start + 2;
    }
}

fn next_code(text: &str, from: usize) -> Option<Code> {
    let bytes = text.as_bytes();
    let mut at = from;
    let kind = loop {
        at += text.get(at..)?.find('{')?;
        match bytes.get(at + 1) {
            Some(b'{') => break Kind::Expression,
            Some(b'%') => break Kind::Statement,
            Some(b'#') => break Kind::Comment,
            _ => at += 1,
        }
    };
    let start = at + 2;
    let end = match kind {
        Kind::Comment => start + text.get(start..)?.find("#}")?,
        Kind::Expression => end_of_code(bytes, start, b'}')?,
        Kind::Statement => end_of_code(bytes, start, b'%')?,
    };
    let trims = |byte: Option<&u8>| matches!(byte, Some(b'-' | b'+'));
    let first = start + usize::from(trims(bytes.get(start)));
    let last = end - usize::from(end > first && trims(bytes.get(end - 1)));
    Some(Code {
        kind,
        outer: at..end + 2,
        inner: first.min(last)..last,
    })
}

/// The position of the closing mark (`first` and `}`), outside of strings and inner braces.
fn end_of_code(bytes: &[u8], from: usize, first: u8) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = from;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 1,
            quote @ (b'\'' | b'"') => at = end_of_string(bytes, at + 1, quote)?,
            byte if byte == first && depth == 0 && bytes.get(at + 1) == Some(&b'}') => {
                return Some(at);
            }
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
}

/// The position of a string's closing quote.
fn end_of_string(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// A word of code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token<'t> {
    /// A name.
    Name(&'t str),
    /// A string, unquoted.
    Text(String),
    /// Anything else, byte by byte.
    Mark(u8),
}

/// The words of `text[range]`, each with its place in `text`.
pub(super) fn tokens(text: &str, range: Range<usize>) -> Vec<(Token<'_>, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = range.start;
    while let Some(byte) = bytes.get(at).copied().filter(|_| at < range.end) {
        let start = at;
        match byte {
            b'\'' | b'"' => {
                let end = end_of_string(bytes, at + 1, byte).unwrap_or(range.end);
                at = end + 1;
                let raw = text.get(start + 1..end).unwrap_or("");
                found.push((Token::Text(unescape(raw)), start..at.min(text.len())));
            }
            _ if byte == b'_' || byte.is_ascii_alphanumeric() => {
                let more = |b: &&u8| **b == b'_' || b.is_ascii_alphanumeric();
                at += bytes.iter().skip(at).take_while(more).count();
                if let Some(name) = text.get(start..at) {
                    found.push((Token::Name(name), start..at));
                }
            }
            _ => {
                at += 1;
                if !byte.is_ascii_whitespace() {
                    found.push((Token::Mark(byte), start..at));
                }
            }
        }
    }
    found
}

fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}
