use serde_json::json;

use super::super::shared::given::{Given, replaced, runs, was, written};
use super::super::shared::testing::{drift, lines, mistakes, refusal, stat_of, wish};
use super::*;
use crate::facts::fact::{FactValue, FileStat};

const LINK: &str = "/dev/disk/by-uuid/1-2";

fn data(more: serde_json::Value) -> Mount {
    let mut table = json!({ "path": "/data", "source": "UUID=1-2", "type": "ext4", "options": ["noatime", "nofail"] });
    table
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    wish(table)
}

fn gone(state: &str) -> Mount {
    wish(json!({ "path": "/data", "state": state }))
}

/// With the disk, /data, and this /etc/fstab.
fn machine(fstab: &str) -> Given {
    let link = FileStat {
        link_target: Some("../../sda1".to_owned()),
        ..stat_of(FileKind::Symlink)
    };
    Given::pi()
        .fact(
            Fact::Stat {
                path: AbsPath::new(LINK).unwrap(),
            },
            FactValue::Stat(link),
        )
        .folder("/data")
        .file(fstab::PATH, fstab)
}

fn mounted(given: Given, source: &str, options: &str) -> Given {
    let live = Live {
        point: "/data".to_owned(),
        root: "/".to_owned(),
        source: source.to_owned(),
        fs_type: "ext4".to_owned(),
        options: options.split(',').map(str::to_owned).collect(),
        super_options: vec!["rw".to_owned()],
    };
    given.fact(Fact::Mounts, FactValue::Mounts(vec![live]))
}

#[test]
fn it_is_mounted_first_and_written_down_after() {
    let machine = machine("proc /proc proc defaults 0 0");
    let (diff, actions) = drift(machine.decide(&data(json!({}))));
    insta::assert_snapshot!(lines(&diff), @r"
    +mount UUID=1-2 (ext4, noatime,nofail)
     /etc/fstab
     @@ line 1 @@
    -proc /proc proc defaults 0 0
     \ no line end at the end of the file
    +proc /proc proc defaults 0 0
    +UUID=1-2 /data ext4 noatime,nofail 0 0
    ");
    assert_eq!(
        runs(&actions),
        [
            "mount mount UUID=1-2 /data ext4 noatime,nofail",
            "mount reload"
        ]
    );
    assert!(
        matches!(actions[1], Action::WriteFile { .. }),
        "{actions:?}"
    );
    assert_eq!(
        replaced(&actions, fstab::PATH),
        was("proc /proc proc defaults 0 0")
    );
    mounted(machine.after(&actions), "/dev/sda1", "rw,noatime").assert_converged(&data(json!({})));
}

#[test]
fn the_line_is_compared_by_what_it_says_and_its_check_order_stays() {
    let fstab = "UUID=1-2\t/data/\text4\tnofail,defaults,noatime 0 2\n";
    mounted(machine(fstab), "/dev/sda1", "rw,noatime").assert_converged(&data(json!({})));
    let (_, actions) = drift(
        mounted(machine(fstab), "/dev/sda1", "rw,noatime")
            .decide(&data(json!({ "options": ["nofail", "ro"] }))),
    );
    assert_eq!(
        written(&actions, fstab::PATH).unwrap(),
        "UUID=1-2 /data ext4 nofail,ro 0 2\n"
    );
    assert_eq!(
        runs(&actions)[0],
        "mount remount UUID=1-2 /data ext4 nofail,ro"
    );
}

#[test]
fn an_option_that_is_not_in_effect_is_drift_even_where_the_line_has_it() {
    let fstab = "UUID=1-2 /data ext4 noatime,nofail 0 0\n";
    let (diff, actions) =
        drift(mounted(machine(fstab), "/dev/sda1", "rw,relatime").decide(&data(json!({}))));
    insta::assert_snapshot!(lines(&diff), @r"
     mounted without noatime
     mounted anew with noatime,nofail
    ");
    assert_eq!(actions.len(), 1);
}

#[test]
fn another_disk_at_that_place_and_a_disk_that_is_not_there_are_refused() {
    let told = refusal(mounted(machine(""), "/dev/sdb1", "rw").decide(&data(json!({}))));
    assert!(
        told.contains("something else is mounted at /data"),
        "{told}"
    );
    let told = refusal(machine("").decide(&data(json!({ "source": "LABEL=none" }))));
    insta::assert_snapshot!(told, @r"
    this machine has no disk with LABEL=none
      there is no /dev/disk/by-label/none
    hint: `lsblk -f` on the machine shows the disks that are there and their UUIDs and labels
    ");
    let told = refusal(machine("a /data ext4\nb /data ext4\n").decide(&data(json!({}))));
    assert!(told.contains("lines 1, 2"), "{told}");
}

#[test]
fn a_disk_without_nofail_is_told_what_it_does_to_a_boot() {
    let (diff, _) = drift(machine("").decide(&data(json!({ "options": [] }))));
    assert!(
        lines(&diff).contains("without `nofail`"),
        "{}",
        lines(&diff)
    );
}

#[test]
fn unmounting_leaves_the_line_and_absent_takes_it_out() {
    let fstab = "# mine\nUUID=1-2 /data ext4 noatime 0 0\n";
    let live = mounted(machine(fstab), "/dev/sda1", "rw,noatime");
    let (_, actions) = drift(live.decide(&gone("unmounted")));
    assert_eq!(runs(&actions), ["mount unmount /data"]);
    assert_eq!(actions.len(), 1);
    let (_, actions) = drift(live.decide(&gone("absent")));
    assert_eq!(written(&actions, fstab::PATH).unwrap(), "# mine\n");
    assert_eq!(runs(&actions), ["mount unmount /data", "mount reload"]);
    machine(fstab).assert_converged(&gone("unmounted"));
    machine("").assert_converged(&gone("absent"));
}

#[test]
fn mistakes_are_told() {
    insta::assert_snapshot!(mistakes::<Mount>(json!({ "path": "/", "options": ["-o"], "pass": 3 })), @r"
    source: what is to be mounted?
    type: of which type is it? (`ext4`, `nfs`, `tmpfs` ...)
    options: an option is a word: `noatime`, `size=1G`
    pass: 0, 1 or 2
    ");
    assert!(mistakes::<Mount>(json!({ "path": "/", "state": "absent" })).contains("stays mounted"));
    assert!(
        mistakes::<Mount>(json!({ "path": "/a", "source": "x", "type": "swap" }))
            .contains("see the kind `swap`")
    );
}
