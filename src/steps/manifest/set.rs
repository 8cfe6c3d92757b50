//! Objects as a set that the cluster remembers, by the conventions of ApplySets (KEP-3659): each object has a label with
//! the set's id, and a parent object says which kinds and namespaces to look in. What has the label and is not wished
//! any more is deleted.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Manifest;
use super::prepare::Prepared;
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::event::DiffLine;
use crate::model::kube::fields::{self, PART_OF};
use crate::model::kube::{Discovery, KubeObject, MANAGER, ObjectKey, OldObject, show};
use crate::model::outcome::Failure;
use crate::model::sensitive::Text;
use crate::steps::shared::diff;
use crate::steps::shared::kube::{Drift, Wished, list_fact};
use crate::steps::{Decision, Want, Written};

/// The label of the parent.
const ID: &str = "applyset.kubernetes.io/id";
/// Which tool a set belongs to.
const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// Kinds to look for, as `Kind.group`.
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// Namespaces to look in besides the parent's.
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
/// Ours: versions of the kinds, and which of them have no namespaces, so that they can be listed without guessing.
const LISTS: &str = "hmco-boot/lists";

/// Ours: which step applied the set last, as playbook and id.
const STEP: &str = "hmco-boot/step";

/// Where parents are: in a namespace that every cluster has, so that a set is the same one when its objects move to another.
const PARENTS: &str = "kube-system";

/// The parent of a set.
fn parent(name: &str) -> ObjectKey {
    ObjectKey {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some(PARENTS.to_owned()),
        name: format!("hmco-boot-set-{name}"),
    }
}

/// The id of a set, from the name of its parent (KEP-3659).
pub(super) fn id(name: &str) -> String {
    let key = parent(name);
    let text = format!("{}.{PARENTS}.{}.{}", key.name, key.kind, "");
    let digest = Sha256::digest(text.as_bytes());
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
    format!("applyset-{encoded}-v1")
}

/// Marks an object as a member.
pub(super) fn mark(object: &mut Value, id: &str) {
    let mark = json!({ "metadata": { "labels": { PART_OF: id } } });
    crate::model::kube::patch::overlay(object, &mark);
}

/// All but a namespace that is only made.
fn members(prepared: &Prepared) -> impl Iterator<Item = &Wished> {
    prepared.wished.iter().filter(|wished| !wished.only_made)
}

/// The lists that members were in when the set was applied last, as text of the parent's annotation.
fn lists_text(prepared: &Prepared) -> String {
    let lists: BTreeSet<String> = members(prepared)
        .map(|wished| {
            let namespace = wished.key.namespace.as_deref().unwrap_or_default();
            format!("{} {} {namespace}", wished.key.api_version, wished.key.kind)
        })
        .collect();
    lists.into_iter().collect::<Vec<_>>().join(",")
}

fn annotation<'a>(parent: &'a Value, name: &str) -> Option<&'a str> {
    let all = parent.pointer("/metadata/annotations")?;
    all.get(name)?.as_str()
}

fn remembered(parent: &Value) -> Vec<Fact> {
    let text = annotation(parent, LISTS).unwrap_or_default();
    let list = |line: &str| {
        let mut words = line.split(' ');
        let (api_version, kind, namespace) = (words.next()?, words.next()?, words.next()?);
        Some(Fact::KubeList {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        })
    };
    text.split(',').filter_map(list).collect()
}

/// The parent as it shall be, but for the lists it named before.
fn wished_parent(name: &str, wish: &Manifest, prepared: &Prepared) -> Value {
    let key = parent(name);
    let kinds: BTreeSet<String> = members(prepared)
        .map(|wished| match wished.key.group() {
            "" => wished.key.kind.clone(),
            group => format!("{}.{group}", wished.key.kind),
        })
        .collect();
    let namespaces: BTreeSet<&str> = members(prepared)
        .filter_map(|wished| wished.key.namespace.as_deref())
        .filter(|namespace| *namespace != PARENTS)
        .collect();
    let mut annotations = json!({
        TOOLING: "hmco-boot/v1",
        KINDS: kinds.into_iter().collect::<Vec<_>>().join(","),
        NAMESPACES: namespaces.into_iter().collect::<Vec<_>>().join(","),
        LISTS: lists_text(prepared),
    });
    if let (Some(step), Some(all)) = (step_text(wish), annotations.as_object_mut()) {
        all.insert(STEP.to_owned(), json!(step));
    }
    json!({
        "apiVersion": key.api_version,
        "kind": key.kind,
        "metadata": {
            "name": key.name,
            "namespace": PARENTS,
            "labels": { ID: id(name) },
            "annotations": annotations,
        }
    })
}

/// A step as the parent remembers it. It is only compared and shown.
fn step_text(wish: &Manifest) -> Option<String> {
    let Written { playbook, step } = wish.written.as_ref()?;
    Some(format!("{step} in {playbook}"))
}

/// Refuses to delete what another step has put into the set: the two would undo each other's work in turn. Without the note
/// (a set of an older version, or a person took it away) the set is this step's.
fn taken(
    name: &str,
    wish: &Manifest,
    gone: &[OldObject],
    known: &Known<'_>,
) -> Result<Option<Failure>, Unreadable> {
    let key = parent(name);
    let found = known.kube_list(&list_fact(&key))?;
    let live = found.and_then(|found| found.get(&key.name));
    let other = live.and_then(|live| annotation(live, STEP));
    let (Some(other), Some(own), Some(first)) = (other, step_text(wish), gone.first()) else {
        return Ok(None);
    };
    if other == own {
        return Ok(None);
    }
    let more = match gone.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let failure = Failure::new(format!(
        "the set {name} is that of another step, whose objects this one would delete"
    ));
    Ok(Some(
        failure
            .evidence(format!("applied last by the step {other}"))
            .evidence(format!("would be deleted: {}{more}", first.key))
            .hint(format!(
                "give one of the two another `set`; if this is that step under a new name, let the cluster forget the old one: \
                 kubectl -n {PARENTS} annotate configmap {} {STEP}-",
                key.name
            )),
    ))
}

