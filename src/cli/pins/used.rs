//! Which playbooks name which artifacts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::project::{Project, short_name};
use crate::model::playbook::Body;
use crate::model::template;
use crate::model::value::{Data, Value};

/// What playbooks say of an artifact.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Names of the playbooks.
    pub by: BTreeSet<String>,
    /// Files they take out of its archive.
    pub members: BTreeSet<String>,
}

/// By the artifact's name. What a template makes a name of is not seen.
pub fn uses(project: &Project) -> BTreeMap<String, Used> {
    let mut found = BTreeMap::new();
    for (path, playbook) in &project.playbooks {
        for step in &playbook.steps {
            let Body::Kind { kind, table, .. } = &step.body else {
                continue;
            };
            let mut used = Vec::new();
            if kind.as_str() == "artifact" {
                used.push((text(table, "name"), text(table, "member")));
            }
            nested(table, &mut used);
            for (name, member) in used {
                let Some(name) = name else { continue };
                let entry: &mut Used = found.entry(name).or_default();
                entry.by.insert(short_name(path).to_owned());
                entry.members.extend(member);
            }
        }
    }
    found
}

/// `{ artifact = "NAME" }` at any depth.
fn nested(value: &Value, used: &mut Vec<(Option<String>, Option<String>)>) {
    match &value.data {
        Data::Table(entries) => {
            if entries.len() == 1 {
                used.push((text(value, "artifact"), None));
            }
            entries.iter().for_each(|(_, inner)| nested(inner, used));
        }
        Data::List(items) => items.iter().for_each(|inner| nested(inner, used)),
        _ => {}
    }
}

fn text(table: &Value, key: &str) -> Option<String> {
    let value = table.get(key)?;
    let text = value.as_str()?;
    let plain = template::names_mentioned(value).is_empty();
    plain.then(|| text.to_owned())
}
