use serde_json::json;

use super::super::shared::given::{Given, runs, written};
use super::super::shared::testing::{drift, lines, mistakes, refusal, wish};
use super::*;
use crate::facts::fact::{FactValue, SysctlFile};

const FILE: &str = "/etc/sysctl.d/90-hmco-boot-k3s.conf";

fn forwarding() -> Sysctl {
    wish(
        json!({ "name": "k3s", "values": { "net.ipv4.ip_forward": 1, "net.ipv4.tcp_rmem": "4096  131072 6291456" } }),
    )
}

fn kernel(given: Given, forward: &str) -> Given {
    let text = |text: &str| FactValue::Text(text.to_owned());
    let name = |name: &str| Fact::Sysctl {
        name: name.to_owned(),
    };
    given
        .fact(name("net.ipv4.ip_forward"), text(forward))
        .fact(name("net.ipv4.tcp_rmem"), text("4096\t131072\t6291456"))
}

fn files(given: Given, path: &str, line: &str) -> Given {
    let file = SysctlFile {
        path: path.to_owned(),
        lines: vec![line.to_owned()],
    };
    given.fact(Fact::SysctlFiles, FactValue::SysctlFiles(vec![file]))
}

#[test]
fn values_are_set_now_and_kept_for_every_boot_and_blanks_do_not_count() {
    let machine = kernel(Given::pi(), "0");
    let (diff, actions) = drift(machine.decide(&forwarding()));
    insta::assert_snapshot!(lines(&diff), @r"
    -net.ipv4.ip_forward = 0
    +net.ipv4.ip_forward = 1
     /etc/sysctl.d/90-hmco-boot-k3s.conf
    +new file, mode 0644
    +# Written by hmco-boot; changes here are put back.
    +net.ipv4.ip_forward = 1
    +net.ipv4.tcp_rmem = 4096 131072 6291456
    ");
    assert_eq!(runs(&actions), ["sysctl /proc/sys/net/ipv4/ip_forward 1"]);
    kernel(machine.after(&actions), "1").assert_converged(&forwarding());
}

#[test]
fn the_value_now_and_the_file_are_two_things() {
    let (_, actions) = drift(kernel(Given::pi(), "1").decide(&forwarding()));
    assert_eq!(runs(&actions), Vec::<String>::new());
    let text = written(&actions, FILE).unwrap();
    let (_, actions) = drift(kernel(Given::pi().file(FILE, &text), "0").decide(&forwarding()));
    assert_eq!((actions.len(), runs(&actions).len()), (1, 1));
}

#[test]
fn what_another_file_undoes_at_boot_is_refused_with_its_name() {
    let machine = files(
        kernel(Given::pi(), "1"),
        "/etc/sysctl.d/99-sysctl.conf",
        "net/ipv4/ip_forward=0",
    );
    insta::assert_snapshot!(refusal(machine.decide(&forwarding())), @r#"
    another file sets this differently at every boot
      /etc/sysctl.d/99-sysctl.conf: net/ipv4/ip_forward=0
    hint: take the line out of /etc/sysctl.d/99-sysctl.conf (a `line` step with `state = "absent"` before this one), or give this step a greater `priority` than that file has
    "#);
    for (path, line) in [
        ("/etc/sysctl.d/99-sysctl.conf", "net.ipv4.ip_forward = 1"),
        ("/etc/sysctl.d/10-early.conf", "net.ipv4.ip_forward = 0"),
        ("/etc/sysctl.conf", "net.ipv4.ip_forward = 0"),
    ] {
        drift(files(kernel(Given::pi(), "1"), path, line).decide(&forwarding()));
    }
}

#[test]
fn what_the_kernel_does_not_have_is_refused_or_left_out() {
    let table = |ignore: bool| json!({ "name": "b", "ignore_missing": ignore, "values": { "net.bridge.bridge-nf-call-iptables": 1 } });
    insta::assert_snapshot!(refusal(Given::pi().decide(&wish::<Sysctl>(table(false)))), @r"
    this kernel has no parameter net.bridge.bridge-nf-call-iptables
      kernel 6.12.25+rpt-rpi-2712
    hint: it comes with the module br_netfilter: load that in a `kernel_module` step before this one, or set `ignore_missing = true`
    ");
    let (_, actions) = drift(Given::pi().decide(&wish::<Sysctl>(table(true))));
    let text = written(&actions, "/etc/sysctl.d/90-hmco-boot-b.conf").unwrap();
    assert!(
        text.ends_with("\n-net.bridge.bridge-nf-call-iptables = 1\n"),
        "{text}"
    );
}

#[test]
fn mistakes_are_told() {
    insta::assert_snapshot!(mistakes::<Sysctl>(json!({ "name": "a/b", "priority": 100, "values": { "net.ipv4.conf.*.x": "1", "a.b": " " } })), @r#"
    name: the name becomes part of a file's name: letters, digits, `-` and `_`
    priority: a priority is a number from 0 to 99
    values: a.b: the value is one line of text
    values: "net.ipv4.conf.*.x" is not the name of a kernel parameter
    "#);
    assert!(mistakes::<Sysctl>(json!({ "name": "a" })).contains("which parameters?"));
}

#[test]
fn a_parameter_touches_its_own_family() {
    let touches = Kind::touches(&forwarding());
    let sysctl = |name: &str| Fact::Sysctl {
        name: name.to_owned(),
    };
    assert!(touches.intersects(&sysctl("net.ipv6.conf.all.forwarding")));
    assert!(!touches.intersects(&sysctl("kernel.panic")));
    assert!(touches.intersects(&Fact::SysctlFiles));
    assert!(!touches.intersects(&Fact::Os));
}
