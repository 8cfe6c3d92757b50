//! The pairs of one step of a kind: what each is to do, and its place in the graph.

use std::collections::BTreeMap;

use super::expand::{Builder, Site};
use super::growth::{Outer, Place};
use super::items::{Group, Seat};
use super::order::{Leaf, Spot};
use super::targets::TargetId;
use super::wish::{GateTable, Table, unknown_kind};
use super::{Gate, Pair, Vertex, Work};
use crate::model::id::{PairId, StepAddr};
use crate::model::mistake::Mistake;
use crate::model::playbook::{Body, Step};
use crate::steps::{Written, registry};

impl<'a> Builder<'a> {
    /// The pairs of a step of a kind.
    pub(super) fn leaf(
        &mut self,
        step: &'a Step,
        playbook: &str,
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
        let written = Written {
            playbook: playbook.to_owned(),
            step: step.id.clone(),
        };
        let gate = GateTable::of(step, &written).unwrap_or_else(|mistake| {
            self.mistakes.push(mistake);
            None
        });
        let mut tables = Tables {
            wish: Table::new(info, table, &written),
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
                        self.claim(&work, &group.address, step);
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
                            serial: at_most(policy.serial, info.serial),
                            retry: policy.retry,
                            timeout: policy.timeout,
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

    /// Sees that no two pairs have what only one may have.
    fn claim(&mut self, work: &Work, address: &StepAddr, step: &Step) {
        let Work::Wish(wish) = work else { return };
        let Some(claim) = wish.claims() else { return };
        if let Some((other, span)) = self.claimed.get(&claim) {
            let message = format!("{claim} is that of the step {other} already");
            let mistake = Mistake::error("claimed-twice", step.span, message)
                .related(*span, "that step")
                .hint("give each step one of its own: two would undo each other's work");
            self.mistakes.push(mistake);
            return;
        }
        self.claimed.insert(claim, (address.clone(), step.span));
    }

    /// What a pair is to do, and what must hold after it; `None` after a mistake.
    fn work(&mut self, tables: &mut Tables<'_>, site: &Site) -> Option<(Work, Option<Gate>)> {
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

/// How many at once, by the playbook and by the kind: a playbook may only say less.
fn at_most(playbook: Option<u32>, kind: Option<u32>) -> Option<u32> {
    match (playbook, kind) {
        (Some(playbook), Some(kind)) => Some(playbook.min(kind)),
        (playbook, kind) => playbook.or(kind),
    }
}

/// The tables of a step of a kind.
struct Tables<'a> {
    wish: Table<'a>,
    gate: Option<GateTable<'a>>,
}
