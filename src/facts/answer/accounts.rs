//! Who there is on a machine, who hmco-boot is there, and what it may do.

use serde::{Deserialize, Serialize};

/// A user.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// Number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Names of all groups, sorted.
    pub groups: Vec<String>,
}

/// What this login may do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sudo {
    /// The facts were read as root.
    pub is_root: bool,
    /// sudo is installed.
    pub installed: bool,
    /// `sudo -n true` works.
    pub passwordless: bool,
}

/// How hmco-boot logged in.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Login {
    /// The user, before any sudo.
    pub user: String,
    /// The public key that let it in, `TYPE BASE64` as in authorized_keys. `None`: a certificate, a password.
    pub key: Option<String>,
}
