//! What there is to measure on a node, and the script that does it. Its results are in `measured`.

use std::net::Ipv4Addr;

use super::ports::{self, Protocol};
use super::seen::Seen;
use super::{Role, peers};
use crate::facts::fact::{Fact, FactValue, Net};
use crate::facts::known::Unreadable;
use crate::model::action::{Action, Program};
use crate::model::sensitive::Text;
use crate::model::shell::quote;
use crate::steps::shared::digest::sha256;

/// Seconds for which nodes that measure at about the same time listen for each other.
const WINDOW: u32 = 6;

const SCRIPT: &str = include_str!("measure.sh");

/// A port of another node to try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The node.
    pub name: String,
    /// Its address.
    pub address: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// What is to be measured on a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inputs {
    sync: bool,
    listen: Vec<u16>,
    probes: Vec<Probe>,
    /// Nodes that have no known address.
    pub unaddressed: Vec<String>,
    address: Option<String>,
    names: Vec<String>,
}

impl Inputs {
    /// For a node.
    pub fn of(seen: &Seen<'_>) -> Result<Self, Unreadable> {
        let backend = seen.wish.flannel_backend;
        let (mut probes, mut unaddressed) = (Vec::new(), Vec::new());
        for peer in seen.others() {
            let net = net_of(seen, peer);
            let address = peers::address_of(net, peer.address.as_deref());
            let Some(address) = address.filter(|address| is_word(address)) else {
                unaddressed.push(peer.name.clone());
                continue;
            };
            probes.extend(
                ports::between(seen.role, peer.role(), backend)
                    .into_iter()
                    .map(|(protocol, port)| Probe {
                        name: peer.name.clone(),
                        address: address.clone(),
                        protocol,
                        port,
                    }),
            );
        }
        let alone = seen.others().next().is_none();
        Ok(Self {
            sync: seen.role == Role::Server,
            listen: if alone {
                Vec::new()
            } else {
                ports::inbound(seen.role)
            },
            probes,
            unaddressed,
            address: virtual_address(seen)?,
            names: seen.wish.resolve.0.clone(),
        })
    }

    /// The program without its key.
    fn text(&self) -> String {
        let words = |words: Vec<String>| quote(&words.join(" "));
        let probes: Vec<String> = self
            .probes
            .iter()
            .map(|probe| {
                let protocol = probe.protocol.word();
                format!("{} {} {protocol} {}", probe.name, probe.address, probe.port)
            })
            .collect();
        format!(
            "SYNC={} LISTEN={} WINDOW={WINDOW} ADDRESS={} NAMES={}\nPROBES={}\n{SCRIPT}",
            if self.sync { "1" } else { "" },
            words(self.listen.iter().map(u16::to_string).collect()),
            quote(self.address.as_deref().unwrap_or_default()),
            words(self.names.clone()),
            quote(&probes.join("\n")),
        )
    }

    /// Names this measuring: results of another one do not count.
    pub fn key(&self) -> String {
        sha256(self.text().as_bytes())
    }

    /// What is measured, in words.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.sync {
            words.push(
                "measure synchronous writes below /var/lib/rancher (at most 6 MB)".to_owned(),
            );
        }
        if !self.probes.is_empty() {
            words.push(format!("try {} ports of other nodes", self.probes.len()));
        }
        if let Some(address) = &self.address {
            words.push(format!("see that nobody has {address}"));
        }
        if !self.names.is_empty() {
            words.push(format!("look up {}", self.names.join(", ")));
        }
        if words.is_empty() {
            words.push("take down that nothing is to be measured here".to_owned());
        }
        words
    }

    /// The measuring as an action.
    pub fn action(&self) -> Action {
        // The shell reads all of it before it runs any of it: what runs inside cannot swallow the rest.
        let text = format!("{{ :\n{}\n}} </dev/null\n", self.text());
        Action::Run(Program {
            argv: ["sh", "-s"].map(str::to_owned).to_vec(),
            cwd: None,
            env: vec![("KEY".to_owned(), Text::plain(self.key()))],
            stdin: Some(Text::plain(text)),
            ok_exit: vec![0],
            retry_exit: Vec::new(),
            purpose: Some("measure".to_owned()),
        })
    }
}

/// The network of another node, where it told.
pub fn net_of<'a>(seen: &Seen<'a>, peer: &super::Peer) -> Option<&'a Net> {
    seen.of_peer(peer, &Fact::Net, |value| match value {
        FactValue::Net(net) => Some(net),
        _ => None,
    })
    .ok()
}

/// Whether a text can be one word of a line: names and addresses of inventories are.
pub fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".:_-%".contains(&b))
        && !text.starts_with('-')
}

/// The cluster's address, where it is none of a node's and no server has a cluster yet, which would rightly use it.
fn virtual_address(seen: &Seen<'_>) -> Result<Option<String>, Unreadable> {
    let wanted = seen.wish.virtual_address.as_deref().unwrap_or_default();
    if seen.role != Role::Server || wanted.parse::<Ipv4Addr>().is_err() {
        return Ok(None);
    }
    let mine = peers::addresses(seen.net()?).any(|address| address == wanted);
    let theirs = seen.others().any(|peer| {
        peer.address.as_deref() == Some(wanted)
            || net_of(seen, peer)
                .is_some_and(|net| peers::addresses(net).any(|address| address == wanted))
    });
    let used = mine || theirs || seen.has_k3s()? || peers::cluster_exists(seen);
    Ok((!used).then(|| wanted.to_owned()))
}
