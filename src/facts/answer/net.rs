//! The network as the kernel of a machine has it. What others answer to it is in [`network`](crate::facts::network).

use serde::{Deserialize, Serialize};

/// Addresses, routes, ports.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Net {
    /// Interfaces that are not loopback.
    pub links: Vec<Link>,
    /// Gateway and interface of the IPv4 default route.
    pub default_route: Option<String>,
    /// Listening TCP ports, sorted, each once.
    pub tcp_listen: Vec<u16>,
    /// Bound UDP ports, sorted, each once.
    pub udp_listen: Vec<u16>,
    /// Name servers of resolv.conf.
    pub nameservers: Vec<String>,
}

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Hardware address.
    pub mac: String,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// In bytes.
    pub mtu: u32,
    /// operstate.
    pub state: String,
}
