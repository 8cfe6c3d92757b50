//! What the kinds that work on Kubernetes objects have in common: objects that are wished, the facts that tell whether
//! they are so, the decision, and the actions. Lists come first, one per kind and namespace; only objects that cannot be
//! told to be as wished from a list are asked about by a dry run.

mod actions;
mod compare;

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::event::DiffLine;
use crate::model::kube::{
    Discovery, MANAGER, ObjectKey, ObjectList, OldObject, fields, patch, secret,
};
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;
use crate::steps::{Decision, Want};

pub use actions::{apply, delete};
pub use compare::Drift;

/// An object that is wished.
#[derive(Clone, Debug)]
pub struct Wished {
    /// Its name.
    pub key: ObjectKey,
    /// The object, adjusted.
    pub object: Value,
    /// It may not be shown: a Secret, or made of a text with a secret in it.
    pub hidden: bool,
    /// The API serves its kind now (and not only once a definition among the wished objects is there).
    pub served: bool,
    /// The list it is looked for in.
    pub list: Fact,
    /// It is only made: one that is there is left as it is.
    pub only_made: bool,
    /// Its own definition is among the wished objects, so whoever serves it may be too: it comes when the workloads are ready.
    pub late: bool,
}

/// How objects are wished.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Take over fields that others own.
    pub force: bool,
    /// How long to wait until they are ready; `None` = not at all, and it does not matter whether they are.
    pub ready: Option<TimeSpan>,
}

impl Wished {
    /// An object by itself. `namespaced`: as its kind is.
    pub fn new(object: Value, hidden: bool, served: bool) -> Option<Self> {
        let key = ObjectKey::of(&object)?;
        let list = list_fact(&key);
        Some(Self {
            hidden: hidden || secret::is_secret(&object),
            key,
            object,
            served,
            list,
            only_made: false,
            late: false,
        })
    }

    /// A Namespace or Node with the labels and annotations that an earlier apply by this tool set, beside the wished ones: an
    /// apply would take away those it does not name, and several steps may each name some. Others: as they are.
    fn beside(&self, live: Option<&Value>) -> Cow<'_, Self> {
        if self.key.group() != "" || !["Namespace", "Node"].contains(&self.key.kind.as_str()) {
            return Cow::Borrowed(self);
        }
        let kept = live.map_or(Value::Null, |live| fields::owned_marks(live, MANAGER));
        if kept.is_null() {
            return Cow::Borrowed(self);
        }
        let mut object = json!({ "metadata": kept });
        patch::overlay(&mut object, &self.object);
        Cow::Owned(Self {
            object,
            ..self.clone()
        })
    }

    /// The object as it is compared with what is read: without values of a Secret.
    fn comparable(&self) -> Cow<'_, Value> {
        if !secret::is_secret(&self.object) {
            return Cow::Borrowed(&self.object);
        }
        let mut object = self.object.clone();
        secret::scrub(&mut object);
        Cow::Owned(object)
    }

    /// The object as text, to be applied.
    fn body(&self) -> Text {
        let text = self.object.to_string();
        match self.hidden {
            true => Text::tainted(text),
            false => Text::plain(text),
        }
    }

    /// The question what an apply would make of it.
    fn dry_run(&self, how: How) -> Fact {
        Fact::KubeDryRun {
            object: self.body(),
            force: how.force,
        }
    }
}

