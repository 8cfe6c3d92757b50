use serde_json::json;

use super::super::shared::given::{Given, runs, written};
use super::super::shared::testing::{drift, lines, mistakes, refusal, wish};
use super::*;
use crate::facts::fact::FactValue;

fn module(given: Given, name: &str, present: bool, builtin: bool, available: bool) -> Given {
    let module = Module {
        present,
        builtin,
        available,
    };
    given.fact(
        Fact::Module {
            name: name.to_owned(),
        },
        FactValue::Module(module),
    )
}

fn loaded(state: &str) -> KernelModule {
    wish(json!({ "names": "br-netfilter", "state": state }))
}

#[test]
fn a_module_is_loaded_now_and_at_boot() {
    let machine = module(Given::pi(), "br_netfilter", false, false, true);
    let (diff, actions) = drift(machine.decide(&loaded("present")));
    insta::assert_snapshot!(lines(&diff), @r"
    +load br_netfilter
     /etc/modules-load.d/hmco-boot-br_netfilter.conf
    +new file, mode 0644
    +# Written by hmco-boot; changes here are put back.
    +br_netfilter
    ");
    assert_eq!(runs(&actions[..1]), ["modprobe -a br_netfilter"]);
    module(machine.after(&actions), "br_netfilter", true, false, true)
        .assert_converged(&loaded("present"));
}

#[test]
fn one_that_is_built_in_counts_as_loaded() {
    let machine = module(Given::pi(), "br_netfilter", true, true, true);
    let (_, actions) = drift(machine.decide(&loaded("present")));
    assert_eq!(runs(&actions), Vec::<String>::new());
    let told = refusal(machine.decide(&loaded("absent")));
    assert!(told.contains("built into this kernel"), "{told}");
}

#[test]
fn one_that_shall_not_be_there_is_kept_away_from_everybody() {
    let machine = module(
        Given::pi().file("/etc/modules-load.d/hmco-boot-br_netfilter.conf", "x"),
        "br_netfilter",
        true,
        false,
        true,
    );
    let (_, actions) = drift(machine.decide(&loaded("absent")));
    let text = written(&actions, "/etc/modprobe.d/hmco-boot-br_netfilter.conf").unwrap();
    assert!(
        text.contains("blacklist br_netfilter\ninstall br_netfilter /bin/false\n"),
        "{text}"
    );
    assert_eq!(runs(&actions), ["modprobe -r br_netfilter"]);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Remove { .. }))
    );
    module(machine.after(&actions), "br_netfilter", false, false, true)
        .assert_converged(&loaded("absent"));
}

#[test]
fn what_the_kernel_does_not_have_is_refused_with_what_brings_it() {
    let ubuntu = Given::pi().os(|os| {
        os.id = "ubuntu".to_owned();
        os.kernel = "5.15.0-1070-raspi".to_owned();
    });
    insta::assert_snapshot!(refusal(module(ubuntu, "br_netfilter", false, false, false).decide(&loaded("present"))), @r"
    this kernel has no module br_netfilter
      kernel 5.15.0-1070-raspi
    hint: install `linux-modules-extra-raspi` (a `packages` step before this one); where the kernel was upgraded since this boot, its modules are gone: reboot
    ");
    let lxc = Given::pi().os(|os| os.container = "lxc".to_owned());
    let told = refusal(module(lxc, "br_netfilter", false, false, false).decide(&loaded("present")));
    assert!(
        told.contains("on the host: put `br_netfilter` into a file"),
        "{told}"
    );
    let lxc = Given::pi().os(|os| os.container = "lxc".to_owned());
    drift(module(lxc, "br_netfilter", true, false, true).decide(&loaded("present")));
}

#[test]
fn mistakes_are_told() {
    assert_eq!(
        mistakes::<KernelModule>(json!({ "names": [] })),
        "names: which modules?"
    );
    assert!(mistakes::<KernelModule>(json!({ "names": "-r" })).contains("is not the name"));
}
