//! `when` where it needs no facts, and the items of `each`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::When;
use super::expand::{Builder, Site};
use super::targets::TargetId;
use crate::facts::fact::NAMED;
use crate::model::id::StepAddr;
use crate::model::mistake::{Mistake, nearest};
use crate::model::playbook::Step;
use crate::model::template::{self, Scope};
use crate::model::value::{Data, Span, Value};

/// A target of a step.
#[derive(Clone)]
pub(super) enum Seat {
    /// There may be something to do.
    Here(Site),
    /// Nothing: `--limit` removed it, it has no items, or a mistake was told. Only the order goes on through it.
    LeftOut,
}

/// A step, or one item of it: its address and its targets.
pub(super) struct Group {
    pub address: StepAddr,
    pub seats: Vec<(TargetId, Seat)>,
}

/// Longer texts are no names.
const NAME_CHARS: usize = 64;

impl Builder<'_> {
    /// A plain step is one group; one with `each` has a group per item, in the order the items first appear, and one
    /// without an item for targets that have none.
    pub(super) fn groups(
        &mut self,
        step: &Step,
        address: &StepAddr,
        seats: Vec<(TargetId, Seat)>,
    ) -> Vec<Group> {
        let by_item = step.each.is_some()
            && step
                .when
                .as_ref()
                .is_some_and(|(when, _)| template::names_used_by_expression(when).contains("item"));
        let decided = seats.into_iter().map(|(target, seat)| match seat {
            Seat::Here(site) if !by_item => (target, Seat::Here(self.decide(step, site))),
            seat => (target, seat),
        });
        let seats: Vec<(TargetId, Seat)> = decided.collect();
        let Some(each) = &step.each else {
            let address = address.clone();
            return vec![Group { address, seats }];
        };
        let mut idle = Group {
            address: address.clone(),
            seats: Vec::new(),
        };
        let mut found = Found::default();
        for (target, seat) in seats {
            let site = match seat {
                Seat::Here(site) if site.skip.is_none() => site,
                seat => {
                    idle.seats.push((target, seat));
                    continue;
                }
            };
            let items = self.items(each, &site.scope);
            if items.is_empty() {
                idle.seats.push((target, Seat::LeftOut));
            }
            for (at, item) in items.into_iter().enumerate() {
                let address = address.item(&item_name(&item, at));
                let mut site = site.clone();
                site.scope.set("item", &item);
                if by_item {
                    site = self.decide(step, site);
                }
                if !found.add(&address, target, site) {
                    let message = format!("two items make the step `{address}`");
                    self.mistakes
                        .push(Mistake::error("duplicate-item", item.span, message).hint(
                            "items are told apart by their text, or by their `name` or `id`",
                        ));
                }
            }
        }
        let mut groups = found.groups;
        if groups.is_empty() || !idle.seats.is_empty() {
            groups.push(idle);
        }
        groups
    }

    fn items(&mut self, each: &Value, scope: &Scope) -> Vec<Value> {
        match template::render(each, scope, self.request.secrets) {
            Ok(Value {
                data: Data::List(items),
                ..
            }) => items,
            Ok(other) => {
                self.mistakes.push(
                    Mistake::error("wrong-type", other.span, "`each` is not a list")
                        .hint("give a list, or a template that is one list, as in \"{{ pools }}\""),
                );
                Vec::new()
            }
            Err(mistakes) => {
                self.mistakes.extend(mistakes);
                Vec::new()
            }
        }
    }

    /// Adds a step's `when` to a site: decided at once where it needs no facts.
    fn decide(&mut self, step: &Step, mut site: Site) -> Site {
        let Some((expression, span)) = step.when.as_ref().filter(|_| site.skip.is_none()) else {
            return site;
        };
        let facts = template::facts_named(expression);
        if let Some(mistake) = unknown_fact(expression, &facts, *span) {
            self.mistakes.push(mistake);
        } else if facts.is_empty() {
            match template::evaluate(expression, *span, &site.scope) {
                Ok(true) => {}
                Ok(false) => site.skip = Some(format!("when: {expression}")),
                Err(mistake) => self.mistakes.push(mistake),
            }
        } else {
            site.whens.push(When {
                expression: expression.clone(),
                span: *span,
                scope: site.scope.clone(),
            });
        }
        site
    }
}

/// A fact that there is not would only show in the middle of a run.
fn unknown_fact(expression: &str, facts: &[String], span: Span) -> Option<Mistake> {
    let known = || NAMED.iter().map(|(name, _)| *name);
    let all = || {
        let all: Vec<&str> = known().collect();
        format!("the facts are: {}", all.join(", "))
    };
    if let Some(name) = facts
        .iter()
        .find(|name| known().all(|known| known != **name))
    {
        let hint = match nearest(name, known()) {
            Some(near) => format!("did you mean `facts.{near}`?"),
            None => all(),
        };
        let message = format!("there is no `facts.{name}`");
        return Some(Mistake::error("unknown-fact", span, message).hint(hint));
    }
    let whole =
        facts.is_empty() && template::names_used_by_expression(expression).contains("facts");
    whole.then(|| {
        let message = "`facts` can only be used with the name of a fact, as in `facts.os.arch`";
        Mistake::error("unknown-fact", span, message).hint(all())
    })
}

/// The items found so far.
#[derive(Default)]
struct Found {
    groups: Vec<Group>,
    at: HashMap<StepAddr, usize>,
}

impl Found {
    /// False where the target has that item already; targets come one after the other.
    fn add(&mut self, address: &StepAddr, target: TargetId, site: Site) -> bool {
        let at = match self.at.entry(address.clone()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.groups.push(Group {
                    address: address.clone(),
                    seats: Vec::new(),
                });
                *entry.insert(self.groups.len() - 1)
            }
        };
        let Some(group) = self.groups.get_mut(at) else {
            return false;
        };
        if group.seats.last().is_some_and(|(last, _)| *last == target) {
            return false;
        }
        group.seats.push((target, Seat::Here(site)));
        true
    }
}

/// What an item is called in its step's address: by its text, its `name` or its `id`; by its position where that is no
/// name (a secret, several lines, brackets that would be taken for the address' own).
fn item_name(item: &Value, position: usize) -> String {
    let name = match &item.data {
        Data::Table(_) => item
            .get("name")
            .and_then(scalar)
            .or_else(|| item.get("id").and_then(scalar)),
        _ => scalar(item),
    };
    let good = |name: &String| {
        !name.is_empty()
            && name.chars().count() <= NAME_CHARS
            && !name
                .chars()
                .any(|c| c.is_control() || matches!(c, '[' | ']'))
    };
    name.filter(good).unwrap_or_else(|| position.to_string())
}

fn scalar(value: &Value) -> Option<String> {
    match &value.data {
        Data::String(text) => Some(text.clone()),
        Data::Integer(n) => Some(n.to_string()),
        Data::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}
