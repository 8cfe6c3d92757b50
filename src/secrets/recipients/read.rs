//! From the text of `recipients.toml` to readers and rules, strictly: whatever is not understood is refused, because it
//! may have been meant to keep somebody out.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

use super::{GROUP, Recipient, RecipientKey, Rule, is_name};
use crate::model::mistake::nearest;
use crate::model::outcome::Failure;

const KEYS: [&str; 5] = ["name", "key", "since", "groups", "recovery"];

/// Readers and rules, or all that is wrong.
pub(super) fn read(text: &str) -> Result<(Vec<Recipient>, Vec<Rule>), Failure> {
    let mut wrong = Wrong {
        text,
        lines: Vec::new(),
    };
    let document = Document::parse(text.to_owned()).map_err(|error| {
        wrong.at(error.span(), error.message().trim());
        wrong.failure()
    })?;
    let mut list = Vec::new();
    let mut rules = Vec::new();
    for (key, item) in document.as_table() {
        match key {
            "recipient" => recipients(item, &mut list, &mut wrong),
            "readers" => readers(item, &mut rules, &mut wrong),
            other => wrong.at(span(item), &unknown(other, &["recipient", "readers"])),
        }
    }
    together(&document, &list, &rules, &mut wrong);
    if wrong.lines.is_empty() {
        Ok((list, rules))
    } else {
        Err(wrong.failure())
    }
}

/// What is wrong, with the lines.
struct Wrong<'a> {
    text: &'a str,
    lines: Vec<String>,
}

impl Wrong<'_> {
    fn at(&mut self, span: Option<Range<usize>>, what: &str) {
        let start = span.map_or(0, |span| span.start);
        let before = self.text.get(..start).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        self.lines.push(format!("line {line}: {what}"));
    }

    fn failure(&mut self) -> Failure {
        let mut failure = Failure::new("secrets/recipients.toml cannot be used")
            .hint("correct it, or take it back from git; nothing is encrypted to half a list");
        failure.evidence = std::mem::take(&mut self.lines);
        failure
    }
}

fn span(item: &Item) -> Option<Range<usize>> {
    match item {
        Item::ArrayOfTables(tables) => tables.iter().next().and_then(toml_edit::Table::span),
        item => item.span(),
    }
}

fn unknown(found: &str, known: &[&str]) -> String {
    match nearest(found, known.iter().copied()) {
        Some(near) => format!("unknown key {found:?}, did you mean `{near}`?"),
        None => format!("unknown key {found:?}; known are {}", known.join(", ")),
    }
}

fn recipients(item: &Item, list: &mut Vec<Recipient>, wrong: &mut Wrong<'_>) {
    let Some(tables) = item.as_array_of_tables() else {
        wrong.at(span(item), "a recipient begins with [[recipient]]");
        return;
    };
    for table in tables {
        for (key, item) in table {
            if !KEYS.contains(&key) {
                wrong.at(span(item), &unknown(key, &KEYS));
            }
        }
        list.extend(recipient(table, table.span(), wrong));
    }
}

fn recipient(
    table: &dyn TableLike,
    place: Option<Range<usize>>,
    wrong: &mut Wrong<'_>,
) -> Option<Recipient> {
    let name = text_of(table, "name", wrong);
    let key = text_of(table, "key", wrong);
    for (what, found) in [("name", &name), ("key", &key)] {
        if found.is_none() && table.get(what).is_none() {
            wrong.at(place.clone(), &format!("this recipient has no `{what}`"));
        }
    }
    let since = since(table, wrong);
    let groups = table
        .get("groups")
        .map_or(Vec::new(), |item| words(item, wrong));
    let recovery = match table.get("recovery").map(|item| (item, item.as_bool())) {
        None => false,
        Some((_, Some(recovery))) => recovery,
        Some((item, None)) => {
            wrong.at(span(item), "`recovery` is true or false");
            false
        }
    };
    for group in groups.iter().filter(|group| !is_name(group)) {
        wrong.at(place.clone(), &format!("{group:?} cannot name a group"));
    }
    let name = name?;
    if !is_name(&name) {
        wrong.at(
            place.clone(),
            &format!("{name:?} cannot name a recipient: letters, digits and ._@- can, at most 64"),
        );
    }
    match key?.parse::<RecipientKey>() {
        Ok(key) => Some(Recipient {
            name,
            key,
            since,
            groups,
            recovery,
        }),
        Err(failure) => {
            wrong.at(
                table.get("key").and_then(span).or(place),
                &format!("the key of `{name}`: {}", failure.message),
            );
            None
        }
    }
}

