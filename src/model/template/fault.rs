//! minijinja's errors as mistakes with a place and a cure.

use std::ops::Range;

use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;

use crate::model::mistake::{Mistake, nearest};
use crate::model::value::Span;

use super::Scope;
use super::engine::Source;
use super::scope::Vault;

/// The place of `range` (bytes of the string) in the file. Exact where the string is written in plain quotes without
/// escapes; else the whole string, which is true too.
pub(super) fn place(span: Span, text: &str, range: Range<usize>) -> Span {
    let written = span.end.saturating_sub(span.start) as usize;
    let plain = written == text.len() + 2;
    if plain && range.start < range.end && range.end <= text.len() {
        span.part(range.start + 1..range.end + 1)
    } else {
        span
    }
}

pub(super) fn mistake(error: &Error, source: &Source<'_>, vault: &Vault) -> Mistake {
    let range = error
        .range()
        .map(|r| r.start + source.code.start..r.end + source.code.start)
        .or_else(|| plain_path(source))
        .filter(|r| r.end <= source.text.len());
    let span = range
        .clone()
        .map_or(source.span, |r| place(source.span, source.text, r));
    let excerpt = range
        .clone()
        .and_then(|r| source.text.get(r))
        .unwrap_or_default();
    let mut mistake = explain(error, excerpt, source.scope, vault, span);
    let lines = source.text.trim_end().lines().count();
    if let Some(at) = range.filter(|_| span == source.span && lines > 1) {
        let line = source
            .text
            .get(..at.start)
            .unwrap_or_default()
            .matches('\n')
            .count()
            + 1;
        mistake.label = format!("on line {line} of this text");
    }
    mistake
}

/// The place of a lone expression that is nothing but a name (`a.b.c`): minijinja gives none where a whole result is
/// undefined.
fn plain_path(source: &Source<'_>) -> Option<Range<usize>> {
    let code = source.compiled();
    let path = code.trim();
    let plain = |c: char| c == '.' || c == '_' || c.is_ascii_alphanumeric();
    if path.is_empty() || !path.chars().all(plain) {
        return None;
    }
    let start = source.code.start + (code.len() - code.trim_start().len());
    Some(start..start + path.len())
}

fn explain(error: &Error, excerpt: &str, scope: &Scope, vault: &Vault, span: Span) -> Mistake {
    // An error's detail may quote a value; after a secret was opened it may be that secret.
    let detail = if vault.was_used() {
        None
    } else {
        error.detail()
    };
    let detail = detail.map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.kind() {
        ErrorKind::SyntaxError | ErrorKind::BadEscape | ErrorKind::InvalidDelimiter => {
            Mistake::error("template-syntax", span, format!("not a valid template: {detail}")).hint(
                "to write `{{` or `{%` as themselves, put them between `{% raw %}` and `{% endraw %}`",
            )
        }
        ErrorKind::UndefinedError => undefined(error, excerpt, scope, span),
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => {
            Mistake::error("template-error", span, detail)
                .hint("filters are those of minijinja, and `b64encode`, `sha256`, `to_json`")
        }
        ErrorKind::OutOfFuel => {
            Mistake::error("template-error", span, "the template does not end soon enough")
                .hint("loop over fewer items")
        }
        ErrorKind::WriteFailure => {
            Mistake::error("template-error", span, "the text is longer than 16 MiB")
                .hint("loop over fewer items")
        }
        _ => Mistake::error("template-error", span, detail),
    }
}

fn undefined(error: &Error, excerpt: &str, scope: &Scope, span: Span) -> Mistake {
    // "`x` is undefined", possibly with more around it: what is in backticks is the expression itself.
    let named = error.detail().and_then(|d| d.split('`').nth(1));
    let name = named.unwrap_or(excerpt).trim();
    if name.is_empty() {
        return Mistake::error("undefined-name", span, "the expression gives no value")
            .hint("an `if` inside an expression needs its `else`");
    }
    undefined_name(name, scope, span)
}

fn undefined_name(name: &str, scope: &Scope, span: Span) -> Mistake {
    let mistake = Mistake::error("undefined-name", span, format!("`{name}` is undefined"));
    let mut parts = name.split('.');
    let Some(first) = parts.next() else {
        return mistake;
    };
    let Some(mut json) = scope.get(first) else {
        return mistake.hint(known_names(first, "", scope.names()));
    };
    let mut parent = first.to_owned();
    for part in parts {
        let Some(table) = json.as_object() else { break };
        match table.get(part) {
            Some(inner) => json = inner,
            None => {
                let keys: Vec<&str> = table.keys().map(String::as_str).collect();
                return mistake.hint(known_names(part, &format!("{parent}."), keys));
            }
        }
        parent = format!("{parent}.{part}");
    }
    match json {
        Json::Object(_) | Json::Array(_) => mistake.hint("give it a value, or `| default(...)`"),
        _ => mistake.hint(format!("`{parent}` is no table")),
    }
}

/// The hint for a name that is not among the known ones.
pub(super) fn known_names<'a>(
    name: &str,
    prefix: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("did you mean `{prefix}{near}`?");
    }
    let shown: Vec<String> = known
        .iter()
        .take(12)
        .map(|n| format!("`{prefix}{n}`"))
        .collect();
    match (shown.is_empty(), known.len() > shown.len()) {
        (true, _) => "nothing is defined here".to_owned(),
        (false, false) => format!("defined here: {}", shown.join(", ")),
        (false, true) => format!(
            "defined here: {} and {} more",
            shown.join(", "),
            known.len() - shown.len()
        ),
    }
}
