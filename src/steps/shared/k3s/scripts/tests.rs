//! The scripts, in a folder that stands for a machine.

use std::io::Write as _;

use super::*;

#[expect(clippy::disallowed_methods, reason = "runs the scripts as they are")]
fn run(shell: &[&str], text: &str, arguments: &[&str]) -> std::process::Output {
    let (program, words) = shell.split_first().unwrap();
    std::process::Command::new(program)
        .args(words)
        .args(["-euc", text, "sh"])
        .args(arguments)
        .output()
        .unwrap()
}

fn sh(text: &str, arguments: &[&str]) -> String {
    let said = run(&["sh"], text, arguments);
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

/// The shells of nodes that are here, after these words.
pub fn shells(before: &[&'static str]) -> Vec<Vec<&'static str>> {
    let shells: [&[&str]; 2] = [&["sh"], &["busybox", "sh"]];
    let words = shells.map(|shell| [before, shell].concat());
    let is_here = |shell: &Vec<&str>| {
        let script = format!("{} -c : 2>/dev/null", shell.join(" "));
        let here = run(&["sh"], &script, &[]).status.success();
        if !here {
            // As tests/support/skip.rs tells it.
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default();
            let line = format!("SKIPPED: {test}: not possible here: {}\n", shell.join(" "));
            std::io::stderr().write_all(line.as_bytes()).ok();
        }
        here
    };
    words.into_iter().filter(is_here).collect()
}

/// A machine in a folder: what its scripts do stays in there.
struct Sandbox {
    folder: tempfile::TempDir,
    shell: Vec<&'static str>,
}

impl Sandbox {
    fn new(shell: &[&'static str]) -> Self {
        let (folder, shell) = (tempfile::tempdir().unwrap(), shell.to_vec());
        Self { folder, shell }
    }

    fn root(&self) -> String {
        let root = self.folder.path().canonicalize().unwrap();
        root.to_str().unwrap().to_owned()
    }

    /// What the scripts are here; nothing runs, so nothing is ended.
    fn text(&self) -> String {
        let mut text =
            format!("{KILLALL}k3s_killall() {{ :; }}\nsystemctl() {{ :; }}\n{UNINSTALL}");
        for at in ["/var/lib/", "/etc/", "/run/", "/usr/local/"] {
            text = text.replace(at, &format!("{}{at}", self.root()));
        }
        text
    }

    /// Runs lines in the folder after the scripts' text.
    fn run(&self, text: &str, lines: &str) -> std::process::Output {
        let text = format!("cd \"$1\"\n{text}\n{lines}");
        run(&self.shell, &text, &[&self.root()])
    }

    /// What is in the folder, each with its path.
    fn left(&self) -> Vec<String> {
        let list = "cd \"$1\"; find . ! -type d | sort";
        let said = sh(list, &[&self.root()]);
        said.lines().map(str::to_owned).collect()
    }
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn both_scripts_are_shell_and_name_whose_they_are() {
    for role in [Role::Server, Role::Agent] {
        for file in files(role) {
            let text = file.content.unwrap();
            assert!(
                text.expose()
                    .starts_with("#!/bin/sh\n# Written by hmco-boot")
            );
            sh(&format!("if false; then :\n{}\nfi", text.expose()), &[]);
        }
    }
}

#[test]
fn a_k3s_that_runs_under_another_name_is_found_before_anything_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let make = "cd \"$1\"; echo 'ExecStart=/usr/local/bin/k3s server' | tee k3s-agent.service k3s-home.service >k3s-off.service; \
        echo 'ExecStart=/usr/bin/rclone /var/lib/rancher/k3s/server/db' >k3s-x.service; echo 'ExecStart=/usr/local/bin/k3s etcd-snapshot save' >k3s-save.service";
    let text = UNINSTALL.replace("/etc/systemd/system/k3s-", &format!("{at}/k3s-"));
    let systemctl =
        "systemctl() { case $2 in k3s-off*) echo inactive ;; *) echo activating ;; esac; }";
    let found = sh(
        &format!("{make}\n{RUNS_K3S}{KILLALL}{text}\n{systemctl}\nothers"),
        &[at],
    );
    assert_eq!(found, "k3s-home.service\n");
}

#[test]
fn what_only_looks_like_another_disk_is_removed_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("k3s");
    let at = at.to_str().unwrap();
    // As coreutils' rm does with a subvolume of btrfs.
    let rm = "rm() { case $* in --help) echo one-file-system ;; *--one-file-system*) return 1 ;; *) command rm \"$@\" ;; esac; }";
    sh(
        &format!("mkdir -p \"$1/a/b\"\n{KILLALL}{rm}\nerase \"$1\"; [ ! -e \"$1\" ]"),
        &[at],
    );
}

#[test]
fn only_mounts_of_k3s_are_taken_the_deepest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = folder.path().join("mounts");
    let table = "/dev/nvme0n1p1 /var/lib/rancher/k3s/storage ext4 rw 0 0\n\
        overlay /run/k3s/containerd/a/rootfs overlay rw 0 0\n\
        tmpfs /var/lib/kubelet/pods/x/volumes/a\\040b tmpfs rw 0 0\n\
        shm /run/k3s/containerd/a tmpfs rw 0 0\n\
        /dev/sda1 / ext4 rw 0 0\n\
        /dev/sdb /var/lib/kubelet/pods/y/mount ext4 rw 0 0\n\
        nas:/x /var/lib/rancher/k3s/server/db/snapshots nfs4 rw 0 0\n\
        tmpfs /run/k3s-other tmpfs rw 0 0\n";
    sh(
        "printf %s \"$2\" >\"$1\"",
        &[mounts.to_str().unwrap(), table],
    );
    let text = KILLALL.replace("/proc/self/mounts", mounts.to_str().unwrap());
    let found = sh(&format!("{text}\nk3s_mounts"), &[]);
    let found: Vec<&str> = found.lines().collect();
    assert_eq!(
        found,
        [
            "/var/lib/kubelet/pods/y/mount",
            "/var/lib/kubelet/pods/x/volumes/a b",
            "/run/k3s/containerd/a/rootfs",
            "/run/k3s/containerd/a",
        ]
    );
}

#[test]
fn a_folder_is_gone_at_once_and_what_an_earlier_try_left_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("k3s");
    let at = at.to_str().unwrap();
    let made = "mkdir -p \"$1/a/b\" \"$1.removed/old\"; : >\"$1/a/.hidden\"; ";
    for before in [made, "mkdir -p \"$1.removed/x\"; ", "mkdir \"$1\"; ", ":; "] {
        let left = sh(
            &format!("{before}{KILLALL}{UNINSTALL}away \"$1\"; ls -A \"${{1%/*}}\""),
            &[at],
        );
        assert_eq!(left, "", "{before}");
    }
}

const RANCHER_ON_SSD: &str = "mkdir -p var/lib etc mnt/ssd/rancher/k3s/server mnt/ssd/rancher/k3s/storage mnt/ssd/kubelet/pods/x
    ln -s \"$1/mnt/ssd/rancher\" var/lib/rancher; ln -s ../../mnt/ssd/kubelet var/lib/kubelet
    : >mnt/ssd/rancher/k3s/server/token\n";

#[test]
fn a_mount_is_seen_behind_links() {
    for shell in shells(&[]) {
        let sandbox = Sandbox::new(&shell);
        let root = sandbox.root();
        let table = format!(
            "/dev/sda1 {root}/mnt/ssd/rancher/k3s/storage ext4 rw 0 0\n\
             tmpfs {root}/mnt/ssd/kubelet/pods/a\\040b tmpfs rw 0 0\n\
             tmpfs {root}/mnt/ssd/rancher/k3s-other/x tmpfs rw 0 0\n"
        );
        let mounts = format!("{root}/mounts");
        sh("printf %s \"$2\" >\"$1\"", &[&mounts, &table]);
        let text = sandbox.text().replace("/proc/self/mounts", &mounts);
        let found = sandbox.run(&text, &format!("{RANCHER_ON_SSD}k3s_mounts"));
        assert_eq!(
            String::from_utf8(found.stdout).unwrap(),
            format!("{root}/mnt/ssd/kubelet/pods/a b\n"),
        );
        let end = sandbox.run(&text, "k3s_uninstall");
        assert!(!end.status.success(), "{end:?}");
        let why = format!(
            "nothing removed: {root}/mnt/ssd/rancher/k3s/storage is mounted there by somebody else"
        );
        assert!(said(&end).contains(&why), "{end:?}");
        assert!(
            sandbox
                .left()
                .contains(&"./mnt/ssd/rancher/k3s/server/token".to_owned())
        );
    }
}

#[test]
fn no_mounted_disk_is_emptied() {
    let mount = "disk=mnt/ssd/rancher/k3s/storage; mount -t tmpfs none \"$disk\"; echo x >\"$disk/photo\"\n";
    let kept = "[ \"$(cat \"$disk/photo\")\" = x ]\n";
    for shell in shells(&["unshare", "-m"]) {
        // With a look at the mounts, and without one: a mount that comes in between.
        let sandbox = Sandbox::new(&shell);
        let seen = format!("{RANCHER_ON_SSD}{mount}! k3s_uninstall || exit 3\n{kept}");
        let end = sandbox.run(&sandbox.text(), &seen);
        assert!(end.status.success(), "{shell:?}: {end:?}");
        assert!(said(&end).contains("k3s/storage is mounted there"));
        assert_eq!(
            sandbox.left(),
            [
                "./mnt/ssd/rancher/k3s/server/token",
                "./var/lib/kubelet",
                "./var/lib/rancher"
            ]
        );
        // As where rm does not know of disks.
        let old = "rm() { case $1 in --help) ;; *) command rm \"$@\" ;; esac; }\n";
        for rm in ["", old] {
            let sandbox = Sandbox::new(&shell);
            let late = format!(
                "{rm}{RANCHER_ON_SSD}{mount}! away var/lib/rancher/k3s 2>/dev/null || exit 3\n\
                 disk=mnt/ssd/rancher/k3s.removed/storage\n{kept}"
            );
            let end = sandbox.run(&sandbox.text(), &late);
            assert!(end.status.success(), "{shell:?} {rm}: {end:?}");
        }
    }
}

/// What the proof looks for, and finds.
fn remaining(sandbox: &Sandbox) -> Vec<String> {
    let root = sandbox.root();
    let facts = remains();
    let paths = facts.iter().filter_map(Fact::path).map(AbsPath::as_str);
    let look = "[ -e \"$1\" ] || [ -L \"$1\" ] && echo there || :";
    paths
        .filter(|at| !sh(look, &[&format!("{root}{at}")]).is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn data_behind_a_link_go_and_the_link_stays() {
    for shell in shells(&[]) {
        let sandbox = Sandbox::new(&shell);
        let made = "mkdir -p var/lib/rancher etc ssd/k3s/server/db/etcd/member ssd/k3s/storage/lost+found ssd/k3s/lost+found
            mkdir -p ssd/kubelet/pods ssd/rancher/k3s/config.yaml.d ssd/rancher/node
            ln -s ../../../ssd/k3s var/lib/rancher/k3s; ln -s \"$1/ssd/kubelet\" var/lib/kubelet; ln -s ../ssd/rancher etc/rancher
            : >ssd/k3s/server/token; : >ssd/k3s/server/.hidden; : >ssd/kubelet/memory_manager_state; : >ssd/kubelet/pods/x
            : >ssd/rancher/k3s/k3s.yaml; : >ssd/rancher/k3s/config.yaml.d/10-base.yaml; : >ssd/rancher/node/password\n";
        assert!(sandbox.run("", made).status.success());
        assert_eq!(
            remaining(&sandbox),
            [
                "/var/lib/rancher/k3s/server",
                "/var/lib/rancher/k3s/storage",
                "/var/lib/kubelet/pods",
                "/etc/rancher/k3s/config.yaml.d",
                "/etc/rancher/k3s/k3s.yaml",
                "/etc/rancher/node/password",
            ]
        );
        // What an earlier try did not come to the end of.
        let earlier = "mkdir -p ssd/k3s/.removed/server; : >ssd/k3s/.removed/server/x\n";
        let end = sandbox.run(&sandbox.text(), &format!("{earlier}k3s_uninstall"));
        assert!(end.status.success(), "{shell:?}: {end:?}");
        assert_eq!(
            sandbox.left(),
            [
                "./etc/rancher",
                "./var/lib/kubelet",
                "./var/lib/rancher/k3s"
            ]
        );
        assert_eq!(remaining(&sandbox), [""; 0]);
        // Where it points to is ready for the next cluster.
        assert!(
            sandbox
                .run("", "[ -d var/lib/rancher/k3s/lost+found ]")
                .status
                .success()
        );
    }
}

#[test]
fn what_is_not_of_k3s_behind_a_link_is_left_and_named() {
    for shell in shells(&[]) {
        let sandbox = Sandbox::new(&shell);
        let made = "mkdir -p var/lib/rancher etc disk/server disk/photos home/pods; : >disk/server/token; : >disk/photos/a
            : >home/.profile; : >home/cpu_manager_state; : >home/pods/x
            ln -s ../../../disk var/lib/rancher/k3s; ln -s ../../home var/lib/kubelet\n";
        let end = sandbox.run(&sandbox.text(), &format!("{made}k3s_uninstall"));
        assert!(end.status.success(), "{shell:?}: {end:?}");
        let told = String::from_utf8(end.stdout).unwrap();
        for left in ["rancher/k3s/photos", "kubelet/.profile"] {
            let line = format!(
                "left, as it is not of K3s: {}/var/lib/{left}\n",
                sandbox.root()
            );
            assert!(told.contains(&line), "{told}");
        }
        assert_eq!(
            sandbox.left(),
            [
                "./disk/photos/a",
                "./home/.profile",
                "./var/lib/kubelet",
                "./var/lib/rancher/k3s"
            ]
        );
        assert_eq!(remaining(&sandbox), [""; 0]);
    }
}

#[test]
fn links_that_hide_data_are_refused_by_name_before_anything_is_removed() {
    let cases = [
        (
            "ln -s /mnt/not-there/k3s var/lib/rancher/k3s",
            "a link to /mnt/not-there/k3s, which is no folder: is its disk mounted?",
        ),
        (
            "mkdir -p ssd/db/etcd var/lib/rancher/k3s/server; ln -s ../../../../../ssd/db var/lib/rancher/k3s/server/db",
            "k3s/server/db is a link to ../../../../../ssd/db",
        ),
    ];
    for shell in shells(&[]) {
        for (made, why) in cases {
            let sandbox = Sandbox::new(&shell);
            let made = format!(
                "mkdir -p var/lib/rancher etc/rancher/k3s\n: >etc/rancher/k3s/k3s.yaml\n{made}"
            );
            assert!(sandbox.run("", &made).status.success());
            let before = sh("find \"$1\" | sort", &[&sandbox.root()]);
            let end = sandbox.run(&sandbox.text(), "k3s_uninstall");
            assert!(!end.status.success(), "{end:?}");
            let said = said(&end);
            assert!(
                said.contains("nothing removed: ") && said.contains(why),
                "{said}"
            );
            assert_eq!(sh("find \"$1\" | sort", &[&sandbox.root()]), before);
        }
    }
}
