//! Edits of a user's file by the tool: one value changes, every other byte stays. Text in, text out.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// Why a value was not set. The text is then untouched.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditError {
    /// The text is not TOML any more.
    #[error("the file is not valid TOML: {0}")]
    Syntax(String),
    /// A key on the way is no table, or the last one is a table.
    #[error("`{0}` is not what the edit expects: the file changed its shape")]
    Shape(String),
    /// Writing it would change more than the value.
    #[error("the edit would change more of the file than `{0}`")]
    TooMuch(String),
}

/// Sets the value at a path of keys, and keeps comments, order and line ends. A value that is there is replaced; a
/// missing key is added at the end of its table, a missing table at the end of its parent.
///
/// Refuses where the path leads through something that is no table, where the value would replace a table, and where
/// any other byte of the text would change.
pub fn set_value(text: &str, path: &[&str], value: impl Into<Value>) -> Result<String, EditError> {
    let named = path.join(".");
    let (last, tables) = path
        .split_last()
        .ok_or_else(|| EditError::Shape(named.clone()))?;
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for (depth, key) in tables.iter().enumerate() {
        if table.get(key).is_none() {
            table.insert(key, new_table(depth, tables.len()));
        }
        table = table
            .get_mut(key)
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| EditError::Shape(path.get(..=depth).unwrap_or_default().join(".")))?;
    }
    let mut value = value.into();
    match table.get_mut(last) {
        Some(Item::Value(old)) => {
            if old.is_inline_table() && !value.is_inline_table() {
                return Err(EditError::Shape(named));
            }
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        Some(_) => return Err(EditError::Shape(named)),
        None => {
            table.insert(last, Item::Value(value));
        }
    }
    let edited = line_ends_as(text, document.to_string());
    let kept = match old_value(text, path) {
        Some(old) => differs_only_in(text, &edited, old),
        None => is_insertion(text, &edited),
    };
    if kept {
        Ok(edited)
    } else {
        Err(EditError::TooMuch(named))
    }
}

/// A table to be made on the way: those above the last one need no header of their own.
fn new_table(depth: usize, count: usize) -> Item {
    let mut table = Table::new();
    table.set_implicit(depth + 1 < count);
    Item::Table(table)
}

/// `edited` with the line ends, the missing last newline and the byte order mark of `text`.
pub(super) fn line_ends_as(text: &str, edited: String) -> String {
    let mut edited = edited;
    if !text.is_empty() && !text.ends_with('\n') && edited.ends_with('\n') {
        edited.pop();
    }
    if text.contains("\r\n") {
        edited = edited.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if text.starts_with('\u{feff}') && !edited.starts_with('\u{feff}') {
        edited.insert(0, '\u{feff}');
    }
    edited
}

/// Whether all of `text` around `range` is still around what is there now.
fn differs_only_in(text: &str, edited: &str, range: std::ops::Range<usize>) -> bool {
    match (text.get(..range.start), text.get(range.end..)) {
        (Some(before), Some(after)) => edited
            .strip_prefix(before)
            .is_some_and(|rest| rest.ends_with(after)),
        _ => false,
    }
}

/// Whether `edited` is `text` with something added in one place.
fn is_insertion(text: &str, edited: &str) -> bool {
    let same = |(a, b): &(u8, u8)| a == b;
    let front = text.bytes().zip(edited.bytes()).take_while(same).count();
    let back = text
        .bytes()
        .rev()
        .zip(edited.bytes().rev())
        .take_while(same)
        .count();
    front + back >= text.len()
}

/// Where the value at a path is written, quotes and brackets included.
fn old_value(text: &str, path: &[&str]) -> Option<std::ops::Range<usize>> {
    let document = toml_edit::Document::parse(text).ok()?;
    let mut item = document.as_item();
    for key in path {
        item = item.get(key)?;
    }
    item.span()
}

/// A list of strings as a value, each on a line of its own where there are several.
pub fn strings<'a>(items: impl IntoIterator<Item = &'a str>) -> Value {
    let mut list: toml_edit::Array = items.into_iter().collect();
    if list.len() > 1 {
        for item in list.iter_mut() {
            item.decor_mut().set_prefix("\n  ");
        }
        list.set_trailing("\n");
        list.set_trailing_comma(true);
    }
    Value::Array(list)
}

