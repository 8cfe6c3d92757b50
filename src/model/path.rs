//! Absolute paths on a target.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An absolute, normalised path on a target: starts with `/`, has no `.`, `..` or empty parts and no control
/// characters (a newline in a path would have to be understood by every tool a script runs).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AbsPath(String);

/// Why a text is not a path a step can use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("the path {0:?} is not absolute")]
    NotAbsolute(String),
    /// It has a `.`, `..` or empty part.
    #[error("the path {0:?} has a `.`, `..` or empty part")]
    NotNormal(String),
    /// It has a control character.
    #[error("the path {0:?} has a control character")]
    Control(String),
    /// It is longer than the kernel takes (4,095 bytes).
    #[error("the path is longer than 4095 bytes")]
    TooLong,
}

impl AbsPath {
    /// Checks and wraps a path. A trailing slash is dropped; `/` alone is fine.
    pub fn new(text: &str) -> Result<Self, PathError> {
        if !text.starts_with('/') {
            return Err(PathError::NotAbsolute(text.to_owned()));
        }
        if text.chars().any(char::is_control) {
            return Err(PathError::Control(text.to_owned()));
        }
        if text.len() > 4095 {
            return Err(PathError::TooLong);
        }
        let trimmed = if text == "/" {
            text
        } else {
            text.strip_suffix('/').unwrap_or(text)
        };
        if text != "/"
            && trimmed
                .split('/')
                .skip(1)
                .any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(PathError::NotNormal(text.to_owned()));
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that holds it; `None` for `/`.
    pub fn parent(&self) -> Option<AbsPath> {
        let (head, _) = self.0.rsplit_once('/').filter(|_| self.0 != "/")?;
        Some(Self(if head.is_empty() {
            "/".to_owned()
        } else {
            head.to_owned()
        }))
    }

    /// The last part; empty for `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Whether this is `other` or lies below it.
    pub fn is_below(&self, other: &AbsPath) -> bool {
        other.0 == "/"
            || self.0 == other.0
            || self
                .0
                .strip_prefix(&other.0)
                .is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl TryFrom<String> for AbsPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new(&text)
    }
}

impl From<AbsPath> for String {
    fn from(path: AbsPath) -> String {
        path.0
    }
}

impl JsonSchema for AbsPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AbsPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "An absolute path on the target.", "examples": ["/etc/motd"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_must_be_absolute_normal_and_printable() {
        assert!(matches!(
            AbsPath::new("etc"),
            Err(PathError::NotAbsolute(_))
        ));
        for bad in ["/a/../b", "/a//b", "/./a", "//"] {
            assert!(
                matches!(AbsPath::new(bad), Err(PathError::NotNormal(_))),
                "{bad}"
            );
        }
        assert!(matches!(AbsPath::new("/a\nb"), Err(PathError::Control(_))));
        assert_eq!(AbsPath::new("/etc/").unwrap().as_str(), "/etc");
        assert_eq!(AbsPath::new("/").unwrap().as_str(), "/");
    }

    #[test]
    fn below_means_the_folder_itself_or_inside_but_not_a_longer_name() {
        let p = |s| AbsPath::new(s).unwrap();
        assert!(p("/etc/motd").is_below(&p("/etc")));
        assert!(p("/etc").is_below(&p("/etc")));
        assert!(!p("/etcetera").is_below(&p("/etc")));
        assert!(p("/x").is_below(&p("/")));
        assert_eq!(p("/x").parent(), Some(p("/")));
        assert_eq!(p("/").parent(), None);
    }
}
