use serde_json::json;

use super::super::shared::given::{Given, runs, written};
use super::super::shared::testing::{drift, lines, mistakes, refusal, wish};
use super::*;

const IMAGE: &str = "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n";

fn image() -> Given {
    Given::pi()
        .file(HOSTNAME, "raspberrypi\n")
        .file(HOSTS, IMAGE)
}

fn named() -> Hostname {
    wish(json!({ "name": "pi5-01" }))
}

#[test]
fn the_name_is_changed_in_all_places_and_the_files_come_first() {
    let (diff, actions) = drift(image().decide(&named()));
    insta::assert_snapshot!(lines(&diff), @r"
     /etc/hostname
     @@ line 1 @@
    -raspberrypi
    +pi5-01
     /etc/hosts
     @@ line 1 @@
     127.0.0.1	localhost
    -127.0.1.1	raspberrypi
    +127.0.1.1	pi5-01
    -host name raspberrypi
    +host name pi5-01
    ");
    assert_eq!(runs(&actions[2..]), ["hostname pi5-01"]);
    let after = image().after(&actions);
    drift(after.decide(&named()));
    after
        .os(|os| os.hostname = "pi5-01".to_owned())
        .assert_converged(&named());
}

#[test]
fn cloud_init_is_told_to_leave_the_name_alone() {
    let machine = image().file(CLOUD, "preserve_hostname: false\n");
    let (_, actions) = drift(machine.decide(&named()));
    assert!(
        written(&actions, CLOUD_OWN)
            .unwrap()
            .ends_with("preserve_hostname: true\n")
    );
    let managed = image().file(
        HOSTS,
        "# Your system has configured 'manage_etc_hosts' as True.\n127.0.1.1 old\n",
    );
    let (diff, _) = drift(managed.decide(&named()));
    assert!(
        lines(&diff).contains("writes this file anew at every boot"),
        "{}",
        lines(&diff)
    );
}

#[test]
fn a_machine_that_k3s_knows_by_another_name_is_not_renamed() {
    let data = K3sData {
        agent: true,
        ..K3sData::default()
    };
    let joined = image().fact(Fact::K3sData, FactValue::K3sData(data));
    insta::assert_snapshot!(refusal(joined.decide(&named())), @r#"
    K3s runs on this machine as node "raspberrypi"; under another name it would join as a second node
      host name now: raspberrypi, wanted: pi5-01
    hint: name the node raspberrypi in the inventory, or take it out of the cluster and uninstall K3s there first
    "#);
    drift(
        joined
            .os(|os| os.hostname = "pi5-01".to_owned())
            .decide(&named()),
    );
}

#[test]
fn hosts_is_left_alone_on_request_and_an_lxc_guest_is_told_of_its_host() {
    let lxc = image().os(|os| os.container = "lxc".to_owned());
    let (diff, actions) = drift(lxc.decide(&wish::<Hostname>(
        json!({ "name": "pi5-01", "hosts": false }),
    )));
    assert_eq!(written(&actions, HOSTS), None);
    assert!(
        lines(&diff).contains("gets its name from the host"),
        "{}",
        lines(&diff)
    );
}

#[test]
fn names_that_kubernetes_would_not_take_are_mistakes() {
    for bad in ["", "Pi", "pi_1", "-pi", "pi-", "pi.lab"] {
        assert!(
            !mistakes::<Hostname>(json!({ "name": bad })).is_empty(),
            "{bad}"
        );
    }
    assert!(mistakes::<Hostname>(json!({ "name": "a.b" })).contains("`domain`"));
    assert!(!mistakes::<Hostname>(json!({ "name": "a", "domain": "x..y" })).is_empty());
}
