use serde_json::json;

use super::super::shared::given::{Given, runs, written};
use super::super::shared::testing::{drift, lines, mistakes, refusal, stat_of, wish};
use super::*;
use crate::facts::fact::{ExecResult, FactValue, FileStat};
use crate::facts::parse::mount_table;

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
        device: "8:1".to_owned(),
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

/// With lines of /proc/self/mountinfo from the device number on.
fn kernel(given: Given, lines: &[&str]) -> Given {
    let text: String = lines.iter().map(|line| format!("1 0 {line}\n")).collect();
    given.fact(Fact::Mounts, FactValue::Mounts(mount_table(&text)))
}

fn linked(given: Given, path: &str, to: &str) -> Given {
    let path = AbsPath::new(path).unwrap();
    let stat = FileStat {
        link_target: Some(to.to_owned()),
        ..stat_of(FileKind::Symlink)
    };
    given.fact(Fact::Stat { path }, FactValue::Stat(stat))
}

/// Whether what is mounted at /data is the wished one.
fn is_same(given: &Given, wish: &Mount) -> bool {
    match given.decide(wish) {
        Decision::Refused(failure) => {
            assert!(
                failure.message.contains("something else"),
                "{}",
                failure.message
            );
            false
        }
        _ => true,
    }
}

const ROOT: &str = "8:1 / / rw - ext4 /dev/sda1 rw";

#[test]
fn a_bind_mount_is_of_the_wished_file_system_and_folder_and_no_other() {
    let ssd = "8:33 / /mnt/ssd rw - ext4 /dev/sdc1 rw";
    let wish =
        |source: &str| data(json!({ "source": source, "type": "none", "options": ["bind"] }));
    let longhorn = wish("/mnt/ssd/longhorn");
    let with = |live: &str| kernel(machine(""), &[ROOT, ssd, live]);
    let disk = with("8:17 / /data rw - ext4 /dev/sdb1 rw");
    assert!(!is_same(&disk, &longhorn), "a whole other disk");
    let told = refusal(disk.decide(&longhorn));
    assert!(
        told.contains("/dev/sdb1 (ext4)") && told.contains("wanted: /mnt/ssd/longhorn"),
        "{told}"
    );
    assert!(is_same(
        &with("8:33 /longhorn /data rw - ext4 /dev/sdc1 rw"),
        &longhorn
    ));
    assert!(!is_same(
        &with("8:17 /longhorn /data rw - ext4 /dev/sdb1 rw"),
        &longhorn
    ));
    assert!(
        !is_same(
            &with("8:34 /longhorn /data rw - ext4 /dev/sdc1 rw"),
            &longhorn
        ),
        "another device of that name"
    );
    assert!(!is_same(
        &with("8:33 /ssd/longhorn /data rw - ext4 /dev/sdc1 rw"),
        &longhorn
    ));
    assert!(!is_same(
        &with("8:33 / /data rw - ext4 /dev/sdc1 rw"),
        &longhorn
    ));
    assert!(is_same(
        &with("8:33 / /data rw - ext4 /dev/sdc1 rw"),
        &wish("/mnt/ssd")
    ));
    assert!(
        is_same(
            &with("8:1 /data /data rw - ext4 /dev/sda1 rw"),
            &wish("/data")
        ),
        "over itself"
    );
    let hidden = kernel(
        machine(""),
        &[
            ROOT,
            ssd,
            "0:40 / /mnt/ssd rw - tmpfs x rw",
            "8:33 /longhorn /data rw - ext4 /dev/sdc1 rw",
        ],
    );
    assert!(
        !is_same(&hidden, &longhorn),
        "of two at one point the last is seen"
    );
}

#[test]
fn a_mapped_device_is_known_by_its_link_and_never_guessed() {
    let live = |device: &str| {
        kernel(
            machine(""),
            &[
                ROOT,
                &format!("253:0 / /data rw,noatime - ext4 {device} rw"),
            ],
        )
    };
    let vg = || live("/dev/mapper/vg-a");
    let to = |given, n: u8| linked(given, "/dev/mapper/vg-a", &format!("../dm-{n}"));
    let uuid = |given| linked(given, LINK, "../../dm-0");
    let by_uuid = data(json!({}));
    assert!(is_same(&uuid(to(vg(), 0)), &by_uuid));
    assert!(!is_same(&uuid(to(vg(), 1)), &by_uuid), "another volume");
    assert!(!is_same(&uuid(vg()), &by_uuid), "not to be told");
    assert!(is_same(&uuid(live("/dev/dm-0")), &by_uuid));
    let number = |given| {
        linked(
            given,
            "/sys/dev/block/253:0",
            "../../devices/virtual/block/dm-0",
        )
    };
    assert!(
        is_same(&number(uuid(vg())), &by_uuid),
        "by its device number"
    );
    assert!(is_same(&number(uuid(live("/dev/root"))), &by_uuid));
    assert!(!is_same(&uuid(live("/dev/root")), &by_uuid));
    let named = |source: &str| data(json!({ "source": source }));
    assert!(is_same(&vg(), &named("/dev/mapper/vg-a")));
    assert!(!is_same(&vg(), &named("/dev/mapper/vg-b")));
    assert!(
        !is_same(&to(vg(), 0), &named("/dev/sdb1")),
        "a plain device"
    );
    assert!(is_same(
        &linked(to(vg(), 0), "/dev/vg/a", "../dm-0"),
        &named("/dev/vg/a")
    ));
    assert!(is_same(&to(vg(), 0), &named("/dev/dm-0")));
}

