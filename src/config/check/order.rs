//! `needs`: steps that must exist, an order without circles, steps that never run.

use std::collections::{HashMap, HashSet};

use super::{Checks, StepTargets};
use crate::model::id::Target;
use crate::model::mistake::{Mistake, nearest};
use crate::model::playbook::{Playbook, Step};
use crate::model::value::Span;

/// Playbooks longer than this are searched for circles through `needs` and the step above only: the default order
/// relates every step to every earlier one.
const PAIRWISE: usize = 500;

/// A step waits for another.
#[derive(Clone, Copy)]
struct Edge {
    to: usize,
    /// The entry of `needs`; `None` for the default order.
    need: Option<Span>,
}

impl Checks<'_> {
    pub(super) fn order(&mut self, playbook: &Playbook, targets: &StepTargets) {
        let index: HashMap<&str, usize> = playbook
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.id.as_str(), at))
            .collect();
        let never: Vec<bool> = playbook
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| self.never(step, targets.get(at).and_then(Option::as_ref)))
            .collect();
        let mut edges: Vec<Vec<Edge>> = default_edges(&playbook.steps, targets);
        for (step, own) in playbook.steps.iter().zip(&mut edges) {
            for need in step.needs.iter().flatten() {
                match index.get(need.step.as_str()) {
                    Some(to) => {
                        own.push(Edge {
                            to: *to,
                            need: Some(need.span),
                        });
                        if never.get(*to).copied().unwrap_or(false) {
                            let mistake = waits_for_nothing(step, need.span, need.step.as_str());
                            self.add(mistake);
                        }
                    }
                    None if self.is_whole(playbook) => {
                        let known = playbook.steps.iter().map(|step| step.id.as_str());
                        let hint = match nearest(need.step.as_str(), known) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => "`needs` takes ids of steps of the same playbook".to_owned(),
                        };
                        let message = format!("this playbook has no step `{}`", need.step);
                        self.add(Mistake::error("unknown-step", need.span, message).hint(hint));
                    }
                    None => {}
                }
            }
        }
        for cycle in cycles(&edges) {
            if let Some(mistake) = cycle_mistake(&playbook.steps, &cycle) {
                self.add(mistake);
            }
        }
    }

    /// Whether a step can never run here, with a warning where nothing else told it.
    fn never(&mut self, step: &Step, targets: Option<&Vec<Target>>) -> bool {
        if let Some((when, span)) = &step.when
            && matches!(when.trim(), "false" | "False")
        {
            self.add(
                Mistake::warning(
                    "never-runs",
                    *span,
                    format!("the step `{}` never runs", step.id),
                )
                .label("always false")
                .hint("remove the step, or the `when`"),
            );
            return true;
        }
        targets.is_some_and(Vec::is_empty)
    }
}

fn waits_for_nothing(step: &Step, span: Span, needed: &str) -> Mistake {
    Mistake::warning(
        "needs-never-runs",
        span,
        format!("`{}` waits for `{needed}`, which never runs", step.id),
    )
    .hint(format!("nothing is waited for: a skipped step counts as done; remove `{needed}` from `needs` if that is meant"))
}

/// The edges of steps without `needs`: the step above, and every earlier one that shares a target.
fn default_edges(steps: &[Step], targets: &StepTargets) -> Vec<Vec<Edge>> {
    let mut classes = Classes::default();
    let class: Vec<Option<usize>> = (0..steps.len())
        .map(|at| Some(classes.of(targets.get(at)?.as_ref()?)))
        .collect();
    let pairwise = steps.len() <= PAIRWISE;
    let class_of = |at: usize| class.get(at).copied().flatten();
    let mut edges = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let mut own = Vec::new();
        if step.needs.is_none() {
            let first = if pairwise { 0 } else { at.saturating_sub(1) };
            for earlier in first..at {
                let shares = match (class_of(at), class_of(earlier)) {
                    (Some(a), Some(b)) => classes.overlap(a, b),
                    _ => false,
                };
                if earlier + 1 == at || shares {
                    own.push(Edge {
                        to: earlier,
                        need: None,
                    });
                }
            }
        }
        edges.push(own);
    }
    edges
}

/// Sets of targets, each kept once: most steps of a playbook share a few.
#[derive(Default)]
struct Classes<'a> {
    ids: HashMap<&'a [Target], usize>,
    sets: Vec<HashSet<&'a Target>>,
    known: HashMap<(usize, usize), bool>,
}