/// A small table as a value: `{ secret = "a/b" }`.
pub fn table<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut table: InlineTable = entries.into_iter().collect();
    table.fmt();
    Value::InlineTable(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVENTORY: &str = "# my lab\n[cluster] # the one\nname = \"lab\"   # short\n\n[node.b] # second first\naddress = '10.0.0.2'\nlabels = { \"x/y\" = \"1\" } # keep\n\n# a comment before a\n[node.a]\naddress = \"10.0.0.1\" # one\n\n# the end\n";

    #[test]
    fn a_value_is_replaced_and_every_other_byte_stays() {
        let edited = set_value(INVENTORY, &["node", "b", "address"], "10.0.0.9").unwrap();
        assert_eq!(edited, INVENTORY.replace("'10.0.0.2'", "\"10.0.0.9\""));
        let edited = set_value(INVENTORY, &["node", "b", "labels", "x/y"], "2").unwrap();
        assert_eq!(edited, INVENTORY.replace("\"1\"", "\"2\""));
    }

    #[test]
    fn a_missing_key_is_added_to_its_table() {
        let keys = strings(["ssh-ed25519 AAAA", "ssh-rsa BBBB"]);
        let edited = set_value(INVENTORY, &["node", "b", "host_keys"], keys).unwrap();
        let added = "host_keys = [\n  \"ssh-ed25519 AAAA\",\n  \"ssh-rsa BBBB\",\n]\n";
        assert_eq!(
            edited,
            INVENTORY.replace(" # keep\n", &format!(" # keep\n{added}"))
        );
    }

    #[test]
    fn a_missing_table_is_added_with_its_header() {
        let edited = set_value(INVENTORY, &["node", "c", "address"], "10.0.0.3").unwrap();
        assert!(
            edited.contains("[node.c]\naddress = \"10.0.0.3\"\n"),
            "{edited}"
        );
        assert!(edited.starts_with("# my lab\n[cluster] # the one\n"));
        assert!(!edited.contains("[node]\n"));
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_stay() {
        let text = format!("\u{feff}{}", INVENTORY.replace('\n', "\r\n"));
        let edited = set_value(&text, &["cluster", "ca_sha256"], "ab").unwrap();
        assert_eq!(edited.replace("ca_sha256 = \"ab\"\r\n", ""), text);
        let edited = set_value(&text, &["node", "a", "address"], "10.0.0.9").unwrap();
        assert_eq!(edited, text.replace("10.0.0.1", "10.0.0.9"));
        assert_eq!(
            set_value(&edited, &["node", "a", "address"], "10.0.0.9"),
            Ok(edited)
        );
    }

    #[test]
    fn a_file_of_another_shape_is_refused() {
        let shape = |path: &str| EditError::Shape(path.to_owned());
        assert_eq!(
            set_value(INVENTORY, &["node", "a", "address", "x"], 1).unwrap_err(),
            shape("node.a.address")
        );
        assert_eq!(
            set_value(INVENTORY, &["node", "a"], 1).unwrap_err(),
            shape("node.a")
        );
        assert_eq!(
            set_value(INVENTORY, &["node", "b", "labels"], 1).unwrap_err(),
            shape("node.b.labels")
        );
        assert_eq!(set_value("", &[], 1).unwrap_err(), shape(""));
        assert!(matches!(
            set_value("a = ", &["a"], 1).unwrap_err(),
            EditError::Syntax(_)
        ));
    }

    #[test]
    fn a_file_without_a_last_newline_can_be_edited() {
        assert_eq!(set_value("a = 1", &["a"], 2).unwrap(), "a = 2");
        assert_eq!(
            set_value("[t]\na = 1", &["t", "b"], 2).unwrap(),
            "[t]\na = 1\nb = 2"
        );
    }
}