#[test]
fn other_sources_are_compared_by_what_tells_them_apart() {
    let live = |line: &str| kernel(machine(""), &[ROOT, line]);
    let wish = |source: &str, kind: &str, options: &[&str]| {
        data(json!({ "source": source, "type": kind, "options": options }))
    };
    assert!(is_same(
        &live("0:9 / /data rw - nfs4 nas:/a rw"),
        &wish("nas:/a/", "nfs", &[])
    ));
    assert!(!is_same(
        &live("0:9 / /data rw - nfs4 nas:/b rw"),
        &wish("nas:/a", "nfs", &[])
    ));
    assert!(is_same(
        &live("0:9 / /data rw - tmpfs none rw"),
        &wish("tmpfs", "tmpfs", &[])
    ));
    assert!(!is_same(
        &live("0:9 / /data rw - virtiofs b rw"),
        &wish("a", "virtiofs", &[])
    ));
    assert!(
        !is_same(
            &live("8:1 /sub /data rw - ext4 /dev/sda1 rw"),
            &wish("/dev/sda1", "ext4", &[])
        ),
        "a folder of it"
    );
    assert!(!is_same(
        &live("8:1 / /data rw - ext4 /dev/sda1 rw"),
        &wish("/dev/sda1", "xfs", &[])
    ));
    let volume = live("0:9 /@a /data rw - btrfs /dev/sda1 rw");
    assert!(is_same(
        &volume,
        &wish("/dev/sda1", "btrfs", &["subvol=@a"])
    ));
    assert!(!is_same(
        &volume,
        &wish("/dev/sda1", "btrfs", &["subvol=@b"])
    ));
    let image = wish("/srv/a.img", "ext4", &["loop"]);
    let behind = |file: &str| {
        let fact = Fact::Exec {
            argv: ["cat", "/sys/block/loop3/loop/backing_file"]
                .map(str::to_owned)
                .to_vec(),
            timeout: crate::model::units::TimeSpan(std::time::Duration::from_secs(10)),
            sensitive: false,
        };
        let told = ExecResult {
            exit: 0,
            stdout: format!("{file}\n").into_bytes(),
            stderr: Vec::new(),
        };
        live("7:3 / /data rw - ext4 /dev/loop3 rw").fact(fact, FactValue::Exec(told))
    };
    assert!(is_same(&behind("/srv/a.img"), &image));
    assert!(!is_same(&behind("/srv/b.img"), &image));
}

#[test]
fn a_path_behind_a_symbolic_link_is_refused_whatever_is_wished() {
    let through = || linked(machine(""), "/srv", "/mnt/big");
    for wish in [
        data(json!({ "path": "/srv/a/b" })),
        wish(json!({ "path": "/srv/a/b", "state": "unmounted" })),
        wish(json!({ "path": "/srv", "state": "absent" })),
        data(json!({ "source": "/srv/a", "type": "none", "options": ["bind"] })),
    ] {
        let told = refusal(through().decide(&wish));
        assert!(
            told.contains("/srv is a symbolic link to /mnt/big") && told.contains("real path"),
            "{told}"
        );
    }
}

#[test]
fn what_systemd_mounts_at_the_first_access_is_as_wished_before_it() {
    let autofs = "0:40 / /data rw - autofs systemd-1 rw";
    let wish = data(json!({ "options": ["noauto", "x-systemd.automount"] }));
    let line = "UUID=1-2 /data ext4 noauto,x-systemd.automount 0 0\n";
    kernel(machine(line), &[ROOT, autofs]).assert_converged(&wish);
    let (_, actions) = drift(kernel(machine(""), &[ROOT, autofs]).decide(&wish));
    assert_eq!(runs(&actions), ["mount reload"], "only /etc/fstab");
    let both = |disk: &str| {
        let disk = format!("8:1 / /data rw - ext4 {disk} rw");
        kernel(machine(line), &[ROOT, autofs, &disk])
    };
    both("/dev/sda1").assert_converged(&wish);
    assert!(!is_same(&both("/dev/sdb1"), &wish));
    let (_, actions) = drift(kernel(machine(""), &[ROOT, autofs]).decide(&data(json!({}))));
    assert_eq!(
        runs(&actions)[0],
        "mount mount UUID=1-2 /data ext4 noatime,nofail"
    );
}

#[test]
fn the_script_counts_mounts_but_for_those_that_wait() {
    let count = |skipped: &str| {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        std::fs::write(
            root.path().join("proc/self/mountinfo"),
            "1 0 0:40 / /a\\040b rw shared:1 - autofs systemd-1 rw\n2 1 8:1 / /a\\040b rw - ext4 /dev/sda1 rw\n3 1 8:1 / /c rw - ext4 /dev/sda1 rw\n",
        )
        .unwrap();
        let function = APPLY.split_once("\ncase $1 in").unwrap().0;
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
