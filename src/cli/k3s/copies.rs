//! Snapshots, tokens and databases of servers, copied to this machine before their data go: whether, whence and whereto. How the
//! files come here is [`remote`]'s; what they are good for then, [`worth`]'s.

mod proof;
mod remote;
mod worth;

use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::files::Pieces;
use crate::cli::k3s::procedure::failed;
use crate::cli::reach::BecomeArgs;
use crate::cli::session::Session;
use crate::engine::clock::{Clock as _, SystemClock};
use crate::model::id::{NodeName, Target};
use crate::model::shell::quote;
use crate::report::text::{and_list, count};
use crate::transport::{Host, Hosts as _};
use remote::{ETCD, Remote, fetch, list, of_host};
use worth::{Copied, Has, prove};

/// What is copied off.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Where snapshots and tokens are copied to; by default into the state folder
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Go on without copies of snapshots and token
    #[arg(long, conflicts_with = "to")]
    pub without_copies: bool,
}

impl Args {
    /// Its flags, as they are given again.
    pub fn words(&self) -> String {
        match (&self.to, self.without_copies) {
            (Some(dir), _) => format!(" --to {}", quote(&dir.to_string_lossy())),
            (None, true) => " --without-copies".to_owned(),
            (None, false) => String::new(),
        }
    }
}

/// What is to be copied from where.
pub struct Copies {
    folder: PathBuf,
    nodes: Vec<NodeName>,
    sqlite: Vec<NodeName>,
    wanted: bool,
}

/// Says where the copies of these nodes go. `sqlite`: those whose database is a file, which holds still only while K3s is stopped.
pub fn plan(
    args: &Args,
    nodes: &[NodeName],
    sqlite: &[NodeName],
    session: &Session,
    context: &Context<'_>,
) -> Result<Copies, CliError> {
    let now = jiff::Timestamp::from_millisecond(SystemClock::new().wall_ms())
        .map_err(|error| CliError::failed("the clock is out of range").caused_by(&error))?;
    let base = match &args.to {
        Some(dir) => context.cwd.join(dir),
        None => session.state.path().join("copies"),
    };
    let stamp = now.strftime("%Y%m%d-%H%M%S");
    Ok(Copies {
        folder: base.join(format!("{}-{stamp}", session.inventory.cluster.name)),
        nodes: nodes.to_vec(),
        sqlite: sqlite.to_vec(),
        wanted: !args.without_copies,
    })
}

impl Copies {
    /// What happens, in words.
    pub fn words(&self) -> Vec<String> {
        let names = |nodes: &[NodeName]| {
            let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            and_list(&names)
        };
        if !self.wanted {
            return vec!["snapshots and token are NOT copied: they go with the rest".to_owned()];
        }
        let (mut words, mut database) = (Vec::new(), String::new());
        if !self.sqlite.is_empty() {
            let sqlite = names(&self.sqlite);
            words.push(format!(
                "K3s is stopped on {sqlite}, so that its database (SQLite) holds still"
            ));
            database = format!(", and the database of {sqlite},");
        }
        words.push(format!(
            "snapshots and token of {}{database} are copied to {}, and held to their checksums",
            names(&self.nodes),
            self.folder.display()
        ));
        words
    }

    /// On which nodes K3s has to be stopped before.
    pub fn stopped(&self) -> &[NodeName] {
        match self.wanted {
            true => &self.sqlite,
            false => &[],
        }
    }

    /// Copies. `needed`: without what makes the cluster anew nothing more may be done.
    pub async fn make(
        &self,
        session: &mut Session,
        how: &BecomeArgs,
        needed: bool,
        context: &mut Context<'_>,
    ) -> Result<(), CliError> {
        if !self.wanted {
            return Ok(());
        }
        let machines = session.machines(how, context).await?;
        let (mut all, mut has) = (Vec::new(), Has::default());
        for node in &self.nodes {
            let target = Target::Node(node.clone());
            let host = machines.host(&target).await;
            let host = host.map_err(|error| of_host(node, &error.failure))?;
            let list = list(&host, node).await?;
            has.etcd |= list.iter().any(|remote| remote.kind == ETCD);
            let files = list.iter().filter(|remote| remote.kind != ETCD);
            let (mut number, mut size) = (0, 0);
            for remote in files {
                let local = self.copy(&host, node, remote).await?;
                (number, size) = (number + 1, size + remote.size);
                all.push(Copied {
                    node: node.clone(),
                    remote: remote.clone(),
                    local,
                });
            }
            context.output.talk(&format!(
                "copied from {node}: {}, {} KiB, to {}\n",
                count(number, "file", "files"),
                u64::div_ceil(size, 1024),
                self.folder.join(node.as_str()).display()
            ));
        }
        let redactor = context.output.redactor().clone();
        let found = prove(&mut has, &all, &|token| redactor.register("", token))?;
        for (what, hint) in &found {
            context.output.warn(what, hint);
        }
        match has.lacking(&self.nodes, &self.sqlite).filter(|_| needed) {
            Some(failure) => Err(failed(&failure)),
            None => Ok(()),
        }
    }

    /// Copies one file, and proves that it is as it is there.
    async fn copy(
        &self,
        host: &Arc<dyn Host>,
        node: &NodeName,
        remote: &Remote,
    ) -> Result<PathBuf, CliError> {
        let path = self.folder.join(node.as_str()).join(remote.place());
        let written = |error: std::io::Error| {
            CliError::failed(format!("cannot write {}", path.display()))
                .caused_by(&error)
                .hint("name another folder with --to DIR")
        };
        let mut pieces = Pieces::begin(&path).map_err(written)?;
        fetch(host, node, remote, &mut |piece| {
            pieces.add(piece).map_err(written)
        })
        .await?;
        pieces.end(&remote.sha256).map_err(written)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_sqlite_is_copied_while_k3s_is_stopped_as_the_words_say() {
        let node = NodeName::new("n1");
        let copies = Copies {
            folder: PathBuf::new(),
            nodes: vec![node.clone()],
            sqlite: vec![node.clone()],
            wanted: true,
        };
        assert_eq!(copies.stopped(), [node]);
        assert_eq!(copies.words().len(), 2);
    }
}
