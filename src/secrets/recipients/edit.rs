//! Edits of `recipients.toml`: one reader more or fewer; comments and layout of the rest stay.

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use super::Recipient;
use crate::model::outcome::Failure;

/// Adds a reader behind the others.
pub(super) fn add(text: &str, reader: &Recipient) -> Result<String, Failure> {
    let mut document = parse(text)?;
    let mut table = Table::new();
    table.insert("name", value(reader.name.as_str()));
    table.insert("key", value(reader.key.text()));
    if let Ok(date) = reader.since.parse::<toml_edit::Datetime>() {
        table.insert("since", value(date));
    }
    if !reader.groups.is_empty() {
        let groups: Array = reader.groups.iter().map(String::as_str).collect();
        table.insert("groups", value(groups));
    }
    if reader.recovery {
        table.insert("recovery", value(true));
    }
    let list = document
        .entry("recipient")
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let list = list.as_array_of_tables_mut().ok_or_else(shape)?;
    table.decor_mut().set_prefix("\n");
    list.push(table);
    if list.len() == 1 && document.len() == 1 {
        // The head of a first file is a comment: it belongs above, not below the first reader.
        let head = document.trailing().as_str().unwrap_or("").to_owned();
        document.set_trailing("");
        let list = document
            .get_mut("recipient")
            .and_then(Item::as_array_of_tables_mut);
        if let Some(first) = list.and_then(|list| list.get_mut(0)) {
            first.decor_mut().set_prefix(format!("{head}\n"));
        }
    }
    Ok(with_line_ends(text, document.to_string()))
}

/// Removes a reader, and its name from the rules.
pub(super) fn remove(text: &str, name: &str) -> Result<String, Failure> {
    let mut document = parse(text)?;
    let list = document
        .get_mut("recipient")
        .and_then(Item::as_array_of_tables_mut);
    let list = list.ok_or_else(shape)?;
    let named = |table: &Table| table.get("name").and_then(Item::as_str) == Some(name);
    let place = list.iter().position(named).ok_or_else(shape)?;
    // The head of the file is the prefix of its first table.
    let head = list
        .get(place)
        .and_then(|table| Some(table.decor().prefix()?.as_str()?.to_owned()));
    list.remove(place);
    if let (0, Some(head), Some(first)) = (place, head, list.get_mut(0)) {
        let own = first.decor().prefix().and_then(|prefix| prefix.as_str());
        let joined = format!("{head}{}", own.unwrap_or("").trim_start_matches('\n'));
        first.decor_mut().set_prefix(joined);
    }
    if let Some(rules) = document
        .get_mut("readers")
        .and_then(Item::as_table_like_mut)
    {
        for (_, item) in rules.iter_mut() {
            if let Some(array) = item.as_array_mut() {
                take_out(array, name);
            }
        }
    }
    Ok(with_line_ends(text, document.to_string()))
}

/// Gives a reader another key, since another day.
pub(super) fn replace(text: &str, reader: &Recipient) -> Result<String, Failure> {
    let mut document = parse(text)?;
    let list = document
        .get_mut("recipient")
        .and_then(Item::as_array_of_tables_mut);
    let named =
        |table: &&mut Table| table.get("name").and_then(Item::as_str) == Some(reader.name.as_str());
    let table = list.and_then(|list| list.iter_mut().find(named));
    let table = table.ok_or_else(shape)?;
    set(table, "key", reader.key.text().into());
    if let Ok(date) = reader.since.parse::<toml_edit::Datetime>() {
        set(table, "since", date.into());
    }
    Ok(with_line_ends(text, document.to_string()))
}

/// Sets a value, and keeps the comment behind it.
fn set(table: &mut Table, key: &str, mut new: toml_edit::Value) {
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(new));
}

/// Takes a word out of a list. What stands before it may be a comment on the word before, so it stays.
fn take_out(array: &mut Array, name: &str) {
    let Some(place) = array.iter().position(|value| value.as_str() == Some(name)) else {
        return;
    };
    let removed = array.remove(place);
    let before = removed.decor().prefix().and_then(|prefix| prefix.as_str());
    let Some((comment, _)) = before.and_then(|before| before.rsplit_once('\n')) else {
        return;
    };
    if !comment.contains('#') {
        return;
    }
    if let Some(next) = array.get_mut(place) {
        let own = next.decor().prefix().and_then(|prefix| prefix.as_str());
        let joined = format!("{comment}{}", own.unwrap_or("\n"));
        next.decor_mut().set_prefix(joined);
    } else {
        let trailing = array.trailing().as_str().unwrap_or("\n").to_owned();
        array.set_trailing(format!("{comment}{trailing}"));
    }
}

fn parse(text: &str) -> Result<DocumentMut, Failure> {
    text.parse().map_err(|_| shape())
}

fn shape() -> Failure {
    Failure::new("secrets/recipients.toml is not what it was a moment ago")
        .hint("see who else edits it, and try again")
}

/// A file with the line ends of Windows keeps them.
fn with_line_ends(before: &str, after: String) -> String {
    if before.contains("\r\n") {
        after.replace("\r\n", "\n").replace('\n', "\r\n")
    } else {
        after
    }
}
