//! Expands playbooks into pairs: selectors, items, playbooks inside playbooks, conditions that need no facts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::{Request, base_scope};
use super::order::{Edge, Growth, Inside, Leaf, Leaves, Order, Outer, Outermost, expansion_order};
use super::{DEFAULT_TIMEOUT, Gate, Pair, Vertex, When, Work};
use crate::model::id::{PairId, StepAddr, Target};
use crate::model::mistake::Mistake;
use crate::model::playbook::{self, Body, Playbook, Step};
use crate::model::template::{self, Scope};
use crate::model::value::{Data, Value};
use crate::model::vars;
use crate::steps::registry::{self, KindInfo};
use crate::steps::{Scope as KindScope, Wish};

/// Collects pairs and mistakes.
pub(super) struct Builder<'a> {
    request: &'a Request<'a>,
    limit: Option<BTreeSet<Target>>,
    pub mistakes: Vec<Mistake>,
    pub pairs: Vec<Pair>,
    pub order: Order,
}

/// One use of a playbook.
struct Instance<'a> {
    playbook: &'a Playbook,
    /// Address of the playbook step; `None` for the outermost.
    prefix: Option<StepAddr>,
    /// `on` of all playbook steps around it.
    within: Option<BTreeSet<Target>>,
    /// Conditions and scopes by target.
    sites: BTreeMap<Target, Site>,
    /// How the outer scope gives each target its vars.
    given: Given<'a>,
    /// How many playbooks are around it.
    depth: usize,
}

/// Where the vars of an instance come from.
enum Given<'a> {
    /// The command line.
    CommandLine,
    /// A playbook step: its `vars` table, rendered at each target in the scope around it.
    Step {
        vars: &'a BTreeMap<String, Value>,
        outer: BTreeMap<Target, Arc<Scope>>,
        sites: BTreeMap<Target, Site>,
    },
}

/// An instance at one target.
#[derive(Clone)]
struct Site {
    scope: Arc<Scope>,
    /// Conditions of the playbook steps around it that need facts.
    whens: Vec<When>,
    /// One of them is known to be false.
    skip: Option<String>,
}

/// The deepest nesting of playbooks; cycles are refused by the loader, this only bounds the stack.
const MAX_DEPTH: usize = 32;

impl<'a> Builder<'a> {
    pub fn new(request: &'a Request<'a>, limit: Option<BTreeSet<Target>>) -> Self {
        Self {
            request,
            limit,
            mistakes: Vec::new(),
            pairs: Vec::new(),
            order: Order::default(),
        }
    }

    /// Expands the playbook of the request.
    pub fn outermost(&mut self) {
        self.mistakes.extend(vars::unknown_names(
            &self.request.playbook.vars,
            self.request.vars,
        ));
        let mut instance = Instance {
            playbook: self.request.playbook,
            prefix: None,
            within: None,
            sites: BTreeMap::new(),
            given: Given::CommandLine,
            depth: 0,
        };
        self.instance(&mut instance, &mut Outermost);
    }

    fn instance(&mut self, instance: &mut Instance<'a>, outer: &mut dyn Outer) -> Leaves {
        let mut growth = Growth::default();
        let mut all = Leaves::new();
        let steps = &instance.playbook.steps;
        let Some(order) = expansion_order(steps) else {
            if let Some(step) = steps.first() {
                let message = format!(
                    "the steps of {} need each other in a circle",
                    instance.playbook.path
                );
                self.mistakes
                    .push(Mistake::error("cycle", step.span, message));
            }
            return all;
        };
        for at in order {
            let Some(step) = steps.get(at) else { continue };
            let above = steps
                .iter()
                .take(at)
                .rev()
                .filter_map(|step| growth.steps.get(&step.id));
            let nearest = above
                .clone()
                .find(|leaves| self.order.has_pairs(leaves))
                .cloned();
            growth.above = nearest.unwrap_or_default();
            let leaves = self.step(instance, step, &mut growth, outer);
            all.extend(&leaves);
            growth.step_done(&mut self.order, &step.id, leaves);
        }
        all
    }

    fn step(
        &mut self,
        instance: &mut Instance<'a>,
        step: &'a Step,
        growth: &mut Growth,
        outer: &mut dyn Outer,
    ) -> Leaves {
        let needs = resolved_needs(step, growth);
        let targets = self.targets(instance, step);
        let sites: Vec<(Target, Site)> = targets
            .into_iter()
            .filter_map(|target| Some((target.clone(), self.site(instance, &target)?)))
            .collect();
        let series = match &instance.prefix {
            Some(prefix) => prefix.child(&step.id),
            None => StepAddr::new(step.id.as_str()),
        };
        let mut leaves = Leaves::new();
        for (address, sites) in self.items(step, &series, sites) {
            let mut around = Around {
                growth: &mut *growth,
                outer: &mut *outer,
                needs: needs.as_deref(),
            };
            leaves.extend(self.body(instance, step, &series, &address, sites, &mut around));
        }
        leaves
    }

