//! Which Node and which member of etcd are those of a machine. Its names there are its own affair (`node-name`, the host's name):
//! what the machine and its Node note themselves comes first, then names, then addresses; and nothing is given to a machine that
//! another one of the inventory lays claim to as well, or has the address of.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::Seen;
use super::claims::{Claims, Disputed, Owners, of};
use super::node::addresses_of;
use crate::k3s::look::Member;
use crate::model::kube::key::meta;
use crate::model::outcome::Failure;

/// A name that several machines lay claim to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dispute {
    /// What they claim, in words: "Node `n1`".
    pub what: String,
    /// The name of the Node, where that is what they claim.
    pub node: Option<String>,
    /// The machines, by their names in the inventory.
    pub machines: Vec<String>,
    /// Whose it is was told all the same, by the address that it has.
    pub settled: bool,
}

/// What was found out of the Nodes.
pub(super) struct Nodes<'v> {
    /// That of each machine.
    pub(super) own: Vec<Option<&'v Value>>,
    /// Those of none.
    pub(super) strangers: Vec<&'v Value>,
    /// Those that may be several machines'.
    pub(super) disputes: Vec<Dispute>,
}

/// The Node of each machine.
pub(super) fn nodes<'v>(seen: &[Seen], listed: &'v [Value]) -> Nodes<'v> {
    let both = |is: fn(&Value, &Seen) -> bool| {
        move |node: usize, who: usize| {
            of(listed, &|node| of(seen, &|seen| is(node, seen), who), node)
        }
    };
    let claims = Claims {
        things: listed.len(),
        claimants: seen.len(),
        rules: &[&both(notes_its_member), &both(has_its_name)],
        is_at: &both(has_its_address),
        by_address: &|_| true,
    };
    let (owners, disputed) = claims.settle();
    let mut found = vec![None; seen.len()];
    let mut strangers = Vec::new();
    for (node, owner) in listed.iter().zip(owners) {
        match owner.and_then(|who| found.get_mut(who)) {
            Some(own) => *own = Some(node),
            None => strangers.push(node),
        }
    }
    let disputed = disputed.into_iter().filter_map(|(node, who)| {
        let node = meta(listed.get(node)?, "name")?;
        Some(Dispute {
            what: format!("Node `{node}`"),
            node: Some(node.to_owned()),
            machines: names(seen, &who),
            settled: false,
        })
    });
    let mut disputes: Vec<Dispute> = disputed.collect();
    for alike in same_names(seen) {
        let known = |dispute: &Dispute| {
            alike
                .machines
                .iter()
                .all(|one| dispute.machines.contains(one))
        };
        if !disputes.iter().any(known) {
            disputes.push(alike);
        }
    }
    Nodes {
        own: found,
        strangers,
        disputes,
    }
}

fn names(seen: &[Seen], who: &[usize]) -> Vec<String> {
    let names = who.iter().filter_map(|who| seen.get(*who));
    names.map(|seen| seen.name.clone()).collect()
}

/// Those of them that say more: not of the same machines.
pub(super) fn further<'d>(
    known: &[Dispute],
    more: impl Iterator<Item = &'d Dispute>,
) -> Vec<Dispute> {
    let is_known = |dispute: &&Dispute| {
        let mut open = known.iter().filter(|one| !one.settled);
        open.any(|one| one.machines == dispute.machines)
    };
    more.filter(|dispute| !is_known(dispute)).cloned().collect()
}

impl Dispute {
    /// In words, with what to do.
    pub fn failure(&self) -> Failure {
        let machines = self.machines.join(" and ");
        let failure = match self.settled {
            false => Failure::new(format!(
                "whose is {}? By what is known it may be that of {machines}",
                self.what
            )),
            true => Failure::new(format!(
                "{machines} have one name for their Nodes: {}",
                self.what
            )),
        };
        failure.hint(
            "a Node is called as its machine's host name says, or `node-name` of K3s: give each machine a host name of its own (on the \
             one that is wrong: hostnamectl set-hostname NAME), and in the inventory the addresses that `kubectl get nodes -o wide` shows",
        )
    }
}

