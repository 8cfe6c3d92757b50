use serde_json::json;

use super::super::shared::testing::{drift, lines, mistakes, refusal, target, wish};
use super::*;
use crate::facts::fact::{NetAnswer, NetTrouble, TroubleKind};
use crate::facts::known::Store;
use crate::model::id::Target;
use crate::steps::Wish;

fn decide(check: &HttpCheck, answer: NetAnswer<HttpReply>) -> Decision<Vec<Action>> {
    let mut store = Store::default();
    let Want::More(facts) = Kind::facts(check, &store.view(&target())) else {
        panic!("it asks");
    };
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0].target, Some(Target::Controller));
    let answer = (facts[0].fact.clone(), Ok(FactValue::Http(answer)));
    store.insert(&Target::Controller, [answer]);
    assert_eq!(Kind::facts(check, &store.view(&target())), Want::Done);
    Wish::decide(check, &store.view(&target())).unwrap()
}

fn reply() -> HttpReply {
    HttpReply {
        status: 200,
        size: 12,
        sha256: "0".repeat(64),
        ..HttpReply::default()
    }
}

#[test]
fn each_thing_that_is_not_so_is_a_line_of_its_own() {
    let check = wish::<HttpCheck>(json!({
        "url": "https://app.example.org/", "status": [200, 204], "contains": "ok\u{1b}", "matches": "^v[0-9]",
        "sha256": "1".repeat(64), "headers": { "X-A": "a", "x-b": "b", "x-c": "c" },
    }));
    let answer = HttpReply {
        status: 302,
        location: Some("/login".to_owned()),
        contains: Some(false),
        matches: Some(false),
        headers: [("x-a", "xax"), ("x-b", "xx")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..reply()
    };
    insta::assert_snapshot!(lines(&drift(decide(&check, NetAnswer::Answered(answer))).0), @r#"
    -status 302 (to /login), not 200 or 204
    -the body (12 bytes) does not contain "ok\\u{1b}"
    -the body (12 bytes) does not match /^v[0-9]/
    -sha256 of the body (12 bytes) is 0000000000000000000000000000000000000000000000000000000000000000
    -header x-b is "xx", which does not contain "b"
    -no header x-c
    "#);
    let fine = HttpReply {
        status: 204,
        ..reply()
    };
    let only_status = wish::<HttpCheck>(json!({ "url": "http://a/", "status": [200, 204] }));
    assert_eq!(
        decide(&only_status, NetAnswer::Answered(fine)),
        Decision::Unchanged
    );
}

#[test]
fn no_answer_is_waited_out_and_a_question_that_cannot_be_asked_is_not() {
    let check = wish::<HttpCheck>(json!({ "url": "http://a/" }));
    let trouble = |kind| {
        NetAnswer::Trouble(NetTrouble {
            kind,
            message: "a:80 refused the connection".to_owned(),
        })
    };
    let (diff, _) = drift(decide(&check, trouble(TroubleKind::Refused)));
    assert_eq!(lines(&diff), "-a:80 refused the connection");
    refusal(decide(&check, trouble(TroubleKind::Question)));
    assert_eq!(
        Wish::poll(&check).unwrap().timeout.to_string(),
        "1m",
        "it waits"
    );
    let once = wish::<HttpCheck>(json!({ "url": "http://a/", "timeout": "0s" }));
    assert_eq!(Wish::poll(&once), None);
}

#[test]
fn a_digest_of_a_body_that_was_cut_off_proves_nothing() {
    let check = wish::<HttpCheck>(json!({ "url": "http://a/", "sha256": "0".repeat(64) }));
    assert_eq!(
        decide(&check, NetAnswer::Answered(reply())),
        Decision::Unchanged
    );
    let cut = HttpReply {
        truncated: true,
        ..reply()
    };
    drift(decide(&check, NetAnswer::Answered(cut)));
}

#[test]
fn what_cannot_be_asked_or_would_show_a_secret_is_a_mistake() {
    let cases = [
        json!({ "url": "http://user:pass@a/" }),
        json!({ "url": "ftp://a/" }),
        json!({ "url": "a.example.org" }),
        json!({ "url": "http:///x" }),
        json!({ "url": "http://a/", "insecure": true }),
        json!({ "url": "https://a/", "insecure": true, "ca_file": "/ca.pem" }),
        json!({ "url": "https://a/", "ca_file": "ca.pem" }),
        json!({ "url": "https://a/", "ca": "ca.pem" }),
        json!({ "url": "http://a/", "address": "a.example.org" }),
        json!({ "url": "http://a/", "address": "192.168.1.1", "proxy": "http://p:1" }),
        json!({ "url": "http://a/", "proxy": "http://me:secret@p:1" }),
        json!({ "url": "http://a/", "matches": "(" }),
        json!({ "url": "http://a/", "sha256": "abc" }),
        json!({ "url": "http://a/", "status": [] }),
        json!({ "url": "http://a/", "interval": "1ms" }),
        json!({ "url": "http://a/", "request_timeout": "0s" }),
    ];
    let told: Vec<String> = cases.into_iter().map(mistakes::<HttpCheck>).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    url: a URL with credentials would show them in every list and message: leave them out
    url: only http:// and https:// can be asked, not ftp://
    url: "a.example.org" is not a URL: http://... or https://...
    url: "http:///x" names no host
    url: `ca_file`, `ca` and `insecure` are about https://
    insecure: one of `ca_file`, `ca` and `insecure`
    ca_file: the path of a file on the controller begins with `/`
    ca: certificates in PEM (-----BEGIN CERTIFICATE-----)
    address: an address is `IP` or `IP:PORT`
    address: a proxy connects by itself: `address` or `proxy`
    proxy: a URL with credentials would show them in every list and message: leave them out
    matches: no regular expression: found open group without closing ')'
    sha256: 64 lowercase hexadecimal digits
    status: no status would do
    interval: look at most ten times a second: `interval` is 100ms or more
    request_timeout: one look takes more than no time and at most 10m
    "#);
}
