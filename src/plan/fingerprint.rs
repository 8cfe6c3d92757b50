//! The fingerprint of a plan: equal = the same wishes, conditions, policies and order.

use std::collections::HashMap;
use std::sync::Arc;

use petgraph::graph::DiGraph;
use serde_json::Value as Json;

use super::{Pair, Vertex, When, Work};
use crate::model::fingerprint::Fingerprinter;
use crate::model::sensitive::TAINT_KEY;
use crate::model::template;
use crate::steps::Wish;

/// Of all pairs and edges. Keyed, because wishes may hold what a template made of inventory values that nobody outside
/// should be able to guess; tainted values are in it as a mark only, so a rotated secret does not change a plan.
pub(super) fn of(
    pairs: &[Pair],
    graph: &DiGraph<Vertex, ()>,
    fingerprinter: &Fingerprinter,
) -> String {
    let mut text = Fields::default();
    let mut wishes = Wishes {
        fingerprinter,
        known: HashMap::new(),
    };
    for pair in pairs {
        text.add(pair.step.as_str());
        text.add(pair.series.as_str());
        text.add(&format!("{:?}", pair.target));
        text.add(pair.kind.name);
        let policies = (pair.serial, pair.retry, pair.timeout, pair.vertex.index());
        text.add(&format!("{policies:?}"));
        match &pair.work {
            Work::Skip(reason) => {
                text.add("skip");
                text.add(reason);
            }
            Work::Wish(wish) => {
                text.add("wish");
                text.add(&wishes.fingerprint(wish));
            }
        }
        for when in &pair.whens {
            text.add("when");
            text.add(&when.expression);
            text.add(&seen_by(when).to_string());
        }
        if let Some(gate) = &pair.gate {
            text.add("gate");
            text.add(&wishes.fingerprint(&gate.wish));
            text.add(&format!("{:?} {:?}", gate.timeout, gate.interval));
        }
        text.add("");
    }
    for weight in graph.node_weights() {
        text.add(&format!("{weight:?}"));
    }
    for edge in graph.raw_edges() {
        text.add(&format!(
            "{} {}",
            edge.source().index(),
            edge.target().index()
        ));
    }
    fingerprinter.fingerprint("plan", text.0.as_bytes())
}

/// Texts whose borders cannot be moved.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(&mut self, text: &str) {
        self.0.push_str(&text.len().to_string());
        self.0.push(':');
        self.0.push_str(text);
    }
}

/// Fingerprints of wishes: 1,000 large files are never in memory as text at once, and one wish of 1,000 targets is
/// written out once.
struct Wishes<'a> {
    fingerprinter: &'a Fingerprinter,
    known: HashMap<*const (), String>,
}

impl Wishes<'_> {
    fn fingerprint(&mut self, wish: &Arc<dyn Wish>) -> String {
        // The plan holds every wish while this is made, so an address is one wish.
        let address = Arc::as_ptr(wish).cast::<()>();
        let made = self.known.entry(address).or_insert_with(|| {
            let text = wish.fingerprint_text();
            self.fingerprinter.fingerprint("wish", text.as_bytes())
        });
        made.clone()
    }
}

/// The values that a condition looks at beside facts.
fn seen_by(when: &When) -> Json {
    template::names_used_by_expression(&when.expression)
        .into_iter()
        .filter_map(|name| {
            let value = when.scope.get(&name)?.clone();
            Some((name, without_secrets(value)))
        })
        .collect()
}

fn without_secrets(value: Json) -> Json {
    match value {
        Json::Object(entries) if entries.contains_key(TAINT_KEY) => Json::from("<secret>"),
        Json::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, without_secrets(value)))
            .collect(),
        Json::Array(items) => items.into_iter().map(without_secrets).collect(),
        other => other,
    }
}
