//! What the kinds of a host need of a machine: seeds, programs on a machine in memory, and facts of a sandbox that are
//! otherwise the real machine's own.

use std::fs;
use std::path::{Path, PathBuf};

use hmco_boot::facts::fact::{Answer, ExecResult, Fact, FactValue};
use hmco_boot::model::action::{Action, Job, JobEnd, Ownership, Program};
use hmco_boot::model::id::{JobId, RunId};
use hmco_boot::model::lock::{LockAnswer, LockClaim};
use hmco_boot::model::path::AbsPath;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::Mode;
use hmco_boot::transport::fake::{FakeHost, FakeRun, FakeTree};
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::{Applied, BoxFuture, Host, HostError, OutputSink};

/// Tools that `tools.sh` stands in for.
pub const TOOLS: [&str; 11] = [
    "apt-cache",
    "apt-get",
    "dpkg",
    "dpkg-query",
    "modprobe",
    "mount",
    "swapoff",
    "umount",
    "useradd",
    "userdel",
    "usermod",
];

const STATUS: &str = "/var/lib/dpkg/status";
const MOUNTS: &str = "/proc/self/mountinfo";

fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}

fn file(name: &str, content: &str) -> Action {
    Action::WriteFile {
        path: path(name),
        content: Text::plain(content),
        mode: Mode(0o644),
        owner: Ownership::default(),
        backup: false,
        replaces: None,
    }
}

/// What the examples of these kinds find.
pub fn seeds() -> Vec<Action> {
    let folders = [
        "/bin",
        "/boot/firmware",
        "/etc/cloud/cloud.cfg.d",
        "/etc/modprobe.d",
        "/etc/modules-load.d",
        "/home/pi",
        "/lib/modules",
        "/proc/self",
        "/proc/sys/kernel",
        "/proc/sys/net/ipv4",
        "/proc/sys/vm",
        "/sys/module/old_driver",
        "/usr/bin",
        "/var/lib/dpkg/updates",
        "/mnt/old",
    ];
    let folders = folders.iter().map(|name| Action::MakeDirectory {
        path: path(name),
        mode: Mode(0o755),
        owner: Ownership::default(),
    });
    let uid = rustix::process::geteuid().as_raw();
    let files = [
        ("/boot/firmware/cmdline.txt", "console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootwait quiet\n".to_owned()),
        ("/etc/cloud/cloud.cfg", "preserve_hostname: false\n".to_owned()),
        ("/etc/group", "root:x:0:\npi:x:1000:\nvideo:x:44:daemon\n".to_owned()),
        ("/etc/hostname", "raspberrypi\n".to_owned()),
        ("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n".to_owned()),
        ("/etc/passwd", format!("root:x:0:0::/root:/bin/bash\npi:x:{uid}:{uid}::/home/pi:/bin/bash\nformer:x:1007:1007::/home/former:/bin/sh\n")),
        ("/lib/modules/br_netfilter.ko", String::new()),
        ("/lib/modules/overlay.ko", String::new()),
        (MOUNTS, "1 0 8:1 / / rw - ext4 /dev/root rw\n2 1 0:5 / /mnt/old rw - tmpfs old rw\n".to_owned()),
        ("/proc/swaps", "Filename Type Size Used Priority\n/var/swap file 102396 0 -2\n".to_owned()),
        ("/proc/sys/kernel/hostname", "raspberrypi\n".to_owned()),
        ("/proc/sys/net/ipv4/ip_forward", "0\n".to_owned()),
        ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n".to_owned()),
        ("/proc/sys/vm/swappiness", "60\n".to_owned()),
        ("/usr/bin/apt-get", String::new()),
        (STATUS, "Package: nano\nStatus: install ok installed\nVersion: 7.2-1\n\nPackage: jq\nStatus: install ok unpacked\nVersion: 1.6-2\n\n".to_owned()),
    ];
    folders
        .chain(files.iter().map(|(name, content)| file(name, content)))
        .chain([Action::WriteFile {
            path: path("/bin/bash"),
            content: Text::plain("#!/bin/sh\n"),
            mode: Mode(0o755),
            owner: Ownership::default(),
            backup: false,
            replaces: None,
        }])
        .collect()
}

