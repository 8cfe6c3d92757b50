//! How a lab is: read from what is there, not from what was noted.

use serde::Serialize;

use super::cgroup::Hierarchies;
use super::cut::{self, Cut};
use super::node::{Node, Power};
use super::place::Place;
use super::record::Record;
use super::{LabError, network, up};

/// A lab.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub subnet: String,
    /// The bridge on this machine.
    pub bridge: String,
    /// Whether the bridge is there.
    pub bridge_up: bool,
    /// The inventory it is in.
    pub inventory: Option<String>,
    /// Its folder.
    pub folder: String,
    /// Its nodes.
    pub nodes: Vec<NodeStatus>,
    /// What is cut.
    pub cuts: Vec<Cut>,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its address.
    pub address: String,
    /// Whether it runs and answers SSH.
    pub power: Power,
    /// The id of its current boot.
    pub boot_id: Option<String>,
    /// Bytes of memory that it uses.
    pub memory: Option<u64>,
    /// Limit of its CPU time, in percent of one processor.
    pub cpu_limit: Option<u32>,
    /// Processes in it.
    pub processes: usize,
}

/// Looks at a lab.
///
/// # Errors
/// Where this machine cannot be looked at.
pub fn status(place: &Place, record: &Record) -> Result<Status, LabError> {
    let hierarchies = Hierarchies::of_this_machine()?;
    let nodes = up::nodes(place, record, &hierarchies);
    Ok(Status {
        name: place.name.clone(),
        subnet: record.subnet.to_string(),
        bridge: place.tag.bridge().to_owned(),
        bridge_up: network::link_exists(place.tag.bridge()),
        inventory: record
            .inventory
            .as_ref()
            .map(|path| path.display().to_string()),
        folder: place.dir.display().to_string(),
        nodes: nodes.iter().map(node).collect(),
        cuts: cut::list(&place.tag, record)?,
    })
}

fn node(node: &Node) -> NodeStatus {
    NodeStatus {
        name: node.plan.name.clone(),
        role: node.plan.role.clone(),
        address: node.plan.address.to_string(),
        power: node.power(),
        boot_id: node.boot_id(),
        memory: node.group.memory(),
        cpu_limit: node.group.cpu_limit(),
        processes: node.group.below("node").processes().len(),
    }
}

/// `1 process`, `3 processes`.
pub fn processes_in_words(count: usize) -> String {
    if count == 1 {
        "1 process".to_owned()
    } else {
        format!("{count} processes")
    }
}
