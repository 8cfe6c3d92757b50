use serde_json::json;

use super::super::shared::testing::{drift, file_stat, lines, mistakes, target, wish};
use super::*;
use crate::facts::fact::{FactError, HttpReply, NetTrouble, TroubleKind, Unit};
use crate::facts::known::Store;
use crate::model::id::Target;
use crate::steps::Wish;

/// Everything that a wish for all four asks, answered well unless `change` says otherwise.
fn store(wait: &Wait, change: impl Fn(&Fact) -> Option<Result<FactValue, FactError>>) -> Store {
    let mut store = Store::default();
    let Want::More(facts) = Kind::facts(wait, &store.view(&target())) else {
        panic!("it asks");
    };
    for wanted in facts {
        let fine = match &wanted.fact {
            Fact::Tcp(_) => FactValue::Tcp(NetAnswer::Answered("192.0.2.1:22".to_owned())),
            Fact::Http(_) => FactValue::Http(NetAnswer::Answered(HttpReply {
                status: 404,
                ..HttpReply::default()
            })),
            Fact::Stat { .. } => FactValue::Stat(file_stat()),
            Fact::Unit { .. } => FactValue::Unit(Unit {
                active: "active".to_owned(),
                sub: "running".to_owned(),
                ..Unit::default()
            }),
            other => panic!("{other:?}"),
        };
        let answer = change(&wanted.fact).unwrap_or(Ok(fine));
        let whose = wanted.target.unwrap_or_else(target);
        assert_eq!(whose == Target::Controller, wanted.fact.is_of_controller());
        store.insert(&whose, [(wanted.fact, answer)]);
    }
    store
}

fn all() -> Wait {
    wish(json!({
        "tcp": "[2001:db8::1]:22", "http": "https://a/healthz", "file": "/run/ready", "unit": "a.service",
    }))
}

type Bad = fn(&Fact) -> Option<Result<FactValue, FactError>>;

/// One answer each that is not as wished.
fn bad_answers() -> [Bad; 6] {
    [
        |fact| {
            matches!(fact, Fact::Tcp(_)).then(|| {
                Ok(FactValue::Tcp(NetAnswer::Trouble(NetTrouble {
                    kind: TroubleKind::TimedOut,
                    message: "no answer within 5s".to_owned(),
                })))
            })
        },
        |fact| {
            matches!(fact, Fact::Http(_)).then(|| {
                Ok(FactValue::Http(NetAnswer::Answered(HttpReply {
                    status: 503,
                    ..HttpReply::default()
                })))
            })
        },
        |fact| matches!(fact, Fact::Stat { .. }).then_some(Err(FactError::NotFound)),
        |fact| matches!(fact, Fact::Unit { .. }).then_some(Err(FactError::NotFound)),
        |fact| {
            matches!(fact, Fact::Unit { .. }).then(|| {
                Ok(FactValue::Unit(Unit {
                    active: "activating".to_owned(),
                    sub: "start".to_owned(),
                    result: "success".to_owned(),
                    ..Unit::default()
                }))
            })
        },
        |fact| {
            matches!(fact, Fact::Unit { .. }).then(|| {
                Ok(FactValue::Unit(Unit {
                    active: "active".to_owned(),
                    sub: "running".to_owned(),
                    flapping: true,
                    restarts: 3,
                    ..Unit::default()
                }))
            })
        },
    ]
}

#[test]
fn it_goes_on_when_all_that_is_named_is_so() {
    let wait = all();
    let fine = store(&wait, |_| None);
    assert_eq!(
        Wish::decide(&wait, &fine.view(&target())).unwrap(),
        Decision::Unchanged
    );
    let told: Vec<String> = bad_answers()
        .into_iter()
        .map(|bad| {
            let store = store(&wait, bad);
            lines(&drift(Wish::decide(&wait, &store.view(&target())).unwrap()).0)
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    -no answer within 5s
    -status 503
    -/run/ready is not there
    -there is no unit a.service
    -a.service is activating (start), result success
    -a.service does not stay up: active (running), restarts by systemd so far: 3
    ");
}

#[test]
fn what_cannot_be_read_is_no_reason_to_go_on() {
    let wait = all();
    let denied = store(&wait, |fact| {
        matches!(fact, Fact::Stat { .. }).then_some(Err(FactError::Denied))
    });
    assert!(Wish::decide(&wait, &denied.view(&target())).is_err());
    assert!(Wish::poll(&wait).is_some());
}

#[test]
fn waiting_for_nothing_or_nonsense_is_a_mistake() {
    let cases = [
        json!({}),
        json!({ "tcp": "host" }),
        json!({ "tcp": "host:0" }),
        json!({ "tcp": "2001:db8::1:22" }),
        json!({ "tcp": "http://host:80" }),
        json!({ "http": "https://a:b@c/" }),
        json!({ "unit": "app" }),
        json!({ "file": "/x", "timeout": "0s" }),
    ];
    let told: Vec<String> = cases.into_iter().map(mistakes::<Wait>).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    tcp: wait for what? (`tcp`, `http`, `file`, `unit` or `object`)
    tcp: "host" is not `HOST:PORT`
    tcp: "host:0" is not `HOST:PORT`
    tcp: "2001:db8::1:22" is not `HOST:PORT`
    tcp: "http://host:80" is not `HOST:PORT`
    http: a URL with credentials would show them in every list and message: leave them out
    unit: "app" is not a unit's full name: `NAME.service`
    timeout: waiting takes time
    "#);
}
