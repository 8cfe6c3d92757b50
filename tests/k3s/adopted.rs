//! Clusters that others installed: as get.k3s.io lays a server out, and as k3s-ansible does an agent. `k3s adopt` reads them, and a
//! run takes them over.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use crate::rig::{World, told};

const TOKEN: &str = "the-token-of-somebody-else";

/// The unit of get.k3s.io (install.sh), with arguments as it writes them.
const BY_SCRIPT: &str = r"[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/k3s.service.env
KillMode=process
Delegate=yes
User=root
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s \
    server \
	'--cluster-init' \
	'--flannel-backend' \
	'host-gw' \
	'--write-kubeconfig-mode=0640' \

";

/// The agent's unit of k3s-ansible, whose settings are in a file and whose token is in its environment.
const BY_ANSIBLE: &str = r"[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/k3s-agent.service.env
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s agent --data-dir /var/lib/rancher/k3s --server https://SERVER:6443
";

/// Puts files onto a node.
fn put(world: &World, number: usize, files: &[(&str, &str)]) {
    let root = world.root(number);
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The program that the lab's inventory pins.
fn program(inventory: &str) -> PathBuf {
    let url = inventory
        .lines()
        .find_map(|line| line.strip_prefix("url = \"file://"));
    PathBuf::from(url.unwrap().trim_end_matches('"'))
}

#[test]
fn a_cluster_of_somebody_else_is_read_and_taken_over() {
    let Some(world) = World::up(1, 1) else {
        return;
    };
    let file = world.inventory();
    let inventory = std::fs::read_to_string(&file).unwrap();
    for number in [1, 2] {
        let at = world.root(number).join("usr/local/bin/k3s");
        std::fs::copy(program(&inventory), at).unwrap();
        world.on(
            number,
            "chmod 755 /usr/local/bin/k3s; ln -sf k3s /usr/local/bin/kubectl",
        );
    }
    let address = world.on(1, "hostname -I");
    let address = address.split_whitespace().next().unwrap();
    let env = format!("K3S_TOKEN={TOKEN}\n");
    let unit = "etc/systemd/system";
    put(
        &world,
        1,
        &[
            (&format!("{unit}/k3s.service"), BY_SCRIPT),
            (
                &format!("{unit}/k3s.service.env"),
                &format!("K3S_TOKEN='{TOKEN}'\n"),
            ),
        ],
    );
    put(
        &world,
        2,
        &[
            (
                &format!("{unit}/k3s-agent.service"),
                &BY_ANSIBLE.replace("SERVER", address),
            ),
            (&format!("{unit}/k3s-agent.service.env"), &env),
            (
                "etc/rancher/k3s/config.yaml",
                "node-label:\n  - \"shelf=a\"\n",
            ),
        ],
    );
    world.on(1, "systemctl daemon-reload && systemctl enable --now k3s");
    world.on(
        2,
        "systemctl daemon-reload && systemctl enable --now k3s-agent",
    );
    world.kubectl(1, "wait --for=condition=Ready node --all --timeout=90s");

    // What it reads, without a word of the token.
    let output = world.command(&["k3s", "adopt"]).output().unwrap();
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains(TOKEN), "{said}");
    assert!(
        said.contains("its unit has arguments, which move to a file: cluster-init, flannel-backend, write-kubeconfig-mode"),
        "{said}"
    );
    let vars = String::from_utf8(output.stdout).unwrap();
    let vars: Vec<&str> = vars
        .lines()
        .filter(|line| line.starts_with("k3s_"))
        .collect();
    assert!(vars.iter().any(|line| line.contains("host-gw")), "{vars:?}");
    assert!(vars.iter().any(|line| line.contains("shelf=a")), "{vars:?}");

    // Into the inventory, instead of what the lab says of K3s' configuration.
    let kept: Vec<&str> = inventory
        .lines()
        .filter(|line| !line.starts_with("k3s_config"))
        .collect();
    let vars = format!("[vars]\n{}", vars.join("\n"));
    std::fs::write(&file, kept.join("\n").replace("[vars]", &vars) + "\n").unwrap();
    let mut set = world
        .command(&["secrets", "set", "k3s/token"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    set.stdin
        .take()
        .unwrap()
        .write_all(TOKEN.as_bytes())
        .unwrap();
    assert!(set.wait().unwrap().success());

    // The plan says what changes; the run does it, one restart, and the cluster is the same.
    let ca = "sha256sum /var/lib/rancher/k3s/server/tls/server-ca.crt";
    let before = world.on(1, ca);
    let said = world.expect(0, &["plan", "k3s"]);
    assert!(said.contains("restart"), "{said}");
    assert!(said.contains("/etc/systemd/system/k3s.service"), "{said}");
    assert!(!said.contains(TOKEN), "{said}");
    world.expect(0, &["run", "k3s", "--yes"]);
    assert_eq!(world.on(1, ca), before);
    let label = world.kubectl(1, "get nodes -l shelf=a");
    assert!(label.contains(&world.node(2)), "{label}");
    let started = "systemctl show -p InvocationID --value k3s k3s-agent";
    let starts = [1, 2].map(|number| world.on(number, started));
    let said = world.expect(0, &["run", "k3s"]);
    assert!(!said.contains("started"), "{said}");
    assert_eq!([1, 2].map(|number| world.on(number, started)), starts);
    crate::ops::healthy(&world);
}
