//! From minijinja's values to ours.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value as Jinja};
use serde_json::{Map, Value as Json};

use crate::model::value::{Data, Key, Span, Value};

use super::scope::{Marked, Wrapped, marked};

/// Values inside one result; a list from a template is never that long by intent.
const ITEMS: usize = 100_000;
/// Lists and tables inside each other.
const DEPTH: usize = 64;

/// A result as JSON. `open`: secrets of the scope are opened (for printing); else their marks stay (for typed values).
pub(super) fn json(value: &Jinja, open: bool) -> Result<Json, Error> {
    let mut left = ITEMS;
    walk(value, open, &mut left, DEPTH)
}

fn refuse(words: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, words)
}

fn walk(value: &Jinja, open: bool, left: &mut usize, depth: usize) -> Result<Json, Error> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| refuse("the result has too many items"))?;
    if depth == 0 {
        return Err(refuse("the result is nested too deeply"));
    }
    if let Some(wrapped) = value.downcast_object_ref::<Wrapped>().filter(|_| !open) {
        return Ok(wrapped.json().clone());
    }
    match value.kind() {
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Number => number(value),
        ValueKind::String => Ok(Json::from(value.as_str().unwrap_or_default())),
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()?
            .map(|item| walk(&item, open, left, depth - 1))
            .collect::<Result<Vec<_>, _>>()
            .map(Json::Array),
        ValueKind::Map => {
            let mut entries = Map::new();
            for key in value.try_iter()? {
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                entries.insert(name, walk(&value.get_item(&key)?, open, left, depth - 1)?);
            }
            Ok(Json::Object(entries))
        }
        ValueKind::None => Ok(Json::Null),
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Bytes => Err(refuse("the result is bytes, not text")),
        _ => Err(refuse("the result is a function or no value at all")),
    }
}

fn number(value: &Jinja) -> Result<Json, Error> {
    if value.is_integer() {
        let n = value
            .as_i64()
            .ok_or_else(|| refuse("the number does not fit 64 bits"))?;
        return Ok(Json::from(n));
    }
    f64::try_from(value.clone())
        .ok()
        .and_then(serde_json::Number::from_f64)
        .map(Json::Number)
        .ok_or_else(|| refuse("the number is not finite"))
}

/// Why a result is no value.
pub(super) enum Refused {
    /// A mistake has been told already.
    Told,
    /// These words.
    Because(&'static str),
}

/// Makes values of JSON.
pub(super) struct Lower<'a> {
    /// Their place.
    pub(super) span: Span,
    /// Whether the expression has seen a secret: then every scalar may be one.
    pub(super) tainted: bool,
    /// Opens a secret by name.
    pub(super) open: &'a mut dyn FnMut(&str) -> Option<String>,
}

impl Lower<'_> {
    pub(super) fn value(&mut self, json: &Json) -> Result<Value, Refused> {
        let data = match json {
            _ if marked(json).is_some() => match marked(json) {
                Some(Marked::Named(name)) => Data::Tainted((self.open)(name).ok_or(Refused::Told)?),
                Some(Marked::Opened(text)) => Data::Tainted(text.to_owned()),
                None => return Err(Refused::Told),
            },
            Json::Null => return Err(Refused::Because("the expression gives no value (none)")),
            Json::String(text) if self.tainted => Data::Tainted(text.clone()),
            Json::Bool(_) | Json::Number(_) if self.tainted => Data::Tainted(json.to_string()),
            Json::String(text) => Data::String(text.clone()),
            Json::Bool(b) => Data::Bool(*b),
            Json::Number(n) => match n.as_i64() {
                Some(n) => Data::Integer(n),
                None => Data::Float(
                    n.as_f64()
                        .ok_or(Refused::Because("the number is not finite"))?,
                ),
            },
            Json::Array(items) => Data::List(
                items
                    .iter()
                    .map(|item| self.value(item))
                    .collect::<Result<_, _>>()?,
            ),
            // A key without a value is no key, as in TOML: a node of `nodes` may have no address.
            Json::Object(entries) => Data::Table(
                entries
                    .iter()
                    .filter(|(_, item)| !item.is_null())
                    .map(|(name, item)| {
                        let key = Key {
                            span: self.span,
                            name: name.clone(),
                        };
                        Ok((key, self.value(item)?))
                    })
                    .collect::<Result<_, Refused>>()?,
            ),
        };
        Ok(Value {
            span: self.span,
            data,
        })
    }
}
