//! What copies are worth together: whether the cluster can be made anew from them. What one file proves of itself is
//! [`proof`]'s.

use std::io::Read as _;
use std::path::PathBuf;

use super::proof;
use super::remote::{AGENT_TOKEN, DATABASE, Remote, SNAPSHOT, TOKEN};
use crate::cli::error::CliError;
use crate::cli::files;
use crate::model::id::NodeName;
use crate::model::outcome::Failure;
use crate::report::text::and_list;

/// More bytes than any token has.
const TOKEN_BYTES: u64 = 1 << 20;

/// What copies there are that are good.
#[derive(Debug, Default)]
pub(super) struct Has {
    /// Some node has, or had, data of etcd.
    pub(super) etcd: bool,
    /// Under which names K3s keeps what the tokens open.
    records: Vec<String>,
    /// Snapshots that are whole, and of a token that is there.
    snapshots: usize,
    /// Whose databases are there.
    databases: Vec<NodeName>,
}

impl Has {
    /// What is missing on these nodes (`sqlite`: those whose database is a file) to make the cluster anew.
    pub(super) fn lacking(&self, nodes: &[NodeName], sqlite: &[NodeName]) -> Option<Failure> {
        let first = nodes.first().map_or("", NodeName::as_str);
        let without = "if nothing of it is wanted any more, or you have copied it yourself, add --without-copies";
        let lacking = sqlite.iter().find(|node| !self.databases.contains(node));
        let (what, why, cure) = if self.records.is_empty() {
            (
                "no server token was found",
                "a cluster is restored with the token of its time, or never",
                format!("look for /var/lib/rancher/k3s/server/token on {first}; {without}"),
            )
        } else if self.etcd && self.snapshots == 0 {
            (
                "no snapshot was found that is whole and of a token that is there",
                "a cluster is restored from a snapshot and the token of its time",
                format!(
                    "while K3s runs, make a snapshot: hmco-boot exec {first} -- k3s etcd-snapshot save; else copy \
                     /var/lib/rancher/k3s/server away by hand; {without}"
                ),
            )
        } else if lacking.is_some() {
            (
                "the database (SQLite) was not found whole",
                "nobody else has it",
                format!(
                    "stop K3s there, and copy /var/lib/rancher/k3s/server/db away by hand; {without}"
                ),
            )
        } else {
            return None;
        };
        let names: Vec<String> = match lacking {
            Some(node) => vec![node.to_string()],
            None => nodes.iter().map(ToString::to_string).collect(),
        };
        let what = format!("{what} on {}: nothing was removed", and_list(&names));
        Some(Failure::new(what).evidence(why).hint(cure))
    }
}

/// A file that was copied.
pub(super) struct Copied {
    pub(super) node: NodeName,
    pub(super) remote: Remote,
    pub(super) local: PathBuf,
}

/// Looks at what was copied; gives what is to be told of it, each with what to do. Tokens are handed on, to be hidden.
pub(super) fn prove(
    has: &mut Has,
    all: &[Copied],
    hide: &dyn Fn(&[u8]),
) -> Result<Vec<(String, &'static str)>, CliError> {
    let of = |kind: &'static str| all.iter().filter(move |one| one.remote.kind == kind);
    for one in of(TOKEN).chain(of(AGENT_TOKEN)) {
        let mut token = Vec::new();
        let read =
            files::open(&one.local).and_then(|file| file.take(TOKEN_BYTES).read_to_end(&mut token));
        read.map_err(|error| unread(one, &error))?;
        hide(token.trim_ascii());
        // An agent's token opens nothing.
        let record = proof::record_of(&token).filter(|_| one.remote.kind == TOKEN);
        has.records.extend(record);
    }
    let mut found = Vec::new();
    for one in of(SNAPSHOT) {
        let zipped = one.remote.path.ends_with(".zip");
        let looked = files::open(&one.local)
            .and_then(|mut file| proof::snapshot(&mut file, zipped, &has.records));
        let (what, hint) = match looked.map_err(|error| unread(one, &error))? {
            proof::Snapshot::Good => {
                has.snapshots += 1;
                continue;
            }
            proof::Snapshot::OtherToken => (
                "is of no token that is there",
                "it was copied as it is; to be restored it takes the token of its time",
            ),
            proof::Snapshot::Broken(why) => {
                (why, "it was copied as it is; another one has to serve")
            }
        };
        found.push((format!("{}: {}: {what}", one.node, one.remote.path), hint));
    }
    for one in of(DATABASE).filter(|one| one.remote.path.ends_with("/state.db")) {
        let looked = files::open(&one.local).and_then(|mut file| proof::is_sqlite(&mut file));
        match looked.map_err(|error| unread(one, &error))? {
            true => has.databases.push(one.node.clone()),
            false => found.push((
                format!("{}: {} is no database of SQLite", one.node, one.remote.path),
                "it was copied as it is; see what is wrong with its disk",
            )),
        }
    }
    Ok(found)
}

