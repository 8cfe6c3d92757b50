//! Several servers: one loses its power in the middle of things.

use crate::api::torture;
use crate::outages::{maps, wait_for};
use crate::rig::{World, end};

#[test]
fn a_server_that_loses_its_power_is_replaced_by_the_next_one_in_the_middle_of_a_run() {
    if !torture() {
        return crate::skip::tell("a cluster of three servers takes minutes: HMCO_TORTURE=1");
    }
    let Some(world) = World::up(3, 0) else {
        return;
    };
    world.expect(0, &["run", "k3s", "--yes"]);
    let first = world.node(1);
    world.write(
        "playbooks/awaited.toml",
        &format!("title = \"Test\"\n{}", wait_for("after", "4m")),
    );
    world.write("playbooks/files/maps.yaml", &maps(300));
    world.write(
        "playbooks/maps.toml",
        "title = \"Test\"\n[[step]]\nid = \"maps\"\non = \"cluster\"\n[step.manifest]\nfiles = [\"files/maps.yaml\"]\n\
         namespace = \"maps\"\ncreate_namespace = true\n",
    );

    // Something is awaited.
    let run = world.start_until(&["run", "awaited"], &["gate_waiting"]);
    world.do_lab(&["kill", &first]);
    // A new leader of etcd is chosen, which ends what is asked meanwhile.
    world.on(
        2,
        "timeout 60 sh -c \"until kubectl create configmap after; do sleep 1; done\"",
    );
    let (code, said) = end(run);
    assert_eq!(code, Some(0), "{said}");
    world.do_lab(&["start", &first]);
    world.expect(0, &["run", "k3s", "--yes"]);

    // Something is applied.
    let run = world.start_until(&["run", "maps", "--yes"], &["step_started"]);
    world.do_lab(&["kill", &first]);
    let (code, said) = end(run);
    assert!(matches!(code, Some(0 | 1 | 3)), "{code:?}: {said}");
    world.expect(0, &["run", "maps", "--yes"]);
    let there = world.kubectl(2, "-n maps get configmaps -o name");
    assert_eq!(there.matches("/map-").count(), 300);
}
