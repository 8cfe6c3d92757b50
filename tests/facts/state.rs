//! What hmco-boot and K3s left: jobs, lock, procedure, binary, data folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use hmco_boot::facts::fact::{Fact, FactValue, K3sData, K3sInstall, LeftoverJob, RunState};
use hmco_boot::model::id::JobId;
use sha2::{Digest as _, Sha256};

use crate::shells::{Machine, Shell, shells};

fn start_time(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(19).unwrap().to_owned()
}

fn write(root: &Path, name: &str, text: &str) {
    let at = root.join(name);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, text).unwrap();
}

#[test]
fn leftovers_are_told_and_a_reused_process_number_is_not_a_running_job() {
    let tree = tempfile::tempdir().unwrap();
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let mut ended = Command::new("true").spawn().unwrap();
    let (pid, start) = (child.id(), start_time(child.id()));
    let jobs = "run/hmco-boot/jobs";
    write(
        tree.path(),
        &format!("{jobs}/live/pid"),
        &format!("{pid} {start}\n"),
    );
    write(
        tree.path(),
        &format!("{jobs}/reused/pid"),
        &format!("{pid} 1\n"),
    );
    write(tree.path(), &format!("{jobs}/done/pid"), "999999999 5\n");
    write(tree.path(), &format!("{jobs}/done/status"), "exit 0\ntwo\n");
    write(tree.path(), &format!("{jobs}/odd $(x)/pid"), "not a number");
    fs::create_dir_all(tree.path().join(format!("{jobs}/bare"))).unwrap();
    // Ended, and nobody has asked for its status yet.
    let zombie = start_time(ended.id());
    write(
        tree.path(),
        &format!("{jobs}/zombie/pid"),
        &format!("{} {zombie}\n", ended.id()),
    );
    write(tree.path(), "run/hmco-boot/lock", "run 1\nholder x\n");
    write(
        tree.path(),
        "var/lib/hmco-boot/procedure.json",
        "{\n \"a\": 1\n}\n",
    );
    while !fs::read_to_string(format!("/proc/{}/stat", ended.id()))
        .unwrap()
        .contains(") Z ")
    {
        std::thread::yield_now();
    }
    expect_leftovers(tree.path());
    child.kill().unwrap();
    child.wait().unwrap();
    ended.wait().unwrap();
}

fn expect_leftovers(root: &Path) {
    for shell in shells() {
        let mut machine = Machine::new(root);
        let Ok(FactValue::RunState(state)) = machine.one(&shell, Fact::RunState) else {
            panic!("{}", shell.name);
        };
        let job = |id: &str, running, status: Option<&str>| LeftoverJob {
            id: JobId::new(id),
            running,
            status: status.map(str::to_owned),
        };
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(
            state,
            RunState {
                boot_id: boot.trim().to_owned(),
                lock: Some("run 1\nholder x".to_owned()),
                jobs: vec![
                    job("bare", false, None),
                    job("done", false, Some("exit 0\ntwo")),
                    job("live", true, None),
                    job("odd $(x)", false, None),
                    job("reused", false, None),
                    job("zombie", false, None),
                ],
                procedure: Some("{\n \"a\": 1\n}".to_owned()),
            },
            "{}",
            shell.name
        );
    }
}

#[test]
fn a_machine_without_leftovers_has_none() {
    let tree = tempfile::tempdir().unwrap();
    for shell in shells() {
        match Machine::new(tree.path()).one(&shell, Fact::RunState) {
            Ok(FactValue::RunState(state)) => {
                assert_eq!((state.lock, state.procedure), (None, None));
                assert!(state.jobs.is_empty());
            }
            other => panic!("{}: {other:?}", shell.name),
        }
    }
}

/// Unit files, and what they hold: two that run a K3s under another name, one of them seen by two paths, and two that do not.
const OTHER_UNITS: [(&str, &str); 5] = [
    (
        "etc/systemd/system/k3s-home.service",
        "[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--debug' \\\n\n",
    ),
    (
        "usr/lib/systemd/system/k3s-far.service",
        "ExecStart=-/opt/k3s --debug agent\n",
    ),
    (
        "lib/systemd/system/k3s-far.service",
        "ExecStart=-/opt/k3s --debug agent\n",
    ),
    (
        "etc/systemd/system/k3s-save.service",
        "#ExecStart=/usr/local/bin/k3s server\nExecStart=/usr/local/bin/k3s etcd-snapshot save --name server \n",
    ),
    (
        "etc/systemd/system/k3s-watch.service",
        "ExecStart=/usr/local/bin/k3s-killall.sh agent\nExecStop=/usr/local/bin/k3s server\n",
    ),
];