fn text_of(table: &dyn TableLike, key: &str, wrong: &mut Wrong<'_>) -> Option<String> {
    let item = table.get(key)?;
    if item.as_str().is_none() {
        wrong.at(span(item), &format!("`{key}` is a string"));
    }
    item.as_str().map(str::to_owned)
}

/// A day, as a date of TOML or as a string.
fn since(table: &dyn TableLike, wrong: &mut Wrong<'_>) -> String {
    let Some(item) = table.get("since") else {
        return String::new();
    };
    let text = match item.as_value() {
        Some(Value::Datetime(date)) => date.value().to_string(),
        Some(Value::String(text)) => text.value().clone(),
        _ => String::new(),
    };
    if text.parse::<jiff::civil::Date>().is_err() {
        wrong.at(span(item), "`since` is a day, as 2026-02-01");
    }
    text
}

fn words(item: &Item, wrong: &mut Wrong<'_>) -> Vec<String> {
    let words: Option<Vec<String>> = item.as_array().and_then(|array| {
        let texts = array.iter().map(|value| value.as_str().map(str::to_owned));
        texts.collect()
    });
    words.unwrap_or_else(|| {
        wrong.at(span(item), "this is a list of strings");
        Vec::new()
    })
}

fn readers(item: &Item, rules: &mut Vec<Rule>, wrong: &mut Wrong<'_>) {
    let Some(table) = item.as_table_like() else {
        wrong.at(span(item), "`readers` is a table: [readers]");
        return;
    };
    for (prefix, item) in table.iter() {
        let segment = |segment: &str| crate::secrets::name::is_segment(segment);
        if !prefix.split('/').all(segment) {
            wrong.at(
                span(item),
                &format!("{prefix:?} is not the beginning of a secret's name"),
            );
        }
        let readers = words(item, wrong);
        if readers.is_empty() {
            wrong.at(span(item), &format!("nobody reads {prefix:?}"));
        }
        rules.push(Rule {
            prefix: prefix.to_owned(),
            readers,
        });
    }
}

/// What only shows when all of it is seen together.
fn together(
    document: &Document<String>,
    list: &[Recipient],
    rules: &[Rule],
    wrong: &mut Wrong<'_>,
) {
    let place = |index: usize| {
        let tables = document.get("recipient").and_then(Item::as_array_of_tables);
        tables.and_then(|tables| tables.get(index)?.span())
    };
    for (index, one) in list.iter().enumerate() {
        for other in list.iter().take(index) {
            if one.name == other.name {
                wrong.at(
                    place(index),
                    &format!("two recipients are called `{}`", one.name),
                );
            } else if one.key == other.key {
                wrong.at(
                    place(index),
                    &format!("`{}` and `{}` have the same key", other.name, one.name),
                );
            }
        }
    }
    if list.is_empty() && wrong.lines.is_empty() {
        wrong.at(None, "there is no recipient: nobody could read anything");
    }
    let names: Vec<String> = list
        .iter()
        .flat_map(|reader| {
            let groups = reader.groups.iter().map(|group| format!("{GROUP}{group}"));
            groups.chain([reader.name.clone()])
        })
        .collect();
    for rule in rules {
        let item = document
            .get("readers")
            .and_then(|table| table.get(&rule.prefix));
        for word in rule.readers.iter().filter(|word| !names.contains(word)) {
            let near = nearest(word, names.iter().map(String::as_str));
            let near = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
            wrong.at(
                item.and_then(span),
                &format!("there is no {}{near}", described(word)),
            );
        }
    }
}

fn described(word: &str) -> String {
    match word.strip_prefix(GROUP) {
        Some(group) => format!("recipient in the group `{group}`"),
        None => format!("recipient `{word}`"),
    }
}
