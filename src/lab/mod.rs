//! The rehearsal lab: nodes on this machine that are real to everything that talks to them. Each has its own systemd,
//! OpenSSH, address, file tree, control groups and boot id, and can lose its power ([`node::kill`]) or its network
//! ([`cut`]); what it cannot have of its own is the kernel, its clock and its modules.
//!
//! Not responsible for: what runs on the nodes, which is reached by SSH as on any other machine.
//!
//! A lab is a folder, and things on this machine whose names are made from that folder's path ([`names::Tag`]). Nothing
//! is remembered that can be looked at: every stage of [`up`] looks whether its result is there, [`down`] removes what
//! is found by name. So both can be cut off at any moment and called again.

pub mod base;
pub mod cgroup;
pub mod command;
pub mod cut;
pub mod down;
pub mod files;
pub mod inventory;
pub mod k3s;
pub mod mark;
pub mod mounts;
pub mod names;
pub mod network;
pub mod node;
pub mod packages;
pub mod place;
pub mod pods;
pub mod recipe;
pub mod record;
pub mod ssh;
pub mod status;
pub mod tools;
pub mod up;
pub mod verify;

use crate::model::outcome::Failure;

/// Why a lab command did not work.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.failure().message)]
pub enum LabError {
    /// Asked for something that cannot be.
    Usage(Failure),
    /// Another command works on the same lab.
    Locked(Failure),
    /// It did not work.
    Failed(Failure),
}

impl LabError {
    /// What to tell people.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Usage(failure) | Self::Locked(failure) | Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for LabError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Where progress is told, one line at a time; from several threads.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);
