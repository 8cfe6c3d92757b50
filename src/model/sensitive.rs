//! Text that may be secret: carries a taint mark and never shows itself.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The key under which a tainted string travels through JSON between rendering and decoding. A wish field of type
/// [`Text`] accepts it; a plain `String` field refuses it, which is how "a secret may not be used here" is enforced.
pub const TAINT_KEY: &str = "$tainted";

/// A string of a wish that may hold a secret (file contents, environment values, standard input).
///
/// `Debug` and `Serialize` never show a tainted value. Its bytes are zeroed when it goes; those of the JSON and the template
/// it was made from are not (see [`crate::secrets`]).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text {
    value: Zeroizing<String>,
    tainted: bool,
}

impl Text {
    /// Text that anybody may see.
    pub fn plain(value: impl Into<String>) -> Self {
        Self {
            value: Zeroizing::new(value.into()),
            tainted: false,
        }
    }

    /// Text that holds a secret.
    pub fn tainted(value: impl Into<String>) -> Self {
        Self {
            value: Zeroizing::new(value.into()),
            tainted: true,
        }
    }

    /// The value itself, secret or not. Callers must not print it without asking [`Text::is_tainted`].
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Whether the value must never be shown, compared in a diff, or fingerprinted without a key.
    pub fn is_tainted(&self) -> bool {
        self.tainted
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.expose(), self.tainted).cmp(&(other.expose(), other.tainted))
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.expose(), self.tainted).hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tainted {
            f.write_str("<secret>")
        } else {
            write!(f, "{:?}", self.expose())
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.tainted {
            "<secret>"
        } else {
            &self.value
        })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Text, E> {
                Ok(Text::plain(value))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((key, value)) if key == TAINT_KEY => Ok(Text::tainted(value)),
                    _ => Err(de::Error::custom("expected a string")),
                }
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // `x-text` tells the shape check that a tainted string is welcome here.
        schemars::json_schema!({ "type": "string", "x-text": true })
    }
}
