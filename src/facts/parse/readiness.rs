//! What K3s trips over: swap, iptables, firewall, supply voltage, holders of ports.

use super::reply::Reply;
use crate::facts::fact::{Card, FactError, PortHolder, Readiness, Swap};

pub fn readiness(reply: &Reply<'_>) -> Result<Readiness, FactError> {
    let part = reply.part("readiness", "readiness")?.whole()?;
    let mut found = Readiness::default();
    for (word, value) in part.records() {
        match word.as_str() {
            "uuid" => found.product_uuid = value.trim().to_ascii_lowercase(),
            "swap" => found.swaps.extend(swap(&value)),
            "iptables" => found.iptables = value,
            "throttled" => found.throttled = throttled(&value),
            "apparmor" => found.apparmor = true,
            "apparmor-parser" => found.apparmor_parser = true,
            "ufw" => found.ufw = true,
            "input-dropped" => found.input_dropped = true,
            "cni-unmanaged" => found.cni_unmanaged = true,
            "card" => {
                let (device, kind) = value.split_once(' ').unwrap_or((&value, ""));
                found.cards.push(Card {
                    device: device.to_owned(),
                    kind: kind.trim().to_owned(),
                });
            }
            "socket" => found.holders.extend(holder(&value)),
            _ => {}
        }
    }
    found.holders.sort_by_key(|holder| holder.port);
    found.holders.dedup();
    Ok(found)
}

/// `KIB PATH`, of /proc/swaps.
fn swap(text: &str) -> Option<Swap> {
    let (size, path) = text.split_once(' ')?;
    Some(Swap {
        path: path.to_owned(),
        size: size.parse::<u64>().ok()?.saturating_mul(1024),
    })
}

/// `throttled=0x50000`.
fn throttled(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().strip_prefix("throttled=0x")?, 16).ok()
}

/// `tcp LISTEN 0 4096 *:6443 *:* users:(("k3s-server",pid=4,fd=11))`, as `ss -Hltunp` prints it.
fn holder(line: &str) -> Option<PortHolder> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let port = words.get(4)?.rsplit_once(':')?.1.parse().ok()?;
    let program = line.split_once("users:((\"")?.1.split_once('"')?.0;
    Some(PortHolder {
        protocol: (*words.first()?).to_owned(),
        port,
        program: program.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::frame::Frame;

    #[test]
    fn every_record_finds_its_place_and_odd_ones_are_left_out() {
        let body = "D;uuid 4C4C4544-0031\nD;swap 2097148 /swap file\nD;swap much /x\n\
            D;iptables iptables v1.8.9 (nf_tables)\nD;throttled throttled=0x50005\nD;apparmor\nD;input-dropped\n\
            D;card mmcblk0 SD\nD;socket tcp LISTEN 0 4096 *:6443 *:* users:((\"k3s-server\",pid=4,fd=11))\n\
            D;socket udp UNCONN 0 0 [::]:8472 [::]:* users:((\"x\",pid=4,fd=11),(\"y\",pid=5,fd=3))\n\
            D;socket nonsense\nD;new thing\n";
        let frame = |name: &str, args: &[&str], body: &str| Frame::Whole {
            name: name.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            body: body.as_bytes().to_vec(),
            status: "0".to_owned(),
        };
        let frames = [
            frame("facts-header", &["D"], "\n/run/hmco-boot\nboot\n"),
            frame("facts-readiness", &["D"], body),
        ];
        let found = readiness(&Reply::new(&frames)).unwrap();
        let expected = Readiness {
            product_uuid: "4c4c4544-0031".to_owned(),
            swaps: vec![Swap {
                path: "/swap file".to_owned(),
                size: 2_097_148 * 1024,
            }],
            iptables: "iptables v1.8.9 (nf_tables)".to_owned(),
            throttled: Some(0x50005),
            apparmor: true,
            input_dropped: true,
            cards: vec![Card {
                device: "mmcblk0".to_owned(),
                kind: "SD".to_owned(),
            }],
            holders: vec![
                PortHolder {
                    protocol: "tcp".to_owned(),
                    port: 6443,
                    program: "k3s-server".to_owned(),
                },
                PortHolder {
                    protocol: "udp".to_owned(),
                    port: 8472,
                    program: "x".to_owned(),
                },
            ],
            ..Readiness::default()
        };
        assert_eq!(found, expected);
    }
}
