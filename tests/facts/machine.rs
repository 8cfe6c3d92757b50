//! Facts of this machine against what it says by other means.

use std::fs;
use std::process::Command;

use hmco_boot::facts::fact::{Fact, FactError, FactValue};

use crate::shells::{Machine, Shell, path, shells};

/// What a command prints; empty where it cannot be run.
fn said(argv: &[&str]) -> String {
    Command::new(argv[0])
        .args(&argv[1..])
        .output()
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn real() -> Machine {
    let mut machine = Machine::new(std::path::Path::new("/"));
    machine.root = String::new();
    machine.run_dir = "/run/hmco-boot-facts-test".to_owned();
    machine
}

fn named(names: &[&str], fact: impl Fn(String) -> Fact) -> Vec<Fact> {
    names.iter().map(|name| fact((*name).to_owned())).collect()
}

#[test]
fn the_operating_system_is_what_uname_getconf_and_dpkg_say() {
    for shell in shells() {
        let Ok(FactValue::Os(os)) = real().one(&shell, Fact::Os) else {
            panic!("{}", shell.name);
        };
        assert_eq!(os.kernel_arch, said(&["uname", "-m"]));
        assert_eq!(os.kernel, said(&["uname", "-r"]));
        assert_eq!(os.hostname, said(&["uname", "-n"]));
        assert_eq!(os.arch, said(&["dpkg", "--print-architecture"]));
        assert_eq!(os.page_size.to_string(), said(&["getconf", "PAGESIZE"]));
        assert_eq!(os.cpus.to_string(), said(&["getconf", "_NPROCESSORS_ONLN"]));
        let source = |key: &str| said(&["sh", "-c", &format!(". /etc/os-release; echo ${key}")]);
        assert_eq!(os.id, source("ID"));
        assert_eq!(os.version, source("VERSION_ID"));
        assert_eq!(os.codename, source("VERSION_CODENAME"));
        assert_eq!(os.init, said(&["cat", "/proc/1/comm"]));
        let pages: u64 = said(&["getconf", "_PHYS_PAGES"]).parse().unwrap();
        let expected = pages * u64::from(os.page_size);
        assert_eq!(os.memory, expected, "{}", shell.name);
    }
}

#[test]
fn without_dpkg_the_shell_tells_the_userland() {
    for shell in shells() {
        let mut machine = real();
        let (text, delimiter) = machine.text_of(&[Fact::Os]);
        let text = text.replace("has dpkg", "has no-such-tool");
        let out = crate::shells::run(&shell, &[], &text);
        let given = machine.parse(&[Fact::Os], &out, &delimiter);
        let Ok(FactValue::Os(os)) = &given[0].1 else {
            panic!("{}", shell.name);
        };
        assert_eq!(
            os.arch,
            said(&["dpkg", "--print-architecture"]),
            "{}",
            shell.name
        );
    }
}

#[test]
fn the_boot_and_its_marks_are_told() {
    let tree = tempfile::tempdir().unwrap();
    for shell in shells() {
        let mut machine = Machine::new(tree.path());
        let boot = |machine: &mut Machine| match machine.one(&shell, Fact::Boot) {
            Ok(FactValue::Boot(boot)) => boot,
            other => panic!("{}: {other:?}", shell.name),
        };
        let found = boot(&mut machine);
        assert_eq!(found.id, said(&["cat", "/proc/sys/kernel/random/boot_id"]));
        assert_eq!(found.cmdline, said(&["cat", "/proc/cmdline"]));
        assert_eq!((found.cmdline_file, found.reboot_required), (None, false));
        fs::create_dir_all(tree.path().join("boot/firmware")).unwrap();
        fs::create_dir_all(tree.path().join("run")).unwrap();
        fs::write(tree.path().join("boot/cmdline.txt"), "moved\n").unwrap();
        fs::write(tree.path().join("boot/firmware/cmdline.txt"), "").unwrap();
        fs::write(tree.path().join("run/reboot-required"), "").unwrap();
        fs::write(tree.path().join("run/reboot-required.pkgs"), "b\na\na\n").unwrap();
        let found = boot(&mut machine);
        assert_eq!(
            found.cmdline_file.as_deref(),
            Some("/boot/firmware/cmdline.txt")
        );
        assert!(found.reboot_required);
        assert_eq!(found.reboot_packages, ["a", "b"]);
        fs::remove_dir_all(tree.path().join("boot")).unwrap();
        fs::remove_dir_all(tree.path().join("run")).unwrap();
    }
}

#[test]
fn parameters_modules_and_groups_are_those_of_proc_and_sys() {
    for shell in shells() {
        let names = [
            "net.ipv4.ip_forward",
            "kernel.hostname",
            "net/ipv4/tcp_rmem",
        ];
        let mut facts = named(&names, |name| Fact::Sysctl { name });
        facts.extend(named(&["no.such", "../etc/passwd", ""], |name| {
            Fact::Sysctl { name }
        }));
        facts.extend(named(&["no_such_module", "$(x)"], |name| Fact::Module {
            name,
        }));
        facts.push(Fact::Cgroup);
        let given = real().read(&shell, &facts);
        for (name, (_, answer)) in names.iter().zip(&given) {
            let file = format!("/proc/sys/{}", name.replace('.', "/"));
            let text = fs::read_to_string(file).unwrap();
            assert_eq!(*answer, Ok(FactValue::Text(text.trim().to_owned())));
        }
        assert_eq!(given[3].1, Err(FactError::NotFound), "{}", shell.name);
        assert!(matches!(given[4].1, Err(FactError::Failed(_))));
        assert!(matches!(given[5].1, Err(FactError::Failed(_))));
        match &given[6].1 {
            Ok(FactValue::Module(module)) => assert!(!module.present && !module.available),
            other => panic!("{}: {other:?}", shell.name),
        }
        assert!(matches!(given[7].1, Err(FactError::Failed(_))));
        let Ok(FactValue::Cgroup(found)) = &given[8].1 else {
            panic!("{}: {:?}", shell.name, given[8].1);
        };
        let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
        let kind = said(&["stat", "-f", "-c", "%T", "/sys/fs/cgroup"]);
        if kind == "cgroup2fs" {
            assert_eq!(found.version, 2, "{}", shell.name);
            let mut expected: Vec<_> = unified.as_ref().unwrap().split_whitespace().collect();
            expected.sort_unstable();
            assert_eq!(found.controllers, expected);
        } else {
            assert_ne!(found.version, 2, "{}", shell.name);
        }
    }
}

#[test]
fn modules_of_this_kernel_are_present() {
    let modules: Vec<String> = fs::read_dir("/sys/module")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for shell in shells() {
        let facts = named(
            &modules.iter().map(String::as_str).collect::<Vec<_>>(),
            |name| Fact::Module { name },
        );
        for (fact, answer) in real().read(&shell, &facts) {
            let Fact::Module { name } = fact else {
                continue;
            };
            let loaded = fs::exists(format!("/sys/module/{name}/initstate")).unwrap();
            match answer {
                Ok(FactValue::Module(module)) => {
                    assert!(module.present && module.available && module.builtin != loaded);
                }
                other => panic!("{}: {name}: {other:?}", shell.name),
            }
        }
    }
}

#[test]
fn packages_are_those_of_dpkg() {
    if said(&["dpkg", "--version"]).is_empty() {
        crate::skip::tell("no dpkg here: packages are not tested");
        return;
    }
    for shell in shells() {
        let facts = named(&["bash", "dpkg", "no-such-package", "ba*"], |name| {
            Fact::Package { name }
        });
        let given = real().read(&shell, &facts);
        for (n, name) in ["bash", "dpkg"].iter().enumerate() {
            let Ok(FactValue::Package(package)) = &given[n].1 else {
                panic!("{}: {:?}", shell.name, given[n].1);
            };
            let version = said(&["dpkg-query", "-W", "-f", "${Version}", name]);
            assert_eq!(package.version.as_ref(), Some(&version), "{}", shell.name);
            assert_eq!(package.state, "install ok installed");
        }
        match &given[2].1 {
            Ok(FactValue::Package(package)) => assert_eq!(package.version, None),
            other => panic!("{}: {other:?}", shell.name),
        }
        assert!(matches!(given[3].1, Err(FactError::Failed(_))));
    }
}

#[test]
fn the_process_that_holds_the_lock_of_dpkg_is_named() {
    let tree = tempfile::tempdir().unwrap();
    let lock = tree.path().join("var/lib/dpkg/lock-frontend");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    fs::write(&lock, "").unwrap();
    for shell in shells() {
        let manager = |machine: &mut Machine| match machine.one(&shell, Fact::PackageManager) {
            Ok(FactValue::PackageManager(manager)) => manager,
            other => panic!("{}: {other:?}", shell.name),
        };
        let mut machine = Machine::new(tree.path());
        assert_eq!(manager(&mut machine).lock_holder, None, "{}", shell.name);
        let held = fs::OpenOptions::new().write(true).open(&lock).unwrap();
        let whole = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::fcntl_lock(&held, whole).unwrap();
        let holder = manager(&mut machine).lock_holder.unwrap();
        assert!(
            holder.starts_with(&format!("{} ", std::process::id())),
            "{}: {holder}",
            shell.name
        );
        fs::create_dir_all(tree.path().join("var/lib/dpkg/updates")).unwrap();
        assert!(!manager(&mut machine).interrupted);
        fs::write(tree.path().join("var/lib/dpkg/updates/0001"), "").unwrap();
        assert!(manager(&mut machine).interrupted, "{}", shell.name);
        fs::remove_dir_all(tree.path().join("var/lib/dpkg/updates")).unwrap();
    }
}

#[test]
fn accounts_are_those_of_the_databases_or_of_the_given_tree() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("etc")).unwrap();
    fs::write(
        tree.path().join("etc/passwd"),
        b"od\xff d:x:7:8:\xfe:/h:/s\nann:x:1000:1000:A,,,:/home/ann:/bin/sh\nbad line\n",
    )
    .unwrap();
    fs::write(
        tree.path().join("etc/group"),
        "ann:x:1000:\nsudo:x:27:bob,ann\nanna:x:5:anna\n",
    )
    .unwrap();
    for shell in shells() {
        let account = |machine: &mut Machine, name: &str| {
            machine.one(
                &shell,
                Fact::Account {
                    name: name.to_owned(),
                },
            )
        };
        match account(&mut real(), "root") {
            Ok(FactValue::Account(root)) => {
                assert_eq!((root.uid, root.gid), (0, 0), "{}", shell.name);
                assert_eq!(root.home, "/root");
                let mut groups: Vec<String> = said(&["id", "-Gn", "root"])
                    .split(' ')
                    .map(str::to_owned)
                    .collect();
                groups.sort();
                assert_eq!(root.groups, groups, "{}", shell.name);
            }
            other => panic!("{}: {other:?}", shell.name),
        }
        assert_eq!(
            account(&mut real(), "no-such-user"),
            Err(FactError::NotFound)
        );
        assert_eq!(account(&mut real(), "-h"), Err(FactError::NotFound));
        assert!(matches!(
            account(&mut real(), "0"),
            Err(FactError::Failed(_))
        ));
        match account(&mut Machine::new(tree.path()), "ann") {
            Ok(FactValue::Account(ann)) => {
                assert_eq!((ann.uid, ann.shell.as_str()), (1000, "/bin/sh"));
                assert_eq!(ann.groups, ["ann", "sudo"], "{}", shell.name);
            }
            other => panic!("{}: {other:?}", shell.name),
        }
        assert_eq!(
            account(&mut Machine::new(tree.path()), "root"),
            Err(FactError::NotFound)
        );
    }
}

