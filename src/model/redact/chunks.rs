//! A text that comes in pieces: what may be the beginning of a value waits for the rest.

use std::sync::Arc;

use super::matcher::{Matcher, Scan};
use super::{Redactor, into_text};

/// Takes a text piece by piece and gives it back without values. What may be the beginning of one is held back until
/// more comes, or [`Chunks::finish`].
pub struct Chunks {
    redactor: Redactor,
    matcher: Option<Arc<Matcher>>,
    held: Vec<u8>,
    scan: Scan,
    /// The last byte that was given back.
    before: Option<u8>,
}

impl Chunks {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            matcher: None,
            held: Vec::new(),
            scan: Scan::new(),
            before: None,
        }
    }

    /// Takes the next piece; gives what can be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        let Some(matcher) = self.current() else {
            self.before = piece.bytes().last().or(self.before);
            return piece.to_owned();
        };
        self.held.extend_from_slice(piece.as_bytes());
        self.scan.feed(&matcher, &self.held, self.before);
        let mut settled = self.scan.settled();
        // A value may begin in the middle of a character, if it is no text.
        while settled > 0
            && self
                .held
                .get(settled)
                .is_some_and(|byte| byte & 0xc0 == 0x80)
        {
            settled -= 1;
        }
        let within = |span: &super::matcher::Span| span.start < settled && settled < span.end;
        if let Some(span) = self.scan.spans.iter().find(|span| within(span)) {
            settled = span.start;
        }
        self.give(&matcher, settled)
    }

    /// The text has ended: gives what was held back. What is a beginning only is shown where it is short.
    pub fn finish(&mut self) -> String {
        let Some(matcher) = self.current() else {
            return String::new();
        };
        self.scan.feed(&matcher, &self.held, self.before);
        // The end may be a cut.
        self.scan.finish(&matcher, super::SHORT);
        if !self.scan.spans.is_empty() || !self.held.is_empty() {
            let all = self.held.len();
            let text = self.give(&matcher, all);
            self.scan = Scan::new();
            return text;
        }
        String::new()
    }

    fn give(&mut self, matcher: &Matcher, settled: usize) -> String {
        if settled == 0 {
            return String::new();
        }
        let spans = self.scan.forget(settled);
        let rest = self.held.split_off(settled.min(self.held.len()));
        let text = std::mem::replace(&mut self.held, rest);
        self.before = text.last().copied();
        if !matcher.works() {
            return "<secret>".to_owned();
        }
        let mut out = Vec::with_capacity(text.len());
        matcher.write(&mut out, &text, 0, &spans);
        into_text(out)
    }

    /// What is looked for now. Where that is more than before, what is held back is looked through again.
    fn current(&mut self) -> Option<Arc<Matcher>> {
        let now = self.redactor.matcher()?;
        let same = self
            .matcher
            .as_ref()
            .is_some_and(|then| Arc::ptr_eq(then, &now));
        if !same {
            self.scan = Scan::new();
            self.matcher = Some(now.clone());
        }
        Some(now)
    }
}
