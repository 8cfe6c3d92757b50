//! Edits of a file as splices of its text: what is not meant is not touched.

use std::ops::Range;

use super::{Document, Edit, Placed, normal};
use crate::model::outcome::Failure;
use crate::secrets::name::SecretName;

/// A file with edits.
pub(super) fn edited(document: &Document, edits: &[Edit]) -> Result<Document, Failure> {
    let mut wanted: Vec<(SecretName, String)> = document
        .values
        .iter()
        .map(|value| (value.name.clone(), value.armored.clone()))
        .collect();
    let mut splices = Vec::new();
    let mut others = Vec::new();
    for edit in edits {
        let (Edit::Set(name, _) | Edit::Remove(name)) = edit;
        wanted.retain(|(other, _)| other != name);
        match edit {
            Edit::Set(name, armored) => {
                wanted.push((name.clone(), normal(armored)));
                match document.value(name) {
                    Some(value) => splices.push((
                        value.value.clone(),
                        written(armored, line_end(&document.text)),
                    )),
                    None => others.push(edit),
                }
            }
            Edit::Remove(_) => others.push(edit),
        }
    }
    let mut current = read_again(document, spliced(&document.text, splices))?;
    for edit in others {
        let splice = match edit {
            Edit::Set(name, armored) => insertion(&current, name, armored)?,
            Edit::Remove(name) => removal(&current, name)?,
        };
        let text = spliced(&current.text, vec![splice]);
        current = read_again(&current, text)?;
    }
    wanted.sort();
    let mut found: Vec<(SecretName, String)> = current
        .values
        .iter()
        .map(|value| (value.name.clone(), value.armored.clone()))
        .collect();
    found.sort();
    if wanted == found {
        Ok(current)
    } else {
        Err(
            Failure::new(format!("{} cannot be changed as meant", document.shown))
                .hint("its layout is unusual: write it as tables with one value per key"),
        )
    }
}

/// Reads what an edit made. Where it cannot be read, the edit does not fit into the file.
fn read_again(document: &Document, text: String) -> Result<Document, Failure> {
    Document::parse(&document.stem, &document.shown, text.as_bytes()).map_err(|failure| {
        let mut said = Failure::new(format!("{} cannot be changed as meant", document.shown))
            .hint("its layout is unusual: write it as tables with one value per key");
        said.evidence = failure.evidence;
        said
    })
}

fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// A ciphertext as a string of TOML.
fn written(armored: &str, end: &str) -> String {
    let armored = normal(armored).replace('\n', end);
    format!("'''{end}{armored}'''")
}

fn spliced(text: &str, mut splices: Vec<(Range<usize>, String)>) -> String {
    splices.sort_by_key(|(range, _)| range.start);
    let added: usize = splices.iter().map(|(_, new)| new.len()).sum();
    let mut out = String::with_capacity(text.len() + added);
    let mut at = 0;
    for (range, new) in &splices {
        out.push_str(text.get(at..range.start).unwrap_or_default());
        out.push_str(new);
        at = range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Where the line after this place begins.
fn next_line(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n').map_or(text.len(), |end| at + end + 1)
}

fn removal(document: &Document, name: &SecretName) -> Result<(Range<usize>, String), Failure> {
    let value = document
        .value(name)
        .ok_or_else(|| Failure::new(format!("there is no {name} in {}", document.shown)))?;
    if value.inline {
        return Err(Failure::new(format!("{name} stands in an inline table"))
            .evidence(format!("{}, line {}", document.shown, value.line))
            .hint("take it out by hand, then: hmco-boot secrets check --accept-merge"));
    }
    // What is written above it stays: nobody can tell a word about this value from one about all that follow.
    Ok((
        value.start..next_line(&document.text, value.value.end),
        String::new(),
    ))
}

fn insertion(
    document: &Document,
    name: &SecretName,
    armored: &str,
) -> Result<(Range<usize>, String), Failure> {
    let mut table = name.path();
    let key = table.pop().unwrap_or_default();
    refuse_mixed(document, name)?;
    let end = line_end(&document.text);
    let line = |before: &str| format!("{before}{} = {}{end}", quoted(key), written(armored, end));
    let (at, new) = if let Some(sibling) = sibling(document, &table, key) {
        let at = next_line(&document.text, sibling.value.end);
        (at, line(&sibling.before))
    } else if table.is_empty() {
        (above_tables(document), line(""))
    } else if let Some(header) = document.tables.iter().find(|one| one.path == table) {
        (next_line(&document.text, header.span.end), line(""))
    } else {
        let path: Vec<String> = table.iter().map(|part| quoted(part)).collect();
        let gap = if document.text.is_empty() { "" } else { end };
        let new = format!("{gap}[{}]{end}{}", path.join("."), line(""));
        (document.text.len(), new)
    };
    // A file whose last line has no end gets one first.
    let open = at > 0 && document.text.as_bytes().get(at - 1) != Some(&b'\n');
    let new = if open { format!("{end}{new}") } else { new };
    let after_gap = at < document.text.len() && table.is_empty() && next_is_header(document, at);
    let new = if after_gap {
        format!("{new}{end}")
    } else {
        new
    };
    Ok((at..at, new))
}

/// A name cannot be a value and a table of values at once.
fn refuse_mixed(document: &Document, name: &SecretName) -> Result<(), Failure> {
    let below = |outer: &SecretName, inner: &SecretName| {
        inner
            .as_str()
            .strip_prefix(outer.as_str())
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let clash = document
        .values
        .iter()
        .find(|value| below(name, &value.name) || below(&value.name, name));
    match clash {
        Some(value) => Err(Failure::new(format!(
            "{name} cannot be there beside {}: one of them would be a table and a value",
            value.name
        ))
        .evidence(format!("{}, line {}", document.shown, value.line))
        .hint("choose another name")),
        None => Ok(()),
    }
}

/// The value of the same table that a new key goes behind: the last that sorts before it, else the last of all.
fn sibling<'a>(document: &'a Document, table: &[&str], key: &str) -> Option<&'a Placed> {
    let mut siblings: Vec<&Placed> = document
        .values
        .iter()
        .filter(|value| {
            let path = value.name.path();
            !value.inline && path.split_last().is_some_and(|(_, parent)| parent == table)
        })
        .collect();
    let last = siblings.last().copied();
    siblings.retain(|value| value.name.path().last().is_some_and(|other| *other < key));
    siblings.last().copied().or(last)
}

/// Where keys of no table go in a file that has only tables: above the first of them and its comment, but below the
/// comment at the head of the file.
fn above_tables(document: &Document) -> usize {
    let Some(first) = document.tables.first() else {
        return document.text.len();
    };
    let before = document.text.get(..first.span.start).unwrap_or_default();
    let mut at = before.rfind('\n').map_or(0, |end| end + 1);
    let header = at;
    while let Some(above) = before.get(..at).and_then(|text| text.strip_suffix('\n')) {
        let start = above.rfind('\n').map_or(0, |end| end + 1);
        if !above
            .get(start..)
            .unwrap_or_default()
            .trim_start()
            .starts_with('#')
        {
            return at;
        }
        at = start;
    }
    if at == 0 { header } else { at }
}

fn next_is_header(document: &Document, at: usize) -> bool {
    let rest = document.text.get(at..).unwrap_or_default();
    rest.starts_with(['[', '#'])
}

/// A key as TOML wants it: only a dot needs quotes.
fn quoted(key: &str) -> String {
    if key.contains('.') {
        format!("\"{key}\"")
    } else {
        key.to_owned()
    }
}
