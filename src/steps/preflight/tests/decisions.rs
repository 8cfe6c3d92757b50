//! What preflight makes of its findings: refused, measured, unchanged.

use super::*;
use crate::model::action::Action;
use crate::model::outcome::Failure;

fn decide(wish: &Preflight, nodes: &[Node]) -> Decision<Missing> {
    let own = target(nodes[0].name);
    Kind::decide(wish, &store(wish, nodes).view(&own)).unwrap()
}

fn warning(wish: &Preflight, nodes: &[Node]) -> Option<Failure> {
    let own = target(nodes[0].name);
    Kind::warning(wish, &store(wish, nodes).view(&own))
}

fn measuring(extra: serde_json::Value) -> Preflight {
    let mut table = json!({ "measure": true });
    table
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    wish(table)
}

/// What the measuring of these nodes writes: `lines` between head and end.
fn results(wish: &Preflight, nodes: &[Node], boot: &str, age_s: u64, lines: &str) -> String {
    let own = target(nodes[0].name);
    let key = wish.inputs(&store(wish, nodes).view(&own)).unwrap().key();
    let uptime = nodes[0].clock.uptime_ms / 10 - age_s * 100;
    format!("hmco-boot preflight 1\nboot {boot}\nkey {key}\n{lines}uptime {uptime}\nend\n")
}

fn measured(wish: &Preflight, age_s: u64, lines: &str) -> Vec<Node> {
    let mut nodes = vec![pi(1), pi(2), pi(3)];
    nodes[0].results = Some(results(wish, &nodes, BOOT, age_s, lines));
    nodes
}

fn reason(decision: Decision<Missing>) -> String {
    let Decision::Drift { diff, .. } = decision else {
        panic!("not drift: {decision:?}")
    };
    testing::lines(&diff)
}

fn refusal(decision: Decision<Missing>) -> Failure {
    let Decision::Refused(failure) = decision else {
        panic!("not refused: {decision:?}")
    };
    failure
}

#[test]
fn every_error_is_told_at_once_with_value_limit_and_cure() {
    let mut node = pi(1);
    node.cgroup.controllers.clear();
    node.os.memory = GIB;
    node.os.page_size = 16384;
    let failure = refusal(decide(&measuring(json!({})), &[node, pi(2), pi(3)]));
    assert_eq!(failure.message, "3 things stand against K3s here");
    let told = failure.evidence.join("\n");
    for words in [
        "error cgroup: ",
        "cgroup_enable=memory cgroup_memory=1",
        "/boot/firmware/cmdline.txt",
        "error memory: 1.0 GiB; limit: at least 1.6 GiB for a server; cure: ",
        "warning page-size: 16384 bytes",
    ] {
        assert!(told.contains(words), "{words} in {told}");
    }
    assert!(failure.hint.unwrap().contains("hosts preflight"));
}

#[test]
fn a_first_pass_lets_what_it_names_be_a_warning_and_tells_it() {
    let mut node = pi(1);
    node.cgroup.controllers.clear();
    let nodes = [node, pi(2), pi(3)];
    let lenient = wish(json!({ "warn": ["cgroup"] }));
    assert_eq!(decide(&lenient, &nodes), Decision::Unchanged);
    let told = warning(&lenient, &nodes).unwrap();
    assert!(
        told.evidence
            .iter()
            .all(|line| line.starts_with("warning cgroup: ")),
        "{told:?}"
    );
    let all = wish(json!({ "warn": "all" }));
    assert_eq!(decide(&all, &nodes), Decision::Unchanged);
    assert_eq!(warning(&all, &[pi(1), pi(2), pi(3)]), None);
}

#[test]
fn a_check_that_does_not_exist_is_a_mistake_with_the_nearest_name() {
    let told = testing::mistakes::<Preflight>(json!({ "warn": ["cgroups"], "resolve": ["a b"] }));
    assert!(
        told.contains("warn: there is no check `cgroups`, did you mean `cgroup`?"),
        "{told}"
    );
    assert!(told.contains("resolve: "), "{told}");
}

