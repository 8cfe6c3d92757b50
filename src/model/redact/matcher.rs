//! Looks for all forms of all values in one pass over a text, whatever they share and wherever they overlap.

use std::borrow::Cow;
use std::collections::BTreeMap;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::noncontiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use zeroize::Zeroizing;

/// So many first bytes of a form are found without the rest.
pub const FRAGMENT: usize = 32;

/// So many last bytes of a form are taken for it at a cut.
const REST: usize = 6;

/// Whose a form is, and how it is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    /// Index of the name.
    pub name: usize,
    /// Only where no letter or digit is beside it.
    pub word: bool,
}

/// All forms, ready to be looked for.
#[derive(Default)]
pub(super) struct Matcher {
    /// `None`: it could not be made, and nothing can be shown.
    automaton: Option<NFA>,
    patterns: Vec<Pattern>,
    names: Vec<String>,
    /// By state: how much of a pattern was seen, and of which.
    states: Vec<(u32, u32)>,
    forms: Vec<Zeroizing<Vec<u8>>>,
}

/// A place where something was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
    /// Index of the name; `None` = the mark that stands for a value already.
    pub name: Option<usize>,
}

/// How far a text was looked through.
pub(super) struct Scan {
    state: Option<StateID>,
    /// Bytes looked at.
    pub at: usize,
    /// How many of them may be the beginning of something.
    pub depth: usize,
    owner: usize,
    /// What was found, in order, without overlaps.
    pub spans: Vec<Span>,
    /// A short value that is one if what follows does not belong to the word.
    word: Option<Span>,
}

impl Matcher {
    pub(super) fn new(names: &[String], forms: &BTreeMap<Vec<u8>, Pattern>) -> Self {
        let mut patterns: Vec<Pattern> = forms.values().copied().collect();
        let forms = forms.keys().cloned().map(Zeroizing::new);
        let mut forms: Vec<Zeroizing<Vec<u8>>> = forms.collect();
        let marks = names.iter().map(String::as_str).chain([""]);
        for mark in marks.map(mark) {
            forms.push(Zeroizing::new(mark));
            patterns.push(Pattern {
                name: usize::MAX,
                word: false,
            });
        }
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(forms.iter().map(|form| form.as_slice()))
            .ok();
        let mut matcher = Self {
            automaton,
            patterns,
            names: names.to_vec(),
            states: Vec::new(),
            forms,
        };
        matcher.states = matcher.measured();
        matcher
    }

    /// A state of the automaton is the longest beginning of any pattern that the text ends with; how long that is it does
    /// not tell, so it is walked once.
    fn measured(&self) -> Vec<(u32, u32)> {
        let mut states: Vec<(u32, u32)> = Vec::new();
        let Some(automaton) = &self.automaton else {
            return states;
        };
        for (number, form) in self.forms.iter().enumerate() {
            let Ok(mut state) = automaton.start_state(Anchored::Yes) else {
                continue;
            };
            for (at, byte) in form.iter().enumerate() {
                state = automaton.next_state(Anchored::Yes, state, *byte);
                let index = state.as_usize();
                if states.len() <= index {
                    states.resize(index + 1, (0, 0));
                }
                if let Some(place) = states.get_mut(index).filter(|place| place.0 == 0) {
                    let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                    *place = (short(at + 1), short(number));
                }
            }
        }
        states
    }

    fn state(&self, state: StateID) -> (usize, usize) {
        let (depth, owner) = self
            .states
            .get(state.as_usize())
            .copied()
            .unwrap_or_default();
        (depth as usize, owner as usize)
    }

    fn name_of(&self, pattern: usize) -> Option<usize> {
        let name = self.patterns.get(pattern)?.name;
        (name != usize::MAX).then_some(name)
    }

    /// Everything in a whole text.
    fn spans(&self, text: &[u8]) -> Vec<Span> {
        let mut scan = Scan::new();
        scan.feed(self, text, None);
        scan.finish(self, FRAGMENT);
        scan.spans.retain(|span| span.name.is_some());
        scan.spans
    }

    /// Where values are, for those who put something in their place themselves.
    pub(super) fn found(&self, text: &[u8]) -> Vec<(usize, usize, String)> {
        if self.automaton.is_none() {
            return vec![(0, text.len(), String::from("<secret>"))];
        }
        let spans = self.spans(text).into_iter();
        spans
            .map(|span| (span.start, span.end, self.mark_of(&span)))
            .collect()
    }

    fn mark_of(&self, span: &Span) -> String {
        let name = span.name.and_then(|name| self.names.get(name));
        String::from_utf8_lossy(&mark(name.map_or("", String::as_str))).into_owned()
    }

    pub(super) fn first(&self, text: &[u8]) -> Option<String> {
        let span = self.spans(text).into_iter().next()?;
        self.names.get(span.name?).cloned()
    }

    pub(super) fn redacted<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        if self.automaton.is_none() {
            return Cow::Owned(mark(""));
        }
        let spans = self.spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        self.write(&mut out, text, 0, &spans);
        Cow::Owned(out)
    }

    /// Writes a text whose first byte has number `base`, with marks in place of what was found in it.
    pub(super) fn write(&self, out: &mut Vec<u8>, text: &[u8], base: usize, spans: &[Span]) {
        let mut from = 0;
        for span in spans.iter().filter(|span| span.name.is_some()) {
            let (start, end) = (
                span.start.saturating_sub(base),
                span.end.saturating_sub(base),
            );
            out.extend_from_slice(text.get(from..start).unwrap_or_default());
            out.extend_from_slice(self.mark_of(span).as_bytes());
            from = end;
        }
        out.extend_from_slice(text.get(from..).unwrap_or_default());
    }

    /// How many first bytes of the text are the rest of a form whose beginning was cut off.
    pub(super) fn rest_of_one(&self, text: &[u8]) -> usize {
        let rest = |form: &[u8]| {
            let longest = form.len().saturating_sub(1).min(text.len());
            (REST..=longest)
                .rev()
                .find(|length| form.get(form.len() - length..) == text.get(..*length))
        };
        let values = self.forms.iter().enumerate();
        values
            .filter(|(number, _)| self.name_of(*number).is_some())
            .filter_map(|(_, form)| rest(form))
            .max()
            .unwrap_or(0)
    }

    /// Whether it can look for anything.
    pub(super) fn works(&self) -> bool {
        self.automaton.is_some()
    }
}

