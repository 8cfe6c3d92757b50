use serde_json::json;

use super::super::shared::given::{Given, runs};
use super::super::shared::testing::{drift, lines, mistakes, refusal, wish};
use super::*;
use crate::facts::fact::FactValue;

fn with(uid: u32, groups: &[&str]) -> Given {
    let account = Account {
        uid,
        gid: uid,
        home: "/home/deploy".to_owned(),
        shell: "/bin/sh".to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    Given::pi().fact(
        Fact::Account {
            name: "deploy".to_owned(),
        },
        FactValue::Account(account),
    )
}

fn deploy(more: serde_json::Value) -> User {
    let mut table = json!({ "name": "deploy" });
    table
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    wish(table)
}

#[test]
fn a_new_user_has_a_home_and_no_password() {
    let wish = deploy(json!({ "groups": ["video", "sudo"], "uid": 1500 }));
    let (diff, actions) = drift(Given::pi().decide(&wish));
    assert_eq!(
        lines(&diff),
        "+new user deploy, uid 1500, groups video, sudo, password locked"
    );
    assert_eq!(
        runs(&actions),
        ["user add deploy --create-home --user-group --uid 1500 --groups video,sudo"]
    );
    with(1500, &["deploy", "sudo", "video"]).assert_converged(&wish);
}

#[test]
fn groups_are_added_and_others_stay() {
    let wish = deploy(json!({ "groups": ["video"], "shell": "/bin/bash" }));
    let (diff, actions) = drift(with(1001, &["deploy", "audio"]).decide(&wish));
    insta::assert_snapshot!(lines(&diff), @r"
     shell /bin/sh -> /bin/bash
    +groups video
    ");
    assert_eq!(
        runs(&actions),
        ["user change deploy --shell /bin/bash --groups video"]
    );
}

#[test]
fn a_number_is_never_changed_and_root_by_another_name_is_left_alone() {
    let told = refusal(with(1001, &[]).decide(&deploy(json!({ "uid": 1002 }))));
    assert!(told.contains("would leave its files to nobody"), "{told}");
    for state in ["present", "absent"] {
        let told = refusal(with(0, &[]).decide(&deploy(json!({ "state": state }))));
        assert!(told.contains("root under another name"), "{told}");
    }
}

#[test]
fn removing_keeps_the_home_unless_it_is_meant() {
    let (_, actions) = drift(with(1001, &[]).decide(&deploy(json!({ "state": "absent" }))));
    assert_eq!(runs(&actions), ["user remove deploy keep-home"]);
    let (diff, actions) =
        drift(with(1001, &[]).decide(&deploy(json!({ "state": "absent", "remove_home": true }))));
    assert!(lines(&diff).contains("-/home/deploy with all that is in it"));
    assert_eq!(runs(&actions), ["user remove deploy remove-home"]);
    Given::pi().assert_converged(&deploy(json!({ "state": "absent" })));
}

#[test]
fn mistakes_are_told() {
    for bad in ["", "Deploy", "1a", "a b", "-x", "a:b"] {
        assert!(
            !mistakes::<User>(json!({ "name": bad })).is_empty(),
            "{bad}"
        );
    }
    assert!(mistakes::<User>(json!({ "name": "root" })).contains("left alone"));
    assert!(
        mistakes::<User>(json!({ "name": "a", "state": "absent", "groups": ["b"] }))
            .contains("`name` only")
    );
    assert!(mistakes::<User>(json!({ "name": "a", "groups": ["a,b"] })).starts_with("groups: "));
}
