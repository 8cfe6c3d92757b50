//! The lab's way in: a key pair of its own, its nodes' host keys, and the command line of the system's ssh.

use std::net::Ipv4Addr;
use std::path::Path;

use super::place::Place;
use super::{command, files};
use crate::model::outcome::Failure;

/// Makes the key pair where it is missing.
///
/// # Errors
/// Where ssh-keygen fails.
pub fn ensure_key(place: &Place) -> Result<String, Failure> {
    let (key, public) = (place.key(), place.dir.join("key.pub"));
    if let (Some(_), Some(text)) = (files::read(&key)?, files::read(&public)?) {
        return Ok(text.trim().to_owned());
    }
    let new = place.dir.join("key.new");
    let new_public = place.dir.join("key.new.pub");
    files::remove(&new)?;
    files::remove(&new_public)?;
    let comment = format!("hmco-boot lab {}", place.name);
    let path = new.to_string_lossy().into_owned();
    command::run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", &path],
    )?;
    files::rename(&new_public, &public)?;
    files::rename(&new, &key)?;
    ensure_key(place)
}

/// The public host keys below a node's file tree: `TYPE BASE64`, the best type first.
///
/// # Errors
/// Where there is none.
pub fn host_keys(root: &Path) -> Result<Vec<String>, Failure> {
    let mut keys = Vec::new();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let path = root.join(format!("etc/ssh/ssh_host_{kind}_key.pub"));
        if let Some(text) = files::read(&path)? {
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            keys.push(words.join(" "));
        }
    }
    if keys.is_empty() {
        return Err(Failure::new("the node has made no SSH host keys")
            .evidence(root.join("etc/ssh").display().to_string()));
    }
    Ok(keys)
}

/// Lines of known_hosts for one node.
pub fn known_hosts(name: &str, address: Ipv4Addr, keys: &[String]) -> String {
    keys.iter()
        .map(|key| format!("{address},{name} {key}\n"))
        .collect()
}

/// Arguments of `ssh` to a node, up to the command: nothing of the user's own configuration, the lab's key alone, and
/// only the host keys that were pinned.
pub fn args(place: &Place, user: &str, address: Ipv4Addr) -> Vec<String> {
    let mut args = vec!["-F".to_owned(), "none".to_owned()];
    let identity = place.key().to_string_lossy().into_owned();
    args.extend(["-i".to_owned(), identity]);
    for option in [
        "IdentitiesOnly=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        format!("UserKnownHostsFile={}", place.known_hosts().display()),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "ConnectTimeout=10".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ] {
        args.extend(["-o".to_owned(), option]);
    }
    args.push(format!("{user}@{address}"));
    args
}

/// Runs a command on a node and gives its output.
///
/// # Errors
/// Where it cannot be reached or the command fails.
pub fn run(place: &Place, user: &str, address: Ipv4Addr, script: &str) -> Result<String, Failure> {
    let mut args = args(place, user, address);
    args.insert(0, "-oBatchMode=yes".to_owned());
    args.push(script.to_owned());
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    command::run("ssh", &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_address_and_name() {
        let keys = ["ssh-ed25519 AAAA".to_owned(), "ssh-rsa BBBB".to_owned()];
        assert_eq!(
            known_hosts("lab-1", Ipv4Addr::new(172, 30, 0, 11), &keys),
            "172.30.0.11,lab-1 ssh-ed25519 AAAA\n172.30.0.11,lab-1 ssh-rsa BBBB\n"
        );
    }
}
