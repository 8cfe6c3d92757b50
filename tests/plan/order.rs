//! Which pairs there are, and what each waits for.

use super::support::{main, step};

/// Two steps; the second with `needs = ["a"]` or more.
fn two(on_a: &str, on_b: &str, more: &str) -> String {
    main(&(step("a", on_a, "") + &step("b", on_b, more))).lines()
}

#[test]
fn steps_on_the_same_nodes_wait_per_node() {
    let expected = "a@s1\na@s2\nb@s1 <- a@s1\nb@s2 <- a@s2";
    assert_eq!(two("role:server", "role:server", "needs = ['a']"), expected);
    assert_eq!(two("role:server", "role:server", ""), expected);
}

#[test]
fn steps_on_disjoint_nodes_wait_for_all() {
    let expected = "a@s1\na@s2\nb@a1 <- a@s1 a@s2\nb@a2 <- a@s1 a@s2";
    assert_eq!(two("role:server", "role:agent", "needs = ['a']"), expected);
    assert_eq!(two("role:server", "role:agent", ""), expected);
}

#[test]
fn steps_on_overlapping_nodes_wait_per_node_where_shared_and_for_all_elsewhere() {
    let expected = "a@s1\na@s2\nb@s2 <- a@s2\nb@a1 <- a@s1 a@s2";
    assert_eq!(two("role:server", "s2 | a1", "needs = ['a']"), expected);
}

#[test]
fn the_controller_waits_for_all_nodes() {
    assert_eq!(
        two("role:server", "controller", ""),
        "a@s1\na@s2\nb@controller <- a@s1 a@s2"
    );
}

#[test]
fn across_all_makes_a_barrier_where_nodes_are_shared_too() {
    assert_eq!(
        two(
            "role:server",
            "role:server",
            "needs = [{ step = 'a', across = 'all' }]"
        ),
        "a@s1\na@s2\nb@s1 <- a@s1 a@s2\nb@s2 <- a@s1 a@s2"
    );
}

#[test]
fn across_first_waits_for_the_first_target_only() {
    let needs = "needs = [{ step = 'a', across = 'first' }]";
    assert_eq!(
        two("role:server", "all", needs),
        "a@s1\na@s2\nb@s1 <- a@s1\nb@s2 <- a@s1\nb@a1 <- a@s1\nb@a2 <- a@s1"
    );
    // The first of the inventory, also where the selector names it last.
    assert_eq!(two("s2 | s1", "a1", needs), "a@s1\na@s2\nb@a1 <- a@s1");
}

#[test]
fn across_first_passes_over_targets_that_are_left_out() {
    let needs = "needs = [{ step = 'b', across = 'first' }]";
    let steps = step("a", "all", "")
        + &step("b", "role:server", "needs = ['a']")
        + &step("c", "role:agent", needs);
    let of = |limit: &str| main(&steps).limit(limit).lines();
    assert_eq!(
        of("!s1"),
        "a@s2\na@a1\na@a2\nb@s2 <- a@s2\nc@a1 <- b@s2\nc@a2 <- b@s2"
    );
    assert_eq!(of("a1"), "a@a1\nc@a1");
}

#[test]
fn tolerate_is_counted_at_the_barrier() {
    let needs = "needs = [{ step = 'a', across = 'all', tolerate = 1 }]";
    let plan = main(&(step("a", "role:server", "") + &step("b", "role:server", needs))).plan();
    let tolerated: Vec<u32> = plan
        .graph
        .node_weights()
        .map(hmco_boot::plan::Vertex::tolerates)
        .filter(|tolerated| *tolerated > 0)
        .collect();
    assert_eq!(tolerated, [1], "one barrier for all that wait at it");
}

#[test]
fn empty_needs_mean_the_start_of_the_playbook() {
    assert_eq!(two("s1", "s1", "needs = []"), "a@s1\nb@s1");
}

#[test]
fn without_needs_a_step_waits_for_the_step_above_and_every_earlier_one_on_its_node() {
    let steps = step("a", "s1", "") + &step("b", "s2", "needs = []") + &step("c", "all", "");
    assert_eq!(
        main(&steps).lines(),
        "a@s1\nb@s2\nc@s1 <- a@s1 b@s2\nc@s2 <- b@s2\nc@a1 <- b@s2\nc@a2 <- b@s2"
    );
}

#[test]
fn needs_may_name_a_step_below_and_nobody_else_waits_for_it() {
    let steps = step("a", "s1", "needs = ['c']")
        + &step("b", "s2", "")
        + &step("c", "s1 | s2", "needs = []");
    assert_eq!(
        main(&steps).lines(),
        "c@s1\nc@s2\na@s1 <- c@s1\nb@s2 <- a@s1"
    );
}

