use std::collections::BTreeMap;

use serde_json::json;

use super::tests::{at, text, value};
use super::*;
use crate::model::id::{GroupName, NodeName, Target};
use crate::model::inventory::{Cluster, Connection, Group, Inventory, Node};
use crate::model::mistake::Mistake;
use crate::model::template::Scope;
use crate::model::value::{Data, Key};

fn secret(name: &str) -> Value {
    let key = Key {
        span: at(0),
        name: "secret".to_owned(),
    };
    value(0, Data::Table(vec![(key, text(0, name))]))
}

fn declared(vars: &[(&str, VarType, Option<&str>)]) -> BTreeMap<String, VarDecl> {
    vars.iter()
        .map(|(name, kind, default)| {
            let decl = VarDecl {
                span: at(500),
                kind: *kind,
                doc: "What it is".to_owned(),
                default: default.map(|d| text(600, d)),
            };
            ((*name).to_owned(), decl)
        })
        .collect()
}

fn vars(pairs: &[(&str, Value)]) -> BTreeMap<String, Value> {
    pairs
        .iter()
        .map(|(n, v)| ((*n).to_owned(), v.clone()))
        .collect()
}

fn inventory(
    all: &[(&str, Value)],
    groups: &[&[(&str, Value)]],
    own: &[(&str, Value)],
) -> Inventory {
    Inventory {
        file: "i".to_owned(),
        cluster: Cluster {
            name: "c".to_owned(),
            domain: None,
            api_address: None,
            ca_sha256: None,
            kubeconfig: None,
        },
        nodes: vec![Node {
            name: NodeName::new("n"),
            span: at(0),
            connection: Connection::Local { root: None },
            roles: Vec::new(),
            arch: None,
            labels: BTreeMap::new(),
            vars: vars(own),
        }],
        bastions: Vec::new(),
        groups: groups
            .iter()
            .enumerate()
            .map(|(n, pairs)| Group {
                name: GroupName::new(format!("g{n}")),
                span: at(0),
                nodes: vec![NodeName::new("n")],
                vars: vars(pairs),
            })
            .collect(),
        vars: vars(all),
    }
}

type Resolved = Result<BTreeMap<String, serde_json::Value>, Vec<Mistake>>;

fn base() -> Scope {
    Scope::default().with("node", json!({ "name": "n" }))
}

fn resolved(
    declared: &BTreeMap<String, VarDecl>,
    inventory: &Inventory,
    target: &Target,
    given: &[(&str, Value)],
    command_line: &[(&str, Value)],
) -> Resolved {
    let layers = Layers {
        declared,
        inventory,
        target,
        given: &vars(given),
        command_line: &vars(command_line),
        wanted: None,
        constants: &Constants::default(),
    };
    let scope = resolve(&layers, &base(), &|name| Ok(format!("s3cr3t-{name}")))?;
    let vars = scope.names().filter(|name| *name != "node");
    Ok(vars
        .map(|name| (name.to_owned(), scope.get(name).unwrap().clone()))
        .collect())
}

fn node() -> Target {
    Target::Node(NodeName::new("n"))
}

fn codes(result: Resolved) -> Vec<&'static str> {
    result.unwrap_err().iter().map(|m| m.code).collect()
}

#[test]
fn the_last_of_the_six_places_wins() {
    let decl = declared(&[("a", VarType::String, Some("default"))]);
    let a = |text_: &str| [("a", text(1, text_))];
    let none = inventory(&[], &[], &[]);
    let all = inventory(&a("all"), &[], &[]);
    let group = inventory(&a("all"), &[&a("group")], &[]);
    let own = inventory(&a("all"), &[&a("group")], &a("node"));
    let got = |i: &Inventory, target: &Target, given: &[(&str, Value)], cli: &[(&str, Value)]| {
        let done = resolved(&decl, i, target, given, cli).unwrap();
        done["a"].as_str().unwrap().to_owned()
    };
    assert_eq!(got(&none, &node(), &[], &[]), "default");
    assert_eq!(got(&all, &node(), &[], &[]), "all");
    assert_eq!(got(&group, &node(), &[], &[]), "group");
    assert_eq!(got(&own, &node(), &[], &[]), "node");
    assert_eq!(got(&own, &node(), &a("step"), &[]), "step");
    assert_eq!(got(&own, &node(), &a("step"), &a("cli")), "cli");
    // Groups and nodes say nothing about the cluster.
    assert_eq!(got(&own, &Target::Cluster, &[], &[]), "all");
}

#[test]
fn two_groups_that_disagree_are_a_mistake_unless_something_stronger_speaks() {
    let decl = declared(&[("a", VarType::String, None)]);
    let groups: [&[(&str, Value)]; 2] = [&[("a", text(10, "x"))], &[("a", text(20, "y"))]];
    let mistakes = resolved(&decl, &inventory(&[], &groups, &[]), &node(), &[], &[]).unwrap_err();
    assert_eq!(mistakes[0].code, "group-conflict");
    assert_eq!(mistakes[0].span, Some(at(20)));
    assert_eq!(mistakes[0].related[0].0, at(10));
    let same: [&[(&str, Value)]; 2] = [&[("a", text(10, "x"))], &[("a", text(20, "x"))]];
    assert!(resolved(&decl, &inventory(&[], &same, &[]), &node(), &[], &[]).is_ok());
    let own = inventory(&[], &groups, &[("a", text(30, "z"))]);
    assert!(resolved(&decl, &own, &node(), &[], &[]).is_ok());
}