#[test]
fn sudo_tells_who_reads() {
    let uid = said(&["id", "-u"]);
    for shell in shells() {
        let Ok(FactValue::Sudo(sudo)) = real().one(&shell, Fact::Sudo) else {
            panic!("{}", shell.name);
        };
        assert_eq!(sudo.is_root, uid == "0", "{}", shell.name);
        if let Some(nobody) = crate::files::as_nobody() {
            let mut machine = real();
            machine.prefix = nobody;
            match machine.one(&shell, Fact::Sudo) {
                Ok(FactValue::Sudo(sudo)) => assert!(!sudo.is_root && !sudo.passwordless),
                other => panic!("{}: {other:?}", shell.name),
            }
        }
    }
}

#[test]
fn file_systems_are_those_of_df_even_for_what_is_not_there_yet() {
    for shell in shells() {
        let paths = [
            "/",
            "/proc/sys",
            "/no/such/folder",
            "/etc/passwd",
            "/dev/shm/none",
        ];
        let facts: Vec<Fact> = paths.iter().map(|p| Fact::Disk { path: path(p) }).collect();
        let given = real().read(&shell, &facts);
        for (n, real_path) in ["/", "/proc", "/", "/etc", "/dev/shm"].iter().enumerate() {
            let Ok(FactValue::Disk(disk)) = &given[n].1 else {
                panic!("{}: {}: {:?}", shell.name, paths[n], given[n].1);
            };
            let df = said(&["df", "-P", "-B1", real_path]);
            let words: Vec<&str> = df.lines().nth(1).unwrap().split_whitespace().collect();
            assert_eq!(
                disk.size.to_string(),
                words[1],
                "{}: {}",
                shell.name,
                paths[n]
            );
            assert_eq!(disk.mount, words[5], "{}: {}", shell.name, paths[n]);
            let df = said(&["df", "-Pi", real_path]);
            let words: Vec<&str> = df.lines().nth(1).unwrap().split_whitespace().collect();
            let inodes = if words[1] == "-" { "0" } else { words[1] };
            assert_eq!(
                disk.inodes.to_string(),
                inodes,
                "{}: {}",
                shell.name,
                paths[n]
            );
            assert!(disk.free <= disk.size && !disk.fs_type.is_empty());
        }
    }
}

