//! Distribution, machine and boot.

use std::collections::BTreeMap;

use super::reply::{Reply, lines};
use super::texts::Texts;
use crate::facts::fact::{Boot, FactError, Os};
use crate::facts::questions::{CMDLINE_FILES, CONTAINER, Place};

pub fn os(reply: &Reply<'_>, texts: &Texts) -> Result<Os, FactError> {
    let release = match texts.bytes(Place::Root, "/etc/os-release")? {
        Some(bytes) => os_release(bytes),
        None => os_release(
            texts
                .bytes(Place::Root, "/usr/lib/os-release")?
                .unwrap_or_default(),
        ),
    };
    let field = |key: &str| release.get(key).cloned().unwrap_or_default();
    let kernel_arch = match texts.machine("/proc/sys/kernel/arch") {
        arch if arch.is_empty() => word(reply, "uname"),
        arch => arch,
    };
    let page = match word(reply, "page") {
        page if page.is_empty() => word(reply, "getconf"),
        page => page,
    };
    Ok(Os {
        arch: userland_arch(reply, &kernel_arch),
        kernel_arch,
        kernel: texts.machine("/proc/sys/kernel/osrelease"),
        id: field("ID"),
        id_like: field("ID_LIKE")
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        version: field("VERSION_ID"),
        codename: field("VERSION_CODENAME"),
        page_size: page.parse().unwrap_or_default(),
        machine_id: texts
            .text(Place::Root, "/etc/machine-id")?
            .unwrap_or_default(),
        hostname: texts.machine("/proc/sys/kernel/hostname"),
        model: model(texts),
        memory: memory(&texts.machine("/proc/meminfo")),
        cpus: cpus(&texts.machine("/sys/devices/system/cpu/online")),
        init: texts.machine("/proc/1/comm"),
        container: texts
            .text(Place::Root, CONTAINER)?
            .unwrap_or_default()
            .trim()
            .to_owned(),
    })
}

/// The first word of a frame; empty where it is not there.
fn word(reply: &Reply<'_>, name: &str) -> String {
    let text = reply.get(name).map(|part| part.text()).unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// `KEY=value` lines, quoted as for a shell, without a shell.
fn os_release(bytes: &[u8]) -> BTreeMap<String, String> {
    lines(bytes)
        .filter_map(|line| {
            let line = line.trim();
            let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
            Some((key.trim().to_owned(), unquote(value.trim())))
        })
        .collect()
}

fn unquote(value: &str) -> String {
    if let Some(inner) = value
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
    {
        return inner.to_owned();
    }
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value);
    let mut plain = String::new();
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(c);
            escaped = false;
        }
    }
    plain
}

/// dpkg knows; without it the machine type in the header of /bin/sh, and at last the kernel's word.
fn userland_arch(reply: &Reply<'_>, kernel_arch: &str) -> String {
    let own = reply
        .get("packages")
        .and_then(|part| super::packages::native_arch(&part.text()));
    if let Some(arch) = own {
        return arch;
    }
    if let Some(part) = reply.get("arch").filter(|part| part.succeeded()) {
        return part.text().trim().to_owned();
    }
    let header = reply.get("elf").map(|part| part.text()).unwrap_or_default();
    let bytes: Vec<u8> = header
        .split_whitespace()
        .map_while(|hex| u8::from_str_radix(hex, 16).ok())
        .collect();
    elf_arch(&bytes)
        .unwrap_or(match kernel_arch {
            "aarch64" => "arm64",
            "x86_64" => "amd64",
            "armv7l" => "armhf",
            other => other,
        })
        .to_owned()
}

/// Debian's word for an ELF file's machine.
fn elf_arch(header: &[u8]) -> Option<&'static str> {
    if header.get(..4)? != b"\x7fELF" {
        return None;
    }
    let machine = u16::from_le_bytes([*header.get(18)?, *header.get(19)?]);
    match machine {
        0x3e => Some("amd64"),
        0x03 => Some("i386"),
        0xb7 => Some("arm64"),
        0xf3 => Some("riscv64"),
        // Hardware floating point is a flag of 32-bit ARM programs (e_flags, 0x400).
        0x28 if header.get(37).is_some_and(|flags| flags & 4 != 0) => Some("armhf"),
        0x28 => Some("armel"),
        _ => None,
    }
}

/// From the device tree, or vendor and product of DMI.
fn model(texts: &Texts) -> String {
    let tree = texts.machine("/proc/device-tree/model");
    if !tree.is_empty() {
        return tree;
    }
    let vendor = texts.machine("/sys/class/dmi/id/sys_vendor");
    let product = texts.machine("/sys/class/dmi/id/product_name");
    if product.starts_with(&vendor) {
        product
    } else {
        format!("{vendor} {product}").trim().to_owned()
    }
}

fn memory(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or_default()
        .saturating_mul(1024)
}

/// `0-3,5` is five processors.
fn cpus(online: &str) -> u32 {
    online
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        })
        .fold(0, u32::saturating_add)
}

pub fn boot(reply: &Reply<'_>, texts: &Texts) -> Result<Boot, FactError> {
    let mut cmdline_file = None;
    for path in CMDLINE_FILES {
        if texts.bytes(Place::Root, path)?.is_some() {
            cmdline_file = Some(path.to_owned());
            break;
        }
    }
    let mut required = false;
    let mut packages = Vec::new();
    for folder in ["/run", "/var/run"] {
        let flag = format!("{folder}/reboot-required");
        required |= texts.bytes(Place::Root, &flag)?.is_some();
        if let Some(text) = texts.text(Place::Root, &format!("{flag}.pkgs"))? {
            packages.extend(text.lines().map(|line| line.trim().to_owned()));
        }
    }
    if texts
        .machine("/proc/device-tree/model")
        .starts_with("Raspberry Pi")
        && let Some(part) = reply.get("kernels")
    {
        let newer = newer_kernel(&texts.machine("/proc/sys/kernel/osrelease"), &part.text());
        required |= newer.is_some();
        packages.extend(newer.map(|version| format!("linux-image-{version}")));
    }
    packages.retain(|package| !package.is_empty());
    packages.sort();
    packages.dedup();
    Ok(Boot {
        id: reply.boot.clone(),
        cmdline: texts.machine("/proc/cmdline"),
        cmdline_file,
        reboot_required: required,
        reboot_packages: packages,
    })
}

/// Raspberry Pi OS sets no mark for a reboot. A kernel of the same flavour (`+rpt-rpi-v8`) with a greater number than
/// the running one is what the next boot takes. Only a whole triple of numbers is compared, so an odd name is no news.
fn newer_kernel(running: &str, installed: &str) -> Option<String> {
    let split = |release: &str| {
        let end = release
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(release.len());
        let (numbers, flavour) = release.split_at(end);
        let numbers: Vec<u32> = numbers.split('.').map_while(|n| n.parse().ok()).collect();
        (numbers.len() == 3).then(|| (numbers, flavour.to_owned()))
    };
    let (now, flavour) = split(running)?;
    installed
        .lines()
        .filter_map(|name| {
            let (numbers, other) = split(name)?;
            (other == flavour && numbers > now).then(|| (numbers, name.to_owned()))
        })
        .max()
        .map(|(_, name)| name)
}
