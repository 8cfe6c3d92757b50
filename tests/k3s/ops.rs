//! A cluster that is looked after: how it is, nodes that leave it, machines that take another's place, and a node that is reset.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::World;

/// What `status` says, with its exit code.
pub fn status(world: &World) -> (Option<i32>, Value) {
    let output = world
        .command(&["status", "--output", "json"])
        .output()
        .unwrap();
    let said = serde_json::from_slice(&output.stdout);
    assert!(said.is_ok(), "{}", crate::rig::told(&output));
    (output.status.code(), said.unwrap())
}

fn node<'s>(status: &'s Value, name: &str) -> &'s Value {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["name"] == name).unwrap()
}

/// What `status` says once all is well: pods come up after their nodes.
pub fn healthy(world: &World) -> Value {
    let began = Instant::now();
    let pods = world.pods("the health of what runs in kube-system");
    loop {
        let (code, now) = status(world);
        let problems = now["problems"].as_array().unwrap();
        let is_pods = |problem: &Value| {
            let what = problem["what"].as_str().unwrap();
            what.starts_with("kube-system/")
        };
        let only_pods = problems.iter().all(is_pods);
        if code == Some(0) || (!pods && only_pods) {
            return now;
        }
        let waits = only_pods && began.elapsed() < Duration::from_secs(120);
        assert!(waits, "{code:?}: {now}");
    }
}

/// Gives a command until it exits so: it waits for what Kubernetes notices after a while.
fn until(world: &World, code: i32, args: &[&str]) {
    let began = Instant::now();
    loop {
        let output = world.command(args).output().unwrap();
        if output.status.code() == Some(code) {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(240),
            "{args:?}: {}",
            crate::rig::told(&output)
        );
    }
}

#[test]
fn nodes_leave_a_cluster_that_can_do_without_them_and_come_back() {
    let Some(world) = World::up(3, 1) else {
        return;
    };
    let names = [1, 2, 3, 4].map(|number| world.node(number));
    let [first, second, third, agent] = names.each_ref().map(String::as_str);

    let (code, before) = status(&world);
    assert_eq!(code, Some(1), "{before}");
    assert_eq!(before["nodes"].as_array().unwrap().len(), 4);
    let what = before["problems"][0]["what"].as_str().unwrap();
    assert!(what.contains("there is no cluster yet"), "{before}");

    // The whole of it, on several servers; what comes later is about K3s alone.
    world.audit();
    world.expect(0, &["run", world.bootstrap(), "--yes"]);
    crate::stops::nothing_is_written_again(&world);
    let up = healthy(&world);
    assert_eq!(up["etcd"]["voters"], 3);
    assert_eq!(up["etcd"]["healthy_voters"], 3);
    assert_eq!(node(&up, third)["etcd"]["healthy"], true);
    assert_eq!(node(&up, agent)["node"]["ready"], "True");

    scripts_come_without_a_restart(&world, first);
    agent_leaves(&world, agent);
    server_leaves_although_it_is_cut_off(&world, third);

    // Both come back, as new ones.
    world.expect(0, &["run", "k3s", "--yes"]);
    let up = healthy(&world);
    assert_eq!(up["etcd"]["healthy_voters"], 3);

    machine_is_replaced(&world, &[first, second, third]);

    // An agent is reset: nothing of it is left, on the machine and in the cluster.
    let reset = ["k3s", "reset", "--node", agent];
    let said = world.expect(2, &reset);
    assert!(said.contains("--confirm"), "{said}");
    let said = world.expect(2, &[&reset[..], &["--confirm", "another"]].concat());
    assert!(said.contains("nothing was done"), "{said}");
    world.expect(0, &[&reset[..], &["--confirm", agent]].concat());
    assert!(!world.kubectl(1, "get nodes").contains(agent));
    nothing_is_left(&world, 4);
    let said = world.expect(1, &["k3s", "reset", "--node", second, "--confirm", second]);
    assert!(said.contains("k3s node remove"), "{said}");
}

/// A node that was set up before there were scripts gets them, and goes on running.
fn scripts_come_without_a_restart(world: &World, first: &str) {
    let started = "systemctl show -p InvocationID --value k3s";
    let before = world.on(1, started);
    world.on(
        1,
        "rm /usr/local/bin/k3s-killall.sh /usr/local/bin/k3s-uninstall.sh",
    );
    let said = world.expect(0, &["run", "k3s", "--limit", first]);
    assert!(said.contains("k3s-uninstall.sh"), "{said}");
    assert_eq!(world.on(1, started), before);
    world.on(
        1,
        "test -x /usr/local/bin/k3s-killall.sh && sh -n /usr/local/bin/k3s-uninstall.sh",
    );
}

