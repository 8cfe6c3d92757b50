//! Names of secrets: `FILE/KEY` or `FILE/TABLE/.../KEY`, and where each lies in the tree.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::mistake::nearest;
use crate::model::outcome::Failure;

/// Most bytes of one segment.
const LONGEST_SEGMENT: usize = 64;
/// Most segments of a name.
const MOST_SEGMENTS: usize = 8;
/// Files of the tree that hold no values.
const RESERVED: [&str; 2] = ["recipients", "manifest"];

/// The name of a secret. `a/b/c` is key `c` of table `[b]` in `secrets/a.toml`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SecretName(String);

impl SecretName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts: the file, tables, the key.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The file's name without `.toml`.
    pub fn file(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The file's name in the tree.
    pub fn file_name(&self) -> String {
        format!("{}.toml", self.file())
    }

    /// Tables and key: what leads to the value inside of its file.
    pub fn path(&self) -> Vec<&str> {
        self.segments().skip(1).collect()
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretName {
    type Err = Failure;

    /// # Errors
    ///
    /// What is wrong with the name, and what names look like.
    fn from_str(text: &str) -> Result<Self, Failure> {
        match fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(why) => Err(Failure::new(format!("{text:?} is not a name of a secret: {why}"))
                .hint("names look like k3s/token or dns/provider/key: a file, perhaps tables, a key; of a-z, 0-9, '.', '_' and '-'")),
        }
    }
}

impl Serialize for SecretName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|failure: Failure| serde::de::Error::custom(failure.message))
    }
}

/// Why a text is no name.
fn fault(text: &str) -> Option<String> {
    let segments: Vec<&str> = text.split('/').collect();
    if segments.len() < 2 {
        return Some("it has no file before the key".into());
    }
    if segments.len() > MOST_SEGMENTS {
        return Some(format!("it has more than {MOST_SEGMENTS} parts"));
    }
    if let Some(why) = segments.iter().find_map(|segment| segment_fault(segment)) {
        return Some(why);
    }
    let file = segments.first().copied().unwrap_or_default();
    RESERVED
        .contains(&file)
        .then(|| format!("{file}.toml is no file of values"))
}

/// Whether this can be a part of a name.
pub fn is_segment(segment: &str) -> bool {
    segment_fault(segment).is_none()
}

/// Why a text is no segment of a name.
fn segment_fault(segment: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = segment.bytes().next();
    if first.is_none() {
        return Some("a part of it is empty".into());
    }
    if segment.len() > LONGEST_SEGMENT {
        return Some(format!(
            "a part of it is longer than {LONGEST_SEGMENT} characters"
        ));
    }
    if !first.is_some_and(plain) {
        return Some(format!("{segment:?} does not begin with a-z or 0-9"));
    }
    segment
        .chars()
        .find(|one| !(one.is_ascii() && plain(*one as u8) || "._-".contains(*one)))
        .map(|one| format!("{one:?} may not be in it"))
}

/// The failure for a name that the store does not have.
pub fn unknown<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Failure {
    let failure = Failure::new(format!("there is no secret {asked:?}"));
    match nearest(asked, names) {
        Some(near) => failure.hint(format!(
            "did you mean {near:?}? Nothing is made because it is missing: `hmco-boot secrets set {asked}` would add it"
        )),
        None => failure.hint(format!(
            "`hmco-boot secrets set {asked}` adds it; nothing is made because it is missing"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_its_value_lies() {
        let name: SecretName = "dns/provider/key.v2".parse().unwrap();
        assert_eq!(name.file_name(), "dns.toml");
        assert_eq!(name.path(), ["provider", "key.v2"]);
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        let long = format!("a/{}", "b".repeat(65));
        for (text, why) in [
            ("", "no file"),
            ("token", "no file"),
            ("/token", "empty"),
            ("k3s/", "empty"),
            ("k3s//token", "empty"),
            ("k3s/../token", "begin"),
            ("k3s/Token", "begin"),
            ("k3s/tOken", "'O'"),
            ("k3s/tök", "'ö'"),
            ("k3s/a b", "' '"),
            ("k3s/.hidden", "begin"),
            ("manifest/a", "manifest.toml"),
            ("recipients/a", "recipients.toml"),
            ("a/b/c/d/e/f/g/h/i", "more than 8"),
            (long.as_str(), "longer than 64"),
        ] {
            let failure = text.parse::<SecretName>().unwrap_err();
            assert!(failure.message.contains(why), "{text:?}: {failure:?}");
            assert!(failure.hint.is_some());
        }
    }

    #[test]
    fn a_missing_name_comes_with_the_nearest_one_and_is_never_made_up() {
        let names = ["k3s/token", "k3s/agent-token", "dns/api-key"];
        let hint = |asked| unknown(asked, names).hint.unwrap();
        assert!(hint("k3s/tokn").contains("\"k3s/token\""));
        assert!(!hint("zzz/yyy").contains("did you mean"));
        assert!(hint("zzz/yyy").contains("nothing is made"));
    }
}
