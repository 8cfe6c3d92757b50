//! One wished object against what is live, and the words for what differs.

use serde_json::Value;

use super::{How, Wished, is_leaving, is_unsure, live};
use crate::facts::known::{Known, Unreadable};
use crate::model::event::DiffLine;
use crate::model::kube::ready::{has_rule, readiness};
use crate::model::kube::{
    DryRun, FieldConflict, KubeObject, MANAGER, ObjectKey, OldObject, Readiness, fields, order,
    reach, show,
};
use crate::model::outcome::Failure;
use crate::steps::Decision;
use crate::steps::shared::diff;

/// New objects of one step of which the whole text is shown; of more only the names are.
const SHOWN_NEW: usize = 4;
/// Lines of one step's difference.
const MAX_LINES: usize = 600;
/// Objects or fields that a message names.
const NAMED: usize = 12;

/// What there is to do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Drift {
    /// To apply before all others.
    pub first: Vec<KubeObject>,
    /// To apply.
    pub apply: Vec<KubeObject>,
    /// To apply when the workloads are ready.
    pub late: Vec<KubeObject>,
    /// To be awaited: those that will be applied and those that are as wished and not ready.
    pub wait: Vec<ObjectKey>,
    /// To be deleted.
    pub remove: Vec<OldObject>,
    /// That is all that was there before.
    pub removes_all: bool,
}

/// What comparing has found so far.
#[derive(Default)]
pub(super) struct Found {
    drift: Drift,
    new: Vec<(ObjectKey, Option<Value>)>,
    changed: Vec<DiffLine>,
    waiting: Vec<DiffLine>,
    refused: Vec<Failure>,
    untried: Vec<Untried>,
}

/// An object of which a dry run could not tell what would become.
struct Untried {
    wished: Wished,
    why: Failure,
    /// Something said no, rather than nothing.
    rejected: bool,
}

impl Untried {
    /// What the same step changes, or waits for, that may be the very cure.
    fn cure<'a>(&self, drift: &'a Drift) -> Option<&'a ObjectKey> {
        let mut changed = drift.apply.iter().map(|object| &object.key);
        match self.rejected {
            true => changed.find(|changed| reach::may_cure(changed, &self.wished.key)),
            false => changed.next().or(drift.wait.first()),
        }
    }
}

impl Found {
    /// Sorts those that could not be tried: what waits for a change of this very step is tried by the run, when the change is
    /// there; without that the step could never bring the cure about.
    fn sort_untried(&mut self, how: How) -> Vec<Failure> {
        let (mut later, mut unknown) = (Vec::new(), Vec::new());
        for untried in std::mem::take(&mut self.untried) {
            match untried.cure(&self.drift) {
                Some(cure) => later.push((untried.wished, cure.clone())),
                None if untried.rejected => self.refused.push(untried.why),
                None => unknown.push(untried.why),
            }
        }
        for (wished, cure) in later {
            let line = format!("{}: cannot be tried before {cure} is as wished", wished.key);
            self.changed.push(DiffLine::both(diff::shown(&line)));
            self.apply(&wished, how);
        }
        unknown
    }

    pub(super) fn decision(mut self, how: How) -> Decision<Drift> {
        let unknown = self.sort_untried(how);
        if let Some(failure) = together(self.refused, "objects are refused") {
            return Decision::Refused(failure);
        }
        if let Some(failure) = together(unknown, "objects nobody can tell about") {
            return Decision::Unknown(failure);
        }
        if self.drift == Drift::default() {
            return Decision::Unchanged;
        }
        let whole = self.new.len() <= SHOWN_NEW;
        let mut lines = Vec::new();
        for (key, object) in &self.new {
            match object.as_ref().filter(|_| whole) {
                Some(object) => {
                    lines.push(DiffLine::both(format!("{key} (new)")));
                    lines.extend(diff::added(&show::yaml(object)));
                }
                None => lines.push(DiffLine::new(key.to_string())),
            }
        }
        lines.extend(self.changed);
        lines.extend(self.waiting);
        if lines.len() > MAX_LINES {
            let more = lines.len() - MAX_LINES;
            lines.truncate(MAX_LINES);
            lines.push(DiffLine::both(format!("... {more} more lines")));
        }
        Decision::Drift {
            diff: lines,
            drift: self.drift,
        }
    }

