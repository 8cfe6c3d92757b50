//! `--var NAME=VALUE`: a text becomes a value of the var's type.

use std::fmt::Write as _;

use toml::de::DeValue;

use crate::model::value::{Data, FileId, Key, Span, Value};

use super::VarType;

/// The place of what was written in no file: byte 0 of a file that does not exist.
pub(super) const NOWHERE: Span = Span {
    file: FileId(u32::MAX),
    start: 0,
    end: 0,
};

impl VarType {
    /// Reads a value from the command line. Texts are taken as they are; lists are `a,b,c` or a TOML array; tables are
    /// inline TOML (with or without braces); a secret is named, never given: `--var tls_key=tls/key`. The value has been
    /// checked; its span is of no file.
    pub fn parse_cli(&self, text: &str) -> Result<Value, String> {
        let value = self.read(text)?;
        match self.check(&value) {
            Ok(()) => Ok(value),
            Err(mistake) => Err(match mistake.hint {
                Some(hint) => format!("{}; {hint}", mistake.message),
                None => mistake.message,
            }),
        }
    }

    fn read(self, text: &str) -> Result<Value, String> {
        let trimmed = text.trim();
        Ok(match self {
            Self::Int => value(Data::Integer(
                trimmed
                    .parse()
                    .map_err(|_| format!("{text:?} is not a whole number"))?,
            )),
            Self::Bool => value(Data::Bool(match trimmed {
                "true" => true,
                "false" => false,
                _ => return Err(format!("{text:?} is neither `true` nor `false`")),
            })),
            Self::List if trimmed.starts_with('[') => toml_value(trimmed)?,
            Self::List if trimmed.is_empty() => value(Data::List(Vec::new())),
            Self::List => value(Data::List(
                trimmed
                    .split(',')
                    .map(|item| value(Data::String(item.trim().to_owned())))
                    .collect(),
            )),
            Self::Table | Self::Secret if trimmed.starts_with('{') => toml_value(trimmed)?,
            Self::Table => toml_value(&format!("{{{trimmed}}}"))?,
            Self::Secret if trimmed.is_empty() => {
                return Err("the name of a secret is missing".to_owned());
            }
            Self::Secret => {
                let key = Key {
                    span: NOWHERE,
                    name: "secret".to_owned(),
                };
                let name = value(Data::String(trimmed.to_owned()));
                value(Data::Table(vec![(key, name)]))
            }
            _ => value(Data::String(text.to_owned())),
        })
    }
}

fn value(data: Data) -> Value {
    Value {
        span: NOWHERE,
        data,
    }
}

fn toml_value(text: &str) -> Result<Value, String> {
    let parsed = DeValue::parse(text).map_err(|error| {
        let mut words = format!("{text:?} is not TOML: {}", error.message());
        if let Some(span) = error.span() {
            // Writing to a string cannot fail.
            write!(words, " (at character {})", span.start + 1).unwrap_or_default();
        }
        words
    })?;
    lower(parsed.get_ref())
}

fn lower(parsed: &DeValue<'_>) -> Result<Value, String> {
    let data = match parsed {
        DeValue::String(text) => Data::String(text.to_string()),
        DeValue::Integer(n) => Data::Integer(
            i64::from_str_radix(n.as_str(), n.radix())
                .map_err(|_| format!("`{}` does not fit 64 bits", n.as_str()))?,
        ),
        DeValue::Float(n) => Data::Float(
            n.as_str()
                .parse()
                .map_err(|_| format!("`{}` is not a number", n.as_str()))?,
        ),
        DeValue::Boolean(truth) => Data::Bool(*truth),
        DeValue::Datetime(date) => Data::Datetime(date.to_string()),
        DeValue::Array(items) => Data::List(
            items
                .iter()
                .map(|item| lower(item.get_ref()))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(entries) => Data::Table(
            entries
                .iter()
                .map(|(name, item)| {
                    let key = Key {
                        span: NOWHERE,
                        name: name.get_ref().to_string(),
                    };
                    Ok((key, lower(item.get_ref())?))
                })
                .collect::<Result<_, String>>()?,
        ),
    };
    Ok(value(data))
}