    /// One item of a step: a leaf, or all leaves of the playbook it uses.
    fn body(
        &mut self,
        instance: &Instance<'a>,
        step: &'a Step,
        series: &StepAddr,
        address: &StepAddr,
        sites: Vec<(Target, Site)>,
        around: &mut Around<'_>,
    ) -> Leaves {
        match &step.body {
            Body::Kind { kind, span, table } => match registry::kind(kind.as_str()) {
                Some(info) => vec![self.leaf(
                    &Place {
                        step,
                        info,
                        table,
                        series,
                        address,
                    },
                    sites,
                    around,
                )],
                None => {
                    self.mistakes.push(Mistake::error(
                        "unknown-kind",
                        *span,
                        format!("there is no kind {kind}"),
                    ));
                    Leaves::new()
                }
            },
            Body::Playbook { path, span, vars } => {
                match self
                    .request
                    .playbooks
                    .get(path)
                    .filter(|_| instance.depth < MAX_DEPTH)
                {
                    Some(playbook) => {
                        let mut inside =
                            self.inside(instance, step, playbook, vars, address, sites);
                        self.instance(&mut inside, &mut around.place())
                    }
                    None => {
                        let message = format!("there is no playbook {path}");
                        self.mistakes
                            .push(Mistake::error("unknown-playbook", *span, message));
                        Leaves::new()
                    }
                }
            }
        }
    }

    /// The targets of a step: its `on` on the whole inventory, within those of the playbook steps around it. `--limit`
    /// is applied where pairs are made, so that it cannot change what `first()` means.
    fn targets(&mut self, instance: &Instance<'a>, step: &Step) -> Vec<Target> {
        let chosen = match &step.on {
            Some((selector, span)) => match selector.targets(self.request.inventory) {
                Ok(targets) => targets,
                Err(error) => {
                    let place = span.part(error.at.start + 1..error.at.end + 1);
                    let mistake = Mistake::error("bad-selector", place, error.message);
                    self.mistakes.push(match error.hint {
                        Some(hint) => mistake.hint(hint),
                        None => mistake,
                    });
                    Vec::new()
                }
            },
            None => match &step.body {
                Body::Playbook { .. } => self.everything(),
                Body::Kind { kind, .. } => {
                    match registry::kind(kind.as_str()).map(|info| info.scope) {
                        Some(KindScope::Cluster) => vec![Target::Cluster],
                        _ => Vec::new(),
                    }
                }
            },
        };
        chosen
            .into_iter()
            .filter(|target| {
                instance
                    .within
                    .as_ref()
                    .is_none_or(|within| within.contains(target))
            })
            .collect()
    }

    fn everything(&self) -> Vec<Target> {
        let nodes = self
            .request
            .inventory
            .nodes
            .iter()
            .map(|node| Target::Node(node.name.clone()));
        nodes.chain([Target::Cluster, Target::Controller]).collect()
    }

    fn is_limited_out(&self, target: &Target) -> bool {
        self.limit
            .as_ref()
            .is_some_and(|limit| !limit.contains(target))
    }

    /// The instance as seen at a target, made once per target. `None` after a mistake, or for a target that `--limit`
    /// removed (nothing of it is rendered, so a node can be left out while its vars are not complete yet).
    fn site(&mut self, instance: &mut Instance<'a>, target: &Target) -> Option<Site> {
        if self.is_limited_out(target) {
            return None;
        }
        if let Some(site) = instance.sites.get(target) {
            return Some(site.clone());
        }
        let base = base_scope(self.request.inventory, target);
        let (given, whens, skip) = match &instance.given {
            Given::CommandLine => (BTreeMap::new(), Vec::new(), None),
            Given::Step { vars, outer, sites } => {
                let site = sites.get(target)?;
                let scope = outer.get(target)?;
                let rendered = match site.skip {
                    Some(_) => BTreeMap::new(),
                    None => self.rendered_vars(vars, scope)?,
                };
                (rendered, site.whens.clone(), site.skip.clone())
            }
        };
        let mut scope = base.clone();
        if skip.is_none() {
            let nothing = BTreeMap::new();
            let command_line = match &instance.given {
                Given::CommandLine => self.request.vars,
                Given::Step { .. } => &nothing,
            };
            let layers = vars::Layers {
                declared: &instance.playbook.vars,
                inventory: self.request.inventory,
                target,
                given: &given,
                command_line,
            };
            match vars::resolve(&layers, &base, self.request.secrets) {
                Ok(values) => values
                    .iter()
                    .for_each(|(name, value)| scope.set(name, value)),
                Err(mistakes) => {
                    self.mistakes.extend(mistakes);
                    return None;
                }
            }
        }
        let site = Site {
            scope: Arc::new(scope),
            whens,
            skip,
        };
        instance.sites.insert(target.clone(), site.clone());
        Some(site)
    }

