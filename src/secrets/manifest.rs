//! The sealed list of a store, `secrets/manifest.toml`: every value with the digest of its ciphertext, and a seal over all.
//!
//! Each line also bears a MAC of its own, so that after a merge by git it can be told which values were written by a
//! holder of the store key. Whatever lines git leaves behind are read: everything is one line, in lists, so a merge that
//! takes the lines of both sides (`merge=union`, see `.gitattributes`) leaves valid TOML with two seals, which is how a
//! merge is recognised; conflict markers are recognised too.
//!
//! A new store key (at every re-key) is introduced by the old one ([`Heir`]). Without that, anybody who knows the readers'
//! public keys could make a store key of their own and seal with it.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::keys::StoreKey;
use super::name::SecretName;
use super::recipients::Fingerprint;
use crate::model::outcome::Failure;

/// The file's name in the tree.
pub const FILE: &str = "manifest.toml";
/// The version of its format.
const FORMAT: &str = "1";

/// What stands in the manifest, as it stands there: nothing is verified.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// The store's id: 16 hex digits.
    pub store: String,
    /// The store key, encrypted to all readers: base64 of a binary age file. Two after a merge of two re-keys.
    pub keys: Vec<String>,
    /// How the store key came to be this one, oldest first.
    pub heirs: Vec<Heir>,
    /// The seal. Two after a merge.
    pub seals: Vec<Seal>,
    /// The values. After a merge several lines may be for one name.
    pub lines: Vec<Line>,
    /// Whether git's marks of a conflict stand in it.
    pub marked: bool,
}

/// One value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its name.
    pub name: SecretName,
    /// `sha256:` and the hex digest of its armored ciphertext.
    pub digest: String,
    /// The write that brought this ciphertext.
    pub write: u64,
    /// The day its plaintext was set.
    pub set_on: Date,
    /// Who it is encrypted to, sorted.
    pub readers: Vec<Fingerprint>,
    /// MAC over the others, under the store key of its time.
    pub mac: String,
}

/// The seal over everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// How many writes the store has seen.
    pub counter: u64,
    /// `sha256:` and the hex digest of recipients.toml.
    pub recipients: String,
    /// MAC over these, the store's id and all lines.
    pub mac: String,
}

/// A store key that followed another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heir {
    /// The id of the key before.
    pub from: String,
    /// The id of the key after.
    pub to: String,
    /// The key before, wrapped under the key after.
    pub wrapped: String,
    /// MAC under the key before: that it was followed by this one.
    pub mac: String,
}

impl Line {
    /// With its MAC under this key.
    #[must_use]
    pub fn sealed(mut self, store: &str, key: &StoreKey) -> Self {
        self.mac = key.mac("line", &self.parts(store));
        self
    }

    /// Whether a holder of this key wrote it.
    pub fn is_by(&self, store: &str, key: &StoreKey) -> bool {
        key.is_mac("line", &self.parts(store), &self.mac)
    }

    fn parts(&self, store: &str) -> [String; 6] {
        [
            store.to_owned(),
            self.name.to_string(),
            self.digest.clone(),
            self.write.to_string(),
            self.set_on.to_string(),
            readers_text(&self.readers),
        ]
    }

    fn text(&self) -> String {
        format!(
            "{} {} {} {} {} {}",
            self.name,
            self.digest,
            self.write,
            self.set_on,
            readers_text(&self.readers),
            self.mac
        )
    }
}

fn readers_text(readers: &[Fingerprint]) -> String {
    let texts: Vec<String> = readers.iter().map(ToString::to_string).collect();
    texts.join(",")
}

