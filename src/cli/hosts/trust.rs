//! Looking at host keys: which machines to ask in which order, so that none is reached through one that is not trusted,
//! and what they show.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::compare::Comparison;
use crate::model::id::NodeName;
use crate::model::inventory::{Connection, Inventory, Ssh, Via};
use crate::model::outcome::Failure;
use crate::transport::ssh::resolve::Resolver;
use crate::transport::ssh::route::{HostKeys, Route};
use crate::transport::ssh::{Access, scan};
use crate::transport::{HostError, HostErrorKind};

/// A table of the inventory that has `host_keys`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// `[node.NAME]`.
    Node(NodeName),
    /// `[bastion.NAME]`.
    Bastion(String),
}

/// What one machine showed.
pub struct Report {
    /// Whose it is.
    pub place: Place,
    /// Where it was looked for.
    pub at: String,
    /// The keys, or why there are none.
    pub result: Result<Comparison, HostError>,
}

impl Place {
    /// For people: `pi5-01`, `bastion gate`.
    pub fn shown(&self) -> String {
        match self {
            Self::Node(name) => name.to_string(),
            Self::Bastion(name) => format!("bastion {name}"),
        }
    }

    /// The name alone.
    pub fn name(&self) -> &str {
        match self {
            Self::Node(name) => name.as_str(),
            Self::Bastion(name) => name,
        }
    }

    /// The name of the table in the inventory.
    pub fn table(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Bastion(_) => "bastion",
        }
    }

    /// Its pinned keys.
    pub fn pins<'i>(&self, inventory: &'i Inventory) -> &'i [String] {
        match self {
            Self::Node(name) => ssh(inventory, name).map_or(&[], |ssh| &ssh.host_keys),
            Self::Bastion(name) => inventory
                .bastion(name)
                .map_or(&[], |bastion| &bastion.host_keys),
        }
    }

    /// Sets its pinned keys.
    pub fn set_pins(&self, inventory: &mut Inventory, pins: Vec<String>) {
        match self {
            Self::Node(name) => {
                let node = inventory.nodes.iter_mut().find(|node| node.name == *name);
                if let Some(Connection::Ssh(ssh)) = node.map(|node| &mut node.connection) {
                    ssh.host_keys = pins;
                }
            }
            Self::Bastion(name) => {
                let mut bastions = inventory.bastions.iter_mut();
                if let Some(bastion) = bastions.find(|bastion| bastion.name == *name) {
                    bastion.host_keys = pins;
                }
            }
        }
    }

    /// Bastions of the inventory before it, the one that is reached first in front.
    fn before(&self, inventory: &Inventory) -> Vec<String> {
        let mut via = match self {
            Self::Node(name) => ssh(inventory, name).map(|ssh| &ssh.via),
            Self::Bastion(name) => inventory.bastion(name).map(|bastion| &bastion.via),
        };
        let mut names: Vec<String> = Vec::new();
        while let Some(Via::Bastion(name)) = via
            && !names.contains(name)
        {
            names.insert(0, name.clone());
            via = inventory.bastion(name).map(|bastion| &bastion.via);
        }
        names
    }

    /// The way there.
    ///
    /// # Errors
    ///
    /// As for [`Resolver::route`].
    pub fn route(&self, inventory: &Inventory, resolver: &Resolver) -> Result<Route, Failure> {
        match self {
            Self::Node(name) => match ssh(inventory, name) {
                Some(ssh) => resolver.route(name, ssh),
                None => Err(Failure::new(format!("{name} is not reached by SSH"))
                    .hint("give it an `address` in the inventory")),
            },
            Self::Bastion(name) => match inventory.bastion(name) {
                Some(bastion) => resolver.bastion(bastion),
                None => Err(Failure::new(format!("there is no bastion {name}"))
                    .hint("add it to the inventory")),
            },
        }
    }
}

fn ssh<'i>(inventory: &'i Inventory, name: &NodeName) -> Option<&'i Ssh> {
    match inventory.node(name).map(|node| &node.connection) {
        Some(Connection::Ssh(ssh)) => Some(ssh),
        _ => None,
    }
}

