//! Secrets on their way to a real node and back: through every output, into steps that fail, by sudo with a password that
//! is a secret itself. Then both machines are searched.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use crate::canary::{self, ALL, Finder, STEPS, Watch};
use crate::rig::{World, wait_for};
use crate::secrets;
use crate::sudo::{PASSWORD, user};

const SUDO: (&str, &str) = ("nodes/sudo", PASSWORD);

fn world() -> Option<World> {
    let world = World::with(1, STEPS)?;
    user(&world, "timestamp_timeout=0");
    world.write_inventory(|inventory| {
        inventory["ssh"]["user"] = "hmtest1".into();
        let ssh = inventory["ssh"].as_table_mut().unwrap();
        ssh.insert("become_password".to_owned(), SUDO.0.into());
    });
    let values: Vec<(&str, &str)> = ALL.into_iter().chain([SUDO]).collect();
    secrets::store(&world.project(), &world.home(), &values);
    Some(world)
}

fn said(output: &Output) -> Vec<u8> {
    [output.stdout.as_slice(), &output.stderr].concat()
}

#[test]
fn no_canary_shows_on_either_side_of_a_run() {
    let Some(world) = world() else { return };
    let finder = Arc::new(Finder::of(ALL.into_iter().chain([SUDO])));
    let run = |args: &[&str], code: i32| {
        let output = world
            .command(args)
            .env("CLICOLOR_FORCE", "1")
            .output()
            .unwrap();
        let told = said(&output);
        finder.expect_none(&format!("{args:?}"), &told);
        let told = String::from_utf8_lossy(&told).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        told
    };
    let watch = Watch::start(finder.clone());
    run(&["check"], 0);
    run(&["plan", "main", "--out", "canary.plan", "-vvv"], 0);
    for format in ["tty", "json", "plain"] {
        let told = run(&["run", "main", "--output", format, "-vvv"], 1);
        for (name, _) in ALL {
            let mark = format!("<secret {name}>");
            assert!(told.contains(&mark), "{format}: {mark} in {told}");
        }
    }
    run(&["runs", "show"], 0);
    run(&["runs", "replay"], 0);
    run(
        &[
            "exec",
            "all",
            "-vvv",
            "--",
            "cat",
            "/srv/app.conf",
            "/srv/key.pem",
        ],
        0,
    );
    run(
        &["exec", "all", "--read-only", "--", "cat", "/srv/key.pem"],
        0,
    );
    run(&["hosts", "facts", "-vvv"], 0);
    watch.stop().expect_clean();

    let node = format!("/proc/{}/root", world.leader(0));
    let file = std::fs::read_to_string(format!("{node}/srv/app.conf")).unwrap();
    assert!(file.contains(canary::PLAIN) && file.contains(canary::ODD));
    let mode = world.on(0, "sudo stat -c %a /srv/app.conf");
    assert_eq!(mode, "600\n");
    world.on(0, "sudo rm -r /srv/app.conf /srv/key.pem");
    assert!(finder.expect_none_below(&world.state("state")) >= 1);
    assert!(finder.expect_none_below(&world.project()) >= 3);
    finder.expect_none_below(&world.home());
    for place in [
        "run",
        "tmp",
        "var/tmp",
        "var/lib/hmco-boot",
        "var/log",
        "srv",
        "home",
        "root",
        "etc/systemd",
    ] {
        finder.expect_none_below(Path::new(&format!("{node}/{place}")));
    }
    let jobs = std::fs::read_dir(format!("{node}/run/hmco-boot/jobs")).unwrap();
    assert_eq!(jobs.count(), 0, "jobs are left on the node");
    let journal = world.try_on(0, "sudo journalctl -q -a -o json");
    finder.expect_none("the node's journal", &journal.stdout);
    assert!(
        journal.stdout.windows(7).any(|part| part == b"COMMAND"),
        "sudo is on record"
    );
}

const UNIT: &str = include_str!("../../systemd/hmco-boot-run@.service");