impl Scan {
    pub(super) fn new() -> Self {
        Self {
            state: None,
            at: 0,
            depth: 0,
            owner: 0,
            spans: Vec::new(),
            word: None,
        }
    }

    /// Goes on through `text`, all that is still there of the whole, up to its end; `before` is the byte before it.
    pub(super) fn feed(&mut self, matcher: &Matcher, text: &[u8], before: Option<u8>) {
        let Some(automaton) = &matcher.automaton else {
            return;
        };
        let Some(mut state) = self
            .state
            .or_else(|| automaton.start_state(Anchored::No).ok())
        else {
            return;
        };
        for byte in text.get(self.at..).unwrap_or_default() {
            if let Some(word) = self.word.take().filter(|_| !belongs(*byte)) {
                self.add(word);
            }
            let (was, owner) = (self.depth, self.owner);
            state = automaton.next_state(Anchored::No, state, *byte);
            (self.depth, self.owner) = matcher.state(state);
            if was >= FRAGMENT && self.depth <= was {
                self.fragment(matcher, was, owner);
            }
            self.at += 1;
            if automaton.is_match(state) {
                self.matches(matcher, automaton, state, text, before);
            }
        }
        self.state = Some(state);
    }

    /// The text ends here; so many first bytes of a form are taken for it.
    pub(super) fn finish(&mut self, matcher: &Matcher, fragment: usize) {
        if let Some(word) = self.word.take() {
            self.add(word);
        }
        if self.depth >= fragment {
            self.fragment(matcher, self.depth, self.owner);
        }
    }

    /// The beginning of a form without the rest, which ends at the byte before this one.
    fn fragment(&mut self, matcher: &Matcher, depth: usize, owner: usize) {
        if let Some(name) = matcher.name_of(owner) {
            let span = Span {
                start: self.at - depth,
                end: self.at,
                name: Some(name),
            };
            self.add(span);
        }
    }

    fn matches(
        &mut self,
        matcher: &Matcher,
        automaton: &NFA,
        state: StateID,
        text: &[u8],
        before: Option<u8>,
    ) {
        for index in 0..automaton.match_len(state) {
            let pattern = automaton.match_pattern(state, index);
            let start = self.at - automaton.pattern_len(pattern);
            let span = Span {
                start,
                end: self.at,
                name: matcher.name_of(pattern.as_usize()),
            };
            let is_word = matcher
                .patterns
                .get(pattern.as_usize())
                .is_some_and(|pattern| pattern.word);
            if !is_word {
                self.add(span);
                continue;
            }
            let left = match start.checked_sub(1) {
                Some(at) => text.get(at).copied(),
                None => before,
            };
            if !left.is_some_and(belongs) {
                self.word = Some(span);
            }
        }
    }

    /// Spans come by their ends. One that overlaps others takes them in; a mark takes in what is inside it.
    fn add(&mut self, mut span: Span) {
        while let Some(last) = self.spans.last().copied() {
            if last.end <= span.start {
                break;
            }
            if last.name.is_none() && last.start <= span.start && last.end >= span.end {
                return;
            }
            self.spans.pop();
            let is_mark = span.name.is_none() && last.start < span.start;
            if is_mark || span.name.is_some() {
                // The longer one gives its name; a value that reaches over a mark's border is a value.
                if last.name.is_some() && (is_mark || last.end - last.start > span.end - span.start)
                {
                    span.name = last.name;
                }
                span.start = span.start.min(last.start);
                span.end = span.end.max(last.end);
            }
        }
        self.spans.push(span);
    }

    /// Up to where nothing that is still to come changes anything.
    pub(super) fn settled(&self) -> usize {
        let mut settled = self.at - self.depth;
        if let Some(word) = &self.word {
            settled = settled.min(word.start);
        }
        // What was found there may still grow.
        for span in self.spans.iter().rev() {
            if span.end > settled {
                settled = settled.min(span.start);
            }
        }
        settled
    }

    /// The first `bytes` bytes are gone; gives what was found in them.
    pub(super) fn forget(&mut self, bytes: usize) -> Vec<Span> {
        let kept = self.spans.partition_point(|span| span.end <= bytes);
        let rest = self.spans.split_off(kept);
        let gone = std::mem::replace(&mut self.spans, rest);
        for span in &mut self.spans {
            span.start = span.start.saturating_sub(bytes);
            span.end = span.end.saturating_sub(bytes);
        }
        if let Some(word) = &mut self.word {
            word.start = word.start.saturating_sub(bytes);
            word.end = word.end.saturating_sub(bytes);
        }
        self.at = self.at.saturating_sub(bytes);
        gone
    }
}

/// What stands for a value.
fn mark(name: &str) -> Vec<u8> {
    if name.is_empty() {
        b"<secret>".to_vec()
    } else {
        format!("<secret {name}>").into_bytes()
    }
}

/// Whether a byte goes on a word.
fn belongs(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
