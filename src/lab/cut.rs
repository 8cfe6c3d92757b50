//! Cutting a node's network: packets between two nodes, or between a node and all others and this machine, are dropped
//! on the bridge by the nodes' MAC addresses. So nothing gets through by another IP address (of a pod, a virtual
//! address), and a node's own rules are not touched. A cut outlives the node's restart.
//!
//! What is not shown: a link that goes down. The node still sees a carrier, as behind a switch that fails.

use serde::{Deserialize, Serialize};

use super::names::{self, Tag};
use super::record::{NodePlan, Record};
use super::{LabError, command};
use crate::model::outcome::Failure;

/// A cut.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// A node from all others and this machine.
    Node(String),
    /// Two nodes from each other.
    Pair(String, String),
}

/// Makes a cut; one that is there is there.
///
/// # Errors
/// Where a node is not in the lab, or nft fails.
pub fn cut(tag: &Tag, record: &Record, cut: &Cut) -> Result<(), LabError> {
    let elements = elements(record, cut)?;
    let table = tag.table();
    let script = format!(
        "{}add element bridge {table} {elements}\n",
        table_script(&table)
    );
    command::run_with_input("nft", &["-f", "-"], &script)?;
    Ok(())
}

/// Ends a cut; one that is not there is not there.
///
/// # Errors
/// Where a node is not in the lab, or nft fails.
pub fn heal(tag: &Tag, record: &Record, cut: &Cut) -> Result<(), LabError> {
    let elements = elements(record, cut)?;
    let table = tag.table();
    // Added first, so that it is there to be removed: nft has no "remove where it is there".
    let script = format!(
        "{}add element bridge {table} {elements}\ndelete element bridge {table} {elements}\n",
        table_script(&table)
    );
    command::run_with_input("nft", &["-f", "-"], &script)?;
    Ok(())
}

/// Ends all cuts.
///
/// # Errors
/// Where nft fails.
pub fn heal_all(tag: &Tag) -> Result<(), Failure> {
    let table = tag.table();
    let script = format!("add table bridge {table}\ndelete table bridge {table}\n");
    command::run_with_input("nft", &["-f", "-"], &script).map(|_| ())
}

/// The cuts there are.
///
/// # Errors
/// Where nft fails.
pub fn list(tag: &Tag, record: &Record) -> Result<Vec<Cut>, Failure> {
    let tables = command::run("nft", &["-j", "list", "tables", "bridge"])?;
    if !tables.contains(&format!("\"{}\"", tag.table())) {
        return Ok(Vec::new());
    }
    let text = command::run("nft", &["-j", "list", "table", "bridge", &tag.table()])?;
    Ok(parse(&text, &record.nodes()))
}

fn table_script(table: &str) -> String {
    // Every line adds what is missing and changes nothing that is there, but rules: they are made anew.
    format!(
        "add table bridge {table}\n\
         add set bridge {table} nodes {{ type ether_addr; }}\n\
         add set bridge {table} pairs {{ type ether_addr . ether_addr; }}\n\
         add chain bridge {table} between {{ type filter hook forward priority 0; }}\n\
         add chain bridge {table} to_host {{ type filter hook input priority 0; }}\n\
         add chain bridge {table} from_host {{ type filter hook output priority 0; }}\n\
         flush chain bridge {table} between\n\
         flush chain bridge {table} to_host\n\
         flush chain bridge {table} from_host\n\
         add rule bridge {table} between ether saddr . ether daddr @pairs drop\n\
         add rule bridge {table} between ether saddr @nodes drop\n\
         add rule bridge {table} between ether daddr @nodes drop\n\
         add rule bridge {table} to_host ether saddr @nodes drop\n\
         add rule bridge {table} from_host ether daddr @nodes drop\n"
    )
}

fn elements(record: &Record, cut: &Cut) -> Result<String, LabError> {
    let mac = |name: &str| Ok::<_, LabError>(names::mac(find(record, name)?.address));
    Ok(match cut {
        Cut::Node(node) => format!("nodes {{ {} }}", mac(node)?),
        Cut::Pair(a, b) if a == b => {
            let what = format!("`{a}` cannot be cut from itself");
            return Err(LabError::Usage(
                Failure::new(what).hint("name two nodes, or one to cut it from all others"),
            ));
        }
        Cut::Pair(a, b) => {
            let (a, b) = (mac(a)?, mac(b)?);
            format!("pairs {{ {a} . {b}, {b} . {a} }}")
        }
    })
}

