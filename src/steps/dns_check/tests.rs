use serde_json::json;

use super::super::shared::testing::{drift, lines, mistakes, target, wish};
use super::*;
use crate::facts::fact::NetAnswer;
use crate::facts::known::Store;
use crate::model::id::Target;
use crate::steps::Wish;

fn decide(check: &DnsCheck, code: &str, records: &[&str]) -> Decision<Vec<Action>> {
    let reply = DnsReply {
        code: code.to_owned(),
        records: records.iter().map(|text| (*text).to_owned()).collect(),
    };
    let mut store = Store::default();
    let answer = Ok(FactValue::Dns(NetAnswer::Answered(reply)));
    store.insert(&Target::Controller, [(check.fact(), answer)]);
    assert_eq!(Kind::facts(check, &store.view(&target())), Want::Done);
    Wish::decide(check, &store.view(&target())).unwrap()
}

fn holds(table: serde_json::Value, code: &str, records: &[&str]) -> bool {
    decide(&wish::<DnsCheck>(table), code, records) == Decision::Unchanged
}

#[test]
fn answers_may_be_among_others_unless_they_are_exact() {
    let some = || json!({ "name": "a.b", "answers": ["192.0.2.1", "192.0.2.2"] });
    assert!(holds(
        some(),
        "NOERROR",
        &["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    ));
    assert!(
        !holds(some(), "NOERROR", &["192.0.2.2"]),
        "the first is missing"
    );
    assert!(
        !holds(some(), "NOERROR", &["192.0.2.1"]),
        "the second is missing"
    );
    let exact = || json!({ "name": "a.b", "answers": "192.0.2.1", "exact": true });
    assert!(holds(exact(), "NOERROR", &["192.0.2.1"]));
    assert!(!holds(exact(), "NOERROR", &["192.0.2.1", "192.0.2.2"]));
    assert!(holds(json!({ "name": "a.b" }), "NOERROR", &["192.0.2.1"]));
    assert!(!holds(json!({ "name": "a.b" }), "NOERROR", &[]));
    let alias = json!({ "name": "a.b", "record": "CNAME", "answers": "App.B." });
    assert!(holds(alias, "NOERROR", &["app.b"]));
    let six = json!({ "name": "a.b", "record": "AAAA", "answers": "2001:DB8:0::1" });
    assert!(holds(six, "NOERROR", &["2001:db8::1"]));
}

#[test]
fn absent_is_proven_by_a_server_that_knows_and_by_no_other() {
    let absent = || json!({ "name": "a.b", "absent": true });
    assert!(holds(absent(), "NXDOMAIN", &[]));
    assert!(holds(absent(), "NOERROR", &[]));
    assert!(!holds(absent(), "NOERROR", &["192.0.2.1"]));
    for code in ["SERVFAIL", "REFUSED"] {
        assert!(!holds(absent(), code, &[]), "{code}");
    }
}

#[test]
fn no_such_name_and_no_such_record_are_told_apart() {
    let check = wish::<DnsCheck>(json!({ "name": "a.b", "answers": "192.0.2.1" }));
    let told = |code, records: &[&str]| lines(&drift(decide(&check, code, records)).0);
    insta::assert_snapshot!(
        [
            told("NXDOMAIN", &[]),
            told("NOERROR", &[]),
            told("SERVFAIL", &[]),
            told("NOERROR", &["192.0.2.7", "192.0.2.8"]),
        ]
        .join("\n"),
        @r"
    -there is no name a.b (NXDOMAIN)
    -a.b has no record A
    -A of a.b: the server answers SERVFAIL, so it cannot tell
    -A of a.b is 192.0.2.7, 192.0.2.8, not 192.0.2.1
    "
    );
}

#[test]
fn what_no_server_can_be_asked_is_a_mistake() {
    let cases = [
        json!({ "name": "a..b" }),
        json!({ "name": "192.0.2.1" }),
        json!({ "name": "a.b", "server": "dns.example.org" }),
        json!({ "name": "a.b", "answers": "2001:db8::1" }),
        json!({ "name": "a.b", "absent": true, "answers": "192.0.2.1" }),
        json!({ "name": "a.b", "exact": true }),
    ];
    let told: Vec<String> = cases.into_iter().map(mistakes::<DnsCheck>).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    name: "a..b" is not a DNS name
    name: only `record = "PTR"` asks for an address
    server: a server is `IP` or `IP:PORT`, not a name
    answers: "2001:db8::1" cannot be a record A
    absent: what is not there has no `answers`
    exact: `exact` needs `answers`; for none at all there is `absent`
    "#);
    for good in [
        json!({ "name": "a.b.", "server": "192.0.2.53:5353" }),
        json!({ "name": "192.0.2.1", "record": "PTR", "server": "[2001:db8::53]:53" }),
        json!({ "name": "_acme-challenge.a.b", "record": "TXT", "answers": ["x"] }),
    ] {
        wish::<DnsCheck>(good);
    }
}