    fn apply(&mut self, wished: &Wished, how: How) {
        let object = KubeObject {
            key: wished.key.clone(),
            body: wished.body(),
        };
        match wished.late {
            true => self.drift.late.push(object),
            false => self.drift.apply.push(object),
        }
        // A definition is awaited in any case, as others need it.
        if how.ready.is_some()
            && has_rule(&wished.key.kind)
            && !order::rank(&wished.key).is_custom()
        {
            self.drift.wait.push(wished.key.clone());
        }
    }
}

/// Several failures as one.
fn together(mut failures: Vec<Failure>, what: &str) -> Option<Failure> {
    if failures.len() < 2 {
        return failures.pop();
    }
    let mut whole = Failure::new(format!("{} {what}", failures.len()));
    for failure in failures.iter().take(NAMED) {
        let words = std::iter::once(&failure.message).chain(&failure.evidence);
        whole.evidence.extend(words.cloned());
    }
    if failures.len() > NAMED {
        whole
            .evidence
            .push(format!("... and {} more", failures.len() - NAMED));
    }
    whole.hint = failures.into_iter().find_map(|failure| failure.hint);
    Some(whole)
}

/// Compares one object that shall be there.
pub(super) fn present(
    wished: &Wished,
    known: &Known<'_>,
    how: How,
    found: &mut Found,
) -> Result<(), Unreadable> {
    let live = live(wished, known)?;
    let wished = &*wished.beside(live);
    if let Some(live) = live.filter(|live| is_leaving(live)) {
        found.refused.push(leaving(&wished.key, live));
        return Ok(());
    }
    if !is_unsure(wished, known) {
        match live {
            Some(live) => as_wished(wished, live, how, found),
            None => new(wished, how, found),
        }
        return Ok(());
    }
    let fact = wished.dry_run(how);
    let Some(answer) = known.kube_dry_run(&fact)? else {
        // Its kind went away between two looks.
        new(wished, how, found);
        return Ok(());
    };
    match (answer, live) {
        (DryRun::Conflict(conflicts), _) => found.refused.push(conflict(&wished.key, conflicts)),
        (DryRun::Rejected(why), _) => found.untried.push(Untried {
            wished: wished.clone(),
            why: refused(&wished.key, why),
            rejected: true,
        }),
        (DryRun::NoAnswer(why), _) => found.untried.push(Untried {
            wished: wished.clone(),
            why: no_answer(&wished.key, why),
            rejected: false,
        }),
        (DryRun::Object(_), None) => new(wished, how, found),
        (DryRun::Object(dry), Some(live)) => against(wished, live, dry, how, found),
    }
    Ok(())
}

/// It is there and as wished; whether it is ready is another question.
fn as_wished(wished: &Wished, live: &Value, how: How, found: &mut Found) {
    if how.ready.is_none() || order::rank(&wished.key).is_custom() {
        return;
    }
    if let Readiness::Waiting(words) | Readiness::Failed(words) = readiness(live) {
        found.drift.wait.push(wished.key.clone());
        let line = format!("{} is not ready: {}", wished.key, diff::shown(&words));
        found.waiting.push(DiffLine::old(line));
    }
}

fn new(wished: &Wished, how: How, found: &mut Found) {
    let shown = (!wished.hidden).then(|| wished.object.clone());
    found.new.push((wished.key.clone(), shown));
    found.apply(wished, how);
}

/// What a dry run gave against what is live.
fn against(wished: &Wished, live: &Value, dry: &Value, how: How, found: &mut Found) {
    let (old, new) = (fields::comparable(live), fields::comparable(dry));
    let key = &wished.key;
    if fields::is_left_as_it_is(live, dry, MANAGER) {
        let owned = fields::newly_owned(live, dry, MANAGER);
        if owned.is_empty() {
            return as_wished(wished, live, how, found);
        }
        let more = owned.len().saturating_sub(NAMED);
        let names: Vec<&str> = owned.iter().take(NAMED).map(String::as_str).collect();
        let mut line = format!("{key}: will own, or own no more: {}", names.join(", "));
        if more > 0 {
            line.push_str(&format!(" and {more} more"));
        }
        found.changed.push(DiffLine::both(diff::shown(&line)));
        return found.apply(wished, how);
    }
    found.changed.push(DiffLine::both(format!("{key}:")));
    match wished.hidden {
        true => found.changed.extend(hidden(&old, &new)),
        false => found
            .changed
            .extend(diff::text(&show::yaml(&old), &show::yaml(&new))),
    }
    found.apply(wished, how);
}

