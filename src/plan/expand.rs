//! Expands playbooks into pairs: selectors, items, playbooks inside playbooks, conditions that need no facts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::build::Request;
use super::growth::{Growth, Outer, Outermost, Place};
use super::items::Seat;
use super::order::{Edge, Leaves, Order, expansion_order};
use super::targets::{Chosen, TargetId, Targets, both};
use super::{Pair, When};
use crate::model::id::StepAddr;
use crate::model::mistake::Mistake;
use crate::model::playbook::{self, Body, Playbook, Step};
use crate::model::template::{self, Scope};
use crate::model::value::{Span, Value};
use crate::model::vars;

/// Collects pairs and mistakes.
pub(super) struct Builder<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) targets: &'a Targets<'a>,
    constants: &'a vars::Constants,
    limit: Option<BTreeSet<TargetId>>,
    pub mistakes: Vec<Mistake>,
    pub pairs: Vec<Pair>,
    pub order: Order,
    /// What only one pair may have, by the step that has it and where it is written.
    pub claimed: HashMap<String, (StepAddr, Span)>,
}

/// One use of a playbook.
struct Instance<'a> {
    playbook: &'a Playbook,
    /// The targets of each of its steps.
    steps: Vec<Chosen>,
    /// The playbook step around it; `None` for the outermost.
    around: Option<Around<'a>>,
    /// What is known of the targets so far.
    seats: HashMap<TargetId, Seat>,
    /// What the steps at a target name, by these steps.
    wanted: HashMap<Vec<usize>, Rc<BTreeSet<String>>>,
    /// How many playbooks are around it.
    depth: usize,
}

/// The playbook step around an instance.
struct Around<'a> {
    /// Its address, and the same without items.
    address: StepAddr,
    series: StepAddr,
    /// What it gives, rendered at each target in the scope around it.
    vars: &'a BTreeMap<String, Value>,
    /// Its targets as the playbook around it sees them.
    seats: BTreeMap<TargetId, Seat>,
}

/// A step of a playbook as one target sees it.
#[derive(Clone)]
pub(super) struct Site {
    pub scope: Scope,
    /// Conditions of the step and of the playbook steps around it that need facts.
    pub whens: Vec<When>,
    /// One of its conditions is known to be false.
    pub skip: Option<String>,
}

/// The deepest nesting of playbooks; cycles are refused by the loader, this only bounds the stack.
const MAX_DEPTH: usize = 32;

impl<'a> Builder<'a> {
    pub fn new(
        request: &'a Request<'a>,
        targets: &'a Targets<'a>,
        constants: &'a vars::Constants,
        limit: Option<BTreeSet<TargetId>>,
    ) -> Self {
        Self {
            request,
            targets,
            constants,
            limit,
            mistakes: Vec::new(),
            pairs: Vec::new(),
            order: Order::default(),
            claimed: HashMap::new(),
        }
    }

    /// Expands the playbook of the request.
    pub fn outermost(&mut self) {
        let request = self.request;
        self.mistakes
            .extend(vars::unknown_names(&request.playbook.vars, request.vars));
        let mut instance = self.used(request.playbook, None, 0);
        self.instance(&mut instance, &mut Outermost);
    }

