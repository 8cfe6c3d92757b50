//! `[step.gate]`: a check that must hold before the next target starts.

use super::step::{check_kind, positive};
use super::{Lowering, listed, only};
use crate::config::raw;
use crate::model::id::KindName;
use crate::model::mistake::{Mistake, nearest};
use crate::model::playbook::Gate;
use crate::model::units::TimeSpan;
use crate::model::value::{Data, Key, Value};
use crate::steps::Class;
use crate::steps::registry::KindInfo;

/// Keys of a gate that are not its kind's.
const GATE_KEYS: [&str; 2] = ["timeout", "interval"];

/// Reads a gate.
pub(super) fn gate(low: &mut Lowering<'_>, table: &Value) -> Option<Gate> {
    let entries = low.table(table, "`gate`");
    if !matches!(table.data, Data::Table(_)) {
        return None;
    }
    let own = only(table, |key| GATE_KEYS.contains(&key.name.as_str()));
    let raw = low.decode::<raw::Gate>(&own).unwrap_or_default();
    let checks: Vec<&str> = low
        .kinds
        .iter()
        .filter(|kind| kind.class == Class::Check)
        .map(|kind| kind.name)
        .collect();
    let mut bodies = Vec::new();
    let before = low.mistakes.len();
    for (key, value) in entries {
        let name = key.name.as_str();
        if checks.contains(&name) {
            bodies.push((key, value));
        } else if !GATE_KEYS.contains(&name) {
            let mistake = not_a_gate(low.kinds, key, &checks);
            low.mistakes.push(mistake);
        }
    }
    let one = match bodies.as_slice() {
        [(key, value)] => Some((*key, *value)),
        [] if low.mistakes.len() > before => None,
        _ => {
            low.error(
                "bad-gate",
                table.span,
                format!(
                    "a gate has exactly one check, this one has {}",
                    bodies.len()
                ),
                format!("give it one of these tables: {}", listed(&checks)),
            );
            None
        }
    };
    let (key, body) = one?;
    let kind = low.kinds.iter().find(|kind| kind.name == key.name)?;
    check_kind(low, kind, body, &format!("step.gate.{}", kind.name));
    let seconds = |n| TimeSpan(std::time::Duration::from_secs(n));
    Some(Gate {
        kind: KindName::new(kind.name),
        span: key.span,
        table: body.clone(),
        timeout: positive(low, table, "timeout", raw.timeout).unwrap_or(seconds(300)),
        interval: positive(low, table, "interval", raw.interval).unwrap_or(seconds(2)),
    })
}

fn not_a_gate(kinds: &[KindInfo], key: &Key, checks: &[&str]) -> Mistake {
    if kinds.iter().any(|kind| kind.name == key.name) {
        return Mistake::error(
            "bad-gate",
            key.span,
            format!("`{}` changes things, so it cannot be a gate", key.name),
        )
        .hint(format!(
            "a gate only looks; it takes one of: {}",
            listed(checks)
        ));
    }
    let known = GATE_KEYS.iter().chain(checks).copied();
    let hint = match nearest(&key.name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "a gate has {} and one of: {}",
            listed(&GATE_KEYS),
            listed(checks)
        ),
    };
    Mistake::error(
        "unknown-key",
        key.span,
        format!("a gate has no key `{}`", key.name),
    )
    .hint(hint)
}
