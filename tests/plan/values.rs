//! Vars, templates and secrets: what the wishes of a plan hold.

use super::support::{Project, main, wish};

fn file(head: &str, content: &str) -> String {
    format!(
        "{head}\n[[step]]\nid = \"f\"\non = \"all\"\n[step.file]\npath = \"/f\"\ncontent = {content}\n"
    )
}

const A: &str = "[vars.a]\ntype = \"string\"\ndefault = \"default\"\n";

fn content(project: &Project, target: &str) -> String {
    let wish = wish(&project.plan(), &format!("f@{target}"));
    let json: serde_json::Value = serde_json::from_str(&wish).unwrap();
    json["content"].as_str().unwrap().to_owned()
}

#[test]
fn the_last_layer_that_sets_a_var_wins() {
    let playbook = file(A, "\"{{ a }}\"");
    let layers = [
        ("", "default"),
        ("[vars]\na = \"inventory\"\n", "inventory"),
        (
            "[group.g]\nnodes = [\"s1\"]\nvars = { a = \"group\" }\n",
            "group",
        ),
        ("[node.s1.vars]\na = \"node\"\n", "node"),
    ];
    let mut inventory = String::new();
    for (more, expected) in layers {
        inventory.push_str(more);
        let project = main(&playbook).and(&inventory);
        assert_eq!(content(&project, "s1"), expected);
    }
    let project = main(&playbook).and(&inventory).var("a", "command line");
    assert_eq!(content(&project, "s1"), "command line");
    let others = main(&playbook).and(&inventory);
    assert_eq!(
        content(&others, "s2"),
        "inventory",
        "group and node are s1's"
    );
}

#[test]
fn vars_of_a_playbook_step_win_over_the_inventory_and_see_the_outer_scope() {
    let outer = "[vars.b]\ntype = \"string\"\n[[step]]\nid = \"p\"\neach = [\"i\"]\n[step.playbook]\n\
                 path = \"inner.toml\"\nvars = { a = \"{{ b }}-{{ item }}-{{ node.name }}\" }\n";
    let project = main(outer)
        .playbook("inner", &file(A, "\"{{ a }}\""))
        .and("[node.s1.vars]\na = \"node\"\nb = \"outer\"\n[vars]\nb = \"all\"\n");
    let plan = project.plan();
    assert!(wish(&plan, "p[i]/f@s1").contains("outer-i-s1"));
    assert!(wish(&plan, "p[i]/f@s2").contains("all-i-s2"));
}

#[test]
fn groups_that_disagree_about_a_node_are_refused_with_both_places() {
    let groups = "[group.g]\nnodes = [\"s1\"]\nvars = { a = \"1\" }\n\
                  [group.h]\nnodes = [\"s1\"]\nvars = { a = \"2\" }\n";
    assert_eq!(
        main(&file(A, "\"{{ a }}\"")).and(groups).refused(),
        "group-conflict: groups `g` and `h` set `a` differently, and node `s1` is in both <\"2\"> \
         (set `a` in `[node.s1.vars]`, which wins over groups, or in one group only)"
    );
}

#[test]
fn a_var_that_is_missing_on_many_nodes_is_told_in_few_words() {
    let mut inventory = "[cluster]\nname = \"big\"\n".to_owned();
    for n in 0..1000 {
        inventory.push_str(&format!(
            "[node.n{n}]\naddress = \"10.{}.{}.1\"\n",
            n / 250,
            n % 250
        ));
    }
    let playbook = file("[vars.a]\ntype = \"string\"\n", "\"{{ a }}\"");
    let refused = main(&playbook).inventory(&inventory).refused();
    assert_eq!(refused.lines().count(), 3, "{refused}");
    assert!(
        refused.contains("for `n2`; and 997 more like this"),
        "{refused}"
    );
}

