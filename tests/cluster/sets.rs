//! Sets of a cluster that several steps name.

use hmco_boot::steps::Written;

use super::*;

/// The step of this id in a playbook, with these ConfigMaps in the set `s`.
fn step(playbook: &str, id: &str, names: &[&str]) -> Manifest {
    let mut wish = configs(names, json!({ "set": "s" }));
    Wish::placed(
        &mut wish,
        &Written {
            playbook: playbook.to_owned(),
            step: id.into(),
        },
    );
    wish
}

#[tokio::test]
async fn a_step_does_not_delete_what_another_has_put_into_a_set() {
    let world = World::new();
    world.converge(&step("a.toml", "one", &["a", "b"])).await;
    for other in [step("b.toml", "one", &["c"]), step("a.toml", "two", &["b"])] {
        let failure = refused(world.look(&other).await);
        assert_eq!(
            failure.message,
            "the set s is that of another step, whose objects this one would delete"
        );
        assert!(
            failure.evidence[0].contains("the step one in a.toml"),
            "{failure:?}"
        );
        assert!(
            failure.evidence[1].contains("ConfigMap default/a"),
            "{failure:?}"
        );
        let hint = failure.hint.unwrap();
        let command = "annotate configmap hmco-boot-set-s hmco-boot/step-";
        assert!(hint.contains(command), "{hint}");
    }
    // The step itself may, from whichever playbook its own is used.
    let diff = world.converge(&step("a.toml", "one", &["a"])).await;
    assert!(diff.contains("Old ConfigMap default/b"), "{diff}");
}

#[tokio::test]
async fn to_delete_all_that_a_set_has_takes_consent() {
    let world = World::new();
    world.converge(&step("a.toml", "one", &["a", "b"])).await;
    // Two playbooks that use the same one may have given it the same set: its step has one name in both.
    for (names, takes) in [(&["c", "d"][..], true), (&["b", "c"], false)] {
        let wish = step("a.toml", "one", names);
        let store = world.all_facts(&wish).await;
        let known = store.view(&Target::Cluster);
        assert_eq!(Wish::disrupts(&wish, &known), takes, "{names:?}");
    }
}

#[tokio::test]
async fn a_step_under_a_new_name_takes_its_set_along() {
    let world = World::new();
    world.converge(&step("a.toml", "one", &["a"])).await;
    // Nothing would be deleted, so it cannot be wrong; the cluster remembers the new name.
    let diff = world.converge(&step("b.toml", "new", &["a", "b"])).await;
    assert!(diff.contains("New hmco-boot/step: new in b.toml"), "{diff}");
    assert!(!diff.contains("no longer"), "{diff}");
    refused(world.look(&step("a.toml", "one", &["a"])).await);
    // As an older version leaves it, and `kubectl annotate ... hmco-boot/step-`.
    let nobodys = configs(&["a", "b"], json!({ "set": "s" }));
    let diff = world.converge(&nobodys).await;
    assert!(diff.contains("Old"), "{diff}");
    let diff = world.converge(&step("a.toml", "one", &["a"])).await;
    assert!(diff.contains("Old ConfigMap default/b"), "{diff}");
    assert!(diff.contains("New hmco-boot/step: one in a.toml"), "{diff}");
}
