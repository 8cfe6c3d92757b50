//! Plans as graphs.

use hmco_boot::report::graph::{GraphEdge, GraphNode, GraphView, dot, mermaid, svg, text};
use hmco_boot::report::style::ColourMode;
use proptest::prelude::*;

use crate::seeded;

fn node(id: &str, targets: &[&str], kind: &str) -> GraphNode {
    GraphNode {
        id: id.to_owned(),
        label: id.to_owned(),
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        kind: kind.to_owned(),
        group: id.split_once('/').map(|(group, _)| group.to_owned()),
        disruptive: kind == "k3s_server",
    }
}

fn bootstrap() -> GraphView {
    let all = ["pi5-01", "pi5-02", "pi5-03"];
    let edge = |(from, to, barrier): &(&str, &str, bool)| GraphEdge {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        barrier: *barrier,
    };
    GraphView {
        title: "bootstrap-all on homelab".to_owned(),
        nodes: vec![
            node("preflight", &all, "assert"),
            node("os/tools", &all, "packages"),
            node("os/motd", &all, "file"),
            node("k3s/server", &["pi5-01"], "k3s_server"),
            node("k3s/agent", &["pi5-02", "pi5-03"], "k3s_agent"),
            node("platform/metallb", &["cluster"], "manifest"),
            node("platform/cert-manager", &["cluster"], "manifest"),
            node("platform/argo <&> \"CD\" ü漢", &["cluster"], "helm|chart"),
        ],
        edges: [
            ("preflight", "os/tools", false),
            ("preflight", "os/motd", false),
            ("os/tools", "k3s/server", false),
            ("os/motd", "k3s/server", false),
            ("k3s/server", "k3s/agent", true),
            ("os/motd", "k3s/agent", false),
            ("k3s/agent", "platform/metallb", true),
            ("k3s/agent", "platform/cert-manager", true),
            (
                "platform/cert-manager",
                "platform/argo <&> \"CD\" ü漢",
                false,
            ),
            ("preflight", "platform/argo <&> \"CD\" ü漢", true),
            ("nowhere", "preflight", false),
        ]
        .iter()
        .map(edge)
        .collect(),
    }
}

fn listing(graph: &GraphView, width: usize) -> String {
    let lines = text(graph, width);
    let lines = lines.iter().map(|l| l.render(ColourMode::Never));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_plan_is_drawn_in_each_format() {
    insta::assert_snapshot!("graph_text", listing(&bootstrap(), 80));
    insta::assert_snapshot!("graph_text_narrow", listing(&bootstrap(), 40));
    insta::assert_snapshot!("graph_dot", dot(&bootstrap()));
    insta::assert_snapshot!("graph_mermaid", mermaid(&bootstrap()));
    insta::assert_snapshot!("graph_svg", svg(&bootstrap()));
}

#[test]
fn a_hundred_steps_are_placed_in_a_moment() {
    let mut graph = GraphView::default();
    for n in 0..120 {
        graph
            .nodes
            .push(node(&format!("step-{n:03}"), &["a", "b", "c"], "file"));
        for before in [1, 7, 30] {
            if n >= before {
                graph.edges.push(GraphEdge {
                    from: format!("step-{:03}", n - before),
                    to: format!("step-{n:03}"),
                    barrier: before == 7,
                });
            }
        }
    }
    let picture = svg(&graph);
    assert_eq!(picture.matches("<rect").count(), 121);
    assert!(is_well_formed(&picture));
}

/// A small strict reader: elements are balanced, attributes quoted, text escaped, characters legal.
fn is_well_formed(xml: &str) -> bool {
    let Some((_, mut rest)) = xml.split_once("?>") else {
        return false;
    };
    let mut open = Vec::new();
    while let Some((text, after)) = rest.split_once('<') {
        let entity = |part: &str| {
            ["amp;", "lt;", "gt;", "quot;", "#39;"]
                .iter()
                .any(|e| part.starts_with(e))
        };
        if text.contains('>') || !text.split('&').skip(1).all(entity) {
            return false;
        }
        let Some((tag, after)) = after.split_once('>') else {
            return false;
        };
        rest = after;
        if tag.matches('"').count() % 2 != 0 {
            return false;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().unwrap());
        }
    }
    open.is_empty() && !xml.chars().any(|c| c.is_control() && c != '\n')
}

proptest! {
    #![proptest_config(seeded(64))]

    #[test]
    fn any_graph_gives_the_same_text_twice_and_well_formed_xml(
        labels in prop::collection::vec(".{0,12}|[<>&\"'\\\\|\\]\\[]{1,6}", 0..12),
        links in prop::collection::vec((0usize..12, 0usize..12, any::<bool>()), 0..24),
    ) {
        let nodes = labels.iter().enumerate().map(|(n, label)| GraphNode {
            id: n.to_string(),
            label: label.clone(),
            group: (n % 3 == 0).then(|| label.clone()),
            ..GraphNode::default()
        });
        let edges = links.iter().map(|(a, b, barrier)| GraphEdge {
            from: a.to_string(),
            to: b.to_string(),
            barrier: *barrier,
        });
        let graph = GraphView { title: labels.concat(), nodes: nodes.collect(), edges: edges.collect() };
        let picture = svg(&graph);
        prop_assert!(is_well_formed(&picture), "{}", picture);
        prop_assert_eq!(&picture, &svg(&graph));
        prop_assert_eq!(dot(&graph), dot(&graph));
        for out in [dot(&graph), mermaid(&graph), listing(&graph, 30)] {
            prop_assert!(!out.chars().any(|c| c.is_control() && c != '\n'));
        }
        let inside = mermaid(&graph);
        prop_assert!(inside.lines().filter(|l| l.starts_with("  ")).all(|l| [0, 2].contains(&l.matches('"').count())), "{}", inside);
    }
}