/// A node of the lab by its name.
///
/// # Errors
/// Where there is none: with the nearest.
pub fn find(record: &Record, name: &str) -> Result<NodePlan, LabError> {
    let nodes = record.nodes();
    if let Some(node) = nodes.iter().find(|node| node.name == name) {
        return Ok(node.clone());
    }
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let hint = match crate::model::mistake::nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its nodes are {}", names.join(", ")),
    };
    Err(LabError::Usage(
        Failure::new(format!("the lab has no node `{name}`")).hint(hint),
    ))
}

/// `nft -j`: `{"nftables": [{"set": {"name": ..., "elem": [...]}}, ...]}`.
fn parse(text: &str, nodes: &[NodePlan]) -> Vec<Cut> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Object>,
    }
    #[derive(Deserialize)]
    struct Object {
        set: Option<Set>,
    }
    #[derive(Deserialize)]
    struct Set {
        name: String,
        #[serde(default)]
        elem: Vec<serde_json::Value>,
    }
    let name = |value: &serde_json::Value| {
        let mac = value.as_str().unwrap_or_default();
        let node = nodes.iter().find(|node| names::mac(node.address) == mac);
        node.map_or_else(|| mac.to_owned(), |node| node.name.clone())
    };
    let listing = serde_json::from_str::<Listing>(text);
    let objects = listing.map_or_else(|_| Vec::new(), |listing| listing.nftables);
    let mut cuts = Vec::new();
    for set in objects.into_iter().filter_map(|object| object.set) {
        for element in &set.elem {
            match element.get("concat").and_then(serde_json::Value::as_array) {
                None if set.name == "nodes" => cuts.push(Cut::Node(name(element))),
                Some(pair) => {
                    if let [a, b] = pair.as_slice() {
                        let (a, b) = (name(a), name(b));
                        // Each pair is there in both directions.
                        if a < b {
                            cuts.push(Cut::Pair(a, b));
                        }
                    }
                }
                None => {}
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::record::NodeRecord;

    fn record() -> Record {
        let node = |name: &str| NodeRecord {
            name: name.into(),
            role: "server".into(),
        };
        Record {
            subnet: "172.30.0.0/24".parse().unwrap(),
            suite: String::new(),
            base: String::new(),
            mirror: String::new(),
            security_mirror: String::new(),
            user: "pi".into(),
            cpu: None,
            k3s: None,
            inventory: None,
            written: Vec::new(),
            nodes: vec![node("lab-1"), node("lab-2")],
        }
    }

    #[test]
    fn two_nodes_are_cut_in_both_directions() {
        let cut = Cut::Pair("lab-1".into(), "lab-2".into());
        assert_eq!(
            elements(&record(), &cut).unwrap(),
            "pairs { 02:b0:ac:1e:00:0b . 02:b0:ac:1e:00:0c, 02:b0:ac:1e:00:0c . 02:b0:ac:1e:00:0b }"
        );
        let all = Cut::Node("lab-2".into());
        assert_eq!(
            elements(&record(), &all).unwrap(),
            "nodes { 02:b0:ac:1e:00:0c }"
        );
    }

    #[test]
    fn unknown_nodes_and_a_node_from_itself_are_refused() {
        let hint = |cut| {
            elements(&record(), &cut)
                .unwrap_err()
                .failure()
                .hint
                .clone()
                .unwrap()
        };
        assert_eq!(hint(Cut::Node("lab-3".into())), "did you mean `lab-1`?");
        assert_eq!(
            hint(Cut::Pair("lab-1".into(), "lab-1".into())),
            "name two nodes, or one to cut it from all others"
        );
    }

    #[test]
    fn cuts_are_read_back_by_the_nodes_names() {
        let text = r#"{"nftables": [{"metainfo": {}}, {"table": {"name": "t"}},
            {"set": {"name": "nodes", "elem": ["02:b0:ac:1e:00:0c", "02:00:00:00:00:01"]}},
            {"set": {"name": "pairs", "elem": [{"concat": ["02:b0:ac:1e:00:0b", "02:b0:ac:1e:00:0c"]},
                {"concat": ["02:b0:ac:1e:00:0c", "02:b0:ac:1e:00:0b"]}]}}, {"set": {"name": "empty"}}]}"#;
        assert_eq!(
            parse(text, &record().nodes()),
            [
                Cut::Node("lab-2".into()),
                Cut::Node("02:00:00:00:00:01".into()),
                Cut::Pair("lab-1".into(), "lab-2".into()),
            ]
        );
    }
}
