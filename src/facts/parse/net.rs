//! Addresses, routes, ports, name servers.

use super::reply::{Reply, lines};
use super::texts::Texts;
use crate::facts::fact::{FactError, Link, Net};
use crate::facts::questions::Place;

pub fn net(reply: &Reply<'_>, texts: &Texts) -> Result<Net, FactError> {
    let links = reply.part("links", "links")?.whole()?;
    let listen = reply.part("listen", "listen")?.whole()?;
    let addresses = reply.part("addresses", "addresses")?.whole()?;
    if !addresses.succeeded() {
        return Err(addresses.missing());
    }
    let addresses = addresses.text();
    let links = lines(links.body)
        .filter_map(|line| link(&line, &addresses))
        .collect();
    let resolv = texts
        .text(Place::Root, "/etc/resolv.conf")?
        .unwrap_or_default();
    Ok(Net {
        links,
        default_route: default_route(&texts.machine("/proc/net/route")),
        tcp_listen: ports(&listen.text(), "/proc/net/tcp"),
        udp_listen: ports(&listen.text(), "/proc/net/udp"),
        nameservers: resolv
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                (words.next() == Some("nameserver")).then(|| words.next().map(str::to_owned))?
            })
            .collect(),
    })
}

/// `NAME MTU STATE MAC`, with its lines of `ip -o addr show`: `2: eth0    inet 192.0.2.1/24 ...`.
fn link(line: &str, addresses: &str) -> Option<Link> {
    let mut words = line.split(' ');
    let name = words
        .next()
        .filter(|name| !name.is_empty() && *name != "lo")?;
    let mtu = words.next()?.parse().ok()?;
    let state = words.next()?.to_owned();
    let mac = words.next().unwrap_or_default().to_owned();
    let addresses = addresses
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (device, family, address) = (words.next()?, words.next()?, words.next()?);
            let device = device.split('@').next()?;
            (device == name && family.starts_with("inet")).then(|| address.to_owned())
        })
        .collect();
    Some(Link {
        name: name.to_owned(),
        mac,
        addresses,
        mtu,
        state,
    })
}

/// `GATEWAY INTERFACE` of the route to everywhere with the smallest metric. The kernel prints addresses as numbers of
/// its own byte order; every machine meant here is little-endian.
fn default_route(table: &str) -> Option<String> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [device, to, gateway, flags, _, _, metric, mask, ..] = words.as_slice() else {
                return None;
            };
            let up = u32::from_str_radix(flags, 16).ok()? & 1 == 1;
            if !up || *to != "00000000" || *mask != "00000000" {
                return None;
            }
            let gateway = u32::from_str_radix(gateway, 16).ok()?.to_le_bytes();
            let gateway = std::net::Ipv4Addr::from(gateway);
            Some((metric.parse::<u32>().ok()?, format!("{gateway} {device}")))
        })
        .min()
        .map(|(_, route)| route)
}

/// `FILE: N: ADDRESS:PORT 0:0000 STATE ...`: listening (0A) or, for UDP, bound (07). `file` without its `6`.
fn ports(text: &str, file: &str) -> Vec<u16> {
    let state = if file.ends_with("tcp") { "0A" } else { "07" };
    let mut ports: Vec<u16> = text
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(file)?;
            let rest = rest.strip_prefix('6').unwrap_or(rest).strip_prefix(':')?;
            let mut words = rest.split_whitespace().skip(1);
            let (local, _, found) = (words.next()?, words.next()?, words.next()?);
            let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
            (found == state && port != 0).then_some(port)
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
