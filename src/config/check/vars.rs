//! Vars that are given: by the inventory to all playbooks, by a playbook step to the one it uses.

use std::collections::BTreeMap;

use super::Checks;
use crate::config::lower::inventory::is_var_name;
use crate::model::inventory::Inventory;
use crate::model::mistake::{Mistake, nearest};
use crate::model::playbook::{Body, Playbook, Step};
use crate::model::value::Value;
use crate::model::vars::{VarDecl, unknown_names};

/// Every var an inventory sets, with its value, in the order of precedence.
pub(super) fn set_by(inventory: &Inventory) -> impl Iterator<Item = (&String, &Value)> {
    let groups = inventory.groups.iter().flat_map(|group| &group.vars);
    let nodes = inventory.nodes.iter().flat_map(|node| &node.vars);
    inventory.vars.iter().chain(groups).chain(nodes)
}

impl<'a> Checks<'a> {
    /// Values of the inventory against the declarations of all playbooks.
    pub(super) fn vars_of_inventory(&mut self, inventory: &Inventory) {
        let declared = self.declared();
        let complete = self.incomplete.is_empty();
        for (name, value) in set_by(inventory) {
            match declared.get(name.as_str()) {
                Some(declarations) => {
                    for (playbook, declaration) in declarations {
                        self.value_fits(declaration, name, playbook, value);
                    }
                }
                None if complete && is_var_name(name) => {
                    let hint = match nearest(name, declared.keys().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => {
                            "remove it, or declare it in the playbook that shall use it".to_owned()
                        }
                    };
                    self.add(
                        Mistake::warning(
                            "undeclared-var",
                            value.span,
                            format!("no playbook takes a var `{name}`"),
                        )
                        .hint(hint),
                    );
                }
                None => {}
            }
        }
    }

    /// Declarations of all playbooks by the name of the var.
    pub(super) fn declared(&self) -> BTreeMap<&'a str, Vec<(&'a str, &'a VarDecl)>> {
        let mut declared: BTreeMap<&str, Vec<(&str, &VarDecl)>> = BTreeMap::new();
        for (path, playbook) in &self.project.playbooks {
            for (name, declaration) in &playbook.vars {
                declared.entry(name).or_default().push((path, declaration));
            }
        }
        declared
    }

    fn value_fits(&mut self, declaration: &VarDecl, name: &str, playbook: &str, value: &Value) {
        if let Some(mistake) = super::type_mistakes(declaration.kind, value) {
            let mistake = mistake.related(
                declaration.span,
                format!("`{name}` is declared in {playbook} here"),
            );
            self.add(mistake);
        }
    }

    /// What the playbook steps of a playbook give to the playbooks they use. With `used`, values that are missing
    /// everywhere are told too.
    pub(super) fn given(&mut self, playbook: &Playbook, used: bool) {
        for step in &playbook.steps {
            let Body::Playbook { path, vars, .. } = &step.body else {
                continue;
            };
            let Some(inner) = self.project.playbooks.get(path) else {
                continue;
            };
            if !self.is_whole(inner) {
                continue;
            }
            self.mistakes.extend(unknown_names(&inner.vars, vars));
            for (name, value) in vars {
                if let Some(declaration) = inner.vars.get(name) {
                    self.value_fits(declaration, name, path, value);
                }
            }
            if used {
                self.missing_values(step, inner);
            }
        }
    }

    fn missing_values(&mut self, step: &Step, inner: &Playbook) {
        let Body::Playbook { span, vars, .. } = &step.body else {
            return;
        };
        let Some(inventory) = self
            .project
            .inventory
            .as_ref()
            .filter(|_| self.inventory_whole)
        else {
            return;
        };
        for (name, declaration) in &inner.vars {
            let given = declaration.default.is_some()
                || vars.contains_key(name)
                || set_by(inventory).any(|(set, _)| set == name);
            if !given {
                let mistake = Mistake::error(
                    "missing-var",
                    *span,
                    format!(
                        "`{}` needs the var `{name}`, and nothing sets it",
                        inner.path
                    ),
                )
                .related(declaration.span, "declared here, without a default")
                .hint(format!(
                    "add `vars = {{ {name} = ... }}` to the step `{}`, or set it in the inventory",
                    step.id
                ));
                self.add(mistake);
            }
        }
    }
}