#[test]
fn a_service_opens_secrets_by_its_credential_and_shows_none() {
    let Some(world) = World::with(1, "") else {
        return;
    };
    let finder = Finder::of(ALL);
    let root = world.root(0);
    let project = root.join("srv/homelab");
    for (path, text) in [
        (
            "inventory/here.toml",
            "[cluster]\nname = \"here\"\n[node.here]\nconnection = \"local\"\n",
        ),
        (
            "playbooks/main.toml",
            "title = \"Test\"\n[[step]]\nid = \"file\"\non = \"all\"\n[step.file]\npath = \"/srv/app.conf\"\ncontent = { secret = \"canary/plain\" }\n\
             [[step]]\nid = \"talks\"\non = \"all\"\n[step.command]\nargv = [\"cat\", \"/srv/app.conf\"]\nalways = true\n",
        ),
    ] {
        let path = project.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    secrets::store(&project, home.path(), &ALL);
    let identity = home.path().join(".config/hmco-boot/identity.txt");
    std::fs::copy(env!("CARGO_BIN_EXE_hmco-boot"), root.join("srv/hmco-boot")).unwrap();
    let unit = UNIT
        .replace("/usr/local/bin/hmco-boot", "/srv/hmco-boot")
        .replace("/etc/hmco-boot/identity.txt", "/srv/identity.txt")
        .replace("run --output", "-vvv run --output")
        // On a host with cgroup v1 a node's systemd is not told that a group is empty, and waits for this instead.
        .replace("TimeoutStopSec=15min", "TimeoutStopSec=2s");
    assert!(unit.contains("/srv/identity.txt") && unit.contains("/srv/hmco-boot -vvv run"));
    std::fs::write(root.join("etc/systemd/system/hmtest-run@.service"), unit).unwrap();
    let start = "sudo systemctl daemon-reload; sudo systemctl start hmtest-run@main";
    assert!(
        !world.try_on(0, start).status.success(),
        "it ran without a credential"
    );
    std::fs::copy(&identity, root.join("srv/identity.txt")).unwrap();
    // Not until the service is over: where control groups tell nobody that they are empty, that takes its whole time.
    world.on(0, "sudo systemctl start --no-block hmtest-run@main");
    let log = || world.on(0, "sudo journalctl -q -a -o cat -u hmtest-run@main");
    wait_for("the end of the run", || log().contains("on 1 node"));
    let log = log();
    assert_eq!(world.on(0, "sudo cat /srv/app.conf"), canary::PLAIN);
    assert!(log.contains("2 changed"), "{log}");
    finder.expect_none("the service's log", log.as_bytes());
    assert!(finder.expect_none_below(&root.join("var/lib/hmco-boot")) >= 2);
    let node = format!("/proc/{}/root", world.leader(0));
    finder.expect_none_below(Path::new(&format!("{node}/run")));
}

/// Answers the one question that is asked by systemd-ask-password, as an agent at a console would.
const ANSWER: &str = r#"
ask=$(sudo sh -c 'grep -l "^Id=hmco-boot:" /run/systemd/ask-password/ask.*' 2>/dev/null | head -n 1)
[ -n "$ask" ] || exit 1
sudo grep -q 'Message=Passphrase of the identity' "$ask" || exit 2
socket=$(sudo sed -n 's/^Socket=//p' "$ask")
printf %s canary-swordfish | sudo /lib/systemd/systemd-reply-password 1 "$socket"
"#;

#[test]
fn the_passphrase_of_a_services_identity_is_asked_for_through_systemd() {
    let Some(world) = World::with(1, "") else {
        return;
    };
    let root = world.root(0);
    let project = root.join("srv/asking");
    std::fs::create_dir_all(project.join("inventory")).unwrap();
    std::fs::write(
        project.join("inventory/here.toml"),
        "[cluster]\nname = \"here\"\n[node.here]\nconnection = \"local\"\n",
    )
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    secrets::store(&project, home.path(), &ALL);
    let key = root.join("srv/asked.key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "canary-swordfish", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let hb = env!("CARGO_BIN_EXE_hmco-boot");
    let ours = |args: &[&str]| {
        let output = std::process::Command::new(hb)
            .args(args)
            .current_dir(&project)
            .env_clear()
            .env("HOME", home.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let private = key.to_str().unwrap();
    let public = format!("{private}.pub");
    let print = ours(&[
        "secrets",
        "identity",
        "--identity",
        private,
        "--output",
        "json",
    ]);
    let print: serde_json::Value = serde_json::from_slice(&print).unwrap();
    let print = print["fingerprint"].as_str().unwrap();
    let add = [
        "secrets",
        "recipients",
        "add",
        "service",
        "--key-file",
        &public,
    ];
    ours(&[&add[..], &["--fingerprint", print]].concat());
    ours(&["secrets", "rotate"]);
    std::fs::copy(hb, root.join("srv/hmco-boot")).unwrap();
    world.on(
        0,
        "sudo chmod 600 /srv/asked.key; sudo systemd-run -q --unit=hmtest-asks -p User=root -p WorkingDirectory=/srv/asking -p TimeoutStopSec=2 \
         /srv/hmco-boot secrets check --identity /srv/asked.key",
    );
    wait_for("the question", || world.try_on(0, ANSWER).status.success());
    let log = || world.on(0, "sudo journalctl -q -a -o cat -u hmtest-asks");
    wait_for("the end of the check", || {
        log().contains("open and are as sealed")
    });
    assert!(!log().contains("canary"), "{}", log());
}
