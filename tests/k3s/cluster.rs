//! A cluster from its first server on.

use crate::rig::{World, end};

/// A playbook that brings the agent up with a token that is not the cluster's.
const WRONG: &str = r#"
title = "An agent with a wrong token"
[[step]]
id = "agent"
on = "role:agent"
timeout = "3m"
[step.k3s_agent]
nodes = "{{ nodes }}"
token = "not-the-token-of-this-cluster"
start_timeout = "2m"
"#;

#[test]
fn a_cluster_is_made_once_grows_and_is_left_alone_when_it_is_as_wished() {
    let Some(world) = World::up(2, 1) else {
        return;
    };
    let (first, second, agent) = (world.node(1), world.node(2), world.node(3));

    // Nobody answers for the first server: no token is made, and no cluster.
    world.do_lab(&["kill", &first]);
    let limited = ["run", "k3s", "--yes", "--limit", &second];
    let said = world.expect(3, &limited);
    assert!(said.contains("k3s/token"), "{said}");
    world.do_lab(&["start", &first]);

    // The first server, alone.
    let said = world.expect(0, &["run", "k3s", "--yes", "--limit", &first]);
    assert!(said.contains("made the secret k3s/token"), "{said}");
    assert!(world.kubectl(1, "get nodes").contains(&first));
    let said = world.expect(0, &["run", "k3s", "--limit", &first]);
    assert!(!said.replace("unchanged", "").contains("changed"), "{said}");
    let started = "systemctl show -p InvocationID --value k3s";
    let before = world.on(1, started);

    // An agent that is given a wrong token is told so, and joins with the right one.
    world.write("playbooks/wrong.toml", WRONG);
    let said = world.expect(1, &["run", "wrong", "--yes"]);
    assert!(said.contains("the token is wrong"), "{said}");
    assert!(said.contains("not authorized"), "{said}");
    world.expect(0, &["run", "k3s", "--yes", "--limit", &agent]);
    assert!(world.kubectl(1, "get nodes").contains(&agent));

    // The first server is dead: the second one must not make a cluster of its own.
    world.do_lab(&["kill", &first]);
    let said = world.expect(1, &limited);
    assert!(
        said.contains("nobody knows whether there is a cluster already"),
        "{said}"
    );
    assert!(said.contains(&first), "{said}");
    world.on(
        2,
        "! test -e /var/lib/rancher/k3s && ! test -e /etc/rancher/k3s/config.yaml.d",
    );
    world.do_lab(&["start", &first]);

    // The first server dies while the second one joins.
    // It has its binary since it was refused, and the others are up again before it begins.
    let others = format!("{first} | {agent}");
    world.expect(0, &["run", "k3s", "--yes", "--limit", &others]);
    let soon = ["run", "k3s", "--yes", "--var", "k3s_start_timeout=40s"];
    let joining = world.start_in("servers", 0, &soon);
    let starting = "until test -e /var/lib/rancher/k3s/server/db/etcd; do sleep 0.1; done; systemctl is-active k3s; true";
    let is = world.on(2, &format!("timeout 60 sh -c \"{starting}\""));
    world.do_lab(&["kill", &first]);
    assert_eq!(is.trim(), "activating", "it is in the middle of joining");
    let (code, said) = end(joining);
    assert!(matches!(code, Some(1 | 3)), "{code:?}: {said}");
    world.do_lab(&["start", &first]);
    world.expect(0, &["run", "k3s", "--yes"]);
    let nodes = world.kubectl(1, "get nodes");
    for node in [&first, &second, &agent] {
        assert!(nodes.contains(node.as_str()), "{nodes}");
    }
    let cas = [1, 2].map(|node| {
        world.on(
            node,
            "sha256sum </var/lib/rancher/k3s/server/tls/server-ca.crt",
        )
    });
    assert_eq!(cas[0], cas[1], "one cluster");

    // Nothing more to do, and nothing is restarted.
    let restarted = world.on(1, started);
    assert_ne!(before, restarted, "it lost power meanwhile");
    let said = world.expect(0, &["plan", "k3s", "--exit-code"]);
    assert!(!said.contains("restart"), "{said}");
    world.expect(0, &["run", "k3s"]);
    assert_eq!(world.on(1, started), restarted);

    // A binary that is lost is not replaced by the pinned one, which may be older than the data.
    world.on(3, "mv /usr/local/bin/k3s /srv/k3s");
    let said = world.expect(1, &["run", "k3s", "--yes"]);
    assert!(said.contains("its binary is gone"), "{said}");
    world.on(
        3,
        "! test -e /usr/local/bin/k3s && mv /srv/k3s /usr/local/bin/k3s",
    );
    world.expect(0, &["plan", "k3s", "--exit-code"]);

    // A change of the configuration restarts one server after the other.
    let change = [
        "run",
        "k3s",
        "--yes",
        "--var",
        "k3s_config={ write-kubeconfig-mode = \"0640\" }",
    ];
    world.expect(0, &change);
    for node in [1, 2] {
        let mode = world.on(node, "stat -c %a /etc/rancher/k3s/k3s.yaml");
        assert_eq!(mode.trim(), "640");
    }
    assert_ne!(world.on(1, started), restarted);
    world.expect(0, &change);
}
