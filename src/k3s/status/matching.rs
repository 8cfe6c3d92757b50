//! Which Node and which member of etcd are those of a machine. Its names there are its own affair (`node-name`, the host's name):
//! what the machine and its Node note themselves comes first, then names, then addresses.

use serde_json::Value;

use super::Seen;
use super::node::address_of;
use crate::k3s::look::Member;
use crate::model::kube::key::meta;

/// The Node of each machine, and the Nodes of none.
pub(super) fn nodes<'v>(
    seen: &[Seen],
    listed: &'v [Value],
) -> (Vec<Option<&'v Value>>, Vec<&'v Value>) {
    let mut left: Vec<&Value> = listed.iter().collect();
    let mut found = vec![None; seen.len()];
    // The surest rule for all first, so that no guess takes what another machine names.
    for rule in [notes_its_member, has_its_name, has_its_address] {
        let open = seen.iter().zip(&mut found);
        for (seen, found) in open.filter(|(_, found)| found.is_none()) {
            let at = left.iter().position(|node| rule(node, seen));
            *found = at.map(|at| left.remove(at));
        }
    }
    (found, left)
}

/// The member that a Node notes: `NODE-` and 8 hex digits, as on the disk of its machine.
fn noted(node: &Value) -> Option<&str> {
    let key = "/metadata/annotations/etcd.k3s.cattle.io~1node-name";
    node.pointer(key)
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
}

/// The member that a machine has on its disk.
fn kept(seen: &Seen) -> Option<&str> {
    let told = seen.told.as_ref().ok()?;
    Some(told.member.as_str()).filter(|name| !name.is_empty())
}

fn notes_its_member(node: &Value, seen: &Seen) -> bool {
    kept(seen).is_some() && noted(node) == kept(seen)
}

fn has_its_name(node: &Value, seen: &Seen) -> bool {
    meta(node, "name") == Some(name(seen))
}

fn has_its_address(node: &Value, seen: &Seen) -> bool {
    seen.address.is_some() && address_of(node) == seen.address
}

/// What its Node is called, by its own word where it told.
pub(super) fn name(seen: &Seen) -> &str {
    match &seen.told {
        Ok(told) if !told.node.is_empty() => &told.node,
        _ => &seen.name,
    }
}

/// By what a member is told to be somebody's.
pub(super) struct Who<'a> {
    /// Its name in etcd: by its disk, then by its Node.
    own: [Option<&'a str>; 2],
    /// The names of its Node.
    names: Vec<&'a str>,
    addresses: Vec<String>,
}

impl<'a> Who<'a> {
    /// A machine of the inventory, and its Node.
    pub(super) fn machine(seen: &'a Seen, node: Option<&'a Value>) -> Self {
        // One that tells that it has no data of etcd is not taken for a member by its mere address.
        let may = match &seen.told {
            Ok(told) => told.data.etcd,
            Err(_) => true,
        };
        let addresses = [seen.address.clone(), node.and_then(address_of)];
        let addresses = addresses.into_iter().flatten().filter(|_| may);
        let kube = node.and_then(|node| meta(node, "name"));
        Self {
            own: [kept(seen), node.and_then(noted)],
            names: [Some(name(seen)), kube].into_iter().flatten().collect(),
            addresses: addresses.collect(),
        }
    }

    /// A Node that the inventory does not have.
    pub(super) fn stranger(node: &'a Value) -> Self {
        Self {
            own: [None, noted(node)],
            names: meta(node, "name").into_iter().collect(),
            addresses: address_of(node).into_iter().collect(),
        }
    }

    /// Its name in etcd, by what it notes itself.
    pub(super) fn own(&self) -> Option<&'a str> {
        self.own.into_iter().flatten().next()
    }

    /// The place of its member.
    pub(super) fn member(&self, members: &[Member]) -> Option<usize> {
        let find = |is: &dyn Fn(&Member) -> bool| members.iter().position(is);
        let noted = self.own.into_iter().flatten();
        let mut noted = noted.filter_map(|own| find(&|member| member.name == own));
        noted
            .next()
            .or_else(|| {
                find(&|member| {
                    let node = member.node();
                    node.is_some_and(|node| self.names.contains(&node))
                })
            })
            .or_else(|| find(&|member| self.addresses.contains(&member.address)))
    }
}
