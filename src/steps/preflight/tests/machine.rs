//! Checks of the machine: processor, memory, disks, kernel, names.

use super::*;
use crate::steps::preflight::machine::is_node_name;

const MACHINE: &[Row] = &[
    ("memory", |n| n.os.memory = 1700 << 20, Fine),
    ("memory", |n| n.os.memory = (1700 << 20) - 1, Error),
    ("cpus", |n| n.os.cpus = 2, Fine),
    ("cpus", |n| n.os.cpus = 1, Error),
    ("page-size", |n| n.os.page_size = 16384, Warning),
    ("arch", |n| n.os.arch = "armhf".to_owned(), Warning),
    (
        "arch",
        |n| (n.os.arch, n.os.kernel_arch) = ("armhf".to_owned(), "armv7l".to_owned()),
        Fine,
    ),
    (
        "arch",
        |n| (n.os.arch, n.os.kernel_arch) = ("armhf".to_owned(), "armv6l".to_owned()),
        Error,
    ),
    ("arch", |n| n.os.arch = "i386".to_owned(), Error),
    ("init", |n| n.os.init = "init".to_owned(), Error),
    ("root", |n| n.sudo.is_root = false, Error),
    ("hostname", |n| n.os.hostname = "pi_1".to_owned(), Error),
    ("hostname", |n| n.os.hostname = "Pi-1".to_owned(), Fine),
    (
        "hostname",
        |n| n.os.hostname = "localhost".to_owned(),
        Error,
    ),
    (
        "hostname",
        |n| n.os.hostname = "raspberrypi".to_owned(),
        Warning,
    ),
    ("machine-id", |n| n.os.machine_id.clear(), Error),
    (
        "machine-id",
        |n| n.os.machine_id = "uninitialized".to_owned(),
        Error,
    ),
    (
        "cgroup",
        |n| n.cgroup.controllers.retain(|c| c != "memory"),
        Error,
    ),
    (
        "cgroup",
        |n| n.cgroup.controllers.retain(|c| c != "pids"),
        Error,
    ),
    ("cgroup", |n| n.cgroup = Cgroup::default(), Error),
    ("cgroup", |n| n.cgroup.version = 1, Fine),
    ("cgroup-v1", |n| n.cgroup.version = 1, Warning),
    ("modules", |n| n.module = Module::default(), Error),
    (
        "modules",
        |n| {
            n.module = Module {
                present: true,
                ..Module::default()
            }
        },
        Fine,
    ),
    ("clock", |n| n.clock.synchronized = Some(false), Warning),
    ("clock", |n| n.clock.synchronized = None, Fine),
    (
        "sd-card",
        |n| n.disk.source = "/dev/mmcblk0p2".to_owned(),
        Warning,
    ),
    ("sd-card", |n| n.disk.source.clear(), Note),
    ("sd-card", |n| on_device(n, "/dev/root", "179:2"), Warning),
    ("sd-card", |n| on_device(n, "/dev/root", "259:2"), Fine),
    ("sd-card", |n| on_device(n, "/dev/md0", "9:0"), Note),
    ("sd-card", |n| on_device(n, "tank/root", "0:30"), Note),
    ("sd-card", |n| on_device(n, "/dev/sda2", "0:30"), Fine),
    ("sd-card", |n| on_device(n, "/dev/root", ""), Note),
    (
        "sd-card",
        |n| on_device(n, "/dev/mapper/vg-root", "254:0"),
        Note,
    ),
    ("sd-card", |n| n.disk.fs_type = "overlay".to_owned(), Note),
    (
        "swap",
        |n| {
            n.readiness.swaps.push(Swap {
                path: "/dev/zram0".to_owned(),
                size: GIB,
            })
        },
        Warning,
    ),
    ("apparmor", |n| n.readiness.apparmor = true, Warning),
    (
        "other-kubernetes",
        |n| n.active.push("kubelet.service"),
        Error,
    ),
    ("docker", |n| n.active.push("docker.service"), Warning),
];

fn on_device(node: &mut Node, source: &str, device: &str) {
    (node.disk.source, node.disk.device) = (source.to_owned(), device.to_owned());
}