fn text(tree: &FakeTree, name: &str) -> String {
    String::from_utf8_lossy(tree.content(&path(name)).unwrap_or_default()).into_owned()
}

fn write(tree: &mut FakeTree, name: &str, text: String) {
    tree.write(&path(name), text, 0o644);
}

fn records_without(status: &str, name: &str) -> String {
    let head = format!("Package: {name}\n");
    let kept = status
        .split("\n\n")
        .filter(|record| !record.is_empty() && !record.starts_with(&head));
    kept.map(|record| format!("{record}\n\n")).collect()
}

/// What the kinds' programs do to a machine, in memory. `None`: no program of theirs.
pub fn simulate(program: &Program, tree: &mut FakeTree) -> Option<FakeRun> {
    let words: Vec<&str> = program.argv.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["modprobe", "-a", names @ ..] => {
            for name in names {
                tree.make_folders(&path(&format!("/sys/module/{name}")));
            }
        }
        ["modprobe", "-r", names @ ..] => {
            for name in names {
                tree.remove(&path(&format!("/sys/module/{name}")), true)
                    .unwrap();
            }
        }
        ["sh", "-eu", "-s", kind, arguments @ ..] => by_script(kind, arguments, tree)?,
        _ => return None,
    }
    Some(FakeRun::exit(0, ""))
}

fn by_script(kind: &str, arguments: &[&str], tree: &mut FakeTree) -> Option<()> {
    match (kind, arguments) {
        ("hostname", [name]) => write(tree, "/proc/sys/kernel/hostname", format!("{name}\n")),
        ("sysctl", pairs) => {
            for pair in pairs.chunks(2) {
                write(tree, pair[0], format!("{}\n", pair[1]));
            }
        }
        ("swap", _) => write(
            tree,
            "/proc/swaps",
            "Filename Type Size Used Priority\n".to_owned(),
        ),
        ("mount", ["mount", source, point, fs_type, options]) => {
            let table = text(tree, MOUNTS);
            if !table.contains(&format!(" {point} ")) {
                write(
                    tree,
                    MOUNTS,
                    format!("{table}9 1 0:9 / {point} rw,{options} - {fs_type} {source} rw\n"),
                );
            }
        }
        ("mount", ["unmount", point]) => {
            let point = format!(" {point} ");
            let kept: String = text(tree, MOUNTS)
                .lines()
                .filter(|line| !line.contains(&point))
                .map(|line| format!("{line}\n"))
                .collect();
            write(tree, MOUNTS, kept);
        }
        ("mount", _) => {}
        ("user", [verb, name, options @ ..]) => user(verb, name, options, tree),
        ("packages", [verb, _, _, _, _, _, _, names @ ..]) => {
            let mut status =
                text(tree, STATUS).replace("install ok unpacked", "install ok installed");
            for name in names {
                let (name, version) = name.split_once('=').unwrap_or((name, "1.0"));
                status = records_without(&status, name);
                if *verb == "install" {
                    status.push_str(&format!(
                        "Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n"
                    ));
                }
            }
            write(tree, STATUS, status);
        }
        _ => return None,
    }
    Some(())
}

