//! Checks of the network: routes, ports, firewalls.

use super::*;

#[test]
fn what_stands_in_the_way_in_the_network_is_named() {
    let rows: &[Row] = &[
        ("default-route", |n| n.net.default_route = None, Error),
        ("nameservers", |n| n.net.nameservers.clear(), Warning),
        ("ports-free", |n| n.net.tcp_listen.push(10250), Error),
        ("ports-free", |n| n.net.udp_listen.push(8472), Error),
        ("ports-free", |n| n.net.tcp_listen.push(443), Warning),
        ("ports-free", |n| n.net.udp_listen.push(6443), Fine),
        ("firewall", |n| n.active.push("firewalld.service"), Warning),
        ("firewall", |n| n.readiness.ufw = true, Warning),
        ("firewall", |n| n.readiness.input_dropped = true, Warning),
        (
            "network-manager",
            |n| n.active.push("NetworkManager.service"),
            Warning,
        ),
        (
            "network-manager",
            |n| {
                n.active.push("NetworkManager.service");
                n.readiness.cni_unmanaged = true;
            },
            Fine,
        ),
        (
            "network-manager",
            |n| n.active.push("nm-cloud-setup.timer"),
            Error,
        ),
    ];
    for (at, (check, change, expected)) in rows.iter().enumerate() {
        assert_eq!(judge(check, change), *expected, "row {at}: {check}");
    }
    let mut node = pi(1);
    node.net.tcp_listen.push(6443);
    node.readiness.holders.push(PortHolder {
        protocol: "tcp".to_owned(),
        port: 6443,
        program: "haproxy".to_owned(),
    });
    let all = [node, pi(2), pi(3)];
    let found = says(&report(&wish(json!({})), &all), "ports-free");
    assert!(found.1.contains("6443/tcp by haproxy"), "{}", found.1);
    // An agent has no API server, so that port is nobody's business there.
    let agent = report(&wish(json!({ "role": "agent" })), &all);
    assert_eq!(says(&agent, "ports-free").0, Fine);
}

#[test]
fn known_bad_versions_of_iptables_are_told_apart() {
    let of = |line: &str| {
        let line = line.to_owned();
        judge("iptables", move |node| node.readiness.iptables = line)
    };
    assert_eq!(of("iptables v1.8.5 (nf_tables)"), Fine);
    assert_eq!(of("iptables v1.8.4 (legacy)"), Error);
    assert_eq!(of("iptables v1.8.0 (nf_tables)"), Error);
    assert_eq!(of("iptables v1.6.2"), Fine);
    assert_eq!(of("iptables v1.6.1 (nf_tables)"), Error);
    assert_eq!(of("iptables v1.6.1"), Fine);
    assert_eq!(of("iptables: no idea"), Warning);
    assert_eq!(of(""), Fine);
}
