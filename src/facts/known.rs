//! The facts a run knows, by target.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fact::{
    Account, Answer, Boot, Content, ExecResult, Fact, FactError, FactValue, FileStat, Login,
    Module, Mount, Os, Package, PackageManager, RunState, Swaps, SysctlFile, Unit,
};
use crate::model::id::Target;
use crate::model::kube::{Discovery, DryRun, ObjectList};
use crate::model::path::AbsPath;

/// A fact and where it is to be read. `target: None` = the step's own target.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FactRef {
    /// Whose.
    pub target: Option<Target>,
    /// Which.
    pub fact: Fact,
}

impl From<Fact> for FactRef {
    /// On the step's own target; a fact of the controller on the controller, one of the cluster on the cluster.
    fn from(fact: Fact) -> Self {
        Self {
            target: fixed_target(&fact).cloned(),
            fact,
        }
    }
}

/// Whose a fact is, whichever target a step is for.
fn fixed_target(fact: &Fact) -> Option<&'static Target> {
    match (fact.is_of_controller(), fact.is_of_cluster()) {
        (true, _) => Some(&Target::Controller),
        (_, true) => Some(&Target::Cluster),
        _ => None,
    }
}

/// A fact that a decision needs and that could not be read: the decision is impossible, not "nothing to do".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("could not read {} on {target}", fact.describe())]
pub struct Unreadable {
    /// Where.
    pub target: Target,
    /// What.
    pub fact: Fact,
    /// Why. `None`: it was not asked for, which is a mistake of the step's kind.
    pub source: Option<FactError>,
}

/// All facts of all targets that a run knows.
#[derive(Clone, Debug, Default)]
pub struct Store {
    answers: BTreeMap<Target, BTreeMap<Fact, Result<FactValue, FactError>>>,
}

impl Store {
    /// Takes answers in.
    pub fn insert(&mut self, target: &Target, answers: impl IntoIterator<Item = Answer>) {
        self.answers
            .entry(target.clone())
            .or_default()
            .extend(answers);
    }

    /// An answer, where there is one.
    pub fn get(&self, target: &Target, fact: &Fact) -> Option<&Result<FactValue, FactError>> {
        self.answers.get(target)?.get(fact)
    }

    /// All answers of a target.
    pub fn answers(
        &self,
        target: &Target,
    ) -> impl Iterator<Item = (&Fact, &Result<FactValue, FactError>)> {
        self.answers.get(target).into_iter().flatten()
    }

    /// Forgets what `stale` says is no longer true of a target.
    pub fn forget(&mut self, target: &Target, stale: impl Fn(&Fact) -> bool) {
        if let Some(answers) = self.answers.get_mut(target) {
            answers.retain(|fact, _| !stale(fact));
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.answers.clear();
    }

    /// The view of one step on one target.
    pub fn view<'a>(&'a self, target: &'a Target) -> Known<'a> {
        Known {
            store: self,
            target,
        }
    }
}

/// What a step on a target may look at.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    store: &'a Store,
    target: &'a Target,
}

