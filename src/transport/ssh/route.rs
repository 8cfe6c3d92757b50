//! The way to a machine: which addresses, users, keys and host keys, hop by hop. Pure data; [`super::resolve`] makes it of
//! an inventory and the caller's ssh_config, and `client.rs` connects along it.

use std::fmt;
use std::path::PathBuf;

use russh::keys::PublicKey;
use zeroize::Zeroizing;

/// The way to a machine.
#[derive(Clone, Debug)]
pub struct Route {
    /// In order; the last one is the machine, those before it are bastions.
    pub hops: Vec<Hop>,
    /// Directives of ssh_config that apply to this machine and are not supported, by name and place: told as warnings.
    pub unsupported: Vec<String>,
}

/// One SSH server on the way.
#[derive(Clone, Debug)]
pub struct Hop {
    /// For messages: `pi5-01`, `bastion gate`.
    pub name: String,
    /// IP address or host name.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Private key files, in the order they are tried; a certificate may lie beside each as `NAME-cert.pub`.
    pub identities: Vec<PathBuf>,
    /// Nothing but `identities`: of an agent's keys only those that are there, too.
    pub identities_only: bool,
    /// Socket of an agent (`SSH_AUTH_SOCK`).
    pub agent: Option<PathBuf>,
    /// The host keys that are trusted.
    pub host_keys: HostKeys,
    /// For `hosts enroll` only.
    pub password: Option<Password>,
    /// The name under which known_hosts has it.
    pub host_key_alias: Option<String>,
}

/// The host keys that are trusted, and where that is said.
#[derive(Clone, Debug)]
pub enum HostKeys {
    /// The inventory's.
    Pinned(Vec<PublicKey>),
    /// Those of known_hosts.
    Known {
        /// The files that were looked in.
        files: Vec<PathBuf>,
        /// The host's keys.
        keys: Vec<PublicKey>,
        /// Keys that are never to be trusted.
        revoked: Vec<PublicKey>,
    },
}

/// A password: shows itself nowhere and leaves nothing in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// From what was typed or opened.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The password itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<password>")
    }
}

/// What the caller's environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The caller's home folder.
    pub home: PathBuf,
    /// The caller's user name.
    pub user: String,
    /// `SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
    /// The caller's number, for `%i`.
    pub uid: u32,
    /// This machine's host name, for `%l`.
    pub host: String,
}
