//! Names and addresses of a lab's things, made from its folder and its subnet alone, so that all of them are found
//! again without any record.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sha2::{Digest as _, Sha256};

use crate::model::outcome::Failure;

/// The most nodes of a lab: their addresses are .11 to .109, and above that is room for virtual addresses.
pub const MAX_NODES: u32 = 99;

/// Added to a node's number for the last part of its address.
const FIRST: u32 = 10;

/// Short name of a lab on this machine, for links (at most 15 bytes) and control groups: from its folder's path, so two
/// labs of one name in different places do not meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag(String);

impl Tag {
    /// Of the lab in this folder (an absolute path).
    pub fn of(folder: &str) -> Self {
        let digest = Sha256::digest(folder.as_bytes());
        let hex: String = digest.iter().take(3).map(|b| format!("{b:02x}")).collect();
        Self(format!("hm-{hex}"))
    }

    /// As it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bridge that the nodes are on.
    pub fn bridge(&self) -> &str {
        &self.0
    }

    /// What systemd-nspawn calls the machine of a node; unique on this machine.
    pub fn machine(&self, number: u32) -> String {
        format!("{}-{number}", self.0)
    }

    /// The host's end of a node's link, as systemd-nspawn names it after the machine.
    pub fn link(&self, number: u32) -> String {
        format!("vb-{}", self.machine(number))
    }

    /// The nftables table of cuts (family bridge) and of isolation (family inet).
    pub fn table(&self) -> String {
        self.0.replace('-', "_")
    }

    /// The control group, below the root of each hierarchy.
    pub fn cgroup(&self) -> String {
        format!("hmco-lab-{}", self.0)
    }
}

/// The host's own address in a lab.
pub fn host_address(subnet: Ipv4Net) -> Ipv4Addr {
    nth(subnet, 1)
}

/// The address of a node; numbers begin with 1.
pub fn node_address(subnet: Ipv4Net, number: u32) -> Ipv4Addr {
    nth(subnet, FIRST + number)
}

fn nth(subnet: Ipv4Net, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()).wrapping_add(number))
}

/// The MAC address of a node: locally administered, from its address, so it is known while the node is off and the same
/// after every start.
pub fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:b0:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The first 172.30.N.0/24 that meets none of `taken`.
pub fn first_free(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    (0..=255).find_map(|n| {
        let net = Ipv4Net::new(Ipv4Addr::new(172, 30, n, 0), 24).ok()?;
        (!meets(net, taken)).then_some(net)
    })
}

/// Whether a network has addresses in common with one of the others.
pub fn meets(net: Ipv4Net, others: &[Ipv4Net]) -> bool {
    let both = |other: &Ipv4Net| net.contains(&other.network()) || other.contains(&net.network());
    others.iter().any(both)
}

/// Checks a subnet that a user named.
///
/// # Errors
/// Where it has no room for the nodes, or is not private.
pub fn check_subnet(subnet: Ipv4Net) -> Result<Ipv4Net, Failure> {
    let subnet = subnet.trunc();
    if subnet.prefix_len() > 24 || subnet.prefix_len() < 16 {
        return Err(Failure::new(format!("{subnet} cannot be a lab's subnet"))
            .hint("name one between /16 and /24, as in 172.30.7.0/24"));
    }
    if !subnet.network().is_private() {
        return Err(Failure::new(format!("{subnet} is not a private network"))
            .hint("name one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, as in 172.30.7.0/24"));
    }
    Ok(subnet)
}

/// Checks a lab's name: it becomes part of host names and of a folder's name.
///
/// # Errors
/// Where it is no RFC 1123 label, or too long to have a number added.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: char| inner(c) && c != '-';
    let good = name.len() <= 40
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(inner)
        && !matches!(name, "all" | "cluster" | "controller");
    if good {
        return Ok(());
    }
    Err(
        Failure::new(format!("{name:?} cannot be the name of a lab")).hint(
            "use up to 40 lowercase letters, digits and `-`, with a letter or digit first and last",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn names_of_links_are_short_enough_for_the_kernel() {
        let tag = Tag::of("/var/lib/hmco-boot-lab/lab");
        assert_ne!(tag, Tag::of("/var/lib/hmco-boot-lab/lab2"));
        assert!(tag.link(MAX_NODES).len() <= 15, "{}", tag.link(99));
        assert_eq!(tag.table(), tag.as_str().replace('-', "_"));
    }

    #[test]
    fn the_first_network_that_meets_no_other_is_taken() {
        assert_eq!(first_free(&[]), Some(net("172.30.0.0/24")));
        let taken = [
            net("172.30.0.5/32"),
            net("172.30.1.0/24"),
            net("10.0.0.0/8"),
        ];
        assert_eq!(first_free(&taken), Some(net("172.30.2.0/24")));
        assert_eq!(first_free(&[net("172.16.0.0/12")]), None);
    }

    #[test]
    fn addresses_follow_from_subnet_and_number() {
        let subnet = net("172.30.7.0/24");
        assert_eq!(host_address(subnet).to_string(), "172.30.7.1");
        assert_eq!(node_address(subnet, 1).to_string(), "172.30.7.11");
        assert_eq!(node_address(subnet, MAX_NODES).to_string(), "172.30.7.109");
        assert_eq!(mac(node_address(subnet, 1)), "02:b0:ac:1e:07:0b");
    }

    #[test]
    fn subnets_without_room_or_privacy_are_refused() {
        assert_eq!(
            check_subnet(net("172.30.7.9/24")).unwrap(),
            net("172.30.7.0/24")
        );
        assert!(check_subnet(net("172.30.7.0/25")).is_err());
        assert!(check_subnet(net("8.8.8.0/24")).is_err());
    }

    #[test]
    fn a_name_must_do_as_part_of_a_host_name() {
        for good in ["lab", "a", "lab-2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Lab", "a/b", "..", "all", &"x".repeat(41)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
