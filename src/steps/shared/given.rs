//! For the unit tests of kinds that look at more than one file: what a machine would answer, by hand.

use std::collections::BTreeMap;

use super::testing::{file_stat, path, sha256, stat_of, target};
use crate::facts::fact::{
    Boot, Content, Fact, FactError, FactValue, FileKind, FileStat, K3sData, Os,
};
use crate::facts::known::{FactRef, Store};
use crate::model::action::{Action, Replaces};
use crate::steps::{Decision, Kind, Want, Wish};

/// Files and answers. What it was not told is not there.
pub struct Given {
    files: BTreeMap<String, (FileStat, Vec<u8>)>,
    answers: BTreeMap<Fact, Result<FactValue, FactError>>,
}

impl Given {
    /// A Raspberry Pi without any files.
    pub fn pi() -> Self {
        Self {
            files: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
        .fact(Fact::Boot, FactValue::Boot(Boot::default()))
        .fact(Fact::K3sData, FactValue::K3sData(K3sData::default()))
        .fact(Fact::SysctlFiles, FactValue::SysctlFiles(Vec::new()))
        .fact(Fact::Mounts, FactValue::Mounts(Vec::new()))
        .os(|_| {})
    }

    pub fn os(self, change: impl FnOnce(&mut Os)) -> Self {
        let mut os = Os {
            id: "debian".to_owned(),
            hostname: "raspberrypi".to_owned(),
            kernel: "6.12.25+rpt-rpi-2712".to_owned(),
            init: "systemd".to_owned(),
            ..Os::default()
        };
        change(&mut os);
        self.fact(Fact::Os, FactValue::Os(os))
    }

    pub fn file(mut self, name: &str, text: &str) -> Self {
        let stat = FileStat {
            size: text.len() as u64,
            ..file_stat()
        };
        self.files
            .insert(name.to_owned(), (stat, text.as_bytes().to_vec()));
        self
    }

    pub fn folder(mut self, name: &str) -> Self {
        let stat = FileStat {
            mode: 0o755,
            ..stat_of(FileKind::Directory)
        };
        self.files.insert(name.to_owned(), (stat, Vec::new()));
        self
    }

    /// Changes what is at a path.
    pub fn with(mut self, name: &str, change: impl FnOnce(&mut FileStat)) -> Self {
        change(&mut self.files.get_mut(name).unwrap().0);
        self
    }

    pub fn fact(mut self, fact: Fact, value: FactValue) -> Self {
        self.answers.insert(fact, Ok(value));
        self
    }

    /// sha256 of a file; `None` where there is none.
    pub fn digest(&self, name: &str) -> Option<String> {
        self.files.get(name).map(|(_, bytes)| sha256(bytes))
    }

    pub fn answer(&self, fact: &Fact) -> Result<FactValue, FactError> {
        if let Some(answer) = self.answers.get(fact) {
            return answer.clone();
        }
        let found = fact.path().and_then(|path| self.files.get(path.as_str()));
        let (stat, bytes) = found.ok_or(FactError::NotFound)?;
        match fact {
            Fact::Stat { .. } => Ok(FactValue::Stat(stat.clone())),
            _ if stat.kind != FileKind::File => {
                Err(FactError::Failed("not a regular file".to_owned()))
            }
            Fact::Digest { .. } => Ok(FactValue::Digest(sha256(bytes))),
            Fact::Content { .. } => Ok(FactValue::Content(Content {
                sha256: sha256(bytes),
                bytes: Some(bytes.clone()),
            })),
            other => panic!("not told: {other:?}"),
        }
    }

    /// Asks in rounds as the engine does, then decides; also how many rounds it took. Proves that the wish asks for all
    /// it looks at.
    pub fn decide_in<K: Kind>(&self, wish: &K) -> (Decision<Vec<Action>>, u32) {
        let mut store = Store::default();
        let mut rounds = 0;
        while let Want::More(facts) = Kind::facts(wish, &store.view(&target())) {
            rounds += 1;
            assert!(rounds <= 3, "it asks for ever");
            let answers: Vec<_> = facts
                .into_iter()
                .map(|FactRef { fact, .. }| (fact.clone(), self.answer(&fact)))
                .collect();
            store.insert(&target(), answers);
        }
        (Wish::decide(wish, &store.view(&target())).unwrap(), rounds)
    }

    /// See [`Given::decide_in`].
    pub fn decide<K: Kind>(&self, wish: &K) -> Decision<Vec<Action>> {
        self.decide_in(wish).0
    }

    /// It is as wished, and one round of facts was enough to know.
    pub fn assert_converged<K: Kind>(&self, wish: &K) {
        assert_eq!(self.decide_in(wish), (Decision::Unchanged, 1));
    }

    /// The machine after the files that these actions write.
    pub fn after(mut self, actions: &[Action]) -> Self {
        for action in actions {
            match action {
                Action::WriteFile {
                    path,
                    content,
                    mode,
                    ..
                } => {
                    self = self
                        .file(path.as_str(), content.expose())
                        .with(path.as_str(), |stat| stat.mode = mode.0);
                }
                Action::Remove { path, .. } => drop(self.files.remove(path.as_str())),
                Action::MakeDirectory { path, mode, .. } => {
                    self = self
                        .folder(path.as_str())
                        .with(path.as_str(), |stat| stat.mode = mode.0);
                }
                _ => {}
            }
        }
        self
    }
}

/// Programs among actions, as words after `sh -eu -s`.
pub fn runs(actions: &[Action]) -> Vec<String> {
    let run = |action: &Action| match action {
        Action::Run(program) => Some(program.argv.join(" ").replace("sh -eu -s ", "")),
        _ => None,
    };
    actions.iter().filter_map(run).collect()
}

/// What has to be at a place still for it to be written.
pub fn replaced(actions: &[Action], name: &str) -> Option<Replaces> {
    actions.iter().find_map(|action| match action {
        Action::WriteFile {
            path: to, replaces, ..
        } if *to == path(name) => replaces.clone(),
        _ => None,
    })
}

/// The file with this text.
pub fn was(text: &str) -> Option<Replaces> {
    Some(Replaces::Sha256(sha256(text.as_bytes())))
}

/// What is written where.
pub fn written(actions: &[Action], name: &str) -> Option<String> {
    actions.iter().find_map(|action| match action {
        Action::WriteFile {
            path: to, content, ..
        } if *to == path(name) => Some(content.expose().to_owned()),
        _ => None,
    })
}
