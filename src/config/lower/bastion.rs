//! `[bastion.NAME]`: machines that others are reached through, and the names that call them.

use super::inventory::{host, host_keys, name};
use super::{Lowering, listed};
use crate::config::raw;
use crate::model::inventory::{Bastion, Via};
use crate::model::mistake::{Mistake, nearest};
use crate::model::value::{Data, Key, Value};

/// What `bastion` says where no bastion is meant; so none can be called that.
const NONE: &str = "none";

/// The jump hosts of an inventory.
pub(super) fn bastions(low: &mut Lowering<'_>, root: &Value) -> Vec<Bastion> {
    let Some(table) = root.get("bastion") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in low.table(table, "`bastion`") {
        name(low, &key.name, key.span, "a bastion");
        if key.name == NONE {
            low.error(
                "bad-name",
                key.span,
                "`bastion = \"none\"` means no bastion",
                "choose another name",
            );
        }
        low.table(value, "a bastion");
        let is_table = matches!(value.data, Data::Table(_));
        let decoded = is_table
            .then(|| low.decode::<raw::Bastion>(value))
            .flatten();
        if let Some(raw) = decoded {
            found.push(bastion(low, key, value, raw));
        }
    }
    for (_, value) in root.get("bastion").map_or(&[][..], Value::entries) {
        known(low, root, value);
    }
    circles(low, &found);
    found
}

fn bastion(low: &mut Lowering<'_>, key: &Key, table: &Value, raw: raw::Bastion) -> Bastion {
    match (&raw.address, table.get("address")) {
        (Some(address), Some(value)) => host(low, address, value.span),
        _ => low.error(
            "missing-key",
            key.span,
            format!("bastion `{}` has no `address`", key.name),
            "add `address = \"...\"`",
        ),
    }
    host_keys(low, table, &raw.host_keys);
    Bastion {
        name: key.name.clone(),
        span: key.span,
        address: raw.address.unwrap_or_default(),
        port: raw.port.map(u16::from),
        user: raw.user,
        identity: raw.identity,
        host_keys: raw.host_keys,
        via: via(raw.bastion.as_deref()),
    }
}

/// What `bastion = "..."` means.
pub(super) fn via(name: Option<&str>) -> Via {
    match name {
        None => Via::SshConfig,
        Some(NONE) => Via::Direct,
        Some(name) => Via::Bastion(name.to_owned()),
    }
}

/// Notes a `bastion` of this table that is not in the inventory.
pub(super) fn known(low: &mut Lowering<'_>, root: &Value, table: &Value) {
    let Some((value, name)) = table
        .get("bastion")
        .and_then(|value| Some((value, value.as_str()?)))
    else {
        return;
    };
    let keys = root.get("bastion").map_or(&[][..], Value::entries);
    let names: Vec<&str> = keys.iter().map(|(key, _)| key.name.as_str()).collect();
    if name == NONE || names.contains(&name) {
        return;
    }
    let hint = match nearest(name, names.iter().copied().chain([NONE])) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => format!("add `[bastion.{name}]` with an `address`"),
        None => format!(
            "add `[bastion.{name}]` with an `address`, or name one of {}",
            listed(&names)
        ),
    };
    low.error(
        "unknown-bastion",
        value.span,
        format!("there is no bastion `{name}`"),
        hint,
    );
}

/// Notes bastions that are reached through themselves; each circle once, at its first bastion in the file.
fn circles(low: &mut Lowering<'_>, bastions: &[Bastion]) {
    let next = |from: &Bastion| match &from.via {
        Via::Bastion(name) => bastions.iter().position(|bastion| bastion.name == *name),
        Via::SshConfig | Via::Direct => None,
    };
    for (start, first) in bastions.iter().enumerate() {
        let mut way = vec![start];
        let mut at = next(first);
        while let Some(index) = at.filter(|index| !way.contains(index)) {
            way.push(index);
            at = bastions.get(index).and_then(next);
        }
        let is_first = way.iter().all(|index| *index >= start);
        if at == Some(start) && is_first {
            let names = way.iter().chain([&start]);
            let names: Vec<String> = names
                .filter_map(|index| bastions.get(*index))
                .map(|bastion| format!("`{}`", bastion.name))
                .collect();
            low.mistakes.push(
                Mistake::error(
                    "bastion-circle",
                    first.span,
                    format!(
                        "a bastion is reached through itself: {}",
                        names.join(" -> ")
                    ),
                )
                .hint("remove `bastion` from the one that is reached first"),
            );
        }
    }
}
