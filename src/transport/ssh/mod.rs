//! Machines over SSH: the [`Shell`](super::shell::Shell) whose programs are started by a server at the end of a
//! [`route`]. [`Machine`](super::machine::Machine) makes a [`Host`](super::Host) of it.
//!
//! A machine has one connection, which is kept; every execution is a channel on it. A machine that is as wished costs one
//! connection and one execution. Round trips are what such a machine costs most of its time, so there are none that can
//! be saved: one key is offered, nothing is asked of a channel but its command, and input follows without waiting.

mod auth;
mod channel;
mod client;
pub mod config;
pub mod enroll;
pub mod files;
mod handshake;
mod keyring;
pub mod known_hosts;
mod pump;
pub mod resolve;
pub mod route;
pub mod scan;
mod shell;
mod sign;
mod sudo;
mod verify;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use client::Connection;
pub use keyring::{Ask, Keyring};
pub use shell::SshShell;
pub use sudo::Sudo;
pub use verify::fingerprint;

/// What connections to all machines share.
#[derive(Default)]
pub struct Access {
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Private keys.
    pub keys: Arc<Keyring>,
    bastions: client::Bastions,
    ahead: client::Ahead,
}

impl Access {
    /// With these timeouts and keys.
    pub fn new(timeouts: Timeouts, keys: Arc<Keyring>) -> Self {
        Self {
            timeouts,
            keys,
            bastions: client::Bastions::default(),
            ahead: client::Ahead::default(),
        }
    }

    /// Begins to connect along a route; the first [`SshShell`] of that route takes the connection.
    pub fn connect_ahead(self: &Arc<Self>, route: &route::Route) {
        self.ahead.begin(self, route);
    }
}

/// How long to wait for what.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// Looking a name up; and again for each address, until it accepts a connection.
    pub connect: Duration,
    /// The SSH handshake.
    pub handshake: Duration,
    /// Each attempt to log in.
    pub auth: Duration,
    /// Opening a channel.
    pub channel: Duration,
    /// sudo, to take a password.
    pub sudo: Duration,
    /// After silence of this length the machine is asked whether it is still there; after three times this length
    /// without any answer it is not.
    pub keepalive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(20),
            auth: Duration::from_secs(30),
            channel: Duration::from_secs(20),
            sudo: Duration::from_secs(30),
            keepalive: Duration::from_secs(15),
        }
    }
}
