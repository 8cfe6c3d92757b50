use serde_json::json;

use super::super::shared::given::{Given, runs};
use super::super::shared::testing::{drift, lines, mistakes, refusal, wish};
use super::*;
use crate::facts::fact::FactValue;

fn machine(lock_holder: Option<&str>, interrupted: bool) -> Given {
    let manager = PackageManager {
        name: "apt".to_owned(),
        lock_holder: lock_holder.map(str::to_owned),
        interrupted,
    };
    Given::pi().fact(Fact::PackageManager, FactValue::PackageManager(manager))
}

fn package(given: Given, name: &str, state: &str, version: Option<&str>) -> Given {
    let package = Package {
        version: version.map(str::to_owned),
        state: state.to_owned(),
        held: state.starts_with("hold"),
    };
    given.fact(
        Fact::Package {
            name: name.to_owned(),
        },
        FactValue::Package(package),
    )
}

fn tools() -> Packages {
    wish(json!({ "names": ["curl", "jq=1.6*"] }))
}

const OK: &str = "install ok installed";

#[test]
fn all_that_is_missing_comes_in_one_transaction() {
    let bare = package(
        machine(None, false),
        "curl",
        "unknown ok not-installed",
        None,
    );
    let (diff, actions) = drift(package(bare, "jq", OK, Some("1.5-1")).decide(&tools()));
    insta::assert_snapshot!(lines(&diff), @r"
    +curl
     jq 1.5-1 -> 1.6*
    ");
    assert_eq!(
        runs(&actions),
        [
            "packages install lock=300 update=auto age=86400 recommends=no removals=no downgrades=no curl jq=1.6*"
        ]
    );
    let done = package(
        package(machine(None, false), "curl", OK, Some("8")),
        "jq",
        OK,
        Some("1.6-2"),
    );
    done.assert_converged(&tools());
}

#[test]
fn what_is_left_half_way_is_drift_and_repaired_even_where_it_is_held() {
    for state in [
        "install ok unpacked",
        "install ok half-configured",
        "install reinstreq half-installed",
        "hold ok unpacked",
        "install ok triggers-pending",
    ] {
        let half = package(
            package(machine(None, false), "jq", OK, Some("1.6")),
            "curl",
            state,
            Some("8"),
        );
        let (diff, _) = drift(half.decide(&tools()));
        assert!(
            lines(&diff).contains("curl 8 is left half-way"),
            "{state}: {}",
            lines(&diff)
        );
    }
}

#[test]
fn an_interrupted_dpkg_is_repaired_unless_another_one_is_at_work() {
    let fine = |given| package(package(given, "curl", OK, Some("8")), "jq", OK, Some("1.6"));
    let (diff, actions) = drift(fine(machine(None, true)).decide(&tools()));
    insta::assert_snapshot!(lines(&diff), @" an installation was interrupted: repaired first (dpkg --configure -a)");
    assert!(
        runs(&actions)[0].starts_with("packages repair "),
        "{actions:?}"
    );
    fine(machine(Some("812 apt-get"), true)).assert_converged(&tools());
}

#[test]
fn who_holds_the_lock_is_told() {
    let busy = machine(Some("812 unattended-upgr"), false);
    let busy = package(
        package(busy, "curl", OK, Some("8")),
        "jq",
        "unknown ok not-installed",
        None,
    );
    let (diff, _) = drift(busy.decide(&tools()));
    insta::assert_snapshot!(lines(&diff), @r"
    +jq=1.6*
     waits for 812 unattended-upgr, which holds the package manager's lock (at most 5m)
    ");
}

#[test]
fn what_is_held_back_is_not_changed() {
    let held = package(
        package(machine(None, false), "jq", "hold ok installed", Some("1.5")),
        "curl",
        "hold ok installed",
        Some("8"),
    );
    insta::assert_snapshot!(refusal(held.decide(&tools())), @r"
    held back on this machine: jq
      `apt-mark showhold` lists what is held
    hint: somebody did that on purpose: ask, then `apt-mark unhold jq`, or take it out of this step
    ");
}

#[test]
fn removing_leaves_configuration_unless_it_is_purged() {
    let kept = package(
        machine(None, false),
        "nano",
        "deinstall ok config-files",
        None,
    );
    kept.assert_converged(&wish::<Packages>(
        json!({ "names": "nano", "state": "absent" }),
    ));
    let (diff, actions) = drift(kept.decide(&wish::<Packages>(
        json!({ "names": "nano", "state": "absent", "purge": true }),
    )));
    assert_eq!(lines(&diff), "-configuration of nano");
    assert!(
        runs(&actions)[0].starts_with("packages purge ") && runs(&actions)[0].ends_with(" nano")
    );
}

#[test]
fn another_package_manager_is_refused_by_the_name_of_the_distribution() {
    let alpine = Given::pi().os(|os| os.id = "alpine".to_owned()).fact(
        Fact::PackageManager,
        FactValue::PackageManager(PackageManager::default()),
    );
    let told = refusal(alpine.decide(&tools()));
    assert!(
        told.starts_with("there is no apt on this machine (distribution: alpine)"),
        "{told}"
    );
}

#[test]
fn mistakes_are_told() {
    assert_eq!(
        mistakes::<Packages>(json!({ "names": [] })),
        "names: which packages?"
    );
    insta::assert_snapshot!(mistakes::<Packages>(json!({ "names": ["-y", "curl", "curl=1", "a b"], "purge": true })), @r#"
    names: "-y" is not the name of a package
    names: curl is named twice
    names: "a b" is not the name of a package
    purge: `purge` goes with `state = "absent"`
    "#);
    assert!(
        mistakes::<Packages>(json!({ "names": "curl=1", "state": "absent" }))
            .contains("says nothing")
    );
}