/// The parent, then the lists that it names.
pub(super) fn facts(wish: &Manifest, prepared: &Prepared, known: &Known<'_>) -> Want {
    let Some(name) = &wish.set else {
        return Want::Done;
    };
    let first = list_fact(&parent(name));
    match Want::all(known, [first]) {
        Want::Done => {}
        more => return more,
    }
    Want::all(known, lists(name, prepared, known))
}

/// All lists that may hold members.
fn lists(name: &str, prepared: &Prepared, known: &Known<'_>) -> BTreeSet<Fact> {
    let own = members(prepared).filter(|wished| wished.served);
    let mut lists: BTreeSet<Fact> = own.map(|wished| wished.list.clone()).collect();
    let key = parent(name);
    if let Ok(Some(found)) = known.kube_list(&list_fact(&key))
        && let Some(parent) = found.get(&key.name)
    {
        let api = known.kube_discovery().ok().flatten();
        let now = remembered(parent).into_iter();
        lists.extend(now.map(|list| api.map_or(list.clone(), |api| in_served_version(list, api))));
    }
    lists
}

/// The list in a version that is served: what was made in one that is not any more is still there, in others.
fn in_served_version(list: Fact, api: &Discovery) -> Fact {
    match list {
        Fact::KubeList {
            api_version,
            kind,
            namespace,
        } => Fact::KubeList {
            api_version: api
                .served(&api_version, &kind)
                .unwrap_or(&api_version)
                .to_owned(),
            kind,
            namespace,
        },
        other => other,
    }
}

/// A decision with what is no longer wished, and with the parent.
pub(super) fn pruned(
    wish: &Manifest,
    prepared: &Prepared,
    known: &Known<'_>,
    decision: Decision<Drift>,
) -> Result<Decision<Drift>, Unreadable> {
    let Some(name) = &wish.set else {
        return Ok(decision);
    };
    let (mut diff, mut drift) = match decision {
        Decision::Unchanged => (Vec::new(), Drift::default()),
        Decision::Drift { diff, drift } => (diff, drift),
        other => return Ok(other),
    };
    let id = id(name);
    let (mut gone, mut stays) = (Vec::new(), false);
    for list in lists(name, prepared, known) {
        // A kind that is not served any more has no objects.
        let Some(found) = known.kube_list(&list)? else {
            continue;
        };
        for object in &found.items {
            let label = object
                .pointer("/metadata/labels")
                .and_then(|all| all.get(PART_OF));
            // Controllers copy labels, as from a Service to its Endpoints: what they made is theirs.
            let is_member =
                label == Some(&json!(id)) && fields::owns_label(object, MANAGER, PART_OF);
            let Some(found) = ObjectKey::of(object).filter(|_| is_member) else {
                continue;
            };
            let mut wished = prepared.wished.iter();
            match wished.any(|wished| wished.key.is_same(&found)) {
                true => stays = true,
                false => gone.push(OldObject::of(found, object)),
            }
        }
    }
    if let Some(failure) = taken(name, wish, &gone, known)? {
        return Ok(Decision::Refused(failure));
    }
    drift.removes_all = !stays && !gone.is_empty();
    for old in gone {
        let key = &old.key;
        diff.push(DiffLine::old(format!(
            "{key} (no longer in the set {name})"
        )));
        drift.remove.push(old);
    }
    let object = wished_parent(name, wish, prepared);
    remember(name, (object, prepared), known, (&mut diff, &mut drift))?;
    Ok(match drift == Drift::default() {
        true => Decision::Unchanged,
        false => Decision::Drift { diff, drift },
    })
}

/// The parent, where it does not say what it should. It forgets no list: a run that is cut off before it has deleted all
/// there is to delete must still find the rest, and a list more to look in costs one request.
fn remember(
    name: &str,
    (mut object, prepared): (Value, &Prepared),
    known: &Known<'_>,
    (diff, drift): (&mut Vec<DiffLine>, &mut Drift),
) -> Result<(), Unreadable> {
    let key = parent(name);
    let found = known.kube_list(&list_fact(&key))?;
    let live = found.and_then(|found| found.get(&key.name));
    if let Some(before) = live.and_then(|live| annotation(live, LISTS))
        && let Some(now) = object.pointer_mut("/metadata/annotations")
    {
        let own = lists_text(prepared);
        let all: BTreeSet<&str> = before.split(',').chain(own.split(',')).collect();
        let all: Vec<&str> = all.into_iter().collect();
        if let Some(now) = now.as_object_mut() {
            now.insert(LISTS.to_owned(), json!(all.join(",")));
        }
    }
    let as_wished = live.is_some_and(|live| fields::is_as_wished(&object, live, MANAGER));
    if as_wished {
        return Ok(());
    }
    match live {
        None => diff.push(DiffLine::new(format!(
            "{key} (the memory of the set {name})"
        ))),
        Some(live) => {
            diff.push(DiffLine::both(format!(
                "{key} (the memory of the set {name}):"
            )));
            let old = live
                .pointer("/metadata/annotations")
                .cloned()
                .unwrap_or_default();
            let new = object
                .pointer("/metadata/annotations")
                .cloned()
                .unwrap_or_default();
            diff.extend(diff::text(&show::yaml(&old), &show::yaml(&new)));
        }
    }
    // Before its members: of a run that is cut off in between, none is forgotten.
    drift.first.push(KubeObject {
        body: Text::plain(object.to_string()),
        key,
    });
    Ok(())
}
