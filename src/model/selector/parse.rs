//! From a selector's text to its expression, by recursive descent with a depth limit.

use std::ops::Range;

use crate::model::mistake::nearest;

use super::{Expression, SelectorError, Word, WordKind};

/// Parentheses and `!` inside each other; nobody writes five.
const DEPTH: usize = 64;
/// Bytes of a selector.
const LENGTH: usize = 64 * 1024;

const FUNCTIONS: [&str; 2] = ["first", "rest"];
const PREFIXES: [&str; 3] = ["role", "group", "arch"];

pub(super) fn parse(text: &str) -> Result<Expression, SelectorError> {
    if text.len() > LENGTH {
        return Err(error(
            0..text.len(),
            "the selector is longer than 64 KiB",
            "use a group",
        ));
    }
    let mut parser = Parser { text, at: 0 };
    if parser.peek().is_none() {
        return Err(error(
            0..text.len(),
            "the selector is empty",
            "write `all`, a node's name, or `role:server`",
        ));
    }
    let expression = parser.union(DEPTH)?;
    match parser.peek() {
        None => Ok(expression),
        Some(')') => Err(error(
            parser.at..parser.at + 1,
            "this `)` closes nothing",
            "remove it, or add its `(`",
        )),
        Some(',') => Err(parser.comma()),
        Some(c) => Err(error(
            parser.at..parser.at + c.len_utf8(),
            "expected `&` or `|` here",
            "join two selectors with `|` (either) or `&` (both)",
        )),
    }
}

fn error(at: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> SelectorError {
    SelectorError {
        at,
        message: message.into(),
        hint: Some(hint.into()),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.len() - rest.trim_start().len();
        self.text.get(self.at..)?.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn union(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        self.chain('|', depth, Self::intersection, Expression::Any)
    }

    fn intersection(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        self.chain('&', depth, Self::inverse, Expression::All)
    }

    fn chain(
        &mut self,
        mark: char,
        depth: usize,
        part: fn(&mut Self, usize) -> Result<Expression, SelectorError>,
        join: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, SelectorError> {
        let first = part(self, depth)?;
        if self.peek() != Some(mark) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take(mark) {
            // `&&` and `||` are what other languages write.
            if self.take(mark) {
                return Err(error(
                    self.at - 2..self.at,
                    format!("`{mark}{mark}` is no operator"),
                    format!("write one `{mark}`"),
                ));
            }
            parts.push(part(self, depth)?);
        }
        Ok(join(parts))
    }

    fn inverse(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        let start = self.at;
        let Some(deeper) = depth.checked_sub(1) else {
            return Err(error(
                start.saturating_sub(1)..start,
                format!("more than {DEPTH} parentheses or `!` inside each other"),
                "use a group",
            ));
        };
        if self.take('!') {
            return Ok(Expression::Not(Box::new(self.inverse(deeper)?)));
        }
        self.atom(deeper)
    }

    fn atom(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        if self.peek() == Some('(') {
            return self.group(depth);
        }
        let start = self.at;
        let word = self.word();
        if word.is_empty() {
            return Err(self.nothing_here());
        }
        let at = start..self.at;
        if self.peek() == Some('(') {
            return match word {
                "first" => Ok(Expression::First(Box::new(self.group(depth)?))),
                "rest" => Ok(Expression::Rest(Box::new(self.group(depth)?))),
                _ => Err(error(
                    at,
                    format!("unknown function `{word}`"),
                    match nearest(word, FUNCTIONS) {
                        Some(near) => format!("did you mean `{near}(...)`?"),
                        None => "there are `first(...)` and `rest(...)`".to_owned(),
                    },
                )),
            };
        }
        Ok(Expression::Word(classify(word, at)?))
    }

    fn group(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        let open = self.at;
        self.at += 1;
        let inner = self.union(depth)?;
        if self.take(')') {
            return Ok(inner);
        }
        match self.peek() {
            None => Err(error(open..open + 1, "this `(` is not closed", "add a `)`")),
            Some(',') => Err(self.comma()),
            Some(c) => Err(error(
                self.at..self.at + c.len_utf8(),
                "expected `&`, `|` or `)` here",
                "join two selectors with `|` (either) or `&` (both)",
            )),
        }
    }

    /// A run of characters that names are made of, `:` and the marks of globs.
    fn word(&mut self) -> &'t str {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || "-_.:*?".contains(c)))
            .unwrap_or(rest.len());
        self.at += length;
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn comma(&self) -> SelectorError {
        error(
            self.at..self.at + 1,
            "a comma joins nothing",
            "write `|` for \"either\"",
        )
    }

    fn nothing_here(&mut self) -> SelectorError {
        let hint = "write a node's name, `all`, `role:NAME`, `group:NAME`, `arch:NAME`, `cluster` or `controller`";
        match self.peek() {
            Some(',') => self.comma(),
            Some(c) => error(
                self.at..self.at + c.len_utf8(),
                format!("`{}` cannot be here", c.escape_debug()),
                hint,
            ),
            None => {
                // Underline the operator that has nothing after it.
                let end = self.text.trim_end().len();
                let start = self
                    .text
                    .get(..end)
                    .and_then(|t| t.char_indices().next_back());
                let start = start.map_or(0, |(at, _)| at);
                error(start..end, "a selector is missing after this", hint)
            }
        }
    }
}

fn classify(word: &str, at: Range<usize>) -> Result<Word, SelectorError> {
    if let Some((prefix, name)) = word.split_once(':') {
        let kind = match prefix {
            "role" => WordKind::Role,
            "group" => WordKind::Group,
            "arch" => WordKind::Arch,
            _ => {
                let hint = match nearest(prefix, PREFIXES) {
                    Some(near) => format!("did you mean `{near}:{name}`?"),
                    None => "there are `role:`, `group:` and `arch:`".to_owned(),
                };
                let at = at.start..at.start + prefix.len() + 1;
                return Err(error(at, format!("unknown prefix `{prefix}:`"), hint));
            }
        };
        if name.is_empty() {
            return Err(error(
                at,
                format!("`{prefix}:` has no name"),
                format!("write `{prefix}:NAME`, without a blank after the colon"),
            ));
        }
        if name.contains([':', '*', '?']) {
            return Err(error(
                at.start + prefix.len() + 1..at.end,
                format!("`{name}` is no name of a {prefix}"),
                "globs are for nodes' names only",
            ));
        }
        return Ok(Word {
            kind,
            text: name.to_owned(),
            at,
        });
    }
    let kind = match word {
        "all" => WordKind::AllNodes,
        "cluster" => WordKind::Cluster,
        "controller" => WordKind::Controller,
        _ if word.contains(['*', '?']) => WordKind::Glob,
        _ => WordKind::Node,
    };
    Ok(Word {
        kind,
        text: word.to_owned(),
        at,
    })
}
