//! The bridge that a lab's nodes are on, what keeps its packets on this machine, and what of the host's firewall would
//! stop them.

use std::path::Path;

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::names::{self, Tag};
use super::{LabError, command, files};
use crate::model::outcome::Failure;

/// A link as `ip -json address` shows it.
#[derive(Debug, Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    #[serde(default)]
    local: String,
    #[serde(default)]
    prefixlen: u8,
}

/// A route as `ip -json route` shows it.
#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
}

/// The networks that this machine has addresses in or routes to, but for those of one link.
///
/// # Errors
/// Where they cannot be listed.
pub fn taken(but_for: &str) -> Result<Vec<Ipv4Net>, Failure> {
    let links = command::run("ip", &["-4", "-json", "address", "show"])?;
    let routes = command::run("ip", &["-4", "-json", "route", "show", "table", "all"])?;
    Ok(networks(&links, &routes, but_for))
}

fn networks(links: &str, routes: &str, but_for: &str) -> Vec<Ipv4Net> {
    let links: Vec<Link> = serde_json::from_str(links).unwrap_or_default();
    let mut own = Vec::new();
    let mut found = Vec::new();
    for link in links {
        let nets = link.addr_info.iter().filter_map(|address| {
            Some(
                Ipv4Net::new(address.local.parse().ok()?, address.prefixlen)
                    .ok()?
                    .trunc(),
            )
        });
        if link.ifname == but_for {
            own.extend(nets);
        } else {
            found.extend(nets);
        }
    }
    let routes: Vec<Route> = serde_json::from_str(routes).unwrap_or_default();
    for route in routes {
        let net: Option<Ipv4Net> = route
            .dst
            .parse()
            .ok()
            .or_else(|| Some(Ipv4Net::from(route.dst.parse::<std::net::Ipv4Addr>().ok()?)));
        // What belongs to the link's own network is no obstacle to it.
        found.extend(net.filter(|net| !names::meets(*net, &own)));
    }
    found
}

/// Chooses the subnet of a new lab: the one that was named, else the first free one.
///
/// # Errors
/// Where the one that was named is in use, or none is free.
pub fn choose(
    wanted: Option<Ipv4Net>,
    tag: &Tag,
    claimed: &[Ipv4Net],
) -> Result<Ipv4Net, LabError> {
    let mut taken = taken(tag.bridge())?;
    taken.extend(claimed);
    let Some(wanted) = wanted else {
        return names::first_free(&taken).ok_or_else(|| {
            LabError::Failed(
                Failure::new("no network 172.30.N.0/24 is free on this machine")
                    .hint("name another private network with --subnet, as in 10.99.0.0/24"),
            )
        });
    };
    let wanted = names::check_subnet(wanted).map_err(LabError::Usage)?;
    if names::meets(wanted, &taken) {
        let what = format!("{wanted} is in use on this machine, or by another lab");
        return Err(LabError::Usage(Failure::new(what).hint(
            "see `ip route` and `hmco-boot lab status --all`; or leave --subnet out, and a free one is taken",
        )));
    }
    Ok(wanted)
}

/// Makes the bridge with the host's address where it is missing, and keeps its packets on this machine.
///
/// # Errors
/// Where a tool fails.
pub fn ensure_bridge(tag: &Tag, subnet: Ipv4Net) -> Result<(), Failure> {
    let bridge = tag.bridge();
    if !link_exists(bridge) {
        command::run("ip", &["link", "add", bridge, "type", "bridge"])
            .map_err(|failure| failure.hint("the kernel needs CONFIG_BRIDGE (modprobe bridge)"))?;
    }
    let host = names::host_address(subnet);
    // Its own address, not that of whichever node came last: nodes remember it.
    command::run("ip", &["link", "set", bridge, "address", &names::mac(host)])?;
    // No router on this bridge asks who listens to which group, so nothing may be kept from those who do.
    let set = [
        "link",
        "set",
        bridge,
        "type",
        "bridge",
        "mcast_snooping",
        "0",
    ];
    command::run("ip", &set)?;
    let address = format!("{host}/{}", subnet.prefix_len());
    command::run("ip", &["address", "replace", &address, "dev", bridge])?;
    command::run("ip", &["link", "set", bridge, "up"])?;
    command::run_with_input("nft", &["-f", "-"], &isolation(tag))?;
    Ok(())
}

/// Whether there is a link of this name.
pub fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// The links of a lab: its bridge and the host's ends of its nodes' links.
///
/// # Errors
/// Where they cannot be listed.
pub fn links(tag: &Tag) -> Result<Vec<String>, Failure> {
    let ours = format!("vb-{}-", tag.as_str());
    let mut names = files::names_in(Path::new("/sys/class/net"))?;
    names.retain(|name| name == tag.bridge() || name.starts_with(&ours));
    Ok(names)
}

