//! Networks and address ranges of one inventory that get in each other's way.

use std::net::IpAddr;

use super::Checks;
use super::vars::set_by;
use crate::model::inventory::{Connection, Inventory};
use crate::model::mistake::Mistake;
use crate::model::value::{Data, Span};
use crate::model::vars::VarType;

/// A var's addresses, first to last.
struct Range<'a> {
    name: &'a str,
    span: Span,
    kind: VarType,
    first: IpAddr,
    last: IpAddr,
}

impl Checks<'_> {
    /// Vars declared as `cidr` or `ip-range`: two of a type must not overlap (pods and services; two pools), and no node
    /// may have an address that a pool gives away. A pool inside a network is as it should be.
    pub(super) fn ranges(&mut self, inventory: &Inventory) {
        let declared = self.declared();
        let mut found: Vec<Range<'_>> = Vec::new();
        for (name, value) in set_by(inventory) {
            let kind = declared.get(name.as_str()).and_then(|all| {
                all.iter()
                    .map(|(_, declaration)| declaration.kind)
                    .find(is_range)
            });
            if let (Some(kind), Data::String(text)) = (kind, &value.data)
                && let Some((first, last)) = bounds(kind, text)
            {
                found.push(Range {
                    name,
                    span: value.span,
                    kind,
                    first,
                    last,
                });
            }
        }
        self.overlaps(&mut found);
        self.nodes_inside(inventory, &found);
    }

    fn overlaps(&mut self, ranges: &mut [Range<'_>]) {
        // Sorted by their first address, only a running "last address so far" is needed.
        ranges.sort_by_key(|range| (range.kind as u8, range.first, range.span));
        let mut widest: Option<&Range<'_>> = None;
        for range in ranges.iter() {
            if let Some(before) = widest
                && before.kind == range.kind
                && before.first.is_ipv4() == range.first.is_ipv4()
                && range.first <= before.last
                && before.name != range.name
            {
                let (first, second) = if before.span <= range.span {
                    (before, range)
                } else {
                    (range, before)
                };
                self.add(
                    Mistake::warning(
                        "overlapping-ranges",
                        second.span,
                        format!("`{}` overlaps `{}`", second.name, first.name),
                    )
                    .related(first.span, format!("`{}` is set here", first.name))
                    .hint("give each its own addresses"),
                );
            }
            if widest.is_none_or(|before| {
                before.kind != range.kind
                    || before.first.is_ipv4() != range.first.is_ipv4()
                    || range.last > before.last
            }) {
                widest = Some(range);
            }
        }
    }

    fn nodes_inside(&mut self, inventory: &Inventory, ranges: &[Range<'_>]) {
        for range in ranges.iter().filter(|range| range.kind == VarType::IpRange) {
            let inside = inventory.nodes.iter().find(|node| match &node.connection {
                Connection::Ssh(ssh) => ssh.address.parse::<IpAddr>().is_ok_and(|ip| {
                    ip.is_ipv4() == range.first.is_ipv4()
                        && (range.first..=range.last).contains(&ip)
                }),
                Connection::Local { .. } => false,
            });
            if let Some(node) = inside {
                self.add(
                    Mistake::warning(
                        "address-in-range",
                        range.span,
                        format!(
                            "the range `{}` holds the address of node `{}`",
                            range.name, node.name
                        ),
                    )
                    .related(node.span, "this node")
                    .hint(
                        "choose a range without addresses that are in use, and keep it out of DHCP",
                    ),
                );
            }
        }
    }
}

fn is_range(kind: &VarType) -> bool {
    matches!(kind, VarType::Cidr | VarType::IpRange)
}

fn bounds(kind: VarType, text: &str) -> Option<(IpAddr, IpAddr)> {
    if kind == VarType::Cidr {
        let net: ipnet::IpNet = text.parse().ok()?;
        return Some((net.network(), net.broadcast()));
    }
    let (first, last) = text.split_once('-')?;
    let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last))
}
