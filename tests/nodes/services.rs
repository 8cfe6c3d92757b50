//! Checks that wait for a service of a node, seen from here.

use crate::rig::World;

const STEPS: &str = r#"
[[step]]
id = "port"
on = "all"
[step.wait]
tcp = "{{ node.address }}:8080"
timeout = "50s"
interval = "200ms"
[[step]]
id = "page"
on = "all"
[step.http_check]
url = "http://web.lab.test:8080/"
address = "{{ node.address }}"
contains = "hello from the node"
headers = { server = "by-hand" }
timeout = "20s"
[[step]]
id = "wrong"
on = "all"
[step.http_check]
url = "http://{{ node.address }}:8080/"
contains = "something else"
timeout = "1s"
interval = "200ms"
"#;

const SOCKET: &str = "[Socket]\nListenStream=8080\nAccept=yes\n";
const SERVICE: &str = "[Service]\nStandardInput=socket\nExecStart=/bin/sh -c 'while read -r line && test \"$${#line}\" -gt 1; do :; done; \
     printf \"HTTP/1.0 200 OK\\\\r\\\\nServer: by-hand\\\\r\\\\n\\\\r\\\\nhello from the node\"'\n";

#[test]
fn a_check_waits_for_a_service_that_comes_and_fails_when_its_time_is_over() {
    let Some(world) = World::with(1, STEPS) else {
        return;
    };
    for (name, text) in [("hm-web.socket", SOCKET), ("hm-web@.service", SERVICE)] {
        world.on(
            0,
            &format!("sudo tee /etc/systemd/system/{name} >/dev/null <<'END'\n{text}END"),
        );
    }
    let mut running = world.start(&["run", "main"]);
    let line = running.until(&["gate_waiting"]);
    assert!(line.contains("refused the connection"), "{line}");
    world.on(
        0,
        "sudo systemctl daemon-reload; sudo systemctl start hm-web.socket",
    );
    let (code, said) = running.end();
    assert_eq!(code, Some(1), "{said}");
    let outcomes = world.outcomes();
    let of = |step: &str| outcomes[&format!("{step}@{}", world.name(0))].clone();
    assert!(of("port").contains("unchanged"), "{outcomes:?}");
    assert!(of("page").contains("unchanged"), "{outcomes:?}");
    let wrong = of("wrong");
    assert!(
        wrong.contains("does not contain") && wrong.contains("something else"),
        "{wrong}"
    );
    world.on(0, "sudo systemctl stop hm-web.socket");
}
