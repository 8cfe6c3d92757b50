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
            let mut used = match kind.as_str() {
                "artifact" => vec![(text(table, "name"), text(table, "member"))],
                "k3s_agent" | "k3s_server" => {
                    let name = match table.get("artifact") {
                        Some(_) => text(table, "artifact"),
                        None => Some("k3s".to_owned()),
                    };
                    vec![(name, None)]
                }
                "manifest" => listed(table),
                _ => Vec::new(),
            };
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

/// A name, where it is plain, and the file out of its archive.
type Mention = (Option<String>, Option<String>);

/// `artifacts = ["NAME"]`.
fn listed(table: &Value) -> Vec<Mention> {
    let Some(Data::List(items)) = table.get("artifacts").map(|list| &list.data) else {
        return Vec::new();
    };
    let plain = |item: &Value| {
        let text = item.as_str()?;
        template::names_mentioned(item)
            .is_empty()
            .then(|| text.to_owned())
    };
    items.iter().map(|item| (plain(item), None)).collect()
}

/// `{ artifact = "NAME" }` at any depth.
fn nested(value: &Value, used: &mut Vec<Mention>) {
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
