use serde_json::json;

use super::super::shared::testing::{
    CANARY, assert_hidden, drift, file_stat, lines, mistakes, refusal, secret, target, wish,
};
use super::*;
use crate::facts::fact::{Content, ExecResult, FactError, FactValue, Os};
use crate::facts::known::{FactRef, Store};
use crate::steps::Wish;

/// Answers what the wish asks for: a small Debian, no file but /etc/motd, programs that print the canary.
fn store(assert: &Assert) -> Store {
    let mut store = Store::default();
    let Want::More(facts) = Kind::facts(assert, &store.view(&target())) else {
        return store;
    };
    let answer = |fact: &Fact| match fact {
        Fact::Os => Ok(FactValue::Os(Os {
            arch: "arm64".to_owned(),
            id: "debian".to_owned(),
            memory: 512,
            ..Os::default()
        })),
        Fact::Stat { path } if path.as_str() == "/etc/motd" => Ok(FactValue::Stat(file_stat())),
        Fact::Exec { .. } => Ok(FactValue::Exec(ExecResult {
            exit: 0,
            stdout: CANARY.into(),
            stderr: Vec::new(),
        })),
        Fact::Content { .. } => Ok(FactValue::Content(Content {
            sha256: String::new(),
            bytes: Some(CANARY.into()),
        })),
        _ => Err(FactError::NotFound),
    };
    let answers: Vec<_> = facts
        .into_iter()
        .map(|FactRef { fact, .. }| {
            let answer = answer(&fact);
            (fact, answer)
        })
        .collect();
    store.insert(&target(), answers);
    store
}

fn decide(table: serde_json::Value) -> Decision<Vec<Action>> {
    let assert = wish::<Assert>(table);
    Wish::decide(&assert, &store(&assert).view(&target())).unwrap()
}

#[test]
fn what_holds_is_unchanged_whether_one_expression_or_several() {
    assert_eq!(
        decide(json!({ "that": "facts.os.memory == 512" })),
        Decision::Unchanged
    );
    let several = json!({
        "that": ["facts.os.arch in ['arm64', 'amd64']", "read.motd.size == 1", "read.other is none"],
        "read": { "motd": { "stat": { "path": "/etc/motd" } }, "other": { "stat": { "path": "/etc/other" } } },
    });
    assert_eq!(decide(several), Decision::Unchanged);
}

#[test]
fn what_does_not_hold_is_told_with_the_values_it_looked_at_and_nothing_is_applied() {
    let table = json!({
        "that": ["facts.os.memory >= 1024 and facts.os.arch == 'arm64'", "facts.os.id == 'debian'", "read.motd.size > 5"],
        "message": "this node is too small\n",
        "read": { "motd": { "stat": { "path": "/etc/motd" } } },
    });
    let (diff, actions) = drift(decide(table));
    insta::assert_snapshot!(lines(&diff), @r#"
     this node is too small
    -not true: facts.os.memory >= 1024 and facts.os.arch == 'arm64'
     facts.os.memory = 512
     facts.os.arch = "arm64"
    -not true: read.motd.size > 5
     read.motd.size = 1
    "#);
    assert_eq!(actions, []);
}

#[test]
fn the_deciding_expression_may_be_the_first() {
    let first = json!({ "that": ["facts.os.memory == 1", "facts.os.memory == 512"] });
    assert!(matches!(decide(first), Decision::Drift { .. }));
}

#[test]
fn sensitive_facts_are_not_shown() {
    let table = json!({
        "that": ["read.token == 'x'", "read.asked.stdout == 'x'"],
        "read": {
            "token": { "content": { "path": "/etc/app/token", "cap": 100 } },
            "asked": { "exec": { "argv": ["show-password"], "timeout": "1s", "sensitive": true } },
        },
    });
    let assert = wish::<Assert>(table);
    let store = store(&assert);
    let decision = Wish::decide(&assert, &store.view(&target())).unwrap();
    assert_hidden(&assert, &store, &decision);
    insta::assert_snapshot!(lines(&drift(decision).0), @r"
    -not true: read.token == 'x'
     read.token = <not shown>
    -not true: read.asked.stdout == 'x'
     read.asked.stdout = <not shown>
    ");
    let tainted = json!({ "that": secret(CANARY) });
    assert!(serde_json::from_value::<Assert>(tainted).is_err());
}

#[test]
fn a_fact_that_could_not_be_read_is_an_error_and_an_expression_without_an_answer_is_refused() {
    let assert = wish::<Assert>(json!({ "that": "facts.os.memory > 1" }));
    let mut broken = Store::default();
    broken.insert(&target(), [(Fact::Os, Err(FactError::TimedOut))]);
    assert!(Kind::decide(&assert, &broken.view(&target())).is_err());
    let none = json!({ "that": "read.x.size > 1", "read": { "x": { "stat": { "path": "/x" } } } });
    insta::assert_snapshot!(refusal(decide(none)), @r"
    an expression has no answer here: `read.x.size` is undefined
      that: read.x.size > 1
    hint: `read.x` is no table
    ");
    insta::assert_snapshot!(refusal(decide(json!({ "that": "facts.os.memory" }))), @r"
    an expression has no answer here: the expression gives a number, not true or false
      that: facts.os.memory
    hint: compare it: `... > 0`
    ");
}

#[test]
fn mistakes_name_their_keys() {
    for (table, expected) in [
        (json!({ "that": [] }), "that: nothing is asserted"),
        (
            json!({ "that": "facts.os.memory >" }),
            "that: `facts.os.memory >`: ",
        ),
        (
            json!({ "that": "facts.so.memory > 1" }),
            "that: `facts.so.memory > 1`: there is no `facts.so`, did you mean `facts.os`?",
        ),
        (
            json!({ "that": "read.x.size > 1" }),
            "that: `read.x.size > 1`: `read.x` is not among the facts of `read`",
        ),
        (
            json!({ "that": "min_memory > 1" }),
            "that: `min_memory > 1`: ",
        ),
        (
            json!({ "that": "true", "read": { "a-b": "boot" } }),
            "read: \"a-b\" cannot be used as a name",
        ),
        (
            json!({ "that": "true", "read": { "a": { "exec": { "argv": [], "timeout": "1s" } } } }),
            "read: `a` names no program",
        ),
    ] {
        let told = mistakes::<Assert>(table);
        assert!(told.starts_with(expected), "{told}");
    }
}