/// Removes the links and the rules of a lab.
///
/// # Errors
/// Where one does not go.
pub fn remove(tag: &Tag) -> Result<(), Failure> {
    for name in links(tag)? {
        let removed = command::run("ip", &["link", "delete", &name]);
        // A node's link may go by itself meanwhile.
        if link_exists(&name) {
            removed?;
        }
    }
    if command::exists("nft") {
        // `add` first, so that `delete` finds it also where it was never made.
        let table = tag.table();
        let script: String = ["inet", "bridge"]
            .iter()
            .map(|family| format!("add table {family} {table}\ndelete table {family} {table}\n"))
            .collect();
        command::run_with_input("nft", &["-f", "-"], &script)?;
    }
    Ok(())
}

/// Rules that keep a lab's packets on this machine also where it forwards packets: what pods and services of a
/// rehearsal send must never meet the real network.
fn isolation(tag: &Tag) -> String {
    let (table, bridge) = (tag.table(), tag.bridge());
    format!(
        "add table inet {table}\n\
         delete table inet {table}\n\
         table inet {table} {{\n\
         \tchain stay {{\n\
         \t\ttype filter hook forward priority -10; policy accept;\n\
         \t\tiifname \"{bridge}\" oifname != \"{bridge}\" drop\n\
         \t\toifname \"{bridge}\" iifname != \"{bridge}\" drop\n\
         \t}}\n\
         }}\n"
    )
}

/// What of the host's firewall drops packets between two nodes of a bridge, in words; nothing where nothing is known
/// to. Packets on a bridge meet the IP firewall where br_netfilter hands them to it (Docker turns that on, and sets the
/// policy of FORWARD to DROP).
pub fn suspect_firewall(tag: &Tag) -> Option<Failure> {
    let handed = files::read_if_any(Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables"));
    if handed.trim() != "1" {
        return None;
    }
    let rules = command::run("nft", &["list", "ruleset"]).unwrap_or_default();
    let legacy = command::run("iptables-legacy", &["-S", "FORWARD"]).unwrap_or_default();
    let tables = command::run("iptables", &["-S", "FORWARD"]).unwrap_or_default();
    let evidence = dropping(&rules, &[&legacy, &tables])?;
    let bridge = tag.bridge();
    Some(
        Failure::new("this machine's firewall drops packets between the nodes")
            .evidence("net.bridge.bridge-nf-call-iptables = 1")
            .evidence(evidence)
            .hint(format!(
                "let them pass: iptables -I FORWARD -i {bridge} -o {bridge} -j ACCEPT (with Docker: -I DOCKER-USER ...), or sysctl net.bridge.bridge-nf-call-iptables=0"
            )),
    )
}

/// The rule or policy of a FORWARD chain that drops by default.
fn dropping(ruleset: &str, tables: &[&str]) -> Option<String> {
    let policy = tables
        .iter()
        .flat_map(|text| text.lines())
        .find(|line| line.trim() == "-P FORWARD DROP");
    if let Some(line) = policy {
        return Some(format!("iptables: {line}"));
    }
    let (mut table, mut chain) = ("", "");
    for line in ruleset.lines().map(str::trim) {
        if line.starts_with("table ") {
            table = line.trim_end_matches([' ', '{']);
        } else if line.starts_with("chain ") {
            chain = line.trim_end_matches([' ', '{']);
        } else if line.contains("hook forward")
            && line.contains("policy drop")
            && !table.starts_with("table bridge")
        {
            return Some(format!("nftables: {table}, {chain}: {line}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_routes_of_other_links_are_taken() {
        let links = r#"[{"ifname":"eth0","addr_info":[{"local":"10.1.2.3","prefixlen":8}]},
            {"ifname":"hm-1","addr_info":[{"local":"172.30.0.1","prefixlen":24}]},{"ifname":"x"}]"#;
        let routes = r#"[{"dst":"default"},{"dst":"172.30.1.0/24"},{"dst":"172.30.2.9"},{"dst":"172.30.0.0/24"}]"#;
        let found: Vec<String> = networks(links, routes, "hm-1")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.0.0.0/8", "172.30.1.0/24", "172.30.2.9/32"]);
    }

    #[test]
    fn a_forward_policy_of_drop_is_named_in_either_firewall() {
        assert_eq!(dropping("", &["-P FORWARD ACCEPT\n"]), None);
        assert_eq!(
            dropping("", &["", "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n"]),
            Some("iptables: -P FORWARD DROP".into())
        );
        let rules = "table bridge b {\n chain f {\n type filter hook forward priority 0; policy drop;\n }\n}\n\
            table inet filter {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        assert_eq!(
            dropping(rules, &[]).unwrap(),
            "nftables: table inet filter, chain forward: type filter hook forward priority filter; policy drop;"
        );
    }

    #[test]
    fn nothing_leaves_the_bridge_for_another_link() {
        let script = isolation(&Tag::of("/x"));
        assert_eq!(script.matches("drop").count(), 2);
        assert!(!script.contains('-') || !script.contains("table inet hm-"));
    }
}
