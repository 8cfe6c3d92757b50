//! A TOML value with the place it was written at. Everything between the TOML parser and a typed wish works on this, so
//! that any later mistake can still be underlined.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Which of the loaded files a span points into.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub u32);

/// A range of bytes in a loaded file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of `range` (bytes) in `file`.
    pub fn new(file: FileId, range: Range<usize>) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            file,
            start: clamp(range.start),
            end: clamp(range.end),
        }
    }

    /// A part of this span, by byte offsets from its start; clamped to it.
    pub fn part(self, range: Range<usize>) -> Self {
        let at = |n: usize| {
            self.start
                .saturating_add(u32::try_from(n).unwrap_or(u32::MAX))
                .min(self.end)
        };
        Self {
            file: self.file,
            start: at(range.start),
            end: at(range.end),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// Where.
    pub span: Span,
    /// What.
    pub data: Data,
}

/// A key of a table and where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Where.
    pub span: Span,
    /// The key's text.
    pub name: String,
}

/// What a value holds.
#[derive(Clone, PartialEq)]
pub enum Data {
    /// A string; before rendering it may hold templates.
    String(String),
    /// A rendered string that holds a secret. Never shown.
    Tainted(String),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A TOML date or time, as written.
    Datetime(String),
    /// An array.
    List(Vec<Value>),
    /// A table, in the order of the file.
    Table(Vec<(Key, Value)>),
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::String(text) => write!(f, "{text:?}"),
            Self::Tainted(_) => f.write_str("<secret>"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Datetime(text) => f.write_str(text),
            Self::List(items) => f
                .debug_list()
                .entries(items.iter().map(|v| &v.data))
                .finish(),
            Self::Table(entries) => f
                .debug_map()
                .entries(entries.iter().map(|(k, v)| (&k.name, &v.data)))
                .finish(),
        }
    }
}

impl Value {
    /// The value below `key`, where this is a table that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.data {
            Data::Table(entries) => entries.iter().find(|(k, _)| k.name == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, where this is a string that may be shown.
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(text) => Some(text),
            _ => None,
        }
    }

    /// The entries, where this is a table.
    pub fn entries(&self) -> &[(Key, Value)] {
        match &self.data {
            Data::Table(entries) => entries,
            _ => &[],
        }
    }

    /// Whether any string inside holds a secret.
    pub fn is_tainted(&self) -> bool {
        match &self.data {
            Data::Tainted(_) => true,
            Data::List(items) => items.iter().any(Value::is_tainted),
            Data::Table(entries) => entries.iter().any(|(_, v)| v.is_tainted()),
            _ => false,
        }
    }

    /// As JSON, for decoding: tainted strings become the object that only [`super::sensitive::Text`] accepts.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.data {
            Data::String(text) | Data::Datetime(text) => Json::from(text.as_str()),
            Data::Tainted(text) => serde_json::json!({ super::sensitive::TAINT_KEY: text }),
            Data::Integer(n) => Json::from(*n),
            Data::Float(n) => Json::from(*n),
            Data::Bool(b) => Json::from(*b),
            Data::List(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Data::Table(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(k, v)| (k.name.clone(), v.to_json()))
                    .collect(),
            ),
        }
    }
}
