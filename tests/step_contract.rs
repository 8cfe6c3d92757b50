//! Every kind in the registry keeps the same promises, whatever it is about: reading changes nothing, an apply makes it
//! as wished, a second apply leaves it so, and a secret in a wish is seen nowhere. Driven by the steps of
//! `playbooks/examples/<kind>.toml`, on a machine in memory and in a sandbox folder of this one.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test"
)]

#[path = "step_contract/cluster.rs"]
mod cluster;
#[path = "step_contract/host.rs"]
mod host;
#[path = "step_contract/labs.rs"]
mod labs;
#[path = "step_contract/services.rs"]
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hmco_boot::config::diagnostic::{self, Look};
use hmco_boot::config::files::MemoryFiles;
use hmco_boot::config::project::{Options, load_from};
use hmco_boot::facts::fact::{Answer, Fact};
use hmco_boot::facts::known::{FactRef, Store};
use hmco_boot::model::action::{Action, Job, JobStatus};
use hmco_boot::model::event::DiffLine;
use hmco_boot::model::id::{JobId, Target};
use hmco_boot::model::playbook::{Body, Playbook};
use hmco_boot::model::template::{self, Scope};
use hmco_boot::model::units::TimeSpan;
use hmco_boot::model::value::{Data, Value};
use hmco_boot::steps::registry::{Decoded, KindInfo, kind, kinds, resolve};
use hmco_boot::steps::{Class, Decision, Scope as Scoped, Want, Wish};
use labs::{Lab, artifacts, memory_lab, sandbox_lab, seeds};

const CANARY: &str = "canary-7Q2x";

/// A step of an example, its templates rendered.
struct Example {
    step: String,
    kind: &'static KindInfo,
    table: Value,
}

fn example_text(kind: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("playbooks/examples/{kind}.toml"));
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("every kind has an example: {}: {error}", path.display()))
}

/// Loads an example as a project's own playbook, by the real loader.
fn playbook(name: &str) -> Playbook {
    let inventory = "[cluster]\nname = \"homelab\"\n[node.pi5-01]\nconnection = \"local\"\n";
    let path = format!("examples/{name}.toml");
    let files = MemoryFiles::default()
        .with("inventory/lab.toml", inventory)
        .with(&format!("playbooks/{path}"), example_text(name));
    let loaded = load_from(&files, None, &Options::default());
    let look = Look {
        unicode: false,
        color: false,
        width: 120,
    };
    let drawn = diagnostic::draw(&loaded.sources, &loaded.mistakes, look);
    assert!(
        loaded.mistakes.is_empty(),
        "an example has no mistakes:\n{drawn}"
    );
    loaded.project().unwrap().playbooks[&path].clone()
}

fn examples(info: &'static KindInfo, owner: &str) -> Vec<Example> {
    let playbook = playbook(info.name);
    let mut scope = Scope::default()
        .with("node", serde_json::json!({ "name": "pi5-01" }))
        .with(
            "nodes",
            serde_json::json!([{ "name": "pi5-01", "address": null, "roles": ["server"] }]),
        )
        .with(
            "cluster",
            serde_json::json!({ "name": "homelab", "api_address": null }),
        );
    for (name, decl) in &playbook.vars {
        scope.set(
            name,
            decl.default
                .as_ref()
                .expect("an example's vars have defaults"),
        );
    }
    let scope = scope.with("owner", owner.into());
    let no_secrets = |name: &str| Err(format!("no secret {name}"));
    playbook
        .steps
        .iter()
        .map(|step| {
            let Body::Kind {
                kind: name, table, ..
            } = &step.body
            else {
                panic!("an example of {} uses kinds, not playbooks", info.name)
            };
            Example {
                step: step.id.to_string(),
                kind: kind(name.as_str()).unwrap(),
                table: template::render(table, &scope, &no_secrets).unwrap(),
            }
        })
        .collect()
}

/// Decodes a table and looks its artifacts up, as a plan does.
fn wish(kind: &KindInfo, table: &Value) -> Decoded {
    let mut wish = (kind.decode)(table)?;
    resolve(&mut wish, table, &artifacts().1)?;
    Ok(wish)
}

fn target() -> Target {
    Target::Node("pi5-01".into())
}

/// Takes answers in: the node's, and the controller's.
fn learn(store: &mut Store, answers: Vec<Answer>) {
    for (fact, answer) in answers {
        let whose = FactRef::from(fact.clone()).target;
        store.insert(&whose.unwrap_or_else(target), [(fact, answer)]);
    }
}

