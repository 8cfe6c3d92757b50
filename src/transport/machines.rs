//! The machines of an inventory: what is behind each target. This version reaches machines that are this one; SSH is a
//! later part, and a node that needs it is told apart from one that does not answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::local::LocalHost;
use super::machine::{DEFAULT_RUN_DIR, Settings};
use super::upload::UploadSettings;
use super::{BoxFuture, Host, HostError, HostErrorKind, Hosts};
use crate::artifact::Artifacts;
use crate::facts::digest_cache::DigestCache;
use crate::model::id::Target;
use crate::model::inventory::{Connection, Inventory};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

/// Machines, each made when it is first asked for.
pub struct Machines {
    connections: BTreeMap<Target, Connection>,
    project: PathBuf,
    books: Books,
    digests: Mutex<BTreeMap<Target, DigestCache>>,
    artifacts: Option<Arc<dyn Artifacts>>,
    made: Mutex<BTreeMap<Target, Arc<LocalHost>>>,
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
            artifacts: None,
            made: Mutex::default(),
        }
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

    fn local(&self, target: &Target, root: Option<&str>) -> Result<Arc<LocalHost>, HostError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = made.get(target) {
            return Ok(host.clone());
        }
        let sandbox = root
            .map(|root| absolute(&self.project.join(root)))
            .transpose()?;
        let usual = sandbox.is_some() || (self.books.root && *target != Target::Controller);
        let run_dir = if usual {
            AbsPath::new(DEFAULT_RUN_DIR).map_err(bad_path)?
        } else {
            absolute(&self.books.own)?
        };
        let digests = self
            .digests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(target)
            .unwrap_or_default();
        let mut upload = UploadSettings::default();
        if !usual {
            // Whoever cannot write the usual place for books cannot write that for files either.
            upload.folder = absolute(&self.books.own.join("upload"))?;
        }
        let host = Arc::new(LocalHost::new(Settings {
            root: sandbox,
            run_dir,
            digests,
            upload,
            artifacts: self.artifacts.clone(),
            ..Settings::default()
        }));
        made.insert(target.clone(), host.clone());
        Ok(host)
    }
}

impl Hosts for Machines {
    fn host<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Arc<dyn Host>, HostError>> {
        Box::pin(async move {
            match (target, self.connections.get(target)) {
                (Target::Controller, _) => Ok(self.local(target, None)? as Arc<dyn Host>),
                (_, Some(Connection::Local { root })) => {
                    Ok(self.local(target, root.as_deref())? as Arc<dyn Host>)
                }
                (_, Some(Connection::Ssh(ssh))) => Err(no_way(
                    format!(
                        "{target} is at {} and this version does not speak SSH yet",
                        ssh.address
                    ),
                    "use `connection = \"local\"` for this machine itself; SSH comes with the next version",
                )),
                (Target::Cluster, None) => Err(no_way(
                    "this version does not speak to the Kubernetes API yet".to_owned(),
                    "cluster steps come with a later version",
                )),
                (Target::Node(name), None) => Err(no_way(
                    format!("there is no node {name} in the inventory"),
                    "name it in the inventory, or leave it out of the step",
                )),
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

fn no_way(message: String, hint: &str) -> HostError {
    HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure: Failure::new(message).hint(hint),
    }
}