#[test]
fn the_clock_is_the_present() {
    for shell in shells() {
        let before: i64 = said(&["date", "+%s%3N"]).parse().unwrap();
        let Ok(FactValue::Clock(clock)) = real().one(&shell, Fact::Clock) else {
            panic!("{}", shell.name);
        };
        let after: i64 = said(&["date", "+%s%3N"]).parse().unwrap();
        // busybox tells whole seconds.
        assert!(
            clock.now_ms >= before - 999 && clock.now_ms <= after,
            "{}",
            shell.name
        );
        let uptime: f64 = said(&["cut", "-d ", "-f1", "/proc/uptime"])
            .parse()
            .unwrap();
        let read = std::time::Duration::from_millis(clock.uptime_ms).as_secs_f64();
        assert!(read <= uptime && read > uptime - 30.0, "{}", shell.name);
    }
}

#[test]
fn the_network_is_what_sys_and_a_socket_of_our_own_say() {
    if said(&["ip", "-V"]).is_empty() {
        crate::skip::tell("no ip here: busybox only");
    }
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("[::1]:0")
        .or_else(|_| std::net::UdpSocket::bind("127.0.0.1:0"))
        .unwrap();
    let (tcp_port, udp_port) = (
        tcp.local_addr().unwrap().port(),
        udp.local_addr().unwrap().port(),
    );
    for shell in shells() {
        let net = match real().one(&shell, Fact::Net) {
            Ok(FactValue::Net(net)) => net,
            Err(FactError::Failed(why))
                if shell.tools.is_none() && said(&["ip", "-V"]).is_empty() =>
            {
                crate::skip::tell(format_args!("{}: {why}", shell.name));
                continue;
            }
            other => panic!("{}: {other:?}", shell.name),
        };
        assert!(
            net.tcp_listen.contains(&tcp_port),
            "{}: {net:?}",
            shell.name
        );
        assert!(
            net.udp_listen.contains(&udp_port),
            "{}: {net:?}",
            shell.name
        );
        assert!(!net.tcp_listen.contains(&udp_port) || tcp_port == udp_port);
        let mut names: Vec<String> = fs::read_dir("/sys/class/net")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| {
                name != "lo" && fs::exists(format!("/sys/class/net/{name}/address")).unwrap()
            })
            .collect();
        names.sort();
        let links: Vec<&String> = net.links.iter().map(|link| &link.name).collect();
        assert_eq!(links, names.iter().collect::<Vec<_>>());
        for link in &net.links {
            let mac = fs::read_to_string(format!("/sys/class/net/{}/address", link.name)).unwrap();
            assert_eq!(link.mac, mac.trim());
        }
    }
}

