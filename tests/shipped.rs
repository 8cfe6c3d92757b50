//! Everything that is shipped works as it is: each embedded playbook, the examples among them, and what `init` makes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;

use hmco_boot::config::files::MemoryFiles;
use hmco_boot::config::project::{Loaded, Options, load_from};
use hmco_boot::config::shipped;
use hmco_boot::model::fingerprint::Fingerprinter;
use hmco_boot::plan::Plan;
use hmco_boot::plan::build::{Request, build};

const INVENTORY: &str = r#"
[cluster]
name = "homelab"
domain = "lab.example.org"
api_address = "192.0.2.1"
[node.server]
address = "192.0.2.1"
roles = ["server"]
[node.agent]
address = "192.0.2.2"
roles = ["agent"]
"#;

/// Pins for what the examples name; made up, for planning fetches nothing.
fn pins() -> String {
    let digest = "0a".repeat(32);
    let mut text = String::new();
    for name in ["k3s", "helm"] {
        text.push_str(&format!(
            "[[artifact]]\nname = \"{name}\"\nversion = \"v1\"\narch = \"all\"\nurl = \"https://example.org/{name}\"\nsha256 = \"{digest}\"\nsize = 5\n\n[artifact.members]\nhelm = {{ path = \"helm\", sha256 = \"{digest}\", size = 5 }}\n\n"
        ));
    }
    text
}

/// Loads without a word, and plans.
fn plan(files: &MemoryFiles, playbook: &str) -> Plan {
    let options = Options {
        playbook: Some(playbook.to_owned()),
        lint_shipped: true,
        ..Options::default()
    };
    let loaded: Loaded = load_from(files, None, &options);
    assert!(
        loaded.mistakes.is_empty(),
        "{playbook}: {:#?}",
        loaded.mistakes
    );
    let project = loaded.project().unwrap();
    let request = Request {
        inventory: project.inventory.as_ref().unwrap(),
        playbooks: &project.playbooks,
        playbook: &project.playbooks[playbook],
        limit: None,
        vars: &BTreeMap::new(),
        secrets: &|name| Ok(format!("the secret {name}")),
        pins: &project.pins.book(),
        fingerprinter: &Fingerprinter::new([7; 32]),
    };
    build(&request).unwrap_or_else(|mistakes| panic!("{playbook}: {mistakes:#?}"))
}

#[test]
fn every_shipped_playbook_loads_without_a_warning_and_plans() {
    let bare = MemoryFiles::default().with("inventory/homelab.toml", INVENTORY);
    let loaded = load_from(&bare, None, &Options::default());
    let mut count = 0;
    for path in shipped::paths() {
        if !path.ends_with(".toml") {
            continue;
        }
        let mut inventory = INVENTORY.to_owned();
        inventory.push_str("[vars]\n");
        for (name, declared) in &loaded.as_far_as_read().playbooks[path].vars {
            if declared.default.is_none() {
                inventory.push_str(&format!("{name} = {}\n", declared.kind.example()));
            }
        }
        let files = MemoryFiles::default()
            .with("inventory/homelab.toml", inventory)
            .with("hmco-boot.lock", pins());
        assert!(!plan(&files, path).pairs.is_empty(), "{path} does nothing");
        count += 1;
    }
    assert!(count >= 7, "only {count}");
}

#[test]
fn new_agents_wait_for_one_server_and_members_for_all() {
    let more = [("second", 3), ("third", 4)].map(|(name, number)| {
        format!("[node.{name}]\naddress = \"192.0.2.{number}\"\nroles = [\"server\"]\n")
    });
    let more = more.concat();
    let files = MemoryFiles::default()
        .with("inventory/homelab.toml", format!("{INVENTORY}{more}"))
        .with("hmco-boot.lock", pins());
    let plan = plan(&files, "k3s.toml");
    let waits_for = |step: &str| -> Vec<String> {
        let pair = |pair: &&hmco_boot::plan::Pair| pair.step.to_string() == step;
        let pair = plan.pairs.iter().find(pair).unwrap();
        let needs = plan.needs(pair.id).into_iter();
        needs.map(|id| plan.pairs[id.index()].label()).collect()
    };
    assert_eq!(waits_for("join"), ["binary@agent", "servers@server"]);
    assert_eq!(
        waits_for("agents"),
        [
            "servers@server",
            "servers@second",
            "servers@third",
            "join@agent"
        ]
    );
}

#[test]
fn what_init_makes_loads_without_a_warning_and_plans() {
    let files = MemoryFiles::default()
        .with(
            "inventory/homelab.toml",
            include_str!("../src/cli/init/homelab.toml"),
        )
        .with(
            "playbooks/hello.toml",
            include_str!("../src/cli/init/hello.toml"),
        );
    assert!(!plan(&files, "hello.toml").pairs.is_empty());
}
