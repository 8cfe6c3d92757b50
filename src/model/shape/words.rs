//! The words of shape mistakes: what was wanted, what was found, and how to turn the one into the other.

use serde_json::Value as Json;

use crate::model::value::Data;

/// What a value is, with its article.
pub(super) fn found(data: &Data) -> &'static str {
    match data {
        Data::String(_) => "a string",
        Data::Tainted(_) => "a secret",
        Data::Integer(_) => "an integer",
        Data::Float(_) => "a float",
        Data::Bool(_) => "a boolean",
        Data::Datetime(_) => "a date",
        Data::List(_) => "a list",
        Data::Table(_) => "a table",
    }
}

/// Types of a schema as words: "a string or a list".
pub(super) fn wanted(types: &[&str]) -> String {
    let mut words: Vec<&str> = types.iter().map(|kind| word(kind)).collect();
    words.dedup();
    join(&words, "or")
}

fn word(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "a boolean",
        "array" => "a list",
        "object" => "a table",
        _ => "something else",
    }
}

/// `a, b or c`.
pub(super) fn join(words: &[&str], last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., tail] => format!("{} {last} {tail}", head.join(", ")),
    }
}

/// Names in backticks: "`a`, `b` or `c`".
pub(super) fn names(names: &[&str], last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    join(&quoted.iter().map(String::as_str).collect::<Vec<_>>(), last)
}

/// How to make a value of one of the wanted types out of what was written.
pub(super) fn cure(types: &[&str], data: &Data) -> Option<String> {
    let wants = |kind| types.contains(&kind);
    match data {
        Data::Integer(_) | Data::Float(_) | Data::Bool(_) | Data::Datetime(_)
            if wants("string") =>
        {
            Some(format!("put it in quotes: `\"{}\"`", written(data)?))
        }
        Data::String(text) if wants("integer") && text.trim().parse::<i64>().is_ok() => {
            Some(format!("write it without quotes: `{}`", text.trim()))
        }
        Data::String(text) if wants("boolean") => truth(text).map_or_else(
            || Some("write `true` or `false`, without quotes".to_owned()),
            |truth| Some(format!("write `{truth}`, without quotes")),
        ),
        Data::String(_) | Data::Integer(_) | Data::Bool(_) | Data::Float(_) if wants("array") => {
            Some(match (written(data), data) {
                (Some(text), Data::String(_)) if text.len() <= 40 => {
                    format!("put it in brackets: `[{text:?}]`")
                }
                (Some(text), Data::Integer(_) | Data::Bool(_) | Data::Float(_)) => {
                    format!("put it in brackets: `[{text}]`")
                }
                _ => "put it in brackets".to_owned(),
            })
        }
        Data::List(items) if items.len() == 1 && !wants("object") => {
            Some("write the one value without brackets".to_owned())
        }
        Data::List(_) if wants("string") => Some("write one string".to_owned()),
        Data::Float(_) if wants("integer") => Some("write a whole number".to_owned()),
        _ if wants("object") => Some("write a table: `{ key = value }`".to_owned()),
        _ => None,
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A scalar as text, as a user would write it.
pub(super) fn written(data: &Data) -> Option<String> {
    match data {
        Data::String(text) | Data::Datetime(text) => Some(text.clone()),
        Data::Integer(n) => Some(n.to_string()),
        Data::Float(n) => Some(n.to_string()),
        Data::Bool(b) => Some(b.to_string()),
        Data::Tainted(_) | Data::List(_) | Data::Table(_) => None,
    }
}

/// The first paragraph of a schema's description, on one line.
pub(super) fn description(schema: &Json) -> Option<String> {
    let text = schema.get("description")?.as_str()?;
    let paragraph = text.split("\n\n").next()?;
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}
