//! Inventory files.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Lowering;
use super::bastion::{self, bastions};
use super::rules::{is_host_key, is_hostname, is_label, is_label_key, is_label_value};
use crate::config::raw;
use crate::model::id::{GroupName, NodeName};
use crate::model::inventory::{Cluster, Connection, Group, Inventory, Node, Ssh};
use crate::model::mistake::Mistake;
use crate::model::value::{Data, Key, Span, Value};
use crate::model::vars::RESERVED_NAMES;

const TABLES: [&str; 7] = [
    "cluster", "ssh", "bastion", "node", "group", "artifact", "vars",
];

/// Names that selectors use for something else.
const RESERVED: [&str; 3] = ["all", "cluster", "controller"];

/// Makes the model of an inventory file, and says whether all its nodes and groups are in it. What could not be read is
/// left out or empty; the mistakes tell.
pub fn inventory(low: &mut Lowering<'_>, file: &str, root: &Value) -> (Inventory, bool) {
    low.unknown_keys(root.entries(), &TABLES, "an inventory");
    let mut whole = low.mistakes.is_empty();
    let ssh = match root.get("ssh") {
        Some(table) => {
            bastion::known(low, root, table);
            low.decode::<raw::Ssh>(table).unwrap_or_default()
        }
        None => raw::Ssh::default(),
    };
    let cluster = cluster(low, root);
    let bastions = bastions(low, root);
    let mut nodes = Vec::new();
    if let Some(table) = root.get("node") {
        for (key, value) in low.table(table, "`node`") {
            let (node, decoded) = node(low, key, value, &ssh);
            bastion::known(low, root, value);
            whole &= decoded;
            nodes.push(node);
        }
    }
    let names: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let mut groups = Vec::new();
    if let Some(table) = root.get("group") {
        for (key, value) in low.table(table, "`group`") {
            groups.push(group(low, key, value, &names));
        }
    }
    let is_table = |key: &str| {
        root.get(key)
            .is_none_or(|value| matches!(value.data, Data::Table(_)))
    };
    whole &= is_table("node") && is_table("group");
    let inventory = Inventory {
        file: file.to_owned(),
        cluster,
        nodes,
        groups,
        bastions,
        vars: vars(low, root),
    };
    (inventory, whole)
}

/// The values below `vars`, with their places.
pub(super) fn vars(low: &mut Lowering<'_>, table: &Value) -> BTreeMap<String, Value> {
    let Some(vars) = table.get("vars") else {
        return BTreeMap::new();
    };
    let entries = low.table(vars, "`vars`");
    for (key, _) in entries {
        var_name(low, key);
    }
    let named = |(key, value): &(Key, Value)| (key.name.clone(), value.clone());
    entries.iter().map(named).collect()
}

/// Whether a name means something else in templates.
fn is_taken(name: &str) -> bool {
    RESERVED_NAMES.contains(&name) || matches!(name, "true" | "false" | "none" | "loop")
}

/// Whether a template can say a var's name.
pub(in crate::config) fn is_var_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    first && name.chars().all(rest) && !is_taken(name)
}

/// Notes a var's name that a template could not say.
pub(super) fn var_name(low: &mut Lowering<'_>, key: &Key) {
    if is_taken(&key.name) {
        low.error(
            "bad-name",
            key.span,
            format!("`{}` means something else in templates", key.name),
            "choose another name for the var",
        );
    } else if !is_var_name(&key.name) {
        low.error(
            "bad-name",
            key.span,
            format!("`{}` cannot be the name of a var", key.name),
            "use lowercase letters, digits and `_`, and start with a letter",
        );
    }
}

