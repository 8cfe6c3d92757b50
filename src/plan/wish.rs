//! Wishes and gates of a step: its tables rendered and decoded, once for all targets that see the same values.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::Gate;
use super::build::Request;
use crate::model::mistake::Mistake;
use crate::model::playbook::{self, Step};
use crate::model::template::{self, Scope};
use crate::model::value::Value;
use crate::steps::registry::{self, KindInfo};
use crate::steps::{Wish, Written};

/// Results that are kept: enough for vars that differ by group, few enough to look through.
const KEPT: usize = 4;

/// A table of a kind, and the wishes it gave.
pub(super) struct Table<'a> {
    info: &'static KindInfo,
    table: &'a Value,
    written: &'a Written,
    /// The names its templates mention.
    names: BTreeSet<String>,
    made: Vec<(Seen, Arc<dyn Wish>)>,
}

/// The values of a table's names at a target.
type Seen = Vec<Option<Arc<Json>>>;

impl<'a> Table<'a> {
    pub fn new(info: &'static KindInfo, table: &'a Value, written: &'a Written) -> Self {
        Self {
            info,
            table,
            written,
            names: template::names_mentioned(table),
            made: Vec::new(),
        }
    }

    /// The wish for a target. Secrets do not change while a plan is built, so equal values of all names give equal
    /// wishes.
    pub fn wish(
        &mut self,
        scope: &Scope,
        request: &Request<'_>,
    ) -> Result<Arc<dyn Wish>, Vec<Mistake>> {
        let same = |seen: &[Option<Arc<Json>>]| {
            let now = self.names.iter().map(|name| scope.shared(name));
            seen.iter().zip(now).all(|(then, now)| match (then, now) {
                (Some(then), Some(now)) => Arc::ptr_eq(then, now) || then == now,
                (None, None) => true,
                _ => false,
            })
        };
        if let Some((_, wish)) = self.made.iter().find(|(seen, _)| same(seen)) {
            return Ok(wish.clone());
        }
        let rendered = template::render(self.table, scope, request.secrets)?;
        let mut wish = (self.info.decode_rendered)(self.table, rendered)?;
        registry::resolve(&mut wish, self.table, request.pins)?;
        if let Some(wish) = Arc::get_mut(&mut wish) {
            wish.placed(self.written);
        }
        if self.made.len() == KEPT {
            self.made.remove(0);
        }
        let seen = self.names.iter().map(|name| scope.shared(name).cloned());
        self.made.push((seen.collect(), wish.clone()));
        Ok(wish)
    }
}

/// The gate of a step.
pub(super) struct GateTable<'a> {
    table: Table<'a>,
    gate: &'a playbook::Gate,
}

impl<'a> GateTable<'a> {
    /// `None` where it has none.
    pub fn of(step: &'a Step, written: &'a Written) -> Result<Option<Self>, Mistake> {
        let Some(gate) = &step.policy.gate else {
            return Ok(None);
        };
        match registry::kind(gate.kind.as_str()) {
            Some(info) => Ok(Some(Self {
                table: Table::new(info, &gate.table, written),
                gate,
            })),
            None => Err(unknown_kind(gate.kind.as_str(), gate.span)),
        }
    }

    /// The gate for a target.
    pub fn gate(&mut self, scope: &Scope, request: &Request<'_>) -> Result<Gate, Vec<Mistake>> {
        Ok(Gate {
            wish: self.table.wish(scope, request)?,
            timeout: self.gate.timeout,
            interval: self.gate.interval,
        })
    }
}

/// The loader knows the kinds; this is for playbooks from elsewhere.
pub(super) fn unknown_kind(kind: &str, span: crate::model::value::Span) -> Mistake {
    Mistake::error("unknown-kind", span, format!("there is no kind `{kind}`"))
}
