//! Who reads the secrets: `secrets/recipients.toml`, read strictly, asked who reads a value, and edited without touching
//! what a user wrote beside it. Text in, text out. Which of these keys may be trusted is not decided here: the file is in
//! git and proves nothing (see `approved`).
//!
//! ```toml
//! [[recipient]]
//! name = "anna"
//! key = "age1..."            # or ssh-ed25519, ssh-rsa
//! since = 2026-02-01
//! groups = ["ops"]
//!
//! [[recipient]]
//! name = "recovery"
//! key = "age1..."
//! since = 2026-02-01
//! recovery = true            # reads everything, whatever [readers] says
//!
//! [readers]                  # the longest prefix of a secret's name decides; without one: everybody
//! "k3s" = ["group:ops"]
//! ```

mod edit;
mod key;
mod read;

use std::collections::BTreeSet;

pub use key::{Fingerprint, RecipientKey};

use super::name::SecretName;
use crate::model::mistake::nearest;
use crate::model::outcome::Failure;

/// The name of the file in the folder of secrets.
pub const FILE: &str = "recipients.toml";

/// What marks the name of a group in `[readers]`.
const GROUP: &str = "group:";

/// One reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// Its name: a person, a machine, a service.
    pub name: String,
    /// The key that values are encrypted to.
    pub key: RecipientKey,
    /// The day it was added, as `2026-02-01`; empty where the file does not say.
    pub since: String,
    /// Groups it belongs to.
    pub groups: Vec<String>,
    /// Reads every value, whatever the rules say: the key that lies in a drawer.
    pub recovery: bool,
}

impl Recipient {
    /// The fingerprint of its key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }
}

/// Who reads what has a name with a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Whole segments of a name: `k3s` or `k3s/tokens`.
    pub prefix: String,
    /// Names of recipients, and of groups with `group:` before them.
    pub readers: Vec<String>,
}

/// The readers of a store, as its file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipients {
    text: String,
    list: Vec<Recipient>,
    rules: Vec<Rule>,
}

impl Recipients {
    /// Reads the file's text. All mistakes are in one failure, each with its line.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let (list, rules) = read::read(text)?;
        Ok(Self {
            text: text.to_owned(),
            list,
            rules,
        })
    }

    /// The text of a first file.
    pub fn first(readers: &[Recipient]) -> Result<Self, Failure> {
        let mut text = include_str!("head.toml").to_owned();
        for reader in readers {
            text = edit::add(&text, reader)?;
        }
        Self::parse(&text)
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All of them, as the file has them.
    pub fn all(&self) -> &[Recipient] {
        &self.list
    }

    /// The rules, as the file has them.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The reader of a name.
    pub fn find(&self, name: &str) -> Option<&Recipient> {
        self.list.iter().find(|reader| reader.name == name)
    }

    /// The reader of a name, or what to say where there is none.
    pub fn expect(&self, name: &str) -> Result<&Recipient, Failure> {
        self.find(name).ok_or_else(|| {
            let failure = Failure::new(format!("there is no recipient `{name}`"));
            let names = self.list.iter().map(|reader| reader.name.as_str());
            match nearest(name, names) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure.hint("hmco-boot secrets recipients list shows those there are"),
            }
        })
    }

    /// The reader with a key of this fingerprint.
    pub fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<&Recipient> {
        let has = |reader: &&Recipient| reader.fingerprint() == fingerprint;
        self.list.iter().find(has)
    }

    /// The rule for a secret's name: the one with the longest prefix of whole segments.
    pub fn rule_of(&self, name: &SecretName) -> Option<&Rule> {
        let covers = |rule: &&Rule| {
            let name = name.as_str().strip_prefix(rule.prefix.as_str());
            name.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let length = |rule: &&Rule| rule.prefix.len();
        self.rules.iter().filter(covers).max_by_key(length)
    }

    /// Who reads a secret, by its name, in the order of the file: those of its rule (without one: everybody), and the
    /// recovery key always.
    pub fn readers_of(&self, name: &SecretName) -> Vec<&Recipient> {
        let rule = self.rule_of(name);
        let reads = |reader: &&Recipient| {
            reader.recovery
                || rule.is_none_or(|rule| rule.readers.iter().any(|one| is(one, reader)))
        };
        self.list.iter().filter(reads).collect()
    }

    /// With one more reader.
    pub fn with(&self, reader: &Recipient) -> Result<Self, Failure> {
        Self::parse(&edit::add(&self.text, reader)?)
    }

    /// With another key for a reader, who keeps its name, its groups and its place in the rules.
    pub fn with_key(&self, reader: &Recipient) -> Result<Self, Failure> {
        self.expect(&reader.name)?;
        Self::parse(&edit::replace(&self.text, reader)?)
    }

    /// Without a reader; rules that named it do not any more.
    pub fn without(&self, name: &str) -> Result<Self, Failure> {
        self.expect(name)?;
        let mut others = self.list.iter().filter(|reader| reader.name != name);
        if others.all(|reader| reader.recovery) {
            return Err(Failure::new(format!(
                "without `{name}` nobody but the recovery key could read the secrets"
            ))
            .hint("add another reader first: hmco-boot secrets recipients add NAME KEY"));
        }
        Self::parse(&edit::remove(&self.text, name)?).map_err(|failure| Failure {
            message: format!("`{name}` cannot be removed: a rule of [readers] would name nobody"),
            hint: Some("change the rule in secrets/recipients.toml first".into()),
            ..failure
        })
    }

    /// The names of all groups.
    pub fn groups(&self) -> BTreeSet<&str> {
        let groups = self.list.iter().flat_map(|reader| &reader.groups);
        groups.map(String::as_str).collect()
    }
}

/// Whether a word of a rule means this reader.
fn is(word: &str, reader: &Recipient) -> bool {
    match word.strip_prefix(GROUP) {
        Some(group) => reader.groups.iter().any(|name| name == group),
        None => reader.name == word,
    }
}

/// Whether this can name a recipient or a group.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let more = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    first && bytes.all(more) && name.len() <= 64
}

#[cfg(test)]
mod tests;