#[test]
fn limits_of_the_machine_hold_to_the_last_byte() {
    let rows = MACHINE;
    for (at, (check, change, expected)) in rows.iter().enumerate() {
        assert_eq!(judge(check, change), *expected, "row {at}: {check}");
    }
}

#[test]
fn an_emmc_is_no_sd_card_and_an_agent_may_have_one() {
    let on = |kind: &str| {
        let kind = kind.to_owned();
        move |node: &mut Node| {
            node.disk.source = "/dev/mmcblk0p2".to_owned();
            node.readiness.cards.push(Card {
                device: "mmcblk0".to_owned(),
                kind,
            });
        }
    };
    assert_eq!(judge("sd-card", on("SD")), Warning);
    assert_eq!(judge("sd-card", on("MMC")), Fine);
    let mut node = pi(1);
    on("SD")(&mut node);
    let agent = report(&wish(json!({ "role": "agent" })), &[node, pi(2), pi(3)]);
    assert!(
        !agent
            .findings
            .iter()
            .any(|finding| finding.check == "sd-card")
    );
}

#[test]
fn limits_of_disks_hold_and_an_unknown_mount_is_not_called_enough() {
    let rows: &[Row] = &[
        (
            "disk",
            |n| (n.disk.size, n.disk.free) = (20 * GIB, 4 * GIB),
            Fine,
        ),
        (
            "disk",
            |n| (n.disk.size, n.disk.free) = (20 * GIB, 4 * GIB - 1),
            Error,
        ),
        (
            "disk",
            |n| (n.disk.size, n.disk.free) = (100 * GIB, 5 * GIB),
            Warning,
        ),
        (
            "disk",
            |n| (n.disk.size, n.disk.free) = (100 * GIB, 15 * GIB),
            Fine,
        ),
        (
            "disk",
            |n| (n.disk.size, n.disk.free) = (1000 * GIB, 49 * GIB),
            Error,
        ),
        ("disk", |n| n.disk.mount.clear(), Note),
        (
            "disk",
            |n| {
                n.disk.mount.clear();
                n.disk.free = GIB;
            },
            Error,
        ),
        ("disk", |n| (n.disk.size, n.disk.free) = (0, 0), Warning),
        ("inodes", |n| n.disk.inodes_free = 50, Warning),
        ("inodes", |n| n.disk.inodes_free = 49, Error),
        ("inodes", |n| n.disk.inodes_free = 150, Fine),
        (
            "inodes",
            |n| (n.disk.inodes, n.disk.inodes_free) = (0, 0),
            Fine,
        ),
        ("read-only", |n| n.disk.read_only = true, Error),
    ];
    for (at, (check, change, expected)) in rows.iter().enumerate() {
        assert_eq!(judge(check, change), *expected, "row {at}: {check}");
    }
}

#[test]
fn the_bits_of_a_weak_supply_are_told_by_when_they_were_set() {
    let of = |bits| {
        let mut node = pi(1);
        node.readiness.throttled = Some(bits);
        says(&report(&wish(json!({})), &[node, pi(2), pi(3)]), "power")
    };
    assert_eq!(of(0).0, Fine);
    assert_eq!(of(0x50005).0, Error);
    assert!(
        of(0x50005)
            .1
            .contains("undervoltage now, throttled now, undervoltage since boot")
    );
    assert_eq!(of(0x50000).0, Warning);
    assert_eq!(of(0x8).0, Warning);
}

#[test]
fn names_of_nodes_are_those_of_rfc_1123() {
    for good in ["a", "pi5-01", "a.b-c.d", &"a".repeat(63), "1"] {
        assert!(is_node_name(good), "{good}");
    }
    for bad in [
        "",
        "-a",
        "a-",
        "a_b",
        "A",
        "a..b",
        "a.",
        &"a".repeat(64),
        "\u{e4}",
    ] {
        assert!(!is_node_name(bad), "{bad}");
    }
    assert!(!is_node_name(
        &[
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(62)
        ]
        .join(".")
    ));
}

#[test]
fn the_cure_for_a_missing_root_is_what_an_inventory_can_say() {
    let mut node = pi(1);
    node.sudo.is_root = false;
    let told = report(&wish(json!({})), &[node, pi(2), pi(3)]);
    let finding = told.findings.iter().find(|finding| finding.check == "root");
    assert!(finding.unwrap().cure.contains("`become = \"sudo\"`"));
}
