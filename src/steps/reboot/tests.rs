use serde_json::json;

use super::super::shared::testing::{drift, file_stat, lines, mistakes, target, wish};
use super::*;
use crate::facts::fact::{Content, FactError};
use crate::facts::known::Store;
use crate::steps::Wish;

/// A machine: its boot, what cmdline.txt holds, and which paths are there.
fn decide(wish: &Reboot, boot: Boot, cmdline: &str, there: &[&str]) -> Decision<Vec<Action>> {
    let mut store = Store::default();
    let Want::More(facts) = Kind::facts(wish, &store.view(&target())) else {
        panic!("it asks");
    };
    for wanted in facts {
        let answer = match &wanted.fact {
            Fact::Boot => Ok(FactValue::Boot(boot.clone())),
            Fact::Content { path, .. } if Some(path.as_str()) == boot.cmdline_file.as_deref() => {
                Ok(FactValue::Content(Content {
                    sha256: String::new(),
                    bytes: Some(cmdline.as_bytes().to_vec()),
                }))
            }
            Fact::Stat { path } if there.contains(&path.as_str()) => {
                Ok(FactValue::Stat(file_stat()))
            }
            _ => Err(FactError::NotFound),
        };
        store.insert(&target(), [(wanted.fact, answer)]);
    }
    assert_eq!(
        Kind::facts(wish, &store.view(&target())),
        Want::Done,
        "one round is enough"
    );
    Wish::decide(wish, &store.view(&target())).unwrap()
}

fn pi() -> Boot {
    Boot {
        cmdline:
            "coherent_pool=1M 8250.nr_uarts=0 console=ttyAMA0,115200 root=PARTUUID=1-02 rootwait"
                .to_owned(),
        cmdline_file: Some("/boot/firmware/cmdline.txt".to_owned()),
        ..Boot::default()
    }
}

const SAME: &str = "console=serial0,115200 root=PARTUUID=1-02 rootwait\n";

#[test]
fn a_machine_without_a_reason_is_left_alone() {
    let any = wish::<Reboot>(json!({}));
    assert_eq!(decide(&any, pi(), SAME, &[]), Decision::Unchanged);
    assert_eq!(decide(&any, Boot::default(), "", &[]), Decision::Unchanged);
    let file = wish::<Reboot>(json!({ "files": "/run/x" }));
    assert_eq!(decide(&file, pi(), SAME, &[]), Decision::Unchanged);
}

#[test]
fn every_reason_is_told_and_each_can_be_left_out() {
    let boot = Boot {
        reboot_required: true,
        reboot_packages: vec!["linux-image-6.6".to_owned(), "libc6".to_owned()],
        ..pi()
    };
    let next = "console=serial0,115200 root=PARTUUID=1-02 rootwait cgroup_memory=1 cgroup_enable=memory\nsecond line";
    let all = wish::<Reboot>(json!({ "files": ["/run/x", "/run/y"], "message": "firmware" }));
    let (diff, actions) = drift(decide(&all, boot.clone(), next, &["/run/y"]));
    insta::assert_snapshot!(lines(&diff), @r"
    +restart the machine
     because the distribution asks for it: linux-image-6.6, libc6
     because not on the kernel's command line yet: cgroup_memory=1 cgroup_enable=memory
     because /run/y is there
    ");
    assert!(matches!(
        actions.as_slice(),
        [Action::Run(_), Action::Reboot]
    ));
    let only_files =
        wish::<Reboot>(json!({ "required": false, "cmdline": false, "files": "/run/x" }));
    assert_eq!(
        decide(&only_files, boot.clone(), next, &[]),
        Decision::Unchanged
    );
    let only_cmdline = wish::<Reboot>(json!({ "required": false }));
    let (diff, actions) = drift(decide(&only_cmdline, boot, next, &[]));
    assert_eq!(diff.len(), 2);
    assert_eq!(actions, [Action::Reboot]);
}

#[test]
fn words_that_were_taken_off_are_a_reason_and_blank_lines_are_none() {
    let any = wish::<Reboot>(json!({}));
    let mark = "/run/hmco-boot/reboot-cmdline";
    let (diff, _) = drift(decide(&any, pi(), SAME, &[mark]));
    assert!(
        lines(&diff).contains("words that were removed or replaced"),
        "{}",
        lines(&diff)
    );
    let without = wish::<Reboot>(json!({ "cmdline": false }));
    assert_eq!(decide(&without, pi(), SAME, &[mark]), Decision::Unchanged);
    let (diff, _) = drift(decide(
        &any,
        pi(),
        &format!("\n  \n{} new=1", SAME.trim()),
        &[],
    ));
    assert!(lines(&diff).contains("new=1"), "{}", lines(&diff));
}

#[test]
fn a_restart_that_would_come_back_in_every_run_is_a_mistake() {
    let cases = [
        json!({ "required": false, "cmdline": false }),
        json!({ "files": ["/run/fine", "/etc/never-gone"] }),
    ];
    let told: Vec<String> = cases.into_iter().map(mistakes::<Reboot>).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    required: no reason is left: a restart without one would come back in every run
    files: /etc/never-gone would still be there after a restart: use a path below /run
    ");
}
