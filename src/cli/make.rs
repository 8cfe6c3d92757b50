//! Secrets that the tool makes itself, for a cluster that is still to be made: only where every server answers and none has
//! a cluster's data, and kept before they are used.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::task::JoinSet;

use super::Context;
use super::error::{CliError, Kind};
use super::hosts::{self, Chosen};
use super::reach::BecomeArgs;
use super::secrets::place::{self, Opened, Place};
use crate::facts::fact::{Answer, Fact, FactValue};
use crate::model::id::Target;
use crate::model::inventory::{Inventory, Node};
use crate::report::text::and_list;
use crate::secrets::generate::{self, Sort};
use crate::secrets::store::{Change, Mode};
use crate::transport::{HostError, Hosts};

/// Where secrets are made for a new cluster.
pub struct Fresh<'a> {
    /// Its nodes.
    pub inventory: &'a Inventory,
    /// The project's folder.
    pub root: &'a Path,
    /// How to become root on the servers, and whose secrets they are.
    pub how: &'a BecomeArgs,
}

impl Fresh<'_> {
    /// Makes them.
    pub async fn make(
        &self,
        names: &BTreeSet<String>,
        context: &mut Context<'_>,
    ) -> Result<(), CliError> {
        self.expect_no_cluster(names, context).await?;
        let place = Place::at(self.root.to_owned(), context)?;
        let Opened {
            mut tree,
            mut approved,
        } = place.open(Mode::Write, &self.how.identity, context)?;
        let mut change = Change::new();
        for name in names {
            let name = place::name(name)?;
            if tree.entries().iter().any(|entry| entry.name == name) {
                // Somebody else made it meanwhile.
                continue;
            }
            let readers: Vec<_> = tree
                .recipients()
                .readers_of(&name)
                .into_iter()
                .cloned()
                .collect();
            place::approve(&readers, &mut approved, &place, context)?;
            // Hexadecimal: nothing in it that a shell, a file or K3s takes for something else.
            let made = generate::generate(Sort::Hex, None, None);
            let made = made.map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?;
            place::hide(&name, &made.value, context);
            change = change.set(name, made.value);
        }
        tree.commit(change, &approved, place::today())
            .map_err(|failure| place::failed(&failure))?;
        for name in names {
            context.output.talk(&format!(
                "made the secret {name}, for a new cluster; commit the folder secrets/\n"
            ));
        }
        Ok(())
    }

    /// Asks all servers.
    async fn expect_no_cluster(
        &self,
        names: &BTreeSet<String>,
        context: &mut Context<'_>,
    ) -> Result<(), CliError> {
        let is_server = |node: &&Node| node.roles.iter().any(|role| role == "server");
        let chosen = Chosen {
            inventory: self.inventory.clone(),
            root: self.root.to_owned(),
            text: String::new(),
            nodes: self
                .inventory
                .nodes
                .iter()
                .filter(is_server)
                .cloned()
                .collect(),
        };
        let machines = hosts::machines(&chosen, self.how, context).await?;
        let mut reading = JoinSet::new();
        for node in &chosen.nodes {
            let (machines, name) = (machines.clone(), node.name.clone());
            reading.spawn(async move {
                let target = Target::Node(name.clone());
                let read = async { machines.host(&target).await?.read(&[Fact::K3sData]).await };
                (name, read.await)
            });
        }
        let what = and_list(
            &names
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>(),
        );
        let mut members = Vec::new();
        while let Some(done) = reading.join_next().await {
            let (name, read) = done.map_err(|error| {
                CliError::failed("a server could not be asked").caused_by(&error)
            })?;
            match has_data(read) {
                Ok(false) => {}
                Ok(true) => members.push(name.to_string()),
                Err(why) => {
                    return Err(CliError::from_failure(
                        Kind::Unreachable,
                        &why.evidence(format!(
                            "{what} is not in the store, and is made only when it is certain that there is no cluster"
                        )),
                    )
                    .hint(format!("bring {name} up, or set the secret: hmco-boot secrets set NAME")));
                }
            }
        }
        if members.is_empty() {
            return Ok(());
        }
        members.sort();
        Err(CliError::usage(format!(
            "{what} is not in the store, and there is a cluster already: K3s has data on {}",
            and_list(&members)
        ))
        .hint("its token is in /var/lib/rancher/k3s/server/token there, after the last `:`; keep it with `hmco-boot secrets set`"))
    }
}

/// Whether a server has a cluster's data.
fn has_data(read: Result<Vec<Answer>, HostError>) -> Result<bool, crate::model::outcome::Failure> {
    let answers = read.map_err(|error| error.failure)?;
    match answers.into_iter().next() {
        Some((_, Ok(FactValue::K3sData(data)))) => {
            Ok(data.etcd || data.sqlite || data.ca_sha256.is_some())
        }
        Some((_, Err(error))) => Err(crate::model::outcome::Failure::new(format!(
            "whether K3s has data could not be read: {error}"
        ))),
        _ => Err(crate::model::outcome::Failure::new(
            "whether K3s has data was not answered",
        )),
    }
}
