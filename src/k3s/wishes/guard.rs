//! That the cluster can do without a node, by the rules of [`leave`].

use std::time::Duration;

use serde::Serialize;

use super::{Decided, list, text};
use crate::facts::known::{FactRef, Known};
use crate::k3s::leave::{self, Leave, Machine};
use crate::k3s::look;
use crate::k3s::status::{Listed, Seen, Silence, Status};
use crate::model::id::{NodeName, Target};
use crate::model::units::TimeSpan;
use crate::steps::preflight::Role;
use crate::steps::{Decision, Poll, Touches, Want, Wish};

/// A server to ask.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its name.
    pub name: NodeName,
    /// Its address.
    pub address: Option<String>,
}

/// That the cluster can still do without a node. As a check that waits it looks anew whenever something was applied before it: what
/// held before a drain of many minutes may not hold after it.
#[derive(Clone, Debug, Serialize)]
pub struct Guard {
    /// The cluster's name.
    pub cluster: String,
    /// All servers of the inventory.
    pub servers: Vec<Server>,
    /// How the node was to leave, when that was decided.
    pub leave: Leave,
    /// Its machine is dead.
    pub dead: bool,
}

impl Guard {
    fn seen(&self, known: &Known<'_>) -> Vec<Seen> {
        let seen = |server: &Server| {
            let target = Target::Node(server.name.clone());
            let told = look::told(|fact| known.answer_of(&target, fact));
            Seen {
                name: server.name.to_string(),
                role: Some(Role::Server),
                address: server.address.clone(),
                told: told.map_err(|failure| Silence {
                    unreachable: true,
                    failure,
                }),
            }
        };
        self.servers.iter().map(seen).collect()
    }
}

impl Wish for Guard {
    fn facts(&self, known: &Known<'_>) -> Want {
        let of_servers = self.servers.iter().flat_map(|server| {
            let target = Target::Node(server.name.clone());
            look::facts().into_iter().map(move |fact| FactRef {
                target: Some(target.clone()),
                fact,
            })
        });
        let nodes = std::iter::once(FactRef::from(list("Node")));
        let missing: Vec<FactRef> = of_servers
            .chain(nodes)
            .filter(|fact| !known.has(fact))
            .collect();
        match missing.is_empty() {
            true => Want::Done,
            false => Want::More(missing),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Decided {
        let listed = known.kube_list(&list("Node"))?;
        let listed = Listed {
            nodes: listed.map(|list| list.items.clone()).unwrap_or_default(),
            deployments: Vec::new(),
        };
        let status = Status::of(&self.cluster, &self.seen(known), Ok(&listed));
        let machine = match self.dead {
            true => Machine::Dead,
            false => Machine::Here,
        };
        Ok(match leave::still(&status, &self.leave, machine) {
            Ok(()) => Decision::Unchanged,
            Err(failure) => Decision::Refused(failure),
        })
    }

    fn poll(&self) -> Option<Poll> {
        Some(Poll {
            interval: TimeSpan(Duration::from_secs(2)),
            timeout: TimeSpan(Duration::from_secs(30)),
        })
    }

    fn touches(&self) -> Touches {
        Touches::default()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        text(self)
    }
}
