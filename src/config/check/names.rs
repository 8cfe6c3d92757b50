//! Names in templates and `when`: each must be a var that the playbook declares, or one of the tables that every
//! template sees. Vars that nothing names are told too.

use std::collections::BTreeSet;

use minijinja::Environment;

use super::Checks;
use crate::model::mistake::{Mistake, nearest};
use crate::model::playbook::{Body, Playbook, Step};
use crate::model::value::{Data, Span, Value};

/// What every template sees besides the vars; functions of the template language among them.
const ALWAYS: [&str; 8] = [
    "node",
    "cluster",
    "secret",
    "range",
    "dict",
    "namespace",
    "debug",
    "loop",
];

/// The names of one playbook: what there is, and what was used of it.
struct Names<'p> {
    playbook: &'p Playbook,
    used: BTreeSet<String>,
    engine: Environment<'static>,
}

/// Where an expression stands.
#[derive(Clone, Copy)]
struct Place {
    /// `item` is known.
    each: bool,
    /// It is an expression, not a template: facts are known, secrets are not.
    condition: bool,
}

impl Checks<'_> {
    pub(super) fn names(&mut self, playbook: &Playbook) {
        let mut names = Names {
            playbook,
            used: BTreeSet::new(),
            engine: Environment::new(),
        };
        for step in &playbook.steps {
            self.step_names(&mut names, step);
        }
        if self.is_whole(playbook) {
            for (name, declaration) in &playbook.vars {
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

    fn step_names(&mut self, names: &mut Names<'_>, step: &Step) {
        let each = step.each.is_some();
        let template = Place {
            each,
            condition: false,
        };
        if let Some((when, span)) = &step.when {
            self.text(
                names,
                when,
                *span,
                Place {
                    each,
                    condition: true,
                },
            );
        }
        if let Some(items) = &step.each {
            self.value(
                names,
                items,
                Place {
                    each: false,
                    condition: false,
                },
            );
        }
        match &step.body {
            Body::Kind { table, .. } => self.value(names, table, template),
            Body::Playbook { vars, .. } => {
                for value in vars.values() {
                    self.value(names, value, template);
                }
            }
        }
        if let Some(gate) = &step.policy.gate {
            self.value(names, &gate.table, template);
        }
    }

    fn value(&mut self, names: &mut Names<'_>, value: &Value, place: Place) {
        match &value.data {
            Data::String(text) => self.text(names, text, value.span, place),
            Data::List(items) => {
                for item in items {
                    self.value(names, item, place);
                }
            }
            Data::Table(entries) => {
                for (_, value) in entries {
                    self.value(names, value, place);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, names: &mut Names<'_>, text: &str, span: Span, place: Place) {
        if !place.condition && !["{{", "{%", "{#"].iter().any(|open| text.contains(open)) {
            return;
        }
        let found = if place.condition {
            names
                .engine
                .compile_expression(text)
                .map(|expression| expression.undeclared_variables(false))
        } else {
            names
                .engine
                .template_from_str(text)
                .map(|template| template.undeclared_variables(false))
        };
        let found = match found {
            Ok(found) => BTreeSet::from_iter(found),
            Err(error) => return self.bad_template(text, span, place, &error),
        };
        for name in found {
            if names.playbook.vars.contains_key(&name) {
                names.used.insert(name);
            } else if place.condition && name == "secret" {
                let at = self.name_in(text, &name, span);
                self.add(
                    Mistake::error("secret-in-condition", at, "a condition may not use a secret")
                        .hint("what a run skips is shown and recorded: compare something that is not secret"),
                );
            } else if !self.is_known(&name, place) && self.is_whole(names.playbook) {
                self.unknown_name(names.playbook, &name, text, span, place);
            }
        }
    }

    fn is_known(&self, name: &str, place: Place) -> bool {
        ALWAYS.contains(&name)
            || (place.each && name == "item")
            || (place.condition && name == "facts")
    }

    fn unknown_name(
        &mut self,
        playbook: &Playbook,
        name: &str,
        text: &str,
        span: Span,
        place: Place,
    ) {
        let at = self.name_in(text, name, span);
        let declared = playbook.vars.keys().map(String::as_str);
        let hint = match (name, nearest(name, declared.chain(["node", "cluster"]))) {
            ("facts", _) => {
                "facts can be used in `when` and by `assert` only, not in templates".to_owned()
            }
            ("item", _) if !place.each => "`item` is there where the step has `each`".to_owned(),
            (_, Some(near)) => format!("did you mean `{near}`?"),
            (_, None) => format!("declare it with `[vars.{name}]` in this playbook"),
        };
        self.add(
            Mistake::error("unknown-name", at, format!("`{name}` is not defined here")).hint(hint),
        );
    }

    fn bad_template(&mut self, text: &str, span: Span, place: Place, error: &minijinja::Error) {
        let what = if place.condition {
            "expression"
        } else {
            "template"
        };
        let reason = error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned);
        let at = match error.range() {
            Some(range) if !range.is_empty() && range.end <= text.len() => {
                self.sources.inside_string(span, range)
            }
            _ => span,
        };
        let hint = if place.condition {
            "write an expression as in `facts.os.arch == \"arm64\" and not debug`; `{{ }}` is not needed"
        } else {
            "a template is `{{ name }}`, with as many closing as opening braces; write `{{ '{{' }}` for the braces themselves"
        };
        self.add(
            Mistake::error(
                "bad-template",
                at,
                format!("the {what} cannot be read: {reason}"),
            )
            .hint(hint),
        );
    }

    /// The place of the first use of a name in a string.
    fn name_in(&self, text: &str, name: &str, span: Span) -> Span {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let whole = |at: &usize| {
            let before = text.get(..*at).and_then(|t| t.chars().next_back());
            let after = text.get(at + name.len()..).and_then(|t| t.chars().next());
            !before.is_some_and(|c| part(c) || c == '.') && !after.is_some_and(part)
        };
        match text.match_indices(name).map(|(at, _)| at).find(whole) {
            Some(at) => self.sources.inside_string(span, at..at + name.len()),
            None => span,
        }
    }
}
