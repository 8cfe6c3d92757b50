//! The results of a measuring and the checks on them. They lie in /run/hmco-boot/preflight, so they are gone with a
//! restart.

use super::finding::{Finding, Severity};
use super::inputs::{Inputs, Probe, net_of};
use super::limits::SYNC_WARNING_US;
use super::ports::Protocol;
use super::seen::Seen;

/// Where the results are.
pub const RESULTS: &str = "/run/hmco-boot/preflight";

/// How a port answered.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answered {
    probe: Probe,
    state: String,
    detail: String,
}

/// Results of a measuring.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Measured {
    /// Of the boot it was made in.
    pub boot: String,
    /// [`Inputs::key`].
    pub key: String,
    /// Uptime at its end in milliseconds.
    pub uptime_ms: u64,
    sync: Option<Sync>,
    untested: Vec<(String, String)>,
    ports: Vec<Answered>,
    address: Option<(String, String, String)>,
    names: Vec<(String, String, String)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Sync {
    folder: String,
    batches: u64,
    writes: u64,
    mean_us: u64,
    worst_us: u64,
}

impl Measured {
    /// Reads the results; `None` where they are not whole, or of another version.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "hmco-boot preflight 1" || text.lines().last()? != "end" {
            return None;
        }
        let mut found = Self::default();
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "boot" => rest.clone_into(&mut found.boot),
                "key" => rest.clone_into(&mut found.key),
                "uptime" => found.uptime_ms = rest.parse::<u64>().ok()?.saturating_mul(10),
                "sync-write" => found.sync = Some(sync(rest)?),
                "untested" => {
                    let (what, why) = rest.split_once(' ').unwrap_or((rest, ""));
                    found.untested.push((what.to_owned(), why.to_owned()));
                }
                "port" => found.ports.push(port(rest)?),
                "address" => found.address = Some(three(rest)),
                "name" => found.names.push(three(rest)),
                _ => {}
            }
        }
        found.ports.sort_by(|a, b| {
            let key = |answered: &Answered| {
                (
                    answered.probe.name.clone(),
                    answered.probe.protocol,
                    answered.probe.port,
                )
            };
            key(a).cmp(&key(b))
        });
        Some(found)
    }

    /// Holds the results against the limits.
    pub fn findings(&self, seen: &Seen<'_>, inputs: &Inputs) -> Vec<Finding> {
        let mut found = Vec::new();
        found.extend(self.sync_write(seen));
        found.extend(self.ports_reachable(seen, inputs));
        found.extend(self.address_free());
        found.extend(self.names_found());
        for (what, why) in &self.untested {
            let check = match what.as_str() {
                "sync-write" => "sync-write",
                _ => "ports-reachable",
            };
            // A listener that was not there only makes the others' refusals say less.
            let severity = if what == "listen" {
                Severity::Note
            } else {
                Severity::Warning
            };
            found.push(Finding::new(
                check,
                severity,
                format!("not tested: {why}"),
                "",
                "test it by hand, or install what is missing",
            ));
        }
        found
    }

    fn sync_write(&self, seen: &Seen<'_>) -> Option<Finding> {
        let sync = self.sync.as_ref()?;
        let limit = seen.wish.limits.sync_us();
        let severity = match () {
            () if sync.mean_us > limit => Severity::Error,
            () if sync.mean_us.max(sync.worst_us) > SYNC_WARNING_US => Severity::Warning,
            () => Severity::Fine,
        };
        let ms = |us: u64| format!("{}.{:02} ms", us / 1000, us % 1000 / 10);
        Some(Finding::new(
            "sync-write",
            severity,
            format!(
                "mean {} a write, worst of {} batches {} ({} synchronous writes of 2300 bytes below {})",
                ms(sync.mean_us),
                sync.batches,
                ms(sync.worst_us),
                sync.writes,
                sync.folder
            ),
            format!(
                "mean {} (etcd's heartbeat); above {} etcd is slow (it wants its 99th percentile below that)",
                ms(limit),
                ms(SYNC_WARNING_US)
            ),
            "an SSD or NVMe for /var/lib/rancher; other writers elsewhere; a hypervisor's disk with write-back only if its power is safe",
        ))
    }

    fn ports_reachable(&self, seen: &Seen<'_>, inputs: &Inputs) -> Vec<Finding> {
        let (mut found, mut open, mut refused) = (Vec::new(), 0, Vec::new());
        for answered in &self.ports {
            let probe = &answered.probe;
            let place = format!(
                "{}/{} of {} ({})",
                probe.port,
                probe.protocol.word(),
                probe.name,
                probe.address
            );
            match verdict(seen, answered, self.measured_too(seen, &probe.name)) {
                Verdict::Open => open += 1,
                Verdict::Refused => refused.push(format!("{}:{}", probe.name, probe.port)),
                Verdict::Bad(severity, words, cure) => found.push(Finding::new(
                    "ports-reachable",
                    severity,
                    format!("{place}: {words}"),
                    "connected, or refused while nothing listens",
                    cure,
                )),
            }
        }
        if !refused.is_empty() {
            found.push(Finding::new(
                "ports-reachable",
                Severity::Note,
                format!(
                    "refused: {}: nothing listened there, or a packet filter rejects",
                    refused.join(" ")
                ),
                "connected, or refused while nothing listens",
                "measure on all nodes at the same time: then they listen for each other",
            ));
        }
        if !inputs.unaddressed.is_empty() {
            found.push(Finding::new(
                "ports-reachable",
                Severity::Warning,
                format!(
                    "not tested: no address is known of {}",
                    inputs.unaddressed.join(", ")
                ),
                "",
                "make them answer, then run preflight again",
            ));
        }
        if open > 0 {
            let measured = format!("{open} of {} ports of other nodes answer", self.ports.len());
            found.push(Finding::new(
                "ports-reachable",
                Severity::Fine,
                measured,
                "",
                "",
            ));
        }
        found
    }

    /// Whether a node listened for this measuring: only that can have been at a port where nothing was before.
    fn measured_too(&self, seen: &Seen<'_>, name: &str) -> bool {
        self.ports.iter().any(|answered| {
            let probe = &answered.probe;
            probe.name == name && answered.state == "connected" && !listens(seen, probe)
        })
    }

    fn address_free(&self) -> Option<Finding> {
        let (address, state, detail) = self.address.as_ref()?;
        let severity = match state.as_str() {
            "free" => Severity::Fine,
            "taken" => Severity::Error,
            _ => Severity::Warning,
        };
        Some(Finding::new(
            "virtual-address",
            severity,
            format!("{address} {state}: {detail}"),
            "free: the cluster's own address, until it exists",
            "take another `api_address` for the cluster, or remove it from whatever has it",
        ))
    }

    fn names_found(&self) -> Vec<Finding> {
        self.names
            .iter()
            .map(|(name, state, detail)| {
                let severity = match state.as_str() {
                    "found" => Severity::Fine,
                    "failed" => Severity::Error,
                    _ => Severity::Warning,
                };
                Finding::new(
                    "dns",
                    severity,
                    format!("{name} {state} {detail}").trim_end().to_owned(),
                    "found by `getent hosts` within 10 s",
                    "see the name servers in /etc/resolv.conf; in a cluster without internet `resolve = []`",
                )
            })
            .collect()
    }
}

