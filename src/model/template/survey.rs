//! What can be said of templates without rendering them: the secrets, facts and names they mention.

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::Environment;

use crate::model::mistake::Mistake;
use crate::model::value::{Data, Span, Value};

use super::engine::{ENVIRONMENT, FUNCTIONS, Source};
use super::scan::{self, Token};
use super::scope::Vault;
use super::{Scope, fault, is_template, kept, secret_table};

/// Every secret that appears by its literal name, as `secret('a/b')` or `{ secret = "a/b" }`, with its place. A name
/// that a template puts together is not among them; it is looked up when the value is rendered.
pub fn secrets_named(value: &Value) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    walk(value, &mut |value| match &value.data {
        Data::String(text) => {
            for code in scan::codes(text) {
                for (name, range) in literal_calls(text, code.inner) {
                    found.push((name, fault::place(value.span, text, range)));
                }
            }
        }
        Data::Table(_) => {
            if let Some((name, span)) = secret_table(value).filter(|(name, _)| !is_template(name)) {
                found.push((name.to_owned(), span));
            }
        }
        _ => {}
    });
    found
}

fn walk<'v>(value: &'v Value, visit: &mut dyn FnMut(&'v Value)) {
    visit(value);
    match &value.data {
        Data::List(items) => items.iter().for_each(|item| walk(item, visit)),
        Data::Table(entries) => entries.iter().for_each(|(_, item)| walk(item, visit)),
        _ => {}
    }
}

fn literal_calls(
    text: &str,
    range: std::ops::Range<usize>,
) -> Vec<(String, std::ops::Range<usize>)> {
    let tokens = scan::tokens(text, range);
    let mut found = Vec::new();
    let mut before = None;
    for window in tokens.windows(4) {
        if let [
            (Token::Name("secret"), _),
            (Token::Mark(b'('), _),
            (Token::Text(name), place),
            (Token::Mark(b')'), _),
        ] = window
            && before != Some(&Token::Mark(b'.'))
        {
            found.push((name.clone(), place.clone()));
        }
        before = window.first().map(|(token, _)| token);
    }
    found
}

/// The names after `facts.` that an expression mentions, e.g. `os` for `facts.os.arch` and `facts["os"]`.
pub fn facts_named(expression: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let tokens = scan::tokens(expression, 0..expression.len());
    let mut before = None;
    for window in tokens.windows(3) {
        if before != Some(&Token::Mark(b'.')) {
            match window {
                [
                    (Token::Name("facts"), _),
                    (Token::Mark(b'.'), _),
                    (Token::Name(name), _),
                ] => {
                    found.insert((*name).to_owned());
                }
                [
                    (Token::Name("facts"), _),
                    (Token::Mark(b'['), _),
                    (Token::Text(name), _),
                ] => {
                    found.insert(name.clone());
                }
                _ => {}
            }
        }
        before = window.first().map(|(token, _)| token);
    }
    found.into_iter().collect()
}

/// The names that a template needs from outside: not those it sets itself. Functions are among them, for a var may have
/// the name of one. Empty where it does not parse.
pub fn names_used(text: &str) -> Arc<BTreeSet<String>> {
    kept::names(text, || {
        let env: &Environment<'_> = &ENVIRONMENT;
        let names = env
            .template_from_str(text)
            .map(|template| template.undeclared_variables(false));
        names.unwrap_or_default().into_iter().collect()
    })
}

/// Every name that the templates inside a value mention, whether or not it comes from outside: never too few, as
/// [`names_used`] may be where a template sets a name only sometimes.
pub fn names_mentioned(value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(value, &mut |value| {
        let Some(text) = value.as_str().filter(|text| is_template(text)) else {
            return;
        };
        for code in scan::codes(text) {
            let tokens = scan::tokens(text, code.inner).into_iter();
            names.extend(tokens.filter_map(|(token, _)| match token {
                Token::Name(name) => Some(name.to_owned()),
                _ => None,
            }));
        }
    });
    names
}

/// The names that the templates inside a value need from outside.
pub fn names_needed(value: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(value, &mut |value| match value.as_str() {
        // A name that is set in one branch only may come from outside in the other.
        Some(text) if text.contains("{%") => names.extend(names_mentioned(value)),
        Some(text) if is_template(text) => names.extend(names_used(text).iter().cloned()),
        _ => {}
    });
    names
}

