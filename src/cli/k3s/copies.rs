//! Snapshots, tokens and databases of servers, copied to this machine before their data go. A copy has the checksum that the node
//! says; whether it is good for anything says what is in it ([`proof`]).

mod proof;

use std::io::Read as _;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::files::{self, Pieces};
use crate::cli::k3s::procedure::failed;
use crate::cli::reach::BecomeArgs;
use crate::cli::session::Session;
use crate::engine::clock::{Clock as _, SystemClock};
use crate::facts::fact::{Answer, ExecResult, Fact, FactValue};
use crate::model::id::{NodeName, Target};
use crate::model::outcome::Failure;
use crate::model::shell::quote;
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

impl Args {
    /// Its flags, as they are given again.
    pub fn words(&self) -> String {
        match (&self.to, self.without_copies) {
            (Some(dir), _) => format!(" --to {}", quote(&dir.to_string_lossy())),
            (None, true) => " --without-copies".to_owned(),
            (None, false) => String::new(),
        }
    }
}

/// What is to be copied from where.
pub struct Copies {
    folder: PathBuf,
    nodes: Vec<NodeName>,
    sqlite: Vec<NodeName>,
    wanted: bool,
}

/// Kinds of files.
const TOKEN: &str = "token";
const AGENT_TOKEN: &str = "agent-token";
const SNAPSHOT: &str = "snapshot";
/// The database of a restore before: where that failed, the one that was in use.
const FORMER: &str = "former";
const DATABASE: &str = "database";
/// No file: there is data of etcd.
const ETCD: &str = "etcd";

/// A file of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Remote {
    kind: String,
    sha256: String,
    size: u64,
    path: String,
}

impl Remote {
    /// Where it goes, below the folder of its node.
    fn place(&self) -> PathBuf {
        let path = Path::new(&self.path);
        let name = path.file_name().unwrap_or_default();
        let is_former = |name: &&std::ffi::OsStr| name.to_string_lossy().starts_with("etcd-old-");
        match self.kind.as_str() {
            SNAPSHOT => Path::new("snapshots").join(name),
            DATABASE => Path::new("db").join(name),
            FORMER => {
                let former = path.iter().find(is_former).unwrap_or_default();
                Path::new("db").join(former).join(name)
            }
            kind => PathBuf::from(kind),
        }
    }
}

/// Says where the copies of these nodes go. `sqlite`: those whose database is a file, which holds still only while K3s is stopped.
pub fn plan(
    args: &Args,
    nodes: &[NodeName],
    sqlite: &[NodeName],
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
        sqlite: sqlite.to_vec(),
        wanted: !args.without_copies,
    })
}

impl Copies {
    /// What happens, in words.
    pub fn words(&self) -> Vec<String> {
        let names = |nodes: &[NodeName]| {
            let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            and_list(&names)
        };
        if !self.wanted {
            return vec!["snapshots and token are NOT copied: they go with the rest".to_owned()];
        }
        let (mut words, mut database) = (Vec::new(), String::new());
        if !self.sqlite.is_empty() {
            let sqlite = names(&self.sqlite);
            words.push(format!(
                "K3s is stopped on {sqlite}, so that its database (SQLite) holds still"
            ));
            database = format!(", and the database of {sqlite},");
        }
        words.push(format!(
            "snapshots and token of {}{database} are copied to {}, and held to their checksums",
            names(&self.nodes),
            self.folder.display()
        ));
        words
    }

    /// On which nodes K3s has to be stopped before.
    pub fn stopped(&self) -> &[NodeName] {
        match self.wanted {
            true => &self.sqlite,
            false => &[],
        }
    }

