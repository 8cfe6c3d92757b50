//! Checks over several machines: what must differ between them, and clocks that must not.

use std::collections::BTreeMap;

use super::finding::{Finding, Severity, seconds};
use super::limits::SKEW_WARNING_MS;
use super::machine::Found;
use super::seen::Seen;
use crate::facts::fact::{ClockOffset, Fact, FactValue, Net, Os};

/// Facts of other nodes that are compared.
pub const COMPARED: [Fact; 5] = [
    Fact::Os,
    Fact::Net,
    Fact::ClockOffset,
    Fact::Readiness,
    Fact::K3sData,
];

/// A value that should be a node's own.
struct Own {
    check: &'static str,
    what: &'static str,
    severity: Severity,
    limit: &'static str,
    cure: &'static str,
}

const HOSTNAME: Own = Own {
    check: "unique-hostname",
    what: "host name",
    severity: Severity::Error,
    limit: "one for each node: the second node of a name cannot join (node password mismatch)",
    cure: "set another host name on one of them (kind `hostname`), or `node-name` in K3s' configuration",
};
const MACHINE_ID: Own = Own {
    check: "unique-machine-id",
    what: "machine-id",
    severity: Severity::Error,
    limit: "one for each node: an image was cloned after its first start (DHCP may give both one address)",
    cure: "on one of them `rm -f /etc/machine-id && systemd-machine-id-setup`, then restart",
};
const MAC: Own = Own {
    check: "unique-mac",
    what: "MAC address",
    severity: Severity::Error,
    limit: "one for each interface of a network",
    cure: "virtual machines: give the clone a new address in the hypervisor",
};
const PRODUCT_UUID: Own = Own {
    check: "unique-product-uuid",
    what: "product_uuid",
    severity: Severity::Warning,
    limit: "one for each node (kubernetes.io, Before you begin); containers of one machine share it",
    cure: "virtual machines: give the clone a new UUID in the hypervisor",
};

/// Host name, machine id, hardware address, product UUID.
pub fn unique(seen: &Seen<'_>) -> Found {
    let mut found = Vec::new();
    let os = |value: &'_ FactValue| -> Option<Os> {
        match value {
            FactValue::Os(os) => Some(os.clone()),
            _ => None,
        }
    };
    let hostname = |value: &FactValue| {
        os(value).map_or(Vec::new(), |os| vec![os.hostname.to_ascii_lowercase()])
    };
    let machine_id = |value: &FactValue| os(value).map_or(Vec::new(), |os| vec![os.machine_id]);
    let macs = |value: &FactValue| match value {
        FactValue::Net(net) => hardware_addresses(net),
        _ => Vec::new(),
    };
    let uuid = |value: &FactValue| match value {
        FactValue::Readiness(readiness) => vec![readiness.product_uuid.clone()],
        _ => Vec::new(),
    };
    found.extend(compare(seen, &HOSTNAME, &Fact::Os, hostname)?);
    found.extend(compare(seen, &MACHINE_ID, &Fact::Os, machine_id)?);
    found.extend(compare(seen, &MAC, &Fact::Net, macs)?);
    found.extend(compare(seen, &PRODUCT_UUID, &Fact::Readiness, uuid)?);
    Ok(found)
}

fn compare(
    seen: &Seen<'_>,
    own: &Own,
    fact: &Fact,
    values: impl Fn(&FactValue) -> Vec<String>,
) -> Found {
    let mine: Vec<String> = match seen.known.value(fact)? {
        Some(value) => values(value),
        None => Vec::new(),
    };
    // An empty one is the business of another check.
    let mine: Vec<String> = mine.into_iter().filter(|value| !value.is_empty()).collect();
    if mine.is_empty() {
        return Ok(Vec::new());
    }
    let mut same: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut others = 0;
    for peer in seen.others() {
        others += 1;
        match seen.known.answer_of(&peer.target(), fact) {
            Some(Ok(value)) => {
                let theirs = values(value);
                for value in mine.iter().filter(|value| theirs.contains(value)) {
                    same.entry(value.clone()).or_default().push(&peer.name);
                }
            }
            _ => unknown.push(peer.name.as_str()),
        }
    }
    let mut found: Vec<Finding> = same
        .into_iter()
        .map(|(value, names)| {
            let measured = format!("{} {value}: also {}", own.what, names.join(", "));
            Finding::new(own.check, own.severity, measured, own.limit, own.cure)
        })
        .collect();
    if !unknown.is_empty() {
        found.push(Finding::new(
            own.check,
            Severity::Warning,
            format!(
                "not compared with {}, which did not answer",
                unknown.join(", ")
            ),
            own.limit,
            "make them answer, then run preflight again",
        ));
    }
    if found.is_empty() && others > 0 {
        let measured = format!("{} {}", own.what, mine.join(" "));
        found.push(Finding::new(
            own.check,
            Severity::Fine,
            measured,
            own.limit,
            "",
        ));
    }
    Ok(found)
}

/// Addresses of hardware: interfaces that programs make may be alike on all nodes.
fn hardware_addresses(net: &Net) -> Vec<String> {
    const MADE: [&str; 13] = [
        "veth", "docker", "br-", "cni", "flannel", "kube", "cali", "lxc", "virbr", "dummy", "tun",
        "tap", "wg",
    ];
    net.links
        .iter()
        .filter(|link| !MADE.iter().any(|made| link.name.starts_with(made)))
        .map(|link| link.mac.to_ascii_lowercase())
        .filter(|mac| mac.bytes().any(|b| !matches!(b, b'0' | b':')))
        .collect()
}

