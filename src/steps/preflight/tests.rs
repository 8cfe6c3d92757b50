//! Every check just inside and just outside its limit, on the facts of a Raspberry Pi 5 that has nothing wrong. Here is that node, and
//! what holds for all checks.

mod decisions;
mod machine;
mod network;
mod peers;

use serde_json::json;

use super::finding::Severity::{self, Error, Fine, Note, Warning};
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
