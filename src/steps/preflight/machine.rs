//! Checks of one machine's names, rights, supply, and of programs beside K3s.

use super::Role;
use super::finding::{Finding, Severity, bytes};
use super::seen::Seen;
use crate::facts::known::Unreadable;

/// What a check gives.
pub type Found = Result<Vec<Finding>, Unreadable>;

/// systemd, which the K3s kinds make units for.
pub fn init(seen: &Seen<'_>) -> Found {
    let init = &seen.os()?.init;
    Ok(vec![Finding::unless(
        init == "systemd",
        Severity::Error,
        "init",
        format!("{init} is process 1"),
        "systemd",
        "a distribution with systemd",
    )])
}

/// Root.
pub fn root(seen: &Seen<'_>) -> Found {
    let sudo = seen.sudo()?;
    let measured = match (sudo.is_root, sudo.installed, sudo.passwordless) {
        (true, ..) => "works as root",
        (false, false, _) => "a plain user; sudo is not installed",
        (false, true, true) => "a plain user; sudo needs no password, but is not used",
        (false, true, false) => "a plain user; sudo wants a password",
    };
    Ok(vec![Finding::unless(
        sudo.is_root,
        Severity::Error,
        "root",
        measured,
        "root, directly or by sudo",
        "`become = \"sudo\"` for this node in the inventory (with `become_password` where sudo asks)",
    )])
}

/// The host name, which becomes the name of the Kubernetes node: a name by RFC 1123.
pub fn hostname(seen: &Seen<'_>) -> Found {
    let name = &seen.os()?.hostname;
    let local = [
        "localhost",
        "localhost.localdomain",
        "raspberrypi",
        "debian",
    ];
    let mut found = vec![Finding::unless(
        is_node_name(&name.to_ascii_lowercase()),
        Severity::Error,
        "hostname",
        name.clone(),
        "letters, digits and `-`, parts divided by `.`, at most 253 characters (RFC 1123)",
        "set another host name (kind `hostname`)",
    )];
    if local.contains(&name.to_ascii_lowercase().as_str()) {
        let severity = match name.starts_with("localhost") {
            true => Severity::Error,
            false => Severity::Warning,
        };
        found.push(Finding::new(
            "hostname",
            severity,
            name.clone(),
            "a name of its own: this is what images come with",
            "set another host name (kind `hostname`)",
        ));
    }
    Ok(found)
}

