//! `k3s_server`: a server of a K3s cluster, up. The first makes the cluster, the others join it, one by one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::preflight::{Peer, Role};
use super::shared::k3s::cluster::{self, Servers};
use super::shared::k3s::files::{self, SERVER_TOKEN};
use super::shared::k3s::install::{Install, Part, Steps};
use super::shared::k3s::ready::{self, How, Running};
use super::shared::k3s::{
    Setting, Settings, causes, default_artifact, default_start_timeout, live, mistakes, password,
};
use super::shared::list::OneOrMany;
use super::shared::yes;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Content, Fact};
use crate::facts::known::{FactRef, Known, Unreadable};
use crate::model::action::{Action, JobEnd};
use crate::model::artifact::{ArtifactRef, Fetch, PinBook, PinProblem};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

/// A server of a K3s cluster: the pinned binary, its configuration, its unit, and that it is up: the unit runs, its API is
/// ready, its Node is Ready and a voting member of etcd. The first server makes the cluster, and only where every server of
/// the inventory says that there is none; the others join it. Servers go one by one. `k3s-killall.sh` and
/// `k3s-uninstall.sh` are left in /usr/local/bin, as get.k3s.io does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct K3sServer {
    /// The nodes of the cluster: `"{{ nodes }}"`. Those with the role `server` are asked whether there is a cluster.
    pub nodes: Vec<Peer>,
    /// The cluster's token: `{ secret = "k3s/token" }`. The short form (a password) for a new cluster.
    pub token: Text,
    /// Make the token, and keep it as a secret, where there is none yet and every server says that there is no cluster.
    #[serde(default)]
    pub generate: bool,
    /// The name of the binary in hmco-boot.lock; `k3s` by default. Another version than the one that runs is refused: that is
    /// an upgrade.
    #[serde(default = "default_artifact")]
    pub artifact: ArtifactRef,
    /// Who fetches it: the `"node"` or the `"controller"`. By default as the pin says.
    #[serde(default)]
    pub fetch: Option<Fetch>,
    /// The cluster's own address, which server certificates are also made for: `"{{ cluster.api_address or '' }}"`.
    #[serde(default)]
    pub api_address: Option<String>,
    /// Encrypt Secrets in the datastore of a new cluster. One that is there stays as it is.
    #[serde(default = "yes")]
    pub secrets_encryption: bool,
    /// Further keys of K3s' configuration, flags without their dashes: `{ disable = ["traefik"], flannel-backend = "host-gw" }`.
    #[serde(default)]
    pub config: Settings,
    /// Variables of its unit: `{ HTTPS_PROXY = "http://proxy:3128" }`.
    #[serde(default)]
    pub env: BTreeMap<String, Text>,
    /// Further files that it reads: where one changes, it is restarted.
    #[serde(default)]
    pub restart_on: OneOrMany<AbsPath>,
    /// How long a start may take; 5m by default. The step's own `timeout` must be longer, by the time that the binary takes.
    #[serde(default = "default_start_timeout")]
    pub start_timeout: TimeSpan,
}

/// The token as K3s keeps it.
fn live_token() -> Fact {
    Fact::Content {
        path: files::path(SERVER_TOKEN),
        unless_sha256: None,
        cap: 4096,
        sensitive: true,
    }
}

impl K3sServer {
    fn install(&self) -> Install<'_> {
        Install {
            role: Role::Server,
            artifact: &self.artifact,
            fetch: self.fetch,
            token: &self.token,
            config: &self.config,
            env: &self.env,
            restart_on: &self.restart_on.0,
            start_timeout: self.start_timeout,
        }
    }

    /// The configuration without its token.
    fn settings(&self, how: &How, encrypts: bool) -> Settings {
        let mut settings = self.config.clone();
        match how {
            How::Init => {
                settings.insert("cluster-init".to_owned(), Setting::Switch(true));
            }
            How::Join(url) => {
                settings.insert("server".to_owned(), Setting::text(url));
            }
            How::Alone => {}
        }
        if encrypts {
            settings.insert("secrets-encryption".to_owned(), Setting::Switch(true));
        }
        let mut names = match settings.remove("tls-san") {
            Some(Setting::List(names)) => names,
            Some(name) => vec![name],
            None => Vec::new(),
        };
        let api = self.api_address.as_deref().filter(|api| !api.is_empty());
        let api = api.map(Setting::text).filter(|api| !names.contains(api));
        names.splice(..0, api);
        if !names.is_empty() {
            settings.insert("tls-san".to_owned(), Setting::List(names));
        }
        settings
    }

    /// What its start will be, by what all servers say.
    fn part(
        &self,
        servers: &Servers<'_>,
        live: Option<&How>,
        encrypts: bool,
    ) -> Result<Part, Failure> {
        let api = self.api_address.as_deref().filter(|api| !api.is_empty());
        let api = api.map(cluster::url);
        let how = servers.how(live, api.as_deref())?;
        let there = servers.encrypts().unwrap_or(self.secrets_encryption);
        // A member that was told to encrypt is never told otherwise.
        let encrypts = there || (encrypts && servers.has_data());
        Ok(Part {
            settings: self.settings(&how, encrypts),
            has_data: servers.has_data(),
            etcd: servers.uses_etcd(&how),
            how,
        })
    }

    fn others(&self, known: &Known<'_>) -> impl Iterator<Item = &Peer> {
        let own = known.target().clone();
        self.nodes
            .iter()
            .filter(move |peer| peer.role() == Role::Server && peer.target() != own)
    }

    /// Facts about who is in the cluster.
    fn cluster_facts(&self, known: &Known<'_>) -> Vec<FactRef> {
        let own = cluster::facts().into_iter().chain([live_token()]);
        let own = own.map(FactRef::from);
        let others = self.others(known).flat_map(cluster::facts_of);
        own.chain(others).filter(|fact| !known.has(fact)).collect()
    }

    /// A token in a file that a server does not run with is the way to a server that never starts again.
    fn other_token(
        &self,
        servers: &Servers<'_>,
        known: &Known<'_>,
    ) -> Result<Option<Failure>, Unreadable> {
        if !servers.has_data() {
            let long = self.token.expose().starts_with("K10");
            return Ok(long.then(|| self.long_token(servers)).flatten());
        }
        let Some(Content {
            bytes: Some(bytes), ..
        }) = known.content(&live_token())?
        else {
            return Ok(None);
        };
        let live = String::from_utf8_lossy(bytes);
        let same = password(&live) == password(self.token.expose());
        Ok((!same).then(|| {
            Failure::new("the token is not the one that this server's datastore is sealed with: with it, K3s would not start again")
                .evidence(format!("{SERVER_TOKEN} holds another one"))
                .hint("set the secret to that one (its part after the last `:`); to change the token of a cluster, `k3s token rotate` comes first")
        }))
    }

    /// The long form names the CA of a cluster that is still to be made.
    fn long_token(&self, servers: &Servers<'_>) -> Option<Failure> {
        matches!(servers.how(None, None), Ok(How::Init)).then(|| {
            Failure::new("the token is of another cluster: its long form (K10...) names that one's CA")
                .hint("a new cluster takes a password only: `hmco-boot secrets set k3s/token --generate=token`")
        })
    }
}

