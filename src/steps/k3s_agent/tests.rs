use std::collections::BTreeMap;

use serde_json::json;

use super::super::shared::given::{Given, runs, written};
use super::super::shared::k3s::files;
use super::super::shared::testing::{self, drift, refusal, secret};
use super::*;
use crate::facts::fact::{FactValue, K3sData};
use crate::model::artifact::{Artifact, Pin, PinArch};

fn wish(more: serde_json::Value) -> K3sAgent {
    let mut table = json!({
        "nodes": [
            { "name": "pi5-01", "address": "192.0.2.1", "roles": ["agent"] },
            { "name": "pi5-02", "address": "192.0.2.2", "roles": ["server"] },
        ],
        "token": secret("the-token"),
    });
    for (key, value) in more.as_object().unwrap() {
        table[key] = value.clone();
    }
    let mut book = PinBook::default();
    book.add(Artifact {
        name: "k3s".to_owned(),
        pins: vec![Pin {
            name: "k3s".to_owned(),
            version: "v1".to_owned(),
            arch: PinArch::All,
            url: "https://example.org/k3s".to_owned(),
            sha256: "0a".repeat(32),
            size: 5,
            fetch: Fetch::Node,
            members: BTreeMap::new(),
        }],
    });
    let mut wish: K3sAgent = testing::wish(table);
    assert_eq!(Kind::pins(&mut wish, &book), []);
    wish
}

fn joins(more: serde_json::Value) -> String {
    let (_, actions) = drift(Given::pi().decide(&wish(more)));
    let base = written(&actions, files::BASE).unwrap();
    files::value(&base, "server").unwrap().to_owned()
}

#[test]
fn an_agent_joins_where_it_is_told_else_at_the_clusters_address_else_at_a_server() {
    assert_eq!(joins(json!({})), "https://192.0.2.2:6443");
    let api = json!({ "api_address": "k3s.lab" });
    assert_eq!(joins(api), "https://k3s.lab:6443");
    let server = json!({ "api_address": "k3s.lab", "server": "https://192.0.2.9:443" });
    assert_eq!(joins(server), "https://192.0.2.9:443");
}

#[test]
fn its_configuration_is_proven_before_it_is_started() {
    let (_, actions) = drift(Given::pi().decide(&wish(json!({}))));
    let runs = runs(&actions);
    assert!(
        runs[0].contains("k3s-before agent  k3s-agent.service join"),
        "{runs:?}"
    );
    assert!(runs.last().unwrap().contains("enable"), "{runs:?}");
}

#[test]
fn a_node_with_the_datastore_of_a_server_is_refused() {
    let etcd = K3sData {
        etcd: true,
        ..K3sData::default()
    };
    let given = Given::pi().fact(Fact::K3sData, FactValue::K3sData(etcd));
    assert!(refusal(given.decide(&wish(json!({})))).contains("datastore of a server"));
}

#[test]
fn a_server_that_is_no_url_and_none_at_all_are_mistakes() {
    let nowhere = json!({ "token": "x" });
    assert!(testing::mistakes::<K3sAgent>(nowhere).contains("no server is named"));
    let odd = json!({ "token": "x", "server": "192.0.2.1:6443" });
    assert!(testing::mistakes::<K3sAgent>(odd).contains("is not the URL of a server"));
}
