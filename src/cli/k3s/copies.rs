//! Snapshots and tokens of servers, copied to this machine before their data go. A copy counts when it has the checksum that the
//! node says, and a snapshot when its own trailing checksum holds as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::files;
use crate::cli::k3s::procedure::failed;
use crate::cli::reach::BecomeArgs;
use crate::cli::session::Session;
use crate::engine::clock::{Clock as _, SystemClock};
use crate::facts::fact::{Answer, ExecResult, Fact, FactValue};
use crate::model::id::{NodeName, Target};
use crate::model::outcome::Failure;
use crate::model::units::TimeSpan;
use crate::report::text::{and_list, count};
use crate::transport::{Host, Hosts as _};

/// Bytes of one question: what an answer may hold.
const CHUNK: u64 = 1 << 20;
/// Questions of one execution.
const AT_ONCE: u64 = 8;
/// Checksums of many snapshots on a slow disk.
const HASHING: TimeSpan = TimeSpan(Duration::from_secs(300));

const LIST: &str = r#"d=/var/lib/rancher/k3s/server
s=$d/db/snapshots
for f in /etc/rancher/k3s/config.yaml /etc/rancher/k3s/config.yaml.d/*.yaml; do
[ -f "$f" ] || continue
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
"#;

/// What is copied off.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Where snapshots and tokens are copied to; by default into the state folder
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Go on without copies of snapshots and token
    #[arg(long, conflicts_with = "to")]
    pub without_copies: bool,
}

/// What is to be copied from where.
pub struct Copies {
    folder: PathBuf,
    nodes: Vec<NodeName>,
    wanted: bool,
}

/// A file of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Remote {
    kind: String,
    sha256: String,
    size: u64,
    path: String,
}

/// Says where the copies of these nodes go.
pub fn plan(
    args: &Args,
    nodes: &[NodeName],
    session: &Session,
    context: &Context<'_>,
) -> Result<Copies, CliError> {
    let now = jiff::Timestamp::from_millisecond(SystemClock::new().wall_ms())
        .map_err(|error| CliError::failed("the clock is out of range").caused_by(&error))?;
    let base = match &args.to {
        Some(dir) => context.cwd.join(dir),
        None => session.state.path().join("copies"),
    };
    let stamp = now.strftime("%Y%m%d-%H%M%S");
    Ok(Copies {
        folder: base.join(format!("{}-{stamp}", session.inventory.cluster.name)),
        nodes: nodes.to_vec(),
        wanted: !args.without_copies,
    })
}

impl Copies {
    /// What happens, in words.
    pub fn words(&self) -> String {
        match self.wanted {
            true => {
                let names: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
                format!(
                    "snapshots and token of {} are copied to {}, and held to their checksums",
                    and_list(&names),
                    self.folder.display()
                )
            }
            false => "snapshots and token are NOT copied: they go with the rest".to_owned(),
        }
    }

    /// Copies. `needed`: without a token and a snapshot that is whole nothing more may be done.
    pub async fn make(
        &self,
        session: &mut Session,
        how: &BecomeArgs,
        needed: bool,
        context: &mut Context<'_>,
    ) -> Result<(), CliError> {
        if !self.wanted {
            return Ok(());
        }
        let machines = session.machines(how, context).await?;
        let (mut tokens, mut snapshots) = (0, 0);
        for node in &self.nodes {
            let target = Target::Node(node.clone());
            let host = machines.host(&target).await;
            let host = host.map_err(|error| of_host(node, &error.failure))?;
            let list = list(&host, node).await?;
            for remote in &list {
                let bytes = self.copy(&host, node, remote).await?;
                match remote.kind.as_str() {
                    "snapshot" if is_whole(&remote.path, &bytes) => snapshots += 1,
                    "snapshot" => context.output.warn(
                        &format!(
                            "{node}: {} is no whole snapshot: its own checksum does not hold",
                            remote.path
                        ),
                        "it was copied as it is; another one has to serve",
                    ),
                    _ => {
                        let redactor = context.output.redactor();
                        redactor.register("", bytes.trim_ascii());
                        tokens += 1;
                    }
                }
            }
            let size: u64 = list.iter().map(|remote| remote.size).sum();
            context.output.talk(&format!(
                "copied from {node}: {}, {} KiB, to {}\n",
                count(list.len(), "file", "files"),
                size.div_ceil(1024),
                self.folder.join(node.as_str()).display()
            ));
        }
        match needed && (tokens == 0 || snapshots == 0) {
            true => Err(failed(&nothing_good(&self.nodes, tokens))),
            false => Ok(()),
        }
    }

    /// Copies one file; gives its bytes, which are proven.
    async fn copy(
        &self,
        host: &Arc<dyn Host>,
        node: &NodeName,
        remote: &Remote,
    ) -> Result<Vec<u8>, CliError> {
        let bytes = fetch(host, node, remote).await?;
        let folder = self.folder.join(node.as_str());
        let (folder, name) = match remote.kind.as_str() {
            "snapshot" => (
                folder.join("snapshots"),
                Path::new(&remote.path)
                    .file_name()
                    .unwrap_or_default()
                    .to_owned(),
            ),
            kind => (folder, kind.into()),
        };
        let path = folder.join(name);
        let written = files::keep(&path, &bytes, &remote.sha256);
        written.map_err(|error| {
            CliError::failed(format!("cannot write {}", path.display()))
                .caused_by(&error)
                .hint("name another folder with --to DIR")
        })?;
        Ok(bytes)
    }
}

fn nothing_good(nodes: &[NodeName], tokens: usize) -> Failure {
    let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let what = match tokens {
        0 => "no server token was found",
        _ => "no snapshot was found that is whole",
    };
    let first = nodes.first().map_or("", NodeName::as_str);
    Failure::new(format!("{what} on {}: nothing was changed", and_list(&names)))
        .evidence("a cluster is restored from a snapshot and the token of its time")
        .hint(format!(
            "make a snapshot first: hmco-boot exec {first} -- k3s etcd-snapshot save; or, if nothing of it is wanted any more, add --without-copies"
        ))
}

fn of_host(node: &NodeName, failure: &Failure) -> CliError {
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
                .hint("see what is wrong with its disk; nothing was changed"),
        )
    })
}

async fn list(host: &Arc<dyn Host>, node: &NodeName) -> Result<Vec<Remote>, CliError> {
    let fact = exec(&["sh", "-c", LIST, "k3s-copies"], HASHING);
    let results = ask(host, node, std::slice::from_ref(&fact)).await?;
    let text = results
        .first()
        .map(|result| String::from_utf8_lossy(&result.stdout).into_owned());
    Ok(parse(&text.unwrap_or_default()))
}

fn parse(text: &str) -> Vec<Remote> {
    let remote = |line: &str| {
        let mut words = line.splitn(4, ' ');
        Some(Remote {
            kind: words.next()?.to_owned(),
            sha256: words.next()?.to_owned(),
            size: words.next()?.parse().ok()?,
            path: words.next()?.to_owned(),
        })
    };
    text.lines().filter_map(remote).collect()
}

/// All bytes of a file, held to its checksum.
async fn fetch(
    host: &Arc<dyn Host>,
    node: &NodeName,
    remote: &Remote,
) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
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
        for result in ask(host, node, &facts).await? {
            bytes.extend_from_slice(&result.stdout);
        }
        next = last;
    }
    match hex(&Sha256::digest(&bytes)) == remote.sha256 {
        true => Ok(bytes),
        false => Err(failed(
            &Failure::new(format!("{node}: {} did not arrive as it is there", remote.path))
                .hint("it changed meanwhile, or its disk is failing: give the command again; nothing was changed"),
        )),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a snapshot is whole: etcd puts the sha256 of all before at its end. What K3s compressed has a checksum of its own, which
/// is looked at when it is unpacked.
fn is_whole(path: &str, bytes: &[u8]) -> bool {
    if path.ends_with(".zip") {
        return !bytes.is_empty();
    }
    let Some((body, tail)) = bytes
        .len()
        .checked_sub(32)
        .and_then(|at| bytes.split_at_checked(at))
    else {
        return false;
    };
    body.len() % 512 == 0 && !body.is_empty() && Sha256::digest(body).as_slice() == tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_paths_with_blanks() {
        let text = "token aa 107 /var/lib/rancher/k3s/server/token\nsnapshot bb 2097184 /srv/my snapshots/x\nnonsense\n";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].path, "/srv/my snapshots/x");
        assert_eq!(found[1].size, 2_097_184);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "runs the script as it is")]
    fn the_script_lists_token_and_snapshots_with_size_and_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        let made = format!(
            "mkdir -p {at}/db/snapshots; printf abc >{at}/token; printf 12 >\"{at}/db/snapshots/a b\""
        );
        let text = LIST
            .replace("/var/lib/rancher/k3s/server", at)
            .replace("/etc/rancher", at);
        let said = std::process::Command::new("sh")
            .args(["-c", &format!("{made}\n{text}")])
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        let found = parse(&String::from_utf8(said.stdout).unwrap());
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind.as_str(), found[0].size), ("token", 3));
        assert_eq!(found[0].sha256, hex(&Sha256::digest("abc")));
        assert_eq!(found[1].path, format!("{at}/db/snapshots/a b"));
    }

    #[test]
    fn a_snapshot_is_whole_with_its_own_checksum_only() {
        let mut snapshot = vec![7; 1024];
        let digest = Sha256::digest(&snapshot);
        snapshot.extend_from_slice(&digest);
        assert!(is_whole("a", &snapshot));
        snapshot[3] ^= 1;
        assert!(!is_whole("a", &snapshot));
        assert!(!is_whole("a", &snapshot[..40]));
        assert!(!is_whole("a", b""));
        assert!(is_whole("a.zip", b"PK"));
    }
}
