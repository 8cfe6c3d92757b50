//! Packages whose installation is cut off: by a power cut, a lost connection, or the end of hmco-boot.

use crate::rig::{Running, World, told};

const PLAYBOOK: &str = r#"
[[step]]
id = "tools"
on = "all"
[step.packages]
names = ["hmtest-slow", "hmtest-quick"]
[[step]]
id = "after"
on = "all"
[step.file]
path = "/srv/after"
content = "x\n"
"#;

/// A repository on the node: packages whose scripts say that they were begun and wait until they may go on, in unpacking
/// (`preinst`) and in configuring (`postinst`). apt knows no other.
const REPOSITORY: &str = r#"set -e
mkdir -p /tmp/hmtest/slow/DEBIAN /tmp/hmtest/quick/DEBIAN /srv/repo
cd /tmp/hmtest
for n in slow quick; do
  mkdir -p $n/opt/hmtest
  echo $n > $n/opt/hmtest/$n
  printf 'Package: hmtest-%s\nVersion: 1.0\nArchitecture: all\nMaintainer: test <test@example.org>\nDescription: for a test\n' $n > $n/DEBIAN/control
done
for s in preinst postinst; do
  printf '#!/bin/sh\necho %s >> /srv/begun\nuntil test -e /srv/go || test -e /srv/go-%s; do sleep 0.1; done\n' $s $s > slow/DEBIAN/$s
  chmod 755 slow/DEBIAN/$s
done
cd /srv/repo
for n in slow quick; do
  dpkg-deb --root-owner-group -Zgzip --build /tmp/hmtest/$n /srv/repo/hmtest-$n.deb >/dev/null
  cat /tmp/hmtest/$n/DEBIAN/control
  printf 'Filename: ./hmtest-%s.deb\nSize: %s\nSHA256: %s\n\n' $n $(stat -c %s hmtest-$n.deb) $(sha256sum < hmtest-$n.deb | cut -d ' ' -f 1)
done > Packages
rm -rf /tmp/hmtest
echo 'deb [trusted=yes] file:/srv/repo ./' > /srv/sources.list
echo 'Dir::Etc::SourceList "/srv/sources.list"; Dir::Etc::SourceParts "-";' > /etc/apt/apt.conf.d/99hmtest
: > /var/log/apt/history.log
"#;

fn add_repository(world: &World, node: usize) {
    world.write("repository.sh", REPOSITORY);
    let text = std::fs::read_to_string(world.project().join("repository.sh")).unwrap();
    world.on(
        node,
        &format!("sudo sh -c '{}'", text.replace('\'', r"'\''")),
    );
}

/// The scripts that were begun, in order.
fn begun(world: &World, node: usize) -> String {
    std::fs::read_to_string(world.root(node).join("srv/begun"))
        .unwrap_or_default()
        .replace('\n', " ")
}

