//! Whether a value has the shape its type wants, with every mistake at its own place.
//!
//! The type's own JSON schema (schemars) says what is wanted, so a wish is described once: in its Rust type. The walk
//! over value and schema is in `walk.rs`, its words in `words.rs`; here are the ways in, and the last step to a typed
//! value. What a schema cannot say (an absolute path, an octal mode) is said by the type's own error.
//!
//! Three stages ask differently:
//!
//! - [`decode`]: the value is final. What is written by hand must have the right type: `path = 5` is a mistake.
//! - [`check`], [`check_body`]: the value may hold templates that are not rendered yet; such a string may become anything.
//! - [`coerce`]: what a template gave is made text where text is wanted (`content = "{{ port }}"`), before [`decode`].

mod bounds;
mod coerce;
mod locate;
mod schema;
mod walk;
mod words;

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;

use super::mistake::Mistake;
use super::value::Value;

pub use coerce::coerce;
use walk::{Stage, Walk};

/// Keys of a step itself; below `[step.KIND]` they are in the wrong place.
pub const STEP_KEYS: [&str; 10] = [
    "id", "title", "on", "needs", "when", "each", "serial", "retry", "timeout", "gate",
];

/// Checks a value against the JSON schema of `T` (all mistakes at once), then decodes it.
pub fn decode<T: DeserializeOwned + JsonSchema + 'static>(
    value: &Value,
) -> Result<T, Vec<Mistake>> {
    let schema = schema_of::<T>();
    let mistakes = walk(value, &schema, Stage::Final, &|_| None);
    if mistakes.is_empty() {
        locate::decode(value, &schema)
    } else {
        Err(mistakes)
    }
}

/// Every structural mistake of a value whose templates are not rendered yet: a string with a template in it may become
/// whatever is wanted there.
pub fn check(value: &Value, schema: &Schema) -> Vec<Mistake> {
    walk(value, schema, Stage::Draft, &|_| None)
}

/// As [`check`], for the table of a step: a key that belongs to the step is told to move there. `kind` is the table's
/// name as users write it, e.g. `step.file`.
pub fn check_body(value: &Value, schema: &Schema, kind: &str) -> Vec<Mistake> {
    walk(value, schema, Stage::Draft, &|key| {
        STEP_KEYS
            .contains(&key)
            .then(|| format!("`{key}` belongs to the step: move it above `[{kind}]`"))
    })
}

/// The schema of a type, made once: a plan decodes the same few kinds thousands of times.
pub fn schema_of<T: JsonSchema + 'static>() -> Arc<Schema> {
    static MADE: Mutex<Option<HashMap<TypeId, Arc<Schema>>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made.get_or_insert_default();
    Arc::clone(
        made.entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(schemars::schema_for!(T))),
    )
}

fn walk(
    value: &Value,
    schema: &Schema,
    stage: Stage,
    slip: &dyn Fn(&str) -> Option<String>,
) -> Vec<Mistake> {
    let mut walk = Walk::new(schema, stage, slip);
    walk.top(value);
    walk.found
}

#[cfg(test)]
mod tests;