pub fn nothing_is_left(world: &World, number: usize) {
    world.on(
        number,
        "! test -e /var/lib/rancher/k3s && ! test -e /etc/rancher && ! test -e /usr/local/bin/k3s && ! test -e /usr/local/bin/kubectl \
         && ! systemctl cat k3s 2>/dev/null && ! systemctl cat k3s-agent 2>/dev/null && ! pgrep -x k3s",
    );
}

/// An agent leaves once its pods may.
fn agent_leaves(world: &World, agent: &str) {
    let remove = ["k3s", "node", "remove", agent];
    let with = |more: &[&'static str]| -> Vec<String> {
        let words = remove.iter().chain(more);
        words.map(|word| (*word).to_owned()).collect()
    };
    let expect = |code: i32, more: &[&'static str]| {
        let words = with(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        world.expect(code, &words)
    };
    expect(0, &["--dry-run"]);
    assert!(expect(2, &[]).contains("--yes"));
    assert!(expect(1, &["--dead", "--yes"]).contains("is not dead"));
    if world.pods("a pod that does not let its node go") {
        pod_keeps_its_node(world, agent, &expect);
    }
    expect(0, &["--yes", "--delete-local-data"]);
    assert!(!world.kubectl(1, "get nodes").contains(agent));
    let secrets = world.kubectl(1, "get secrets -n kube-system");
    assert!(
        !secrets.contains(&format!("{agent}.node-password.k3s")),
        "{secrets}"
    );
    nothing_is_left(world, 4);
    // Given again it finds nothing to do.
    assert!(expect(0, &["--yes"]).contains("nothing to change"));
}

/// A pod that nothing makes anew, and then its budget, keep the node in the cluster.
fn pod_keeps_its_node(world: &World, agent: &str, expect: &dyn Fn(i32, &[&'static str]) -> String) {
    let image = world.image();
    world.kubectl(
        1,
        &format!(
            r#"run db --image={image} --labels=app=db --overrides="{{\"spec\":{{\"nodeName\":\"{agent}\"}}}}""#
        ),
    );
    world.kubectl(1, "create pdb db --selector=app=db --min-available=1");
    world.kubectl(1, "wait --for=condition=Ready pod/db --timeout=60s");
    // Nothing makes the pod anew.
    let said = expect(1, &["--yes"]);
    assert!(
        said.contains("Pod default/db: nothing makes it anew"),
        "{said}"
    );
    // Its budget does not let it go.
    let said = expect(
        1,
        &["--yes", "--delete-local-data", "--drain-timeout", "4s"],
    );
    assert!(said.contains("disruption budget"), "{said}");
    assert!(said.contains("kubectl uncordon"), "{said}");
    assert!(world.kubectl(1, "get nodes").contains(agent));
    world.kubectl(1, "delete pdb db");
}

/// A server leaves, by a command that is killed in the middle and given again.
fn server_leaves_although_it_is_cut_off(world: &World, third: &str) {
    let remove = ["k3s", "node", "remove", third, "--yes"];
    let mut child = world.start_until(&remove, &["step_started", "\"pair\":4"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let said = world.expect(2, &["resume"]);
    assert!(said.contains("give it again"), "{said}");
    world.expect(0, &remove);
    let (_, now) = status(world);
    assert_eq!(now["etcd"]["voters"], 2, "{now}");
    assert_eq!(now["etcd"]["healthy_voters"], 2, "{now}");
    assert!(node(&now, third)["node"].is_null());
    nothing_is_left(world, 3);
}

/// A server loses its power for good. The others are needed; then it is forgotten, and what comes back under its name joins.
fn machine_is_replaced(world: &World, [first, _, third]: &[&str; 3]) {
    world.do_lab(&["kill", third]);
    let said = world.expect(1, &["k3s", "node", "remove", first, "--yes"]);
    assert!(said.contains("etcd would have no quorum"), "{said}");
    let said = world.expect(3, &["k3s", "node", "remove", third, "--yes"]);
    assert!(said.contains("--dead"), "{said}");
    let (code, now) = status(world);
    assert!(matches!(code, Some(1 | 3)), "{now}");
    assert_eq!(node(&now, third)["reachable"], false);
    assert_eq!(now["etcd"]["has_quorum"], true);
    // Kubernetes takes some time to notice.
    until(world, 0, &["k3s", "node", "replace", third, "--dry-run"]);
    let said = world.expect(0, &["k3s", "node", "replace", third, "--yes"]);
    assert!(said.contains("hosts pin"), "{said}");
    assert!(!world.kubectl(1, "get nodes").contains(third));
    // It comes back with its former data, which no cluster counts on any more.
    world.do_lab(&["start", third]);
    let (_, now) = status(world);
    let text = now["problems"].to_string();
    assert!(text.contains("k3s reset --node"), "{now}");
    world.expect(0, &["k3s", "reset", "--node", third, "--confirm", third]);
    nothing_is_left(world, 3);
    world.expect(0, &["run", "k3s", "--yes"]);
    healthy(world);
}
