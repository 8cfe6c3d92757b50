//! Artifacts: files that are fetched by URL and that `hmco-boot.lock` holds to their bytes. Pure data, and how a wish
//! that names one is tied to its pins. Fetching is the seam `artifact`, the file itself is `config::pins`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::mistake::nearest;

/// Architectures of artifacts, by their names in Debian (the userland's, as the fact `os.arch` says it).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PinArch {
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM.
    Armhf,
    /// 64-bit x86.
    Amd64,
    /// The same bytes for all.
    All,
}

impl PinArch {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
            Self::Amd64 => "amd64",
            Self::All => "all",
        }
    }
}

impl fmt::Display for PinArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who fetches an artifact.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Fetch {
    /// The node itself.
    #[default]
    Node,
    /// This machine, which then sends it.
    Controller,
}

/// One file of an artifact: what its bytes must be, and where they come from.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
pub struct Pin {
    /// What playbooks call the artifact.
    pub name: String,
    /// Version, for people and `status`.
    pub version: String,
    /// Whom it is for.
    pub arch: PinArch,
    /// Where it comes from; never with a user or password in it.
    pub url: String,
    /// sha256 in 64 lowercase hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Who fetches it.
    pub fetch: Fetch,
    /// Files inside the archive that playbooks place, by the name they use for them.
    pub members: BTreeMap<String, Member>,
}

/// A file inside a `.tar.gz`.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its path in the archive, exactly as it is written there.
    pub path: String,
    /// sha256 in 64 lowercase hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Pin {
    /// For people: `k3s v1.32.2+k3s1 (arm64)`.
    pub fn describe(&self) -> String {
        match self.arch {
            PinArch::All => format!("{} {}", self.name, self.version),
            arch => format!("{} {} ({arch})", self.name, self.version),
        }
    }

    /// The last part of the URL's path: what the file is called where it comes from.
    pub fn file_name(&self) -> &str {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// An artifact: its pins by architecture.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Artifact {
    /// What playbooks call it.
    pub name: String,
    /// In the order of the lock file; at most one per architecture.
    pub pins: Vec<Pin>,
}

impl Artifact {
    /// The pin for an architecture in Debian's words: its own, else the one for all.
    pub fn pin(&self, arch: &str) -> Option<&Pin> {
        let of = |wanted: &str| self.pins.iter().find(|pin| pin.arch.as_str() == wanted);
        of(arch).or_else(|| of(PinArch::All.as_str()))
    }

    /// The architectures there are, for people.
    pub fn arches(&self) -> String {
        let words: Vec<&str> = self.pins.iter().map(|pin| pin.arch.as_str()).collect();
        words.join(", ")
    }
}

/// All artifacts a plan may use, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PinBook {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    Whole(Arc<Artifact>),
    /// Architectures whose digest or size was never computed.
    Open(Vec<PinArch>),
}

/// Why a wish cannot have the artifact it names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinProblem {
    /// Stable short name of the rule.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl PinBook {
    /// Adds an artifact whose bytes are all known.
    pub fn add(&mut self, artifact: Artifact) {
        let name = artifact.name.clone();
        self.entries.insert(name, Entry::Whole(Arc::new(artifact)));
    }

    /// Adds the name of an artifact of which, for these architectures, only the URL is known.
    pub fn add_open(&mut self, name: &str, arches: Vec<PinArch>) {
        self.entries.insert(name.to_owned(), Entry::Open(arches));
    }

    /// An artifact by its name.
    pub fn get(&self, name: &str) -> Result<Arc<Artifact>, PinProblem> {
        match self.entries.get(name) {
            Some(Entry::Whole(artifact)) => Ok(artifact.clone()),
            Some(Entry::Open(arches)) => {
                let words: Vec<&str> = arches.iter().map(|arch| arch.as_str()).collect();
                Err(PinProblem {
                    code: "open-pin",
                    message: format!(
                        "what the bytes of `{name}` must be is not pinned yet ({})",
                        words.join(", ")
                    ),
                    hint: format!(
                        "run `hmco-boot pins update {name}` on a machine with a connection, look at what it says, and commit hmco-boot.lock"
                    ),
                })
            }
            None => Err(PinProblem {
                code: "unknown-artifact",
                message: format!("there is no artifact `{name}` in hmco-boot.lock"),
                hint: match nearest(name, self.entries.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        "add it there: `[[artifact]]` with `name`, `version`, `arch` and `url`, then `hmco-boot pins update`".to_owned()
                    }
                },
            }),
        }
    }
}

/// The name of an artifact in a wish: text in the playbook, its pins once the plan has looked them up.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "String")]
pub struct ArtifactRef {
    name: String,
    found: Option<Arc<Artifact>>,
}

impl ArtifactRef {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pins; `None` until [`ArtifactRef::resolve`] found them. A plan holds no wish without them.
    pub fn found(&self) -> Option<&Artifact> {
        self.found.as_deref()
    }

    /// Looks the name up.
    pub fn resolve(&mut self, book: &PinBook) -> Result<(), PinProblem> {
        self.found = Some(book.get(&self.name)?);
        Ok(())
    }
}

impl From<String> for ArtifactRef {
    fn from(name: String) -> Self {
        Self { name, found: None }
    }
}

impl Serialize for ArtifactRef {
    /// With the pins, once they are known: another digest is another plan.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.found() {
            Some(artifact) => artifact.serialize(serializer),
            None => self.name.serialize(serializer),
        }
    }
}

impl JsonSchema for ArtifactRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ArtifactRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "The name of an artifact in hmco-boot.lock.",
            "examples": ["k3s"]
        })
    }
}

/// `{ artifact = "NAME" }`, where a kind takes a file that is pinned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FromArtifact {
    /// Its name in hmco-boot.lock.
    pub artifact: ArtifactRef,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(arch: PinArch) -> Pin {
        Pin {
            name: "k3s".to_owned(),
            version: "v1".to_owned(),
            arch,
            url: "https://example.org/a/k3s-arm64?x=1/2".to_owned(),
            sha256: "0a".repeat(32),
            size: 1,
            fetch: Fetch::Node,
            members: BTreeMap::new(),
        }
    }

    #[test]
    fn an_architecture_has_its_own_pin_or_the_one_for_all() {
        let artifact = Artifact {
            name: "k3s".to_owned(),
            pins: vec![pin(PinArch::All), pin(PinArch::Arm64)],
        };
        assert_eq!(artifact.pin("arm64").unwrap().arch, PinArch::Arm64);
        assert_eq!(artifact.pin("riscv64").unwrap().arch, PinArch::All);
        assert_eq!(pin(PinArch::All).file_name(), "k3s-arm64");
    }

    #[test]
    fn a_name_is_found_or_told_apart_from_one_without_digests_and_one_mistyped() {
        let mut book = PinBook::default();
        book.add(Artifact {
            name: "k3s".to_owned(),
            pins: vec![pin(PinArch::Arm64)],
        });
        book.add_open("helm", vec![PinArch::Arm64, PinArch::Amd64]);
        let mut named = ArtifactRef::from("k3s".to_owned());
        assert_eq!(serde_json::to_string(&named).unwrap(), "\"k3s\"");
        named.resolve(&book).unwrap();
        assert!(serde_json::to_string(&named).unwrap().contains("0a0a"));
        let open = book.get("helm").unwrap_err();
        assert!(open.message.contains("(arm64, amd64)"), "{open:?}");
        assert!(open.hint.contains("pins update helm"), "{open:?}");
        assert_eq!(book.get("k3x").unwrap_err().hint, "did you mean `k3s`?");
    }
}