/// The places in the order they can be looked at: those behind nothing first. Bastions on the way whose keys nobody trusts
/// yet come in addition.
pub fn stages(inventory: &Inventory, resolver: &Resolver, places: &[Place]) -> Vec<Vec<Place>> {
    let mut all: Vec<Place> = Vec::new();
    for place in places {
        let before = place.before(inventory).into_iter().map(Place::Bastion);
        all.extend(before.filter(|bastion| !is_trusted(bastion, inventory, resolver)));
        all.push(place.clone());
    }
    let mut stages: Vec<Vec<Place>> = Vec::new();
    for place in all {
        let depth = place.before(inventory).len();
        if stages.len() <= depth {
            stages.resize(depth + 1, Vec::new());
        }
        if let Some(stage) = stages.get_mut(depth)
            && !stage.contains(&place)
        {
            stage.push(place);
        }
    }
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// Whether any host key of it is trusted.
pub fn is_trusted(place: &Place, inventory: &Inventory, resolver: &Resolver) -> bool {
    let route = place.route(inventory, resolver);
    route.is_ok_and(|route| {
        route
            .hops
            .last()
            .is_some_and(|hop| !hop.host_keys.keys().is_empty())
    })
}

/// Asks all machines at once for their host keys.
pub async fn look(
    stage: &[Place],
    inventory: &Inventory,
    resolver: &Resolver,
    access: &Arc<Access>,
) -> Vec<Report> {
    let mut asked = JoinSet::new();
    let mut reports = Vec::new();
    for (index, place) in stage.iter().enumerate() {
        let (place, access) = (place.clone(), access.clone());
        match place.route(inventory, resolver) {
            Ok(route) => {
                asked.spawn(async move {
                    let shown = scan::scan(&route, &access).await;
                    let result = shown.map(|shown| Comparison::new(trusted(&route), &shown));
                    (index, report(place, &route, result))
                });
            }
            Err(failure) => reports.push((index, unusable(place, failure))),
        }
    }
    while let Some(done) = asked.join_next().await {
        if let Ok(done) = done {
            reports.push(done);
        }
    }
    in_order(reports)
}

/// What known_hosts has, without asking anybody.
pub fn look_up(stage: &[Place], inventory: &Inventory, resolver: &Resolver) -> Vec<Report> {
    let mut unpinned = inventory.clone();
    for place in stage {
        place.set_pins(&mut unpinned, Vec::new());
    }
    let report = |place: &Place| {
        let routes = place
            .route(inventory, resolver)
            .and_then(|route| Ok((route, place.route(&unpinned, resolver)?)));
        match routes {
            Ok((route, known)) => {
                let result = match trusted(&known) {
                    HostKeys::Known { keys, revoked, .. } if !keys.is_empty() => {
                        let mut shown = keys.clone();
                        shown.retain(|key| !revoked.contains(key));
                        Ok(Comparison::new(trusted(&route), &shown))
                    }
                    _ => Err(HostError {
                        kind: HostErrorKind::Protocol,
                        failure: Failure::new(format!(
                            "known_hosts has no key of {}",
                            place.shown()
                        ))
                        .hint(format!(
                            "`hmco-boot hosts pin {}` asks the machine",
                            place.name()
                        )),
                    }),
                };
                self::report(place.clone(), &route, result)
            }
            Err(failure) => unusable(place.clone(), failure),
        }
    };
    stage.iter().map(report).collect()
}

fn trusted(route: &Route) -> &HostKeys {
    const NONE: &HostKeys = &HostKeys::Pinned(Vec::new());
    route.hops.last().map_or(NONE, |hop| &hop.host_keys)
}

fn report(place: Place, route: &Route, result: Result<Comparison, HostError>) -> Report {
    let hop = route.hops.last();
    let at = hop.map_or(String::new(), |hop| match hop.port {
        22 => hop.address.clone(),
        port => format!("{} port {port}", hop.address),
    });
    Report { place, at, result }
}

fn unusable(place: Place, failure: Failure) -> Report {
    Report {
        place,
        at: String::new(),
        result: Err(HostError {
            kind: HostErrorKind::Protocol,
            failure,
        }),
    }
}

fn in_order(mut reports: Vec<(usize, Report)>) -> Vec<Report> {
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}
