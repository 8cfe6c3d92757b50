//! Playbooks that use playbooks: they must exist and not use themselves.

use std::collections::BTreeSet;

use super::Checks;
use crate::config::project::short_name;
use crate::model::mistake::{Mistake, nearest};
use crate::model::playbook::{Body, Step};
use crate::model::value::Span;

/// The path of the playbook that a step uses.
pub(super) fn path_of(step: &Step) -> Option<&str> {
    match &step.body {
        Body::Playbook { path, .. } => Some(path),
        Body::Kind { .. } => None,
    }
}

impl<'a> Checks<'a> {
    pub(super) fn includes(&mut self) {
        let project = self.project;
        for playbook in project.playbooks.values() {
            for step in &playbook.steps {
                if let Body::Playbook { path, span, .. } = &step.body
                    && !project.origins.contains_key(path)
                {
                    let mistake = self.missing(path, *span);
                    self.add(mistake);
                }
            }
        }
        let mut done = BTreeSet::new();
        for path in project.playbooks.keys() {
            self.circle(path, &mut Vec::new(), &mut done);
        }
    }

    fn missing(&self, path: &str, span: Span) -> Mistake {
        let known = self.project.origins.keys().map(String::as_str);
        let hint = match nearest(path, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => match known.clone().find(|known| short_name(known) == path) {
                Some(with_suffix) => format!("write its whole path: `{with_suffix}`"),
                None => "write its path below `playbooks/`; `hmco-boot playbooks list` shows what there is".to_owned(),
            },
        };
        Mistake::error(
            "unknown-playbook",
            span,
            format!("there is no playbook `{path}`"),
        )
        .hint(hint)
    }

    /// Follows what `path` uses; `way` is how it got here.
    fn circle(
        &mut self,
        path: &'a str,
        way: &mut Vec<(&'a str, Span)>,
        done: &mut BTreeSet<&'a str>,
    ) {
        if done.contains(path) {
            return;
        }
        let project = self.project;
        let steps = project.playbooks.get(path).map_or(&[][..], |p| &p.steps);
        for step in steps {
            let Body::Playbook {
                path: next, span, ..
            } = &step.body
            else {
                continue;
            };
            way.push((path, *span));
            match way.iter().position(|(before, _)| before == next) {
                Some(start) => {
                    let mistake = include_cycle(way.get(start..).unwrap_or_default(), next);
                    self.add(mistake);
                }
                None => self.circle(next, way, done),
            }
            way.pop();
        }
        done.insert(path);
    }
}

fn include_cycle(way: &[(&str, Span)], back: &str) -> Mistake {
    let names: Vec<&str> = way.iter().map(|(path, _)| short_name(path)).collect();
    let path = format!("{} -> {}", names.join(" -> "), short_name(back));
    let message = format!("playbooks use each other in a circle: {path}");
    let last = way.last().map_or(
        Span::new(crate::model::value::FileId(0), 0..0),
        |(_, span)| *span,
    );
    let mut mistake = Mistake::error("include-cycle", last, message)
        .label("leads back to the start")
        .hint("remove one of these steps, or move what both need into a third playbook");
    let others = way.iter().zip(names.iter().skip(1));
    for ((from, span), to) in others {
        mistake = mistake.related(*span, format!("`{}` uses `{to}` here", short_name(from)));
    }
    mistake
}