#[test]
fn a_step_that_matches_nothing_does_not_cut_the_default_order() {
    let steps = step("a", "s1", "") + &step("b", "role:none", "") + &step("c", "s2", "");
    assert_eq!(main(&steps).lines(), "a@s1\nc@s2 <- a@s1");
}

#[test]
fn a_playbook_without_targets_here_is_an_empty_plan() {
    let plan = main(&step("a", "role:none", "")).plan();
    assert!(plan.pairs.is_empty() && plan.targets.is_empty());
}

fn uses(id: &str, more: &str) -> String {
    format!("[[step]]\nid = \"{id}\"\n{more}\n[step.playbook]\npath = \"inner.toml\"\n")
}

#[test]
fn a_playbook_step_waits_as_a_whole_and_is_waited_for_as_a_whole() {
    let inner = step("x", "role:server", "") + &step("y", "a1", "needs = []");
    let outer = step("a", "s1 | a1", "") + &uses("p", "") + &step("z", "all", "");
    assert_eq!(
        main(&outer).playbook("inner", &inner).lines(),
        "a@s1\na@a1\np/x@s1 <- a@s1\np/x@s2 <- a@s1 a@a1\np/y@a1 <- a@a1\n\
         z@s1 <- p/x@s1 p/y@a1\nz@s2 <- p/x@s2 p/y@a1\nz@a1 <- p/x@s1 p/x@s2 p/y@a1\n\
         z@a2 <- p/x@s1 p/x@s2 p/y@a1"
    );
}

#[test]
fn needs_on_a_later_playbook_step_replace_the_default_for_all_of_it() {
    let inner = step("x", "s1", "") + &step("y", "s1", "");
    let outer = step("a", "s1", "") + &step("b", "s1", "") + &uses("p", "needs = ['a']");
    assert_eq!(
        main(&outer).playbook("inner", &inner).lines(),
        "a@s1\nb@s1 <- a@s1\np/x@s1 <- a@s1\np/y@s1 <- p/x@s1"
    );
}

#[test]
fn after_a_playbook_step_with_needs_the_next_still_waits_for_every_earlier_step() {
    let inner = step("x", "s1", "");
    let outer = step("a", "s1", "") + &uses("p", "needs = []") + &step("c", "s1", "");
    assert_eq!(
        main(&outer).playbook("inner", &inner).lines(),
        "a@s1\np/x@s1\nc@s1 <- a@s1 p/x@s1"
    );
}

#[test]
fn on_of_a_playbook_step_narrows_that_of_the_steps_inside() {
    let inner = step("x", "role:server", "") + &step("y", "first(all)", "");
    assert_eq!(
        main(&uses("p", "on = 's2 | a1'"))
            .playbook("inner", &inner)
            .lines(),
        "p/x@s2",
        "`first` is evaluated on the whole inventory"
    );
}

#[test]
fn one_playbook_used_twice_is_two_steps() {
    let outer = uses("p", "on = 's1'") + &uses("q", "on = 's1 | s2'\nneeds = []");
    assert_eq!(
        main(&outer)
            .playbook("inner", &step("x", "all", ""))
            .lines(),
        "p/x@s1\nq/x@s1\nq/x@s2"
    );
}

#[test]
fn each_makes_a_step_per_item_and_needing_it_waits_for_every_item() {
    let steps = step("a", "s1", "each = ['x', 'y']") + &step("b", "s1 | s2", "needs = ['a']");
    // Each item would need a path of its own to make sense on a node; the plan does not mind.
    assert_eq!(
        main(&steps).lines(),
        "a[x]@s1\na[y]@s1\nb@s1 <- a[x]@s1 a[y]@s1\nb@s2 <- a[x]@s1 a[y]@s1"
    );
}

#[test]
fn a_node_with_items_of_its_own_waits_for_its_own_only() {
    let disks = r#"
[group.one]
nodes = ["s1"]
vars = { disks = ["sda", "sdb"] }
[group.two]
nodes = ["s2"]
vars = { disks = ["sdc"] }
[vars]
disks = []
"#;
    let steps = "[vars.disks]\ntype = \"list\"\n".to_owned()
        + &step("a", "s1 | s2 | a1", "each = '{{ disks }}'")
        + &step("b", "all", "needs = ['a']");
    assert_eq!(
        main(&steps).and(disks).lines(),
        "a[sda]@s1\na[sdb]@s1\na[sdc]@s2\nb@s1 <- a[sda]@s1 a[sdb]@s1\nb@s2 <- a[sdc]@s2\nb@a1\n\
         b@a2 <- a[sda]@s1 a[sdb]@s1 a[sdc]@s2"
    );
}

