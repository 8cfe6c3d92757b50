//! Machines over SSH: real OpenSSH servers on the loopback address, and a server in this process that misbehaves.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "ssh/login.rs"]
mod login;
#[path = "ssh/misbehaves.rs"]
mod misbehaves;
#[path = "ssh/openssh.rs"]
mod openssh;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/ssh_server.rs"]
mod ssh_server;
#[path = "support/sshd.rs"]
mod sshd;
#[path = "ssh/support.rs"]
mod support;
#[path = "ssh/traces.rs"]
mod traces;
#[path = "ssh/users.rs"]
mod users;