impl<'a> Known<'a> {
    /// The step's own target.
    pub fn target(&self) -> &'a Target {
        self.target
    }

    /// Whether the answer is here already (good or bad).
    pub fn has(&self, fact: &FactRef) -> bool {
        self.store
            .get(fact.target.as_ref().unwrap_or(self.target), &fact.fact)
            .is_some()
    }

    /// The raw answer on the step's own target, or on the one whose fact it always is.
    pub fn answer(&self, fact: &Fact) -> Option<&'a Result<FactValue, FactError>> {
        self.store
            .get(fixed_target(fact).unwrap_or(self.target), fact)
    }

    /// The raw answer on another target.
    pub fn answer_of(
        &self,
        target: &Target,
        fact: &Fact,
    ) -> Option<&'a Result<FactValue, FactError>> {
        self.store.get(target, fact)
    }

    /// The answer as a value; `Ok(None)` = not found.
    pub fn value(&self, fact: &Fact) -> Result<Option<&'a FactValue>, Unreadable> {
        let unreadable = |source| Unreadable {
            target: self.target.clone(),
            fact: fact.clone(),
            source,
        };
        match self.answer(fact) {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(FactError::NotFound)) => Ok(None),
            Some(Err(error)) => Err(unreadable(Some(error.clone()))),
            None => Err(unreadable(None)),
        }
    }

    /// [`Fact::Stat`] of a path; `None` = nothing there.
    pub fn stat(&self, path: &AbsPath) -> Result<Option<&'a FileStat>, Unreadable> {
        self.typed(&Fact::Stat { path: path.clone() }, |value| match value {
            FactValue::Stat(stat) => Some(stat),
            _ => None,
        })
    }

    /// [`Fact::Digest`] with the given question; `None` = no such file.
    pub fn digest(&self, fact: &Fact) -> Result<Option<&'a str>, Unreadable> {
        self.typed(fact, |value| match value {
            FactValue::Digest(digest) => Some(digest.as_str()),
            _ => None,
        })
    }

    /// [`Fact::Content`] with the given question; `None` = no such file.
    pub fn content(&self, fact: &Fact) -> Result<Option<&'a Content>, Unreadable> {
        self.typed(fact, |value| match value {
            FactValue::Content(content) => Some(content),
            _ => None,
        })
    }

    /// [`Fact::Exec`] with the given question; `None` = no such program.
    pub fn exec(&self, fact: &Fact) -> Result<Option<&'a ExecResult>, Unreadable> {
        self.typed(fact, |value| match value {
            FactValue::Exec(result) => Some(result),
            _ => None,
        })
    }

    /// [`Fact::Os`].
    pub fn os(&self) -> Result<Option<&'a Os>, Unreadable> {
        self.typed(&Fact::Os, |value| match value {
            FactValue::Os(os) => Some(os),
            _ => None,
        })
    }

    /// [`Fact::Unit`]; `None` where the unit has no file and is not loaded.
    pub fn unit(&self, name: &str) -> Result<Option<&'a Unit>, Unreadable> {
        self.typed(
            &Fact::Unit {
                name: name.to_owned(),
            },
            |value| match value {
                FactValue::Unit(unit) => Some(unit),
                _ => None,
            },
        )
    }

    /// [`Fact::Account`].
    pub fn account(&self, name: &str) -> Result<Option<&'a Account>, Unreadable> {
        self.typed(
            &Fact::Account {
                name: name.to_owned(),
            },
            |value| match value {
                FactValue::Account(account) => Some(account),
                _ => None,
            },
        )
    }

    /// [`Fact::Boot`].
    pub fn boot(&self) -> Result<Option<&'a Boot>, Unreadable> {
        self.typed(&Fact::Boot, |value| match value {
            FactValue::Boot(boot) => Some(boot),
            _ => None,
        })
    }

    /// [`Fact::Sysctl`]; `None` where the kernel has no such parameter.
    pub fn sysctl(&self, name: &str) -> Result<Option<&'a str>, Unreadable> {
        let name = name.to_owned();
        self.typed(&Fact::Sysctl { name }, |value| match value {
            FactValue::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// [`Fact::SysctlFiles`].
    pub fn sysctl_files(&self) -> Result<&'a [SysctlFile], Unreadable> {
        let files = self.typed(&Fact::SysctlFiles, |value| match value {
            FactValue::SysctlFiles(files) => Some(files.as_slice()),
            _ => None,
        })?;
        Ok(files.unwrap_or_default())
    }

    /// [`Fact::Module`].
    pub fn module(&self, name: &str) -> Result<Option<&'a Module>, Unreadable> {
        let name = name.to_owned();
        self.typed(&Fact::Module { name }, |value| match value {
            FactValue::Module(module) => Some(module),
            _ => None,
        })
    }

    /// [`Fact::Package`].
    pub fn package(&self, name: &str) -> Result<Option<&'a Package>, Unreadable> {
        let name = name.to_owned();
        self.typed(&Fact::Package { name }, |value| match value {
            FactValue::Package(package) => Some(package),
            _ => None,
        })
    }

    /// [`Fact::PackageManager`].
    pub fn package_manager(&self) -> Result<Option<&'a PackageManager>, Unreadable> {
        self.typed(&Fact::PackageManager, |value| match value {
            FactValue::PackageManager(manager) => Some(manager),
            _ => None,
        })
    }

    /// [`Fact::Mounts`].
    pub fn mounts(&self) -> Result<&'a [Mount], Unreadable> {
        let mounts = self.typed(&Fact::Mounts, |value| match value {
            FactValue::Mounts(mounts) => Some(mounts.as_slice()),
            _ => None,
        })?;
        Ok(mounts.unwrap_or_default())
    }

    /// [`Fact::Swaps`].
    pub fn swaps(&self) -> Result<Option<&'a Swaps>, Unreadable> {
        self.typed(&Fact::Swaps, |value| match value {
            FactValue::Swaps(swaps) => Some(swaps),
            _ => None,
        })
    }

    /// [`Fact::RunState`].
    pub fn run_state(&self) -> Result<Option<&'a RunState>, Unreadable> {
        self.typed(&Fact::RunState, |value| match value {
            FactValue::RunState(state) => Some(state),
            _ => None,
        })
    }

    /// [`Fact::Login`]; `None` where nobody logged in.
    pub fn login(&self) -> Result<Option<&'a Login>, Unreadable> {
        self.typed(&Fact::Login, |value| match value {
            FactValue::Login(login) => Some(login),
            _ => None,
        })
    }

    /// [`Fact::KubeDiscovery`].
    pub fn kube_discovery(&self) -> Result<Option<&'a Arc<Discovery>>, Unreadable> {
        self.typed(&Fact::KubeDiscovery, |value| match value {
            FactValue::KubeDiscovery(discovery) => Some(discovery),
            _ => None,
        })
    }

    /// [`Fact::KubeList`] with the given question; `None` where the API does not serve the kind.
    pub fn kube_list(&self, fact: &Fact) -> Result<Option<&'a ObjectList>, Unreadable> {
        self.typed(fact, |value| match value {
            FactValue::KubeList(list) => Some(&**list),
            _ => None,
        })
    }

    /// [`Fact::KubeDryRun`] with the given question.
    pub fn kube_dry_run(&self, fact: &Fact) -> Result<Option<&'a DryRun>, Unreadable> {
        self.typed(fact, |value| match value {
            FactValue::KubeDryRun(answer) => Some(&**answer),
            _ => None,
        })
    }

    /// [`Fact::KubeManifest`] with the given question; `None` where there is no such file.
    pub fn kube_manifest(&self, fact: &Fact) -> Result<Option<&'a Arc<str>>, Unreadable> {
        self.typed(fact, |value| match value {
            FactValue::Manifest(text) => Some(text),
            _ => None,
        })
    }

    /// The mistake of an answer that does not fit its question.
    pub fn odd_answer(&self, fact: &Fact) -> Unreadable {
        Unreadable {
            target: self.target.clone(),
            fact: fact.clone(),
            source: Some(FactError::Failed(
                "the answer has another type than the question".to_owned(),
            )),
        }
    }

    fn typed<T>(
        &self,
        fact: &Fact,
        pick: impl Fn(&'a FactValue) -> Option<T>,
    ) -> Result<Option<T>, Unreadable> {
        let Some(value) = self.value(fact)? else {
            return Ok(None);
        };
        pick(value).map(Some).ok_or_else(|| self.odd_answer(fact))
    }
}