/// Whether Kubernetes takes this as a node's name.
pub fn is_node_name(name: &str) -> bool {
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        !part.is_empty()
            && part.len() <= 63
            && part.bytes().all(|b| plain(b) || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// The machine id: systemd-networkd's DHCP and journald go by it, and some components of a cluster.
pub fn machine_id(seen: &Seen<'_>) -> Found {
    let id = &seen.os()?.machine_id;
    let fine = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let measured = if id.is_empty() { "empty" } else { id };
    Ok(vec![Finding::unless(
        fine,
        Severity::Error,
        "machine-id",
        measured,
        "32 hexadecimal digits",
        "`rm -f /etc/machine-id && systemd-machine-id-setup`, then restart",
    )])
}

/// Swap: Kubernetes schedules as if memory were all there is.
pub fn swap(seen: &Seen<'_>) -> Found {
    let swaps = &seen.readiness()?.swaps;
    let each: Vec<String> = swaps
        .iter()
        .map(|swap| format!("{} ({})", swap.path, bytes(swap.size)))
        .collect();
    let measured = if each.is_empty() {
        "off".to_owned()
    } else {
        each.join(", ")
    };
    Ok(vec![Finding::unless(
        swaps.is_empty(),
        Severity::Warning,
        "swap",
        measured,
        "off: memory limits of pods mean nothing while the kernel swaps, and etcd stalls",
        "playbook os switches it off; by hand `swapoff -a` and its line out of /etc/fstab (Raspberry Pi OS: dphys-swapfile or rpi-swap)",
    )])
}

/// iptables of the host, which K3s uses where there is one.
pub fn iptables(seen: &Seen<'_>) -> Found {
    let line = &seen.readiness()?.iptables;
    let limit = "none (K3s brings its own), or not 1.8.0 to 1.8.4, nor 1.6.1 and older in nft mode";
    let cure = "K3s with `prefer-bundled-bin: true`, or upgrade iptables";
    let Some(version) = iptables_version(line) else {
        let measured = if line.is_empty() { "none" } else { line };
        return Ok(vec![Finding::unless(
            line.is_empty(),
            Severity::Warning,
            "iptables",
            measured,
            limit,
            cure,
        )]);
    };
    let nft = line.contains("nf_tables");
    let bad = ((1, 8, 0)..=(1, 8, 4)).contains(&version) || (version <= (1, 6, 1) && nft);
    Ok(vec![Finding::unless(
        !bad,
        Severity::Error,
        "iptables",
        line.clone(),
        limit,
        cure,
    )])
}

/// `iptables v1.8.9 (nf_tables)`.
fn iptables_version(line: &str) -> Option<(u32, u32, u32)> {
    let word = line.split_whitespace().nth(1)?.strip_prefix('v')?;
    let mut parts = word.split('.').map(|part| part.parse().ok());
    Some((
        parts.next()??,
        parts.next()??,
        parts.next().flatten().unwrap_or(0),
    ))
}

/// Supply voltage of a Raspberry Pi, by the bits of `vcgencmd get_throttled` (raspberrypi.com, vcgencmd).
pub fn power(seen: &Seen<'_>) -> Found {
    let Some(bits) = seen.readiness()?.throttled else {
        return Ok(Vec::new());
    };
    const MEANINGS: [(u32, &str); 8] = [
        (0, "undervoltage now"),
        (1, "clock capped now"),
        (2, "throttled now"),
        (3, "at the soft temperature limit now"),
        (16, "undervoltage since boot"),
        (17, "clock was capped since boot"),
        (18, "was throttled since boot"),
        (19, "was at the soft temperature limit since boot"),
    ];
    let set = |bit: u32| bits >> bit & 1 == 1;
    let words: Vec<&str> = MEANINGS
        .into_iter()
        .filter(|(bit, _)| set(*bit))
        .map(|(_, words)| words)
        .collect();
    let measured = match words.is_empty() {
        true => format!("0x{bits:x}"),
        false => format!("0x{bits:x}: {}", words.join(", ")),
    };
    let severity = if set(0) {
        Severity::Error
    } else {
        Severity::Warning
    };
    Ok(vec![Finding::unless(
        words.is_empty(),
        severity,
        "power",
        measured,
        "0x0: undervoltage corrupts disks and stalls etcd",
        "the official supply (27 W for a Pi 5), a short cable, a fan; the bits since boot go with a restart",
    )])
}

/// AppArmor without its parser.
pub fn apparmor(seen: &Seen<'_>) -> Found {
    let readiness = seen.readiness()?;
    let measured = match (readiness.apparmor, readiness.apparmor_parser) {
        (false, _) => "off",
        (true, true) => "on, with apparmor_parser",
        (true, false) => "on, without apparmor_parser",
    };
    Ok(vec![Finding::unless(
        !readiness.apparmor || readiness.apparmor_parser,
        Severity::Warning,
        "apparmor",
        measured,
        "apparmor_parser where AppArmor is on: containerd loads its profile with it",
        "install the package apparmor",
    )])
}

/// Another Kubernetes, or Docker.
pub fn other_kubernetes(seen: &Seen<'_>) -> Found {
    const OTHERS: [&str; 6] = [
        "kubelet.service",
        "rke2-server.service",
        "rke2-agent.service",
        "k0scontroller.service",
        "k0sworker.service",
        "snap.microk8s.daemon-kubelite.service",
    ];
    let mut active = Vec::new();
    for unit in OTHERS {
        if seen.is_active(unit)? {
            active.push(unit);
        }
    }
    let measured = if active.is_empty() {
        "none".to_owned()
    } else {
        active.join(", ")
    };
    let mut found = vec![Finding::unless(
        active.is_empty(),
        Severity::Error,
        "other-kubernetes",
        measured,
        "none active beside K3s",
        "stop and remove it first (kubeadm reset, rke2-uninstall.sh, k0s reset, snap remove microk8s)",
    )];
    if seen.is_active("docker.service")? {
        found.push(Finding::new(
            "docker",
            Severity::Warning,
            "docker.service is active",
            "not beside K3s: it sets the policy of FORWARD to DROP, which can stop traffic between pods",
            "remove Docker, or `iptables -P FORWARD ACCEPT` after each of its starts",
        ));
    }
    Ok(found)
}

/// The major number of the Linux kernel's MMC and SD block devices (Documentation/admin-guide/devices.txt).
const MMC: &str = "179";

/// SD card under the data of a server.
pub fn sd_card(seen: &Seen<'_>) -> Found {
    if seen.role != Role::Server {
        return Ok(Vec::new());
    }
    let disk = seen.disk(super::seen::DATA)?;
    let device = disk.source.trim_start_matches("/dev/");
    let major = disk.device.split(':').next().unwrap_or_default();
    let is_mmc = device.starts_with("mmcblk") || major == MMC;
    let cards = &seen.readiness()?.cards;
    let named = cards.iter().find(|card| device.starts_with(&card.device));
    // `/dev/root`, as the kernel calls what it mounted by itself, names none.
    let only = cards
        .first()
        .filter(|_| cards.len() == 1 && !device.starts_with("mmcblk"));
    // Without the bus' own word, whatever is on it is taken for a card: eMMC says so.
    let sd = is_mmc && named.or(only).is_none_or(|card| card.kind != "MMC");
    // What other devices lie below of is not told by these.
    let layered = ["mapper/", "dm-", "md", "bcache"]
        .iter()
        .any(|name| device.starts_with(name));
    let nameless = !disk.source.starts_with("/dev/") || device == "root";
    let nameless = nameless && matches!(major, "" | "0");
    if !is_mmc && (layered || nameless || disk.fs_type == "overlay") {
        return Ok(vec![Finding::new(
            "sd-card",
            Severity::Note,
            match device {
                "" => "unknown: the device below /var/lib/rancher could not be told".to_owned(),
                _ => format!(
                    "unknown: it is not told on which device {} lies",
                    disk.source
                ),
            },
            "no SD card",
            "",
        )]);
    }
    Ok(vec![Finding::unless(
        !sd,
        Severity::Warning,
        "sd-card",
        disk.source.clone(),
        "SSD or NVMe: etcd's writes wear an SD card out within months, and it is slow",
        "put the system, or /var/lib/rancher, on an SSD or NVMe",
    )])
}
