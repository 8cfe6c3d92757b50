//! Every check just inside and just outside its limit, on the facts of a Raspberry Pi 5 that has nothing wrong.

use serde_json::json;

use super::finding::Severity::{self, Error, Fine, Note, Warning};
use super::machine::is_node_name;
use super::*;
use crate::facts::fact::{
    Boot, Card, Cgroup, Clock, ClockOffset, Content, Disk, FactError, FactValue, K3sData, Link,
    Module, Net, Os, PortHolder, Readiness, Sudo, Swap, Unit,
};
use crate::facts::known::Store;
use crate::model::id::Target;
use crate::steps::shared::testing;

const GIB: u64 = 1 << 30;
const BOOT: &str = "b0071d";

/// A node's facts, by type.
#[derive(Clone)]
struct Node {
    name: &'static str,
    os: Os,
    boot: Boot,
    cgroup: Cgroup,
    sudo: Sudo,
    clock: Clock,
    offset: ClockOffset,
    net: Net,
    data: K3sData,
    readiness: Readiness,
    disk: Disk,
    module: Module,
    active: Vec<&'static str>,
    results: Option<String>,
    unreadable: Vec<Fact>,
}

/// One that has nothing wrong.
fn pi(number: u8) -> Node {
    let name = ["pi-0", "pi-1", "pi-2", "pi-3"][usize::from(number)];
    Node {
        name,
        os: Os {
            kernel_arch: "aarch64".to_owned(),
            arch: "arm64".to_owned(),
            kernel: "6.12".to_owned(),
            page_size: 4096,
            machine_id: format!("{number:032x}"),
            hostname: name.to_owned(),
            memory: 8 * GIB,
            cpus: 4,
            init: "systemd".to_owned(),
            ..Os::default()
        },
        boot: Boot {
            id: BOOT.to_owned(),
            cmdline_file: Some("/boot/firmware/cmdline.txt".to_owned()),
            ..Boot::default()
        },
        cgroup: Cgroup {
            version: 2,
            controllers: ["cpu", "cpuset", "memory", "pids"]
                .map(str::to_owned)
                .to_vec(),
        },
        sudo: Sudo {
            is_root: true,
            ..Sudo::default()
        },
        clock: Clock {
            uptime_ms: 100_000,
            synchronized: Some(true),
            ..Clock::default()
        },
        offset: ClockOffset {
            least_ms: -50,
            most_ms: 50,
        },
        net: net(number),
        data: K3sData::default(),
        readiness: Readiness::default(),
        disk: disk(),
        module: Module {
            available: true,
            ..Module::default()
        },
        active: Vec::new(),
        results: None,
        unreadable: Vec::new(),
    }
}

fn net(number: u8) -> Net {
    Net {
        links: vec![Link {
            name: "eth0".to_owned(),
            mac: format!("dc:a6:32:00:00:{number:02x}"),
            addresses: vec![format!("192.0.2.{number}/24")],
            ..Link::default()
        }],
        default_route: Some("192.0.2.254 eth0".to_owned()),
        tcp_listen: vec![22],
        nameservers: vec!["192.0.2.254".to_owned()],
        ..Net::default()
    }
}

fn disk() -> Disk {
    Disk {
        mount: "/".to_owned(),
        source: "/dev/nvme0n1p2".to_owned(),
        fs_type: "ext4".to_owned(),
        size: 100 * GIB,
        free: 80 * GIB,
        inodes: 1000,
        inodes_free: 900,
        ..Disk::default()
    }
}

impl Node {
    fn answer(&self, fact: &Fact) -> Result<FactValue, FactError> {
        if self.unreadable.contains(fact) {
            return Err(FactError::TimedOut);
        }
        Ok(match fact {
            Fact::Os => FactValue::Os(self.os.clone()),
            Fact::Boot => FactValue::Boot(self.boot.clone()),
            Fact::Cgroup => FactValue::Cgroup(self.cgroup.clone()),
            Fact::Sudo => FactValue::Sudo(self.sudo.clone()),
            Fact::Clock => FactValue::Clock(self.clock.clone()),
            Fact::ClockOffset => FactValue::ClockOffset(self.offset),
            Fact::Net => FactValue::Net(self.net.clone()),
            Fact::K3sData => FactValue::K3sData(self.data.clone()),
            Fact::Readiness => FactValue::Readiness(self.readiness.clone()),
            Fact::Disk { .. } => FactValue::Disk(self.disk.clone()),
            Fact::Module { .. } => FactValue::Module(self.module.clone()),
            Fact::Unit { name } => match self.active.contains(&name.as_str()) {
                true => FactValue::Unit(Unit {
                    active: "active".to_owned(),
                    ..Unit::default()
                }),
                false => return Err(FactError::NotFound),
            },
            Fact::Content { .. } => match &self.results {
                Some(text) => FactValue::Content(Content {
                    sha256: String::new(),
                    bytes: Some(text.clone().into_bytes()),
                }),
                None => return Err(FactError::NotFound),
            },
            other => panic!("not asked by preflight: {other:?}"),
        })
    }
}