enum Verdict {
    Open,
    Refused,
    Bad(Severity, String, &'static str),
}

/// Whether a program was seen to listen at a probe's port, before anything was measured.
fn listens(seen: &Seen<'_>, probe: &Probe) -> bool {
    let peer = seen.others().find(|peer| peer.name == probe.name);
    peer.and_then(|peer| net_of(seen, peer))
        .is_some_and(|net| match probe.protocol {
            Protocol::Tcp => net.tcp_listen.contains(&probe.port),
            Protocol::Udp => net.udp_listen.contains(&probe.port),
        })
}

/// What an answer means, given what is known to listen at the other node.
fn verdict(seen: &Seen<'_>, answered: &Answered, measured_too: bool) -> Verdict {
    const FILTER: &str = "let it through: packet filters of both nodes, security groups, VLANs (`firewall` names what is on)";
    let probe = &answered.probe;
    let listens = listens(seen, probe);
    let bad = |severity, words: &str| Verdict::Bad(severity, words.to_owned(), FILTER);
    match (answered.state.as_str(), probe.protocol) {
        ("connected", _) => Verdict::Open,
        ("refused", Protocol::Tcp) if listens => bad(
            Severity::Error,
            "refused, although something listens there: a packet filter rejects",
        ),
        ("refused", Protocol::Tcp) if measured_too => bad(
            Severity::Warning,
            "refused, although it listened for this measuring, as its other ports show: a packet filter rejects",
        ),
        ("refused", Protocol::Tcp) => Verdict::Refused,
        // For UDP that is the host's own word that the datagram came in.
        ("refused", Protocol::Udp) => Verdict::Open,
        ("silent", _) if listens => Verdict::Open,
        ("silent", _) => bad(
            Severity::Warning,
            "no answer: dropped, or the node sends no ICMP",
        ),
        ("timeout", _) => bad(Severity::Error, "no answer within 4 s: dropped on the way"),
        ("unroutable", _) => bad(Severity::Error, "no route, or rejected by a packet filter"),
        ("untested", _) => Verdict::Bad(
            Severity::Note,
            format!("not tested: {}", answered.detail),
            "test it by hand, or install bash",
        ),
        (_, _) => Verdict::Bad(
            Severity::Error,
            format!("{} {}", answered.state, answered.detail)
                .trim_end()
                .to_owned(),
            FILTER,
        ),
    }
}

fn sync(text: &str) -> Option<Sync> {
    // The folder may hold blanks; the numbers are the last four words.
    let mut words = text.rsplitn(5, ' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (worst_us, mean_us, writes, batches) = (number()?, number()?, number()?, number()?);
    Some(Sync {
        folder: words.next()?.to_owned(),
        batches,
        writes,
        mean_us,
        worst_us,
    })
}

fn port(text: &str) -> Option<Answered> {
    let mut words = text.splitn(6, ' ');
    let probe = Probe {
        name: words.next()?.to_owned(),
        address: words.next()?.to_owned(),
        protocol: Protocol::from_word(words.next()?)?,
        port: words.next()?.parse().ok()?,
    };
    Some(Answered {
        probe,
        state: words.next()?.to_owned(),
        detail: words.next().unwrap_or_default().to_owned(),
    })
}

fn three(text: &str) -> (String, String, String) {
    let mut words = text.splitn(3, ' ').map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    (next(), next(), next())
}