impl<'a> Classes<'a> {
    fn of(&mut self, targets: &'a [Target]) -> usize {
        if let Some(id) = self.ids.get(targets) {
            return *id;
        }
        let id = self.sets.len();
        self.ids.insert(targets, id);
        self.sets.push(targets.iter().collect());
        id
    }

    fn overlap(&mut self, a: usize, b: usize) -> bool {
        let sets = &self.sets;
        *self
            .known
            .entry((a, b))
            .or_insert_with(|| match (sets.get(a), sets.get(b)) {
                (Some(a), Some(b)) => !a.is_disjoint(b),
                _ => false,
            })
    }
}

/// One circle through each step that is in one: the steps in the order of waiting, with the edges between them. Not
/// recursive: a playbook may be a chain of any length.
fn cycles(edges: &[Vec<Edge>]) -> Vec<Vec<(usize, Edge)>> {
    let mut done = vec![false; edges.len()];
    let mut found = Vec::new();
    for start in 0..edges.len() {
        if done.get(start).copied().unwrap_or(true) {
            continue;
        }
        // The way from `start`: a step, the edge taken from it, and how many of its edges were looked at.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        let mut on_way: HashMap<usize, usize> = HashMap::from([(start, 0)]);
        while let Some((at, next)) = way.last_mut() {
            let (from, edge) = (*at, edges.get(*at).and_then(|own| own.get(*next)).copied());
            let Some(edge) = edge else {
                if let Some(flag) = done.get_mut(from) {
                    *flag = true;
                }
                on_way.remove(&from);
                way.pop();
                continue;
            };
            *next += 1;
            if let Some(begin) = on_way.get(&edge.to) {
                let part = way.get(*begin..).unwrap_or_default();
                found.push(
                    part.iter()
                        .filter_map(|(at, next)| {
                            Some((*at, *edges.get(*at)?.get(next.checked_sub(1)?)?))
                        })
                        .collect(),
                );
            } else if !done.get(edge.to).copied().unwrap_or(true) {
                on_way.insert(edge.to, way.len());
                way.push((edge.to, 0));
            }
        }
    }
    distinct(found)
}

/// Of circles through the same steps only the first.
fn distinct(found: Vec<Vec<(usize, Edge)>>) -> Vec<Vec<(usize, Edge)>> {
    let mut seen: HashSet<usize> = HashSet::new();
    let mut kept = Vec::new();
    for cycle in found {
        // A circle that shares a step with one already told is most often the same slip.
        if cycle.iter().all(|(at, _)| !seen.contains(at)) {
            seen.extend(cycle.iter().map(|(at, _)| *at));
            kept.push(cycle);
        }
    }
    kept
}

fn cycle_mistake(steps: &[Step], cycle: &[(usize, Edge)]) -> Option<Mistake> {
    let ids: Vec<&str> = cycle
        .iter()
        .filter_map(|(at, _)| Some(steps.get(*at)?.id.as_str()))
        .collect();
    let path = format!("{} -> {}", ids.join(" -> "), ids.first()?);
    let mut places = cycle.iter().filter_map(|(at, edge)| {
        let step = steps.get(*at)?;
        let other = &steps.get(edge.to)?.id;
        Some(match edge.need {
            Some(span) => (span, format!("`{}` needs `{other}`", step.id)),
            None => (
                step.span,
                format!(
                    "`{}` has no `needs`, so it waits for `{other}` above it",
                    step.id
                ),
            ),
        })
    });
    let (span, label) = places.next()?;
    let message = if ids.len() == 1 {
        format!("the step `{}` needs itself", ids.first()?)
    } else {
        format!("steps wait for each other in a circle: {path}")
    };
    let mistake = Mistake::error("needs-cycle", span, message)
        .label(label)
        .hint("remove one of these; a step without `needs` waits for the steps above it, `needs = []` for none");
    Some(places.fold(mistake, |mistake, (span, words)| {
        mistake.related(span, words)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(to: usize) -> Edge {
        Edge { to, need: None }
    }

    #[test]
    fn circles_are_found_as_paths_and_long_chains_do_not_overflow() {
        let edges = vec![vec![edge(1)], vec![edge(2)], vec![edge(0)], vec![edge(3)]];
        let found: Vec<Vec<usize>> = cycles(&edges)
            .iter()
            .map(|cycle| cycle.iter().map(|(at, _)| *at).collect())
            .collect();
        assert_eq!(found, [vec![0, 1, 2], vec![3]]);
        let chain: Vec<Vec<Edge>> = (0..200_000)
            .map(|at: usize| at.checked_sub(1).map(edge).into_iter().collect())
            .collect();
        assert!(cycles(&chain).is_empty());
    }
}