fn target(name: &str) -> Target {
    Target::Node(name.into())
}

/// Of three servers, the first as given, the others as given or fine. `extra` goes into the wish.
fn wish(extra: serde_json::Value) -> Preflight {
    let peers = ["pi-1", "pi-2", "pi-3"].map(|name| json!({ "name": name, "roles": ["server"] }));
    let mut table = json!({ "peers": peers, "measure": false });
    let entries = table.as_object_mut().unwrap();
    entries.extend(extra.as_object().unwrap().clone());
    testing::wish(table)
}

/// Everything the wish asks for, answered; its facts asked in one round.
fn store(wish: &Preflight, nodes: &[Node]) -> Store {
    let own = target(nodes[0].name);
    let mut store = Store::default();
    let Want::More(wanted) = Kind::facts(wish, &store.view(&own)) else {
        panic!("it asks for facts")
    };
    for FactRef { target: of, fact } in wanted {
        let of = of.unwrap_or_else(|| own.clone());
        let answer = match nodes.iter().find(|node| target(node.name) == of) {
            Some(node) => node.answer(&fact),
            None => Err(FactError::Failed(format!("{of} did not answer"))),
        };
        store.insert(&of, [(fact, answer)]);
    }
    assert_eq!(
        Kind::facts(wish, &store.view(&own)),
        Want::Done,
        "one round is enough"
    );
    store
}

fn report(wish: &Preflight, nodes: &[Node]) -> Report {
    let own = target(nodes[0].name);
    wish.report(&store(wish, nodes).view(&own)).unwrap()
}

/// The worst that a check says, and its words.
fn says(report: &Report, check: &str) -> (Severity, String) {
    let of_check = report
        .findings
        .iter()
        .filter(|finding| finding.check == check);
    let worst = of_check.max_by_key(|finding| finding.severity);
    worst.map_or((Fine, String::new()), |finding| {
        (finding.severity, finding.line())
    })
}

/// What a check says of a node after `change`.
fn judge(check: &str, change: impl FnOnce(&mut Node)) -> Severity {
    let mut node = pi(1);
    change(&mut node);
    says(&report(&wish(json!({})), &[node, pi(2), pi(3)]), check).0
}

#[test]
fn a_node_without_faults_has_none_and_every_finding_tells_its_value() {
    let report = report(&wish(json!({})), &[pi(1), pi(2), pi(3)]);
    let bad: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.severity > Fine)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    for finding in &report.findings {
        assert!(!finding.measured.is_empty(), "{finding:?}");
        let known = CHECKS.iter().any(|(name, _)| *name == finding.check);
        assert!(
            known || FURTHER.contains(&finding.check),
            "{}",
            finding.check
        );
    }
    assert!(
        FITNESS.iter().all(
            |name| report.findings.iter().any(|f| f.check == *name) || ["power"].contains(name)
        )
    );
}