impl Manifest {
    /// Whether it came through a merge and nobody sealed it since.
    pub fn is_merged(&self) -> bool {
        let mut names: Vec<&SecretName> = self.lines.iter().map(|line| &line.name).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|two| two.first() == two.last());
        self.marked || twice || self.seals.len() != 1 || self.keys.len() != 1
    }

    /// The lines by name. After a merge, several may stand for one.
    pub fn by_name(&self) -> BTreeMap<&SecretName, Vec<&Line>> {
        let mut all: BTreeMap<&SecretName, Vec<&Line>> = BTreeMap::new();
        for line in &self.lines {
            all.entry(&line.name).or_default().push(line);
        }
        all
    }

    /// The highest write that any seal in it says.
    pub fn counter(&self) -> u64 {
        let counters = self.seals.iter().map(|seal| seal.counter);
        counters.max().unwrap_or(0)
    }

    /// Puts one seal over everything, in place of those there are. Lines are sorted.
    pub fn seal(&mut self, counter: u64, recipients: &str, key: &StoreKey) {
        self.lines.sort_by(|a, b| a.name.cmp(&b.name));
        self.marked = false;
        let mut seal = Seal {
            counter,
            recipients: recipients.to_owned(),
            mac: String::new(),
        };
        seal.mac = key.mac("seal", &self.seal_parts(&seal));
        self.seals = vec![seal];
    }

    /// The seal, where there is one and this key made it over just this content.
    pub fn valid_seal(&self, key: &StoreKey) -> Option<&Seal> {
        match self.seals.as_slice() {
            [seal] if key.is_mac("seal", &self.seal_parts(seal), &seal.mac) => Some(seal),
            _ => None,
        }
    }

    fn seal_parts(&self, seal: &Seal) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().map(Line::text).collect();
        lines.sort_unstable();
        let mut parts = vec![
            self.store.clone(),
            seal.counter.to_string(),
            seal.recipients.clone(),
        ];
        parts.append(&mut lines);
        parts
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# The sealed list of the secrets beside it; hmco-boot keeps it, nobody edits it. After a merge by git:\n\
             #   hmco-boot secrets check --accept-merge\n\
             format = {FORMAT}\nstore = \"{}\"\n",
            self.store
        );
        let heirs = self.heirs.iter().map(|heir| {
            let Heir {
                from,
                to,
                wrapped,
                mac,
            } = heir;
            format!("{from} {to} {wrapped} {mac}")
        });
        let seals = self.seals.iter().map(|seal| {
            let Seal {
                counter,
                recipients,
                mac,
            } = seal;
            format!("{counter} {recipients} {mac}")
        });
        list(&mut text, KEYS, self.keys.iter().cloned());
        list(&mut text, HEIRS, heirs);
        list(&mut text, SEALS, seals);
        list(&mut text, VALUES, self.lines.iter().map(Line::text));
        text
    }

    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// The lines that cannot be read. What a merge leaves behind is read, see [`Manifest::is_merged`].
    pub fn parse(text: &str) -> Result<Self, Failure> {
        read::read(text)
    }
}

/// A list's name, and what is said before it. The words keep the lists more than three lines apart: nearer ones git takes
/// for one conflict, with the brackets between them.
type List = (&'static str, [&'static str; 3]);

const KEYS: List = (
    "keys",
    [
        "The store key, encrypted to every reader: it makes the seals below.",
        "One key: the one in use. Two: a merge of two",
        "re-keys, to be sealed again.",
    ],
);
const HEIRS: List = (
    "heirs",
    [
        "How the store key came to be this one.",
        "Each line: the key before, the key after,",
        "and the proof that the first made the second.",
    ],
);
const SEALS: List = (
    "seals",
    [
        "The seal: writes so far, digest of recipients.toml, MAC.",
        "Two lines: a merge by git,",
        "to be looked at and sealed again.",
    ],
);
const VALUES: List = (
    "values",
    [
        "The values: name, digest of the ciphertext,",
        "the write that brought it, the day it was set,",
        "its readers, MAC.",
    ],
);

fn list(text: &mut String, (name, words): List, items: impl Iterator<Item = String>) {
    text.push('\n');
    for line in words {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(&format!("{name} = [\n"));
    for item in items {
        text.push_str(&format!("  \"{item}\",\n"));
    }
    text.push_str("]\n");
}

mod read;
#[cfg(test)]
mod tests;