#[test]
fn without_a_measuring_of_this_boot_and_these_nodes_it_measures() {
    let wish = measuring(json!({}));
    let told = reason(decide(&wish, &[pi(1), pi(2), pi(3)]));
    assert!(
        told.contains("there is no measuring of this boot"),
        "{told}"
    );
    assert!(told.contains("+try 10 ports of other nodes"), "{told}");
    let mut nodes = measured(&wish, 50, "");
    assert_eq!(decide(&wish, &nodes), Decision::Unchanged, "once a boot");
    nodes[0].boot.id = "another".to_owned();
    assert!(reason(decide(&wish, &nodes)).contains("of another boot"));
    let mut nodes = measured(&wish, 50, "");
    nodes[2].net.links[0].addresses = vec!["192.0.2.33/24".to_owned()];
    assert!(reason(decide(&wish, &nodes)).contains("of something else"));
    let mut nodes = measured(&wish, 50, "");
    nodes[0].results = nodes[0]
        .results
        .as_ref()
        .map(|text| text.replace("end\n", ""));
    assert!(reason(decide(&wish, &nodes)).contains("not whole"));
}

#[test]
fn where_k3s_has_data_nothing_is_measured_and_fitness_is_only_a_warning() {
    let wish = measuring(json!({}));
    let mut nodes = [pi(1), pi(2), pi(3)];
    nodes[0].data.etcd = true;
    nodes[0].os.memory = GIB;
    nodes[0].net.tcp_listen.push(6443);
    assert_eq!(decide(&wish, &nodes), Decision::Unchanged);
    assert!(warning(&wish, &nodes).unwrap().evidence[0].contains("memory"));
    nodes[0]
        .os
        .machine_id
        .clone_from(&nodes[1].os.machine_id.clone());
    refusal(decide(&wish, &nodes));
    nodes[0].unreadable = vec![Fact::K3sData];
    let own = target("pi-1");
    let unknown = Kind::decide(&wish, &store(&wish, &nodes).view(&own));
    assert!(unknown.is_err(), "whether K3s has data is never guessed");
}

#[test]
fn a_measuring_that_just_found_errors_is_refused_and_an_older_one_is_made_again() {
    let wish = measuring(json!({}));
    let lines = "port pi-2 192.0.2.2 tcp 2379 timeout\n";
    let failure = refusal(decide(&wish, &measured(&wish, 10, lines)));
    assert!(
        failure.evidence[0].contains("2379/tcp of pi-2 (192.0.2.2): no answer within 4 s"),
        "{failure:?}"
    );
    let told = reason(decide(&wish, &measured(&wish, 11, lines)));
    assert!(
        told.contains("may have been cured") && told.contains("2379/tcp"),
        "{told}"
    );
    let mut nodes = measured(&wish, 11, lines);
    nodes[0].os.memory = GIB;
    refusal(decide(&wish, &nodes));
}

