//! What keeps an agent from joining, done to real nodes: hmco-boot names it and its cure.

use crate::rig::World;

/// Agents that give up before the test does.
const AGENTS: &str = r#"
title = "Agents, in a hurry"
[[step]]
id = "agent"
on = "role:agent"
timeout = "3m"
[step.k3s_agent]
nodes = "{{ nodes }}"
token = { secret = "k3s/token" }
start_timeout = "45s"
"#;

#[test]
fn what_keeps_an_agent_from_joining_is_named_with_its_cure() {
    let Some(world) = World::up(1, 2) else {
        return;
    };
    let (server, cut, twin) = (world.node(1), world.node(2), world.node(3));
    world.write("playbooks/agents.toml", AGENTS);
    world.expect(0, &["run", "k3s", "--yes", "--limit", &server]);

    // Nothing of it gets to the server, as behind a firewall.
    world.do_lab(&["cut", &server, &cut]);
    let begin = ["run", "agents", "--yes", "--limit", &cut];
    let said = world.expect(1, &begin);
    assert!(
        said.contains("does not reach port 6443 of the server"),
        "{said}"
    );
    assert!(said.contains("no firewall drops 6443/tcp"), "{said}");
    world.do_lab(&["cut", &server, &cut, "--heal"]);
    world.expect(0, &begin);

    // A second machine of that name has another node password.
    world.on(3, &format!("hostnamectl set-hostname {cut}"));
    let said = world.expect(1, &["run", "agents", "--yes", "--limit", &twin]);
    assert!(said.contains("two nodes have one name"), "{said}");
    assert!(said.contains("give one another name"), "{said}");
    let nodes = world.kubectl(1, "get nodes --no-headers");
    assert_eq!(nodes.lines().count(), 2, "{nodes}");
    world.on(3, &format!("hostnamectl set-hostname {twin}"));
    world.expect(0, &["run", "agents", "--yes"]);
    let nodes = world.kubectl(1, "get nodes --no-headers");
    assert_eq!(nodes.lines().count(), 3, "{nodes}");

    // Installed anew, a machine has another node password than its former self.
    world.on(
        3,
        "systemctl stop k3s-agent; rm -rf /etc/rancher/node /var/lib/rancher/k3s/agent",
    );
    let gone = format!("wait --for=condition=Ready=Unknown node/{twin} --timeout=120s");
    world.kubectl(1, &gone);
    let said = world.expect(1, &["run", "agents", "--yes"]);
    assert!(said.contains("hmco-boot k3s node replace NAME"), "{said}");
    world.expect(0, &["k3s", "node", "replace", &twin, "--yes"]);
    world.expect(0, &["run", "agents", "--yes"]);
}
