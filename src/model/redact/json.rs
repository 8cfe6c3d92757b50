//! JSON without values: what is left is JSON still.

use std::borrow::Cow;

use serde_json::Value;

use super::Redactor;

impl Redactor {
    /// Takes values out of all strings of a JSON value.
    pub fn json(&self, value: &mut Value) {
        if self.is_empty() {
            return;
        }
        match value {
            Value::String(text) => self.string(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(entries) => entries.values_mut().for_each(|item| self.json(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Takes values out of the strings of JSON text. One that would be found outside a string (four digits in the middle
    /// of a time) is none.
    pub fn json_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(matcher) = self.matcher() else {
            return Cow::Borrowed(text);
        };
        let found = matcher.found(text.as_bytes());
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut place = Place::default();
        let mut from = 0;
        for (start, end, mark) in found {
            place.go(text.as_bytes(), start);
            let inside = place.string;
            // The first byte may belong to an escape: `n` of `\n`.
            let start = if place.escaped { start + 1 } else { start };
            let mut after = place;
            after.go(text.as_bytes(), end);
            let whole = inside && after.string && after.strings == place.strings;
            if let Some(before) = text.get(from..start).filter(|_| whole) {
                out.push_str(before);
                out.push_str(&mark);
                from = end;
            }
        }
        out.push_str(text.get(from..).unwrap_or_default());
        Cow::Owned(out)
    }
}

/// Where in JSON text something is.
#[derive(Clone, Copy, Default)]
struct Place {
    at: usize,
    /// In a string.
    string: bool,
    /// Right after a backslash.
    escaped: bool,
    /// How many quotes there were.
    strings: usize,
}

impl Place {
    fn go(&mut self, text: &[u8], to: usize) {
        for byte in text.get(self.at..to).unwrap_or_default() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.string => self.escaped = true,
                b'"' => {
                    self.string = !self.string;
                    self.strings += 1;
                }
                _ => {}
            }
        }
        self.at = self.at.max(to);
    }
}
