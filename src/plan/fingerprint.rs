//! The fingerprint of a plan: equal = the same wishes, conditions, policies and order.

use petgraph::graph::DiGraph;

use super::{Pair, Vertex, Work};
use crate::model::fingerprint::Fingerprinter;

/// Of all pairs and edges. Keyed, because wishes may hold what a template made of inventory values that nobody outside
/// should be able to guess; tainted values are in it as a mark only, so a rotated secret does not change a plan.
pub(super) fn of(
    pairs: &[Pair],
    graph: &DiGraph<Vertex, ()>,
    fingerprinter: &Fingerprinter,
) -> String {
    let mut text = String::new();
    for pair in pairs {
        text.push_str(&format!(
            "{} {} {} {:?} {:?} {} {:?}\n",
            pair.step,
            pair.target,
            pair.kind.name,
            pair.serial,
            pair.retry,
            pair.timeout,
            pair.vertex
        ));
        match &pair.work {
            Work::Skip(reason) => text.push_str(reason),
            Work::Wish(wish) => text.push_str(&wish.fingerprint_text()),
        }
        for when in &pair.whens {
            text.push_str(&format!("\nwhen {}", when.expression));
        }
        if let Some(gate) = &pair.gate {
            text.push_str(&format!(
                "\ngate {} {} {}",
                gate.wish.fingerprint_text(),
                gate.timeout,
                gate.interval
            ));
        }
        text.push('\n');
    }
    for (vertex, weight) in graph.node_weights().enumerate() {
        text.push_str(&format!("{vertex} {weight:?}\n"));
    }
    for edge in graph.raw_edges() {
        text.push_str(&format!(
            "{} {}\n",
            edge.source().index(),
            edge.target().index()
        ));
    }
    fingerprinter.fingerprint("plan", text.as_bytes())
}
