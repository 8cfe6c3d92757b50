//! What was asked for when a lab was made: `lab.toml` in its folder. It holds wishes and choices (which subnet), never
//! progress: that is looked at.

use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::k3s::K3s;
use super::names::node_address;
use super::place::Place;
use super::{files, mark};
use crate::model::outcome::Failure;

/// A lab as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// Debian's suite.
    pub suite: String,
    /// The base tree that its nodes lie on: another one cannot be put below them.
    pub base: String,
    /// Where packages come from.
    pub mirror: String,
    /// Where security updates come from.
    pub security_mirror: String,
    /// The user that SSH logs in as.
    pub user: String,
    /// CPU time of each node, in percent of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// The inventory that it is in; missing where none was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<PathBuf>,
    /// sha256 of what was written there, the newest last: other content is somebody's edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<String>,
    /// The K3s of its nodes; missing where it is the one that is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k3s: Option<K3s>,
    /// The nodes in order; the first one's number is 1.
    pub nodes: Vec<NodeRecord>,
}

/// A node as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// `server` or `agent`.
    pub role: String,
}

/// A node with what follows from its place in the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Its number, from 1.
    pub number: u32,
    /// Its address.
    pub address: std::net::Ipv4Addr,
}

impl Record {
    /// Reads a lab's record; `None` where it was never made, or the folder is no lab.
    ///
    /// # Errors
    /// Where it cannot be read or understood.
    pub fn load(place: &Place) -> Result<Option<Self>, Failure> {
        if !mark::is_ours(&place.dir) {
            return Ok(None);
        }
        let path = place.record();
        let Some(text) = files::read(&path)? else {
            return Ok(None);
        };
        let record = toml::from_str(&text).map_err(|error| {
            Failure::new(format!("cannot understand {}", path.display()))
                .evidence(error.to_string())
                .hint(format!("hmco-boot lab down --name {}", place.name))
        })?;
        Ok(Some(record))
    }

    /// Writes it.
    ///
    /// # Errors
    /// Where that fails.
    pub fn save(&self, place: &Place) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(|error| {
            Failure::new("cannot write the lab's record").evidence(error.to_string())
        })?;
        files::write(&place.record(), &text, 0o600)
    }

    /// The nodes with their numbers and addresses.
    pub fn nodes(&self) -> Vec<NodePlan> {
        (1..)
            .zip(&self.nodes)
            .map(|(number, node)| NodePlan {
                name: node.name.clone(),
                role: node.role.clone(),
                number,
                address: node_address(self.subnet, number),
            })
            .collect()
    }

    /// How many nodes have a role.
    pub fn count(&self, role: &str) -> usize {
        self.nodes.iter().filter(|node| node.role == role).count()
    }

    /// Adds nodes of a role up to a number; their names go on where the last one's ended.
    pub fn grow(&mut self, lab: &str, role: &str, wanted: usize) {
        while self.count(role) < wanted {
            self.nodes.push(NodeRecord {
                name: format!("{lab}-{}", self.nodes.len() + 1),
                role: role.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn record() -> Record {
        Record {
            subnet: "172.30.4.0/24".parse().unwrap(),
            suite: "bookworm".into(),
            base: "bookworm-0".into(),
            mirror: "http://deb.debian.org/debian".into(),
            security_mirror: "http://deb.debian.org/debian-security".into(),
            user: "pi".into(),
            cpu: None,
            k3s: None,
            inventory: Some("/p/inventory/lab.toml".into()),
            written: Vec::new(),
            nodes: Vec::new(),
        }
    }

    #[test]
    fn nodes_are_numbered_through_and_grow_at_the_end() {
        let mut record = record();
        record.grow("lab", "server", 2);
        record.grow("lab", "agent", 1);
        record.grow("lab", "server", 3);
        let told: Vec<String> = record
            .nodes()
            .iter()
            .map(|node| format!("{} {} {}", node.name, node.role, node.address))
            .collect();
        assert_eq!(
            told,
            [
                "lab-1 server 172.30.4.11",
                "lab-2 server 172.30.4.12",
                "lab-3 agent 172.30.4.13",
                "lab-4 server 172.30.4.14",
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut record = record();
        record.grow("lab", "server", 1);
        record.cpu = Some(25);
        let text = toml::to_string(&record).unwrap();
        assert_eq!(toml::from_str::<Record>(&text).unwrap(), record);
    }
}