fn cluster(low: &mut Lowering<'_>, root: &Value) -> Cluster {
    let empty = Cluster {
        name: String::new(),
        domain: None,
        api_address: None,
        ca_sha256: None,
        kubeconfig: None,
    };
    let Some(table) = root.get("cluster") else {
        low.error(
            "missing-key",
            root.span,
            "the inventory has no `[cluster]` table",
            "add `[cluster]` with a `name`: it also names the folder that holds the journal",
        );
        return empty;
    };
    let Some(raw) = low.decode::<raw::Cluster>(table) else {
        return empty;
    };
    let span = |key: &str| table.get(key).map_or(table.span, |value| value.span);
    name(low, &raw.name, span("name"), "a cluster");
    if let Some(domain) = &raw.domain
        && !is_hostname(domain)
    {
        low.error(
            "bad-address",
            span("domain"),
            format!("{domain:?} is not a DNS domain"),
            "write it as in `lab.example.org`",
        );
    }
    if let Some(address) = &raw.api_address {
        host(low, address, span("api_address"));
    }
    if let Some(digest) = &raw.ca_sha256
        && !super::super::pins::is_sha256(digest)
    {
        low.error(
            "bad-digest",
            span("ca_sha256"),
            "this is not a sha256",
            "it has 64 lowercase hexadecimal digits; remove the line to pin the cluster's CA again",
        );
    }
    Cluster {
        name: raw.name,
        domain: raw.domain,
        api_address: raw.api_address,
        ca_sha256: raw.ca_sha256,
        kubeconfig: raw.kubeconfig,
    }
}

pub(super) fn name(low: &mut Lowering<'_>, text: &str, span: Span, what: &str) {
    if !is_label(text) {
        low.error(
            "bad-name",
            span,
            format!("{text:?} cannot be the name of {what}"),
            "use up to 63 lowercase letters, digits and `-`, with a letter or digit first and last (an RFC 1123 label)",
        );
    } else if RESERVED.contains(&text) {
        low.error(
            "bad-name",
            span,
            format!("{text:?} means something else in selectors"),
            format!("choose another name than {}", super::listed(&RESERVED)),
        );
    }
}

pub(super) fn host(low: &mut Lowering<'_>, text: &str, span: Span) {
    if text.parse::<IpAddr>().is_err() && !is_hostname(text) {
        low.error(
            "bad-address",
            span,
            format!("{text:?} is neither an IP address nor a host name"),
            "write it as in `192.168.1.11`, `2001:db8::11` or `pi5-01.lan`; a port goes into `port`",
        );
    }
}

fn node(low: &mut Lowering<'_>, key: &Key, table: &Value, defaults: &raw::Ssh) -> (Node, bool) {
    name(low, &key.name, key.span, "a node");
    low.table(table, "a node");
    let is_table = matches!(table.data, Data::Table(_));
    let decoded = is_table.then(|| low.decode::<raw::Node>(table)).flatten();
    let whole = decoded.is_some();
    let raw = decoded.unwrap_or_default();
    if whole {
        values(low, table, &raw);
    }
    let connection = match raw.connection {
        Some(raw::Connection::Local) => local(low, table, &raw),
        _ => ssh(low, key, table, &raw, defaults, whole),
    };
    let node = Node {
        name: NodeName::new(&key.name),
        span: key.span,
        connection,
        roles: raw.roles,
        arch: raw.arch.map(|arch| arch.as_str().to_owned()),
        labels: raw.labels,
        vars: if is_table {
            vars(low, table)
        } else {
            BTreeMap::new()
        },
    };
    (node, whole)
}

/// What types cannot say of a node's values.
fn values(low: &mut Lowering<'_>, table: &Value, raw: &raw::Node) {
    for (index, role) in raw.roles.iter().enumerate() {
        if !is_label(role) {
            low.error(
                "bad-name",
                item_span(table, "roles", index),
                format!("{role:?} cannot be a role"),
                "use lowercase letters, digits and `-`, as in `server`",
            );
        }
    }
    host_keys(low, table, &raw.host_keys);
    let labels = table.get("labels").map_or(&[][..], Value::entries);
    for (key, value) in labels {
        if !is_label_key(&key.name) {
            low.error(
                "bad-label",
                key.span,
                format!("`{}` cannot be the name of a Kubernetes label", key.name),
                "write `NAME` or `DOMAIN/NAME`, as in `\"topology.kubernetes.io/zone\"`",
            );
        }
        if !value.as_str().is_none_or(is_label_value) {
            low.error(
                "bad-label",
                value.span,
                "this cannot be the value of a Kubernetes label",
                "use up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit first and last",
            );
        }
    }
}

/// Notes what is no host key in a table's `host_keys`.
pub(super) fn host_keys(low: &mut Lowering<'_>, table: &Value, host_keys: &[String]) {
    for (index, host_key) in host_keys.iter().enumerate() {
        if !is_host_key(host_key) {
            low.error(
                "bad-host-key",
                item_span(table, "host_keys", index),
                "this is not an SSH host key",
                "write `TYPE BASE64` as in a known_hosts line after the host, or let `hmco-boot hosts pin` write it",
            );
        }
    }
}

