//! sudo that wants a password, and who gets to see it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rig::{World, told};

const STEPS: &str = r#"
[[step]]
id = "file"
on = "all"
[step.file]
path = "/srv/secret-place"
content = "x\n"
mode = "0600"
[[step]]
id = "command"
on = "all"
[step.command]
argv = ["sh", "-c", "id -un; touch /srv/touched"]
creates = "/srv/touched"
"#;

/// In no file, no process and no message but where it belongs.
pub const PASSWORD: &str = "kanarie-Vogel-83-im-Bergwerk";

/// A node's user who may become root by that password, and logs in by the lab's key.
pub fn user(world: &World, defaults: &str) {
    // By file: what is said on a command line stays in the node's own record.
    world.on(0, "sudo install -m 600 -o pi /dev/null /srv/password");
    std::fs::write(
        world.root(0).join("srv/password"),
        format!("hmtest1:{PASSWORD}\n"),
    )
    .unwrap();
    world.on(
        0,
        &format!(
            "set -e
            sudo useradd -m -s /bin/sh hmtest1
            sudo sh -c 'chpasswd < /srv/password'
            sudo rm /srv/password
            sudo cp -r ~/.ssh /home/hmtest1/.ssh
            sudo chown -R hmtest1 /home/hmtest1/.ssh
            printf '%s\\n' 'Defaults:hmtest1 {defaults}' 'hmtest1 ALL=(ALL) ALL' > /tmp/hmtest
            sudo install -m 440 /tmp/hmtest /etc/sudoers.d/hmtest
            rm /tmp/hmtest
            sudo visudo -cq
            sudo rm -rf /run/sudo/ts /var/lib/sudo/ts"
        ),
    );
    world.write_inventory(|inventory| {
        inventory["ssh"]["user"] = "hmtest1".into();
    });
}

fn run_with(world: &World, password: &str, args: &[&str]) -> Output {
    let mut child = world
        .command(args)
        .arg("--become-pass-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(format!("{password}\n").as_bytes()).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

/// How often sudo refused a password since `cursor`.
fn refusals(world: &World) -> usize {
    let log = world.on(
        0,
        "sudo journalctl -q -o cat | grep -c 'pam_unix(sudo:auth): authentication failure.*user=hmtest1' || true",
    );
    log.trim().parse().unwrap()
}

#[test]
fn a_password_makes_root_whatever_sudo_is_told_about_tickets_and_terminals() {
    let Some(world) = World::with(1, STEPS) else {
        return;
    };
    for defaults in [
        "use_pty, timestamp_timeout=0",
        "timestamp_type=global, !use_pty",
    ] {
        world.clean();
        user(&world, defaults);
        // The second finds a ticket where there are some; its password must not become a line of a script.
        for expected in ["2 changed", "nothing to change"] {
            let output = run_with(&world, PASSWORD, &["run", "main"]);
            let said = told(&output);
            assert_eq!(output.status.code(), Some(0), "{defaults}: {said}");
            assert!(said.contains(expected), "{defaults}: {said}");
        }
        assert_eq!(
            world.on(0, "sudo stat -c '%U %a' /srv/secret-place"),
            "root 600\n"
        );
    }
}

#[test]
fn a_wrong_password_is_tried_once_and_named() {
    let Some(world) = World::with(1, STEPS) else {
        return;
    };
    user(&world, "timestamp_timeout=0");
    let before = refusals(&world);
    let output = run_with(&world, "not-this-one", &["run", "main"]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("password of hmtest1") && said.contains(world.name(0)),
        "{said}"
    );
    assert!(!said.contains("not-this-one"), "{said}");
    assert_eq!(refusals(&world) - before, 1);
    assert!(!world.root(0).join("srv/touched").exists());
}

#[test]
fn sudo_that_wants_a_terminal_is_refused_with_the_cure() {
    let Some(world) = World::with(1, STEPS) else {
        return;
    };
    user(&world, "requiretty");
    let output = run_with(&world, PASSWORD, &["run", "main"]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("!requiretty"), "{said}");
}

/// Files below a folder that hold the password.
fn files_with_it(folder: &Path) -> Vec<String> {
    let found = std::process::Command::new("grep")
        .args(["-rlaF", "--devices=skip", "-e", PASSWORD])
        .arg(folder)
        .output()
        .unwrap();
    String::from_utf8_lossy(&found.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Looks at the command lines and environments of all processes, those in nodes too, until told to stop. Gives those
/// with the password, and how often it looked.
fn watch_processes(stop: &AtomicBool) -> (Vec<String>, usize) {
    let (mut found, mut rounds) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        rounds += 1;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            for name in ["cmdline", "environ"] {
                let text = std::fs::read(entry.path().join(name)).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                if text.contains(PASSWORD) {
                    found.push(format!("{name}: {text}"));
                }
            }
        }
    }
    (found, rounds)
}

#[test]
fn the_password_is_seen_nowhere() {
    let Some(world) = World::with(1, STEPS) else {
        return;
    };
    user(&world, "timestamp_timeout=0");
    let stop = AtomicBool::new(false);
    let (output, (seen, rounds)) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch_processes(&stop));
        let output = run_with(&world, PASSWORD, &["run", "main", "-vvv"]);
        stop.store(true, Ordering::Relaxed);
        (output, watching.join().unwrap())
    });
    let said = told(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    assert_eq!(seen, Vec::<String>::new());
    assert!(rounds > 3, "{rounds}");
    // What is kept here: the journal, digests, plans.
    let kept = world.state("state");
    assert!(kept.exists());
    assert_eq!(files_with_it(&kept), Vec::<String>::new());
    assert_eq!(files_with_it(&world.project()), Vec::<String>::new());
    // And there.
    let on_node = world.on(
        0,
        &format!(
            "printf {} > /tmp/pattern
            sudo journalctl -q -o export | grep -caF -f /tmp/pattern || true
            sudo grep -rlaF -f /tmp/pattern --exclude=pattern /var/log /run/hmco-boot /var/lib/hmco-boot /tmp /home /etc /srv || true
            rm /tmp/pattern",
            // Not as a word that ends in the record of who ran what.
            PASSWORD
                .bytes()
                .map(|byte| format!("\\\\{byte:03o}"))
                .collect::<String>()
        ),
    );
    assert_eq!(on_node, "0\n", "it is on the node");
}
