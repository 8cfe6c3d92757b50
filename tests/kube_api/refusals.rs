//! What an API refuses, or cannot tell: named with reason and cure, and never taken for "unchanged".

use crate::api::Api;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page}\ndata: {title: ours}\n";

fn in_namespace(namespace: &str) -> String {
    format!("namespace = \"{namespace}\"\ncreate_namespace = true")
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}")
}

#[test]
fn a_field_of_another_manager_is_named_with_its_owner_and_taken_over_only_where_that_is_meant() {
    let Some(api) = Api::turn() else { return };
    api.put(&format!(
        "{}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: page, namespace: conflict}}\ndata: {{title: theirs}}",
        namespace("conflict")
    ));
    api.manifest("conflict", MAP, "namespace = \"conflict\"");
    let mark = api.mark();
    let said = api.expect(1, &["run", "conflict", "--yes"]);
    assert!(
        said.contains("others own fields of ConfigMap conflict/page that this step sets"),
        "{said}"
    );
    assert!(
        said.contains(".data.title is owned by \"kubectl-client-side-apply\""),
        "{said}"
    );
    assert!(said.contains("force_conflicts = true"), "{said}");
    assert_eq!(api.asked_since(&mark).writes, Vec::<String>::new());
    let title = "-n conflict get configmap page -o jsonpath={.data.title}";
    assert_eq!(api.kubectl(title).trim(), "theirs");

    let meant = "namespace = \"conflict\"\nforce_conflicts = true";
    api.manifest("conflict", MAP, meant);
    api.expect(0, &["run", "conflict", "--yes"]);
    assert_eq!(api.kubectl(title).trim(), "ours");
    api.manifest("conflict", MAP, "namespace = \"conflict\"");
    api.quiet("conflict");
}

#[test]
fn a_quota_that_rejects_is_told_with_its_words_for_objects_and_for_pods() {
    let Some(api) = Api::turn() else { return };
    api.put(&format!(
        "{}\n---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: few, namespace: quota}}\n\
         spec: {{hard: {{configmaps: \"1\", pods: \"0\"}}}}",
        namespace("quota")
    ));
    // Every namespace has the cluster's CA in a ConfigMap: that is the one.
    api.kubectl(
        "-n quota wait --timeout=60s --for=jsonpath={.status.used.configmaps}=1 resourcequota/few",
    );
    api.manifest("quota", MAP, "namespace = \"quota\"");
    let mark = api.mark();
    let said = api.expect(1, &["run", "quota", "--yes"]);
    assert!(
        said.contains("ConfigMap quota/page is refused by the API"),
        "{said}"
    );
    assert!(
        said.contains("exceeded quota: few, requested: configmaps=1"),
        "{said}"
    );
    assert!(said.contains("raise the ResourceQuota"), "{said}");
    assert_eq!(api.asked_since(&mark).writes, Vec::<String>::new());

    // A Deployment itself is not counted; its pods are.
    let pods = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  \
                selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
                spec: {containers: [{name: web, image: web}]}\n";
    api.manifest(
        "quota-pods",
        pods,
        "namespace = \"quota\"\nready_timeout = \"4s\"",
    );
    let said = api.expect(1, &["run", "quota-pods", "--yes"]);
    assert!(said.contains("exceeded quota: few"), "{said}");
    // And it is no better a moment later, when everything is applied.
    let said = api.expect(1, &["run", "quota-pods", "--yes"]);
    assert!(said.contains("Deployment quota/web is not ready"), "{said}");
    assert!(said.contains("exceeded quota: few"), "{said}");
}

#[test]
fn a_webhook_that_is_down_makes_a_change_unknown_and_leaves_what_is_as_wished_alone() {
    let Some(api) = Api::turn() else { return };
    api.manifest("webhook", MAP, &in_namespace("webhook"));
    api.expect(0, &["run", "webhook", "--yes"]);
    api.put(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: down}\nwebhooks:\n\
         - name: down.example.org\n  admissionReviewVersions: [v1]\n  sideEffects: None\n  failurePolicy: Fail\n  \
         timeoutSeconds: 1\n  clientConfig: {url: \"https://127.0.0.1:9/\"}\n  \
         namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: webhook}}\n  \
         rules: [{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]",
    );
    // The API server takes up a webhook some time after it was told of it.
    let refuses = "until kubectl -n webhook create configmap no --dry-run=server 2>&1 | grep -q down.example.org; do :; done";
    api.on(1, refuses);
    api.quiet("webhook");
    let other = MAP.replace("ours", "another");
    api.manifest("webhook", &other, &in_namespace("webhook"));
    for command in [["plan", "webhook"], ["run", "webhook"]] {
        let said = api.expect(1, &command);
        assert!(
            said.contains("nobody can tell what would become of ConfigMap webhook/page"),
            "{said}"
        );
        assert!(said.contains("failed calling webhook"), "{said}");
        assert!(said.contains("down.example.org"), "{said}");
        assert!(said.contains("run again"), "{said}");
    }
    api.kubectl("delete validatingwebhookconfiguration down");
    let answers = "until kubectl -n webhook create configmap no --dry-run=server; do :; done";
    api.on(1, answers);
    api.expect(0, &["run", "webhook", "--yes"]);
    api.quiet("webhook");
}

fn definition(plural: &str, kind: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.names.example.org}}\n\
         spec:\n  group: names.example.org\n  scope: Namespaced\n  names: {{plural: {plural}, kind: {kind}}}\n  versions:\n  \
         - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, \
         x-kubernetes-preserve-unknown-fields: true}}}}}}\n"
    )
}

#[test]
fn a_definition_that_is_never_established_fails_with_the_reason_and_what_needs_it_is_not_tried() {
    let Some(api) = Api::turn() else { return };
    api.put(&definition("widgets", "Widget"));
    api.kubectl("wait --timeout=60s --for=condition=Established crd/widgets.names.example.org");
    let both = format!(
        "apiVersion: names.example.org/v1\nkind: Widget\nmetadata: {{name: one, namespace: default}}\n---\n{}",
        definition("gadgets", "Widget")
    );
    api.manifest("names", &both, "");
    let said = api.expect(1, &["run", "names", "--yes"]);
    assert!(said.contains("gadgets.names.example.org"), "{said}");
    assert!(
        said.contains("NamesAccepted is False (ListKindConflict)"),
        "{said}"
    );
    let left = api.kubectl("get widgets.names.example.org -A -o name");
    assert_eq!(left.trim(), "", "the resource comes after its definition");
    // It is there, and still it is not taken for done.
    let said = api.expect(1, &["run", "names", "--yes"]);
    assert!(said.contains("NamesAccepted is False"), "{said}");
}

#[test]
fn what_the_api_does_not_take_is_refused_with_its_words_before_anything_is_changed() {
    let Some(api) = Api::turn() else { return };
    let bad = format!(
        "{MAP}---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{ports: [{{port: 99999}}]}}\n"
    );
    api.manifest("invalid", &bad, "");
    let mark = api.mark();
    let said = api.expect(1, &["run", "invalid", "--yes"]);
    assert!(
        said.contains("Service default/web is refused by the API"),
        "{said}"
    );
    assert!(said.contains("must be between 1 and 65535"), "{said}");
    assert_eq!(api.asked_since(&mark).writes, Vec::<String>::new());
}
