//! Recorded outputs of machines that are not at hand here.

use super::*;
use crate::facts::fact::{FileKind, LeftoverJob, Unit};
use crate::facts::questions::{self, Place};
use crate::model::path::AbsPath;

const MARK: &str = "0123456789abcdef0123456789abcdef";

/// A frame as the script makes it; `~` in the body stands for the mark.
fn frame(words: &str, body: &str, status: &str) -> Frame {
    let mut words = words.split(' ').map(str::to_owned);
    Frame::Whole {
        name: format!("facts-{}", words.next().unwrap()),
        args: words.chain([MARK.to_owned()]).collect(),
        body: body.replace('~', MARK).into_bytes(),
        status: status.to_owned(),
    }
}

fn header() -> Frame {
    frame("header", "\n/run/hmco-boot\nb007\n", "0")
}

/// The frame of small text files, as grep makes it: every file of the question that is not given is absent.
fn texts(fact: &Fact, given: &[(&str, &str)]) -> Frame {
    let mut body = String::new();
    for (place, path) in questions::text_files(std::slice::from_ref(fact)) {
        let prefix = if place == Place::Run {
            "/run/hmco-boot"
        } else {
            ""
        };
        match given.iter().find(|(name, _)| *name == path) {
            Some((_, text)) => {
                for line in text.lines() {
                    body.push_str(&format!("{prefix}{path}:{line}\n"));
                }
            }
            None => body.push_str(&format!("~;absent {prefix}{path}\n")),
        }
    }
    frame("files 0", &body, "0")
}

fn answer(fact: Fact, frames: Vec<Frame>) -> Value {
    let frames: Vec<Frame> = std::iter::once(header()).chain(frames).collect();
    answers(&[fact], &frames, &mut DigestCache::default())
        .remove(0)
        .1
}

const PI_OS: &str = r#"PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
# a comment
ID=raspbian
ID_LIKE='debian other'
BUG="say \"no\" for \$5"
"#;

#[test]
fn a_raspberry_pi_with_a_32_bit_userland_is_told_as_such() {
    let files = [
        ("/etc/os-release", PI_OS),
        (
            "/proc/device-tree/model",
            "Raspberry Pi 5 Model B Rev 1.0\0",
        ),
        ("/proc/sys/kernel/arch", "aarch64\n"),
        ("/proc/sys/kernel/osrelease", "6.6.31+rpt-rpi-2712\n"),
        (
            "/proc/meminfo",
            "MemTotal:        8256112 kB\nMemFree: 1 kB\n",
        ),
        ("/sys/devices/system/cpu/online", "0-2,5\n"),
        ("/proc/1/comm", "systemd\n"),
        ("/etc/machine-id", "abc\n"),
    ];
    let frames = vec![
        texts(&Fact::Os, &files),
        frame("page", "16384\n", "0"),
        frame("arch", "armhf\n", "0"),
    ];
    let Ok(FactValue::Os(os)) = answer(Fact::Os, frames) else {
        panic!()
    };
    assert_eq!(
        (os.arch.as_str(), os.kernel_arch.as_str()),
        ("armhf", "aarch64")
    );
    assert_eq!(os.model, "Raspberry Pi 5 Model B Rev 1.0");
    assert_eq!((os.id.as_str(), os.version.as_str()), ("raspbian", "12"));
    assert_eq!(os.id_like, ["debian", "other"]);
    assert_eq!(os.codename, "bookworm");
    assert_eq!((os.page_size, os.cpus), (16384, 4));
    assert_eq!(os.memory, 8_256_112 * 1024);
    assert_eq!(
        (os.init.as_str(), os.machine_id.as_str()),
        ("systemd", "abc")
    );
}

