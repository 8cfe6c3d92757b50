use serde_json::json;

use super::super::shared::testing::{
    CANARY, assert_hidden, drift, file_stat, lines, mistakes, path, refusal, secret, target, wish,
};
use super::*;
use crate::facts::fact::{ExecResult, FactError, FactValue};
use crate::facts::known::Store;
use crate::steps::Wish;

/// What a machine would answer: which paths are there, and how each program exits.
fn store(command: &Command, there: &[&str], exits: &[(&str, i32)]) -> Store {
    let mut store = Store::default();
    let Want::More(facts) = Kind::facts(command, &store.view(&target())) else {
        return store;
    };
    let answers: Vec<_> = facts
        .into_iter()
        .map(|wanted| {
            let answer = match &wanted.fact {
                Fact::Stat { path } if there.contains(&path.as_str()) => {
                    Ok(FactValue::Stat(file_stat()))
                }
                Fact::Exec { argv, .. } => exits
                    .iter()
                    .find(|(program, _)| *program == argv[0])
                    .map(|(_, exit)| {
                        FactValue::Exec(ExecResult {
                            exit: *exit,
                            stdout: Vec::new(),
                            stderr: Vec::new(),
                        })
                    })
                    .ok_or(FactError::NotFound),
                _ => Err(FactError::NotFound),
            };
            (wanted.fact, answer)
        })
        .collect();
    store.insert(&target(), answers);
    store
}

fn decide(command: &Command, there: &[&str], exits: &[(&str, i32)]) -> Decision<Vec<Action>> {
    Wish::decide(command, &store(command, there, exits).view(&target())).unwrap()
}

fn is_needed(table: serde_json::Value, there: &[&str], exits: &[(&str, i32)]) -> bool {
    decide(&wish::<Command>(table), there, exits) != Decision::Unchanged
}

#[test]
fn it_is_needed_while_any_result_is_missing_whichever_it_is() {
    let both = || json!({ "argv": ["x"], "creates": ["/a", "/b"], "removes": ["/c"], "unless": ["probe"] });
    assert!(!is_needed(both(), &["/a", "/b"], &[("probe", 0)]));
    assert!(
        is_needed(both(), &["/b"], &[("probe", 0)]),
        "the first of several"
    );
    assert!(
        is_needed(both(), &["/a"], &[("probe", 0)]),
        "the second of several"
    );
    assert!(is_needed(both(), &["/a", "/b", "/c"], &[("probe", 0)]));
    assert!(is_needed(both(), &["/a", "/b"], &[("probe", 1)]));
}

#[test]
fn only_if_is_asked_first_and_alone_it_is_the_reason() {
    let alone = || json!({ "argv": ["x"], "only_if": ["probe"] });
    assert!(is_needed(alone(), &[], &[("probe", 0)]));
    assert!(!is_needed(alone(), &[], &[("probe", 1)]));
    let with = || json!({ "argv": ["x"], "only_if": ["probe"], "creates": "/a" });
    assert!(is_needed(with(), &[], &[("probe", 0)]));
    assert!(!is_needed(with(), &["/a"], &[("probe", 0)]));
    assert!(!is_needed(with(), &[], &[("probe", 1)]));
    let always = || json!({ "argv": ["x"], "only_if": ["probe"], "always": true });
    assert!(is_needed(always(), &[], &[("probe", 0)]));
    assert!(!is_needed(always(), &[], &[("probe", 1)]));
}