#[test]
fn a_var_must_be_set_only_where_a_step_uses_it() {
    let playbook = file("[vars.a]\ntype = \"string\"\n", "\"{{ a }}\"")
        + "[[step]]\nid = \"c\"\non = \"controller\"\n[step.directory]\npath = \"/c\"\n";
    let playbook = playbook.replace("on = \"all\"", "on = \"s1\"");
    let project = main(&playbook).and("[node.s1.vars]\na = \"node\"\n");
    assert_eq!(project.lines(), "f@s1\nc@controller <- f@s1");
}

#[test]
fn an_undeclared_var_on_the_command_line_is_refused() {
    let refused = main(&file(A, "\"{{ a }}\"")).var("aa", "x").refused();
    assert_eq!(
        refused,
        "unknown-var: --var aa: the playbook declares no var `aa` <> (did you mean `a`?)"
    );
}

#[test]
fn a_name_that_a_node_lacks_is_refused_at_its_place() {
    assert_eq!(
        main(&file("", "\"{{ node.labels.zone }}\"")).refused(),
        "undefined-name: `node.labels.zone` is undefined <node.labels.zone> (nothing is defined here)"
    );
}

#[test]
fn a_secret_in_a_field_that_is_shown_is_refused() {
    let playbook = "[vars.p]\ntype = \"string\"\n[[step]]\nid = \"f\"\non = \"s1\"\n[step.directory]\npath = \"/{{ p }}\"\n";
    let project = main(playbook).and("[vars]\np = { secret = \"a/b\" }\n");
    let refused = project.refused();
    assert!(refused.starts_with("secret-here: "), "{refused}");
    assert!(!refused.contains("hunter2"));
}

#[test]
fn one_secret_taints_the_whole_text_through_vars_and_items() {
    let direct = main(&file("", "\"user:{{ secret('a/b') }}\"")).plan();
    assert!(wish(&direct, "f@s1").contains("\"<secret>\""));
    let through = file(
        "[vars.a]\ntype = \"string\"\ndefault = \"x-{{ secret('a/b') }}\"\n",
        "\"{{ a }}\"",
    );
    assert!(wish(&main(&through).plan(), "f@s1").contains("\"<secret>\""));
    let items = file("", "\"{{ item }}\"").replace(
        "on = \"all\"",
        "on = \"all\"\neach = [\"{{ secret('a/b') }}\"]",
    );
    assert!(
        wish(&main(&items).plan(), "f[0]@s1").contains("\"<secret>\""),
        "and its name is not the secret"
    );
}

#[test]
fn a_secret_var_may_be_handed_through_playbooks_and_is_opened_where_it_is_used() {
    let outer = "[vars.t]\ntype = \"secret\"\n[[step]]\nid = \"p\"\non = \"s1\"\n[step.playbook]\n\
                 path = \"inner.toml\"\nvars = { t = \"{{ t }}\" }\n";
    let inner = file("[vars.t]\ntype = \"secret\"\n", "\"{{ t }}\"");
    let project = main(outer)
        .playbook("inner", &inner)
        .and("[vars]\nt = { secret = \"a/b\" }\n");
    assert!(wish(&project.plan(), "p/f@s1").contains("<secret>"));
}

#[test]
fn secrets_that_no_step_here_uses_are_not_opened() {
    let head = "[vars.a]\ntype = \"string\"\ndefault = \"{{ secret('a/b') }}\"\n";
    let playbook = file(head, "\"plain\"")
        + "[[step]]\nid = \"g\"\non = \"a1\"\n[step.file]\npath = \"/g\"\ncontent = \"{{ a }}\"\n";
    let project = main(&playbook).limit("role:server");
    project.plan();
    assert!(project.opened.borrow().is_empty());
}

#[test]
fn a_template_that_is_one_expression_keeps_its_type() {
    let playbook = "[vars.words]\ntype = \"list\"\ndefault = [\"echo\", \"hi\"]\n\
                    [[step]]\nid = \"c\"\non = \"s1\"\n[step.command]\nargv = \"{{ words }}\"\nalways = true\n";
    assert!(wish(&main(playbook).plan(), "c@s1").contains("[\"echo\",\"hi\"]"));
}

