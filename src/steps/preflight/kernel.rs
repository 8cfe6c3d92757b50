//! Checks of the kernel and of what it runs on: control groups, pages, architecture, memory, processors, modules.

use super::FlannelBackend;
use super::finding::{Finding, Severity, bytes};
use super::machine::Found;
use super::seen::Seen;

/// Flags that switch the memory controller on, on a Raspberry Pi.
const CGROUP_FLAGS: &str = "cgroup_enable=memory cgroup_memory=1";

/// Controllers that the kubelet wants, besides memory.
const CONTROLLERS: [&str; 3] = ["cpu", "cpuset", "pids"];

/// Control groups: the memory controller is off on a Raspberry Pi unless its command line says otherwise.
pub fn cgroup(seen: &Seen<'_>) -> Found {
    let cgroup = seen.cgroup()?;
    let boot = seen.boot()?;
    let file = boot.cmdline_file.as_deref();
    let has = |name: &str| cgroup.controllers.iter().any(|on| on == name);
    let measured = match cgroup.version {
        0 => "no control groups are mounted".to_owned(),
        version => format!("cgroup v{version}: {}", cgroup.controllers.join(" ")),
    };
    let cure = match file {
        Some(file) => format!(
            "add `{CGROUP_FLAGS}` to the one line of {file} and restart (playbook os does that)"
        ),
        None => format!("add `{CGROUP_FLAGS}` to the kernel's command line and restart"),
    };
    let mut found = vec![Finding::unless(
        has("memory"),
        Severity::Error,
        "cgroup",
        measured.clone(),
        "controller memory in effect",
        cure,
    )];
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !has(name)).collect();
    if cgroup.version != 0 && !missing.is_empty() {
        found.push(Finding::new(
            "cgroup",
            Severity::Error,
            format!("controllers that are off: {}", missing.join(" ")),
            "cpu, cpuset and pids in effect",
            "remove `cgroup_disable=` from the kernel's command line, or take a kernel that has them",
        ));
    }
    if cgroup.version == 1 {
        found.push(Finding::new(
            "cgroup-v1",
            Severity::Warning,
            measured,
            "cgroup v2 (Kubernetes has deprecated v1; the kubelet of 1.35 refuses it)",
            "remove `systemd.unified_cgroup_hierarchy=0` from the kernel's command line, or upgrade the distribution",
        ));
    }
    Ok(found)
}

/// Memory pages: 16 KiB on a Raspberry Pi 5's default kernel.
pub fn page_size(seen: &Seen<'_>) -> Found {
    let os = seen.os()?;
    let measured = format!("{} bytes", os.page_size);
    Ok(vec![Finding::unless(
        os.page_size == 4096,
        Severity::Warning,
        "page-size",
        measured,
        "4096 bytes: images with jemalloc or tcmalloc (redis, mongo, some of Rust) die with `Unsupported system page size`",
        "on a Raspberry Pi 5 `kernel=kernel8.img` in config.txt, then restart",
    )])
}

/// Kernel and userland of one word size, and an architecture that K3s is built for.
pub fn architecture(seen: &Seen<'_>) -> Found {
    let os = seen.os()?;
    let measured = format!("kernel {}, userland {}", os.kernel_arch, os.arch);
    let built = ["amd64", "arm64", "armhf"].contains(&os.arch.as_str());
    let mut found = vec![Finding::unless(
        built && os.kernel_arch != "armv6l",
        Severity::Error,
        "arch",
        measured.clone(),
        "amd64, arm64 or armhf from ARMv7 on: for others there is no K3s",
        "another machine, or an image of the 64-bit system",
    )];
    if os.arch == "armhf" && os.kernel_arch == "aarch64" {
        found.push(Finding::new(
            "arch",
            Severity::Warning,
            measured,
            "userland as wide as the kernel: this one gets the 32-bit K3s, and many images (Longhorn's too) have no arm/v7",
            "install the 64-bit image",
        ));
    }
    Ok(found)
}

/// Memory.
pub fn memory(seen: &Seen<'_>) -> Found {
    let (has, wants) = (seen.os()?.memory, seen.wish.limits.memory(seen.role));
    Ok(vec![Finding::unless(
        has >= wants,
        Severity::Error,
        "memory",
        bytes(has),
        format!("at least {} for a {}", bytes(wants), seen.role.word()),
        "another machine for this role, or `limits = { memory_mib = ... }` at your own risk",
    )])
}

/// Processors.
pub fn cpus(seen: &Seen<'_>) -> Found {
    let (has, wants) = (seen.os()?.cpus, seen.wish.limits.cpus(seen.role));
    Ok(vec![Finding::unless(
        has >= wants,
        Severity::Error,
        "cpus",
        has.to_string(),
        format!("at least {wants} for a {}", seen.role.word()),
        "another machine for this role, or `limits = { cpus = ... }` at your own risk",
    )])
}

/// Kernel modules.
pub fn modules(seen: &Seen<'_>) -> Found {
    let kernel = &seen.os()?.kernel;
    let mut found = Vec::new();
    for name in module_names(seen.wish.flannel_backend) {
        let module = seen.module(name)?;
        let (measured, fine) = match (module.present, module.available) {
            (true, _) => ("in the kernel", true),
            (_, true) => ("can be loaded", true),
            _ => ("not there", false),
        };
        found.push(Finding::unless(
            fine,
            Severity::Error,
            "modules",
            format!("{name}: {measured} (kernel {kernel})"),
            "in the kernel, or loadable",
            "install the kernel's modules (Ubuntu before 24.04 on a Pi: linux-modules-extra-raspi); after a kernel upgrade restart first",
        ));
    }
    Ok(found)
}

/// Modules that K3s needs.
pub fn module_names(backend: FlannelBackend) -> Vec<&'static str> {
    let mut names = vec!["overlay", "br_netfilter"];
    match backend {
        FlannelBackend::Vxlan => names.push("vxlan"),
        FlannelBackend::WireguardNative => names.push("wireguard"),
        FlannelBackend::HostGw | FlannelBackend::None => {}
    }
    names
}
