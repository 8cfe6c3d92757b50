//! From the text of a file to its values, strictly: what is not a ciphertext is refused with its place.

use std::ops::Range;

use toml_edit::{InlineTable, Item, Key, Table, Value};

use super::{Document, Header, Placed, digest_of, normal};
use crate::model::outcome::Failure;
use crate::secrets::cipher::BEGIN;
use crate::secrets::name::{SecretName, is_segment};

/// Most mistakes that are told.
const MOST: usize = 8;
/// What git writes into a file that it could not merge.
const MARKS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

/// Reads a file.
pub(super) fn read(stem: &str, shown: &str, bytes: &[u8]) -> Result<Document, Failure> {
    let wrong = |line: String| {
        let failure = Failure::new(format!("{shown} cannot be read")).evidence(line);
        failure.hint(format!(
            "correct it, or take it back from git: git checkout -- {shown}"
        ))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(format!("line {line}: this is not UTF-8"))
    })?;
    if let Some(failure) = conflict(stem, shown, text) {
        return Err(failure);
    }
    let parsed = toml_edit::Document::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let line = line_of(text, span.start);
        match text.get(span) {
            Some(key) if error.message().contains("duplicate key") => {
                wrong(format!("line {line}: {key} stands here a second time"))
            }
            // The message only: the line itself may show a secret.
            _ => wrong(format!("line {line}: {}", error.message().trim())),
        }
    })?;
    let mut walk = Walk {
        stem,
        text,
        lines: line_starts(text),
        values: Vec::new(),
        tables: Vec::new(),
        wrong: Vec::new(),
    };
    walk.table(parsed.as_table(), &mut Vec::new());
    if !walk.wrong.is_empty() {
        return Err(walk.failure(shown));
    }
    walk.values.sort_by_key(|value| value.start);
    walk.tables.sort_by_key(|table| table.span.start);
    Ok(Document {
        stem: stem.to_owned(),
        shown: shown.to_owned(),
        values: walk.values,
        tables: walk.tables,
        text: text.to_owned(),
    })
}

/// The failure for a file that git could not merge, naming the values it is about.
fn conflict(stem: &str, shown: &str, text: &str) -> Option<Failure> {
    let is = |line: &str, mark: &str| {
        line.strip_prefix(mark)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r']))
    };
    let (mut table, mut key, mut places) = (String::new(), String::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if is(line, MARKS[0]) {
            places.push(format!("line {}: in {stem}/{table}{key}", index + 1));
        } else if let Some(header) = line.trim().strip_prefix('[') {
            let path = header
                .split(']')
                .next()
                .unwrap_or_default()
                .replace('.', "/");
            table = format!("{}/", path.trim());
        } else if let Some((left, _)) = line.split_once(" = ") {
            key = left.trim().to_owned();
        }
    }
    if places.is_empty() {
        return None;
    }
    let mut failure = Failure::new(format!("{shown} holds a merge that nobody resolved")).hint(
        "choose one side of each in the file (one whole ciphertext per value), then: hmco-boot secrets check --accept-merge",
    );
    failure.evidence = places;
    Some(failure)
}

/// Where each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    let after = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

struct Walk<'a> {
    stem: &'a str,
    text: &'a str,
    lines: Vec<usize>,
    values: Vec<Placed>,
    tables: Vec<Header>,
    wrong: Vec<(usize, String)>,
}

impl Walk<'_> {
    fn table(&mut self, table: &Table, path: &mut Vec<String>) {
        if let (false, Some(span)) = (path.is_empty() || table.is_dotted(), table.span()) {
            self.tables.push(Header {
                path: path.clone(),
                span,
            });
        }
        for (name, _) in table.iter() {
            let Some((key, item)) = table.get_key_value(name) else {
                continue;
            };
            if !self.enter(key, path) {
                continue;
            }
            match item {
                Item::Table(table) => self.table(table, path),
                Item::Value(value) => self.value(key, value, path, false),
                Item::ArrayOfTables(_) => {
                    self.at(key.span(), "a list of tables is no place for values");
                }
                Item::None => {}
            }
            path.pop();
        }
    }

    fn inline(&mut self, table: &InlineTable, path: &mut Vec<String>) {
        for (name, _) in table.iter() {
            if let Some((key, Item::Value(value))) = table.get_key_value(name)
                && self.enter(key, path)
            {
                self.value(key, value, path, true);
                path.pop();
            }
        }
    }

    /// Goes one key down, where that can be part of a name.
    fn enter(&mut self, key: &Key, path: &mut Vec<String>) -> bool {
        if !is_segment(key.get()) {
            self.at(
                key.span(),
                "this key cannot be part of a name: a-z, 0-9, '.', '_' and '-' can, at most 64",
            );
            return false;
        }
        path.push(key.get().to_owned());
        true
    }

    fn value(&mut self, key: &Key, value: &Value, path: &mut Vec<String>, inline: bool) {
        match value {
            Value::String(text) if text.value().trim_start().starts_with(BEGIN) => {
                self.placed(key, text.value(), value.span(), path, inline);
            }
            Value::InlineTable(table) => self.inline(table, path),
            _ => {
                let name = format!("{}/{}", self.stem, path.join("/"));
                self.at(key.span(), &format!("{name} is not encrypted"));
            }
        }
    }

    fn placed(
        &mut self,
        key: &Key,
        armored: &str,
        span: Option<Range<usize>>,
        path: &[String],
        inline: bool,
    ) {
        let name = format!("{}/{}", self.stem, path.join("/"));
        let (Some(key_span), Some(value)) = (key.span(), span) else {
            return;
        };
        let name: SecretName = match name.parse() {
            Ok(name) => name,
            Err(Failure { message, .. }) => return self.at(Some(key_span), &message),
        };
        let line = self.line(key_span.start);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        self.values.push(Placed {
            name,
            line,
            armored: normal(armored),
            digest: digest_of(armored),
            value,
            start,
            before: self
                .text
                .get(start..key_span.start)
                .unwrap_or_default()
                .to_owned(),
            inline,
        });
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).max(1)
    }

    fn at(&mut self, span: Option<Range<usize>>, what: &str) {
        let line = self.line(span.map_or(0, |span| span.start));
        self.wrong.push((line, what.to_owned()));
    }

    fn failure(mut self, shown: &str) -> Failure {
        self.wrong.sort_unstable();
        let plain = self
            .wrong
            .iter()
            .any(|(_, what)| what.ends_with("is not encrypted"));
        let more = self.wrong.len().saturating_sub(MOST);
        let mut failure = Failure::new(format!("{shown} holds what is no encrypted value"));
        let told = self.wrong.iter().take(MOST);
        failure.evidence = told
            .map(|(line, what)| format!("line {line}: {what}"))
            .collect();
        if more > 0 {
            failure.evidence.push(format!("and {more} more"));
        }
        failure.hint(if plain {
            "take it out of the file, then: hmco-boot secrets set NAME (what was ever committed in the clear has to be replaced where it is used)"
        } else {
            "a file of values holds tables and encrypted strings, nothing else"
        })
    }
}
