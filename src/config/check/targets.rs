//! Selectors against the inventory.

use super::{Checks, StepTargets};
use crate::model::id::Target;
use crate::model::inventory::Inventory;
use crate::model::mistake::Mistake;
use crate::model::playbook::{Body, Playbook, Step};
use crate::model::selector::Selection;
use crate::model::value::Span;
use crate::steps::Scope;

impl Checks<'_> {
    pub(super) fn targets(&mut self, playbook: &Playbook, inventory: &Inventory) -> StepTargets {
        playbook
            .steps
            .iter()
            .map(|step| self.targets_of(step, inventory))
            .collect()
    }

    fn targets_of(&mut self, step: &Step, inventory: &Inventory) -> Option<Vec<Target>> {
        let (selector, span) = step.on.as_ref()?;
        let Selection { targets, idle } = match selector.select(inventory) {
            Ok(selection) => selection,
            Err(error) => {
                let span = self.sources.inside_string(*span, error.at);
                let mut mistake = Mistake::error("bad-selector", span, error.message);
                mistake.hint = error.hint;
                self.add(mistake);
                return None;
            }
        };
        for part in &idle {
            let part_span = self.sources.inside_string(*span, part.at.clone());
            let mut mistake = Mistake::warning("matches-nothing", part_span, part.message.clone());
            mistake.hint = part
                .hint
                .clone()
                .or_else(|| Some(nothing_hint(step, inventory)));
            self.add(mistake);
        }
        if targets.is_empty() && idle.is_empty() {
            let message = "this selector matches no target of the inventory";
            self.add(
                Mistake::warning("matches-nothing", *span, message)
                    .label("matches nothing")
                    .hint(nothing_hint(step, inventory)),
            );
        }
        self.fits_kind(step, *span, &targets);
        Some(targets)
    }

    /// Whether the kind of a step works on its targets.
    fn fits_kind(&mut self, step: &Step, span: Span, targets: &[Target]) {
        if let Body::Kind { kind, .. } = &step.body
            && let Some(info) = self.kinds.iter().find(|info| info.name == kind.as_str())
        {
            let wrong = |target: &&Target| match info.scope {
                Scope::Machine => **target == Target::Cluster,
                Scope::Cluster => **target != Target::Cluster,
                Scope::Any => false,
            };
            if info.nodes_only && targets.contains(&Target::Controller) {
                let message = format!(
                    "a `{kind}` step works on nodes, and `controller` is the machine that hmco-boot runs on"
                );
                self.add(
                    Mistake::error("wrong-target", span, message).hint(
                        "name nodes; whoever runs hmco-boot restarts their own machine by hand",
                    ),
                );
            }
            if let Some(target) = targets.iter().find(wrong) {
                let (works, cure) = match info.scope {
                    Scope::Machine | Scope::Any => ("on machines", "name nodes, or `controller`"),
                    Scope::Cluster => (
                        "through the Kubernetes API",
                        "write `on = \"cluster\"`, or leave `on` out",
                    ),
                };
                self.add(
                    Mistake::error(
                        "wrong-target",
                        span,
                        format!("a `{kind}` step works {works}, and `{target}` is not one"),
                    )
                    .hint(cure),
                );
            }
        }
    }
}

fn nothing_hint(step: &Step, inventory: &Inventory) -> String {
    format!(
        "check roles and groups in {}; a step without targets does nothing (`{}`)",
        inventory.file, step.id
    )
}
