//! A value of K3s' configuration files: what its flags take.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A switch, a whole number, a text, or a list of such.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setting {
    /// `secrets-encryption: true`.
    Switch(bool),
    /// `etcd-snapshot-retention: 48`.
    Number(i64),
    /// `flannel-backend: host-gw`.
    Text(String),
    /// `disable: [traefik, servicelb]`.
    List(Vec<Setting>),
}

/// K3s' configuration: flags without their dashes, and their values.
pub type Settings = BTreeMap<String, Setting>;

impl Setting {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As YAML on one line (JSON is YAML).
    pub fn yaml(&self) -> String {
        match self {
            Self::Switch(on) => on.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::yaml).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

/// A text as YAML: in quotes, whatever it looks like.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Settings as a YAML file, sorted by name.
pub fn yaml(settings: &Settings) -> String {
    settings
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.yaml()))
        .collect()
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Switch(on) => serializer.serialize_bool(*on),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SettingVisitor;
        impl<'de> Visitor<'de> for SettingVisitor {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a whole number, a string, or a list of these")
            }

            fn visit_bool<E>(self, on: bool) -> Result<Setting, E> {
                Ok(Setting::Switch(on))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Setting, E> {
                Ok(Setting::Number(number))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Setting, E> {
                let number = i64::try_from(number);
                number.map(Setting::Number).map_err(E::custom)
            }

            fn visit_str<E>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting::text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Setting, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Setting::List(list))
            }
        }
        deserializer.deserialize_any(SettingVisitor)
    }
}

impl JsonSchema for Setting {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Setting".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = serde_json::json!(["boolean", "integer", "string"]);
        schemars::json_schema!({
            "type": ["boolean", "integer", "string", "array"],
            "items": { "type": one },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_so_that_yaml_takes_them_for_what_they_are() {
        let settings: Settings = serde_json::from_value(serde_json::json!({
            "disable": ["traefik", "servicelb"],
            "secrets-encryption": true,
            "etcd-snapshot-retention": 48,
            "write-kubeconfig-mode": "0600",
            "node-name": "no",
        }))
        .unwrap();
        insta::assert_snapshot!(yaml(&settings), @r#"
        disable: ["traefik", "servicelb"]
        etcd-snapshot-retention: 48
        node-name: "no"
        secrets-encryption: true
        write-kubeconfig-mode: "0600"
        "#);
    }

    #[test]
    fn tables_fractions_and_secrets_are_refused() {
        let secret = serde_json::json!({ crate::model::sensitive::TAINT_KEY: "x" });
        for bad in [
            secret,
            serde_json::json!(1.5),
            serde_json::json!({ "a": 1 }),
            serde_json::json!(null),
        ] {
            assert!(serde_json::from_value::<Setting>(bad).is_err());
        }
    }
}