    /// Copies. `needed`: without what makes the cluster anew nothing more may be done.
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
        let (mut all, mut has) = (Vec::new(), Has::default());
        for node in &self.nodes {
            let target = Target::Node(node.clone());
            let host = machines.host(&target).await;
            let host = host.map_err(|error| of_host(node, &error.failure))?;
            let list = list(&host, node).await?;
            has.etcd |= list.iter().any(|remote| remote.kind == ETCD);
            let files = list.iter().filter(|remote| remote.kind != ETCD);
            let (mut number, mut size) = (0, 0);
            for remote in files {
                let local = self.copy(&host, node, remote).await?;
                (number, size) = (number + 1, size + remote.size);
                all.push(Copied {
                    node: node.clone(),
                    remote: remote.clone(),
                    local,
                });
            }
            context.output.talk(&format!(
                "copied from {node}: {}, {} KiB, to {}\n",
                count(number, "file", "files"),
                u64::div_ceil(size, 1024),
                self.folder.join(node.as_str()).display()
            ));
        }
        let redactor = context.output.redactor().clone();
        let found = prove(&mut has, &all, &|token| redactor.register("", token))?;
        for (what, hint) in &found {
            context.output.warn(what, hint);
        }
        match self.nothing_good(&has).filter(|_| needed) {
            Some(failure) => Err(failed(&failure)),
            None => Ok(()),
        }
    }

    /// Copies one file, and proves that it is as it is there.
    async fn copy(
        &self,
        host: &Arc<dyn Host>,
        node: &NodeName,
        remote: &Remote,
    ) -> Result<PathBuf, CliError> {
        let path = self.folder.join(node.as_str()).join(remote.place());
        let written = |error: std::io::Error| {
            CliError::failed(format!("cannot write {}", path.display()))
                .caused_by(&error)
                .hint("name another folder with --to DIR")
        };
        let mut pieces = Pieces::begin(&path).map_err(written)?;
        fetch(host, node, remote, &mut |piece| {
            pieces.add(piece).map_err(written)
        })
        .await?;
        pieces.end(&remote.sha256).map_err(written)?;
        Ok(path)
    }

    /// What is missing to make the cluster anew.
    fn nothing_good(&self, has: &Has) -> Option<Failure> {
        let first = self.nodes.first().map_or("", NodeName::as_str);
        let without = "if nothing of it is wanted any more, or you have copied it yourself, add --without-copies";
        let lacking = self
            .sqlite
            .iter()
            .find(|node| !has.databases.contains(node));
        let (what, why, cure) = if has.records.is_empty() {
            (
                "no server token was found",
                "a cluster is restored with the token of its time, or never",
                format!("look for /var/lib/rancher/k3s/server/token on {first}; {without}"),
            )
        } else if has.etcd && has.snapshots == 0 {
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
            None => self.nodes.iter().map(ToString::to_string).collect(),
        };
        let what = format!("{what} on {}: nothing was removed", and_list(&names));
        Some(Failure::new(what).evidence(why).hint(cure))
    }
}

/// What copies there are that are good.
#[derive(Debug, Default)]
struct Has {
    /// Some node has, or had, data of etcd.
    etcd: bool,
    /// Under which names K3s keeps what the tokens open.
    records: Vec<String>,
    /// Snapshots that are whole, and of a token that is there.
    snapshots: usize,
    /// Whose databases are there.
    databases: Vec<NodeName>,
}

/// A file that was copied.
struct Copied {
    node: NodeName,
    remote: Remote,
    local: PathBuf,
}

/// Looks at what was copied; gives what is to be told of it, each with what to do. Tokens are handed on, to be hidden.
fn prove(
    has: &mut Has,
    all: &[Copied],
    hide: &dyn Fn(&[u8]),
) -> Result<Vec<(String, &'static str)>, CliError> {
    let of = |kind: &'static str| all.iter().filter(move |one| one.remote.kind == kind);
    for one in of(TOKEN).chain(of(AGENT_TOKEN)) {
        let mut token = Vec::new();
        let read =
            files::open(&one.local).and_then(|file| file.take(CHUNK).read_to_end(&mut token));
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
                .hint("see what is wrong with its disk; nothing was removed"),
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

/// All bytes of a file, piece by piece, held to its checksum.
async fn fetch(
    host: &Arc<dyn Host>,
    node: &NodeName,
    remote: &Remote,
    take: &mut (dyn FnMut(&[u8]) -> Result<(), CliError> + Send),
) -> Result<(), CliError> {
    let mut digest = Sha256::new();
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
            digest.update(&result.stdout);
            take(&result.stdout)?;
        }
        next = last;
    }
    match hex(&digest.finalize()) == remote.sha256 {
        true => Ok(()),
        false => Err(failed(
            &Failure::new(format!("{node}: {} did not arrive as it is there", remote.path))
                .hint("it changed meanwhile, or its disk is failing: give the command again; nothing was removed"),
        )),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        let mut found = parse(&String::from_utf8(said.stdout).unwrap());
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
        assert_eq!(found[0].sha256, hex(&Sha256::digest("abc")));
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

    fn copies(sqlite: &[NodeName]) -> Copies {
        Copies {
            folder: PathBuf::new(),
            nodes: vec![NodeName::new("n1")],
            sqlite: sqlite.to_vec(),
            wanted: true,
        }
    }

    fn missing(files: &[(&str, &str, &[u8])]) -> Option<String> {
        let (has, _) = proved(files);
        copies(&[]).nothing_good(&has).map(|one| one.message)
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
        let sqlite = copies(&[NodeName::new("n1")]);
        let missing = |sqlite: &Copies, files: &[(&str, &str, &[u8])]| {
            let (mut has, _) = proved(files);
            has.etcd = false;
            sqlite.nothing_good(&has).map(|one| one.message)
        };
        // Its datastore is elsewhere.
        assert_eq!(missing(&copies(&[]), &[token]), None);
        assert!(missing(&sqlite, &[token]).unwrap().contains("SQLite"));
        let database: (&str, &str, &[u8]) = (DATABASE, "/db/state.db", b"SQLite format 3\0");
        assert_eq!(missing(&sqlite, &[token, database]), None);
        let said = missing(&sqlite, &[database]).unwrap();
        assert!(said.contains("no server token"), "{said}");
        assert_eq!(sqlite.words().len(), 2);
    }
}