    fn rendered_vars(
        &mut self,
        vars: &BTreeMap<String, Value>,
        scope: &Scope,
    ) -> Option<BTreeMap<String, Value>> {
        let mut rendered = BTreeMap::new();
        let before = self.mistakes.len();
        for (name, value) in vars {
            if template::secret_table(value).is_some() {
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

    /// One entry for a plain step; one per item for `each`, in the order the items first appear.
    fn items(
        &mut self,
        step: &Step,
        series: &StepAddr,
        sites: Vec<(Target, Site)>,
    ) -> Vec<(StepAddr, Vec<(Target, Site)>)> {
        let Some(each) = &step.each else {
            return vec![(series.clone(), sites)];
        };
        let mut found: Vec<(StepAddr, Vec<(Target, Site)>)> = Vec::new();
        for (target, site) in sites {
            let items = if site.skip.is_some() {
                Vec::new()
            } else {
                self.each_items(each, &site.scope)
            };
            for (at, item) in items.into_iter().enumerate() {
                let address = series.item(&item_name(&item, at));
                let mut scope = (*site.scope).clone();
                scope.set("item", &item);
                let site = Site {
                    scope: Arc::new(scope),
                    ..site.clone()
                };
                match found.iter_mut().find(|(known, _)| *known == address) {
                    Some((_, sites)) if sites.iter().any(|(known, _)| *known == target) => {
                        self.mistakes.push(
                            Mistake::error(
                                "duplicate-item",
                                item.span,
                                format!("two items make the step {address}"),
                            )
                            .hint("items are told apart by their text, or by their `name` or `id`"),
                        );
                    }
                    Some((_, sites)) => sites.push((target.clone(), site)),
                    None => found.push((address, vec![(target.clone(), site)])),
                }
            }
        }
        found
    }

    fn each_items(&mut self, each: &Value, scope: &Scope) -> Vec<Value> {
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

    fn inside(
        &mut self,
        instance: &Instance<'a>,
        step: &'a Step,
        playbook: &'a Playbook,
        vars: &'a BTreeMap<String, Value>,
        address: &StepAddr,
        sites: Vec<(Target, Site)>,
    ) -> Instance<'a> {
        let mut outer = BTreeMap::new();
        let mut inner_sites = BTreeMap::new();
        let mut within = BTreeSet::new();
        for (target, site) in sites {
            let decided = self.decide_when(step, site);
            outer.insert(target.clone(), decided.scope.clone());
            within.insert(target.clone());
            inner_sites.insert(target, decided);
        }
        Instance {
            playbook,
            prefix: Some(address.clone()),
            within: Some(within),
            sites: BTreeMap::new(),
            given: Given::Step {
                vars,
                outer,
                sites: inner_sites,
            },
            depth: instance.depth + 1,
        }
    }

    /// Adds a step's `when` to a site: decided at once where it needs no facts.
    fn decide_when(&mut self, step: &Step, mut site: Site) -> Site {
        let Some((expression, span)) = step.when.as_ref().filter(|_| site.skip.is_none()) else {
            return site;
        };
        if template::facts_named(expression).is_empty() {
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

    fn leaf(
        &mut self,
        place: &Place<'_>,
        sites: Vec<(Target, Site)>,
        around: &mut Around<'_>,
    ) -> usize {
        let mut leaf = Leaf::default();
        let mut shared = None;
        for (target, site) in sites {
            let site = self.decide_when(place.step, site);
            let work = match &site.skip {
                Some(reason) => Work::Skip(reason.clone()),
                None => match self.wish(place, &site.scope, &mut shared) {
                    Some(wish) => Work::Wish(wish),
                    None => continue,
                },
            };
            let gate = match self.gate(place.step, &site) {
                Ok(gate) => gate,
                Err(mistakes) => {
                    self.mistakes.extend(mistakes);
                    continue;
                }
            };
            let id = PairId(u32::try_from(self.pairs.len()).unwrap_or(u32::MAX));
            let vertex = self.order.graph.add_node(Vertex::Pair(id));
            let before = around.place().before(&mut self.order, &target);
            self.order.connect(before, vertex);
            leaf.pairs.insert(target.clone(), vertex);
            let policy = &place.step.policy;
            self.pairs.push(Pair {
                id,
                step: place.address.clone(),
                series: place.series.clone(),
                target,
                kind: place.info,
                work,
                whens: site.whens,
                serial: policy.serial,
                retry: policy.retry,
                timeout: policy.timeout.unwrap_or(DEFAULT_TIMEOUT),
                gate,
                vertex,
            });
        }
        self.order.leaves.push(leaf);
        self.order.leaves.len() - 1
    }

    /// The wish of one pair. A table without templates is decoded once for all targets.
    fn wish(
        &mut self,
        place: &Place<'_>,
        scope: &Scope,
        shared: &mut Option<Arc<dyn Wish>>,
    ) -> Option<Arc<dyn Wish>> {
        if let Some(wish) = shared {
            return Some(wish.clone());
        }
        match rendered_wish(place.info, place.table, scope, self.request) {
            Ok(wish) => {
                if !has_templates(place.table) {
                    *shared = Some(wish.clone());
                }
                Some(wish)
            }
            Err(mistakes) => {
                self.mistakes.extend(mistakes);
                None
            }
        }
    }

    fn gate(&self, step: &Step, site: &Site) -> Result<Option<Gate>, Vec<Mistake>> {
        let Some(gate) = step.policy.gate.as_ref().filter(|_| site.skip.is_none()) else {
            return Ok(None);
        };
        let unknown = || {
            vec![Mistake::error(
                "unknown-kind",
                gate.span,
                format!("there is no kind {}", gate.kind),
            )]
        };
        let info = registry::kind(gate.kind.as_str()).ok_or_else(unknown)?;
        let wish = rendered_wish(info, &gate.table, &site.scope, self.request)?;
        Ok(Some(Gate {
            wish,
            timeout: gate.timeout,
            interval: gate.interval,
        }))
    }
}

/// A step of a kind, while its pairs are made.
struct Place<'b> {
    step: &'b Step,
    info: &'static KindInfo,
    table: &'b Value,
    series: &'b StepAddr,
    address: &'b StepAddr,
}

/// What stands before the pairs of a step.
struct Around<'b> {
    growth: &'b mut Growth,
    outer: &'b mut dyn Outer,
    needs: Option<&'b [Edge]>,
}

impl Around<'_> {
    fn place(&mut self) -> Inside<'_> {
        Inside {
            growth: self.growth,
            outer: self.outer,
            needs: self.needs,
        }
    }
}

/// A step's `needs` as leaves; unknown steps were refused by the loader.
fn resolved_needs(step: &Step, growth: &Growth) -> Option<Vec<Edge>> {
    let edge = |need: &playbook::Need| {
        let leaves = growth.steps.get(&need.step)?.clone();
        Some(Edge {
            leaves,
            across_all: need.across_all,
            tolerate: need.tolerate,
        })
    };
    step.needs
        .as_ref()
        .map(|needs| needs.iter().filter_map(edge).collect())
}

fn rendered_wish(
    info: &KindInfo,
    table: &Value,
    scope: &Scope,
    request: &Request<'_>,
) -> Result<Arc<dyn Wish>, Vec<Mistake>> {
    let rendered = template::render(table, scope, request.secrets)?;
    (info.decode_rendered)(table, rendered)
}

fn has_templates(value: &Value) -> bool {
    match &value.data {
        Data::String(text) => template::is_template(text),
        Data::Tainted(_) => true,
        Data::List(items) => items.iter().any(has_templates),
        Data::Table(entries) => {
            template::secret_table(value).is_some()
                || entries.iter().any(|(_, value)| has_templates(value))
        }
        Data::Integer(_) | Data::Float(_) | Data::Bool(_) | Data::Datetime(_) => false,
    }
}

/// What an item is called in its step's address.
fn item_name(item: &Value, position: usize) -> String {
    let named = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    match &item.data {
        Data::String(text) => text.clone(),
        Data::Integer(n) => n.to_string(),
        Data::Bool(b) => b.to_string(),
        _ => named("name")
            .or_else(|| named("id"))
            .unwrap_or_else(|| position.to_string()),
    }
}