#[test]
fn without_systemd_units_and_logs_say_so() {
    if fs::exists("/run/systemd/system").unwrap() {
        with_systemd(&shells());
        return;
    }
    for shell in shells() {
        let unit = Fact::Unit {
            name: "ssh.service".to_owned(),
        };
        let log = Fact::Log {
            unit: "ssh.service".to_owned(),
            lines: 5,
        };
        for (_, answer) in real().read(&shell, &[unit, log]) {
            assert_eq!(
                answer,
                Err(FactError::Failed("systemd is not running".to_owned())),
                "{}",
                shell.name
            );
        }
    }
}

/// Tools that answer as systemd's do.
fn stand_ins(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let tools = [
        (
            "systemctl",
            "case \"$*\" in *--value*) echo 0a1b;; *) printf 'Id=a.service\\nNames=a.service\\n\
             LoadState=loaded\\nActiveState=active\\nSubState=running\\nNeedDaemonReload=no\\n';; esac",
        ),
        ("journalctl", "printf '%s\\n' \"$*\""),
        ("timedatectl", "echo NTPSynchronized=yes"),
    ];
    for (name, text) in tools {
        let at = folder.join(name);
        fs::write(&at, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn with_systemd_units_logs_and_the_clocks_state_are_asked_of_its_tools() {
    let tools = tempfile::tempdir().unwrap();
    stand_ins(tools.path());
    let run = tempfile::tempdir().unwrap();
    fs::create_dir(run.path().join("stamp")).unwrap();
    fs::write(run.path().join("stamp/a.service"), "d1g 0a1b").unwrap();
    for mut shell in shells() {
        shell.tools = Some(tools.path().to_owned());
        let mut machine = real();
        machine.run_dir = run.path().to_str().unwrap().to_owned();
        let name = "a.service".to_owned();
        let facts = [
            Fact::Unit { name: name.clone() },
            Fact::Log {
                unit: name,
                lines: 7,
            },
            Fact::Clock,
        ];
        let (text, delimiter) = machine.text_of(&facts);
        let text = text
            .replace("$R/run/systemd/system", "/")
            .replace("/run/systemd/system", "/");
        let out = crate::shells::run(&shell, &[], &text);
        let given = machine.parse(&facts, &out, &delimiter);
        match &given[0].1 {
            Ok(FactValue::Unit(unit)) => {
                assert_eq!(unit.active, "active");
                assert_eq!(unit.stamp.as_deref(), Some("d1g 0a1b"), "{}", shell.name);
            }
            other => panic!("{}: {other:?}", shell.name),
        }
        match &given[1].1 {
            Ok(FactValue::Text(text)) => assert_eq!(
                text,
                "--no-pager -q -o cat -n 7 _SYSTEMD_INVOCATION_ID=0a1b + INVOCATION_ID=0a1b\n"
            ),
            other => panic!("{}: {other:?}", shell.name),
        }
        match &given[2].1 {
            Ok(FactValue::Clock(clock)) => assert_eq!(clock.synchronized, Some(true)),
            other => panic!("{}: {other:?}", shell.name),
        }
    }
}

fn with_systemd(shells: &[Shell]) {
    for shell in shells {
        let facts = named(&["-.mount", "no-such.service"], |name| Fact::Unit { name });
        let given = real().read(shell, &facts);
        match &given[0].1 {
            Ok(FactValue::Unit(unit)) => assert_eq!(unit.active, "active"),
            other => panic!("{}: {other:?}", shell.name),
        }
        assert_eq!(given[1].1, Err(FactError::NotFound), "{}", shell.name);
    }
}

#[test]
fn mounts_and_swap_are_those_of_proc_and_of_systemds_units() {
    let tree = tempfile::tempdir().unwrap();
    let wants = tree
        .path()
        .join("run/systemd/generator/swap.target.requires");
    let own = tree.path().join("etc/systemd/system");
    fs::create_dir_all(&wants).unwrap();
    fs::create_dir_all(&own).unwrap();
    for unit in ["dev-sda2.swap", "dev-zram0.swap"] {
        std::os::unix::fs::symlink(format!("../{unit}"), wants.join(unit)).unwrap();
    }
    std::os::unix::fs::symlink("/dev/null", own.join("dev-zram0.swap")).unwrap();
    for shell in shells() {
        let mut machine = Machine::new(tree.path());
        let Ok(FactValue::Mounts(mounts)) = machine.one(&shell, Fact::Mounts) else {
            panic!("{}", shell.name);
        };
        let lines = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(mounts.len(), lines.lines().count(), "{}", shell.name);
        assert!(mounts.iter().any(|mount| mount.point == "/"));
        let Ok(FactValue::Swaps(swaps)) = machine.one(&shell, Fact::Swaps) else {
            panic!("{}", shell.name);
        };
        let table = fs::read_to_string("/proc/swaps").unwrap_or_default();
        assert_eq!(swaps.active.len(), table.lines().skip(1).count());
        assert_eq!(swaps.units, ["dev-sda2.swap"], "{}", shell.name);
    }
}

#[test]
fn files_of_kernel_parameters_are_told_with_what_they_say() {
    let tree = tempfile::tempdir().unwrap();
    for shell in shells() {
        let mut machine = Machine::new(tree.path());
        let mut files = || match machine.one(&shell, Fact::SysctlFiles) {
            Ok(FactValue::SysctlFiles(files)) => files,
            other => panic!("{}: {other:?}", shell.name),
        };
        assert_eq!(files(), [], "{}", shell.name);
        for folder in ["etc/sysctl.d", "usr/lib/sysctl.d"] {
            fs::create_dir_all(tree.path().join(folder)).unwrap();
        }
        let at = |path: &str| tree.path().join(path);
        fs::write(at("etc/sysctl.conf"), "# no\n ; no\n\n a.b = 1 \n-c.d=2").unwrap();
        fs::write(at("usr/lib/sysctl.d/50-x.conf"), "/etc/sysctl.conf: = 3\n").unwrap();
        std::os::unix::fs::symlink("../sysctl.conf", at("etc/sysctl.d/99-sysctl.conf")).unwrap();
        std::os::unix::fs::symlink("/dev/null", at("etc/sysctl.d/50-x.conf")).unwrap();
        let found: Vec<_> = files()
            .into_iter()
            .map(|file| (file.path, file.lines.join("|")))
            .collect();
        let expected = [
            ("/etc/sysctl.d/50-x.conf", ""),
            ("/etc/sysctl.d/99-sysctl.conf", "a.b = 1|-c.d=2"),
            ("/usr/lib/sysctl.d/50-x.conf", "/etc/sysctl.conf: = 3"),
            ("/etc/sysctl.conf", "a.b = 1|-c.d=2"),
        ]
        .map(|(path, lines)| (path.to_owned(), lines.to_owned()));
        assert_eq!(found, expected, "{}", shell.name);
        fs::remove_dir_all(at("etc")).unwrap();
        fs::remove_dir_all(at("usr")).unwrap();
    }
}

#[test]
fn a_container_is_told_by_its_managers_file() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("run/systemd")).unwrap();
    let mut told = Vec::new();
    for text in [None, Some("systemd-nspawn"), Some("lxc\n")] {
        if let Some(text) = text {
            fs::write(tree.path().join("run/systemd/container"), text).unwrap();
        }
        let mut machine = Machine::new(tree.path());
        match machine.one(&shells()[0], Fact::Os) {
            Ok(FactValue::Os(os)) => told.push(os.container),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, ["", "systemd-nspawn", "lxc"]);
}

#[test]
fn swap_firewall_and_port_holders_are_told() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("etc/ufw")).unwrap();
    fs::write(tree.path().join("etc/ufw/ufw.conf"), "# x\nENABLED=yes\n").unwrap();
    fs::create_dir_all(tree.path().join("etc/NetworkManager/conf.d")).unwrap();
    let conf = "[keyfile]\nunmanaged-devices=interface-name:cni*;interface-name:flannel*\n";
    fs::write(tree.path().join("etc/NetworkManager/conf.d/k3s.conf"), conf).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for shell in shells() {
        let Ok(FactValue::Readiness(found)) =
            Machine::new(tree.path()).one(&shell, Fact::Readiness)
        else {
            panic!("{}", shell.name);
        };
        assert!(found.ufw && found.cni_unmanaged, "{found:?}");
        let swaps = fs::read_to_string("/proc/swaps").unwrap();
        assert_eq!(found.swaps.len(), swaps.lines().count() - 1);
        if !said(&["ss", "-V"]).is_empty() {
            let holder = found.holders.iter().find(|holder| holder.port == port);
            let holder = holder.unwrap_or_else(|| panic!("{}: {found:?}", shell.name));
            assert_eq!(holder.protocol, "tcp");
        }
        let Ok(FactValue::Readiness(real)) = real().one(&shell, Fact::Readiness) else {
            panic!("{}", shell.name);
        };
        assert_eq!(real.swaps, found.swaps);
    }
}
