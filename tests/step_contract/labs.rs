//! Machines for the contract test: one in memory, one in a sandbox folder of this machine; and what is on them before.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use super::host::{SandboxHost, TOOLS};
use flate2::Compression;
use flate2::write::GzEncoder;
use hmco_boot::artifact::memory::MemoryArtifacts;
use hmco_boot::facts::fact::{Clock, ExecResult, Fact, FactValue, K3sData, K3sInstall};
use hmco_boot::model::action::{Action, Ownership};
use hmco_boot::model::artifact::{Artifact, Fetch, Member, Pin, PinArch, PinBook};
use hmco_boot::model::path::AbsPath;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::Mode;
use hmco_boot::model::value::{Data, Value};
use hmco_boot::transport::Host;
use hmco_boot::transport::fake::{FakeHost, FakeRun, FakeUnit};
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::machine::{DEFAULT_PATH, Settings};
use sha2::{Digest, Sha256};

/// A machine to try things on.
pub trait Lab {
    fn host(&self) -> &dyn Host;
    /// Everything that can be seen on it; equal texts = nothing has changed.
    fn picture(&self) -> String;
    /// The next step's table, for machines that cannot run programs.
    fn prepare(&self, table: &Value);
    /// The facts that will be asked for, for machines that cannot run programs.
    fn expect(&self, facts: &[Fact]);
    /// A user that may own files here.
    fn owner(&self) -> String;
    /// Whether it is a cluster, and no machine.
    fn is_cluster(&self) -> bool {
        false
    }
    /// Whether it can be restarted.
    fn can_restart(&self) -> bool {
        false
    }
}

/// The boot id of a machine in memory that was never restarted.
const BOOT: &str = "00000000-0000-4000-8000-000000000001";

struct MemoryLab(FakeHost);

impl Lab for MemoryLab {
    fn host(&self) -> &dyn Host {
        &self.0
    }

    fn picture(&self) -> String {
        self.0.with_tree(|tree| format!("{tree:?}"))
    }

    /// Programs do what their step says they do.
    fn prepare(&self, table: &Value) {
        // What asks for a restart was taken away by the one before.
        for path in paths(table.get("files")) {
            self.0.with_tree(|tree| tree.write(&path, "", 0o644));
        }
        let (creates, removes) = (paths(table.get("creates")), paths(table.get("removes")));
        self.0.on_run(move |program, tree| {
            if let Some((_, key)) = program.env.iter().find(|(name, _)| name == "KEY") {
                let results = format!(
                    "hmco-boot preflight 1\nboot {BOOT}\nkey {}\nuptime 100\nend\n",
                    key.expose()
                );
                let path = AbsPath::new("/run/hmco-boot/preflight").unwrap();
                tree.write(&path, results, 0o600);
            }
            if let Some(run) = super::host::simulate(program, tree) {
                return run;
            }
            for path in &creates {
                tree.write(path, "made by a program\n", 0o644);
            }
            for path in &removes {
                tree.remove(path, true).unwrap();
            }
            FakeRun::exit(0, "")
        });
    }

    fn expect(&self, facts: &[Fact]) {
        for fact in facts
            .iter()
            .filter(|fact| matches!(fact, Fact::Exec { .. }))
        {
            let success = ExecResult {
                exit: 0,
                stdout: Vec::new(),
                stderr: Vec::new(),
            };
            let answer = super::host::k3s_ready(fact).unwrap_or(FactValue::Exec(success));
            self.0.answer(fact.clone(), Ok(answer));
        }
        if facts.contains(&Fact::K3sInstall) {
            let nothing = FactValue::K3sInstall(K3sInstall::default());
            self.0.answer(Fact::K3sInstall, Ok(nothing));
        }
        if facts.contains(&Fact::K3sData) {
            let nothing = FactValue::K3sData(K3sData::default());
            self.0.answer(Fact::K3sData, Ok(nothing));
            let clock = FactValue::Clock(Clock {
                uptime_ms: 1_500,
                ..Clock::default()
            });
            self.0.answer(Fact::Clock, Ok(clock));
        }
    }

    fn owner(&self) -> String {
        "pi".to_owned()
    }

    fn can_restart(&self) -> bool {
        true
    }
}

pub fn memory_lab() -> Box<dyn Lab> {
    let host = FakeHost::new();
    let ready = FakeUnit {
        active: true,
        ..FakeUnit::default()
    };
    host.put_unit("ready.service", ready);
    host.serve(Arc::new(artifacts().0));
    Box::new(MemoryLab(host))
}

