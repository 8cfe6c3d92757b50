//! What the servers of a cluster say of themselves, and what follows for one that is to start: never a second cluster.

use super::files::{BINARY, ENCRYPTION, path, unit_name};
use super::ready::How;
use crate::facts::fact::{Fact, FactError, FactValue, K3sData, Unit};
use crate::facts::known::{FactRef, Known, Unreadable};
use crate::model::outcome::Failure;
use crate::steps::preflight::{Peer, Role};

/// The port of a server's API.
const PORT: u16 = 6443;

/// What is asked of every server.
pub fn facts() -> [Fact; 3] {
    [
        Fact::K3sData,
        Fact::Unit {
            name: unit_name(Role::Server).to_owned(),
        },
        encryption(),
    ]
}

/// The same of another server.
pub fn facts_of(peer: &Peer) -> impl Iterator<Item = FactRef> {
    let target = peer.target();
    facts().into_iter().map(move |fact| FactRef {
        target: Some(target.clone()),
        fact,
    })
}

fn encryption() -> Fact {
    Fact::Stat {
        path: path(ENCRYPTION),
    }
}

/// A server as it says of itself.
#[derive(Clone, Debug)]
pub struct Server<'a> {
    /// Where it is in the inventory.
    pub peer: &'a Peer,
    /// Its data, or why it does not tell.
    pub data: Result<&'a K3sData, String>,
    /// Its unit runs or is starting.
    pub alive: bool,
    /// Its unit is up.
    pub active: bool,
    /// It encrypts Secrets in the datastore, or did once.
    pub encrypts: bool,
}

impl<'a> Server<'a> {
    fn of(peer: &'a Peer, known: &Known<'a>) -> Self {
        let target = peer.target();
        let data = match known.answer_of(&target, &Fact::K3sData) {
            Some(Ok(FactValue::K3sData(data))) => Ok(data),
            Some(Ok(_)) => Err("its answer makes no sense".to_owned()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it was not asked".to_owned()),
        };
        let [_, unit, encryption] = facts();
        let (data, active, alive) = match known.answer_of(&target, &unit) {
            Some(Ok(FactValue::Unit(unit))) => (data, unit.active == "active", is_alive(unit)),
            Some(Err(FactError::NotFound)) => (data, false, false),
            Some(Err(error)) => (data.and(Err(error.to_string())), false, false),
            _ => (data.and(Err("it was not asked".to_owned())), false, false),
        };
        let encrypts = matches!(known.answer_of(&target, &encryption), Some(Ok(_)));
        Self {
            peer,
            data,
            alive,
            active,
            encrypts,
        }
    }

    /// What is left of a cluster's data without its database.
    fn remains(&self) -> Option<String> {
        let data = self.data.as_ref().ok()?;
        if data.etcd || data.sqlite {
            return None;
        }
        let old = data.old.iter().find(|name| name.starts_with("etcd-old-"));
        match (old, &data.ca_sha256) {
            (Some(old), _) => Some(format!("/var/lib/rancher/k3s/server/db/{old} is there")),
            (None, Some(_)) => {
                Some("/var/lib/rancher/k3s/server/tls/server-ca.crt is there".to_owned())
            }
            (None, None) => None,
        }
    }

    /// Whether there is no more than what a first start writes before it has a database: the CA, and a folder for snapshots.
    fn only_began(&self) -> bool {
        let Ok(data) = self.data else { return false };
        data.old.iter().all(|name| name == "snapshots") && !data.started && !data.agent
    }

    fn has_etcd(&self) -> bool {
        self.data.as_ref().is_ok_and(|data| data.etcd)
    }

    fn has_sqlite(&self) -> bool {
        self.data
            .as_ref()
            .is_ok_and(|data| data.sqlite && !data.etcd)
    }

    fn ca(&self) -> Option<&str> {
        self.data.as_ref().ok()?.ca_sha256.as_deref()
    }

    /// The URL that others join at.
    pub fn url(&self) -> Option<String> {
        self.peer.address.as_deref().map(url)
    }
}

/// Whether a unit runs or is on its way.
pub fn is_alive(unit: &Unit) -> bool {
    matches!(
        unit.active.as_str(),
        "active" | "activating" | "reloading" | "refreshing"
    )
}

/// What to do about a cluster without its database.
const REMAINS: &str = "put the database back (server/db/etcd-old-* to server/db/etcd) or restore a snapshot; a K3s with a database elsewhere \
     (datastore-endpoint) cannot be taken over. If nothing of it is wanted, copy /var/lib/rancher/k3s/server/token away, then move \
     /var/lib/rancher/k3s/server away";

/// The URL of the API at an address or name.
pub fn url(address: &str) -> String {
    match address.contains(':') && !address.starts_with('[') {
        true => format!("https://[{address}]:{PORT}"),
        false => format!("https://{address}:{PORT}"),
    }
}

/// All servers of the inventory, as one of them sees them.
#[derive(Debug)]
pub struct Servers<'a> {
    own: Server<'a>,
    others: Vec<Server<'a>>,
}

