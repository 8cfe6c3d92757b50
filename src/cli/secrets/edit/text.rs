//! Values as a text that somebody edits, and back. Text as TOML strings, other bytes as `{ base64 = "..." }`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::Values;
use crate::secrets::SecretValue;
use crate::secrets::name::SecretName;

const HEAD: &str = "# Plaintext, in memory only. What you change is encrypted when the editor ends; a key that you remove is\n\
                    # removed. Comments of this text are not kept.\n";

/// The text of a file's values. The document in between is not zeroed: it is the TOML library's.
pub(super) fn written(file: &str, values: &Values) -> Zeroizing<String> {
    let mut document = DocumentMut::new();
    for (name, value) in values {
        let path = name.path();
        let Some((key, tables)) = path.split_last() else {
            continue;
        };
        put(document.as_table_mut(), tables, key, as_toml(value));
    }
    let mut body = document.to_string();
    let text = format!("# secrets/{file}.toml\n{HEAD}\n{body}");
    body.zeroize();
    Zeroizing::new(text)
}

/// Puts a value behind a path of tables; those that only lead on need no header of their own.
fn put(table: &mut dyn TableLike, tables: &[&str], key: &str, value: Value) {
    let Some((first, rest)) = tables.split_first() else {
        table.insert(key, Item::Value(value));
        return;
    };
    if table.get(first).is_none() {
        let mut inner = Table::new();
        inner.set_implicit(!rest.is_empty());
        table.insert(first, Item::Table(inner));
    }
    if let Some(inner) = table.get_mut(first).and_then(Item::as_table_like_mut) {
        put(inner, rest, key, value);
    }
}

fn as_toml(value: &SecretValue) -> Value {
    match value.text() {
        Some(text) => Value::from(text),
        None => {
            let mut table = InlineTable::new();
            table.insert("base64", STANDARD.encode(value.expose()).into());
            Value::InlineTable(table)
        }
    }
}

/// The values of a text, or what is wrong, with lines and never with what stands there.
pub(super) fn read(file: &str, text: &str) -> Result<Values, Vec<String>> {
    let document = toml_edit::Document::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line(text, span.start));
        vec![format!("line {line}: this is no TOML")]
    })?;
    let mut reader = Reader {
        text,
        values: Values::new(),
        wrong: Vec::new(),
    };
    reader.table(document.as_table(), &mut vec![file.to_owned()]);
    if reader.wrong.is_empty() {
        Ok(reader.values)
    } else {
        Err(reader.wrong)
    }
}

fn line(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or("").matches('\n').count() + 1
}

struct Reader<'a> {
    text: &'a str,
    values: Values,
    wrong: Vec<String>,
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike, path: &mut Vec<String>) {
        for (key, item) in table.iter() {
            path.push(key.to_owned());
            self.item(item, path);
            path.pop();
        }
    }

    fn item(&mut self, item: &Item, path: &mut Vec<String>) {
        if let Some(table) = item.as_table_like().filter(|table| !is_binary(*table)) {
            return self.table(table, path);
        }
        let at = line(self.text, item.span().map_or(0, |span| span.start));
        let name = path.join("/");
        let name: SecretName = match name.parse() {
            Ok(name) => name,
            Err(failure) => {
                let failure: crate::model::outcome::Failure = failure;
                return self.wrong.push(format!("line {at}: {}", failure.message));
            }
        };
        match value(item) {
            Ok(value) if value.is_empty() => {
                self.wrong.push(format!(
                    "line {at}: {name} is empty; remove the key to remove the secret"
                ));
            }
            Ok(value) => {
                self.values.insert(name, value);
            }
            Err(what) => self.wrong.push(format!("line {at}: {name} {what}")),
        }
    }
}

fn is_binary(table: &dyn TableLike) -> bool {
    table.len() == 1 && table.get("base64").is_some_and(Item::is_str)
}

fn value(item: &Item) -> Result<SecretValue, &'static str> {
    if let Some(text) = item.as_str() {
        return Ok(SecretValue::new(text.as_bytes().to_vec()));
    }
    let binary = item
        .as_table_like()
        .and_then(|table| table.get("base64")?.as_str());
    match binary {
        Some(text) => {
            let bytes = STANDARD.decode(text).map_err(|_| "is not base64")?;
            Ok(SecretValue::new(bytes).into_binary())
        }
        None => Err("is no string: put quotes around it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(&str, &[u8])]) -> Values {
        let value = |(name, bytes): &(&str, &[u8])| {
            (name.parse().unwrap(), SecretValue::new(bytes.to_vec()))
        };
        list.iter().map(value).collect()
    }

    #[test]
    fn values_come_back_from_the_text_byte_for_byte() {
        let all = values(&[
            ("k3s/token", b"K10::x"),
            ("k3s/agents/a/key", b"-----BEGIN\nline\n\n  indented \n"),
            ("k3s/agents/b", "quote ''' \" \\ \t tab ü".as_bytes()),
            ("k3s/crlf", b"a\r\nb\r\n"),
            ("k3s/leading", b"\n\nx"),
            ("k3s/binary", b"\0\xff\x01"),
            ("k3s/odd.key-1", b"a#b = [c]"),
        ]);
        let text = written("k3s", &all);
        let back = read("k3s", &text).unwrap();
        let bytes = |values: &Values| -> Vec<(String, Vec<u8>)> {
            values
                .iter()
                .map(|(name, value)| (name.to_string(), value.expose().to_vec()))
                .collect()
        };
        assert_eq!(bytes(&back), bytes(&all));
    }

    #[test]
    fn mistakes_are_said_by_line_and_never_with_the_value() {
        let text = "a = \"fine\"\nB = \"canary\"\nnumber = 12345\nempty = ''\nbad = { base64 = \"canary!\" }\n";
        let wrong = read("k3s", text).unwrap_err().join("\n");
        for words in [
            "line 2: ",
            "line 3: k3s/number is no string",
            "line 4: k3s/empty is empty",
            "line 5: k3s/bad is not base64",
        ] {
            assert!(wrong.contains(words), "{words}: {wrong}");
        }
        assert!(!wrong.contains("canary") && !wrong.contains("12345"));
        let wrong = read("k3s", "a = \"x\"\nb = canary\n").unwrap_err();
        assert_eq!(wrong, ["line 2: this is no TOML"]);
    }

    #[test]
    fn a_table_that_only_looks_binary_is_read_as_what_it_is() {
        let all = read(
            "a",
            "[b]\nbase64 = \"AAE=\"\n[c]\nbase64 = \"AA==\"\nmore = \"x\"\n",
        )
        .unwrap();
        let names: Vec<String> = all.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["a/b", "a/c/base64", "a/c/more"]);
    }
}