fn user(verb: &str, name: &str, options: &[&str], tree: &mut FakeTree) {
    let option = |wanted: &str| {
        options
            .windows(2)
            .find(|pair| pair[0] == wanted)
            .map(|pair| pair[1])
    };
    let mut users: Vec<String> = text(tree, "/etc/passwd")
        .lines()
        .map(str::to_owned)
        .collect();
    let head = format!("{name}:");
    let known = users.iter().any(|line| line.starts_with(&head));
    if verb == "remove" {
        users.retain(|line| !line.starts_with(&head));
    } else if verb == "add" && !known {
        let (shell, home) = (
            option("--shell").unwrap_or("/bin/bash"),
            format!("/home/{name}"),
        );
        let (uid, home) = (
            option("--uid").unwrap_or("2000"),
            option("--home").unwrap_or(&home),
        );
        users.push(format!("{name}:x:{uid}:{uid}::{home}:{shell}"));
    } else if let Some(shell) = option("--shell") {
        for line in users.iter_mut().filter(|line| line.starts_with(&head)) {
            *line = format!("{}:{shell}", line.rsplit_once(':').unwrap().0);
        }
    }
    write(
        tree,
        "/etc/passwd",
        users.iter().map(|line| format!("{line}\n")).collect(),
    );
    for group in option("--groups").unwrap_or_default().split(',') {
        let head = format!("{group}:");
        let join = |line: &str| match line.starts_with(&head) {
            true => format!("{line},{name}\n"),
            false => format!("{line}\n"),
        };
        let groups = text(tree, "/etc/group").lines().map(join).collect();
        write(tree, "/etc/group", groups);
    }
}

/// What a K3s that is up says to the question of its kinds; the machines here have none.
pub fn k3s_ready(fact: &Fact) -> Option<FactValue> {
    let Fact::Exec { argv, .. } = fact else {
        return None;
    };
    argv.iter().any(|word| word == "k3s-ready").then(|| {
        let said =
            "node=pi5-01\nreadyz=ok\nready=True\nvoter=True\nkubelet=v1\nsimulated=\ntrouble=\n";
        FactValue::Exec(ExecResult {
            exit: 0,
            stdout: said.into(),
            stderr: Vec::new(),
        })
    })
}

/// A machine whose kernel, packages and mounts are files of a sandbox too.
pub struct SandboxHost {
    pub host: LocalHost,
    pub root: PathBuf,
}

impl SandboxHost {
    fn is_own(fact: &Fact) -> bool {
        matches!(
            fact,
            Fact::Os
                | Fact::Sysctl { .. }
                | Fact::Module { .. }
                | Fact::Package { .. }
                | Fact::PackageManager
                | Fact::Mounts
                | Fact::Swaps
        )
    }

    async fn corrected(&self, answers: Vec<Answer>) -> Vec<Answer> {
        let fake = FakeHost::new();
        fake.with_tree(|tree| {
            for place in [
                "proc",
                "sys/module",
                "lib/modules",
                "var/lib/dpkg",
                "usr/bin",
            ] {
                copy(&self.root, &self.root.join(place), tree);
            }
        });
        let mut corrected = Vec::new();
        for (fact, answer) in answers {
            if let Some(ready) = k3s_ready(&fact) {
                corrected.push((fact, Ok(ready)));
            } else if Self::is_own(&fact) {
                corrected.extend(fake.read(&[fact]).await.unwrap());
            } else {
                corrected.push((fact, answer));
            }
        }
        corrected
    }
}

fn copy(root: &Path, from: &Path, tree: &mut FakeTree) {
    let name = path(&format!("/{}", from.strip_prefix(root).unwrap().display()));
    if from.is_dir() {
        tree.make_folders(&name);
        for entry in fs::read_dir(from).unwrap() {
            copy(root, &entry.unwrap().path(), tree);
        }
    } else if let Ok(bytes) = fs::read(from) {
        tree.write(&name, bytes, 0o644);
    }
}

impl Host for SandboxHost {
    fn read<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<Vec<Answer>, HostError>> {
        Box::pin(async {
            let answers = self.host.read(facts).await?;
            Ok(self.corrected(answers).await)
        })
    }

    fn apply<'a>(
        &'a self,
        job: &'a Job,
        facts: &'a [Fact],
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<Applied, HostError>> {
        Box::pin(async move {
            let mut applied = self.host.apply(job, facts, output).await?;
            applied.answers = self.corrected(applied.answers).await;
            Ok(applied)
        })
    }

    fn attach<'a>(
        &'a self,
        job: &'a JobId,
        end: bool,
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<JobEnd, HostError>> {
        self.host.attach(job, end, output)
    }

    fn lock<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<LockAnswer, HostError>> {
        self.host.lock(claim)
    }

    fn unlock<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), HostError>> {
        self.host.unlock(run)
    }
}
