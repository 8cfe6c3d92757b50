//! Bounds of numbers and texts.

use serde_json::{Map, Value as Json};

use crate::model::mistake::Mistake;
use crate::model::value::{Data, Span, Value};

use super::schema::format_range;
use super::walk::Walk;

impl Walk<'_> {
    /// Numbers out of range and texts that are too short.
    pub(super) fn bounds(&mut self, value: &Value, rules: &Map<String, Json>) {
        let number = |key: &str| rules.get(key).and_then(Json::as_f64);
        match &value.data {
            Data::Integer(n) => {
                let format = rules.get("format").and_then(Json::as_str).unwrap_or("");
                let (low, high) = format_range(format);
                let bound = |key: &str| rules.get(key).and_then(Json::as_i64);
                let low = low.max(bound("minimum").unwrap_or(i64::MIN));
                let high = high.min(bound("maximum").unwrap_or(i64::MAX));
                if !(low..=high).contains(n) {
                    self.out_of_range(value.span, low, high);
                }
            }
            Data::Float(n)
                if number("minimum").is_some_and(|low| *n < low)
                    || number("maximum").is_some_and(|high| *n > high) =>
            {
                let words = format!("{n} is out of range");
                self.found
                    .push(Mistake::error("wrong-value", value.span, words));
            }
            Data::String(text) => {
                let least = rules.get("minLength").and_then(Json::as_u64).unwrap_or(0);
                if (text.chars().count() as u64) < least {
                    let words = if text.is_empty() {
                        "an empty string is not allowed here".to_owned()
                    } else {
                        format!("expected at least {least} characters")
                    };
                    self.found
                        .push(Mistake::error("wrong-value", value.span, words));
                }
            }
            _ => {}
        }
    }

    fn out_of_range(&mut self, span: Span, low: i64, high: i64) {
        let hint = match (low, high) {
            (low, i64::MAX) => format!("write {low} or more"),
            (i64::MIN, high) => format!("write {high} or less"),
            (low, high) => format!("write a number from {low} to {high}"),
        };
        self.found
            .push(Mistake::error("wrong-value", span, "the number is out of range").hint(hint));
    }
}
