use std::collections::BTreeMap;

use serde_json::json;

use super::super::shared::given::{Given, runs, written};
use super::super::shared::testing::{self, CANARY, drift, lines, refusal, secret, sha256, target};
use super::*;
use crate::facts::fact::{ExecResult, FactValue, K3sData, K3sInstall, Unit};
use crate::model::artifact::{Artifact, Pin, PinArch};

const BYTES: &str = "a K3s";

fn book() -> PinBook {
    let mut book = PinBook::default();
    book.add(Artifact {
        name: "k3s".to_owned(),
        pins: vec![Pin {
            name: "k3s".to_owned(),
            version: "v1.34.6+k3s1".to_owned(),
            arch: PinArch::All,
            url: "https://example.org/k3s".to_owned(),
            sha256: sha256(BYTES.as_bytes()),
            size: BYTES.len() as u64,
            fetch: Fetch::Controller,
            members: BTreeMap::new(),
        }],
    });
    book
}

/// The wish for a single server, changed.
fn wish(more: serde_json::Value) -> K3sServer {
    let mut table = json!({
        "nodes": [{ "name": "pi5-01", "address": "192.0.2.1", "roles": ["server"] }],
        "token": secret("the-token"),
    });
    for (key, value) in more.as_object().unwrap() {
        table[key] = value.clone();
    }
    let mut wish: K3sServer = testing::wish(table);
    assert_eq!(Kind::pins(&mut wish, &book()), []);
    wish
}

/// A machine on which everything was written and started by this wish; `active`: its unit.
fn running(wish: &K3sServer, active: &str) -> Given {
    let (_, actions) = drift(Given::pi().decide(wish));
    let etcd = K3sData {
        etcd: true,
        ..K3sData::default()
    };
    let installed = K3sInstall {
        version: "k3s version v1.34.6+k3s1 (abc)".to_owned(),
        ..K3sInstall::default()
    };
    let made = Given::pi()
        .after(&actions)
        .file(files::BINARY, BYTES)
        .with(files::BINARY, |stat| stat.mode = 0o755)
        .folder(files::DROP_INS)
        .file(SERVER_TOKEN, "K10abc::server:the-token\n")
        .fact(Fact::K3sData, FactValue::K3sData(etcd))
        .fact(Fact::K3sInstall, FactValue::K3sInstall(installed));
    let made = files::LINKS.iter().fold(made, |made, link| {
        made.file(&format!("/usr/local/bin/{link}"), "")
    });
    stamped(made, wish, active)
}

/// With the record of a start by exactly what is there now.
fn stamped(made: Given, wish: &K3sServer, active: &str) -> Given {
    let inputs = [
        files::BINARY,
        files::BASE,
        files::TOKEN,
        files::REGISTRIES,
        "/etc/systemd/system/k3s.service.env",
        "/etc/systemd/system/k3s.service",
    ];
    let mut stamp = "salt s\n".to_owned();
    for input in inputs {
        let digest = made.digest(input).unwrap_or_else(|| "absent".to_owned());
        let digest = sha256(format!("s:{digest}").as_bytes());
        stamp.push_str(&format!("input {digest} x {input}\n"));
    }
    stamp.push_str("invocation i1\n");
    let unit = Unit {
        load: "loaded".to_owned(),
        active: active.to_owned(),
        sub: "running".to_owned(),
        enabled: "enabled".to_owned(),
        fragment: "/etc/systemd/system/k3s.service".to_owned(),
        invocation: "i1".to_owned(),
        id: "k3s.service".to_owned(),
        service_type: "notify".to_owned(),
        stamp: Some(stamp),
        ..Unit::default()
    };
    let name = "k3s.service".to_owned();
    let made = made.fact(Fact::Unit { name }, FactValue::Unit(unit));
    said(
        made,
        wish,
        "readyz=ok\nready=True\nvoter=True\nkubelet=v1.34.6+k3s1\n",
    )
}

/// With what K3s says of itself.
fn said(made: Given, wish: &K3sServer, text: &str) -> Given {
    let running = Running {
        role: Role::Server,
        node: match wish.config.get("node-name") {
            Some(Setting::Text(name)) => name.clone(),
            _ => String::new(),
        },
        etcd: true,
        version: "v1.34.6+k3s1".to_owned(),
    };
    let answer = ExecResult {
        exit: 0,
        stdout: text.into(),
        stderr: Vec::new(),
    };
    made.fact(running.fact(), FactValue::Exec(answer))
}

