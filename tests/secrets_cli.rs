//! The commands of `hmco-boot secrets` as people use them: the real command, real git, real editors, a real terminal.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "tests start the real command, read its files, say what they skip, and tell a story in one piece"
)]

#[path = "secrets_cli/edit.rs"]
mod edit;
#[path = "secrets_cli/exec.rs"]
mod exec;
#[path = "secrets_cli/scan.rs"]
mod scan;
#[path = "support/skip.rs"]
mod skip;
#[path = "secrets_cli/team.rs"]
mod team;
#[path = "secrets_cli/terminal.rs"]
mod terminal;
#[path = "secrets_cli/values.rs"]
mod values;
#[path = "secrets_cli/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use world::{Person, World};

const PASSWORD: &str = "canary-Tr0ub4dor-x9Kq";
const PIN: &[u8] = b"\x00\x01canary-binary\xff\xfe";

/// Somebody with a project of two secrets.
fn project(world: &World) -> Person {
    let anna = world.person("anna");
    world.ok(&anna, &["init"]);
    world.run(
        &anna,
        &["-vvv", "secrets", "set", "db/password"],
        &format!("{PASSWORD}\n"),
        0,
    );
    fs::write(world.path("pin"), PIN).unwrap();
    let pin = world.path("pin");
    world.ok(
        &anna,
        &[
            "-vvv",
            "secrets",
            "set",
            "door/pin",
            "--from-file",
            pin.to_str().unwrap(),
        ],
    );
    anna
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

/// Somebody else's public key and its fingerprint.
fn key(world: &World, who: &Person) -> (String, String) {
    world.ok(who, &["secrets", "init"]);
    let (out, _) = world.run(who, &["secrets", "identity", "--output", "json"], "", 0);
    let row = json(&out);
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("key"), text("fingerprint"))
}

fn clone(world: &World, from: &Person, name: &str) -> Person {
    let person = world.person(name);
    fs::remove_dir(&person.project).unwrap();
    let to = person.project.display().to_string();
    world.git(from, &["clone", "-q", ".", &to]);
    person
}

fn commit(world: &World, who: &Person) {
    world.git(who, &["add", "-A"]);
    world.git(who, &["commit", "-q", "-m", "x"]);
}