#[test]
fn without_dpkg_the_header_of_the_shell_tells_the_userland() {
    let armhf = "7f 45 4c 46 01 01 01 00 00 00 00 00 00 00 00 00 03 00 28 00 01 00 00 00 \
                 9d 05 00 00 34 00 00 00 00 00 00 00 00 04 00 05";
    for (header, kernel, expected) in [
        (armhf, "aarch64", "armhf"),
        (
            &armhf.replace("00 04 00 05", "00 02 00 05"),
            "aarch64",
            "armel",
        ),
        ("nonsense", "aarch64", "arm64"),
        ("", "x86_64", "amd64"),
    ] {
        let frames = vec![
            texts(&Fact::Os, &[("/proc/sys/kernel/arch", kernel)]),
            frame("elf", header, "0"),
        ];
        match answer(Fact::Os, frames) {
            Ok(FactValue::Os(os)) => assert_eq!(os.arch, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_newer_kernel_of_the_same_flavour_asks_a_raspberry_pi_for_a_reboot() {
    let boot = |model: &str, running: &str, installed: &str| {
        let files = [
            ("/proc/device-tree/model", model),
            ("/proc/sys/kernel/osrelease", running),
            ("/boot/cmdline.txt", "x"),
        ];
        let frames = vec![texts(&Fact::Boot, &files), frame("kernels", installed, "0")];
        match answer(Fact::Boot, frames) {
            Ok(FactValue::Boot(boot)) => boot,
            other => panic!("{other:?}"),
        }
    };
    let installed = "6.6.31+rpt-rpi-v8\n6.6.9+rpt-rpi-v8\n6.12.1+rpt-rpi-2712\nodd\n";
    let pi = "Raspberry Pi 4 Model B";
    let found = boot(pi, "6.6.31+rpt-rpi-v8", installed);
    assert!(!found.reboot_required);
    assert_eq!(found.cmdline_file.as_deref(), Some("/boot/cmdline.txt"));
    let found = boot(pi, "6.6.9+rpt-rpi-v8", installed);
    assert_eq!(found.reboot_packages, ["linux-image-6.6.31+rpt-rpi-v8"]);
    assert!(found.reboot_required);
    assert!(!boot("Other board", "6.6.9+rpt-rpi-v8", installed).reboot_required);
}

#[test]
fn control_groups_of_all_generations_are_told_apart() {
    let v1 = "30 23 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
              31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n";
    let v2 = "29 23 0:25 / /sys/fs/cgroup rw,nosuid shared:8 - cgroup2 cgroup2 rw,nsdelegate\n";
    let table = |memory: u32| {
        format!(
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\ncpuacct\t2\t1\t1\nmemory\t3\t1\t{memory}\n"
        )
    };
    let told = |mounts: &str, unified: &str, memory: u32| {
        let table = table(memory);
        let files = [
            ("/proc/self/mountinfo", mounts),
            ("/sys/fs/cgroup/cgroup.controllers", unified),
            ("/proc/cgroups", &table),
        ];
        match answer(Fact::Cgroup, vec![texts(&Fact::Cgroup, &files)]) {
            Ok(FactValue::Cgroup(found)) => (found.version, found.controllers.join(" ")),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        told(v2, "memory cpu pids\n", 1),
        (2, "cpu memory pids".to_owned())
    );
    // As a Raspberry Pi boots by default.
    assert_eq!(told(v2, "cpu pids\n", 0), (2, "cpu pids".to_owned()));
    assert_eq!(told(v1, "", 1), (1, "cpu cpuacct memory".to_owned()));
    assert_eq!(told(v1, "", 0), (1, "cpu cpuacct".to_owned()));
    let hybrid = format!(
        "{v1}{}",
        v2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    );
    assert_eq!(told(&hybrid, "", 1), (1, "cpu cpuacct memory".to_owned()));
    assert_eq!(told("", "", 1), (0, String::new()));
}

const SHOW: &str = "Type=notify\nId=k3s.service\nNames=k3s.service\nLoadState=loaded\nActiveState=active\n\
SubState=running\nUnitFileState=enabled\nFragmentPath=/etc/systemd/system/k3s.service\nResult=success\n\
ExecMainStatus=0\nMainPID=812\nInvocationID=0a1b\nActiveEnterTimestampMonotonic=23456789\n\
ExecMainStartTimestampMonotonic=12345678\nNRestarts=2\nNeedDaemonReload=yes\nType=notify\n\
RemainAfterExit=no\nCanReload=yes\n\n\
Id=nope.service\nNames=nope.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nNeedDaemonReload=no\n\n\
Id=ssh.service\nNames=sshd.service ssh.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\n\
ExecMainStatus=255\nNeedDaemonReload=no\n";

#[test]
fn units_are_read_from_one_output_by_name_or_alias() {
    let unit = |name: &str, text: &str, stamp: &[(&str, &str)]| {
        let fact = Fact::Unit {
            name: name.to_owned(),
        };
        let files = texts(&fact, stamp);
        answer(fact, vec![files, frame("units", text, "0")])
    };
    let k3s = Unit {
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        enabled: "enabled".to_owned(),
        fragment: "/etc/systemd/system/k3s.service".to_owned(),
        result: "success".to_owned(),
        exit: 0,
        main_pid: 812,
        invocation: "0a1b".to_owned(),
        active_enter_us: 23_456_789,
        exec_start_us: 12_345_678,
        restarts: 2,
        need_daemon_reload: true,
        stamp: Some("d1g 0a1b".to_owned()),
        stamp_kept: Some("kept".to_owned()),
        id: "k3s.service".to_owned(),
        service_type: "notify".to_owned(),
        remain_after_exit: false,
        can_reload: true,
        flapping: true,
    };
    let stamp = [
        ("/stamp/k3s.service", "d1g 0a1b\n"),
        ("/var/lib/hmco-boot/stamp/k3s.service", "kept\n"),
        ("/proc/uptime", "22.34 80.12\n"),
    ];
    assert_eq!(unit("k3s.service", SHOW, &stamp), Ok(FactValue::Unit(k3s)));
    assert_eq!(unit("nope.service", SHOW, &[]), Err(FactError::NotFound));
    match unit("sshd.service", SHOW, &[]) {
        Ok(FactValue::Unit(ssh)) => assert_eq!((ssh.active.as_str(), ssh.exit), ("failed", 255)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        unit("other.service", SHOW, &[]),
        Err(FactError::Failed(_))
    ));
    assert!(matches!(unit("k3s*", SHOW, &[]), Err(FactError::Failed(_))));
    // Ended in the middle of the first block by its watchdog.
    let fact = Fact::Unit {
        name: "k3s.service".to_owned(),
    };
    let frames = vec![
        texts(&fact, &[]),
        frame("units", "Id=k3s.service\nLoadState=lo", "timeout"),
    ];
    assert_eq!(answer(fact, frames), Err(FactError::TimedOut));
}

#[test]
fn packages_tell_holds_half_configured_ones_and_other_architectures() {
    let text = "dpkg\tarm64\tinstall ok installed\t1.21\n\
                curl\tarm64\thold ok installed\t7.88\n\
                half\tarm64\tinstall ok half-configured\t2\n\
                gone\tarm64\tdeinstall ok config-files\t3\n\
                libc6:armhf\tarmhf\tinstall ok installed\t2.35\n\
                libc6:arm64\tarm64\tinstall ok installed\t2.36\n\
                dpkg-query: no packages found matching none\n";
    let package = |name: &str| {
        let fact = Fact::Package {
            name: name.to_owned(),
        };
        match answer(fact, vec![frame("packages", text, "1")]) {
            Ok(FactValue::Package(package)) => (package.version, package.state, package.held),
            other => panic!("{name}: {other:?}"),
        }
    };
    let some = |version: &str| Some(version.to_owned());
    assert_eq!(
        package("curl"),
        (some("7.88"), "hold ok installed".to_owned(), true)
    );
    assert_eq!(package("half").0, some("2"));
    assert_eq!(package("gone").0, None);
    assert_eq!(package("libc6").0, some("2.36"));
    assert_eq!(package("libc6:armhf").0, some("2.35"));
    assert_eq!(package("none").0, None);
}

#[test]
fn a_mount_with_odd_names_and_one_over_another_are_understood() {
    let mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
                  2 1 8:2 / /mnt/a\\040b rw - ext4 /dev/sdb1 rw\n\
                  3 2 0:9 / /mnt/a\\040b rw,ro shared:2 - nfs4 host:/x\\134y ro,addr=1\n";
    let fact = Fact::Disk {
        path: AbsPath::new("/mnt/a b/c").unwrap(),
    };
    let frames = vec![
        texts(&fact, &[("/proc/self/mountinfo", mounts)]),
        frame("disk-path", "~;/mnt/a b\n", "0"),
        frame("disk", "~;/mnt/a b\n4096 100 10 0 0\n~.\n", "0"),
    ];
    let Ok(FactValue::Disk(disk)) = answer(fact, frames) else {
        panic!()
    };
    assert_eq!(
        (disk.mount.as_str(), disk.source.as_str()),
        ("/mnt/a b", "host:/x\\y")
    );
    assert_eq!((disk.fs_type.as_str(), disk.read_only), ("nfs4", true));
    assert_eq!((disk.size, disk.free, disk.inodes), (409_600, 40_960, 0));
}

#[test]
fn a_network_is_read_from_the_kernels_tables() {
    let route = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                 wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                 eth0\t00000000\tFE01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                 eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
    let frames = vec![
        texts(
            &Fact::Net,
            &[
                ("/proc/net/route", route),
                (
                    "/etc/resolv.conf",
                    "# x\nnameserver 192.168.1.1\nsearch a\n nameserver ::1\n",
                ),
            ],
        ),
        frame(
            "links",
            "lo 65536 unknown 00:00:00:00:00:00\neth0 1500 up dc:a6:32:00:00:01\n",
            "0",
        ),
        frame(
            "listen",
            "/proc/net/tcp:   0: 00000000:1A0A 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0\n\
             /proc/net/tcp6:   0: 0:192B 0:0000 0A 0\n/proc/net/udp:   5: 0:0044 0:0000 07 0\n",
            "0",
        ),
        frame(
            "addresses",
            "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 192.168.1.10/24 brd 192.168.1.255\n\
             2: eth0@if3    inet6 fe80::1/64 scope link\n",
            "0",
        ),
    ];
    let Ok(FactValue::Net(net)) = answer(Fact::Net, frames) else {
        panic!()
    };
    assert_eq!(net.default_route.as_deref(), Some("192.168.1.254 eth0"));
    assert_eq!(
        (net.tcp_listen, net.udp_listen),
        (vec![6443, 6666], vec![68])
    );
    assert_eq!(net.nameservers, ["192.168.1.1", "::1"]);
    assert_eq!(net.links.len(), 1);
    assert_eq!(net.links[0].addresses, ["192.168.1.10/24", "fe80::1/64"]);
}

#[test]
fn a_process_name_cannot_imitate_the_fields_behind_it() {
    let stat = |pid: u32, start: u32| {
        let zeros = "0 ".repeat(18);
        format!("{pid} (a) Z 1 (b\n) S {zeros}{start} 0 0")
    };
    let body = format!(
        "~;job one\n~;pid 7 99\n~;stat {}\n~;job two\n~;pid 8 99\n~;stat {}\n~;status x\ny\n\n",
        stat(7, 99),
        stat(8, 100)
    );
    let frames = vec![texts(&Fact::RunState, &[]), frame("jobs", &body, "0")];
    let Ok(FactValue::RunState(state)) = answer(Fact::RunState, frames) else {
        panic!()
    };
    let job = |id: &str, running, status: Option<&str>| LeftoverJob {
        id: id.into(),
        running,
        status: status.map(str::to_owned),
    };
    assert_eq!(
        state.jobs,
        [job("one", true, None), job("two", false, Some("x\ny"))]
    );
}

#[test]
fn a_stat_without_a_name_for_its_owner_gives_numbers_and_busybox_quotes_links() {
    let record = "~;/l\na1ff 1234 5678 1 3 9:8:3:t:t\nUNKNOWN\nUNKNOWN\n'/l' -> ''a\n~x'\n~.\n";
    let fact = Fact::Stat {
        path: AbsPath::new("/l").unwrap(),
    };
    let Ok(FactValue::Stat(stat)) = answer(fact, vec![frame("stat 0", record, "0")]) else {
        panic!()
    };
    assert_eq!((stat.user.as_str(), stat.group.as_str()), ("1234", "5678"));
    assert_eq!(stat.kind, FileKind::Symlink);
    assert_eq!(stat.link_target, Some(format!("'a\n{MARK}x")));
    assert_eq!((stat.mode, stat.identity.as_str()), (0o777, "9:8:3:t:t"));
}

#[test]
fn complaints_are_given_to_the_names_between_two_answers() {
    let path = |name: &str| Fact::Stat {
        path: AbsPath::new(name).unwrap(),
    };
    let facts = ["/a", "/b", "/c", "/d"].map(path);
    let body = "stat: cannot statx '/a': No such file or directory\n\
                stat: cannot statx '/b': Permission denied\n\
                ~;/c\n81a4 0 0 1 3 x\nroot\nroot\n/c\n~.\n";
    let read = |status: &str| {
        answers(
            &facts,
            &[header(), frame("stat 0", body, status)],
            &mut DigestCache::default(),
        )
        .into_iter()
        .map(|(_, answer)| answer.map(|_| ()))
        .collect::<Vec<_>>()
    };
    let first = [Err(FactError::NotFound), Err(FactError::Denied), Ok(())];
    assert_eq!(read("timeout")[..3], first);
    assert_eq!(read("timeout")[3], Err(FactError::TimedOut));
    assert_eq!(read("1")[..3], first);
    assert!(matches!(read("1")[3], Err(FactError::Failed(_))));
}

#[test]
fn nothing_came_back_is_an_error_of_every_fact() {
    for frames in [
        vec![],
        vec![Frame::Loose(b"sh: not found".to_vec())],
        vec![header()],
    ] {
        for (fact, answer) in answers(&[Fact::Os, Fact::Net], &frames, &mut DigestCache::default())
        {
            assert!(
                matches!(answer, Err(FactError::Failed(_))),
                "{fact:?}: {answer:?}"
            );
        }
    }
}

#[test]
fn an_account_is_missing_only_where_the_databases_were_read() {
    let account = |name: &str, passwd: &str, group: &str| {
        let line = "pi:x:1000:1000::/home/pi:/bin/bash\n";
        answer(
            Fact::Account {
                name: name.to_owned(),
            },
            vec![
                frame("passwd", line, passwd),
                frame("group", "pi:x:1000:\nvideo:x:44:pi\n", group),
            ],
        )
    };
    for status in ["0", "2"] {
        let Ok(FactValue::Account(found)) = account("pi", status, "0") else {
            panic!("{status}")
        };
        assert_eq!(found.groups, ["pi", "video"]);
        assert_eq!(account("ann", status, "0"), Err(FactError::NotFound));
    }
    for (passwd, group, words) in [
        ("137", "0", "`getent passwd` ended with status 137"),
        ("1", "0", "`getent passwd` ended with status 1"),
        ("2", "137", "`getent group` ended with status 137"),
        ("0", "2", "`getent group` ended with status 2"),
    ] {
        for name in ["pi", "ann"] {
            let failed = Err(FactError::Failed(words.to_owned()));
            assert_eq!(account(name, passwd, group), failed, "{name}");
        }
    }
    assert_eq!(account("ann", "timeout", "0"), Err(FactError::TimedOut));
}
