//! When two plans are the same plan.

use super::support::{main, step};

fn file(content: &str, more: &str) -> String {
    format!(
        "[[step]]\nid = \"f\"\non = \"all\"\n{more}\n[step.file]\npath = \"/f\"\ncontent = \"{content}\"\n"
    )
}

fn of(playbook: &str) -> String {
    main(playbook).plan().fingerprint
}

#[test]
fn equal_plans_have_equal_fingerprints_whatever_the_words_for_people() {
    assert_eq!(of(&file("a", "")), of(&file("a", "")));
    assert_eq!(of(&file("a", "")), of(&file("a", "title = 'words'")));
    assert_eq!(
        of(&file("s1", "when = \"node.name == 's1'\"")),
        of(&file("s1", "when = \"node.name == 's1'\""))
    );
}

#[test]
fn every_change_of_wish_target_policy_condition_or_order_changes_the_fingerprint() {
    let gate = |that: &str| {
        format!("[step.gate]\ntimeout = \"1m\"\n[step.gate.assert]\nthat = \"{that}\"\n")
    };
    let with_gate = |that: &str| file("a", "") + &gate(that);
    let ab = |more: &str| step("a", "all", "") + &step("b", "all", more);
    let plans = [
        file("a", ""),
        file("b", ""),
        file("a", "serial = 1"),
        file("a", "serial = 2"),
        file("a", "timeout = '1m'"),
        file("a", "retry = { attempts = 2 }"),
        file("a", "when = \"facts.os.cpus > 1\""),
        file("a", "when = \"facts.os.cpus > 2\""),
        file("a", "when = \"node.name == 's1'\""),
        file("a", "each = ['x']"),
        file("a", "").replace("\"all\"", "\"s1\""),
        file("a", "").replace("\"f\"", "\"g\""),
        file("a", "").replace("\"/f\"", "\"/g\""),
        with_gate("facts.os.cpus > 1"),
        with_gate("facts.os.cpus > 2"),
        with_gate("facts.os.cpus > 2").replace("1m", "2m"),
        ab(""),
        ab("needs = []"),
        ab("needs = [{ step = 'a', across = 'all' }]"),
        ab("needs = [{ step = 'a', across = 'all', tolerate = 1 }]"),
    ];
    for (at, one) in plans.iter().enumerate() {
        for other in plans.iter().skip(at + 1) {
            assert_ne!(of(one), of(other), "{one}\nand\n{other}");
        }
    }
}

#[test]
fn a_var_that_only_a_condition_over_facts_sees_is_part_of_it() {
    let playbook =
        "[vars.min]\ntype = \"int\"\n".to_owned() + &file("a", "when = \"facts.os.cpus > min\"");
    let with = |min: &str| main(&playbook).var("min", min).plan().fingerprint;
    assert_eq!(with("1"), with("1"));
    assert_ne!(with("1"), with("2"));
}

#[test]
fn another_value_of_a_secret_is_the_same_plan() {
    let project = || main(&file("{{ secret('a/b') }}", "when = \"facts.os.cpus > 1\""));
    let fingerprint = |value: &str| project().secret(value).plan().fingerprint;
    assert_eq!(fingerprint("one"), fingerprint("two"));
}
