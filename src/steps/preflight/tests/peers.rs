//! Checks of a node beside its peers: what they may not share, and their clocks.

use super::*;

#[test]
fn what_two_nodes_share_is_an_error_that_names_the_other() {
    let twin = |change: fn(&mut Node, &Node)| {
        let mut node = pi(1);
        change(&mut node, &pi(3));
        report(&wish(json!({})), &[node, pi(2), pi(3)])
    };
    let same = twin(|node, other| node.os.machine_id.clone_from(&other.os.machine_id));
    let (severity, line) = says(&same, "unique-machine-id");
    assert_eq!(severity, Error);
    assert!(
        line.contains("also pi-3") && !line.contains("pi-2"),
        "{line}"
    );
    let same = twin(|node, _| node.os.hostname = "PI-3".to_owned());
    assert_eq!(says(&same, "unique-hostname").0, Error);
    let same = twin(|node, other| node.net.links[0].mac.clone_from(&other.net.links[0].mac));
    assert_eq!(says(&same, "unique-mac").0, Error);
    // What programs make on every node alike is no clone.
    let same = twin(|node, other| {
        let mut made = other.net.links[0].clone();
        made.name = "docker0".to_owned();
        node.net.links.push(made);
    });
    assert_eq!(says(&same, "unique-mac").0, Fine);
    let uuid = |node: &mut Node| node.readiness.product_uuid = "4c4c".to_owned();
    let (mut one, mut other) = (pi(1), pi(2));
    uuid(&mut one);
    uuid(&mut other);
    let same = report(&wish(json!({})), &[one, other, pi(3)]);
    assert_eq!(says(&same, "unique-product-uuid").0, Warning);
}

#[test]
fn a_node_that_does_not_answer_is_not_called_different() {
    let report = report(&wish(json!({})), &[pi(1), pi(2)]);
    for check in [
        "unique-hostname",
        "unique-machine-id",
        "unique-mac",
        "clock-skew",
    ] {
        let (severity, line) = says(&report, check);
        assert_eq!(severity, Warning, "{check}");
        assert!(line.contains("pi-3"), "{line}");
    }
}

#[test]
fn clocks_are_judged_by_what_is_certain_of_their_difference() {
    let ahead = |least_ms, most_ms| {
        let mut node = pi(1);
        node.offset = ClockOffset { least_ms, most_ms };
        says(
            &report(&wish(json!({})), &[node, pi(2), pi(3)]),
            "clock-skew",
        )
    };
    // The others are somewhere between 50 ms behind and 50 ms ahead.
    assert_eq!(ahead(1_050, 1_150).0, Fine);
    assert_eq!(ahead(1_051, 1_150).0, Warning);
    assert_eq!(ahead(60_050, 60_100).0, Warning);
    assert_eq!(ahead(60_051, 60_100).0, Error);
    assert_eq!(ahead(-60_200, -60_051).0, Error);
    assert_eq!(
        ahead(-3_000, 3_000).0,
        Fine,
        "an execution that took long proves nothing"
    );
    let (_, line) = ahead(119_900, 120_100);
    assert!(
        line.contains("120.0 s (\u{b1} 150 ms) ahead of pi-2"),
        "{line}"
    );
    let tight = wish(json!({ "limits": { "clock_skew": "10s" } }));
    let mut node = pi(1);
    node.offset = ClockOffset {
        least_ms: 11_000,
        most_ms: 11_000,
    };
    assert_eq!(
        says(&report(&tight, &[node, pi(2), pi(3)]), "clock-skew").0,
        Error
    );
}
