//! What services answer to the controller in the contract test: what the examples wish for.

use std::sync::Arc;

use hmco_boot::facts::fact::{DnsRecord, DnsReply, Fact, FactValue, HttpReply, NetAnswer};
use hmco_boot::model::kube::{ApiResource, Discovery, ObjectList};

/// The answer to a question that the controller asks.
pub fn answer(fact: &Fact) -> FactValue {
    match fact {
        Fact::Http(question) => {
            let redirects = question.url.starts_with("http://app.");
            let location = "https://app.lab.example.org/".to_owned();
            let names = question.headers.iter();
            FactValue::Http(NetAnswer::Answered(HttpReply {
                status: if redirects { 308 } else { 200 },
                headers: names.map(|name| (name.clone(), location.clone())).collect(),
                location: redirects.then_some(location),
                contains: question.contains.as_ref().map(|_| true),
                matches: question.matches.as_ref().map(|_| true),
                ..HttpReply::default()
            }))
        }
        Fact::Dns(question) => {
            let (code, record) = match question.record {
                DnsRecord::A => ("NOERROR", Some("192.168.1.240")),
                DnsRecord::Ptr => ("NOERROR", Some("app.lab.example.org")),
                _ => ("NXDOMAIN", None),
            };
            FactValue::Dns(NetAnswer::Answered(DnsReply {
                code: code.to_owned(),
                records: record.map(str::to_owned).into_iter().collect(),
            }))
        }
        Fact::Tcp(question) => FactValue::Tcp(NetAnswer::Answered(format!(
            "{}:{}",
            question.host, question.port
        ))),
        Fact::KubeList { .. } => FactValue::KubeList(Arc::new(ObjectList {
            items: vec![serde_json::json!({
                "kind": "Namespace", "metadata": { "name": "kube-system" }, "status": { "phase": "Active" }
            })],
        })),
        Fact::KubeDiscovery => FactValue::KubeDiscovery(Arc::new(Discovery {
            resources: vec![ApiResource {
                api_version: "v1".to_owned(),
                kind: "Namespace".to_owned(),
                plural: "namespaces".to_owned(),
                namespaced: false,
            }],
        })),
        other => panic!("{} is asked of a machine", other.describe()),
    }
}
