use serde_json::json;

use super::super::shared::given::{Given, runs, written};
use super::super::shared::testing::{drift, lines, refusal, wish};
use super::*;
use crate::facts::fact::{FactValue, SwapArea, Unit};

fn off() -> Swap {
    wish(json!({ "state": "off" }))
}

fn machine(active: &[&str], units: &[&str]) -> Given {
    let swaps = Swaps {
        active: active
            .iter()
            .map(|name| SwapArea {
                name: (*name).to_owned(),
                kind: "file".to_owned(),
                size: 100 << 20,
                used: 3 << 20,
            })
            .collect(),
        units: units.iter().map(|unit| (*unit).to_owned()).collect(),
    };
    Given::pi().fact(Fact::Swaps, FactValue::Swaps(swaps))
}

fn service(given: Given, enabled: &str, active: &str) -> Given {
    let unit = Unit {
        load: "loaded".to_owned(),
        enabled: enabled.to_owned(),
        active: active.to_owned(),
        ..Unit::default()
    };
    given.fact(
        Fact::Unit {
            name: "dphys-swapfile.service".to_owned(),
        },
        FactValue::Unit(unit),
    )
}

#[test]
fn swap_is_off_now_and_at_boot_wherever_it_comes_from() {
    let raspbian = service(
        machine(&["/var/swap"], &["dev-zram0.swap"]),
        "enabled",
        "active",
    )
    .file(
        fstab::PATH,
        "proc /proc proc defaults 0 0\n/swapfile none swap sw 0 0\n",
    );
    let (diff, actions) = drift(raspbian.decide(&off()));
    insta::assert_snapshot!(lines(&diff), @r"
    -swap on /var/swap (100 MiB, 3 MiB used)
    -dphys-swapfile.service starts swap at boot
    -dev-zram0.swap starts at boot
     /etc/fstab
     @@ line 1 @@
     proc /proc proc defaults 0 0
    -/swapfile none swap sw 0 0
    +# off by hmco-boot: /swapfile none swap sw 0 0
    ");
    assert_eq!(runs(&actions), ["swap dphys-swapfile.service"]);
    let text = written(&actions, fstab::PATH).unwrap();
    service(machine(&[], &[]), "disabled", "inactive")
        .file(fstab::PATH, &text)
        .assert_converged(&off());
}

#[test]
fn each_place_alone_is_enough() {
    drift(machine(&["/dev/zram0"], &[]).decide(&off()));
    drift(machine(&[], &["dev-sda3.swap"]).decide(&off()));
    drift(
        machine(&[], &[])
            .file(fstab::PATH, "/dev/sda3 none swap sw")
            .decide(&off()),
    );
    drift(service(machine(&[], &[]), "enabled", "inactive").decide(&off()));
    machine(&[], &[]).assert_converged(&off());
}

#[test]
fn the_swap_of_a_containers_host_is_left_alone() {
    let lxc = machine(&["/dev/sda3"], &[]).os(|os| os.container = "lxc".to_owned());
    let told = refusal(lxc.decide(&off()));
    assert!(told.contains("is the host's"), "{told}");
}
