//! A mistake in a user's file, as data: what happened, where, and what to do. Drawing it is `config::diagnostic`'s.

use super::value::Span;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Nothing can run with it.
    Error,
    /// It can run, but probably not as meant.
    Warning,
}

/// One thing wrong with the files of a project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Stable short name of the rule, e.g. `unknown-key`; the snapshots in `tests/config/bad/` go by it.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, as a lowercase fragment without a full stop.
    pub message: String,
    /// Where; `None` where a whole project is at fault (no inventory at all).
    pub span: Option<Span>,
    /// Words to put under the underlined text.
    pub label: String,
    /// Further places that belong to it (the first use of a name used twice), each with its words.
    pub related: Vec<(Span, String)>,
    /// What to do.
    pub hint: Option<String>,
}

impl Mistake {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: String::new(),
            related: Vec::new(),
            hint: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// With words under the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With a further place.
    #[must_use]
    pub fn related(mut self, span: Span, words: impl Into<String>) -> Self {
        self.related.push((span, words.into()));
        self
    }
}

/// The name among `known` that `typed` was probably meant to be.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, name)| {
            *distance <= 1.max(name.chars().count().max(typed.chars().count()) / 3)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
