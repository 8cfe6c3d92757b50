//! Reaching nodes: what it costs, and what happens where one cannot be reached.

use crate::rig::World;

const STEPS: &str = r#"
[[step]]
id = "folder"
on = "all"
[step.directory]
path = "/srv/x"
[[step]]
id = "page"
on = "all"
[step.file]
path = "/srv/x/page"
content = "{{ node.name }}\n"
[[step]]
id = "flag"
on = "all"
[step.command]
argv = ["touch", "/srv/x/flag"]
creates = "/srv/x/flag"
"#;

/// Logins and executions that sshd has told of since `since`.
fn sshd_log(world: &World, node: usize, since: &str, words: &str) -> usize {
    let script = format!(
        "sudo journalctl -q -o cat -t sshd --after-cursor='{since}' | grep -c '{words}' || true"
    );
    world.on(node, &script).trim().parse().unwrap()
}

fn cursor(world: &World, node: usize) -> String {
    let shown = world.on(node, "sudo journalctl -q -n 0 --show-cursor");
    shown.trim().trim_start_matches("-- cursor: ").to_owned()
}

#[test]
fn nodes_as_wished_cost_one_login_and_one_execution_each() {
    let Some(world) = World::with(2, STEPS) else {
        return;
    };
    for node in [0, 1] {
        world.on(node, "echo LogLevel VERBOSE | sudo tee /etc/ssh/sshd_config.d/hmtest.conf; sudo systemctl reload ssh");
    }
    let first = world.expect(0, &["run", "main"]);
    assert!(first.contains("6 changed"), "{first}");
    let before = [cursor(&world, 0), cursor(&world, 1)];
    let second = world.expect(0, &["run", "main"]);
    assert!(second.contains("nothing to change"), "{second}");
    for node in [0, 1] {
        let counted = |words| sshd_log(&world, node, &before[node], words);
        // Each question of ours is a login and an execution too, and is in its own answer.
        assert_eq!(counted("Accepted publickey"), 1 + 1);
        assert_eq!(counted("Starting session: command"), 1 + 2);
    }
}

#[test]
fn a_node_without_power_is_named_and_the_others_go_on() {
    let Some(world) = World::with(2, STEPS) else {
        return;
    };
    world.kill(1);
    let told = world.expect(3, &["run", "main"]);
    assert!(
        told.contains(world.name(1)) && told.contains("unreachable"),
        "{told}"
    );
    assert_eq!(world.on(0, "cat /srv/x/page").trim(), world.name(0));
    world.boot(1);
    let told = world.expect(0, &["run", "main"]);
    assert!(
        told.contains("3 changed") && told.contains("3 unchanged"),
        "{told}"
    );
}

#[test]
fn a_node_that_shows_another_host_key_is_told_nothing() {
    let Some(world) = World::with(2, STEPS) else {
        return;
    };
    world.write_inventory(|inventory| {
        // The other node's key.
        let keys = inventory["node"][world.name(1)]["host_keys"].clone();
        inventory["node"][world.name(0)]["host_keys"] = keys;
    });
    let told = world.expect(3, &["run", "main"]);
    assert!(told.contains("hmco-boot hosts pin"), "{told}");
    assert!(told.contains("SHA256:"), "{told}");
    assert!(!world.try_on(0, "test -e /srv/x").status.success());
    assert!(world.try_on(1, "test -e /srv/x/flag").status.success());
}