/// Reads in rounds until the wish can decide, as the engine does. Also gives the facts it asked for.
async fn look(lab: &dyn Lab, wish: &dyn Wish) -> (Store, Vec<Fact>, Decision<Vec<Action>>) {
    let mut store = Store::default();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let Want::More(wanted) = wish.facts(&store.view(&target())) else {
            break;
        };
        let facts: Vec<Fact> = wanted
            .into_iter()
            .map(|FactRef { fact, .. }| fact)
            .collect();
        lab.expect(&facts);
        let (services, here): (Vec<Fact>, Vec<Fact>) = facts
            .into_iter()
            .partition(|fact| fact.is_of_controller() || fact.is_of_cluster() && !lab.is_cluster());
        let services = services.into_iter();
        let answers = services.map(|fact| (fact.clone(), Ok(services::answer(&fact))));
        learn(&mut store, answers.collect());
        learn(&mut store, lab.host().read(&here).await.unwrap());
        asked.extend(here);
    }
    assert_eq!(
        wish.facts(&store.view(&target())),
        Want::Done,
        "three rounds are enough"
    );
    let decision = wish.decide(&store.view(&target())).unwrap();
    (store, asked, decision)
}

/// Carries actions out, then reads these facts in the same execution.
async fn apply(lab: &dyn Lab, id: &str, actions: Vec<Action>, facts: &[Fact]) -> (Store, Job) {
    let job = Job {
        id: JobId::new(id),
        label: id.to_owned(),
        actions,
        timeout: TimeSpan(Duration::from_secs(30)),
        fence: None,
    };
    let applied = lab.host().apply(&job, facts, &|_| {}).await.unwrap();
    assert_eq!(
        applied.end.status,
        JobStatus::Succeeded,
        "{id}: {}",
        applied.end.stderr
    );
    let mut store = Store::default();
    learn(&mut store, applied.answers);
    (store, job)
}

/// A machine to try a kind on; for those that work through the Kubernetes API, a cluster.
async fn seeded(info: &KindInfo, make: fn() -> Box<dyn Lab>) -> Box<dyn Lab> {
    if info.scope == Scoped::Cluster {
        return cluster::cluster_lab();
    }
    let lab = make();
    apply(lab.as_ref(), "seed", seeds(), &[]).await;
    lab
}

/// The promises, for one wish on one machine. Gives all that was to be seen on the way.
async fn hold_to_contract(lab: &dyn Lab, example: &Example, wish: &dyn Wish) -> Vec<String> {
    let step = format!("{}-{}", example.kind.name, example.step);
    lab.prepare(&example.table);
    let before = lab.picture();
    let (store, facts, decision) = look(lab, wish).await;
    assert_eq!(
        lab.picture(),
        before,
        "{step}: reading and deciding change nothing"
    );
    let mut seen = vec![
        format!("{wish:?}"),
        wish.fingerprint_text(),
        format!("{store:?}{decision:?}"),
    ];
    let (diff, actions): (Vec<DiffLine>, _) = match decision {
        Decision::Unchanged if example.kind.class == Class::Check => return seen,
        Decision::Drift { diff, drift } if example.kind.class != Class::Check => (diff, drift),
        other => panic!("{step}: on a machine that is not as wished: {other:?}"),
    };
    assert!(!diff.is_empty(), "{step}: a difference can be told");
    assert!(!actions.is_empty(), "{step}: a difference can be applied");
    seen.push(serde_json::to_string(&diff).unwrap());
    if actions.contains(&Action::Reboot) && !lab.can_restart() {
        eprintln!("{step}: not applied here: a sandbox cannot be restarted without its machine");
        return seen;
    }
    if example.kind.name.starts_with("k3s_") {
        eprintln!("{step}: not applied here: K3s runs on nodes with systemd only (tests/k3s.rs)");
        seen.push(serde_json::to_string(&actions).unwrap());
        return seen;
    }

    let (after, job) = apply(lab, &format!("{step}-1"), actions.clone(), &facts).await;
    seen.push(format!("{job:?}{after:?}"));
    seen.push(serde_json::to_string(&job).unwrap());
    if wish.verifiable() {
        let decision = wish.decide(&after.view(&target())).unwrap();
        assert_eq!(
            decision,
            Decision::Unchanged,
            "{step}: applied, by the facts of the same execution"
        );
        assert_eq!(
            look(lab, wish).await.2,
            Decision::Unchanged,
            "{step}: applied, looked at afresh"
        );
    }
    // An action runs again only when it is needed again; what converges may be applied at any time.
    if example.kind.class == Class::State {
        apply(lab, &format!("{step}-2"), actions, &facts).await;
        assert_eq!(
            look(lab, wish).await.2,
            Decision::Unchanged,
            "{step}: applied twice"
        );
    }
    seen
}

