//! `k3s_agent`: an agent of a K3s cluster, up.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::preflight::{Peer, Role};
use super::shared::k3s::cluster::url;
use super::shared::k3s::install::{Install, Part, Steps};
use super::shared::k3s::live;
use super::shared::k3s::ready::How;
use super::shared::k3s::{
    Setting, Settings, causes, default_artifact, default_start_timeout, mistakes,
};
use super::shared::list::OneOrMany;
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, JobEnd};
use crate::model::artifact::{ArtifactRef, Fetch, PinBook, PinProblem};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

/// An agent of a K3s cluster: the pinned binary, its configuration, its unit, and that it is up: the unit runs and its Node
/// is Ready. It joins at `server`, else at the cluster's own address, else at the first server of the inventory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct K3sAgent {
    /// The nodes of the cluster: `"{{ nodes }}"`, of which the first server is the one to join at.
    #[serde(default)]
    pub nodes: Vec<Peer>,
    /// The URL to join at, instead of what is found: `https://k3s.example.org:6443`.
    #[serde(default)]
    pub server: Option<String>,
    /// The cluster's own address: `"{{ cluster.api_address or '' }}"`.
    #[serde(default)]
    pub api_address: Option<String>,
    /// The cluster's token: `{ secret = "k3s/token" }`.
    pub token: Text,
    /// The name of the binary in hmco-boot.lock; `k3s` by default. Another version than the one that runs is refused: that is
    /// an upgrade.
    #[serde(default = "default_artifact")]
    pub artifact: ArtifactRef,
    /// Who fetches it: the `"node"` or the `"controller"`. By default as the pin says.
    #[serde(default)]
    pub fetch: Option<Fetch>,
    /// Further keys of K3s' configuration, flags without their dashes: `{ kubelet-arg = ["max-pods=50"] }`.
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

impl K3sAgent {
    fn install(&self) -> Install<'_> {
        Install {
            role: Role::Agent,
            artifact: &self.artifact,
            fetch: self.fetch,
            token: &self.token,
            config: &self.config,
            env: &self.env,
            restart_on: &self.restart_on.0,
            start_timeout: self.start_timeout,
        }
    }

    /// Where it joins.
    fn url(&self) -> Option<String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        given(&self.server)
            .or_else(|| given(&self.api_address).map(|api| url(&api)))
            .or_else(|| {
                let mut servers = self.nodes.iter().filter(|peer| peer.role() == Role::Server);
                servers.find_map(|peer| peer.address.as_deref().map(url))
            })
    }

    fn part(&self, url: String, has_data: bool) -> Part {
        let mut settings = self.config.clone();
        settings.insert("server".to_owned(), Setting::text(&url));
        Part {
            settings,
            how: How::Join(url),
            has_data,
            etcd: false,
        }
    }
}

impl Kind for K3sAgent {
    type Drift = Steps;
    const NAME: &'static str = "k3s_agent";
    const SUMMARY: &'static str = "An agent of a K3s cluster, up.";
    const CLASS: Class = Class::State;
    const DISRUPTIVE: bool = true;
    const NODES_ONLY: bool = true;
    const ASKS_OTHERS: bool = true;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut found = mistakes(&self.config, &self.env, &self.token, self.start_timeout);
        if self.url().is_none() {
            let what = "no server is named: `nodes = \"{{ nodes }}\"` (with a server that has an address), `api_address` or `server`";
            found.push(("server", what.to_owned()));
        }
        if let Some(server) = self.server.as_deref().filter(|text| !text.is_empty()) {
            let rest = server.strip_prefix("https://").unwrap_or_default();
            if rest.is_empty()
                || rest.contains(['/', ' ', '"'])
                || rest.chars().any(char::is_control)
            {
                let what = format!("{server:?} is not the URL of a server: https://NAME:6443");
                found.push(("server", what));
            }
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

    fn facts(&self, known: &Known<'_>) -> Want {
        let part = match live::data(known) {
            Ok(Some(data)) => self.url().map(|url| self.part(url, data.agent)),
            _ => None,
        };
        let mut missing = self.install().facts(part.as_ref(), known);
        missing.sort();
        missing.dedup();
        match missing.is_empty() {
            true => Want::Done,
            false => Want::More(missing),
        }
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let Some(url) = self.url() else {
            let failure = Failure::new("no server is named that it could join")
                .hint("`nodes = \"{{ nodes }}\"`, with a server that has an address");
            return Ok(Decision::Refused(failure));
        };
        let Some(found) = live::data(known)? else {
            return Err(known.odd_answer(&Fact::K3sData));
        };
        if found.etcd || found.sqlite {
            let failure = Failure::new("this node has the datastore of a server")
                .evidence("/var/lib/rancher/k3s/server/db is there")
                .hint("correct its `roles`, or reset the node (its data go with it) before it becomes an agent");
            return Ok(Decision::Refused(failure));
        }
        self.install().decide(&self.part(url, found.agent), known)
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.actions.clone()
    }

    fn touches(&self) -> Touches {
        self.install().touches()
    }

    /// Only a K3s that runs is disturbed, not one that is started.
    fn disrupts(&self, drift: &Self::Drift) -> bool {
        drift.restarts
    }

    fn explain(&self, failure: Failure, end: &JobEnd) -> Failure {
        causes::explain(failure, end)
    }
}

#[cfg(test)]
mod tests;
