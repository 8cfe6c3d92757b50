//! The manifests of real releases, component by component, several versions of one component one after another; each a
//! second time without a change. Without `HMCO_MIRROR` this says that it is skipped. Here a small choice, with `HMCO_TORTURE=1` all of them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::api::{Api, torture};
use crate::mirror;

/// A component: its folder, and what its step says besides the files.
struct Component {
    name: &'static str,
    more: &'static str,
    /// It is among the few that are tried every time.
    always: bool,
}

const fn of(name: &'static str, more: &'static str, always: bool) -> Component {
    Component { name, more, always }
}

/// In an order in which what others need comes first.
const COMPONENTS: &[Component] = &[
    of("local-path-provisioner", "", true),
    // Pods of some want Secrets that their own controllers make, which are not real here; those of others take half a minute
    // to be called ready.
    of("metallb", "ready = false", true),
    of("sealed-secrets", "ready = false", true),
    of("cert-manager", "", false),
    of(
        "argo-cd",
        "namespace = \"argocd\"\ncreate_namespace = true\nready = false",
        false,
    ),
    of(
        "traefik",
        "namespace = \"traefik\"\ninstead_of = \"default\"\ncreate_namespace = true",
        false,
    ),
    of("velero", "", false),
    of(
        "prometheus-operator",
        "namespace = \"monitoring\"\ninstead_of = \"default\"\ncreate_namespace = true",
        false,
    ),
    of(
        "kube-prometheus",
        "namespace = \"monitoring\"\ncreate_namespace = true",
        false,
    ),
    of("trivy-operator", "", false),
    of(
        "system-upgrade-controller",
        "namespace = \"system-upgrade\"\nready = false",
        true,
    ),
    of("longhorn", "", false),
    of(
        "falco",
        "namespace = \"falco\"\ninstead_of = \"default\"\ncreate_namespace = true",
        false,
    ),
];

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// What is applied together, one after the other: versions, and in a version files that say the same objects.
fn stages(mirror: &Path, component: &str) -> Vec<Vec<PathBuf>> {
    let mut stages = Vec::new();
    for version in entries(&mirror.join(component)) {
        let files = entries(&version);
        if component != "argo-cd" {
            stages.push(files);
            continue;
        }
        let (installs, definitions): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|file| file.to_string_lossy().contains("install"));
        stages.push(definitions);
        stages.extend(installs.into_iter().map(|install| vec![install]));
    }
    stages
}

/// A playbook with these files of the mirror. No archive has the images of all releases, so only pods of the stand-in, which
/// need none, are waited for.
fn playbook(api: &Api, name: &str, files: &[PathBuf], more: &str) {
    let ready = match api.simulated() || more.contains("ready = false") {
        true => "",
        false => {
            crate::skip::tell(format_args!(
                "that {name} becomes ready: its images are not there"
            ));
            "ready = false"
        }
    };
    let mut said = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let path = format!("files/{name}/{number}.yaml");
        api.write(
            &format!("playbooks/{path}"),
            &std::fs::read_to_string(file).unwrap(),
        );
        said.push(format!("{path:?}"));
    }
    api.playbook(
        name,
        &format!(
            "[[step]]\nid = \"objects\"\non = \"cluster\"\n[step.manifest]\nfiles = [{}]\n{more}\n{ready}\n",
            said.join(", ")
        ),
    );
}

#[test]
fn manifests_of_releases_are_applied_component_by_component_and_left_alone_when_they_are() {
    let Some(mirror) = mirror::folder() else {
        return;
    };
    let Some(api) = Api::turn() else { return };
    let mut files = 0;
    for component in COMPONENTS
        .iter()
        .filter(|component| component.always || torture())
    {
        for (number, stage) in stages(&mirror, component.name).iter().enumerate() {
            let name = format!("{}-{number}", component.name);
            playbook(&api, &name, stage, component.more);
            files += stage.len();
            let mark = api.mark();
            let begun = Instant::now();
            api.expect(0, &["run", &name, "--yes"]);
            let first = begun.elapsed();
            let applied = api.asked_since(&mark).writes.len();
            assert!(applied > 0, "{name}: nothing was applied");
            let begun = Instant::now();
            let asked = api.quiet(&name);
            eprintln!(
                "{name}: {applied} writes in {:.1} s; again: {} lists and {} dry runs in {:.1} s: {:?}",
                first.as_secs_f64(),
                asked.lists.len(),
                asked.dry_runs.len(),
                begun.elapsed().as_secs_f64(),
                asked.dry_runs,
            );
        }
    }
    // The two of helm-controller are K3s' own: below.
    assert!(!torture() || files == 47, "{files} files");
}

#[test]
fn definitions_that_k3s_brings_itself_are_refused_with_that_reason() {
    let Some(mirror) = mirror::folder() else {
        return;
    };
    let Some(api) = Api::turn() else { return };
    let stages = stages(&mirror, "helm-controller");
    playbook(&api, "helm-controller", &stages[0], "");
    let mark = api.mark();
    let said = api.expect(1, &["run", "helm-controller", "--yes"]);
    assert!(
        said.contains("others own fields of CustomResourceDefinition helmcharts.helm.cattle.io"),
        "{said}"
    );
    assert!(said.contains("K3s brings this object itself"), "{said}");
    assert_eq!(api.asked_since(&mark).writes, Vec::<String>::new());
}

#[test]
fn bindings_that_a_release_ships_without_a_namespace_are_refused_until_the_step_names_one() {
    let Some(mirror) = mirror::folder() else {
        return;
    };
    let Some(api) = Api::turn() else { return };
    let stages = stages(&mirror, "system-upgrade-controller");
    playbook(&api, "as-shipped", &stages[0], "");
    let mark = api.mark();
    let said = api.expect(1, &["run", "as-shipped", "--yes"]);
    assert!(said.contains("ClusterRoleBinding system-upgrade"), "{said}");
    assert!(
        said.contains("subjects[0].namespace: Required value"),
        "{said}"
    );
    assert!(said.contains("name the `namespace` of this step"), "{said}");
    assert_eq!(api.asked_since(&mark).writes, Vec::<String>::new());
}