#[test]
fn a_first_server_gets_its_files_before_its_unit_and_is_enabled_once_it_is_a_member() {
    let wish = wish(json!({
        "api_address": "192.0.2.9",
        "config": { "disable": ["traefik"], "tls-san": ["k3s.lab"] },
    }));
    let (diff, actions) = drift(Given::pi().decide(&wish));
    insta::assert_snapshot!(written(&actions, files::BASE).unwrap(), @r#"
    # Written by hmco-boot, which overwrites changes. Further keys: `config` of the step.
    cluster-init: true
    disable: ["traefik"]
    secrets-encryption: true
    tls-san: ["192.0.2.9", "k3s.lab"]
    "#);
    assert_eq!(
        written(&actions, files::TOKEN).unwrap(),
        "token: \"the-token\"\n"
    );
    let purposes: Vec<String> = actions.iter().filter_map(Action::purpose).collect();
    insta::assert_snapshot!(purposes.join("\n"), @r"
    make the folder /etc/rancher/k3s/config.yaml.d
    write /etc/rancher/k3s/config.yaml.d/20-token.yaml
    write /etc/rancher/k3s/config.yaml.d/10-base.yaml
    write /etc/systemd/system/k3s.service.env
    put k3s in its place /usr/local/bin/k3s
    make /usr/local/bin/kubectl a link to k3s
    make /usr/local/bin/crictl a link to k3s
    make /usr/local/bin/ctr a link to k3s
    write /usr/local/bin/k3s-killall.sh
    write /usr/local/bin/k3s-uninstall.sh
    prove the configuration of k3s.service before its start
    put the files of k3s.service in place
    write /etc/systemd/system/k3s.service
    let systemd read its unit files again
    start k3s.service
    bring k3s.service into the cluster
    enable k3s.service
    bring k3s.service up
    ");
    assert!(
        runs(&actions)[0].ends_with("k3s.service init"),
        "{:?}",
        runs(&actions)
    );
    assert!(!lines(&diff).contains("the-token"));
    assert!(!Kind::disrupts(
        &wish,
        &Steps {
            actions,
            restarts: false
        }
    ));
}

#[test]
fn a_server_that_is_up_as_wished_is_left_alone_after_two_rounds() {
    let wish = wish(json!({}));
    let (decision, rounds) = running(&wish, "active").decide_in(&wish);
    assert_eq!(decision, Decision::Unchanged);
    assert_eq!(rounds, 2);
}

#[test]
fn a_server_that_is_not_up_yet_is_waited_for_and_not_restarted() {
    let wish = wish(json!({}));
    let (diff, actions) = drift(running(&wish, "activating").decide(&wish));
    assert_eq!(lines(&diff), "+wait: k3s.service is activating (running)");
    assert_eq!(runs(&actions).len(), 1, "{actions:?}");
    let late = said(
        running(&wish, "active"),
        &wish,
        "node=a\nreadyz=ok\nready=False\nvoter=True\nkubelet=v1.34.6+k3s1\n",
    );
    let (diff, actions) = drift(late.decide(&wish));
    assert_eq!(lines(&diff), "+wait: Node a is not Ready");
    assert_eq!(actions.len(), 1);
}

#[test]
fn a_change_of_the_configuration_restarts_a_server_that_serves_and_that_disturbs() {
    let before = wish(json!({}));
    let after = wish(json!({ "config": { "disable": ["traefik"] } }));
    let Decision::Drift { diff, drift } = decided(&running(&before, "active"), &after) else {
        panic!()
    };
    assert!(
        lines(&diff).contains("restart: what it reads changes"),
        "{}",
        lines(&diff)
    );
    assert!(drift.restarts && Kind::disrupts(&after, &drift));
    let purposes: Vec<String> = drift.actions.iter().filter_map(Action::purpose).collect();
    assert_eq!(
        purposes,
        [
            "write /etc/rancher/k3s/config.yaml.d/10-base.yaml",
            "prove the configuration of k3s.service before its start",
            "restart k3s.service",
            "bring k3s.service up",
        ]
    );
    assert!(runs(&drift.actions)[0].ends_with(" keep"));
}

/// The decision with its own drift.
fn decided(given: &Given, wish: &K3sServer) -> Decision<Steps> {
    let mut store = crate::facts::known::Store::default();
    while let Want::More(facts) = Kind::facts(wish, &store.view(&target())) {
        let answers: Vec<_> = facts
            .into_iter()
            .map(|fact| (fact.fact.clone(), given.answer(&fact.fact)))
            .collect();
        store.insert(&target(), answers);
    }
    Kind::decide(wish, &store.view(&target())).unwrap()
}

#[test]
fn another_version_on_a_member_is_refused_and_names_the_command() {
    let wish = wish(json!({}));
    let older = K3sInstall {
        version: "k3s-old version v1.33.1+k3s1 (abc)".to_owned(),
        ..K3sInstall::default()
    };
    let given = running(&wish, "active").fact(Fact::K3sInstall, FactValue::K3sInstall(older));
    insta::assert_snapshot!(refusal(given.decide(&wish)), @r"
    K3s is v1.33.1+k3s1 here, and v1.34.6+k3s1 is pinned: a version is not changed in passing
      the order of the nodes, drains and a snapshot before belong to it
    hint: pin v1.33.1+k3s1 again. `hmco-boot k3s upgrade`, which is to do it, does not exist yet; by hand, never downwards and no minor version left out: save a snapshot, then on one server after the other, then on the agents, put the pinned binary in the place of /usr/local/bin/k3s, restart K3s, and wait until its Node is Ready
    ");
}

#[test]
fn a_k3s_under_another_name_is_refused_by_that_name() {
    let wish = wish(json!({}));
    let install = K3sInstall {
        units: vec!["k3s-home.service".to_owned()],
        ..K3sInstall::default()
    };
    let given = Given::pi().fact(Fact::K3sInstall, FactValue::K3sInstall(install));
    insta::assert_snapshot!(refusal(given.decide(&wish)), @r"
    K3s was installed here under another name: k3s-home.service
      a second one beside it would run on the same data
    hint: give it the usual name: `systemctl disable --now k3s-home`, rename k3s-home.service and k3s-home.service.env in /etc/systemd/system to k3s.service and k3s.service.env (also where the unit names its environment), then `hmco-boot k3s adopt`; or take it away: k3s-home-uninstall.sh
    ");
}

#[test]
fn no_binary_is_put_to_data_of_a_version_that_nobody_tells() {
    let wish = wish(json!({}));
    let untold = FactValue::K3sInstall(K3sInstall::default());
    let given = running(&wish, "active").fact(Fact::K3sInstall, untold);
    // The pinned one is there, and only does not tell.
    let same = given.decide(&wish);
    assert!(matches!(same, Decision::Unchanged), "{same:?}");
    let refused = refusal(given.file(files::BINARY, "another K3s").decide(&wish));
    assert!(refused.contains("its binary is gone"), "{refused}");
    assert!(refused.contains("kubectl get nodes"), "{refused}");
}

#[test]
fn another_token_than_that_of_the_datastore_is_refused() {
    let wish = wish(json!({}));
    let given = running(&wish, "active").file(SERVER_TOKEN, "K10abc::server:canary-7Q2x\n");
    let refused = refusal(given.decide(&wish));
    assert!(refused.contains("would not start again"), "{refused}");
    assert!(!refused.contains(CANARY), "{refused}");
}

/// A machine with this in `config.yaml`.
fn with_config(text: &str) -> Given {
    let config = "/etc/rancher/k3s/config.yaml";
    let install = K3sInstall {
        config_files: vec![config.to_owned(), files::BASE.to_owned()],
        ..K3sInstall::default()
    };
    Given::pi()
        .file(config, text)
        .fact(Fact::K3sInstall, FactValue::K3sInstall(install))
}

#[test]
fn a_key_that_another_file_sets_otherwise_is_refused_and_the_same_value_is_not() {
    let wish = wish(json!({ "config": { "disable": ["traefik"] } }));
    let refused =
        refusal(with_config("disable: []\ntoken: canary-7Q2x\nserver: https://x\n").decide(&wish));
    assert!(
        refused.starts_with("/etc/rancher/k3s/config.yaml sets otherwise what this step decides: disable, server, token\n"),
        "{refused}"
    );
    assert!(!refused.contains(CANARY));
    let same = with_config(
        "disable: traefik\ntoken: the-token\ncluster-init: true\nnode-label: [\"a=b\"]\n",
    );
    drift(same.decide(&wish));
    let odd = with_config("disable: {a: b}\n");
    assert!(refusal(odd.decide(&wish)).contains("is not understood"));
}

#[test]
fn a_server_that_was_to_leave_and_stays_is_started_again_when_it_dies() {
    let wish = wish(json!({}));
    let held = running(&wish, "active").file(files::HOLD, "[Service]\nRestart=no\n");
    let (diff, actions) = drift(held.decide(&wish));
    assert!(
        lines(&diff).contains("systemd would not start it again"),
        "{}",
        lines(&diff)
    );
    let purposes: Vec<String> = actions.iter().filter_map(Action::purpose).collect();
    assert_eq!(
        purposes,
        [
            "remove /run/systemd/system/k3s.service.d/hmco-boot-leaving.conf",
            "let systemd read its unit files again",
        ]
    );
}

#[test]
fn a_unit_of_somebody_else_without_data_is_not_taken_for_a_new_server() {
    let wish = wish(json!({}));
    let theirs = "[Service]\nExecStart=/usr/local/bin/k3s server --data-dir /mnt/ssd/k3s\n";
    let given = Given::pi().file("/etc/systemd/system/k3s.service", theirs);
    let refused = refusal(given.decide(&wish));
    assert!(
        refused.contains("installed here in another way"),
        "{refused}"
    );
    let own = files::unit_text(Role::Server);
    drift(
        Given::pi()
            .file("/etc/systemd/system/k3s.service", &own)
            .decide(&wish),
    );
}

#[test]
fn a_server_runs_beside_no_agent_and_is_one_of_the_inventory() {
    let wish = wish(json!({}));
    let agent = Unit {
        active: "active".to_owned(),
        ..Unit::default()
    };
    let name = "k3s-agent.service".to_owned();
    let given = Given::pi().fact(Fact::Unit { name }, FactValue::Unit(agent));
    assert!(refusal(given.decide(&wish)).contains("server or agent, not both"));
    let other = self::wish(json!({ "nodes": [{ "name": "other", "roles": ["server"] }] }));
    // Facts of the other node are nobody's here.
    let own_only = K3sServer {
        nodes: vec![Peer {
            name: "pi5-01".to_owned(),
            roles: vec!["agent".to_owned()],
            ..Peer::default()
        }],
        ..other
    };
    assert!(refusal(Given::pi().decide(&own_only)).contains("is no server of the inventory"));
}

#[test]
fn what_a_table_must_not_have_is_told_by_its_key() {
    let told = testing::mistakes::<K3sServer>(json!({
        "nodes": [],
        "token": " x",
        "generate": true,
        "config": { "cluster-init": true, "tls_san": "x", "disable": [["a"]] },
        "env": { "K3S_TOKEN": "x", "a-b": "y" },
        "start_timeout": "1s",
    }));
    insta::assert_snapshot!(told, @r#"
    config: `cluster-init` is said by `nodes`: whether a cluster is made is decided over all servers
    config: `disable`: no flag takes a list of lists
    config: "tls_san" is no flag of K3s; flags are written with `-`, and each key has its whole value
    env: K3S_TOKEN is said by `token`
    env: "a-b" cannot be the name of a variable
    token: the token has blanks around it or control characters
    start_timeout: K3s needs at least 10s to start
    nodes: the nodes of the cluster are needed: `nodes = "{{ nodes }}"`
    generate: only a secret can be made: `token = { secret = "k3s/token" }`
    "#);
}

#[test]
fn what_may_be_made_is_the_token_of_a_wish_that_says_so() {
    assert_eq!(Kind::makes(&wish(json!({}))), None);
    let made = wish(json!({ "generate": true }));
    assert_eq!(Kind::makes(&made).unwrap().expose(), "the-token");
}