#[test]
fn the_measuring_sends_its_program_by_standard_input_and_names_its_inputs_by_a_key() {
    let wish = measuring(json!({ "virtual_address": "192.0.2.99", "resolve": ["example.org"] }));
    let Decision::Drift { drift, .. } = decide(&wish, &[pi(1), pi(2), pi(3)]) else {
        panic!("not drift")
    };
    let actions = wish.apply(&drift);
    let [Action::Run(program)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!(program.argv, ["sh", "-s"]);
    let text = program.stdin.as_ref().unwrap().expose();
    for words in [
        "SYNC=1 LISTEN='2379 2380 6443 10250' WINDOW=6 ADDRESS=192.0.2.99 NAMES=example.org",
        "pi-2 192.0.2.2 tcp 2380\n",
        "pi-3 192.0.2.3 udp 8472'",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert_eq!(program.env[0].0, "KEY");
    assert_eq!(program.env[0].1.expose(), drift.0.key());
}

#[test]
fn the_clusters_address_is_tried_only_while_nobody_rightly_has_it() {
    let tried = |address: &str, change: fn(&mut Vec<Node>)| {
        let wish = measuring(json!({ "virtual_address": address }));
        let mut nodes = vec![pi(1), pi(2), pi(3)];
        change(&mut nodes);
        reason(decide(&wish, &nodes)).contains("see that nobody has")
    };
    assert!(tried("192.0.2.99", |_| {}));
    assert!(!tried("192.0.2.3", |_| {}), "it is a node's");
    assert!(
        !tried("192.0.2.99", |nodes| nodes[1].data.etcd = true),
        "the cluster has it"
    );
    assert!(!tried("k3s.example.org", |_| {}));
    assert!(!tried("", |_| {}));
}

/// What a measuring's line makes of a check.
fn line(check: &str, lines: &str, change: fn(&mut Vec<Node>)) -> (Severity, String) {
    let wish = measuring(json!({}));
    let mut nodes = vec![pi(1), pi(2), pi(3)];
    change(&mut nodes);
    nodes[0].results = Some(results(&wish, &nodes, BOOT, 1, lines));
    says(&report(&wish, &nodes), check)
}

/// A check, a line of results, and what it says of it.
const RESULT_LINES: &[(&str, &str, Severity)] = &[
    (
        "sync-write",
        "sync-write /var/lib 12 500 10000 10000\n",
        Fine,
    ),
    (
        "sync-write",
        "sync-write /var/lib 12 500 10001 10001\n",
        Warning,
    ),
    (
        "sync-write",
        "sync-write /var/lib 12 500 900 10001\n",
        Warning,
    ),
    (
        "sync-write",
        "sync-write /var/lib 12 500 100000 200000\n",
        Warning,
    ),
    (
        "sync-write",
        "sync-write /my disk 12 500 100001 200000\n",
        Error,
    ),
    (
        "sync-write",
        "untested sync-write dd: invalid argument\n",
        Warning,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 tcp 6443 connected\n",
        Fine,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 tcp 6443 refused\n",
        Note,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 tcp 6443 timeout\n",
        Error,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 tcp 6443 unroutable\n",
        Error,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 tcp 6443 failed bash: odd\n",
        Error,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 udp 8472 refused\n",
        Fine,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 udp 8472 silent\n",
        Warning,
    ),
    (
        "ports-reachable",
        "port pi-2 192.0.2.2 udp 8472 untested no bash\n",
        Note,
    ),
    (
        "ports-reachable",
        "untested ports neither bash nor curl nor nc is there\n",
        Warning,
    ),
    (
        "ports-reachable",
        "untested listen systemd-socket-activate is not there\n",
        Note,
    ),
    (
        "virtual-address",
        "address 192.0.2.99 free no answer\n",
        Fine,
    ),
    (
        "virtual-address",
        "address 192.0.2.99 taken by 00:11 (ARP)\n",
        Error,
    ),
    (
        "virtual-address",
        "address 192.0.2.99 untested no ping\n",
        Warning,
    ),
    (
        "dns",
        "name example.org found 192.0.2.7 example.org\n",
        Fine,
    ),
    ("dns", "name example.org failed\n", Error),
];

#[test]
fn the_results_of_a_measuring_are_held_against_their_limits() {
    for (check, lines, expected) in RESULT_LINES {
        let (severity, told) = line(check, lines, |_| {});
        assert_eq!(severity, *expected, "{lines}: {told}");
    }
    let (_, told) = line(
        "sync-write",
        "sync-write /my disk 12 500 1230 4560\n",
        |_| {},
    );
    assert!(
        told.contains("mean 1.23 ms a write, worst of 12 batches 4.56 ms"),
        "{told}"
    );
    assert!(told.contains("below /my disk"), "{told}");
}

#[test]
fn what_the_other_node_listens_on_tells_a_reject_from_a_port_without_a_program() {
    let listens = |nodes: &mut Vec<Node>| {
        nodes[1].net.tcp_listen.push(6443);
        nodes[1].net.udp_listen.push(8472);
    };
    let (severity, told) = line(
        "ports-reachable",
        "port pi-2 192.0.2.2 tcp 6443 refused\n",
        listens,
    );
    assert_eq!(severity, Error, "{told}");
    assert!(told.contains("a packet filter rejects"), "{told}");
    let (severity, _) = line(
        "ports-reachable",
        "port pi-2 192.0.2.2 udp 8472 silent\n",
        listens,
    );
    assert_eq!(
        severity, Fine,
        "K3s has the port and says nothing to strangers"
    );
}

#[test]
fn a_port_refused_by_a_node_that_listened_for_this_measuring_is_filtered() {
    let lines = "port pi-2 192.0.2.2 tcp 6443 refused\nport pi-2 192.0.2.2 tcp 10250 connected\n";
    let (severity, told) = line("ports-reachable", lines, |_| {});
    assert_eq!(severity, Warning, "{told}");
    // Where the other port has a program of its own, nothing is known of when the node measured.
    let (severity, _) = line("ports-reachable", lines, |nodes| {
        nodes[1].net.tcp_listen.push(10250);
    });
    assert_eq!(severity, Note);
}

#[test]
fn an_unknown_address_of_a_peer_is_told_and_nothing_is_tried_there() {
    let wish = measuring(json!({}));
    let nodes = [pi(1), pi(2)];
    let told = reason(decide(&wish, &nodes));
    assert!(told.contains("+try 5 ports of other nodes"), "{told}");
    let mut nodes = nodes.to_vec();
    nodes[0].results = Some(results(&wish, &nodes, BOOT, 1, ""));
    let (severity, told) = says(&report(&wish, &nodes), "ports-reachable");
    assert_eq!(severity, Warning);
    assert!(told.contains("no address is known of pi-3"), "{told}");
}
