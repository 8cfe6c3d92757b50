//! One pin changed in the text of the lock file; every other byte stays.

use std::collections::BTreeMap;

use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table};

use super::super::edit::{EditError, line_ends_as};
use super::{Artifact, Fetch, Member};

/// The text of a pins file with one pin added or changed; everything else stays.
pub fn set(text: &str, artifact: &Artifact) -> Result<String, EditError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
    let list = document
        .as_table_mut()
        .entry("artifact")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .ok_or_else(|| EditError::Shape("artifact".to_owned()))?;
    let is = |table: &Table, key: &str, wanted: &str| {
        table.get(key).and_then(Item::as_str) == Some(wanted)
    };
    let position = list.iter().position(|table| {
        is(table, "name", &artifact.name) && is(table, "arch", artifact.arch.as_str())
    });
    match position.and_then(|at| list.get_mut(at)) {
        Some(table) => fill(table, artifact),
        None => {
            let mut table = Table::new();
            fill(&mut table, artifact);
            if !list.is_empty() {
                table.decor_mut().set_prefix("\n");
            }
            list.push(table);
        }
    }
    Ok(line_ends_as(text, document.to_string()))
}

fn fill(table: &mut Table, artifact: &Artifact) {
    let mut put = |key: &str, value: Option<toml_edit::Value>| match (value, table.get_mut(key)) {
        (Some(value), Some(Item::Value(old))) => {
            let decor = old.decor().clone();
            *old = value;
            *old.decor_mut() = decor;
        }
        (Some(value), _) => {
            table.insert(key, Item::Value(value));
        }
        (None, _) => {
            table.remove(key);
        }
    };
    put("name", Some(artifact.name.as_str().into()));
    put("version", Some(artifact.version.as_str().into()));
    put("arch", Some(artifact.arch.as_str().into()));
    put("url", Some(artifact.url.as_str().into()));
    put("sha256", artifact.sha256.as_deref().map(Into::into));
    let size = artifact.size.and_then(|size| i64::try_from(size).ok());
    put("size", size.map(Into::into));
    put("checksums", artifact.checksums.as_deref().map(Into::into));
    match (artifact.fetch, table.contains_key("fetch")) {
        (Fetch::Controller, _) => put_word(table, "controller"),
        (Fetch::Node, true) => put_word(table, "node"),
        (Fetch::Node, false) => {}
    }
    fill_members(table, &artifact.members);
}

fn put_word(table: &mut Table, word: &str) {
    match table.get_mut("fetch") {
        Some(Item::Value(old)) if old.as_str() == Some(word) => {}
        _ => drop(table.insert("fetch", toml_edit::value(word))),
    }
}

/// `[artifact.members]`, a line for each; those that are there stay where they are.
fn fill_members(table: &mut Table, members: &BTreeMap<String, Member>) {
    if members.is_empty() {
        table.remove("members");
        return;
    }
    if !table.get("members").is_some_and(Item::is_table_like) {
        table.insert("members", Item::Table(Table::new()));
    }
    let Some(rows) = table.get_mut("members").and_then(Item::as_table_like_mut) else {
        return;
    };
    let gone: Vec<String> = rows
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| !members.contains_key(name))
        .collect();
    gone.iter().for_each(|name| drop(rows.remove(name)));
    for (name, member) in members {
        let mut row = InlineTable::new();
        row.insert("path", member.path.as_str().into());
        row.insert("sha256", member.sha256.as_str().into());
        row.insert(
            "size",
            i64::try_from(member.size).unwrap_or(i64::MAX).into(),
        );
        rows.insert(name, toml_edit::value(row));
    }
}
