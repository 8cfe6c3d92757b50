//! The machines of an inventory: what is behind each target, local or over SSH. A machine is made when it is first asked
//! for and kept, with its connection, for the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::controller::ControllerHost;
use super::local::LocalHost;
use super::machine::{DEFAULT_RUN_DIR, Machine, Settings};
use super::ssh::route::Route;
use super::ssh::{Access, SshShell, Sudo};
use super::upload::UploadSettings;
use super::{BoxFuture, Host, HostError, HostErrorKind, Hosts, Stream, Tunnels};
use crate::artifact::Artifacts;
use crate::facts::digest_cache::DigestCache;
use crate::model::id::{NodeName, Target};
use crate::model::inventory::{Connection, Inventory, Ssh};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::redact::Redactor;

/// Machines, each made when it is first asked for.
pub struct Machines {
    connections: BTreeMap<Target, Connection>,
    project: PathBuf,
    books: Books,
    digests: Mutex<BTreeMap<Target, DigestCache>>,
    made: Mutex<BTreeMap<Target, Made>>,
    ssh: SshWays,
    artifacts: Option<Arc<dyn Artifacts>>,
    redactor: Redactor,
}

/// A machine that was made.
#[derive(Clone)]
enum Made {
    Local(Arc<LocalHost>),
    Ssh(Arc<Machine<SshShell>>),
}

impl Made {
    fn host(&self) -> Arc<dyn Host> {
        match self {
            Self::Local(host) => host.clone(),
            Self::Ssh(host) => host.clone(),
        }
    }

    fn digests(&self) -> DigestCache {
        match self {
            Self::Local(host) => host.digests(),
            Self::Ssh(host) => host.digests(),
        }
    }
}

/// Finds the way to a node.
pub type RouteTo = dyn Fn(&NodeName, &Ssh) -> Result<Route, Failure> + Send + Sync;

/// Finds how to become root at the end of it.
pub type SudoAt = dyn Fn(&NodeName, &Ssh, &Route) -> Result<Sudo, Failure> + Send + Sync;

/// How nodes are reached over SSH.
pub struct SshWays {
    /// The way to each.
    pub route: Box<RouteTo>,
    /// How to become root there.
    pub sudo: Box<SudoAt>,
    /// What all connections share.
    pub access: Arc<Access>,
}

/// Where jobs on this machine keep their books.
#[derive(Clone, Debug)]
pub struct Books {
    /// We are root, so the usual place can be written.
    pub root: bool,
    /// A folder of our own for everybody else.
    pub own: PathBuf,
}

impl Machines {
    /// Those of an inventory in the project folder `project`, with the digests known from earlier runs.
    pub fn new(
        inventory: &Inventory,
        project: &Path,
        books: Books,
        digests: BTreeMap<Target, DigestCache>,
        ssh: SshWays,
    ) -> Self {
        let connections = inventory
            .nodes
            .iter()
            .map(|node| (Target::Node(node.name.clone()), node.connection.clone()))
            .collect();
        let digests = Mutex::new(digests);
        Self {
            connections,
            project: project.to_owned(),
            books,
            digests,
            made: Mutex::default(),
            ssh,
            artifacts: None,
            redactor: Redactor::default(),
        }
    }

    /// With what takes secrets out of what jobs print.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// With a source of the files that are sent to machines.
    #[must_use]
    pub fn with_artifacts(mut self, artifacts: Arc<dyn Artifacts>) -> Self {
        self.artifacts = Some(artifacts);
        self
    }