/// The list an object is in.
pub fn list_fact(key: &ObjectKey) -> Fact {
    Fact::KubeList {
        api_version: key.api_version.clone(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
    }
}

/// The list of namespaces: whether one is there decides whether a dry run in it can tell anything.
pub fn namespaces() -> Fact {
    Fact::KubeList {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: None,
    }
}

/// The facts that objects want: their lists, then dry runs of those that lists cannot tell.
pub fn facts(wished: &[Wished], known: &Known<'_>, how: How) -> Want {
    let namespaced = wished.iter().any(|wished| wished.key.namespace.is_some());
    let lists = wished
        .iter()
        .filter(|wished| wished.served)
        .map(|wished| wished.list.clone());
    let mut lists: Vec<Fact> = lists.chain(namespaced.then(namespaces)).collect();
    lists.sort();
    lists.dedup();
    match Want::all(known, lists) {
        Want::Done => {}
        more => return more,
    }
    let tried = wished.iter().filter_map(|wished| {
        let wished = wished.beside(live(wished, known).ok().flatten());
        is_unsure(&wished, known).then(|| wished.dry_run(how))
    });
    Want::all(known, tried)
}

/// The facts that tell whether objects are there.
pub fn facts_absent(wished: &[Wished], known: &Known<'_>) -> Want {
    let served = wished.iter().filter(|wished| wished.served);
    let mut lists: Vec<Fact> = served.map(|wished| wished.list.clone()).collect();
    lists.sort();
    lists.dedup();
    Want::all(known, lists)
}

/// Whether only a dry run can tell about an object.
fn is_unsure(wished: &Wished, known: &Known<'_>) -> bool {
    if !wished.served {
        return false;
    }
    let Ok(Some(list)) = known.kube_list(&wished.list) else {
        return false;
    };
    match list.get(&wished.key.name) {
        Some(live) if is_leaving(live) || wished.only_made => false,
        Some(live) => !fields::is_as_wished(&wished.comparable(), live, MANAGER),
        // In a namespace that is still to be made nothing can be tried.
        None => match &wished.key.namespace {
            Some(namespace) => matches!(
                known.kube_list(&namespaces()),
                Ok(Some(found)) if found.get(namespace).is_some_and(|live| !is_leaving(live))
            ),
            None => true,
        },
    }
}

fn is_leaving(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp").is_some()
}

/// The live object of a wished one.
fn live<'a>(wished: &Wished, known: &Known<'a>) -> Result<Option<&'a Value>, Unreadable> {
    let list: Option<&ObjectList> = match wished.served {
        true => known.kube_list(&wished.list)?,
        false => None,
    };
    Ok(list.and_then(|list| list.get(&wished.key.name)))
}

/// Whether objects are as wished.
pub fn decide(
    wished: &[Wished],
    known: &Known<'_>,
    how: How,
) -> Result<Decision<Drift>, Unreadable> {
    let mut found = compare::Found::default();
    for one in wished {
        compare::present(one, known, how, &mut found)?;
    }
    Ok(found.decision(how))
}

/// Whether objects are gone.
pub fn decide_absent(wished: &[Wished], known: &Known<'_>) -> Result<Decision<Drift>, Unreadable> {
    let mut drift = Drift::default();
    let mut diff = Vec::new();
    for one in wished {
        if let Some(live) = live(one, known)? {
            diff.push(DiffLine::old(one.key.to_string()));
            drift.remove.push(OldObject::of(one.key.clone(), live));
        }
    }
    Ok(match drift.remove.is_empty() {
        true => Decision::Unchanged,
        false => Decision::Drift { diff, drift },
    })
}

/// What the API serves, of a decision that needs it.
pub fn served<'a>(known: &Known<'a>) -> Result<&'a Discovery, Unreadable> {
    let found = known.kube_discovery()?;
    found
        .map(|found| &**found)
        .ok_or_else(|| known.odd_answer(&Fact::KubeDiscovery))
}

/// An object of a kind that nobody knows.
pub fn unknown_kind(key: &ObjectKey, served: &Discovery) -> Failure {
    let failure = Failure::new(format!(
        "the Kubernetes API serves no {} of {} ({key})",
        key.kind, key.api_version
    ));
    let versions = served.versions(&key.api_version, &key.kind);
    match versions.is_empty() {
        true => {
            failure.hint("its CustomResourceDefinition belongs in this step or in one before it")
        }
        false => failure.hint(format!("it serves it as {}", versions.join(", "))),
    }
}
