//! Facts of a machine in memory that are read from its files: those of /proc, /sys, dpkg and the account databases.

use super::FakeTree;
use crate::facts::fact::{
    Boot, Fact, FactError, FactValue, K3sData, Module, Package, PackageManager, Swaps, SysctlFile,
};
use crate::facts::parse;
use crate::facts::questions::{CMDLINE_FILES, sysctl_path};
use crate::model::path::AbsPath;

/// The answer, where the files tell.
pub(super) fn of_tree(tree: &FakeTree, fact: &Fact) -> Option<Result<FactValue, FactError>> {
    let found = |value| Some(Ok(value));
    match fact {
        Fact::Sysctl { name } => {
            let text = sysctl_path(name).and_then(|path| text(tree, &path));
            Some(text.map_or(Err(FactError::NotFound), |text| {
                Ok(FactValue::Text(text.trim_end().to_owned()))
            }))
        }
        Fact::Module { name } => found(FactValue::Module(module(tree, name))),
        Fact::Package { name } => found(FactValue::Package(package(tree, name))),
        Fact::PackageManager => found(FactValue::PackageManager(PackageManager {
            name: match there(tree, "/usr/bin/apt-get") {
                true => "apt".to_owned(),
                false => String::new(),
            },
            lock_holder: None,
            interrupted: below(tree, "/var/lib/dpkg/updates").next().is_some(),
        })),
        Fact::Account { name } => {
            let file = |path| text(tree, path).unwrap_or_default();
            let account = parse::find_account(&file("/etc/passwd"), &file("/etc/group"), name);
            Some(account.map_or(Err(FactError::NotFound), |account| {
                Ok(FactValue::Account(account))
            }))
        }
        Fact::Mounts => {
            let table = text(tree, "/proc/self/mountinfo").unwrap_or_default();
            found(FactValue::Mounts(parse::mount_table(&table)))
        }
        Fact::Swaps => {
            let table = text(tree, "/proc/swaps").unwrap_or_default();
            found(FactValue::Swaps(Swaps {
                active: parse::swap_table(&table),
                units: Vec::new(),
            }))
        }
        // Nobody logs in to memory.
        Fact::Login => Some(Err(FactError::NotFound)),
        Fact::SysctlFiles => found(FactValue::SysctlFiles(sysctl_files(tree))),
        Fact::K3sData => found(FactValue::K3sData(K3sData {
            etcd: there(tree, "/var/lib/rancher/k3s/server/db/etcd/member"),
            sqlite: there(tree, "/var/lib/rancher/k3s/server/db/state.db"),
            agent: there(tree, "/var/lib/rancher/k3s/agent/client-kubelet.crt"),
            ..K3sData::default()
        })),
        _ => None,
    }
}

/// The kernel's command line of this boot.
pub(super) const PROC_CMDLINE: &str = "/proc/cmdline";

/// The command line of the next boot, where a file tells it.
pub(super) fn next_cmdline(tree: &FakeTree) -> Option<String> {
    CMDLINE_FILES.iter().find_map(|path| text(tree, path))
}

/// What the files add to a boot.
pub(super) fn boot(tree: &FakeTree, boot: Boot) -> Boot {
    let file = CMDLINE_FILES.iter().find(|path| there(tree, path));
    Boot {
        cmdline_file: file.map(|path| (*path).to_owned()),
        cmdline: text(tree, PROC_CMDLINE).map_or(boot.cmdline, |text| text.trim_end().to_owned()),
        reboot_required: there(tree, "/run/reboot-required"),
        ..boot
    }
}

/// The text of a file.
pub(super) fn text(tree: &FakeTree, path: &str) -> Option<String> {
    let bytes = tree.content(&AbsPath::new(path).ok()?)?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn there(tree: &FakeTree, path: &str) -> bool {
    AbsPath::new(path).is_ok_and(|path| tree.get(&path).is_some())
}

fn below<'a>(tree: &'a FakeTree, folder: &str) -> impl Iterator<Item = &'a AbsPath> {
    let folder = AbsPath::new(folder).ok();
    tree.paths().filter(move |path| {
        folder
            .as_ref()
            .is_some_and(|folder| path.parent().as_ref() == Some(folder))
    })
}

/// Loaded where /sys/module has its folder; to be had where /lib/modules has its file.
fn module(tree: &FakeTree, name: &str) -> Module {
    let present = there(tree, &format!("/sys/module/{name}"));
    Module {
        present,
        builtin: false,
        available: present || there(tree, &format!("/lib/modules/{name}.ko")),
    }
}

/// From dpkg's own records.
fn package(tree: &FakeTree, name: &str) -> Package {
    let records = text(tree, "/var/lib/dpkg/status").unwrap_or_default();
    let field = |record: &str, key: &str| {
        record.lines().find_map(|line| {
            line.strip_prefix(key)?
                .strip_prefix(": ")
                .map(str::to_owned)
        })
    };
    let record = records
        .split("\n\n")
        .find(|record| field(record, "Package").as_deref() == Some(name));
    let Some(state) = record.and_then(|record| field(record, "Status")) else {
        return Package {
            state: "unknown ok not-installed".to_owned(),
            ..Package::default()
        };
    };
    let gone = ["not-installed", "config-files"]
        .iter()
        .any(|end| state.ends_with(end));
    Package {
        version: record
            .and_then(|record| field(record, "Version"))
            .filter(|_| !gone),
        held: state.starts_with("hold "),
        state,
    }
}

fn sysctl_files(tree: &FakeTree) -> Vec<SysctlFile> {
    let folders = [
        "/etc/sysctl.d",
        "/run/sysctl.d",
        "/usr/local/lib/sysctl.d",
        "/usr/lib/sysctl.d",
    ];
    let files = folders.iter().flat_map(|folder| below(tree, folder));
    let says = |line: &&str| !line.is_empty() && !line.starts_with(['#', ';']);
    files
        .filter(|path| path.as_str().ends_with(".conf"))
        .map(|path| SysctlFile {
            path: path.to_string(),
            lines: text(tree, path.as_str())
                .unwrap_or_default()
                .lines()
                .map(str::trim)
                .filter(says)
                .map(str::to_owned)
                .collect(),
        })
        .collect()
}