/// Words for names in a row.
fn names(servers: &[&Server<'_>]) -> String {
    let names: Vec<&str> = servers
        .iter()
        .map(|server| server.peer.name.as_str())
        .collect();
    names.join(", ")
}

impl<'a> Servers<'a> {
    /// Takes the answers together. A fact of its own that is missing makes a decision impossible.
    pub fn of(
        nodes: &'a [Peer],
        known: &Known<'a>,
    ) -> Result<Result<Self, Box<Failure>>, Unreadable> {
        let is_server = |peer: &&Peer| peer.role() == Role::Server;
        let is_own = |peer: &&Peer| peer.target() == *known.target();
        let Some(own) = nodes.iter().filter(is_server).find(is_own) else {
            let failure = Failure::new(format!(
                "{} is no server of the inventory",
                known.target()
            ))
            .hint("give it `roles = [\"server\"]`, or select servers only: `on = \"role:server\"`, and `nodes = \"{{ nodes }}\"`");
            return Ok(Err(Box::new(failure)));
        };
        for fact in facts() {
            known.value(&fact)?;
        }
        let others = nodes
            .iter()
            .filter(is_server)
            .filter(|peer| peer.target() != *known.target());
        Ok(Ok(Self {
            own: Server::of(own, known),
            others: others.map(|peer| Server::of(peer, known)).collect(),
        }))
    }

    /// This server.
    pub fn own(&self) -> &Server<'a> {
        &self.own
    }

    /// Whether it is a member already.
    pub fn has_data(&self) -> bool {
        self.own.has_etcd() || self.own.has_sqlite()
    }

    /// Whether it is, or becomes, a member of an etcd cluster.
    pub fn uses_etcd(&self, how: &How) -> bool {
        *how != How::Alone
    }

    /// Whether Secrets are encrypted in this cluster; `None` where there is no cluster yet.
    pub fn encrypts(&self) -> Option<bool> {
        if self.has_data() {
            return Some(self.own.encrypts);
        }
        let mut members = self.others.iter().filter(|other| other.has_etcd());
        members.next().map(|first| first.encrypts)
    }

    /// How it is to start, or why it must not. `live`: what its configuration says now; `api`: the URL of the cluster's own
    /// address.
    pub fn how(&self, live: Option<&How>, api: Option<&str>) -> Result<How, Failure> {
        self.one_cluster()?;
        if self.own.has_etcd() {
            return self.member(live, api);
        }
        if self.own.has_sqlite() {
            return self.alone();
        }
        self.no_lost_database()?;
        let members: Vec<&Server<'a>> = self
            .others
            .iter()
            .filter(|other| other.has_etcd())
            .collect();
        if members.is_empty() {
            self.first()
        } else {
            self.joins(&members)
        }
    }

    /// All that have data have it of one cluster.
    fn one_cluster(&self) -> Result<(), Failure> {
        let mut seen: Option<(&Server<'a>, &str)> = None;
        for server in [&self.own].into_iter().chain(&self.others) {
            let Some(ca) = server
                .ca()
                .filter(|_| server.has_etcd() || server.has_sqlite())
            else {
                continue;
            };
            match seen {
                Some((first, other)) if other != ca => {
                    return Err(Failure::new(format!(
                        "{} and {} have data of two different clusters",
                        first.peer.name, server.peer.name
                    ))
                    .evidence(format!("sha256 of the CA on {}: {other}", first.peer.name))
                    .evidence(format!("sha256 of the CA on {}: {ca}", server.peer.name))
                    .hint("one inventory is one cluster: take the one that does not belong to it out, or reset it after looking at what is in it"));
                }
                Some(_) => {}
                None => seen = Some((server, ca)),
            }
        }
        Ok(())
    }

    fn member(&self, live: Option<&How>, api: Option<&str>) -> Result<How, Failure> {
        let known = |url: &str| {
            self.others
                .iter()
                .any(|other| other.url().as_deref() == Some(url))
        };
        match live {
            Some(How::Init) => return Ok(How::Init),
            // Where it joined once; K3s looks there again at each start. One that is gone is replaced.
            Some(How::Join(url)) if known(url) || api == Some(url) => {
                return Ok(How::Join(url.clone()));
            }
            _ => {}
        }
        let other = self.others.iter().find(|other| other.has_etcd());
        Ok(match other.and_then(Server::url) {
            Some(url) => How::Join(url),
            None => How::Init,
        })
    }

    /// A server on SQLite stays alone.
    fn alone(&self) -> Result<How, Failure> {
        if self.others.is_empty() {
            return Ok(How::Alone);
        }
        Err(Failure::new("K3s has a datastore of its own here (SQLite), which no other server can join")
            .evidence("/var/lib/rancher/k3s/server/db/state.db is there")
            .hint("either K3s was once started here without token and cluster (then reset this node), or this is the cluster: make it the only server, and turn it into an etcd cluster by hand with `cluster-init` first"))
    }

    /// A server without its database that once had one would come up as a new, empty cluster. A first start that ended before
    /// it had one is gone on with.
    fn no_lost_database(&self) -> Result<(), Failure> {
        let joins = self.others.iter().any(Server::has_etcd);
        match self.own.remains() {
            Some(shown) if !joins && !self.own.only_began() => Err(Failure::new("a cluster was here, but its database is gone: started now, K3s would make a new, empty one")
                .evidence(shown)
                .hint(REMAINS)),
            _ => Ok(()),
        }
    }

    /// No other server has what is left of a cluster, or the beginning of one.
    fn no_other_began(&self) -> Result<(), Failure> {
        let left = |other: &'_ Server<'a>| Some((other.peer, other.only_began(), other.remains()?));
        let Some((peer, began, shown)) = self.others.iter().find_map(left) else {
            return Ok(());
        };
        let name = &peer.name;
        let (what, cure) = match began {
            true => (
                format!(
                    "a first start of K3s on {name} ended before it had a database: a cluster is begun there"
                ),
                format!(
                    "run it without --limit, so that {name} goes on with it; or take away what is there: hmco-boot k3s reset --node {name}"
                ),
            ),
            false => (
                format!(
                    "a cluster was on {name}, but its database is gone there: a new one would be another cluster"
                ),
                REMAINS.to_owned(),
            ),
        };
        Err(Failure::new(what).evidence(shown).hint(cure))
    }

    /// Nobody has data: the first one makes the cluster, if really nobody has.
    fn first(&self) -> Result<How, Failure> {
        let silent: Vec<&Server<'a>> = self
            .others
            .iter()
            .filter(|other| other.data.is_err())
            .collect();
        if !silent.is_empty() {
            let mut failure = Failure::new(format!(
                "nobody knows whether there is a cluster already: {} did not answer",
                names(&silent)
            ))
            .hint("a second cluster would be worse than none: bring them up, or take them out of the inventory, then run this again");
            for server in silent {
                if let Err(why) = &server.data {
                    failure = failure.evidence(format!("{}: {why}", server.peer.name));
                }
            }
            return Err(failure);
        }
        if self.own.active {
            return Err(Failure::new(
                "K3s runs here, and its data are not in /var/lib/rancher/k3s: started anew, it would be a new, empty cluster",
            )
            .hint("if it keeps its data elsewhere (data-dir, a database), it cannot be taken over: leave the node out"));
        }
        self.no_other_began()?;
        let others: Vec<&Server<'a>> = self
            .others
            .iter()
            .filter(|other| other.alive || other.has_sqlite())
            .collect();
        if let Some(other) = others.first() {
            let why = match other.has_sqlite() {
                true => "K3s has a datastore of its own there (SQLite), which nobody can join",
                false => "K3s runs or is starting there, and has no etcd data yet",
            };
            return Err(
                Failure::new(format!("{} may be a cluster: {why}", names(&others))).hint(format!(
                    "run the step for {} first (without `--limit`, in the inventory's order)",
                    other.peer.name
                )),
            );
        }
        Ok(How::Init)
    }

    /// Some have data: it joins one that is up.
    fn joins(&self, members: &[&Server<'a>]) -> Result<How, Failure> {
        let Some(first) = members.iter().find(|server| server.active) else {
            return Err(Failure::new(format!(
                "there is a cluster, but none of its servers that answer is up: {}",
                names(members)
            ))
            .hint(
                "start one first: run the step for it, or look there at `systemctl status k3s`",
            ));
        };
        match first.url() {
            Some(url) => Ok(How::Join(url)),
            None => Err(Failure::new(format!(
                "{} has no address that this server could join",
                first.peer.name
            ))
            .hint("give it an `address` in the inventory")),
        }
    }

    /// Refuses a restart that would take the quorum of etcd.
    pub fn may_restart(&self) -> Result<(), Failure> {
        let members: Vec<&Server<'a>> = self
            .others
            .iter()
            .filter(|other| other.has_etcd() || other.data.is_err())
            .collect();
        let count = members.len() + 1;
        let up = members.iter().filter(|other| other.active).count();
        // Of two, each one's restart takes the quorum for a moment: there is no other way.
        if count < 3 || up > count / 2 {
            return Ok(());
        }
        let down: Vec<&Server<'a>> = members.into_iter().filter(|other| !other.active).collect();
        Err(Failure::new(format!(
            "not restarted: without this server only {up} of {count} would be up, and etcd needs {}",
            count / 2 + 1
        ))
        .evidence(format!("not up: {}", names(&down)))
        .hint(format!("bring them up first (`systemctl start --no-block k3s` there); {BINARY} here runs on with what it was started with")))
    }
}

#[cfg(test)]
mod tests;
