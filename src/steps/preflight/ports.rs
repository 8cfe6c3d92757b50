//! The ports of K3s: which ones a node needs for itself, and which ones nodes need of each other.
//!
//! Source: docs.k3s.io, Requirements, "Inbound Rules for K3s Nodes"; the loopback ports were seen on a running server.

use super::{FlannelBackend, Role};

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            _ => None,
        }
    }
}

/// TCP ports of every node: kubelet; its health port, K3s' load balancer to the servers, kube-proxy (twice), containerd's
/// streaming, on loopback.
const NODE: [u16; 6] = [10250, 10248, 6444, 10249, 10256, 10010];

/// TCP ports of servers besides: API, etcd (clients, peers), etcd's metrics and its HTTP clients, controller manager,
/// cloud controller manager, scheduler on loopback.
const SERVER: [u16; 8] = [6443, 2379, 2380, 2381, 2382, 10257, 10258, 10259];

/// UDP port of a flannel backend between nodes.
pub fn overlay(backend: FlannelBackend) -> Option<u16> {
    match backend {
        FlannelBackend::Vxlan => Some(8472),
        FlannelBackend::WireguardNative => Some(51820),
        FlannelBackend::HostGw | FlannelBackend::None => None,
    }
}

/// Ports that must be free before K3s is installed on a node.
pub fn own(role: Role, backend: FlannelBackend) -> Vec<(Protocol, u16)> {
    let server: &[u16] = match role {
        Role::Server => &SERVER,
        Role::Agent => &[],
    };
    let tcp = server
        .iter()
        .chain(&NODE)
        .map(|port| (Protocol::Tcp, *port));
    let udp = overlay(backend).map(|port| (Protocol::Udp, port));
    tcp.chain(udp).collect()
}

/// Ports that a node of role `from` must reach on one of role `to`.
pub fn between(from: Role, to: Role, backend: FlannelBackend) -> Vec<(Protocol, u16)> {
    let mut ports = vec![10250];
    if to == Role::Server {
        ports.push(6443);
        if from == Role::Server {
            ports.extend([2379, 2380]);
        }
    }
    ports.sort_unstable();
    let udp = overlay(backend).map(|port| (Protocol::Udp, port));
    ports
        .into_iter()
        .map(|port| (Protocol::Tcp, port))
        .chain(udp)
        .collect()
}

/// TCP ports that others reach on a node of this role: where a measuring node listens for the others.
pub fn inbound(role: Role) -> Vec<u16> {
    match role {
        Role::Server => vec![2379, 2380, 6443, 10250],
        Role::Agent => vec![10250],
    }
}
