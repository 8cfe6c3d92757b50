//! What the checks look at: the wish, the node's role, and its facts by type.

use super::{Peer, Preflight, Role};
use crate::facts::fact::{
    Boot, Cgroup, Clock, ClockOffset, Disk, Fact, FactError, FactValue, K3sData, Module, Net, Os,
    Readiness, Sudo, Unit,
};
use crate::facts::known::{Known, Unreadable};
use crate::model::path::AbsPath;

/// Units that matter to K3s.
pub const UNITS: [&str; 10] = [
    "firewalld.service",
    "NetworkManager.service",
    "nm-cloud-setup.timer",
    "docker.service",
    "kubelet.service",
    "rke2-server.service",
    "rke2-agent.service",
    "k0scontroller.service",
    "k0sworker.service",
    "snap.microk8s.daemon-kubelite.service",
];

/// Where K3s keeps its data.
pub const DATA: &str = "/var/lib/rancher";

/// File systems that are looked at.
pub const DISKS: [&str; 3] = [DATA, "/", "/var/log"];

/// What the checks of one node look at.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The wish.
    pub wish: &'a Preflight,
    /// The facts.
    pub known: Known<'a>,
    /// What the node is to be.
    pub role: Role,
}

/// Gives the fact of one type.
macro_rules! of_type {
    ($(#[$doc:meta])* $name:ident, $value:ident) => {
        $(#[$doc])*
        pub fn $name(&self) -> Result<&'a $value, Unreadable> {
            self.typed(&Fact::$value, |value| match value {
                FactValue::$value(found) => Some(found),
                _ => None,
            })
        }
    };
}

impl<'a> Seen<'a> {
    of_type!(
        /// [`Fact::Os`].
        os, Os
    );
    of_type!(
        /// [`Fact::Boot`].
        boot, Boot
    );
    of_type!(
        /// [`Fact::Cgroup`].
        cgroup, Cgroup
    );
    of_type!(
        /// [`Fact::Sudo`].
        sudo, Sudo
    );
    of_type!(
        /// [`Fact::Clock`].
        clock, Clock
    );
    of_type!(
        /// [`Fact::ClockOffset`].
        clock_offset, ClockOffset
    );
    of_type!(
        /// [`Fact::Net`].
        net, Net
    );
    of_type!(
        /// [`Fact::K3sData`].
        k3s_data, K3sData
    );
    of_type!(
        /// [`Fact::Readiness`].
        readiness, Readiness
    );

    /// [`Fact::Disk`].
    pub fn disk(&self, path: &'static str) -> Result<&'a Disk, Unreadable> {
        self.typed(&disk_fact(path), |value| match value {
            FactValue::Disk(disk) => Some(disk),
            _ => None,
        })
    }

    /// [`Fact::Module`].
    pub fn module(&self, name: &str) -> Result<&'a Module, Unreadable> {
        let fact = Fact::Module {
            name: name.to_owned(),
        };
        self.typed(&fact, |value| match value {
            FactValue::Module(module) => Some(module),
            _ => None,
        })
    }

    /// [`Fact::Unit`]; `None` where there is no such unit.
    pub fn unit(&self, name: &str) -> Result<Option<&'a Unit>, Unreadable> {
        self.known.unit(name)
    }

    /// Whether a unit is there and active.
    pub fn is_active(&self, name: &str) -> Result<bool, Unreadable> {
        Ok(self.unit(name)?.is_some_and(|unit| unit.active == "active"))
    }

    /// Whether K3s has run here: its data says so.
    pub fn has_k3s(&self) -> Result<bool, Unreadable> {
        let data = self.k3s_data()?;
        Ok(data.etcd || data.sqlite || data.agent)
    }

    /// The other nodes.
    pub fn others(&self) -> impl Iterator<Item = &'a Peer> + use<'a> {
        let own = self.known.target();
        self.wish
            .peers
            .iter()
            .filter(move |peer| peer.target() != *own)
    }

    /// A fact of another node; the error tells why there is none.
    pub fn of_peer<T>(
        &self,
        peer: &Peer,
        fact: &Fact,
        pick: impl Fn(&'a FactValue) -> Option<&'a T>,
    ) -> Result<&'a T, String> {
        match self.known.answer_of(&peer.target(), fact) {
            Some(Ok(value)) => pick(value).ok_or_else(|| "the answer makes no sense".to_owned()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it was not asked".to_owned()),
        }
    }

    fn typed<T>(
        &self,
        fact: &Fact,
        pick: impl Fn(&'a FactValue) -> Option<&'a T>,
    ) -> Result<&'a T, Unreadable> {
        let unreadable = |source| Unreadable {
            target: self.known.target().clone(),
            fact: fact.clone(),
            source: Some(source),
        };
        match self.known.value(fact)? {
            Some(value) => pick(value).ok_or_else(|| {
                unreadable(FactError::Failed("the answer makes no sense".to_owned()))
            }),
            None => Err(unreadable(FactError::NotFound)),
        }
    }
}

/// The question for the file system of a path.
pub fn disk_fact(path: &'static str) -> Fact {
    Fact::Disk {
        path: constant(path),
    }
}

/// A path that is written in this module.
#[expect(
    clippy::expect_used,
    reason = "constants; every test of this kind asks for all of them"
)]
pub fn constant(path: &'static str) -> AbsPath {
    AbsPath::new(path).expect("a constant is a path")
}
