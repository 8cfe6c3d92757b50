//! `hmco-boot.lock`: for everything that is fetched by URL, what its bytes must be. Pure; fetching and computing digests
//! are `artifact`'s.

mod edit;

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::syntax;
use crate::model::artifact::{Artifact as Whole, Pin, PinBook};
pub use crate::model::artifact::{Fetch, Member, PinArch};
use crate::model::mistake::{Mistake, nearest};
use crate::model::shape;
use crate::model::value::{Data, FileId, Value};
pub use edit::set;

/// The file's name, in the project's folder.
pub const FILE: &str = "hmco-boot.lock";

/// Everything pinned.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pins {
    /// In the order of the file.
    pub artifacts: Vec<Artifact>,
}

/// `[[artifact]]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// What playbooks call it; unique together with `arch`.
    pub name: String,
    /// Version, for people and `status`.
    pub version: String,
    /// Whom it is for.
    pub arch: PinArch,
    /// Where it comes from: `https://` (or `http://`, once its digest is known).
    pub url: String,
    /// sha256 in 64 lowercase hexadecimal digits; missing until it was computed from the file once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Bytes; missing until the file was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Who fetches it.
    #[serde(default)]
    pub fetch: Fetch,
    /// Where the release's own list of checksums is: a URL, or a path beside `url`; may hold `{version}` and `{arch}`.
    /// Missing: the usual names are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksums: Option<String>,
    /// Files inside the `.tar.gz` that playbooks place, by the name (the end of the path) they use; written by
    /// `hmco-boot pins update`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<String, Member>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    artifact: Vec<Artifact>,
}

impl Pins {
    /// These with others in place of those that have the same name.
    #[must_use]
    pub fn overlaid(&self, others: &Self) -> Self {
        let replaced =
            |row: &&Artifact| others.artifacts.iter().any(|other| other.name == row.name);
        let kept = self.artifacts.iter().filter(|row| !replaced(row));
        Self {
            artifacts: kept.chain(&others.artifacts).cloned().collect(),
        }
    }

    /// What plans may use: per name all architectures, or which of them lack a digest.
    pub fn book(&self) -> PinBook {
        let mut names: BTreeMap<&str, Vec<&Artifact>> = BTreeMap::new();
        for row in &self.artifacts {
            names.entry(&row.name).or_default().push(row);
        }
        let mut book = PinBook::default();
        for (name, rows) in names {
            let open = rows.iter().filter(|row| row.pin().is_none());
            let open: Vec<PinArch> = open.map(|row| row.arch).collect();
            if open.is_empty() {
                let pins = rows.iter().filter_map(|row| row.pin()).collect();
                let name = name.to_owned();
                book.add(Whole { name, pins });
            } else {
                book.add_open(name, open);
            }
        }
        book
    }

    /// The pin of a name for an architecture in Debian's words: its own, else the one for all. An error is the nearest
    /// name there is.
    pub fn find(&self, name: &str, arch: &str) -> Result<&Artifact, Option<&str>> {
        let fits = |artifact: &&Artifact, own: bool| match own {
            true => artifact.name == name && artifact.arch.as_str() == arch,
            false => artifact.name == name && artifact.arch == PinArch::All,
        };
        let mut artifacts = self.artifacts.iter();
        artifacts
            .clone()
            .find(|artifact| fits(artifact, true))
            .or_else(|| artifacts.find(|artifact| fits(artifact, false)))
            .ok_or_else(|| {
                nearest(
                    name,
                    self.artifacts.iter().map(|artifact| artifact.name.as_str()),
                )
            })
    }
}

impl Artifact {
    /// As plans use it; `None` until digest and size were computed once.
    pub fn pin(&self) -> Option<Pin> {
        Some(Pin {
            name: self.name.clone(),
            version: self.version.clone(),
            arch: self.arch,
            url: self.url.clone(),
            sha256: self.sha256.clone()?,
            size: self.size?,
            fetch: self.fetch,
            members: self.members.clone(),
        })
    }
}

/// Whether a text is a sha256 as this tool writes it.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads a pins file; every mistake in it.
pub fn read(file: FileId, text: &str) -> (Pins, Vec<Mistake>) {
    let parsed = syntax::parse(file, text);
    let mut mistakes = parsed.mistakes;
    if parsed.broken {
        return (Pins::default(), mistakes);
    }
    let (pins, found) = of_table(&parsed.root);
    mistakes.extend(found);
    (pins, mistakes)
}

/// The pins of an inventory, `[[artifact]]` as in a pins file.
pub fn of_inventory(root: &Value) -> (Pins, Vec<Mistake>) {
    let entries = root.entries().iter();
    let own = entries.filter(|(key, _)| key.name == "artifact");
    of_table(&Value {
        span: root.span,
        data: Data::Table(own.cloned().collect()),
    })
}

fn of_table(root: &Value) -> (Pins, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let artifacts = match shape::decode::<File>(root) {
        Ok(file) => file.artifact,
        Err(found) => return (Pins::default(), found),
    };
    let rows = match root.get("artifact").map(|value| &value.data) {
        Some(Data::List(rows)) => rows.as_slice(),
        _ => &[],
    };
    let mut seen: HashMap<(&str, PinArch), &Value> = HashMap::new();
    for (artifact, row) in artifacts.iter().zip(rows) {
        if let Some(first) = seen.insert((&artifact.name, artifact.arch), row) {
            let message = format!(
                "`{}` for {} is pinned twice",
                artifact.name,
                artifact.arch.as_str()
            );
            mistakes.push(
                Mistake::error("duplicate-pin", row.span, message)
                    .related(first.span, "first pinned here")
                    .hint("keep the one that is right"),
            );
        }
        check(artifact, row, &mut mistakes);
    }
    (Pins { artifacts }, mistakes)
}

