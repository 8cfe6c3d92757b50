//! The machines of a run and its cluster, as one.

use std::sync::Arc;

use super::host::ClusterHost;
use crate::model::id::Target;
use crate::transport::{BoxFuture, Host, HostError, Hosts};

/// Gives the cluster for [`Target::Cluster`], and the machines behind it for all others.
pub struct WithCluster {
    machines: Arc<dyn Hosts>,
    cluster: Arc<ClusterHost>,
}

impl WithCluster {
    /// These.
    pub fn new(machines: Arc<dyn Hosts>, cluster: Arc<ClusterHost>) -> Self {
        Self { machines, cluster }
    }
}

impl Hosts for WithCluster {
    fn host<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Arc<dyn Host>, HostError>> {
        match target {
            // Not connected to before it is asked something: at the beginning of a bootstrap there is none.
            Target::Cluster => Box::pin(async { Ok(self.cluster.clone() as Arc<dyn Host>) }),
            _ => self.machines.host(target),
        }
    }
}
