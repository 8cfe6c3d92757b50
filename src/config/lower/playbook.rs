//! Playbook files.

use std::collections::{BTreeMap, HashMap};

use super::{Lowering, step};
use crate::config::raw;
use crate::model::id::StepId;
use crate::model::mistake::Mistake;
use crate::model::playbook::{Playbook, Step};
use crate::model::value::{Data, Span, Value};
use crate::model::vars::VarDecl;

const TABLES: [&str; 4] = ["title", "doc", "vars", "step"];

/// A playbook, and how far it can be trusted.
#[derive(Debug)]
pub struct Lowered {
    /// The playbook, as far as it could be read.
    pub playbook: Playbook,
    /// Steps or vars of it may be missing: nothing must be called unknown or unused.
    pub incomplete: bool,
}

/// Makes the model of a playbook file.
pub fn playbook(low: &mut Lowering<'_>, path: &str, root: &Value) -> Lowered {
    low.unknown_keys(root.entries(), &TABLES, "a playbook");
    let head = super::only(root, |key| matches!(key.name.as_str(), "title" | "doc"));
    let head = low.decode::<raw::Playbook>(&head).unwrap_or_default();
    let before = low.mistakes.len();
    let vars = declared(low, root);
    let mut incomplete = low.mistakes.len() > before;
    let steps = steps(low, root, &mut incomplete);
    Lowered {
        playbook: Playbook {
            path: path.to_owned(),
            title: head.title,
            doc: head.doc,
            vars,
            steps,
        },
        incomplete,
    }
}

fn declared(low: &mut Lowering<'_>, root: &Value) -> BTreeMap<String, VarDecl> {
    let mut found = BTreeMap::new();
    let Some(table) = root.get("vars") else {
        return found;
    };
    for (key, value) in low.table(table, "`vars`") {
        super::inventory::var_name(low, key);
        if !matches!(value.data, Data::Table(_)) {
            low.error(
                "wrong-type",
                value.span,
                format!("the declaration of `{}` must be a table", key.name),
                format!(
                    "write `[vars.{}]` with a `type` and, where it has one, a `default`",
                    key.name
                ),
            );
            continue;
        }
        let Some(raw) = low.decode::<raw::Var>(value) else {
            continue;
        };
        let default = value.get("default").cloned();
        if let Some(default) = &default {
            let found = crate::config::check::type_mistakes(raw.kind, default);
            low.mistakes.extend(found);
        }
        let declaration = VarDecl {
            span: key.span,
            kind: raw.kind,
            doc: raw.doc,
            default,
        };
        found.insert(key.name.clone(), declaration);
    }
    found
}

fn steps(low: &mut Lowering<'_>, root: &Value, incomplete: &mut bool) -> Vec<Step> {
    let rows = match root.get("step").map(|value| (&value.data, value.span)) {
        None => return Vec::new(),
        Some((Data::List(rows), _)) => rows,
        Some((_, span)) => {
            *incomplete = true;
            low.error(
                "wrong-type",
                span,
                "`step` must be an array of tables",
                "write each step as `[[step]]`, with two brackets",
            );
            return Vec::new();
        }
    };
    let mut found: Vec<Step> = Vec::new();
    let mut ids: HashMap<StepId, Span> = HashMap::new();
    for row in rows {
        let Some(step) = step::step(low, row) else {
            *incomplete = true;
            continue;
        };
        match ids.get(&step.id) {
            Some(first) => low.mistakes.push(
                Mistake::error(
                    "duplicate-step",
                    step.span,
                    format!("the id `{}` is used twice", step.id),
                )
                .label("used again here")
                .related(*first, "first used here")
                .hint("give one of the steps another id: `needs` and the journal go by it"),
            ),
            None => {
                ids.insert(step.id.clone(), step.span);
                found.push(step);
            }
        }
    }
    found
}