fn check(artifact: &Artifact, row: &Value, mistakes: &mut Vec<Mistake>) {
    let span = |key: &str| row.get(key).map_or(row.span, |value| value.span);
    if artifact
        .sha256
        .as_ref()
        .is_some_and(|digest| !is_sha256(digest))
    {
        mistakes.push(
            Mistake::error("bad-digest", span("sha256"), "this is not a sha256").hint(
                "it has 64 lowercase hexadecimal digits; `hmco-boot pins update` computes it",
            ),
        );
    }
    if let Some(what) = url_objection(artifact) {
        mistakes.push(
            Mistake::error(
                "bad-url",
                span("url"),
                format!("{:?} {what}", shown_url(&artifact.url)),
            )
            .hint("write `https://HOST/PATH`; `http://` is taken only where `sha256` is there"),
        );
    }
    for (name, member) in &artifact.members {
        if !is_sha256(&member.sha256) {
            let message = format!("the sha256 of the member `{name}` is none");
            mistakes.push(Mistake::error("bad-digest", span("members"), message).hint(
                "it has 64 lowercase hexadecimal digits; `hmco-boot pins update` computes it",
            ));
        }
    }
}

fn url_objection(artifact: &Artifact) -> Option<&'static str> {
    let url = &artifact.url;
    let (scheme, authority) = scheme_and_authority(url);
    if scheme == "file" {
        let here = artifact.fetch == Fetch::Controller && artifact.sha256.is_some();
        let whole = authority.is_empty() && url.starts_with("file:///");
        return (!here || !whole)
            .then_some("is a file of this machine: it needs `fetch = \"controller\"`, a `sha256` and its whole path");
    }
    if authority.contains('@') {
        return Some(
            "has a user or password in it: whoever reads the playbook or a process list would see it",
        );
    }
    let good = match scheme {
        "https" => true,
        // Without a digest nothing would tell a changed file; on this machine nobody is on the way.
        "http" => artifact.sha256.is_some() || is_loopback(url),
        _ => false,
    };
    let plain = !authority.is_empty() && url.bytes().all(|b| b.is_ascii_graphic());
    (!good || !plain).then_some("is not a URL to fetch this from")
}

fn scheme_and_authority(url: &str) -> (&str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    (scheme, authority)
}

/// A URL without what may be a password.
fn shown_url(url: &str) -> String {
    match scheme_and_authority(url).1.rsplit_once('@') {
        Some((secret, _)) => url.replacen(secret, "...", 1),
        None => url.to_owned(),
    }
}

/// Whether a URL leads to this very machine.
pub fn is_loopback(url: &str) -> bool {
    let authority = scheme_and_authority(url).1;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact() -> Artifact {
        Artifact {
            name: "k3s".to_owned(),
            version: "v1.33.1+k3s1".to_owned(),
            arch: PinArch::Arm64,
            url: "https://example.org/k3s-arm64".to_owned(),
            sha256: Some("0a".repeat(32)),
            size: Some(70_000_000),
            fetch: Fetch::Node,
            checksums: None,
            members: BTreeMap::new(),
        }
    }

    #[test]
    fn a_pin_is_written_found_and_changed_in_place() {
        let first = set("# pins\n", &artifact()).unwrap();
        let other = Artifact {
            name: "helm".to_owned(),
            arch: PinArch::All,
            ..artifact()
        };
        let both = set(&first, &other).unwrap();
        let (pins, mistakes) = read(FileId(0), &both);
        assert_eq!(mistakes, []);
        assert_eq!(pins.artifacts, [artifact(), other.clone()]);
        assert_eq!(pins.find("k3s", "arm64"), Ok(&artifact()));
        assert_eq!(pins.find("helm", "amd64"), Ok(&other));
        assert_eq!(pins.find("k3s", "amd64"), Err(Some("k3s")));
        let commented = both.replace("size = 70000000\n\n", "size = 70000000 # big\n\n");
        let newer = Artifact {
            size: Some(1),
            ..artifact()
        };
        let changed = set(&commented, &newer).unwrap();
        assert_eq!(
            changed,
            commented.replace("size = 70000000 # big", "size = 1 # big")
        );
    }

    #[test]
    fn what_is_wrong_with_a_pins_file_is_told_all_at_once() {
        let text = set("", &artifact()).unwrap();
        let twice = format!("{text}\n{text}")
            .replace(&"0a".repeat(32), "0A")
            .replace("https", "ftp");
        let (_, mistakes) = read(FileId(0), &twice);
        let codes: Vec<&str> = mistakes.iter().map(|mistake| mistake.code).collect();
        assert_eq!(
            codes,
            [
                "bad-digest",
                "bad-url",
                "duplicate-pin",
                "bad-digest",
                "bad-url"
            ]
        );
        let (pins, mistakes) = read(FileId(0), "artifact = 5\nx = 1\n");
        assert_eq!((pins.artifacts.len(), mistakes.len()), (0, 2));
    }
}