#[test]
fn each_on_a_playbook_step_uses_it_once_per_item() {
    let inner = "[vars.name]\ntype = \"string\"\n".to_owned()
        + &step("x", "s1", "when = \"name != 'none'\"")
        + &step("y", "s1", "");
    let outer = "[[step]]\nid = \"p\"\neach = ['k', 'l']\n[step.playbook]\npath = \"inner.toml\"\n\
                 vars = { name = \"{{ item }}\" }\n"
        .to_owned()
        + &step("z", "s1 | a1", "");
    assert_eq!(
        main(&outer).playbook("inner", &inner).lines(),
        "p[k]/x@s1\np[k]/y@s1 <- p[k]/x@s1\np[l]/x@s1\np[l]/y@s1 <- p[l]/x@s1\n\
         z@s1 <- p[k]/x@s1 p[k]/y@s1 p[l]/x@s1 p[l]/y@s1\n\
         z@a1 <- p[k]/x@s1 p[k]/y@s1 p[l]/x@s1 p[l]/y@s1"
    );
}

#[test]
fn serial_counts_all_items_of_a_step_together_also_inside_a_playbook_per_item() {
    let outer = "[[step]]\nid = \"p\"\neach = ['k', 'l']\n[step.playbook]\npath = \"inner.toml\"\n";
    let inner = step("x", "s1", "serial = 1\neach = ['m', 'n']");
    let plan = main(outer).playbook("inner", &inner).plan();
    let series: Vec<&str> = plan.pairs.iter().map(|pair| pair.series.as_str()).collect();
    assert_eq!(series, ["p/x"; 4]);
}

#[test]
fn items_may_have_slashes_and_blanks_in_their_names() {
    let items =
        "each = ['/dev/sda', 'two words', 7, true, { name = 'n' }, { id = 10 }, 'a[b]', { x = 1 }]";
    let lines = main(&step("a", "s1", items)).refused();
    assert_eq!(
        lines,
        "duplicate-item: two items make the step `a[7]` <{ x = 1 }> \
         (items are told apart by their text, or by their `name` or `id`)",
        "the eighth has no name, so its position counts, which is the third's text"
    );
    let items = items.replace("7,", "9,");
    assert_eq!(
        main(&step("a", "s1", &items)).lines(),
        "a[/dev/sda]@s1\na[two words]@s1\na[9]@s1\na[true]@s1\na[n]@s1\na[10]@s1\na[6]@s1\na[7]@s1",
        "brackets are not part of a name either"
    );
}

#[test]
fn limit_removes_targets_and_nothing_else() {
    let steps = step("a", "first(role:server)", "") + &step("b", "rest(role:server)", "");
    assert_eq!(main(&steps).limit("s2").lines(), "b@s2", "`first` stays s1");
    let steps = step("a", "all", "") + &step("b", "controller | s1", "");
    assert_eq!(main(&steps).limit("controller").lines(), "b@controller");
    assert_eq!(
        main(&steps).limit("role:agent").lines(),
        "a@a1\na@a2",
        "`--limit` with nodes only leaves the controller out"
    );
}

#[test]
fn limit_keeps_the_order_of_what_stays_through_what_goes() {
    let steps =
        step("a", "s1", "") + &step("b", "s2", "needs = ['a']") + &step("c", "s1", "needs = ['b']");
    assert_eq!(main(&steps).limit("s1").lines(), "a@s1\nc@s1 <- a@s1");
    let inner = step("x", "s2", "each = ['k', 'l']");
    let outer =
        step("a", "s1", "") + &uses("p", "each = ['m']") + &step("c", "s1", "needs = ['p']");
    assert_eq!(
        main(&outer).playbook("inner", &inner).limit("s1").lines(),
        "a@s1\nc@s1 <- a@s1"
    );
}

#[test]
fn a_node_that_is_left_out_may_lack_its_vars() {
    let steps = "[vars.disk]\ntype = \"string\"\n".to_owned()
        + "[[step]]\nid = \"a\"\non = \"all\"\n[step.directory]\npath = \"{{ disk }}\"\n";
    let vars = "[group.g]\nnodes = [\"s1\"]\nvars = { disk = \"/d\" }\n";
    let project = main(&steps).and(vars);
    assert_eq!(project.limit("s1").lines(), "a@s1");
}

#[test]
fn plans_of_1000_nodes_have_barriers_of_as_many_edges() {
    let mut inventory = "[cluster]\nname = \"big\"\n".to_owned();
    for n in 0..1000 {
        inventory.push_str(&format!(
            "[node.n{n}]\naddress = \"10.{}.{}.1\"\n",
            n / 250,
            n % 250
        ));
    }
    let needs = "needs = [{ step = 'a', across = 'all' }]";
    let plan = main(&(step("a", "all", "") + &step("b", "all", needs)))
        .inventory(&inventory)
        .plan();
    assert_eq!((plan.pairs.len(), plan.graph.edge_count()), (2000, 2000));
}