impl Kind for K3sServer {
    type Drift = Steps;
    const NAME: &'static str = "k3s_server";
    const SUMMARY: &'static str =
        "A server of a K3s cluster, up: the first makes it, the others join.";
    const CLASS: Class = Class::State;
    const DISRUPTIVE: bool = true;
    const SERIAL: Option<u32> = Some(1);
    const NODES_ONLY: bool = true;
    const ASKS_OTHERS: bool = true;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = mistakes(&self.config, &self.env, &self.token, self.start_timeout);
        if self.nodes.is_empty() {
            let what = "the nodes of the cluster are needed: `nodes = \"{{ nodes }}\"`";
            found.push(("nodes", what.to_owned()));
        }
        if self.generate && !self.token.is_tainted() {
            let what = "only a secret can be made: `token = { secret = \"k3s/token\" }`";
            found.push(("generate", what.to_owned()));
        }
        found
    }

    fn pins(&mut self, book: &PinBook) -> Vec<(&'static str, PinProblem)> {
        let problem = self.artifact.resolve(book).err();
        problem
            .into_iter()
            .map(|problem| ("artifact", problem))
            .collect()
    }

    fn makes(&self) -> Option<&Text> {
        self.generate.then_some(&self.token)
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let mut missing = self.cluster_facts(known);
        let part = match missing.is_empty() {
            true => self.known_part(known).unwrap_or_default(),
            false => None,
        };
        missing.extend(self.install().facts(part.as_ref(), known));
        missing.sort();
        missing.dedup();
        match missing.is_empty() {
            true => Want::Done,
            false => Want::More(missing),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let servers = match Servers::of(&self.nodes, known)? {
            Ok(servers) => servers,
            Err(failure) => return Ok(Decision::Refused(*failure)),
        };
        let part = match self.part(&servers, live::how(known)?.as_ref(), live::encrypts(known)?) {
            Ok(part) => part,
            Err(failure) => return Ok(Decision::Refused(failure)),
        };
        if let Some(failure) = self.other_token(&servers, known)? {
            return Ok(Decision::Refused(failure));
        }
        let decision = self.install().decide(&part, known)?;
        if let Decision::Drift { drift, .. } = &decision
            && drift.restarts
            && let Err(failure) = servers.may_restart()
        {
            return Ok(Decision::Refused(failure));
        }
        Ok(decision)
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.actions.clone()
    }

    fn touches(&self) -> Touches {
        self.install().touches()
    }

    fn warning(&self, known: &Known<'_>) -> Option<Failure> {
        let part = self.known_part(known).ok()??;
        let fact = self.running(&part, known).ok()?.fact();
        let answer = known.exec(&fact).ok()??;
        ready::is_simulated(answer).then(|| {
            Failure::new("this K3s is simulated: its API is real, its pods are not")
                .hint("for trying only; a real K3s comes with a pin in hmco-boot.lock")
        })
    }

    /// Only a K3s that serves is disturbed, not one that is started.
    fn disrupts(&self, drift: &Self::Drift) -> bool {
        drift.restarts
    }

    fn explain(&self, failure: Failure, end: &JobEnd) -> Failure {
        causes::explain(failure, end)
    }
}

impl K3sServer {
    /// What its start will be, where everything is known; `None` where it is refused.
    fn known_part(&self, known: &Known<'_>) -> Result<Option<Part>, Unreadable> {
        let Ok(servers) = Servers::of(&self.nodes, known)? else {
            return Ok(None);
        };
        let (live, encrypts) = (live::how(known)?, live::encrypts(known)?);
        Ok(self.part(&servers, live.as_ref(), encrypts).ok())
    }

    fn running(&self, part: &Part, known: &Known<'_>) -> Result<Running, Unreadable> {
        self.install().running(part.etcd, known)
    }
}

#[cfg(test)]
mod tests;