    fn used(
        &mut self,
        playbook: &'a Playbook,
        around: Option<Around<'a>>,
        depth: usize,
    ) -> Instance<'a> {
        let within: Option<Chosen> = around
            .as_ref()
            .map(|around| around.seats.keys().copied().collect());
        let targets_of = |step: &'a Step| {
            let own = self.targets_of(step);
            within
                .as_ref()
                .map_or(own.clone(), |within| both(&own, within))
        };
        Instance {
            playbook,
            steps: playbook.steps.iter().map(targets_of).collect(),
            around,
            seats: HashMap::new(),
            wanted: HashMap::new(),
            depth,
        }
    }

    /// The targets of a step by its own words. `--limit` is applied where pairs are made, so that it cannot change what
    /// `first()` means.
    fn targets_of(&mut self, step: &'a Step) -> Chosen {
        match (self.targets.of_step(step), &step.on) {
            (Ok(targets), _) => targets,
            (Err(error), Some((_, span))) => {
                let place = span.part(error.at.start + 1..error.at.end + 1);
                let mistake = Mistake::error("bad-selector", place, error.message);
                self.mistakes.push(match error.hint {
                    Some(hint) => mistake.hint(hint),
                    None => mistake,
                });
                Chosen::default()
            }
            (Err(_), None) => Chosen::default(),
        }
    }

    fn instance(&mut self, instance: &mut Instance<'a>, outer: &mut dyn Outer) -> Leaves {
        let mut growth = Growth::default();
        let mut all = Leaves::new();
        let steps = &instance.playbook.steps;
        let Some(order) = expansion_order(steps) else {
            if let Some(step) = steps.first() {
                let path = &instance.playbook.path;
                let message = format!("the steps of {path} need each other in a circle");
                self.mistakes
                    .push(Mistake::error("needs-cycle", step.span, message));
            }
            return all;
        };
        for at in order {
            let Some(step) = steps.get(at) else { continue };
            growth.begin(&self.order, steps, at);
            let leaves = self.step(instance, at, step, &mut growth, outer);
            all.extend(&leaves);
            growth.step_done(&mut self.order, step, leaves);
        }
        all
    }

    fn step(
        &mut self,
        instance: &mut Instance<'a>,
        at: usize,
        step: &'a Step,
        growth: &mut Growth,
        outer: &mut dyn Outer,
    ) -> Leaves {
        let needs = resolved_needs(step, growth);
        let mut place = Place {
            growth,
            outer,
            needs: needs.as_deref(),
        };
        let targets = instance.steps.get(at).cloned().unwrap_or_default();
        let seats: Vec<(TargetId, Seat)> = targets
            .iter()
            .map(|target| (*target, self.seat(instance, *target)))
            .collect();
        let (address, series) = match &instance.around {
            Some(around) => (
                around.address.child(&step.id),
                around.series.child(&step.id),
            ),
            None => (
                StepAddr::new(step.id.as_str()),
                StepAddr::new(step.id.as_str()),
            ),
        };
        let groups = self.groups(step, &address, seats);
        match &step.body {
            Body::Kind { .. } => {
                let leaf = self.leaf(step, &instance.playbook.path, &series, groups, &mut place);
                vec![self.order.leaf(leaf)]
            }
            Body::Playbook { path, span, vars } => {
                let playbooks = self.request.playbooks;
                let found = playbooks.get(path);
                let Some(playbook) = found.filter(|_| instance.depth < MAX_DEPTH) else {
                    let message = format!("there is no playbook `{path}`");
                    self.mistakes
                        .push(Mistake::error("unknown-playbook", *span, message));
                    return Leaves::new();
                };
                let mut items = Vec::new();
                for group in groups {
                    let around = Around {
                        address: group.address,
                        series: series.clone(),
                        vars,
                        seats: group.seats.into_iter().collect(),
                    };
                    let mut inside = self.used(playbook, Some(around), instance.depth + 1);
                    items.push(self.instance(&mut inside, &mut place));
                }
                self.order.merged(&items)
            }
        }
    }

    /// The instance as seen at a target, made once per target. Nothing is rendered for a target that `--limit` removed,
    /// so a node can be left out while its vars are not complete yet.
    fn seat(&mut self, instance: &mut Instance<'a>, target: TargetId) -> Seat {
        if let Some(seat) = instance.seats.get(&target) {
            return seat.clone();
        }
        let seat = self.new_seat(instance, target);
        instance.seats.insert(target, seat.clone());
        seat
    }

    fn new_seat(&mut self, instance: &mut Instance<'a>, target: TargetId) -> Seat {
        let limit = self.limit.as_ref();
        if limit.is_some_and(|limit| !limit.contains(&target)) {
            return Seat::LeftOut;
        }
        let nothing = BTreeMap::new();
        let (given, command_line, whens) = match &instance.around {
            None => (BTreeMap::new(), self.request.vars, Vec::new()),
            Some(around) => match around.seats.get(&target) {
                Some(Seat::Here(site)) if site.skip.is_some() => return Seat::Here(site.clone()),
                Some(Seat::Here(site)) => match self.rendered_vars(around.vars, &site.scope) {
                    Some(given) => (given, &nothing, site.whens.clone()),
                    None => return Seat::LeftOut,
                },
                Some(Seat::LeftOut) | None => return Seat::LeftOut,
            },
        };
        let wanted = self.wanted(instance, target);
        let layers = vars::Layers {
            declared: &instance.playbook.vars,
            inventory: self.request.inventory,
            target: &self.targets.target(target),
            given: &given,
            command_line,
            wanted: Some(&wanted),
            constants: self.constants,
        };
        match vars::resolve(&layers, &self.targets.scope(target), self.request.secrets) {
            Ok(scope) => Seat::Here(Site {
                scope,
                whens,
                skip: None,
            }),
            Err(mistakes) => {
                self.mistakes.extend(mistakes);
                Seat::LeftOut
            }
        }
    }

    /// The names that the steps of a playbook at a target use.
    fn wanted(&self, instance: &mut Instance<'a>, target: TargetId) -> Rc<BTreeSet<String>> {
        let here = |targets: &Chosen| targets.binary_search(&target).is_ok();
        let steps = instance.steps.iter().enumerate();
        let steps: Vec<usize> = steps
            .filter(|(_, targets)| here(targets))
            .map(|(at, _)| at)
            .collect();
        let playbook = instance.playbook;
        let find = || {
            let steps = steps.iter().filter_map(|at| playbook.steps.get(*at));
            Rc::new(steps.flat_map(names_needed).collect())
        };
        if let Some(known) = instance.wanted.get(&steps) {
            return known.clone();
        }
        let found: Rc<BTreeSet<String>> = find();
        instance.wanted.insert(steps, found.clone());
        found
    }

    fn rendered_vars(
        &mut self,
        vars: &BTreeMap<String, Value>,
        scope: &Scope,
    ) -> Option<BTreeMap<String, Value>> {
        let mut rendered = BTreeMap::new();
        let before = self.mistakes.len();
        for (name, value) in vars {
            if template::secret_table(value).is_some_and(|(name, _)| !template::is_template(name)) {
                // The name of a secret is handed on as a name: it is opened where it is used, and only if it is.
                rendered.insert(name.clone(), value.clone());
                continue;
            }
            match template::render(value, scope, self.request.secrets) {
                Ok(value) => drop(rendered.insert(name.clone(), value)),
                Err(mistakes) => self.mistakes.extend(mistakes),
            }
        }
        (self.mistakes.len() == before).then_some(rendered)
    }
}

/// A step's `needs` as leaves; unknown steps were refused by the loader.
fn resolved_needs(step: &Step, growth: &Growth) -> Option<Vec<Edge>> {
    let edge = |need: &playbook::Need| {
        Some(Edge {
            leaves: growth.leaves(&need.step)?.clone(),
            across: need.across,
            tolerate: need.tolerate,
        })
    };
    step.needs
        .as_ref()
        .map(|needs| needs.iter().filter_map(edge).collect())
}

/// The names that anything of a step uses.
fn names_needed(step: &Step) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut of = |value: &Value| names.extend(template::names_needed(value));
    step.each.iter().for_each(&mut of);
    step.policy.gate.iter().for_each(|gate| of(&gate.table));
    match &step.body {
        Body::Kind { table, .. } => of(table),
        Body::Playbook { vars, .. } => vars.values().for_each(&mut of),
    }
    if let Some((when, _)) = &step.when {
        names.extend(template::names_used_by_expression(when));
    }
    names
}
