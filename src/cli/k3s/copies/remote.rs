//! The files of a server that are copied: which there are ([`Remote`]), and their bytes, piece by piece, held to the checksum
//! that the node says. Where they are put is [`Copies`](super::Copies)'.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::cli::error::{CliError, Kind};
use crate::cli::k3s::procedure::failed;
use crate::facts::fact::{Answer, ExecResult, Fact, FactValue};
use crate::model::id::NodeName;
use crate::model::outcome::Failure;
use crate::model::units::TimeSpan;
use crate::steps::shared::diff::shown;
use crate::steps::shared::digest;
use crate::transport::Host;

/// Bytes of one question: what an answer may hold.
const CHUNK: u64 = 1 << 20;
/// Questions of one execution.
const AT_ONCE: u64 = 8;
/// Checksums of many snapshots on a slow disk.
const HASHING: TimeSpan = TimeSpan(Duration::from_secs(300));

const LIST: &str = r#"d=/var/lib/rancher/k3s/server
s=$d/db/snapshots
for f in /etc/rancher/k3s/config.yaml /etc/rancher/k3s/config.yaml.d/.* /etc/rancher/k3s/config.yaml.d/*; do
case $f in *.[yY][aA][mM][lL]|*.[yY][mM][lL]) [ -f "$f" ] || continue;; *) continue;; esac
n=$(sed -n "s/^etcd-snapshot-dir: *[\"']\{0,1\}\([^\"']*[^\"' ]\)[\"']\{0,1\} *\$/\1/p" "$f" | tail -n 1)
[ -z "$n" ] || s=$n
done
one() {
[ -f "$2" ] || return 0
h=$(sha256sum <"$2") && b=$(wc -c <"$2") || { printf 'cannot read %s\n' "$2" >&2; exit 1; }
printf '%s %s %s %s\n' "$1" "${h%% *}" "$((b))" "$2"
}
one token "$d/token"
[ -L "$d/agent-token" ] || one agent-token "$d/agent-token"
for f in "$s"/*; do one snapshot "$f"; done
e=
[ ! -d "$d/db/etcd/member" ] || e=1
f=
for n in "$d"/db/etcd-old-*; do [ ! -d "$n" ] || e=1 f=$n/member/snap/db; done
[ -z "$f" ] || one former "$f"
[ -z "$e" ] || printf 'etcd - 0 %s\n' "$d/db"
case $(systemctl is-active k3s 2>/dev/null) in active|activating|reloading|refreshing|deactivating) exit 0;; esac
[ -n "$e" ] || for n in state.db state.db-wal state.db-shm; do one database "$d/db/$n"; done
"#;

/// Kinds of files.
pub(super) const TOKEN: &str = "token";
pub(super) const AGENT_TOKEN: &str = "agent-token";
pub(super) const SNAPSHOT: &str = "snapshot";
/// The database of a restore before: where that failed, the one that was in use.
const FORMER: &str = "former";
pub(super) const DATABASE: &str = "database";
/// No file: there is data of etcd.
pub(super) const ETCD: &str = "etcd";
const KINDS: [&str; 6] = [TOKEN, AGENT_TOKEN, SNAPSHOT, FORMER, DATABASE, ETCD];

/// A file of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Remote {
    pub(super) kind: String,
    pub(super) sha256: String,
    pub(super) size: u64,
    pub(super) path: String,
}

impl Remote {
    /// A line of the list. A node's words decide nothing but which of a few places below its own folder a file gets.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let found = Self {
            kind: words.next()?.to_owned(),
            sha256: words.next()?.to_owned(),
            size: words.next()?.parse().ok()?,
            path: words.next()?.to_owned(),
        };
        let is_sum =
            found.sha256.len() == 64 && found.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_one = KINDS.contains(&found.kind.as_str())
            && (is_sum || found.kind == ETCD)
            && Path::new(&found.path).file_name().is_some()
            && (found.kind != FORMER || found.former().is_some());
        is_one.then_some(found)
    }

    /// The folder of a former database.
    fn former(&self) -> Option<&std::ffi::OsStr> {
        let is_former = |name: &&std::ffi::OsStr| name.to_string_lossy().starts_with("etcd-old-");
        Path::new(&self.path).iter().find(is_former)
    }

    /// Where it goes, below the folder of its node.
    pub(super) fn place(&self) -> PathBuf {
        let name = Path::new(&self.path).file_name().unwrap_or_default();
        match self.kind.as_str() {
            SNAPSHOT => Path::new("snapshots").join(name),
            DATABASE => Path::new("db").join(name),
            FORMER => {
                let former = self.former().unwrap_or_default();
                Path::new("db").join(former).join(name)
            }
            kind => PathBuf::from(kind),
        }
    }
}

pub(super) fn of_host(node: &NodeName, failure: &Failure) -> CliError {
    let mut failure = failure.clone();
    failure.message = format!("{node}: {}", failure.message);
    CliError::from_failure(Kind::Unreachable, &failure)
}

fn exec(argv: &[&str], timeout: TimeSpan) -> Fact {
    Fact::Exec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        timeout,
        sensitive: true,
    }
}

/// Answers to questions that all have to be answered well.
async fn ask(
    host: &Arc<dyn Host>,
    node: &NodeName,
    facts: &[Fact],
) -> Result<Vec<ExecResult>, CliError> {
    let answers = host.read(facts).await;
    let answers = answers.map_err(|error| of_host(node, &error.failure))?;
    let result = |(_, answer): Answer| match answer {
        Ok(FactValue::Exec(result)) if result.exit == 0 => Ok(result),
        Ok(FactValue::Exec(result)) => Err(String::from_utf8_lossy(&result.stderr).into_owned()),
        Ok(_) => Err("its answer makes no sense".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let results: Result<Vec<ExecResult>, String> = answers.into_iter().map(result).collect();
    results.map_err(|why| {
        let what = format!("{node}: snapshots and token cannot be read");
        failed(
            &Failure::new(what)
                .evidence(why)
                .hint("see what is wrong with its disk; nothing was removed"),
        )
    })
}

pub(super) async fn list(host: &Arc<dyn Host>, node: &NodeName) -> Result<Vec<Remote>, CliError> {
    let fact = exec(&["sh", "-c", LIST, "k3s-copies"], HASHING);
    let results = ask(host, node, std::slice::from_ref(&fact)).await?;
    let text = results
        .first()
        .map(|result| String::from_utf8_lossy(&result.stdout).into_owned());
    parse(&text.unwrap_or_default()).map_err(|line| {
        let what = format!("{node}: its list of snapshots and token makes no sense");
        failed(
            &Failure::new(what)
                .evidence(shown(&line))
                .hint("see whether a snapshot there has a strange name, as one with a line break; nothing was removed"),
        )
    })
}

/// The list, or the line of it that is none.
fn parse(text: &str) -> Result<Vec<Remote>, String> {
    let remote = |line: &str| Remote::parse(line).ok_or_else(|| line.to_owned());
    text.lines().map(remote).collect()
}

/// All bytes of a file, piece by piece, held to its checksum.
pub(super) async fn fetch(
    host: &Arc<dyn Host>,
    node: &NodeName,
    remote: &Remote,
    take: &mut (dyn FnMut(&[u8]) -> Result<(), CliError> + Send),
) -> Result<(), CliError> {
    let mut sum = Sha256::new();
    let chunks = remote.size.div_ceil(CHUNK);
    let mut next = 0;
    let from = format!("if={}", remote.path);
    while next < chunks {
        let last = (next + AT_ONCE).min(chunks);
        let facts: Vec<Fact> = (next..last)
            .map(|chunk| {
                let skip = format!("skip={}", chunk * 16);
                exec(
                    &["dd", &from, "bs=65536", "count=16", &skip],
                    TimeSpan(Duration::from_secs(60)),
                )
            })
            .collect();
        let results = ask(host, node, &facts).await?;
        if results.is_empty() {
            break;
        }
        for result in results {
            sum.update(&result.stdout);
            take(&result.stdout)?;
            // What it says of the size is not believed further than it delivers.
            next += 1;
            if next < chunks && (result.stdout.len() as u64) < CHUNK {
                next = chunks;
                break;
            }
        }
    }
    match digest::hex(&sum.finalize()) == remote.sha256 {
        true => Ok(()),
        false => Err(failed(
            &Failure::new(format!("{node}: {} did not arrive as it is there", remote.path))
                .hint("it changed meanwhile, or its disk is failing: give the command again; nothing was removed"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_paths_with_blanks() {
        let sum = "0a".repeat(32);
        let text = format!(
            "token {sum} 107 /var/lib/rancher/k3s/server/token\nsnapshot {sum} 2097184 /srv/my snapshots/x\n"
        );
        let found = parse(&text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].path, "/srv/my snapshots/x");
        assert_eq!(found[1].size, 2_097_184);
    }

    #[test]
    fn a_node_cannot_choose_where_its_files_are_put() {
        let sum = "0a".repeat(32);
        for line in [
            format!("/home/me/.ssh/authorized_keys {sum} 3 /x"),
            format!("../../x {sum} 3 /x"),
            format!("snapshot {sum} 3 /srv/.."),
            format!("former {sum} 3 /srv/db"),
            format!("snapshot {sum} -3 /srv/a"),
            "token aa 3 /x".to_owned(),
            "snapshots/a".to_owned(),
        ] {
            assert_eq!(parse(&line), Err(line));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "runs the script as it is")]
    fn listed(make: &str) -> Vec<Remote> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        let text = LIST
            .replace("/var/lib/rancher/k3s/server", at)
            .replace("/etc/rancher", at);
        let said = std::process::Command::new("sh")
            .args(["-c", &format!("cd {at}\n{make}\n{text}")])
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        let mut found = parse(&String::from_utf8(said.stdout).unwrap()).unwrap();
        for remote in &mut found {
            let below = remote.path.strip_prefix(at).unwrap();
            remote.path = below.to_owned();
        }
        found
    }

    #[test]
    fn the_script_lists_token_and_snapshots_with_size_and_checksum() {
        let found = listed(
            "mkdir -p db/snapshots db/etcd/member; printf abc >token; printf 12 >'db/snapshots/a b'",
        );
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].kind.as_str(), found[0].size), (TOKEN, 3));
        assert_eq!(found[0].sha256, digest::sha256(b"abc"));
        assert_eq!(found[1].path, "/db/snapshots/a b");
        assert_eq!(found[1].place(), Path::new("snapshots/a b"));
        assert_eq!(found[2].kind, ETCD);
    }

    #[test]
    fn the_script_finds_snapshots_where_a_drop_in_of_any_suffix_puts_them() {
        let found = listed(
            "mkdir -p k3s/config.yaml.d mine other; : >mine/a; : >other/b
            printf 'etcd-snapshot-dir: %s/other\\n' \"$PWD\" >k3s/config.yaml.d/40-a.yaml
            printf 'etcd-snapshot-dir: %s/mine\\n' \"$PWD\" >k3s/config.yaml.d/50-b.YML",
        );
        let paths: Vec<&str> = found.iter().map(|remote| remote.path.as_str()).collect();
        assert_eq!(paths, ["/mine/a"]);
    }

    #[test]
    fn the_script_lists_the_last_former_database_and_that_of_sqlite() {
        let found = listed(
            "for n in 1700000000 1700000001; do mkdir -p db/etcd-old-$n/member/snap; printf $n >db/etcd-old-$n/member/snap/db; done",
        );
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind.as_str(), found[0].size), (FORMER, 10));
        assert_eq!(found[0].place(), Path::new("db/etcd-old-1700000001/db"));
        assert_eq!(found[1].kind, ETCD);
        let found = listed("mkdir db; printf a >db/state.db; printf b >db/state.db-wal");
        let places: Vec<PathBuf> = found.iter().map(Remote::place).collect();
        assert_eq!(
            places,
            [Path::new("db/state.db"), Path::new("db/state.db-wal")]
        );
        assert!(listed("mkdir db; printf a >db/state.db.migrated").is_empty());
    }
}
