//! Names in templates and `when`: each must be a var that the playbook declares, or one of the tables that every
//! template sees. Vars that nothing names are told too.

use std::collections::BTreeSet;

use super::Checks;
use super::vars::set_by;
use crate::model::mistake::Mistake;
use crate::model::playbook::{Body, Playbook, Step};
use crate::model::template;
use crate::model::value::{Data, Value};

/// The names of one playbook: what there is, and what was used of it.
struct Names {
    /// In a step without `each`, in a template.
    template: BTreeSet<String>,
    used: BTreeSet<String>,
}

impl Checks<'_> {
    pub(super) fn names(&mut self, playbook: &Playbook) {
        let always = template::ALWAYS.map(str::to_owned);
        let mut names = Names {
            template: playbook.vars.keys().cloned().chain(always).collect(),
            used: BTreeSet::new(),
        };
        let whole = self.is_whole(playbook);
        // A default may be a template over the other vars, and so may a value in the inventory.
        for declaration in playbook.vars.values() {
            if let Some(default) = &declaration.default {
                let mut found = Vec::new();
                let known = names.template.clone();
                names.value(default, &known, &mut found);
                self.mistakes.extend(found.into_iter().filter(|_| whole));
            }
        }
        for (_, value) in self.project.inventory.iter().flat_map(set_by) {
            names.note(value);
        }
        for step in &playbook.steps {
            let mut found = names.of_step(step);
            // Where a declaration could not be read, its name is not unknown.
            found.retain(|mistake| whole || mistake.code != "undefined-name");
            self.mistakes.extend(found);
        }
        for (name, declaration) in playbook.vars.iter().filter(|_| whole) {
            if !names.used.contains(name) {
                self.add(
                    Mistake::warning(
                        "unused-var",
                        declaration.span,
                        format!("nothing uses the var `{name}`"),
                    )
                    .hint("use it in a template or in `when`, or remove it"),
                );
            }
        }
    }
}

impl Names {
    fn of_step(&mut self, step: &Step) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut known = self.template.clone();
        if let Some(items) = &step.each {
            self.value(items, &known, &mut found);
            known.insert("item".to_owned());
        }
        match &step.body {
            Body::Kind { table, .. } => self.value(table, &known, &mut found),
            Body::Playbook { vars, .. } => {
                for value in vars.values() {
                    self.value(value, &known, &mut found);
                }
            }
        }
        if let Some(gate) = &step.policy.gate {
            self.value(&gate.table, &known, &mut found);
        }
        if let Some((when, span)) = &step.when {
            known.insert("facts".to_owned());
            found.extend(template::check_expression(when, *span, &known));
            self.used.extend(template::names_used_by_expression(when));
        }
        found
            .into_iter()
            .map(|mistake| explain(mistake, step))
            .collect()
    }

    fn value(&mut self, value: &Value, known: &BTreeSet<String>, found: &mut Vec<Mistake>) {
        found.extend(template::undefined_names(value, known));
        self.note(value);
    }

    fn note(&mut self, value: &Value) {
        match &value.data {
            Data::String(text) if template::is_template(text) => {
                self.used.extend(template::names_used(text).iter().cloned());
            }
            Data::List(items) => items.iter().for_each(|item| self.note(item)),
            Data::Table(entries) => entries.iter().for_each(|(_, value)| self.note(value)),
            _ => {}
        }
    }
}

/// A better hint for names that exist, but elsewhere.
fn explain(mistake: Mistake, step: &Step) -> Mistake {
    match mistake.message.as_str() {
        "`facts` is undefined" => mistake.hint(
            "facts can be used in `when`, and by `assert` in its own expressions, not in templates",
        ),
        "`item` is undefined" if step.each.is_none() => {
            mistake.hint("`item` is there where the step has `each`")
        }
        _ => mistake,
    }
}