#[test]
fn templates_see_all_nodes_and_groups_in_inventory_order() {
    let hosts = file(
        "",
        "'''{% for n in nodes %}{{ n.address }} {{ n.name }} {{ n.roles[0] }} {{ n.groups }}\n{% endfor %}{{ groups }}'''",
    );
    let project = main(&hosts).and("[group.g]\nnodes = [\"a1\", \"s1\"]\n");
    assert_eq!(
        content(&project, "a2"),
        "10.0.0.1 s1 server [\"g\"]\n10.0.0.2 s2 server []\n10.0.0.3 a1 agent [\"g\"]\n\
         10.0.0.4 a2 agent []\n{\"g\":[\"s1\",\"a1\"]}"
    );
}

#[test]
fn the_controller_sees_all_nodes_but_is_none() {
    let one = |content: &str| file("", content).replace("on = \"all\"", "on = \"controller\"");
    assert_eq!(
        content(&main(&one("\"{{ nodes | length }}\"")), "controller"),
        "4"
    );
    let refused = main(&one("\"{{ node.name }}\"")).refused();
    assert!(refused.starts_with("undefined-name: `node"), "{refused}");
}

#[test]
fn names_of_templates_cannot_be_vars() {
    for name in [
        "node", "nodes", "groups", "cluster", "item", "facts", "secret",
    ] {
        let playbook = file(
            &format!("[vars.{name}]\ntype = \"string\"\ndefault = \"x\"\n"),
            "\"x\"",
        );
        let codes: Vec<_> = main(&playbook)
            .load()
            .mistakes
            .iter()
            .map(|m| m.code)
            .collect();
        assert!(codes.contains(&"bad-name"), "{name}: {codes:?}");
    }
}

#[test]
fn nodes_that_see_the_same_values_share_one_wish() {
    let hosts = file(
        "",
        "\"{% for n in nodes %}{{ n.address }} {{ n.name }}\n{% endfor %}\"",
    )
    .replace("\n{% endfor", "\\n{% endfor");
    let plan = main(&hosts).plan();
    let wishes: std::collections::BTreeSet<_> = plan
        .pairs
        .iter()
        .map(|pair| match &pair.work {
            hmco_boot::plan::Work::Wish(wish) => std::sync::Arc::as_ptr(wish).cast::<()>(),
            hmco_boot::plan::Work::Skip(_) => std::ptr::null(),
        })
        .collect();
    assert_eq!(wishes.len(), 1);
}

#[test]
fn a_var_may_have_the_name_of_a_function() {
    let head = "[vars.range]\ntype = \"string\"\n[vars.a]\ntype = \"string\"\ndefault = \"{{ range }}!\"\n";
    let project = main(&file(head, "\"{{ a }}\"")).var("range", "10.0.0.1-10.0.0.9");
    assert_eq!(content(&project, "s1"), "10.0.0.1-10.0.0.9!");
}

#[test]
fn two_steps_with_one_set_are_told_before_they_delete_each_others_objects() {
    let step = |id: &str, set: &str| {
        format!(
            "[[step]]\nid = \"{id}\"\non = \"cluster\"\n[step.manifest]\nset = \"{set}\"\n\
             inline = \"apiVersion: v1\\nkind: ConfigMap\\nmetadata: {{name: {id}}}\\n\"\n"
        )
    };
    let plan = main(&(step("a", "one") + &step("b", "two"))).plan();
    let hmco_boot::plan::Work::Wish(second) = &plan.pairs[1].work else {
        panic!("it is skipped");
    };
    let written = "Written { playbook: \"main.toml\", step: \"b\" }";
    let wish = format!("{second:?}");
    assert!(wish.contains(written), "the cluster remembers it: {wish}");
    let told = main(&(step("a", "apps") + &step("b", "apps"))).refused();
    assert!(
        told.contains("the set apps is that of the step a already"),
        "{told}"
    );
    let mistakes = main(&(step("a", "apps") + &step("b", "apps")))
        .try_plan()
        .unwrap_err();
    assert_eq!(mistakes[0].related.len(), 1, "both places are shown");
}