/// The names that an expression needs from outside.
pub fn names_used_by_expression(expression: &str) -> BTreeSet<String> {
    let env: &Environment<'_> = &ENVIRONMENT;
    let names = env
        .compile_expression(expression)
        .map(|compiled| compiled.undeclared_variables(false));
    names.unwrap_or_default().into_iter().collect()
}

/// Mistakes of the templates inside a value that show without any values: what does not parse, and names that are not
/// in `known`.
pub fn undefined_names(value: &Value, known: &BTreeSet<String>) -> Vec<Mistake> {
    let mut found = Vec::new();
    walk(value, &mut |value| {
        let Some(text) = value.as_str().filter(|text| is_template(text)) else {
            return;
        };
        let env: &Environment<'_> = &ENVIRONMENT;
        match env.template_from_str(text) {
            Err(error) => found.push(syntax(&error, text, value.span)),
            Ok(_) => {
                let ranges: Vec<_> = scan::codes(text)
                    .into_iter()
                    .map(|code| code.inner)
                    .collect();
                found.extend(unknown(&names_used(text), known, text, &ranges, value.span));
            }
        }
    });
    found
}

/// The same for a `when` expression, and a secret in it.
pub fn check_expression(expression: &str, span: Span, known: &BTreeSet<String>) -> Vec<Mistake> {
    if let Some(mistake) = secret_in_expression(expression, span) {
        return vec![mistake];
    }
    let env: &Environment<'_> = &ENVIRONMENT;
    match env.compile_expression(expression) {
        Err(error) => vec![syntax(&error, expression, span)],
        Ok(_) => {
            let names = names_used_by_expression(expression);
            let whole = 0..expression.len();
            unknown(
                &names,
                known,
                expression,
                std::slice::from_ref(&whole),
                span,
            )
        }
    }
}

fn syntax(error: &minijinja::Error, text: &str, span: Span) -> Mistake {
    let scope = Scope::default();
    let source = Source {
        text,
        code: 0..text.len(),
        span,
        scope: &scope,
    };
    fault::mistake(error, &source, &Vault::default())
}

fn unknown(
    names: &BTreeSet<String>,
    known: &BTreeSet<String>,
    text: &str,
    code: &[std::ops::Range<usize>],
    span: Span,
) -> Vec<Mistake> {
    names
        .difference(known)
        .filter(|name| !FUNCTIONS.contains(&name.as_str()))
        .map(|name| {
            let at = code
                .iter()
                .find_map(|range| first_use(text, range.clone(), name));
            let place = at.map_or(span, |at| fault::place(span, text, at));
            Mistake::error("undefined-name", place, format!("`{name}` is undefined")).hint(
                fault::known_names(name, "", known.iter().map(String::as_str)),
            )
        })
        .collect()
}

fn first_use(
    text: &str,
    range: std::ops::Range<usize>,
    name: &str,
) -> Option<std::ops::Range<usize>> {
    let mut after_dot = false;
    for (token, place) in scan::tokens(text, range) {
        if token == Token::Name(name) && !after_dot {
            return Some(place);
        }
        after_dot = token == Token::Mark(b'.');
    }
    None
}

/// The mistake of an expression that calls `secret`.
pub(super) fn secret_in_expression(expression: &str, span: Span) -> Option<Mistake> {
    let tokens = scan::tokens(expression, 0..expression.len());
    let mut before = None;
    for window in tokens.windows(2) {
        if let [(Token::Name("secret"), place), (Token::Mark(b'('), _)] = window
            && before != Some(&Token::Mark(b'.'))
        {
            return Some(secret_mistake(fault::place(
                span,
                expression,
                place.clone(),
            )));
        }
        before = window.first().map(|(token, _)| token);
    }
    None
}

pub(super) fn secret_mistake(span: Span) -> Mistake {
    Mistake::error(
        "secret-in-when",
        span,
        "a condition may not depend on a secret",
    )
    .label("conditions are shown in plans and journals")
    .hint("decide by a var or a fact")
}