/// Machines of a cluster that call their Nodes alike, as they themselves tell.
fn same_names(seen: &[Seen]) -> Vec<Dispute> {
    let tells = |seen: &Seen| match &seen.told {
        Ok(told) => !told.node.is_empty() && (seen.role.is_some() || told.unit.is_some()),
        Err(_) => false,
    };
    let belongs = |seen: &&Seen| tells(seen) || (seen.told.is_err() && seen.role.is_some());
    let mut by_name: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in seen.iter().filter(belongs) {
        by_name.entry(name(seen)).or_default().push(seen);
    }
    let alike = by_name.into_iter().filter(|(_, all)| all.len() > 1);
    alike
        .map(|(name, all)| Dispute {
            what: format!("`{name}`"),
            node: None,
            machines: all.iter().map(|seen| seen.name.clone()).collect(),
            settled: true,
        })
        .collect()
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
    let own = seen.address.as_deref();
    own.is_some_and(|own| addresses_of(node).any(|address| is_same(address, own)))
}

/// Whether two texts are one address.
fn is_same(one: &str, other: &str) -> bool {
    let parsed = |text: &str| text.parse::<IpAddr>().ok();
    one == other || (parsed(one).is_some() && parsed(one) == parsed(other))
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
    /// It may have a member. One that tells that it has no data of etcd is not taken for one by its mere address.
    may: bool,
}

impl<'a> Who<'a> {
    /// A machine of the inventory, and its Node.
    pub(super) fn machine(seen: &'a Seen, node: Option<&'a Value>) -> Self {
        let addresses = node.into_iter().flat_map(addresses_of).map(str::to_owned);
        let kube = node.and_then(|node| meta(node, "name"));
        Self {
            own: [kept(seen), node.and_then(noted)],
            names: [Some(name(seen)), kube].into_iter().flatten().collect(),
            addresses: seen.address.iter().cloned().chain(addresses).collect(),
            may: match &seen.told {
                Ok(told) => told.data.etcd,
                Err(_) => true,
            },
        }
    }

    /// A Node that the inventory does not have.
    pub(super) fn stranger(node: &'a Value) -> Self {
        Self {
            own: [None, noted(node)],
            names: meta(node, "name").into_iter().collect(),
            addresses: addresses_of(node).map(str::to_owned).collect(),
            may: true,
        }
    }

    /// Its name in etcd, by what it notes itself.
    pub(super) fn own(&self) -> Option<&'a str> {
        self.own.into_iter().flatten().next()
    }

    fn notes(&self, member: &Member) -> bool {
        !member.name.is_empty() && self.own.contains(&Some(member.name.as_str()))
    }

    fn has_name_of(&self, member: &Member) -> bool {
        member.node().is_some_and(|node| self.names.contains(&node))
    }

    fn is_at(&self, member: &Member) -> bool {
        let mut own = self.addresses.iter();
        own.any(|own| is_same(own, &member.address))
    }
}

/// Whose each member is, and those that may be several's.
pub(super) fn members(whos: &[&Who<'_>], listed: &[&Member]) -> (Owners, Disputed) {
    let both = |is: fn(&Who<'_>, &Member) -> bool| {
        move |member: usize, who: usize| {
            of(
                whos,
                &|who| of(listed, &|member| is(who, member), member),
                who,
            )
        }
    };
    let claims = Claims {
        things: listed.len(),
        claimants: whos.len(),
        rules: &[
            &both(|who, member| who.notes(member)),
            &both(|who, member| who.has_name_of(member)),
        ],
        is_at: &both(|who, member| who.is_at(member)),
        by_address: &|who| of(whos, &|who| who.may, who),
    };
    claims.settle()
}