/// Clocks: that of this node against those of all others, and against the controller's.
pub fn clock(seen: &Seen<'_>) -> Found {
    let clock = seen.clock()?;
    let mut found = vec![Finding::unless(
        clock.synchronized != Some(false),
        Severity::Warning,
        "clock",
        match clock.synchronized {
            Some(true) => "synchronised",
            Some(false) => "not synchronised",
            None => "unknown whether it is synchronised: timedatectl does not tell",
        },
        "synchronised by NTP: a Raspberry Pi has no clock of its own when it is off",
        "playbook os; by hand `timedatectl set-ntp true`, or chrony",
    )];
    let own = match seen.clock_offset() {
        Ok(own) => *own,
        Err(unreadable) => {
            let why = unreadable.source.map(|why| why.to_string());
            found.push(Finding::new(
                "clock-skew",
                Severity::Warning,
                format!("not measured: {}", why.unwrap_or_default()),
                "",
                "compare `date` on the nodes",
            ));
            return Ok(found);
        }
    };
    let controller = Skew::between(own, ClockOffset::default());
    found.push(Finding::unless(
        controller.certain <= seen.wish.limits.skew_ms(),
        Severity::Warning,
        "clock-skew",
        controller.words("the controller"),
        format!("{} (certificates)", seconds(seen.wish.limits.skew_ms())),
        "set the clock of the one that is wrong",
    ));
    found.extend(skew(seen, own));
    Ok(found)
}

/// Against the other nodes.
fn skew(seen: &Seen<'_>, own: ClockOffset) -> Option<Finding> {
    let mut worst: Option<(Skew, &str)> = None;
    let mut unknown = Vec::new();
    for peer in seen.others() {
        let theirs = seen.of_peer(peer, &Fact::ClockOffset, |value| match value {
            FactValue::ClockOffset(offset) => Some(offset),
            _ => None,
        });
        match theirs {
            Ok(theirs) => {
                let skew = Skew::between(own, *theirs);
                if worst.is_none_or(|(worst, _)| skew.certain > worst.certain) {
                    worst = Some((skew, &peer.name));
                }
            }
            Err(_) => unknown.push(peer.name.as_str()),
        }
    }
    if worst.is_none() && unknown.is_empty() {
        return None;
    }
    let limit = seen.wish.limits.skew_ms();
    let mut severity = match worst {
        Some((skew, _)) if skew.certain > limit => Severity::Error,
        Some((skew, _)) if skew.certain > SKEW_WARNING_MS => Severity::Warning,
        _ => Severity::Fine,
    };
    let mut measured = match worst {
        Some((skew, name)) => skew.words(name),
        None => "not measured".to_owned(),
    };
    if !unknown.is_empty() {
        severity = severity.max(Severity::Warning);
        measured.push_str(&format!("; unknown for {}", unknown.join(", ")));
    }
    Some(Finding::new(
        "clock-skew",
        severity,
        measured,
        format!(
            "{} between nodes (above {} etcd warns)",
            seconds(limit),
            seconds(SKEW_WARNING_MS)
        ),
        "time by NTP on all nodes (playbook os); see `timedatectl` on both",
    ))
}

/// How far two clocks are apart, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Skew {
    middle: i64,
    uncertain: i64,
    /// At least this far, whatever the executions' durations hide.
    certain: i64,
}

impl Skew {
    fn between(one: ClockOffset, other: ClockOffset) -> Self {
        let low = one.least_ms.saturating_sub(other.most_ms);
        let high = one.most_ms.saturating_sub(other.least_ms);
        Self {
            middle: low.saturating_add(high) / 2,
            uncertain: high.saturating_sub(low) / 2,
            certain: low.max(high.saturating_neg()).max(0),
        }
    }

    fn words(self, of: &str) -> String {
        let side = if self.middle < 0 {
            "behind"
        } else {
            "ahead of"
        };
        format!(
            "{} (\u{b1} {}) {side} {of}",
            seconds(self.middle.saturating_abs()),
            seconds(self.uncertain)
        )
    }
}

/// Whether any server that can be asked has a cluster's data.
pub fn cluster_exists(seen: &Seen<'_>) -> bool {
    seen.others().any(|peer| {
        let data = seen.of_peer(peer, &Fact::K3sData, |value| match value {
            FactValue::K3sData(data) => Some(data),
            _ => None,
        });
        data.is_ok_and(|data| data.etcd || data.sqlite)
    })
}

/// The IPv4 address that other nodes reach a node by: that of the interface of its default route, else what the
/// inventory says.
pub fn address_of(net: Option<&Net>, inventory: Option<&str>) -> Option<String> {
    let device = |net: &Net| -> Option<String> {
        let route = net.default_route.as_ref()?;
        let name = route.split_whitespace().nth(1)?;
        let link = net.links.iter().find(|link| link.name == name)?;
        let plain = link
            .addresses
            .iter()
            .filter_map(|address| address.split('/').next())
            .find(|address| address.contains('.') && !address.starts_with("169.254."))?;
        Some(plain.to_owned())
    };
    net.and_then(device)
        .or_else(|| inventory.map(str::to_owned))
}

/// All addresses of a node's interfaces.
pub fn addresses(net: &Net) -> impl Iterator<Item = &str> {
    net.links
        .iter()
        .flat_map(|link| &link.addresses)
        .filter_map(|address| address.split('/').next())
}
