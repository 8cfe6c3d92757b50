//! Checks of a machine's network and file systems, as far as its facts tell. What must be tried is in `measured`.

use super::finding::{Finding, Severity, bytes};
use super::limits::{EVICTION_PERCENT, LITTLE_PERCENT, SYSTEM_FREE};
use super::machine::Found;
use super::ports::{self, Protocol};
use super::seen::{DATA, DISKS, Seen};
use crate::facts::fact::Disk;

/// A default route: without one K3s does not find its own address and ends at once.
pub fn default_route(seen: &Seen<'_>) -> Found {
    let route = seen.net()?.default_route.as_deref();
    Ok(vec![Finding::unless(
        route.is_some(),
        Severity::Error,
        "default-route",
        route.unwrap_or("none"),
        "one for IPv4: K3s takes the node's address from it",
        "set a gateway; without one a route to a dummy interface is enough (docs.k3s.io, Air-Gap Install)",
    )])
}

/// Name servers.
pub fn nameservers(seen: &Seen<'_>) -> Found {
    let servers = &seen.net()?.nameservers;
    let measured = if servers.is_empty() {
        "none".to_owned()
    } else {
        servers.join(" ")
    };
    Ok(vec![Finding::unless(
        !servers.is_empty(),
        Severity::Warning,
        "nameservers",
        measured,
        "at least one in /etc/resolv.conf: images come by name, and CoreDNS asks the node's",
        "see what writes /etc/resolv.conf (NetworkManager, systemd-resolved, resolvconf, DHCP)",
    )])
}

/// Packet filters that are known to cut K3s off.
pub fn firewall(seen: &Seen<'_>) -> Found {
    let readiness = seen.readiness()?;
    let mut on = Vec::new();
    if seen.is_active("firewalld.service")? {
        on.push("firewalld is active");
    }
    if readiness.ufw {
        on.push("ufw is enabled");
    }
    if readiness.input_dropped {
        on.push("an input chain drops by default");
    }
    let measured = if on.is_empty() {
        "none".to_owned()
    } else {
        on.join(", ")
    };
    let ports: Vec<String> = ports::between(
        super::Role::Server,
        super::Role::Server,
        seen.wish.flannel_backend,
    )
    .into_iter()
    .map(|(protocol, port)| format!("{port}/{}", protocol.word()))
    .collect();
    Ok(vec![Finding::unless(
        on.is_empty(),
        Severity::Warning,
        "firewall",
        measured,
        "none, or one that lets nodes, pods and services through",
        format!(
            "switch it off, or let in {} from the nodes and everything from 10.42.0.0/16 and 10.43.0.0/16",
            ports.join(" ")
        ),
    )])
}

/// NetworkManager may take the interfaces of CNI for its own.
pub fn network_manager(seen: &Seen<'_>) -> Found {
    let mut found = Vec::new();
    if seen.is_active("NetworkManager.service")? {
        found.push(Finding::unless(
            seen.readiness()?.cni_unmanaged,
            Severity::Warning,
            "network-manager",
            "active",
            "told to leave cni and flannel interfaces alone",
            "/etc/NetworkManager/conf.d/k3s.conf: [keyfile] unmanaged-devices=interface-name:cni*;interface-name:flannel*;interface-name:veth*",
        ));
    }
    if seen.is_active("nm-cloud-setup.timer")? {
        found.push(Finding::new(
            "network-manager",
            Severity::Error,
            "nm-cloud-setup.timer is active",
            "off: it removes the routes of pods (docs.k3s.io, Requirements)",
            "systemctl disable --now nm-cloud-setup.service nm-cloud-setup.timer, then restart",
        ));
    }
    Ok(found)
}