/// The same table with one string after the other made secret: those where the kind takes it.
fn with_a_secret(example: &Example) -> Vec<(Example, Arc<dyn Wish>)> {
    fn variants(value: &Value) -> Vec<Value> {
        let with = |data| Value {
            span: value.span,
            data,
        };
        match &value.data {
            Data::String(text) => vec![with(Data::Tainted(format!("{text} # {CANARY}")))],
            Data::List(items) => (0..items.len())
                .flat_map(|at| variants(&items[at]).into_iter().map(move |item| (at, item)))
                .map(|(at, item)| {
                    let mut items = items.clone();
                    items[at] = item;
                    with(Data::List(items))
                })
                .collect(),
            Data::Table(entries) => (0..entries.len())
                .flat_map(|at| {
                    variants(&entries[at].1)
                        .into_iter()
                        .map(move |item| (at, item))
                })
                .map(|(at, item)| {
                    let mut entries = entries.clone();
                    entries[at].1 = item;
                    with(Data::Table(entries))
                })
                .collect(),
            _ => Vec::new(),
        }
    }
    variants(&example.table)
        .into_iter()
        .filter_map(|table| {
            let wish = wish(example.kind, &table).ok()?;
            let step = example.step.clone();
            let kind = example.kind;
            Some((Example { step, kind, table }, wish))
        })
        .collect()
}

async fn every_kind_keeps_its_promises(make: fn() -> Box<dyn Lab>) {
    for info in kinds() {
        let lab = seeded(info, make).await;
        let examples = examples(info, &lab.owner());
        assert!(
            examples
                .iter()
                .any(|example| example.kind.name == info.name)
        );
        for example in &examples {
            let wish = wish(example.kind, &example.table)
                .unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
            hold_to_contract(lab.as_ref(), example, wish.as_ref()).await;
        }
    }
}

async fn no_kind_shows_a_secret(make: fn() -> Box<dyn Lab>) {
    let mut tried = BTreeMap::new();
    for info in kinds() {
        let owner = make().owner();
        for (example, wish) in examples(info, &owner).iter().flat_map(with_a_secret) {
            let lab = seeded(info, make).await;
            let seen = hold_to_contract(lab.as_ref(), &example, wish.as_ref()).await;
            for text in seen {
                assert!(
                    !text.contains(CANARY),
                    "{} {}: {text}",
                    info.name,
                    example.step
                );
            }
            *tried.entry(info.name).or_insert(0) += 1;
        }
        let takes_secrets = serde_json::to_string(&(info.schema)())
            .unwrap()
            .contains("x-text");
        assert_eq!(
            takes_secrets,
            tried.contains_key(info.name),
            "{} is tried with a secret",
            info.name
        );
    }
    assert!(tried.values().sum::<u32>() > 0);
}

#[tokio::test]
async fn every_kind_keeps_its_promises_on_a_machine_in_memory() {
    every_kind_keeps_its_promises(memory_lab).await;
}

#[tokio::test]
async fn no_kind_shows_a_secret_on_a_machine_in_memory() {
    no_kind_shows_a_secret(memory_lab).await;
}

#[tokio::test]
async fn every_kind_keeps_its_promises_in_a_sandbox_of_this_machine() {
    every_kind_keeps_its_promises(sandbox_lab).await;
}

#[tokio::test]
async fn no_kind_shows_a_secret_in_a_sandbox_of_this_machine() {
    no_kind_shows_a_secret(sandbox_lab).await;
}

#[test]
fn the_example_of_a_playbook_in_a_playbook_has_no_mistakes() {
    assert_eq!(playbook("playbook").steps.len(), 2);
}

#[test]
fn every_example_shows_its_kind_and_nothing_lies_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/examples");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let kind_name = name.strip_suffix(".toml").unwrap();
        // `playbook` is a way to use another playbook, not a kind of the registry.
        assert!(
            kind(kind_name).is_some() || kind_name == "playbook",
            "{name} is an example of no kind"
        );
    }
}

#[test]
fn the_script_of_mount_counts_mounts_but_for_those_that_wait() {
    let text = include_str!("../src/steps/mount/apply.sh");
    let count = |skipped: &str| {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(
            root.path().join("proc/self/mountinfo"),
            "1 0 0:40 / /a\\040b rw shared:1 - autofs systemd-1 rw\n2 1 8:1 / /a\\040b rw - ext4 /dev/sda1 rw\n3 1 8:1 / /c rw - ext4 /dev/sda1 rw\n",
        )
        .unwrap();
        let function = text.split_once("\ncase $1 in").unwrap().0;
        let script = format!(
            "R='{}'\n{function}\nlayers '/a b' {skipped}\necho $n",
            root.path().display()
        );
        let output = std::process::Command::new("sh")
            .args(["-euc", &script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        (count("").as_str(), count("autofs").as_str()),
        ("2\n", "1\n")
    );
}