/// A check, a change, and what it then says.
type Row = (&'static str, fn(&mut Node), Severity);

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
fn what_stands_in_the_way_in_the_network_is_named() {
    let rows: &[Row] = &[
        ("default-route", |n| n.net.default_route = None, Error),
        ("nameservers", |n| n.net.nameservers.clear(), Warning),
        ("ports-free", |n| n.net.tcp_listen.push(10250), Error),
        ("ports-free", |n| n.net.udp_listen.push(8472), Error),
        ("ports-free", |n| n.net.tcp_listen.push(443), Warning),
        ("ports-free", |n| n.net.udp_listen.push(6443), Fine),
        ("firewall", |n| n.active.push("firewalld.service"), Warning),
        ("firewall", |n| n.readiness.ufw = true, Warning),
        ("firewall", |n| n.readiness.input_dropped = true, Warning),
        (
            "network-manager",
            |n| n.active.push("NetworkManager.service"),
            Warning,
        ),
        (
            "network-manager",
            |n| {
                n.active.push("NetworkManager.service");
                n.readiness.cni_unmanaged = true;
            },
            Fine,
        ),
        (
            "network-manager",
            |n| n.active.push("nm-cloud-setup.timer"),
            Error,
        ),
    ];
    for (at, (check, change, expected)) in rows.iter().enumerate() {
        assert_eq!(judge(check, change), *expected, "row {at}: {check}");
    }
    let mut node = pi(1);
    node.net.tcp_listen.push(6443);
    node.readiness.holders.push(PortHolder {
        protocol: "tcp".to_owned(),
        port: 6443,
        program: "haproxy".to_owned(),
    });
    let all = [node, pi(2), pi(3)];
    let found = says(&report(&wish(json!({})), &all), "ports-free");
    assert!(found.1.contains("6443/tcp by haproxy"), "{}", found.1);
    // An agent has no API server, so that port is nobody's business there.
    let agent = report(&wish(json!({ "role": "agent" })), &all);
    assert_eq!(says(&agent, "ports-free").0, Fine);
}

#[test]
fn known_bad_versions_of_iptables_are_told_apart() {
    let of = |line: &str| {
        let line = line.to_owned();
        judge("iptables", move |node| node.readiness.iptables = line)
    };
    assert_eq!(of("iptables v1.8.5 (nf_tables)"), Fine);
    assert_eq!(of("iptables v1.8.4 (legacy)"), Error);
    assert_eq!(of("iptables v1.8.0 (nf_tables)"), Error);
    assert_eq!(of("iptables v1.6.2"), Fine);
    assert_eq!(of("iptables v1.6.1 (nf_tables)"), Error);
    assert_eq!(of("iptables v1.6.1"), Fine);
    assert_eq!(of("iptables: no idea"), Warning);
    assert_eq!(of(""), Fine);
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
fn what_two_nodes_share_is_an_error_that_names_the_other() {
    let twin = |change: fn(&mut Node, &Node)| {
        let mut node = pi(1);
        change(&mut node, &pi(3));
        report(&wish(json!({})), &[node, pi(2), pi(3)])
    };
    let same = twin(|node, other| node.os.machine_id.clone_from(&other.os.machine_id));
    let (severity, line) = says(&same, "unique-machine-id");
    assert_eq!(severity, Error);
    assert!(
        line.contains("also pi-3") && !line.contains("pi-2"),
        "{line}"
    );
    let same = twin(|node, _| node.os.hostname = "PI-3".to_owned());
    assert_eq!(says(&same, "unique-hostname").0, Error);
    let same = twin(|node, other| node.net.links[0].mac.clone_from(&other.net.links[0].mac));
    assert_eq!(says(&same, "unique-mac").0, Error);
    // What programs make on every node alike is no clone.
    let same = twin(|node, other| {
        let mut made = other.net.links[0].clone();
        made.name = "docker0".to_owned();
        node.net.links.push(made);
    });
    assert_eq!(says(&same, "unique-mac").0, Fine);
    let uuid = |node: &mut Node| node.readiness.product_uuid = "4c4c".to_owned();
    let (mut one, mut other) = (pi(1), pi(2));
    uuid(&mut one);
    uuid(&mut other);
    let same = report(&wish(json!({})), &[one, other, pi(3)]);
    assert_eq!(says(&same, "unique-product-uuid").0, Warning);
}

#[test]
fn a_node_that_does_not_answer_is_not_called_different() {
    let report = report(&wish(json!({})), &[pi(1), pi(2)]);
    for check in [
        "unique-hostname",
        "unique-machine-id",
        "unique-mac",
        "clock-skew",
    ] {
        let (severity, line) = says(&report, check);
        assert_eq!(severity, Warning, "{check}");
        assert!(line.contains("pi-3"), "{line}");
    }
}

#[test]
fn clocks_are_judged_by_what_is_certain_of_their_difference() {
    let ahead = |least_ms, most_ms| {
        let mut node = pi(1);
        node.offset = ClockOffset { least_ms, most_ms };
        says(
            &report(&wish(json!({})), &[node, pi(2), pi(3)]),
            "clock-skew",
        )
    };
    // The others are somewhere between 50 ms behind and 50 ms ahead.
    assert_eq!(ahead(1_050, 1_150).0, Fine);
    assert_eq!(ahead(1_051, 1_150).0, Warning);
    assert_eq!(ahead(60_050, 60_100).0, Warning);
    assert_eq!(ahead(60_051, 60_100).0, Error);
    assert_eq!(ahead(-60_200, -60_051).0, Error);
    assert_eq!(
        ahead(-3_000, 3_000).0,
        Fine,
        "an execution that took long proves nothing"
    );
    let (_, line) = ahead(119_900, 120_100);
    assert!(
        line.contains("120.0 s (\u{b1} 150 ms) ahead of pi-2"),
        "{line}"
    );
    let tight = wish(json!({ "limits": { "clock_skew": "10s" } }));
    let mut node = pi(1);
    node.offset = ClockOffset {
        least_ms: 11_000,
        most_ms: 11_000,
    };
    assert_eq!(
        says(&report(&tight, &[node, pi(2), pi(3)]), "clock-skew").0,
        Error
    );
}

#[test]
fn a_check_that_cannot_look_is_an_error_and_does_not_hide_the_others() {
    let mut node = pi(1);
    node.unreadable = vec![Fact::Cgroup, seen::disk_fact(seen::DATA)];
    node.os.memory = GIB;
    let report = report(&wish(json!({})), &[node, pi(2), pi(3)]);
    for check in ["cgroup", "disk", "sd-card"] {
        let (severity, line) = says(&report, check);
        assert_eq!(severity, Error, "{check}");
        assert!(line.contains("unknown: could not read"), "{line}");
    }
    assert_eq!(says(&report, "memory").0, Error);
}

mod decisions;

#[test]
fn the_cure_for_a_missing_root_is_what_an_inventory_can_say() {
    let mut node = pi(1);
    node.sudo.is_root = false;
    let told = report(&wish(json!({})), &[node, pi(2), pi(3)]);
    let finding = told.findings.iter().find(|finding| finding.check == "root");
    assert!(finding.unwrap().cure.contains("`become = \"sudo\"`"));
}
