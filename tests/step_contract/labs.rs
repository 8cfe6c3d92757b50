//! Machines for the contract test: one in memory, one in a sandbox folder of this machine; and what is on them before.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _};
use std::path::Path;

use super::host::{SandboxHost, TOOLS};
use hmco_boot::facts::fact::{ExecResult, Fact, FactValue};
use hmco_boot::model::action::{Action, Ownership};
use hmco_boot::model::path::AbsPath;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::Mode;
use hmco_boot::model::value::{Data, Value};
use hmco_boot::transport::Host;
use hmco_boot::transport::fake::{FakeHost, FakeRun};
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::machine::{DEFAULT_PATH, Settings};

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
}

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
        let (creates, removes) = (paths(table.get("creates")), paths(table.get("removes")));
        self.0.on_run(move |program, tree| {
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
            self.0.answer(fact.clone(), Ok(FactValue::Exec(success)));
        }
    }

    fn owner(&self) -> String {
        "pi".to_owned()
    }
}

pub fn memory_lab() -> Box<dyn Lab> {
    Box::new(MemoryLab(FakeHost::new()))
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
