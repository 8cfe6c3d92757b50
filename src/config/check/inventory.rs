//! Inside one inventory: addresses, groups, roles.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::Checks;
use crate::model::inventory::{Connection, Group, Inventory, Node};
use crate::model::mistake::Mistake;

impl Checks<'_> {
    pub(super) fn inventory(&mut self, inventory: &Inventory) {
        self.twice(inventory);
        self.servers(inventory);
        self.conflicts(inventory);
        if self.inventory_whole
            && inventory.nodes.is_empty()
            && let Some((file, _)) = self
                .sources
                .iter()
                .find(|(_, s)| s.name() == inventory.file)
        {
            let span = crate::model::value::Span::new(file, 0..0);
            self.add(
                Mistake::warning("no-nodes", span, "the inventory has no nodes")
                    .hint("add `[node.NAME]` with an `address`, or with `connection = \"local\"` for this machine"),
            );
        }
    }

    /// Two nodes that are one machine.
    fn twice(&mut self, inventory: &Inventory) {
        let mut seen: HashMap<String, &Node> = HashMap::new();
        for node in &inventory.nodes {
            let Some((key, words)) = machine(node) else {
                continue;
            };
            match seen.get(&key) {
                Some(first) => {
                    let mistake = Mistake::error(
                        "duplicate-address",
                        node.span,
                        format!(
                            "`{}` and `{}` are the same machine: both {words}",
                            first.name, node.name
                        ),
                    )
                    .label("the second")
                    .related(first.span, "the first")
                    .hint("give one of them its own address, or remove it");
                    self.add(mistake);
                }
                None => {
                    seen.insert(key, node);
                }
            }
        }
    }

    fn servers(&mut self, inventory: &Inventory) {
        let servers: Vec<&Node> = inventory
            .nodes
            .iter()
            .filter(|node| node.roles.iter().any(|role| role == "server"))
            .collect();
        if let Some(last) = servers.last()
            && servers.len().is_multiple_of(2)
        {
            let count = servers.len();
            self.add(
                Mistake::warning("even-servers", last.span, format!("the cluster has {count} servers, an even number"))
                    .label("one of them")
                    .hint(format!(
                        "etcd needs a majority: {count} servers can lose {} and go on, no more than {} could; use 1, 3 or 5",
                        count / 2 - 1,
                        count - 1,
                    )),
            );
        }
    }

    /// Two groups of one node that set one var differently.
    fn conflicts(&mut self, inventory: &Inventory) {
        let mut groups_of: HashMap<&str, Vec<&Group>> = HashMap::new();
        for group in inventory
            .groups
            .iter()
            .filter(|group| !group.vars.is_empty())
        {
            for node in &group.nodes {
                groups_of.entry(node.as_str()).or_default().push(group);
            }
        }
        let mut told: BTreeMap<(&str, &str, &str), ()> = BTreeMap::new();
        for node in &inventory.nodes {
            let groups = groups_of
                .get(node.name.as_str())
                .map_or(&[][..], Vec::as_slice);
            let mut set: BTreeMap<&str, &Group> = BTreeMap::new();
            for group in groups {
                for (name, value) in &group.vars {
                    let first = *set.entry(name).or_insert(group);
                    let Some(before) = first.vars.get(name) else {
                        continue;
                    };
                    let same = before.to_json() == value.to_json();
                    if same || node.vars.contains_key(name) {
                        continue;
                    }
                    let pair = (name.as_str(), first.name.as_str(), group.name.as_str());
                    if told.insert(pair, ()).is_none() {
                        let mistake = Mistake::error(
                            "group-conflict",
                            value.span,
                            format!(
                                "groups `{}` and `{}` set `{name}` differently, and node `{}` is in both",
                                first.name, group.name, node.name
                            ),
                        )
                        .related(before.span, format!("set by `{}` here", first.name))
                        .hint(format!("set `{name}` in `[node.{}.vars]`, which wins over groups, or in one group only", node.name));
                        self.add(mistake);
                    }
                }
            }
        }
    }
}

/// What tells machines apart, and the words for it.
fn machine(node: &Node) -> Option<(String, String)> {
    match &node.connection {
        Connection::Local { root: None } => {
            Some(("local".to_owned(), "are this machine".to_owned()))
        }
        Connection::Local { root: Some(root) } => {
            let root = root.trim_end_matches('/');
            Some((
                format!("local {root}"),
                format!("have the sandbox `{root}`"),
            ))
        }
        Connection::Ssh(ssh) if ssh.address.is_empty() => None,
        Connection::Ssh(ssh) => {
            let host = match ssh.address.parse::<IpAddr>() {
                Ok(ip) => ip.to_string(),
                Err(_) => ssh.address.to_ascii_lowercase(),
            };
            // Networks behind two bastions may use the same addresses.
            let via = format!("{:?}", ssh.via);
            let port = ssh.port.unwrap_or(22);
            let shown = match port {
                22 => host.clone(),
                other => format!("{host} port {other}"),
            };
            Some((
                format!("{host} {port} {via}"),
                format!("have the address {shown}"),
            ))
        }
    }
}