/// The place of an item of a list in a table.
fn item_span(table: &Value, key: &str, index: usize) -> Span {
    match table.get(key).map(|value| &value.data) {
        Some(Data::List(items)) => items.get(index).map_or(table.span, |value| value.span),
        _ => table.span,
    }
}

fn local(low: &mut Lowering<'_>, table: &Value, raw: &raw::Node) -> Connection {
    const SSH_KEYS: [&str; 8] = [
        "address",
        "host_keys",
        "user",
        "port",
        "identity",
        "become",
        "become_password",
        "bastion",
    ];
    for (key, _) in table.entries() {
        if SSH_KEYS.contains(&key.name.as_str()) {
            low.error(
                "conflicting-keys",
                key.span,
                format!(
                    "`{}` has no meaning where `connection = \"local\"`",
                    key.name
                ),
                "remove it, or remove `connection` to reach the node by SSH",
            );
        }
    }
    let outside = |root: &String| {
        root.is_empty() || root.starts_with('/') || root.split('/').any(|part| part == "..")
    };
    if raw.root.as_ref().is_some_and(outside) {
        low.error(
            "bad-path",
            table.get("root").map_or(table.span, |value| value.span),
            "the sandbox must be a folder inside the project",
            "write a path relative to the project without `..`, as in `sandbox`",
        );
    }
    Connection::Local {
        root: raw.root.clone(),
    }
}

fn ssh(
    low: &mut Lowering<'_>,
    key: &Key,
    table: &Value,
    raw: &raw::Node,
    defaults: &raw::Ssh,
    whole: bool,
) -> Connection {
    match &raw.address {
        Some(address) => {
            let span = table.get("address").map_or(table.span, |value| value.span);
            host(low, address, span);
        }
        None if whole => low.error(
            "missing-key",
            key.span,
            format!("node `{}` has no `address`", key.name),
            "add `address = \"...\"`, or `connection = \"local\"` where the node is this machine",
        ),
        None => {}
    }
    if let (Some(_), Some(value)) = (&raw.root, table.get("root")) {
        low.mistakes.push(
            Mistake::error(
                "conflicting-keys",
                value.span,
                "`root` has no meaning for a node that is reached by SSH",
            )
            .hint("remove it, or add `connection = \"local\"` instead of `address`"),
        );
    }
    let become_how = raw.become_how.or(defaults.become_how);
    Connection::Ssh(Ssh {
        address: raw.address.clone().unwrap_or_default(),
        port: raw.port.or(defaults.port).map(u16::from),
        user: raw.user.clone().or_else(|| defaults.user.clone()),
        identity: raw.identity.clone().or_else(|| defaults.identity.clone()),
        become_root: become_how == Some(raw::Become::Sudo),
        become_password: raw
            .become_password
            .clone()
            .or_else(|| defaults.become_password.clone()),
        host_keys: raw.host_keys.clone(),
        via: bastion::via(raw.bastion.as_deref().or(defaults.bastion.as_deref())),
    })
}

fn group(low: &mut Lowering<'_>, key: &Key, table: &Value, names: &BTreeSet<&str>) -> Group {
    name(low, &key.name, key.span, "a group");
    low.table(table, "a group");
    let is_table = matches!(table.data, Data::Table(_));
    let raw = is_table
        .then(|| low.decode::<raw::Group>(table))
        .flatten()
        .unwrap_or_default();
    for (index, node) in raw.nodes.iter().enumerate() {
        if names.contains(node.as_str()) {
            continue;
        }
        let span = item_span(table, "nodes", index);
        let hint = match crate::model::mistake::nearest(node, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add `[node.{node}]`, or remove it from the group"),
        };
        low.error(
            "unknown-node",
            span,
            format!("there is no node `{node}`"),
            hint,
        );
    }
    Group {
        name: GroupName::new(&key.name),
        span: key.span,
        nodes: raw.nodes.iter().map(NodeName::new).collect(),
        vars: if is_table {
            vars(low, table)
        } else {
            BTreeMap::new()
        },
    }
}
