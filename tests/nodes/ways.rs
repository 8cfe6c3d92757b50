//! Ways to a node that are narrow, lead over another node, or break while a file is sent.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::rig::{World, is_torture, told, wait_for};

const STEPS: &str = r#"
[[step]]
id = "file"
on = "all"
each = ["a", "b", "c"]
[step.file]
path = "/srv/{{ item }}"
content = "{{ item }}\n"
[[step]]
id = "command"
on = "all"
needs = []
[step.command]
argv = ["touch", "/srv/touched"]
creates = "/srv/touched"
"#;

fn configure_sshd(world: &World, node: usize, line: &str) {
    let script = format!(
        "echo '{line}' | sudo tee /etc/ssh/sshd_config.d/hmtest.conf >/dev/null; sudo systemctl restart ssh"
    );
    world.on(node, &script);
}

#[test]
fn one_session_at_a_time_is_enough() {
    let Some(world) = World::with(1, STEPS) else {
        return;
    };
    configure_sshd(&world, 0, "MaxSessions 1");
    let said = world.expect(0, &["run", "main"]);
    assert!(said.contains("4 changed"), "{said}");
    let said = world.expect(0, &["run", "main"]);
    assert!(said.contains("nothing to change"), "{said}");
}

/// Node 1 by a second address, at which it does not answer this machine, over node 0.
fn behind_node_0(world: &World) {
    let known = world.address(1);
    let (network, number) = known.rsplit_once('.').unwrap();
    let address = format!("{network}.{}", 200 + number.parse::<u8>().unwrap() % 50);
    world.on(
        1,
        &format!(
            "sudo ip addr replace {address}/24 dev host0
            sudo ip rule del from {address} 2>/dev/null
            sudo ip rule add from {address} to {network}.1 blackhole"
        ),
    );
    let direct: SocketAddr = format!("{address}:22").parse().unwrap();
    assert!(TcpStream::connect_timeout(&direct, Duration::from_millis(300)).is_err());
    world.write_inventory(|inventory| {
        let keys = inventory["node"][world.name(0)]["host_keys"].clone();
        let ssh = inventory["ssh"].clone();
        let gate = toml::toml! { address = "gate" user = "pi" };
        inventory.insert("bastion".to_owned(), toml::toml! { gate = {} }.into());
        inventory["bastion"]["gate"] = gate.into();
        inventory["bastion"]["gate"]["address"] = world.address(0).into();
        let gate = inventory["bastion"]["gate"].as_table_mut().unwrap();
        gate.insert("host_keys".to_owned(), keys);
        gate.insert("identity".to_owned(), ssh["identity"].clone());
        let nodes = inventory["node"].as_table_mut().unwrap();
        nodes.remove(world.name(0));
        let node = nodes[world.name(1)].as_table_mut().unwrap();
        node.insert("address".to_owned(), address.clone().into());
        node.insert("bastion".to_owned(), "gate".into());
    });
}

#[test]
fn a_node_behind_another_is_reached_over_it() {
    let Some(world) = World::with(2, STEPS) else {
        return;
    };
    behind_node_0(&world);
    let said = world.expect(0, &["run", "main"]);
    assert!(said.contains("4 changed"), "{said}");
    assert_eq!(world.on(1, "cat /srv/a /srv/b"), "a\nb\n");
    assert!(!world.root(0).join("srv/a").exists());
    // The key on the way is verified as well.
    world.write_inventory(|inventory| {
        let text = std::fs::read_to_string(world.project().join("inventory/test.toml")).unwrap();
        *inventory = text.parse().unwrap();
        let keys = inventory["node"][world.name(1)]["host_keys"].clone();
        inventory["bastion"]["gate"]["host_keys"] = keys;
    });
    let said = world.expect(3, &["run", "main"]);
    assert!(
        said.contains("bastion gate") && said.contains("SHA256:"),
        "{said}"
    );
}

#[test]
fn a_bastion_that_does_not_forward_is_named_with_the_directive() {
    let Some(world) = World::with(2, STEPS) else {
        return;
    };
    behind_node_0(&world);
    configure_sshd(&world, 0, "AllowTcpForwarding no");
    let said = world.expect(3, &["run", "main"]);
    assert!(
        said.contains("AllowTcpForwarding")
            && said.contains("gate")
            && said.contains(world.name(1)),
        "{said}"
    );
}

/// Bytes of the artifact that is sent.
const SIZE: usize = 48 << 20;

#[test]
fn an_upload_goes_on_where_the_connection_broke() {
    let steps = r#"
[[step]]
id = "tool"
on = "all"
[step.artifact]
name = "tool"
path = "/srv/tool"
"#;
    let Some(world) = World::with(1, steps) else {
        return;
    };
    let mut state = crate::rig::seed();
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(SIZE)
    .collect();
    let digest = Sha256::digest(&bytes);
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mirror = world.project().join("mirror");
    std::fs::create_dir_all(&mirror).unwrap();
    std::fs::write(mirror.join("tool"), &bytes).unwrap();
    world.write(
        "hmco-boot.lock",
        &format!(
            "[[artifact]]\nname = \"tool\"\nversion = \"v1\"\narch = \"all\"\nurl = \"http://127.0.0.1:9/tool\"\nsha256 = \"{sha256}\"\nsize = {SIZE}\nfetch = \"controller\"\n"
        ),
    );
    // Slow enough to be cut in the middle.
    world.throttle(0, "25%");
    let received = || {
        let text = world.on(0, "cat /sys/class/net/host0/statistics/rx_bytes");
        text.trim().parse::<u64>().unwrap()
    };
    let before = received();
    let mut run = world.start(&["run", "main", "--mirror", "mirror"]);
    let part = world
        .root(0)
        .join(format!("var/lib/hmco-boot/upload/{sha256}.part"));
    let size = || std::fs::metadata(&part).map_or(0, |part| part.len());
    wait_for("half of the file", || size() > (SIZE / 3) as u64);
    let broken_at = size();
    if is_torture() {
        world.cut(0);
        // Silence: only a keepalive finds out.
        run.until(&["step_output", "trying again"]);
        world.heal(0);
    } else {
        let ended = world.try_on(0, "sudo pkill -KILL -f '^sshd: pi@notty'");
        assert!(!ended.status.success(), "{}", told(&ended));
    }
    let mut shortest = u64::MAX;
    wait_for("the whole file", || {
        if part.exists() {
            shortest = shortest.min(size());
        }
        world.root(0).join("srv/tool").exists()
    });
    world.throttle(0, "off");
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        shortest >= broken_at,
        "it began again: {shortest} < {broken_at}\n{said}"
    );
    let travelled = received() - before;
    assert!(
        travelled < (SIZE + SIZE / 3) as u64,
        "{travelled} bytes travelled"
    );
    let found = world.on(
        0,
        "sha256sum < /srv/tool; sudo ls -A /var/lib/hmco-boot/upload",
    );
    assert_eq!(found, format!("{sha256}  -\n"));
}