#[test]
fn only_declared_names_are_kept_and_unknown_ones_are_mistakes_where_they_are_meant_for_the_playbook()
 {
    let decl = declared(&[("range", VarType::String, Some("x"))]);
    let inventory = inventory(&[("other", text(1, "y"))], &[], &[]);
    let done = resolved(&decl, &inventory, &node(), &[], &[]).unwrap();
    assert_eq!(done.keys().collect::<Vec<_>>(), ["range"]);
    let mistakes =
        resolved(&decl, &inventory, &node(), &[("rnge", text(9, "z"))], &[]).unwrap_err();
    assert_eq!(mistakes[0].code, "unknown-var");
    assert_eq!(mistakes[0].hint.as_deref(), Some("did you mean `range`?"));
    let cli = VarType::String.parse_cli("z").unwrap();
    let mistakes = resolved(&decl, &inventory, &node(), &[], &[("rnge", cli)]).unwrap_err();
    assert_eq!(mistakes[0].span, None);
    assert!(mistakes[0].message.starts_with("--var rnge: "));
}

#[test]
fn all_missing_and_wrong_values_are_told_at_once() {
    let decl = declared(&[
        ("a", VarType::String, None),
        ("b", VarType::Ip, None),
        ("c", VarType::Int, None),
        ("d", VarType::String, Some("{{ a }} {{ b }}")),
    ]);
    let inventory = inventory(&[("b", text(1, "nowhere"))], &[], &[]);
    let mistakes = resolved(&decl, &inventory, &node(), &[], &[]).unwrap_err();
    let told: Vec<_> = mistakes.iter().map(|m| (m.code, m.span)).collect();
    assert_eq!(
        told,
        [
            ("missing-var", Some(at(500))),
            ("missing-var", Some(at(500))),
            ("wrong-var", Some(at(1)))
        ]
    );
    assert!(mistakes[0].message.contains("`a` (What it is)"));
}

#[test]
fn defaults_and_inventory_values_may_use_the_node_and_other_vars_in_any_order() {
    let decl = declared(&[
        ("a", VarType::String, Some("{{ b }}!")),
        ("b", VarType::String, Some("{{ node.name }}-{{ c }}")),
        ("c", VarType::Int, Some("{{ 1 + 1 }}")),
    ]);
    let done = resolved(&decl, &inventory(&[], &[], &[]), &node(), &[], &[]).unwrap();
    assert_eq!(done["a"].as_str(), Some("n-2!"));
    assert_eq!(done["c"], json!(2));
    // What was given is rendered already and never again.
    let given = [("b", text(1, "{{ node.name }}"))];
    let done = resolved(&decl, &inventory(&[], &[], &[]), &node(), &given, &[]).unwrap();
    assert_eq!(done["a"].as_str(), Some("{{ node.name }}!"));
}

#[test]
fn vars_that_need_each_other_in_a_circle_are_one_mistake_with_the_path() {
    let decl = declared(&[
        ("a", VarType::String, Some("{{ b }}")),
        ("b", VarType::String, Some("{{ c }}")),
        ("c", VarType::String, Some("{{ b }}")),
        ("ok", VarType::String, Some("x")),
    ]);
    let mistakes = resolved(&decl, &inventory(&[], &[], &[]), &node(), &[], &[]).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert_eq!(mistakes[0].code, "var-cycle");
    assert!(mistakes[0].message.ends_with("`b` -> `c` -> `b`"));
    let own = declared(&[("a", VarType::String, Some("{{ a }}"))]);
    assert_eq!(
        codes(resolved(&own, &inventory(&[], &[], &[]), &node(), &[], &[])),
        ["var-cycle"]
    );
}

#[test]
fn a_secret_var_holds_the_name_and_opens_only_where_it_is_used() {
    let decl = declared(&[
        ("key", VarType::Secret, None),
        ("url", VarType::String, Some("https://u:{{ key }}@x")),
    ]);
    let inventory = inventory(&[("key", secret("tls/key"))], &[], &[]);
    let done = resolved(&decl, &inventory, &node(), &[], &[]).unwrap();
    assert_eq!(done["key"], json!({ "secret": "tls/key" }));
    assert_eq!(
        done["url"],
        json!({ "$tainted": "https://u:s3cr3t-tls/key@x" })
    );
    let open = [("key", text(3, "hunter2"))];
    let mistakes = resolved(&decl, &inventory, &node(), &open, &[]).unwrap_err();
    assert_eq!(mistakes[0].code, "wrong-var");
    assert!(!format!("{mistakes:?}").contains("hunter2"));
}
