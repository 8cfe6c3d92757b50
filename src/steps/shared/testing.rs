//! For the unit tests of kinds: wishes from JSON, facts by hand, differences as text.

use serde_json::json;

use crate::facts::fact::{Content, Fact, FactError, FactValue, FileKind, FileStat, Os};
use crate::facts::known::{FactRef, Store};
use crate::model::action::Action;
use crate::model::event::{DiffLine, Side};
use crate::model::id::Target;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::steps::{Decision, Kind, Want, Wish};

/// A secret that must not be seen anywhere.
pub const CANARY: &str = "canary-7Q2x";

/// The canary as a rendered, tainted string.
pub fn secret(text: &str) -> serde_json::Value {
    json!({ crate::model::sensitive::TAINT_KEY: text })
}

pub fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}

pub fn target() -> Target {
    Target::Node("pi5-01".into())
}

pub fn sha256(bytes: &[u8]) -> String {
    super::digest::sha256(bytes)
}

/// A file of root with mode 0644.
pub fn file_stat() -> FileStat {
    FileStat {
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        user: "root".to_owned(),
        gid: 0,
        group: "root".to_owned(),
        size: 1,
        links: 1,
        identity: "1:2:3".to_owned(),
        link_target: None,
    }
}

pub fn stat_of(kind: FileKind) -> FileStat {
    FileStat {
        kind,
        link_target: (kind == FileKind::Symlink).then(|| "/elsewhere".to_owned()),
        ..file_stat()
    }
}

/// What a machine would answer, from a stat and the bytes of one file.
pub struct Machine {
    pub stat: Option<FileStat>,
    pub bytes: Vec<u8>,
}

impl Machine {
    pub fn empty() -> Self {
        Self {
            stat: None,
            bytes: Vec::new(),
        }
    }

    pub fn with(stat: FileStat) -> Self {
        Self {
            stat: Some(stat),
            bytes: Vec::new(),
        }
    }

    pub fn file(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        let stat = FileStat {
            size: bytes.len() as u64,
            ..file_stat()
        };
        Self {
            stat: Some(stat),
            bytes,
        }
    }

    fn answer(&self, fact: &Fact) -> Result<FactValue, FactError> {
        let regular = self
            .stat
            .as_ref()
            .is_some_and(|stat| stat.kind == FileKind::File);
        match fact {
            Fact::Stat { .. } => self
                .stat
                .clone()
                .map(FactValue::Stat)
                .ok_or(FactError::NotFound),
            Fact::Os => Ok(FactValue::Os(Os {
                kernel_arch: "aarch64".to_owned(),
                arch: "arm64".to_owned(),
                ..Os::default()
            })),
            _ if self.stat.is_none() => Err(FactError::NotFound),
            _ if !regular => Err(FactError::Failed("not a regular file".to_owned())),
            Fact::Digest { .. } => Ok(FactValue::Digest(sha256(&self.bytes))),
            Fact::Content {
                unless_sha256, cap, ..
            } => {
                let sha256 = sha256(&self.bytes);
                if self.bytes.len() as u64 > *cap {
                    return Err(FactError::Truncated);
                }
                let bytes = (unless_sha256.as_ref() != Some(&sha256)).then(|| self.bytes.clone());
                Ok(FactValue::Content(Content { sha256, bytes }))
            }
            other => panic!("not a fact of a file: {other:?}"),
        }
    }

    /// Asks in rounds as the engine does, then decides. Also proves that the wish asks for all it looks at.
    pub fn decide<K: Kind>(&self, wish: &K) -> (Store, Decision<Vec<Action>>) {
        let mut store = Store::default();
        for _ in 0..3 {
            let Want::More(facts) = Kind::facts(wish, &store.view(&target())) else {
                break;
            };
            let answers: Vec<_> = facts
                .into_iter()
                .map(|FactRef { fact, .. }| {
                    let answer = self.answer(&fact);
                    (fact, answer)
                })
                .collect();
            store.insert(&target(), answers);
        }
        let decision = Wish::decide(wish, &store.view(&target())).unwrap();
        (store, decision)
    }
}

/// Decodes as a playbook's table is decoded, without spans.
pub fn wish<K: Kind>(table: serde_json::Value) -> K {
    let wish: K = serde_json::from_value(table).unwrap();
    assert_eq!(wish.validate(), [], "the wish is valid");
    wish
}

/// The mistakes in a table, as `key: message` lines.
pub fn mistakes<K: Kind>(table: serde_json::Value) -> String {
    let wish: K = serde_json::from_value(table).unwrap();
    let lines: Vec<_> = wish
        .validate()
        .into_iter()
        .map(|(key, message)| format!("{key}: {message}"))
        .collect();
    lines.join("\n")
}

/// A decision that must be drift.
pub fn drift(decision: Decision<Vec<Action>>) -> (Vec<DiffLine>, Vec<Action>) {
    match decision {
        Decision::Drift { diff, drift } => (diff, drift),
        other => panic!("not drift: {other:?}"),
    }
}

/// A decision that must be a refusal.
pub fn refusal(decision: Decision<Vec<Action>>) -> String {
    match decision {
        Decision::Refused(failure) => told(&failure),
        other => panic!("not refused: {other:?}"),
    }
}

/// A failure as text.
pub fn told(failure: &Failure) -> String {
    let evidence: String = failure
        .evidence
        .iter()
        .map(|line| format!("\n  {line}"))
        .collect();
    let hint = failure
        .hint
        .as_deref()
        .map_or(String::new(), |hint| format!("\nhint: {hint}"));
    format!("{}{evidence}{hint}", failure.message)
}

/// A difference as text with signs.
pub fn lines(diff: &[DiffLine]) -> String {
    let line = |line: &DiffLine| {
        let sign = match line.side {
            Side::Old => '-',
            Side::New => '+',
            Side::Both => ' ',
        };
        format!("{sign}{}", line.text)
    };
    diff.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Fails where the canary can be seen in what is printed or kept.
pub fn assert_hidden(wish: &impl Kind, store: &Store, decision: &Decision<Vec<Action>>) {
    let json = match decision {
        Decision::Drift { drift, .. } => serde_json::to_string(drift).unwrap(),
        _ => String::new(),
    };
    let seen = [
        format!("{wish:?}"),
        Wish::fingerprint_text(wish),
        format!("{decision:?}"),
        json,
        format!("{store:?}"),
    ];
    for text in seen {
        assert!(!text.contains(CANARY), "{text}");
    }
}