fn await_script(world: &World, node: usize, so_far: &str) {
    let mut last = String::new();
    let mut is_there = || {
        last = begun(world, node);
        last.trim() == so_far
    };
    for _ in 0..1200 {
        if is_there() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let state = world.try_on(
        node,
        "ps -ef | grep -E 'apt|dpkg|inst'; dpkg-query -W 'hmtest*'; sudo dpkg --audit; sudo sh -c 'cat /run/hmco-boot/jobs/*/std*'",
    );
    panic!(
        "scripts that were begun: {last}, and not: {so_far}\n{}",
        told(&state)
    );
}

/// apt's own record: how often it was told to install.
fn installations(world: &World, node: usize) -> usize {
    let log = world.on(node, "sudo cat /var/log/apt/history.log");
    log.lines()
        .filter(|line| line.starts_with("Commandline:") && line.contains(" install "))
        .count()
}

fn is_whole(world: &World, node: usize) {
    let status = world.on(
        node,
        "dpkg-query -W -f '${Status};' hmtest-slow hmtest-quick; cat /opt/hmtest/*; sudo dpkg --audit; cat /srv/after",
    );
    assert_eq!(
        status,
        "install ok installed;install ok installed;quick\nslow\nx\n"
    );
}

#[test]
fn power_cuts_while_unpacking_and_while_configuring_are_repaired() {
    let Some(world) = World::for_torture("power cuts in packages", 1, PLAYBOOK) else {
        return;
    };
    add_repository(&world, 0);
    let mut run = world.start(&["run", "main"]);
    run.until(&["step_started"]);
    await_script(&world, 0, "preinst");
    world.kill(0);
    world.boot(0);
    // Found out by itself: the job is gone, dpkg is half-way, and the step is done once more.
    run.until(&["warning", "looking again"]);
    run.until(&["step_started"]);
    world.on(0, "sudo touch /srv/go-preinst");
    await_script(&world, 0, "preinst preinst postinst");
    world.kill(0);
    world.boot(0);
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    let outcomes = world.outcomes();
    let label = format!("tools@{}", world.name(0));
    assert!(outcomes[&label].contains("interrupted"), "{outcomes:?}");
    assert!(!world.try_on(0, "test -e /srv/after").status.success());
    world.on(0, "sudo touch /srv/go");
    let shown = world.expect(0, &["resume"]);
    assert!(shown.contains("repair"), "{shown}");
    is_whole(&world, 0);
    world.expect(0, &["plan", "main", "--exit-code"]);
}

#[test]
fn a_power_cut_that_lasts_ends_the_run_and_the_next_one_repairs() {
    let Some(world) = World::for_torture("a long power cut in packages", 1, PLAYBOOK) else {
        return;
    };
    add_repository(&world, 0);
    let mut run = world.start(&["run", "main"]);
    run.until(&["step_started"]);
    world.on(0, "sudo touch /srv/go-preinst");
    await_script(&world, 0, "preinst postinst");
    world.kill(0);
    let (code, said) = run.end();
    // Whether it was done, nobody can say; that is told, and what to do.
    assert_eq!(code, Some(1), "{said}");
    let outcomes = world.outcomes();
    let label = format!("tools@{}", world.name(0));
    assert!(outcomes[&label].contains("unknown"), "{outcomes:?}");
    assert!(
        outcomes[&label].contains("hmco-boot resume"),
        "{outcomes:?}"
    );
    world.boot(0);
    world.on(0, "sudo touch /srv/go");
    world.expect(0, &["resume"]);
    is_whole(&world, 0);
}

#[test]
fn after_kill_9_the_installation_goes_on_and_is_awaited_not_begun_again() {
    let Some(world) = World::with(1, PLAYBOOK) else {
        return;
    };
    add_repository(&world, 0);
    let mut run = world.start(&["run", "main"]);
    run.until(&["step_started"]);
    await_script(&world, 0, "preinst");
    run.kill();
    let mut resumed = world.start(&["resume"]);
    resumed.until(&["leftover_job", "\"waiting\":true"]);
    world.on(0, "sudo touch /srv/go");
    let (code, said) = resumed.end();
    assert_eq!(code, Some(0), "{said}");
    is_whole(&world, 0);
    assert_eq!(installations(&world, 0), 1);
    assert_eq!(begun(&world, 0), "preinst postinst ");
}

#[test]
fn after_a_lost_connection_the_installation_is_found_and_awaited() {
    let Some(world) = World::with(1, PLAYBOOK) else {
        return;
    };
    lose_connection(&world, |run| {
        // The server's end of it dies.
        let ended = world.try_on(0, "sudo pkill -KILL -f '^sshd: pi@notty'");
        assert!(!ended.status.success(), "{}", told(&ended));
        run.until(&["leftover_job", "\"waiting\":true"]);
    });
}

#[test]
fn after_silence_that_only_a_keepalive_finds_out_the_installation_is_found_and_awaited() {
    let Some(world) = World::for_torture("silence in packages", 1, PLAYBOOK) else {
        return;
    };
    lose_connection(&world, |run| {
        world.cut(0);
        // Noticed; and healed before it is given up.
        run.until(&["leftover_job", "\"waiting\":true"]);
        world.heal(0);
    });
}

/// An installation whose connection is lost while it waits.
fn lose_connection(world: &World, lose: impl FnOnce(&mut Running)) {
    add_repository(world, 0);
    let mut run = world.start(&["run", "main"]);
    run.until(&["step_started"]);
    await_script(world, 0, "preinst");
    lose(&mut run);
    world.on(0, "sudo touch /srv/go");
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    is_whole(world, 0);
    assert_eq!(installations(world, 0), 1);
    assert_eq!(begun(world, 0), "preinst postinst ");
}

#[test]
fn another_apt_is_awaited() {
    let Some(world) = World::for_torture("another apt is awaited", 1, PLAYBOOK) else {
        return;
    };
    add_repository(&world, 0);
    // Somebody at the keyboard installs, and dpkg's lock is held.
    world.on(
        0,
        "sudo apt-get -q update; sudo touch /srv/go-preinst; sudo systemd-run --unit=hmtest apt-get -y install hmtest-slow",
    );
    await_script(&world, 0, "preinst postinst");
    let mut run = world.start(&["run", "main"]);
    run.until(&["waiting for process"]);
    world.on(0, "sudo touch /srv/go");
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    is_whole(&world, 0);
    assert_eq!(begun(&world, 0), "preinst postinst ");
}