#[test]
fn a_probe_without_an_answer_is_never_taken_for_nothing_to_do() {
    let unless = wish::<Command>(json!({ "argv": ["x"], "unless": ["probe", "a b"] }));
    insta::assert_snapshot!(lines(&drift(decide(&unless, &[], &[])).0), @r"
    +run x
     because `probe 'a b'` does not succeed: there is no such program
    ");
    let only_if = wish::<Command>(json!({ "argv": ["x"], "only_if": ["probe"] }));
    insta::assert_snapshot!(refusal(decide(&only_if, &[], &[])), @r#"
    `only_if` gave no answer: there is no such program
      only_if: probe
    hint: correct `only_if`; to ask whether a program is there: ["sh", "-c", "command -v NAME"]
    "#);
    for exit in [126, 127, 137] {
        assert!(
            matches!(
                decide(&only_if, &[], &[("probe", exit)]),
                Decision::Refused(_)
            ),
            "{exit}"
        );
    }
    let mut slow = Store::default();
    slow.insert(
        &target(),
        [(
            only_if.condition_fact(&only_if.only_if),
            Err(FactError::TimedOut),
        )],
    );
    assert!(Kind::decide(&only_if, &slow.view(&target())).is_err());
}

#[test]
fn the_difference_is_the_command_line_and_why_it_is_needed() {
    let command = wish::<Command>(json!({
        "argv": ["tar", "-xf", "my file.tar"], "creates": ["/srv/a"], "removes": "/srv/old", "unless": ["test", "-s", "/x"],
        "cwd": "/srv", "env": { "LANG": "C", "TOKEN": secret(CANARY) },
    }));
    let decision = decide(&command, &["/srv/old"], &[("test", 1)]);
    insta::assert_snapshot!(lines(&drift(decision).0), @r"
    +run tar -xf 'my file.tar'
     in /srv
     with LANG=C
     with TOKEN=<secret>
     because /srv/a is not there
     because /srv/old is there
     because `test -s /x` exits with 1
    ");
}

#[test]
fn a_script_travels_by_standard_input_and_cannot_be_swallowed_by_a_program_in_it() {
    let command =
        wish::<Command>(json!({ "script": "apt-get update\nsync # done", "always": true }));
    let (diff, actions) = drift(decide(&command, &[], &[]));
    insta::assert_snapshot!(lines(&diff), @r"
    +run a script:
    +apt-get update
    +sync # done
     because it is run always
    ");
    let [Action::Run(program)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(program.argv, ["sh", "-eu", "-s"]);
    insta::assert_snapshot!(program.stdin.as_ref().unwrap().expose(), @r"
    { :; apt-get update
    sync # done
    } </dev/null
    ");
    assert_eq!(program.ok_exit, [0]);
    assert!(!Kind::verifiable(&command));
}

#[test]
fn secrets_are_in_the_environment_and_standard_input_and_are_shown_nowhere() {
    for table in [
        json!({ "script": secret(&format!("echo {CANARY}")), "creates": "/a" }),
        json!({ "argv": ["x"], "stdin": secret(CANARY), "env": { "TOKEN": secret(CANARY) }, "creates": "/a" }),
    ] {
        let command = wish::<Command>(table);
        let store = store(&command, &[], &[]);
        let decision = Wish::decide(&command, &store.view(&target())).unwrap();
        assert_hidden(&command, &store, &decision);
        let (_, actions) = drift(decision);
        let [Action::Run(program)] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert!(program.stdin.as_ref().is_some_and(Text::is_tainted));
        assert!(
            program.stdin.as_ref().unwrap().expose().contains(CANARY),
            "it does arrive"
        );
    }
    let in_argv = json!({ "argv": ["x", secret(CANARY)], "creates": "/a" });
    assert!(
        serde_json::from_value::<Command>(in_argv).is_err(),
        "a process list is no place for a secret"
    );
}

#[test]
fn it_may_change_everything_unless_it_says_what() {
    let touches = |table| Kind::touches(&wish::<Command>(table));
    assert_eq!(
        touches(json!({ "argv": ["x"], "creates": "/a" })),
        Touches::everything()
    );
    let named = touches(
        json!({ "argv": ["x"], "creates": "/a", "removes": "/b", "touches": { "units": ["c.service"] } }),
    );
    assert_eq!(
        named,
        Touches {
            units: vec!["c.service".to_owned()],
            ..Touches::trees([path("/a"), path("/b")])
        }
    );
}

fn assert_mistakes(cases: &[(serde_json::Value, &str)]) {
    for (table, expected) in cases {
        let told = mistakes::<Command>(table.clone());
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn mistakes_of_the_program_name_their_keys() {
    assert_mistakes(&[
        (json!({ "always": true }), "argv: what shall run?"),
        (
            json!({ "argv": ["x"], "script": "y", "always": true }),
            "script: `argv` or `script`, not both",
        ),
        (
            json!({ "argv": [""], "always": true }),
            "argv: the program's name is empty",
        ),
        (
            json!({ "script": " \n", "always": true }),
            "script: the script is empty",
        ),
        (
            json!({ "script": "#!/bin/bash\nx", "always": true }),
            "script: a script is run by `sh -eu`",
        ),
        (
            json!({ "script": "x", "stdin": "y", "always": true }),
            "stdin: standard input carries the `script`",
        ),
        (
            json!({ "argv": ["x"], "always": true, "ok_exit": [] }),
            "ok_exit: at least one",
        ),
        (
            json!({ "argv": ["x"], "always": true, "retry_exit": [0] }),
            "retry_exit: an exit status is either",
        ),
        (
            json!({ "argv": ["x"], "always": true, "env": { "A-B": "" } }),
            "env: a variable's name",
        ),
    ]);
    let shebang = json!({ "script": "#!/bin/sh\nx", "always": true });
    assert_eq!(mistakes::<Command>(shebang), "");
}

#[test]
fn mistakes_of_the_conditions_name_their_keys() {
    assert_mistakes(&[
        (
            json!({ "argv": ["x"] }),
            "creates: state what makes it unnecessary",
        ),
        (
            json!({ "argv": ["x"], "always": true, "creates": "/a" }),
            "always: `always` contradicts",
        ),
        (
            json!({ "argv": ["x"], "creates": "/a/b", "removes": "/a" }),
            "removes: a path cannot be both",
        ),
        (
            json!({ "argv": ["x"], "unless": [""] }),
            "unless: the program's name is empty",
        ),
        (
            json!({ "argv": ["x"], "unless": ["y"], "condition_timeout": "0s" }),
            "condition_timeout: nothing can answer",
        ),
    ]);
}