fn unread(one: &Copied, error: &std::io::Error) -> CliError {
    CliError::failed(format!("cannot read {}", one.local.display()))
        .caused_by(error)
        .hint("name another folder with --to DIR; nothing was removed")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// What is found good of these files: kind, path on the node, content.
    #[expect(clippy::disallowed_methods, reason = "writes what was copied")]
    fn proved(files: &[(&str, &str, &[u8])]) -> (Has, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<Copied> = (0..)
            .zip(files)
            .map(|(number, (kind, path, content))| {
                let local = folder.path().join(format!("{number}"));
                std::fs::write(&local, content).unwrap();
                Copied {
                    node: NodeName::new("n1"),
                    remote: Remote {
                        kind: (*kind).to_owned(),
                        sha256: String::new(),
                        size: 0,
                        path: (*path).to_owned(),
                    },
                    local,
                }
            })
            .collect();
        let mut has = Has {
            etcd: true,
            ..Has::default()
        };
        let told = prove(&mut has, &all, &|_| ()).unwrap();
        (has, told.into_iter().map(|(what, _)| what).collect())
    }

    /// A snapshot that a password made.
    fn snapshot(password: &str) -> Vec<u8> {
        let mut bytes = proof::record_of(password.as_bytes()).unwrap().into_bytes();
        bytes.resize(1024, 7);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    fn missing_of(has: &Has, sqlite: &[NodeName]) -> Option<String> {
        let failure = has.lacking(&[NodeName::new("n1")], sqlite);
        failure.map(|one| one.message)
    }

    fn missing(files: &[(&str, &str, &[u8])]) -> Option<String> {
        missing_of(&proved(files).0, &[])
    }

    #[test]
    fn only_a_snapshot_with_the_token_of_its_time_is_a_good_copy() {
        let token: &[u8] = b"K10aa::server:secret\n";
        let (old, new) = (snapshot("before"), snapshot("secret"));
        let said = missing(&[(SNAPSHOT, "a", &new)]).unwrap();
        assert!(said.contains("no server token"), "{said}");
        let said = missing(&[(AGENT_TOKEN, "a", token), (SNAPSHOT, "a", &new)]).unwrap();
        assert!(said.contains("no server token"), "{said}");
        for bad in [&old[..], &new[..1024], b"PK"] {
            for name in ["a", "a.zip"] {
                let said = missing(&[(TOKEN, "t", token), (SNAPSHOT, name, bad)]).unwrap();
                assert!(said.contains("no snapshot"), "{said}");
            }
        }
        assert_eq!(missing(&[(TOKEN, "t", token), (SNAPSHOT, "a", &new)]), None);
        let (has, told) = proved(&[
            (SNAPSHOT, "/s/old", &old),
            (SNAPSHOT, "/s/new", &new),
            (TOKEN, "t", token),
        ]);
        assert_eq!(has.snapshots, 1);
        assert_eq!(told, ["n1: /s/old: is of no token that is there"]);
    }

    #[test]
    fn without_etcd_the_copy_is_the_database_or_else_the_token() {
        let token: (&str, &str, &[u8]) = (TOKEN, "t", b"K10aa::server:secret\n");
        let sqlite = [NodeName::new("n1")];
        let missing = |sqlite: &[NodeName], files: &[(&str, &str, &[u8])]| {
            let (mut has, _) = proved(files);
            has.etcd = false;
            missing_of(&has, sqlite)
        };
        // Its datastore is elsewhere.
        assert_eq!(missing(&[], &[token]), None);
        assert!(missing(&sqlite, &[token]).unwrap().contains("SQLite"));
        let database: (&str, &str, &[u8]) = (DATABASE, "/db/state.db", b"SQLite format 3\0");
        assert_eq!(missing(&sqlite, &[token, database]), None);
        let said = missing(&sqlite, &[database]).unwrap();
        assert!(said.contains("no server token"), "{said}");
    }
}
