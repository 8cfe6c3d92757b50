//! `when`: decided at once without facts, later with them, inherited by the steps inside.

use hmco_boot::plan::Work;

use super::support::{main, step};

fn uses(more: &str) -> String {
    format!("[[step]]\nid = \"p\"\n{more}\n[step.playbook]\npath = \"inner.toml\"\n")
}

#[test]
fn a_condition_without_facts_is_decided_in_the_plan_and_a_skipped_pair_keeps_its_place() {
    let steps = step("a", "role:server", "when = \"node.arch == 'arm64'\"")
        + &step("b", "role:server", "needs = ['a']");
    assert_eq!(
        main(&steps).lines(),
        "a@s1\na@s2 (skipped)\nb@s1 <- a@s1\nb@s2 <- a@s2"
    );
}

#[test]
fn a_condition_with_facts_is_left_to_the_run() {
    let plan = main(&step(
        "a",
        "s1",
        "when = \"facts.os.memory > 1 and node.name == 's1'\"",
    ))
    .plan();
    assert!(matches!(plan.pairs[0].work, Work::Wish(_)));
    assert_eq!(plan.pairs[0].whens.len(), 1);
}

#[test]
fn a_playbook_step_hands_its_condition_to_all_steps_inside() {
    let inner = step("x", "all", "when = \"facts.os.cpus > 1\"") + &step("y", "s1", "each = ['k']");
    let project = main(&uses("when = \"node.name == 's1'\"")).playbook("inner", &inner);
    assert_eq!(
        project.lines(),
        "p/x@s1\np/x@s2 (skipped)\np/x@a1 (skipped)\np/x@a2 (skipped)\np/y[k]@s1 <- p/x@s1"
    );
    let project = main(&uses("when = \"facts.os.memory > 1\"")).playbook("inner", &inner);
    let plan = project.plan();
    let conditions = |at: usize| plan.pairs[at].whens.iter().map(|w| w.expression.as_str());
    assert_eq!(
        conditions(0).collect::<Vec<_>>(),
        ["facts.os.memory > 1", "facts.os.cpus > 1"]
    );
    assert_eq!(plan.pairs[4].label(), "p/y[k]@s1");
    assert_eq!(conditions(4).count(), 1);
}

#[test]
fn the_condition_of_a_playbook_step_is_not_asked_where_no_step_inside_is() {
    // Without `on` it is about all targets, and the cluster has no `node`.
    let project =
        main(&uses("when = \"node.arch == 'arm64'\"")).playbook("inner", &step("x", "all", ""));
    assert_eq!(
        project.lines(),
        "p/x@s1\np/x@s2 (skipped)\np/x@a1\np/x@a2 (skipped)"
    );
}

#[test]
fn a_skipped_step_with_each_is_skipped_as_one_and_its_items_are_not_looked_at() {
    let each = "when = \"'disk' in node.labels\"\neach = \"{{ node.labels.disk | split('.') }}\"";
    let steps = step("a", "s1 | s2", each) + &step("b", "s1 | s2", "");
    let disks = "[node.n]\naddress = \"10.0.0.9\"\nlabels = { disk = \"sda.sdb\" }";
    assert_eq!(
        main(&steps).lines(),
        "a@s1 (skipped)\na@s2 (skipped)\nb@s1 <- a@s1\nb@s2 <- a@s2"
    );
    let steps = step("a", "s1 | n", each) + &step("b", "s1 | n", "");
    assert_eq!(
        main(&steps).and(disks).lines(),
        "a[sda]@n\na[sdb]@n\na@s1 (skipped)\nb@s1 <- a@s1\nb@n <- a[sda]@n a[sdb]@n"
    );
}

#[test]
fn a_condition_that_names_the_item_is_asked_for_each() {
    let steps = step("a", "s1", "each = ['x', 'y']\nwhen = \"item != 'x'\"");
    assert_eq!(main(&steps).lines(), "a[x]@s1 (skipped)\na[y]@s1");
}

#[test]
fn a_skipped_playbook_step_needs_no_vars_and_opens_no_secret() {
    let inner = "[vars.must]\ntype = \"string\"\n[vars.token]\ntype = \"string\"\n\
                 default = \"{{ secret('a/b') }}\"\n"
        .to_owned()
        + "[[step]]\nid = \"x\"\non = \"s1\"\n[step.file]\npath = \"/x\"\ncontent = \"{{ must }}{{ token }}\"\n";
    let outer = "[vars.enabled]\ntype = \"bool\"\n".to_owned()
        + "[[step]]\nid = \"p\"\nwhen = \"enabled\"\n[step.playbook]\npath = \"inner.toml\"\n\
           vars = { must = \"{{ node.labels.there_is_none }}\" }\n";
    let project = main(&outer)
        .playbook("inner", &inner)
        .var("enabled", "false");
    assert_eq!(project.lines(), "p/x@s1 (skipped)");
    assert!(project.opened.borrow().is_empty());
}

#[test]
fn a_fact_that_there_is_not_is_told_before_the_run() {
    assert_eq!(
        main(&step("a", "s1", "when = \"facts.oss.memory > 1\"")).refused(),
        "unknown-fact: there is no `facts.oss` <\"facts.oss.memory > 1\"> (did you mean `facts.os`?)"
    );
}

#[test]
fn a_condition_must_give_true_or_false_and_may_not_see_a_secret() {
    let refused = main(&step("a", "s1", "when = \"node.name\"")).refused();
    assert!(refused.starts_with("not-a-condition: "), "{refused}");
    let steps = "[vars.token]\ntype = \"secret\"\n".to_owned()
        + &step("a", "s1", "when = \"token == 'x'\"");
    let refused = main(&steps)
        .and("[vars]\ntoken = { secret = \"a/b\" }")
        .refused();
    assert!(refused.starts_with("secret-in-when: "), "{refused}");
}