/// Ports that K3s will need: free, unless K3s itself holds them.
pub fn ports_free(seen: &Seen<'_>) -> Found {
    if seen.has_k3s()? {
        return Ok(Vec::new());
    }
    let net = seen.net()?;
    let holders = &seen.readiness()?.holders;
    let wanted = ports::own(seen.role, seen.wish.flannel_backend);
    let mut taken = Vec::new();
    for (protocol, port) in &wanted {
        let bound = match protocol {
            Protocol::Tcp => &net.tcp_listen,
            Protocol::Udp => &net.udp_listen,
        };
        if !bound.contains(port) {
            continue;
        }
        let holder = holders
            .iter()
            .find(|holder| holder.port == *port && holder.protocol == protocol.word());
        let program = holder.map_or("a program that could not be told", |h| h.program.as_str());
        taken.push(format!("{port}/{} by {program}", protocol.word()));
    }
    let mut found = vec![Finding::unless(
        taken.is_empty(),
        Severity::Error,
        "ports-free",
        if taken.is_empty() {
            format!("all {} are free", wanted.len())
        } else {
            format!("taken: {}", taken.join(", "))
        },
        "free before K3s is installed",
        "see what holds them (`ss -ltnp`), stop and disable it. A K3s that is in use: `hmco-boot k3s adopt`; one that is not, \
         and only then: k3s-uninstall.sh, which deletes its data",
    )];
    let web: Vec<String> = [80, 443]
        .into_iter()
        .filter(|port| net.tcp_listen.contains(port))
        .map(|port: u16| port.to_string())
        .collect();
    if !web.is_empty() {
        found.push(Finding::new(
            "ports-free",
            Severity::Warning,
            format!("taken: {}/tcp", web.join("/tcp, ")),
            "free: K3s' Traefik takes 80 and 443 on every node by packet filter, and what listens there is no longer reached",
            "stop the web server, or `disable: traefik` and servicelb",
        ));
    }
    Ok(found)
}

/// Space and inodes, and whether they can be written.
pub fn disk(seen: &Seen<'_>) -> Found {
    let mut found = Vec::new();
    let mut seen_mounts: Vec<&str> = Vec::new();
    for path in DISKS {
        let disk = seen.disk(path)?;
        // Several of them are usually on one file system, which is told once.
        if !disk.mount.is_empty() && seen_mounts.contains(&disk.mount.as_str()) {
            continue;
        }
        seen_mounts.push(&disk.mount);
        found.extend(one_disk(seen, path, disk));
    }
    Ok(found)
}

fn one_disk(seen: &Seen<'_>, path: &str, disk: &Disk) -> Vec<Finding> {
    let place = match disk.mount.is_empty() {
        true => format!("{path} (mount unknown)"),
        false => format!("{path} ({} at {})", disk.source, disk.mount),
    };
    if disk.size == 0 {
        return vec![Finding::new(
            "disk",
            Severity::Warning,
            format!("{place}: unknown, the file system tells no size"),
            "known free space",
            "see `df` on the node",
        )];
    }
    let wanted = if path == DATA {
        seen.wish.limits.disk_free()
    } else {
        SYSTEM_FREE
    };
    let free = percent(disk.free, disk.size);
    let holds = disk.free >= wanted && free >= EVICTION_PERCENT;
    let severity = match holds {
        false if path == "/var/log" => Severity::Warning,
        false => Severity::Error,
        true if path == DATA && free < LITTLE_PERCENT => Severity::Warning,
        // The kernel does not list what is mounted here, so nobody knows whether it can be written.
        true if disk.mount.is_empty() => Severity::Note,
        true => Severity::Fine,
    };
    let mut found = vec![Finding::new(
        "disk",
        severity,
        format!(
            "{place}: {} free of {} ({free} %)",
            bytes(disk.free),
            bytes(disk.size)
        ),
        match path == DATA {
            true => format!(
                "at least {} and {EVICTION_PERCENT} % (below {LITTLE_PERCENT} % the kubelet removes images)",
                bytes(wanted)
            ),
            false => format!("at least {} and {EVICTION_PERCENT} %", bytes(wanted)),
        },
        "make room (apt-get clean, journalctl --vacuum-size=100M), or a larger disk",
    )];
    found.extend(inodes(&place, disk));
    if disk.read_only {
        found.push(Finding::new(
            "read-only",
            Severity::Error,
            format!("{place}: mounted read-only"),
            "writable",
            "look for disk errors in `dmesg`; Raspberry Pi OS: switch the overlay file system off in raspi-config",
        ));
    }
    found
}

fn inodes(place: &str, disk: &Disk) -> Option<Finding> {
    if disk.inodes == 0 {
        return None;
    }
    let left = percent(disk.inodes_free, disk.inodes);
    let severity = match left {
        0..EVICTION_PERCENT => Severity::Error,
        EVICTION_PERCENT..LITTLE_PERCENT => Severity::Warning,
        _ => Severity::Fine,
    };
    Some(Finding::new(
        "inodes",
        severity,
        format!(
            "{place}: {} free of {} ({left} %)",
            disk.inodes_free, disk.inodes
        ),
        format!("at least {EVICTION_PERCENT} % (below {LITTLE_PERCENT} % is little)"),
        "remove many small files, or make the file system again with more inodes",
    ))
}

/// A part in whole percent, rounded down.
fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100) / whole.max(1)
}
