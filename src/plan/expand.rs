//! Expands playbooks into pairs: selectors, items, playbooks inside playbooks, conditions that need no facts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::build::Request;
use super::items::{Group, Seat};
use super::order::{
    Edge, Growth, Leaf, Leaves, Order, Outer, Outermost, Place, Spot, expansion_order,
};
use super::targets::{Chosen, TargetId, Targets, both};
use super::wish::{GateTable, Table, unknown_kind};
use super::{DEFAULT_TIMEOUT, Pair, Vertex, When, Work};
use crate::model::id::{PairId, StepAddr};
use crate::model::mistake::Mistake;
use crate::model::playbook::{self, Body, Playbook, Step};
use crate::model::template::{self, Scope};
use crate::model::value::Value;
use crate::model::vars;
use crate::steps::registry;

/// Collects pairs and mistakes.
pub(super) struct Builder<'a> {
    pub(super) request: &'a Request<'a>,
    targets: &'a Targets<'a>,
    constants: &'a vars::Constants,
    limit: Option<BTreeSet<TargetId>>,
    pub mistakes: Vec<Mistake>,
    pub pairs: Vec<Pair>,
    pub order: Order,
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
                let leaf = self.leaf(step, &series, groups, &mut place);
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

    /// The pairs of a step of a kind.
    fn leaf(
        &mut self,
        step: &'a Step,
        series: &StepAddr,
        groups: Vec<Group>,
        place: &mut Place<'_>,
    ) -> Leaf {
        let mut leaf = Leaf::default();
        let Body::Kind { kind, span, table } = &step.body else {
            return leaf;
        };
        let Some(info) = registry::kind(kind.as_str()) else {
            self.mistakes.push(unknown_kind(kind.as_str(), *span));
            return leaf;
        };
        let gate = GateTable::of(step).unwrap_or_else(|mistake| {
            self.mistakes.push(mistake);
            None
        });
        let mut tables = Tables {
            wish: Table::new(info, table),
            gate,
        };
        let mut spots: BTreeMap<TargetId, Vec<Spot>> = BTreeMap::new();
        for group in groups {
            for (target, seat) in group.seats {
                let spot = match seat {
                    Seat::LeftOut => self.left_out(target, place),
                    Seat::Here(site) => {
                        let Some((work, gate)) = self.work(&mut tables, &site) else {
                            continue;
                        };
                        let id = PairId(u32::try_from(self.pairs.len()).unwrap_or(u32::MAX));
                        let spot = self.pair_spot(id, target, place);
                        let policy = &step.policy;
                        self.pairs.push(Pair {
                            id,
                            step: group.address.clone(),
                            series: series.clone(),
                            target: self.targets.target(target),
                            kind: info,
                            work,
                            whens: site.whens,
                            serial: policy.serial,
                            retry: policy.retry,
                            timeout: policy.timeout.unwrap_or(DEFAULT_TIMEOUT),
                            gate,
                            vertex: spot.vertex.unwrap_or_default(),
                        });
                        spot
                    }
                };
                spots.entry(target).or_default().push(spot);
            }
        }
        for (target, spots) in spots {
            leaf.spots.insert(target, self.order.spot(&spots));
        }
        leaf
    }

    fn left_out(&mut self, target: TargetId, place: &mut Place<'_>) -> Spot {
        let before = place.before(&mut self.order, target);
        let before = self.order.reduced(before);
        let behind_chain = place.growth.is_behind_chain(&self.order, &before, target);
        Spot {
            vertex: self.order.join(before, 0),
            real: false,
            behind_chain,
        }
    }

    fn pair_spot(&mut self, id: PairId, target: TargetId, place: &mut Place<'_>) -> Spot {
        let vertex = self.order.graph.add_node(Vertex::Pair(id));
        let before = place.before(&mut self.order, target);
        let before = self.order.reduced(before);
        let behind_chain = place.growth.is_behind_chain(&self.order, &before, target);
        self.order.connect(&before, vertex);
        Spot {
            vertex: Some(vertex),
            real: true,
            behind_chain,
        }
    }

    /// What a pair is to do, and what must hold after it; `None` after a mistake.
    fn work(
        &mut self,
        tables: &mut Tables<'a>,
        site: &Site,
    ) -> Option<(Work, Option<super::Gate>)> {
        if let Some(reason) = &site.skip {
            return Some((Work::Skip(reason.clone()), None));
        }
        let wish = tables.wish.wish(&site.scope, self.request);
        let gate = tables
            .gate
            .as_mut()
            .map(|gate| gate.gate(&site.scope, self.request))
            .transpose();
        match (wish, gate) {
            (Ok(wish), Ok(gate)) => Some((Work::Wish(wish), gate)),
            (wish, gate) => {
                self.mistakes.extend(wish.err().into_iter().flatten());
                self.mistakes.extend(gate.err().into_iter().flatten());
                None
            }
        }
    }
}

/// The tables of a step of a kind.
struct Tables<'a> {
    wish: Table<'a>,
    gate: Option<GateTable<'a>>,
}

/// A step's `needs` as leaves; unknown steps were refused by the loader.
fn resolved_needs(step: &Step, growth: &Growth) -> Option<Vec<Edge>> {
    let edge = |need: &playbook::Need| {
        Some(Edge {
            leaves: growth.leaves(&need.step)?.clone(),
            across_all: need.across_all,
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
