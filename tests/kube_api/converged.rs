//! Three hundred objects: applied once, then left alone.

use std::fmt::Write as _;

use crate::api::Api;

/// Objects of the kinds that platforms are made of, in four namespaces; 75 in each.
fn objects(image: &str) -> String {
    let mut text = String::new();
    for namespace in 0..4 {
        let place = format!("converged-{namespace}");
        let mut add = |api: &str, kind: &str, name: &str, namespaced: bool, body: &str| {
            let inside = match namespaced {
                true => format!(", namespace: {place}"),
                false => String::new(),
            };
            writeln!(
                text,
                "---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}{inside}, labels: {{app: web}}}}\n{body}"
            )
            .unwrap();
        };
        add("v1", "Namespace", &place, false, "");
        for number in 0..14 {
            let name = format!("web-{number}");
            let rules = "rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get, list]}]";
            let binding = format!(
                "roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}\n\
                 subjects: [{{kind: ServiceAccount, name: {name}, namespace: {place}}}]"
            );
            add("v1", "ServiceAccount", &name, true, "");
            add(
                "v1",
                "ConfigMap",
                &name,
                true,
                "data: {a: \"1\", text: \"one\\ntwo\"}",
            );
            add(
                "v1",
                "Secret",
                &name,
                true,
                "stringData: {password: not-so-secret}",
            );
            add("rbac.authorization.k8s.io/v1", "Role", &name, true, rules);
            add(
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                &name,
                true,
                &binding,
            );
        }
        for number in 0..2 {
            let name = format!("web-{number}");
            let ports = "spec: {selector: {app: web}, ports: [{name: dns, port: 53}, {name: dns-udp, port: 53, protocol: UDP}]}";
            add("v1", "Service", &name, true, ports);
            let pods = "spec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
                        spec: {containers: [{name: web, image: IMAGE, resources: {requests: {cpu: 100m, memory: 64Mi}}, \
                        ports: [{containerPort: 80}]}]}";
            let pods = pods.replace("IMAGE", image);
            add("apps/v1", "Deployment", &name, true, &pods);
        }
    }
    text
}

#[test]
fn three_hundred_objects_that_are_as_wished_cost_one_list_per_kind_and_namespace_and_no_write() {
    let Some(api) = Api::turn() else { return };
    let objects = objects(&api.image());
    assert_eq!(objects.matches("apiVersion").count(), 300);
    let more = match api.pods("that Deployments become ready") {
        true => "",
        false => "ready = false",
    };
    api.manifest("converged", &objects, more);
    let mark = api.mark();
    let said = api.expect(0, &["run", "converged", "--yes"]);
    assert!(said.contains("1 changed"), "{said}");
    let first = api.asked_since(&mark);
    assert_eq!(
        first.writes.len(),
        300,
        "each object is applied once: {:?}",
        first.writes
    );
    let asked = api.quiet("converged");
    assert_eq!(
        asked.dry_runs,
        Vec::<String>::new(),
        "lists tell all of them"
    );
    // Seven kinds in four namespaces, and the list of namespaces.
    assert_eq!(asked.lists.len(), 29, "{:?}", asked.lists);

    // What is gone is tried by itself, and nothing else is.
    api.kubectl("-n converged-2 delete configmap web-5 web-7");
    let mark = api.mark();
    let said = api.expect(4, &["plan", "converged", "--exit-code"]);
    let asked = api.asked_since(&mark);
    assert_eq!(asked.writes, Vec::<String>::new(), "{said}");
    assert_eq!(asked.dry_runs.len(), 2, "{:?}", asked.dry_runs);
    assert!(said.contains("ConfigMap converged-2/web-5 (new)"), "{said}");
    let mark = api.mark();
    api.expect(0, &["run", "converged", "--yes"]);
    assert_eq!(api.asked_since(&mark).writes.len(), 2);
}

#[test]
fn what_a_set_does_not_say_any_more_is_deleted_and_nothing_else() {
    let Some(api) = Api::turn() else { return };
    let maps = |names: &[&str]| -> String {
        let map = |name: &&str| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n"
            )
        };
        names.iter().map(map).collect()
    };
    let set = "namespace = \"sets\"\ncreate_namespace = true\nset = \"maps\"";
    api.manifest("sets", &maps(&["one", "two", "three"]), set);
    api.expect(0, &["run", "sets", "--yes"]);
    api.quiet("sets");
    api.kubectl("-n sets create configmap theirs");
    api.manifest("sets", &maps(&["one"]), set);
    let said = api.expect(0, &["run", "sets", "--yes"]);
    assert!(
        said.contains("ConfigMap sets/two (no longer in the set maps)"),
        "{said}"
    );
    let left = api.kubectl("-n sets get configmaps -o name");
    assert!(left.contains("/one") && left.contains("/theirs"), "{left}");
    assert!(!left.contains("/two") && !left.contains("/three"), "{left}");
    api.quiet("sets");
}

#[test]
fn a_plan_knows_what_comes_after_a_change_that_does_not_reach_it() {
    let Some(api) = Api::turn() else { return };
    let step = |id: &str, kind: &str, name: &str| {
        format!(
            "[[step]]\nid = \"{id}\"\non = \"cluster\"\n[step.manifest]\nnamespace = \"plans\"\ncreate_namespace = true\n\
             inline = \"{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}}}}}\"\n"
        )
    };
    let steps = [
        step("first", "ConfigMap", "one"),
        step("other", "ServiceAccount", "two"),
        step("same", "ConfigMap", "three"),
    ];
    api.playbook("plans", &steps.concat());
    api.expect(0, &["run", "plans", "--yes"]);
    api.kubectl("-n plans delete configmap one");
    let said = api.expect(4, &["plan", "plans", "--exit-code"]);
    assert!(said.contains("known only after first@cluster"), "{said}");
    assert!(said.contains("1 as wished"), "{said}");
}