/// Which keys of a Secret differ; of others that may not be shown, only that they do.
fn hidden(old: &Value, new: &Value) -> Vec<DiffLine> {
    let data = |object: &Value| {
        object
            .get("data")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (before, after) = (data(old), data(new));
    let mut lines = Vec::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        lines.push(DiffLine::old(format!("data.{key} (value not shown)")));
    }
    for (key, value) in &after {
        match before.get(key) {
            Some(same) if same == value => {}
            Some(_) => lines.push(DiffLine::both(format!(
                "data.{key} differs (values not shown)"
            ))),
            None => lines.push(DiffLine::new(format!("data.{key} (value not shown)"))),
        }
    }
    if lines.is_empty() {
        lines.push(DiffLine::both("differs (not shown: it may hold a secret)"));
    }
    lines
}

fn leaving(key: &ObjectKey, live: &Value) -> Failure {
    let finalizers = live
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    let names: Vec<&str> = finalizers
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let failure = Failure::new(format!("{key} is being deleted"));
    match names.is_empty() {
        true => failure.hint("run again when it is gone"),
        false => failure
            .evidence(format!("it waits for its finalizers: {}", names.join(", ")))
            .hint("see why whoever owns the finalizer does not let it go, then run again"),
    }
}

/// What an API says when it refuses, with what to do about it.
const CURES: &[(&str, &str)] = &[
    (
        "exceeded quota",
        "ask for less, or raise the ResourceQuota of the namespace (`kubectl describe resourcequota -n NAMESPACE`)",
    ),
    (
        "subjects[0].namespace: Required value",
        "name the `namespace` of this step: it is given to ServiceAccounts in role bindings that name none",
    ),
    (
        "violates PodSecurity",
        "change what it names, or give the namespace a label `pod-security.kubernetes.io/enforce` that allows it",
    ),
    (
        "field is immutable",
        "it can only be made anew: delete it first, if what it holds may go",
    ),
];

fn no_answer(key: &ObjectKey, why: &str) -> Failure {
    let failure = Failure::new(format!("nobody can tell what would become of {key}")).evidence(why);
    match why.contains("webhook") {
        true => failure.hint(
            "see that the webhook's pods run and are reached (its Service has endpoints), then run again",
        ),
        false => failure.hint("see what the API server says (`journalctl -u k3s` on the servers), then run again"),
    }
}

fn refused(key: &ObjectKey, why: &str) -> Failure {
    let failure = Failure::new(format!("{key} is refused by the API")).evidence(why);
    match CURES.iter().find(|(said, _)| why.contains(said)) {
        Some((_, cure)) => failure.hint(*cure),
        None => failure,
    }
}

/// Field managers of K3s itself: what it applies from its own manifests, and what it makes when it starts.
fn is_k3s(manager: &str) -> bool {
    let name = manager.trim_start_matches('"');
    ["deploy@", "k3s", "helm-controller"]
        .iter()
        .any(|own| name.starts_with(own))
}

fn conflict(key: &ObjectKey, conflicts: &[FieldConflict]) -> Failure {
    let mut failure = Failure::new(format!("others own fields of {key} that this step sets"));
    for conflict in conflicts.iter().take(NAMED) {
        failure = failure.evidence(format!(
            "{} is owned by {}",
            conflict.field, conflict.manager
        ));
    }
    if conflicts.len() > NAMED {
        failure = failure.evidence(format!("... and {} more", conflicts.len() - NAMED));
    }
    match conflicts.iter().any(|conflict| is_k3s(&conflict.manager)) {
        true => failure.hint(
            "K3s brings this object itself, and sets it again when it starts: leave it out of this step, or name K3s' \
             own in `disable` of K3s' configuration first",
        ),
        false => failure.hint(
            "leave the field out of this step, or take it over once with `force_conflicts = true`: two that set one field \
             undo each other's work",
        ),
    }
}