    /// The digests that are known now, of the machines that were used.
    pub fn digests(&self) -> Vec<(Target, DigestCache)> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter()
            .map(|(target, host)| (target.clone(), host.digests()))
            .collect()
    }

    /// The machine behind a target, made where it is asked for the first time.
    fn machine(
        &self,
        target: &Target,
        make: impl FnOnce(DigestCache) -> Result<Made, HostError>,
    ) -> Result<Arc<dyn Host>, HostError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.get(target) {
            return Ok(made.host());
        }
        let mut known = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let digests = known.get(target).cloned().unwrap_or_default();
        let new = make(digests)?;
        known.remove(target);
        let host = new.host();
        made.insert(target.clone(), new);
        Ok(host)
    }

    fn local(&self, target: &Target, root: Option<&str>) -> Result<Arc<dyn Host>, HostError> {
        self.machine(target, |digests| {
            let sandbox = root
                .map(|root| absolute(&self.project.join(root)))
                .transpose()?;
            let usual = sandbox.is_some() || (self.books.root && *target != Target::Controller);
            let run_dir = if usual {
                AbsPath::new(DEFAULT_RUN_DIR).map_err(bad_path)?
            } else {
                absolute(&self.books.own)?
            };
            let mut upload = UploadSettings::default();
            if !usual {
                // Whoever cannot write the usual place for books cannot write that for files either.
                upload.folder = absolute(&self.books.own.join("upload"))?;
            }
            let settings = Settings {
                root: sandbox,
                run_dir,
                digests,
                upload,
                artifacts: self.artifacts.clone(),
                redactor: self.redactor.clone(),
                ..Settings::default()
            };
            Ok(Made::Local(Arc::new(LocalHost::new(settings))))
        })
    }

    fn over_ssh(
        &self,
        target: &Target,
        node: &NodeName,
        ssh: &Ssh,
    ) -> Result<Arc<dyn Host>, HostError> {
        self.machine(target, |digests| {
            let route = (self.ssh.route)(node, ssh).map_err(cannot)?;
            let sudo = (self.ssh.sudo)(node, ssh, &route).map_err(cannot)?;
            let shell = SshShell::new(route, sudo, self.ssh.access.clone());
            let settings = Settings {
                digests,
                artifacts: self.artifacts.clone(),
                redactor: self.redactor.clone(),
                ..Settings::default()
            };
            Ok(Made::Ssh(Arc::new(Machine::new(shell, settings))))
        })
    }
}

impl Hosts for Machines {
    fn host<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Arc<dyn Host>, HostError>> {
        Box::pin(async move {
            match (target, self.connections.get(target)) {
                (Target::Controller, _) => {
                    let machine = self.local(target, None)?;
                    Ok(Arc::new(ControllerHost::new(machine)) as Arc<dyn Host>)
                }
                (_, Some(Connection::Local { root })) => self.local(target, root.as_deref()),
                (Target::Node(node), Some(Connection::Ssh(ssh))) => {
                    self.over_ssh(target, node, ssh)
                }
                (Target::Cluster, _) => Err(no_way(
                    "the cluster is no machine: nobody gave a way to its Kubernetes API".to_owned(),
                    "this is a mistake in hmco-boot: please report it with the command",
                )),
                (Target::Node(name), None) => Err(no_way(
                    format!("there is no node {name} in the inventory"),
                    "name it in the inventory, or leave it out of the step",
                )),
            }
        })
    }
}

impl Tunnels for Machines {
    fn tunnel<'a>(
        &'a self,
        target: &'a Target,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Box<dyn Stream>, HostError>> {
        Box::pin(async move {
            // Makes the machine where it was not asked for before.
            drop(self.host(target).await?);
            let made = {
                let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                made.get(target).cloned()
            };
            match made {
                Some(Made::Ssh(machine)) => machine.shell().tunnel(host, port).await,
                _ => super::stream::connect(host, port).await,
            }
        })
    }
}

fn absolute(path: &Path) -> Result<AbsPath, HostError> {
    AbsPath::new(&path.to_string_lossy()).map_err(bad_path)
}

fn bad_path(error: crate::model::path::PathError) -> HostError {
    no_way(
        error.to_string(),
        "a sandbox's `root` is a plain path below the project, without `..`",
    )
}

fn cannot(failure: Failure) -> HostError {
    HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure,
    }
}

fn no_way(message: String, hint: &str) -> HostError {
    HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure: Failure::new(message).hint(hint),
    }
}