#[test]
fn k3s_is_told_by_its_files_and_its_binary_is_asked_only_once() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    let asked = root.join("asked");
    let binary = format!(
        "#!/bin/sh\necho x >>'{}'\necho 'k3s version v1.2.3 (abc)'\necho 'go 1'\n",
        asked.display()
    );
    write(root, "usr/local/bin/k3s", &binary);
    fs::set_permissions(
        root.join("usr/local/bin/k3s"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    for name in [
        "etc/systemd/system/k3s.service",
        "etc/systemd/system/k3s.service.env",
        "etc/rancher/k3s/config.yaml",
        "etc/rancher/k3s/config.yaml.d/z $x.yaml",
        "etc/rancher/k3s/config.yaml.d/10-a.yaml",
        "etc/rancher/k3s/config.yaml.d/50-mine.yml",
        "etc/rancher/k3s/config.yaml.d/.60-hidden.YAML",
        "etc/rancher/k3s/config.yaml.d/ignored.txt",
        "etc/rancher/k3s/config.yaml.d/70-off.yaml.old",
        "var/lib/rancher/k3s/server/db/etcd/member/wal",
        "var/lib/rancher/k3s/server/db/etcd-old-17/x",
        "var/lib/rancher/k3s/server/db/reset-flag",
        "var/lib/rancher/k3s/server/token",
        "var/lib/rancher/k3s/server/tls/server-ca.crt",
        "var/lib/rancher/k3s/agent/client-kubelet.crt",
    ] {
        write(root, name, name);
    }
    for (name, text) in OTHER_UNITS {
        write(root, name, text);
    }
    for shell in shells() {
        if asked.exists() {
            fs::remove_file(&asked).unwrap();
        }
        let mut machine = Machine::new(root);
        expect_k3s(&mut machine, &shell);
        expect_k3s(&mut machine, &shell);
        assert_eq!(fs::read_to_string(&asked).unwrap(), "x\n", "{}", shell.name);
    }
}

fn expect_k3s(machine: &mut Machine, shell: &Shell) {
    let given = machine.read(shell, &[Fact::K3sInstall, Fact::K3sData]);
    let Ok(FactValue::K3sInstall(mut install)) = given[0].1.clone() else {
        panic!("{}: {:?}", shell.name, given[0].1);
    };
    assert!(!std::mem::take(&mut install.binary_identity).is_empty());
    assert_eq!(
        install,
        K3sInstall {
            binary: "/usr/local/bin/k3s".to_owned(),
            binary_identity: String::new(),
            version: "k3s version v1.2.3 (abc)".to_owned(),
            units: ["k3s.service", "k3s-home.service", "k3s-far.service"]
                .map(str::to_owned)
                .to_vec(),
            config_files: vec![
                "/etc/rancher/k3s/config.yaml".to_owned(),
                "/etc/rancher/k3s/config.yaml.d/.60-hidden.YAML".to_owned(),
                "/etc/rancher/k3s/config.yaml.d/10-a.yaml".to_owned(),
                "/etc/rancher/k3s/config.yaml.d/50-mine.yml".to_owned(),
                "/etc/rancher/k3s/config.yaml.d/z $x.yaml".to_owned(),
                "/etc/systemd/system/k3s.service.env".to_owned(),
            ],
        },
        "{}",
        shell.name
    );
    let ca: String = Sha256::digest("var/lib/rancher/k3s/server/tls/server-ca.crt")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        given[1].1,
        Ok(FactValue::K3sData(K3sData {
            etcd: true,
            sqlite: false,
            agent: true,
            started: true,
            reset_flag: true,
            ca_sha256: Some(ca),
            old: vec!["etcd-old-17".to_owned()],
        })),
        "{}",
        shell.name
    );
}

#[test]
fn a_machine_without_k3s_has_none() {
    let tree = tempfile::tempdir().unwrap();
    for shell in shells() {
        let given = Machine::new(tree.path()).read(&shell, &[Fact::K3sInstall, Fact::K3sData]);
        assert_eq!(given[0].1, Ok(FactValue::K3sInstall(K3sInstall::default())));
        assert_eq!(given[1].1, Ok(FactValue::K3sData(K3sData::default())));
    }
}