/// What the examples fetch, and its pins: sent by the controller, because there is no server here.
pub fn artifacts() -> (MemoryArtifacts, PinBook) {
    let artifacts = MemoryArtifacts::default();
    let mut book = PinBook::default();
    let helm = b"not really helm";
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(helm.len() as u64);
    header.set_mode(0o755);
    archive
        .append_data(&mut header, "linux-any/helm", helm.as_slice())
        .unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let member = Member {
        path: "linux-any/helm".to_owned(),
        sha256: sha256(helm),
        size: helm.len() as u64,
    };
    let k3s = b"not really k3s".to_vec();
    for (name, bytes, members) in [
        ("k3s", k3s, BTreeMap::new()),
        (
            "helm",
            archive,
            BTreeMap::from([("helm".to_owned(), member)]),
        ),
    ] {
        let url = format!("https://example.org/{name}");
        book.add(Artifact {
            name: name.to_owned(),
            pins: vec![Pin {
                name: name.to_owned(),
                version: "v1".to_owned(),
                arch: PinArch::All,
                url: url.clone(),
                sha256: sha256(&bytes),
                size: bytes.len() as u64,
                fetch: Fetch::Controller,
                members,
            }],
        });
        artifacts.offer(&url, bytes);
    }
    (artifacts, book)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A sandbox folder of this machine. `_folder` is removed with it.
struct SandboxLab {
    host: SandboxHost,
    _folder: tempfile::TempDir,
}

impl Lab for SandboxLab {
    fn host(&self) -> &dyn Host {
        &self.host
    }

    /// All but the job folders, with what reading leaves alone: times of change, not of access.
    fn picture(&self) -> String {
        fn walk(folder: &Path, picture: &mut String) {
            let mut entries: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            entries.sort();
            for path in entries {
                let meta = fs::symlink_metadata(&path).unwrap();
                let (mode, uid, inode, changed) =
                    (meta.mode(), meta.uid(), meta.ino(), meta.ctime_nsec());
                writeln!(
                    picture,
                    "{} {mode:o} {uid} {inode} {changed} {}",
                    path.display(),
                    meta.len()
                )
                .unwrap();
                if meta.is_dir() && !path.ends_with("run/hmco-boot") {
                    walk(&path, picture);
                }
            }
        }
        let mut picture = String::new();
        walk(&self.host.root, &mut picture);
        picture
    }

    fn prepare(&self, _table: &Value) {}

    fn expect(&self, _facts: &[Fact]) {}

    fn owner(&self) -> String {
        rustix::process::geteuid().as_raw().to_string()
    }
}

pub fn sandbox_lab() -> Box<dyn Lab> {
    let folder = tempfile::tempdir().unwrap();
    let folder_path = folder.path().canonicalize().unwrap();
    let (root, tools) = (folder_path.join("root"), folder_path.join("tools"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&tools).unwrap();
    stand_in(&tools, "systemctl", include_str!("systemctl.sh"), &root);
    for name in TOOLS {
        stand_in(&tools, name, include_str!("tools.sh"), &root);
    }
    let settings = Settings {
        root: Some(AbsPath::new(root.to_str().unwrap()).unwrap()),
        path: format!("{}:{DEFAULT_PATH}", tools.display()),
        artifacts: Some(Arc::new(artifacts().0)),
        ..Settings::default()
    };
    Box::new(SandboxLab {
        host: SandboxHost {
            host: LocalHost::new(settings),
            root,
        },
        _folder: folder,
    })
}

/// A tool that answers for the sandbox instead of the machine's own.
fn stand_in(tools: &Path, name: &str, text: &str, root: &Path) {
    let file = tools.join(name);
    fs::write(&file, text.replace("ROOT", root.to_str().unwrap())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A string, or the strings of a list, as paths.
fn paths(value: Option<&Value>) -> Vec<AbsPath> {
    let one = |value: &Value| AbsPath::new(value.as_str().unwrap()).unwrap();
    match value.map(|value| &value.data) {
        None => Vec::new(),
        Some(Data::List(items)) => items.iter().map(one).collect(),
        Some(_) => value.into_iter().map(one).collect(),
    }
}

/// What a small Debian has before the first example, so that each of their steps has something to do.
#[expect(clippy::too_many_lines, reason = "one list")]
pub fn seeds() -> Vec<Action> {
    let path = |text| AbsPath::new(text).unwrap();
    let folder = |text| Action::MakeDirectory {
        path: path(text),
        mode: Mode(0o755),
        owner: Ownership::default(),
    };
    let file = |text, content: &str| Action::WriteFile {
        path: path(text),
        content: Text::plain(content),
        mode: Mode(0o644),
        owner: Ownership::default(),
        backup: false,
        replaces: None,
    };
    let link = |text, to: &str| Action::Symlink {
        path: path(text),
        to: to.to_owned(),
    };
    let mut seeds = super::host::seeds();
    seeds.extend([
        folder("/etc/default"),
        folder("/etc/ssh"),
        folder("/etc/sysctl.d"),
        folder("/opt/app"),
        folder("/srv/app-old/deep"),
        folder("/usr/local/bin"),
        folder("/var/swap"),
        folder("/run/systemd/system"),
        folder("/etc/systemd/system"),
        folder("/usr/lib/systemd/system"),
        folder("/run/systemd/units"),
        file("/run/systemd/units/ready.service.active", "0a1b\n"),
        file(
            "/usr/lib/systemd/system/ready.service",
            "[Service]\nExecStart=/bin/true\n",
        ),
        file("/run/reboot-required", "*** System restart required ***\n"),
        file("/run/app-needs-reboot", ""),
        file(
            "/usr/lib/systemd/system/shipped.service",
            "[Service]\nExecStart=/bin/true\nExecReload=/bin/true\n",
        ),
        file(
            "/usr/lib/systemd/system/slow.service",
            "[Service]\nExecStart=/bin/true\n",
        ),
        file(
            "/usr/lib/systemd/system/daily.timer",
            "[Timer]\nOnCalendar=daily\n",
        ),
        file("/etc/motd", "Debian\n"),
        file("/etc/default/app", "APP_PORT=80\n"),
        file("/etc/app.conf", "old\n"),
        file("/etc/first-boot", ""),
        file(
            "/etc/fstab",
            "proc /proc proc defaults\nnas-old:/a /a nfs\nnas-old:/b /b nfs\n/var/swap none swap sw 0 0\nold /mnt/old tmpfs size=1m 0 0\n",
        ),
        file(
            "/etc/ssh/sshd_config",
            "Port 22\r\n#PermitRootLogin yes\r\nUsePAM yes",
        ),
        file("/srv/app-old/deep/file", "x"),
        link("/usr/local/bin/app", "/somewhere/else"),
        link("/usr/local/bin/app-legacy", "app"),
    ]);
    seeds
}
